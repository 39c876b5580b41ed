//! The language of the admin socket, `DIR/admin.sock`.
//!
//! A frame is a little-endian `u32` length, at most
//! [`ADMIN_FRAME_BYTES_MAX`](crate::limits::ADMIN_FRAME_BYTES_MAX), and that many bytes of bincode
//! 2 (standard configuration). A session starts with [`Request::Hello`]; then the client sends one
//! request at a time and reads responses until one that is not [`Response::Progress`].
//!
//! Requests and responses travel inside enums of versions: a daemon that is younger than its client
//! tells so by name instead of misreading. New variants are only ever added at the end.

mod client;
mod codec;

#[cfg(test)]
mod tests;

pub use client::{Client, ClientError, Refresher, Watch};
pub use codec::{
    CodecError, HEADER_LEN, decode_request, decode_response, encode_request, encode_response,
    payload_len,
};

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::config::{Part, ResourceConfig};
use crate::id::{NodeId, VolumeNumber};
use crate::status::ResourceStatus;

/// Version of this protocol; both ends must speak the same.
pub const VERSION: u32 = 4;

/// Name of the socket in the run directory.
pub const SOCKET_NAME: &str = "admin.sock";

/// What an operator says of disks that nobody has written yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum InitialData {
    /// They are the same: nothing is copied.
    Equal,
    /// This node's are the data: they are copied.
    Mine,
}

/// What an adjustment leaves as it is, and how it connects.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Adjustment {
    /// Disks stay: which they are, their options, and whether they are attached.
    pub skip_disk: bool,
    /// Connections stay: to whom, over which paths, their options, and whether they are tried.
    pub skip_net: bool,
    /// Where it connects, this node becomes the target whatever the histories say.
    pub discard_my_data: bool,
    /// Where it connects, that is only tried.
    pub tentative: bool,
}

/// What a client asks of the daemon.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Request {
    /// First request of a session.
    Hello {
        /// [`VERSION`] of the client.
        version: u32,
    },
    /// Answered at once by [`Response::Done`].
    Ping,
    /// Makes the resource, attaches its disks, connects to its peers.
    Up(ResourceConfig),
    /// Disconnects, detaches and forgets the resource; unknown ones are no error.
    Down {
        /// The resource.
        resource: String,
    },
    /// Attaches the volume's disk.
    Attach {
        /// The resource.
        resource: String,
        /// The volume.
        volume: VolumeNumber,
    },
    /// Detaches the volume's disk.
    Detach {
        /// The resource.
        resource: String,
        /// The volume.
        volume: VolumeNumber,
        /// Do not wait for I/O in flight.
        force: bool,
    },
    /// Starts connecting.
    Connect {
        /// The resource.
        resource: String,
        /// The peer.
        peer: NodeId,
        /// Become the target whatever the histories say.
        discard_my_data: bool,
        /// Only find out what that would come to.
        tentative: bool,
    },
    /// Ends the connection: `StandAlone`.
    Disconnect {
        /// The resource.
        resource: String,
        /// The peer.
        peer: NodeId,
        /// Do not ask for the peer's consent.
        force: bool,
    },
    /// Promotes.
    Primary {
        /// The resource.
        resource: String,
        /// Also without UpToDate data.
        force: bool,
    },
    /// Demotes.
    Secondary {
        /// The resource.
        resource: String,
        /// Also while clients are connected, whose sockets are closed.
        force: bool,
    },
    /// This node's data are copied from a peer.
    Invalidate {
        /// The resource.
        resource: String,
        /// The volume.
        volume: VolumeNumber,
        /// Everything; else what the bitmap says already.
        reset_bitmap: bool,
    },
    /// The peer's data are copied from this node.
    InvalidateRemote {
        /// The resource.
        resource: String,
        /// The volume.
        volume: VolumeNumber,
        /// The peer.
        peer: NodeId,
        /// Everything; else what the bitmaps say already.
        reset_bitmap: bool,
    },
    /// Changes the running resource to what the configuration says; makes it if it does not run.
    Adjust {
        /// What the configuration says.
        config: ResourceConfig,
        /// What of it is taken over.
        adjustment: Adjustment,
    },
    /// Answered by [`Response::Status`].
    Status {
        /// Only this resource; every one for `None`.
        resource: Option<String>,
    },
    /// Waits until every connection of the resource (or that to `peer`) is Connected.
    WaitConnect {
        /// The resource.
        resource: String,
        /// Only this peer.
        peer: Option<NodeId>,
        /// Give up after this time; `None` for never.
        timeout: Option<Duration>,
    },
    /// Waits until no volume of the resource is in a resync.
    WaitSync {
        /// The resource.
        resource: String,
        /// Only this volume.
        volume: Option<VolumeNumber>,
        /// Only this peer.
        peer: Option<NodeId>,
        /// Give up after this time; `None` for never.
        timeout: Option<Duration>,
    },
    /// Makes a volume a device of the kernel's NBD client, or gives its device new connections.
    KernelAttach {
        /// The resource.
        resource: String,
        /// The volume.
        volume: VolumeNumber,
    },
    /// Ends such a device.
    KernelDetach {
        /// The resource.
        resource: String,
        /// The volume.
        volume: VolumeNumber,
        /// Also while it is in use.
        force: bool,
    },
    /// Freezes the application's I/O; done when nothing is in flight.
    SuspendIo {
        /// The resource.
        resource: String,
    },
    /// Ends every suspension of I/O.
    ResumeIo {
        /// The resource.
        resource: String,
    },
    /// Pauses resyncs of a volume with a peer.
    PauseSync {
        /// The resource.
        resource: String,
        /// The volume.
        volume: VolumeNumber,
        /// The peer.
        peer: NodeId,
    },
    /// Lets them go on.
    ResumeSync {
        /// The resource.
        resource: String,
        /// The volume.
        volume: VolumeNumber,
        /// The peer.
        peer: NodeId,
    },
    /// Compares the volume with the peer's while it is in use. Answered when that has begun.
    Verify {
        /// The resource.
        resource: String,
        /// The volume.
        volume: VolumeNumber,
        /// The peer.
        peer: NodeId,
        /// First byte to compare; `None`: where the last verify was stopped.
        start_bytes: Option<u64>,
        /// First byte not to compare; `None`: the end.
        stop_bytes: Option<u64>,
        /// Resync what is found.
        repair: bool,
    },
    /// Stops that.
    StopVerify {
        /// The resource.
        resource: String,
        /// The volume.
        volume: VolumeNumber,
        /// The peer.
        peer: NodeId,
    },
    /// Marks the volume's data as older than the peer's.
    Outdate {
        /// The resource.
        resource: String,
        /// The volume.
        volume: VolumeNumber,
    },
    /// Gives the volume the room that its disks have got. Answered when clients can see it.
    Resize {
        /// The resource.
        resource: String,
        /// The volume.
        volume: VolumeNumber,
        /// Its new size; `None`: as much as all disks have room for.
        size_bytes: Option<u64>,
        /// What it grows by is the same on all disks.
        assume_clean: bool,
        /// Peers that are not connected have room for it.
        assume_peer_has_space: bool,
    },
    /// Puts a part of a resource into place, or changes one.
    Part {
        /// The resource.
        resource: String,
        /// The part.
        part: Part,
    },
    /// Answered by [`Response::Running`].
    Running {
        /// Only this resource; every one for `None`.
        resource: Option<String>,
    },
    /// Answered by [`Response::Sighted`], again and again, until the session ends: how resources
    /// are, then how they become.
    Watch {
        /// Only this resource; every one for `None`.
        resource: Option<String>,
    },
    /// In a session that watches: tells everything again.
    Refresh,
    /// Gives a volume's data a generation of their own, or says what data that nobody has written
    /// yet are.
    NewCurrentUuid {
        /// The resource.
        resource: String,
        /// The volume.
        volume: VolumeNumber,
        /// `None`: the data are there.
        initial: Option<InitialData>,
    },
}

/// What the daemon answers.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Response {
    /// Answer to [`Request::Hello`].
    Hello(Hello),
    /// It is so.
    Done,
    /// Answer to [`Request::Status`].
    Status(Vec<ResourceStatus>),
    /// It was not done, or only in part, as the message says.
    Refused(Refusal),
    /// More responses follow; says what is being waited for.
    Progress(String),
    /// Answer to [`Request::Running`]: how each resource is configured, and how it is.
    Running(Vec<(ResourceConfig, ResourceStatus)>),
    /// Something that a session that watches gets to see.
    Sighted(Box<Sighted>),
}

/// What is told to whom watches.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Sighted {
    /// How a resource is.
    State(ResourceStatus),
    /// The resource of that name is gone.
    Gone(String),
    /// Every resource that was there has been told of.
    Settled,
}

/// Who the daemon is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hello {
    /// [`VERSION`] of the daemon.
    pub version: u32,
    /// Its node name.
    pub node: String,
    /// Its release.
    pub release: String,
    /// Its process id.
    pub pid: u32,
}

/// Why a request was not done.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refusal {
    /// What the command exits with, one of [`exit`](crate::exit).
    pub exit_code: u8,
    /// What happened, to which resource, volume or peer, and what to do; a sentence.
    pub message: String,
}
