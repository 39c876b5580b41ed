//! BLOCK_STATUS: one part for each context, one chunk of extents for each of them.

use super::*;
use crate::context::{Context, ContextKind, ContextSet, Extent};
use crate::limits::EXTENT_BYTES;
use crate::terms::Replies;
use crate::wire::command_flag::REQ_ONE;

fn terms(replies: Replies, contexts: usize) -> Terms {
    let mut set = ContextSet::default();
    Context::all(&export(false).peers).take(contexts).for_each(|context| set.insert(context));
    Terms { replies, contexts: set }
}

fn parts(machine: &mut Transmission, stream: &[u8]) -> Vec<Part> {
    let mut parts = Vec::new();
    let mut stream = stream;
    loop {
        let (consumed, step) = machine.next(stream);
        stream = &stream[consumed..];
        let Step::Part(part) = step else { return parts };
        parts.push(part);
    }
}

fn extent(len: u64, flags: u32) -> Extent {
    Extent { len, flags }
}

fn named(header: RequestHeader) -> RequestHeader {
    RequestHeader { cookie: u64::from_be_bytes(*b"cookie!!"), ..header }
}

#[test]
fn golden_one_context() {
    let terms = terms(Replies::Structured, 1);
    let mut machine = Transmission::new(export(false), terms, Limits::default());
    let stream = named(header(command::BLOCK_STATUS, 0x1000, 0x3000)).encode();
    let parts = parts(&mut machine, &stream);
    let [part] = parts[..] else { panic!("{parts:?}") };
    assert!(matches!(part.op, PartOp::Extents { context, one: false }
        if context.kind() == ContextKind::Allocation));
    assert_eq!((part.offset, part.len), (0x1000, 0x3000));
    let found = vec![extent(0x1000, 0), extent(0x800, 3), extent(0x80_0000, 3)];
    machine.complete(part.id, Ok(Outcome::Extents(found)));
    let expected = b"\x66\x8e\x33\xef\0\x01\0\x05cookie!!\0\0\0\x14\0\0\0\x01\
                     \0\0\x10\0\0\0\0\0\0\0\x20\0\0\0\0\x03";
    assert_eq!(reply_bytes(&mut machine).unwrap(), expected);
    assert_eq!((machine.in_flight(), machine.bytes_in_flight()), (0, 0));
}

#[test]
fn golden_extended() {
    let terms = terms(Replies::Extended, 1);
    let mut machine = Transmission::new(export(false), terms, Limits::default());
    let stream = named(RequestHeader { len: SIZE_BYTES, ..header(command::BLOCK_STATUS, 0, 0) });
    let parts = parts(&mut machine, &stream.encode_extended());
    assert_eq!(parts[0].len, 0xffff_f000, "as much as a part can say; the client asks on");
    machine.complete(parts[0].id, Ok(Outcome::Extents(vec![extent(SIZE_BYTES, 3)])));
    let expected = b"\x6e\x8a\x27\x8c\0\x01\0\x06cookie!!\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\x18\
                     \0\0\0\x01\0\0\0\x01\0\0\0\0\xff\xff\xf0\0\0\0\0\0\0\0\0\x03";
    assert_eq!(reply_bytes(&mut machine).unwrap(), expected);
}

#[test]
fn each_context_has_its_chunk_in_order_and_the_last_says_so() {
    let terms = terms(Replies::Structured, 3);
    let mut machine = Transmission::new(export(false), terms, Limits::default());
    let parts = parts(&mut machine, &header(command::BLOCK_STATUS, 0, 8192).encode());
    let kind = |part: &Part| {
        let PartOp::Extents { context, .. } = part.op else { panic!("{part:?}") };
        context.kind()
    };
    let kinds: Vec<_> = parts.iter().map(kind).collect();
    let out_of_sync = ContextKind::OutOfSync { peer: 0 };
    assert_eq!(kinds, [ContextKind::Allocation, out_of_sync, out_of_sync]);
    let charge = u64::from(3 * EXTENTS_MAX * EXTENT_BYTES);
    assert_eq!(machine.bytes_in_flight(), charge, "what the reply may be");
    for part in parts.iter().rev() {
        assert_eq!(machine.poll_reply(), None);
        machine.complete(part.id, Ok(Outcome::Extents(vec![extent(8192, 1)])));
    }
    let reply = reply_bytes(&mut machine).unwrap();
    let chunks: Vec<_> = reply.chunks(32).map(|it| (it[5], it[7], it[23])).collect();
    assert_eq!(chunks, [(0, 5, 1), (0, 5, 2), (1, 5, 3)]);
    assert_eq!(machine.bytes_in_flight(), 0);
}

#[test]
fn the_number_of_extents_is_bounded() {
    let one = RequestHeader { flags: REQ_ONE, ..header(command::BLOCK_STATUS, 0, 1 << 30) };
    let all = header(command::BLOCK_STATUS, 0, 1 << 30);
    for (header, count) in [(one, 1), (all, EXTENTS_MAX as usize)] {
        let terms = terms(Replies::Structured, 1);
        let mut machine = Transmission::new(export(false), terms, Limits::default());
        let parts = parts(&mut machine, &header.encode());
        let found = (0..5000).map(|n| extent(4096, n % 2)).collect();
        machine.complete(parts[0].id, Ok(Outcome::Extents(found)));
        assert_eq!(reply_bytes(&mut machine).unwrap().len(), 24 + 8 * count);
    }
}

#[test]
fn bad_requests() {
    let status =
        |len, flags, offset| RequestHeader { flags, ..header(command::BLOCK_STATUS, offset, len) };
    for (contexts, header, error) in [
        (0, status(4096, 0, 0), error::EINVAL),
        (1, status(0, 0, 0), error::EINVAL),
        (1, status(4096, 0, SIZE_BYTES - 4095), error::EINVAL),
        (1, status(4096, 0, u64::MAX), error::EINVAL),
        (1, status(4096, 2, 0), error::EINVAL),
        (1, status(u32::MAX, 1 | REQ_ONE, 0), 0),
    ] {
        let terms = terms(Replies::Structured, contexts);
        let mut machine = Transmission::new(export(false), terms, Limits::default());
        let parts = parts(&mut machine, &header.encode());
        assert_eq!(parts.len(), usize::from(error == 0), "{header:?}");
        for part in parts {
            machine.complete(part.id, Ok(Outcome::Extents(vec![extent(1, 0)])));
        }
        let reply = reply_bytes(&mut machine).unwrap();
        let code = if reply[6] == 0x80 { reply[23] } else { 0 };
        assert_eq!(u32::from(code), error, "{header:?}");
    }
}

#[test]
fn one_context_that_fails_fails_the_request() {
    let terms = terms(Replies::Structured, 2);
    let mut machine = Transmission::new(export(false), terms, Limits::default());
    let parts = parts(&mut machine, &header(command::BLOCK_STATUS, 0, 8192).encode());
    machine.complete(parts[0].id, Ok(Outcome::Extents(vec![extent(1, 1)])));
    machine.complete(parts[1].id, Err(ReplyError::Io));
    assert_eq!(reply_bytes(&mut machine).unwrap()[6..8], *b"\x80\x01");
    assert_eq!((machine.parts.len(), machine.bytes_in_flight()), (0, 0));
}

#[test]
#[should_panic(expected = "first byte")]
fn nothing_to_tell_is_our_bug() {
    let terms = terms(Replies::Structured, 1);
    let mut machine = Transmission::new(export(false), terms, Limits::default());
    let parts = parts(&mut machine, &header(command::BLOCK_STATUS, 0, 8192).encode());
    machine.complete(parts[0].id, Ok(Outcome::Extents(vec![])));
}
