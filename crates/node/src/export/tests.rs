use std::io::{Read, Write};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::time::Duration;

use bytes::Bytes;
use tandem_nbd::{ExportInfo, ExportKey, Limits, Terms, Transmission, wire};
use tandem_replica::wire::VolumeNumber;
use tandem_replica::{ClientId, Instant, Request, RequestError, RequestOp};

use super::{Client, Progress};
use crate::budget::Budget;
use crate::io::Io;
use crate::mail::OnceGone;
use crate::stream::Stream;
use crate::token::Token;

const MIB: usize = 1 << 20;

/// A client's socket, and what serves it.
struct Bench {
    socket: UnixStream,
    io: Io,
    budget: Budget,
    client: Client,
    ended: Option<String>,
}

impl Bench {
    fn new(rest: &[u8]) -> Self {
        Self::of(rest, OnceGone::Finish)
    }

    fn of(rest: &[u8], once_gone: OnceGone) -> Self {
        let (socket, ours) = UnixStream::pair().unwrap();
        socket.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        let mut io = Io::new(64 << 20).unwrap();
        let (receive, send) = (Token::ClientReceive(0), Token::ClientSend(0));
        let stream = Stream::new(&mut io, ours.into(), rest, receive, send).unwrap();
        let export = ExportInfo {
            name: "r0/0".into(),
            description: String::new(),
            size_bytes: 64 << 20,
            read_only: false,
            block_size: 512,
            fast_zero: true,
            rotational: false,
            peers: vec!["b".into()],
            key: ExportKey(0),
        };
        let transmission = Transmission::new(export, Terms::default(), Limits::default());
        let volume = VolumeNumber(0);
        let client = Client::new(ClientId(8), 0, 0, volume, stream, transmission, once_gone);
        Self { socket, io, budget: Budget::new(16 << 20), client, ended: None }
    }

    fn ask(&mut self, command: u16, cookie: u64, offset: u64, len: u32) {
        let len = u64::from(len);
        let header = wire::RequestHeader { flags: 0, command, cookie, offset, len };
        self.socket.write_all(&header.encode()).unwrap();
    }

    /// Requests as they come, until there are `count` or the client has ended.
    fn requests(&mut self, count: usize) -> Vec<Request> {
        let mut requests = Vec::new();
        while self.ended.is_none() {
            match self.client.pump(&mut self.io, &mut self.budget, &mut requests) {
                Progress::Waiting => {}
                Progress::Stalled => return requests,
                Progress::Ended(reason) => self.ended = Some(reason),
            }
            if requests.len() >= count || self.ended.is_some() {
                return requests;
            }
            self.turn();
        }
        requests
    }

    fn turn(&mut self) {
        let mut completions = Vec::new();
        let turn = self.io.wait(Some(Duration::from_secs(10)), &mut completions).unwrap();
        assert!(turn.completions > 0, "nothing happened for 10 s");
        for completion in completions {
            let handled = match Token::decode(completion.token) {
                Token::ClientReceive(0) => self.client.handle_received(completion),
                Token::ClientSend(0) => self.client.handle_sent(completion),
                other @ (Token::Disk(_)
                | Token::LinkReceive(_)
                | Token::LinkSend(_)
                | Token::ClientReceive(_)
                | Token::ClientSend(_)) => panic!("{other:?}"),
            };
            self.ended = handled.err().or_else(|| self.ended.take());
        }
    }

    fn answer(&mut self, request: &Request, result: Result<Option<Bytes>, RequestError>) {
        self.client.reply(&mut self.budget, request.cookie, result);
        self.client.flush(&mut self.io, &mut self.budget);
        self.turn();
    }

    fn reply(&mut self) -> [u8; 16] {
        let mut reply = [0; 16];
        self.socket.read_exact(&mut reply).unwrap();
        reply
    }
}

fn data_of(request: &Request) -> Bytes {
    let RequestOp::Write { data, .. } = &request.op else { panic!("{request:?}") };
    data.clone()
}

#[test]
fn writes_of_any_size_come_with_their_data_in_aligned_buffers() {
    for len in [1, 512, 4096, 70_000, MIB, 3 * MIB + 5] {
        let mut bench = Bench::new(&[]);
        let data: Vec<u8> = (0..=250).cycle().take(len).collect();
        // In one piece, so that the stream buffer gets the header and a part of the data.
        let mut sent = wire::RequestHeader {
            flags: 0,
            command: wire::command::WRITE,
            cookie: 77,
            offset: 4096,
            len: len as u64,
        }
        .encode()
        .to_vec();
        sent.extend_from_slice(&data);
        let mut socket = bench.socket.try_clone().unwrap();
        let writer = std::thread::spawn(move || socket.write_all(&sent).unwrap());
        let parts = len.div_ceil(MIB);
        let requests = bench.requests(parts);
        writer.join().unwrap();
        let got: Vec<u8> = requests.iter().flat_map(data_of).collect();
        assert!(got == data, "{len} bytes");
        for request in &requests {
            assert!(data_of(request).as_ptr().addr().is_multiple_of(4096));
            bench.client.reply(&mut bench.budget, request.cookie, Ok(None));
        }
        bench.client.flush(&mut bench.io, &mut bench.budget);
        bench.turn();
        assert_eq!(bench.reply(), wire::encode_simple_reply(0, 77));
        assert_eq!(bench.client.charged, 0);
    }
}

#[test]
fn reads_are_answered_with_data_and_failures_with_an_error() {
    let mut bench = Bench::new(&[]);
    bench.ask(wire::command::READ, 1, 512, 1024);
    bench.ask(wire::command::READ, 2, 0, 512);
    let requests = bench.requests(2);
    assert!(matches!(requests[0].op, RequestOp::Read(range) if range.offset == 512));
    bench.answer(&requests[1], Err(RequestError::Io));
    assert_eq!(bench.reply(), wire::encode_simple_reply(wire::error::EIO, 2));
    bench.answer(&requests[0], Ok(Some(Bytes::from(vec![9; 1024]))));
    assert_eq!(bench.reply(), wire::encode_simple_reply(0, 1));
    let mut data = [0; 1024];
    bench.socket.read_exact(&mut data).unwrap();
    assert_eq!(data, [9; 1024]);
    assert_eq!(bench.client.charged, 0);
}

#[test]
fn what_came_with_the_handshake_is_the_first_request() {
    let header = wire::RequestHeader {
        flags: 0,
        command: wire::command::FLUSH,
        cookie: 5,
        offset: 0,
        len: 0,
    };
    let mut bench = Bench::new(&header.encode());
    assert!(matches!(bench.requests(1)[0].op, RequestOp::Flush));
}

#[test]
fn a_client_beyond_its_share_of_buffers_waits() {
    let mut bench = Bench::new(&[]);
    // All is used up, what is kept for those who hold nothing too.
    bench.budget.charge(28 << 20);
    bench.ask(wire::command::READ, 1, 0, 512);
    assert!(bench.requests(1).is_empty());
    bench.budget.release(1);
    assert_eq!(bench.requests(1).len(), 1);
}

#[test]
fn zeroed_edges_are_writes_of_zeroes() {
    let mut bench = Bench::new(&[]);
    bench.ask(wire::command::WRITE_ZEROES, 1, 100, 1500);
    let requests = bench.requests(3);
    assert_eq!(data_of(&requests[0]), vec![0; 412]);
    assert!(matches!(requests[1].op, RequestOp::Zeroes { range, .. } if range.len == 1024));
    assert_eq!(data_of(&requests[2]), vec![0; 64]);
}

#[test]
fn a_disconnect_waits_for_the_replies_still_owed() {
    let mut bench = Bench::new(&[]);
    bench.ask(wire::command::FLUSH, 1, 0, 0);
    bench.ask(wire::command::DISC, 2, 0, 0);
    let requests = bench.requests(1);
    assert_eq!(bench.ended, None);
    bench.answer(&requests[0], Ok(None));
    assert_eq!(bench.reply(), wire::encode_simple_reply(0, 1));
    bench.requests(1);
    assert_eq!(bench.ended.as_deref(), Some("client disconnected"));
}

#[test]
fn a_dead_client_leaves_only_what_it_sent_in_full() {
    let mut bench = Bench::new(&[]);
    bench.ask(wire::command::WRITE, 1, 0, 4096);
    bench.socket.write_all(&[1; 4096]).unwrap();
    bench.ask(wire::command::WRITE, 2, 4096, 4096);
    bench.socket.write_all(&[1; 100]).unwrap();
    bench.socket.shutdown(Shutdown::Both).unwrap();
    let mut requests = bench.requests(2);
    assert_eq!(requests.len(), 1);
    assert!(bench.ended.as_deref().is_some_and(|reason| reason.contains("closed")));
    bench.client.close(&mut bench.io, &mut bench.budget, Some(&mut requests));
    assert_eq!(requests.len(), 1);
    assert_eq!(bench.client.charged, 0);
    assert!(bench.client.is_closed() && bench.client.is_idle());
}

#[test]
fn what_the_kernel_asks_again_elsewhere_is_not_carried_out_late() {
    for once_gone in [OnceGone::Finish, OnceGone::Forget] {
        let late = usize::from(once_gone == OnceGone::Finish);
        // A write that waits for its share of buffers when it is given up.
        let mut bench = Bench::of(&[], once_gone);
        bench.budget.charge(28 << 20);
        bench.ask(wire::command::WRITE, 1, 0, 4096);
        bench.socket.write_all(&[1; 4096]).unwrap();
        assert_eq!(bench.requests(1).len(), 0);
        bench.socket.shutdown(Shutdown::Both).unwrap();
        bench.budget.release(28 << 20);
        assert_eq!(bench.requests(1).len(), late);
        // One that is closed then; its share was just enough to receive it.
        let mut bench = Bench::of(&write_of_a_block(), once_gone);
        bench.budget.charge((28 << 20) - 1);
        assert_eq!(bench.requests(1).len(), 0);
        let mut rest = Vec::new();
        bench.client.close(&mut bench.io, &mut bench.budget, Some(&mut rest));
        assert_eq!(rest.len(), late);
    }
}

fn write_of_a_block() -> Vec<u8> {
    let (flags, command) = (0, wire::command::WRITE);
    let header = wire::RequestHeader { flags, command, cookie: 1, offset: 0, len: 4096 };
    [&header.encode()[..], &[1; 4096]].concat()
}

/// Takes in what the client has sent, at a time.
fn receive_at(bench: &mut Bench, now: Instant) {
    bench.turn();
    let mut requests = Vec::new();
    let progress = bench.client.pump(&mut bench.io, &mut bench.budget, &mut requests);
    assert_eq!(progress, Progress::Waiting);
    bench.client.note_pace(now);
}

fn at(seconds: u64) -> Instant {
    Instant::default() + Duration::from_secs(seconds)
}

#[test]
fn a_trickle_does_not_put_off_the_end_of_patience() {
    let header = wire::RequestHeader {
        flags: 0,
        command: wire::command::WRITE,
        cookie: 1,
        offset: 0,
        len: 4096,
    };
    let mut bench = Bench::new(&header.encode());
    assert!(
        bench.client.pump(&mut bench.io, &mut bench.budget, &mut Vec::new()) == Progress::Waiting
    );
    bench.client.note_pace(at(0));
    for second in (3..60).step_by(3) {
        bench.socket.write_all(&[0]).unwrap();
        receive_at(&mut bench, at(second));
        assert!(!bench.client.is_abandoned(at(second)));
    }
    assert!(!bench.client.is_abandoned(at(59)) && bench.client.is_abandoned(at(61)));
    assert!(bench.client.is_stuck(at(59)), "others need not wait that long for its buffer");
}

#[test]
fn idle_and_slow_clients_are_not_abandoned() {
    let mut bench = Bench::new(&[]);
    assert!(bench.requests(0).is_empty());
    bench.client.note_pace(at(0));
    assert!(!bench.client.is_abandoned(at(1_000_000)));
    // Small requests one behind the other, each soon there in full, however slow the line is.
    let header = wire::RequestHeader {
        flags: 0,
        command: wire::command::FLUSH,
        cookie: 1,
        offset: 0,
        len: 0,
    };
    let mut stream = [header.encode(); 20].concat();
    for second in (0..).step_by(10) {
        if stream.len() < 10 {
            break;
        }
        let piece: Vec<u8> = stream.drain(..10).collect();
        bench.socket.write_all(&piece).unwrap();
        receive_at(&mut bench, at(second));
        assert!(!bench.client.is_abandoned(at(second + 9)), "after {second} s");
    }
}
