//! What a client sees of the handshake. Every script is fed whole and cut into small pieces: how
//! the bytes arrive must make no difference.

use bytes::BufMut;
use proptest::prelude::*;

use super::*;
use crate::error::NameError;
use crate::export::{ExportKey, RefusalKind};
use crate::wire::{
    GREETING_BYTES, OPTION_REPLY_MAGIC, encode_context_payload, encode_info_payload, encode_option,
    info,
};

mod contexts;
mod golden;
mod table;

/// How a script ended.
#[derive(Debug, Clone, PartialEq, Eq)]
enum End {
    NeedsBytes,
    Ready { export: ExportInfo, terms: Terms, rest: Vec<u8> },
    Closed(CloseReason),
}

fn export() -> ExportInfo {
    ExportInfo {
        name: "r0/0".into(),
        description: "r0, Primary, UpToDate".into(),
        size_bytes: 0x0123_4567_8000,
        read_only: false,
        block_size: 4096,
        fast_zero: true,
        rotational: false,
        peers: vec!["bob".into(), "eve".into()],
        key: ExportKey(42),
    }
}

/// The end of a handshake in which nothing but the export was chosen.
fn ready(rest: &[u8]) -> End {
    End::Ready { export: export(), terms: Terms::default(), rest: rest.to_vec() }
}

/// The shell's side of [`HandshakeOutput::QueryExport`].
fn look_up(name: &str) -> Result<ExportInfo, Refusal> {
    let refuse = |kind, reason: &str| Err(Refusal { kind, reason: reason.into() });
    match name {
        "r0/0" | "" => Ok(export()),
        "read-only" => Ok(ExportInfo { read_only: true, ..export() }),
        "secondary" => refuse(RefusalKind::Policy, "r1 is Secondary on this node"),
        "stopping" => refuse(RefusalKind::Shutdown, "going down"),
        _ => refuse(RefusalKind::Unknown, "no such export"),
    }
}

/// Feeds a script in pieces of `piece_len` and returns all that the server sent, and the end.
fn run(script: &[u8], piece_len: usize) -> (Vec<u8>, End) {
    let mut handshake = Handshake::new();
    let mut pieces = script.chunks(piece_len);
    let mut sent = Vec::new();
    loop {
        match handshake.poll() {
            HandshakeOutput::Send(bytes) => sent.extend(bytes),
            HandshakeOutput::NeedBytes => match pieces.next() {
                Some(piece) => handshake.handle_bytes(piece),
                None => return (sent, End::NeedsBytes),
            },
            HandshakeOutput::QueryExport { name, .. } => handshake.answer_export(look_up(&name)),
            HandshakeOutput::QueryList => handshake.answer_list(&[
                ExportEntry { name: "r0/0".into(), description: "r0, Primary".into() },
                ExportEntry { name: "r1/0".into(), description: String::new() },
            ]),
            HandshakeOutput::Ready { export, terms, rest } => {
                let rest = rest.iter().chain(pieces.flatten()).copied().collect();
                return (sent, End::Ready { export, terms, rest });
            }
            HandshakeOutput::Close(reason) => return (sent, End::Closed(reason)),
        }
        assert!(handshake.input.capacity() <= 2 * HANDSHAKE_BUFFER_BYTES_MAX);
    }
}

/// Runs a script in several cuts, demands the same outcome from each and returns it.
fn run_all_ways(script: &[u8]) -> (Vec<u8>, End) {
    let whole = run(script, crate::limits::HANDSHAKE_FEED_BYTES_MAX);
    for piece_len in [1, 7, 4096] {
        assert!(run(script, piece_len) == whole, "cut every {piece_len} bytes");
    }
    whole
}

fn script(client_flags: u32, options: &[Vec<u8>]) -> Vec<u8> {
    let mut script = client_flags.to_be_bytes().to_vec();
    script.extend(options.concat());
    script
}

fn go(name: &[u8], infos: &[u16]) -> Vec<u8> {
    encode_option(option::GO, &encode_info_payload(name, infos))
}

/// A reply to an option: the option, the type, the payload.
type OptionReply = (u32, u32, Vec<u8>);

/// Takes apart what the server sent after its greeting.
fn replies(sent: &[u8]) -> Vec<OptionReply> {
    let mut sent = &sent[GREETING_BYTES..];
    let mut replies = Vec::new();
    while sent.has_remaining() {
        assert_eq!(sent.get_u64(), OPTION_REPLY_MAGIC);
        let (option, reply, len) = (sent.get_u32(), sent.get_u32(), sent.get_u32());
        replies.push((option, reply, sent.copy_to_bytes(len as usize).to_vec()));
    }
    replies
}

#[test]
fn questions_are_repeated_until_answered_and_wait_for_no_byte() {
    let mut handshake = Handshake::new();
    assert!(matches!(handshake.poll(), HandshakeOutput::Send(_)));
    handshake.handle_bytes(&script(client_flag::ALL, &[go(b"x", &[])]));
    for _ in 0..2 {
        let name = "x".to_owned();
        assert_eq!(handshake.poll(), HandshakeOutput::QueryExport { name, purpose: Purpose::Go });
    }
    handshake.handle_bytes(&encode_option(option::LIST, &[]));
    handshake.answer_export(look_up("x"));
    assert!(matches!(handshake.poll(), HandshakeOutput::Send(_)));
    assert_eq!(handshake.poll(), HandshakeOutput::QueryList);
    assert_eq!(handshake.poll(), HandshakeOutput::QueryList);
}

#[test]
fn more_than_was_asked_for_closes_and_is_not_kept() {
    let mut handshake = Handshake::new();
    assert!(matches!(handshake.poll(), HandshakeOutput::Send(_)));
    for _ in 0..10 {
        handshake.handle_bytes(&vec![0; HANDSHAKE_BUFFER_BYTES_MAX / 2 + 1]);
        assert!(handshake.input.len() <= HANDSHAKE_BUFFER_BYTES_MAX);
    }
    assert_eq!(handshake.poll(), HandshakeOutput::Close(CloseReason::InputOverflow));
}

#[test]
fn strings_of_ours_are_cut_to_what_the_protocol_allows() {
    let mut output = BytesMut::new();
    let text = "é".repeat(STRING_BYTES_MAX);
    answer::error(&mut output, option::GO, option_reply::ERR_UNKNOWN, &text);
    assert_eq!(output.len(), 20 + 4096);
    output.clear();
    answer::error(&mut output, option::GO, option_reply::ERR_UNKNOWN, &format!("x{text}"));
    assert_eq!(output.len(), 20 + 4095, "no character is cut in two");
}

/// Scripts that get past the first checks now and then.
fn any_script() -> impl Strategy<Value = Vec<u8>> {
    let payload = prop_oneof![
        prop::collection::vec(any::<u8>(), 0..40),
        prop::sample::select(vec!["r0/0", "", "secondary", "nope"])
            .prop_map(|name| encode_info_payload(name.as_bytes(), &[1, 2, 3, 9])),
        prop::sample::select(vec!["base:allocation", "qemu:", "x-tandem:out-of-sync/eve"])
            .prop_map(|query| encode_context_payload(b"r0/0", &[query.as_bytes(), b"else"])),
    ];
    let option = (0..13_u32, payload).prop_map(|(option, payload)| encode_option(option, &payload));
    let broken = (0..12_u32, any::<u32>(), prop::collection::vec(any::<u8>(), 0..40)).prop_map(
        |(option, len, payload)| {
            let mut bytes = encode_option(option, &payload);
            bytes[12..16].copy_from_slice(&(len >> (len % 32)).to_be_bytes());
            bytes
        },
    );
    let garbage = prop::collection::vec(any::<u8>(), 0..60);
    let part = prop_oneof![8 => option, 2 => broken, 1 => garbage];
    let flags = prop_oneof![9 => 0..4_u32, 1 => any::<u32>()];
    (flags, prop::collection::vec(part, 0..70)).prop_map(|(flags, parts)| script(flags, &parts))
}

proptest! {
    #[test]
    fn any_bytes_are_survived_and_cuts_make_no_difference(
        script in prop_oneof![any_script(), prop::collection::vec(any::<u8>(), 0..400)],
        piece_len in 1..200_usize,
    ) {
        let whole = run(&script, crate::limits::HANDSHAKE_FEED_BYTES_MAX);
        prop_assert_eq!(run(&script, piece_len), whole);
    }
}
