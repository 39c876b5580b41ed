//! Requests of clients that are not answered, and for how long those that were have been.

use std::time::Duration;

use crate::time::Instant;

/// A count that is summed up over time: by Little's law its growth between two looks, divided by
/// the requests answered meanwhile, is how long one takes. No time is kept for each of them.
#[derive(Debug, Default)]
pub(crate) struct Pending {
    count: u64,
    answered: u64,
    waited: Duration,
    /// Up to when that is.
    at: Instant,
}

impl Pending {
    /// A request comes.
    pub(crate) fn enter(&mut self, now: Instant) {
        self.pass(now);
        self.count += 1;
    }

    /// One is answered, or nobody waits for it any more.
    pub(crate) fn leave(&mut self, now: Instant) {
        self.pass(now);
        self.count = self.count.checked_sub(1).expect("who leaves has entered");
        self.answered += 1;
    }

    /// Those that are not answered.
    pub(crate) fn count(&self) -> u64 {
        self.count
    }

    /// Those that are.
    pub(crate) fn answered(&self) -> u64 {
        self.answered
    }

    /// The time that all of them together have waited.
    pub(crate) fn waited(&self, now: Instant) -> Duration {
        let count = u32::try_from(self.count).unwrap_or(u32::MAX);
        self.waited.saturating_add(now.since(self.at).saturating_mul(count))
    }

    fn pass(&mut self, now: Instant) {
        (self.waited, self.at) = (self.waited(now), now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_requests_wait_is_summed_up() {
        let at = |ms: u64| Instant::from_nanos(ms * 1_000_000);
        let mut pending = Pending::default();
        pending.enter(at(10));
        pending.enter(at(20));
        pending.leave(at(30));
        assert_eq!((pending.count(), pending.answered()), (1, 1));
        // 10 ms of one, 10 ms of two, 15 ms of one.
        assert_eq!(pending.waited(at(45)), Duration::from_millis(45));
        pending.leave(at(50));
        assert_eq!(pending.waited(at(90)), Duration::from_millis(50));
        assert_eq!((pending.count(), pending.answered()), (0, 2));
    }
}
