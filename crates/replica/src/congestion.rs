//! A link that does not keep up with the application in protocol A (`on-congestion`): writes wait,
//! or the link is given up, or this node pulls ahead of its peer.
//!
//! *Congested* is a link with more than `congestion-fill` sent and not known to be durable at the
//! peer, or an activity log with too many hot extents. A node that pulls ahead sends no data any
//! more but a notice for each write: its blocks are out of sync, on both nodes. The peer is Behind:
//! Outdated, durably, a whole image that gets older. When what was sent before has become durable
//! there and the link has rested, the peer is asked to become target; it has all bits by the
//! notices, so no bitmap travels and no request waits. During that resync a congested link gets
//! notices instead of data as well, so nothing goes back and forth between the states: the resync
//! ends once the link keeps up. All volumes pull ahead together, for they share one order.
//!
//! From the first write that the peer does not get, the data are a generation of their own
//! (`generation`), as for a peer that is gone.

use std::time::Duration;

use tandem_wire::{
    BarrierNumber, DiskState, Packet, Protocol, ReplicationState, Uuid, VolumeNumber,
};

use crate::action::Severity;
use crate::config::OnCongestion;
use crate::error::PeerError;
use crate::limits::CATCH_UP_PAUSE;
use crate::peer_device::{Ahead, Replication};
use crate::peers::{PeerIndex, VolumeIndex};
use crate::resource::Resource;
use crate::status::Lag;
use crate::time::Instant;

impl Resource {
    /// Does what `on-congestion` asks for. False where writes must wait for the link.
    pub(crate) fn relieve_congestion(&mut self) -> bool {
        for peer in self.peer_indexes() {
            if !self.is_congested(peer) {
                continue;
            }
            match self.connections[peer].config.net.on_congestion {
                OnCongestion::Block => {
                    self.hurry_barrier(peer);
                    return false;
                }
                OnCongestion::PullAhead => self.pull_ahead(peer),
                OnCongestion::Disconnect => {
                    self.drop_to_standalone(peer, "congested (on-congestion disconnect)");
                }
            }
        }
        true
    }

    /// Whether the link has fallen behind further than it may.
    pub(crate) fn is_congested(&self, peer: PeerIndex) -> bool {
        let connection = &self.connections[peer];
        let limit = connection.config.net.congestion_fill_bytes;
        connection.is_running()
            && connection.session_protocol() == Protocol::A
            && limit > 0
            && connection.outbound.open_bytes() >= limit
    }

    /// What is open will be acked soon only if the peer is asked.
    fn hurry_barrier(&mut self, peer: PeerIndex) {
        if self.connections[peer].outbound.wants_barrier() {
            self.send_barrier(peer);
        }
    }

    /// Sends no more data to a peer that had everything so far.
    fn pull_ahead(&mut self, peer: PeerIndex) {
        let in_step = self.volume_indexes().all(|volume| {
            self.serves(peer, volume)
                && self.connections[peer].devices[volume].replication == Replication::Established
                && self.volumes[volume].disk_state() == DiskState::UpToDate
        });
        if !in_step {
            return;
        }
        let drained_by = self.connections[peer].outbound.next_barrier();
        for volume in self.volume_indexes() {
            self.set_ahead(peer, volume, Ahead::Draining(drained_by));
            self.send_state(peer, volume);
        }
        self.send_barrier(peer);
        let text = "the link is congested: this node pulls ahead, the peer is Behind";
        self.note(None, Some(peer), Severity::Warning, text.to_owned());
    }

    fn set_ahead(&mut self, peer: PeerIndex, volume: VolumeIndex, step: Ahead) {
        self.connections[peer].devices[volume].replication = Replication::Ahead(step);
        self.unsettled = true;
    }

    /// Whether a write to the volume is only told to the peer, to be copied later.
    pub(crate) fn is_only_told(&self, peer: PeerIndex, volume: VolumeIndex) -> bool {
        let connection = &self.connections[peer];
        let device = &connection.devices[volume];
        match device.replication {
            Replication::Ahead(_) => connection.is_running(),
            Replication::SyncSource => {
                connection.config.net.on_congestion == OnCongestion::PullAhead
                    && !device.resync.is_ending()
                    && self.is_congested(peer)
            }
            Replication::Off
            | Replication::Preparing { .. }
            | Replication::Established
            | Replication::SyncTarget
            | Replication::Behind(_) => false,
        }
    }

    /// Everything before this barrier is durable at the peer.
    pub(crate) fn ahead_acked(&mut self, peer: PeerIndex, acked: BarrierNumber) {
        for volume in self.volume_indexes() {
            if let Replication::Ahead(Ahead::Draining(by)) =
                self.connections[peer].devices[volume].replication
                && by <= acked
            {
                let rested_at = self.now + CATCH_UP_PAUSE;
                self.set_ahead(peer, volume, Ahead::Resting { rested_at });
            }
        }
    }

    /// Takes a volume on whose peer is to catch up, or which catches up itself.
    pub(crate) fn advance_congestion(&mut self, peer: PeerIndex, volume: VolumeIndex) {
        match self.connections[peer].devices[volume].replication {
            Replication::Ahead(Ahead::Resting { rested_at })
                if rested_at <= self.now && !self.volumes[volume].is_rotating() =>
            {
                let (number, current) = (self.volumes[volume].number, self.current_uuid(volume));
                self.send(peer, Packet::CatchUp(number, current));
                self.set_ahead(peer, volume, Ahead::Asked);
            }
            Replication::Behind(Some(ticket)) if self.is_durable(volume, ticket) => {
                let device = &mut self.connections[peer].devices[volume];
                device.replication = Replication::SyncTarget;
                self.begin_resync(peer, volume);
                self.send_state(peer, volume);
                // Who has to wait must know so before the first block is asked for.
                self.advance_dependencies();
                self.drive_resync(peer, volume);
            }
            Replication::Ahead(_)
            | Replication::Behind(_)
            | Replication::Off
            | Replication::Preparing { .. }
            | Replication::Established
            | Replication::SyncSource
            | Replication::SyncTarget => {}
        }
    }

    /// When a rested link is to be looked at.
    pub(crate) fn catch_up_deadline(&self, peer: PeerIndex) -> Option<Instant> {
        // A generation on its way to disk is waited for; its end moves the volume on.
        let waits = |volume: &VolumeIndex| !self.volumes[*volume].is_rotating();
        let devices = self.volume_indexes().filter(waits);
        let devices = devices.map(|volume| &self.connections[peer].devices[volume]);
        let rests = devices.filter_map(|device| match device.replication {
            Replication::Ahead(Ahead::Resting { rested_at }) => Some(rested_at),
            Replication::Ahead(Ahead::Draining(_) | Ahead::Asked)
            | Replication::Behind(_)
            | Replication::Off
            | Replication::Preparing { .. }
            | Replication::Established
            | Replication::SyncSource
            | Replication::SyncTarget => None,
        });
        rests.min()
    }

    /// The peer has told its replication state in a running session.
    pub(crate) fn peer_pulls(
        &mut self,
        peer: PeerIndex,
        volume: VolumeIndex,
        told: ReplicationState,
    ) {
        let own = self.connections[peer].devices[volume].replication;
        if told == ReplicationState::Ahead && own == Replication::Established {
            self.fall_behind(peer, volume);
        } else if matches!(told, ReplicationState::SyncTarget | ReplicationState::PausedSyncT)
            && own == Replication::Ahead(Ahead::Asked)
        {
            self.connections[peer].devices[volume].replication = Replication::SyncSource;
            self.begin_resync(peer, volume);
            self.send_state(peer, volume);
            self.unsettled = true;
        }
    }

    /// This node gets no data any more: what it has is whole, and older from here on.
    fn fall_behind(&mut self, peer: PeerIndex, volume: VolumeIndex) {
        self.connections[peer].devices[volume].replication = Replication::Behind(None);
        if let Some(attached) = self.volumes[volume].attached_mut()
            && attached.state > DiskState::Outdated
        {
            attached.state = DiskState::Outdated;
            attached.store.set_disk_state(DiskState::Outdated);
            self.commit(volume, false);
        }
        self.send_state(peer, volume);
        let text = "the link is congested: this node is Behind".to_owned();
        self.note(Some(volume), Some(peer), Severity::Warning, text);
    }

    /// The peer, Ahead, wants this node to catch up. All that differs was told before.
    pub(crate) fn catch_up(
        &mut self,
        peer: PeerIndex,
        number: VolumeNumber,
        source_current: Uuid,
    ) -> Result<(), PeerError> {
        let volume = self.volume_of_peer(number)?;
        let is_asked = self.connections[peer].permit.is_asked(volume);
        let device = &mut self.connections[peer].devices[volume];
        if device.replication != Replication::Behind(None) || is_asked {
            return Err(PeerError::Unexpected { packet: "CatchUp", phase: "not Behind" });
        }
        device.peer_current = source_current;
        if !self.asks_to_catch_up(peer, volume) {
            self.begin_to_catch_up(peer, volume);
        }
        Ok(())
    }

    /// This node, Behind, gives up what is whole and older.
    pub(crate) fn begin_to_catch_up(&mut self, peer: PeerIndex, volume: VolumeIndex) {
        self.target_begins(peer, volume);
        let Some(attached) = self.volumes[volume].attached_mut() else {
            return; // the news that the disk is gone is on its way
        };
        attached.state = DiskState::Inconsistent;
        attached.store.set_disk_state(DiskState::Inconsistent);
        let ticket = self.commit(volume, true);
        self.connections[peer].devices[volume].replication = Replication::Behind(Some(ticket));
    }

    /// Whether this node's copy of a volume is known to fall behind its peer's.
    pub(crate) fn is_behind(&self, volume: VolumeIndex) -> bool {
        self.connections
            .iter()
            .any(|c| matches!(c.devices[volume].replication, Replication::Behind(_)))
    }

    /// How far the peer's copy is behind what the application was told is written: at least as much
    /// as is really missing (SEMANTICS P3).
    pub(crate) fn lag(&self, peer: PeerIndex, now: Instant) -> Lag {
        let mut bytes = 0;
        let mut since: Option<Instant> = None;
        for key in &self.log {
            let write = self.writes.get(*key).expect("the log holds live writes");
            if write.unbarriered.contains(peer) {
                bytes += u64::from(write.range.len);
                since = Some(since.map_or(write.issued_at, |since| since.min(write.issued_at)));
            }
        }
        for volume in self.volume_indexes() {
            let dirty = self.dirty_blocks(peer, volume);
            if dirty > 0 {
                bytes += dirty * u64::from(crate::limits::BLOCK_BYTES);
                let set = self.connections[peer].devices[volume].out_of_sync_since;
                since = since.into_iter().chain(set).min();
            }
        }
        Lag { bytes, age: since.map_or(Duration::ZERO, |since| now.since(since)) }
    }
}
