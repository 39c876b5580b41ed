//! What a daemon reports of its resources, and its printers.
//!
//! The types hold every key of DRBD's `status` that has a meaning here, plus what DRBD lacks:
//! whether the data of two nodes have diverged and what each would lose, why a connection ended,
//! how far a peer lags behind. Sizes are bytes; the printers convert to the KiB and sectors that
//! DRBD prints.

mod derived;
mod json;
pub mod samples;
mod text;
mod why;

#[cfg(test)]
pub(crate) mod tests;

pub use derived::{clock_text, size_text};
pub use json::json;
pub use text::{TextOptions, text};
pub use why::{Finding, findings, why};

use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

use crate::id::{Minor, NodeId, VolumeNumber};
use crate::names::{ConnectionState, DiskState, Protocol, ReplicationState, Role, WriteOrdering};

/// A resource.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ResourceStatus {
    /// Its name.
    pub name: String,
    /// This node's number in it.
    pub node_id: NodeId,
    /// This node's role.
    pub role: Role,
    /// Why I/O is suspended.
    pub suspended: Suspended,
    /// Requests are failed since a forced demotion, until every client has gone.
    pub force_io_failures: bool,
    /// How epochs are kept apart on disk.
    pub write_ordering: WriteOrdering,
    /// By ascending number.
    pub volumes: Vec<VolumeStatus>,
    /// By ascending peer node id.
    pub connections: Vec<ConnectionStatus>,
}

/// Reasons why I/O is suspended; none set: it is not.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Suspended {
    /// By command.
    pub user: bool,
    /// No UpToDate data is reachable.
    pub no_data: bool,
    /// A peer is being fenced.
    pub fencing: bool,
    /// Quorum is lost.
    pub quorum: bool,
}

/// A volume on this node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct VolumeStatus {
    /// Its number in the resource.
    pub volume: VolumeNumber,
    /// Its number on the node.
    pub minor: Minor,
    /// What its disk is worth.
    pub disk_state: DiskState,
    /// Diskless on purpose.
    pub client: bool,
    /// The backing disk, if one is attached.
    pub backing_dev: Option<String>,
    /// Whether there is quorum.
    pub quorum: bool,
    /// Whether a client has it open.
    pub open: bool,
    /// Size of the export in bytes; 0 while not known.
    pub size_bytes: u64,
    /// Read from the backing disk.
    pub read_bytes: u64,
    /// Written to the backing disk.
    pub written_bytes: u64,
    /// Writes of the activity log.
    pub al_writes: u64,
    /// Writes of the bitmap.
    pub bm_writes: u64,
    /// Requests of clients that are not answered.
    pub upper_pending: u64,
    /// Requests of clients that were answered since the daemon runs.
    pub requests: u64,
    /// The time that those and the pending ones have waited in microseconds, taken together: what
    /// it grows by while so many requests are answered is how long they take.
    pub requests_us: u64,
    /// Requests at the backing disk that are not complete.
    pub lower_pending: u64,
    /// Updates of the activity log are suspended.
    pub al_suspended: bool,
    /// Which of both sides holds requests back.
    pub blocked: Blocked,
    /// Operations at the backing disk that have failed since the daemon runs.
    pub io_errors: IoErrors,
}

/// Operations at a backing disk that have failed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct IoErrors {
    /// Reads of data.
    pub reads: u64,
    /// Writes of data.
    pub writes: u64,
    /// Flushes.
    pub flushes: u64,
    /// Reads and writes of metadata.
    pub metadata: u64,
    /// Times that it did not answer within `disk-timeout`.
    pub timeouts: u64,
}

/// Which side holds requests back.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Blocked {
    /// This daemon, towards its clients.
    pub upper: bool,
    /// The backing disk.
    pub lower: bool,
}

/// The connection to a peer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ConnectionStatus {
    /// The peer's number.
    pub peer_node_id: NodeId,
    /// The peer's host name.
    pub name: String,
    /// Its state.
    pub connection_state: ConnectionState,
    /// Whether the link takes less than is to be sent.
    pub congested: bool,
    /// The peer's role, `Unknown` unless connected.
    pub peer_role: Role,
    /// Whether the link is encrypted.
    pub tls: bool,
    /// Application data sent and not acknowledged.
    pub ap_in_flight_bytes: u64,
    /// Resync data sent and not acknowledged.
    pub rs_in_flight_bytes: u64,
    /// The addresses it uses.
    pub paths: Vec<PathStatus>,
    /// By ascending volume number.
    pub peer_devices: Vec<PeerDeviceStatus>,
    /// Protocol of the connection.
    pub protocol: Protocol,
    /// Whether both nodes' data have one history.
    pub sync_state: SyncState,
    /// Why the last session ended or could not begin; `None` before the first such event.
    pub disconnect_reason: Option<String>,
    /// Why the peers did not take each other for who they say they are, the last time that this
    /// node reached the peer; `None` where that is not what keeps them apart.
    pub authentication_error: Option<String>,
    /// Bytes written here that the peer may not have on its disk: never smaller than the truth.
    pub lag_bytes: u64,
    /// Age of the oldest of these, in milliseconds.
    pub lag_ms: u64,
}

/// Two addresses that can be connected.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PathStatus {
    /// Address of this node.
    pub own_address: SocketAddr,
    /// Address of the peer.
    pub peer_address: SocketAddr,
    /// Whether the session runs over it.
    pub established: bool,
}

/// Whether the data of two nodes have one history.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum SyncState {
    /// As far as known, they have.
    Normal,
    /// Both were written since they parted.
    SplitBrain(Divergence),
    /// They never were one.
    Unrelated(Divergence),
}

/// What is known of data that went two ways.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Divergence {
    /// The first volume found so.
    pub volume: VolumeNumber,
    /// What the handshake compared and found; a sentence without a full stop.
    pub reason: String,
    /// The rule of the decision that found it, by DRBD's name.
    pub rule: String,
    /// The policy that was asked and settled nothing, as the configuration spells it.
    pub policy: Option<String>,
    /// This node was Primary when the two parted.
    pub own_was_primary: bool,
    /// The peer was.
    pub peer_was_primary: bool,
    /// Blocks of 4 KiB that this node would lose if it took the peer's data.
    pub own_loss_blocks: u64,
    /// Blocks of 4 KiB that the peer would lose if it took this node's data.
    pub peer_loss_blocks: u64,
}

/// A volume towards a peer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PeerDeviceStatus {
    /// The volume.
    pub volume: VolumeNumber,
    /// How it is replicated.
    pub replication_state: ReplicationState,
    /// What the peer's disk is worth.
    pub peer_disk_state: DiskState,
    /// The peer is diskless on purpose.
    pub peer_client: bool,
    /// Why a resync is paused.
    pub resync_suspended: ResyncSuspended,
    /// Received from the peer.
    pub received_bytes: u64,
    /// Sent to the peer.
    pub sent_bytes: u64,
    /// Known to differ.
    pub out_of_sync_bytes: u64,
    /// Requests sent to the peer and not acknowledged.
    pub pending: u64,
    /// Requests of the peer that this node has not acknowledged.
    pub unacked: u64,
    /// A resync that runs or is paused.
    pub resync: Option<ResyncProgress>,
    /// An online verify that this node runs.
    pub verify: Option<VerifyProgress>,
    /// Blocks of 4 KiB that online verifies found to differ and no resync has copied since: why a
    /// volume in sync can have something out of sync.
    pub verify_found_blocks: u64,
}

/// How far an online verify is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct VerifyProgress {
    /// First byte it compares.
    pub start_bytes: u64,
    /// First byte it does not.
    pub stop_bytes: u64,
    /// Everything before is compared.
    pub position_bytes: u64,
    /// Time since it began.
    pub elapsed_ms: u64,
}

/// Reasons why a resync is paused; none set: it is not.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ResyncSuspended {
    /// By command here.
    pub user: bool,
    /// By command at the peer.
    pub peer: bool,
    /// Another resync comes first.
    pub dependency: bool,
}

/// How far a resync is. What is left is the peer device's `out_of_sync_bytes`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ResyncProgress {
    /// Out of sync when it began.
    pub total_bytes: u64,
    /// Time since it began.
    pub elapsed_ms: u64,
    /// Of that, time it was paused.
    pub paused_ms: u64,
    /// Length of the shorter of two recent windows.
    pub window0_ms: u64,
    /// Copied in that window.
    pub window0_bytes: u64,
    /// Length of the longer window.
    pub window1_ms: u64,
    /// Copied in that window.
    pub window1_bytes: u64,
    /// Could not be read at the source.
    pub failed_bytes: u64,
    /// Found equal by checksum.
    pub same_checksum_bytes: u64,
    /// Rate that the controller asks for, in bytes per second.
    pub wanted_rate: u64,
}
