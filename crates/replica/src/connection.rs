//! One connection: the link to one peer, what is agreed on it, what is under way on it.
//!
//! A session lives from a link's coming up to its going down. It begins with the handshake
//! (`handshake`), in which new writes wait; it runs once every volume is ready on both sides.
//! Anything that needs a new decision about who copies from whom (a disk attached, invalidated,
//! forced) ends the session and begins another: there is one way to decide, and it starts from two
//! fresh reports.

use std::time::Duration;

use tandem_wire::{DiskState, Packet, Protocol, RequestId, Role};

use crate::action::{Action, LinkSession, Severity};
use crate::config::PeerConfig;
use crate::decision::Side;
use crate::handshake::PeerReport;
use crate::invalidate::Consent;
use crate::leave::Leaving;
use crate::limits::CONNECT_PAUSE_FIRST;
use crate::outbound::Outbound;
use crate::peer_device::{PeerDevice, Replication};
use crate::peer_request::Inbound;
use crate::peers::{List, PeerIndex, VolumeIndex};
use crate::resource::Resource;
use crate::status::SyncState;
use crate::store::Ticket;
use crate::time::Instant;

mod signs;

use signs::Signs;

/// Where the link stands.
#[derive(Debug)]
pub(crate) enum Link {
    /// Apart until `connect`.
    StandAlone,
    /// The next attempt comes at this time.
    Waiting(Instant),
    /// An attempt is under way.
    Attempting,
    /// Up.
    Up(Session),
}

/// One session.
#[derive(Debug)]
pub(crate) struct Session {
    pub(crate) id: LinkSession,
    /// Names it on both nodes.
    pub(crate) session_id: u64,
    pub(crate) protocol: Protocol,
    pub(crate) phase: Phase,
    /// When it began, or last got on with the bitmaps.
    pub(crate) moved_at: Instant,
    /// One side is ending the connection in good order.
    pub(crate) leaving: Option<Leaving>,
    /// For that, this node's disks were marked as older than what is to come.
    pub(crate) outdated: bool,
}

impl Session {
    /// Whether the peer has been told what this node's data are, and has not begun to use it.
    pub(crate) fn has_reported(&self) -> bool {
        !matches!(self.phase, Phase::Settling(_) | Phase::Parting { .. } | Phase::Running)
    }
}

/// How far the handshake has come.
#[derive(Debug)]
pub(crate) enum Phase {
    /// This node still changes what it would report: an old session's requests, a rotation.
    Settling(PeerReport),
    /// Its report is sent, volume by volume; the peer's is coming.
    Reporting { report: PeerReport, sent: Vec<Side> },
    /// Decided, and this node, a Primary, will lose its changes: it is being demoted before the
    /// peer hears of it.
    Yielding,
    /// Decided, and an operator's program is to agree first: what that takes is being written.
    Asking { volumes: Vec<VolumeIndex>, tickets: Vec<(VolumeIndex, Ticket)> },
    /// Both decided; the peer's verdicts are coming.
    Deciding,
    /// Bitmaps are exchanged, metadata written.
    Preparing,
    /// The verdicts forbid to go on; the link ends at this time, so that the peer gets ours. Then
    /// this node tries again, or is StandAlone.
    Parting { until: Instant, retry: bool },
    /// Every volume is ready on both sides.
    Running,
}

/// What was written to this node's disks in the last session and since.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Leftovers {
    /// Nothing that a power loss could take.
    Durable,
    /// Writes that were not flushed, maybe.
    Volatile,
    /// This many disks are being flushed.
    Flushing(usize),
}

/// The connection to one peer.
#[derive(Debug)]
pub(crate) struct Connection {
    pub(crate) config: PeerConfig,
    pub(crate) link: Link,
    pub(crate) pause: Duration,
    /// This node ended the session to decide anew; requests wait for the next one until this time.
    pub(crate) renegotiating: Option<Instant>,
    pub(crate) discard_my_data: bool,
    /// It connects to find out what that would come to, and no further.
    pub(crate) on_trial: bool,
    pub(crate) sync_state: SyncState,
    pub(crate) reason: Option<String>,
    pub(crate) peer_role: Role,
    /// The change of the peer that this node has agreed to.
    pub(crate) granted: Option<(RequestId, tandem_wire::Change)>,
    /// Data that the peer declares wrong, with this node's consent.
    pub(crate) consent: Option<Consent>,
    pub(crate) devices: List<PeerDevice>,
    pub(crate) inbound: Inbound,
    pub(crate) outbound: Outbound,
    /// What a resync to this node has under way.
    pub(crate) pieces: crate::slab::Slab<crate::resync::Piece>,
    /// What an online verify from this node has under way.
    pub(crate) comparisons: crate::slab::Slab<crate::verify::Comparison>,
    /// What the last session brought, and whether it may still be lost with the power.
    pub(crate) leftovers: Leftovers,
    /// What is known of the peer while no session runs.
    pub(crate) fence: crate::fencing::Fence,
    /// Whether this node may be target of the next resync.
    pub(crate) permit: crate::permit::Permit,
    /// Something of the last session may not have been carried out yet.
    pub(crate) undrained: bool,
    pub(crate) signs: Signs,
    /// Answers owed by the peer beside those to writes, and when the last one came.
    answers_owed: u32,
    answered_at: Instant,
}

impl Connection {
    pub(crate) fn new(config: PeerConfig, volumes: usize, now: Instant) -> Self {
        Self {
            outbound: Outbound::new(&config.net),
            config,
            link: Link::StandAlone,
            pause: CONNECT_PAUSE_FIRST,
            renegotiating: None,
            discard_my_data: false,
            on_trial: false,
            sync_state: SyncState::Normal,
            reason: None,
            peer_role: Role::Unknown,
            granted: None,
            consent: None,
            devices: (0..volumes).map(|_| PeerDevice::new()).collect(),
            inbound: Inbound::default(),
            pieces: crate::slab::Slab::default(),
            comparisons: crate::slab::Slab::default(),
            // A process that was killed may have left some.
            leftovers: Leftovers::Volatile,
            fence: crate::fencing::Fence::default(),
            permit: crate::permit::Permit::default(),
            undrained: false,
            signs: Signs::new(now),
            answers_owed: 0,
            answered_at: now,
        }
    }

    pub(crate) fn session(&self) -> Option<&Session> {
        match &self.link {
            Link::Up(session) => Some(session),
            Link::StandAlone | Link::Waiting(_) | Link::Attempting => None,
        }
    }

    pub(crate) fn session_mut(&mut self) -> Option<&mut Session> {
        match &mut self.link {
            Link::Up(session) => Some(session),
            Link::StandAlone | Link::Waiting(_) | Link::Attempting => None,
        }
    }

    /// Whether `session` is the one that is up.
    pub(crate) fn is_session(&self, session: LinkSession) -> bool {
        self.session().is_some_and(|up| up.id == session)
    }

    pub(crate) fn in_handshake(&self) -> bool {
        self.session().is_some_and(|session| !matches!(session.phase, Phase::Running))
    }

    /// Whether requests wait for what a handshake brings: it is under way, or this node has ended
    /// the session to begin one.
    pub(crate) fn holds_requests(&self) -> bool {
        self.in_handshake() || self.renegotiating.is_some()
    }

    /// Whether the session has not reported yet.
    pub(crate) fn is_settling(&self) -> bool {
        self.session().is_some_and(|session| matches!(session.phase, Phase::Settling(_)))
    }

    /// Both nodes have agreed on what to do.
    pub(crate) fn has_decided(&self) -> bool {
        self.session()
            .is_some_and(|session| matches!(session.phase, Phase::Preparing | Phase::Running))
    }

    pub(crate) fn is_running(&self) -> bool {
        self.session().is_some_and(|session| matches!(session.phase, Phase::Running))
    }

    /// The running session's protocol; the configured one between sessions.
    pub(crate) fn session_protocol(&self) -> Protocol {
        self.session().map_or(self.config.protocol, |session| session.protocol)
    }

    /// A question has gone out whose answer is due.
    pub(crate) fn expect_answer(&mut self, now: Instant) {
        if self.answers_owed == 0 {
            self.answered_at = now;
        }
        self.answers_owed += 1;
    }

    /// An answer came.
    pub(crate) fn answered(&mut self, now: Instant) {
        self.answers_owed = self.answers_owed.saturating_sub(1);
        self.answered_at = now;
    }

    /// Since when the peer owes an answer without giving any.
    pub(crate) fn waits_since(&self) -> Option<Instant> {
        (self.answers_owed > 0).then_some(self.answered_at)
    }

    pub(crate) fn answers_owed(&self) -> u32 {
        self.answers_owed
    }

    fn forget_answers(&mut self) {
        self.answers_owed = 0;
    }
}

impl Resource {
    /// A link came up.
    pub(crate) fn link_up(
        &mut self,
        peer: PeerIndex,
        id: LinkSession,
        session_id: u64,
        discards: bool,
    ) {
        if self.connections[peer].session().is_some() {
            self.leave_for_next(peer, "replaced by a newer link");
        }
        if self.accepts_index(peer, discards).is_err() {
            let node = self.connections[peer].config.node_id;
            return self.push(Action::Disconnect { peer: node, session: id });
        }
        let now = self.now;
        let connection = &mut self.connections[peer];
        connection.link = Link::Up(Session {
            id,
            session_id,
            protocol: connection.config.protocol,
            phase: Phase::Settling(PeerReport::new(connection.devices.len())),
            moved_at: now,
            leaving: None,
            outdated: false,
        });
        connection.outbound = Outbound::new(&connection.config.net);
        connection.signs = Signs::new(now);
        connection.forget_answers();
        self.unsettled = true;
    }

    /// The link is gone: what was under way on it is put in order, and the next attempt is planned.
    pub(crate) fn end_session(&mut self, peer: PeerIndex, reason: &str) {
        self.leave_session(peer, reason, None);
    }

    fn leave_session(&mut self, peer: PeerIndex, reason: &str, until: Option<Instant>) {
        let connection = &mut self.connections[peer];
        let Link::Up(session) = std::mem::replace(&mut connection.link, Link::Waiting(self.now))
        else {
            unreachable!("only a session ends");
        };
        let was_running = matches!(session.phase, Phase::Running);
        let parting = matches!(session.phase, Phase::Parting { .. });
        let gives_up = matches!(session.phase, Phase::Parting { retry: false, .. });
        connection.link = Link::Waiting(self.now + connection.pause);
        if was_running {
            connection.pause = CONNECT_PAUSE_FIRST;
        }
        if !parting {
            connection.reason = Some(reason.to_owned());
        }
        connection.peer_role = Role::Unknown;
        connection.renegotiating = until.filter(|_| !gives_up);
        connection.granted = None;
        self.fence_link_lost(peer, &session.phase);
        let connection = &mut self.connections[peer];
        for device in connection.devices.iter_mut() {
            device.session_ended();
        }
        connection.forget_answers();
        let action = Action::Disconnect { peer: connection.config.node_id, session: session.id };
        self.push(action);
        self.note(None, Some(peer), Severity::Warning, format!("connection lost: {reason}"));
        self.verify_link_lost(peer, reason);
        self.resync_link_lost(peer);
        self.log_peer_lost(peer, None);
        self.connections[peer].outbound = Outbound::default();
        self.flushes_link_lost(peer);
        self.connections[peer].inbound.link_lost();
        if let Some(
            Leaving::Asking { command, .. }
            | Leaving::Outdating { command, .. }
            | Leaving::Telling { command, .. },
        ) = session.leaving
        {
            self.now_standalone(peer, "disconnected by the operator");
            self.end_command(command, Ok(()));
        }
        self.release_held(peer);
        if gives_up {
            self.connections[peer].link = Link::StandAlone;
            self.connections[peer].discard_my_data = false;
        }
        self.promotion_link_lost(peer);
        self.invalidations_link_lost(peer);
        self.resizes_link_lost(peer);
        self.retry_reads(Some(peer));
        self.unsettled = true;
    }

    /// Ends the session because another one is at hand, for which requests wait that have not
    /// waited for one before.
    fn leave_for_next(&mut self, peer: PeerIndex, reason: &str) {
        let connection = &self.connections[peer];
        let patience = self.now + connection.config.net.timeout;
        let until = connection.renegotiating.unwrap_or(patience);
        self.leave_session(peer, reason, Some(until));
    }

    /// Ends the session because the decision of who copies from whom must be made anew.
    pub(crate) fn renegotiate(&mut self, peer: PeerIndex, reason: &str) {
        if self.connections[peer].session().is_some() {
            self.connections[peer].pause = CONNECT_PAUSE_FIRST;
            self.leave_for_next(peer, reason);
            if let Link::Waiting(until) = &mut self.connections[peer].link {
                *until = self.now;
            }
        }
    }

    /// Apart until `connect`.
    pub(crate) fn now_standalone(&mut self, peer: PeerIndex, reason: &str) {
        let connection = &mut self.connections[peer];
        connection.renegotiating = None;
        assert!(connection.session().is_none(), "a session ends before");
        connection.link = Link::StandAlone;
        connection.discard_my_data = false;
        connection.on_trial = false;
        connection.reason = Some(reason.to_owned());
        self.unsettled = true;
    }

    /// Ends the session for good: the operator must act.
    pub(crate) fn drop_to_standalone(&mut self, peer: PeerIndex, reason: &str) {
        if self.connections[peer].session().is_some() {
            self.end_session(peer, reason);
        }
        self.now_standalone(peer, reason);
    }

    /// Makes an attempt where its time has come.
    pub(crate) fn attempt_connect(&mut self, peer: PeerIndex) {
        let now = self.now;
        let connection = &mut self.connections[peer];
        let is_due = matches!(connection.link, Link::Waiting(until) if until <= now);
        if !is_due || connection.permit.is_awaited() {
            return;
        }
        connection.link = Link::Attempting;
        connection.pause = (connection.pause * 2).min(connection.config.net.connect_int);
        let peer = connection.config.node_id;
        self.push(Action::Connect { peer });
    }

    /// The attempt came to nothing.
    pub(crate) fn connect_failed(&mut self, peer: PeerIndex) {
        let connection = &mut self.connections[peer];
        if matches!(connection.link, Link::Attempting) {
            connection.link = Link::Waiting(self.now + connection.pause);
        }
    }

    /// Whether a link may come up.
    pub(crate) fn accepts_index(&self, peer: PeerIndex, peer_discards: bool) -> Result<(), String> {
        let connection = &self.connections[peer];
        match connection.link {
            Link::Waiting(_) | Link::Attempting | Link::Up(_) => connection.awaits_permit(),
            // The operator of the other node has decided the split brain against his own data.
            Link::StandAlone
                if peer_discards
                    && matches!(connection.sync_state, SyncState::SplitBrain { .. }) =>
            {
                connection.awaits_permit()
            }
            Link::StandAlone => Err(format!(
                "StandAlone: {}",
                connection.reason.as_deref().unwrap_or("not told to connect")
            )),
        }
    }

    /// Whether writes to the volume reach the peer's disk.
    pub(crate) fn replicates(&self, peer: PeerIndex, volume: VolumeIndex) -> bool {
        let device = &self.connections[peer].devices[volume];
        self.is_replicating(peer, volume)
            && device.disk >= DiskState::Inconsistent
            && !matches!(device.replication, Replication::Ahead(_))
    }

    /// Whether the volume is replicated with the peer, whatever its disk.
    pub(crate) fn is_replicating(&self, peer: PeerIndex, volume: VolumeIndex) -> bool {
        let connection = &self.connections[peer];
        connection.is_running() && connection.devices[volume].is_ready()
    }

    /// Whether the peer's disk alone would do to keep what is on it.
    pub(crate) fn has_good_disk(&self, peer: PeerIndex, volume: VolumeIndex) -> bool {
        self.connections[peer].devices[volume].has_good_disk()
    }

    /// Whether the peer can serve the newest data: it replicates, and its disk is good.
    pub(crate) fn serves(&self, peer: PeerIndex, volume: VolumeIndex) -> bool {
        self.is_replicating(peer, volume) && self.has_good_disk(peer, volume)
    }

    /// Whether any peer does.
    pub(crate) fn is_served(&self, volume: VolumeIndex) -> bool {
        self.peer_indexes().any(|peer| self.serves(peer, volume))
    }

    pub(crate) fn is_sync_target(&self, peer: PeerIndex, volume: VolumeIndex) -> bool {
        self.is_replicating(peer, volume)
            && self.connections[peer].devices[volume].replication == Replication::SyncTarget
    }

    /// Queues a packet on the peer's session, if there is one.
    pub(crate) fn send(&mut self, peer: PeerIndex, packet: Packet) {
        let connection = &self.connections[peer];
        if let Some(session) = connection.session() {
            let (peer, session) = (connection.config.node_id, session.id);
            self.push(Action::Send { peer, session, packet });
        }
    }

    /// Asks the peer to make what was sent durable.
    pub(crate) fn send_barrier(&mut self, peer: PeerIndex) {
        let number = self.connections[peer].outbound.mark_barrier();
        self.send(peer, Packet::Barrier(number));
    }

    /// Tells the peer this node's states of one volume.
    pub(crate) fn send_state(&mut self, peer: PeerIndex, volume: VolumeIndex) {
        let device = &self.connections[peer].devices[volume];
        // The session that a disk takes part in is the one that begins when it is attached. Till
        // then it gets nothing of what the peer is sent.
        let attaching = self.volumes[volume].is_attaching();
        let disk = self.volumes[volume].disk_state();
        let state = tandem_wire::State {
            role: self.role,
            disk: if attaching { DiskState::Attaching } else { disk },
            replication: device.replication_state(),
            pauses_resync: device.suspended.is_own(),
        };
        let number = self.volumes[volume].number;
        self.send(peer, Packet::State(number, state));
    }

    /// Tells all peers all states.
    pub(crate) fn broadcast_states(&mut self) {
        for peer in self.peer_indexes() {
            if self.connections[peer].is_running() {
                for volume in self.volume_indexes() {
                    self.send_state(peer, volume);
                }
            }
        }
    }
}
