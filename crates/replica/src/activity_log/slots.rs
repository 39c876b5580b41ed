//! The slots of an activity log: which extents are in it, who refers to them, which one goes next.
//!
//! A slot that nobody refers to stays as it is until another extent needs one: least recently used
//! first, and only once the disk has been flushed since the last write to its extent ended. Looking
//! an extent up is one access to a table; nothing is hashed and nothing allocated for it.

use crate::meta::{NO_EXTENT, Update};

/// No slot.
const NONE: u16 = u16::MAX;

#[derive(Debug)]
struct Slot {
    extent: u32,
    /// Writes that the extent must stay in the log for.
    references: u32,
    /// The transaction that put it here.
    since: u64,
    /// The flush that makes the last write to it durable.
    flush: u64,
    /// Neighbours among the slots without references.
    older: u16,
    newer: u16,
}

/// The slots of one log.
#[derive(Debug)]
pub(crate) struct Slots {
    slots: Vec<Slot>,
    /// By extent: its slot and one, 0 for none. Grows to the largest extent ever used.
    by_extent: Vec<u16>,
    /// Ends of the list of slots without references.
    oldest: u16,
    newest: u16,
}

/// What came of asking for an extent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Taken {
    /// It has a slot, by this transaction.
    Has { since: u64 },
    /// It got a slot; it is in the log once this is written. What was there before, if anything.
    Gets { update: Update, evicted: Option<u32> },
    /// Every slot is referred to.
    AllReferred,
    /// The next slot to go was written to since the last flush.
    Unflushed,
}

impl Slots {
    /// Free slots.
    pub(crate) fn new(count: u32) -> Self {
        let count = u16::try_from(count).ok().filter(|count| (1..NONE).contains(count));
        let count = count.expect("at most 65534 slots");
        let slot = |index: u16| Slot {
            extent: NO_EXTENT,
            references: 0,
            since: 0,
            flush: 0,
            older: index.checked_sub(1).unwrap_or(NONE),
            newer: if index + 1 < count { index + 1 } else { NONE },
        };
        Self {
            slots: (0..count).map(slot).collect(),
            by_extent: Vec::new(),
            oldest: 0,
            newest: count - 1,
        }
    }

    pub(crate) fn count(&self) -> u32 {
        u32::try_from(self.slots.len()).expect("at most 65534")
    }

    /// The extent in a slot, or `NO_EXTENT`.
    pub(crate) fn extent(&self, slot: u32) -> u32 {
        self.slots[slot as usize].extent
    }

    /// Refers to all of these extents if each is in the log by a transaction up to `durable`.
    pub(crate) fn refer(&mut self, first: u32, last: u32, durable: u64) -> bool {
        let is_hot = |extent: u32| {
            self.find(extent).is_some_and(|slot| self.slots[usize::from(slot)].since <= durable)
        };
        if !(first..=last).all(is_hot) {
            return false;
        }
        for extent in first..=last {
            let slot = self.find(extent).expect("all were found");
            self.add_reference(slot);
        }
        true
    }

    /// Refers to an extent, giving it a slot by transaction `next` if it has none. `flushed` is the
    /// last flush of the disk that has ended.
    pub(crate) fn take(&mut self, extent: u32, next: u64, flushed: u64) -> Taken {
        if let Some(slot) = self.find(extent) {
            self.add_reference(slot);
            return Taken::Has { since: self.slots[usize::from(slot)].since };
        }
        let slot = self.oldest;
        if slot == NONE {
            return Taken::AllReferred;
        }
        if self.slots[usize::from(slot)].flush > flushed {
            return Taken::Unflushed;
        }
        self.add_reference(slot);
        let entry = &mut self.slots[usize::from(slot)];
        let old = std::mem::replace(&mut entry.extent, extent);
        (entry.since, entry.flush) = (next, 0);
        let evicted = (old != NO_EXTENT).then_some(old);
        if let Some(old) = evicted {
            self.by_extent[old as usize] = 0;
        }
        if self.by_extent.len() <= extent as usize {
            self.by_extent.resize(extent as usize + 1, 0);
        }
        self.by_extent[extent as usize] = slot + 1;
        Taken::Gets { update: Update { slot, extent }, evicted }
    }

    /// A write to an extent that is referred to has ended; `flush` is the first one to cover it.
    pub(crate) fn written(&mut self, extent: u32, flush: u64) {
        let slot = self.find(extent).expect("an extent stays while it is referred to");
        let entry = &mut self.slots[usize::from(slot)];
        assert!(entry.references > 0, "a write holds a reference until it is done");
        entry.flush = entry.flush.max(flush);
    }

    /// Gives a reference back.
    pub(crate) fn release(&mut self, extent: u32) {
        let slot = self.find(extent).expect("an extent stays while it is referred to");
        let newest = self.newest;
        let entry = &mut self.slots[usize::from(slot)];
        entry.references = entry.references.checked_sub(1).expect("released as often as taken");
        if entry.references > 0 {
            return;
        }
        (entry.older, entry.newer) = (newest, NONE);
        self.newest = slot;
        match newest {
            NONE => self.oldest = slot,
            newest => self.slots[usize::from(newest)].newer = slot,
        }
    }

    fn find(&self, extent: u32) -> Option<u16> {
        self.by_extent.get(extent as usize)?.checked_sub(1)
    }

    fn add_reference(&mut self, slot: u16) {
        let entry = &mut self.slots[usize::from(slot)];
        entry.references += 1;
        if entry.references > 1 {
            return;
        }
        let (older, newer) = (entry.older, entry.newer);
        match older {
            NONE => self.oldest = newer,
            older => self.slots[usize::from(older)].newer = newer,
        }
        match newer {
            NONE => self.newest = older,
            newer => self.slots[usize::from(newer)].older = older,
        }
    }
}
