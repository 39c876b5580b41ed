//! One mapping of memory, cut into slots of one size class.
//!
//! The memory of a slab is mapped once, aligned to its own size, and unmapped when the arena that
//! owns it is dropped. A slab none of whose slots is taken may be cut anew for another class.

use std::ptr::{self, NonNull};

use rustix::mm::{Advice, MapFlags, ProtFlags, madvise, mmap_anonymous, munmap};

use crate::limits::{BUFFER_BYTES_MAX, SLAB_BYTES};

/// The sizes of slots.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Class {
    Page,
    Medium,
    Large,
}

impl Class {
    pub(crate) const ALL: [Self; 3] = [Self::Page, Self::Medium, Self::Large];

    /// The smallest class that holds `len` bytes.
    pub(crate) fn of(len: usize) -> Self {
        assert!(len <= BUFFER_BYTES_MAX, "a buffer of {len} bytes is above BUFFER_BYTES_MAX");
        if len <= Self::Page.slot_bytes() {
            Self::Page
        } else if len <= Self::Medium.slot_bytes() {
            Self::Medium
        } else {
            Self::Large
        }
    }

    pub(crate) const fn slot_bytes(self) -> usize {
        match self {
            Self::Page => 4 << 10,
            Self::Medium => 64 << 10,
            Self::Large => BUFFER_BYTES_MAX,
        }
    }

    pub(crate) const fn slots(self) -> usize {
        SLAB_BYTES / self.slot_bytes()
    }

    pub(crate) const fn index(self) -> usize {
        match self {
            Self::Page => 0,
            Self::Medium => 1,
            Self::Large => 2,
        }
    }
}

/// A mapping and which of its slots are free.
#[derive(Debug)]
pub(crate) struct Slab {
    base: NonNull<u8>,
    pub(crate) class: Class,
    free: Vec<u16>,
    /// Whether a slot is in `free`, to catch a second release of the same slot.
    is_free: Vec<bool>,
}

// SAFETY: a slab is memory of its own mapping; the pointer is bound to no thread.
unsafe impl Send for Slab {}

impl Slab {
    /// Maps zero-filled memory; `None` if the system has none.
    pub(crate) fn map(class: Class) -> Option<Self> {
        let base = map_aligned()?;
        let slots_max = Class::Page.slots();
        let mut slab = Self {
            base,
            class,
            free: Vec::with_capacity(slots_max),
            is_free: Vec::with_capacity(slots_max),
        };
        slab.cut(class);
        Some(slab)
    }

    /// Cuts the slab anew; none of its slots may be taken.
    pub(crate) fn recut(&mut self, class: Class) {
        assert!(self.is_untouched(), "a slab with taken slots cannot be cut anew");
        self.cut(class);
    }

    /// Takes a slot, the last returned first, since its memory is likely still in the cache.
    pub(crate) fn take(&mut self) -> Option<(u16, NonNull<u8>)> {
        let slot = self.free.pop()?;
        self.is_free[usize::from(slot)] = false;
        let offset = usize::from(slot) * self.class.slot_bytes();
        assert!(offset + self.class.slot_bytes() <= SLAB_BYTES);
        // SAFETY: the assertion above: the slot lies inside the mapping of SLAB_BYTES at `base`.
        Some((slot, unsafe { self.base.add(offset) }))
    }

    pub(crate) fn release(&mut self, slot: u16) {
        let is_free = &mut self.is_free[usize::from(slot)];
        assert!(!*is_free, "slot {slot} is released twice");
        *is_free = true;
        self.free.push(slot);
    }

    pub(crate) fn free_count(&self) -> usize {
        self.free.len()
    }

    /// Whether all slots are free.
    pub(crate) fn is_untouched(&self) -> bool {
        self.free.len() == self.class.slots()
    }

    pub(crate) fn address(&self) -> usize {
        self.base.as_ptr().addr()
    }

    fn cut(&mut self, class: Class) {
        self.class = class;
        self.free.clear();
        let slots = u16::try_from(class.slots()).expect("a slab has at most 512 slots");
        self.free.extend((0..slots).rev());
        self.is_free.clear();
        self.is_free.resize(class.slots(), true);
    }
}

impl Drop for Slab {
    fn drop(&mut self) {
        // SAFETY: `base` is a mapping of SLAB_BYTES made by `map_aligned` that only this slab owns.
        // A slab is dropped with its arena, which every Buffer, every Bytes made of one and every
        // ring that registered it keeps alive; so nobody can reach the memory any more.
        let unmapped = unsafe { munmap(self.base.as_ptr().cast(), SLAB_BYTES) };
        assert!(unmapped.is_ok(), "a slab cannot be unmapped: {unmapped:?}");
    }
}

/// Maps SLAB_BYTES at a multiple of SLAB_BYTES, by mapping twice as much and giving back the rest.
fn map_aligned() -> Option<NonNull<u8>> {
    let protection = ProtFlags::READ | ProtFlags::WRITE;
    // SAFETY: an anonymous private mapping at an address of the kernel's choice affects no other.
    let mapped =
        unsafe { mmap_anonymous(ptr::null_mut(), 2 * SLAB_BYTES, protection, MapFlags::PRIVATE) };
    let start = NonNull::new(mapped.ok()?.cast::<u8>())?;
    let head = start.as_ptr().align_offset(SLAB_BYTES);
    assert!(head < SLAB_BYTES);
    // SAFETY: `head` is below SLAB_BYTES, so the address and the SLAB_BYTES after it are in the
    // mapping of twice that size.
    let base = unsafe { start.add(head) };
    if head > 0 {
        // SAFETY: the `head` bytes before `base` are part of the mapping and nobody has seen them.
        // A failure leaves them mapped, which wastes address space and nothing else.
        let _ = unsafe { munmap(start.as_ptr().cast(), head) };
    }
    // SAFETY: as above, for what lies behind the slab. It is never empty: head < SLAB_BYTES.
    let _ = unsafe { munmap(base.as_ptr().add(SLAB_BYTES).cast(), SLAB_BYTES - head) };
    // SAFETY: the range is the slab just mapped; the advice does not change its contents. A kernel
    // without transparent huge pages refuses it, which costs only speed.
    let _ = unsafe { madvise(base.as_ptr().cast(), SLAB_BYTES, Advice::LinuxHugepage) };
    Some(base)
}
