//! From the verdicts to a running session: bitmaps are exchanged, and what was agreed made durable.
//!
//! Order, per volume:
//! - source: its bitmap UUID for the peer is durable before the peer hears of it in `SyncUuid`;
//! - both: the union of both bitmaps is durable before the volume is ready;
//! - target: its new generation, and that it is Inconsistent, are durable before the volume is
//!   ready, and no block is overwritten before.
//!
//! A crash between any two of these leaves metadata that lead to the same direction again.

use tandem_wire::{DiskState, Packet, Role, State, Uuid, Verdict, VolumeNumber};

use crate::connection::Phase;
use crate::error::PeerError;
use crate::meta::BootId;
use crate::peer_device::{Goal, Replication, Step};
use crate::peers::{PeerIndex, VolumeIndex};
use crate::resource::Resource;

mod bitmap;

pub(crate) use bitmap::BitmapExchange;

impl Resource {
    /// Starts what the verdicts ask for.
    pub(crate) fn begin_preparation(&mut self, peer: PeerIndex) {
        for volume in self.volume_indexes() {
            let grows = self.take_size(peer, volume);
            let verdict = self.connections[peer].devices[volume].verdict;
            match verdict.expect("all verdicts are in") {
                Verdict::NoSync => self.prepare_in_sync(peer, volume, grows),
                Verdict::Source => self.prepare_source(peer, volume),
                Verdict::Target => {
                    let step = Step::AwaitSyncUuid;
                    self.set_preparing(peer, volume, Goal::Target, step);
                }
                Verdict::SplitBrain | Verdict::Unrelated | Verdict::Refused => {
                    unreachable!("bad verdicts end the session")
                }
            }
        }
        self.advance_preparation(peer);
    }

    fn set_preparing(&mut self, peer: PeerIndex, volume: VolumeIndex, goal: Goal, step: Step) {
        self.connections[peer].devices[volume].replication = Replication::Preparing { goal, step };
    }

    fn prepare_in_sync(&mut self, peer: PeerIndex, volume: VolumeIndex, grows: bool) {
        let after = self.connections[peer].devices[volume].resync.disk_after();
        let Some(attached) = self.volumes[volume].attached_mut() else {
            return self.volume_ready(peer, volume, Goal::InSync);
        };
        if after == DiskState::UpToDate && attached.state != after {
            attached.state = after;
        }
        if self.connections[peer].devices[volume].disk >= DiskState::Inconsistent
            && after == DiskState::UpToDate
        {
            attached.store.forget_bitmap_uuid(peer);
        }
        self.record_session(peer, volume, Goal::InSync);
        let ticket = self.commit(volume, grows);
        self.set_preparing(peer, volume, Goal::InSync, Step::Save(ticket));
    }

    fn prepare_source(&mut self, peer: PeerIndex, volume: VolumeIndex) {
        let full = self.connections[peer].devices[volume].resync.is_full();
        let target_current = self.connections[peer].devices[volume].peer_current;
        let current = self.current_uuid(volume);
        let fresh = self.connections[peer].devices[volume].resync.wants_fresh_uuid();
        let chosen = if fresh {
            self.choose_other_uuid(current, target_current, self.bitmap_uuid(peer, volume))
        } else {
            self.choose_sync_uuid(current, target_current)
        };
        let attached = self.volumes[volume].attached_mut().expect("a source has a disk");
        if fresh {
            attached.store.track_from(peer, chosen);
        } else if attached.store.peer(peer).bitmap_uuid != chosen {
            attached.store.forget_bitmap_uuid(peer);
            let slot = attached.store.peer_mut(peer);
            slot.bitmap_uuid = chosen;
            slot.flags.unheard = target_current == current;
        }
        if full {
            attached.bitmaps[peer].set_all();
        }
        // Both agreed that these are the newest data.
        attached.state = DiskState::UpToDate;
        let ticket = self.commit(volume, full);
        self.set_preparing(peer, volume, Goal::Source, Step::SaveSyncUuid(ticket));
    }

    /// What survives a crash of either node: who took part in this session, and in what state.
    ///
    /// The kernel's boot id is recorded where the data are known complete and durable: in sync, or
    /// source. A target records it at the end of its resync. So whoever finds another one later
    /// knows that a power loss may have taken something.
    fn record_session(&mut self, peer: PeerIndex, volume: VolumeIndex, goal: Goal) {
        let is_lent = self.connections[peer].peer_role == Role::Primary;
        let is_away = self.connections[peer].devices[volume].disk < DiskState::Inconsistent;
        if let Some(attached) = self.volumes[volume].attached_mut() {
            attached.store.peer_mut(peer).flags.went_on = false;
            let current = attached.store.superblock().current_uuid;
            if is_away && is_lent && attached.store.peer(peer).is_apart(current) {
                attached.store.lend(peer);
            }
        }
        if is_away {
            return; // a peer without a disk takes no part
        }
        let session = self.connections[peer].session().expect("prepared in a session");
        let (session_id, protocol) = (session.session_id, session.protocol);
        let boot_id = self.config.boot_id;
        let is_primary = self.role == Role::Primary && !self.is_demoting();
        let Some(attached) = self.volumes[volume].attached_mut() else {
            return;
        };
        let state = attached.state;
        attached.store.set_disk_state(state);
        attached.store.superblock_mut().flags.crashed_primary = false;
        let slot = attached.store.peer_mut(peer);
        if goal != Goal::Target {
            slot.boot_id = BootId(boot_id);
        }
        slot.last_session = session_id;
        slot.flags.drained = false;
        slot.flags.was_primary = is_primary;
        slot.last_protocol = Some(protocol);
    }

    /// Takes every volume on whose metadata have become durable.
    pub(crate) fn advance_preparation(&mut self, peer: PeerIndex) {
        for volume in self.volume_indexes() {
            let device = &self.connections[peer].devices[volume];
            let Replication::Preparing { goal, step } = device.replication else {
                continue;
            };
            match step {
                Step::SaveSyncUuid(ticket) if self.is_durable(volume, ticket) => {
                    let uuid = self.bitmap_uuid(peer, volume);
                    let number = self.volumes[volume].number;
                    self.send(peer, Packet::SyncUuid(number, uuid));
                    self.send_bitmap(peer, volume);
                    self.set_preparing(peer, volume, goal, Step::AwaitBitmap);
                }
                Step::Save(ticket) if self.is_durable(volume, ticket) => {
                    self.volume_ready(peer, volume, goal);
                }
                Step::SaveSyncUuid(_) | Step::Save(_) | Step::AwaitSyncUuid | Step::AwaitBitmap => {
                }
            }
        }
        let connection = &self.connections[peer];
        let preparing =
            connection.session().is_some_and(|session| matches!(session.phase, Phase::Preparing));
        if preparing
            && connection.devices.iter().all(|device| device.is_ready() && device.peer_ready)
        {
            self.begin_running(peer);
        }
    }

    fn volume_ready(&mut self, peer: PeerIndex, volume: VolumeIndex, goal: Goal) {
        let device = &mut self.connections[peer].devices[volume];
        device.replication = match goal {
            Goal::InSync => Replication::Established,
            Goal::Source => Replication::SyncSource,
            Goal::Target => Replication::SyncTarget,
        };
        if goal != Goal::InSync {
            self.begin_resync(peer, volume);
        }
        self.send_state(peer, volume);
    }

    /// The source has named the generation for the time of the resync.
    pub(crate) fn sync_uuid(
        &mut self,
        peer: PeerIndex,
        number: VolumeNumber,
        uuid: Uuid,
    ) -> Result<(), PeerError> {
        let volume = self.volume_of_peer(number)?;
        self.expect_step(peer, volume, Step::AwaitSyncUuid, "SyncUuid")?;
        self.target_begins(peer, volume);
        let full = self.connections[peer].devices[volume].resync.is_full();
        self.forget_exposed(volume);
        self.volumes[volume].replace_image();
        let attached = self.volumes[volume].attached_mut().expect("a target has a disk");
        attached.state = DiskState::Inconsistent;
        // What this node tracked for the source is the source's to track from here on.
        attached.store.forget_bitmap_uuid(peer);
        attached.store.adopt_current(uuid);
        if full {
            attached.bitmaps[peer].set_all();
        }
        self.send_bitmap(peer, volume);
        self.set_preparing(peer, volume, Goal::Target, Step::AwaitBitmap);
        Ok(())
    }

    /// The peer tells its states; in preparation they say that it is ready.
    pub(crate) fn peer_state(
        &mut self,
        peer: PeerIndex,
        number: VolumeNumber,
        state: State,
    ) -> Result<(), PeerError> {
        use tandem_wire::ReplicationState as R;
        let volume = self.volume_of_peer(number)?;
        self.fence_peer_told(peer);
        let connection = &mut self.connections[peer];
        connection.peer_role = state.role;
        let device = &mut connection.devices[volume];
        let disk_before = std::mem::replace(&mut device.disk, state.disk);
        device.peer_ready |= match state.replication {
            R::Off | R::WFBitMapS | R::WFBitMapT | R::Ahead | R::Behind => false,
            R::Established
            | R::SyncSource
            | R::SyncTarget
            | R::PausedSyncS
            | R::PausedSyncT
            | R::VerifyS
            | R::VerifyT => true,
        };
        let is_target = matches!(state.replication, R::SyncTarget | R::PausedSyncT);
        if let Some(attached) = self.volumes[volume].attached_mut().filter(|_| is_target) {
            attached.store.peer_mut(peer).flags.unheard = false; // it has stored its generation
        }
        self.peer_pauses(peer, volume, state.pauses_resync);
        self.advance_preparation(peer);
        self.target_tells(peer, volume);
        if self.connections[peer].is_running() {
            self.peer_pulls(peer, volume, state.replication);
        }
        self.verify_told(peer, volume, state);
        self.peer_disk_told(peer, volume, disk_before);
        Ok(())
    }

    fn expect_step(
        &self,
        peer: PeerIndex,
        volume: VolumeIndex,
        expected: Step,
        packet: &'static str,
    ) -> Result<(), PeerError> {
        let replication = self.connections[peer].devices[volume].replication;
        if matches!(replication, Replication::Preparing { step, .. } if step == expected) {
            return Ok(());
        }
        Err(PeerError::Unexpected { packet, phase: "not exchanging" })
    }
}
