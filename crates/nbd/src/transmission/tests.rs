//! What shell and client see of the transmission phase.

use bytes::Bytes;

use super::*;
use crate::export::ExportKey;
use crate::limits::{PART_BYTES_MAX, REQUEST_BYTES_MAX};
use crate::wire::{RequestHeader, command, error};

mod bad_input;
mod block_status;
mod driver;
mod extended;
mod in_flight;
mod random;
mod structured;

use driver::{Answer, Shell, header, pattern, request};

const MIB: u32 = 1 << 20;
const SIZE_BYTES: u64 = 8 << 30;

fn export(read_only: bool) -> ExportInfo {
    ExportInfo {
        name: "r0/0".into(),
        description: String::new(),
        size_bytes: SIZE_BYTES,
        read_only,
        block_size: 512,
        fast_zero: true,
        rotational: false,
        peers: vec!["bob".into()],
        key: ExportKey(1),
    }
}

fn shell() -> Shell {
    Shell::new(export(false), Terms::default(), Limits::default())
}

fn machine() -> Transmission {
    Transmission::new(export(false), Terms::default(), Limits::default())
}

/// The next reply in one piece.
fn reply_bytes(machine: &mut Transmission) -> Option<Vec<u8>> {
    let pieces = machine.poll_reply()?.into_iter();
    Some(pieces.flat_map(|piece| [piece.head(), piece.body.as_slice()].concat()).collect())
}

fn answer(cookie: u64, error: u32, data: Vec<u8>) -> Answer {
    Answer { cookie, error, data }
}

fn ops(shell: &Shell) -> Vec<(PartOp, u64, u32)> {
    shell.executing.iter().map(|part| (part.op, part.offset, part.len)).collect()
}

#[test]
fn golden_read() {
    let mut machine = machine();
    let stream = b"\x25\x60\x95\x13\0\0\0\0cookie!!\0\0\0\0\0\0\x10\x01\0\0\0\x04next request";
    let (consumed, step) = machine.next(stream);
    let Step::Part(part) = step else { panic!("{step:?}") };
    assert_eq!(consumed, 28);
    let id = part.id;
    assert_eq!(part, Part { id, op: PartOp::Read, offset: 0x1001, len: 4, fua: false });
    assert_eq!(machine.poll_reply(), None);
    machine.complete(id, Ok(Outcome::Data(Bytes::from_static(b"data"))));
    assert_eq!(reply_bytes(&mut machine).unwrap(), b"\x67\x44\x66\x98\0\0\0\0cookie!!data");
    assert_eq!(machine.poll_reply(), None);
}

#[test]
fn golden_error() {
    let mut machine = machine();
    let (_, step) = machine.next(b"\x25\x60\x95\x13\0\0\0\x03cookie!!\0\0\0\0\0\0\0\0\0\0\0\0");
    let Step::Part(part) = step else { panic!("{step:?}") };
    assert_eq!((part.op, part.offset, part.len), (PartOp::Flush, 0, 0));
    machine.complete(part.id, Err(ReplyError::Io));
    assert_eq!(reply_bytes(&mut machine).unwrap(), b"\x67\x44\x66\x98\0\0\0\x05cookie!!");
}

#[test]
fn errors_have_the_numbers_of_the_protocol() {
    use ReplyError::*;
    let codes = [NotPermitted, Io, Invalid, NoSpace, NotSupported, Shutdown];
    assert_eq!(codes.map(ReplyError::code), [1, 5, 22, 28, 95, 108]);
}

#[test]
fn a_long_read_is_replied_to_in_order_whatever_the_order_of_completion() {
    let mut shell = shell();
    shell.receive(&request(header(command::READ, 4097, 3 * MIB)));
    assert_eq!(shell.executing.len(), 4);
    for index in [2, 0, 1] {
        shell.complete(index, None);
        assert_eq!(shell.poll(), None, "a part is missing");
    }
    shell.complete(0, None);
    assert_eq!(shell.poll_all(), [answer(1, 0, pattern(4097, 3 << 20))]);
    shell.assert_idle();
}

#[test]
fn a_request_fails_with_its_first_error_and_without_data() {
    let mut shell = shell();
    shell.receive(&request(header(command::READ, 0, 3 * MIB)));
    shell.complete(1, None);
    shell.complete(1, Some(ReplyError::Io));
    shell.complete(0, Some(ReplyError::Shutdown));
    assert_eq!(shell.machine.bytes_in_flight(), 0, "the data are dropped at once");
    assert_eq!(shell.poll_all(), [answer(1, error::EIO, vec![])]);
    shell.assert_idle();
}

#[test]
fn a_write_comes_out_only_when_it_has_arrived_in_full() {
    let mut shell = shell();
    let mut bytes = request(header(command::WRITE, 512, 2 * MIB));
    let last = bytes.pop().unwrap();
    shell.receive(&bytes);
    assert_eq!((ops(&shell), shell.buffers.len()), (vec![], 3));
    shell.receive(&[last]);
    let write = |offset, len| (PartOp::Write, offset, len);
    let (first, second) = (MIB - 512, u64::from(MIB));
    let expected = [write(512, first), write(second, MIB), write(second * 2, 512)];
    assert_eq!(ops(&shell), expected);
    shell.complete_all();
    assert_eq!(shell.poll_all(), [answer(1, 0, vec![])]);
    shell.assert_idle();
}

#[test]
fn a_buffer_is_asked_for_before_the_payload_and_again_until_it_is_full() {
    let mut machine = machine();
    let (consumed, step) = machine.next(&header(command::WRITE, 0, 10).encode());
    let Step::Fill { part, at: 0, len: 10 } = step else { panic!("{step:?}") };
    assert_eq!((consumed, part.len), (28, 10));
    assert_eq!(machine.next(b"abcdefghijk"), (0, step));
    machine.filled(4);
    assert_eq!(machine.next(b""), (0, Step::Fill { part, at: 4, len: 6 }));
    machine.filled(0);
    machine.filled(6);
    assert_eq!(machine.next(b"k"), (0, Step::Part(part)));
    assert_eq!(machine.next(b"k"), (1, Step::NeedBytes));
}

#[test]
fn fua_and_no_hole_go_with_every_part() {
    let with = |command, flags| RequestHeader { flags, ..header(command, 100, 2000) };
    let parts = |request_header| {
        let mut shell = shell();
        shell.receive(&request(request_header));
        shell.executing.iter().map(|part| (part.op, part.fua)).collect::<Vec<_>>()
    };
    assert_eq!(parts(with(command::READ, 1)), [(PartOp::Read, false)]);
    assert_eq!(parts(with(command::WRITE, 1)), [(PartOp::Write, true)]);
    assert_eq!(parts(with(command::WRITE, 0)), [(PartOp::Write, false)]);
    let edge = PartOp::ZeroesEdge;
    for (flags, no_hole, fua) in
        [(0, false, false), (1, false, true), (2, true, false), (3, true, true)]
    {
        let whole = PartOp::Zeroes { no_hole };
        let expected = [(edge, fua), (whole, fua), (edge, fua)];
        assert_eq!(parts(with(command::WRITE_ZEROES, flags)), expected);
    }
    let trim = RequestHeader { flags: 1, ..header(command::TRIM, 100, 10_000) };
    assert_eq!(parts(trim), [(PartOp::Trim, true)]);
    let flush = RequestHeader { flags: 1, ..header(command::FLUSH, 0, 0) };
    assert_eq!(parts(flush), [(PartOp::Flush, false)]);
}

#[test]
fn lengths_without_payload_go_up_to_4_gib() {
    for (command, op, len) in [
        (command::TRIM, PartOp::Trim, u32::MAX - 4095),
        (command::WRITE_ZEROES, PartOp::Zeroes { no_hole: false }, u32::MAX - 511),
    ] {
        let mut shell = shell();
        shell.receive(&request(header(command, 0, len)));
        assert_eq!(ops(&shell), [(op, 0, len)]);
        assert_eq!(shell.machine.bytes_in_flight(), 0);
        assert_eq!(shell.run(&[]), [answer(1, 0, vec![])]);
        shell.assert_idle();
    }
}

#[test]
fn the_largest_requests_are_served() {
    let mut shell = shell();
    let read = header(command::READ, SIZE_BYTES - u64::from(REQUEST_BYTES_MAX), REQUEST_BYTES_MAX);
    let answers = shell.run(&request(read));
    assert!(answers == [answer(1, 0, pattern(read.offset, usize::try_from(read.len).unwrap()))]);
    let write = RequestHeader { command: command::WRITE, ..read };
    shell.receive(&request(write));
    assert_eq!(shell.executing.len(), (REQUEST_BYTES_MAX / PART_BYTES_MAX) as usize);
    assert_eq!(shell.run(&[]), [answer(1, 0, vec![])]);
    shell.assert_idle();
}

#[test]
fn duplicate_cookies_get_a_reply_each() {
    let mut shell = shell();
    let read = request(header(command::READ, 0, 1));
    assert_eq!(shell.run(&read.repeat(3)).len(), 3);
}

#[test]
#[should_panic(expected = "is not being executed")]
fn completing_twice_is_our_bug() {
    let mut shell = shell();
    shell.receive(&request(header(command::READ, 0, 2 * MIB)));
    let id = shell.executing[0].id;
    shell.complete(0, None);
    shell.machine.complete(id, Err(ReplyError::Io));
}

#[test]
#[should_panic(expected = "data of")]
fn data_of_another_length_are_our_bug() {
    let mut shell = shell();
    shell.receive(&request(header(command::READ, 0, 8)));
    shell.machine.complete(shell.executing[0].id, Ok(Outcome::Data(Bytes::from_static(b"short"))));
}
