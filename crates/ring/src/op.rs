//! Operations and their completions.
//!
//! An [`Op`] owns all it needs: buffers, bytes, and by its id the descriptor. It is moved into the
//! engine by `submit` and comes back, whole, in its [`Completion`].

use std::collections::VecDeque;
use std::io;

use bytes::Bytes;

use crate::buffer::Buffer;

/// A file or block device registered with an engine. Ids are not reused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct FileId(pub(crate) Handle);

/// A stream socket registered with an engine. Ids are not reused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct SocketId(pub(crate) Handle);

/// A place in the table of descriptors, and which of its tenants is meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Handle {
    pub(crate) index: u32,
    pub(crate) generation: u32,
}

/// One operation, with everything that it reads or writes.
#[derive(Debug)]
pub enum Op {
    /// Reads `buffer.len()` bytes at `offset`. Fewer are read only at the end of the file.
    Read {
        /// What to read from.
        file: FileId,
        /// In bytes; a multiple of the disk's block size, as is the length.
        offset: u64,
        /// Where to read to.
        buffer: Buffer,
    },
    /// Writes `data` at `offset`.
    Write {
        /// What to write to.
        file: FileId,
        /// In bytes; a multiple of the disk's block size, as is the length.
        offset: u64,
        /// What to write; its address is a multiple of the disk's memory alignment.
        data: Bytes,
        /// Whether the completion also says that the data are durable (FUA).
        dsync: bool,
    },
    /// Makes durable every write that was completed before this was submitted (fdatasync).
    Fsync {
        /// What to flush.
        file: FileId,
    },
    /// Makes a range read as zeroes. Neither mode changes the length of a file.
    Fallocate {
        /// What to change.
        file: FileId,
        /// Whether the range keeps its space.
        mode: FallocateMode,
        /// In bytes.
        offset: u64,
        /// In bytes, above zero.
        len: u64,
    },
    /// Receives into `buffer[filled..]`. A result of zero is the end of the stream.
    Recv {
        /// What to receive from.
        socket: SocketId,
        /// Where to receive to.
        buffer: Buffer,
        /// How many bytes of the buffer are kept as they are; less than its length. The completion
        /// returns it unchanged.
        filled: usize,
        /// Whether to wait until the buffer is full or the stream ends, instead of completing with
        /// whatever is there.
        wait_all: bool,
    },
    /// Sends the bytes of all pieces in order; completes with how many were sent, perhaps fewer
    /// than all. The first [`SEND_PIECES_MAX`](crate::limits::SEND_PIECES_MAX) pieces take part.
    /// Bytes are in order only if one send at a time is in flight on a socket. Raises no SIGPIPE.
    Send {
        /// What to send to.
        socket: SocketId,
        /// What to send; returned unchanged.
        pieces: VecDeque<Bytes>,
    },
}

/// How a range is made to read as zeroes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FallocateMode {
    /// Gives the space back (discard).
    PunchHole,
    /// Keeps the space, so that a later write cannot run out of it.
    ZeroRange,
}

/// The end of an operation.
#[derive(Debug)]
pub struct Completion {
    /// The token it was submitted under.
    pub token: u64,
    /// The bytes transferred (zero for those that transfer none), or what went wrong. A cancelled
    /// operation has the error ECANCELED, unless it was done, in part or whole, before.
    pub result: io::Result<u32>,
    /// The operation itself; nothing else refers to what it owns.
    pub op: Op,
}

impl Op {
    pub(crate) fn handle(&self) -> Handle {
        match self {
            Self::Read { file, .. }
            | Self::Write { file, .. }
            | Self::Fsync { file }
            | Self::Fallocate { file, .. } => file.0,
            Self::Recv { socket, .. } | Self::Send { socket, .. } => socket.0,
        }
    }

    pub(crate) fn offset(&self) -> Option<u64> {
        match self {
            Self::Read { offset, .. }
            | Self::Write { offset, .. }
            | Self::Fallocate { offset, .. } => Some(*offset),
            Self::Fsync { .. } | Self::Recv { .. } | Self::Send { .. } => None,
        }
    }
}
