//! A finished reply, ready for one gathered send.

use bytes::Bytes;

use crate::error::ReplyError;
use crate::wire::{SIMPLE_REPLY_BYTES, encode_simple_reply};

/// One simple reply: the header, then the payload.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reply {
    /// The bytes to send first.
    pub header: [u8; SIMPLE_REPLY_BYTES],
    /// The data of a successful READ, to send after the header.
    pub payload: Payload,
}

impl Reply {
    pub(super) fn new(cookie: u64, error: Option<ReplyError>, payload: Payload) -> Self {
        let header = encode_simple_reply(error.map_or(0, ReplyError::code), cookie);
        Self { header, payload }
    }
}

/// The data of a reply, in order of offset.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Payload {
    /// No READ, an error, or a READ of nothing.
    Empty,
    /// A READ of one part.
    One(Bytes),
    /// A READ of several parts. The vector is the only allocation of the transmission phase; it is
    /// one for more than [`PART_BYTES_MAX`](crate::limits::PART_BYTES_MAX) of data.
    Many(Vec<Bytes>),
}

impl Payload {
    pub(super) fn push(&mut self, piece: Bytes) {
        match self {
            Self::Empty => *self = Self::One(piece),
            Self::One(first) => *self = Self::Many(vec![std::mem::take(first), piece]),
            Self::Many(pieces) => pieces.push(piece),
        }
    }

    /// Bytes of all pieces together.
    #[must_use]
    pub fn len_bytes(&self) -> usize {
        match self {
            Self::Empty => 0,
            Self::One(piece) => piece.len(),
            Self::Many(pieces) => pieces.iter().map(Bytes::len).sum(),
        }
    }
}

impl IntoIterator for Payload {
    type Item = Bytes;
    type IntoIter = Pieces;

    fn into_iter(self) -> Pieces {
        match self {
            Self::Empty => Pieces { one: None, many: Vec::new().into_iter() },
            Self::One(piece) => Pieces { one: Some(piece), many: Vec::new().into_iter() },
            Self::Many(pieces) => Pieces { one: None, many: pieces.into_iter() },
        }
    }
}

/// The pieces of a [`Payload`], in order of offset.
#[derive(Debug)]
pub struct Pieces {
    one: Option<Bytes>,
    many: std::vec::IntoIter<Bytes>,
}

impl Iterator for Pieces {
    type Item = Bytes;

    fn next(&mut self) -> Option<Bytes> {
        self.one.take().or_else(|| self.many.next())
    }
}
