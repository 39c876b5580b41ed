//! Extended headers: lengths of 64 bits, and what changes with the form of requests.

use super::*;
use crate::limits::BULK_PARTS_MAX;
use crate::terms::Replies;
use crate::wire::command_flag::{PAYLOAD_LEN, REQ_ONE};
use crate::wire::error::{EINVAL, ENOSPC};

const TIB: u64 = 1 << 40;

fn extended(size_bytes: u64) -> Shell {
    let terms = Terms { replies: Replies::Extended, ..Terms::default() };
    Shell::new(ExportInfo { size_bytes, ..export(false) }, terms, Limits::default())
}

fn long(command: u16, flags: u16, offset: u64, len: u64) -> Vec<u8> {
    RequestHeader { flags, command, cookie: 1, offset, len }.encode_extended().to_vec()
}

#[test]
fn golden_header() {
    let mut shell = extended(TIB);
    let mut stream = b"\x21\xe4\x1c\x71\0\0\0\x04cookie!!\0\0\0\0\0\0\x10\0".to_vec();
    stream.extend(b"\0\0\0\x01\0\0\0\0");
    shell.receive(&stream);
    let trim = |offset, len| (PartOp::Trim, offset, len);
    assert_eq!(ops(&shell), [trim(0x1000, 0xffff_f000), trim(0x1_0000_0000, 4096)]);
    shell.complete_all();
    let expected = b"\x6e\x8a\x27\x8c\0\x01\0\0cookie!!\0\0\0\0\0\0\x10\0\0\0\0\0\0\0\0\0";
    assert_eq!(reply_bytes(&mut shell.machine).unwrap(), expected);
    shell.assert_idle();
}

#[test]
fn a_write_says_that_it_has_payload_and_need_not() {
    for flags in [PAYLOAD_LEN, 0] {
        let mut shell = extended(TIB);
        let mut stream = long(command::WRITE, flags, 4096, 512);
        stream.extend([0xaa; 512]);
        assert_eq!(shell.run(&stream), [answer(1, 0, vec![])]);
        assert_eq!(shell.writes[0].1, [0xaa; 512]);
        shell.assert_idle();
    }
}

#[test]
fn payload_where_none_belongs_is_skipped_or_ends_the_connection() {
    for command in [command::READ, command::BLOCK_STATUS, command::TRIM, command::FLUSH, 99] {
        let mut shell = extended(TIB);
        let mut stream = long(command, PAYLOAD_LEN, 0, 5000);
        stream.extend([0xaa; 5000]);
        stream.extend(long(command::READ, 0, 77, 8));
        let answers = shell.run(&stream);
        assert_eq!(answers.len(), 2, "{command}");
        assert_eq!(answers.iter().filter(|answer| answer.error == EINVAL).count(), 1);
        shell.assert_idle();
        let mut shell = extended(TIB);
        let len = u64::from(REQUEST_BYTES_MAX) + 1;
        shell.receive(&long(command, PAYLOAD_LEN, 0, len));
        assert_eq!(shell.stopped, Some(StopReason::PayloadTooLong(len)));
    }
    let mut shell = extended(TIB);
    shell.receive(&long(command::WRITE, PAYLOAD_LEN, 0, u64::MAX));
    assert_eq!(shell.stopped, Some(StopReason::PayloadTooLong(u64::MAX)));
}

#[test]
fn ranges_of_64_bits_are_checked() {
    for (command, offset, len, error) in [
        (command::READ, 0, 1 << 32, EINVAL),
        (command::TRIM, TIB, 1, EINVAL),
        (command::TRIM, 1, TIB, EINVAL),
        (command::TRIM, 1, u64::MAX, EINVAL),
        (command::WRITE_ZEROES, 4096, TIB, ENOSPC),
        (command::WRITE_ZEROES, u64::MAX, u64::MAX, ENOSPC),
        (command::CACHE, 0, TIB, 0),
        (command::CACHE, 0, TIB + 1, EINVAL),
        (command::BLOCK_STATUS, 0, TIB, EINVAL),
    ] {
        let flags = if command == command::BLOCK_STATUS { REQ_ONE } else { 0 };
        let mut shell = extended(TIB);
        let answers = shell.run(&long(command, flags, offset, len));
        assert_eq!(answers, [answer(1, error, vec![])], "{command} {offset} {len}");
        shell.assert_idle();
    }
}

#[test]
fn a_short_header_is_no_extended_one() {
    let mut shell = extended(TIB);
    shell.receive(&request(header(command::READ, 0, 8)));
    assert_eq!(shell.stopped, None, "four bytes are missing");
    shell.receive(&[0; 4]);
    assert_eq!(shell.stopped, Some(StopReason::WrongMagic(0x2560_9513)));
}

#[test]
fn what_is_longer_than_can_be_carried_out_at_once_waits() {
    for command in [command::TRIM, command::WRITE_ZEROES] {
        let mut shell = extended(16 * TIB);
        shell.receive(&long(command, 0, 0, 16 * TIB));
        assert_eq!(shell.executing.len(), BULK_PARTS_MAX);
        assert!(!shell.machine.wants_input());
        shell.complete(0, None);
        assert!(shell.machine.wants_input());
        shell.receive(&[]);
        assert_eq!(shell.executing.len(), BULK_PARTS_MAX);
        let mut bytes = 0;
        while !shell.executing.is_empty() {
            bytes += u64::from(shell.executing[0].len);
            shell.complete(0, None);
            shell.receive(&[]);
        }
        assert_eq!(bytes + u64::from(u32::MAX - u32::MAX % 4096), 16 * TIB - skew(command));
        assert_eq!(shell.poll_all(), [answer(1, 0, vec![])]);
        assert!(shell.machine.parts.slots() <= BULK_PARTS_MAX);
        shell.assert_idle();
    }
}

/// The first part of a WRITE_ZEROES is a little longer than that of a TRIM.
fn skew(command: u16) -> u64 {
    if command == command::WRITE_ZEROES { 4096 - 512 } else { 0 }
}

#[test]
fn hanging_up_hands_all_out_that_has_arrived() {
    let mut shell = extended(16 * TIB);
    shell.receive(&long(command::TRIM, 0, 0, 16 * TIB));
    shell.machine.hang_up();
    shell.receive(&[]);
    assert_eq!(shell.executing.len(), 4097);
    shell.complete_all();
    assert_eq!(shell.poll(), None);
    shell.assert_idle();
}
