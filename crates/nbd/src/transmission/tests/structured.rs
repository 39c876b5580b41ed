//! Structured replies, to the byte.

use super::*;
use crate::context::ContextSet;
use crate::limits::HOLE_BYTES_MIN;
use crate::terms::Replies;
use crate::wire::command_flag::DF;

const STRUCTURED: Terms = Terms { replies: Replies::Structured, contexts: ContextSet::NONE };

fn structured() -> Transmission {
    Transmission::new(export(false), STRUCTURED, Limits::default())
}

/// Sends one request whose parts are completed with `data` each, and returns the reply.
fn ask(header: RequestHeader, data: impl Fn(Part) -> Result<Outcome, ReplyError>) -> Vec<u8> {
    let mut machine = structured();
    let stream = RequestHeader { cookie: u64::from_be_bytes(*b"cookie!!"), ..header }.encode();
    let (_, mut step) = machine.next(&stream);
    while let Step::Part(part) = step {
        machine.complete(part.id, data(part));
        step = machine.next(&[]).1;
    }
    let reply = reply_bytes(&mut machine).unwrap();
    assert_eq!((machine.in_flight(), machine.bytes_in_flight()), (0, 0));
    reply
}

fn filled(byte: u8) -> impl Fn(Part) -> Result<Outcome, ReplyError> {
    move |part| Ok(Outcome::Data(Bytes::from(vec![byte; part.len as usize])))
}

#[test]
fn golden_data() {
    let reply =
        ask(header(command::READ, 0x1001, 4), |_| Ok(Outcome::Data(Bytes::from_static(b"data"))));
    let expected = b"\x66\x8e\x33\xef\0\x01\0\x01cookie!!\0\0\0\x0c\0\0\0\0\0\0\x10\x01data";
    assert_eq!(reply, expected);
}

#[test]
fn golden_hole() {
    let reply = ask(header(command::READ, 0x1000, 0x2000), filled(0));
    let expected = b"\x66\x8e\x33\xef\0\x01\0\x02cookie!!\0\0\0\x0c\0\0\0\0\0\0\x10\0\0\0\x20\0";
    assert_eq!(reply, expected);
}

#[test]
fn golden_success_without_data() {
    let done = b"\x66\x8e\x33\xef\0\x01\0\0cookie!!\0\0\0\0";
    assert_eq!(ask(header(command::FLUSH, 0, 0), |_| Ok(Outcome::Done)), done);
    assert_eq!(ask(header(command::READ, 77, 0), |_| panic!("no part")), done);
    let whole = RequestHeader { flags: DF, ..header(command::READ, 77, 0) };
    assert_eq!(ask(whole, |_| panic!("no part")), done);
}

#[test]
fn golden_error() {
    let reply = ask(header(command::READ, 0, 8), |_| Err(ReplyError::Io));
    let expected =
        b"\x66\x8e\x33\xef\0\x01\x80\x01cookie!!\0\0\0\x18\0\0\0\x05\0\x12input/output error";
    assert_eq!(reply, expected);
    let refused = ask(header(command::WRITE_ZEROES, SIZE_BYTES, 8), |_| panic!("no part"));
    assert_eq!(refused[20..26], *b"\0\0\0\x1c\0\x1c");
    assert_eq!(&refused[26..], b"behind the end of the export");
}

#[test]
fn data_and_holes_of_a_long_read_come_in_chunks_of_their_own() {
    let data = |part: Part| filled(u8::from(part.offset != u64::from(MIB)))(part);
    let reply = ask(header(command::READ, 0, 3 * MIB), data);
    assert_eq!(reply.len(), 3 * 20 + 2 * (8 + (1 << 20)) + 12);
    let hole = 20 + 8 + (1 << 20);
    assert_eq!(reply[..8], *b"\x66\x8e\x33\xef\0\0\0\x01");
    assert_eq!(reply[hole..hole + 8], *b"\x66\x8e\x33\xef\0\0\0\x02");
    assert_eq!(reply[hole + 32..hole + 40], *b"\x66\x8e\x33\xef\0\x01\0\x01", "the last");
}

#[test]
fn a_read_that_must_not_be_fragmented_is_one_chunk_whatever_its_length() {
    for len in [4096, 64 << 10, 3 * MIB, REQUEST_BYTES_MAX] {
        let whole = RequestHeader { flags: DF, ..header(command::READ, 0, len) };
        let reply = ask(whole, filled(0));
        assert_eq!(reply.len(), 28 + len as usize, "zeroes are sent as data");
        assert_eq!(reply[4..8], *b"\0\x01\0\x01");
        assert_eq!(reply[16..20], (len + 8).to_be_bytes());
    }
}

#[test]
fn only_what_is_long_enough_is_told_as_a_hole() {
    let shortest = u32::try_from(HOLE_BYTES_MIN).unwrap();
    assert_eq!(ask(header(command::READ, 0, shortest), filled(0)).len(), 32);
    assert_eq!(ask(header(command::READ, 0, shortest - 1), filled(0)).len(), 28 + 511);
    let mut almost = vec![0; 4096];
    *almost.last_mut().unwrap() = 1;
    let data = Bytes::from(almost);
    assert_eq!(
        ask(header(command::READ, 0, 4096), |_| Ok(Outcome::Data(data.clone()))).len(),
        28 + 4096
    );
}

#[test]
fn a_hole_holds_no_bytes_and_simple_replies_have_none() {
    for (terms, in_flight) in [(STRUCTURED, 0), (Terms::default(), 4096)] {
        let mut machine = Transmission::new(export(false), terms, Limits::default());
        let (_, step) = machine.next(&header(command::READ, 0, 4096).encode());
        let Step::Part(part) = step else { panic!("{step:?}") };
        let is_kept = machine.complete(part.id, Ok(Outcome::Data(Bytes::from(vec![0; 4096]))));
        assert_eq!((is_kept, machine.bytes_in_flight()), (in_flight > 0, in_flight));
        assert!(machine.poll_reply().is_some());
        assert_eq!(machine.bytes_in_flight(), 0);
    }
}

#[test]
fn df_is_for_reads_only() {
    let flagged = |command, len| RequestHeader { flags: DF, ..header(command, 0, len) };
    for command in [command::FLUSH, command::TRIM, command::WRITE_ZEROES] {
        let reply = ask(flagged(command, 0), |_| panic!("no part"));
        assert_eq!(reply[20..24], error::EINVAL.to_be_bytes());
    }
}
