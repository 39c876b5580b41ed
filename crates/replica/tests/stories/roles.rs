//! Who may serve, and who must step back: promotions, demotions, invalidations and leaving, where
//! good data come and go meanwhile.

use std::time::Duration;

use bytes::Bytes;
use tandem_replica::wire::{ByteRange, DiskState, NodeId, Protocol};
use tandem_replica::{Command, ConnectionState, RequestOp};

use crate::pair::{CLIENT, Pair, data_writes, meta_writes, reads};
use crate::stage::{
    VOLUME, assert_in_sync, connection, demote, disks, promote, short, start_write,
};

/// A Primary that is being resynced loses the only good copy.
#[test]
fn a_primary_without_good_data_does_not_write_on_its_own() {
    let mut pair = Pair::in_sync(1, Protocol::C);
    pair.write(0, 0, &[1; 4096]);
    pair.run(Duration::from_secs(2));
    pair.hold[1] = reads;
    pair.command(0, Command::Invalidate { volume: VOLUME, reset_bitmap: true }).unwrap();
    pair.cut();
    pair.release(1);
    assert_eq!(disks(&pair)[0], DiskState::Inconsistent);
    let write = start_write(&mut pair, 0, 8192, 9);
    pair.run(Duration::from_secs(1));
    let reply = pair.reply(0, write);
    pair.heal();
    let states = [0, 1].map(|node| (connection(&pair, node).state, connection(&pair, node).reason));
    assert_ne!(reply, Some(Ok(None)), "acknowledged on an Inconsistent disk; then: {states:?}");
    assert_in_sync(&pair);
}

/// B: the reply went out when the peer had the write in memory; its promotion must wait for it.
#[test]
fn a_promoted_node_serves_what_it_had_received() {
    let mut pair = Pair::in_sync(1, Protocol::B);
    pair.write(0, 0, &[1; 4096]);
    pair.hold[1] = data_writes;
    let write = start_write(&mut pair, 0, 0, 2);
    assert_eq!(pair.reply(0, write), Some(Ok(None)));
    pair.kill(0);
    let command = pair.start(1, Command::Primary { force: false });
    pair.run(Duration::from_secs(1));
    if pair.ended(1, command) == Some(Ok(())) {
        pair.nodes[1].resource.open_client(CLIENT, VOLUME, pair.now).unwrap();
        let read = pair.request(1, 0, RequestOp::Read(ByteRange::new(0, 4096)));
        short(&mut pair);
        let reply = pair.reply(1, read);
        assert!(
            reply.is_none() || reply == Some(Ok(Some(Bytes::from(vec![2; 4096])))),
            "an acknowledged write is not seen"
        );
    }
}

/// The good copy that a promotion counts on goes away while the votes are out.
#[test]
fn a_promotion_looks_again_at_the_data_when_the_votes_are_in() {
    let mut pair = Pair::in_sync(1, Protocol::C);
    demote(&mut pair, 0);
    pair.hold[0] = reads;
    pair.command(1, Command::Invalidate { volume: VOLUME, reset_bitmap: true }).unwrap();
    pair.run(Duration::from_secs(1));
    assert_eq!(disks(&pair), [DiskState::UpToDate, DiskState::Inconsistent]);
    pair.paused[0] = true;
    let command = pair.start(1, Command::Primary { force: false });
    pair.settle();
    assert_eq!(pair.ended(1, command), None);
    pair.cut();
    pair.run(Duration::from_secs(10));
    assert!(matches!(pair.ended(1, command), Some(Err(_))), "Primary without any good data");
}

/// A node is demoted between its report and its decision.
#[test]
fn a_demotion_in_the_handshake_leads_to_no_different_verdicts() {
    let mut pair = Pair::in_sync(1, Protocol::C);
    pair.nodes[0].resource.close_client(CLIENT, pair.now);
    pair.cut();
    promote(&mut pair, 1);
    pair.write(1, 0, &[1; 4096]);
    demote(&mut pair, 1);
    pair.paused[0] = true;
    pair.linked = true;
    pair.run(Duration::from_secs(1));
    pair.command(0, Command::Secondary { force: false }).unwrap();
    pair.paused[0] = false;
    pair.run(Duration::from_secs(30));
    let reasons = [0, 1].map(|node| connection(&pair, node).reason.unwrap_or_default());
    assert!(!reasons.iter().any(|reason| reason.contains("different verdicts")), "{reasons:?}");
    assert_in_sync(&pair);
}

#[test]
fn not_both_nodes_can_be_invalidated() {
    let mut pair = Pair::in_sync(1, Protocol::C);
    let commands = [0, 1]
        .map(|node| pair.start(node, Command::Invalidate { volume: VOLUME, reset_bitmap: true }));
    pair.run(Duration::from_secs(30));
    let results = [0, 1].map(|node| pair.ended(node, commands[node]));
    let good = disks(&pair).contains(&DiskState::UpToDate);
    assert!(good, "nobody has good data any more: {:?}, {results:?}", disks(&pair));
}

/// The leaving Primary gives up waiting for a slow peer and stays: the peer is as good as before.
#[test]
fn a_disconnect_that_timed_out_leaves_no_outdated_disk_behind() {
    let mut pair = Pair::in_sync(1, Protocol::C);
    pair.hold[1] = meta_writes;
    let command = pair.start(0, Command::Disconnect { peer: NodeId(1), force: false });
    pair.run(Duration::from_secs(7));
    assert!(matches!(pair.ended(0, command), Some(Err(_))));
    pair.release(1);
    pair.run(Duration::from_secs(60));
    assert_in_sync(&pair);
}

#[test]
fn down_ends_where_the_peer_is_not_there() {
    let mut pair = Pair::in_sync(1, Protocol::C);
    pair.kill(0);
    pair.run(Duration::from_secs(5));
    pair.command(1, Command::Down { force: false }).unwrap();
}

/// The Primary is being resynced from the node that is to leave.
#[test]
fn the_only_good_copy_does_not_leave_a_primary() {
    let mut pair = Pair::in_sync(1, Protocol::C);
    pair.write(0, 0, &[1; 4096]);
    pair.run(Duration::from_secs(2));
    pair.hold[1] = reads;
    pair.command(0, Command::Invalidate { volume: VOLUME, reset_bitmap: true }).unwrap();
    assert_eq!(disks(&pair), [DiskState::Inconsistent, DiskState::UpToDate]);
    for command in
        [Command::Disconnect { peer: NodeId(0), force: false }, Command::Down { force: false }]
    {
        let refused = pair.command(1, command);
        assert!(refused.is_err(), "{command:?} leaves a Primary without data");
        assert_eq!(disks(&pair)[1], DiskState::UpToDate, "{command:?}");
        assert_eq!(connection(&pair, 0).state, ConnectionState::Connected);
    }
    let down = pair.start(1, Command::Down { force: true });
    pair.release(1);
    pair.run(Duration::from_secs(1));
    assert_eq!(pair.ended(1, down), Some(Ok(())));
    assert_eq!(connection(&pair, 1).state, ConnectionState::StandAlone);
}
