//! A client's bytes until it has chosen an export.
//!
//! The input says how the shell answers and how the bytes are cut into reads; what is said to the
//! client must not depend on the cutting. A handshake ends or wants more, and never holds or says
//! more than its limits allow.

use tandem_nbd::{
    ExportEntry, ExportInfo, ExportKey, Handshake, HandshakeOutput, Refusal, RefusalKind, wire,
};

use super::Target;
use crate::source::Source;
use crate::{Random, Sightings};

pub(super) const TARGET: Target = Target {
    name: "nbd_handshake",
    run,
    generate,
    words: &[
        b"IHAVEOPT",
        b"\0\0\0\x03",
        b"r0/0",
        b"base:allocation",
        b"x-tandem:out-of-sync/bob",
        b"qemu:dirty-bitmap:bob",
        b"base:",
        &[0, 0, 0, 7],
        &[0, 0, 0, 10],
        &[0, 0x10, 0, 1],
    ],
    len_max: 8 << 10,
    // Its own limit on input, twice over: each of the two ways to cut holds one.
    base_bytes: 1 << 20,
    per_byte: 512,
};

fn run(input: &[u8], seen: &mut Sightings) -> Result<(), String> {
    let mut source = Source::new(input);
    let (mood, cut) = (source.byte(), usize::from(source.byte()) + 1);
    let bytes = source.rest();
    let whole = Talk::new(mood).hear(bytes, usize::MAX, seen)?;
    let pieces = Talk::new(mood).hear(bytes, cut, &mut Sightings::default())?;
    if whole == pieces {
        return Ok(());
    }
    Err(format!("cut into pieces of {cut} bytes it says {pieces:02x?}, else {whole:02x?}"))
}

/// A handshake and what has been said in it.
struct Talk {
    handshake: Handshake,
    mood: u8,
    said: Vec<u8>,
}

impl Talk {
    fn new(mood: u8) -> Self {
        Self { handshake: Handshake::new(), mood, said: Vec::new() }
    }

    /// Everything that is said to a client that says `bytes`.
    fn hear(
        mut self,
        mut bytes: &[u8],
        cut: usize,
        seen: &mut Sightings,
    ) -> Result<Vec<u8>, String> {
        loop {
            match self.handshake.poll() {
                HandshakeOutput::Send(sent) => {
                    self.said.extend_from_slice(&sent);
                    see_replies(&sent, seen);
                }
                HandshakeOutput::NeedBytes if bytes.is_empty() => return Ok(self.said),
                HandshakeOutput::NeedBytes => {
                    let most = tandem_nbd::limits::HANDSHAKE_FEED_BYTES_MAX;
                    let (now, later) = bytes.split_at(bytes.len().min(cut).min(most));
                    self.handshake.handle_bytes(now);
                    bytes = later;
                }
                HandshakeOutput::QueryExport { name, purpose } => {
                    seen.see((0, name.len().min(5), purpose as u8));
                    let answer = self.export(&name);
                    self.handshake.answer_export(answer);
                }
                HandshakeOutput::QueryList => {
                    let entry =
                        |name: &str| ExportEntry { name: name.into(), description: "d".into() };
                    self.handshake.answer_list(&[entry("r0/0"), entry("r0/1")]);
                }
                HandshakeOutput::Ready { export, terms, rest } => {
                    seen.see((1, terms.replies as u8, terms.contexts.is_empty()));
                    if export != export_info(self.mood) {
                        return Err("it chose an export that nobody offered".to_owned());
                    }
                    self.said.extend_from_slice(format!("{terms:?}").as_bytes());
                    // What it took in and does not need any more is handed on, to the byte.
                    self.said.extend_from_slice(&rest);
                    self.said.extend_from_slice(bytes);
                    return Ok(self.said);
                }
                HandshakeOutput::Close(reason) => {
                    seen.see_text(&reason.to_string());
                    self.said.extend_from_slice(reason.to_string().as_bytes());
                    return Ok(self.said);
                }
            }
        }
    }

    fn export(&self, name: &str) -> Result<ExportInfo, Refusal> {
        if name == "r0/0" || (name.is_empty() && self.mood & 1 == 1) {
            return Ok(export_info(self.mood));
        }
        let kind = if self.mood & 2 == 2 { RefusalKind::Policy } else { RefusalKind::Unknown };
        Err(Refusal { kind, reason: format!("no '{name}'") })
    }
}

fn export_info(mood: u8) -> ExportInfo {
    ExportInfo {
        name: "r0/0".into(),
        description: if mood & 4 == 4 { "d".repeat(5000) } else { String::new() },
        size_bytes: 1 << 30,
        read_only: mood & 8 == 8,
        block_size: 4096,
        fast_zero: mood & 16 == 16,
        rotational: mood & 32 == 32,
        peers: vec!["bob".into(), "b".repeat(300)],
        key: ExportKey(7),
    }
}

/// Option and kind of each reply.
fn see_replies(mut sent: &[u8], seen: &mut Sightings) {
    while let Some((header, rest)) = sent.split_first_chunk::<20>() {
        if header[..8] != wire::OPTION_REPLY_MAGIC.to_be_bytes() {
            return;
        }
        seen.see(&header[8..16]);
        let len = u32::from_be_bytes([header[16], header[17], header[18], header[19]]);
        sent = rest.get(len as usize..).unwrap_or_default();
    }
}

fn generate(random: &mut Random) -> Vec<u8> {
    let mut input = vec![random.byte(), random.byte()];
    input.extend([0, 0, 0, random.byte() & 3]);
    let names: [&[u8]; 3] = [b"r0/0", b"", b"r1/7"];
    let queries: [&[u8]; 6] =
        [b"base:", b"base:allocation", b"qemu:", b"x-tandem:", b"x-tandem:out-of-sync/bob", b"z"];
    for _ in 0..random.below(8) {
        let name = *random.pick(&names);
        let option = u32::try_from(1 + random.below(12)).unwrap_or(0);
        let payload = match option {
            wire::option::EXPORT_NAME => name.to_vec(),
            wire::option::INFO | wire::option::GO => {
                let infos: Vec<u16> = (0..u16::from(random.byte() % 5)).collect();
                wire::encode_info_payload(name, &infos)
            }
            wire::option::LIST_META_CONTEXT | wire::option::SET_META_CONTEXT => {
                let count = random.below(4);
                let asked: Vec<&[u8]> = (0..count).map(|_| *random.pick(&queries)).collect();
                wire::encode_context_payload(name, &asked)
            }
            _ if random.chance(10) => {
                let len = random.below(40);
                random.bytes(len)
            }
            _ => Vec::new(),
        };
        input.extend(wire::encode_option(option, &payload));
    }
    let len = random.below(40);
    input.extend(random.bytes(len));
    input
}
