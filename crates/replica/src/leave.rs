//! Ending a connection in good order: whoever is left behind by a Primary is Outdated first,
//! durably, so that it cannot be taken for the newest data later, as in DRBD.

use tandem_wire::{Change, DiskState, Packet, RequestId, Role, Vote};

use crate::action::CommandId;
use crate::connection::Link;
use crate::error::CommandError;
use crate::peer_device::Replication;
use crate::peers::{PeerIndex, VolumeIndex};
use crate::resource::Resource;
use crate::store::Ticket;
use crate::time::Instant;

/// This node's leaving, or its consent to the peer's.
#[derive(Debug)]
pub(crate) enum Leaving {
    /// The peer is asked.
    Asking { command: Option<CommandId>, id: RequestId, until: Instant },
    /// The peer agreed; this node outdates itself.
    Outdating { command: Option<CommandId>, tickets: Vec<(VolumeIndex, Ticket)> },
    /// This node is Outdated; the peer is told, so that it need not fence what has left.
    Telling { command: Option<CommandId>, id: RequestId, until: Instant },
    /// The peer leaves; this node outdates itself before it agrees.
    Consenting { id: RequestId, tickets: Vec<(VolumeIndex, Ticket)> },
}

impl Resource {
    /// The operator wants the connection ended.
    pub(crate) fn begin_leaving(
        &mut self,
        peer: PeerIndex,
        command: Option<CommandId>,
        force: bool,
    ) {
        let connection = &self.connections[peer];
        match &connection.link {
            Link::Up(session) if connection.is_running() && !force => {
                if session.leaving.is_some() {
                    return self.end_command(command, Err(CommandError::Concurrent));
                }
            }
            Link::Up(_) | Link::StandAlone | Link::Waiting(_) | Link::Attempting => {
                self.drop_to_standalone(peer, "disconnected by the operator");
                return self.end_command(command, Ok(()));
            }
        }
        if let Err(error) = self.can_do_without(peer) {
            return self.end_command(command, Err(error));
        }
        self.next_request += 1;
        let id = RequestId(self.next_request);
        let until = self.now + self.connections[peer].config.net.timeout;
        self.set_leaving(peer, Leaving::Asking { command, id, until });
        self.send(peer, Packet::Prepare { id, change: Change::Disconnect });
    }

    /// A Primary does not leave, and outdate, the only good copy there is.
    fn can_do_without(&self, peer: PeerIndex) -> Result<(), CommandError> {
        for volume in self.volume_indexes() {
            let state = &self.volumes[volume];
            let others =
                self.peer_indexes().any(|other| other != peer && self.serves(other, volume));
            if self.role == Role::Primary
                && state.disk_state() != DiskState::UpToDate
                && self.serves(peer, volume)
                && !others
            {
                let advice =
                    "the peer has the only good copy; 'disconnect --force' does without".to_owned();
                let (volume, disk) = (state.number, state.disk_state());
                return Err(CommandError::NeedUpToDate { volume, disk, advice });
            }
        }
        Ok(())
    }

    /// Whether this node's disk is Outdated for what is to come only: it gets every write of the
    /// peer as long as the session stands.
    pub(crate) fn outdates_itself(&self, peer: PeerIndex, volume: VolumeIndex) -> bool {
        let outdated = self.connections[peer].session().is_some_and(|it| it.outdated);
        let replication = self.connections[peer].devices[volume].replication;
        outdated
            && replication == Replication::Established
            && self.volumes[volume].disk_state() == DiskState::Outdated
    }

    fn set_leaving(&mut self, peer: PeerIndex, leaving: Leaving) {
        let session = self.connections[peer].session_mut().expect("leaving is of a session");
        session.leaving = Some(leaving);
        self.unsettled = true;
    }

    /// The peer wants to leave.
    pub(crate) fn consent_to_leaving(&mut self, peer: PeerIndex, id: RequestId) {
        let session = self.connections[peer].session().expect("packets come on a session");
        if session.leaving.is_some() {
            // Both leave: each does for itself what is to be done.
            return self.send(peer, Packet::PrepareReply { id, vote: Vote::Yes });
        }
        if self.can_do_without(peer).is_err() {
            return self.send(peer, Packet::PrepareReply { id, vote: Vote::NeedUpToDate });
        }
        let tickets = self.outdate_for(peer);
        self.set_leaving(peer, Leaving::Consenting { id, tickets });
    }

    /// The peer's answer to this node's leaving. False where nothing of that name is open.
    pub(crate) fn leaving_vote(&mut self, peer: PeerIndex, id: RequestId, vote: Vote) -> bool {
        let session = self.connections[peer].session_mut().expect("packets come on a session");
        if matches!(session.leaving, Some(Leaving::Telling { id: open, .. }) if open == id) {
            self.drop_to_standalone(peer, "disconnected by the operator");
            return true;
        }
        let Some(Leaving::Asking { command, id: open, .. }) = session.leaving else {
            return false;
        };
        if open != id {
            return false;
        }
        if vote == Vote::NeedUpToDate {
            session.leaving = None;
            let name = &self.connections[peer].config.name;
            let text = format!(
                "{name} is Primary and this node has the only good copy; demote {name} first, or \
                 use 'disconnect --force'"
            );
            match command {
                Some(command) => self.done(command, Err(CommandError::Refused(text))),
                None => self.down_refused(peer, &text),
            }
            return true;
        }
        let tickets = self.outdate_for(peer);
        self.set_leaving(peer, Leaving::Outdating { command, tickets });
        true
    }

    /// Marks this node's disks as older than what the peer, a Primary, writes from here on without
    /// it.
    pub(crate) fn outdate_for(&mut self, peer: PeerIndex) -> Vec<(VolumeIndex, Ticket)> {
        if self.connections[peer].peer_role != Role::Primary {
            return Vec::new();
        }
        self.connections[peer].session_mut().expect("one side leaves a session").outdated = true;
        self.outdate_all()
    }

    /// Marks every good disk of this node as older than the Primary's.
    pub(crate) fn outdate_all(&mut self) -> Vec<(VolumeIndex, Ticket)> {
        let mut tickets = Vec::new();
        for volume in self.volume_indexes() {
            if self.volumes[volume].attached().is_some_and(|it| it.state > DiskState::Outdated) {
                tickets.push((volume, self.outdate(volume)));
            }
        }
        tickets
    }

    /// Marks an attached disk as older than the Primary's; durable with the ticket.
    pub(crate) fn outdate(&mut self, volume: VolumeIndex) -> Ticket {
        let attached = self.volumes[volume].attached_mut().expect("its disk is attached");
        attached.state = DiskState::Outdated;
        attached.store.set_disk_state(DiskState::Outdated);
        self.commit(volume, false)
    }

    pub(crate) fn advance_leaving(&mut self, peer: PeerIndex) {
        let Some(session) = self.connections[peer].session() else {
            return;
        };
        match &session.leaving {
            Some(Leaving::Asking { command, until, .. }) if *until <= self.now => {
                let command = *command;
                if command.is_none() {
                    // `down` does not wait for a peer that does not answer.
                    return self.drop_to_standalone(peer, "disconnected by the operator");
                }
                let name = self.connections[peer].config.name.clone();
                self.connections[peer].session_mut().expect("seen above").leaving = None;
                self.end_command(command, Err(CommandError::Timeout { peer: name }));
                // The peer may have outdated itself for nothing: that is put right by meeting anew.
                self.renegotiate(peer, "the peer did not answer in time");
            }
            Some(Leaving::Outdating { command, tickets }) if self.all_durable(tickets) => {
                let (command, asked) = (*command, tickets.is_empty());
                self.end_leaving(peer, command, asked);
            }
            Some(Leaving::Telling { until, .. }) if *until <= self.now => {
                self.drop_to_standalone(peer, "disconnected by the operator");
            }
            Some(Leaving::Consenting { id, tickets }) if self.all_durable(tickets) => {
                let id = *id;
                self.connections[peer].session_mut().expect("seen above").leaving = None;
                for volume in self.volume_indexes() {
                    self.send_state(peer, volume);
                }
                self.send(peer, Packet::PrepareReply { id, vote: Vote::Yes });
            }
            Some(
                Leaving::Asking { .. }
                | Leaving::Outdating { .. }
                | Leaving::Telling { .. }
                | Leaving::Consenting { .. },
            )
            | None => {}
        }
    }

    /// This node goes. A Primary that it has outdated itself for hears of that first: the answer to
    /// a second question comes behind what was told before.
    fn end_leaving(&mut self, peer: PeerIndex, command: Option<CommandId>, is_told: bool) {
        if is_told {
            return self.drop_to_standalone(peer, "disconnected by the operator");
        }
        for volume in self.volume_indexes() {
            self.send_state(peer, volume);
        }
        self.next_request += 1;
        let id = RequestId(self.next_request);
        let until = self.now + self.connections[peer].config.net.timeout;
        self.set_leaving(peer, Leaving::Telling { command, id, until });
        self.send(peer, Packet::Prepare { id, change: Change::Disconnect });
    }

    pub(crate) fn leaving_deadline(&self, peer: PeerIndex) -> Option<Instant> {
        match self.connections[peer].session()?.leaving {
            Some(Leaving::Asking { until, .. } | Leaving::Telling { until, .. }) => Some(until),
            Some(Leaving::Outdating { .. } | Leaving::Consenting { .. }) | None => None,
        }
    }
}
