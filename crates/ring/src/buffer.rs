//! A slot of the pool in the hands of exactly one owner.
//!
//! A [`Buffer`] is mutable and unique. [`Buffer::freeze`] turns it into [`Bytes`], which can be
//! cloned and sliced at no cost; when the last of them is gone, the slot returns to the pool. Both
//! keep the memory of the whole pool alive, so the pool itself may be dropped at any time.
//!
//! The contents of a buffer that was just taken are unspecified: they may be what an earlier owner,
//! possibly another client, left there. Whoever hands bytes to a client has received or read every
//! one of them first, or has used [`Pool::take_zeroed`](crate::Pool::take_zeroed).

use std::fmt;
use std::ops::{Deref, DerefMut};
use std::ptr::NonNull;
use std::slice;
use std::sync::Arc;

use bytes::Bytes;

use crate::pool::{Arena, Slot};

/// A unique, mutable piece of pool memory, aligned to 4096 bytes.
pub struct Buffer {
    arena: Arc<Arena>,
    slot: Slot,
    start: NonNull<u8>,
    len: usize,
    capacity: usize,
}

// SAFETY: a Buffer is the only owner of its slot (the arena hands a slot out once until it is
// released), and the arena behind it is Sync; which thread uses or drops it makes no difference.
unsafe impl Send for Buffer {}
// SAFETY: through a shared reference the memory can only be read, see `Deref`.
unsafe impl Sync for Buffer {}

impl Buffer {
    /// `start` is the first of `capacity` bytes of `slot`, which the caller has just taken out of
    /// the free list of `arena`.
    pub(crate) fn new(
        arena: Arc<Arena>,
        slot: Slot,
        start: NonNull<u8>,
        len: usize,
        capacity: usize,
    ) -> Self {
        assert!(len <= capacity, "a buffer of {len} bytes in a slot of {capacity}");
        Self { arena, slot, start, len, capacity }
    }

    /// Sets the length, up to the capacity. What comes into view when it grows is unspecified.
    ///
    /// # Panics
    /// If `len` is above [`capacity`](Self::capacity).
    pub fn set_len(&mut self, len: usize) {
        assert!(len <= self.capacity, "{len} bytes asked of a slot of {}", self.capacity);
        self.len = len;
    }

    /// Ends the mutable life of the buffer: the same memory as shared, immutable bytes.
    pub fn freeze(self) -> Bytes {
        Bytes::from_owner(self)
    }

    /// The bytes that the slot can hold: its size class.
    pub fn capacity(&self) -> usize {
        self.capacity
    }
}

impl Deref for Buffer {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        // SAFETY: `start` is valid for `capacity >= len` bytes as long as `arena` lives, which this
        // value holds; the mapping was zero-filled, so every byte is initialised; nobody writes to
        // it, because a slot has one owner and the kernel gets it only by value inside an Op.
        unsafe { slice::from_raw_parts(self.start.as_ptr(), self.len) }
    }
}

impl DerefMut for Buffer {
    fn deref_mut(&mut self) -> &mut [u8] {
        // SAFETY: as in `deref`, and the slot is not shared: `&mut self` is the only way to it.
        unsafe { slice::from_raw_parts_mut(self.start.as_ptr(), self.len) }
    }
}

impl AsRef<[u8]> for Buffer {
    fn as_ref(&self) -> &[u8] {
        self
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        self.arena.release(self.slot);
    }
}

impl fmt::Debug for Buffer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Buffer").field("slot", &self.slot).field("len", &self.len).finish()
    }
}
