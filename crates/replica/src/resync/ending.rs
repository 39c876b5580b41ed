//! The end of a resync, on either side, in three steps.

use tandem_wire::{DiskState, Packet, Uuid, VolumeNumber};

use super::Ending;
use crate::action::{Handler, Severity};
use crate::error::PeerError;
use crate::limits::BLOCK_BYTES;
use crate::meta::BootId;
use crate::peer_device::Replication;
use crate::peers::{PeerIndex, VolumeIndex};
use crate::resource::Resource;

impl Resource {
    /// Target: nothing differs any more, and all of it is durable.
    pub(super) fn finish_resync(&mut self, peer: PeerIndex, volume: VolumeIndex) {
        let device = &mut self.connections[peer].devices[volume];
        device.resync.ending = Ending::Told;
        device.resync.pace.stop();
        let packet = Packet::SyncDone(self.volumes[volume].number, device.peer_current);
        self.connections[peer].expect_answer(self.now);
        self.send(peer, packet);
    }

    /// `SyncDone`, from either end.
    pub(crate) fn resync_done(
        &mut self,
        peer: PeerIndex,
        number: VolumeNumber,
        reached: Uuid,
    ) -> Result<(), PeerError> {
        let volume = self.volume_of_peer(number)?;
        let device = &self.connections[peer].devices[volume];
        let expected = match device.replication {
            Replication::SyncSource => device.resync.ending == Ending::NotYet,
            Replication::SyncTarget => device.resync.ending == Ending::Told,
            Replication::Off
            | Replication::Preparing { .. }
            | Replication::Established
            | Replication::Ahead(_)
            | Replication::Behind(_) => false,
        };
        if !expected {
            return Err(PeerError::Unexpected { packet: "SyncDone", phase: "not at its end" });
        }
        let is_source = device.replication == Replication::SyncSource;
        let current = if is_source { self.current_uuid(volume) } else { device.peer_current };
        let boot_id = self.config.boot_id;
        let dirty = self.dirty_blocks(peer, volume) > 0;
        let Some(attached) = self.volumes[volume].attached_mut() else { return Ok(()) };
        if reached != current || dirty {
            self.renegotiate(peer, "blocks were written past the end of the resync");
            return Ok(());
        }
        if is_source {
            attached.store.allow_current(peer);
        } else {
            self.connections[peer].answered(self.now);
            attached.store.adopt_current(current);
            attached.store.forget_bitmap_uuid(peer);
            attached.store.set_disk_state(DiskState::UpToDate);
            attached.store.peer_mut(peer).boot_id = BootId(boot_id);
        }
        let ticket = self.commit(volume, true);
        self.connections[peer].devices[volume].resync.ending = Ending::Saving(ticket);
        Ok(())
    }

    /// Takes the end on when what it waits for has become durable.
    pub(crate) fn advance_resync(&mut self, peer: PeerIndex, volume: VolumeIndex) {
        let device = &self.connections[peer].devices[volume];
        let Ending::Saving(ticket) = device.resync.ending else { return };
        if !self.is_durable(volume, ticket) {
            return;
        }
        if device.replication == Replication::SyncSource {
            self.connections[peer].devices[volume].resync.ending = Ending::Allowed;
            let packet = Packet::SyncDone(self.volumes[volume].number, self.current_uuid(volume));
            return self.send(peer, packet);
        }
        let attached = self.volumes[volume].attached_mut().expect("durable only on a disk");
        attached.state = DiskState::UpToDate;
        self.end_of_resync(peer, volume);
        self.broadcast_states();
        self.retry_reads(None);
    }

    /// Source: the target says what its disk is; `UpToDate` is the last word of a resync.
    pub(crate) fn target_tells(&mut self, peer: PeerIndex, volume: VolumeIndex) {
        let device = &self.connections[peer].devices[volume];
        if device.resync.ending != Ending::Allowed || device.disk != DiskState::UpToDate {
            return;
        }
        if self.dirty_blocks(peer, volume) > 0 {
            return self.renegotiate(peer, "blocks were written past the end of the resync");
        }
        if let Some(attached) = self.volumes[volume].attached_mut() {
            attached.store.forget_bitmap_uuid(peer);
            self.commit(volume, true);
        }
        self.end_of_resync(peer, volume);
        self.send_state(peer, volume);
    }

    fn end_of_resync(&mut self, peer: PeerIndex, volume: VolumeIndex) {
        let now = self.now;
        let device = &mut self.connections[peer].devices[volume];
        let is_target = device.replication == Replication::SyncTarget;
        device.replication = Replication::Established;
        let resync = &mut device.resync;
        resync.ending = Ending::NotYet;
        let done = resync.meter.take().map(|meter| meter.progress(0, 0, now)).unwrap_or_default();
        let blocks = done.total_bytes / u64::from(BLOCK_BYTES);
        let seconds = done.elapsed.as_secs_f64();
        self.unsettled = true;
        let text = format!("resync done: {blocks} blocks of 4 KiB in {seconds:.1} s");
        if is_target {
            return self.call(Handler::AfterResyncTarget, Some(volume), peer, Severity::Info, text);
        }
        self.note(Some(volume), Some(peer), Severity::Info, text);
    }
}
