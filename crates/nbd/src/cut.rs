//! Cuts one request into parts that a disk operation and a pooled buffer can hold.
//!
//! READ and WRITE are cut every [`PART_BYTES_MAX`] at most and only at multiples of [`CUT_BYTES`],
//! so parts of one request never meet inside a block. WRITE_ZEROES is one part however long, but
//! for the edges that do not fill a logical block. TRIM is one part, rounded inwards; FLUSH is one
//! part without a range. The pieces come in order of offset and together are the request, except
//! for what TRIM rounds away.

use crate::context::ContextSet;
use crate::limits::{CUT_BYTES, PART_BYTES_MAX};
use crate::transmission::PartOp;

/// What a valid request wants done to its range.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Work {
    /// With `whole`, the data are wanted in one chunk.
    Read {
        whole: bool,
    },
    Write {
        fua: bool,
    },
    Zeroes {
        no_hole: bool,
        fua: bool,
    },
    Trim {
        fua: bool,
    },
    Flush,
    Cache,
    /// With `one`, a single extent of each is wanted.
    Status {
        contexts: ContextSet,
        one: bool,
    },
}

impl Work {
    pub(crate) fn changes_data(self) -> bool {
        match self {
            Self::Write { .. } | Self::Zeroes { .. } | Self::Trim { .. } => true,
            Self::Read { .. } | Self::Flush | Self::Cache | Self::Status { .. } => false,
        }
    }

    fn fua(self) -> bool {
        match self {
            Self::Write { fua } | Self::Zeroes { fua, .. } | Self::Trim { fua } => fua,
            Self::Read { .. } | Self::Flush | Self::Cache | Self::Status { .. } => false,
        }
    }
}

/// One piece of a request, not yet a part: it has no name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Piece {
    pub(crate) op: PartOp,
    pub(crate) offset: u64,
    pub(crate) len: u32,
    pub(crate) fua: bool,
}

/// The pieces of a request that have not been handed out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Cut {
    work: Work,
    block_size: u32,
    /// What is left; `None` when nothing is. A FLUSH has an empty span and is one piece.
    span: Option<Span>,
}

/// A range of bytes that can be copied about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Span {
    start: u64,
    end: u64,
}

impl Cut {
    /// `offset + len` must not wrap and `block_size` must be a power of two up to [`CUT_BYTES`].
    pub(crate) fn new(work: Work, offset: u64, len: u64, block_size: u32) -> Self {
        assert!(block_size.is_power_of_two() && block_size <= CUT_BYTES);
        let span = Span { start: offset, end: offset + len };
        let span = match work {
            Work::Flush => Some(span),
            Work::Cache => None,
            Work::Trim { .. } => span.whole_blocks(CUT_BYTES),
            Work::Read { .. } | Work::Write { .. } | Work::Zeroes { .. } | Work::Status { .. } => {
                span.non_empty()
            }
        };
        Self { work, block_size, span }
    }

    pub(crate) fn work(&self) -> Work {
        self.work
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.span.is_none()
    }

    pub(crate) fn next(&mut self) -> Option<Piece> {
        let span = self.span.take()?;
        let (op, len) = match &mut self.work {
            Work::Status { contexts, one } => {
                let (context, one) = (contexts.take_first()?, *one);
                self.span = Some(span).filter(|_| !contexts.is_empty());
                let len = u32::try_from(span.bulk_len(CUT_BYTES)).expect("cut to that");
                let op = PartOp::Extents { context, one };
                return Some(Piece { op, offset: span.start, len, fua: false });
            }
            Work::Read { .. } => (PartOp::Read, span.data_len()),
            Work::Write { .. } => (PartOp::Write, span.data_len()),
            Work::Zeroes { no_hole, .. } => span.zeroes(self.block_size, *no_hole),
            Work::Trim { .. } => (PartOp::Trim, span.bulk_len(CUT_BYTES)),
            Work::Flush => (PartOp::Flush, 0),
            Work::Cache => return None,
        };
        self.span = Span { start: span.start + len, end: span.end }.non_empty();
        let len = u32::try_from(len).expect("a piece is no longer than its request");
        Some(Piece { op, offset: span.start, len, fua: self.work.fua() })
    }
}

impl Span {
    fn len(self) -> u64 {
        self.end - self.start
    }

    fn non_empty(self) -> Option<Self> {
        (self.start < self.end).then_some(self)
    }

    /// The whole blocks inside.
    fn whole_blocks(self, block_size: u32) -> Option<Self> {
        let block = u64::from(block_size);
        let start = self.start.checked_next_multiple_of(block)?;
        let end = self.end - self.end % block;
        Self { start, end }.non_empty()
    }

    /// Length of the first piece that carries no data: what 32 bits can say in whole blocks.
    fn bulk_len(self, block_size: u32) -> u64 {
        let max = u32::MAX - u32::MAX % block_size;
        self.len().min(u64::from(max))
    }

    /// Length of the first READ or WRITE piece.
    fn data_len(self) -> u64 {
        let room = PART_BYTES_MAX - low_bits(self.start, CUT_BYTES);
        u64::from(room).min(self.len())
    }

    /// The first piece of a WRITE_ZEROES: to the first block boundary, whole blocks, or the rest.
    fn zeroes(self, block_size: u32, no_hole: bool) -> (PartOp, u64) {
        let head = low_bits(self.start, block_size);
        if head != 0 {
            return (PartOp::ZeroesEdge, u64::from(block_size - head).min(self.len()));
        }
        match self.whole_blocks(block_size) {
            Some(whole) => (PartOp::Zeroes { no_hole }, whole.bulk_len(block_size)),
            None => (PartOp::ZeroesEdge, self.len()),
        }
    }
}

/// How far an offset is behind the last multiple of `block_size`.
fn low_bits(offset: u64, block_size: u32) -> u32 {
    u32::try_from(offset % u64::from(block_size)).expect("a remainder is less than its divisor")
}

#[cfg(test)]
mod tests;
