//! How a source makes way for applications: while it sees their I/O it answers a resync at
//! `c-min-rate`, request by request; what was asked for beyond that is held and not read. Never
//! slower, so that a resync always ends.
//!
//! Pure: time comes with the calls; wants a timer only while something is held.

use std::collections::VecDeque;
use std::time::Duration;

use tandem_wire::{ByteRange, RequestId};

use crate::peer_read::PeerReadFor;
use crate::time::Instant;

/// A request that waits to be answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Held {
    pub(crate) id: RequestId,
    pub(crate) range: ByteRange,
    pub(crate) wanted_for: PeerReadFor,
}

/// What the rate allows, and what it does not allow yet.
#[derive(Debug, Default)]
pub(crate) struct Throttle {
    held: VecDeque<Held>,
    /// The rate allows the next answer from here on.
    free_at: Instant,
}

impl Throttle {
    /// Something is asked for.
    pub(crate) fn push(&mut self, held: Held) {
        self.held.push_back(held);
    }

    /// The next request to answer. `active_until`: applications count as active until then.
    /// `patience`: the peer gets no answer for this long at most, however slow the rate.
    pub(crate) fn pop(
        &mut self,
        rate_min: u64,
        active_until: Option<Instant>,
        patience: Duration,
        now: Instant,
    ) -> Option<Held> {
        if self.due(rate_min, active_until)? > now {
            return None;
        }
        let held = self.held.pop_front()?;
        let len = u64::from(held.range.len);
        let pause = match rate_min {
            0 => Duration::ZERO,
            rate => Duration::from_nanos(len.saturating_mul(1_000_000_000) / rate).min(patience),
        };
        self.free_at = self.free_at.max(now) + pause;
        Some(held)
    }

    /// When the next one may be answered; `None` where nothing is held.
    pub(crate) fn due(&self, rate_min: u64, active_until: Option<Instant>) -> Option<Instant> {
        self.held.front()?;
        let quiet_at = if rate_min == 0 { None } else { active_until };
        Some(quiet_at.map_or_else(Instant::default, |quiet| quiet.min(self.free_at)))
    }

    /// The session ended.
    pub(crate) fn reset(&mut self) {
        *self = Self::default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const REQUEST: u32 = 256 << 10;
    const RATE: u64 = 10 << 20;

    /// Bytes answered in `seconds` from a queue that never ends; the application is active in the
    /// seconds named.
    fn served(active: std::ops::Range<u64>, seconds: u64, rate: u64) -> u64 {
        let mut throttle = Throttle::default();
        let mut total = 0;
        for milli in 0..seconds * 1000 {
            let now = Instant::default() + Duration::from_millis(milli);
            let second = milli / 1000;
            let until = active.contains(&second).then(|| now + Duration::from_millis(200));
            // The link takes one request a millisecond.
            let range = ByteRange::new(milli * u64::from(REQUEST), REQUEST);
            throttle.push(Held { id: RequestId(milli), range, wanted_for: PeerReadFor::Resync });
            if let Some(held) = throttle.pop(rate, until, Duration::from_secs(3), now) {
                total += u64::from(held.range.len);
            }
        }
        total
    }

    #[test]
    fn an_active_application_leaves_the_least_rate_and_no_less() {
        let total = served(0..10, 10, RATE);
        assert!((RATE * 10..RATE * 10 + 2 * u64::from(REQUEST)).contains(&total), "{total}");
    }

    #[test]
    fn without_an_application_everything_is_answered_at_once() {
        assert_eq!(served(0..0, 10, RATE), 10_000 * u64::from(REQUEST));
        assert_eq!(served(0..10, 10, 0), 10_000 * u64::from(REQUEST), "c-min-rate 0");
    }

    #[test]
    fn it_is_fast_again_when_the_application_rests() {
        let total = served(0..5, 10, RATE);
        assert!(total > 5000 * u64::from(REQUEST), "{total}");
    }

    #[test]
    fn the_slowest_rate_does_not_make_a_peer_lose_patience() {
        let total = served(0..9, 9, 1);
        assert_eq!(total, 3 * u64::from(REQUEST), "one every three seconds");
    }
}
