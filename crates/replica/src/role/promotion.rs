//! Promotion: good data, no other Primary, every peer's vote, and a durable mark, in this order.

use super::{Aim, Promotion, RoleChange};
use crate::action::{CommandId, Severity};
use crate::error::CommandError;
use crate::peers::{PeerIndex, PeerSet, VolumeIndex};
use crate::resource::Resource;
use crate::time::Instant;
use tandem_wire::{Change, DiskState, Packet, RequestId, Role, Vote};

impl Resource {
    pub(crate) fn begin_promotion(&mut self, command: CommandId, aim: Aim) {
        if self.role_change.is_some() {
            return self.done(command, Err(CommandError::Concurrent));
        }
        if self.role == Role::Primary && matches!(aim, Aim::Primary { .. }) {
            return self.done(command, Ok(()));
        }
        for peer in self.peer_indexes() {
            if self.connections[peer].is_running() {
                self.ping(peer);
            }
        }
        self.unwaive_fences();
        let until = self.now + self.config.promote_timeout;
        let step = Promotion::Waiting { until };
        self.role_change = Some(RoleChange::Promoting { command, aim, step });
        self.unsettled = true;
    }

    pub(super) fn try_promotion(&mut self, until: Instant) {
        let overdue = until <= self.now;
        let primary = self.connections.iter().find(|c| c.peer_role == Role::Primary);
        let obstacle = if let Some(connection) = primary {
            Some(CommandError::PeerIsPrimary { peer: connection.config.name.clone() })
        } else if self.connections.iter().any(|c| c.in_handshake()) {
            let text = "a connection is being negotiated; try again when it is Connected";
            Some(CommandError::Refused(text.to_owned()))
        } else if self.connections.iter().any(|c| !c.inbound.is_idle()) {
            // Acked in protocol B: what the lost peer sent is in its order before anything new.
            let text = "the disk is still writing what the lost peer sent; try again";
            Some(CommandError::Refused(text.to_owned()))
        } else if self.connections.iter().any(|c| c.granted.is_some()) {
            Some(CommandError::Concurrent)
        } else {
            None
        };
        match obstacle {
            Some(error) if overdue => return self.end_promotion(Err(error)),
            Some(_) => return,
            None => {}
        }
        let Some(RoleChange::Promoting { aim, .. }) = self.role_change else {
            return;
        };
        if let Err(error) = self.can_have(aim) {
            return self.end_promotion(Err(error));
        }
        if self.peer_indexes().any(|peer| self.must_fence(peer, aim.is_forced())) {
            return self.set_promotion(Promotion::Fencing);
        }
        self.next_request += 1;
        let id = RequestId(self.next_request);
        let mut awaiting = PeerSet::default();
        for peer in self.peer_indexes() {
            if self.connections[peer].is_running() {
                self.send(peer, Packet::Prepare { id, change: Change::Promote });
                awaiting.insert(peer);
            }
        }
        let until = self.now + self.vote_timeout();
        self.set_promotion(Promotion::Voting { id, awaiting, until });
    }

    fn can_have(&self, aim: Aim) -> Result<(), CommandError> {
        match aim {
            Aim::Primary { force } => self.has_good_data(force),
            Aim::Data { volume, .. } => self.has_no_data(volume),
        }
    }

    /// Whether every volume can be served with the newest data known.
    fn has_good_data(&self, force: bool) -> Result<(), CommandError> {
        for volume in self.volume_indexes() {
            let disk = self.volumes[volume].disk_state();
            let number = self.volumes[volume].number;
            if self.is_behind(volume) {
                let text = format!(
                    "volume {number} is Behind its peer, which has newer data; wait until it has \
                     caught up, or disconnect and use --force to go on with older data"
                );
                return Err(CommandError::Refused(text));
            }
            let forced = force && self.volumes[volume].is_attached();
            if self.has_data(volume) || forced {
                continue;
            }
            let advice = match disk {
                DiskState::Consistent => {
                    "this node restarted and has not met its peer since, whose data may be newer; \
                     connect it, or use --force to go on with what is here"
                }
                DiskState::Outdated => {
                    "the peer has newer data; connect it, or use --force to go back to what is here"
                }
                DiskState::Inconsistent => {
                    "this disk was never synced, or a resync was interrupted; connect an UpToDate \
                     peer, or use --force to declare what is here the newest data"
                }
                DiskState::Diskless
                | DiskState::Attaching
                | DiskState::Failed
                | DiskState::Negotiating
                | DiskState::DUnknown
                | DiskState::UpToDate => "attach a disk, or connect an UpToDate peer",
            };
            let advice = advice.to_owned();
            return Err(CommandError::NeedUpToDate { volume: number, disk, advice });
        }
        Ok(())
    }

    /// Everybody agreed, or is gone: what was good data at the start may be gone with them.
    pub(super) fn votes_in(&mut self) {
        let Some(RoleChange::Promoting { aim, .. }) = self.role_change else { return };
        if self.peer_indexes().any(|peer| self.must_fence(peer, aim.is_forced())) {
            return self.promote_anew(); // it was lost while it voted
        }
        match (self.can_have(aim), aim) {
            (Ok(()), Aim::Primary { force }) => self.save_promotion(force),
            (Ok(()), Aim::Data { volume, initial }) => self.save_data(volume, initial),
            (Err(error), _) => self.end_promotion(Err(error)),
        }
    }

    /// Goes on when every lost peer is out of the way, or one is back.
    pub(super) fn advance_promotion_fencing(&mut self) {
        let Some(RoleChange::Promoting { aim, .. }) = self.role_change else { return };
        let is_back = self.connections.iter().any(|it| it.session().is_some());
        if is_back || !self.peer_indexes().any(|peer| self.must_fence(peer, aim.is_forced())) {
            self.promote_anew();
        }
    }

    fn promote_anew(&mut self) {
        let until = self.now + self.config.promote_timeout;
        self.set_promotion(Promotion::Waiting { until });
    }

    /// Fencing has come to nothing.
    pub(crate) fn end_fencing(&mut self, result: Result<(), CommandError>) {
        if let Some(RoleChange::Promoting { step: Promotion::Fencing, .. }) = self.role_change {
            self.end_promotion(result);
        }
    }

    fn save_promotion(&mut self, force: bool) {
        let Some(RoleChange::Promoting { step: Promotion::Voting { id, .. }, .. }) =
            self.role_change
        else {
            unreachable!("votes belong to a promotion");
        };
        for peer in self.peer_indexes() {
            if self.connections[peer].is_running() {
                self.send(peer, Packet::Commit { id });
            }
        }
        let mut tickets = Vec::new();
        for volume in self.volume_indexes() {
            // Good data at a peer are served from there: force is for where there are none.
            if force && !self.has_data(volume) {
                self.force_up_to_date(volume);
            }
            let Some(attached) = self.volumes[volume].attached_mut() else {
                continue;
            };
            let capacity = attached.store.layout().data_bytes();
            let superblock = attached.store.superblock_mut();
            if superblock.effective_bytes == 0 {
                superblock.effective_bytes = capacity;
            }
            self.volumes[volume].size_bytes = superblock.effective_bytes;
            self.mark_sessions(volume, true);
            self.mark_primary(volume);
            // From here on only bits on disk and the log are found after a crash.
            tickets.push((volume, self.commit(volume, true)));
        }
        self.set_promotion(Promotion::Saving(tickets));
        self.unsettled = true;
    }

    /// The operator declares what is on this disk to be the newest data.
    pub(super) fn force_up_to_date(&mut self, volume: VolumeIndex) {
        let fresh = self.entropy.uuid();
        let peers = self.peer_indexes();
        let Some(attached) = self.volumes[volume].attached_mut() else {
            return;
        };
        if attached.state == DiskState::UpToDate {
            return;
        }
        attached.state = DiskState::UpToDate;
        let old = attached.store.superblock().current_uuid;
        attached.store.adopt_current(fresh);
        attached.store.set_disk_state(DiskState::UpToDate);
        attached.store.superblock_mut().flags.crashed_primary = false;
        for peer in peers {
            if old.is_real() && !attached.store.peer(peer).is_apart(old) {
                attached.store.track_from(peer, old);
            }
        }
        self.decide_anew = true;
    }

    /// The marks are on disk; a disk that was attached meanwhile gets its own first.
    pub(super) fn marks_durable(&mut self) {
        if let Some(RoleChange::Promoting { aim: Aim::Data { volume, .. }, .. }) = self.role_change
        {
            return self.data_saved(volume);
        }
        let mut tickets = Vec::new();
        for volume in self.volume_indexes() {
            if self.lacks_mark(volume) {
                self.mark_primary(volume);
                tickets.push((volume, self.commit(volume, true)));
            }
        }
        if tickets.is_empty() {
            return self.promoted();
        }
        self.set_promotion(Promotion::Saving(tickets));
    }

    fn promoted(&mut self) {
        self.role = Role::Primary;
        self.end_promotion(Ok(()));
        self.keep_data();
        self.part_from_fenced();
        if std::mem::take(&mut self.decide_anew) {
            for peer in self.peer_indexes() {
                self.renegotiate(peer, "this node was promoted by force");
            }
        }
        self.broadcast_states();
    }

    /// A Primary cannot discard its data: what was said before the promotion does not count for
    /// what its clients write from here on.
    fn keep_data(&mut self) {
        for peer in self.peer_indexes() {
            if std::mem::take(&mut self.connections[peer].discard_my_data) {
                let text = "connect --discard-my-data is taken back: this node was promoted, and \
                            its data are in use";
                self.note(None, Some(peer), Severity::Warning, text.to_owned());
            }
        }
    }

    pub(super) fn end_promotion(&mut self, result: Result<(), CommandError>) {
        let Some(RoleChange::Promoting { command, step, .. }) = self.role_change.take() else {
            unreachable!("only a promotion ends as one");
        };
        if let (Promotion::Voting { id, .. }, Err(_)) = (step, &result) {
            for peer in self.peer_indexes() {
                if self.connections[peer].is_running() {
                    self.send(peer, Packet::Abort { id });
                }
            }
        }
        self.unsettled = true;
        self.done(command, result);
    }

    pub(super) fn set_promotion(&mut self, next: Promotion) {
        if let Some(RoleChange::Promoting { step, .. }) = &mut self.role_change {
            *step = next;
        }
        self.unsettled = true;
    }

    pub(super) fn votes_overdue(&mut self) {
        let Some(RoleChange::Promoting { step: Promotion::Voting { awaiting, .. }, .. }) =
            &self.role_change
        else {
            return;
        };
        let silent = awaiting.iter().next().expect("overdue votes are missing");
        let peer = self.connections[silent].config.name.clone();
        self.end_promotion(Err(CommandError::Timeout { peer }));
    }

    /// A peer's vote on this node's promotion. False where none is open under that name.
    pub(crate) fn promotion_vote(&mut self, peer: PeerIndex, id: RequestId, vote: Vote) -> bool {
        let Some(RoleChange::Promoting {
            step: Promotion::Voting { id: open, awaiting, .. }, ..
        }) = &mut self.role_change
        else {
            return false;
        };
        if *open != id {
            return false;
        }
        let name = self.connections[peer].config.name.clone();
        match vote {
            Vote::Yes => {
                awaiting.remove(peer);
                self.unsettled = true;
            }
            Vote::PeerIsPrimary => {
                self.end_promotion(Err(CommandError::PeerIsPrimary { peer: name }));
            }
            Vote::Concurrent => self.end_promotion(Err(CommandError::Concurrent)),
            Vote::NeedUpToDate => {
                let text = format!("{name} has newer data");
                self.end_promotion(Err(CommandError::Refused(text)));
            }
        }
        true
    }

    /// A peer that is gone has no vote.
    pub(crate) fn promotion_link_lost(&mut self, peer: PeerIndex) {
        if let Some(RoleChange::Promoting { step: Promotion::Voting { awaiting, .. }, .. }) =
            &mut self.role_change
        {
            awaiting.remove(peer);
        }
    }

    /// A peer wants to become Primary.
    pub(crate) fn vote_on_promotion(&mut self, peer: PeerIndex, id: RequestId) {
        let own = self.config.node_id;
        let vote = match &self.role_change {
            Some(RoleChange::Promoting { step: Promotion::Saving(_), aim, .. }) => match aim {
                Aim::Primary { .. } => Vote::PeerIsPrimary,
                Aim::Data { .. } => Vote::Concurrent,
            },
            Some(RoleChange::Promoting { step: Promotion::Voting { .. }, .. })
                if own < self.connections[peer].config.node_id =>
            {
                Vote::Concurrent
            }
            Some(RoleChange::Promoting { step: Promotion::Voting { .. }, .. }) => {
                self.end_promotion(Err(CommandError::Concurrent));
                Vote::Yes
            }
            _ if self.role == Role::Primary => Vote::PeerIsPrimary,
            _ if self.is_resizing() => Vote::Concurrent,
            _ => Vote::Yes,
        };
        if vote == Vote::Yes {
            self.connections[peer].granted = Some((id, Change::Promote));
        }
        self.send(peer, Packet::PrepareReply { id, vote });
    }
}
