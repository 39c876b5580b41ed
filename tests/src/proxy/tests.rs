//! The network does what it is told, or no test that uses it shows anything.

use std::io::{ErrorKind, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::time::{Duration, Instant};

use super::{Direction, Link};
use crate::loopback;

/// A connection of `a` to `b` through a network.
struct Bench {
    link: Link,
    listener: TcpListener,
    a: TcpStream,
    b: TcpStream,
}

fn bench() -> Bench {
    let ip = loopback();
    let [unused, listener] = [0, 0].map(|port| TcpListener::bind((ip, port)).unwrap());
    let target = listener.local_addr().unwrap();
    let link = Link::start(unused.local_addr().unwrap(), target, ip).unwrap();
    let a = TcpStream::connect(link.front(Direction::AToB)).unwrap();
    let (b, _) = listener.accept().unwrap();
    for stream in [&a, &b] {
        stream.set_read_timeout(Some(Duration::from_millis(300))).unwrap();
    }
    Bench { link, listener, a, b }
}

fn arrives(from: &mut TcpStream, to: &mut TcpStream) -> bool {
    from.write_all(b"ping").unwrap();
    let mut buffer = [0; 4];
    to.read_exact(&mut buffer).is_ok_and(|()| buffer == *b"ping")
}

#[test]
fn bytes_arrive_and_are_counted_by_direction() {
    let Bench { link, mut a, mut b, .. } = bench();
    assert!(arrives(&mut a, &mut b) && arrives(&mut a, &mut b) && arrives(&mut b, &mut a));
    // Counted when they have been given out, which may be noticed before.
    let deadline = Instant::now() + Duration::from_secs(5);
    while link.bytes_both() < 12 && Instant::now() < deadline {
        std::thread::yield_now();
    }
    assert_eq!((link.bytes(Direction::AToB), link.bytes(Direction::BToA)), (8, 4));
}

#[test]
fn a_cut_resets_and_refuses_until_it_heals() {
    let Bench { link, listener, mut a, mut b } = bench();
    link.cut();
    for stream in [&mut a, &mut b] {
        stream.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
        assert_eq!(stream.read(&mut [0]).unwrap_err().kind(), ErrorKind::ConnectionReset);
    }
    let mut refused = TcpStream::connect(link.front(Direction::AToB)).unwrap();
    refused.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    assert_eq!(refused.read(&mut [0]).unwrap_err().kind(), ErrorKind::ConnectionReset);
    link.heal();
    let mut a = TcpStream::connect(link.front(Direction::AToB)).unwrap();
    let (mut b, _) = listener.accept().unwrap();
    assert!(arrives(&mut a, &mut b));
}

#[test]
fn a_stall_is_silent_and_of_one_direction() {
    let Bench { link, mut a, mut b, .. } = bench();
    link.stall(Direction::AToB);
    assert!(!arrives(&mut a, &mut b));
    assert!(arrives(&mut b, &mut a));
    assert_eq!(link.bytes(Direction::AToB), 0);
    link.heal();
    let mut late = [0; 4];
    b.read_exact(&mut late).unwrap();
    assert_eq!(late, *b"ping");
}

#[test]
fn a_delay_and_a_limit_take_their_time() {
    let Bench { link, mut a, mut b, .. } = bench();
    link.delay(Duration::from_millis(120));
    let begun = Instant::now();
    assert!(arrives(&mut a, &mut b));
    assert!(begun.elapsed() >= Duration::from_millis(120));
    link.delay(Duration::ZERO);
    link.limit(1 << 20);
    b.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    let begun = Instant::now();
    a.write_all(&vec![1; 256 << 10]).unwrap();
    b.read_exact(&mut vec![0; 256 << 10]).unwrap();
    assert!(begun.elapsed() >= Duration::from_millis(200), "{:?}", begun.elapsed());
}

#[test]
fn a_short_delay_is_short() {
    let Bench { link, mut a, mut b, .. } = bench();
    link.delay(Duration::from_micros(500));
    let round_trip = |_| {
        let begun = Instant::now();
        assert!(arrives(&mut a, &mut b) && arrives(&mut b, &mut a));
        begun.elapsed()
    };
    let best = (0..50).map(round_trip).min().unwrap();
    assert!(best >= Duration::from_millis(1) && best < Duration::from_millis(2), "{best:?}");
}

#[test]
fn a_corruption_flips_one_bit_of_one_direction() {
    let Bench { link, mut a, mut b, .. } = bench();
    link.corrupt(Direction::AToB);
    assert!(arrives(&mut b, &mut a));
    assert!(!arrives(&mut a, &mut b), "the bytes arrive as they were");
    assert!(arrives(&mut a, &mut b));
    link.corrupt(Direction::AToB);
    link.heal();
    assert!(arrives(&mut a, &mut b));
}
