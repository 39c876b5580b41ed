//! A finished reply, ready for one gathered send.
//!
//! A simple reply is one header with the data behind it. A structured one is a row of chunks: data,
//! holes, or nothing but success or an error; the last says that it is the last. Both are built as
//! the parts of the request are gone through in order.

use bytes::{BufMut, Bytes, BytesMut};

use super::part::{Kept, PartOp};
use crate::context::Extent;
use crate::cut::Piece;
use crate::error::ReplyError;
use crate::limits::EXTENT_BYTES;
use crate::terms::Replies;
use crate::wire::{
    EXTENDED_REPLY_MAGIC, STRUCTURED_REPLY_MAGIC, chunk, chunk_flag, encode_simple_reply,
};

/// One reply: its pieces in the order of sending.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reply {
    /// All but the longest.
    One(ReplyPiece),
    /// A READ or a BLOCK_STATUS of several parts. Beside extents the vector is the only allocation
    /// of the transmission phase; it is one for more than
    /// [`PART_BYTES_MAX`](crate::limits::PART_BYTES_MAX) of data.
    Many(Vec<ReplyPiece>),
}

/// What is sent in one go: a header, which may be empty, and what follows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReplyPiece {
    head: Head,
    /// What follows the header.
    pub body: Body,
}

/// What follows a header.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Body {
    /// Nothing.
    Empty,
    /// Data of a READ, in the buffer that they were completed with.
    Data(Bytes),
    /// Words about an error.
    Text(&'static str),
    /// Extents.
    Extents(Bytes),
}

/// Bytes of the longest header: an extended one, and what it says of a hole.
const HEAD_BYTES_MAX: usize = 44;

/// Where the flags of a chunk are.
const FLAGS_AT: usize = 4;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Head {
    bytes: [u8; HEAD_BYTES_MAX],
    len: usize,
}

impl ReplyPiece {
    /// The bytes to send first.
    #[must_use]
    pub fn head(&self) -> &[u8] {
        &self.head.bytes[..self.head.len]
    }
}

impl Body {
    /// The bytes.
    #[must_use]
    pub fn as_slice(&self) -> &[u8] {
        match self {
            Self::Empty => &[],
            Self::Data(bytes) | Self::Extents(bytes) => bytes,
            Self::Text(text) => text.as_bytes(),
        }
    }
}

impl Reply {
    fn push(&mut self, piece: ReplyPiece) {
        match self {
            Self::One(first) => {
                let empty = ReplyPiece { head: Head::EMPTY, body: Body::Empty };
                *self = Self::Many(vec![std::mem::replace(first, empty), piece]);
            }
            Self::Many(pieces) => pieces.push(piece),
        }
    }

    fn pieces_mut(&mut self) -> &mut [ReplyPiece] {
        match self {
            Self::One(piece) => std::slice::from_mut(piece),
            Self::Many(pieces) => pieces,
        }
    }
}

impl IntoIterator for Reply {
    type Item = ReplyPiece;
    type IntoIter = Pieces;

    fn into_iter(self) -> Pieces {
        match self {
            Self::One(piece) => Pieces { one: Some(piece), many: Vec::new().into_iter() },
            Self::Many(pieces) => Pieces { one: None, many: pieces.into_iter() },
        }
    }
}

/// The pieces of a [`Reply`].
#[derive(Debug)]
pub struct Pieces {
    one: Option<ReplyPiece>,
    many: std::vec::IntoIter<ReplyPiece>,
}

impl Iterator for Pieces {
    type Item = ReplyPiece;

    fn next(&mut self) -> Option<ReplyPiece> {
        self.one.take().or_else(|| self.many.next())
    }
}

/// A reply that is being built.
#[derive(Debug)]
pub(super) struct Builder {
    style: Style,
    headers: Headers,
    reply: Option<Reply>,
}

/// How what has been read is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Style {
    /// Data behind the one header of a simple reply.
    Simple,
    /// Data behind the header of the only chunk, which has this many bytes of them.
    Whole { len: u32 },
    /// Each part in its own chunk.
    Chunks,
}

impl Builder {
    /// For a request at `offset` that wants `whole` bytes in one chunk, if it does.
    pub(super) fn new(replies: Replies, cookie: u64, offset: u64, whole: Option<u32>) -> Self {
        let style = match (replies, whole) {
            (Replies::Simple, _) => Style::Simple,
            (Replies::Structured | Replies::Extended, Some(len)) => Style::Whole { len },
            (Replies::Structured | Replies::Extended, None) => Style::Chunks,
        };
        let extended = (replies == Replies::Extended).then_some(offset);
        Self { style, headers: Headers { cookie, extended }, reply: None }
    }

    /// The next part of the request, in order of offset.
    pub(super) fn push(&mut self, piece: Piece, kept: Kept) {
        let Piece { op, offset, len, .. } = piece;
        let (content, body) = match kept {
            Kept::Nothing => return,
            Kept::Data(data) => (Content::Data { offset, len }, Body::Data(data)),
            Kept::Hole => (Content::Hole { offset, len }, Body::Empty),
            Kept::Extents(extents) => {
                let PartOp::Extents { context, .. } = op else { panic!("extents of {piece:?}") };
                let count = u32::try_from(extents.len()).expect("a limit keeps them few");
                let extents = self.headers.extents(&extents);
                (Content::Extents { id: context.id(), count }, Body::Extents(extents))
            }
        };
        let head = match (self.style, &self.reply) {
            (Style::Simple, None) => Head::simple(0, self.headers.cookie),
            (Style::Simple | Style::Whole { .. }, Some(_)) => Head::EMPTY,
            (Style::Whole { len }, None) => self.headers.chunk(Content::Data { offset, len }),
            (Style::Chunks, _) => self.headers.chunk(content),
        };
        self.add(ReplyPiece { head, body });
    }

    /// The reply to a request that has failed, or not.
    pub(super) fn finish(mut self, error: Option<ReplyError>) -> Reply {
        if self.reply.is_none() {
            self.add(self.empty(error));
        }
        let mut reply = self.reply.expect("a piece was added");
        if self.style != Style::Simple {
            let last = reply.pieces_mut().iter_mut().rfind(|piece| piece.head.len > 0);
            last.expect("the first piece has a header").head.set_done();
        }
        reply
    }

    /// A reply that has nothing to tell but how it went.
    fn empty(&self, error: Option<ReplyError>) -> ReplyPiece {
        if self.style == Style::Simple {
            let code = error.map_or(0, ReplyError::code);
            let head = Head::simple(code, self.headers.cookie);
            return ReplyPiece { head, body: Body::Empty };
        }
        let (content, body) = match error {
            None => (Content::None, Body::Empty),
            Some(error) => (Content::Error(error), Body::Text(error.text())),
        };
        ReplyPiece { head: self.headers.chunk(content), body }
    }

    fn add(&mut self, piece: ReplyPiece) {
        match &mut self.reply {
            Some(reply) => reply.push(piece),
            None => self.reply = Some(Reply::One(piece)),
        }
    }
}

/// What a chunk says, beside the bytes behind its header.
#[derive(Debug, Clone, Copy)]
enum Content {
    None,
    Data { offset: u64, len: u32 },
    Hole { offset: u64, len: u32 },
    Extents { id: u32, count: u32 },
    Error(ReplyError),
}

/// What the headers of a reply have in common.
#[derive(Debug, Clone, Copy)]
struct Headers {
    cookie: u64,
    /// The offset of the request, where headers are extended.
    extended: Option<u64>,
}

impl Headers {
    /// Magic 4, flags 2, type 2, cookie 8, length 4, and what the type has before its data; in an
    /// extended header the offset of the request 8 and the length 8.
    fn chunk(self, content: Content) -> Head {
        let Self { cookie, extended } = self;
        let (kind, len) = self.kind_and_len(content);
        let mut head = Head::EMPTY;
        head.put(|bytes| {
            let is_extended = extended.is_some();
            bytes.put_u32(if is_extended { EXTENDED_REPLY_MAGIC } else { STRUCTURED_REPLY_MAGIC });
            bytes.put_u16(0);
            bytes.put_u16(kind);
            bytes.put_u64(cookie);
            match extended {
                None => bytes.put_u32(len),
                Some(offset) => {
                    bytes.put_u64(offset);
                    bytes.put_u64(u64::from(len));
                }
            }
            match content {
                Content::None => {}
                Content::Data { offset, .. } => bytes.put_u64(offset),
                Content::Hole { offset, len } => {
                    bytes.put_u64(offset);
                    bytes.put_u32(len);
                }
                Content::Extents { id, count } => {
                    bytes.put_u32(id);
                    if is_extended {
                        bytes.put_u32(count);
                    }
                }
                Content::Error(error) => {
                    bytes.put_u32(error.code());
                    bytes.put_u16(error.text_len());
                }
            }
        });
        head
    }

    /// The type, and the bytes behind the fields that all chunks have.
    fn kind_and_len(self, content: Content) -> (u16, u32) {
        match (content, self.extended) {
            (Content::None, _) => (chunk::NONE, 0),
            (Content::Data { len, .. }, _) => (chunk::OFFSET_DATA, 8 + len),
            (Content::Hole { .. }, _) => (chunk::OFFSET_HOLE, 12),
            (Content::Extents { count, .. }, None) => (chunk::BLOCK_STATUS, 4 + 8 * count),
            (Content::Extents { count, .. }, Some(_)) => (chunk::BLOCK_STATUS_EXT, 8 + 16 * count),
            (Content::Error(error), _) => (chunk::ERROR, 6 + u32::from(error.text_len())),
        }
    }

    /// Length 4, flags 4 of each; in an extended reply both have 8.
    fn extents(self, extents: &[Extent]) -> Bytes {
        let mut bytes = BytesMut::with_capacity(EXTENT_BYTES as usize * extents.len());
        for Extent { len, flags } in extents {
            if self.extended.is_some() {
                bytes.put_u64(*len);
                bytes.put_u64(u64::from(*flags));
            } else {
                bytes.put_u32(u32::try_from(*len).expect("not longer than its request"));
                bytes.put_u32(*flags);
            }
        }
        bytes.freeze()
    }
}

impl Head {
    const EMPTY: Self = Self { bytes: [0; HEAD_BYTES_MAX], len: 0 };

    fn simple(error: u32, cookie: u64) -> Self {
        let mut head = Self::EMPTY;
        head.put(|bytes| bytes.put_slice(&encode_simple_reply(error, cookie)));
        head
    }

    fn put(&mut self, write: impl FnOnce(&mut &mut [u8])) {
        let mut room = &mut self.bytes[..];
        write(&mut room);
        let left = room.len();
        self.len = HEAD_BYTES_MAX - left;
    }

    fn set_done(&mut self) {
        self.bytes[FLAGS_AT..FLAGS_AT + 2].copy_from_slice(&chunk_flag::DONE.to_be_bytes());
    }
}
