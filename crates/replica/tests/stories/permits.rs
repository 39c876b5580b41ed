//! `before-resync-target` may forbid that a node's data are overwritten; nobody's I/O waits for it.

use std::time::Duration;

use tandem_replica::wire::{DiskState, Protocol, ReplicationState};
use tandem_replica::{Command, ConnectionState, Fencing, Handler, OnCongestion};

use crate::pair::{Pair, peer_of};
use crate::stage::{VOLUME, assert_in_sync, connection, disks, short, start_write};

/// Node 1 asks; node 0 is Primary.
fn asking(volumes: u16, protocol: Protocol) -> Pair {
    let mut pair = Pair::in_sync(volumes, protocol);
    set_asks(&mut pair, 1);
    pair
}

fn set_asks(pair: &mut Pair, node: usize) {
    for mut volume in pair.nodes[node].resource.config().volumes.clone() {
        volume.asks_before_resync = true;
        pair.nodes[node].resource.update_volume(volume, pair.now);
    }
}

/// The node 1 has missed a write, and meets its peer again.
fn meets_after_a_write(pair: &mut Pair) {
    pair.cut();
    assert!(write(pair, 1));
    pair.heal();
    pair.run(Duration::from_secs(15));
}

/// Whether a write of node 0 is answered at once.
fn write(pair: &mut Pair, byte: u8) -> bool {
    let cookie = start_write(pair, 0, 0, byte);
    short(pair);
    pair.reply(0, cookie).is_some_and(|reply| reply.is_ok())
}

/// The program that was asked first ends.
fn answer(pair: &mut Pair, exit_code: Option<i32>) {
    let call = pair.nodes[1].calls.remove(0);
    pair.nodes[1].resource.handle_called(call, exit_code, pair.now);
}

fn block(pair: &Pair, node: usize) -> u8 {
    pair.nodes[node].devices[0][0]
}

/// 1. Node 1 meets a Primary that has newer data. Its program is asked, once.
/// 2. Meanwhile its old data are still there, Outdated, and the Primary writes alone.
/// 3. The program agrees: everything is copied, and the other handler is told.
#[test]
fn a_target_asks_and_the_primary_does_not_wait() {
    let mut pair = asking(1, Protocol::C);
    meets_after_a_write(&mut pair);
    assert_eq!(pair.nodes[1].called, [Handler::BeforeResyncTarget]);
    assert_eq!(disks(&pair), [DiskState::UpToDate, DiskState::Outdated]);
    assert_ne!(connection(&pair, 0).state, ConnectionState::Connected);
    assert!(write(&mut pair, 2), "a write waits for a program of the peer's");
    pair.run(Duration::from_secs(300));
    assert_eq!(pair.nodes[1].called, [Handler::BeforeResyncTarget], "asked again");
    assert_eq!(block(&pair, 1), 0);
    answer(&mut pair, Some(0));
    pair.run(Duration::from_secs(5));
    assert_in_sync(&pair);
    assert_eq!(block(&pair, 1), 2);
    assert_eq!(pair.nodes[1].called, [Handler::BeforeResyncTarget, Handler::AfterResyncTarget]);
    assert!(pair.nodes[0].called.is_empty(), "{:?}", pair.nodes[0].called);
}

/// An exit code other than 0, and none, keep the data; the operator's `connect` asks again.
#[test]
fn what_is_forbidden_is_not_copied() {
    for refusal in [Some(1), None] {
        let mut pair = asking(1, Protocol::C);
        meets_after_a_write(&mut pair);
        answer(&mut pair, refusal);
        pair.run(Duration::from_secs(60));
        let stands = connection(&pair, 1);
        assert_eq!(stands.state, ConnectionState::StandAlone);
        let reason = stands.reason.unwrap();
        assert!(
            reason.contains("before-resync-target") && reason.contains("'connect'"),
            "{reason}"
        );
        assert_eq!((block(&pair, 1), disks(&pair)[1]), (0, DiskState::Outdated));
        assert!(write(&mut pair, 2));
        pair.try_connect(1, false).unwrap();
        pair.run(Duration::from_secs(15));
        assert_eq!(pair.nodes[1].called, [Handler::BeforeResyncTarget; 2]);
        answer(&mut pair, Some(0));
        pair.run(Duration::from_secs(15));
        assert_in_sync(&pair);
    }
}

/// Each volume that is to be overwritten is asked for; one refusal is enough.
#[test]
fn every_volume_is_asked_for() {
    for last in [0, 1] {
        let mut pair = asking(2, Protocol::C);
        pair.cut();
        assert!(write(&mut pair, 1));
        for volume in 0..2 {
            pair.request(0, volume, crate::stage::write_op(4096, 3));
        }
        pair.heal();
        pair.run(Duration::from_secs(15));
        assert_eq!(pair.nodes[1].called, [Handler::BeforeResyncTarget; 2]);
        answer(&mut pair, Some(0));
        pair.run(Duration::from_secs(30));
        assert_ne!(connection(&pair, 1).state, ConnectionState::Connected, "half an answer");
        answer(&mut pair, Some(last));
        pair.run(Duration::from_secs(15));
        match last {
            0 => assert_in_sync(&pair),
            _ => assert_eq!(connection(&pair, 1).state, ConnectionState::StandAlone),
        }
    }
}

/// 1. The connection is ended by the operator while the program runs.
/// 2. What it says then counts for nothing: the next resync is asked for.
#[test]
fn an_answer_that_comes_late_permits_nothing() {
    let mut pair = asking(1, Protocol::C);
    meets_after_a_write(&mut pair);
    pair.command(1, Command::Disconnect { peer: peer_of(1), force: false }).unwrap();
    pair.try_connect(1, false).unwrap();
    pair.run(Duration::from_secs(60));
    assert_eq!(pair.nodes[1].called, [Handler::BeforeResyncTarget], "two of them at once");
    pair.command(1, Command::Disconnect { peer: peer_of(1), force: false }).unwrap();
    answer(&mut pair, Some(0));
    pair.try_connect(1, false).unwrap();
    pair.run(Duration::from_secs(15));
    assert_eq!(pair.nodes[1].called, [Handler::BeforeResyncTarget; 2]);
}

/// A Primary that gets its disk back needs the peer's data at once: it tells, and does not ask.
#[test]
fn a_primary_does_not_ask() {
    let mut pair = Pair::in_sync(1, Protocol::C);
    set_asks(&mut pair, 0);
    pair.command(0, Command::Detach { volume: VOLUME, force: false }).unwrap();
    pair.run(Duration::from_secs(5));
    assert!(write(&mut pair, 5));
    pair.command(0, Command::Attach { volume: VOLUME }).unwrap();
    pair.run(Duration::from_secs(15));
    assert_in_sync(&pair);
    assert!(pair.nodes[0].calls.is_empty());
    assert_eq!(pair.nodes[0].called, [Handler::BeforeResyncTarget, Handler::AfterResyncTarget]);
}

/// A peer that has left to ask is no danger: it is Outdated, and has said so.
#[test]
fn who_asks_is_not_fenced() {
    let mut pair = asking(1, Protocol::C);
    let mut peer = pair.nodes[0].resource.config().peers[0].clone();
    peer.net.fencing = Fencing::ResourceAndStonith;
    pair.nodes[0].resource.update_peer(peer, pair.now);
    pair.hang = true;
    let lost = start_write(&mut pair, 0, 0, 1);
    short(&mut pair);
    pair.cut();
    pair.hang = false;
    pair.heal();
    pair.run(Duration::from_secs(60));
    assert_eq!(pair.nodes[1].called, [Handler::BeforeResyncTarget]);
    assert!(pair.nodes[0].called.is_empty(), "{:?}", pair.nodes[0].called);
    assert!(pair.reply(0, lost).unwrap().is_ok());
    assert!(write(&mut pair, 2));
    answer(&mut pair, Some(0));
    pair.run(Duration::from_secs(15));
    assert_in_sync(&pair);
}

/// A node that is Behind asks in the running session, and its peer stays ahead.
#[test]
fn who_is_behind_asks_before_it_catches_up() {
    for (exit_code, is_good) in [(Some(0), true), (Some(1), false)] {
        let mut pair = asking(1, Protocol::A);
        let mut peer = pair.nodes[0].resource.config().peers[0].clone();
        peer.net.on_congestion = OnCongestion::PullAhead;
        peer.net.congestion_fill_bytes = 64 << 10;
        pair.nodes[0].resource.update_peer(peer, pair.now);
        pair.paused[1] = true;
        for number in 0..40 {
            start_write(&mut pair, 0, number * 4096, 7);
        }
        short(&mut pair);
        pair.paused[1] = false;
        pair.run(Duration::from_secs(60));
        let states = [0, 1].map(|node| connection(&pair, node).peer_devices[0].replication);
        assert_eq!(states, [ReplicationState::Ahead, ReplicationState::Behind]);
        assert_eq!(pair.nodes[1].called, [Handler::BeforeResyncTarget]);
        assert!(write(&mut pair, 8));
        answer(&mut pair, exit_code);
        pair.run(Duration::from_secs(15));
        match is_good {
            true => assert_in_sync(&pair),
            false => assert_eq!(connection(&pair, 1).state, ConnectionState::StandAlone),
        }
    }
}
