//! The monotonic clock, read once per turn of a shard.

use rustix::time::{ClockId, clock_gettime};
use tandem_replica::Instant;

/// The present moment.
pub(crate) fn now() -> Instant {
    let time = clock_gettime(ClockId::Monotonic);
    let seconds = u64::try_from(time.tv_sec).expect("the monotonic clock starts at zero");
    let nanos = u64::try_from(time.tv_nsec).expect("nanoseconds are 0 to 999,999,999");
    Instant::from_nanos(seconds * 1_000_000_000 + nanos)
}
