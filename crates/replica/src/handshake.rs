//! How two nodes find out, at the begin of a session, who copies from whom.
//!
//! Settle: nothing of an older session is under way here any more. Report: protocol, sizes,
//! generations, states of every volume, once. Decide: both evaluate the same two reports
//! (`decision`) and tell each other the verdict; nobody acts, and nobody leaves over a split brain,
//! before it knows that the other has seen the same. Prepare (`exchange`): bitmaps and metadata.
//! Then the session runs.
//!
//! From the first to the last step new writes wait at the gate, so what was reported stays true.

use tandem_wire::{
    Packet, ProtocolSettings, ReplicationState, Sizes, State, UuidFlags, Uuids, Verdict,
    VolumeNumber,
};

use crate::action::Severity;
use crate::connection::{Leftovers, Phase};
use crate::decision::{self, Decision, Side};
use crate::error::PeerError;
use crate::flush::FlushWaiter;
use crate::limits::BLOCK_BYTES;
use crate::peer_device::Replication;
use crate::peers::{PeerIndex, VolumeIndex};
use crate::resource::Resource;
use crate::status::SyncState;
use crate::time::Instant;

/// What the peer has said of itself so far.
#[derive(Clone, Debug)]
pub(crate) struct PeerReport {
    settings: Option<ProtocolSettings>,
    volumes: Vec<VolumeReport>,
}

#[derive(Clone, Copy, Debug, Default)]
struct VolumeReport {
    sizes: Option<Sizes>,
    uuids: Option<Uuids>,
    state: Option<State>,
}

impl PeerReport {
    pub(crate) fn new(volumes: usize) -> Self {
        Self { settings: None, volumes: vec![VolumeReport::default(); volumes] }
    }

    fn is_complete(&self) -> bool {
        self.settings.is_some() && self.volumes.iter().all(|volume| volume.state.is_some())
    }
}

impl Resource {
    /// Takes the handshake on as far as it goes.
    pub(crate) fn advance_handshake(&mut self, peer: PeerIndex) {
        let Some(session) = self.connections[peer].session() else {
            return;
        };
        match session.phase {
            Phase::Settling(_) if self.is_settled(peer) => self.report_durably(peer),
            Phase::Reporting { ref report, .. } if report.is_complete() => self.decide(peer),
            Phase::Preparing => self.advance_preparation(peer),
            Phase::Parting { until } if until <= self.now => {
                self.end_session(peer, "the nodes do not agree on their data");
            }
            Phase::Settling(_)
            | Phase::Reporting { .. }
            | Phase::Deciding
            | Phase::Parting { .. }
            | Phase::Running => {}
        }
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
        match self.connections[peer].leftovers {
            Leftovers::Durable => self.send_report(peer),
            Leftovers::Flushing(_) => {}
            Leftovers::Volatile => {
                self.connections[peer].leftovers = Leftovers::Flushing(self.volumes.len());
                for volume in self.volume_indexes() {
                    self.flush_disk(volume, FlushWaiter::Settling(peer));
                }
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

    fn send_report(&mut self, peer: PeerIndex) {
        let connection = &mut self.connections[peer];
        connection.inbound = crate::peer_request::Inbound::default();
        let discard_my_data = connection.discard_my_data;
        let sent: Vec<Side> = self.volume_indexes().map(|v| self.side(peer, v)).collect();
        let connection = &mut self.connections[peer];
        let session = connection.session_mut().expect("a handshake belongs to a session");
        let Phase::Settling(report) = &session.phase else {
            unreachable!("reported once");
        };
        let report = report.clone();
        session.phase = Phase::Reporting { report, sent: sent.clone() };
        let settings = ProtocolSettings {
            protocol: session.protocol,
            discard_my_data,
            volumes: u16::try_from(self.volumes.len()).expect("volume numbers are u16"),
        };
        self.send(peer, Packet::Protocol(settings));
        for volume in self.volume_indexes() {
            let number = self.volumes[volume].number;
            let sizes = self.sizes(volume);
            let Side { role, disk, uuids, .. } = sent[usize::from(volume.0)];
            let state = State { role, disk, replication: ReplicationState::Off };
            self.send(peer, Packet::Sizes(number, sizes));
            self.send(peer, Packet::Uuids(number, uuids));
            self.send(peer, Packet::State(number, state));
        }
        self.advance_handshake(peer);
    }

    fn sizes(&self, volume: VolumeIndex) -> Sizes {
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

    /// This node's part of the decision about a volume.
    fn side(&self, peer: PeerIndex, volume: VolumeIndex) -> Side {
        let connection = &self.connections[peer];
        let uuids = match self.volumes[volume].attached() {
            Some(attached) => {
                let superblock = attached.store.superblock();
                let slot = attached.store.peer(peer);
                let protocol = slot.last_protocol;
                Uuids {
                    current: superblock.current_uuid,
                    bitmap: slot.bitmap_uuid,
                    history: attached.store.recent_history(),
                    dirty_blocks: attached.bitmaps[peer].count(),
                    last_session: slot.last_session,
                    flags: UuidFlags {
                        crashed_primary: superblock.flags.crashed_primary,
                        lost_power: slot.boot_id.0 != self.config.boot_id,
                        reconnect: connection.had_session || slot.flags.drained,
                        bitmap_alias: slot.flags.bitmap_alias,
                        last_session_async: protocol == Some(tandem_wire::Protocol::A),
                        last_session_memory: protocol == Some(tandem_wire::Protocol::B),
                    },
                }
            }
            None => Uuids::default(),
        };
        Side {
            node_id: self.config.node_id,
            role: self.role,
            disk: self.volumes[volume].disk_state(),
            uuids,
            discard_my_data: connection.discard_my_data,
        }
    }

    /// The peer's settings.
    pub(crate) fn peer_settings(
        &mut self,
        peer: PeerIndex,
        settings: ProtocolSettings,
    ) -> Result<(), PeerError> {
        self.report_mut(peer, "Protocol")?.settings = Some(settings);
        self.advance_handshake(peer);
        Ok(())
    }

    /// A piece of the peer's report on a volume; they come in order.
    pub(crate) fn peer_reports(
        &mut self,
        peer: PeerIndex,
        number: VolumeNumber,
        piece: Piece,
    ) -> Result<(), PeerError> {
        let volume = self.volume_of_peer(number)?;
        let report = &mut self.report_mut(peer, piece.name())?.volumes[usize::from(volume.0)];
        match piece {
            Piece::Sizes(sizes) => report.sizes = Some(sizes),
            Piece::Uuids(uuids) if report.sizes.is_some() => report.uuids = Some(uuids),
            Piece::State(state) if report.uuids.is_some() => report.state = Some(state),
            Piece::Uuids(_) | Piece::State(_) => {
                return Err(PeerError::Unexpected {
                    packet: piece.name(),
                    phase: "reporting in order",
                });
            }
        }
        self.advance_handshake(peer);
        Ok(())
    }

    fn report_mut(
        &mut self,
        peer: PeerIndex,
        packet: &'static str,
    ) -> Result<&mut PeerReport, PeerError> {
        match self.connections[peer].session_mut().map(|session| &mut session.phase) {
            Some(Phase::Settling(report) | Phase::Reporting { report, .. }) => Ok(report),
            _ => Err(PeerError::Unexpected { packet, phase: "past the report" }),
        }
    }

    /// Both reports are there: decide every volume and tell the peer.
    fn decide(&mut self, peer: PeerIndex) {
        let session = self.connections[peer].session_mut().expect("a handshake has a session");
        let Phase::Reporting { report, sent } =
            std::mem::replace(&mut session.phase, Phase::Deciding)
        else {
            unreachable!("decided once");
        };
        if self.volume_indexes().any(|v| self.side(peer, v) != sent[usize::from(v.0)]) {
            // Row 0: what was reported is not so any more.
            return self.renegotiate(peer, "this node changed in the handshake");
        }
        let session = self.connections[peer].session().expect("a handshake has a session");
        let settings = report.settings.expect("the report is complete");
        let same_settings = settings.protocol == session.protocol
            && usize::from(settings.volumes) == self.volumes.len();
        let mut lost = (0, 0);
        for volume in self.volume_indexes() {
            let theirs = &report.volumes[usize::from(volume.0)];
            let state = theirs.state.expect("the report is complete");
            let mine = sent[usize::from(volume.0)];
            let their_side = Side {
                node_id: self.connections[peer].config.node_id,
                role: state.role,
                disk: state.disk,
                uuids: theirs.uuids.expect("the report is complete"),
                discard_my_data: settings.discard_my_data,
            };
            let sizes = theirs.sizes.expect("the report is complete");
            let verdict = if !same_settings {
                self.refuse(peer, volume, "protocol or number of volumes differ");
                Verdict::Refused
            } else if let Err(reason) = self.agree_size(peer, volume, sizes) {
                self.refuse(peer, volume, &reason);
                Verdict::Refused
            } else {
                self.judge(peer, volume, &mine, &their_side)
            };
            if verdict == Verdict::SplitBrain {
                lost.0 += mine.uuids.dirty_blocks;
                lost.1 += their_side.uuids.dirty_blocks;
            }
            self.connections[peer].peer_role = state.role;
            let device = &mut self.connections[peer].devices[volume];
            device.disk = state.disk;
            device.peer_current = their_side.uuids.current;
            device.verdict = Some(verdict);
            let number = self.volumes[volume].number;
            self.send(peer, Packet::Verdict(number, verdict));
        }
        self.name_sync_state(peer, lost);
        self.compare_verdicts(peer);
    }

    /// What both reports mean for one volume.
    fn judge(
        &mut self,
        peer: PeerIndex,
        volume: VolumeIndex,
        mine: &Side,
        theirs: &Side,
    ) -> Verdict {
        let found = decision::decide(mine, theirs);
        self.connections[peer].devices[volume].resync.plan(&found.decision, mine, theirs);
        let text = format!("{:?} by rule {}", found.decision, found.rule.name());
        self.note(Some(volume), Some(peer), Severity::Info, text);
        match found.decision {
            Decision::NoSync => Verdict::NoSync,
            Decision::Source(_) => Verdict::Source,
            Decision::Target(_) => Verdict::Target,
            Decision::SplitBrain => Verdict::SplitBrain,
            Decision::Unrelated => Verdict::Unrelated,
            Decision::Refuse(reason) => {
                self.refuse(peer, volume, &format!("{reason:?}"));
                Verdict::Refused
            }
        }
    }

    fn refuse(&mut self, peer: PeerIndex, volume: VolumeIndex, reason: &str) {
        let text = format!("cannot connect: {reason}");
        self.connections[peer].reason = Some(text.clone());
        self.note(Some(volume), Some(peer), Severity::Error, text);
    }

    /// The size both disks can hold; never less than what was in use (a smaller peer truncates
    /// nothing).
    fn agree_size(
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

    fn name_sync_state(&mut self, peer: PeerIndex, lost: (u64, u64)) {
        let devices = &self.connections[peer].devices;
        let any = |verdict| devices.iter().any(|device| device.verdict == Some(verdict));
        let (state, text) = if any(Verdict::SplitBrain) {
            let state = SyncState::SplitBrain { own_blocks: lost.0, peer_blocks: lost.1 };
            let text = format!(
                "split brain: both nodes wrote since they parted ({} blocks of 4 KiB here, \
                 {} at the peer); decide which node loses its changes and run \
                 `connect --discard-my-data` there",
                lost.0, lost.1
            );
            (state, text)
        } else if any(Verdict::Unrelated) {
            let text = "unrelated data: the disks have no generation in common".to_owned();
            (SyncState::Unrelated, text)
        } else {
            return;
        };
        self.connections[peer].sync_state = state;
        self.connections[peer].reason = Some(text.clone());
        self.note(None, Some(peer), Severity::Error, text);
    }

    /// The peer's verdict on a volume.
    pub(crate) fn peer_decided(
        &mut self,
        peer: PeerIndex,
        number: VolumeNumber,
        verdict: Verdict,
    ) -> Result<(), PeerError> {
        let volume = self.volume_of_peer(number)?;
        let in_time = self.connections[peer].session().is_some_and(|session| {
            matches!(session.phase, Phase::Reporting { .. } | Phase::Deciding)
        });
        if !in_time {
            return Err(PeerError::Unexpected { packet: "Verdict", phase: "past the verdicts" });
        }
        self.connections[peer].devices[volume].peer_verdict = Some(verdict);
        self.compare_verdicts(peer);
        Ok(())
    }

    /// Acts once both sides' verdicts are known: they mirror each other, or something is very
    /// wrong.
    fn compare_verdicts(&mut self, peer: PeerIndex) {
        let devices = &self.connections[peer].devices;
        let both: Option<Vec<(Verdict, Verdict)>> =
            devices.iter().map(|device| device.verdict.zip(device.peer_verdict)).collect();
        let Some(both) = both else { return };
        let mirrored = both.iter().all(|(mine, theirs)| match mine {
            Verdict::Source => *theirs == Verdict::Target,
            Verdict::Target => *theirs == Verdict::Source,
            Verdict::NoSync | Verdict::SplitBrain | Verdict::Unrelated => theirs == mine,
            Verdict::Refused => true,
        });
        let good = mirrored
            && both.iter().all(|(mine, theirs)| {
                !matches!(mine, Verdict::SplitBrain | Verdict::Unrelated | Verdict::Refused)
                    && *theirs != Verdict::Refused
            });
        let until = self.now + self.connections[peer].config.net.ping_timeout;
        let connection = &mut self.connections[peer];
        if !good && connection.sync_state == SyncState::Normal {
            let reason = connection.reason.take();
            connection.reason = Some(match reason {
                Some(reason) if reason.starts_with("cannot connect") => reason,
                _ if mirrored => "the peer refused to connect; see its log".to_owned(),
                _ => "both nodes came to different verdicts: not connecting".to_owned(),
            });
        }
        let session = connection.session_mut().expect("a handshake has a session");
        if good {
            session.phase = Phase::Preparing;
            self.begin_preparation(peer);
        } else {
            session.phase = Phase::Parting { until };
        }
    }

    /// When the phase of the handshake must end.
    pub(crate) fn handshake_deadline(&self, peer: PeerIndex) -> Option<Instant> {
        let session = self.connections[peer].session()?;
        match session.phase {
            Phase::Running => None,
            Phase::Parting { until } => Some(until),
            Phase::Settling(_) | Phase::Reporting { .. } | Phase::Deciding | Phase::Preparing => {
                let timeout = self.connections[peer].config.net.timeout;
                Some(session.began_at + timeout * crate::limits::HANDSHAKE_TIMEOUTS)
            }
        }
    }

    /// Every volume is ready on both sides.
    pub(crate) fn begin_running(&mut self, peer: PeerIndex) {
        let connection = &mut self.connections[peer];
        connection.session_mut().expect("ready in a session").phase = Phase::Running;
        connection.had_session = true;
        connection.renegotiating = None;
        connection.leftovers = Leftovers::Volatile;
        connection.undrained = true;
        connection.discard_my_data = false;
        connection.sync_state = SyncState::Normal;
        connection.reason = None;
        connection.pause = crate::limits::CONNECT_PAUSE_FIRST;
        self.note(None, Some(peer), Severity::Info, "connected".to_owned());
        for volume in self.volume_indexes() {
            self.send_state(peer, volume);
            if self.connections[peer].devices[volume].replication == Replication::SyncTarget {
                self.pump_resync(peer, volume);
            }
        }
        self.retry_reads(None);
        self.reopen_gate();
    }
}

/// One piece of a report on a volume.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Piece {
    Sizes(Sizes),
    Uuids(Uuids),
    State(State),
}

impl Piece {
    fn name(self) -> &'static str {
        match self {
            Self::Sizes(_) => "Sizes",
            Self::Uuids(_) => "Uuids",
            Self::State(_) => "State",
        }
    }
}
