//! The size of a volume: what each node says of it, and what both can hold.

use tandem_wire::Sizes;

use crate::limits::BLOCK_BYTES;
use crate::peers::{PeerIndex, VolumeIndex};
use crate::resource::Resource;

impl Resource {
    pub(super) fn sizes(&self, volume: VolumeIndex) -> Sizes {
        let volume = &self.volumes[volume];
        let Some(attached) = volume.attached() else {
            return Sizes { capacity: 0, effective: volume.size_bytes, block_size: BLOCK_BYTES };
        };
        Sizes {
            capacity: attached.store.layout().data_bytes(),
            effective: attached.store.superblock().effective_bytes,
            block_size: attached.opened.block_size,
        }
    }

    /// The size both disks can hold; never less than what was in use (a smaller peer truncates
    /// nothing).
    pub(super) fn agree_size(
        &mut self,
        peer: PeerIndex,
        volume: VolumeIndex,
        theirs: Sizes,
    ) -> Result<(), String> {
        let mine = self.sizes(volume);
        let of = |sizes: Sizes| {
            if sizes.effective > 0 { sizes.effective } else { sizes.capacity }
        };
        let agreed = match (of(mine), of(theirs)) {
            (0, size) | (size, 0) => size,
            (mine, theirs) => mine.min(theirs),
        };
        if mine.effective > agreed || theirs.effective > agreed {
            let name = &self.connections[peer].config.name;
            return Err(format!(
                "sizes in use differ: {} bytes here, {} bytes at {name}; \
                 the smaller disk must grow",
                of(mine),
                of(theirs)
            ));
        }
        let volume = &mut self.volumes[volume];
        volume.size_bytes = agreed;
        if let Some(attached) = volume.attached_mut() {
            attached.store.superblock_mut().effective_bytes = agreed;
            for bitmap in attached.bitmaps.iter_mut() {
                bitmap.resize(agreed);
            }
        }
        Ok(())
    }
}
