//! One piece of I/O of one request, with the name by which it is completed.
//!
//! A part lives from the [`Step`](super::Step) that brings it to the reply of its request. Its slot
//! is linked to the next part of the same request, so that a reply finds its data in order.

use bytes::Bytes;

use crate::context::{Context, Extent};
use crate::cut::Piece;
use crate::slab::Key;

/// A piece of I/O to be executed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Part {
    /// Its name for [`complete`](super::Transmission::complete).
    pub id: PartId,
    /// What to do.
    pub op: PartOp,
    /// First byte of the range; 0 for a FLUSH.
    pub offset: u64,
    /// Bytes: up to [`PART_BYTES_MAX`](crate::limits::PART_BYTES_MAX) for READ and WRITE, less than
    /// a block for an edge, anything for the others, 0 for a FLUSH. Never beyond the export.
    pub len: u32,
    /// Complete only when durable. Set on changes only.
    pub fua: bool,
}

/// Name of a part on its connection, from its [`Step`](super::Step) to its completion.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PartId(pub(super) Key);

impl PartId {
    /// A small number that no other part of the connection has meanwhile, for tables beside ours.
    #[must_use]
    pub fn index(self) -> usize {
        self.0.index()
    }
}

/// What a part does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PartOp {
    /// Read and complete with the data.
    Read,
    /// Write the buffer that was filled.
    Write,
    /// Make whole logical blocks read as zero.
    Zeroes {
        /// Keep the space allocated.
        no_hole: bool,
    },
    /// Write zeroes to a piece inside one logical block: the edge of a WRITE_ZEROES. Handle it as a
    /// [`PartOp::Write`] of a buffer of zeroes.
    ZeroesEdge,
    /// Forget whole 4 KiB blocks. A hint.
    Trim,
    /// Make durable every change that was replied to on any connection of the export.
    Flush,
    /// Find out what this context says of the range, at least of its first byte.
    Extents {
        /// Which.
        context: Context,
        /// Only the first extent will be told.
        one: bool,
    },
}

/// What a part has come to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// It is done, and there is nothing to tell.
    Done,
    /// The data of a READ.
    Data(Bytes),
    /// Extents from the first byte of the range on, in order; what is behind the range is cut.
    Extents(Vec<Extent>),
}

/// A part as this machine keeps it.
#[derive(Debug)]
pub(super) struct PartSlot {
    pub(super) request: Key,
    pub(super) piece: Piece,
    pub(super) next: Option<Key>,
    pub(super) stage: Stage,
}

/// How far a part is.
#[derive(Debug)]
pub(super) enum Stage {
    /// A WRITE whose request has not arrived in full.
    Filling,
    /// The shell has it.
    Executing,
    /// Completed; what was read waits for its reply.
    Done(Kept),
}

/// What of a part is kept for the reply.
#[derive(Debug)]
pub(super) enum Kept {
    Nothing,
    Data(Bytes),
    /// There were only zeroes, which are told and not sent.
    Hole,
    Extents(Vec<Extent>),
}

impl PartOp {
    /// Whether the reply, or the rest of the request, needs the part when it is done.
    pub(super) fn is_linked(self) -> bool {
        match self {
            Self::Read | Self::Write | Self::Extents { .. } => true,
            Self::Zeroes { .. } | Self::ZeroesEdge | Self::Trim | Self::Flush => false,
        }
    }
}

impl PartSlot {
    pub(super) fn part(&self, key: Key) -> Part {
        let Piece { op, offset, len, fua } = self.piece;
        Part { id: PartId(key), op, offset, len, fua }
    }
}
