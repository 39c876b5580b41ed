//! Requests that are wrong, and requests that only look so: the error each gets, that nothing is
//! executed, and that the next request on the connection is understood.

use super::*;
use crate::wire::command_flag::{DF, FAST_ZERO, FUA, NO_HOLE, PAYLOAD_LEN, REQ_ONE};
use crate::wire::error::{EINVAL, ENOSPC, ENOTSUP, EPERM};

const OK: u32 = 0;
const END: u64 = SIZE_BYTES;

/// Sends the request cut every `piece_len` bytes, then a READ, and demands the two answers.
fn check(read_only: bool, bad: RequestHeader, expected: u32, piece_len: usize) {
    let mut shell = Shell::new(export(read_only), Terms::default(), Limits::default());
    let stream = request(bad);
    for piece in stream.chunks(piece_len) {
        shell.receive(piece);
    }
    if expected != OK {
        assert_eq!(ops(&shell), [], "{bad:?}");
    }
    let answers = shell.run(&[]);
    assert_eq!(answers.len(), 1, "{bad:?}");
    assert_eq!((answers[0].error, answers[0].cookie), (expected, 1), "{bad:?}");
    let next = RequestHeader { cookie: 2, ..header(command::READ, 77, 8) };
    assert_eq!(shell.run(&request(next)), [answer(2, OK, pattern(77, 8))], "after {bad:?}");
    shell.assert_idle();
}

fn check_all(read_only: bool, cases: &[(u16, u16, u64, u32, u32)]) {
    for &(command, flags, offset, len, expected) in cases {
        let header = RequestHeader { flags, ..header(command, offset, len) };
        check(read_only, header, expected, 1 << 20);
        if len < 1 << 16 || command != command::WRITE {
            check(read_only, header, expected, 1);
            check(read_only, header, expected, 13);
        }
    }
}

#[test]
fn ranges() {
    use command::*;
    check_all(
        false,
        &[
            (READ, 0, END - 8, 8, OK),
            (READ, 0, END - 7, 8, EINVAL),
            (READ, 0, END, 1, EINVAL),
            (READ, 0, u64::MAX, 1, EINVAL),
            (READ, 0, u64::MAX - 7, 8, EINVAL),
            (READ, 0, 0, REQUEST_BYTES_MAX + 1, EINVAL),
            (READ, 0, 0, u32::MAX, EINVAL),
            (WRITE, 0, END - 8, 8, OK),
            (WRITE, 0, END - 7, 8, ENOSPC),
            (WRITE, 0, END, 512, ENOSPC),
            (WRITE, 0, u64::MAX, 4096, ENOSPC),
            (WRITE, 0, END - 1, REQUEST_BYTES_MAX, ENOSPC),
            (WRITE, 0, 0, 32 * MIB + 512, OK),
            (TRIM, 0, END - 4096, 4096, OK),
            (TRIM, 0, END - 4095, 4096, EINVAL),
            (TRIM, 0, u64::MAX - 1, 4096, EINVAL),
            (WRITE_ZEROES, 0, END - 512, 512, OK),
            (WRITE_ZEROES, 0, END - 511, 512, ENOSPC),
            (WRITE_ZEROES, 0, u64::MAX - 1, u32::MAX, ENOSPC),
        ],
    );
}

#[test]
fn nothing_is_a_valid_length_inside_the_export() {
    use command::*;
    for offset in [0, 1, 4096, END] {
        let cases = [READ, WRITE, TRIM, WRITE_ZEROES].map(|command| (command, 0, offset, 0, OK));
        check_all(false, &cases);
    }
    let outside = [(READ, EINVAL), (WRITE, ENOSPC), (TRIM, EINVAL), (WRITE_ZEROES, ENOSPC)];
    check_all(false, &outside.map(|(command, error)| (command, 0, END + 1, 0, error)));
}

#[test]
fn flags_and_commands() {
    use command::*;
    check_all(
        false,
        &[
            (READ, FUA, 0, 8, OK),
            (READ, DF, 0, 8, EINVAL),
            (READ, NO_HOLE, 0, 8, EINVAL),
            (READ, 0x8000, 0, 8, EINVAL),
            (WRITE, FUA, 0, 8, OK),
            (WRITE, NO_HOLE, 0, 8, EINVAL),
            (WRITE, PAYLOAD_LEN, 0, 5000, EINVAL),
            (WRITE, 0x0100, 0, 8, EINVAL),
            (FLUSH, FUA, 0, 0, OK),
            (FLUSH, 0, 1, 0, EINVAL),
            (FLUSH, 0, 0, 1, EINVAL),
            (FLUSH, NO_HOLE, 0, 0, EINVAL),
            (TRIM, FUA, 0, 4096, OK),
            (TRIM, NO_HOLE, 0, 4096, EINVAL),
            (WRITE_ZEROES, FUA | NO_HOLE, 0, 4096, OK),
            (WRITE_ZEROES, FAST_ZERO, 0, 4096, OK),
            (WRITE_ZEROES, FAST_ZERO | NO_HOLE, 0, 4096, OK),
            (WRITE_ZEROES, FAST_ZERO, END, 4096, ENOSPC),
            (CACHE, 0, 0, 4096, OK),
            (CACHE, FUA, 0, u32::MAX, OK),
            (CACHE, 0, 7, 0, OK),
            (CACHE, 0, END - 4095, 4096, EINVAL),
            (CACHE, NO_HOLE, 0, 4096, EINVAL),
            (BLOCK_STATUS, REQ_ONE, 0, 4096, EINVAL),
            (RESIZE, 0, 1 << 20, 0, EINVAL),
            (99, 0, 0, 0, EINVAL),
            (u16::MAX, FUA, u64::MAX, u32::MAX, EINVAL),
        ],
    );
}

#[test]
fn a_read_only_export_does_not_change() {
    use command::*;
    check_all(
        true,
        &[
            (READ, 0, 0, 8, OK),
            (FLUSH, 0, 0, 0, OK),
            (WRITE, 0, 0, 8, EPERM),
            (WRITE, 0, 0, 0, EPERM),
            (WRITE, FUA, END, 5000, EPERM),
            (TRIM, 0, 0, 4096, EPERM),
            (WRITE_ZEROES, 0, 0, 4096, EPERM),
            (WRITE_ZEROES, FAST_ZERO, 0, 4096, EINVAL),
        ],
    );
}

#[test]
fn zeroing_that_would_not_be_fast_is_not_begun() {
    let slow = ExportInfo { fast_zero: false, ..export(false) };
    let mut shell = Shell::new(slow, Terms::default(), Limits::default());
    for (flags, error) in [(0, OK), (FAST_ZERO, ENOTSUP), (FAST_ZERO | NO_HOLE, ENOTSUP)] {
        shell.receive(&request(RequestHeader { flags, ..header(command::WRITE_ZEROES, 0, 4096) }));
        assert_eq!(shell.executing.len(), usize::from(error == OK));
        assert_eq!(shell.run(&[]), [answer(1, error, vec![])]);
    }
}

#[test]
fn what_cannot_be_skipped_stops() {
    let mut wrong_magic = request(header(command::READ, 0, 8));
    wrong_magic[0] = 0x67;
    let long = |len| header(command::WRITE, 0, len).encode().to_vec();
    for (bytes, reason) in [
        (wrong_magic, StopReason::WrongMagic(0x6760_9513)),
        (long(u32::MAX), StopReason::PayloadTooLong(u64::from(u32::MAX))),
        (long(REQUEST_BYTES_MAX + 1), StopReason::PayloadTooLong(u64::from(REQUEST_BYTES_MAX) + 1)),
    ] {
        for piece_len in [1, 100] {
            let mut shell = shell();
            bytes.chunks(piece_len).for_each(|piece| shell.receive(piece));
            assert_eq!(shell.stopped, Some(reason));
            assert!(!reason.owes_replies() && !shell.machine.wants_input());
            shell.receive(&request(header(command::READ, 0, 8)));
            assert_eq!((ops(&shell), shell.poll()), (vec![], None));
            shell.assert_idle();
        }
    }
}

#[test]
fn disc_needs_no_sensible_fields() {
    let disc = RequestHeader { flags: 0xffff, ..header(command::DISC, u64::MAX, u32::MAX) };
    let mut shell = shell();
    assert_eq!(shell.run(&request(disc)), []);
    assert_eq!(shell.stopped, Some(StopReason::Disconnected));
    shell.assert_idle();
}

#[test]
fn what_an_export_grew_by_is_in_range() {
    let mut shell = shell();
    let behind = request(header(command::READ, END, 8));
    assert_eq!(shell.run(&behind)[0].error, EINVAL);
    shell.machine.grow(END + 8);
    shell.machine.grow(END);
    assert_eq!(shell.run(&behind), [answer(1, OK, pattern(END, 8))]);
    assert_eq!(shell.run(&request(header(command::READ, END, 9)))[0].error, EINVAL);
    shell.assert_idle();
}
