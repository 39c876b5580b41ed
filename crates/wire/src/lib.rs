//! The peer link's language: what nodes say to each other, to the byte. Pure.
//!
//! [`hello`] opens a connection: versions, features, names, and the session that binds every later
//! frame; [`proof`] shows that both ends know a secret, where one is configured. From then on each
//! [`Packet`] is one frame: [`frame`] encodes and decodes them, [`kind`] says what each may hold,
//! [`limits`] how long it may be. docs/PROTOCOL.md draws all of it, and a test compares the drawing
//! with the code.
//!
//! Nothing a peer sends makes this crate panic or allocate: it checks, and says what was wrong.

pub mod frame;
mod header;
pub mod hello;
pub mod kind;
mod layout;
pub mod limits;
pub mod packet;
pub mod policy;
pub mod proof;
#[cfg(test)]
mod protocol_doc;
mod record;
#[cfg(test)]
mod samples;
pub mod stream;
pub mod types;

pub use frame::{Decoder, Encoder, Frame, FrameError, FrameHeader};
pub use hello::{Greeting, Hello, HelloError, Link, Reject, RejectCode, Versions, negotiate};
pub use kind::Kind;
pub use packet::{
    BarrierNumber, Change, Epoch, Invalidated, Lane, Packet, PeerWrite, ProtocolSettings,
    RequestId, Sizes, State, UuidFlags, Uuids, Verdict, Vote, WriteKind,
};
pub use policy::{
    AfterSplitBrain0Pri, AfterSplitBrain1Pri, AfterSplitBrain2Pri, Policies, RoleConflict,
};
pub use proof::{End, Greetings, HmacAlgorithm, ProofError, SharedSecret};
pub use stream::StreamDecoder;
pub use types::{
    ByteRange, DiskState, HISTORY_LEN, NodeId, Protocol, ReplicationState, Role, Uuid, VolumeNumber,
};
