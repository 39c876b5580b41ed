//! The packets of the peer link, by DRBD's names.
//!
//! A packet is what one frame says; how it lies in bytes is `frame`'s matter and drawn in
//! docs/PROTOCOL.md. Requests are named by an `id` that the sender of the request draws, unique
//! within one session and direction; acks repeat it. Ranges are checked by the receiver against the
//! volume: nothing here is trusted for having been decoded.
//!
//! Packets travel in two lanes, each in order. [`Lane::Ack`] packets may overtake the others: they
//! only ever refer to something the peer itself sent.

use bytes::Bytes;

use crate::policy::Policies;
use crate::types::{
    ByteRange, DiskState, HISTORY_LEN, Protocol, ReplicationState, Role, Uuid, VolumeNumber,
};

mod lane;

/// Names one request on the link; drawn by its sender, unique in one session and direction.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RequestId(pub u64);

/// Counts the writer's order (SEMANTICS rule 3): no write of a later epoch may be submitted on the
/// receiver before every write and flush of earlier epochs has completed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Epoch(pub u32);

/// Numbers barriers of one session; `BarrierAck(n)` covers all that was sent before `Barrier(n)`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BarrierNumber(pub u64);

/// Which queue of the sender a packet waits in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lane {
    /// Goes out first.
    Ack,
    /// Keeps the order of the stream.
    Data,
}

/// What a mirrored write does to its range.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WriteKind {
    /// Stores these bytes.
    Data(Bytes),
    /// Range reads as zeroes and may lose its space (TRIM).
    Trim,
    /// Range reads as zeroes; `keep_space` asks to keep it allocated (WRITE_ZEROES).
    Zeroes {
        /// Whether the space must stay allocated.
        keep_space: bool,
    },
}

/// A write that the peer must apply: packets `Data`, `Trim` and `Zeroes`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PeerWrite {
    /// Volume it belongs to.
    pub volume: VolumeNumber,
    /// Where it goes.
    pub range: ByteRange,
    /// Its name in acks.
    pub id: RequestId,
    /// The epoch it belongs to.
    pub epoch: Epoch,
    /// Durable before it is acked (force unit access).
    pub fua: bool,
    /// What it does.
    pub kind: WriteKind,
}

/// Settings that both sides must share, and what this side says of itself as a whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProtocolSettings {
    /// Protocol of the connection; must be equal on both sides.
    pub protocol: Protocol,
    /// `connect --discard-my-data` was said here.
    pub discard_my_data: bool,
    /// Its clients use it: a Primary that cannot be demoted.
    pub in_use: bool,
    /// How many volumes will be reported.
    pub volumes: u16,
    /// What is to be done about a split brain, and about a resync against the roles.
    pub policies: Policies,
}

/// Size of a volume as one node sees it, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sizes {
    /// What the backing disk could hold; 0 when diskless.
    pub capacity: u64,
    /// The size agreed or used before; 0 when never.
    pub effective: u64,
    /// Smallest unit the backing disk writes.
    pub block_size: u32,
    /// What clients see, or would: less than `effective` while a peer may not have that size yet.
    pub shown: u64,
}

/// What a node's metadata says of its data, for the decision at connect, as in DRBD.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Uuids {
    /// Generation of the data held.
    pub current: Uuid,
    /// Generation since which this node tracks changes for the receiver of this packet.
    pub bitmap: Uuid,
    /// Older generations, newest first.
    pub history: [Uuid; HISTORY_LEN],
    /// Blocks of 4 KiB out of sync towards the receiver.
    pub dirty_blocks: u64,
    /// The session in which this node last replicated with the receiver; 0 for none.
    pub last_session: u64,
    /// Generation that clients of this node, a Primary whose disk is not good, have seen: the
    /// receiver must have it. None where its disk tells.
    pub exposed: Uuid,
    /// Facts about this node.
    pub flags: UuidFlags,
}

/// Facts that travel with [`Uuids`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct UuidFlags {
    /// Was Primary when it last stopped, without demotion.
    pub crashed_primary: bool,
    /// Lost power, or cannot tell, since `last_session`.
    pub lost_power: bool,
    /// Had a session with the receiver in this up-time of the process.
    pub reconnect: bool,
    /// `history[0]` names the same data as `bitmap`: the receiver may have either, because a resync
    /// to it was cut off at its end.
    pub bitmap_alias: bool,
    /// Protocol of `last_session` was A.
    pub last_session_async: bool,
    /// Protocol of `last_session` was B.
    pub last_session_memory: bool,
    /// Was Primary when `last_session` ended.
    pub was_primary: bool,
    /// Has been Primary since `last_session`, without the receiver.
    pub went_on: bool,
}

/// A node's states, told at connect and at every change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct State {
    /// Its role in the resource.
    pub role: Role,
    /// Its disk of this volume.
    pub disk: DiskState,
    /// Its replication state towards the receiver.
    pub replication: ReplicationState,
    /// It has a reason of its own to pause the resync with the receiver.
    pub pauses_resync: bool,
}

/// A change of state that needs the peer's consent (prepare / commit).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Change {
    /// The sender wants to become Primary.
    Promote = 1,
    /// The sender, a Primary or a leaving Secondary, wants to end the connection in good order.
    Disconnect = 2,
}

/// Whose data an `Invalidate` is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Invalidated {
    /// The sender's: the receiver must have good ones and keep them.
    Sender = 1,
    /// All of the receiver's; it marks them before it agrees.
    Receiver = 2,
    /// The receiver's where bits say so already.
    ReceiverByBits = 3,
}

/// What a node decided for a volume at connect, as it tells it to its peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Verdict {
    /// Nothing to copy.
    NoSync = 0,
    /// The sender is source.
    Source = 1,
    /// The sender is target.
    Target = 2,
    /// Split brain.
    SplitBrain = 3,
    /// No common generation.
    Unrelated = 4,
    /// The volume cannot be connected for another reason.
    Refused = 5,
}

/// Answer to a prepare.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Vote {
    /// Agreed.
    Yes = 0,
    /// The voter is Primary.
    PeerIsPrimary = 1,
    /// The voter is changing its own role.
    Concurrent = 2,
    /// The sender's data are not good enough.
    NeedUpToDate = 3,
}

/// Everything that one node says to another once a session is up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Packet {
    /// First packet of a session.
    Protocol(ProtocolSettings),
    /// Size of a volume.
    Sizes(VolumeNumber, Sizes),
    /// Generations of a volume.
    Uuids(VolumeNumber, Uuids),
    /// States; for the handshake the last word on a volume.
    State(VolumeNumber, State),
    /// What the sender decided for a volume at connect; both sides must mirror each other, and
    /// neither acts before it knows that the other has seen its report.
    Verdict(VolumeNumber, Verdict),
    /// From source to target before the bitmaps: the generation the target's data get for the time
    /// of the resync, so that an interrupted one goes on in the same direction.
    SyncUuid(VolumeNumber, Uuid),
    /// A coded piece of the sender's bitmap.
    Bitmap {
        /// Volume it belongs to.
        volume: VolumeNumber,
        /// Block of 4 KiB that the piece starts with.
        first_block: u64,
        /// Whether the map ends with this piece.
        last: bool,
        /// Bits as the bitmap codes them.
        piece: Bytes,
    },
    /// From target to source: nothing is out of sync, all is on disk; the generation reached.
    SyncDone(VolumeNumber, Uuid),
    /// A change is asked for.
    Prepare {
        /// Names the change.
        id: RequestId,
        /// What is to change.
        change: Change,
    },
    /// The peer's vote on it.
    PrepareReply {
        /// Names the change.
        id: RequestId,
        /// Its vote.
        vote: Vote,
    },
    /// The prepared change takes effect.
    Commit {
        /// Names the change.
        id: RequestId,
    },
    /// The prepared change is given up.
    Abort {
        /// Names the change.
        id: RequestId,
    },
    /// The data of a volume are to count as wrong: answered as `Prepare` is.
    Invalidate {
        /// Names the change.
        id: RequestId,
        /// Volume concerned.
        volume: VolumeNumber,
        /// Whose data, and how much of them.
        whose: Invalidated,
    },
    /// A volume is to grow: how large could it be at the receiver?
    Resize {
        /// Names the question.
        id: RequestId,
        /// Volume concerned.
        volume: VolumeNumber,
    },
    /// Answer to `Resize`: the receiver's disk is ready for a volume of so many bytes.
    ResizeReply {
        /// Names the question.
        id: RequestId,
        /// Bytes; 0 without a disk.
        capacity: u64,
        /// Whether it can be now.
        vote: Vote,
    },
    /// A mirrored write.
    Write(PeerWrite),
    /// Flush everything sent before; belongs to the epoch given.
    Flush {
        /// Its name in the ack.
        id: RequestId,
        /// The epoch it belongs to.
        epoch: Epoch,
    },
    /// All before this: complete it, make it durable, then ack.
    Barrier(BarrierNumber),
    /// This range differs from now on.
    OutOfSync(VolumeNumber, ByteRange),
    /// Read for the application of the asking node.
    DataRequest {
        /// Volume to read.
        volume: VolumeNumber,
        /// What to read.
        range: ByteRange,
        /// Its name in the reply.
        id: RequestId,
    },
    /// Answer to `DataRequest`.
    DataReply {
        /// Names the request.
        id: RequestId,
        /// The data.
        data: Bytes,
    },
    /// `DataRequest` cannot be served.
    NegDataReply {
        /// Names the request.
        id: RequestId,
    },
    /// Read for a resync.
    RsDataRequest {
        /// Volume to read.
        volume: VolumeNumber,
        /// What to read.
        range: ByteRange,
        /// Its name in the reply.
        id: RequestId,
        /// Zeroes are to be answered with `RsDeallocated`.
        thin: bool,
    },
    /// Answer to `RsDataRequest`.
    RsDataReply {
        /// Names the request.
        id: RequestId,
        /// The data.
        data: Bytes,
    },
    /// `RsDataRequest` cannot be served: reading failed.
    NegRsDataReply {
        /// Names the request.
        id: RequestId,
    },
    /// Answer to a thin `RsDataRequest` whose range is all zeroes.
    RsDeallocated {
        /// Names the request.
        id: RequestId,
    },
    /// A piece of the bitmap has been merged: there is room for another one.
    BitmapAck(VolumeNumber),
    /// What `RsDataReply` or `RsDeallocated` brought is durable on the target.
    RsWriteAck {
        /// Names the request.
        id: RequestId,
    },
    /// The write is in the peer's memory (protocol B).
    RecvAck {
        /// Names the write.
        id: RequestId,
    },
    /// The write is on the peer's disk.
    WriteAck {
        /// Names the write.
        id: RequestId,
    },
    /// The peer could not write.
    NegAck {
        /// Names the write.
        id: RequestId,
    },
    /// Everything before the flush is durable on the peer.
    FlushAck {
        /// Names the flush.
        id: RequestId,
    },
    /// The peer could not flush.
    NegFlushAck {
        /// Names the flush.
        id: RequestId,
    },
    /// Everything before this barrier is durable on the peer.
    BarrierAck(BarrierNumber),
    /// Are you there?
    Ping,
    /// Yes.
    PingAck,
    /// From a node that is Ahead to its peer: become the target of what you were told you miss; the
    /// sender's generation.
    CatchUp(VolumeNumber, Uuid),
    /// Read for a resync, unless the target has it already.
    CsumRsRequest {
        /// Volume to read.
        volume: VolumeNumber,
        /// What to read.
        range: ByteRange,
        /// Its name in the reply.
        id: RequestId,
        /// Digests of what the target has, one for each block.
        digests: Bytes,
    },
    /// Answer to `CsumRsRequest`: the source has the same.
    RsIsInSync {
        /// Names the request.
        id: RequestId,
    },
    /// Read to be compared by an online verify.
    OvRequest {
        /// Volume to read.
        volume: VolumeNumber,
        /// What to read.
        range: ByteRange,
        /// Its name in the reply.
        id: RequestId,
    },
    /// Answer to `OvRequest`: every mirrored write of the range that the sender sent before is in
    /// it, and none that it sends after.
    OvReply {
        /// Names the request.
        id: RequestId,
        /// Digests, one for each block.
        digests: Bytes,
    },
    /// An online verify has found that these blocks differ.
    OvResult(VolumeNumber, ByteRange),
    /// `OvRequest` cannot be served: there are no good data to read.
    NegOvReply {
        /// Names the request.
        id: RequestId,
    },
}

impl Packet {
    /// Its name, for messages.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Protocol(..) => "Protocol",
            Self::Sizes(..) => "Sizes",
            Self::Uuids(..) => "Uuids",
            Self::State(..) => "State",
            Self::Verdict(..) => "Verdict",
            Self::SyncUuid(..) => "SyncUuid",
            Self::Bitmap { .. } => "Bitmap",
            Self::SyncDone(..) => "SyncDone",
            Self::Prepare { .. } => "Prepare",
            Self::PrepareReply { .. } => "PrepareReply",
            Self::Commit { .. } => "Commit",
            Self::Abort { .. } => "Abort",
            Self::Invalidate { .. } => "Invalidate",
            Self::Resize { .. } => "Resize",
            Self::ResizeReply { .. } => "ResizeReply",
            Self::Write(..) => "Write",
            Self::Flush { .. } => "Flush",
            Self::Barrier(..) => "Barrier",
            Self::OutOfSync(..) => "OutOfSync",
            Self::DataRequest { .. } => "DataRequest",
            Self::DataReply { .. } => "DataReply",
            Self::NegDataReply { .. } => "NegDataReply",
            Self::RsDataRequest { .. } => "RsDataRequest",
            Self::RsDataReply { .. } => "RsDataReply",
            Self::NegRsDataReply { .. } => "NegRsDataReply",
            Self::RsDeallocated { .. } => "RsDeallocated",
            Self::BitmapAck(_) => "BitmapAck",
            Self::RsWriteAck { .. } => "RsWriteAck",
            Self::RecvAck { .. } => "RecvAck",
            Self::WriteAck { .. } => "WriteAck",
            Self::NegAck { .. } => "NegAck",
            Self::FlushAck { .. } => "FlushAck",
            Self::NegFlushAck { .. } => "NegFlushAck",
            Self::BarrierAck(..) => "BarrierAck",
            Self::Ping => "Ping",
            Self::PingAck => "PingAck",
            Self::CatchUp(..) => "CatchUp",
            Self::CsumRsRequest { .. } => "CsumRsRequest",
            Self::RsIsInSync { .. } => "RsIsInSync",
            Self::OvRequest { .. } => "OvRequest",
            Self::OvReply { .. } => "OvReply",
            Self::OvResult(..) => "OvResult",
            Self::NegOvReply { .. } => "NegOvReply",
        }
    }
}
