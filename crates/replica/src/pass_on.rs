//! Errors that are passed on (`on-io-error pass_on`): what a disk cannot do is told to whoever
//! asked for it, and the disk stays.
//!
//! That is so for reads of data, which a peer serves instead if it can, and for writes of a Primary
//! that has nobody else: there the disk is the only good copy, and giving it up helps nobody. A
//! disk that fails to write where a peer has everything is given up as ever, and so is one that
//! fails to write for a peer, to flush, or to keep its metadata: nothing that it says later is
//! worth anything (docs/decisions/0022-errors-passed-on.md).

use tandem_wire::{ByteRange, DiskState};

use crate::action::Severity;
use crate::config::OnIoError;
use crate::error::DiskError;
use crate::peers::{PeerIndex, VolumeIndex};
use crate::resource::Resource;
use crate::slab::Key;

impl Resource {
    /// Whether the disk of a volume stays where whoever asked can do with this error.
    pub(crate) fn passes_on(&self, volume: VolumeIndex, error: DiskError) -> bool {
        let volume = &self.volumes[volume];
        match (volume.config.on_io_error, error) {
            (OnIoError::Detach | OnIoError::CallLocalIoError, _) | (_, DiskError::NoAnswer) => {
                false
            }
            (OnIoError::PassOn, DiskError::Io | DiskError::NoSpace) => {
                volume.is_attached() && volume.failure.is_none()
            }
        }
    }

    /// Data could not be read: the disk is given up, or the blocks are written again.
    pub(crate) fn read_failed(
        &mut self,
        volume: VolumeIndex,
        range: ByteRange,
        doing: &str,
        error: DiskError,
    ) {
        if !self.passes_on(volume, error) {
            return self.disk_failed(volume, doing, error);
        }
        self.note_passed_on(volume, range, doing, error);
        self.begin_repair(volume, range);
    }

    pub(crate) fn note_passed_on(
        &mut self,
        volume: VolumeIndex,
        range: ByteRange,
        doing: &str,
        error: DiskError,
    ) {
        let (sector, sectors) = (range.offset / 512, range.len / 512);
        let text = format!("{error} {doing}, sectors {sector}+{sectors}: passed on");
        self.note(Some(volume), None, Severity::Error, text);
    }

    /// Whether this node's disk, which stays, has blocks that the peer may not have as they are.
    pub(crate) fn is_ahead_of(
        &self,
        peer: PeerIndex,
        volume: VolumeIndex,
        range: ByteRange,
    ) -> bool {
        let stays = self.volumes[volume].failure.is_none();
        self.volumes[volume].attached().is_some_and(|attached| {
            stays
                && attached.state == DiskState::UpToDate
                && attached.bitmaps[peer].any(range.offset, u64::from(range.len))
        })
    }

    /// The local disk could not write what the application asked for. Where a peer has everything
    /// it goes on in its place. Else the application gets the error, and what is on the disk may
    /// be old, new, or some of each.
    pub(crate) fn local_write_failed(&mut self, key: Key, error: DiskError) {
        let write = self.writes.get(key).expect("events of a write come before its end");
        let (volume, range) = (write.volume, write.range);
        let good = self.volumes[volume].disk_state() == DiskState::UpToDate;
        if !good || !self.passes_on(volume, error) || self.is_served(volume) {
            return self.disk_failed(volume, "writing data", error);
        }
        self.note_passed_on(volume, range, "writing data", error);
        let write = self.writes.get_mut(key).expect("it was there");
        write.refused = true;
        // Whoever has it does not serve, and this disk does not show it.
        write.on_peer = false;
        self.written_under_cover(key);
        for peer in self.peer_indexes() {
            // What it has of the write nobody knows any more; a target must hear of that.
            self.set_out_of_sync(volume, peer, range);
            self.renegotiate(peer, "a write failed on this node's disk");
        }
    }
}
