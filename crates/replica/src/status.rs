//! The state of a resource as plain data, for people and scripts.

use std::time::Duration;

use crate::decision::{Party, Policy, Rule};
use tandem_wire::{DiskState, NodeId, Protocol, ReplicationState, Role, VolumeNumber};

/// A resource at one moment.
#[derive(Clone, Debug)]
pub struct ResourceStatus {
    /// This node's role.
    pub role: Role,
    /// Why the application's I/O is frozen.
    pub suspended: Suspended,
    /// Its volumes.
    pub volumes: Vec<VolumeStatus>,
    /// Its connections.
    pub connections: Vec<ConnectionStatus>,
}

/// Why the application's I/O is frozen; it is where one of them holds and this node is Primary.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Suspended {
    /// `suspend-io` was said.
    pub user: bool,
    /// No UpToDate copy is reachable.
    pub no_data: bool,
    /// A lost peer is not known to be out of the way.
    pub fencing: bool,
    /// Quorum is lost.
    pub quorum: bool,
}

impl Suspended {
    /// Whether any reason holds.
    pub fn any(self) -> bool {
        self.user || self.no_data || self.fencing || self.quorum
    }
}

/// A volume at one moment.
#[derive(Clone, Debug)]
pub struct VolumeStatus {
    /// Its number.
    pub number: VolumeNumber,
    /// Its disk.
    pub disk: DiskState,
    /// Whether reads and writes could be served now.
    pub data_accessible: bool,
    /// Whether clients are connected.
    pub open: bool,
    /// Size of the export in bytes; 0 while unknown.
    pub size_bytes: u64,
    /// Bytes read from the disk for the application.
    pub read_bytes: u64,
    /// Bytes written to the disk.
    pub written_bytes: u64,
    /// Writes to the activity log.
    pub al_writes: u64,
    /// The disk is a Primary's and no activity log is kept (`al-updates no`).
    pub al_suspended: bool,
    /// Writes to the bitmap on disk.
    pub bm_writes: u64,
    /// Requests of the application not answered yet.
    pub upper_pending: u64,
    /// Requests of the application that were answered.
    pub requests: u64,
    /// The time that those and the pending ones have waited, taken together.
    pub requests_waited: Duration,
    /// Disk operations in flight.
    pub lower_pending: u64,
    /// Operations that have failed since this process runs.
    pub io_errors: IoErrors,
}

/// Operations of a disk that have failed, and times that it was given up for not answering.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct IoErrors {
    /// Reads of data.
    pub reads: u64,
    /// Writes and zeroing of data.
    pub writes: u64,
    /// Flushes.
    pub flushes: u64,
    /// Reads and writes of metadata.
    pub metadata: u64,
    /// Times without an answer within `disk-timeout`.
    pub timeouts: u64,
}

/// DRBD's connection states.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum ConnectionState {
    /// Apart until somebody says `connect`.
    StandAlone,
    /// Ending in good order.
    Disconnecting,
    /// Between two attempts.
    Unconnected,
    /// Trying to reach the peer, or greeting it.
    Connecting,
    /// Up.
    Connected,
}

impl ConnectionState {
    /// Its name as DRBD spells it.
    pub fn name(self) -> &'static str {
        match self {
            Self::StandAlone => "StandAlone",
            Self::Disconnecting => "Disconnecting",
            Self::Unconnected => "Unconnected",
            Self::Connecting => "Connecting",
            Self::Connected => "Connected",
        }
    }
}

/// Whether the data of both nodes have a common history (SEMANTICS, better than DRBD 3).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum SyncState {
    /// Nothing known to the contrary.
    #[default]
    Normal,
    /// Both nodes wrote in different generations.
    SplitBrain(Divergence),
    /// No common generation at all.
    Unrelated,
}

/// The states of a connection at one moment: what a [`ConnectionStatus`] says without text.
#[derive(Clone, Copy, Debug)]
pub struct ConnectionStates<'a> {
    /// The peer.
    pub peer: NodeId,
    /// Where the connection stands.
    pub state: ConnectionState,
    /// Its protocol.
    pub protocol: Protocol,
    /// The peer's role.
    pub peer_role: Role,
    /// Split brain and the like.
    pub sync_state: &'a SyncState,
}

/// What is known of a split brain that nobody has settled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Divergence {
    /// The first volume found so.
    pub volume: VolumeNumber,
    /// How the generations showed it.
    pub rule: Rule,
    /// The policy that was asked and settled nothing; `None` where none could be asked.
    pub policy: Option<Policy>,
    /// What this node would lose, over all volumes.
    pub own: Party,
    /// What the peer would lose.
    pub peer: Party,
}

/// How far a peer's copy is behind what the application was told is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Lag {
    /// Bytes that the peer may lack; never less than it lacks.
    pub bytes: u64,
    /// Age of the oldest of them, as far as this process knows.
    pub age: Duration,
}

/// A connection at one moment.
#[derive(Clone, Debug)]
pub struct ConnectionStatus {
    /// The peer.
    pub peer: NodeId,
    /// Its name.
    pub name: String,
    /// Where the connection stands.
    pub state: ConnectionState,
    /// Its protocol.
    pub protocol: Protocol,
    /// The peer's role.
    pub peer_role: Role,
    /// Split brain and the like.
    pub sync_state: SyncState,
    /// Why it is StandAlone or was last cut.
    pub reason: Option<String>,
    /// Bytes of application writes sent and not acked.
    pub ap_in_flight_bytes: u64,
    /// The link has fallen behind further than it may.
    pub congested: bool,
    /// How far the peer is behind.
    pub lag: Lag,
    /// Bytes of resync under way.
    pub rs_in_flight_bytes: u64,
    /// One entry a volume.
    pub peer_devices: Vec<PeerDeviceStatus>,
}

/// Why a resync is paused; none set: it is not.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ResyncSuspended {
    /// By command here.
    pub user: bool,
    /// The peer has a reason.
    pub peer: bool,
    /// Another volume's resync comes first (`resync-after`).
    pub dependency: bool,
}

impl ResyncSuspended {
    /// Whether there is a reason.
    pub fn any(self) -> bool {
        self.user || self.peer || self.dependency
    }

    /// Whether there is one that the peer must be told.
    pub(crate) fn is_own(self) -> bool {
        self.user || self.dependency
    }
}

/// How far a resync is. What is left is what is out of sync.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ResyncProgress {
    /// Bytes out of sync when it began.
    pub total_bytes: u64,
    /// Time since it began.
    pub elapsed: Duration,
    /// Of that, time it was paused.
    pub paused: Duration,
    /// Bytes copied in the last seconds, and how many.
    pub recent: (u64, Duration),
    /// The same over the last half minute.
    pub window: (u64, Duration),
    /// What the controller asks for, in bytes per second; 0 on the source.
    pub wanted_rate: u64,
    /// On the target, bytes that both nodes had already.
    pub same_checksum_bytes: u64,
}

/// A volume towards one peer at one moment.
#[derive(Clone, Debug)]
pub struct PeerDeviceStatus {
    /// The volume.
    pub volume: VolumeNumber,
    /// How it is replicated.
    pub replication: ReplicationState,
    /// The peer's disk.
    pub peer_disk: DiskState,
    /// Bytes out of sync.
    pub out_of_sync_bytes: u64,
    /// Why a resync is paused, or would be.
    pub resync_suspended: ResyncSuspended,
    /// The resync that runs or is paused.
    pub resync: Option<ResyncProgress>,
    /// The online verify that this node runs.
    pub verify: Option<VerifyStatus>,
    /// Blocks of 4 KiB that online verifies found to differ and no resync has copied since: why
    /// a volume can be Established with blocks out of sync.
    pub verify_found_blocks: u64,
    /// Bytes of volume data received.
    pub received_bytes: u64,
    /// Bytes of volume data sent.
    pub sent_bytes: u64,
    /// Requests sent and not answered.
    pub pending: u64,
    /// Requests received and not answered.
    pub unacked: u64,
}

/// An online verify at one moment, on the node that was told to verify.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct VerifyStatus {
    /// First byte it compares.
    pub start: u64,
    /// First byte it does not.
    pub stop: u64,
    /// Everything before this byte has been compared.
    pub position: u64,
    /// Since it began.
    pub elapsed: Duration,
}
