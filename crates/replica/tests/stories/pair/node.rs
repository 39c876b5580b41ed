//! One node of the pair: its resource, its devices, and what it has said.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use tandem_replica::meta::{self, CopyIndex, DeviceUuid, Identity, Layout, Placement, Superblock};
use tandem_replica::wire::{NodeId, Protocol, VolumeNumber};
use tandem_replica::{
    CallId, CommandError, CommandId, Config, Cookie, Handler, Instant, NetConfig, OnNoData,
    PeerConfig, RequestError, Resource, VolumeConfig,
};

/// Bytes of each backing device; internal metadata take their part of it.
pub(crate) const DEVICE_BYTES: usize = 4 << 20;

/// First bytes of device 0 of which it is known what a power loss leaves.
pub(crate) const FLUSHED_BYTES: usize = 128 << 10;

/// Extents so small that the devices have some hundred, and a log too short for them.
pub(crate) const EXTENT_BYTES: u32 = 16 << 10;
pub(crate) const AL_EXTENTS: u32 = 32;

/// What a request was answered: the bytes, for a read.
pub(crate) type Reply = Result<Option<Bytes>, RequestError>;

pub(crate) struct Node {
    pub(crate) resource: Resource,
    /// One device a volume.
    pub(crate) devices: Vec<Vec<u8>>,
    /// What a power loss leaves of the first bytes of device 0.
    pub(crate) flushed: Vec<u8>,
    pub(crate) boot_id: [u8; 16],
    pub(crate) replies: Vec<(Cookie, Reply)>,
    pub(crate) done: Vec<(CommandId, Result<(), CommandError>)>,
    pub(crate) events: Vec<String>,
    /// Handlers that were called.
    pub(crate) called: Vec<Handler>,
    /// Those of them whose answer is awaited.
    pub(crate) calls: Vec<CallId>,
    /// Disks that were closed.
    pub(crate) closed: usize,
    pub(crate) running: bool,
}

impl Node {
    /// A node with fresh metadata on every device.
    pub(crate) fn new(id: u8, volumes: u16, protocol: Protocol, now: Instant) -> Self {
        let boot_id = [id + 1; 16];
        let config = config(id, volumes, protocol, boot_id, 1000 + u64::from(id));
        let mut node = Self {
            resource: Resource::new(config, now),
            devices: (0..volumes).map(|_| vec![0; DEVICE_BYTES]).collect(),
            flushed: vec![0; FLUSHED_BYTES],
            boot_id,
            replies: Vec::new(),
            done: Vec::new(),
            events: Vec::new(),
            called: Vec::new(),
            calls: Vec::new(),
            closed: 0,
            running: true,
        };
        for volume in 0..volumes {
            node.format(id, volume, DeviceUuid([id; 16]));
        }
        node
    }

    /// Fresh metadata, as by create-md.
    pub(crate) fn format(&mut self, id: u8, volume: u16, uuid: DeviceUuid) {
        let layout = Layout::new(DEVICE_BYTES as u64, Placement::Internal, 1).unwrap();
        let identity = Identity::new("r0", VolumeNumber(volume), NodeId(id)).unwrap();
        let (_, plan) = meta::format(&layout, identity, uuid, EXTENT_BYTES);
        let device = &mut self.devices[usize::from(volume)];
        for write in plan.indexes.into_iter().chain(plan.superblocks) {
            let at = usize::try_from(write.offset).unwrap();
            device[at..at + write.bytes.len()].copy_from_slice(&write.bytes);
        }
    }
}

/// The number of the other node.
pub(crate) fn peer_of(node: usize) -> NodeId {
    NodeId(1 - u8::try_from(node).unwrap())
}

/// What the node is told when its process starts.
pub(crate) fn config(
    node: u8,
    volumes: u16,
    protocol: Protocol,
    boot_id: [u8; 16],
    entropy: u64,
) -> Config {
    let peer = 1 - node;
    Config {
        name: "r0".to_owned(),
        node_id: NodeId(node),
        volumes: (0..volumes)
            .map(|number| VolumeConfig {
                al_extents: AL_EXTENTS,
                ..VolumeConfig::new(VolumeNumber(number))
            })
            .collect(),
        peers: vec![PeerConfig {
            node_id: NodeId(peer),
            name: ["alice", "bob"][usize::from(peer)].to_owned(),
            protocol,
            net: NetConfig::default(),
            resync: BTreeMap::new(),
        }],
        boot_id,
        entropy,
        promote_timeout: Duration::from_secs(2),
        on_no_data: OnNoData::IoError,
    }
}

/// Changes what the metadata of a device say, while nobody uses it.
pub(crate) fn edit_superblock(device: &mut [u8], edit: impl FnOnce(&mut Superblock)) {
    let offsets = meta::superblock_offsets(DEVICE_BYTES as u64, Placement::Internal).unwrap();
    let [a, b] = offsets.map(|offset| usize::try_from(offset).unwrap());
    let block = &device[a..a + meta::META_BLOCK_BYTES];
    let mut superblock = Superblock::decode(block, CopyIndex::A).unwrap();
    edit(&mut superblock);
    for (at, copy) in [(a, CopyIndex::A), (b, CopyIndex::B)] {
        device[at..at + meta::META_BLOCK_BYTES].copy_from_slice(&superblock.encode(copy));
    }
}
