//! Making metadata, removing them, and telling whether there are any.

use super::superblock::{CopyIndex, Superblock};
use super::{
    Area, BitmapIndex, DeviceUuid, Identity, Layout, META_BLOCK_BYTES, MetaError, MetaWrite,
    SlotIndex, choose,
};

/// What makes metadata. Its parts must be durable one after the other: while they are made nothing
/// is recognised, and what is recognised is complete.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FormatPlan {
    /// First: what must read as zeroes, and have its space allocated. Old superblocks lie here.
    pub zero: Area,
    /// Second: bitmap indexes of all slots, in any order.
    pub indexes: Vec<MetaWrite>,
    /// Third and fourth: the copies of the superblock, one after the other.
    pub superblocks: [MetaWrite; 2],
}

/// Makes metadata: no peer, no bit set, data worth nothing. Without `identity` they are nobody's
/// until their first attach. `device_uuid` must be random;
/// `al_extent_bytes` is a power of two, [`AL_EXTENT_BYTES`](super::AL_EXTENT_BYTES) but for tests.
pub fn format(
    layout: &Layout,
    identity: impl Into<Option<Identity>>,
    device_uuid: DeviceUuid,
    al_extent_bytes: u32,
) -> (Superblock, FormatPlan) {
    let mut superblock = Superblock::new(layout, identity, device_uuid);
    superblock.al_extent_bytes = al_extent_bytes;
    let mut indexes = Vec::new();
    for slot in (0..layout.max_peers()).map(SlotIndex) {
        let area = layout.bitmap(slot).expect("a layout has an area for every slot");
        indexes.extend(BitmapIndex::all_clear(device_uuid, area).plan_write_index());
    }
    let superblocks = superblock.plan_write(layout);
    (superblock, FormatPlan { zero: layout.metadata(), indexes, superblocks })
}

/// Removes metadata that lie at these [`superblock_offsets`](super::superblock_offsets): nothing is
/// recognised once both writes are durable.
pub fn wipe(offsets: [u64; 2]) -> [MetaWrite; 2] {
    offsets.map(|offset| MetaWrite { offset, bytes: vec![0; META_BLOCK_BYTES] })
}

/// What lies where metadata would.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Probe {
    /// No metadata.
    Nothing,
    /// Metadata; whether they suit the device is for the layout to check.
    Found(Box<Superblock>),
    /// Metadata that cannot be used.
    Unusable(MetaError),
}

/// Tells what was read at the two [`superblock_offsets`](super::superblock_offsets). One copy is
/// enough to be recognised, whole or not.
pub fn probe(copy_a: &[u8], copy_b: &[u8]) -> Probe {
    let copy_a = Superblock::decode(copy_a, CopyIndex::A);
    let copy_b = Superblock::decode(copy_b, CopyIndex::B);
    match choose(copy_a, copy_b) {
        Ok(chosen) => Probe::Found(Box::new(chosen.superblock)),
        Err(MetaError::NotFound) => Probe::Nothing,
        Err(error) => Probe::Unusable(error),
    }
}
