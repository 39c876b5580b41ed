//! Both reports are there: deciding every volume, and comparing the verdicts.

use tandem_wire::{Packet, Verdict, VolumeNumber};

use crate::action::Severity;
use crate::connection::Phase;
use crate::decision::{self, Decision, Side};
use crate::error::PeerError;
use crate::peers::{PeerIndex, VolumeIndex};
use crate::resource::Resource;
use crate::status::SyncState;

impl Resource {
    /// Both reports are there: decide every volume and tell the peer.
    pub(super) fn decide(&mut self, peer: PeerIndex) {
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
}
