//! A link that takes less than is written, in protocol A.
//!
//! Packets to the Secondary stay in the network until a story lets them go; a congested link is one
//! with 64 KiB that are not known to be durable there.

use std::time::Duration;

use tandem_replica::wire::{DiskState, Protocol, ReplicationState};
use tandem_replica::{Command, ConnectionState, Lag, OnCongestion};

use crate::pair::{Pair, flushes, peer_of};
use crate::stage::{assert_in_sync, connection, demote, disks, short, start_write};

const FILL: u64 = 64 << 10;

fn narrow(volumes: u16, on_congestion: OnCongestion) -> Pair {
    let mut pair = Pair::in_sync(volumes, Protocol::A);
    for node in 0..2 {
        let core = &mut pair.nodes[node].resource;
        let mut peer = core.config().peers[0].clone();
        assert_eq!(peer.node_id, peer_of(node));
        peer.net.on_congestion = on_congestion;
        peer.net.congestion_fill_bytes = FILL;
        core.update_peer(peer, pair.now);
    }
    pair.paused[1] = true;
    pair
}

/// Writes `count` blocks from block 0 on; how many of them were answered at once.
fn write_blocks(pair: &mut Pair, count: u64, byte: u8) -> usize {
    let cookies: Vec<_> =
        (0..count).map(|block| start_write(pair, 0, block * 4096, byte)).collect();
    short(pair);
    cookies.into_iter().filter(|cookie| pair.reply(0, *cookie) == Some(Ok(None))).count()
}

fn replications(pair: &Pair) -> [ReplicationState; 2] {
    [0, 1].map(|node| connection(pair, node).peer_devices[0].replication)
}

#[test]
fn a_primary_pulls_ahead_and_its_peer_catches_up() {
    let mut pair = narrow(1, OnCongestion::PullAhead);
    assert_eq!(write_blocks(&mut pair, 40, 7), 40);
    assert_eq!(replications(&pair), [ReplicationState::Ahead, ReplicationState::Established]);
    assert!(connection(&pair, 0).lag.bytes >= 40 * 4096, "{:?}", connection(&pair, 0).lag);
    pair.paused[1] = false;
    pair.run(Duration::from_millis(600));
    assert_eq!(replications(&pair), [ReplicationState::Ahead, ReplicationState::Behind]);
    assert_eq!(disks(&pair), [DiskState::UpToDate, DiskState::Outdated]);
    let behind = connection(&pair, 0).lag;
    assert!(behind.bytes == 24 * 4096 && behind.age >= Duration::from_millis(600), "{behind:?}");
    let before = pair.data_bytes;
    pair.run(Duration::from_secs(3));
    assert_in_sync(&pair);
    assert_eq!(pair.data_bytes - before, 24 * 4096);
    assert_eq!(connection(&pair, 0).lag, Lag::default());
}

/// What is written while the peer catches up over a link that is still congested is told, not sent,
/// and copied in the end; the state does not go back.
#[test]
fn a_resync_over_a_congested_link_ends() {
    let mut pair = narrow(1, OnCongestion::PullAhead);
    write_blocks(&mut pair, 40, 7);
    pair.paused[1] = false;
    pair.run(Duration::from_millis(1100));
    pair.paused[1] = true;
    pair.run(Duration::from_millis(300));
    assert_eq!(write_blocks(&mut pair, 60, 8), 60);
    assert_ne!(replications(&pair)[0], ReplicationState::Established);
    pair.paused[1] = false;
    pair.run(Duration::from_secs(4));
    assert_in_sync(&pair);
}

/// The new generation of a node that is Ahead waits for a flush: nothing is to be done until then,
/// and so no timer wants to be called. (One that did would keep this story from its end.)
#[test]
fn a_rest_that_waits_for_a_hung_disk_asks_for_no_timer() {
    let mut pair = narrow(1, OnCongestion::PullAhead);
    pair.hold[0] = flushes;
    write_blocks(&mut pair, 40, 7);
    pair.paused[1] = false;
    pair.run(Duration::from_secs(5));
    assert_eq!(replications(&pair)[0], ReplicationState::Ahead);
    pair.release(0);
    pair.run(Duration::from_secs(5));
    assert_in_sync(&pair);
}

/// A session that is lost while a node is Ahead is made up for by bits, as any other.
#[test]
fn a_lost_link_while_ahead_loses_no_bit() {
    let mut pair = narrow(2, OnCongestion::PullAhead);
    write_blocks(&mut pair, 40, 7);
    pair.cut();
    write_blocks(&mut pair, 4, 8);
    pair.paused[1] = false;
    pair.heal();
    pair.run(Duration::from_secs(5));
    assert_in_sync(&pair);
}

#[test]
fn a_node_that_is_behind_is_not_promoted() {
    let mut pair = narrow(1, OnCongestion::PullAhead);
    write_blocks(&mut pair, 40, 7);
    pair.paused[1] = false;
    pair.run(Duration::from_millis(300));
    demote(&mut pair, 0);
    let refused = pair.command(1, Command::Primary { force: false }).unwrap_err();
    assert!(refused.to_string().contains("Behind"), "{refused}");
    pair.run(Duration::from_secs(3));
    pair.command(1, Command::Primary { force: false }).unwrap();
    assert_in_sync(&pair);
}

/// The default: writes wait, and so the lag has a bound.
#[test]
fn a_congested_link_holds_writes_back() {
    let mut pair = narrow(1, OnCongestion::Block);
    assert_eq!(write_blocks(&mut pair, 40, 7), 16);
    assert!(connection(&pair, 0).lag.bytes <= FILL + 4096);
    pair.paused[1] = false;
    pair.run(Duration::from_secs(1));
    assert_in_sync(&pair);
}

#[test]
fn a_congested_link_is_given_up() {
    let mut pair = narrow(1, OnCongestion::Disconnect);
    assert_eq!(write_blocks(&mut pair, 40, 7), 40);
    let status = connection(&pair, 0);
    assert_eq!(status.state, ConnectionState::StandAlone);
    assert!(status.reason.is_some_and(|reason| reason.contains("congested")));
    pair.paused[1] = false;
    pair.command(0, Command::Connect { peer: peer_of(0), discard_my_data: false }).unwrap();
    pair.run(Duration::from_secs(5));
    assert_in_sync(&pair);
}
