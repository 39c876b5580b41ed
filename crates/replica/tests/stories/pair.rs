//! Two resources, two disks in memory and a link that can be cut; time is a variable.
//!
//! [`Pair::run`] moves everything on until nothing happens within the time given. Disks complete at
//! once and keep everything, unless a test holds or fails their operations; what a power cut loses
//! a test takes away by hand.

mod disk;
mod node;
mod wire;

use std::collections::VecDeque;
use std::time::Duration;

use bytes::Bytes;
use tandem_replica::meta::DeviceUuid;
use tandem_replica::wire::{ByteRange, Packet, Policies, Protocol, VolumeNumber};
use tandem_replica::{
    Action, ClientId, Command, CommandError, CommandId, Config, Cookie, DiskOp, Instant,
    LinkSession, OnNoData, OpenedDisk, Request, RequestOp, Resource,
};

pub(crate) use disk::{Choice, data_writes, flushes, meta_writes, none, reads};
use node::config;
pub(crate) use node::{
    AL_EXTENTS, DEVICE_BYTES, EXTENT_BYTES, Node, Reply, edit_superblock, peer_of,
};

/// Which packets.
pub(crate) type PacketChoice = fn(&Packet) -> bool;

/// What becomes of a packet on the way.
pub(crate) type Tamper = fn(Packet) -> Packet;

pub(crate) const CLIENT: ClientId = ClientId(7);

pub(crate) struct Pair {
    pub(crate) nodes: [Node; 2],
    pub(crate) now: Instant,
    pub(crate) linked: bool,
    pub(crate) volumes: u16,
    pub(crate) protocol: Protocol,
    /// What processes started from here on are told.
    pub(crate) on_no_data: OnNoData,
    session: Option<(LinkSession, LinkSession)>,
    pub(crate) sessions: u64,
    wires: [VecDeque<Packet>; 2],
    commands: u64,
    cookies: u64,
    /// Bytes of block data that crossed the link.
    pub(crate) data_bytes: u64,
    /// Writes of the mirror are lost in the network from here on, acks and all: the link hangs.
    pub(crate) hang: bool,
    /// Disk operations that do not end until `release`.
    pub(crate) hold: [Choice; 2],
    pub(crate) held: [VecDeque<DiskOp>; 2],
    /// Disk operations that fail.
    pub(crate) fail: [Choice; 2],
    /// Packets to this node stay in the network.
    pub(crate) paused: [bool; 2],
    /// The link is cut, for good, instead of carrying such a packet sent by this node.
    pub(crate) cut_at: Option<(usize, PacketChoice)>,
    /// Packets to the other node stay in the network from such a packet sent by this node on.
    pub(crate) pause_at: Option<(usize, PacketChoice)>,
    /// Ranges that were zeroed, by node.
    pub(crate) zeroed: [Vec<(u64, u32)>; 2],
    /// What both nodes have said in the handshake of the last session, and who.
    pub(crate) handshake: Vec<(usize, Packet)>,
    /// What this node sends arrives as something else.
    pub(crate) tamper: Option<(usize, Tamper)>,
    /// This node is killed instead of carrying out its n-th disk operation from now on.
    pub(crate) doom: Option<(usize, usize)>,
    /// Attempts to connect take for ever, until `dial`.
    pub(crate) hold_dials: bool,
}

impl Pair {
    /// Two nodes with fresh metadata, attached and not connected.
    pub(crate) fn new(volumes: u16, protocol: Protocol) -> Self {
        let now = Instant::default();
        let mut pair = Self {
            nodes: [0, 1].map(|id| Node::new(id, volumes, protocol, now)),
            now,
            linked: true,
            volumes,
            protocol,
            on_no_data: OnNoData::IoError,
            session: None,
            sessions: 0,
            wires: [VecDeque::new(), VecDeque::new()],
            commands: 0,
            cookies: 0,
            data_bytes: 0,
            hang: false,
            hold: [none; 2],
            held: [VecDeque::new(), VecDeque::new()],
            fail: [none; 2],
            paused: [false; 2],
            cut_at: None,
            pause_at: None,
            zeroed: [Vec::new(), Vec::new()],
            handshake: Vec::new(),
            tamper: None,
            doom: None,
            hold_dials: false,
        };
        pair.attach(0);
        pair.attach(1);
        pair
    }

    /// Connected, node 0 Primary, everything in sync.
    pub(crate) fn in_sync(volumes: u16, protocol: Protocol) -> Self {
        let mut pair = Self::new(volumes, protocol);
        pair.connect();
        pair.command(0, Command::Primary { force: true }).unwrap();
        pair.run(Duration::from_secs(30));
        for node in &mut pair.nodes {
            node.called.clear();
        }
        for volume in 0..volumes {
            pair.nodes[0]
                .resource
                .open_client(ClientId(7 + u64::from(volume)), VolumeNumber(volume), pair.now)
                .unwrap();
        }
        pair
    }

    pub(crate) fn attach(&mut self, node: usize) {
        for volume in 0..self.volumes {
            self.command(node, Command::Attach { volume: VolumeNumber(volume) }).unwrap();
        }
    }

    pub(crate) fn connect(&mut self) {
        for node in 0..2 {
            self.try_connect(node, false).unwrap();
        }
        self.run(Duration::from_secs(5));
    }

    pub(crate) fn try_connect(&mut self, node: usize, discard: bool) -> Result<(), CommandError> {
        let peer = peer_of(node);
        self.command(node, Command::Connect { peer, discard_my_data: discard })
    }

    /// Starts a command.
    pub(crate) fn start(&mut self, node: usize, command: Command) -> CommandId {
        self.commands += 1;
        let id = CommandId(self.commands);
        self.nodes[node].resource.handle_command(id, command, self.now);
        id
    }

    /// How a command has ended, if it has.
    pub(crate) fn ended(&mut self, node: usize, id: CommandId) -> Option<Result<(), CommandError>> {
        let at = self.nodes[node].done.iter().position(|(done, _)| *done == id)?;
        Some(self.nodes[node].done.remove(at).1)
    }

    /// Fresh metadata on the first device, as by create-md.
    pub(crate) fn format(&mut self, node: usize) {
        let id = u8::try_from(node).unwrap();
        self.nodes[node].format(id, 0, DeviceUuid([id + 9; 16]));
    }

    /// Starts a killed node, attaches and connects it, without waiting.
    pub(crate) fn revive(&mut self, node: usize) {
        self.new_process(node);
        for volume in 0..self.volumes {
            self.start(node, Command::Attach { volume: VolumeNumber(volume) });
        }
        self.try_connect_later(node, false);
    }

    pub(crate) fn try_connect_later(&mut self, node: usize, discard: bool) -> CommandId {
        let peer = peer_of(node);
        self.start(node, Command::Connect { peer, discard_my_data: discard })
    }

    /// Runs a command to its end.
    pub(crate) fn command(&mut self, node: usize, command: Command) -> Result<(), CommandError> {
        let id = self.start(node, command);
        for _ in 0..100 {
            if let Some(result) = self.ended(node, id) {
                return result;
            }
            self.run(Duration::from_millis(100));
        }
        panic!("{command:?} did not end on node {node}");
    }

    /// kill -9: disks keep everything.
    pub(crate) fn kill(&mut self, node: usize) {
        self.nodes[node].running = false;
        self.held[node].clear();
        self.hold[node] = none;
        let was = self.linked;
        self.cut();
        self.linked = was;
    }

    /// A killed node's process starts.
    pub(crate) fn new_process(&mut self, node: usize) {
        let id = u8::try_from(node).unwrap();
        self.sessions += 1;
        let entropy = self.sessions * 7919;
        let boot_id = self.nodes[node].boot_id;
        let config = config(id, self.volumes, self.protocol, boot_id, entropy);
        let config = Config { on_no_data: self.on_no_data, ..config };
        self.nodes[node].resource = Resource::new(config, self.now);
        self.nodes[node].running = true;
    }

    /// Starts a killed node, attaches and connects it.
    pub(crate) fn restart(&mut self, node: usize) {
        self.new_process(node);
        self.nodes[node].done.clear();
        self.attach(node);
        self.try_connect(node, false).unwrap();
        self.run(Duration::from_secs(30));
    }

    pub(crate) fn request(&mut self, node: usize, volume: u16, op: RequestOp) -> Cookie {
        self.cookies += 1;
        let cookie = Cookie(self.cookies);
        let client = ClientId(7 + u64::from(volume));
        let request = Request { client, cookie, volume: VolumeNumber(volume), op };
        self.nodes[node].resource.handle_request(request, self.now);
        self.settle();
        cookie
    }

    /// What a request was answered, if it was.
    pub(crate) fn reply(&mut self, node: usize, cookie: Cookie) -> Option<Reply> {
        let at = self.nodes[node].replies.iter().position(|(c, _)| *c == cookie)?;
        Some(self.nodes[node].replies.remove(at).1)
    }

    pub(crate) fn write(&mut self, node: usize, offset: u64, data: &[u8]) {
        let data = Bytes::copy_from_slice(data);
        let cookie = self.request(node, 0, RequestOp::Write { offset, data, fua: false });
        self.run(Duration::from_millis(10));
        self.reply(node, cookie).expect("the write is answered").expect("the write succeeds");
    }

    pub(crate) fn read(&mut self, node: usize, offset: u64, len: u32) -> Bytes {
        let cookie = self.request(node, 0, RequestOp::Read(ByteRange::new(offset, len)));
        self.run(Duration::from_millis(10));
        self.reply(node, cookie).expect("the read is answered").expect("it succeeds").unwrap()
    }

    /// Moves on until nothing happens any more within `time`.
    pub(crate) fn run(&mut self, time: Duration) {
        let end = self.now + time;
        loop {
            self.settle();
            let next = self
                .nodes
                .iter()
                .filter(|node| node.running)
                .filter_map(|node| node.resource.poll_timeout())
                .min();
            match next {
                Some(at) if at <= end => self.now = at.max(self.now),
                _ => break,
            }
            for node in 0..2 {
                let due = self.nodes[node].resource.poll_timeout().is_some_and(|at| at <= self.now);
                if self.nodes[node].running && due {
                    self.nodes[node].resource.handle_timeout(self.now);
                }
            }
        }
        self.now = end;
    }

    /// Carries out actions and delivers packets until both nodes rest.
    pub(crate) fn settle(&mut self) {
        let mut rounds = 0;
        loop {
            rounds += 1;
            assert!(rounds < 1_000_000, "the pair does not come to rest");
            let mut moved = false;
            for node in 0..2 {
                while let Some(action) = self.nodes[node].resource.poll_action() {
                    moved = true;
                    if self.nodes[node].running {
                        self.carry_out(node, action);
                    }
                }
            }
            for to in 0..2 {
                if self.paused[to] {
                    continue;
                }
                if let Some(packet) = self.wires[to].pop_front() {
                    moved = true;
                    self.deliver(to, packet);
                }
            }
            if !moved {
                return;
            }
        }
    }

    fn carry_out(&mut self, node: usize, action: Action) {
        match action {
            Action::Disk(op) => self.disk(node, op),
            Action::OpenDisk { volume, generation } => {
                let (opened, now) = (self.device_sizes(node, volume), self.now);
                self.nodes[node].resource.handle_disk_opened(volume, generation, Ok(opened), now);
            }
            Action::MeasureDisk { volume, generation } => {
                let (opened, now) = (self.device_sizes(node, volume), self.now);
                self.nodes[node].resource.handle_disk_measured(volume, generation, Ok(opened), now);
            }
            Action::CloseDisk { .. } => self.nodes[node].closed += 1,
            Action::CloseClient { .. } | Action::Resyncing { .. } => {}
            Action::Send { session, packet, .. } => self.send(node, session, packet),
            Action::Connect { .. } if self.hold_dials => {}
            Action::Connect { .. } => self.link(node),
            Action::Disconnect { session, .. } => {
                if self.session.is_some_and(|(a, b)| [a, b][node] == session) {
                    self.hang_up(node);
                }
            }
            Action::Reply { cookie, result, .. } => self.nodes[node].replies.push((cookie, result)),
            Action::CommandDone { id, result } => self.nodes[node].done.push((id, result)),
            Action::Call { id, handler, .. } => {
                self.nodes[node].called.push(handler);
                self.nodes[node].calls.push(id);
            }
            Action::Notify(event) => {
                self.nodes[node].called.extend(event.handler);
                self.nodes[node].events.push(event.text);
            }
        }
    }

    fn device_sizes(&self, node: usize, volume: VolumeNumber) -> OpenedDisk {
        let bytes = self.nodes[node].devices[usize::from(volume.0)].len() as u64;
        OpenedDisk { data_bytes: bytes, meta_bytes: bytes, block_size: 512 }
    }

    /// What both nodes do about split brains from the next handshake on.
    pub(crate) fn set_policies(&mut self, policies: Policies) {
        for node in 0..2 {
            self.set_policies_of(node, policies);
        }
    }

    pub(crate) fn set_policies_of(&mut self, node: usize, policies: Policies) {
        let mut peer = self.nodes[node].resource.config().peers[0].clone();
        peer.net.policies = policies;
        self.nodes[node].resource.update_peer(peer, self.now);
    }

    pub(crate) fn size(&self) -> usize {
        usize::try_from(self.nodes[0].resource.status(self.now).volumes[0].size_bytes).unwrap()
    }

    /// Whether both nodes hold the same data everywhere.
    pub(crate) fn identical(&self) -> bool {
        let size = self.size();
        let [a, b] = &self.nodes;
        a.devices.iter().zip(&b.devices).all(|(a, b)| a[..size] == b[..size])
    }
}
