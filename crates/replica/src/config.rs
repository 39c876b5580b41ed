//! What a resource is told when it is made. Checked by whoever reads configuration files; plain
//! here.

use std::collections::BTreeMap;
use std::time::Duration;

use tandem_wire::{NodeId, Policies, Protocol, VolumeNumber};

/// One resource as seen from one node.
#[derive(Clone, Debug)]
pub struct Config {
    /// Resource name, 1 to 128 bytes.
    pub name: String,
    /// This node's number.
    pub node_id: NodeId,
    /// Its volumes, by ascending number, at least one.
    pub volumes: Vec<VolumeConfig>,
    /// The other nodes.
    pub peers: Vec<PeerConfig>,
    /// Names this boot of the kernel: a node that finds another one in its metadata has lost power.
    pub boot_id: [u8; 16],
    /// Seed of every random number drawn (generation UUIDs); different at each start.
    pub entropy: u64,
    /// How long `primary` waits for a Primary peer that may be vanishing
    /// (DRBD `auto-promote-timeout`).
    pub promote_timeout: Duration,
    /// `on-no-data-accessible`: what becomes of requests while no good copy is reachable.
    pub on_no_data: OnNoData,
}

/// What becomes of requests while no good copy is reachable.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnNoData {
    /// They are answered with an error.
    #[default]
    IoError,
    /// They wait until one is, or for `resume-io`.
    SuspendIo,
}

/// One volume.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct VolumeConfig {
    /// Its number.
    pub number: VolumeNumber,
    /// Its metadata lie on a device of their own, not at the end of the backing disk.
    pub external_metadata: bool,
    /// `al-extents`: slots of the activity log; taken from when this node next becomes Primary or
    /// attaches the disk as one. At least 4, and no more than the metadata have room for.
    pub al_extents: u32,
    /// `al-updates`: keep an activity log. Without one everything may differ after a crash.
    pub al_updates: bool,
    /// `rs-discard-granularity`: a resync to this node asks for runs of this many bytes and gives
    /// up the space of those that are zero. A multiple of 4 KiB, at most 1 MiB; 0: it does not.
    pub discard_granularity_bytes: u32,
    /// `resync-after`: this volume of the resource is synced before. Without circles.
    pub resync_after: Option<VolumeNumber>,
    /// `on-io-error`: what is done about a disk that fails.
    pub on_io_error: OnIoError,
    /// `before-resync-target` is to agree before this node becomes target of a resync.
    pub asks_before_resync: bool,
    /// `disk-timeout`: a disk that takes longer for an operation has failed; zero: none does.
    pub disk_timeout: Duration,
}

impl VolumeConfig {
    /// A volume with internal metadata and all options as they are by default.
    pub fn new(number: VolumeNumber) -> Self {
        Self {
            number,
            external_metadata: false,
            al_extents: 6433,
            al_updates: true,
            discard_granularity_bytes: 0,
            resync_after: None,
            on_io_error: OnIoError::Detach,
            asks_before_resync: false,
            disk_timeout: Duration::ZERO,
        }
    }
}

/// What is done about a disk that fails.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnIoError {
    /// It is given up; the peer serves in its place.
    #[default]
    Detach,
    /// The same, and `local-io-error` is called.
    CallLocalIoError,
    /// It stays where a peer can read in its place, or where it is the only good copy; who asked
    /// gets the error.
    PassOn,
}

/// One peer and the connection to it.
#[derive(Clone, Debug)]
pub struct PeerConfig {
    /// Its number.
    pub node_id: NodeId,
    /// Its name, for messages.
    pub name: String,
    /// When writes are complete; both sides must say the same.
    pub protocol: Protocol,
    /// Times and limits of the connection.
    pub net: NetConfig,
    /// Pace of resyncs with it; the default where a volume is not named.
    pub resync: BTreeMap<VolumeNumber, ResyncConfig>,
}

/// Times and limits of a connection, by DRBD's names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NetConfig {
    /// `timeout`: a reply is due within this; with `ko_count` the limit for a request.
    pub timeout: Duration,
    /// `ko-count`: a request without ack for `timeout` times this ends the connection; 0 = never.
    pub ko_count: u32,
    /// `ping-int`: a link silent for this long is pinged.
    pub ping_int: Duration,
    /// `ping-timeout`: the answer to a ping is due within this.
    pub ping_timeout: Duration,
    /// `connect-int`: longest pause between two attempts to connect.
    pub connect_int: Duration,
    /// `max-epoch-size`: writes after which a barrier is sent.
    pub max_epoch_size: u32,
    /// `after-sb-0pri`, `after-sb-1pri`, `after-sb-2pri`, `always-asbp`, `rr-conflict`.
    pub policies: Policies,
    /// `on-congestion`: what is done in protocol A about a link that does not keep up.
    pub on_congestion: OnCongestion,
    /// `congestion-fill`: bytes sent and not known to be durable at the peer, from which on a link
    /// counts as congested; 0 = never.
    pub congestion_fill_bytes: u64,
    /// `fencing`: what must be known of a lost peer before this node goes on without it.
    pub fencing: Fencing,
    /// `csums-alg`, `csums-after-crash-only`: when a resync to this node compares before it copies.
    pub checksum_resync: ChecksumResync,
}

/// What is done before a node goes on without its peer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Fencing {
    /// Nothing.
    #[default]
    DontCare,
    /// `fence-peer` is called; a Primary does not wait for it, a promotion does.
    ResourceOnly,
    /// The same, and a Primary's I/O is frozen until it answers.
    ResourceAndStonith,
}

/// When the target of a resync asks by digest, so that equal blocks need not travel.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ChecksumResync {
    /// Every block is copied.
    #[default]
    Never,
    /// Where a Primary has crashed: then most of what counts as different is not.
    AfterCrash,
    /// Always.
    Always,
}

/// What is done about a congested link.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnCongestion {
    /// Writes wait.
    #[default]
    Block,
    /// The peer is told what it misses and catches up later (protocol A).
    PullAhead,
    /// The connection is ended; the node is StandAlone.
    Disconnect,
}

/// Pace of a resync, by DRBD's names. Rates are bytes per second.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ResyncConfig {
    /// `resync-rate`: fixed where `c_plan_ahead` is 0, else what it begins with.
    pub resync_rate: u64,
    /// `c-plan-ahead`: a change of what is in flight is spread over this time; 0: no controller.
    pub c_plan_ahead: Duration,
    /// `c-delay-target`: where `c_fill_target_bytes` is 0, as much is kept in flight as arrives in
    /// this time.
    pub c_delay_target: Duration,
    /// `c-fill-target`: what is kept in flight.
    pub c_fill_target_bytes: u64,
    /// `c-max-rate`: never faster; 0 for no limit.
    pub c_max_rate: u64,
    /// `c-min-rate`: what the source keeps to while it sees application I/O; 0: it does not care.
    pub c_min_rate: u64,
}

impl Default for NetConfig {
    /// What a configuration without options says (`tandem_control`).
    fn default() -> Self {
        Self {
            timeout: Duration::from_secs(6),
            ko_count: 7,
            ping_int: Duration::from_secs(10),
            ping_timeout: Duration::from_millis(500),
            connect_int: Duration::from_secs(10),
            max_epoch_size: 20_000,
            policies: Policies::default(),
            on_congestion: OnCongestion::Block,
            congestion_fill_bytes: 0,
            fencing: Fencing::DontCare,
            checksum_resync: ChecksumResync::Never,
        }
    }
}

impl Default for ResyncConfig {
    /// DRBD's but for three, which fill an idle link of 10 Gbit/s and still make way: 4 MiB are in
    /// flight, not 50 KiB; no upper bound, not 100 MiB/s; beside an application 10 MiB/s, not 250
    /// KiB/s.
    fn default() -> Self {
        Self {
            resync_rate: 250 << 10,
            c_plan_ahead: Duration::from_secs(2),
            c_delay_target: Duration::from_secs(1),
            c_fill_target_bytes: 4 << 20,
            c_max_rate: 0,
            c_min_rate: 10 << 20,
        }
    }
}
