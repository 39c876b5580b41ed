use std::io::Write;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::time::Duration;

use bytes::Bytes;
use tandem_replica::LinkSession;
use tandem_replica::wire::{
    BarrierNumber, ByteRange, Epoch, NodeId, Packet, PeerWrite, RequestId, VolumeNumber, WriteKind,
};

use super::{Link, Next};
use crate::io::Io;
use crate::stream::Stream;
use crate::token::Token;

const POOL_BYTES: usize = 64 << 20;
const KEY: u32 = 0x1234_5678;

/// Two ends of one link on one ring.
struct Pair {
    io: Io,
    links: [Link; 2],
}

impl Pair {
    fn new() -> Self {
        let (one, other) = UnixStream::pair().unwrap();
        let mut io = Io::new(POOL_BYTES).unwrap();
        let links = [(0, one), (1, other)].map(|(end, socket)| link(&mut io, end, socket.into()));
        Self { io, links }
    }

    /// Lets bytes flow until the second end has got `count` packets or found an error.
    fn receive(&mut self, count: usize) -> Result<Vec<Packet>, String> {
        let mut packets = Vec::new();
        while packets.len() < count {
            match self.links[1].next_packet(&mut self.io) {
                Next::Packet(packet) => packets.push(packet),
                Next::Waiting => self.turn()?,
                Next::Stalled => return Err("stalled".into()),
                Next::Error(error) => return Err(error),
            }
        }
        Ok(packets)
    }

    fn turn(&mut self) -> Result<(), String> {
        self.links[0].flush(&mut self.io);
        let mut completions = Vec::new();
        let turn = self.io.wait(Some(Duration::from_secs(10)), &mut completions).unwrap();
        assert!(turn.completions > 0, "nothing happened for 10 s");
        for completion in completions {
            match Token::decode(completion.token) {
                Token::LinkReceive(end) => self.links[end].handle_received(completion)?,
                Token::LinkSend(end) => self.links[end].handle_sent(completion)?,
                other @ (Token::Disk(_) | Token::ClientReceive(_) | Token::ClientSend(_)) => {
                    panic!("{other:?}")
                }
            }
        }
        Ok(())
    }
}

fn link(io: &mut Io, end: usize, socket: OwnedFd) -> Link {
    let (receive, send) = (Token::LinkReceive(end), Token::LinkSend(end));
    let stream = Stream::new(io, socket, &[], receive, send).unwrap();
    Link::new(0, NodeId(1), LinkSession(7), stream, KEY)
}

fn write(id: u64, len: usize) -> Packet {
    let range = ByteRange::new(id * 4096, u32::try_from(len).unwrap());
    let first = u8::try_from(id).unwrap();
    let data: Vec<u8> = (first..=250).cycle().take(len).collect();
    Packet::Write(PeerWrite {
        volume: VolumeNumber(0),
        range,
        id: RequestId(id),
        epoch: Epoch(1),
        fua: false,
        kind: WriteKind::Data(Bytes::from(data)),
    })
}

#[test]
fn packets_of_every_size_arrive_whole_and_in_order() {
    let mut pair = Pair::new();
    let lens = [512, 4096, 40_000, 65_536, 1 << 20, 512, 300_000, 1 << 20, 1 << 20];
    let mut sent: Vec<Packet> = (0..).zip(lens).map(|(id, len)| write(id, len)).collect();
    sent.push(Packet::Barrier(BarrierNumber(1)));
    for packet in &sent {
        pair.links[0].send(packet.clone());
    }
    let received = pair.receive(sent.len()).unwrap();
    assert!(received == sent);
}

#[test]
fn payload_is_aligned_for_the_disk() {
    let mut pair = Pair::new();
    for len in [512, 1 << 20] {
        pair.links[0].send(write(3, len));
        let Packet::Write(PeerWrite { kind: WriteKind::Data(data), .. }) =
            pair.receive(1).unwrap().remove(0)
        else {
            panic!("a write was sent");
        };
        assert!(data.as_ptr().addr().is_multiple_of(4096));
    }
}

#[test]
fn acks_overtake_data_that_wait() {
    let mut pair = Pair::new();
    pair.links[0].send(write(1, 4096));
    pair.links[0].send(write(2, 4096));
    pair.links[0].send(Packet::WriteAck { id: RequestId(9) });
    let received = pair.receive(3).unwrap();
    assert_eq!(received[0], Packet::WriteAck { id: RequestId(9) });
    assert!(received[1..] == [write(1, 4096), write(2, 4096)]);
}

#[test]
fn an_ack_waits_for_no_more_than_the_send_under_way() {
    let mut pair = Pair::new();
    for id in 0..8 {
        pair.links[0].send(write(id, 256 << 10));
    }
    pair.links[0].flush(&mut pair.io);
    pair.links[0].send(Packet::PingAck);
    let received = pair.receive(9).unwrap();
    let position = received.iter().position(|packet| *packet == Packet::PingAck).unwrap();
    assert!(position <= 3, "the ack came as number {position}");
}

#[test]
fn without_buffers_acks_still_come_and_payload_waits() {
    let mut pair = Pair::new();
    let mut taken = Vec::new();
    while let Some(buffer) = pair.io.take_payload(1 << 20) {
        taken.push(buffer);
    }
    pair.links[0].send(Packet::WriteAck { id: RequestId(9) });
    assert_eq!(pair.receive(1), Ok(vec![Packet::WriteAck { id: RequestId(9) }]));
    pair.links[0].send(write(1, 1 << 20));
    assert_eq!(pair.receive(1), Err("stalled".into()));
    taken.pop();
    assert!(pair.receive(1) == Ok(vec![write(1, 1 << 20)]));
}

#[test]
fn garbage_half_frames_and_other_sessions_end_the_link() {
    let (mut raw, socket) = UnixStream::pair().unwrap();
    let mut pair = Pair::new();
    pair.links[1] = link(&mut pair.io, 1, socket.into());
    raw.write_all(&[0x55; 100]).unwrap();
    let error = pair.receive(1).unwrap_err();
    assert!(error.contains("magic"), "{error}");

    let (mut raw, socket) = UnixStream::pair().unwrap();
    let mut pair = Pair::new();
    pair.links[1] = link(&mut pair.io, 1, socket.into());
    let frame = tandem_replica::wire::Encoder::new(KEY + 1).encode(&Packet::Ping);
    raw.write_all(&frame.header).unwrap();
    let error = pair.receive(1).unwrap_err();
    assert!(error.contains("crc"), "{error}");

    let (mut raw, socket) = UnixStream::pair().unwrap();
    let mut pair = Pair::new();
    pair.links[1] = link(&mut pair.io, 1, socket.into());
    let frame = tandem_replica::wire::Encoder::new(KEY).encode(&write(1, 4096));
    raw.write_all(&frame.header).unwrap();
    raw.write_all(&frame.payload.unwrap()[..100]).unwrap();
    drop(raw);
    let error = pair.receive(1).unwrap_err();
    assert!(error.contains("closed"), "{error}");
}
