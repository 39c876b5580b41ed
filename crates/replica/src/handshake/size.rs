//! The size of a volume: what each node says of it, and what both have from this session on.
//!
//! It never gets smaller: of two sizes the larger one counts, and the node that lacks it takes it
//! over in its preparation. One whose disk has no room for it is refused, and nothing changes. A
//! volume that has none yet gets its first one from both disks, or by a forced promotion: the disk
//! that is not there may have one already, and less room than a new one.

use tandem_wire::{DiskState, Sizes};

use crate::limits::BLOCK_BYTES;
use crate::peers::{PeerIndex, VolumeIndex};
use crate::resize::Held;
use crate::resource::Resource;

/// What two reports say of the size of a volume.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Agreed {
    /// Bytes from this session on; 0 while unknown.
    bytes: u64,
    /// The peer has that size already, and bits for what it is larger by.
    peer_has_it: bool,
    /// Bytes that the peer's clients see.
    peer_shows: u64,
}

impl Resource {
    pub(super) fn sizes(&self, volume: VolumeIndex) -> Sizes {
        let volume = &self.volumes[volume];
        let shown = volume.export_bytes();
        let Some(attached) = volume.attached() else {
            let effective = volume.size_bytes;
            return Sizes { capacity: 0, effective, block_size: BLOCK_BYTES, shown };
        };
        Sizes {
            capacity: attached.store.layout().data_bytes(),
            effective: attached.store.superblock().effective_bytes,
            block_size: attached.opened.block_size,
            shown,
        }
    }

    /// Finds the size that both disks have from here on.
    pub(super) fn agree_size(
        &mut self,
        peer: PeerIndex,
        volume: VolumeIndex,
        theirs: Sizes,
    ) -> Result<(), String> {
        let mine = self.sizes(volume);
        let bytes = match mine.effective.max(theirs.effective) {
            0 => match (mine.capacity, theirs.capacity) {
                (0, _) | (_, 0) => 0,
                (mine, theirs) => mine.min(theirs),
            },
            agreed => agreed,
        };
        let has_room = |sizes: Sizes| sizes.capacity == 0 || sizes.capacity >= bytes;
        let name = &self.connections[peer].config.name;
        let number = self.volumes[volume].number;
        let is_whole = |bytes: u64| bytes.is_multiple_of(u64::from(BLOCK_BYTES));
        if ![theirs.capacity, theirs.effective, theirs.shown].into_iter().all(is_whole) {
            return Err(format!(
                "{name} tells of sizes of volume {number} that are no multiples of {BLOCK_BYTES} \
                 bytes: {} of its disk, {} agreed, {} seen by clients",
                theirs.capacity, theirs.effective, theirs.shown
            ));
        }
        if !has_room(mine) {
            let text = format!(
                "the disk of volume {number} has room for {} bytes here, and {name} uses {bytes}; \
                 enlarge it",
                mine.capacity
            );
            // It may be larger by now.
            self.measure_disk(volume);
            return Err(text);
        }
        if !has_room(theirs) {
            return Err(format!(
                "the disk of volume {number} has room for {} bytes at {name}, and {bytes} are used \
                 here; enlarge it",
                theirs.capacity
            ));
        }
        let peer_has_it = theirs.capacity > 0 && theirs.effective == bytes;
        self.connections[peer].devices[volume].agreed =
            Agreed { bytes, peer_has_it, peer_shows: theirs.shown };
        Ok(())
    }

    /// Both nodes go on with each other: a disk takes over the size they have agreed on, durably
    /// with the next commit of its bits. Whether it is another one.
    pub(crate) fn take_size(&mut self, peer: PeerIndex, volume: VolumeIndex) -> bool {
        let Agreed { bytes, peer_has_it, .. } = self.connections[peer].devices[volume].agreed;
        let Some(attached) = self.volumes[volume].attached_mut() else { return false };
        let before = std::mem::replace(&mut attached.store.superblock_mut().effective_bytes, bytes);
        if before == bytes {
            return false;
        }
        // A peer that has grown before knows what of it differs.
        let noted = peer_has_it && before > 0;
        for bitmap in attached.bitmaps.iter_mut() {
            bitmap.resize(bytes);
        }
        if noted {
            attached.bitmaps[peer].clear(before, bytes - before);
        }
        true
    }

    /// Both nodes have the size durably: this one notes that, and then shows it to clients.
    pub(super) fn sizes_are_durable(&mut self, peer: PeerIndex) {
        for volume in self.volume_indexes() {
            let Agreed { bytes, peer_shows, .. } = self.connections[peer].devices[volume].agreed;
            let shown = self.volumes[volume].export_bytes().max(peer_shows);
            self.volumes[volume].size_bytes = bytes;
            if !self.volumes[volume].is_attached() {
                // The disk that is gone here does not have it.
                let held = Held { bytes: shown, until: None };
                self.volumes[volume].held = (shown > 0 && shown < bytes).then_some(held);
                continue;
            }
            let peer_disk = self.connections[peer].devices[volume].disk;
            if peer_disk < DiskState::Inconsistent {
                continue; // nobody has it beside this node
            }
            let former = self.volumes[volume].attached_mut().map_or(0, |attached| {
                std::mem::take(&mut attached.store.superblock_mut().former_bytes)
            });
            let until = (former > 0).then(|| self.commit(volume, false));
            // Where clients have the new size by the peer's disk it is not taken back from them.
            self.volumes[volume].held = self.volumes[volume]
                .held
                .and(until)
                .map(|ticket| Held { bytes: former, until: Some(ticket) });
        }
    }
}
