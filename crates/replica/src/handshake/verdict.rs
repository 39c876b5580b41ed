//! Both reports are there: deciding every volume, and comparing the verdicts.

use tandem_wire::{Packet, ProtocolSettings, Verdict, VolumeNumber};

use crate::action::Severity;
use crate::connection::Phase;
use crate::decision::{self, Decision, Side};
use crate::error::PeerError;
use crate::peers::{PeerIndex, VolumeIndex};
use crate::resource::Resource;
use crate::status::SyncState;

use super::PeerReport;

impl Resource {
    /// Both reports are there: decide every volume and tell the peer.
    pub(super) fn decide(&mut self, peer: PeerIndex) {
        let session = self.connections[peer].session_mut().expect("a handshake has a session");
        let Phase::Reporting { report, sent } =
            std::mem::replace(&mut session.phase, Phase::Deciding)
        else {
            unreachable!("decided once");
        };
        let has_changed = |it: &Self, v: VolumeIndex| {
            let told = sent[usize::from(v.0)];
            // Whether clients came or went matters only to who is to be demoted: seen below.
            Side { in_use: told.in_use, ..it.side(peer, v) } != told
        };
        if self.volume_indexes().any(|v| has_changed(self, v)) {
            // Row 0: what was reported is not so any more.
            return self.renegotiate(peer, "this node changed in the handshake");
        }
        let settings = report.settings.expect("the report is complete");
        let incompatible = self.incompatible(peer, &settings);
        let theirs = self.take_report(peer, &report, &settings);
        let retries = incompatible.is_none();
        if let Some(reason) = incompatible.or_else(|| self.agree_sizes(peer, &report)) {
            for volume in self.volume_indexes() {
                self.refuse(peer, volume, &reason);
                let device = &mut self.connections[peer].devices[volume];
                device.verdict = Some(Verdict::Refused);
                // A disk that is too small may be enlarged.
                device.retries = retries;
            }
            return self.tell_verdicts(peer);
        }
        let settlement = decision::settle(&sent, &theirs);
        if settlement.demote && self.is_in_use() {
            return self.renegotiate(peer, "a client came in the handshake");
        }
        if self.asks_first(peer, &settlement) {
            return;
        }
        for (index, verdict) in settlement.verdicts.iter().enumerate() {
            let volume = self.volume_indexes().nth(index).expect("one verdict a volume");
            self.judge(peer, volume, *verdict, &sent[index], &theirs[index]);
        }
        self.report_split_brain(peer, &settlement);
        self.name_unrelated(peer);
        if settlement.demote {
            self.yield_role(peer);
        } else {
            self.tell_verdicts(peer);
        }
    }

    /// What the peer said of itself, volume by volume; also kept for the status.
    pub(super) fn take_report(
        &mut self,
        peer: PeerIndex,
        report: &PeerReport,
        settings: &ProtocolSettings,
    ) -> Vec<Side> {
        let node_id = self.connections[peer].config.node_id;
        let sides = self.volume_indexes().map(|volume| {
            let told = &report.volumes[usize::from(volume.0)];
            let state = told.state.expect("the report is complete");
            let uuids = told.uuids.expect("the report is complete");
            let device = &mut self.connections[peer].devices[volume];
            device.disk = state.disk;
            device.peer_current = uuids.current;
            self.connections[peer].peer_role = state.role;
            Side {
                node_id,
                role: state.role,
                disk: state.disk,
                uuids,
                discard_my_data: settings.discard_my_data,
                in_use: settings.in_use,
                policies: settings.policies,
            }
        });
        sides.collect()
    }

    /// A setting that both sides must share and do not.
    pub(super) fn incompatible(
        &self,
        peer: PeerIndex,
        theirs: &ProtocolSettings,
    ) -> Option<String> {
        let connection = &self.connections[peer];
        let ours = connection.session().expect("a handshake has a session").protocol;
        let text = |what: &str, here: &str, there: &str| {
            let name = &connection.config.name;
            format!("incompatible {what} settings: here {here}, at {name} {there}")
        };
        if ours != theirs.protocol {
            return Some(text("protocol", ours.name(), theirs.protocol.name()));
        }
        if usize::from(theirs.volumes) != self.volumes.len() {
            let (here, there) = (self.volumes.len().to_string(), theirs.volumes.to_string());
            return Some(text("volume", &here, &there));
        }
        let difference = connection.config.net.policies.difference(&theirs.policies);
        difference.map(|(option, here, there)| text(option, &here, &there))
    }

    fn agree_sizes(&mut self, peer: PeerIndex, report: &PeerReport) -> Option<String> {
        let mut refusal = None;
        for volume in self.volume_indexes() {
            let sizes = report.volumes[usize::from(volume.0)].sizes;
            let sizes = sizes.expect("the report is complete");
            if let Err(reason) = self.agree_size(peer, volume, sizes) {
                refusal.get_or_insert(reason);
            }
        }
        refusal
    }

    /// What both reports mean for one volume.
    fn judge(
        &mut self,
        peer: PeerIndex,
        volume: VolumeIndex,
        found: decision::Verdict,
        mine: &Side,
        theirs: &Side,
    ) {
        let device = &mut self.connections[peer].devices[volume];
        device.resync.plan(&found.decision, mine, theirs);
        let (text, severity) = if found.reverted {
            ("reverting to older data: ", Severity::Warning)
        } else {
            ("", Severity::Info)
        };
        let text = format!("{text}{:?} by rule {}", found.decision, found.rule.name());
        self.note(Some(volume), Some(peer), severity, text);
        let verdict = match found.decision {
            Decision::NoSync => Verdict::NoSync,
            Decision::Source(_) => Verdict::Source,
            Decision::Target(_) => Verdict::Target,
            Decision::SplitBrain => Verdict::SplitBrain,
            Decision::Unrelated => Verdict::Unrelated,
            Decision::Refuse(reason) | Decision::Retry(reason) => {
                self.refuse(peer, volume, &reason.to_string());
                self.call_pri_lost(peer, volume, mine, theirs);
                Verdict::Refused
            }
        };
        let device = &mut self.connections[peer].devices[volume];
        device.verdict = Some(verdict);
        device.retries = matches!(found.decision, Decision::Retry(_));
    }

    pub(super) fn refuse(&mut self, peer: PeerIndex, volume: VolumeIndex, reason: &str) {
        let text = format!("cannot connect: {reason}");
        self.connections[peer].reason = Some(text.clone());
        self.note(Some(volume), Some(peer), Severity::Error, text);
    }

    /// Tells the peer what was decided.
    pub(super) fn tell_verdicts(&mut self, peer: PeerIndex) {
        let session = self.connections[peer].session_mut().expect("a handshake has a session");
        session.phase = Phase::Deciding;
        let mut devices = self.connections[peer].devices.iter();
        if devices.all(|device| device.verdict.is_some_and(|verdict| !is_bad(&verdict))) {
            self.forget_fence(peer);
        }
        for volume in self.volume_indexes() {
            let verdict = self.connections[peer].devices[volume].verdict.expect("all are decided");
            let number = self.volumes[volume].number;
            self.send(peer, Packet::Verdict(number, verdict));
        }
        self.compare_verdicts(peer);
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
            matches!(
                session.phase,
                Phase::Reporting { .. } | Phase::Yielding | Phase::Asking { .. } | Phase::Deciding
            )
        });
        if !in_time {
            return Err(PeerError::Unexpected { packet: "Verdict", phase: "past the verdicts" });
        }
        self.connections[peer].devices[volume].peer_verdict = Some(verdict);
        let session = self.connections[peer].session().expect("seen above");
        if matches!(session.phase, Phase::Deciding) {
            self.compare_verdicts(peer);
        }
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
            && both.iter().all(|(mine, theirs)| !is_bad(mine) && *theirs != Verdict::Refused);
        let refused = |verdict: &Verdict| *verdict == Verdict::Refused;
        let retry = mirrored
            && (devices.iter().zip(&both))
                .all(|(device, (mine, _))| !is_bad(mine) || (refused(mine) && device.retries));
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
            session.phase = Phase::Parting { until, retry };
        }
    }
}

/// Whether nothing can be done about the volume.
fn is_bad(verdict: &Verdict) -> bool {
    matches!(verdict, Verdict::SplitBrain | Verdict::Unrelated | Verdict::Refused)
}
