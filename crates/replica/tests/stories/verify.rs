//! Online verify: what differs is found, exactly, under load, and known on both nodes afterwards.

use std::time::Duration;

use bytes::Bytes;
use tandem_replica::limits::VERIFY_REQUEST_BYTES;
use tandem_replica::wire::{Packet, Protocol, ReplicationState};
use tandem_replica::{Command, CommandError, RequestOp};

use crate::pair::{Pair, peer_of, reads};
use crate::stage::{
    VOLUME, assert_in_sync, connection, demote, short, start_write, swap_roles, write_op,
};

fn verify(node: usize) -> Command {
    let peer = peer_of(node);
    Command::Verify { volume: VOLUME, peer, start: None, stop: None, repair: false }
}

/// Flips a byte at rest on a node.
fn corrupt(pair: &mut Pair, node: usize, offset: usize) {
    pair.nodes[node].devices[0][offset] ^= 0x40;
}

fn dirty_bytes(pair: &Pair) -> [u64; 2] {
    [0, 1].map(|node| connection(pair, node).peer_devices[0].out_of_sync_bytes)
}

fn replication(pair: &Pair, node: usize) -> ReplicationState {
    connection(pair, node).peer_devices[0].replication
}

fn says(pair: &Pair, node: usize, text: &str) -> bool {
    pair.nodes[node].events.iter().any(|event| event.contains(text))
}

#[test]
fn equal_nodes_have_no_differences() {
    for node in 0..2 {
        let mut pair = Pair::in_sync(1, Protocol::C);
        pair.write(0, 8192, &[3; 12288]);
        pair.command(node, verify(node)).unwrap();
        short(&mut pair);
        assert!(says(&pair, node, "no difference found"));
        assert_in_sync(&pair);
    }
}

/// From either node, whoever is Primary: the blocks are found, known to both durably, and copied
/// when the nodes meet again.
#[test]
fn differences_are_found_and_repaired_at_the_next_handshake() {
    for (node, sick) in [(0, 0), (0, 1), (1, 0), (1, 1)] {
        let mut pair = Pair::in_sync(1, Protocol::C);
        pair.write(0, 0, &[1; 65536]);
        pair.run(Duration::from_secs(2));
        for offset in [5 * 4096, 6 * 4096 + 17, 300 * 4096] {
            corrupt(&mut pair, sick, offset);
        }
        pair.command(node, verify(node)).unwrap();
        short(&mut pair);
        assert!(says(&pair, node, "found 3 blocks of 4 KiB out of sync"));
        assert_eq!(dirty_bytes(&pair), [3 * 4096; 2]);
        assert_eq!([0, 1].map(|node| replication(&pair, node)), [ReplicationState::Established; 2]);
        for side in 0..2 {
            assert_eq!(connection(&pair, side).peer_devices[0].verify_found_blocks, 3);
        }
        pair.data_bytes = 0;
        pair.cut();
        pair.heal();
        assert_in_sync(&pair);
        assert_eq!(pair.data_bytes, 3 * 4096);
    }
}

#[test]
fn what_was_found_survives_the_death_of_both() {
    let mut pair = Pair::in_sync(1, Protocol::C);
    corrupt(&mut pair, 1, 77 * 4096);
    pair.command(0, verify(0)).unwrap();
    short(&mut pair);
    demote(&mut pair, 0);
    pair.kill(0);
    pair.kill(1);
    pair.restart(1);
    assert_eq!(dirty_bytes(&pair)[1], 4096);
    pair.restart(0);
    assert_in_sync(&pair);
}

/// Of what this run finds, and of what an earlier one has found.
#[test]
fn repair_follows_the_run_where_it_is_asked_for() {
    for (node, known) in [(0, false), (1, false), (0, true), (1, true)] {
        let mut pair = Pair::in_sync(1, Protocol::C);
        corrupt(&mut pair, 1, 4096);
        if known {
            pair.command(node, verify(node)).unwrap();
            short(&mut pair);
        }
        let peer = peer_of(node);
        let command =
            Command::Verify { volume: VOLUME, peer, start: None, stop: None, repair: true };
        pair.command(node, command).unwrap();
        pair.run(Duration::from_secs(30));
        assert_in_sync(&pair);
        assert_eq!(pair.nodes[1].devices[0][4096], 0);
    }
}

/// The peer reads while a write of the Primary waits for the range; and while one is on its way.
#[test]
fn writes_in_flight_are_no_differences() {
    for node in 0..2 {
        for protocol in [Protocol::A, Protocol::B, Protocol::C] {
            for hold in 0..2 {
                let mut pair = Pair::in_sync(1, protocol);
                pair.hold[hold] = reads;
                pair.command(node, verify(node)).unwrap();
                let cookie = start_write(&mut pair, 0, 4096, 7);
                let far = start_write(&mut pair, 0, 700 * 4096, 8);
                short(&mut pair);
                pair.release(hold);
                short(&mut pair);
                assert_eq!(pair.reply(0, cookie), Some(Ok(None)));
                assert_eq!(pair.reply(0, far), Some(Ok(None)));
                assert!(says(&pair, node, "no difference found"), "{node} {protocol:?} {hold}");
                pair.run(Duration::from_secs(2));
                assert_in_sync(&pair);
            }
        }
    }
}

/// The question is on its way to the Primary, the peer's write on its way back, and the other way
/// round: both arrive before the read that they belong to.
#[test]
fn writes_that_cross_the_question_are_no_differences() {
    for node in 0..2 {
        for stopped in 0..2 {
            let mut pair = Pair::in_sync(1, Protocol::A);
            pair.paused[stopped] = true;
            start_write(&mut pair, 0, 4096, 7);
            let id = pair.start(node, verify(node));
            start_write(&mut pair, 0, 8192, 9);
            short(&mut pair);
            start_write(&mut pair, 0, 4096, 8);
            pair.paused[stopped] = false;
            pair.run(Duration::from_secs(2));
            assert_eq!(pair.ended(node, id), Some(Ok(())));
            assert!(says(&pair, node, "no difference found"), "{node} {stopped}");
            assert_in_sync(&pair);
        }
    }
}

#[test]
fn a_lost_link_keeps_the_position() {
    let mut pair = Pair::in_sync(1, Protocol::C);
    corrupt(&mut pair, 1, 0);
    corrupt(&mut pair, 1, 500 * 4096);
    pair.pause_at = Some((1, |packet| matches!(packet, Packet::OvReply { .. })));
    pair.command(0, verify(0)).unwrap();
    short(&mut pair);
    assert_eq!(replication(&pair, 0), ReplicationState::VerifyS);
    assert_eq!(replication(&pair, 1), ReplicationState::VerifyT);
    pair.command(0, Command::StopVerify { volume: VOLUME, peer: peer_of(0) }).unwrap();
    let command = Command::Verify {
        volume: VOLUME,
        peer: peer_of(0),
        start: None,
        stop: Some(256 << 10),
        repair: false,
    };
    pair.paused[0] = false;
    pair.run(Duration::from_millis(100));
    assert_eq!(replication(&pair, 1), ReplicationState::Established);
    pair.command(0, command).unwrap();
    short(&mut pair);
    assert_eq!(dirty_bytes(&pair), [4096; 2]);
    pair.cut();
    pair.heal();
    assert_in_sync_but_for(&pair, 500 * 4096);
    pair.command(0, verify(0)).unwrap();
    short(&mut pair);
    assert!(says(&pair, 0, "online verify begins at sector 512"));
    assert_eq!(dirty_bytes(&pair), [4096; 2]);
    pair.cut();
    pair.heal();
    assert_in_sync(&pair);
}

fn assert_in_sync_but_for(pair: &Pair, offset: usize) {
    let size = pair.size();
    let [a, b] = &pair.nodes;
    let different = |at: &usize| a.devices[0][*at] != b.devices[0][*at];
    assert_eq!((0..size).filter(different).collect::<Vec<_>>(), [offset]);
    assert_eq!(dirty_bytes(pair), [0; 2]);
}

#[test]
fn it_is_refused_unless_both_are_up_to_date_and_connected() {
    let mut pair = Pair::new(1, Protocol::C);
    pair.connect();
    let refused = pair.command(0, verify(0));
    assert!(matches!(refused, Err(CommandError::NeedUpToDate { .. })), "{refused:?}");
    let mut pair = Pair::in_sync(1, Protocol::C);
    pair.cut();
    let refused = pair.command(0, verify(0));
    assert!(matches!(refused, Err(CommandError::Refused(_))), "{refused:?}");
    pair.heal();
    pair.hold[1] = reads;
    pair.command(0, verify(0)).unwrap();
    for node in 0..2 {
        let refused = pair.command(node, verify(node));
        assert!(matches!(refused, Err(CommandError::Refused(_))), "{refused:?}");
    }
}

/// Whatever ends the disk or the peer ends the run; what waited for its ranges goes on.
#[test]
fn a_run_ends_with_the_disk_the_peer_and_the_connection() {
    type End = fn(&mut Pair);
    let ends: [End; 7] = [
        |pair| _ = pair.start(1, Command::Detach { volume: VOLUME, force: false }),
        |pair| _ = pair.start(0, Command::Detach { volume: VOLUME, force: false }),
        |pair| pair.kill(1),
        |pair| pair.cut(),
        |pair| pair.fail_once(1),
        |pair| _ = pair.start(0, Command::Disconnect { peer: peer_of(0), force: true }),
        |pair| _ = pair.start(0, Command::StopVerify { volume: VOLUME, peer: peer_of(0) }),
    ];
    for (index, end) in ends.into_iter().enumerate() {
        let mut pair = Pair::in_sync(1, Protocol::C);
        pair.hold[1] = reads;
        pair.command(0, verify(0)).unwrap();
        let cookie = start_write(&mut pair, 0, 4096, 7);
        end(&mut pair);
        pair.run(Duration::from_secs(1));
        pair.release(1);
        pair.run(Duration::from_secs(20));
        assert_ne!(replication(&pair, 0), ReplicationState::VerifyS, "{index}");
        assert_eq!(pair.reply(0, cookie), Some(Ok(None)), "{index}");
        assert!(says(&pair, 0, "online verify stopped at sector 0"), "{index}");
    }
}

/// The role moves in the middle: reads stay exact.
#[test]
fn a_change_of_roles_does_not_matter() {
    for node in 0..2 {
        let mut pair = Pair::in_sync(1, Protocol::B);
        pair.hold[node] = reads;
        pair.command(node, verify(node)).unwrap();
        swap_roles(&mut pair);
        let cookie = pair.request(1, 0, write_op(4096, 5));
        pair.release(node);
        short(&mut pair);
        assert_eq!(pair.reply(1, cookie), Some(Ok(None)));
        assert!(says(&pair, node, "no difference found"));
        pair.run(Duration::from_secs(2));
        assert_in_sync(&pair);
    }
}

/// Both are told at once.
#[test]
fn both_may_verify_at_the_same_time() {
    let mut pair = Pair::in_sync(1, Protocol::C);
    corrupt(&mut pair, 1, 4096);
    let ids = [0, 1].map(|node| pair.start(node, verify(node)));
    let data = Bytes::from(vec![1; 8192]);
    let cookie = pair.request(0, 0, RequestOp::Write { offset: 65536, data, fua: true });
    pair.run(Duration::from_secs(1));
    assert_eq!(pair.reply(0, cookie), Some(Ok(None)));
    for (node, id) in ids.into_iter().enumerate() {
        assert_eq!(pair.ended(node, id), Some(Ok(())));
        assert!(says(&pair, node, "found 1 blocks of 4 KiB out of sync"));
    }
}

/// The verifying Secondary's disk fails while a mirrored write waits for another comparison: the
/// write is on no disk there, so the flush behind it must not count for this node.
#[test]
fn a_write_behind_a_comparison_that_a_failed_disk_ends_is_copied_later() {
    let mut pair = Pair::in_sync(1, Protocol::C);
    pair.hold[1] = reads;
    pair.command(1, verify(1)).unwrap();
    short(&mut pair);
    let second = u64::from(VERIFY_REQUEST_BYTES) + 4096;
    start_write(&mut pair, 0, second, 7);
    pair.request(0, 0, RequestOp::Flush);
    short(&mut pair);
    pair.fail_once(1);
    pair.release(1);
    pair.run(Duration::from_secs(5));
    pair.attach(1);
    pair.run(Duration::from_secs(30));
    assert_in_sync(&pair);
    let at = usize::try_from(second).unwrap();
    assert_eq!(pair.nodes[1].devices[0][at], 7, "a mirrored write is lost");
}
