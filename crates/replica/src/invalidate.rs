//! Data that are declared wrong: this node's, or a peer's. Everything, or what bits say already, is
//! copied from the other one.
//!
//! Connected, it takes both nodes: whoever keeps his data has said that they are good and that he
//! does not give up his own at this moment, before the other one's are marked. So two commands that
//! cross leave one good copy. Where both ask, the lower node id's word counts. What is marked is
//! durable before the session ends and the next handshake decides.
//!
//! A node that is StandAlone only marks its own.

use tandem_wire::{DiskState, Invalidated, Packet, RequestId, Role, VolumeNumber, Vote};

use crate::action::CommandId;
use crate::connection::Link;
use crate::error::{CommandError, PeerError};
use crate::peers::{PeerIndex, VolumeIndex};
use crate::resource::Resource;
use crate::store::Ticket;
use crate::time::Instant;

/// An invalidation that an operator asked this node for.
#[derive(Debug)]
pub(crate) struct Invalidation {
    command: CommandId,
    volume: VolumeIndex,
    /// Who is asked; nobody where this node only marks its data.
    peer: Option<PeerIndex>,
    whose: Invalidated,
    reset_bitmap: bool,
    stage: Stage,
}

#[derive(Clone, Copy, Debug)]
enum Stage {
    /// The peer has been asked.
    Asking { id: RequestId, until: Instant },
    /// The peer has agreed. What this node, a Primary, has written goes to the peer's disk before
    /// its own counts for nothing; new writes wait.
    Draining { id: RequestId, until: Instant },
    /// This node's data are being marked.
    Marking(Ticket),
}

/// What this node has agreed to.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Consent {
    id: RequestId,
    volume: VolumeIndex,
    /// Its own data are being marked: it agrees when that is durable.
    marking: Option<Ticket>,
}

impl Resource {
    /// All local data are wrong.
    pub(crate) fn begin_invalidate(
        &mut self,
        command: CommandId,
        volume: VolumeIndex,
        reset_bitmap: bool,
    ) -> Result<(), CommandError> {
        if !self.volumes[volume].is_attached() {
            return Err(CommandError::NoDisk { volume: self.volumes[volume].number });
        }
        let alone = self.connections.iter().all(|it| matches!(it.link, Link::StandAlone));
        if alone && self.role == Role::Secondary && self.role_change.is_none() {
            let ticket = self.mark_invalid(volume, None, reset_bitmap);
            let (whose, stage) = (Invalidated::Sender, Stage::Marking(ticket));
            let peer = None;
            let entry = Invalidation { command, volume, peer, whose, reset_bitmap, stage };
            self.invalidations.push(entry);
            return Ok(());
        }
        let source = self.peer_indexes().find(|peer| self.serves(*peer, volume));
        let Some(peer) = source else {
            let number = self.volumes[volume].number;
            return Err(CommandError::Refused(format!(
                "volume {number}: no connected peer has UpToDate data to copy from; connect one \
                 first, or disconnect a Secondary to mark its data only"
            )));
        };
        self.ask_to_invalidate(command, volume, peer, Invalidated::Sender, reset_bitmap)
    }

    /// All of a peer's data are wrong.
    pub(crate) fn begin_invalidate_remote(
        &mut self,
        command: CommandId,
        volume: VolumeIndex,
        peer: PeerIndex,
        reset_bitmap: bool,
    ) -> Result<(), CommandError> {
        let connection = &self.connections[peer];
        let name = connection.config.name.clone();
        if !self.replicates(peer, volume) {
            let number = self.volumes[volume].number;
            let text = format!(
                "volume {number}: {name} is not connected with a disk; connect it, or attach its \
                 disk there"
            );
            return Err(CommandError::Refused(text));
        }
        if connection.peer_role == Role::Primary {
            return Err(CommandError::PeerIsPrimary { peer: name });
        }
        let disk = self.volumes[volume].disk_state();
        if disk != DiskState::UpToDate {
            let advice = "the data to copy must be good".to_owned();
            let volume = self.volumes[volume].number;
            return Err(CommandError::NeedUpToDate { volume, disk, advice });
        }
        let whose = if reset_bitmap { Invalidated::Receiver } else { Invalidated::ReceiverByBits };
        self.ask_to_invalidate(command, volume, peer, whose, reset_bitmap)
    }

    fn ask_to_invalidate(
        &mut self,
        command: CommandId,
        volume: VolumeIndex,
        peer: PeerIndex,
        whose: Invalidated,
        reset_bitmap: bool,
    ) -> Result<(), CommandError> {
        let connection = &self.connections[peer];
        let busy = self.invalidations.iter().any(|open| open.peer == Some(peer));
        if busy || connection.consent.is_some() {
            return Err(CommandError::Concurrent);
        }
        let until = self.now + connection.config.net.timeout;
        self.next_request += 1;
        let id = RequestId(self.next_request);
        let number = self.volumes[volume].number;
        self.send(peer, Packet::Invalidate { id, volume: number, whose });
        let (peer, stage) = (Some(peer), Stage::Asking { id, until });
        let entry = Invalidation { command, volume, peer, whose, reset_bitmap, stage };
        self.invalidations.push(entry);
        Ok(())
    }

    /// This node's data are worth nothing from here on; durable with the ticket.
    fn mark_invalid(
        &mut self,
        volume: VolumeIndex,
        peer: Option<PeerIndex>,
        reset_bitmap: bool,
    ) -> Ticket {
        let peers: Vec<PeerIndex> = peer.map_or_else(|| self.peer_indexes().collect(), |p| vec![p]);
        self.forget_exposed(volume);
        let attached = self.volumes[volume].attached_mut().expect("the caller has seen its disk");
        attached.state = DiskState::Inconsistent;
        attached.store.set_disk_state(DiskState::Inconsistent);
        for peer in peers.into_iter().filter(|_| reset_bitmap) {
            attached.bitmaps[peer].set_all();
        }
        self.commit(volume, true)
    }

    /// A peer wants to invalidate its data or this node's.
    pub(crate) fn peer_invalidates(
        &mut self,
        peer: PeerIndex,
        number: VolumeNumber,
        id: RequestId,
        whose: Invalidated,
    ) -> Result<(), PeerError> {
        let volume = self.volume_of_peer(number)?;
        let vote = self.vote_on_invalidation(peer, volume, whose);
        if vote != Vote::Yes {
            self.send(peer, Packet::PrepareReply { id, vote });
            return Ok(());
        }
        let marking = match whose {
            Invalidated::Sender => {
                self.send(peer, Packet::PrepareReply { id, vote });
                None
            }
            Invalidated::Receiver => Some(self.mark_invalid(volume, Some(peer), true)),
            Invalidated::ReceiverByBits => Some(self.mark_invalid(volume, Some(peer), false)),
        };
        self.connections[peer].consent = Some(Consent { id, volume, marking });
        self.unsettled = true;
        Ok(())
    }

    fn vote_on_invalidation(
        &mut self,
        peer: PeerIndex,
        volume: VolumeIndex,
        whose: Invalidated,
    ) -> Vote {
        if self.connections[peer].consent.is_some() {
            return Vote::Concurrent;
        }
        // Both ask, and want different nodes to lose.
        let is_sender = |whose| whose == Invalidated::Sender;
        let crossed = self.invalidations.iter().position(|open| {
            let asking = matches!(open.stage, Stage::Asking { .. });
            let same = open.peer == Some(peer) && open.volume == volume;
            asking && same && is_sender(open.whose) == is_sender(whose)
        });
        if let Some(index) = crossed {
            if self.config.node_id < self.connections[peer].config.node_id {
                return Vote::Concurrent;
            }
            let open = self.invalidations.remove(index);
            self.done(open.command, Err(CommandError::Concurrent));
        }
        let own = self.volumes[volume].disk_state();
        match whose {
            Invalidated::Sender if self.is_detaching(volume) => Vote::Concurrent,
            Invalidated::Sender if own == DiskState::UpToDate => Vote::Yes,
            Invalidated::Sender => Vote::NeedUpToDate,
            Invalidated::Receiver | Invalidated::ReceiverByBits
                if self.role == Role::Primary || self.role_change.is_some() =>
            {
                Vote::PeerIsPrimary
            }
            Invalidated::Receiver | Invalidated::ReceiverByBits
                if own >= DiskState::Inconsistent && self.has_good_disk(peer, volume) =>
            {
                Vote::Yes
            }
            Invalidated::Receiver | Invalidated::ReceiverByBits => Vote::NeedUpToDate,
        }
    }

    /// Whether a peer gives its data up for this node's, and the next handshake has not come.
    pub(crate) fn is_to_be_source(&self, volume: VolumeIndex) -> bool {
        let consents = self.connections.iter().filter_map(|it| it.consent);
        consents.into_iter().any(|it| it.volume == volume)
            && self.volumes[volume].disk_state() == DiskState::UpToDate
    }

    /// A peer's vote on this node's invalidation. False where none is open under that name.
    pub(crate) fn invalidation_vote(&mut self, peer: PeerIndex, id: RequestId, vote: Vote) -> bool {
        let named =
            |open: &Invalidation| matches!(open.stage, Stage::Asking { id: it, .. } if it == id);
        let found =
            self.invalidations.iter().position(|open| open.peer == Some(peer) && named(open));
        let Some(index) = found else { return false };
        let mut open = self.invalidations.remove(index);
        let name = self.connections[peer].config.name.clone();
        let gone = || CommandError::Refused(format!("{name} has no UpToDate data any more"));
        let refusal = match vote {
            Vote::Yes if open.whose != Invalidated::Sender => {
                self.done(open.command, Ok(()));
                self.renegotiate(peer, "the peer's data were invalidated");
                return true;
            }
            Vote::Yes
                if self.volumes[open.volume].is_attached() && self.serves(peer, open.volume) =>
            {
                let until = self.now + self.connections[peer].config.net.timeout;
                open.stage = Stage::Draining { id, until };
                self.invalidations.push(open);
                self.unsettled = true;
                return true;
            }
            Vote::Yes | Vote::NeedUpToDate => gone(),
            Vote::PeerIsPrimary => CommandError::PeerIsPrimary { peer: name },
            Vote::Concurrent => CommandError::Concurrent,
        };
        self.done(open.command, Err(refusal));
        if vote == Vote::Yes {
            self.send(peer, Packet::Abort { id });
        }
        true
    }

    /// Invalidations that have become durable, or waited too long.
    pub(crate) fn advance_invalidations(&mut self) {
        for peer in self.peer_indexes() {
            self.advance_consent(peer);
        }
        self.advance_draining();
        let mut index = 0;
        while let Some(open) = self.invalidations.get(index) {
            let ended = match open.stage {
                Stage::Asking { until, .. } | Stage::Draining { until, .. } => until <= self.now,
                Stage::Marking(ticket) => self.all_durable(&[(open.volume, ticket)]),
            };
            if ended {
                let open = self.invalidations.remove(index);
                self.end_invalidation(&open);
            } else {
                index += 1;
            }
        }
    }

    /// Marks this node's data where the peer has everything durably.
    fn advance_draining(&mut self) {
        let is_draining = |open: &Invalidation| matches!(open.stage, Stage::Draining { .. });
        if !self.invalidations.iter().any(is_draining) {
            return;
        }
        if !self.log.is_empty() || !self.flushes.is_empty() {
            return self.ask_for_barriers();
        }
        for mut open in std::mem::take(&mut self.invalidations) {
            if let (Stage::Draining { id, .. }, Some(peer)) = (open.stage, open.peer) {
                // Either disk may be gone meanwhile, and with it a copy that is needed.
                if !self.volumes[open.volume].is_attached() || !self.serves(peer, open.volume) {
                    let text = "a disk was detached meanwhile".to_owned();
                    self.done(open.command, Err(CommandError::Refused(text)));
                    self.send(peer, Packet::Abort { id });
                    continue;
                }
                let ticket = self.mark_invalid(open.volume, open.peer, open.reset_bitmap);
                open.stage = Stage::Marking(ticket);
            }
            self.invalidations.push(open);
        }
    }

    /// Whether writes wait because this node is giving up data of its own. Those of all volumes:
    /// they have one order, and the session is about to end.
    pub(crate) fn is_giving_up(&self) -> bool {
        let holds = |stage| matches!(stage, Stage::Draining { .. } | Stage::Marking(_));
        self.invalidations.iter().any(|open| holds(open.stage))
    }

    fn end_invalidation(&mut self, open: &Invalidation) {
        match (open.stage, open.peer) {
            (Stage::Asking { .. }, Some(peer)) => {
                let name = self.connections[peer].config.name.clone();
                self.done(open.command, Err(CommandError::Timeout { peer: name }));
                // It may have marked its data for nothing: that is put right by meeting anew.
                self.renegotiate(peer, "the peer did not answer in time");
            }
            (Stage::Draining { id, .. }, Some(peer)) => {
                let name = self.connections[peer].config.name.clone();
                self.done(open.command, Err(CommandError::Timeout { peer: name }));
                self.send(peer, Packet::Abort { id });
            }
            (Stage::Marking(_), Some(peer)) => {
                self.done(open.command, Ok(()));
                self.renegotiate(peer, "data were invalidated by the operator");
            }
            (Stage::Marking(_), None) => self.done(open.command, Ok(())),
            (Stage::Asking { .. } | Stage::Draining { .. }, None) => {
                unreachable!("somebody is asked")
            }
        }
    }

    /// Agrees to what the peer asked for once this node's own data are marked.
    fn advance_consent(&mut self, peer: PeerIndex) {
        let Some(Consent { id, volume, marking: Some(ticket) }) = self.connections[peer].consent
        else {
            return;
        };
        if self.is_durable(volume, ticket) {
            self.connections[peer].consent = Some(Consent { id, volume, marking: None });
            self.send_state(peer, volume);
            self.send(peer, Packet::PrepareReply { id, vote: Vote::Yes });
        }
    }

    /// The peer has given up what this node agreed to.
    pub(crate) fn consent_ends(&mut self, peer: PeerIndex, id: RequestId) {
        let consent = &mut self.connections[peer].consent;
        if consent.is_some_and(|open| open.id == id) {
            *consent = None;
        }
    }

    /// Nobody answers any more.
    pub(crate) fn invalidations_link_lost(&mut self, peer: PeerIndex) {
        self.connections[peer].consent = None;
        let asked = |open: &Invalidation| {
            let waits = matches!(open.stage, Stage::Asking { .. } | Stage::Draining { .. });
            open.peer == Some(peer) && waits
        };
        let (lost, kept) = std::mem::take(&mut self.invalidations).into_iter().partition(asked);
        self.invalidations = kept;
        for Invalidation { command, .. } in lost {
            let text =
                "the connection was lost before the peer had everything; try again".to_owned();
            self.done(command, Err(CommandError::Refused(text)));
        }
    }

    pub(crate) fn invalidation_deadline(&self, peer: PeerIndex) -> Option<Instant> {
        let asked = self.invalidations.iter().filter(|open| open.peer == Some(peer));
        asked
            .filter_map(|open| match open.stage {
                Stage::Asking { until, .. } | Stage::Draining { until, .. } => Some(until),
                Stage::Marking(_) => None,
            })
            .min()
    }
}
