//! Which part of the pool is registered with the ring, and under which index.
//!
//! The slab with index n of the arena is the fixed buffer n of the ring. Slabs are registered when
//! the pool has grown, and never unregistered before the ring is gone. The arena is held here, so a
//! registered address cannot be unmapped and mapped again as something else.

use std::ptr;
use std::sync::Arc;

use io_uring::IoUring;

use crate::limits::SLAB_BYTES;
use crate::pool::Arena;

/// The registered slabs of one arena.
#[derive(Debug)]
pub(super) struct FixedBuffers {
    arena: Arc<Arena>,
    /// Slab number (address / SLAB_BYTES) and fixed-buffer index, sorted.
    slabs: Vec<(usize, u16)>,
    /// Set at the first refusal; what is registered stays so, what comes later is not tried.
    is_refused: bool,
}

impl FixedBuffers {
    pub(super) fn new(ring: &IoUring, arena: Arc<Arena>, slabs_max: u32) -> Self {
        let is_refused = ring.submitter().register_buffers_sparse(slabs_max).is_err();
        let mut fixed = Self { arena, slabs: Vec::new(), is_refused };
        fixed.follow(ring);
        fixed
    }

    /// Registers the slabs that the pool has mapped since the last call.
    pub(super) fn follow(&mut self, ring: &IoUring) {
        while !self.is_refused && self.slabs.len() < self.arena.slab_count() {
            self.register_next(ring);
        }
    }

    /// The fixed buffer in which these bytes lie, if it is one.
    pub(super) fn index_of(&self, bytes: &[u8]) -> Option<u16> {
        let address = bytes.as_ptr().addr();
        let slab = address / SLAB_BYTES;
        let found = self.slabs.binary_search_by_key(&slab, |(slab, _)| *slab).ok()?;
        let is_inside = address % SLAB_BYTES + bytes.len() <= SLAB_BYTES;
        is_inside.then(|| self.slabs[found].1)
    }

    pub(super) fn arena(&self) -> &Arc<Arena> {
        &self.arena
    }

    pub(super) fn bytes(&self) -> usize {
        self.slabs.len() * SLAB_BYTES
    }

    pub(super) fn is_refused(&self) -> bool {
        self.is_refused
    }

    fn register_next(&mut self, ring: &IoUring) {
        let next = self.slabs.len();
        let address = self.arena.slab_address(next);
        assert!(address.is_multiple_of(SLAB_BYTES), "slabs are aligned to their size");
        let index = u16::try_from(next).expect("POOL_BYTES_MAX bounds the slabs");
        let iov_base = ptr::with_exposed_provenance_mut(address);
        let buffer = libc::iovec { iov_base, iov_len: SLAB_BYTES };
        let submitter = ring.submitter();
        // SAFETY: the range is a slab of `arena`, mapped for as long as the arena lives; this value
        // holds the arena and is dropped after the ring (see `Uring`).
        let registered =
            unsafe { submitter.register_buffers_update(u32::from(index), &[buffer], None) };
        if registered.is_err() {
            self.is_refused = true;
            return;
        }
        let slab = address / SLAB_BYTES;
        let place = self.slabs.partition_point(|(other, _)| *other < slab);
        self.slabs.insert(place, (slab, index));
    }
}
