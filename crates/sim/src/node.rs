//! One node: its disks, which outlive its process, and its process, a real `Resource`.

use std::collections::{BTreeSet, VecDeque};

use tandem_replica::{
    AttachGeneration, Config, DiskToken, Initial, Instant, LinkSession, PeerConfig, Resource,
    VolumeConfig,
};
use tandem_wire::{DiskState, NodeId, Packet, VolumeNumber};

use crate::cell::Cell;
use crate::disk::SimDisk;
use crate::event::{Event, Life};
use crate::eviction::Evictions;
use crate::format;
use crate::prng::Prng;
use crate::profile::Profile;
use crate::stamp::{SECTOR, Stamp};
use crate::stop::Stopped;
use crate::view::View;

/// A node.
#[derive(Debug)]
pub struct Node {
    /// 0 or 1; its node id as well.
    pub index: usize,
    /// Which process it is.
    pub life: Life,
    /// The process; none while it is dead.
    pub resource: Option<Resource>,
    /// By index of the volume.
    pub disks: Vec<SimDisk>,
    /// Which openings of the disks the process has.
    pub opened: Vec<Option<AttachGeneration>>,
    /// The link as the process has it: its name and the network's key.
    pub session: Option<(LinkSession, u64)>,
    /// Both nodes had written apart when it last came up.
    pub linked_split: bool,
    /// When it has last ended a link by itself.
    pub hung_up_at: Option<u64>,
    /// When it did so first since it was last connected.
    pub apart_since: Option<u64>,
    /// The attempt to connect under way.
    pub attempt: Option<u64>,
    /// What it misses, while it is stopped.
    pub stopped: Option<Stopped>,
    /// Frames of ended sessions that have yet to reach it.
    pub late: VecDeque<(LinkSession, Packet)>,
    /// A write of the peer has met another one on its disk since the last barrier.
    pub holds_write: bool,
    /// Operations of its disks that the process waits for, or would if it had not given them up.
    pub flying: BTreeSet<(usize, DiskToken)>,
    /// The ends of those that hang.
    pub stalled: Vec<Event>,
    /// By index of the volume: what its activity log has said.
    pub evictions: Vec<Evictions>,
    /// When the next timer event is due.
    pub timer_at: Option<u64>,
    /// Its states as the checkers saw them last.
    pub view: View,
    /// When its I/O was last seen frozen.
    pub frozen_at: u64,
    /// Chance of its own: latencies, what a crash leaves.
    pub prng: Prng,
    boot: u64,
    sessions: u64,
}

impl Node {
    /// A node with formatted disks and no process.
    pub fn new(index: usize, profile: &Profile, mut prng: Prng) -> Self {
        // What nobody has written is something else on each node, unless an operator says not so.
        let shown = if profile.by_hand.first == Some(Initial::Equal) { 0 } else { index };
        let disks: Vec<SimDisk> = (profile.volume_blocks.iter().enumerate())
            .map(|(volume, blocks)| new_disk(index, volume, *blocks, shown, profile, &mut prng))
            .collect();
        Self {
            index,
            life: 0,
            resource: None,
            opened: vec![None; disks.len()],
            view: View::dead(disks.len()),
            frozen_at: 0,
            disks,
            session: None,
            linked_split: false,
            hung_up_at: None,
            apart_since: None,
            attempt: None,
            stopped: None,
            holds_write: false,
            late: VecDeque::new(),
            flying: BTreeSet::new(),
            stalled: Vec::new(),
            evictions: vec![Evictions::default(); profile.volume_blocks.len()],
            timer_at: None,
            boot: prng.word(),
            prng,
            sessions: 0,
        }
    }

    /// A new disk with room for so many blocks, formatted, stands where the old one was.
    pub fn replace_disk(&mut self, volume: usize, blocks: u64, profile: &Profile) {
        let (node, shown) = (self.index, self.index);
        self.disks[volume] = new_disk(node, volume, blocks, shown, profile, &mut self.prng);
    }

    /// Starts the process.
    pub fn start(&mut self, profile: &Profile, now: u64) {
        assert!(self.resource.is_none(), "one process at a time");
        let config = self.config(profile);
        self.life += 1;
        self.resource = Some(Resource::new(config, Instant::from_nanos(now)));
    }

    /// The process is gone; disks and links are the caller's matter.
    pub fn stop(&mut self) {
        self.resource = None;
        self.life += 1;
        self.attempt = None;
        self.apart_since = None;
        self.timer_at = None;
        self.stopped = None;
        self.late.clear();
        self.flying.clear();
        self.evictions.fill(Evictions::default());
        self.stalled.clear();
        self.opened.fill(None);
    }

    /// Whether it runs and is not stopped.
    pub fn answers(&self) -> bool {
        self.resource.is_some() && self.stopped.is_none()
    }

    /// The kernel starts anew.
    pub fn reboot(&mut self) {
        self.boot = self.prng.word();
    }

    /// A name for a new link.
    pub fn next_session(&mut self) -> LinkSession {
        self.sessions += 1;
        LinkSession(u64::from(self.life) << 32 | self.sessions)
    }

    /// Operations in flight on its disks.
    pub fn disk_operations(&self) -> usize {
        self.disks.iter().map(SimDisk::in_flight).sum()
    }

    /// Whether a disk hangs that the process has not given up.
    pub fn disk_in_use_hangs(&self) -> bool {
        let mut disks = self.disks.iter().zip(&self.view.volumes);
        disks.any(|(disk, seen)| seen.disk >= DiskState::Inconsistent && disk.hangs())
    }

    fn config(&mut self, profile: &Profile) -> Config {
        let mut boot_id = [1; 16];
        boot_id[..8].copy_from_slice(&self.boot.to_le_bytes());
        let mut log = profile.log;
        if log.changes {
            log.redraw(&mut self.prng);
        }
        Config {
            name: format::RESOURCE.into(),
            node_id: node_id(self.index),
            volumes: (0..self.disks.len())
                .map(|volume| VolumeConfig {
                    external_metadata: profile.external[self.index],
                    al_extents: log.extents,
                    al_updates: log.updates[self.index],
                    discard_granularity_bytes: profile.discard_granularity[self.index],
                    on_io_error: profile.on_io_error[self.index],
                    asks_before_resync: profile.permits[self.index].is_asked,
                    disk_timeout: profile.disk_timeout[self.index],
                    resync_after: (profile.resync_after[self.index] == Some(volume))
                        .then(|| volume_number(1 - volume)),
                    ..VolumeConfig::new(volume_number(volume))
                })
                .collect(),
            peers: vec![PeerConfig {
                node_id: node_id(1 - self.index),
                name: ["zero", "one"][1 - self.index].into(),
                protocol: profile.protocol,
                net: profile.net,
                resync: (0..self.disks.len())
                    .map(|volume| (volume_number(volume), profile.resync[self.index]))
                    .collect(),
            }],
            boot_id,
            entropy: self.prng.word(),
            promote_timeout: profile.net.timeout,
            on_no_data: profile.on_no_data,
        }
    }
}

/// The id of node `index`.
pub fn node_id(index: usize) -> NodeId {
    NodeId(u8::try_from(index).expect("two nodes"))
}

/// The number of volume `index`.
pub fn volume_number(index: usize) -> VolumeNumber {
    VolumeNumber(u16::try_from(index).expect("two volumes"))
}

/// Its sectors show what node `shown` has where nobody has written.
fn new_disk(
    node: usize,
    volume: usize,
    blocks: u64,
    shown: usize,
    profile: &Profile,
    prng: &mut Prng,
) -> SimDisk {
    let data_bytes = usize::try_from(blocks * 4096).expect("small");
    let internal = if profile.external[node] { 0 } else { format::META_BYTES };
    let salt = u32::try_from(shown + 1).expect("two nodes");
    let stamps = (0..data_bytes / SECTOR).map(|number| Stamp::new(0, number as u64, salt));
    let mut data: Vec<Cell> = stamps.map(Cell::Stamped).collect();
    data.resize((data_bytes + internal) / SECTOR, Cell::Zero);
    let meta = profile.external[node].then(|| vec![Cell::Zero; format::META_BYTES / SECTOR]);
    let mut disk = SimDisk::new(data, meta, profile.block_size[node], profile.disk[node]);
    let room = format::format(&mut disk, profile, node, volume, prng);
    assert_eq!(room, blocks, "metadata take what they should");
    disk
}
