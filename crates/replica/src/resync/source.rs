//! The source of a resync: serves ranges and clears what the target has durably.

use tandem_wire::{ByteRange, RequestId, VolumeNumber};

use crate::error::PeerError;
use crate::peer_device::Replication;
use crate::peers::PeerIndex;
use crate::resource::Resource;

impl Resource {
    /// Source: the target asks for a range.
    pub(crate) fn resync_request(
        &mut self,
        peer: PeerIndex,
        number: VolumeNumber,
        range: ByteRange,
        id: RequestId,
    ) -> Result<(), PeerError> {
        let volume = self.volume_of_peer(number)?;
        self.check_peer_range(volume, range, "RsDataRequest")?;
        let device = &mut self.connections[peer].devices[volume];
        if device.replication != Replication::SyncSource {
            return Err(PeerError::Unexpected { packet: "RsDataRequest", phase: "not SyncSource" });
        }
        if device.resync.serving.insert(id, (range, false)).is_some() {
            return Err(PeerError::UnknownRequest { packet: "RsDataRequest", id: id.0 });
        }
        self.peer_read(peer, volume, range, id, true)
    }

    /// Source: the target has a range durably.
    pub(crate) fn resync_acked(&mut self, peer: PeerIndex, id: RequestId) -> Result<(), PeerError> {
        for volume in self.volume_indexes() {
            let serving = &mut self.connections[peer].devices[volume].resync.serving;
            let Some((range, touched)) = serving.remove(&id) else {
                continue;
            };
            if let (false, Some(attached)) = (touched, self.volumes[volume].attached_mut()) {
                attached.bitmaps[peer].clear(range.offset, u64::from(range.len));
            }
            return Ok(());
        }
        Err(PeerError::UnknownRequest { packet: "RsWriteAck", id: id.0 })
    }
}
