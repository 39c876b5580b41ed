//! One resource on one node: the inputs, and the loop that settles what they set going.

use std::collections::{BTreeMap, VecDeque};

use bytes::Bytes;
use tandem_wire::{ByteRange, NodeId, Packet, Role, VolumeNumber};

use crate::action::{
    Action, AttachGeneration, ClientId, Command, CommandId, DiskCompletion, DiskOp, DiskOpKind,
    LinkDown, LinkEvent, LinkSession, OpenedDisk,
};
use crate::config::{Config, PeerConfig};
use crate::connection::Connection;
use crate::detach::Detaching;
use crate::entropy::Entropy;
use crate::error::{CommandError, DiskError, PeerError};
use crate::flush::ClientFlush;
use crate::invalidate::Invalidation;
use crate::limits::BLOCK_BYTES;
use crate::new_uuid::Renewal;
use crate::outdate::Outdating;
use crate::peers::{List, VolumeIndex};
use crate::range_lock::LockId;
use crate::read::Read;
use crate::repair::Repair;
use crate::resize::Resize;
use crate::role::RoleChange;
use crate::slab::{Key, Slab};
use crate::suspend::Suspension;
use crate::time::Instant;
use crate::volume::{LockOwner, Purpose, Volume};
use crate::write::Write;

/// What an NBD server says of a volume to a client that may use it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Export {
    /// Size in bytes.
    pub size_bytes: u64,
    /// Smallest unit served without read-modify-write, in bytes: what is replicated is whole
    /// blocks, whatever the disks of the nodes could do.
    pub block_size: u32,
}

/// One resource on one node: roles, disks, connections, requests.
#[derive(Debug)]
pub struct Resource {
    pub(crate) config: Config,
    pub(crate) now: Instant,
    pub(crate) role: Role,
    pub(crate) role_change: Option<RoleChange>,
    /// A forced promotion changed what the handshake decided on.
    pub(crate) decide_anew: bool,
    pub(crate) volumes: List<Volume>,
    pub(crate) connections: List<Connection>,
    pub(crate) clients: BTreeMap<ClientId, VolumeIndex>,
    pub(crate) writes: Slab<Write>,
    pub(crate) reads: Slab<Read>,
    pub(crate) repairs: Slab<Repair>,
    pub(crate) flushes: Slab<ClientFlush>,
    /// Issued writes in order, until every peer has them durably: the transfer log.
    pub(crate) log: VecDeque<Key>,
    pub(crate) log_seq: u64,
    /// Writes that wait at the gate.
    pub(crate) gated: VecDeque<Key>,
    pub(crate) invalidations: Vec<Invalidation>,
    pub(crate) detaching: Vec<Detaching>,
    pub(crate) outdating: Vec<Outdating>,
    pub(crate) renewals: Vec<Renewal>,
    pub(crate) resizes: Vec<Resize>,
    pub(crate) down: Option<crate::command::Down>,
    pub(crate) suspension: Suspension,
    /// Names of prepares.
    pub(crate) next_request: u64,
    pub(crate) entropy: Entropy,
    /// Something happened that steps of longer procedures may wait for.
    pub(crate) unsettled: bool,
    /// Some activity log may go on.
    pub(crate) log_due: bool,
    pub(crate) scratch: Vec<Key>,
    granted: Vec<(VolumeIndex, LockOwner)>,
    granting: bool,
    actions: VecDeque<Action>,
}

impl Resource {
    /// A resource with nothing attached and nothing connected.
    pub fn new(config: Config, now: Instant) -> Self {
        let volumes: List<Volume> = config.volumes.iter().map(|v| Volume::new(*v)).collect();
        let connections = config
            .peers
            .iter()
            .map(|peer| Connection::new(peer.clone(), volumes.len(), now))
            .collect();
        Self {
            entropy: Entropy::new(config.entropy),
            config,
            now,
            role: Role::Secondary,
            role_change: None,
            decide_anew: false,
            volumes,
            connections,
            clients: BTreeMap::new(),
            writes: Slab::default(),
            reads: Slab::default(),
            repairs: Slab::default(),
            flushes: Slab::default(),
            log: VecDeque::new(),
            log_seq: 0,
            gated: VecDeque::new(),
            invalidations: Vec::new(),
            detaching: Vec::new(),
            outdating: Vec::new(),
            renewals: Vec::new(),
            resizes: Vec::new(),
            down: None,
            suspension: Suspension::default(),
            next_request: 0,
            unsettled: false,
            log_due: false,
            scratch: Vec::new(),
            granted: Vec::new(),
            granting: false,
            actions: VecDeque::new(),
        }
    }

    /// A packet of the peer. After an error the link is already given up (a `Disconnect` action is
    /// queued); the error is for the log. Packets of older sessions are dropped.
    ///
    /// # Errors
    /// The peer broke the protocol.
    pub fn handle_packet(
        &mut self,
        peer: NodeId,
        session: LinkSession,
        packet: Packet,
        now: Instant,
    ) -> Result<(), PeerError> {
        self.begin_input(now);
        let Some(peer) = self.peer_by_node(peer) else {
            return Ok(());
        };
        if !self.connections[peer].is_session(session) {
            return Ok(());
        }
        self.heard_from(peer);
        self.connections[peer].signs.packet_arrived();
        let result = self.dispatch_packet(peer, packet);
        if let Err(error) = &result
            && self.connections[peer].is_session(session)
        {
            self.end_session(peer, &format!("protocol error: {error}"));
        }
        self.settle();
        result
    }

    /// A link went up, down or showed life.
    pub fn handle_link(&mut self, peer: NodeId, event: LinkEvent, now: Instant) {
        self.begin_input(now);
        let Some(peer) = self.peer_by_node(peer) else {
            return;
        };
        match event {
            LinkEvent::Up { session, session_id, peer_discards } => {
                self.link_up(peer, session, session_id, peer_discards);
            }
            LinkEvent::Received { session } => {
                if self.connections[peer].is_session(session) {
                    self.heard_from(peer);
                    self.packet_arrives(peer);
                }
            }
            LinkEvent::Down { session, reason } => {
                if self.connections[peer].is_session(session) {
                    let reason = match reason {
                        LinkDown::BrokenPipe => "the link was closed or broke",
                        LinkDown::ProtocolError => "a damaged frame",
                    };
                    self.end_session(peer, reason);
                }
            }
            LinkEvent::ConnectFailed => self.connect_failed(peer),
        }
        self.settle();
    }

    /// A disk operation ended.
    pub fn handle_disk(&mut self, completion: DiskCompletion, now: Instant) {
        self.begin_input(now);
        let DiskCompletion { volume, generation, token, result } = completion;
        let Some(volume) = self.volume_by_number(volume) else {
            return;
        };
        // A merge is on no disk: it outlives the one that was there when it began.
        let on_disk = !matches!(self.volumes[volume].op(token), Some(Purpose::Merge(_)));
        if on_disk && self.volumes[volume].generation != generation {
            return;
        }
        let Some(purpose) = self.volumes[volume].op_ends(token) else { return };
        self.unsettled |= self.volumes[volume].is_closing();
        if result.is_err() {
            self.volumes[volume].count_error(purpose);
        }
        self.operation_ended(volume, purpose, result);
        self.settle();
    }

    /// Hands the end of an operation to whom it was for.
    pub(crate) fn operation_ended(
        &mut self,
        volume: VolumeIndex,
        purpose: Purpose,
        result: Result<Bytes, DiskError>,
    ) {
        match purpose {
            Purpose::ReadSuperblock(copy) => self.superblock_read(volume, copy, result),
            Purpose::Search => self.piece_searched(volume, &result),
            Purpose::ReadMap(piece) => self.map_read(volume, piece, &result),
            Purpose::Commit => self.commit_written(volume, result.err()),
            Purpose::Transaction => self.transaction_written(volume, result.err()),
            Purpose::Flush => self.flush_done(volume, &result),
            Purpose::Read(key) => self.local_read_done(key, result),
            Purpose::Merge(key) => self.merged(key, result),
            Purpose::Write(key) => self.local_write_done(key, result.err()),
            Purpose::PeerRead(peer, key) => self.peer_read_ended(peer, key, result),
            Purpose::PeerWrite(peer, key) => self.peer_write_ended(peer, key, result.err()),
            Purpose::ResyncWrite(peer, key) => self.piece_written(peer, key, result.err()),
            Purpose::Repair(key) => self.repair_written(key, result.err()),
            Purpose::PeerReadLook(peer, key) => self.peer_read_looked_at(peer, key, result),
            Purpose::ChecksumRead(peer, key) => self.own_piece_read(peer, key, result),
            Purpose::ChecksumDigest(peer, key) => self.own_piece_digested(peer, key, result),
            Purpose::VerifyRead(peer, key) => self.verify_read_done(peer, key, result),
            Purpose::VerifyDigest(peer, key) => self.verify_digested(peer, key, result),
            Purpose::GivenUp { flush: true } if result.is_err() => self.flush_failed(volume),
            Purpose::LastWord => self.last_word_written(volume, result.err()),
            Purpose::GivenUp { .. } => {}
        }
    }

    /// `Action::OpenDisk` ended; the text says why it failed.
    pub fn handle_disk_opened(
        &mut self,
        volume: VolumeNumber,
        generation: AttachGeneration,
        result: Result<OpenedDisk, String>,
        now: Instant,
    ) {
        self.begin_input(now);
        if let Some(volume) = self.volume_of_attach(volume, generation) {
            self.disk_opened(volume, result);
        }
        self.settle();
    }

    /// `Action::MeasureDisk` ended; the text says why it failed.
    pub fn handle_disk_measured(
        &mut self,
        volume: VolumeNumber,
        generation: AttachGeneration,
        result: Result<OpenedDisk, String>,
        now: Instant,
    ) {
        self.begin_input(now);
        if let Some(volume) = self.volume_of_attach(volume, generation) {
            self.disk_measured(volume, result);
        }
        self.settle();
    }

    /// An operator's command; ends in exactly one `Action::CommandDone`.
    pub fn handle_command(&mut self, id: CommandId, command: Command, now: Instant) {
        self.begin_input(now);
        self.begin_command(id, command);
        self.settle();
    }

    /// The time told by `poll_timeout` has come; earlier calls change nothing.
    pub fn handle_timeout(&mut self, now: Instant) {
        self.begin_input(now);
        self.unsettled = true;
        self.check_timers();
        self.settle();
    }

    /// A client asks to use a volume (NBD GO).
    ///
    /// # Errors
    /// This node is Secondary, or has no such volume.
    pub fn open_client(
        &mut self,
        client: ClientId,
        volume: VolumeNumber,
        now: Instant,
    ) -> Result<Export, CommandError> {
        self.begin_input(now);
        let export = self.export(volume)?;
        let volume = self.volume_by_number(volume).expect("it has an export");
        let before = self.clients.insert(client, volume);
        assert!(before.is_none(), "a client is opened once");
        Ok(export)
    }

    /// A client is gone; its requests in flight go on, their replies go nowhere.
    pub fn close_client(&mut self, client: ClientId, now: Instant) {
        self.begin_input(now);
        self.clients.remove(&client);
        self.forget_held(client);
        self.unsettled = true;
        self.settle();
    }

    /// What NBD INFO tells about a volume.
    ///
    /// # Errors
    /// It cannot be used here, and why.
    pub fn export(&self, volume: VolumeNumber) -> Result<Export, CommandError> {
        let index = self.volume_by_number(volume).ok_or(CommandError::UnknownVolume(volume))?;
        if self.role != Role::Primary || self.is_demoting() {
            let text = format!("this node is {}; promote it with `primary` first", self.role);
            return Err(CommandError::Refused(text));
        }
        let volume = &self.volumes[index];
        Ok(Export { size_bytes: volume.export_bytes(), block_size: BLOCK_BYTES })
    }

    /// Whether a link that the peer dialled may come up.
    ///
    /// # Errors
    /// What the greeting is rejected with.
    pub fn accepts(&self, peer: NodeId, peer_discards: bool) -> Result<(), String> {
        let peer = self.peer_by_node(peer).ok_or_else(|| format!("no peer with node-id {peer}"))?;
        self.accepts_index(peer, peer_discards)
    }

    /// Whether our greeting to the peer says `--discard-my-data`.
    pub fn discards_my_data(&self, peer: NodeId) -> bool {
        let connection = self.peer_by_node(peer).map(|peer| &self.connections[peer]);
        // On trial it is nobody's word: a peer that waits for that one goes on waiting.
        connection.is_some_and(|it| it.discard_my_data && !it.on_trial)
    }

    /// New times, limits or name of a connection; a new protocol takes effect at the next session.
    pub fn update_peer(&mut self, peer: PeerConfig, now: Instant) {
        self.begin_input(now);
        if let Some(index) = self.peer_by_node(peer.node_id) {
            self.connections[index].config = peer;
        }
        self.unsettled = true;
        self.settle();
    }

    /// The next thing to do, until `None`.
    pub fn poll_action(&mut self) -> Option<Action> {
        self.actions.pop_front()
    }

    /// What it was made with.
    pub fn config(&self) -> &Config {
        &self.config
    }
}

impl Resource {
    pub(crate) fn begin_input(&mut self, now: Instant) {
        assert!(now >= self.now, "time does not go back");
        self.now = now;
        self.wake_procedures();
    }

    /// Procedures under way look at every input, and at the end of everything that they may wait
    /// for, also in the middle of settling; in the steady state there are none.
    pub(crate) fn wake_procedures(&mut self) {
        self.unsettled |= self.role_change.is_some()
            || self.down.is_some()
            || !self.invalidations.is_empty()
            || !self.outdating.is_empty()
            || !self.renewals.is_empty()
            || !self.resizes.is_empty()
            || self.suspension.is_suspending()
            || self.connections.iter().any(Connection::in_handshake);
    }

    /// Takes every longer procedure on until none moves any more.
    pub(crate) fn settle(&mut self) {
        loop {
            while std::mem::take(&mut self.unsettled) {
                self.advance_procedures();
            }
            if std::mem::take(&mut self.log_due) {
                for volume in self.volume_indexes() {
                    self.advance_log(volume);
                }
            }
            if !self.gated.is_empty() {
                self.reopen_gate();
            }
            if !self.unsettled && !self.log_due {
                return;
            }
        }
    }

    fn advance_procedures(&mut self) {
        for volume in self.volume_indexes() {
            self.advance_failure(volume);
            self.advance_attach(volume);
            self.advance_rotation(volume);
            self.advance_sizing(volume);
        }
        for peer in self.peer_indexes() {
            self.attempt_connect(peer);
            self.advance_leaving(peer);
            self.advance_drained(peer);
            self.advance_handshake(peer);
            self.advance_fencing(peer);
            for volume in self.volume_indexes() {
                self.advance_resync(peer, volume);
                self.advance_congestion(peer, volume);
                self.advance_verify(peer, volume);
            }
        }
        self.advance_dependencies();
        self.advance_outdating();
        self.advance_renewals();
        self.advance_resizes();
        self.advance_role();
        self.advance_invalidations();
        self.advance_detach();
        self.advance_down();
        self.advance_suspension();
        self.retry_reads(None);
        self.retry_flushes();
    }

    pub(crate) fn push(&mut self, action: Action) {
        self.actions.push_back(action);
    }

    /// Issues a disk operation.
    pub(crate) fn disk_op(&mut self, volume: VolumeIndex, purpose: Purpose, kind: DiskOpKind) {
        let state = &mut self.volumes[volume];
        let token = state.op_begins(purpose, self.now);
        let (volume, generation) = (state.number, state.generation);
        self.push(Action::Disk(DiskOp { volume, generation, token, kind }));
    }

    /// Gives a range back; whoever gets one by that goes on.
    pub(crate) fn unlock(&mut self, volume: VolumeIndex, lock: LockId) {
        let mut owners = Vec::new();
        self.volumes[volume].unlock(lock, &mut owners);
        self.granted.extend(owners.into_iter().map(|owner| (volume, owner)));
        if std::mem::replace(&mut self.granting, true) {
            return; // the outermost call passes them on, so a long queue needs no deep stack
        }
        let mut next = 0;
        while let Some(&(_, owner)) = self.granted.get(next) {
            next += 1;
            match owner {
                LockOwner::Write(key) => self.write_locked(key),
                LockOwner::PeerWrite(peer, key) => self.peer_write_locked(peer, key),
                LockOwner::PeerRead(peer, key) => self.peer_read_locked(peer, key),
                LockOwner::ResyncClaim(peer, key) => self.piece_claimed(peer, key),
                LockOwner::ResyncWrite(peer, key) => self.piece_locked(peer, key),
                LockOwner::VerifyClaim(peer, key) => self.verify_claimed(peer, key),
                LockOwner::VerifyRead(peer, key) => self.verify_locked(peer, key),
                LockOwner::RepairClaim(key) => self.repair_claimed(key),
                LockOwner::RepairWrite(key) => self.repair_locked(key),
            }
        }
        self.granted.clear();
        self.granting = false;
    }

    /// The volume that a peer means.
    pub(crate) fn volume_of_peer(&self, number: VolumeNumber) -> Result<VolumeIndex, PeerError> {
        self.volume_by_number(number).ok_or(PeerError::UnknownVolume(number))
    }

    /// Whether a range that a peer named is one of the volume.
    pub(crate) fn check_peer_range(
        &self,
        volume: VolumeIndex,
        range: ByteRange,
        packet: &'static str,
    ) -> Result<(), PeerError> {
        if self.volumes[volume].holds(range) {
            return Ok(());
        }
        let volume = self.volumes[volume].number;
        let (offset, len) = (range.offset, u64::from(range.len));
        Err(PeerError::BadRange { packet, volume, offset, len })
    }
}
