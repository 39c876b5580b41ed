//! Receives and gathered sends over socket pairs and TCP.

use std::collections::VecDeque;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::fd::OwnedFd;

use bytes::{Buf, Bytes};

use crate::limits::SEND_PIECES_MAX;
use crate::testing::{complete, complete_one, engine, pattern, socket_pair};
use crate::{Engine, Op, Pool, SocketId};

fn tcp_pair() -> (OwnedFd, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let ours = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    (ours.into(), listener.accept().unwrap().0)
}

fn recv(pool: &Pool, socket: SocketId, len: usize, filled: usize, wait_all: bool) -> Op {
    Op::Recv { socket, buffer: pool.take_zeroed(len).unwrap(), filled, wait_all }
}

#[test]
fn a_receive_fills_the_tail_and_leaves_the_rest() {
    let (mut engine, pool) = engine();
    let (ours, mut theirs) = socket_pair();
    let socket = engine.register_socket(ours).unwrap();
    engine.submit(1, recv(&pool, socket, 10, 4, false)).unwrap();
    theirs.write_all(b"abc").unwrap();
    let done = complete_one(&mut engine);
    assert_eq!(done.result.unwrap(), 3);
    let Op::Recv { buffer, filled, .. } = done.op else { panic!("not a receive") };
    assert_eq!((&buffer[..], filled), (&b"\0\0\0\0abc\0\0\0"[..], 4));
    drop(theirs);
    engine.submit(2, recv(&pool, socket, 10, 0, false)).unwrap();
    assert_eq!(complete_one(&mut engine).result.unwrap(), 0, "the end of the stream");
}

#[test]
fn a_waiting_receive_completes_when_it_is_full() {
    let (mut engine, pool) = engine();
    let (ours, mut theirs) = tcp_pair();
    let socket = engine.register_socket(ours).unwrap();
    let sent = pattern(&pool, 300_000, 5).freeze();
    let thread = std::thread::spawn({
        let sent = sent.clone();
        move || {
            for part in sent.chunks(1000) {
                theirs.write_all(part).unwrap();
            }
        }
    });
    engine.submit(1, recv(&pool, socket, 300_000, 0, true)).unwrap();
    let done = complete_one(&mut engine);
    assert_eq!(done.result.unwrap(), 300_000);
    let Op::Recv { buffer, .. } = done.op else { panic!("not a receive") };
    assert!(*buffer == *sent);
    thread.join().unwrap();
}

#[test]
fn a_nonblocking_socket_is_waited_for() {
    let (mut engine, pool) = engine();
    let (ours, mut theirs) = socket_pair();
    rustix::io::ioctl_fionbio(&ours, true).unwrap();
    let socket = engine.register_socket(ours).unwrap();
    engine.submit(1, recv(&pool, socket, 10, 0, false)).unwrap();
    let mut out = Vec::new();
    engine.wait(Some(std::time::Duration::from_millis(30)), &mut out).unwrap();
    assert!(out.is_empty(), "{out:?}");
    theirs.write_all(b"x").unwrap();
    assert_eq!(complete_one(&mut engine).result.unwrap(), 1);
    assert_eq!(engine.stats().retries, 0);
}

#[test]
fn a_gathered_send_keeps_the_order_through_partial_sends() {
    let (ours, theirs) = socket_pair();
    gather(ours, theirs);
    let (ours, theirs) = tcp_pair();
    gather(ours, theirs);
}

/// Sends more pieces than one send takes, of unequal sizes, against a slow reader.
fn gather(ours: OwnedFd, mut theirs: impl Read + Send + 'static) {
    let (mut engine, pool) = engine();
    let socket = engine.register_socket(ours).unwrap();
    let source = pattern(&pool, 1 << 20, 9).freeze();
    let mut pieces: VecDeque<Bytes> = VecDeque::new();
    for index in 0..SEND_PIECES_MAX + 500 {
        let start = index * 500;
        pieces.push_back(source.slice(start..start + index * 37 % 16_384));
    }
    let expected: Vec<u8> = pieces.iter().flatten().copied().collect();
    let len = expected.len();
    let thread = std::thread::spawn(move || {
        std::thread::sleep(std::time::Duration::from_millis(20));
        let mut received = vec![0; len];
        theirs.read_exact(&mut received).unwrap();
        received
    });
    let sends = send_all(&mut engine, socket, pieces);
    assert!(sends > 2, "{sends} sends: none of them was partial");
    assert!(thread.join().unwrap() == expected);
}

/// Sends until nothing is left, as a user of the engine does; returns in how many sends.
fn send_all(engine: &mut Engine, socket: SocketId, mut pieces: VecDeque<Bytes>) -> u32 {
    let mut sends = 0;
    while pieces.iter().any(|piece| !piece.is_empty()) {
        engine.submit(1, Op::Send { socket, pieces }).unwrap();
        let done = complete_one(engine);
        let mut sent = done.result.unwrap() as usize;
        let Op::Send { pieces: mut rest, .. } = done.op else { panic!("not a send") };
        while let Some(first) = rest.front_mut() {
            if sent < first.len() {
                first.advance(sent);
                break;
            }
            sent -= first.len();
            rest.pop_front();
        }
        pieces = rest;
        sends += 1;
    }
    sends
}

#[test]
fn a_send_to_a_closed_peer_is_an_error_and_no_signal() {
    let (mut engine, _pool) = engine();
    let (ours, theirs) = socket_pair();
    let socket = engine.register_socket(ours).unwrap();
    drop(theirs);
    let pieces = VecDeque::from([Bytes::from_static(b"x")]);
    engine.submit(1, Op::Send { socket, pieces }).unwrap();
    let error = complete_one(&mut engine).result.unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::BrokenPipe);
}

#[test]
fn many_links_send_and_receive_at_once() {
    let (mut engine, pool) = engine();
    let links: Vec<_> = (0..100).map(|_| socket_pair()).collect();
    for (token, (ours, theirs)) in (0..).zip(links) {
        let ours = engine.register_socket(ours).unwrap();
        let theirs = engine.register_socket(theirs.into()).unwrap();
        engine.submit(token, recv(&pool, ours, 3000, 0, true)).unwrap();
        let pieces = (0..3).map(|_| pattern(&pool, 1000, token).freeze()).collect();
        engine.submit(1000 + token, Op::Send { socket: theirs, pieces }).unwrap();
    }
    for done in complete(&mut engine, 200) {
        assert_eq!(done.result.unwrap(), 3000);
        if let Op::Recv { buffer, .. } = done.op {
            let sent = pattern(&pool, 1000, done.token);
            assert!(buffer.chunks(1000).all(|part| *part == *sent));
        }
    }
}

#[test]
fn a_socket_that_the_other_side_has_given_up_is_told_before_all_is_received() {
    let (mut engine, pool) = engine();
    let (ours, theirs) = socket_pair();
    let socket = engine.register_socket(ours).unwrap();
    assert!(!engine.is_hung_up(socket));
    rustix::io::write(&theirs, &[7; 100]).unwrap();
    rustix::net::shutdown(&theirs, rustix::net::Shutdown::Write).unwrap();
    assert!(!engine.is_hung_up(socket), "it still takes replies");
    rustix::net::shutdown(&theirs, rustix::net::Shutdown::Both).unwrap();
    assert!(engine.is_hung_up(socket));
    engine.submit(1, recv(&pool, socket, 100, 0, false)).unwrap();
    assert_eq!(complete_one(&mut engine).result.unwrap(), 100);
    engine.unregister_socket(socket);
    assert!(engine.is_hung_up(socket));
}

#[test]
fn a_shut_down_socket_ends_what_waits_on_it() {
    let (mut engine, pool) = engine();
    let (ours, _theirs) = socket_pair();
    let socket = engine.register_socket(ours).unwrap();
    engine.submit(1, recv(&pool, socket, 10, 0, false)).unwrap();
    engine.wait(Some(std::time::Duration::ZERO), &mut Vec::new()).unwrap();
    engine.shutdown_socket(socket);
    assert_eq!(complete_one(&mut engine).result.unwrap(), 0);
    engine.unregister_socket(socket);
    assert!(!engine.is_socket_open(socket));
}
