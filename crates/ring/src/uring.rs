//! The engine on io_uring.
//!
//! User data of a submission is the number of a flight or one of two sentinels. Everything that the
//! kernel has the address of is owned by this value: operations in `flights`, the target of the
//! waker's read in `wake_count`, the pool's memory by `buffers`. A flight leaves only by its
//! completion; `Drop` waits for all of them before any field is dropped, and then the ring, the
//! first field, is closed before the memory behind it.

use std::collections::VecDeque;
use std::io;
use std::marker::PhantomData;
use std::os::fd::{AsRawFd, OwnedFd};
use std::sync::Arc;
use std::time::Duration;

use io_uring::{IoUring, cqueue, opcode, squeue, types};
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use crate::engine::{Config, Features, Stats, Turn};
use crate::error::{EngineError, Full, TableFull};
use crate::limits::{DESCRIPTORS_MAX, OPERATIONS_MAX, RETRIES_MAX, SLAB_BYTES};
use crate::op::{Completion, Handle, Op};
use crate::open::Access;
use crate::pool::Pool;
use crate::waker::Waker;
use descriptors::Descriptors;
use fixed::FixedBuffers;
use flight::{Flight, Flights, Message};

mod descriptors;
mod drain;
mod encode;
mod fixed;
mod flight;
mod inline;
mod setup;
#[cfg(test)]
mod tests;

/// User data of the standing read of the waker's eventfd, and of cancellations. Flight numbers are
/// below 2^32.
const USER_DATA_WAKE: u64 = u64::MAX;
const USER_DATA_CANCEL: u64 = u64::MAX - 1;

/// An io_uring with what is in flight on it. Used through [`Engine`](crate::Engine).
pub struct Uring {
    ring: IoUring,
    flights: Flights,
    /// Where the read of the eventfd goes to. Allocated by itself, so that its address is stable.
    wake_count: Box<[u8; 8]>,
    buffers: FixedBuffers,
    descriptors: Descriptors,
    waker: Waker,
    is_wake_armed: bool,
    /// Set while the engine is dropped: nothing is submitted anew.
    is_ending: bool,
    /// Entries that found the submission queue full, in order.
    backlog: VecDeque<squeue::Entry>,
    /// Completed without the ring: inline, or refused for their descriptor.
    ready: VecDeque<Completion>,
    /// Messages of completed sends, for the next ones.
    /// They keep their boxes: the header's address is what the kernel gets.
    #[expect(clippy::vec_box, reason = "a message must not move while it is in flight")]
    messages: Vec<Box<Message>>,
    operations_max: usize,
    is_deferred: bool,
    stats: Stats,
    /// The ring accepts one thread only, so this value stays on it.
    not_send: PhantomData<*const ()>,
}

impl Uring {
    pub(crate) fn new(config: Config, pool: &Pool) -> Result<Self, EngineError> {
        let Config { operations_max, descriptors_max } = config;
        assert!((1..=OPERATIONS_MAX).contains(&operations_max), "{config:?}");
        assert!((1..=DESCRIPTORS_MAX).contains(&descriptors_max), "{config:?}");
        let (ring, is_deferred) = setup::setup(operations_max.next_power_of_two())?;
        let slabs_max = u32::try_from(pool.bytes_max() / SLAB_BYTES).expect("POOL_BYTES_MAX");
        let mut uring = Self {
            flights: Flights::new(operations_max),
            wake_count: Box::new([0; 8]),
            buffers: FixedBuffers::new(&ring, Arc::clone(pool.arena()), slabs_max),
            descriptors: Descriptors::new(&ring, descriptors_max),
            waker: Waker::new().map_err(EngineError::Setup)?,
            is_wake_armed: false,
            is_ending: false,
            backlog: VecDeque::new(),
            ready: VecDeque::new(),
            messages: Vec::new(),
            operations_max: operations_max as usize,
            is_deferred,
            stats: Stats::default(),
            not_send: PhantomData,
            ring,
        };
        uring.arm_waker();
        Ok(uring)
    }

    pub(crate) fn submit(&mut self, token: u64, mut op: Op) -> Result<(), Full> {
        if let Op::Recv { buffer, filled, .. } = &op {
            assert!(*filled < buffer.len(), "a receive has room in its buffer");
        }
        if self.operations() == self.operations_max {
            return Err(Full(op));
        }
        if let Some(result) = self.answer_at_once(&mut op) {
            self.ready.push_back(Completion { token, result, op });
            return Ok(());
        }
        let handle = op.handle();
        self.descriptors.begin(handle);
        let message = match &op {
            Op::Send { .. } => self.messages.pop(),
            Op::Read { .. }
            | Op::Write { .. }
            | Op::Fsync { .. }
            | Op::Fallocate { .. }
            | Op::Recv { .. } => None,
        };
        let flight = Flight { token, op, message, retries: 0, is_cancelled: false };
        let number = self.flights.insert(flight);
        self.launch(number);
        Ok(())
    }

    pub(crate) fn cancel(&mut self, token: u64) -> bool {
        let numbers = self.flights.cancel(token);
        for number in &numbers {
            let cancel = opcode::AsyncCancel::new(u64::from(*number)).build();
            self.push(cancel.user_data(USER_DATA_CANCEL));
        }
        !numbers.is_empty()
    }

    pub(crate) fn wait(
        &mut self,
        timeout: Option<Duration>,
        out: &mut Vec<Completion>,
    ) -> io::Result<Turn> {
        let before = out.len();
        out.extend(self.ready.drain(..));
        let has_backlog = !self.push_backlog();
        let must_wait = out.len() == before && !has_backlog && self.ring.completion().is_empty();
        self.enter(must_wait, timeout)?;
        let woken = self.reap(out);
        Ok(Turn { completions: out.len() - before, woken })
    }

    pub(crate) fn register(&mut self, fd: OwnedFd, access: Access) -> Result<Handle, TableFull> {
        self.descriptors.add(&self.ring, fd, access)
    }

    pub(crate) fn unregister(&mut self, handle: Handle) {
        self.descriptors.remove(&self.ring, handle);
    }

    pub(crate) fn shutdown(&mut self, handle: Handle) {
        if let Some((fd, _)) = self.descriptors.fd(handle) {
            // A socket whose peer is gone answers ENOTCONN: what is in flight ends by itself.
            let _ = rustix::net::shutdown(fd, rustix::net::Shutdown::Both);
        }
    }

    pub(crate) fn is_hung_up(&self, handle: Handle) -> bool {
        let Some((fd, _)) = self.descriptors.fd(handle) else { return true };
        let mut asked = [PollFd::from_borrowed_fd(fd, PollFlags::empty())];
        let at_once = Timespec::default();
        // A poll that fails says nothing of the socket.
        poll(&mut asked, Some(&at_once)).is_ok_and(|events| events > 0)
    }

    pub(crate) fn is_open(&self, handle: Handle) -> bool {
        self.descriptors.is_open(handle)
    }

    pub(crate) fn waker(&self) -> Waker {
        self.waker.clone()
    }

    pub(crate) fn operations(&self) -> usize {
        self.flights.len() + self.ready.len()
    }

    pub(crate) fn features(&self) -> Features {
        Features {
            defer_taskrun: self.is_deferred,
            fixed_files: self.descriptors.is_fixed(),
            fixed_buffer_bytes: self.buffers.bytes(),
            fixed_buffers_refused: self.buffers.is_refused(),
        }
    }

    pub(crate) fn stats(&self) -> Stats {
        self.stats
    }

    /// The result of an operation that needs no ring, or must not reach it: an offset of -1 means
    /// the file's current position to the kernel.
    fn answer_at_once(&mut self, op: &mut Op) -> Option<io::Result<u32>> {
        let Some((fd, access)) = self.descriptors.fd(op.handle()) else {
            return Some(Err(io::Error::from_raw_os_error(libc::EBADF)));
        };
        if op.offset().is_some_and(|offset| i64::try_from(offset).is_err()) {
            return Some(Err(io::Error::from_raw_os_error(libc::EINVAL)));
        }
        if access != Access::Inline {
            return None;
        }
        let result = inline::perform(fd, op)?;
        self.stats.inline += 1;
        Some(result)
    }

    /// Queues the operation of a flight.
    fn launch(&mut self, number: u32) {
        self.buffers.follow(&self.ring);
        let flight = self.flights.flight_mut(number);
        let target = self.descriptors.target(flight.op.handle());
        let encoded = encode::encode(flight, target, &self.buffers);
        self.stats.submitted += 1;
        self.stats.fixed += u64::from(encoded.is_fixed);
        self.push(encoded.entry.user_data(u64::from(number)));
    }

    fn arm_waker(&mut self) {
        let fd = types::Fd(self.waker.event().as_raw_fd());
        let read = opcode::Read::new(fd, self.wake_count.as_mut_ptr(), 8).build();
        self.push(read.user_data(USER_DATA_WAKE));
        self.is_wake_armed = true;
    }

    /// Queues an entry behind all others. If the queue is full and cannot be emptied, the entry
    /// waits in the backlog, which is as bounded as what is in flight.
    fn push(&mut self, entry: squeue::Entry) {
        self.backlog.push_back(entry);
        if !self.push_backlog() {
            // An error shows again, and is reported, in the next wait.
            self.stats.enters += 1;
            let _ = self.ring.submit();
            self.push_backlog();
        }
    }

    /// Moves the backlog into the submission queue and tells whether all of it went there.
    fn push_backlog(&mut self) -> bool {
        let mut queue = self.ring.submission();
        while let Some(entry) = self.backlog.front() {
            // SAFETY: what the entry points to belongs to a flight (pool memory, the heap memory
            // of Bytes, a boxed Message) or is `wake_count`; both stay with this value until the
            // completion of this very entry was reaped, and `Drop` waits for that.
            if unsafe { queue.push(entry) }.is_err() {
                return false;
            }
            self.backlog.pop_front();
        }
        true
    }

    /// The one system call of a turn.
    fn enter(&mut self, must_wait: bool, timeout: Option<Duration>) -> io::Result<()> {
        self.stats.enters += 1;
        let submitter = self.ring.submitter();
        let entered = match timeout {
            Some(timeout) if must_wait => {
                let timespec = types::Timespec::from(timeout);
                submitter.submit_with_args(1, &types::SubmitArgs::new().timespec(&timespec))
            }
            Some(_) | None => submitter.submit_and_wait(usize::from(must_wait)),
        };
        match entered {
            Ok(_) => Ok(()),
            // Time is up, a signal came, or the kernel wants completions reaped or memory freed
            // before it takes more: all of them are a turn that brought nothing new.
            Err(error) => match error.raw_os_error() {
                Some(libc::ETIME | libc::EINTR | libc::EBUSY | libc::EAGAIN) => Ok(()),
                _ => Err(error),
            },
        }
    }

    /// Takes every posted completion off the queue and tells whether the waker fired.
    fn reap(&mut self, out: &mut Vec<Completion>) -> bool {
        let mut woken = false;
        while let Some(entry) = self.next_completion() {
            match entry.user_data() {
                USER_DATA_CANCEL => {}
                USER_DATA_WAKE => {
                    self.is_wake_armed = false;
                    self.waker.clear();
                    if !self.is_ending {
                        self.arm_waker();
                    }
                    woken = true;
                }
                number => {
                    let number = u32::try_from(number).expect("user data is a flight's number");
                    out.extend(self.land(number, entry.result()));
                }
            }
        }
        woken
    }

    fn next_completion(&mut self) -> Option<cqueue::Entry> {
        self.ring.completion().next()
    }

    /// Ends a flight, unless its result asks for another try.
    fn land(&mut self, number: u32, result: i32) -> Option<Completion> {
        let flight = self.flights.flight_mut(number);
        let is_transient = matches!(-result, libc::EINTR | libc::EAGAIN);
        let is_final = flight.is_cancelled || self.is_ending || flight.retries == RETRIES_MAX;
        if is_transient && !is_final {
            flight.retries += 1;
            self.stats.retries += 1;
            self.launch(number);
            return None;
        }
        let Flight { token, op, message, is_cancelled, .. } = self.flights.remove(number);
        self.messages.extend(message);
        self.descriptors.end(&self.ring, op.handle());
        let result = match u32::try_from(result) {
            Ok(bytes) => Ok(bytes),
            Err(_) if is_transient && is_cancelled => Err(libc::ECANCELED),
            Err(_) => Err(-result),
        };
        Some(Completion { token, result: result.map_err(io::Error::from_raw_os_error), op })
    }
}

impl std::fmt::Debug for Uring {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut debug = f.debug_struct("Uring");
        debug.field("operations", &self.operations()).field("stats", &self.stats);
        debug.finish_non_exhaustive()
    }
}
