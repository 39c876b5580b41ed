//! The resolved configuration of one resource as one node sees it.
//!
//! This is what `up` and `adjust` send to the daemon, and what `drbdsetup` has it put together from
//! [parts](super::Part). All inheritance is applied and every default filled in. Beside that it
//! keeps the options that were set, in the words of who set them: `drbdsetup show` tells those, and
//! drbdadm has defaults of its own to compare with.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::id::{Minor, NodeId, VolumeNumber};
use crate::names::{
    AfterSb0Pri, AfterSb1Pri, AfterSb2Pri, Fencing, HmacAlgorithm, OnCongestion, OnIoError,
    OnNoDataAccessible, Protocol, RrConflict,
};
use crate::secret::Secret;

/// The options of a section that are set, by name, as they were written; one of them is a secret.
pub type OptionTexts = BTreeMap<String, Secret>;

/// A resource as one of its nodes sees it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ResourceConfig {
    /// Its name, 1 to 128 of `[A-Za-z0-9+._-]`.
    pub name: String,
    /// The `on` section that is this node.
    pub node_name: String,
    /// This node's number.
    pub node_id: NodeId,
    /// What holds for the resource as a whole.
    pub options: ResourceOptions,
    /// Those of section `options` that are set.
    pub written: OptionTexts,
    /// Shell commands by the name of their event.
    pub handlers: BTreeMap<String, String>,
    /// By ascending number; none as long as it is put together.
    pub volumes: Vec<VolumeConfig>,
    /// By ascending node id.
    pub peers: Vec<PeerConfig>,
}

/// A volume on this node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct VolumeConfig {
    /// Its number in the resource.
    pub number: VolumeNumber,
    /// Its number on the node.
    pub minor: Minor,
    /// The device name that the file gives, `/dev/drbdN` where it only gives a minor.
    pub device: String,
    /// The backing disk; `None` as long as none is named.
    pub backing: Option<Backing>,
    /// How the disk is treated.
    pub options: DiskOptions,
    /// Those of section `disk` that are set, but for what concerns a peer.
    pub written: OptionTexts,
    /// The volume of this node that is synced before, in this resource or another one.
    pub resync_after: Option<Minor>,
}

/// A backing disk.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Backing {
    /// A block device or a regular file.
    pub disk: PathBuf,
    /// Where its metadata lies.
    pub meta_disk: MetaDisk,
}

/// Where a volume's metadata lies.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum MetaDisk {
    /// At the end of the backing disk.
    Internal,
    /// On a device or file of its own.
    External {
        /// The device or file.
        path: PathBuf,
        /// Slot in a device that is shared by several volumes; `None` where it is not.
        index: Option<u32>,
    },
}

/// Another node of the resource, and the connection to it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PeerConfig {
    /// Its number.
    pub node_id: NodeId,
    /// Its host name, which is also the connection's name.
    pub name: String,
    /// Over which addresses it is reached; `None` as long as none are named.
    pub path: Option<PeerPath>,
    /// How the connection behaves.
    pub net: NetOptions,
    /// Those of section `net` that are set.
    pub written: OptionTexts,
    /// What holds for each volume towards this peer, by ascending volume number.
    pub volumes: Vec<PeerVolumeConfig>,
}

/// The addresses of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PeerPath {
    /// Where this node listens for the peer and connects from.
    pub own_address: SocketAddr,
    /// Where the peer listens.
    pub peer_address: SocketAddr,
}

/// A volume towards a peer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PeerVolumeConfig {
    /// The volume.
    pub number: VolumeNumber,
    /// Pace of a resync.
    pub resync: ResyncOptions,
    /// Those of section `disk` that are set and concern a peer.
    pub written: OptionTexts,
}

/// Section `options`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ResourceOptions {
    /// The first client that may write promotes the resource; behind the last one it is demoted.
    pub auto_promote: bool,
    /// How long a promotion waits for a Primary peer that is just vanishing; 0 to 60 s.
    pub auto_promote_timeout: Duration,
    /// What becomes of I/O while no good copy is reachable.
    pub on_no_data_accessible: OnNoDataAccessible,
}

/// Section `net`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NetOptions {
    /// When a write is complete.
    pub protocol: Protocol,
    /// How long an expected answer may take; below `connect_int` and `ping_int`.
    pub timeout: Duration,
    /// Pause between attempts to connect.
    pub connect_int: Duration,
    /// Idle time after which a ping is sent.
    pub ping_int: Duration,
    /// How long the answer to a ping may take.
    pub ping_timeout: Duration,
    /// The peer is given up when a request took `timeout * ko_count`; 0 for never.
    pub ko_count: u32,
    /// Writes after which a new epoch begins, 1 to 20000.
    pub max_epoch_size: u32,
    /// A resync to this node compares digests before it copies (`csums-alg` is set).
    pub checksum_resync: bool,
    /// It does so only where a Primary has crashed.
    pub checksums_after_crash_only: bool,
    /// Socket send buffer in bytes; 0 leaves it to the kernel.
    pub sndbuf_bytes: u64,
    /// Socket receive buffer in bytes; 0 leaves it to the kernel.
    pub rcvbuf_bytes: u64,
    /// Who loses in a split brain without a Primary.
    pub after_sb_0pri: AfterSb0Pri,
    /// Who loses in a split brain with one Primary.
    pub after_sb_1pri: AfterSb1Pri,
    /// Who loses in a split brain with two Primaries.
    pub after_sb_2pri: AfterSb2Pri,
    /// The three also where the bitmaps do not tell what differs; everything is copied then.
    pub always_asbp: bool,
    /// What is done where a Primary should become target of a resync.
    pub rr_conflict: RrConflict,
    /// What is done before this node goes on without the peer.
    pub fencing: Fencing,
    /// What is done about a congested link in protocol A.
    pub on_congestion: OnCongestion,
    /// Bytes in flight from which on a link counts as congested; 0 for never.
    pub congestion_fill_bytes: u64,
    /// How the two nodes prove to each other who they are; `None`: they do not.
    pub authentication: Option<Authentication>,
}

/// What peers authenticate each other by.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Authentication {
    /// `cram-hmac-alg`.
    pub algorithm: HmacAlgorithm,
    /// `shared-secret`, 1 to 63 bytes.
    pub secret: Secret,
}

/// Section `disk` as far as it concerns the disk.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DiskOptions {
    /// What an I/O error leads to.
    pub on_io_error: OnIoError,
    /// After so long without an answer a disk is given up; zero: never.
    pub disk_timeout: Duration,
    /// Size of the activity log in extents of 4 MiB, 67 to 65534.
    pub al_extents: u32,
    /// Whether an activity log is kept.
    pub al_updates: bool,
    /// A resync to this node looks for zeroes in runs of this many bytes; 0: it does not.
    pub rs_discard_granularity_bytes: u64,
}

/// Section `disk` as far as it concerns a resync. Rates in bytes per second.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ResyncOptions {
    /// Fixed rate without the controller, else the rate to start with.
    pub resync_rate: u64,
    /// How far the controller plans; zero switches it off.
    pub c_plan_ahead: Duration,
    /// Delay on the link that the controller aims at, if `c_fill_target_bytes` is 0.
    pub c_delay_target: Duration,
    /// Bytes in flight that the controller aims at.
    pub c_fill_target_bytes: u64,
    /// Upper bound; 0 for none.
    pub c_max_rate: u64,
    /// Rate below which application I/O does not slow a resync down; 0: it never does.
    pub c_min_rate: u64,
}
