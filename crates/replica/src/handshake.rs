//! How two nodes find out, at the begin of a session, who copies from whom.
//!
//! Settle: nothing of an older session is under way here any more. Report: protocol, sizes,
//! generations, states of every volume, once. Decide: both evaluate the same two reports
//! (`decision`) and tell each other the verdict; nobody acts, and nobody leaves over a split brain,
//! before it knows that the other has seen the same. Prepare (`exchange`): bitmaps and metadata.
//! Then the session runs.
//!
//! From the first to the last step new writes wait at the gate, so what was reported stays true. A
//! new generation that begins behind the report all the same, for a peer that was fenced, ends the
//! session: it would be made in the middle of what the old one was compared for.

use tandem_wire::{DiskState, Role};

use crate::action::Severity;
use crate::connection::{Leftovers, Phase};
use crate::flush::FlushWaiter;
use crate::peers::{PeerIndex, VolumeIndex};
use crate::resource::Resource;
use crate::status::SyncState;
use crate::time::Instant;
use crate::volume::Volume;

mod report;
mod size;
mod split_brain;
mod trial;
mod verdict;

pub(crate) use report::{PeerReport, Piece};
pub(crate) use size::Agreed;

impl Resource {
    /// Takes the handshake on as far as it goes.
    pub(crate) fn advance_handshake(&mut self, peer: PeerIndex) {
        let Some(session) = self.connections[peer].session() else {
            return;
        };
        if session.has_reported() && self.volumes.iter().any(Volume::is_rotating) {
            return self.renegotiate(peer, "a new generation begins in the handshake");
        }
        match session.phase {
            Phase::Settling(ref report) if self.connections[peer].on_trial => {
                if report.is_complete() && self.is_settled(peer) {
                    let report = report.clone();
                    self.end_trial(peer, &report);
                }
            }
            Phase::Settling(_) if self.is_settled(peer) => self.report_durably(peer),
            Phase::Reporting { ref report, .. } if report.is_complete() => self.decide(peer),
            Phase::Yielding if self.role == Role::Secondary => self.tell_verdicts(peer),
            Phase::Asking { ref tickets, .. } if self.all_durable(tickets) => {
                self.leave_to_ask(peer);
            }
            Phase::Preparing => self.advance_preparation(peer),
            Phase::Parting { until, .. } if until <= self.now => {
                self.end_session(peer, "the nodes do not agree on their data");
            }
            Phase::Settling(_)
            | Phase::Reporting { .. }
            | Phase::Yielding
            | Phase::Asking { .. }
            | Phase::Deciding
            | Phase::Parting { .. }
            | Phase::Running => {}
        }
    }

    /// Whether the disk has been there since the last session began to run. One attached later
    /// lacks what was received and refused in between.
    pub(crate) fn served(&self, peer: PeerIndex, volume: VolumeIndex) -> bool {
        let served_by = self.connections[peer].devices[volume].served_by;
        served_by.is_some() && served_by == self.volumes[volume].usable_generation()
    }

    /// Notes on disk that everything a lost link had brought has been carried out: in protocol B
    /// that makes this node a survivor (SEMANTICS rule 1), even if its process ends now.
    pub(crate) fn advance_drained(&mut self, peer: PeerIndex) {
        let connection = &mut self.connections[peer];
        if !connection.undrained || connection.session().is_some() || !connection.inbound.is_idle()
        {
            return;
        }
        connection.undrained = false;
        for volume in self.volume_indexes() {
            if !self.served(peer, volume) {
                continue;
            }
            if let Some(attached) = self.volumes[volume].attached_mut() {
                attached.store.peer_mut(peer).flags.drained = true;
                self.commit(volume, false);
            }
        }
    }

    /// Whether what this node would report can only change by what the handshake decides.
    fn is_settled(&self, peer: PeerIndex) -> bool {
        self.connections[peer].inbound.is_idle()
            && self.connections[peer].pieces.is_empty()
            && self.volumes.iter().all(|volume| !volume.is_rotating() && !volume.is_attaching())
            && self.role_is_settled()
    }

    /// Reports once a power loss cannot take back what the last session brought: what is reported
    /// as the same on both nodes is tracked by neither from then on.
    fn report_durably(&mut self, peer: PeerIndex) {
        let leftovers = self.connections[peer].leftovers;
        match leftovers {
            Leftovers::Durable if self.may_report(peer) => self.send_report(peer),
            Leftovers::Durable | Leftovers::Flushing(_) => {}
            Leftovers::Volatile => {
                self.connections[peer].leftovers = Leftovers::Flushing(self.volumes.len());
                for volume in self.volume_indexes() {
                    self.flush_disk(volume, FlushWaiter::Settling(peer));
                }
            }
        }
    }

    /// Whether what would be reported is on disk, and what must not be any more is not: a crash
    /// behind the handshake must find what the peer was told.
    fn may_report(&mut self, peer: PeerIndex) -> bool {
        let is_forgotten = self.fence_is_forgotten(peer);
        let mut attached = self.volumes.iter().filter_map(Volume::attached);
        is_forgotten && attached.all(|it| it.store.is_superblock_durable())
    }

    /// A disk is attached: what it had in its cache when it went is still there.
    pub(crate) fn leftovers_attached(&mut self, peer: PeerIndex, volume: VolumeIndex) {
        self.connections[peer].permit.forget(volume);
        match &mut self.connections[peer].leftovers {
            Leftovers::Volatile => {}
            leftovers @ Leftovers::Durable => *leftovers = Leftovers::Volatile,
            Leftovers::Flushing(left) => {
                *left += 1;
                self.flush_disk(volume, FlushWaiter::Settling(peer));
            }
        }
    }

    /// One disk has been flushed for a handshake. A flush that fails ends the session by itself.
    pub(crate) fn settling_flushed(&mut self, peer: PeerIndex) {
        let leftovers = &mut self.connections[peer].leftovers;
        *leftovers = match *leftovers {
            Leftovers::Flushing(left) if left > 1 => Leftovers::Flushing(left - 1),
            Leftovers::Flushing(_) | Leftovers::Durable => Leftovers::Durable,
            Leftovers::Volatile => Leftovers::Volatile,
        };
        self.unsettled = true;
    }

    /// When the phase of the handshake must end.
    pub(crate) fn handshake_deadline(&self, peer: PeerIndex) -> Option<Instant> {
        let session = self.connections[peer].session()?;
        match session.phase {
            Phase::Running => None,
            Phase::Parting { until, .. } => Some(until),
            Phase::Settling(_)
            | Phase::Reporting { .. }
            | Phase::Yielding
            | Phase::Asking { .. }
            | Phase::Deciding
            | Phase::Preparing => {
                let timeout = self.connections[peer].config.net.timeout;
                Some(session.moved_at + timeout * crate::limits::HANDSHAKE_TIMEOUTS)
            }
        }
    }

    /// Every volume is ready on both sides.
    pub(crate) fn begin_running(&mut self, peer: PeerIndex) {
        let connection = &mut self.connections[peer];
        connection.session_mut().expect("ready in a session").phase = Phase::Running;
        connection.renegotiating = None;
        connection.leftovers = Leftovers::Volatile;
        connection.undrained = true;
        connection.discard_my_data = false;
        connection.sync_state = SyncState::Normal;
        connection.reason = None;
        self.fence_link_runs(peer);
        self.sizes_are_durable(peer);
        let connection = &mut self.connections[peer];
        connection.pause = crate::limits::CONNECT_PAUSE_FIRST;
        self.note(None, Some(peer), Severity::Info, "connected".to_owned());
        for volume in self.volume_indexes() {
            self.send_state(peer, volume);
            let disk = self.volumes[volume].usable_generation();
            let device = &mut self.connections[peer].devices[volume];
            // With a peer without a disk nothing is recorded: what counts is the session before.
            if device.disk >= DiskState::Inconsistent {
                device.served_by = disk;
            }
            self.connections[peer].permit.forget(volume);
            self.expose_peers(peer, volume);
            // A peer without its disk may have lost of it what it is not sure to have flushed.
            self.rotate_where_different(volume);
            self.part_from_lost_disk(peer, volume);
        }
        // Who has to wait must know so before the first block is asked for.
        self.advance_dependencies();
        for volume in self.volume_indexes() {
            self.drive_resync(peer, volume);
        }
        self.retry_reads(None);
        self.reopen_gate();
    }
}
