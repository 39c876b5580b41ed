//! What goes into a [`Resource`](crate::Resource) and what comes out of it.
//!
//! Contract of every [`Action`]: it has no precondition. What must wait for a write, an ack or a
//! durable bit is not emitted before that completion came in; so disk actions may run in any order
//! and in parallel. `Send`s of one link keep their order within their lane.
//!
//! Payloads are handles ([`Bytes`] over pooled buffers): the core never looks into them. An
//! operation keeps its handle until its completion, so no buffer is reused under a disk or a
//! socket.

use bytes::Bytes;
use tandem_wire::{ByteRange, NodeId, Packet, VolumeNumber};

use crate::error::{CommandError, DiskError, RequestError};

mod command;
mod handler;

pub use command::{Command, Initial};
pub use handler::{CallId, Handler};

/// One NBD client connection, as the shell counts them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ClientId(pub u64);

/// The shell's name for a request; comes back in its reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Cookie(pub u64);

/// One established link, as the shell counts them: never used twice in the life of a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LinkSession(pub u64);

/// Counts the times a volume's disk was opened; completions of an earlier one touch nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AttachGeneration(pub u32);

/// Names a disk operation among those in flight on a volume.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DiskToken(pub u64);

/// The shell's name for an operator command.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CommandId(pub u64);

/// A request from an export. Ranges lie inside the export and are at most
/// [`REQUEST_BYTES_MAX`](crate::limits::REQUEST_BYTES_MAX) long for reads and writes of data; the
/// core checks both. Any alignment is served.
#[derive(Clone, Debug)]
pub struct Request {
    /// Who asks.
    pub client: ClientId,
    /// Name for the reply.
    pub cookie: Cookie,
    /// Volume it concerns.
    pub volume: VolumeNumber,
    /// What is asked.
    pub op: RequestOp,
}

/// What a request asks for.
#[derive(Clone, Debug)]
pub enum RequestOp {
    /// Read the range.
    Read(ByteRange),
    /// Store `data` at `offset`.
    Write {
        /// First byte.
        offset: u64,
        /// What to store.
        data: Bytes,
        /// Durable before the reply.
        fua: bool,
    },
    /// Make the range read as zeroes and give up its space; only whole 4 KiB blocks inside the
    /// range are touched, alike on every node.
    Trim {
        /// What to discard.
        range: ByteRange,
        /// Durable before the reply.
        fua: bool,
    },
    /// Make the range read as zeroes. Aligned to the export's block size.
    Zeroes {
        /// What to zero.
        range: ByteRange,
        /// The space must stay allocated.
        keep_space: bool,
        /// Durable before the reply.
        fua: bool,
    },
    /// Make every write replied to before durable (SEMANTICS INV-2).
    Flush,
}

/// A change of a link.
#[derive(Clone, Copy, Debug)]
pub enum LinkEvent {
    /// Greeted and agreed: packets may follow. Replaces any older session of that peer.
    Up {
        /// The new session.
        session: LinkSession,
        /// Names the session on both nodes; never 0.
        session_id: u64,
        /// The peer said `--discard-my-data` in its greeting.
        peer_discards: bool,
    },
    /// Bytes arrived: a sign of life also where no packet is complete yet.
    Received {
        /// The session they arrived on.
        session: LinkSession,
    },
    /// The link ended.
    Down {
        /// The session that ended.
        session: LinkSession,
        /// Why, for the log and the status.
        reason: LinkDown,
    },
    /// The attempt asked for by [`Action::Connect`] came to nothing.
    ConnectFailed,
}

/// Why a link ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LinkDown {
    /// The peer or the network closed it.
    BrokenPipe,
    /// A frame was damaged, of another session or made no sense.
    ProtocolError,
}

/// Answer to [`Action::OpenDisk`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OpenedDisk {
    /// Size of the device that holds the data, in bytes.
    pub data_bytes: u64,
    /// Size of the device that holds the metadata, in bytes; the same one when internal.
    pub meta_bytes: u64,
    /// Smallest unit it reads and writes, a power of two from 512 to 4096.
    pub block_size: u32,
}

/// A disk operation to carry out.
#[derive(Clone, Debug)]
pub struct DiskOp {
    /// Volume whose disk it is.
    pub volume: VolumeNumber,
    /// Which opening of it.
    pub generation: AttachGeneration,
    /// Name for the completion.
    pub token: DiskToken,
    /// What to do.
    pub kind: DiskOpKind,
}

/// What a disk operation does. Ranges are multiples of the disk's block size.
#[derive(Clone, Debug)]
pub enum DiskOpKind {
    /// Read data; completes with exactly the range's bytes.
    Read(ByteRange),
    /// Write data.
    Write {
        /// First byte.
        offset: u64,
        /// What to write.
        data: Bytes,
        /// Durable at completion.
        fua: bool,
    },
    /// Make the range read as zeroes.
    Zero {
        /// What to zero.
        range: ByteRange,
        /// Keep the space allocated.
        keep_space: bool,
        /// Durable at completion.
        fua: bool,
    },
    /// Make every data operation completed before this one was issued durable.
    Flush,
    /// Read metadata.
    MetaRead {
        /// Byte on the metadata device.
        offset: u64,
        /// Bytes to read.
        len: u32,
    },
    /// Write metadata; durable at completion.
    MetaWrite {
        /// Byte on the metadata device.
        offset: u64,
        /// What to write.
        data: Bytes,
    },
    /// Read-modify-write's middle step, on no disk: completes with `base` in which `patch` stands
    /// from byte `at`.
    Merge {
        /// The blocks as read.
        base: Bytes,
        /// What the client wrote.
        patch: Bytes,
        /// Where in `base`.
        at: u32,
    },
    /// A look at what was read, on no disk: completes with nothing where `data` are all zeroes,
    /// else with `data`.
    IsZero {
        /// What to look at.
        data: Bytes,
    },
    /// On no disk: completes with the digests of the data's blocks,
    /// [`digest::of_blocks`](crate::digest::of_blocks).
    Digest {
        /// Whole blocks.
        data: Bytes,
    },
}

/// End of a disk operation.
#[derive(Clone, Debug)]
pub struct DiskCompletion {
    /// Volume of the operation.
    pub volume: VolumeNumber,
    /// Opening of the operation.
    pub generation: AttachGeneration,
    /// Its name.
    pub token: DiskToken,
    /// What was read (empty for operations that read nothing), or what went wrong.
    pub result: Result<Bytes, DiskError>,
}

/// Something for the shell to carry out.
#[derive(Clone, Debug)]
pub enum Action {
    /// Start a disk operation; end it with `handle_disk`.
    Disk(DiskOp),
    /// Open data and metadata device of a volume exclusively; end it with `handle_disk_opened`.
    OpenDisk {
        /// Volume.
        volume: VolumeNumber,
        /// Name of this opening.
        generation: AttachGeneration,
    },
    /// Look how large the devices of an opening are now; end it with `handle_disk_measured`.
    MeasureDisk {
        /// Volume.
        volume: VolumeNumber,
        /// Name of the opening.
        generation: AttachGeneration,
    },
    /// Close them; no operation of that generation is in flight.
    CloseDisk {
        /// Volume.
        volume: VolumeNumber,
        /// Name of the opening.
        generation: AttachGeneration,
    },
    /// Queue a packet on a link. Ignored where the session has ended.
    Send {
        /// To whom.
        peer: NodeId,
        /// On which session.
        session: LinkSession,
        /// What.
        packet: Packet,
    },
    /// Try once to reach the peer; ends in `LinkEvent::Up` or `ConnectFailed`.
    Connect {
        /// Whom.
        peer: NodeId,
    },
    /// Close a link at once; what is queued may be lost. No `Down` needs to follow.
    Disconnect {
        /// Whose.
        peer: NodeId,
        /// Which session.
        session: LinkSession,
    },
    /// Answer a request.
    Reply {
        /// Who asked.
        client: ClientId,
        /// The request's name.
        cookie: Cookie,
        /// Data for a read, nothing for the others; or the error.
        result: Result<Option<Bytes>, RequestError>,
    },
    /// Close a client's connection without answering what is open (SEMANTICS rule 7); then call
    /// `close_client`.
    CloseClient {
        /// Which.
        client: ClientId,
    },
    /// A command has ended.
    CommandDone {
        /// Which.
        id: CommandId,
        /// How.
        result: Result<(), CommandError>,
    },
    /// Run the operators' program for this peer, and end it with `handle_called`. Where there is
    /// none, or it does not come to an end, that is the answer.
    Call {
        /// Name for the answer.
        id: CallId,
        /// Which.
        handler: Handler,
        /// Volume concerned, if one.
        volume: Option<VolumeNumber>,
        /// Whom it is about.
        peer: NodeId,
    },
    /// Something an operator may want to know.
    Notify(Event),
    /// A volume's first resync has begun, or its last one ended, paused ones included. Who waits
    /// for it by `resync-after` in another resource is told by `set_resync_blocked`.
    Resyncing {
        /// Which.
        volume: VolumeNumber,
        /// Whether there is one.
        resyncing: bool,
    },
}

/// What is worth a line in the log and an event to watchers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// Volume concerned, if one.
    pub volume: Option<VolumeNumber>,
    /// Peer concerned, if one.
    pub peer: Option<NodeId>,
    /// How grave it is.
    pub severity: Severity,
    /// The operators' program for this event, if DRBD has one.
    pub handler: Option<Handler>,
    /// One sentence.
    pub text: String,
    /// The same for programs, where they may care.
    pub news: Option<News>,
}

/// What an [`Event`] tells to programs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum News {
    /// An online verify has found that these blocks differ.
    BlocksDiffer(ByteRange),
    /// An online verify has compared all that it was told to.
    VerifyDone {
        /// First byte compared.
        start: u64,
        /// First byte not compared.
        stop: u64,
        /// Blocks of 4 KiB found to differ.
        found_blocks: u64,
    },
}

/// How grave an [`Event`] is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Severity {
    /// Normal course.
    Info,
    /// Redundancy is lost or in danger.
    Warning,
    /// Data are in danger; somebody must act.
    Error,
}
