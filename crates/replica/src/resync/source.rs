//! The source of a resync: serves ranges and clears what the target has durably.

use tandem_wire::{ByteRange, RequestId, VolumeNumber};

use super::throttle::Held;
use crate::error::PeerError;
use crate::limits::RESYNC_OPEN_BYTES_MAX;
use crate::peer_device::Replication;
use crate::peer_read::PeerReadFor;
use crate::peers::{PeerIndex, VolumeIndex};
use crate::resource::Resource;

impl Resource {
    /// Source: the target asks for a range.
    pub(crate) fn resync_request(
        &mut self,
        peer: PeerIndex,
        number: VolumeNumber,
        range: ByteRange,
        id: RequestId,
        wanted_for: PeerReadFor,
    ) -> Result<(), PeerError> {
        let volume = self.volume_of_peer(number)?;
        self.check_peer_range(volume, range, "RsDataRequest")?;
        let devices = &mut self.connections[peer].devices;
        if devices[volume].replication != Replication::SyncSource {
            return Err(PeerError::Unexpected { packet: "RsDataRequest", phase: "not SyncSource" });
        }
        let open: u64 = devices.iter().map(|device| device.resync.serving_bytes).sum();
        if open >= RESYNC_OPEN_BYTES_MAX {
            let limit = RESYNC_OPEN_BYTES_MAX;
            return Err(PeerError::TooMuch { packet: "RsDataRequest", limit });
        }
        let resync = &mut devices[volume].resync;
        if resync.serving.insert(id, (range, false)).is_some() {
            return Err(PeerError::UnknownRequest { packet: "RsDataRequest", id: id.0 });
        }
        resync.serving_bytes += u64::from(range.len);
        resync.throttle.push(Held { id, range, wanted_for });
        self.serve_resync(peer, volume);
        Ok(())
    }

    /// Source: answers what the application leaves room for.
    pub(super) fn serve_resync(&mut self, peer: PeerIndex, volume: VolumeIndex) {
        let rate_min = self.resync_config(peer, volume).c_min_rate;
        let active_until = self.application_until(volume);
        let now = self.now;
        loop {
            let connection = &mut self.connections[peer];
            // The peer must not lose its patience over an answer.
            let patience = connection.config.net.timeout / 2;
            let throttle = &mut connection.devices[volume].resync.throttle;
            let Some(held) = throttle.pop(rate_min, active_until, patience, now) else { return };
            self.read_for_peer(peer, volume, held.range, held.id, held.wanted_for);
        }
    }

    /// Source: the target has a range durably.
    pub(crate) fn resync_acked(&mut self, peer: PeerIndex, id: RequestId) -> Result<(), PeerError> {
        for volume in self.volume_indexes() {
            let resync = &mut self.connections[peer].devices[volume].resync;
            let Some((range, touched)) = resync.serving.remove(&id) else {
                continue;
            };
            resync.serving_bytes -= u64::from(range.len);
            if let (false, Some(attached)) = (touched, self.volumes[volume].attached_mut()) {
                attached.bitmaps[peer].clear(range.offset, u64::from(range.len));
            }
            self.measure_resync(peer, volume);
            return Ok(());
        }
        Err(PeerError::UnknownRequest { packet: "RsWriteAck", id: id.0 })
    }
}
