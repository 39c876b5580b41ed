//! The end of an engine: nothing may be freed that the kernel still uses.
//!
//! Everything in flight is cancelled. Receives end at once; a write that a disk has begun cannot be
//! taken back and is waited for. Only then are the fields dropped: the ring, which lets go of the
//! registered descriptors and buffers, then the flights, then the pool's memory.

use std::mem;
use std::sync::Arc;
use std::time::Duration;

use io_uring::{opcode, types};

use super::flight::Flights;
use super::{USER_DATA_CANCEL, Uring};

/// A cancellation can miss an operation that is just changing from waiting to running; it is
/// repeated at this interval.
const CANCEL_INTERVAL: Duration = Duration::from_millis(50);

/// How many enters may fail before the memory is given up for lost.
const FAILURES_MAX: u32 = 100;

impl Drop for Uring {
    fn drop(&mut self) {
        self.is_ending = true;
        let mut failures = 0;
        while self.flights.len() > 0 || self.is_wake_armed {
            if !self.cancel_and_reap() {
                failures += 1;
            }
            if failures == FAILURES_MAX {
                self.leak();
                return;
            }
        }
        // The kernel lets go of what is registered some time after the ring is closed; asked
        // explicitly, it does so here, and the locks on the files go with it. A table that was
        // never registered is refused, which changes nothing.
        let _ = self.ring.submitter().unregister_files();
        let _ = self.ring.submitter().unregister_buffers();
    }
}

impl Uring {
    /// Tells whether the ring could be entered.
    fn cancel_and_reap(&mut self) -> bool {
        let cancel = opcode::AsyncCancel2::new(types::CancelBuilder::any()).build();
        self.push(cancel.user_data(USER_DATA_CANCEL));
        let is_entered = self.enter(true, Some(CANCEL_INTERVAL)).is_ok();
        let mut landed = Vec::new();
        self.reap(&mut landed);
        is_entered
    }

    /// A ring that cannot be entered cannot be asked what it still uses: its memory is never freed.
    fn leak(&mut self) {
        mem::forget(mem::replace(&mut self.flights, Flights::new(0)));
        mem::forget(mem::take(&mut self.wake_count));
        mem::forget(Arc::clone(self.buffers.arena()));
    }
}
