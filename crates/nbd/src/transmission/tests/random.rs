//! Random streams, cut at random places, completed and polled in a random order.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::cut::Piece;
use crate::request::{Verdict, judge};
use crate::terms::Replies;
use crate::wire::{REQUEST_MAGIC, error as code};

/// A request and what must come of it.
#[derive(Debug, Clone)]
struct Expected {
    header: RequestHeader,
    error: u32,
    payload: Vec<u8>,
}

/// One move of the environment; the numbers are taken modulo what there is.
#[derive(Debug, Clone, Copy)]
enum Move {
    Receive(usize),
    Complete(usize),
    Fail(usize),
    Reply,
}

fn any_request() -> impl Strategy<Value = Expected> {
    let command = prop_oneof![
        4 => Just(command::READ),
        4 => Just(command::WRITE),
        1 => Just(command::FLUSH),
        1 => Just(command::TRIM),
        2 => Just(command::WRITE_ZEROES),
        1 => Just(command::CACHE),
        1 => Just(command::RESIZE),
    ];
    let len = prop_oneof![8 => 0..9000_u32, 1 => 0..3 * MIB];
    let offset = prop_oneof![8 => 0..1_000_000_u64, 1 => SIZE_BYTES - 5000..SIZE_BYTES + 5];
    (command, offset, len, 0..2_u16).prop_map(|(command, offset, len, flags)| {
        let (offset, len) = if command == command::FLUSH { (0, 0) } else { (offset, len) };
        let inside = offset + u64::from(len) <= SIZE_BYTES;
        let error = match command {
            command::RESIZE => code::EINVAL,
            command::READ | command::TRIM | command::CACHE if !inside => code::EINVAL,
            command::WRITE | command::WRITE_ZEROES if !inside => code::ENOSPC,
            _ => 0,
        };
        let payload_len = if command == command::WRITE { len as usize } else { 0 };
        let payload = pattern(u64::from(!len), payload_len);
        Expected {
            header: RequestHeader { flags, cookie: 0, command, offset, len: u64::from(len) },
            error,
            payload,
        }
    })
}

fn any_moves() -> impl Strategy<Value = Vec<Move>> {
    let some = prop_oneof![0..60_usize, 0..20_000_usize, 0..2_000_000_usize];
    let any_move = prop_oneof![
        5 => some.prop_map(Move::Receive),
        4 => any::<usize>().prop_map(Move::Complete),
        1 => any::<usize>().prop_map(Move::Fail),
        3 => Just(Move::Reply),
    ];
    prop::collection::vec(any_move, 0..400)
}

fn any_limits() -> impl Strategy<Value = Limits> {
    (1..9_usize, prop_oneof![1..5000_u64, Just(1 << 20), Just(64 << 20)]).prop_map(
        |(requests_in_flight_max, bytes_in_flight_max)| Limits {
            requests_in_flight_max,
            bytes_in_flight_max,
        },
    )
}

fn any_terms() -> impl Strategy<Value = Terms> {
    prop_oneof![Just(Replies::Simple), Just(Replies::Structured), Just(Replies::Extended)]
        .prop_map(|replies| Terms { replies, ..Terms::default() })
}

/// The environment of one run: moves the shell and keeps what it has seen.
struct Run {
    shell: Shell,
    limits: Limits,
    stream: Vec<u8>,
    received: usize,
    answers: Vec<Answer>,
    /// Parts that were made to fail. A part equals no other one: its name is not used twice.
    failed: Vec<Part>,
    /// All parts in the order they came, which is that of their requests.
    parts: Vec<Part>,
}

impl Run {
    fn step(&mut self, step: Move) {
        let parts_before = self.shell.executing.len();
        match step {
            Move::Receive(n) if self.shell.machine.wants_input() => {
                let end = self.stream.len().min(self.received + n);
                let bytes = self.stream[self.received..end].to_vec();
                self.received = end;
                self.shell.receive(&bytes);
                self.parts.extend(&self.shell.executing[parts_before..]);
            }
            Move::Complete(n) if parts_before > 0 => self.shell.complete(n % parts_before, None),
            Move::Fail(n) if parts_before > 0 => {
                self.failed.push(self.shell.executing[n % parts_before]);
                self.shell.complete(n % parts_before, Some(ReplyError::Io));
            }
            Move::Reply => self.answers.extend(self.shell.poll()),
            Move::Receive(_) | Move::Complete(_) | Move::Fail(_) => {}
        }
        self.check_limits();
    }

    fn check_limits(&self) {
        let (machine, limits) = (&self.shell.machine, self.limits);
        assert!(machine.in_flight() <= limits.requests_in_flight_max);
        let max = limits.bytes_in_flight_max.max(3 << 20);
        assert!(machine.bytes_in_flight() <= max);
        assert!(machine.in_flight() > 0 || machine.bytes_in_flight() == 0);
        let charged: u32 =
            machine.finished.iter().map(|key| machine.requests[*key].charge_bytes).sum();
        assert!(u64::from(charged) <= machine.bytes_in_flight());
    }

    fn finish(&mut self) {
        loop {
            let before = (self.received, self.shell.consumed, self.answers.len());
            for step in [Move::Receive(usize::MAX / 2), Move::Complete(0), Move::Reply] {
                self.step(step);
            }
            let idle = self.shell.executing.is_empty();
            if idle && before == (self.received, self.shell.consumed, self.answers.len()) {
                return;
            }
        }
    }
}

/// Takes a request's parts off all parts and demands that they are the ones it is cut into.
fn check_parts(expected: &Expected, parts: &mut impl Iterator<Item = Part>) -> Vec<Part> {
    let mut cut = match judge(&expected.header, &export(false), Terms::default()) {
        Verdict::Serve { cut, .. } => cut,
        Verdict::Refuse { .. } => return vec![],
        Verdict::Stop(reason) => panic!("{reason}"),
    };
    let pieces = std::iter::from_fn(|| cut.next());
    let check = |piece: Piece| {
        let part = parts.next().expect("a part for each piece");
        let Piece { op, offset, len, fua } = piece;
        assert_eq!(part, Part { id: part.id, op, offset, len, fua });
        part
    };
    pieces.map(check).collect()
}

/// The request's own answer, given which of its parts were made to fail.
fn check_answer(expected: &Expected, answer: &Answer, failed: bool) {
    let header = expected.header;
    let error = if failed { code::EIO } else { expected.error };
    assert_eq!(answer.error, error, "{header:?}");
    if header.command == command::READ && error == 0 {
        assert!(
            answer.data == pattern(header.offset, usize::try_from(header.len).unwrap()),
            "{header:?}"
        );
    } else {
        assert_eq!(answer.data, [], "{header:?}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn every_request_gets_its_one_reply(
        mut requests in prop::collection::vec(any_request(), 0..30),
        moves in any_moves(),
        limits in any_limits(),
        terms in any_terms(),
    ) {
        let mut stream = Vec::new();
        let mut ends = Vec::new();
        for (cookie, request) in (0..).zip(&mut requests) {
            request.header.cookie = cookie;
            if terms.replies == Replies::Extended {
                stream.extend(request.header.encode_extended());
            } else {
                stream.extend(request.header.encode());
            }
            stream.extend(&request.payload);
            ends.push(stream.len());
        }
        let shell = Shell::new(export(false), terms, limits);
        let mut run = Run {
            shell, limits, stream, received: 0, answers: vec![], failed: vec![], parts: vec![],
        };
        moves.into_iter().for_each(|step| run.step(step));
        run.finish();
        run.shell.assert_idle();

        let mut answers: BTreeMap<u64, Answer> = BTreeMap::new();
        for answer in run.answers {
            let twice = answers.insert(answer.cookie, answer);
            prop_assert_eq!(twice, None);
        }
        prop_assert_eq!(answers.len(), requests.len());

        let mut parts = run.parts.into_iter();
        let mut writes = run.shell.writes.into_iter();
        for (request, end) in requests.iter().zip(ends) {
            let parts = check_parts(request, &mut parts);
            let failed = parts.iter().any(|part| run.failed.contains(part));
            check_answer(request, &answers[&request.header.cookie], failed);
            let written = parts.iter().filter(|part| part.op == PartOp::Write);
            let mut payload = Vec::new();
            for (part, (offset, data, consumed)) in written.zip(&mut writes) {
                prop_assert_eq!(offset, part.offset);
                prop_assert!(consumed >= end, "handed out before it had arrived");
                payload.extend(data);
            }
            prop_assert!(request.error != 0 || payload == request.payload);
        }
        prop_assert_eq!((parts.next(), writes.next()), (None, None));
    }
}

/// Bytes that are requests often enough to get somewhere.
fn any_bytes() -> impl Strategy<Value = Vec<u8>> {
    let almost = (0..12_u16, 0..64_u16, any::<u64>(), any::<u32>(), 0..40_u32).prop_map(
        |(command, flags, offset, len, shift)| {
            let (offset, len) = (offset >> (shift * 63 / 40), len >> (shift * 31 / 40));
            let len = u64::from(len);
            RequestHeader { flags, command, cookie: 3, offset, len }.encode().to_vec()
        },
    );
    let payload = prop::collection::vec(any::<u8>(), 0..100);
    let magic = Just(REQUEST_MAGIC.to_be_bytes().to_vec());
    let part = prop_oneof![8 => almost, 1 => payload, 1 => magic];
    prop::collection::vec(part, 0..40).prop_map(|parts| parts.concat())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    #[test]
    fn any_bytes_are_survived_within_the_limits(
        stream in prop_oneof![any_bytes(), prop::collection::vec(any::<u8>(), 0..200)],
        moves in any_moves(),
        limits in any_limits(),
        terms in any_terms(),
        hang_up in any::<bool>(),
    ) {
        let mut shell = Shell::new(export(false), terms, limits);
        let mut rest = &stream[..];
        for step in moves {
            match step {
                Move::Receive(n) if shell.machine.wants_input() => {
                    let (now, later) = rest.split_at(n.min(rest.len()));
                    shell.receive(now);
                    rest = later;
                }
                Move::Complete(n) | Move::Fail(n) if !shell.executing.is_empty() => {
                    shell.complete(n % shell.executing.len(), Some(ReplyError::Io));
                }
                Move::Reply => drop(shell.poll()),
                Move::Receive(_) | Move::Complete(_) | Move::Fail(_) => {}
            }
            let machine = &shell.machine;
            prop_assert!(machine.requests.slots() <= limits.requests_in_flight_max);
            let max = limits.bytes_in_flight_max.max(u64::from(REQUEST_BYTES_MAX));
            prop_assert!(machine.bytes_in_flight() <= max);
            let parts_max = 3 * limits.requests_in_flight_max + 65 + 64;
            prop_assert!(machine.parts.slots() <= parts_max);
        }
        if hang_up {
            shell.machine.hang_up();
            shell.receive(&[]);
            prop_assert!(shell.stopped.is_some());
            while !shell.executing.is_empty() {
                shell.complete(0, None);
            }
            prop_assert_eq!(shell.poll(), None);
            shell.assert_idle();
        }
    }
}
