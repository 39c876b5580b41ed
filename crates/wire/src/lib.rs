//! The peer link's language: what nodes say to each other, to the byte. Pure.

pub mod packet;
pub mod types;

pub use packet::{
    BarrierNumber, Change, Epoch, Lane, Packet, PeerWrite, ProtocolSettings, RequestId, Sizes,
    State, UuidFlags, Uuids, Vote, WriteKind,
};
pub use types::{
    ByteRange, DiskState, HISTORY_LEN, NodeId, Protocol, ReplicationState, Role, Uuid, VolumeNumber,
};
