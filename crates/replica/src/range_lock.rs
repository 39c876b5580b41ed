//! Who may touch which bytes of a volume: first come, first served locks on ranges.
//!
//! Two writes in flight to the same bytes may land in either order, and then two replicas differ
//! while both look right (SEMANTICS rule 6). So every operation takes a lock on
//! arrival and holds it to completion. A lock waits for every earlier one, granted or waiting
//! itself, that overlaps it and conflicts by kind; it is granted when the last of those is gone.
//! Nothing overtakes.
//!
//! One lock is not taken at the end of the line: the write of a resync reply stands where its claim
//! does ([`RangeLocks::acquire_under`]). At the end it would wait behind an application's write,
//! which waits for the claim, which ends with that very write. Locks so wait only for what stands
//! before them or is held, and no circle can form.
//!
//! Contract: a [`LockId`] is used until its release or cancellation and not beyond. Whoever
//! releases passes on what that granted, in the order of the line. Ranges are bytes and were
//! checked against the volume before. No allocation once the tables have grown to the largest
//! number of locks.
//!
//! The locks lie in a slab; a vector sorted by offset finds overlaps. It looks back by the length
//! of the longest lock, so one very long lock makes looking a walk over those in front.

mod kind;
#[cfg(test)]
mod tests;

pub use kind::LockKind;

/// Names a lock from [`RangeLocks::acquire`] to its release; never given twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LockId {
    /// Arrival number: the later lock has the larger one.
    arrival: u64,
    slot: u32,
}

/// Whether a lock is held.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Acquired {
    /// Go on.
    Granted,
    /// Wait until a release or cancellation reports the lock.
    Waiting,
}

/// A lock that waited and is held from here on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Grant {
    /// The lock.
    pub lock: LockId,
    /// What its owner said to be known by.
    pub owner: u64,
}

/// The locks of one volume.
#[derive(Debug, Default)]
pub struct RangeLocks {
    slots: Vec<Slot>,
    free: Vec<u32>,
    /// One entry per lock, by offset.
    by_offset: Vec<Entry>,
    /// At least the length of the longest lock present.
    len_max: u64,
    arrivals: u64,
    waiting: usize,
}

impl RangeLocks {
    /// No lock is held; tables for `capacity` locks are allocated.
    pub fn with_capacity(capacity: usize) -> Self {
        Self {
            slots: Vec::with_capacity(capacity),
            free: Vec::with_capacity(capacity),
            by_offset: Vec::with_capacity(capacity),
            ..Self::default()
        }
    }

    /// Takes a place in line for `len` bytes at `offset`. `owner` comes back with the grant.
    ///
    /// # Panics
    /// Where the range is empty or its end is no `u64`.
    pub fn acquire(
        &mut self,
        kind: LockKind,
        offset: u64,
        len: u64,
        owner: u64,
    ) -> (LockId, Acquired) {
        assert!(len > 0, "an empty range");
        let end = offset.checked_add(len).expect("ranges were checked against the volume");
        let place = self.arrivals;
        self.stand(Slot { kind, offset, end, owner, blockers: 0, place, arrival: self.arrivals })
    }

    /// As [`RangeLocks::acquire`], but in the place of `claim`, a lock that is held: before all
    /// that came after the claim and waits, behind all that is held.
    ///
    /// # Panics
    /// As `acquire`; where `claim` is not held, does not cover the range, or conflicts by kind.
    pub fn acquire_under(
        &mut self,
        claim: LockId,
        kind: LockKind,
        offset: u64,
        len: u64,
        owner: u64,
    ) -> (LockId, Acquired) {
        assert!(len > 0, "an empty range");
        assert!(self.is_granted(claim), "a claim that is not held");
        let claim = self.slots[claim.slot as usize];
        let end = offset.checked_add(len).expect("ranges were checked against the volume");
        assert!(claim.offset <= offset && end <= claim.end, "a range beyond its claim");
        assert!(!claim.kind.conflicts_with(kind), "a lock that waits for its claim");
        let place = claim.place;
        self.stand(Slot { kind, offset, end, owner, blockers: 0, place, arrival: self.arrivals })
    }

    /// Ends a lock that is held; appends what that granted to `granted`, in the order of the line.
    ///
    /// # Panics
    /// Where the lock is not held.
    pub fn release(&mut self, id: LockId, granted: &mut Vec<Grant>) {
        let slot = self.remove(id);
        assert_eq!(slot.blockers, 0, "a lock was released that was waiting");
        self.unblock(&slot, granted);
    }

    /// Ends a lock that is waiting; appends what that granted to `granted`, in the order of the
    /// line.
    ///
    /// # Panics
    /// Where the lock is not waiting.
    pub fn cancel(&mut self, id: LockId, granted: &mut Vec<Grant>) {
        let slot = self.remove(id);
        assert!(slot.blockers > 0, "a lock was cancelled that was held");
        self.waiting -= 1;
        self.unblock(&slot, granted);
    }

    /// Whether the lock is held; false while it waits and after it has ended.
    pub fn is_granted(&self, id: LockId) -> bool {
        let slot = self.slots.get(id.slot as usize);
        slot.is_some_and(|slot| slot.arrival == id.arrival && slot.blockers == 0)
    }

    /// How many locks wait.
    pub fn waiting(&self) -> usize {
        self.waiting
    }

    /// How many locks are held or wait.
    pub fn len(&self) -> usize {
        self.by_offset.len()
    }

    /// Whether no lock is held or waits.
    pub fn is_empty(&self) -> bool {
        self.by_offset.is_empty()
    }

    /// Puts a lock in line: it waits for all before it and all that is held, and those behind it
    /// that are not held wait for it.
    fn stand(&mut self, mut slot: Slot) -> (LockId, Acquired) {
        for index in self.places(slot.offset, slot.end) {
            let entry = self.by_offset[index];
            let other = &mut self.slots[entry.slot as usize];
            if entry.end <= slot.offset || !other.kind.conflicts_with(slot.kind) {
                continue;
            }
            if other.line() < slot.line() || other.blockers == 0 {
                slot.blockers += 1;
            } else {
                other.blockers += 1;
            }
        }
        let acquired = if slot.blockers == 0 { Acquired::Granted } else { Acquired::Waiting };
        self.waiting += usize::from(acquired == Acquired::Waiting);
        (self.insert(slot), acquired)
    }

    /// Takes one blocker from every lock that waited for `gone`. Of two that exclude each other and
    /// both wait, the one behind waits for the one before; of one that waits and one that is held,
    /// the former for the latter, wherever they stand.
    fn unblock(&mut self, gone: &Slot, granted: &mut Vec<Grant>) {
        if self.waiting == 0 {
            return;
        }
        let first = granted.len();
        for index in self.places(gone.offset, gone.end) {
            let entry = self.by_offset[index];
            let slot = &mut self.slots[entry.slot as usize];

            if entry.end <= gone.offset || !slot.kind.conflicts_with(gone.kind) {
                continue;
            }
            if gone.blockers > 0 && (slot.blockers == 0 || slot.line() < gone.line()) {
                continue;
            }
            assert!(slot.blockers > 0, "two locks that exclude each other were held");
            slot.blockers -= 1;
            if slot.blockers == 0 {
                self.waiting -= 1;
                let lock = LockId { arrival: slot.arrival, slot: entry.slot };
                granted.push(Grant { lock, owner: slot.owner });
            }
        }
        let slots = &self.slots;
        granted[first..].sort_unstable_by_key(|grant| slots[grant.lock.slot as usize].line());
    }

    /// Where in `by_offset` locks stand that may overlap the range; all that do are among them.
    fn places(&self, offset: u64, end: u64) -> std::ops::Range<usize> {
        let earliest = offset.saturating_sub(self.len_max);
        let first = self.by_offset.partition_point(|entry| entry.offset < earliest);
        let behind = self.by_offset[first..].partition_point(|entry| entry.offset < end);
        first..first + behind
    }

    fn insert(&mut self, slot: Slot) -> LockId {
        self.arrivals += 1;
        self.len_max = self.len_max.max(slot.end - slot.offset);
        let place = self.by_offset.partition_point(|entry| entry.offset <= slot.offset);
        let (arrival, offset, end) = (slot.arrival, slot.offset, slot.end);
        let index = match self.free.pop() {
            Some(index) => {
                self.slots[index as usize] = slot;
                index
            }
            None => {
                self.slots.push(slot);
                u32::try_from(self.slots.len() - 1).expect("memory ends before 2^32 locks")
            }
        };
        self.by_offset.insert(place, Entry { offset, end, slot: index });
        LockId { arrival, slot: index }
    }

    fn remove(&mut self, id: LockId) -> Slot {
        let slot = self.slots[id.slot as usize];
        assert_eq!(slot.arrival, id.arrival, "a lock was used after its end");
        let first = self.by_offset.partition_point(|entry| entry.offset < slot.offset);
        let place = self.by_offset[first..].iter().position(|entry| entry.slot == id.slot);
        self.by_offset.remove(first + place.expect("every lock has its entry"));
        self.slots[id.slot as usize].arrival = ENDED;
        self.free.push(id.slot);
        if self.by_offset.is_empty() {
            self.len_max = 0;
        }
        slot
    }
}

/// The arrival of a slot that holds no lock.
const ENDED: u64 = u64::MAX;

#[derive(Clone, Copy, Debug)]
struct Slot {
    kind: LockKind,
    offset: u64,
    end: u64,
    owner: u64,
    /// How many locks this one waits for; held when none.
    blockers: u32,
    /// Where it stands in line: its arrival, or the place of the claim it was taken under.
    place: u64,
    arrival: u64,
}

impl Slot {
    /// Orders the line.
    fn line(&self) -> (u64, u64) {
        (self.place, self.arrival)
    }
}

#[derive(Clone, Copy, Debug)]
struct Entry {
    offset: u64,
    end: u64,
    slot: u32,
}
