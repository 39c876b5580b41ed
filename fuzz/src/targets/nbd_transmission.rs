//! A client's bytes once it has chosen an export.
//!
//! The input is a script: bytes arrive, parts of I/O end well or badly and in any order, replies
//! are taken or left, the client hangs up. Limits hold all the time, parts lie inside the export,
//! nobody gets more than one reply, and when everything has ended nothing is left.

use std::collections::BTreeMap;

use bytes::Bytes;
use tandem_nbd::{
    ExportInfo, ExportKey, Extent, Handshake, HandshakeOutput, Limits, Outcome, Part, PartOp,
    Replies, Reply, ReplyError, Step, Terms, Transmission, wire,
};

use super::Target;
use crate::source::Source;
use crate::{Random, Sightings};

pub(super) const TARGET: Target = Target {
    name: "nbd_transmission",
    run,
    generate,
    words: &[
        &wire::REQUEST_MAGIC.to_be_bytes(),
        &wire::EXTENDED_REQUEST_MAGIC.to_be_bytes(),
        &[0, 1, 0, 1],
        &[0, 0, 0, 7],
        &[0, 0, 0, 6],
        &[0, 0, 0x10, 0],
        &[4, 0, 0, 0],
    ],
    len_max: 8 << 10,
    // It holds no data: a table of parts, and replies that are their headers.
    base_bytes: 1 << 20,
    per_byte: 4 << 10,
};

const SIZE_BYTES: u64 = (1 << 40) + 512;
const IN_FLIGHT: usize = 8;
const IN_FLIGHT_BYTES: usize = 1 << 20;

fn run(input: &[u8], seen: &mut Sightings) -> Result<(), String> {
    let mut source = Source::new(input);
    let mut server = Server::new(&mut source);
    while !source.is_empty() {
        match source.byte() {
            0..0x90 => {
                let len = usize::from(source.byte());
                server.receive(source.bytes(len), seen)?;
            }
            0x90..0xc0 => server.complete(source.byte(), None),
            0xc0..0xd0 => {
                let error = source.pick(&[ReplyError::Io, ReplyError::Invalid]);
                server.complete(source.byte(), Some(error));
            }
            0xd0..0xf8 => server.reply(seen)?,
            0xf8.. => server.hang_up(),
        }
        server.check()?;
        server.see(seen);
    }
    server.end(seen)
}

struct Server {
    machine: Transmission,
    replies: Replies,
    /// Received and not yet consumed.
    stream: Vec<u8>,
    /// Parts under way.
    parts: Vec<Part>,
    /// Bytes of writes whose data are arriving, by the number of their part.
    filling: BTreeMap<usize, u32>,
    /// Bytes that it has taken from the stream.
    taken: usize,
    answers: usize,
    hung_up: bool,
    stopped: bool,
}

impl Server {
    fn new(source: &mut Source<'_>) -> Self {
        let replies = source.pick(&[Replies::Simple, Replies::Structured, Replies::Extended]);
        let read_only = source.below(8) == 0;
        let export = ExportInfo {
            name: "r0/0".into(),
            description: String::new(),
            size_bytes: SIZE_BYTES,
            read_only,
            block_size: 512,
            fast_zero: source.bool(),
            rotational: false,
            peers: vec!["bob".into()],
            key: ExportKey(0),
        };
        let terms = agreed(&export, replies, source.below(4) > 0);
        let limits = Limits {
            requests_in_flight_max: IN_FLIGHT,
            bytes_in_flight_max: IN_FLIGHT_BYTES as u64,
        };
        Self {
            machine: Transmission::new(export, terms, limits),
            replies,
            stream: Vec::new(),
            parts: Vec::new(),
            filling: BTreeMap::new(),
            taken: 0,
            answers: 0,
            hung_up: false,
            stopped: false,
        }
    }

    fn receive(&mut self, bytes: &[u8], seen: &mut Sightings) -> Result<(), String> {
        if self.stopped || self.hung_up {
            return Ok(());
        }
        self.stream.extend_from_slice(bytes);
        while self.machine.wants_input() {
            let (taken, step) = self.machine.next(&self.stream);
            self.stream.drain(..taken);
            self.taken += taken;
            match step {
                Step::NeedBytes | Step::Full => return Ok(()),
                Step::Part(part) => self.begin(part, seen)?,
                Step::Fill { part, at, len } => {
                    check_part(&part)?;
                    let count = self.stream.len().min(len as usize);
                    let filled = u32::try_from(count).expect("at most the length of a part");
                    *self.filling.entry(part.id.index()).or_default() = at + filled;
                    self.machine.filled(filled);
                    self.stream.drain(..count);
                    if count == 0 {
                        return Ok(());
                    }
                }
                Step::Stop(reason) => {
                    seen.see_text(&reason.to_string());
                    self.stopped = true;
                    return Ok(());
                }
            }
        }
        Ok(())
    }

    fn begin(&mut self, part: Part, seen: &mut Sightings) -> Result<(), String> {
        check_part(&part)?;
        seen.see((std::mem::discriminant(&part.op), part.fua, part.len.min(2)));
        if part.op == PartOp::Write {
            let filled = self.filling.remove(&part.id.index());
            if filled != Some(part.len) {
                return Err(format!("{part:?} begins with {filled:?} bytes of data"));
            }
        }
        self.parts.push(part);
        Ok(())
    }

    fn complete(&mut self, which: u8, error: Option<ReplyError>) {
        if self.parts.is_empty() {
            return;
        }
        let part = self.parts.swap_remove(usize::from(which) % self.parts.len());
        let outcome = match part.op {
            PartOp::Read => {
                let data = if which & 64 == 64 { &ZEROES[..] } else { &ONES[..] };
                Outcome::Data(Bytes::from_static(&data[..part.len as usize]))
            }
            PartOp::Extents { .. } => {
                let len = u64::from(part.len / (1 + u32::from(which)) + 1);
                Outcome::Extents(vec![Extent { len, flags: 1 }, Extent { len: 1 << 60, flags: 0 }])
            }
            PartOp::Write
            | PartOp::Zeroes { .. }
            | PartOp::ZeroesEdge
            | PartOp::Trim
            | PartOp::Flush => Outcome::Done,
        };
        self.machine.complete(part.id, error.map_or(Ok(outcome), Err));
    }

    fn reply(&mut self, seen: &mut Sightings) -> Result<(), String> {
        let Some(reply) = self.machine.poll_reply() else { return Ok(()) };
        if self.hung_up {
            return Err("a reply to nobody".to_owned());
        }
        self.answers += 1;
        let head = match reply {
            Reply::One(piece) => piece,
            Reply::Many(pieces) => pieces.into_iter().next().ok_or("a reply of nothing")?,
        };
        let bytes = head.head();
        let magic = match self.replies {
            Replies::Simple => wire::SIMPLE_REPLY_MAGIC,
            Replies::Structured => wire::STRUCTURED_REPLY_MAGIC,
            Replies::Extended => wire::EXTENDED_REPLY_MAGIC,
        };
        if !bytes.starts_with(&magic.to_be_bytes()) {
            return Err(format!("a reply that begins with {:02x?}", &bytes[..bytes.len().min(8)]));
        }
        seen.see(&bytes[4..8]);
        Ok(())
    }

    fn hang_up(&mut self) {
        if !self.hung_up {
            self.machine.hang_up();
            self.hung_up = true;
        }
    }

    fn check(&mut self) -> Result<(), String> {
        let (requests, bytes) = (self.machine.in_flight(), self.machine.bytes_in_flight());
        if (self.answers + requests) * wire::REQUEST_HEADER_BYTES > self.taken {
            let answers = self.answers;
            return Err(format!("{answers} answers for {} bytes of requests", self.taken));
        }
        // One request may be larger than the limit, when it is alone.
        let most = (IN_FLIGHT_BYTES as u64).max(u64::from(tandem_nbd::limits::REQUEST_BYTES_MAX));
        if requests > IN_FLIGHT || bytes > most || (requests == 0 && bytes > 0) {
            return Err(format!("{requests} requests and {bytes} bytes are in flight"));
        }
        Ok(())
    }

    fn see(&self, seen: &mut Sightings) {
        let machine = &self.machine;
        let under_way = (machine.in_flight(), self.parts.len().min(20), machine.is_mid_request());
        seen.see((self.replies as u8, under_way, self.stopped, self.hung_up));
    }

    /// Everything ends that is under way: nothing is left but a request that has not arrived.
    fn end(mut self, seen: &mut Sightings) -> Result<(), String> {
        for _ in 0..100_000 {
            while !self.parts.is_empty() {
                self.complete(0, None);
            }
            let before = self.answers;
            self.reply(seen)?;
            self.receive(&[], seen)?;
            self.check()?;
            if self.answers == before && self.parts.is_empty() {
                let left = self.machine.in_flight();
                let arriving = usize::from(self.machine.is_mid_request());
                if left <= arriving {
                    return Ok(());
                }
                return Err(format!("{left} requests are never answered"));
            }
        }
        Err("it does not come to an end".to_owned())
    }
}

/// What a client and the server agree on that want these replies, and contexts or none.
fn agreed(export: &ExportInfo, replies: Replies, wants_contexts: bool) -> Terms {
    let mut client = wire::client_flag::ALL.to_be_bytes().to_vec();
    let form = match replies {
        Replies::Simple => None,
        Replies::Structured => Some(wire::option::STRUCTURED_REPLY),
        Replies::Extended => Some(wire::option::EXTENDED_HEADERS),
    };
    client.extend(form.into_iter().flat_map(|option| wire::encode_option(option, b"")));
    if form.is_some() && wants_contexts {
        let queries: [&[u8]; 2] = [b"base:allocation", b"x-tandem:out-of-sync/bob"];
        let payload = wire::encode_context_payload(b"r0/0", &queries);
        client.extend(wire::encode_option(wire::option::SET_META_CONTEXT, &payload));
    }
    let payload = wire::encode_info_payload(b"r0/0", &[]);
    client.extend(wire::encode_option(wire::option::GO, &payload));
    let mut handshake = Handshake::new();
    loop {
        match handshake.poll() {
            HandshakeOutput::Send(_) => {}
            HandshakeOutput::NeedBytes => handshake.handle_bytes(&std::mem::take(&mut client)),
            HandshakeOutput::QueryExport { .. } => handshake.answer_export(Ok(export.clone())),
            HandshakeOutput::Ready { terms, .. } => return terms,
            other @ (HandshakeOutput::QueryList | HandshakeOutput::Close(_)) => {
                panic!("a client that keeps the rules is told {other:?}")
            }
        }
    }
}

fn check_part(part: &Part) -> Result<(), String> {
    let end = part.offset.checked_add(u64::from(part.len));
    let most = tandem_nbd::limits::PART_BYTES_MAX;
    let is_bounded = !matches!(part.op, PartOp::Read | PartOp::Write) || part.len <= most;
    if end.is_some_and(|end| end <= SIZE_BYTES) && is_bounded {
        return Ok(());
    }
    Err(format!("{part:?} of an export of {SIZE_BYTES} bytes"))
}

/// What a disk may have to say.
static ZEROES: [u8; PART_BYTES] = [0; PART_BYTES];
static ONES: [u8; PART_BYTES] = [1; PART_BYTES];
const PART_BYTES: usize = tandem_nbd::limits::PART_BYTES_MAX as usize;

fn generate(random: &mut Random) -> Vec<u8> {
    let replies = random.below(3);
    let mut input = vec![
        u8::try_from(replies).unwrap_or(0),
        1 + random.byte() % 7,
        random.byte(),
        random.byte(),
    ];
    for cookie in 0..random.below(12) as u64 {
        let command = *random.pick(&[0, 0, 1, 1, 1, 3, 4, 5, 6, 6, 7, 2, 9]);
        let near_end = SIZE_BYTES - random.number() % 8192;
        let offset = *random.pick(&[0, 512, 4095, 1 << 20, near_end, u64::MAX]);
        let len =
            *random.pick(&[0, 1, 512, 4096, 5000, 200, 1 << 20, 64 << 20, u64::from(u32::MAX)]);
        let len = if command == wire::command::WRITE { len.min(200) } else { len };
        let flags = if random.chance(60) { 0 } else { u16::from(random.byte() & 63) };
        let header = wire::RequestHeader { flags, command, cookie, offset, len };
        let mut bytes = match replies {
            2 => header.encode_extended().to_vec(),
            _ => header.encode().to_vec(),
        };
        if command == wire::command::WRITE {
            bytes.resize(bytes.len() + usize::try_from(len).unwrap_or(0), 0xaa);
        }
        input.extend([0, u8::try_from(bytes.len()).unwrap_or(255)]);
        input.extend(bytes);
        for _ in 0..random.below(4) {
            input.extend([*random.pick(&[0x90, 0x90, 0xc0, 0xd0, 0xd0]), random.byte()]);
        }
    }
    input
}
