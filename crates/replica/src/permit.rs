//! `before-resync-target`: a program of the operator's that may forbid a resync to this node.
//!
//! A node that finds in a handshake that it is to be target leaves before it has said so, and comes
//! back when the program agrees: the peer's writes do not wait for a program. Data that are older
//! than a Primary peer's are marked as Outdated first, and the peer hears of that, so that it has
//! nobody to fence; data that somebody has given up are left as they are. A node that is Behind
//! asks while its peer stays ahead. Who is Primary cannot do without the peer's data: it tells the
//! program, and does not wait.
//!
//! What the program agrees to is one resync of one volume: it holds until that begins, or a session
//! runs without.

use tandem_wire::Role;

use crate::action::{CallId, Handler, Severity};
use crate::connection::{Connection, Link, Phase};
use crate::decision::{Decision, Settlement, Verdict};
use crate::peer_device::Replication;
use crate::peers::{PeerIndex, VolumeIndex};
use crate::resource::Resource;

/// What programs have said, or are asked, about resyncs from one peer.
#[derive(Debug, Default)]
pub(crate) struct Permit {
    /// Programs that run.
    calls: Vec<(CallId, VolumeIndex)>,
    granted: Vec<VolumeIndex>,
}

impl Permit {
    /// Whether no session may begin: some program has not ended.
    pub(crate) fn is_awaited(&self) -> bool {
        !self.calls.is_empty()
    }

    /// Whether the program runs for this volume.
    pub(crate) fn is_asked(&self, volume: VolumeIndex) -> bool {
        self.calls.iter().any(|(_, it)| *it == volume)
    }

    /// A session runs, or the disk is another one: what was agreed to has been, or never will be.
    pub(crate) fn forget(&mut self, volume: VolumeIndex) {
        self.granted.retain(|it| *it != volume);
    }
}

impl Resource {
    /// Whether this node leaves the handshake to ask: with the end of that, programs run.
    pub(crate) fn asks_first(&mut self, peer: PeerIndex, settlement: &Settlement) -> bool {
        let is_target = |decision: &Decision| match decision {
            Decision::Target(_) => Some(true),
            Decision::NoSync | Decision::Source(_) => Some(false),
            Decision::SplitBrain
            | Decision::Unrelated
            | Decision::Refuse(_)
            | Decision::Retry(_) => None,
        };
        let decisions = settlement.verdicts.iter().map(|it| is_target(&it.decision));
        // A Primary that gives in is to hear the other's word at once.
        let Some(targets) = decisions.collect::<Option<Vec<bool>>>() else { return false };
        if settlement.demote {
            return false;
        }
        let volumes = self.volume_indexes().zip(targets);
        let volumes: Vec<VolumeIndex> = volumes
            .filter_map(|(volume, is_target)| is_target.then_some(volume))
            .filter(|volume| self.wants_permit(peer, *volume))
            .collect();
        if volumes.is_empty() {
            return false;
        }
        let discards = settlement.verdicts.iter().any(Verdict::discards);
        let tickets = if discards { Vec::new() } else { self.outdate_for(peer) };
        let session = self.connections[peer].session_mut().expect("a handshake has a session");
        session.phase = Phase::Asking { volumes, tickets };
        self.unsettled = true;
        true
    }

    /// Whether a program must agree before this volume may be overwritten.
    fn wants_permit(&self, peer: PeerIndex, volume: VolumeIndex) -> bool {
        self.role == Role::Secondary
            && self.volumes[volume].config.asks_before_resync
            && !self.connections[peer].permit.granted.contains(&volume)
    }

    /// What was marked for that is durable: the peer is told, the session ends, programs run.
    pub(crate) fn leave_to_ask(&mut self, peer: PeerIndex) {
        let session = self.connections[peer].session_mut().expect("a handshake has a session");
        let Phase::Asking { volumes, .. } = &mut session.phase else { unreachable!("seen before") };
        let volumes = std::mem::take(volumes);
        for volume in self.volume_indexes() {
            self.send_state(peer, volume);
        }
        self.end_session(peer, "before-resync-target is asked; connecting when it has ended");
        for volume in volumes {
            self.ask_permit(peer, volume);
        }
    }

    fn ask_permit(&mut self, peer: PeerIndex, volume: VolumeIndex) {
        let id = self.call_and_wait(Handler::BeforeResyncTarget, Some(volume), peer);
        self.connections[peer].permit.calls.push((id, volume));
    }

    /// A node that is Behind is asked to catch up: whether it has to ask first.
    pub(crate) fn asks_to_catch_up(&mut self, peer: PeerIndex, volume: VolumeIndex) -> bool {
        let wants = self.wants_permit(peer, volume);
        if wants {
            self.ask_permit(peer, volume);
        }
        wants
    }

    /// A resync to this node begins. A program that was not asked is told.
    pub(crate) fn target_begins(&mut self, peer: PeerIndex, volume: VolumeIndex) {
        let permit = &mut self.connections[peer].permit;
        let was_asked = permit.granted.contains(&volume);
        permit.forget(volume);
        if !was_asked {
            let text = "this node's data are to be overwritten by a resync".to_owned();
            self.call(Handler::BeforeResyncTarget, Some(volume), peer, Severity::Info, text);
        }
    }

    /// A program that may have been asked here has ended.
    pub(crate) fn permit_answered(&mut self, id: CallId, exit_code: Option<i32>) {
        for peer in self.peer_indexes() {
            let calls = &mut self.connections[peer].permit.calls;
            if let Some(at) = calls.iter().position(|(call, _)| *call == id) {
                let (_, volume) = calls.remove(at);
                match exit_code {
                    Some(0) => self.permit_granted(peer, volume),
                    other => self.permit_refused(peer, volume, other),
                }
            }
        }
    }

    fn permit_granted(&mut self, peer: PeerIndex, volume: VolumeIndex) {
        let now = self.now;
        let connection = &mut self.connections[peer];
        match &mut connection.link {
            // Somebody has ended the connection meanwhile: what comes then is asked anew.
            Link::StandAlone => return,
            Link::Waiting(until) => *until = now,
            Link::Attempting | Link::Up(_) => {}
        }
        connection.permit.granted.push(volume);
        if connection.is_running()
            && connection.devices[volume].replication == Replication::Behind(None)
        {
            self.begin_to_catch_up(peer, volume);
        }
    }

    /// DRBD drops the connection, and so does this node: it stays apart until `connect`.
    fn permit_refused(&mut self, peer: PeerIndex, volume: VolumeIndex, exit_code: Option<i32>) {
        self.connections[peer].permit.granted.clear();
        let text = match exit_code {
            Some(code) => format!("before-resync-target forbids the resync (exit code {code})"),
            None => "there is no answer of before-resync-target: no resync".to_owned(),
        };
        self.note(Some(volume), Some(peer), Severity::Error, text.clone());
        if !matches!(self.connections[peer].link, Link::StandAlone) {
            self.drop_to_standalone(peer, &format!("{text}; 'connect' asks it again"));
        }
    }
}

impl Connection {
    /// Why no session may begin at this moment, if so.
    pub(crate) fn awaits_permit(&self) -> Result<(), String> {
        match self.permit.is_awaited() {
            true => Err("before-resync-target has not ended".to_owned()),
            false => Ok(()),
        }
    }
}
