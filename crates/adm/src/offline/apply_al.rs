//! `apply-al`: what a crash as Primary may have left different is marked, as an attach would do it.
//!
//! Order on disk: bits of the extents of the crashed Primary's log are durable before copy A of the
//! superblock without `primary_indicator` is issued. A crash in between repeats it.

use tandem_replica::meta::{Hot, Ring, RingImage, SlotIndex};

use super::outgrown::left_to_attach;
use crate::metadata::{MetaPlace, Metadata};
use crate::output::{self, Failure};

/// Applies the activity log, if it is to be applied.
pub(super) fn apply_al(place: &MetaPlace) -> Result<(), Failure> {
    let device = place.open()?;
    let mut metadata = match place.choose(&device) {
        Ok(chosen) => Metadata::of(place, device, chosen)?,
        Err(error) => return left_to_attach(place, &device, &error),
    };
    if !metadata.superblock.flags.primary_indicator {
        return Ok(());
    }
    let hot = hot(&metadata);
    let blocks = mark(&metadata, &hot)?;
    metadata.superblock.flags.crashed_primary = true;
    metadata.superblock.flags.primary_indicator = false;
    metadata.save()?;
    let what = match hot {
        Hot::All => "every block counts".to_owned(),
        Hot::Extents(extents) => format!("{} extents of its activity log count", extents.len()),
    };
    output::print(&format!(
        "{}: this node crashed as Primary, {what} as out of sync: {blocks} blocks of 4 KiB that \
         did not before\n",
        place.name
    ));
    Ok(())
}

fn hot(metadata: &Metadata) -> Hot {
    let superblock = &metadata.superblock;
    if superblock.flags.al_disabled {
        return Hot::All;
    }
    let ring = Ring::new(superblock.device_uuid, metadata.layout.activity_log());
    let mut image = RingImage::unread(ring);
    for area in image.plan_read() {
        image.load(area, metadata.read(area).as_deref());
    }
    image.recover(superblock.al_log)
}

/// Sets the bits for every peer there ever was, durably; returns how many were not set before.
fn mark(metadata: &Metadata, hot: &Hot) -> Result<u64, Failure> {
    let superblock = &metadata.superblock;
    let mut marked = 0;
    for slot in (0..superblock.max_peers).map(SlotIndex) {
        if superblock.peers[usize::from(slot.0)].is_none() {
            continue;
        }
        let (mut index, mut bitmap) = metadata.bitmap(slot);
        marked += hot.mark(&mut bitmap, superblock.al_extent_bytes);
        let pages: Vec<_> = std::iter::from_fn(|| bitmap.take_unsaved_page()).collect();
        metadata.write(&index.plan_write(&pages))?;
    }
    Ok(marked)
}
