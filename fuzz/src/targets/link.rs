//! One core and a peer that says whatever it likes, from the first byte of its greeting on.
//!
//! The input begins with 256 bytes that stand for the greeting (xor of a good one, so that zeroes
//! are it), then is a script: raw bytes, frames with fitting CRCs, and what operators and clients
//! do meanwhile. Until the greetings have agreed nothing that comes changes anything, nor does
//! anything of a session that is not there.

use std::time::Duration;

use tandem_replica::wire::limits::HELLO_BYTES;
use tandem_replica::wire::{
    Hello, Link, NodeId, Packet, Protocol, StreamDecoder, Versions, VolumeNumber, negotiate,
};
use tandem_replica::{Command, DiskError, Instant, LinkDown, LinkEvent, LinkSession};

use super::Target;
use crate::core::{Node, any_command, any_frame, any_request};
use crate::source::Source;
use crate::{Random, Sightings};

pub(super) const TARGET: Target = Target {
    name: "link",
    run,
    generate,
    words: &[b"TD", b"TANDEM\x01H", b"TANDEM\x01R", &[0x10, 0, 0]],
    len_max: 4 << 10,
    // What a node may have under way for a peer, and the longest frame.
    base_bytes: 16 << 20,
    per_byte: 32 << 10,
};

fn run(input: &[u8], seen: &mut Sightings) -> Result<(), String> {
    let mut source = Source::new(input);
    let mut world = World::new(source.byte());
    world.work(seen)?;
    let mut greeting = good_hello(1, 5).encode();
    let edits = source.bytes(HELLO_BYTES);
    greeting.iter_mut().zip(edits).for_each(|(byte, edit)| *byte ^= edit);
    let link = world.greet(&greeting, seen)?;
    if let Some(link) = link {
        world.connect(link);
    }
    while !source.is_empty() && world.steps < STEPS_MAX {
        world.play(&mut source, seen)?;
        world.work(seen)?;
    }
    Ok(())
}

const STEPS_MAX: usize = 20_000;

struct World {
    node: Node,
    now: Instant,
    link: Option<(LinkSession, u32, StreamDecoder)>,
    sessions: u64,
    steps: usize,
    /// Operations end at once.
    eager: bool,
}

impl World {
    fn new(mood: u8) -> Self {
        let now = Instant::default();
        let protocol = [Protocol::C, Protocol::B, Protocol::A][usize::from(mood) % 3];
        let mut node = Node::new(0, Node::formatted(0), protocol, 3, now);
        if mood & 64 == 0 {
            node.command(Command::Attach { volume: VolumeNumber(0) }, now);
        }
        if mood & 128 == 0 {
            node.command(Command::Connect { peer: NodeId(1), discard_my_data: false }, now);
        }
        Self { node, now, link: None, sessions: 0, steps: 0, eager: mood & 32 == 0 }
    }

    /// Takes a greeting as the daemon does; nothing may come of it but a link.
    fn greet(
        &mut self,
        greeting: &[u8; HELLO_BYTES],
        seen: &mut Sightings,
    ) -> Result<Option<Link>, String> {
        let theirs = match Hello::decode(greeting) {
            Ok(theirs) => theirs,
            Err(error) => {
                seen.see_text(&error.to_string());
                return self.is_deaf(seen).map(|()| None);
            }
        };
        match negotiate(&good_hello(0, 4), &theirs) {
            Ok(link) if link.session_id != 0 => Ok(Some(link)),
            Ok(link) => Err(format!("a session without a name: {link:?}")),
            Err(error) => {
                seen.see_text(&error.to_string());
                self.is_deaf(seen).map(|()| None)
            }
        }
    }

    /// Without a session packets change nothing.
    fn is_deaf(&mut self, seen: &mut Sightings) -> Result<(), String> {
        self.work(seen)?;
        let before = format!("{:?}", self.node.resource.status(self.now));
        let stale = LinkSession(self.sessions + 1000);
        let result = self.node.resource.handle_packet(NodeId(1), stale, Packet::Ping, self.now);
        let after = format!("{:?}", self.node.resource.status(self.now));
        self.node.drain(self.now)?;
        if result.is_ok() && before == after && self.node.sent.is_empty() {
            return Ok(());
        }
        Err("a packet of no session was heard".to_owned())
    }

    fn connect(&mut self, link: Link) {
        self.sessions += 1;
        let session = LinkSession(self.sessions);
        let key = link.session_key;
        self.link = Some((session, key, StreamDecoder::new(key)));
        let event = LinkEvent::Up { session, session_id: link.session_id, peer_discards: false };
        self.node.resource.handle_link(NodeId(1), event, self.now);
    }

    fn play(&mut self, source: &mut Source<'_>, seen: &mut Sightings) -> Result<(), String> {
        self.steps += 1;
        let now = self.now;
        match source.byte() {
            0..0x80 => {
                if let Some((_, key, _)) = self.link {
                    let frame = any_frame(source, key);
                    // As the next of its session: a decoder of its own knows no others.
                    let mut decoder = StreamDecoder::new(key);
                    decoder.push(&frame);
                    match decoder.pop() {
                        Ok(Some(packet)) => self.hear(packet, seen),
                        Ok(None) => {}
                        Err(error) => seen.see_text(&error.to_string()),
                    }
                }
            }
            0x80..0x90 => {
                let len = usize::from(source.byte());
                let bytes = source.bytes(len);
                self.receive(bytes, seen);
            }
            0x90..0xa0 => self.node.command(any_command(source, NodeId(1)), now),
            0xa0..0xb0 => self.node.request(any_request(source), now),
            0xb0..0xc8 => drop(self.node.end_op(usize::from(source.byte()), None, now)),
            0xc8..0xd0 => {
                let which = usize::from(source.byte());
                self.node.end_op(which, Some(DiskError::Io), now);
            }
            0xd0..0xe0 => {
                self.now = now + Duration::from_millis(1 << (source.byte() & 15));
                self.node.let_time_pass(self.now);
            }
            0xe0..0xe8 => self.hang_up(LinkDown::BrokenPipe),
            0xe8..0xf0 => {
                if let Ok(link) =
                    negotiate(&good_hello(0, self.sessions * 2 + 4), &good_hello(1, 5))
                {
                    self.connect(link);
                }
            }
            0xf0..0xf8 => {
                let stale = LinkSession(u64::from(source.byte()) + 100);
                let heard = self.node.resource.handle_packet(NodeId(1), stale, Packet::Ping, now);
                return heard.map_err(|error| format!("a stale packet was heard: {error}"));
            }
            0xf8.. => self.eager = !self.eager,
        }
        Ok(())
    }

    fn receive(&mut self, mut bytes: &[u8], seen: &mut Sightings) {
        while let Some((_, _, decoder)) = self.link.as_mut().filter(|_| !bytes.is_empty()) {
            let taken = decoder.push(bytes);
            bytes = &bytes[taken..];
            match decoder.pop() {
                Ok(Some(packet)) => self.hear(packet, seen),
                Ok(None) => {}
                Err(error) => {
                    seen.see_text(&error.to_string());
                    self.hang_up(LinkDown::ProtocolError);
                }
            }
        }
    }

    fn hear(&mut self, packet: Packet, seen: &mut Sightings) {
        let Some((session, ..)) = &self.link else { return };
        let stand = self.node.stand(self.now);
        seen.see((std::mem::discriminant(&packet), stand.connection, stand.replication as u8));
        match self.node.resource.handle_packet(NodeId(1), *session, packet, self.now) {
            Ok(()) => stand.see(seen),
            Err(error) => seen.see_text(&error.to_string()),
        }
    }

    fn hang_up(&mut self, reason: LinkDown) {
        if let Some((session, ..)) = self.link.take() {
            let event = LinkEvent::Down { session, reason };
            self.node.resource.handle_link(NodeId(1), event, self.now);
        }
    }

    /// Does what the node wants.
    fn work(&mut self, seen: &mut Sightings) -> Result<(), String> {
        self.node.drain(self.now)?;
        while self.eager && self.steps < STEPS_MAX && self.node.end_op(0, None, self.now) {
            self.steps += 1;
            self.node.drain(self.now)?;
        }
        for (session, packet) in std::mem::take(&mut self.node.sent) {
            seen.see((2, std::mem::discriminant(&packet)));
            let current = self.link.as_ref().map(|(current, ..)| *current);
            if current.is_none_or(|current| session.0 > current.0) {
                return Err(format!("it speaks to a peer that has not greeted: {packet:.100?}"));
            }
        }
        if self.node.hung_up.take().is_some_and(|it| self.link.as_ref().is_some_and(|l| l.0 == it))
        {
            self.link = None;
        }
        if std::mem::take(&mut self.node.dials) {
            self.node.resource.handle_link(NodeId(1), LinkEvent::ConnectFailed, self.now);
            self.node.drain(self.now)?;
        }
        self.node.stand(self.now).see(seen);
        Ok(())
    }
}

fn good_hello(node: u8, nonce: u64) -> Hello {
    Hello {
        versions: Versions { min: 1, max: 1 },
        features: 0,
        resource: "r0".to_owned(),
        sender: NodeId(node),
        receiver: NodeId(1 - node),
        discard_my_data: false,
        nonce,
    }
}

fn generate(random: &mut Random) -> Vec<u8> {
    let mut input = vec![random.byte() & 0x23];
    let mut edits = vec![0; HELLO_BYTES];
    if random.chance(10) {
        for _ in 0..1 + random.below(3) {
            let at = random.below(HELLO_BYTES);
            edits[at] = random.byte();
        }
    }
    input.extend(edits);
    for _ in 0..1 + random.below(24) {
        let op = random.byte();
        input.push(op);
        let len = random.below(40);
        input.extend(random.bytes(len));
    }
    input
}
