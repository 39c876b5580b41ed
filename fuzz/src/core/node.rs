//! A core, its disk, and everything that it must keep to whatever it is told.
//!
//! Requests have one reply at most and commands one end. Data lie inside the volume, metadata
//! behind it. What a node was not told that it is connected it does not send.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use tandem_replica::meta::{self, DeviceUuid, Identity, Layout, Placement};
use tandem_replica::wire::{
    DiskState, NodeId, Packet, Protocol, ReplicationState, Role, VolumeNumber,
};
use tandem_replica::{
    Action, CallId, ClientId, Command, CommandId, Config, Cookie, DiskCompletion, DiskError,
    DiskOp, DiskOpKind, Instant, LinkSession, NetConfig, OnNoData, OpenedDisk, PeerConfig, Request,
    RequestOp, Resource, VolumeConfig,
};

use super::MemoryDisk;
use crate::Sightings;

/// Bytes of the backing device, at the end of which its metadata lie.
pub(crate) const DEVICE_BYTES: u64 = 4 << 20;

/// The other node's number.
pub(crate) const PEER_OF: [NodeId; 2] = [NodeId(1), NodeId(0)];

const VOLUME: VolumeNumber = VolumeNumber(0);

/// Extents and slots so few that the log has work to do.
const EXTENT_BYTES: u32 = 16 << 10;
const AL_EXTENTS: u32 = 8;

/// A node.
#[derive(Debug)]
pub(crate) struct Node {
    pub(crate) resource: Resource,
    pub(crate) disk: MemoryDisk,
    id: usize,
    /// Where its data end and its metadata begin; 0 where a script has made the metadata.
    pub(crate) data_bytes: u64,
    /// Blocks of 4 KiB of which metadata cannot be read.
    pub(crate) unreadable: BTreeSet<u64>,
    /// Operations under way.
    ops: VecDeque<DiskOp>,
    /// What it has sent and nobody has fetched.
    pub(crate) sent: VecDeque<(LinkSession, Packet)>,
    /// It wants to connect.
    pub(crate) dials: bool,
    /// It has ended its session.
    pub(crate) hung_up: Option<LinkSession>,
    calls: Vec<CallId>,
    commands: BTreeSet<CommandId>,
    requests: BTreeSet<Cookie>,
    client: Option<ClientId>,
    names: u64,
}

impl Node {
    /// A process that has just started, with this disk.
    pub(crate) fn new(
        id: usize,
        disk: MemoryDisk,
        protocol: Protocol,
        entropy: u64,
        now: Instant,
    ) -> Self {
        Self {
            resource: Resource::new(config(id, protocol, entropy), now),
            disk,
            id,
            data_bytes: layout().data_bytes(),
            unreadable: BTreeSet::new(),
            ops: VecDeque::new(),
            sent: VecDeque::new(),
            dials: false,
            hung_up: None,
            calls: Vec::new(),
            commands: BTreeSet::new(),
            requests: BTreeSet::new(),
            client: None,
            names: 0,
        }
    }

    /// A disk with fresh metadata.
    pub(crate) fn formatted(id: usize) -> MemoryDisk {
        let layout = layout();
        let identity = Identity::new("r0", VOLUME, PEER_OF[1 - id]).expect("it is one");
        let uuid = DeviceUuid([u8::try_from(id).expect("0 or 1") + 1; 16]);
        let (_, plan) = meta::format(&layout, identity, uuid, EXTENT_BYTES);
        let mut disk = MemoryDisk::default();
        for write in plan.indexes.into_iter().chain(plan.superblocks) {
            disk.write(write.offset, &write.bytes);
        }
        disk
    }

    pub(crate) fn peer(&self) -> NodeId {
        PEER_OF[self.id]
    }

    pub(crate) fn command(&mut self, command: Command, now: Instant) {
        self.names += 1;
        let id = CommandId(self.names);
        self.commands.insert(id);
        self.resource.handle_command(id, command, now);
    }

    /// Makes a request, where the node serves clients.
    pub(crate) fn request(&mut self, op: RequestOp, now: Instant) {
        self.names += 1;
        if self.client.is_none() {
            let client = ClientId(self.names);
            let opened = self.resource.open_client(client, VOLUME, now);
            self.client = opened.is_ok().then_some(client);
        }
        if let Some(client) = self.client {
            let cookie = Cookie(self.names);
            self.requests.insert(cookie);
            let request = Request { client, cookie, volume: VOLUME, op };
            self.resource.handle_request(request, now);
        }
    }

    /// Takes note of everything that the core wants.
    ///
    /// # Errors
    /// It wants what it may not.
    pub(crate) fn drain(&mut self, now: Instant) -> Result<(), String> {
        while let Some(action) = self.resource.poll_action() {
            match action {
                Action::Disk(op) => {
                    self.check_place(&op.kind)?;
                    self.ops.push_back(op);
                }
                Action::OpenDisk { volume, generation } => {
                    self.resource.handle_disk_opened(volume, generation, Ok(OPENED), now);
                }
                Action::MeasureDisk { volume, generation } => {
                    self.resource.handle_disk_measured(volume, generation, Ok(OPENED), now);
                }
                Action::Send { session, packet, .. } => self.sent.push_back((session, packet)),
                Action::Connect { .. } => self.dials = true,
                Action::Disconnect { session, .. } => self.hung_up = Some(session),
                // One that is gone gets no replies.
                Action::Reply { client, .. } if self.client != Some(client) => {}
                Action::Reply { cookie, .. } => {
                    if !self.requests.remove(&cookie) {
                        return Err(format!("a second reply to request {}", cookie.0));
                    }
                }
                Action::CommandDone { id, .. } => {
                    if !self.commands.remove(&id) {
                        return Err(format!("command {} ends twice", id.0));
                    }
                }
                Action::CloseClient { client } => {
                    self.resource.close_client(client, now);
                    self.client = self.client.filter(|it| *it != client);
                }
                Action::Call { id, .. } => self.calls.push(id),
                Action::CloseDisk { .. } | Action::Notify(_) | Action::Resyncing { .. } => {}
            }
        }
        Ok(())
    }

    fn check_place(&self, kind: &DiskOpKind) -> Result<(), String> {
        let data = 0..self.data_bytes;
        let (offset, len, area) = match kind {
            DiskOpKind::Read(range) | DiskOpKind::Zero { range, .. } => {
                (range.offset, u64::from(range.len), data)
            }
            DiskOpKind::Write { offset, data: bytes, .. } => (*offset, bytes.len() as u64, data),
            // Metadata are looked for everywhere.
            DiskOpKind::MetaRead { offset, len } => (*offset, u64::from(*len), 0..DEVICE_BYTES),
            DiskOpKind::MetaWrite { offset, data } => {
                (*offset, data.len() as u64, self.data_bytes..DEVICE_BYTES)
            }
            DiskOpKind::Flush
            | DiskOpKind::Merge { .. }
            | DiskOpKind::IsZero { .. }
            | DiskOpKind::Digest { .. } => return Ok(()),
        };
        let area = if self.data_bytes == 0 { 0..DEVICE_BYTES } else { area };
        let end = offset.checked_add(len).ok_or_else(|| format!("{kind:?} has no end"))?;
        if area.start <= offset && end <= area.end {
            return Ok(());
        }
        Err(format!("bytes {offset} to {end} where {area:?} are allowed: {kind:?}"))
    }

    /// Ends one of the operations under way, by an error or by what it comes to; `false` where
    /// there is none.
    pub(crate) fn end_op(&mut self, which: usize, error: Option<DiskError>, now: Instant) -> bool {
        if self.ops.is_empty() {
            return false;
        }
        let op = self.ops.remove(which % self.ops.len()).expect("it is one of them");
        let DiskOp { volume, generation, token, kind } = op;
        let error = error.or_else(|| self.is_unreadable(&kind).then_some(DiskError::Io));
        let result = error.map_or_else(|| self.disk.carry_out(&kind), Err);
        self.resource.handle_disk(DiskCompletion { volume, generation, token, result }, now);
        true
    }

    fn is_unreadable(&self, kind: &DiskOpKind) -> bool {
        let DiskOpKind::MetaRead { offset, len } = kind else { return false };
        let end = (offset + u64::from(*len)).div_ceil(4096);
        self.unreadable.range(offset / 4096..end).next().is_some()
    }

    /// Ends a handler that was called, if one was.
    pub(crate) fn answer_call(&mut self, code: u8, now: Instant) {
        if let Some(call) = self.calls.pop() {
            self.resource.handle_called(call, Some(code.into()), now);
        }
    }

    /// Whether it has operations under way.
    pub(crate) fn is_busy(&self) -> bool {
        !self.ops.is_empty()
    }

    /// Lets time pass, as far as the core waits for it.
    pub(crate) fn let_time_pass(&mut self, now: Instant) {
        if self.resource.poll_timeout().is_some_and(|due| due <= now) {
            self.resource.handle_timeout(now);
        }
    }

    /// Where it stands.
    pub(crate) fn stand(&self, now: Instant) -> Stand {
        let status = self.resource.status(now);
        let connection = &status.connections[0];
        let device = &connection.peer_devices[0];
        Stand {
            role: status.role,
            disk: status.volumes[0].disk,
            connection: connection.state.name(),
            replication: device.replication,
            differs: device.out_of_sync_bytes > 0,
        }
    }
}

/// Where a node stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stand {
    pub(crate) role: Role,
    pub(crate) disk: DiskState,
    pub(crate) connection: &'static str,
    pub(crate) replication: ReplicationState,
    pub(crate) differs: bool,
}

impl Stand {
    pub(crate) fn see(&self, seen: &mut Sightings) {
        let states = (self.role as u8, self.disk as u8, self.replication as u8);
        seen.see((states, self.connection, self.differs));
    }

    /// Whether it takes the other's data for its own.
    pub(crate) fn is_target(&self) -> bool {
        use ReplicationState::{PausedSyncT, SyncTarget, WFBitMapT};
        [PausedSyncT, SyncTarget, WFBitMapT].contains(&self.replication)
    }

    /// Whether it gives its data to the other.
    pub(crate) fn is_source(&self) -> bool {
        use ReplicationState::{PausedSyncS, SyncSource, WFBitMapS};
        [PausedSyncS, SyncSource, WFBitMapS].contains(&self.replication)
    }
}

const OPENED: OpenedDisk =
    OpenedDisk { data_bytes: DEVICE_BYTES, meta_bytes: DEVICE_BYTES, block_size: 512 };

/// Where everything lies on the device.
pub(crate) fn layout() -> Layout {
    Layout::new(DEVICE_BYTES, Placement::Internal, 1).expect("it is large enough")
}

fn config(id: usize, protocol: Protocol, entropy: u64) -> Config {
    let peer = PeerConfig {
        node_id: PEER_OF[id],
        name: ["bob", "alice"][id].to_owned(),
        protocol,
        net: NetConfig { connect_int: Duration::from_secs(1), ..NetConfig::default() },
        resync: BTreeMap::new(),
    };
    Config {
        name: "r0".to_owned(),
        node_id: PEER_OF[1 - id],
        volumes: vec![VolumeConfig { al_extents: AL_EXTENTS, ..VolumeConfig::new(VOLUME) }],
        peers: vec![peer],
        boot_id: [u8::try_from(id).expect("0 or 1") + 1; 16],
        entropy,
        promote_timeout: Duration::from_secs(2),
        on_no_data: OnNoData::IoError,
    }
}
