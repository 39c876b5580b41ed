//! What is in flight: limits and their counters, the end of a connection, the reuse of memory.

use super::*;

fn limits(requests_in_flight_max: usize, bytes_in_flight_max: u64) -> Limits {
    Limits { requests_in_flight_max, bytes_in_flight_max }
}

fn counters(shell: &Shell) -> (usize, u64, bool) {
    let machine = &shell.machine;
    (machine.in_flight(), machine.bytes_in_flight(), machine.wants_input())
}

#[test]
fn a_client_that_reads_nothing_is_not_read_from() {
    let mut shell = shell();
    let read = request(header(command::READ, 0, MIB));
    shell.receive(&read.repeat(100));
    assert_eq!(shell.executing.len(), 64);
    assert_eq!(counters(&shell), (64, 64 << 20, false));
    shell.complete_all();
    shell.receive(&[]);
    assert_eq!(counters(&shell), (64, 64 << 20, false), "data owed count as much as data awaited");
    assert!(shell.poll().is_some());
    assert_eq!(counters(&shell), (63, 63 << 20, true));
    shell.receive(&[]);
    assert_eq!(counters(&shell), (64, 64 << 20, false));
    assert_eq!(shell.run(&[]).len(), 99);
    shell.assert_idle();
}

#[test]
fn replies_not_read_count_even_if_they_are_errors() {
    let mut shell = Shell::new(export(false), Terms::default(), limits(5, 1 << 20));
    let bad = request(header(99, 0, 0));
    shell.receive(&bad.repeat(7));
    assert_eq!((counters(&shell), shell.consumed), ((5, 0, false), 5 * 28));
    assert_eq!(shell.run(&[]).len(), 7);
    shell.assert_idle();
}

#[test]
fn at_least_128_requests_are_taken() {
    let mut shell = shell();
    shell.receive(&request(header(command::READ, 0, 4096)).repeat(1000));
    assert_eq!(counters(&shell), (256, 1 << 20, false));
}

#[test]
fn a_write_gives_its_bytes_back_part_by_part() {
    let mut shell = shell();
    let stream = request(header(command::WRITE, 0, 2 * MIB + 5));
    shell.receive(&stream[..28]);
    assert_eq!(counters(&shell), (1, (2 << 20) + 5, true), "charged as soon as it is announced");
    shell.receive(&stream[28..]);
    shell.complete(1, None);
    assert_eq!(shell.machine.bytes_in_flight(), (1 << 20) + 5);
    shell.complete(0, Some(ReplyError::Io));
    assert_eq!(shell.machine.bytes_in_flight(), 5);
    shell.complete(0, None);
    assert_eq!(counters(&shell), (1, 0, true));
    assert_eq!(shell.poll_all(), [answer(1, error::EIO, vec![])]);
    shell.assert_idle();
}

#[test]
fn a_request_above_the_limit_waits_until_it_is_alone() {
    let mut shell = Shell::new(export(false), Terms::default(), limits(8, 1000));
    let small = request(header(command::READ, 0, 600));
    let large = request(header(command::WRITE, 0, 5000));
    shell.receive(&[small.clone(), large, small].concat());
    assert_eq!(counters(&shell), (1, 600, false));
    shell.complete_all();
    assert!(!shell.machine.wants_input());
    assert_eq!(shell.poll_all().len(), 1);
    shell.receive(&[]);
    assert_eq!(counters(&shell), (1, 5000, false));
    shell.complete_all();
    shell.receive(&[]);
    assert_eq!(counters(&shell), (2, 600, true), "a reply without data holds no bytes");
    assert_eq!(shell.run(&[]).len(), 2);
    shell.assert_idle();
}

#[test]
fn after_disc_everything_owed_is_still_replied_to() {
    let mut shell = shell();
    let write = |cookie| request(RequestHeader { cookie, ..header(command::WRITE, cookie, 512) });
    let mut stream: Vec<u8> = (0..64).flat_map(write).collect();
    stream.extend(request(header(command::DISC, 0, 0)));
    shell.receive(&stream);
    assert_eq!(shell.stopped, Some(StopReason::Disconnected));
    assert!(StopReason::Disconnected.owes_replies());
    assert_eq!((shell.executing.len(), shell.machine.in_flight()), (64, 64));
    shell.complete_all();
    let mut answers = shell.poll_all();
    answers.sort_by_key(|answer| answer.cookie);
    assert_eq!(answers, (0..64).map(|cookie| answer(cookie, 0, vec![])).collect::<Vec<_>>());
    shell.assert_idle();
}

#[test]
fn half_a_write_and_then_nothing_stores_nothing() {
    for bytes in [0, 27, 28, 29, 28 + MIB as usize, 28 + 2 * MIB as usize - 1] {
        let mut shell = shell();
        shell.receive(&request(header(command::WRITE, 4096, 512)));
        shell.receive(&request(header(command::WRITE, 0, 2 * MIB))[..bytes]);
        shell.machine.hang_up();
        shell.receive(&[]);
        assert_eq!(shell.stopped, Some(StopReason::HungUp));
        assert_eq!(ops(&shell), [(PartOp::Write, 4096, 512)]);
        assert_eq!(counters(&shell), (1, 512, false));
        shell.complete_all();
        assert_eq!(shell.poll(), None, "there is nobody to reply to");
        shell.assert_idle();
    }
}

#[test]
fn what_has_arrived_in_full_is_finished_after_hanging_up() {
    for command in [command::WRITE, command::WRITE_ZEROES, command::READ] {
        let mut shell = shell();
        let stream = request(header(command, 100, 2 * MIB));
        let mut at = 0;
        let part = loop {
            let (consumed, step) = shell.machine.next(&stream[at..]);
            at += consumed;
            match step {
                Step::Part(part) => break part,
                Step::Fill { len, .. } => {
                    shell.machine.filled(len);
                    at += len as usize;
                }
                Step::NeedBytes | Step::Full | Step::Stop(_) => panic!("{step:?}"),
            }
        };
        shell.machine.hang_up();
        let mut parts = vec![part];
        while let (0, Step::Part(part)) = shell.machine.next(&stream) {
            parts.push(part);
        }
        assert_eq!(parts.iter().map(|part| part.len).sum::<u32>(), 2 * MIB);
        assert!(!shell.machine.wants_input());
        for part in parts {
            shell.machine.complete(part.id, Err(ReplyError::Io));
        }
        assert_eq!(shell.machine.poll_reply(), None);
        shell.assert_idle();
    }
}

#[test]
fn hanging_up_drops_replies_and_skipped_payload() {
    let mut shell = shell();
    shell.receive(&request(header(99, 0, 0)));
    shell.receive(&request(header(command::READ, 0, 8)));
    shell.complete_all();
    shell.receive(&request(header(command::WRITE, SIZE_BYTES, 5000))[..1000]);
    assert_eq!(shell.machine.in_flight(), 3);
    shell.machine.hang_up();
    assert_eq!(shell.poll(), None);
    shell.assert_idle();
}

#[test]
fn a_steady_load_reuses_its_slots() {
    let mut shell = shell();
    let batch = [
        request(header(command::READ, 1, 5000)).repeat(8),
        request(header(command::WRITE, 1, 5000)).repeat(8),
        request(header(command::WRITE_ZEROES, 1, 5000)).repeat(8),
    ]
    .concat();
    assert_eq!(shell.run(&batch).len(), 24);
    let sizes = |machine: &Transmission| {
        (machine.requests.slots(), machine.parts.slots(), machine.finished.capacity())
    };
    let warm = sizes(&shell.machine);
    for _ in 0..100 {
        assert_eq!(shell.run(&batch).len(), 24);
    }
    assert_eq!((sizes(&shell.machine), warm.0, warm.1), (warm, 24, 40));
}

#[test]
fn what_the_client_owes_is_known() {
    let mut shell = shell();
    let write = request(header(command::WRITE, 0, 5000));
    assert!(!shell.machine.is_mid_request());
    for (bytes, is_mid_request) in [(1, true), (27, true), (4999, true), (1, false)] {
        let at = shell.consumed;
        shell.receive(&write[at..at + bytes]);
        assert_eq!(shell.machine.is_mid_request(), is_mid_request, "{at}");
    }
    shell.receive(&request(header(command::WRITE, SIZE_BYTES, 5000))[..100]);
    assert!(shell.machine.is_mid_request(), "what is skipped is owed too");
}
