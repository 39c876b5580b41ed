//! The operations in flight on a volume's disk: what each is for, and since when.

use std::time::Duration;

use crate::action::DiskToken;
use crate::slab::{Key, Slab};
use crate::time::Instant;
use crate::volume::Purpose;

/// An operation in flight.
#[derive(Debug)]
struct Op {
    purpose: Purpose,
    since: Instant,
}

impl Op {
    fn is_given_up(&self) -> bool {
        matches!(self.purpose, Purpose::GivenUp { .. })
    }

    /// Whether a disk is asked to do it, and somebody waits for that.
    fn is_waited_for(&self) -> bool {
        self.purpose.is_on_disk() && !self.is_given_up()
    }
}

/// What a look at the operations in flight has shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Look {
    /// It is not time, or nothing has taken too long.
    Well,
    /// An operation has.
    Hangs,
}

/// The operations in flight.
#[derive(Debug, Default)]
pub(crate) struct InFlight {
    ops: Slab<Op>,
    /// When to look for one that takes too long. Set by the first that is issued and moved on by
    /// each look, so that nothing is kept in order of time.
    look_at: Option<Instant>,
    /// The last look came late: this process did not run, and what has ended meanwhile may not
    /// have been taken in. The next one counts.
    was_late: bool,
}

impl InFlight {
    /// Names an operation that is about to be issued.
    pub(crate) fn begin(&mut self, purpose: Purpose, now: Instant, limit: Duration) -> DiskToken {
        if purpose.is_on_disk() && !limit.is_zero() {
            self.look_at.get_or_insert(now + limit);
        }
        DiskToken(self.ops.insert(Op { purpose, since: now }).to_bits())
    }

    /// What an operation is for.
    pub(crate) fn get(&self, token: DiskToken) -> Option<Purpose> {
        self.ops.get(Key::from_bits(token.0)).map(|op| op.purpose)
    }

    /// What an operation that has ended was for.
    pub(crate) fn end(&mut self, token: DiskToken) -> Option<Purpose> {
        self.ops.remove(Key::from_bits(token.0)).map(|op| op.purpose)
    }

    pub(crate) fn len(&self) -> usize {
        self.ops.len()
    }

    /// Whether nobody waits for any of them.
    pub(crate) fn are_given_up(&self) -> bool {
        self.ops.iter().all(|(_, op)| op.is_given_up())
    }

    /// Whether a flush is among them.
    pub(crate) fn has_flush(&self) -> bool {
        self.ops.iter().any(|(_, op)| op.purpose == Purpose::Flush)
    }

    /// When to look at them.
    pub(crate) fn look_at(&self) -> Option<Instant> {
        self.look_at
    }

    /// Whether one of them has taken longer than `limit`, or than it may have if this process had
    /// been there to see it end.
    pub(crate) fn look(&mut self, now: Instant, limit: Duration) -> Look {
        let Some(due) = self.look_at.filter(|due| *due <= now) else { return Look::Well };
        let late = now.since(due);
        if late > limit / 4 && !self.was_late {
            self.was_late = true;
            self.look_at = Some(now + late.min(limit));
            return Look::Well;
        }
        self.was_late = false;
        self.look_at = self.oldest().map(|since| since + limit);
        if self.look_at.is_some_and(|due| due <= now) { Look::Hangs } else { Look::Well }
    }

    /// Another limit holds from here on; zero: none.
    pub(crate) fn limit_changed(&mut self, limit: Duration) {
        let oldest = self.oldest().filter(|_| !limit.is_zero());
        self.look_at = oldest.map(|since| since + limit);
    }

    /// Nobody waits any more for what is on disk; returns what it was for, oldest first.
    pub(crate) fn give_up(&mut self) -> Vec<Purpose> {
        let mut given_up: Vec<(Instant, Purpose)> = self
            .ops
            .iter_mut()
            .filter(|op| op.is_waited_for())
            .map(|op| {
                let flush = op.purpose == Purpose::Flush;
                (op.since, std::mem::replace(&mut op.purpose, Purpose::GivenUp { flush }))
            })
            .collect();
        given_up.sort_by_key(|(since, _)| *since);
        self.look_at = None;
        given_up.into_iter().map(|(_, purpose)| purpose).collect()
    }

    fn oldest(&self) -> Option<Instant> {
        self.ops.iter().filter(|(_, op)| op.is_waited_for()).map(|(_, op)| op.since).min()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: Duration = Duration::from_secs(4);

    fn at(seconds: u64) -> Instant {
        Instant::from_nanos(seconds * 1_000_000_000)
    }

    #[test]
    fn what_ends_in_time_moves_the_look_on() {
        let mut ops = InFlight::default();
        let first = ops.begin(Purpose::Commit, at(0), LIMIT);
        ops.begin(Purpose::Flush, at(3), LIMIT);
        assert_eq!(ops.look_at(), Some(at(4)));
        ops.end(first);
        assert_eq!(ops.look(at(4), LIMIT), Look::Well);
        assert_eq!(ops.look_at(), Some(at(7)));
        assert_eq!(ops.look(at(7), LIMIT), Look::Hangs);
        assert_eq!(ops.give_up(), [Purpose::Flush]);
        assert_eq!((ops.look_at(), ops.len(), ops.are_given_up()), (None, 1, true));
    }

    /// A stopped process finds its timers due before it has seen what ended meanwhile.
    #[test]
    fn a_late_look_waits_for_another_one_and_no_longer() {
        let mut ops = InFlight::default();
        ops.begin(Purpose::Commit, at(0), LIMIT);
        assert_eq!(ops.look(at(60), LIMIT), Look::Well);
        assert_eq!(ops.look_at(), Some(at(64)));
        assert_eq!(ops.look(at(90), LIMIT), Look::Hangs);
    }

    #[test]
    fn a_limit_of_nothing_is_none() {
        let mut ops = InFlight::default();
        ops.begin(Purpose::Commit, at(0), Duration::ZERO);
        assert_eq!(ops.look_at(), None);
        ops.limit_changed(LIMIT);
        assert_eq!(ops.look_at(), Some(at(4)));
        ops.limit_changed(Duration::ZERO);
        assert_eq!(ops.look_at(), None);
    }
}
