//! A node dies with what only it, or only its peer, has. When both are back, every acknowledged
//! write must be found, or the split brain seen.

use std::time::Duration;

use tandem_replica::wire::{Packet, Protocol, ReplicationState};
use tandem_replica::{Command, ConnectionState, RequestOp, SyncState};

use crate::pair::{Pair, data_writes, meta_writes};
use crate::stage::{VOLUME, assert_in_sync, connection, demote, promote, start_write, swap_roles};

/// C: node 0 loses power and an acknowledged write with it; node 1 keeps power. In the handshake
/// node 1 has recorded the new session and node 0 has not when node 0 crashes a second time.
#[test]
fn a_survivor_is_known_after_a_second_crash() {
    let mut pair = Pair::in_sync(1, Protocol::C);
    pair.write(0, 0, &[1; 4096]);
    pair.run(Duration::from_secs(2));
    pair.kill(0);
    pair.lose_power(0, 0, &[0; 4096]);
    // The survivor tells that it is ready when it has recorded the session.
    pair.cut_at = Some((1, |packet| {
        matches!(packet, Packet::State(_, state)
            if state.replication == ReplicationState::SyncSource)
    }));
    hold_target_save(&mut pair);
    pair.kill(0);
    pair.linked = true;
    pair.cut_at = None;
    pair.restart(0);
    assert_in_sync(&pair);
    assert_eq!(pair.nodes[1].devices[0][..4096], [1; 4096], "an acknowledged write is lost");
}

/// Restarts node 0, whose metadata writes stay undone from the exchange of bitmaps on.
fn hold_target_save(pair: &mut Pair) {
    pair.hold_dials = true;
    pair.restart(0);
    pair.hold[0] = meta_writes;
    pair.dial(0);
    pair.run(Duration::from_secs(1));
    assert!(pair.cut_at.is_none(), "the survivor recorded the session");
}

/// The survivor's daemon restarts too and is connected before its disk is attached.
#[test]
fn a_survivor_is_known_after_a_session_without_its_disk() {
    let mut pair = Pair::in_sync(1, Protocol::C);
    pair.write(0, 0, &[1; 4096]);
    pair.run(Duration::from_secs(2));
    pair.kill(0);
    pair.lose_power(0, 0, &[0; 4096]);
    pair.command(1, Command::Detach { volume: VOLUME, force: true }).unwrap();
    pair.restart(0);
    pair.run(Duration::from_secs(30));
    assert_eq!(connection(&pair, 0).state, ConnectionState::Connected);
    pair.attach(1);
    pair.run(Duration::from_secs(30));
    assert_in_sync(&pair);
    assert_eq!(pair.nodes[1].devices[0][..4096], [1; 4096], "an acknowledged write is lost");
}

/// B: node 0 loses power; node 1's disk is detached before node 1 has noticed. It had written all
/// that it received.
#[test]
fn a_survivor_is_known_after_its_disk_was_detached() {
    let mut pair = Pair::in_sync(1, Protocol::B);
    pair.write(0, 0, &[1; 4096]);
    pair.run(Duration::from_secs(2));
    pair.write(0, 0, &[2; 4096]);
    pair.paused[0] = true;
    pair.command(1, Command::Detach { volume: VOLUME, force: false }).unwrap();
    pair.kill(0);
    pair.lose_power(0, 0, &[1; 4096]);
    pair.paused[0] = false;
    pair.restart(0);
    pair.run(Duration::from_secs(30));
    pair.attach(1);
    pair.run(Duration::from_secs(30));
    assert_in_sync(&pair);
    assert_eq!(pair.nodes[1].devices[0][0], 2, "an acknowledged write is lost");
}

/// The same, where the last of it was on its way to the disk when the detach began.
#[test]
fn a_survivor_is_known_whose_disk_was_detached_with_a_write_under_way() {
    let mut pair = Pair::in_sync(1, Protocol::B);
    pair.write(0, 0, &[1; 4096]);
    pair.run(Duration::from_secs(2));
    pair.hold[1] = |_| true;
    let write = start_write(&mut pair, 0, 0, 2);
    assert_eq!(pair.reply(0, write), Some(Ok(None)));
    pair.paused[0] = true;
    let detach = pair.start(1, Command::Detach { volume: VOLUME, force: false });
    pair.settle();
    pair.release_first(1);
    pair.release(1);
    assert_eq!(pair.ended(1, detach), Some(Ok(())));
    pair.kill(0);
    pair.lose_power(0, 0, &[1; 4096]);
    pair.paused[0] = false;
    pair.restart(0);
    pair.run(Duration::from_secs(30));
    pair.attach(1);
    pair.run(Duration::from_secs(30));
    assert_in_sync(&pair);
    assert_eq!(pair.nodes[1].devices[0][0], 2, "an acknowledged write is lost");
}

/// A: the Primary's disk fails with a write under way, which its peer has. The peer's disk hangs
/// before it is told apart, and is given up. Both come back in one generation, in which the
/// Primary's disk is the source.
#[test]
fn a_write_that_only_a_peer_has_is_answered_when_that_one_is_told_apart() {
    let mut pair = Pair::in_sync(1, Protocol::A);
    pair.write(0, 0, &[1; 4096]);
    pair.run(Duration::from_secs(2));
    pair.hold[0] = data_writes;
    let write = start_write(&mut pair, 0, 0, 2);
    pair.hold[1] = meta_writes;
    pair.fail_once(0);
    pair.run(Duration::from_secs(2));
    assert_eq!(pair.reply(0, write), None, "only the peer's disk has it");
    pair.release(1);
    assert_eq!(pair.reply(0, write), Some(Ok(None)));
    pair.attach(0);
    pair.run(Duration::from_secs(30));
    assert_in_sync(&pair);
    assert_eq!(pair.nodes[0].devices[0][0], 2);
}

/// A Primary whose disk was attached again crashes with writes that only it has.
#[test]
fn a_primary_that_got_its_disk_back_and_crashes_is_known_as_crashed() {
    let mut pair = Pair::in_sync(1, Protocol::A);
    pair.command(0, Command::Detach { volume: VOLUME, force: false }).unwrap();
    pair.run(Duration::from_secs(5));
    pair.attach(0);
    pair.run(Duration::from_secs(30));
    assert_in_sync(&pair);
    pair.paused[1] = true;
    let write = start_write(&mut pair, 0, 0, 7);
    assert_eq!(pair.reply(0, write), Some(Ok(None)));
    pair.kill(0);
    pair.paused[1] = false;
    pair.restart(0);
    assert_in_sync(&pair);
}

/// A Secondary holds the only bits of what a diskless Primary missed, and is killed.
#[test]
fn bits_for_a_diskless_primary_survive_a_kill() {
    let mut pair = Pair::in_sync(1, Protocol::C);
    demote(&mut pair, 0);
    pair.command(1, Command::Detach { volume: VOLUME, force: false }).unwrap();
    pair.run(Duration::from_secs(5));
    promote(&mut pair, 1);
    pair.write(1, 8192, &[5; 4096]);
    demote(&mut pair, 1);
    pair.kill(0);
    pair.restart(0);
    pair.attach(1);
    pair.run(Duration::from_secs(30));
    assert_in_sync(&pair);
}

/// A: replied and flushed here, lost on the link; both nodes then wrote.
#[test]
fn a_replied_write_that_the_peer_missed_is_not_overwritten_unseen() {
    let mut pair = Pair::in_sync(1, Protocol::A);
    pair.run(Duration::from_secs(2));
    pair.paused[1] = true;
    let write = start_write(&mut pair, 0, 8192, 7);
    assert_eq!(pair.reply(0, write), Some(Ok(None)));
    pair.cut();
    pair.paused[1] = false;
    let flush = pair.request(0, 0, RequestOp::Flush);
    assert_eq!(pair.reply(0, flush), Some(Ok(None)));
    demote(&mut pair, 0);
    promote(&mut pair, 1);
    pair.write(1, 16384, &[3; 4096]);
    pair.heal();
    let state = connection(&pair, 0).sync_state;
    assert!(matches!(state, SyncState::SplitBrain { .. }), "{state:?}");
    assert_eq!(pair.nodes[0].devices[0][8192..12288], [7; 4096], "overwritten");
}

/// In A the Primary dies with answered writes that its peer never got; the peer is promoted, serves
/// nothing, and dies too. Who was Primary in their last session has all of it.
#[test]
fn of_two_crashed_primaries_the_one_that_wrote_is_source() {
    let mut pair = Pair::in_sync(1, Protocol::A);
    swap_roles(&mut pair);
    pair.paused[0] = true;
    let write = start_write(&mut pair, 1, 8192, 7);
    pair.settle();
    assert_eq!(pair.reply(1, write), Some(Ok(None)));
    pair.kill(1);
    pair.paused[0] = false;
    pair.command(0, Command::Primary { force: false }).unwrap();
    pair.kill(0);
    for node in 0..2 {
        pair.revive(node);
    }
    pair.run(Duration::from_secs(60));
    assert_in_sync(&pair);
    assert_eq!(pair.nodes[0].devices[0][8192], 7, "an acknowledged write is lost");
}

/// In B the Secondary dies with received writes on their way to its disk, and meets its Primary
/// twice afterwards: first without the Primary's disk. That one is no reason to take it for one
/// that has lived on and written everything.
#[test]
fn a_session_without_the_peers_disk_makes_no_survivor() {
    let mut pair = Pair::in_sync(1, Protocol::B);
    pair.hold[1] = data_writes;
    let write = start_write(&mut pair, 0, 8192, 7);
    pair.settle();
    assert_eq!(pair.reply(0, write), Some(Ok(None)), "the peer has received it");
    for node in 0..2 {
        pair.kill(node);
    }
    for node in 0..2 {
        pair.new_process(node);
    }
    pair.attach(1);
    pair.connect();
    pair.attach(0);
    pair.run(Duration::from_secs(30));
    assert_in_sync(&pair);
    assert_eq!(pair.nodes[0].devices[0][8192], 7, "an acknowledged write is lost");
}
