//! Two cores and a link on which bytes may be edited.
//!
//! Greetings and frames are real bytes. An edit changes some of the next ones, with CRCs that fit
//! or without; one with CRCs that fit is a lie, which no checksum can tell from the truth.

use std::collections::VecDeque;
use std::time::Duration;

use tandem_replica::wire::limits::HELLO_BYTES;
use tandem_replica::wire::{
    Encoder, Hello, Lane, Link, Packet, Protocol, StreamDecoder, Versions, negotiate,
};
use tandem_replica::{Command, Instant, LinkDown, LinkEvent, LinkSession};

use super::{MemoryDisk, Node, Stand, reseal};
use crate::Sightings;
use crate::source::Source;

/// Steps that a run may take: more are another run.
const STEPS_MAX: usize = 60_000;

/// A change of the next bytes that a node sends.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Edit {
    /// First byte; of fewer bytes it is taken modulo their count.
    at: usize,
    /// What is done to this and the bytes behind it.
    xor: [u8; 4],
    /// Whether CRCs are made to fit.
    seals: bool,
}

impl Edit {
    pub(crate) fn read(source: &mut Source<'_>) -> Self {
        let (at, seals) = (usize::from(source.byte()), source.below(8) > 0);
        let len = 1 + source.below(4);
        let mut xor = [0; 4];
        xor[..len].iter_mut().for_each(|byte| *byte = source.byte());
        Self { at, xor, seals }
    }

    fn apply(self, bytes: &mut [u8]) {
        let len = bytes.len();
        for (offset, xor) in self.xor.into_iter().enumerate() {
            bytes[(self.at + offset) % len] ^= xor;
        }
    }
}

/// The pair.
#[derive(Debug)]
pub(crate) struct Pair {
    pub(crate) nodes: [Node; 2],
    pub(crate) now: Instant,
    protocol: Protocol,
    is_cut: bool,
    session: Option<Session>,
    sessions: u64,
    /// What is to be done to the next frame or greeting that a node sends.
    edits: [VecDeque<Edit>; 2],
    hello_edits: [Option<Edit>; 2],
    /// Lies in this session.
    lies: usize,
    /// Whether nobody has lied since the beginning.
    pub(crate) is_honest: bool,
    steps: usize,
}

#[derive(Debug)]
struct Session {
    ids: [LinkSession; 2],
    keys: [u32; 2],
    encoders: [Encoder; 2],
    decoders: [StreamDecoder; 2],
    /// Frames on their way to each node.
    wires: [VecDeque<Vec<u8>>; 2],
}

impl Pair {
    /// Two processes that have just started.
    pub(crate) fn new(disks: [MemoryDisk; 2], protocol: Protocol) -> Self {
        let now = Instant::default();
        let [a, b] = disks;
        Self {
            nodes: [Node::new(0, a, protocol, 11, now), Node::new(1, b, protocol, 22, now)],
            now,
            protocol,
            is_cut: false,
            session: None,
            sessions: 0,
            edits: [VecDeque::new(), VecDeque::new()],
            hello_edits: [None; 2],
            lies: 0,
            is_honest: true,
            steps: 0,
        }
    }

    /// Attaches both disks and connects.
    pub(crate) fn start(&mut self, seen: &mut Sightings) -> Result<(), String> {
        for node in 0..2 {
            self.start_one(node);
        }
        self.run(Duration::from_millis(200), seen)
    }

    /// Has a process that was started attach and connect.
    pub(crate) fn start_one(&mut self, node: usize) {
        let (peer, volume) = (self.nodes[node].peer(), tandem_replica::wire::VolumeNumber(0));
        self.nodes[node].command(Command::Attach { volume }, self.now);
        self.nodes[node].command(Command::Connect { peer, discard_my_data: false }, self.now);
    }

    /// kill -9, and a new process with the same disk.
    pub(crate) fn restart(&mut self, node: usize) {
        self.end_session(1 - node, LinkDown::BrokenPipe);
        self.sessions += 1;
        let disk = self.nodes[node].disk.clone();
        let entropy = 1000 * self.sessions;
        self.nodes[node] = Node::new(node, disk, self.protocol, entropy, self.now);
        self.start_one(node);
    }

    pub(crate) fn cut(&mut self) {
        self.is_cut = true;
        self.end_session(0, LinkDown::BrokenPipe);
        self.end_session(1, LinkDown::BrokenPipe);
        self.session = None;
    }

    pub(crate) fn heal(&mut self) {
        self.is_cut = false;
    }

    pub(crate) fn edit(&mut self, node: usize, edit: Edit) {
        self.edits[node].push_back(edit);
    }

    pub(crate) fn edit_hello(&mut self, node: usize, edit: Edit) {
        self.hello_edits[node] = Some(edit);
    }

    /// The key that a node's session has, if it has one.
    pub(crate) fn key(&self, node: usize) -> Option<u32> {
        self.session.as_ref().map(|session| session.keys[node])
    }

    /// A packet arrives that the other node has not sent.
    pub(crate) fn inject(
        &mut self,
        to: usize,
        packet: Packet,
        seen: &mut Sightings,
    ) -> Result<(), String> {
        self.lies += 1;
        self.is_honest = false;
        self.deliver(to, packet, seen)?;
        self.tidy(seen)
    }

    /// Takes one frame to a node.
    pub(crate) fn step(&mut self, to: usize, seen: &mut Sightings) -> Result<bool, String> {
        self.steps += 1;
        let Some(session) = &mut self.session else { return Ok(false) };
        let Some(frame) = session.wires[to].pop_front() else { return Ok(false) };
        let taken = session.decoders[to].push(&frame);
        assert_eq!(taken, frame.len(), "a decoder that is empty has room for a frame");
        match session.decoders[to].pop() {
            Ok(Some(packet)) => self.deliver(to, packet, seen)?,
            Ok(None) => {} // a length was edited: the rest never comes
            Err(error) => {
                seen.see_text(&error.to_string());
                self.end_session(to, LinkDown::ProtocolError);
            }
        }
        self.tidy(seen)?;
        Ok(true)
    }

    /// Goes on until nothing happens any more within `time`, or for long enough.
    pub(crate) fn run(&mut self, time: Duration, seen: &mut Sightings) -> Result<(), String> {
        let end = self.now + time;
        loop {
            self.settle(seen)?;
            let due = self.nodes.iter().filter_map(|node| node.resource.poll_timeout()).min();
            match due {
                Some(due) if due <= end && self.steps < STEPS_MAX => self.now = due.max(self.now),
                _ => break,
            }
            self.pass(Duration::ZERO, seen)?;
        }
        self.now = end.max(self.now);
        Ok(())
    }

    /// Lets time pass.
    pub(crate) fn pass(&mut self, time: Duration, seen: &mut Sightings) -> Result<(), String> {
        self.steps += 1;
        self.now = self.now + time;
        for node in &mut self.nodes {
            node.let_time_pass(self.now);
        }
        self.tidy(seen)
    }

    /// Disks do what they are asked and frames arrive, until both nodes rest.
    pub(crate) fn settle(&mut self, seen: &mut Sightings) -> Result<(), String> {
        loop {
            self.tidy(seen)?;
            let mut moved = false;
            for node in 0..2 {
                while self.nodes[node].end_op(0, None, self.now) {
                    self.steps += 1;
                    moved = true;
                    self.nodes[node].drain(self.now)?;
                    if self.steps > STEPS_MAX {
                        return Ok(());
                    }
                }
                moved |= self.step(node, seen)?;
            }
            if !moved || self.steps > STEPS_MAX {
                return Ok(());
            }
        }
    }

    /// Whether it has done enough for one run.
    pub(crate) fn is_tired(&self) -> bool {
        self.steps > STEPS_MAX
    }

    /// Whether nothing is under way.
    pub(crate) fn is_quiet(&self) -> bool {
        let mut wires = self.session.iter().flat_map(|session| &session.wires);
        !self.nodes.iter().any(Node::is_busy) && wires.all(VecDeque::is_empty)
    }

    /// Does what the nodes want of each other, and looks where they stand.
    pub(crate) fn tidy(&mut self, seen: &mut Sightings) -> Result<(), String> {
        for node in 0..2 {
            self.nodes[node].drain(self.now)?;
            self.send(node);
            if self.nodes[node].hung_up.take() == self.session.as_ref().map(|it| it.ids[node]) {
                self.part(node, seen)?;
            }
            if std::mem::take(&mut self.nodes[node].dials) {
                self.dial(node, seen);
            }
            self.nodes[node].drain(self.now)?;
        }
        let stands = [0, 1].map(|node| self.nodes[node].stand(self.now));
        self.judge(stands, seen)
    }

    fn judge(&self, stands: [Stand; 2], seen: &mut Sightings) -> Result<(), String> {
        stands.iter().for_each(|stand| stand.see(seen));
        let [a, b] = &stands;
        // What one lie has told to one node the other one denies.
        let same = (a.is_target() && b.is_target()) || (a.is_source() && b.is_source());
        if self.session.is_some() && self.lies <= 1 && same {
            return Err(format!("both nodes are the same end of a resync: {a:?}, {b:?}"));
        }
        Ok(())
    }

    fn deliver(&mut self, to: usize, packet: Packet, seen: &mut Sightings) -> Result<(), String> {
        let Some(session) = self.session.as_ref().map(|session| session.ids[to]) else {
            return Ok(());
        };
        let stand = self.nodes[to].stand(self.now);
        seen.see((std::mem::discriminant(&packet), stand.replication as u8, stand.connection));
        let honest = (self.lies == 0).then(|| packet.clone());
        let peer = self.nodes[to].peer();
        let result = self.nodes[to].resource.handle_packet(peer, session, packet, self.now);
        match (result, honest) {
            (Ok(()), _) => Ok(()),
            (Err(error), None) => {
                seen.see_text(&error.to_string());
                Ok(())
            }
            (Err(error), Some(packet)) => {
                let packet: String = format!("{packet:?}").chars().take(300).collect();
                Err(format!("an honest peer is refused: {error}: node {to} {stand:?} {packet}"))
            }
        }
    }

    /// Puts on the way what a node has sent, acks first.
    fn send(&mut self, node: usize) {
        let sent = std::mem::take(&mut self.nodes[node].sent);
        let Some(session) = &mut self.session else { return };
        let current = sent.into_iter().filter(|(id, _)| *id == session.ids[node]);
        let (acks, data): (Vec<_>, Vec<_>) = current.partition(|(_, it)| it.lane() == Lane::Ack);
        for (_, packet) in acks.into_iter().chain(data) {
            let frame = session.encoders[node].encode(&packet);
            let mut bytes = frame.header.to_vec();
            bytes.extend(frame.payload.into_iter().flatten());
            if let Some(edit) = self.edits[node].pop_front() {
                edit.apply(&mut bytes);
                if edit.seals {
                    reseal(&mut bytes, session.keys[node]);
                    self.lies += 1;
                    self.is_honest = false;
                }
            }
            session.wires[1 - node].push_back(bytes);
        }
    }

    /// A node has ended the session: what it has sent before still arrives.
    fn part(&mut self, node: usize, seen: &mut Sightings) -> Result<(), String> {
        let other = 1 - node;
        while let Some(session) = &mut self.session {
            let Some(frame) = session.wires[other].pop_front() else { break };
            session.decoders[other].push(&frame);
            match session.decoders[other].pop() {
                Ok(Some(packet)) => self.deliver(other, packet, seen)?,
                Ok(None) | Err(_) => break,
            }
            self.nodes[other].drain(self.now)?;
        }
        self.end_session(other, LinkDown::BrokenPipe);
        Ok(())
    }

    /// The session is over; `node` notices, in this way, and so does the other.
    fn end_session(&mut self, node: usize, reason: LinkDown) {
        let Some(Session { ids, .. }) = self.session.take() else { return };
        for (side, reason) in [(node, reason), (1 - node, LinkDown::BrokenPipe)] {
            let (peer, session) = (self.nodes[side].peer(), ids[side]);
            let event = LinkEvent::Down { session, reason };
            self.nodes[side].resource.handle_link(peer, event, self.now);
        }
    }

    /// An attempt of a node to connect.
    fn dial(&mut self, node: usize, seen: &mut Sightings) {
        let other = 1 - node;
        let hellos = [self.hello(node), self.hello(other)];
        let discards = match &hellos[0] {
            Ok(hello) => hello.discard_my_data,
            Err(text) => return self.not_connected(node, text, seen),
        };
        let accepts = self.nodes[other].resource.accepts(self.nodes[other].peer(), discards);
        let links = self.greet(node, hellos);
        match links {
            Ok(links) if !self.is_cut && self.session.is_none() && accepts.is_ok() => {
                self.connect(node, links);
            }
            Ok(_) => self.not_connected(node, "not now", seen),
            Err(text) => self.not_connected(node, &text, seen),
        }
    }

    fn not_connected(&mut self, node: usize, text: &str, seen: &mut Sightings) {
        seen.see_text(text);
        let peer = self.nodes[node].peer();
        self.nodes[node].resource.handle_link(peer, LinkEvent::ConnectFailed, self.now);
    }

    /// What each of both makes of the other's greeting, that of `node` first.
    fn greet(
        &self,
        node: usize,
        heard: [Result<Hello, String>; 2],
    ) -> Result<[(Link, bool); 2], String> {
        let [of_node, of_other] = heard;
        let (of_node, of_other) = (of_node?, of_other?);
        let agree = |side: usize, theirs: &Hello| {
            let link = negotiate(&self.own_hello(side), theirs);
            link.map(|link| (link, theirs.discard_my_data)).map_err(|error| error.to_string())
        };
        Ok([agree(node, &of_other)?, agree(1 - node, &of_node)?])
    }

    fn own_hello(&self, node: usize) -> Hello {
        let peer = self.nodes[node].peer();
        Hello {
            versions: Versions { min: 1, max: 1 },
            features: 0,
            resource: "r0".to_owned(),
            sender: self.nodes[1 - node].peer(),
            receiver: peer,
            discard_my_data: self.nodes[node].resource.discards_my_data(peer),
            nonce: 2 * self.sessions + u64::from(node == 1),
        }
    }

    /// A node's greeting as it arrives at the other one.
    fn hello(&mut self, node: usize) -> Result<Hello, String> {
        let mut bytes: [u8; HELLO_BYTES] = self.own_hello(node).encode();
        if let Some(edit) = self.hello_edits[node].take() {
            edit.apply(&mut bytes);
            if edit.seals {
                let crc = crc32fast::hash(&bytes[..HELLO_BYTES - 4]);
                bytes[HELLO_BYTES - 4..].copy_from_slice(&crc.to_le_bytes());
                self.is_honest = false;
            }
        }
        Hello::decode(&bytes).map_err(|error| error.to_string())
    }

    fn connect(&mut self, node: usize, links: [(Link, bool); 2]) {
        self.sessions += 1;
        self.lies = usize::from(!self.is_honest);
        let mut sides = [links[0], links[1]];
        sides.rotate_left(node);
        let ids = [LinkSession(2 * self.sessions), LinkSession(2 * self.sessions + 1)];
        let keys = sides.map(|(link, _)| link.session_key);
        self.session = Some(Session {
            ids,
            keys,
            encoders: keys.map(Encoder::new),
            decoders: keys.map(StreamDecoder::new),
            wires: [VecDeque::new(), VecDeque::new()],
        });
        for (side, (link, peer_discards)) in sides.into_iter().enumerate() {
            let (session, session_id) = (ids[side], link.session_id);
            let up = LinkEvent::Up { session, session_id, peer_discards };
            let peer = self.nodes[side].peer();
            self.nodes[side].resource.handle_link(peer, up, self.now);
        }
    }
}
