//! `new-current-uuid`: what an operator says of disks that nobody has written, and a generation
//! that data get by hand.

use std::time::Duration;

use tandem_replica::wire::{DiskState, Packet, Protocol, ReplicationState, Verdict};
use tandem_replica::{Command, CommandError, CommandId, ConnectionState, Initial};

use crate::pair::{Pair, meta_writes, peer_of};
use crate::stage::{VOLUME, assert_in_sync, connection, demote, disks, promote, short};

fn command(initial: impl Into<Option<Initial>>) -> Command {
    Command::NewUuid { volume: VOLUME, initial: initial.into() }
}

fn refusal(result: Result<(), CommandError>) -> String {
    result.expect_err("it should be refused").to_string()
}

/// Connected, with metadata that were just created.
fn met() -> Pair {
    let mut pair = Pair::new(1, Protocol::C);
    pair.connect();
    pair
}

#[test]
fn equal_disks_need_no_copy() {
    for node in 0..2 {
        let mut pair = met();
        pair.command(node, command(Initial::Equal)).unwrap();
        pair.run(Duration::from_secs(5));
        assert_in_sync(&pair);
        assert_eq!(pair.data_bytes, 0, "something was copied");
        promote(&mut pair, 1 - node);
        pair.write(1 - node, 4096, &[3; 4096]);
        assert_in_sync(&pair);
    }
}

#[test]
fn a_nodes_own_data_are_copied() {
    let mut pair = met();
    pair.nodes[1].devices[0][4096..8192].fill(9);
    pair.command(1, command(Initial::Mine)).unwrap();
    pair.run(Duration::from_secs(30));
    assert_in_sync(&pair);
    assert_eq!(pair.nodes[0].devices[0][4096..8192], [9; 4096]);
}

/// Blocks of a target that somebody has declared wrong are copied whatever is said of the disks.
#[test]
fn what_was_invalidated_is_copied() {
    let mut pair = Pair::new(1, Protocol::C);
    pair.nodes[0].devices[0][4096..8192].fill(9);
    pair.command(1, Command::Invalidate { volume: VOLUME, reset_bitmap: true }).unwrap();
    pair.connect();
    pair.command(0, command(Initial::Equal)).unwrap();
    pair.run(Duration::from_secs(30));
    assert_in_sync(&pair);
}

#[test]
fn it_is_for_new_disks_and_connected_nodes() {
    let mut pair = Pair::new(1, Protocol::C);
    let text = refusal(pair.command(0, command(Initial::Equal)));
    assert!(text.contains("is not connected with a disk for volume 0"), "{text}");
    pair.connect();
    pair.command(0, command(Initial::Equal)).unwrap();
    pair.run(Duration::from_secs(5));
    for node in 0..2 {
        let text = refusal(pair.command(node, command(Initial::Mine)));
        assert!(text.contains("volume 0 is UpToDate and has a history"), "{text}");
        let text = refusal(pair.command(node, command(None)));
        assert!(text.contains("is connected and has the same data; disconnect first"), "{text}");
    }
    assert_in_sync(&pair);
}

#[test]
fn data_that_may_be_old_get_no_generation() {
    let mut pair = Pair::new(1, Protocol::C);
    let text = refusal(pair.command(0, command(None)));
    assert!(text.contains("volume 0 is Inconsistent, UpToDate data is needed"), "{text}");
}

/// Both operators say it at once: one of them is refused, and that is all.
#[test]
fn two_that_say_it_at_once_agree() {
    let mut pair = met();
    let ids: [CommandId; 2] = [0, 1].map(|node| pair.start(node, command(Initial::Equal)));
    pair.run(Duration::from_secs(5));
    let results = [0, 1].map(|node| pair.ended(node, ids[node]).expect("it has ended"));
    assert_eq!(results.iter().filter(|it| it.is_ok()).count(), 1, "{results:?}");
    assert_in_sync(&pair);
}

/// The same beside a promotion by force.
#[test]
fn it_and_a_promotion_by_force_agree() {
    for first in 0..2 {
        let mut pair = met();
        let force = Command::Primary { force: true };
        pair.start(first, command(Initial::Equal));
        pair.start(1 - first, force);
        pair.run(Duration::from_secs(30));
        assert_in_sync(&pair);
    }
}

/// 1. it is said and stored; 2. the link is lost before the peer hears of it; 3. either node may
///    have died; 4. nothing is copied when they meet.
#[test]
fn what_was_said_is_remembered() {
    for dies in [None, Some(0), Some(1)] {
        let mut pair = met();
        pair.hold[0] = meta_writes;
        let id = pair.start(0, command(Initial::Equal));
        short(&mut pair);
        assert_eq!(pair.ended(0, id), None, "it is not durable");
        pair.cut();
        pair.release(0);
        pair.run(Duration::from_secs(5));
        assert_eq!(disks(&pair)[1], DiskState::Inconsistent);
        if let Some(node) = dies {
            pair.kill(node);
            pair.revive(node);
            pair.run(Duration::from_secs(1));
        }
        pair.heal();
        pair.run(Duration::from_secs(30));
        assert_eq!(pair.data_bytes, 0, "something was copied, {dies:?}");
        assert_in_sync(&pair);
    }
}

/// 1. the peer has not heard of it; 2. this node is Primary and writes; 3. the peer gets
///    everything.
#[test]
fn a_write_without_the_peer_ends_it() {
    let mut pair = met();
    pair.cut_at = Some((0, |packet| matches!(packet, Packet::Uuids(..))));
    pair.command(0, command(Initial::Equal)).unwrap();
    pair.run(Duration::from_secs(5));
    promote(&mut pair, 0);
    pair.write(0, 0, &[7; 4096]);
    pair.heal();
    pair.run(Duration::from_secs(60));
    assert_in_sync(&pair);
    let size = pair.nodes[0].resource.status(pair.now).volumes[0].size_bytes;
    assert!(pair.data_bytes >= size, "{} of {size} bytes were copied", pair.data_bytes);
}

/// 1. both apart and Secondary; 2. one gets a generation by hand; 3. it is source, and has nothing
///    to copy.
#[test]
fn a_generation_by_hand_is_newer() {
    for node in 0..2 {
        let mut pair = Pair::in_sync(1, Protocol::C);
        demote(&mut pair, 0);
        pair.cut();
        let before = pair.data_bytes;
        pair.command(node, command(None)).unwrap();
        pair.command(node, command(None)).unwrap();
        pair.handshake.clear();
        pair.heal();
        pair.run(Duration::from_secs(5));
        let is_source = |(from, packet): &(usize, Packet)| {
            *from == node && matches!(packet, Packet::Verdict(_, Verdict::Source))
        };
        assert!(pair.handshake.iter().any(is_source), "{:?}", pair.handshake);
        assert_in_sync(&pair);
        assert_eq!(pair.data_bytes, before);
    }
}

/// Both got one, and at most one of them wrote: that is no split brain.
#[test]
fn two_generations_by_hand_are_of_the_same_data() {
    for writer in [None, Some(0), Some(1)] {
        let mut pair = Pair::in_sync(1, Protocol::C);
        demote(&mut pair, 0);
        pair.cut();
        for node in 0..2 {
            pair.command(node, command(None)).unwrap();
        }
        if let Some(node) = writer {
            promote(&mut pair, node);
            pair.write(node, 4096, &[6; 4096]);
        }
        pair.heal();
        assert_in_sync(&pair);
        let shown = if writer.is_some() { 6 } else { 0 };
        assert_eq!(pair.nodes[0].devices[0][4096..8192], [shown; 4096]);
    }
}

/// A Primary's writes wait for it, and what they change is tracked from it on.
#[test]
fn a_primary_may_get_one() {
    let mut pair = Pair::in_sync(1, Protocol::C);
    pair.cut();
    pair.command(0, command(None)).unwrap();
    pair.write(0, 8192, &[5; 4096]);
    pair.heal();
    pair.run(Duration::from_secs(30));
    assert_in_sync(&pair);
    assert_eq!(connection(&pair, 0).peer_devices[0].replication, ReplicationState::Established);
}

/// 1. apart, it gets a generation by hand; 2. its data are declared wrong; 3. the newer ones cannot
///    be copied, and are not passed over in silence; 4. they are where somebody discards them.
#[test]
fn a_generation_that_is_invalidated_must_be_discarded() {
    let mut pair = Pair::in_sync(1, Protocol::C);
    demote(&mut pair, 0);
    pair.command(0, Command::Disconnect { peer: peer_of(0), force: false }).unwrap();
    pair.command(0, command(None)).unwrap();
    pair.command(0, Command::Invalidate { volume: VOLUME, reset_bitmap: true }).unwrap();
    pair.try_connect(0, false).unwrap();
    pair.run(Duration::from_secs(5));
    assert_eq!(disks(&pair), [DiskState::Inconsistent, DiskState::UpToDate]);
    assert_eq!(connection(&pair, 0).state, ConnectionState::StandAlone);
    pair.try_connect(0, true).unwrap();
    pair.try_connect(1, false).unwrap();
    pair.run(Duration::from_secs(30));
    assert_in_sync(&pair);
}
