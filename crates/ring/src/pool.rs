//! The payload buffers of one data thread.
//!
//! A pool grows in slabs of 2 MiB on demand up to its bound and never shrinks. Each slab is cut
//! into slots of one size class (4 KiB, 64 KiB, 1 MiB); one slab of each class is set aside, so
//! that no class can starve another, and a slab that is wholly free is cut anew for a class that
//! has run out. "No buffer" means "not now": the caller stops reading until buffers come back.
//!
//! One thread takes buffers, but a slot may be returned from any: `Bytes` is Send. So the free
//! lists are behind a mutex, which is uncontended in practice (two atomic operations, some 15 ns)
//! and, unlike a lock-free list, obviously free of ABA.
//!
//! The memory belongs to the [`Arena`], which the pool, each buffer and each engine that registered
//! it share; it is unmapped when the last of them is gone.

use std::ptr::NonNull;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::buffer::Buffer;
use crate::limits::{POOL_BYTES_DEFAULT, POOL_BYTES_MAX, POOL_BYTES_MIN, SLAB_BYTES};
use slab::{Class, Slab};

mod slab;
#[cfg(test)]
mod tests;

/// A bounded source of [`Buffer`]s.
#[derive(Debug)]
pub struct Pool {
    arena: Arc<Arena>,
}

impl Pool {
    /// A pool of at most `bytes_max` bytes, rounded down to whole slabs and brought into the range
    /// from [`POOL_BYTES_MIN`] to [`POOL_BYTES_MAX`]. Nothing is mapped yet.
    pub fn new(bytes_max: usize) -> Self {
        let slabs_max = bytes_max.clamp(POOL_BYTES_MIN, POOL_BYTES_MAX) / SLAB_BYTES;
        Self { arena: Arc::new(Arena::new(slabs_max)) }
    }

    /// A buffer of exactly `len` bytes with unspecified contents, or `None`: not now.
    ///
    /// # Panics
    /// If `len` is above [`BUFFER_BYTES_MAX`](crate::limits::BUFFER_BYTES_MAX).
    pub fn take(&self, len: usize) -> Option<Buffer> {
        let class = Class::of(len);
        let (slot, start) = self.arena.take(class)?;
        Some(Buffer::new(Arc::clone(&self.arena), slot, start, len, class.slot_bytes()))
    }

    /// As [`take`](Self::take), filled with zeroes.
    ///
    /// # Panics
    /// As `take`.
    pub fn take_zeroed(&self, len: usize) -> Option<Buffer> {
        let mut buffer = self.take(len)?;
        buffer.fill(0);
        Some(buffer)
    }

    /// The most bytes that this pool will ever map.
    pub fn bytes_max(&self) -> usize {
        self.arena.slabs_max * SLAB_BYTES
    }

    /// The bytes mapped so far.
    pub fn bytes_mapped(&self) -> usize {
        self.arena.slab_count() * SLAB_BYTES
    }

    /// The bytes in the hands of somebody, counted in whole slots.
    pub fn bytes_taken(&self) -> usize {
        self.arena.lock().bytes_taken
    }

    pub(crate) fn arena(&self) -> &Arc<Arena> {
        &self.arena
    }
}

impl Default for Pool {
    fn default() -> Self {
        Self::new(POOL_BYTES_DEFAULT)
    }
}

/// The slabs of a pool and their free lists.
#[derive(Debug)]
pub(crate) struct Arena {
    slabs_max: usize,
    /// The length of `State::slabs`, readable without the lock: slabs are only ever added.
    slab_count: AtomicUsize,
    state: Mutex<State>,
}

/// Names a slot: the slab's place in its arena and the slot's place in the slab.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Slot {
    slab: u16,
    slot: u16,
}

#[derive(Debug)]
struct State {
    slabs: Vec<Slab>,
    /// For each class its slabs with at least one free slot.
    open: [Vec<u16>; 3],
    /// For each class the number of its slabs.
    counts: [usize; 3],
    bytes_taken: usize,
}

impl Arena {
    fn new(slabs_max: usize) -> Self {
        let state = State {
            slabs: Vec::with_capacity(slabs_max),
            open: Class::ALL.map(|_| Vec::with_capacity(slabs_max)),
            counts: [0; 3],
            bytes_taken: 0,
        };
        Self { slabs_max, slab_count: AtomicUsize::new(0), state: Mutex::new(state) }
    }

    /// Returns a slot to its slab. Called exactly once for each slot taken, by `Buffer::drop`.
    pub(crate) fn release(&self, slot: Slot) {
        self.lock().release(slot);
    }

    pub(crate) fn slab_count(&self) -> usize {
        self.slab_count.load(Ordering::Acquire)
    }

    /// The address of the slab with this index. Every slab is SLAB_BYTES long, and stays at its
    /// address for the life of the arena.
    pub(crate) fn slab_address(&self, index: usize) -> usize {
        self.lock().slabs[index].address()
    }

    fn take(&self, class: Class) -> Option<(Slot, NonNull<u8>)> {
        let mut state = self.lock();
        if let Some(taken) = state.take(class) {
            return Some(taken);
        }
        if state.may_grow(class, self.slabs_max) {
            state.grow(class)?;
            self.slab_count.store(state.slabs.len(), Ordering::Release);
        } else if !state.recut(class) {
            return None;
        }
        state.take(class)
    }

    /// A panic under the lock is a broken invariant of this module; the lists are still used by the
    /// drops that follow it, which check each slot for themselves.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn take(&mut self, class: Class) -> Option<(Slot, NonNull<u8>)> {
        let open = &mut self.open[class.index()];
        let slab = *open.last()?;
        let from = &mut self.slabs[usize::from(slab)];
        assert!(from.class == class, "a slab is listed under the class it is cut for");
        let (slot, start) = from.take().expect("an open slab has a free slot");
        if from.free_count() == 0 {
            open.pop();
        }
        self.bytes_taken += class.slot_bytes();
        Some((Slot { slab, slot }, start))
    }

    fn release(&mut self, Slot { slab, slot }: Slot) {
        let to = &mut self.slabs[usize::from(slab)];
        to.release(slot);
        self.bytes_taken -= to.class.slot_bytes();
        if to.free_count() == 1 {
            self.open[to.class.index()].push(slab);
        }
    }

    /// Whether another slab for `class` leaves one for each class that has none yet.
    fn may_grow(&self, class: Class, slabs_max: usize) -> bool {
        let lacking = |other: &Class| *other != class && self.counts[other.index()] == 0;
        let set_aside = Class::ALL.iter().filter(|other| lacking(other)).count();
        self.slabs.len() + set_aside < slabs_max
    }

    fn grow(&mut self, class: Class) -> Option<()> {
        let index = u16::try_from(self.slabs.len()).expect("POOL_BYTES_MAX bounds the slabs");
        self.slabs.push(Slab::map(class)?);
        self.open[class.index()].push(index);
        self.counts[class.index()] += 1;
        Some(())
    }

    /// Cuts a free slab of another class, unless it is the last of it, for `class`.
    fn recut(&mut self, class: Class) -> bool {
        let spare = |slab: &Slab| {
            slab.class != class && slab.is_untouched() && self.counts[slab.class.index()] > 1
        };
        let Some(position) = self.slabs.iter().position(spare) else {
            return false;
        };
        let index = u16::try_from(position).expect("POOL_BYTES_MAX bounds the slabs");
        let old = self.slabs[position].class;
        self.slabs[position].recut(class);
        self.open[old.index()].retain(|open| *open != index);
        self.counts[old.index()] -= 1;
        self.open[class.index()].push(index);
        self.counts[class.index()] += 1;
        true
    }
}
