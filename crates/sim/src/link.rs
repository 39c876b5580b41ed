//! The network between the two nodes: sessions of a byte stream each way, as TCP would give them.
//!
//! Packets wait at their sender in two lanes, the ack lane goes first; from there on they are
//! frames of `tandem-wire`, bytes in flight that arrive in order, cut anywhere. A direction that is
//! cut is silent: what is in flight waits for the heal. A slow one takes longer, byte by byte or as
//! a whole. A closing end lets some of its bytes in
//! flight through and then an end of stream; a node without power says nothing until it boots. A
//! session's bytes reach that session's ends only.

use std::collections::{BTreeMap, VecDeque};

use bytes::Bytes;
use tandem_replica::LinkSession;
use tandem_wire::{Encoder, Lane, Packet, StreamDecoder};

use crate::clock::{Clock, MICROS, MILLIS};
use crate::event::Event;
use crate::prng::Prng;

/// Bytes in flight of one direction, above which packets wait at the sender.
const WINDOW_BYTES: usize = 256 << 10;

/// The most of a frame that arrives at once is what takes so long to arrive.
const PART_TIME: u64 = 50 * MILLIS;

/// The network.
#[derive(Debug)]
pub struct SimLink {
    sessions: BTreeMap<u64, Session>,
    cut: [bool; 2],
    /// By sender: what its bytes take longer, and how many times slower they go.
    slow: [Slowness; 2],
    /// By sender: until when what was sent slowly is on its way.
    slow_until: [u64; 2],
    pace: LinkPace,
    prng: Prng,
    next: u64,
}

/// How fast a network is.
#[derive(Clone, Copy, Debug)]
pub struct LinkPace {
    /// Shortest way of a byte, nanoseconds.
    pub low: u64,
    /// Longest.
    pub high: u64,
    /// Nanoseconds that each KiB adds.
    pub per_kib: u64,
    /// Times in a thousand that a frame arrives in several parts.
    pub split: u64,
}

impl LinkPace {
    /// Whether applications can fill it.
    pub fn is_narrow(&self) -> bool {
        self.per_kib > 20 * MICROS
    }
}

/// What a direction's bytes suffer for a while.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Slowness {
    /// Nanoseconds that everything takes longer.
    pub delay: u64,
    /// How many times longer each KiB takes.
    pub factor: u64,
}

#[derive(Debug)]
struct Session {
    id: u64,
    ends: [End; 2],
    /// By sender.
    streams: [Stream; 2],
}

#[derive(Debug)]
struct End {
    local: LinkSession,
    open: bool,
    up: bool,
    /// Lost power: the peer hears nothing until this node boots.
    mute: bool,
    /// The peer is never told of this end's closing.
    unheard: bool,
}

#[derive(Debug)]
struct Stream {
    acks: VecDeque<Packet>,
    data: VecDeque<Packet>,
    encoder: Encoder,
    decoder: StreamDecoder,
    flight: VecDeque<(u64, Piece)>,
    flight_bytes: usize,
    last_at: u64,
    /// When what was sent so far has left.
    free_at: u64,
}

#[derive(Debug)]
enum Piece {
    Bytes(Bytes),
    End,
}

/// What came in at one end.
#[derive(Debug)]
pub struct Arrival {
    /// The receiver's name of the session.
    pub local: LinkSession,
    /// Whole packets.
    pub packets: Vec<Packet>,
    /// Some bytes came.
    pub bytes: bool,
    /// The stream is damaged.
    pub damaged: bool,
    /// The stream has ended.
    pub ended: bool,
}

impl SimLink {
    /// A network with nothing cut and no session.
    pub fn new(pace: LinkPace, prng: Prng) -> Self {
        let slow = [Slowness::NONE; 2];
        let (cut, slow_until) = ([false; 2], [0; 2]);
        Self { sessions: BTreeMap::new(), cut, slow, slow_until, pace, prng, next: 0 }
    }

    /// A new session named by `locals` at its ends; returns its key and its id.
    pub fn open(&mut self, locals: [LinkSession; 2], now: u64) -> (u64, u64) {
        self.next += 1;
        let id = self.prng.word() | 1;
        let key = u32::try_from(id & 0xFFFF_FFFF).expect("32 bits");
        let session = Session {
            id,
            ends: locals.map(|local| End {
                local,
                open: true,
                up: false,
                mute: false,
                unheard: false,
            }),
            streams: [Stream::new(key, now), Stream::new(key, now)],
        };
        self.sessions.insert(self.next, session);
        (self.next, id)
    }

    /// The end of `node` is ready; `None` where it has been closed meanwhile. Returns the node's
    /// name and the id of the session.
    pub fn up(
        &mut self,
        key: u64,
        node: usize,
        clock: &mut Clock<Event>,
    ) -> Option<(LinkSession, u64)> {
        let session = self.sessions.get_mut(&key)?;
        let end = &mut session.ends[node];
        if !end.open {
            return None;
        }
        end.up = true;
        clock.after(MICROS, Event::Arrive { session: key, from: 1 - node });
        Some((end.local, session.id))
    }

    /// Queues a packet of `node`.
    pub fn send(&mut self, key: u64, node: usize, packet: Packet, clock: &mut Clock<Event>) {
        let Some(session) = self.sessions.get_mut(&key) else { return };
        if !session.ends[node].open {
            return;
        }
        let stream = &mut session.streams[node];
        match packet.lane() {
            Lane::Ack => stream.acks.push_back(packet),
            Lane::Data => stream.data.push_back(packet),
        }
        self.pump(key, node, clock);
    }

    /// What has come from `from` by now, for the other end.
    pub fn arrive(&mut self, key: u64, from: usize, clock: &mut Clock<Event>) -> Option<Arrival> {
        if self.cut[from] {
            return None;
        }
        let session = self.sessions.get_mut(&key)?;
        let end = &session.ends[1 - from];
        if !end.up {
            return None;
        }
        let mut arrival = Arrival::of(end.local);
        let stream = &mut session.streams[from];
        while stream.flight.front().is_some_and(|(at, _)| *at <= clock.now()) {
            match stream.flight.pop_front() {
                Some((_, Piece::Bytes(bytes))) => {
                    stream.flight_bytes -= bytes.len();
                    stream.decode(bytes, &mut arrival);
                }
                Some((_, Piece::End)) => arrival.ended = true,
                None => break,
            }
        }
        self.pump(key, from, clock);
        (arrival.bytes || arrival.ended).then_some(arrival)
    }

    /// The end of `node` closes; a `mute` one without a word.
    pub fn close(&mut self, key: u64, node: usize, mute: bool, clock: &mut Clock<Event>) {
        let Some(session) = self.sessions.get_mut(&key) else { return };
        if !session.ends[node].open {
            return;
        }
        session.ends[node] = End { open: false, up: false, mute, ..session.ends[node] };
        session.streams[1 - node].drop_all();
        session.streams[node].cut_short(&mut self.prng);
        if !session.ends[1 - node].open {
            self.sessions.remove(&key);
            return;
        }
        if !mute && !session.ends[node].unheard {
            self.end_stream(key, node, clock);
        }
    }

    /// The network resets every session: both ends see it end, at some byte.
    pub fn reset(&mut self, clock: &mut Clock<Event>) {
        let keys: Vec<u64> = self.sessions.keys().copied().collect();
        for key in keys {
            for node in [0, 1] {
                let session = self.sessions.get_mut(&key).expect("just listed");
                session.streams[node].cut_short(&mut self.prng);
                self.end_stream(key, node, clock);
            }
        }
    }

    /// The network ends every session at the end of `node`; the other end hears nothing of it.
    pub fn reset_one_end(&mut self, node: usize, clock: &mut Clock<Event>) {
        let keys: Vec<u64> = self.sessions.keys().copied().collect();
        for key in keys {
            let session = self.sessions.get_mut(&key).expect("just listed");
            session.ends[node].unheard = true;
            session.streams[1 - node].cut_short(&mut self.prng);
            self.end_stream(key, 1 - node, clock);
        }
    }

    /// Whole packets on their way to `node` that its end will not take any more.
    pub fn undelivered(&mut self, key: u64, node: usize) -> Vec<Packet> {
        let Some(session) = self.sessions.get_mut(&key) else { return Vec::new() };
        let stream = &mut session.streams[1 - node];
        let mut rest = Arrival::of(session.ends[node].local);
        while let Some((_, piece)) = stream.flight.pop_front() {
            if let Piece::Bytes(bytes) = piece {
                stream.decode(bytes, &mut rest);
            }
        }
        stream.flight_bytes = 0;
        rest.packets
    }

    /// Whether the end of `node` has not closed.
    pub fn is_open(&self, key: u64, node: usize) -> bool {
        self.sessions.get(&key).is_some_and(|session| session.ends[node].open)
    }

    /// Flips one bit of what is in flight; whether there was any.
    pub fn corrupt(&mut self) -> bool {
        for session in self.sessions.values_mut() {
            for stream in &mut session.streams {
                if stream.corrupt(&mut self.prng) {
                    return true;
                }
            }
        }
        false
    }

    /// A node that had lost power is there again and knows nothing of its old sessions.
    pub fn boot(&mut self, node: usize, clock: &mut Clock<Event>) {
        let muted: Vec<u64> = (self.sessions.iter())
            .filter(|(_, session)| session.ends[node].mute)
            .map(|(key, _)| *key)
            .collect();
        for key in muted {
            self.sessions.get_mut(&key).expect("just listed").ends[node].mute = false;
            self.end_stream(key, node, clock);
        }
    }

    /// Cuts what `from` sends, silently.
    pub fn cut(&mut self, from: usize) {
        self.cut[from] = true;
    }

    /// Ends a cut.
    pub fn heal(&mut self, from: usize, clock: &mut Clock<Event>) {
        self.cut[from] = false;
        for key in self.sessions.keys() {
            clock.after(self.pace.low, Event::Arrive { session: *key, from });
        }
    }

    /// Slows what `from` sends.
    pub fn slow_down(&mut self, from: usize, slowness: Slowness) {
        self.slow[from] = slowness;
    }

    /// What `from` sends is as fast as the network.
    pub fn ease(&mut self, from: usize) {
        self.slow[from] = Slowness::NONE;
    }

    /// Whether bytes of `from` take longer than usual, or such bytes are still on their way.
    pub fn is_slow(&self, from: usize, now: u64) -> bool {
        self.slow[from] != Slowness::NONE || now < self.slow_until[from]
    }

    /// When the last of what was sent slowly arrives, or has arrived.
    pub fn slow_until(&self) -> u64 {
        self.slow_until[0].max(self.slow_until[1])
    }

    /// Whether bytes of `from` arrive.
    pub fn is_cut(&self, from: usize) -> bool {
        self.cut[from]
    }

    /// Whether nothing waits or flies in either direction.
    pub fn is_idle(&self) -> bool {
        self.sessions.values().flat_map(|session| &session.streams).all(Stream::is_idle)
    }

    /// The same of one session.
    pub fn is_session_idle(&self, key: u64) -> bool {
        self.sessions.get(&key).is_none_or(|session| session.streams.iter().all(Stream::is_idle))
    }

    /// The time one message takes.
    pub fn delay(&mut self) -> u64 {
        self.prng.log_between(self.pace.low, self.pace.high)
    }

    fn end_stream(&mut self, key: u64, node: usize, clock: &mut Clock<Event>) {
        let delay = self.delay();
        let Some(session) = self.sessions.get_mut(&key) else { return };
        let stream = &mut session.streams[node];
        stream.last_at = stream.last_at.max(clock.now() + delay);
        stream.flight.push_back((stream.last_at, Piece::End));
        clock.at(stream.last_at, Event::Arrive { session: key, from: node });
    }

    /// Moves packets from the lanes into flight while the window has room.
    fn pump(&mut self, key: u64, from: usize, clock: &mut Clock<Event>) {
        let Some(session) = self.sessions.get_mut(&key) else { return };
        let deaf = !session.ends[1 - from].open;
        let stream = &mut session.streams[from];
        if deaf || matches!(stream.flight.back(), Some((_, Piece::End))) {
            stream.acks.clear();
            stream.data.clear();
            return;
        }
        while stream.flight_bytes < WINDOW_BYTES {
            let Some(packet) = stream.acks.pop_front().or_else(|| stream.data.pop_front()) else {
                return;
            };
            let frame = stream.encoder.encode(&packet);
            let way = self.prng.log_between(self.pace.low, self.pace.high);
            let Slowness { delay, factor } = self.slow[from];
            let per_kib = self.pace.per_kib * factor;
            stream.free_at = stream.free_at.max(clock.now());
            let mut rest = frame.payload.unwrap_or_default();
            let mut part = Bytes::copy_from_slice(&frame.header);
            while !part.is_empty() {
                stream.last_at = stream.last_at.max(stream.free_at + way + delay);
                stream.fly(part, self.pace.split, &mut self.prng);
                clock.at(stream.last_at, Event::Arrive { session: key, from });
                // What takes long does not come all at once.
                part = rest.split_to(rest.len().min(bytes_within(PART_TIME, per_kib)));
                stream.free_at += part.len() as u64 * per_kib / 1024;
            }
            if self.slow[from] != Slowness::NONE {
                self.slow_until[from] = stream.last_at;
            }
        }
    }
}

/// Bytes that arrive in `time`, of which each KiB takes `per_kib` nanoseconds.
fn bytes_within(time: u64, per_kib: u64) -> usize {
    usize::try_from(time * 1024 / per_kib.max(1)).expect("64 bits").max(512)
}

impl Slowness {
    /// None at all.
    pub const NONE: Self = Self { delay: 0, factor: 1 };
}

impl Arrival {
    fn of(local: LinkSession) -> Self {
        Self { local, packets: Vec::new(), bytes: false, damaged: false, ended: false }
    }
}

impl Stream {
    fn new(key: u32, now: u64) -> Self {
        Self {
            acks: VecDeque::new(),
            data: VecDeque::new(),
            encoder: Encoder::new(key),
            decoder: StreamDecoder::new(key),
            flight: VecDeque::new(),
            flight_bytes: 0,
            last_at: now,
            free_at: now,
        }
    }

    fn fly(&mut self, mut bytes: Bytes, split: u64, prng: &mut Prng) {
        if bytes.is_empty() {
            return;
        }
        self.flight_bytes += bytes.len();
        if bytes.len() > 1 && prng.per_mille(split) {
            let at = 1 + prng.index(bytes.len() - 1);
            let head = bytes.split_to(at);
            self.flight.push_back((self.last_at, Piece::Bytes(head)));
            self.last_at += prng.between(1, 20 * MICROS);
        }
        self.flight.push_back((self.last_at, Piece::Bytes(bytes)));
    }

    fn decode(&mut self, mut bytes: Bytes, arrival: &mut Arrival) {
        arrival.bytes = true;
        while !bytes.is_empty() && !arrival.damaged {
            self.decoder.push_from(&mut bytes);
            loop {
                match self.decoder.pop() {
                    Ok(Some(packet)) => arrival.packets.push(packet),
                    Ok(None) => break,
                    Err(_) => {
                        arrival.damaged = true;
                        break;
                    }
                }
            }
        }
    }

    /// What waits is lost, and what flies from some byte on.
    fn cut_short(&mut self, prng: &mut Prng) {
        self.acks.clear();
        self.data.clear();
        if self.flight.is_empty() {
            return;
        }
        let keep = prng.index(self.flight.len() + 1);
        let mut cut = self.flight.split_off(keep);
        if let Some((at, Piece::Bytes(mut bytes))) = cut.pop_front() {
            bytes.truncate(prng.index(bytes.len()));
            if !bytes.is_empty() {
                self.flight.push_back((at, Piece::Bytes(bytes)));
            }
        }
        self.flight_bytes = (self.flight.iter())
            .map(|(_, piece)| match piece {
                Piece::Bytes(bytes) => bytes.len(),
                Piece::End => 0,
            })
            .sum();
    }

    fn drop_all(&mut self) {
        self.acks.clear();
        self.data.clear();
        self.flight.clear();
        self.flight_bytes = 0;
    }

    fn corrupt(&mut self, prng: &mut Prng) -> bool {
        let Some((_, Piece::Bytes(bytes))) = self.flight.front_mut() else { return false };
        let mut copy = bytes.to_vec();
        let at = prng.index(copy.len());
        copy[at] ^= 1 << prng.below(8);
        *bytes = Bytes::from(copy);
        true
    }

    fn is_idle(&self) -> bool {
        self.acks.is_empty() && self.data.is_empty() && self.flight.is_empty()
    }
}

#[cfg(test)]
mod tests;
