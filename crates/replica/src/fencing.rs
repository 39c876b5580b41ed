//! Fencing: a node goes on without its peer only once the peer is known to be out of the way.
//!
//! A peer is out of the way while its data are known to be older, or unusable, and it cannot have
//! met this node since: it left in good order, was target of a resync, or `fence-peer` says so. On
//! disk that is the flag `outdated` of its slot: a node that finds it when it restarts need not
//! fence again. It is gone, durably, before this node reports in a handshake; in memory it lasts
//! until this node's verdicts let the peer change. That nobody can have gone on without this node
//! its disk tells by a new generation, made at once.
//!
//! A Primary that loses its peer calls the handler when the link has not come back within
//! `ping-timeout`: a peer that only negotiates anew is not shot. With `resource-and-stonith` its
//! I/O is frozen from the loss on. A Secondary calls it before it is promoted.

use tandem_wire::{DiskState, Role, Verdict};

use crate::action::{AttachGeneration, CallId, Handler, Severity};
use crate::config::Fencing;
use crate::connection::{Connection, Phase};
use crate::error::CommandError;
use crate::limits::FENCE_RETRY;
use crate::peer_device::{PeerDevice, Replication};
use crate::peers::{PeerIndex, VolumeIndex};
use crate::resource::Resource;
use crate::role::{Promotion, RoleChange};
use crate::store::Ticket;
use crate::time::Instant;

/// What is known of a peer without a session.
#[derive(Debug, Default)]
pub(crate) struct Fence {
    settled: Option<Settled>,
    /// The handler that runs.
    call: Option<CallId>,
    /// When the session was lost; `None` while one runs or before the first.
    lost_at: Option<Instant>,
    /// A handler that failed is not called again before.
    retry_at: Option<Instant>,
    /// The flag on disk being taken back, and in which opening of the disk.
    forgetting: Vec<(VolumeIndex, AttachGeneration, Ticket)>,
    /// The peer was not in sync yet in this session.
    unfence_due: bool,
    /// It leaves this handshake to ask whether it may be target.
    asks: bool,
}

/// Why nobody waits for the peer to be fenced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Settled {
    /// It is out of the way.
    Fenced,
    /// Somebody said to go on as if it were; or fencing it failed and I/O is not to wait.
    Waived,
}

impl Resource {
    /// The handler asked for by [`Action::Call`](crate::Action::Call) has ended: its exit code,
    /// `None` where there is none.
    pub fn handle_called(&mut self, id: CallId, exit_code: Option<i32>, now: Instant) {
        self.begin_input(now);
        self.unsettled = true;
        // An answer of before the last session says nothing of the peer's present.
        let caller = self.peer_indexes().find(|it| self.connections[*it].fence.call == Some(id));
        if let Some(peer) = caller {
            self.connections[peer].fence.call = None;
            self.fence_answered(peer, exit_code);
        }
        self.permit_answered(id, exit_code);
        self.settle();
    }

    /// Whether I/O is frozen because a lost peer is not known to be out of the way.
    pub(crate) fn lacks_fence(&self) -> bool {
        self.role == Role::Primary && self.peer_indexes().any(|peer| self.awaits_fence(peer))
    }

    /// Whether this node must not go on without the peer, whatever its role.
    pub(crate) fn awaits_fence(&self, peer: PeerIndex) -> bool {
        let connection = &self.connections[peer];
        match connection.config.net.fencing {
            Fencing::DontCare | Fencing::ResourceOnly => false,
            Fencing::ResourceAndStonith => {
                !connection.is_running()
                    && connection.fence.settled.is_none()
                    && !self.is_noted_outdated(peer)
            }
        }
    }

    /// Whether a promotion must see to the peer first.
    pub(crate) fn must_fence(&self, peer: PeerIndex, force: bool) -> bool {
        let connection = &self.connections[peer];
        let settled = match connection.fence.settled {
            Some(Settled::Fenced) => true,
            Some(Settled::Waived) => force,
            None => false,
        };
        connection.config.net.fencing != Fencing::DontCare
            && !connection.is_running()
            && !settled
            && !self.is_noted_outdated(peer)
    }

    /// Whether every disk of this node says that the peer's are older, and no session has begun
    /// since it was attached.
    fn is_noted_outdated(&self, peer: PeerIndex) -> bool {
        self.connections[peer].session().is_none()
            && self.volumes.iter().all(|volume| {
                volume.attached().is_some_and(|it| it.store.peer(peer).flags.outdated)
            })
    }

    /// A session is lost: what its last states say of the peer.
    pub(crate) fn fence_link_lost(&mut self, peer: PeerIndex, phase: &Phase) {
        if self.connections[peer].config.net.fencing == Fencing::DontCare {
            return;
        }
        let stays_behind: fn(&PeerDevice) -> bool = match phase {
            Phase::Running => {
                self.connections[peer].fence.lost_at = Some(self.now);
                |device| {
                    let is_target = device.replication == Replication::SyncSource
                        && device.disk == DiskState::Inconsistent
                        && !device.resync.is_ending();
                    let has_left = device.replication == Replication::Established
                        && device.disk == DiskState::Outdated;
                    is_target || has_left
                }
            }
            // It is to be target, and has not been told from which generation on.
            Phase::Deciding if self.connections[peer].fence.asks => |device| {
                device.verdict == Some(Verdict::Source) && device.disk == DiskState::Outdated
            },
            Phase::Settling(_)
            | Phase::Reporting { .. }
            | Phase::Yielding
            | Phase::Asking { .. }
            | Phase::Deciding
            | Phase::Preparing
            | Phase::Parting { .. } => return,
        };
        if self.connections[peer].devices.iter().all(stays_behind) {
            self.settle_fence(peer);
        }
    }

    /// The peer has told its states. Where its verdicts are due it says by that how it leaves.
    pub(crate) fn fence_peer_told(&mut self, peer: PeerIndex) {
        let session = self.connections[peer].session();
        if session.is_some_and(|it| matches!(it.phase, Phase::Deciding)) {
            self.connections[peer].fence.asks = true;
        }
    }

    /// The peer is out of the way until it meets this node again.
    fn settle_fence(&mut self, peer: PeerIndex) {
        self.connections[peer].fence.settled = Some(Settled::Fenced);
        if self.connections[peer].session().is_none() {
            for volume in self.volume_indexes() {
                if let Some(attached) = self.volumes[volume].attached_mut() {
                    attached.store.peer_mut(peer).flags.outdated = true;
                    self.commit(volume, false);
                }
            }
        }
        self.part_from_fenced();
        self.let_answers_go();
    }

    /// A Primary tells peers that are out of the way apart at once, not by its next write: a disk
    /// that goes now must not be found later in the generation of a peer that was met without it.
    pub(crate) fn part_from_fenced(&mut self) {
        let fenced = |it: &Connection| it.fence.settled == Some(Settled::Fenced);
        if self.role == Role::Primary && self.connections.iter().any(fenced) {
            for volume in self.volume_indexes() {
                self.rotate_generation(volume);
            }
        }
    }

    /// Whether no disk says any more that the peer's data are older: a crash behind the handshake
    /// must not leave what the handshake has made untrue.
    pub(crate) fn fence_is_forgotten(&mut self, peer: PeerIndex) -> bool {
        for volume in self.volume_indexes() {
            let Some(attached) = self.volumes[volume].attached_mut() else { continue };
            let flags = &mut attached.store.peer_mut(peer).flags;
            if std::mem::take(&mut flags.outdated) {
                let ticket = self.commit(volume, false);
                let generation = self.volumes[volume].generation;
                let fence = &mut self.connections[peer].fence;
                fence.forgetting.push((volume, generation, ticket));
                fence.settled.get_or_insert(Settled::Fenced);
            }
        }
        let Self { volumes, connections, .. } = self;
        connections[peer].fence.forgetting.retain(|(volume, generation, ticket)| {
            let volume = &volumes[*volume];
            volume.generation == *generation
                && volume.attached().is_some_and(|it| !it.store.is_durable(*ticket))
        });
        self.connections[peer].fence.forgetting.is_empty()
    }

    /// This node's verdicts are told: from here on the peer may become as good as this node.
    pub(crate) fn forget_fence(&mut self, peer: PeerIndex) {
        let fence = &mut self.connections[peer].fence;
        *fence = Fence { lost_at: fence.lost_at, ..Fence::default() };
    }

    /// A session runs.
    pub(crate) fn fence_link_runs(&mut self, peer: PeerIndex) {
        let unfence_due = self.connections[peer].config.net.fencing != Fencing::DontCare;
        self.connections[peer].fence = Fence { unfence_due, ..Fence::default() };
    }

    /// Calls the handler where it is wanted, or the one that takes back what it did.
    pub(crate) fn advance_fencing(&mut self, peer: PeerIndex) {
        if self.connections[peer].fence.unfence_due && self.is_in_sync_with(peer) {
            self.connections[peer].fence.unfence_due = false;
            let text = "the peer is UpToDate: it needs no fence".to_owned();
            self.call(Handler::UnfencePeer, None, peer, Severity::Info, text);
        }
        if self.fence_deadline(peer).is_some_and(|due| due <= self.now) {
            self.call_fence(peer);
        }
    }

    fn is_in_sync_with(&self, peer: PeerIndex) -> bool {
        self.volume_indexes().all(|volume| {
            let device = &self.connections[peer].devices[volume];
            self.serves(peer, volume)
                && device.replication == Replication::Established
                && self.volumes[volume].disk_state() == DiskState::UpToDate
        })
    }

    /// When the handler is to be called; `None` where it is not.
    pub(crate) fn fence_deadline(&self, peer: PeerIndex) -> Option<Instant> {
        let connection = &self.connections[peer];
        let fence = &connection.fence;
        if connection.session().is_some() || fence.call.is_some() {
            return None;
        }
        match &self.role_change {
            Some(RoleChange::Promoting { aim, step: Promotion::Fencing, .. }) => {
                return self.must_fence(peer, aim.is_forced()).then_some(self.now);
            }
            Some(RoleChange::Promoting { .. } | RoleChange::Demoting { .. }) | None => {}
        }
        // Who has no good data of its own needs the peer's.
        let needed = self.role == Role::Primary
            && fence.settled.is_none()
            && self.must_fence(peer, true)
            && self.has_own_data();
        let grace_ends = fence.lost_at.map(|lost_at| lost_at + connection.config.net.ping_timeout);
        needed.then(|| grace_ends.max(fence.retry_at).unwrap_or(self.now))
    }

    fn has_own_data(&self) -> bool {
        self.volumes.iter().all(|volume| volume.disk_state() == DiskState::UpToDate)
    }

    fn call_fence(&mut self, peer: PeerIndex) {
        let text = if self.lacks_fence() {
            "the peer is lost: I/O is frozen until fence-peer says that it is out of the way, the \
             peer is back, or resume-io"
        } else {
            "the peer is not known to be out of the way: calling fence-peer"
        };
        self.connections[peer].reason = Some(text.to_owned());
        self.note(None, Some(peer), Severity::Warning, text.to_owned());
        let id = self.call_and_wait(Handler::FencePeer, None, peer);
        self.connections[peer].fence.call = Some(id);
    }

    /// DRBD's exit codes: 3 the peer is Inconsistent, 4 it is Outdated now, 5 it is dead, 6 it is
    /// Primary, 7 it was shot.
    fn fence_answered(&mut self, peer: PeerIndex, exit_code: Option<i32>) {
        let what = match exit_code {
            Some(3) => "the peer's data are Inconsistent",
            Some(4) => "the peer's data are Outdated",
            Some(5) if self.has_own_data() => "the peer is dead",
            Some(7) => "the peer was shot",
            Some(6) => return self.fence_met_primary(peer),
            Some(code) => {
                return self.fence_failed(peer, &format!("fence-peer failed (exit code {code})"));
            }
            None => return self.fence_failed(peer, "there is no answer of fence-peer"),
        };
        let text = format!("{what}: going on without it");
        self.connections[peer].reason = Some(text.clone());
        self.note(None, Some(peer), Severity::Warning, text);
        self.settle_fence(peer);
    }

    /// The peer goes on, so this node does not: its data will be the older ones.
    fn fence_met_primary(&mut self, peer: PeerIndex) {
        let name = self.connections[peer].config.name.clone();
        if self.role == Role::Primary {
            return self.fence_failed(peer, "fence-peer says that the peer is Primary");
        }
        self.outdate_all();
        self.end_fencing(Err(CommandError::PeerIsPrimary { peer: name }));
    }

    fn fence_failed(&mut self, peer: PeerIndex, what: &str) {
        if self.role == Role::Primary {
            let is_frozen = self.lacks_fence();
            let fence = &mut self.connections[peer].fence;
            let then = if is_frozen {
                fence.retry_at = Some(self.now + FENCE_RETRY);
                "I/O stays frozen until it is back, fenced (it is tried again), or resume-io"
            } else {
                fence.settled = Some(Settled::Waived);
                "going on without"
            };
            let text = format!("{what}: {then}");
            self.connections[peer].reason = Some(text.clone());
            return self.note(None, Some(peer), Severity::Error, text);
        }
        let Some(RoleChange::Promoting { aim, step: Promotion::Fencing, .. }) = self.role_change
        else {
            return;
        };
        if aim.is_forced() {
            self.connections[peer].fence.settled = Some(Settled::Waived);
            let text = format!("{what}: forced to go on, which may be a split brain");
            return self.note(None, Some(peer), Severity::Error, text);
        }
        let name = self.connections[peer].config.name.clone();
        self.end_fencing(Err(CommandError::NotFenced { peer: name, what: what.to_owned() }));
    }

    /// `resume-io`: the operator takes it on himself.
    pub(crate) fn waive_fences(&mut self) {
        for peer in self.peer_indexes() {
            if self.role == Role::Primary && self.awaits_fence(peer) {
                self.connections[peer].fence.settled = Some(Settled::Waived);
                let text = "going on without a fence, as told".to_owned();
                self.note(None, Some(peer), Severity::Warning, text);
            }
        }
    }

    /// A new attempt at a promotion trusts nobody's word of before.
    pub(crate) fn unwaive_fences(&mut self) {
        for connection in self.connections.iter_mut() {
            if connection.fence.settled == Some(Settled::Waived) {
                connection.fence.settled = None;
            }
        }
    }
}
