//! Whether a client goes on with what it owes, however slowly it seems to.
//!
//! While a client is waited for, time runs up as its debt, and every byte that it moves pays for a
//! part of that. Who sends at least [`CLIENT_RATE_MIN`](limits::CLIENT_RATE_MIN) never owes more
//! than a pause of its own; who trickles a byte now and then owes as much as who sends nothing.

use std::time::Duration;

use tandem_replica::Instant;

use crate::limits;

/// The debt of a client, in time.
#[derive(Debug, Default)]
pub(crate) struct Pace {
    debt: Duration,
    /// Set while it is waited for.
    since: Option<Instant>,
}

/// What a client has to do with what it has begun.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Turn {
    /// It goes on, or should.
    Client,
    /// It cannot go on before this node does.
    Ours,
    /// Nothing is begun: there is no debt.
    Nobody,
}

impl Pace {
    /// Takes in that `bytes` were moved since the last call, and whose turn it is from here on.
    pub(crate) fn note(&mut self, now: Instant, bytes: usize, turn: Turn) {
        let bytes = u64::try_from(bytes).expect("a usize fits");
        let paid = Duration::from_micros(bytes.saturating_mul(1_000_000) / limits::CLIENT_RATE_MIN);
        self.debt = self.debt(now).saturating_sub(paid).min(DEBT_MAX);
        match turn {
            Turn::Client => self.since = Some(now),
            Turn::Ours => self.since = None,
            Turn::Nobody => *self = Self::default(),
        }
    }

    /// What is owed.
    pub(crate) fn debt(&self, now: Instant) -> Duration {
        self.debt + self.since.map_or(Duration::ZERO, |since| now.since(since))
    }
}

/// Debts are not remembered beyond what matters to anybody: who was asleep for a night and goes on
/// has soon paid.
const DEBT_MAX: Duration = limits::CLIENT_REQUEST_PATIENCE;

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tandem_replica::Instant;

    use super::{Pace, Turn};
    use crate::limits;

    fn at(seconds: u64) -> Instant {
        Instant::default() + Duration::from_secs(seconds)
    }

    #[test]
    fn a_trickle_pays_for_nothing_that_counts() {
        let mut pace = Pace::default();
        for second in 0..=50 {
            pace.note(at(second), 1, Turn::Client);
        }
        assert!(pace.debt(at(50)) > Duration::from_secs(49));
        assert!(pace.debt(at(55)) > Duration::from_secs(54));
    }

    #[test]
    fn who_keeps_the_rate_owes_no_more_than_a_pause() {
        let mut pace = Pace::default();
        let rate = usize::try_from(limits::CLIENT_RATE_MIN).unwrap();
        for second in (0..1000).step_by(20) {
            pace.note(at(second), 20 * rate, Turn::Client);
            assert_eq!(pace.debt(at(second)), Duration::ZERO);
        }
        assert_eq!(pace.debt(at(990)), Duration::from_secs(10));
    }

    #[test]
    fn our_own_time_is_not_counted_and_an_end_settles_everything() {
        let mut pace = Pace::default();
        pace.note(at(0), 0, Turn::Client);
        pace.note(at(30), 0, Turn::Ours);
        assert_eq!(pace.debt(at(1000)), Duration::from_secs(30));
        pace.note(at(1000), 0, Turn::Client);
        assert_eq!(pace.debt(at(1001)), Duration::from_secs(31));
        pace.note(at(1002), 0, Turn::Nobody);
        assert_eq!(pace.debt(at(2000)), Duration::ZERO);
    }

    #[test]
    fn an_old_debt_is_soon_paid() {
        let mut pace = Pace::default();
        pace.note(at(0), 0, Turn::Client);
        pace.note(at(100_000), 0, Turn::Client);
        let rate = usize::try_from(limits::CLIENT_RATE_MIN).unwrap();
        pace.note(at(100_000), 60 * rate, Turn::Client);
        assert_eq!(pace.debt(at(100_000)), Duration::ZERO);
    }
}
