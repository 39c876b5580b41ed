//! The activity log of a volume: extents of the disk that may differ from a peer's after a crash.
//!
//! A Primary's write is issued only once its extents are durably in the log (INV-8), to the disk
//! and to the peers alike: after a crash what only the peer has must be found too. Its reference
//! lasts until every peer has acked a barrier behind it, or misses it and has its bits, and until
//! the disk has been flushed since it ended (SEMANTICS rule 4). So an extent that leaves the log
//! holds no write that a crash of either node could undo; and before its slot is overwritten on
//! disk the bits set in it are durable.
//!
//! One transaction is under way at a time; what becomes hot meanwhile goes with the next. Writes
//! that need a slot are served first come, first served, the first one as slots become free, and
//! while it lacks one nobody passes it. A write never asks for more than a quarter of the slots
//! (`piece`), so it gets them once the others have ended; what they wait for, a flush and barriers,
//! is asked for.
//!
//! The log begins with the Primary mark and ends with it. A crash, a detach and a failed disk leave
//! it on disk, for the next attach.

use std::collections::VecDeque;

use tandem_wire::ByteRange;

use crate::meta::{CONTEXT_MAX, MetaWrite, Ring, Transaction, UPDATES_MAX, Update};
use crate::slab::Key;
use crate::store::Ticket;

mod cover;
pub(crate) mod piece;
mod slots;
#[cfg(test)]
mod tests;

use slots::{Slots, Taken};

/// Fewest slots that a log works with: a quarter of them is one.
const SLOTS_MIN: u32 = 4;

/// The log of an attached disk.
#[derive(Debug)]
pub(crate) struct ActivityLog {
    ring: Ring,
    number: u64,
    extent_shift: u32,
    slots: Slots,
    /// Changes that the next transaction writes, and the extents they replace.
    staged: Vec<Update>,
    evicted: Vec<u32>,
    /// The last transaction begun, and whether it is still under way.
    sequence: u64,
    step: Step,
    /// First slot of the next transaction's window.
    context_first: u32,
    /// Writes in want of slots, in order.
    waiting: VecDeque<Waiter>,
    /// Writes that have their slots, until the transaction is durable.
    reserved: VecDeque<(Key, u64)>,
    /// Why the first of `waiting` found no slot, if it did not.
    lack: Option<Lack>,
    /// Slots given to new extents since a flush was asked for.
    given: u32,
    flush_asked: bool,
    /// The last flush of the disk that has ended.
    flushed: u64,
}

/// What is written.
#[derive(Debug)]
enum Step {
    Idle,
    /// Nothing yet, and a transaction is about to be.
    Begun,
    /// The bits of evicted extents.
    SavingBits(Ticket, Box<Transaction>),
    /// The two copies of the transaction.
    Writing {
        left: u8,
    },
}

/// A write in want of slots.
#[derive(Clone, Copy, Debug)]
struct Waiter {
    write: Key,
    /// The next extent it needs, and the last.
    next: u32,
    last: u32,
    /// The transaction that the extents it has wait for.
    since: u64,
}

/// What a write in want of a slot waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Lack {
    /// That writes are done with.
    References,
    /// That the disk is flushed.
    Flush,
}

/// What must be asked for so that slots become free.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Wants {
    /// A flush of the disk.
    flush: bool,
    /// Barriers behind all that was sent.
    barriers: bool,
}

impl ActivityLog {
    /// An empty log, and the writes that begin it: durable before the superblock names it.
    pub(crate) fn begin(
        ring: Ring,
        number: u64,
        extent_bytes: u32,
        slots: u32,
    ) -> (Self, [MetaWrite; 2]) {
        let slots = slots.max(SLOTS_MIN).min(ring.slots_max());
        let mut log = Self {
            ring,
            number,
            extent_shift: extent_bytes.trailing_zeros(),
            slots: Slots::new(slots),
            staged: Vec::with_capacity(UPDATES_MAX),
            evicted: Vec::with_capacity(UPDATES_MAX),
            sequence: 0,
            step: Step::Idle,
            context_first: 0,
            waiting: VecDeque::new(),
            reserved: VecDeque::new(),
            lack: None,
            given: 0,
            flush_asked: false,
            flushed: 0,
        };
        let first = log.next_transaction();
        let writes = log.ring.plan_write(&first);
        (log, writes)
    }

    /// Longest write, in extents, that one write may be.
    fn extents_max(&self) -> u64 {
        u64::from(self.slots.count() / SLOTS_MIN)
    }

    fn extents(&self, range: ByteRange) -> (u32, u32) {
        let extent = |offset: u64| {
            u32::try_from(offset >> self.extent_shift).expect("a volume has at most 2^28 extents")
        };
        assert!(range.len > 0, "an empty write touches no extent");
        (extent(range.offset), extent(range.end() - 1))
    }

    /// Refers to the extents of a write if all are hot and nobody starves.
    fn refer(&mut self, range: ByteRange) -> bool {
        let (first, last) = self.extents(range);
        self.lack.is_none() && self.slots.refer(first, last, self.durable())
    }

    /// A write waits for its extents to be hot.
    fn wait(&mut self, write: Key, range: ByteRange) {
        let (next, last) = self.extents(range);
        self.waiting.push_back(Waiter { write, next, last, since: 0 });
    }

    /// Gives waiting writes their slots, in order, as far as there are any.
    fn reserve(&mut self) {
        self.lack = None;
        while let Some(waiter) = self.waiting.front_mut() {
            while waiter.next <= waiter.last {
                if self.staged.len() == UPDATES_MAX {
                    return; // the transaction under way comes first
                }
                match self.slots.take(waiter.next, self.sequence + 1, self.flushed) {
                    Taken::Has { since } => waiter.since = waiter.since.max(since),
                    Taken::Gets { update, evicted } => {
                        waiter.since = self.sequence + 1;
                        self.staged.push(update);
                        self.evicted.extend(evicted);
                        self.given += 1;
                    }
                    Taken::AllReferred => {
                        self.lack = Some(Lack::References);
                        return;
                    }
                    Taken::Unflushed => {
                        self.lack = Some(Lack::Flush);
                        return;
                    }
                }
                waiter.next += 1;
            }
            let Waiter { write, since, .. } = *waiter;
            self.waiting.pop_front();
            self.reserved.push_back((write, since));
        }
    }

    /// What must be asked for so that slots become free. Early enough that writes need not wait.
    fn wants(&mut self) -> Wants {
        let soon = u64::from(self.given) >= self.extents_max();
        let flush = (soon || self.lack == Some(Lack::Flush)) && !self.flush_asked;
        if flush {
            self.flush_asked = true;
            self.given = 0;
        }
        Wants { flush, barriers: flush || self.lack.is_some() }
    }

    /// The next write whose extents are all durably in the log.
    fn next_covered(&mut self) -> Option<Key> {
        let durable = self.durable();
        let (write, _) = self.reserved.pop_front_if(|(_, since)| *since <= durable)?;
        Some(write)
    }

    /// The last transaction that is durable.
    fn durable(&self) -> u64 {
        match self.step {
            Step::Idle => self.sequence,
            Step::Begun | Step::SavingBits(..) | Step::Writing { .. } => self.sequence - 1,
        }
    }

    /// Begins a transaction if there is something to write: itself, and the extents it evicts.
    fn begin_transaction(&mut self) -> Option<(Transaction, Vec<u32>)> {
        if self.staged.is_empty() || !matches!(self.step, Step::Idle) {
            return None;
        }
        let evicted = std::mem::take(&mut self.evicted);
        let transaction = self.next_transaction();
        self.step = Step::Begun;
        Some((transaction, evicted))
    }

    /// What is staged, and the next window of what is not.
    fn next_transaction(&mut self) -> Transaction {
        let slots = self.slots.count();
        let window = u32::try_from(CONTEXT_MAX).expect("912").min(slots);
        let context_first = self.context_first;
        self.context_first = (context_first + window) % slots;
        self.sequence += 1;
        Transaction {
            log: self.number,
            sequence: self.sequence,
            slots,
            updates: std::mem::take(&mut self.staged),
            context_first,
            context: (0..window)
                .map(|index| self.slots.extent((context_first + index) % slots))
                .collect(),
        }
    }

    /// Whether nothing of it is being written, or about to be.
    pub(crate) fn is_at_rest(&self) -> bool {
        matches!(self.step, Step::Idle) && self.staged.is_empty()
    }

    /// Whether it is kept in this ring.
    pub(crate) fn is_in(&self, ring: &Ring) -> bool {
        self.ring == *ring
    }

    /// Goes on in another ring, of the same length. What it returns describes every slot there: it
    /// must be durable before the metadata name that ring, or another transaction begins.
    pub(crate) fn move_to(&mut self, ring: Ring) -> Vec<MetaWrite> {
        assert!(self.is_at_rest() && ring.places() == self.ring.places(), "a log moves at rest");
        self.ring = ring;
        let windows = self.slots.count().div_ceil(u32::try_from(CONTEXT_MAX).expect("912"));
        let mut writes = Vec::new();
        for _ in 0..windows {
            let window = self.next_transaction();
            writes.extend(self.ring.plan_write(&window));
        }
        writes
    }

    /// Where an extent lies.
    fn offset(&self, extent: u32) -> u64 {
        u64::from(extent) << self.extent_shift
    }

    /// A write that is covered has ended on disk; `flush` is the first flush to cover it.
    fn written(&mut self, range: ByteRange, flush: u64) {
        let (first, last) = self.extents(range);
        (first..=last).for_each(|extent| self.slots.written(extent, flush));
    }

    /// A covered write is done with. Whether somebody may be waiting for that.
    fn release(&mut self, range: ByteRange) -> bool {
        let (first, last) = self.extents(range);
        (first..=last).for_each(|extent| self.slots.release(extent));
        !self.waiting.is_empty()
    }

    /// A flush of the disk has ended.
    pub(crate) fn flushed(&mut self, flush: u64) {
        self.flushed = self.flushed.max(flush);
    }

    /// The flush that was asked for has ended.
    fn flush_answered(&mut self) {
        self.flush_asked = false;
    }

    /// Writes that wait for this log, which is given up.
    pub(crate) fn into_waiting(self) -> impl Iterator<Item = Key> {
        let reserved = self.reserved.into_iter().map(|(write, _)| write);
        reserved.chain(self.waiting.into_iter().map(|waiter| waiter.write))
    }
}
