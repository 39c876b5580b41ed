//! The files and sockets of an engine.
//!
//! Each descriptor is kept open here and, where the kernel allows, registered with the ring under
//! the same index, which spares every operation the look-up. It is closed, here and in the ring,
//! when it has been unregistered and none of its operations is in flight. The index is then free
//! for another; the generation in the [`Handle`] tells the two apart.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use io_uring::IoUring;

use crate::error::TableFull;
use crate::op::Handle;
use crate::open::Access;

/// The table.
#[derive(Debug)]
pub(super) struct Descriptors {
    entries: Vec<Entry>,
    free: Vec<u32>,
    /// Whether the ring has a table of its own.
    is_fixed: bool,
}

#[derive(Debug)]
struct Entry {
    generation: u32,
    open: Option<Open>,
}

/// A descriptor and what is going on with it.
#[derive(Debug)]
struct Open {
    fd: OwnedFd,
    access: Access,
    is_fixed: bool,
    in_flight: u32,
    is_closing: bool,
}

/// How an operation names its descriptor to the kernel.
#[derive(Clone, Copy, Debug)]
pub(super) struct Target {
    pub(super) number: i32,
    pub(super) is_fixed: bool,
    /// The kernel is not to try it in the thread that submits it.
    pub(super) by_worker: bool,
}

impl Descriptors {
    pub(super) fn new(ring: &IoUring, count: u32) -> Self {
        let entries = (0..count).map(|_| Entry { generation: 0, open: None }).collect();
        let is_fixed = ring.submitter().register_files_sparse(count).is_ok();
        Self { entries, free: (0..count).rev().collect(), is_fixed }
    }

    /// Takes `fd` over.
    pub(super) fn add(
        &mut self,
        ring: &IoUring,
        fd: OwnedFd,
        access: Access,
    ) -> Result<Handle, TableFull> {
        let Some(index) = self.free.pop() else {
            return Err(TableFull(fd));
        };
        let is_fixed = self.is_fixed && update(ring, index, fd.as_raw_fd());
        let entry = &mut self.entries[index as usize];
        assert!(entry.open.is_none(), "a free index has no descriptor");
        entry.open = Some(Open { fd, access, is_fixed, in_flight: 0, is_closing: false });
        Ok(Handle { index, generation: entry.generation })
    }

    /// Closes the descriptor as soon as nothing of it is in flight.
    pub(super) fn remove(&mut self, ring: &IoUring, handle: Handle) {
        let Some(open) = self.find_mut(handle) else {
            return;
        };
        open.is_closing = true;
        self.close_if_idle(ring, handle);
    }

    /// Counts an operation in; `None` if the descriptor is closed or closing.
    pub(super) fn begin(&mut self, handle: Handle) -> Option<Target> {
        let open = self.find_mut(handle).filter(|open| !open.is_closing)?;
        open.in_flight += 1;
        Some(open.target(handle))
    }

    /// Counts an operation out.
    pub(super) fn end(&mut self, ring: &IoUring, handle: Handle) {
        let open = self.find_mut(handle).expect("an operation in flight keeps its descriptor");
        assert!(open.in_flight > 0, "an operation ends once");
        open.in_flight -= 1;
        self.close_if_idle(ring, handle);
    }

    /// The target of an operation that has begun and not ended.
    pub(super) fn target(&self, handle: Handle) -> Target {
        let open = self.find(handle).expect("an operation in flight keeps its descriptor");
        open.target(handle)
    }

    /// The descriptor, for calls that do not wait; `None` if it is closed or closing.
    pub(super) fn fd(&self, handle: Handle) -> Option<(BorrowedFd<'_>, Access)> {
        let open = self.find(handle).filter(|open| !open.is_closing)?;
        Some((open.fd.as_fd(), open.access))
    }

    pub(super) fn is_open(&self, handle: Handle) -> bool {
        self.find(handle).is_some()
    }

    pub(super) fn is_fixed(&self) -> bool {
        self.is_fixed
    }

    fn find(&self, handle: Handle) -> Option<&Open> {
        let entry = self.entries.get(handle.index as usize)?;
        entry.open.as_ref().filter(|_| entry.generation == handle.generation)
    }

    fn find_mut(&mut self, handle: Handle) -> Option<&mut Open> {
        let entry = self.entries.get_mut(handle.index as usize)?;
        entry.open.as_mut().filter(|_| entry.generation == handle.generation)
    }

    fn close_if_idle(&mut self, ring: &IoUring, handle: Handle) {
        let entry = &mut self.entries[handle.index as usize];
        let Some(open) = entry.open.take_if(|open| open.is_closing && open.in_flight == 0) else {
            return;
        };
        if open.is_fixed {
            let cleared = update(ring, handle.index, -1);
            assert!(cleared, "the ring cannot let go of a registered descriptor");
        }
        // An index whose generations are used up is retired: its ids would come round again.
        if let Some(next) = entry.generation.checked_add(1) {
            entry.generation = next;
            self.free.push(handle.index);
        }
    }
}

impl Open {
    fn target(&self, handle: Handle) -> Target {
        let number = if self.is_fixed {
            i32::try_from(handle.index).expect("DESCRIPTORS_MAX bounds the index")
        } else {
            self.fd.as_raw_fd()
        };
        let by_worker = self.access == Access::Worker;
        Target { number, is_fixed: self.is_fixed, by_worker }
    }
}

fn update(ring: &IoUring, index: u32, fd: i32) -> bool {
    ring.submitter().register_files_update(index, &[fd]).is_ok()
}
