//! Simulated time: a queue of events, each at its nanosecond, those of one moment in order of
//! arrival.

use std::cmp::Ordering;
use std::collections::BinaryHeap;

/// Nanoseconds in a microsecond.
pub const MICROS: u64 = 1_000;
/// Nanoseconds in a millisecond.
pub const MILLIS: u64 = 1_000_000;
/// Nanoseconds in a second.
pub const SECONDS: u64 = 1_000_000_000;

/// What will happen, and the present moment.
#[derive(Debug)]
pub struct Clock<E> {
    now: u64,
    count: u64,
    queue: BinaryHeap<Entry<E>>,
}

#[derive(Debug)]
struct Entry<E> {
    at: u64,
    number: u64,
    event: E,
}

impl<E> Clock<E> {
    /// A clock at nanosecond 1 (zero is kept for "never") with nothing to come.
    pub fn new() -> Self {
        Self { now: 1, count: 0, queue: BinaryHeap::new() }
    }

    /// The present, in nanoseconds.
    pub fn now(&self) -> u64 {
        self.now
    }

    /// Events put in so far.
    pub fn count(&self) -> u64 {
        self.count
    }

    /// Makes `event` happen `delay` nanoseconds from now.
    pub fn after(&mut self, delay: u64, event: E) {
        self.at(self.now.saturating_add(delay), event);
    }

    /// Makes `event` happen at `at`, or at once where that is past.
    pub fn at(&mut self, at: u64, event: E) {
        self.count += 1;
        self.queue.push(Entry { at: at.max(self.now), number: self.count, event });
    }

    /// The next event; time goes on to it.
    pub fn pop(&mut self) -> Option<E> {
        let entry = self.queue.pop()?;
        assert!(entry.at >= self.now, "time runs backwards");
        self.now = entry.at;
        Some(entry.event)
    }
}

impl<E> Default for Clock<E> {
    fn default() -> Self {
        Self::new()
    }
}

impl<E> Ord for Entry<E> {
    /// Reversed, for the heap hands out its greatest.
    fn cmp(&self, other: &Self) -> Ordering {
        (other.at, other.number).cmp(&(self.at, self.number))
    }
}

impl<E> PartialOrd for Entry<E> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl<E> PartialEq for Entry<E> {
    fn eq(&self, other: &Self) -> bool {
        self.number == other.number
    }
}

impl<E> Eq for Entry<E> {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_come_by_time_then_by_arrival() {
        let mut clock = Clock::new();
        clock.after(20, 'c');
        clock.after(10, 'a');
        clock.after(10, 'b');
        assert_eq!([clock.pop(), clock.pop(), clock.pop()], [Some('a'), Some('b'), Some('c')]);
        assert_eq!(clock.now(), 21);
        assert_eq!(clock.pop(), None);
    }
}
