//! A split brain in a handshake: who is told what of it, and the Primary that steps back for it.

use crate::action::{Handler, Severity};
use crate::connection::Phase;
use crate::decision::{self, Decision, Settled, Settlement, Side, SplitBrain};
use crate::peers::{PeerIndex, VolumeIndex};
use crate::resource::Resource;
use crate::status::{Divergence, SyncState};
use tandem_wire::{RoleConflict, Verdict};

impl Resource {
    /// Both nodes wrote apart: says so, with what each would lose, and who does if it is settled.
    pub(super) fn report_split_brain(&mut self, peer: PeerIndex, settlement: &Settlement) {
        let Some(found) = &settlement.split_brain else { return };
        let volume = self.volume_indexes().nth(found.volume).expect("it is one of them");
        let name = &self.connections[peer].config.name;
        let text = format!(
            "split brain ({}): both nodes wrote since they parted, {} here{}, {} at {name}{}",
            found.rule.name(),
            found.mine,
            when_parted(found.mine.was_primary),
            found.peer,
            when_parted(found.peer.was_primary),
        );
        self.call(Handler::InitialSplitBrain, Some(volume), peer, Severity::Error, text.clone());
        if settlement.primary_lost {
            let text = "this Primary should lose its changes and cannot be demoted: it is in use";
            self.call(
                Handler::PriLostAfterSb,
                Some(volume),
                peer,
                Severity::Error,
                text.to_owned(),
            );
        }
        match found.settled {
            Settled::No => self.split_brain_stays(peer, volume, found, text),
            Settled::Manually => {
                self.tell_loser(peer, volume, found, &settlement.verdicts, "--discard-my-data");
            }
            Settled::ByPolicy => {
                let policy = found.policy.expect("it has settled it").to_string();
                self.tell_loser(peer, volume, found, &settlement.verdicts, &policy);
            }
        }
    }

    fn split_brain_stays(
        &mut self,
        peer: PeerIndex,
        volume: VolumeIndex,
        found: &SplitBrain,
        mut text: String,
    ) {
        if let Some(policy) = found.policy {
            text += &format!("; {policy} settles nothing");
        }
        text += "; decide which node loses its changes and run `connect --discard-my-data` there";
        self.connections[peer].sync_state = SyncState::SplitBrain(Divergence {
            volume: self.volumes[volume].number,
            rule: found.rule,
            policy: found.policy,
            own: found.mine,
            peer: found.peer,
        });
        self.connections[peer].reason = Some(text.clone());
        self.call(Handler::SplitBrain, Some(volume), peer, Severity::Error, text);
    }

    fn tell_loser(
        &mut self,
        peer: PeerIndex,
        volume: VolumeIndex,
        found: &SplitBrain,
        verdicts: &[decision::Verdict],
        by: &str,
    ) {
        let (who, loss) = match verdicts[found.volume].decision {
            Decision::Target(_) => ("this node", found.mine),
            Decision::Source(_) => (self.connections[peer].config.name.as_str(), found.peer),
            Decision::NoSync
            | Decision::SplitBrain
            | Decision::Unrelated
            | Decision::Refuse(_)
            | Decision::Retry(_) => return,
        };
        let text = format!("split brain settled by {by}: {who} loses {loss}");
        self.note(Some(volume), Some(peer), Severity::Warning, text);
    }

    pub(super) fn name_unrelated(&mut self, peer: PeerIndex) {
        let mut devices = self.connections[peer].devices.iter();
        let split = matches!(self.connections[peer].sync_state, SyncState::SplitBrain(_));
        if split || !devices.any(|device| device.verdict == Some(Verdict::Unrelated)) {
            return;
        }
        let text = "unrelated data: the disks have no generation in common".to_owned();
        self.connections[peer].sync_state = SyncState::Unrelated;
        self.connections[peer].reason = Some(text.clone());
        self.note(None, Some(peer), Severity::Error, text);
    }

    /// rr-conflict call-pri-lost, on the node whose data are the older ones.
    pub(super) fn call_pri_lost(
        &mut self,
        peer: PeerIndex,
        volume: VolumeIndex,
        mine: &Side,
        theirs: &Side,
    ) {
        let wanted = mine.policies.rr_conflict == RoleConflict::CallPriLost;
        if wanted && decision::loses_as_primary(mine, theirs) {
            let text = "this node is Primary and should become target of a resync".to_owned();
            self.call(Handler::PriLost, Some(volume), peer, Severity::Error, text);
        }
    }

    /// Steps back before the peer hears that this node's changes are the ones to lose.
    pub(super) fn yield_role(&mut self, peer: PeerIndex) {
        let session = self.connections[peer].session_mut().expect("a handshake has a session");
        session.phase = Phase::Yielding;
        let text = "giving up the role of Primary: this node loses its changes".to_owned();
        self.note(None, Some(peer), Severity::Warning, text);
        if !self.is_demoting() {
            self.begin_demotion(None, false);
        }
    }
}

fn when_parted(was_primary: bool) -> &'static str {
    if was_primary { " (Primary then)" } else { "" }
}
