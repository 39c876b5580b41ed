//! What a seed decides before the run: sizes, times, protocol, and which faults there are.

use std::time::Duration;

use tandem_replica::{
    ChecksumResync, Fencing, NetConfig, OnCongestion, OnIoError, OnNoData, ResyncConfig,
};
use tandem_wire::{
    AfterSplitBrain0Pri, AfterSplitBrain1Pri, AfterSplitBrain2Pri, Policies, Protocol, RoleConflict,
};

use crate::clock::{MICROS, MILLIS, SECONDS};
use crate::disk::Pace;
use crate::link::LinkPace;
use crate::node::node_id;
use crate::operator::by_hand::ByHand;
use crate::prng::Prng;

mod faults;
mod focus;
mod permit;
mod small;

pub use faults::FaultWeights;
pub use permit::PermitProfile;

/// What the operator takes to start, connect, and resolve what only he can.
const OPERATOR_PATIENCE: u64 = 45 * SECONDS;

/// The parameters of a run.
#[derive(Clone, Debug)]
pub struct Profile {
    /// Protocol of the connection.
    pub protocol: Protocol,
    /// Blocks of 4 KiB of each volume's data device.
    pub volume_blocks: Vec<u64>,
    /// Metadata on a device of their own, by node.
    pub external: [bool; 2],
    /// Block size of the disks, by node.
    pub block_size: [u32; 2],
    /// Times and limits of the connection.
    pub net: NetConfig,
    /// Pace of resyncs, by node.
    pub resync: [ResyncConfig; 2],
    /// Granularity of thin resyncs, by node; 0 for none.
    pub discard_granularity: [u32; 2],
    /// Volume that is synced after the other one, by node.
    pub resync_after: [Option<usize>; 2],
    /// Speed of the disks, by node.
    pub disk: [Pace; 2],
    /// Speed of the network.
    pub link: LinkPace,
    /// Clients of each volume.
    pub clients: usize,
    /// Requests a client keeps in flight at most.
    pub depth: usize,
    /// Mean pause of a client, nanoseconds.
    pub pause: u64,
    /// Requests of the whole run at most.
    pub requests_max: u64,
    /// Mean time between faults, nanoseconds.
    pub fault_pause: u64,
    /// How many of a thousand faults come right behind another one.
    pub bursts: u64,
    /// Weight of each fault.
    pub faults: FaultWeights,
    /// Both nodes may be promoted during a partition.
    pub split_brain: bool,
    /// How many of a thousand invalidations are given to both nodes at once.
    pub both_invalidate: u64,
    /// Generations that come of commands.
    pub by_hand: ByHand,
    /// Promoted again without waiting for the peer, after a killed process only.
    pub hasty: bool,
    /// What becomes of requests without data.
    pub on_no_data: OnNoData,
    /// The activity logs.
    pub log: LogProfile,
    /// Superblocks and bitmaps are damaged too, not the logs alone.
    pub damages_more: bool,
    /// What fences a peer.
    pub fencing: FencingProfile,
    /// What is behind `before-resync-target`, by node.
    pub permits: [PermitProfile; 2],
    /// What is done about disks that fail, by node.
    pub on_io_error: [OnIoError; 2],
    passes_on: [bool; 2],
    /// How many of a thousand reads fail all the time, by node.
    pub unreadable: [u64; 2],
    /// When a disk that does not answer is given up, by node; zero: never.
    pub disk_timeout: [Duration; 2],
    /// Longest time that it takes to open a disk, nanoseconds.
    pub opens_within: u64,
}

/// What is behind `fence-peer`.
#[derive(Clone, Copy, Debug)]
pub struct FencingProfile {
    /// It takes the peer's power; else it has its data outdated.
    pub shoots: bool,
    /// Longest time for what it does, and for its answer, nanoseconds.
    pub delay_max: u64,
    /// How many of a thousand fail.
    pub fails: u64,
    /// How many of a thousand never answer.
    pub hangs: u64,
}

impl FencingProfile {
    /// The policy, and what carries it out. Answers of protocol A cannot wait for a fence.
    fn draw(prng: &mut Prng, protocol: Protocol) -> (Fencing, Self) {
        let policy = match prng.below(10) {
            0..6 => Fencing::DontCare,
            6..7 => Fencing::ResourceOnly,
            _ if protocol == Protocol::A => Fencing::DontCare,
            _ => Fencing::ResourceAndStonith,
        };
        let program = Self {
            shoots: prng.per_mille(400),
            delay_max: prng.log_between(5 * MILLIS, 5 * SECONDS),
            fails: prng.pick(&[0, 0, 100, 500]),
            hangs: prng.pick(&[0, 0, 50, 300]),
        };
        (policy, program)
    }
}

/// What activity logs are like.
#[derive(Clone, Copy, Debug)]
pub struct LogProfile {
    /// Slots.
    pub extents: u32,
    /// Bytes of an extent.
    pub extent_bytes: u32,
    /// Whether one is kept, by node.
    pub updates: [bool; 2],
    /// Both are different at every start of a node.
    pub changes: bool,
    /// The copy whose blocks are damaged at rest, if one.
    pub damaged: Option<u8>,
}

impl LogProfile {
    /// Mostly logs so short, and extents so small, that slots are taken away all the time: volumes
    /// have 64 to 512 blocks.
    fn draw(prng: &mut Prng) -> Self {
        Self {
            extents: Self::draw_extents(prng),
            extent_bytes: prng.pick(&[4, 4, 8, 8, 16, 16, 32, 64, 256, 1024]) << 10,
            updates: if prng.per_mille(900) { [true; 2] } else { [prng.per_mille(500), false] },
            changes: false,
            damaged: [None, None, Some(0), Some(1)][prng.index(4)],
        }
    }

    fn draw_extents(prng: &mut Prng) -> u32 {
        let extents = if prng.per_mille(100) { 6433 } else { prng.log_between(4, 67) };
        u32::try_from(extents).expect("small")
    }

    /// Another configuration of the same disks.
    pub fn redraw(&mut self, prng: &mut Prng) {
        self.extents = Self::draw_extents(prng);
        for updates in &mut self.updates {
            *updates = prng.per_mille(900);
        }
    }
}

impl Profile {
    /// Draws everything.
    pub fn draw(prng: &mut Prng) -> Self {
        let low = prng.log_between(5 * MICROS, 200 * MICROS);
        let way = prng.log_between(10 * MICROS, 2 * MILLIS);
        let blocks = |prng: &mut Prng| match prng.below(10) {
            0 => prng.log_between(512, 2048),
            _ => prng.log_between(64, 512),
        };
        let volumes = if prng.per_mille(250) { 2 } else { 1 };
        let disk = |prng: &mut Prng| Pace {
            low,
            high: low * prng.between(2, 40),
            stalls: prng.pick(&[0, 0, 1, 5]),
        };
        let bytes = if prng.per_mille(500) { [512; 2] } else { [4096; 2] };
        let protocol = prng.pick(&[Protocol::A, Protocol::B, Protocol::C, Protocol::C]);
        let is_narrow = protocol == Protocol::A && prng.per_mille(400);
        let (fencing, program) = FencingProfile::draw(&mut prng.clone().fork(8), protocol);
        let mut hangs = prng.clone().fork(9);
        let mut profile = Self {
            protocol,
            volume_blocks: (0..volumes).map(|_| blocks(prng)).collect(),
            external: [prng.per_mille(500), prng.per_mille(500)],
            block_size: if prng.per_mille(100) { [512, 4096] } else { bytes },
            net: draw_net(prng, is_narrow),
            resync: [draw_resync(prng), draw_resync(prng)],
            discard_granularity: [Self::draw_granularity(prng), Self::draw_granularity(prng)],
            resync_after: draw_resync_after(prng, volumes),
            disk: [disk(prng), disk(prng)],
            link: LinkPace {
                low: way,
                high: way * prng.between(1, 20),
                per_kib: match is_narrow {
                    true => prng.log_between(20 * MICROS, MILLIS),
                    false => prng.log_between(100, 20 * MICROS),
                },
                split: prng.pick(&[0, 50, 500]),
            },
            clients: prng.pick(&[1, 1, 2, 3, 4, 4, 8, 16]),
            depth: prng.pick(&[1, 2, 4, 8, 16, 32]),
            pause: prng.log_between(5 * MILLIS, 200 * MILLIS),
            requests_max: prng.log_between(1_000, 8_000),
            fault_pause: prng.log_between(500 * MILLIS, 8_000 * MILLIS),
            bursts: 0,
            faults: draw_faults(prng),
            split_brain: prng.per_mille(120),
            by_hand: ByHand::default(),
            hasty: prng.per_mille(300),
            // From numbers of its own: worlds are as they would be without it.
            log: LogProfile::draw(&mut prng.clone().fork(7)),
            damages_more: false,
            fencing: program,
            permits: [PermitProfile::default(); 2],
            on_io_error: [OnIoError::Detach; 2],
            passes_on: [false; 2],
            unreadable: [0; 2],
            disk_timeout: [Duration::ZERO; 2],
            opens_within: 5 * MILLIS,
            on_no_data: OnNoData::IoError,
            both_invalidate: 0,
        };
        profile.draw_later(&mut prng.clone().fork(9));
        profile.permits = [13, 14].map(|label| PermitProfile::draw(&mut prng.clone().fork(label)));
        profile.net.policies = draw_policies(prng, profile.split_brain);
        profile.net.fencing = fencing;
        profile.draw_hangs(&mut hangs);
        profile.both_invalidate = prng.pick(&[0, 300]);
        profile.on_no_data = prng.pick(&[OnNoData::IoError, OnNoData::SuspendIo]);
        profile
    }
}

impl Profile {
    /// From numbers of its own: what came to be drawn after all else.
    fn draw_later(&mut self, prng: &mut Prng) {
        let mut weight = |on: u64, low, high| match prng.per_mille(on) {
            true => prng.between(low, high),
            false => 0,
        };
        self.faults.replace = weight(150, 1, 5);
        self.faults.adjust = weight(150, 1, 10);
        self.faults.grow = weight(300, 3, 20);
        self.log.changes = prng.per_mille(150);
        self.damages_more = prng.per_mille(300);
        self.draw_passing_on(&mut prng.fork(12));
    }

    /// Nodes whose disks stay, and pass their errors on. Disks do fail where one does.
    fn draw_passing_on(&mut self, prng: &mut Prng) {
        for node in 0..2 {
            self.passes_on[node] = prng.per_mille(200);
            let unreadable = prng.pick(&[0, 0, 5, 40]);
            self.unreadable[node] = if self.passes_on[node] { unreadable } else { 0 };
        }
        if self.faults.sicken == 0 && self.passes_on.contains(&true) {
            self.faults.sicken = prng.between(1, 10);
        }
    }

    /// Disks that hang, in some of the runs, and what is done about it.
    fn draw_hangs(&mut self, prng: &mut Prng) {
        for choice in &mut self.on_io_error {
            *choice = prng.pick(&[OnIoError::Detach, OnIoError::CallLocalIoError]);
        }
        for (choice, passes) in self.on_io_error.iter_mut().zip(self.passes_on) {
            if passes {
                *choice = OnIoError::PassOn;
            }
        }
        if prng.per_mille(600) {
            return;
        }
        self.faults.stall = prng.between(1, 10);
        for limit in &mut self.disk_timeout {
            if prng.per_mille(750) {
                *limit = Duration::from_millis(prng.log_between(200, 5000));
            }
        }
    }

    /// Whether the operator promotes a node without its peer, whatever that one may be doing:
    /// because split brains are wanted, or because the node must fence it first.
    pub fn promotes_apart(&self) -> bool {
        self.split_brain || self.net.fencing == Fencing::ResourceAndStonith
    }

    /// Other options of a connection; it waits no longer than with those of the profile.
    pub fn redraw_net(net: &mut NetConfig, profile: &NetConfig, prng: &mut Prng) {
        let mut other = draw_net(prng, net.congestion_fill_bytes > 0);
        other.timeout = other.timeout.min(profile.timeout);
        other.ping_int = other.ping_int.min(profile.ping_int);
        other.ping_timeout = other.ping_timeout.min(profile.ping_timeout);
        other.connect_int = other.connect_int.min(profile.connect_int);
        other.policies = profile.policies;
        other.fencing = profile.fencing;
        *net = other;
    }

    /// Granularity of thin resyncs in bytes; 0 for none.
    pub fn draw_granularity(prng: &mut Prng) -> u32 {
        prng.pick(&[0, 0, 4096, 8192, 64 << 10, 1 << 20])
    }

    /// LIVE-1: simulated time in which everything must be healthy again once faults have stopped.
    /// Ten times what the nodes wait for each other, what the operator takes to act, and the time
    /// of four full copies, a block at a time.
    pub fn patience(&self) -> u64 {
        let net = &self.net;
        let waits = net.timeout + net.ping_int + net.ping_timeout + net.connect_int;
        let waits = u64::try_from(waits.as_nanos()).expect("seconds");
        let disks: u64 = self.disk.iter().map(|pace| pace.high).sum();
        let block = 2 * disks + 2 * self.link.high + 4 * self.link.per_kib;
        let blocks: u64 = match self.faults.grow {
            0 => self.volume_blocks.iter().sum(),
            _ => self.volume_blocks.len() as u64 * crate::grow::BLOCKS_MAX,
        };
        OPERATOR_PATIENCE + 10 * waits + 4 * blocks * block
    }
}

fn draw_faults(prng: &mut Prng) -> FaultWeights {
    let drawn = FaultWeights::draw(prng);
    FaultWeights { monkey: drawn.monkey * 3, ..drawn }
}

/// Split brains are settled by policy in most of the runs that have any.
fn draw_policies(prng: &mut Prng, split_brain: bool) -> Policies {
    let rr_conflict =
        if prng.per_mille(500) { RoleConflict::Disconnect } else { prng.pick(RoleConflict::ALL) };
    if !split_brain || prng.per_mille(250) {
        return Policies { rr_conflict, ..Policies::default() };
    }
    let after_sb_0pri = match prng.index(AfterSplitBrain0Pri::PLAIN.len() + 2) {
        node @ 0..2 => AfterSplitBrain0Pri::DiscardNode(node_id(node)),
        plain => AfterSplitBrain0Pri::PLAIN[plain - 2],
    };
    Policies {
        after_sb_0pri,
        after_sb_1pri: match prng.per_mille(500) {
            true => AfterSplitBrain1Pri::DiscardSecondary,
            false => prng.pick(AfterSplitBrain1Pri::ALL),
        },
        after_sb_2pri: prng.pick(AfterSplitBrain2Pri::ALL),
        always_asbp: prng.per_mille(500),
        rr_conflict,
    }
}

fn draw_net(prng: &mut Prng, is_narrow: bool) -> NetConfig {
    let ms = |prng: &mut Prng, low, high| Duration::from_millis(prng.log_between(low, high));
    NetConfig {
        timeout: ms(prng, 500, 3000),
        ko_count: prng.pick(&[0, 2, 7]),
        ping_int: ms(prng, 500, 5000),
        ping_timeout: ms(prng, 200, 500),
        connect_int: ms(prng, 300, 3000),
        max_epoch_size: prng.pick(&[2, 20, 2048]),
        checksum_resync: prng.pick(&[
            ChecksumResync::Never,
            ChecksumResync::Never,
            ChecksumResync::AfterCrash,
            ChecksumResync::Always,
        ]),
        policies: Policies::default(),
        on_congestion: match prng.below(10) {
            0..3 => OnCongestion::Block,
            3..9 => OnCongestion::PullAhead,
            _ => OnCongestion::Disconnect,
        },
        fencing: Fencing::DontCare,
        congestion_fill_bytes: if is_narrow { prng.log_between(8 << 10, 512 << 10) } else { 0 },
    }
}

fn draw_resync(prng: &mut Prng) -> ResyncConfig {
    let fixed = prng.per_mille(200);
    ResyncConfig {
        resync_rate: prng.log_between(512 << 10, 8 << 20),
        c_plan_ahead: Duration::from_millis(if fixed { 0 } else { prng.log_between(100, 4000) }),
        c_delay_target: Duration::from_millis(prng.log_between(100, 1000)),
        c_fill_target_bytes: prng.pick(&[0, 64 << 10, 256 << 10, 4 << 20]),
        c_max_rate: prng.pick(&[0, 0, 1 << 20, 16 << 20]),
        c_min_rate: prng.pick(&[0, 512 << 10, 2 << 20, 10 << 20]),
    }
}

/// Both nodes say the same, or only one of them says something: against each other they would wait
/// for ever.
fn draw_resync_after(prng: &mut Prng, volumes: usize) -> [Option<usize>; 2] {
    if volumes < 2 || prng.per_mille(500) {
        return [None; 2];
    }
    let after = Some(prng.index(2));
    prng.pick(&[[after, after], [after, None], [None, after]])
}
