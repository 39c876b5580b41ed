//! Lanes, cuts, resets and the end of a session.

use tandem_wire::{BarrierNumber, RequestId};

use super::*;
use crate::clock::SECONDS;

const PACE: LinkPace = LinkPace { low: 1000, high: 50_000, per_kib: 100, split: 500 };

struct Net {
    link: SimLink,
    clock: Clock<Event>,
    key: u64,
}

fn net(seed: u64) -> Net {
    let mut link = SimLink::new(PACE, Prng::new(seed));
    let mut clock = Clock::new();
    let (key, _) = link.open([LinkSession(1), LinkSession(9)], clock.now());
    for node in [0, 1] {
        link.up(key, node, &mut clock).unwrap();
    }
    Net { link, clock, key }
}

impl Net {
    fn send(&mut self, node: usize, packet: Packet) {
        self.link.send(self.key, node, packet, &mut self.clock);
    }

    /// What arrives until nothing more happens: packets and whether the stream ended, per receiver.
    fn run(&mut self) -> [(Vec<Packet>, bool); 2] {
        let mut received = [(Vec::new(), false), (Vec::new(), false)];
        while let Some(event) = self.clock.pop() {
            let Event::Arrive { session, from } = event else { continue };
            if let Some(arrival) = self.link.arrive(session, from, &mut self.clock) {
                received[1 - from].0.extend(arrival.packets);
                received[1 - from].1 |= arrival.ended || arrival.damaged;
            }
        }
        received
    }
}

fn reply(id: u64, len: usize) -> Packet {
    Packet::DataReply { id: RequestId(id), data: Bytes::from(vec![5; len]) }
}

#[test]
fn each_lane_keeps_its_order_and_acks_overtake() {
    let mut overtaken = false;
    for seed in 0..20 {
        let mut net = net(seed);
        for id in 0..50 {
            net.send(0, reply(id, 32 << 10));
            net.send(0, Packet::BarrierAck(BarrierNumber(id)));
        }
        let [_, (packets, _)] = net.run();
        assert_eq!(packets.len(), 100);
        let mut data = Vec::new();
        let mut acks = Vec::new();
        for packet in &packets {
            if let Packet::DataReply { id, .. } = packet {
                data.push(id.0);
            }
            if let Packet::BarrierAck(number) = packet {
                overtaken |= number.0 > data.len() as u64;
                acks.push(number.0);
            }
        }
        assert!(data.is_sorted() && acks.is_sorted() && data.len() == acks.len());
    }
    assert!(overtaken);
}

#[test]
fn a_cut_is_silent_and_its_bytes_wait() {
    let mut net = net(3);
    net.link.cut(0);
    net.send(0, Packet::Ping);
    net.send(1, Packet::Ping);
    let [(at_0, _), (at_1, _)] = net.run();
    assert_eq!((at_0.len(), at_1.len()), (1, 0));
    net.clock.after(SECONDS, Event::Operator);
    net.link.heal(0, &mut net.clock);
    assert_eq!(net.run()[1].0, [Packet::Ping]);
}

#[test]
fn a_reset_ends_both_sides_behind_a_prefix() {
    let mut lengths = std::collections::BTreeSet::new();
    for seed in 0..100 {
        let mut net = net(seed);
        for id in 0..5 {
            net.send(0, reply(id, 2000));
        }
        net.link.reset(&mut net.clock);
        let [(_, ended_0), (packets, ended_1)] = net.run();
        assert!(ended_0 && ended_1);
        assert_eq!(
            packets,
            (0..packets.len() as u64).map(|id| reply(id, 2000)).collect::<Vec<_>>()
        );
        lengths.insert(packets.len());
    }
    assert!(lengths.len() > 4, "cut everywhere: {lengths:?}");
}

#[test]
fn a_flipped_bit_is_seen() {
    for seed in 0..100 {
        let mut net = net(seed);
        net.send(0, reply(1, 700));
        assert!(net.link.corrupt());
        let [_, (packets, ended)] = net.run();
        assert!(packets.is_empty(), "seed {seed}: {packets:?}");
        assert!(ended);
    }
}

#[test]
fn a_node_without_power_is_silent_until_it_boots() {
    let mut net = net(4);
    net.link.close(net.key, 1, true, &mut net.clock);
    net.send(0, Packet::Ping);
    assert_eq!(net.run(), [(vec![], false), (vec![], false)]);
    net.link.boot(1, &mut net.clock);
    assert!(net.run()[0].1);
}
