//! Metadata as `tandemadm create-md` makes them, before the run.

use tandem_replica::meta::{
    self, CopyIndex, DeviceUuid, Identity, Layout, META_BLOCK, Placement, SlotIndex, Superblock,
};

use crate::disk::SimDisk;
use crate::node::{node_id, volume_number};
use crate::prng::Prng;
use crate::profile::Profile;

/// Name of the resource.
pub const RESOURCE: &str = "r0";

/// Bytes that metadata take: an anchor of 1 MiB and a bitmap of one page with its index.
pub const META_BYTES: usize = (1 << 20) + 2 * 4096;

/// Where the metadata of a node's volumes lie.
pub fn placement(profile: &Profile, node: usize) -> Placement {
    if profile.external[node] {
        Placement::External { meta_bytes: META_BYTES as u64 }
    } else {
        Placement::Internal
    }
}

/// Formats a disk; returns the blocks of data that it has room for.
pub fn format(
    disk: &mut SimDisk,
    profile: &Profile,
    node: usize,
    volume: usize,
    prng: &mut Prng,
) -> u64 {
    let layout = layout(disk, profile, node);
    let identity =
        Identity::new(RESOURCE, volume_number(volume), node_id(node)).expect("a good name");
    let mut uuid = [0; 16];
    uuid[..8].copy_from_slice(&prng.word().to_le_bytes());
    let (_, plan) = meta::format(&layout, identity, DeviceUuid(uuid), profile.log.extent_bytes);
    for write in plan.indexes.into_iter().chain(plan.superblocks) {
        disk.meta_mut().write(write.offset, &write.bytes, true);
    }
    layout.data_bytes() / 4096
}

/// Flips a bit in some block of a copy of a volume's activity log, mostly in one that is in use: a
/// log fills its ring from the first place on.
pub fn damage_log(disk: &mut SimDisk, profile: &Profile, node: usize, copy: u8, prng: &mut Prng) {
    let Some(layout) = layout_at_rest(disk, profile, node) else { return };
    let area = layout.activity_log();
    let half = area.len / 2;
    let place = prng.log_between(1, half / 4096 - 1);
    let at = area.offset + u64::from(copy) * half + place * 4096 + prng.below(8) * 512;
    flip(disk, at, prng);
}

/// Damages one copy of a superblock, where the other one is good, or a block of a bitmap.
pub fn damage_more(disk: &mut SimDisk, profile: &Profile, node: usize, copy: u8, prng: &mut Prng) {
    let Some(layout) = layout_at_rest(disk, profile, node) else { return };
    let at = if prng.per_mille(500) {
        let copy = CopyIndex::ALL[usize::from(copy)];
        let other = CopyIndex::ALL[1 - copy as usize];
        let at = layout.superblock_offset(other);
        let block = disk.meta_mut().read(at, META_BLOCK);
        let is_good =
            disk.meta_mut().is_durable(at, META_BLOCK) && Superblock::decode(&block, other).is_ok();
        if !is_good {
            return;
        }
        layout.superblock_offset(copy)
    } else {
        let area = layout.bitmap(SlotIndex(0)).expect("there is one peer").area();
        area.offset + prng.below(area.len / META_BLOCK) * META_BLOCK
    };
    flip(disk, at + prng.below(8) * 512, prng);
}

/// Where the metadata lie; none while they move to another place, when the old ones must be whole,
/// or the new ones.
fn layout_at_rest(disk: &SimDisk, profile: &Profile, node: usize) -> Option<Layout> {
    let moving = disk.lengths().len() > 1 && !profile.external[node];
    let found = crate::grow::superblock(disk, profile, node)?;
    if moving && found.device_bytes != disk.opened().data_bytes {
        return None;
    }
    Layout::from_superblock(&found, found.device_bytes, placement(profile, node)).ok()
}

fn flip(disk: &mut SimDisk, at: u64, prng: &mut Prng) {
    let mut sector = disk.meta_mut().read(at, 512).to_vec();
    sector[prng.index(512)] ^= 1 << prng.below(8);
    disk.meta_mut().write(at, &sector, true);
}

fn layout(disk: &SimDisk, profile: &Profile, node: usize) -> Layout {
    Layout::new(disk.opened().data_bytes, placement(profile, node), 1)
        .expect("sizes are chosen to fit")
}
