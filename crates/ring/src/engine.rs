//! The engine of a data thread, behind an enum so that one without io_uring can be added.
//!
//! Contract: an operation accepted by [`Engine::submit`] completes exactly once, in a later
//! [`Engine::wait`], and gives back what it owned. Operations in flight have no order among
//! themselves. An engine belongs to the thread that made it. Dropping it cancels what is in flight
//! and waits for the end of it, because the kernel may not be left writing into freed memory; a
//! disk that never answers therefore holds up the drop.

use std::io;
use std::os::fd::OwnedFd;
use std::time::Duration;

use crate::error::{EngineError, Full, TableFull};
use crate::limits::{DESCRIPTORS_DEFAULT, OPERATIONS_DEFAULT};
use crate::op::{Completion, FileId, Op, SocketId};
use crate::open::Access;
use crate::pool::Pool;
use crate::uring::Uring;
use crate::waker::Waker;

#[cfg(test)]
mod tests;

/// What carries out the operations. It stays on the thread that made it:
///
/// ```compile_fail,E0277
/// fn is_send<T: Send>() {}
/// is_send::<tandem_ring::Engine>();
/// ```
#[derive(Debug)]
pub enum Engine {
    /// One io_uring.
    Uring(Uring),
}

/// How large an engine is.
#[derive(Clone, Copy, Debug)]
pub struct Config {
    /// Operations accepted and not yet returned, at most; from 1 to
    /// [`OPERATIONS_MAX`](crate::limits::OPERATIONS_MAX).
    pub operations_max: u32,
    /// Files and sockets registered at a time, at most; from 1 to
    /// [`DESCRIPTORS_MAX`](crate::limits::DESCRIPTORS_MAX).
    pub descriptors_max: u32,
}

impl Default for Config {
    fn default() -> Self {
        Self { operations_max: OPERATIONS_DEFAULT, descriptors_max: DESCRIPTORS_DEFAULT }
    }
}

/// What one wait brought.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Turn {
    /// How many completions were appended.
    pub completions: usize,
    /// Whether a [`Waker`] fired since the turn before.
    pub woken: bool,
}

/// What the engine found in the running kernel; what it lacks costs speed only.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Features {
    /// Completions are processed in the wait instead of by interrupting the thread.
    pub defer_taskrun: bool,
    /// Files and sockets are registered with the ring.
    pub fixed_files: bool,
    /// Bytes of the pool registered with the ring so far; they follow the pool's growth.
    pub fixed_buffer_bytes: usize,
    /// Whether the kernel refused to register more of the pool, mostly because of RLIMIT_MEMLOCK.
    pub fixed_buffers_refused: bool,
}

/// What the engine has done since it was made; each count is of operations unless it says else.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// System calls that entered the ring.
    pub enters: u64,
    /// Operations given to the ring.
    pub submitted: u64,
    /// Of these, reads and writes from or to a registered buffer.
    pub fixed: u64,
    /// Operations performed at submission, see [`Access::Inline`].
    pub inline: u64,
    /// Resubmissions after EINTR or EAGAIN.
    pub retries: u64,
}

impl Engine {
    /// An engine on io_uring for the calling thread, which registers what `pool` holds now and
    /// later.
    ///
    /// # Errors
    /// If io_uring is forbidden, too old or cannot get its memory.
    ///
    /// # Panics
    /// If a number of `config` is out of its range.
    pub fn new(config: Config, pool: &Pool) -> Result<Self, EngineError> {
        Ok(Self::Uring(Uring::new(config, pool)?))
    }

    /// Accepts an operation, which is given to the kernel with the next [`wait`](Self::wait).
    /// The token is the caller's own; it should be unique among the operations in flight.
    ///
    /// An id that has been unregistered completes the operation with EBADF, an offset above 2^63
    /// with EINVAL.
    ///
    /// # Errors
    /// [`Full`] gives the operation back when `operations_max` of them have not been returned yet.
    ///
    /// # Panics
    /// On a `Recv` without room in its buffer: its result of zero would look like the end of the
    /// stream.
    pub fn submit(&mut self, token: u64, op: Op) -> Result<(), Full> {
        match self {
            Self::Uring(uring) => uring.submit(token, op),
        }
    }

    /// Asks for the early end of every operation in flight under `token`, and tells whether there
    /// is any. Each still completes: with ECANCELED, or as if nothing had happened.
    pub fn cancel(&mut self, token: u64) -> bool {
        match self {
            Self::Uring(uring) => uring.cancel(token),
        }
    }

    /// Submits everything accepted and appends to `out` what has completed, all in one system call.
    /// Waits for a first completion, a wake or the end of `timeout`, whichever comes first; `None`
    /// is no timeout. May return with nothing before that, on a signal for example.
    ///
    /// # Errors
    /// Only if the ring itself is broken; the engine is then of no further use.
    pub fn wait(
        &mut self,
        timeout: Option<Duration>,
        out: &mut Vec<Completion>,
    ) -> io::Result<Turn> {
        match self {
            Self::Uring(uring) => uring.wait(timeout, out),
        }
    }

    /// Takes a file or block device over, opened without O_NONBLOCK. It stays open, and so does
    /// every lock on it, until it is unregistered and its last operation has completed.
    ///
    /// # Errors
    /// [`TableFull`] gives the descriptor back.
    pub fn register_file(&mut self, file: OwnedFd, access: Access) -> Result<FileId, TableFull> {
        match self {
            Self::Uring(uring) => uring.register(file, access).map(FileId),
        }
    }

    /// Lets go of a file; it is closed when its last operation has completed.
    pub fn unregister_file(&mut self, file: FileId) {
        match self {
            Self::Uring(uring) => uring.unregister(file.0),
        }
    }

    /// Whether the file is still open here, and with it its locks.
    pub fn is_file_open(&self, file: FileId) -> bool {
        match self {
            Self::Uring(uring) => uring.is_open(file.0),
        }
    }

    /// Takes a connected stream socket over. With O_NONBLOCK or without, the ring waits for it.
    ///
    /// # Errors
    /// [`TableFull`] gives the descriptor back.
    pub fn register_socket(&mut self, socket: OwnedFd) -> Result<SocketId, TableFull> {
        match self {
            Self::Uring(uring) => uring.register(socket, Access::Ring).map(SocketId),
        }
    }

    /// Shuts both directions of a socket down, so that whatever is in flight on it completes soon.
    pub fn shutdown_socket(&mut self, socket: SocketId) {
        match self {
            Self::Uring(uring) => uring.shutdown(socket.0),
        }
    }

    /// Whether the other side has ended both directions of a Unix socket, or the connection is
    /// broken, however much it sent before is not received yet.
    pub fn is_hung_up(&self, socket: SocketId) -> bool {
        match self {
            Self::Uring(uring) => uring.is_hung_up(socket.0),
        }
    }

    /// Lets go of a socket; it is closed when its last operation has completed. An operation that
    /// waits for the peer ends by [`shutdown_socket`](Self::shutdown_socket) or
    /// [`cancel`](Self::cancel).
    pub fn unregister_socket(&mut self, socket: SocketId) {
        match self {
            Self::Uring(uring) => uring.unregister(socket.0),
        }
    }

    /// Whether the socket is still open here.
    pub fn is_socket_open(&self, socket: SocketId) -> bool {
        match self {
            Self::Uring(uring) => uring.is_open(socket.0),
        }
    }

    /// A handle by which other threads end a wait.
    pub fn waker(&self) -> Waker {
        match self {
            Self::Uring(uring) => uring.waker(),
        }
    }

    /// Operations accepted and not yet returned.
    pub fn operations(&self) -> usize {
        match self {
            Self::Uring(uring) => uring.operations(),
        }
    }

    /// What the running kernel offers.
    pub fn features(&self) -> Features {
        match self {
            Self::Uring(uring) => uring.features(),
        }
    }

    /// What was done so far.
    pub fn stats(&self) -> Stats {
        match self {
            Self::Uring(uring) => uring.stats(),
        }
    }
}
