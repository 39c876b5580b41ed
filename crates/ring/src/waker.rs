//! Wakes an engine's wait from another thread.
//!
//! An eventfd that the engine always has a read in flight on. Wakes that come before the engine
//! looked at the first are one wake: the flag spares them the system call.

use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::event::{EventfdFlags, eventfd};

/// A handle that makes [`Engine::wait`](crate::Engine::wait) return with
/// [`Turn::woken`](crate::Turn::woken) set. May outlive the engine; waking is then a no-op.
#[derive(Clone, Debug)]
pub struct Waker {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    event: OwnedFd,
    /// Set by the first wake, cleared by the engine before its thread looks for what it was woken
    /// for; whatever was published before `wake` is visible to the thread after that turn.
    is_pending: AtomicBool,
}

impl Waker {
    pub(crate) fn new() -> std::io::Result<Self> {
        // Not EFD_NONBLOCK: a ring may answer the read with EAGAIN instead of waiting.
        let event = eventfd(0, EventfdFlags::CLOEXEC)?;
        Ok(Self { shared: Arc::new(Shared { event, is_pending: AtomicBool::new(false) }) })
    }

    /// Wakes the engine; may be called from any thread, any number of times.
    pub fn wake(&self) {
        if self.shared.is_pending.swap(true, Ordering::AcqRel) {
            return;
        }
        // Since the flag admits one write per wake, the counter cannot overflow and the write
        // cannot block; a signal is the only other reason for it to fail.
        while let Err(error) = rustix::io::write(&self.shared.event, &1_u64.to_ne_bytes()) {
            assert!(error == rustix::io::Errno::INTR, "a wake cannot be written: {error}");
        }
    }

    /// Called when the read of the eventfd has completed, before the thread looks for its mail.
    pub(crate) fn clear(&self) {
        self.shared.is_pending.swap(false, Ordering::AcqRel);
    }

    pub(crate) fn event(&self) -> &OwnedFd {
        &self.shared.event
    }
}
