//! What a volume's data are worth, who tracked what since when, and where the rest lies: 4 KiB,
//! twice.
//!
//! Order on disk: an update raises the sequence number, writes copy A, and when that is durable,
//! copy B; it counts when B is durable. So one whole copy exists at any time, both hold what
//! counts, and the loss of either brings back nothing that was superseded.
//!
//! A copy is valid when magic, checksum, version and features are and every field says something it
//! can say; the places in it are checked by [`Layout::from_superblock`].

use tandem_wire::{NodeId, Protocol, Uuid};

use crate::bitmap::BLOCK_BYTES;

use super::fields::{peer_slot, region, superblock as field};
use super::{
    AL_EXTENT_BYTES, AL_EXTENT_BYTES_MAX, AL_EXTENT_BYTES_MIN, AL_EXTENTS_MAX, Area, BootId,
    DeviceUuid, Identity, Layout, META_BLOCK_BYTES, MetaError, MetaWrite, PEERS_MAX, Placement,
    REGIONS_MAX, Region, SlotIndex,
};

mod choose;
mod flags;
mod forget;
mod owner;

pub use choose::{Chosen, choose};
pub use flags::{PeerFlags, VolumeFlags};

pub(super) const MAGIC: [u8; 8] = *b"TANDEMSB";
const FORMAT_VERSION: u16 = 1;
/// Features that a program must know to use the metadata; none so far.
const INCOMPAT_FEATURES: u64 = 0;
const PLACEMENT_INTERNAL: u8 = 1;
const PLACEMENT_EXTERNAL: u8 = 2;
const NO_NODE: u8 = 0xff;
const NO_PROTOCOL: u8 = 0;

/// History UUIDs kept on disk.
pub const HISTORY_SLOTS: usize = 32;

/// Which of the two copies.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum CopyIndex {
    /// Written first, unless B is to be repaired.
    A = 0,
    /// Written when A is durable.
    B = 1,
}

impl CopyIndex {
    /// Both, in the order they are written.
    pub const ALL: [Self; 2] = [Self::A, Self::B];
}

/// What is kept for one peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PeerSlot {
    /// The peer.
    pub node: NodeId,
    /// Facts about it.
    pub flags: PeerFlags,
    /// Generation since which its bitmap tracks; none when it is connected and in sync.
    pub bitmap_uuid: Uuid,
    /// The last session with it; 0 for none.
    pub last_session: u64,
    /// Protocol of that session.
    pub last_protocol: Option<Protocol>,
    /// Up-time of this node's kernel in that session.
    pub boot_id: BootId,
}

impl PeerSlot {
    /// Whether the peer is known to hold another generation than `current`, this disk's: it has
    /// not written in that one without this node.
    pub fn is_apart(&self, current: Uuid) -> bool {
        self.bitmap_uuid.is_real() && self.bitmap_uuid != current && !self.flags.unheard
    }
}

/// The superblock.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Superblock {
    /// Counts updates; the higher one is newer.
    pub sequence: u64,
    /// Whose it is; nobody's until the first attach, where whoever made it could not know.
    pub identity: Option<Identity>,
    /// Random name of this making of metadata.
    pub device_uuid: DeviceUuid,
    /// Where the metadata were made to lie.
    pub placement: Placement,
    /// Size of the backing disk in bytes when they were made.
    pub device_bytes: u64,
    /// Bytes that the volume can have.
    pub data_bytes: u64,
    /// Size agreed with peers in bytes; 0 when never. What is below it counts.
    pub effective_bytes: u64,
    /// Size that clients see as long as a peer may not have taken the larger `effective_bytes`; 0
    /// where they see that one.
    pub former_bytes: u64,
    /// Where metadata lay before they were moved, as long as that may not be zeroed.
    pub left_behind: Option<Area>,
    /// How many peer slots can be used.
    pub max_peers: u8,
    /// What the data are worth.
    pub flags: VolumeFlags,
    /// The last session in which this node was Primary; names the one it crashed in with the flag
    /// `crashed_primary`. 0 for none.
    pub primary_session: u64,
    /// Generation of the data.
    pub current_uuid: Uuid,
    /// Older generations, newest first.
    pub history: [Uuid; HISTORY_SLOTS],
    /// By slot; those from `max_peers` on are none.
    pub peers: [Option<PeerSlot>; PEERS_MAX as usize],
    /// Bytes of data of an extent of the activity log.
    pub al_extent_bytes: u32,
    /// Number of the activity log that counts; 0 for none yet.
    pub al_log: u64,
    /// Where the rest lies, unchecked.
    pub regions: Vec<Region>,
}

impl Superblock {
    /// The superblock of metadata that were just made: no peers, no data worth anything.
    pub fn new(
        layout: &Layout,
        identity: impl Into<Option<Identity>>,
        device_uuid: DeviceUuid,
    ) -> Self {
        Self {
            sequence: 1,
            identity: identity.into(),
            device_uuid,
            placement: layout.placement(),
            device_bytes: layout.device_bytes(),
            data_bytes: layout.data_bytes(),
            effective_bytes: 0,
            former_bytes: 0,
            left_behind: None,
            max_peers: layout.max_peers(),
            flags: VolumeFlags::default(),
            primary_session: 0,
            current_uuid: Uuid::JUST_CREATED,
            history: [Uuid::NONE; HISTORY_SLOTS],
            peers: [None; PEERS_MAX as usize],
            al_extent_bytes: AL_EXTENT_BYTES,
            al_log: 0,
            regions: layout.regions(),
        }
    }

    /// The rest lies elsewhere from here on.
    ///
    /// # Errors
    /// Where the data would have more extents than can be counted.
    pub fn place(&mut self, layout: &Layout) -> Result<(), MetaError> {
        let placed = Self {
            placement: layout.placement(),
            device_bytes: layout.device_bytes(),
            data_bytes: layout.data_bytes(),
            regions: layout.regions(),
            ..self.clone()
        };
        placed.check_extents()?;
        *self = placed;
        Ok(())
    }

    /// The slot that belongs to a peer.
    pub fn slot_of(&self, node: NodeId) -> Option<SlotIndex> {
        let is_its = |slot: &Option<PeerSlot>| slot.is_some_and(|slot| slot.node == node);
        let index = self.peers.iter().position(is_its)?;
        Some(SlotIndex(u8::try_from(index).expect("31 slots")))
    }

    /// Gives a peer a slot if it has none. What its bitmap would say is unknown, so a new slot asks
    /// for a full sync, unless there are no data yet (INV-7). So is what was done here since the
    /// peer was last met, if it ever was: clients of its own may not be given these data unasked.
    ///
    /// # Errors
    /// `NoFreeSlot` where all are taken, `BadValue` where `node` is this node or none.
    pub fn allocate_slot(&mut self, node: NodeId) -> Result<SlotIndex, MetaError> {
        if let Some(slot) = self.slot_of(node) {
            return Ok(slot);
        }
        if self.is_own(node) || node.0 >= NodeId::COUNT_MAX {
            return Err(MetaError::BadValue { field: peer_slot::NODE_ID.name });
        }
        let usable = &mut self.peers[..usize::from(self.max_peers)];
        let Some(index) = usable.iter().position(Option::is_none) else {
            return Err(MetaError::NoFreeSlot { max_peers: self.max_peers });
        };
        let has_data = self.current_uuid != Uuid::JUST_CREATED;
        usable[index] = Some(PeerSlot {
            node,
            flags: PeerFlags { full_sync: has_data, went_on: has_data, ..PeerFlags::default() },
            bitmap_uuid: Uuid::NONE,
            last_session: 0,
            last_protocol: None,
            boot_id: BootId::default(),
        });
        Ok(SlotIndex(u8::try_from(index).expect("31 slots")))
    }

    /// Raises the sequence number and returns the two writes that store what `self` says, that of
    /// copy `first` in front: the one that is not good, if one is not. The second must not be
    /// issued before the first is durable; the update counts when both are.
    pub fn plan_update(&mut self, layout: &Layout, first: CopyIndex) -> [MetaWrite; 2] {
        self.sequence = self.sequence.checked_add(1).expect("2^64 updates take for ever");
        let mut writes = self.plan_write(layout);
        if first == CopyIndex::B {
            writes.reverse();
        }
        writes
    }

    pub(super) fn plan_write(&self, layout: &Layout) -> [MetaWrite; 2] {
        CopyIndex::ALL.map(|copy| MetaWrite {
            offset: layout.superblock_offset(copy),
            bytes: self.encode(copy).to_vec(),
        })
    }

    /// The bytes of a copy.
    ///
    /// # Panics
    /// Where there are more regions than [`REGIONS_MAX`] or a peer beyond `max_peers`.
    pub fn encode(&self, copy: CopyIndex) -> [u8; META_BLOCK_BYTES] {
        assert!(self.peers[usize::from(self.max_peers)..].iter().all(Option::is_none));
        assert!(self.regions.len() <= REGIONS_MAX, "{} regions", self.regions.len());
        let (placement, meta_bytes) = match self.placement {
            Placement::Internal => (PLACEMENT_INTERNAL, 0),
            Placement::External { meta_bytes } => (PLACEMENT_EXTERNAL, meta_bytes),
        };
        let regions = u8::try_from(self.regions.len()).expect("at most 48");
        let bit_bytes = u32::try_from(BLOCK_BYTES).expect("a bit stands for 4 KiB");
        let mut block = [0; META_BLOCK_BYTES];
        field::MAGIC.put(&mut block, MAGIC);
        field::FORMAT_VERSION.put(&mut block, FORMAT_VERSION.to_le_bytes());
        field::COPY.put(&mut block, [copy as u8]);
        field::PLACEMENT.put(&mut block, [placement]);
        field::SEQUENCE.put(&mut block, self.sequence.to_le_bytes());
        field::INCOMPAT_FEATURES.put(&mut block, INCOMPAT_FEATURES.to_le_bytes());
        field::DEVICE_BYTES.put(&mut block, self.device_bytes.to_le_bytes());
        field::META_BYTES.put(&mut block, meta_bytes.to_le_bytes());
        field::DATA_BYTES.put(&mut block, self.data_bytes.to_le_bytes());
        field::EFFECTIVE_BYTES.put(&mut block, self.effective_bytes.to_le_bytes());
        field::FORMER_BYTES.put(&mut block, self.former_bytes.to_le_bytes());
        let left = self.left_behind.unwrap_or(Area { offset: 0, len: 0 });
        field::LEFT_OFFSET.put(&mut block, left.offset.to_le_bytes());
        field::LEFT_LEN.put(&mut block, left.len.to_le_bytes());
        field::BLOCK_BYTES.put(&mut block, bit_bytes.to_le_bytes());
        field::FLAGS.put(&mut block, self.flags.bits().to_le_bytes());
        field::DEVICE_UUID.put(&mut block, self.device_uuid.0);
        field::MAX_PEERS.put(&mut block, [self.max_peers]);
        field::REGION_COUNT.put(&mut block, [regions]);
        field::PRIMARY_SESSION.put(&mut block, self.primary_session.to_le_bytes());
        field::CURRENT_UUID.put(&mut block, self.current_uuid.0.to_le_bytes());
        owner::encode(self.identity.as_ref(), &mut block);
        for (index, uuid) in self.history.iter().enumerate() {
            let entry = field::HISTORY.entry_mut(&mut block, index, 8);
            entry.copy_from_slice(&uuid.0.to_le_bytes());
        }
        for (index, slot) in self.peers.iter().enumerate() {
            encode_peer(slot.as_ref(), field::PEERS.entry_mut(&mut block, index, peer_slot::BYTES));
        }
        field::AL_EXTENT_BYTES.put(&mut block, self.al_extent_bytes.to_le_bytes());
        field::AL_LOG.put(&mut block, self.al_log.to_le_bytes());
        for (index, region) in self.regions.iter().enumerate() {
            region.encode(field::REGIONS.entry_mut(&mut block, index, region::BYTES));
        }
        let crc = checksum(&block);
        field::CRC.put(&mut block, crc.to_le_bytes());
        block
    }

    /// Reads what was found where `copy` belongs.
    ///
    /// # Errors
    /// As [`MetaError`] says; `NotFound` where nothing there looks like metadata.
    pub fn decode(block: &[u8], copy: CopyIndex) -> Result<Self, MetaError> {
        let block: &[u8; META_BLOCK_BYTES] = block.try_into().map_err(|_| MetaError::NotFound)?;
        if field::MAGIC.array(block) != MAGIC {
            return Err(MetaError::NotFound);
        }
        if field::CRC.u32(block) != checksum(block) {
            return Err(MetaError::Damaged);
        }
        let version = field::FORMAT_VERSION.u16(block);
        if version != FORMAT_VERSION {
            return Err(MetaError::Version(version));
        }
        let unknown = field::INCOMPAT_FEATURES.u64(block) & !INCOMPAT_FEATURES;
        if unknown != 0 {
            return Err(MetaError::Features(unknown));
        }
        if field::COPY.u8(block) != copy as u8 {
            return Err(MetaError::WrongCopy);
        }
        if u64::from(field::BLOCK_BYTES.u32(block)) != BLOCK_BYTES {
            return Err(bad(field::BLOCK_BYTES.name));
        }
        let uuid = |index| {
            let entry = field::HISTORY.entry(block, index, 8);
            Uuid(u64::from_le_bytes(*entry.first_chunk().expect("a UUID has 8 bytes")))
        };
        let superblock = Self {
            sequence: field::SEQUENCE.u64(block),
            identity: owner::decode(block)?,
            device_uuid: DeviceUuid(field::DEVICE_UUID.array(block)),
            placement: decode_placement(block)?,
            device_bytes: field::DEVICE_BYTES.u64(block),
            data_bytes: field::DATA_BYTES.u64(block),
            effective_bytes: field::EFFECTIVE_BYTES.u64(block),
            former_bytes: field::FORMER_BYTES.u64(block),
            left_behind: decode_left(block)?,
            max_peers: field::MAX_PEERS.u8(block),
            flags: VolumeFlags::from_bits(field::FLAGS.u32(block))
                .ok_or_else(|| bad(field::FLAGS.name))?,
            primary_session: field::PRIMARY_SESSION.u64(block),
            current_uuid: Uuid(field::CURRENT_UUID.u64(block)),
            history: std::array::from_fn(uuid),
            peers: decode_peers(block)?,
            al_extent_bytes: field::AL_EXTENT_BYTES.u32(block),
            al_log: field::AL_LOG.u64(block),
            regions: decode_regions(block)?,
        };
        superblock.check_extents()?;
        superblock.check_peers()?;
        Ok(superblock)
    }

    /// Extents are of a size that a page of the bitmap holds whole ones of, and can be counted.
    fn check_extents(&self) -> Result<(), MetaError> {
        let bytes = self.al_extent_bytes;
        let has_size =
            (AL_EXTENT_BYTES_MIN..=AL_EXTENT_BYTES_MAX).contains(&bytes) && bytes.is_power_of_two();
        if has_size && self.data_bytes.div_ceil(u64::from(bytes)) <= AL_EXTENTS_MAX {
            return Ok(());
        }
        Err(bad(field::AL_EXTENT_BYTES.name))
    }

    /// No peer has two slots, none is this node, none lies beyond those there are.
    fn check_peers(&self) -> Result<(), MetaError> {
        if !(1..=PEERS_MAX).contains(&self.max_peers) {
            return Err(bad(field::MAX_PEERS.name));
        }
        for (index, slot) in self.peers.iter().enumerate() {
            let Some(slot) = slot else { continue };
            let first = self.slot_of(slot.node).is_some_and(|first| first.index() == index);
            let usable = index < usize::from(self.max_peers) && self.identity.is_some();
            if !first || !usable || self.is_own(slot.node) {
                return Err(bad(field::PEERS.name));
            }
        }
        Ok(())
    }
}

fn bad(field: &'static str) -> MetaError {
    MetaError::BadValue { field }
}

/// Over the whole block, with the checksum's own field as zero.
fn checksum(block: &[u8; META_BLOCK_BYTES]) -> u32 {
    let (before, rest) = block.split_at(field::CRC.offset);
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(before);
    hasher.update(&[0; 4]);
    hasher.update(&rest[field::CRC.len..]);
    hasher.finalize()
}

/// What was left behind is data that nobody uses yet.
fn decode_left(block: &[u8; META_BLOCK_BYTES]) -> Result<Option<Area>, MetaError> {
    let area = Area { offset: field::LEFT_OFFSET.u64(block), len: field::LEFT_LEN.u64(block) };
    if area == (Area { offset: 0, len: 0 }) {
        return Ok(None);
    }
    let data_end = field::DATA_BYTES.u64(block);
    let is_data = area.checked_end().is_some_and(|end| end <= data_end);
    let is_used = area.offset < field::EFFECTIVE_BYTES.u64(block);
    if !area.is_whole() || !is_data || is_used {
        return Err(bad(field::LEFT_OFFSET.name));
    }
    Ok(Some(area))
}

fn decode_placement(block: &[u8]) -> Result<Placement, MetaError> {
    match field::PLACEMENT.u8(block) {
        PLACEMENT_INTERNAL => Ok(Placement::Internal),
        PLACEMENT_EXTERNAL => Ok(Placement::External { meta_bytes: field::META_BYTES.u64(block) }),
        _ => Err(bad(field::PLACEMENT.name)),
    }
}

fn encode_peer(slot: Option<&PeerSlot>, entry: &mut [u8]) {
    let Some(slot) = slot else {
        peer_slot::NODE_ID.put(entry, [NO_NODE]);
        return;
    };
    let protocol = slot.last_protocol.map_or(NO_PROTOCOL, |protocol| protocol as u8);
    peer_slot::NODE_ID.put(entry, [slot.node.0]);
    peer_slot::LAST_PROTOCOL.put(entry, [protocol]);
    peer_slot::FLAGS.put(entry, slot.flags.bits().to_le_bytes());
    peer_slot::BITMAP_UUID.put(entry, slot.bitmap_uuid.0.to_le_bytes());
    peer_slot::LAST_SESSION.put(entry, slot.last_session.to_le_bytes());
    peer_slot::BOOT_ID.put(entry, slot.boot_id.0);
}

fn decode_peers(block: &[u8]) -> Result<[Option<PeerSlot>; PEERS_MAX as usize], MetaError> {
    let mut peers = [None; PEERS_MAX as usize];
    for (index, peer) in peers.iter_mut().enumerate() {
        let entry = field::PEERS.entry(block, index, peer_slot::BYTES);
        let node = peer_slot::NODE_ID.u8(entry);
        if node == NO_NODE {
            continue;
        }
        if node >= NodeId::COUNT_MAX {
            return Err(bad(field::PEERS.name));
        }
        let last_protocol = match peer_slot::LAST_PROTOCOL.u8(entry) {
            NO_PROTOCOL => None,
            protocol => Some(
                Protocol::from_u8(protocol).ok_or_else(|| bad(peer_slot::LAST_PROTOCOL.name))?,
            ),
        };
        let flags = PeerFlags::from_bits(peer_slot::FLAGS.u32(entry));
        *peer = Some(PeerSlot {
            node: NodeId(node),
            flags: flags.ok_or_else(|| bad(peer_slot::FLAGS.name))?,
            bitmap_uuid: Uuid(peer_slot::BITMAP_UUID.u64(entry)),
            last_session: peer_slot::LAST_SESSION.u64(entry),
            last_protocol,
            boot_id: BootId(peer_slot::BOOT_ID.array(entry)),
        });
    }
    Ok(peers)
}

fn decode_regions(block: &[u8]) -> Result<Vec<Region>, MetaError> {
    let count = usize::from(field::REGION_COUNT.u8(block));
    if count > REGIONS_MAX {
        return Err(bad(field::REGION_COUNT.name));
    }
    let entry = |index| Region::decode(field::REGIONS.entry(block, index, region::BYTES));
    (0..count).map(entry).collect()
}
