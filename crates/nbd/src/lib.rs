//! The server side of the NBD protocol as state machines over bytes.
//!
//! A connection lives through two machines, one after the other. [`Handshake`] greets the client,
//! haggles over options and ends with the export that the client chose. [`Transmission`] then turns
//! the client's requests into [`Part`]s of I/O and completions of parts into replies. Neither has a
//! socket, a clock or a thread: the caller (the *shell*) moves bytes in and out, looks up exports,
//! runs the I/O and keeps the deadlines that [`limits`] names.
//!
//! Spoken here: fixed newstyle with EXPORT_NAME, ABORT, LIST, INFO and GO; simple and structured
//! replies and extended headers; contexts; READ, WRITE, FLUSH, TRIM, CACHE, WRITE_ZEROES,
//! BLOCK_STATUS and DISC, any byte offset and length. Every other option or command is answered
//! with an error and the connection stays usable.
//!
//! Three promises hold for any input whatsoever: no panic on what a client sends, no memory beyond
//! [`limits`], and exactly one reply for each request that was received in full.
//!
//! # A connection from end to end
//!
//! ```
//! use bytes::Bytes;
//! use tandem_nbd::{
//!     ExportInfo, ExportKey, Handshake, HandshakeOutput, Limits, Outcome, PartOp, Step,
//!     Transmission, wire,
//! };
//!
//! let export = ExportInfo {
//!     name: "r0/0".into(),
//!     description: "r0, Primary, UpToDate".into(),
//!     size_bytes: 1 << 20,
//!     read_only: false,
//!     block_size: 4096,
//!     fast_zero: true,
//!     rotational: false,
//!     peers: vec!["bob".into()],
//!     key: ExportKey(0),
//! };
//!
//! // What a client sends: its flags, EXPORT_NAME "r0/0" and a READ of 8 bytes at offset 3.
//! let mut client = Vec::new();
//! client.extend(wire::client_flag::ALL.to_be_bytes());
//! client.extend(wire::encode_option(wire::option::EXPORT_NAME, b"r0/0"));
//! let read = wire::RequestHeader {
//!     flags: 0,
//!     command: wire::command::READ,
//!     cookie: 7,
//!     offset: 3,
//!     len: 8,
//! };
//! client.extend(read.encode());
//!
//! let mut handshake = Handshake::new();
//! let mut sent = Vec::new();
//! let (export, terms, rest) = loop {
//!     match handshake.poll() {
//!         HandshakeOutput::Send(bytes) => sent.extend(bytes),
//!         HandshakeOutput::NeedBytes => handshake.handle_bytes(&std::mem::take(&mut client)),
//!         HandshakeOutput::QueryExport { .. } => handshake.answer_export(Ok(export.clone())),
//!         HandshakeOutput::QueryList => handshake.answer_list(&[]),
//!         HandshakeOutput::Ready { export, terms, rest } => break (export, terms, rest),
//!         HandshakeOutput::Close(reason) => panic!("{reason}"),
//!     }
//! };
//!
//! let mut transmission = Transmission::new(export, terms, Limits::default());
//! let (consumed, step) = transmission.next(&rest);
//! assert_eq!(consumed, rest.len());
//! let Step::Part(part) = step else { panic!("{step:?}") };
//! assert_eq!((part.op, part.offset, part.len), (PartOp::Read, 3, 8));
//! transmission.complete(part.id, Ok(Outcome::Data(Bytes::from_static(b"contents"))));
//!
//! let reply = transmission.poll_reply().unwrap();
//! let piece = reply.into_iter().next().unwrap();
//! assert_eq!(piece.head(), wire::encode_simple_reply(0, 7));
//! assert_eq!(piece.body.as_slice(), b"contents");
//! ```

mod context;
mod cut;
mod error;
mod export;
mod handshake;
pub mod limits;
mod openers;
mod request;
mod slab;
mod terms;
mod transmission;
pub mod wire;

pub use context::{Context, ContextKind, ContextSet, Extent};
pub use error::{CloseReason, NameError, ReplyError, StopReason};
pub use export::{ExportEntry, ExportInfo, ExportKey, Refusal, RefusalKind};
pub use handshake::{Handshake, HandshakeOutput, Purpose};
pub use limits::Limits;
pub use openers::{Openers, Opening, RoleChange};
pub use terms::{Replies, Terms};
pub use transmission::{
    Body, Outcome, Part, PartId, PartOp, Pieces, Reply, ReplyPiece, Step, Transmission,
};
