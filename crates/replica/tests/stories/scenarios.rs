//! What users see of two nodes, as short stories on disks in memory.

use std::time::Duration;

use bytes::Bytes;
use tandem_replica::wire::{ByteRange, DiskState, NodeId, Protocol, Role};
use tandem_replica::{Command, CommandError, ConnectionState, RequestOp};

use crate::pair::{CLIENT, Pair};
use crate::stage::{VOLUME, assert_in_sync, connection, demote, disks, start_write};

#[test]
fn fresh_nodes_connect_and_wait_for_the_operator() {
    let mut pair = Pair::new(1, Protocol::C);
    pair.connect();
    assert_eq!(disks(&pair), [DiskState::Inconsistent; 2]);
    assert_eq!(connection(&pair, 0).state, ConnectionState::Connected);
    let refused = pair.command(0, Command::Primary { force: false });
    assert!(matches!(refused, Err(CommandError::NeedUpToDate { .. })), "{refused:?}");
}

#[test]
fn a_forced_primary_is_copied_whole() {
    let pair = Pair::in_sync(2, Protocol::C);
    assert_in_sync(&pair);
}

#[test]
fn writes_are_on_both_nodes_when_they_are_answered() {
    for protocol in [Protocol::A, Protocol::B, Protocol::C] {
        let mut pair = Pair::in_sync(1, protocol);
        pair.write(0, 8192, &[1; 4096]);
        pair.write(0, 9000, &[2; 100]);
        assert_eq!(pair.read(0, 8999, 102)[..], [&[1][..], &[2; 100], &[1]].concat());
        assert_in_sync(&pair);
    }
}

#[test]
fn after_a_cut_only_dirty_blocks_are_copied() {
    let mut pair = Pair::in_sync(1, Protocol::C);
    pair.write(0, 0, &[1; 65536]);
    pair.run(Duration::from_secs(2));
    pair.cut();
    for block in [3_u64, 5, 9] {
        pair.write(0, block * 4096, &[7; 512]);
    }
    pair.data_bytes = 0;
    pair.heal();
    assert_in_sync(&pair);
    assert_eq!(pair.data_bytes, 3 * 4096);
}

#[test]
fn the_secondary_takes_over_from_a_dead_primary_and_it_comes_back() {
    let mut pair = Pair::in_sync(1, Protocol::C);
    pair.write(0, 4096, b"before the crash");
    pair.kill(0);
    pair.run(Duration::from_secs(1));
    pair.command(1, Command::Primary { force: false }).unwrap();
    pair.nodes[1].resource.open_client(CLIENT, VOLUME, pair.now).unwrap();
    assert_eq!(&pair.read(1, 4096, 16)[..], b"before the crash");
    pair.write(1, 8192, b"after the crash!");
    pair.restart(0);
    assert_in_sync(&pair);
    assert_eq!(pair.nodes[0].resource.status(pair.now).role, Role::Secondary);
    assert_eq!(&pair.nodes[0].devices[0][8192..8208], b"after the crash!");
}

#[test]
fn a_crashed_primary_that_comes_back_alone_does_not_serve_by_itself() {
    let mut pair = Pair::in_sync(1, Protocol::C);
    pair.kill(0);
    pair.kill(1);
    pair.restart(0);
    assert_eq!(disks(&pair)[0], DiskState::Consistent);
    let refused = pair.command(0, Command::Primary { force: false });
    assert!(matches!(refused, Err(CommandError::NeedUpToDate { .. })), "{refused:?}");
    pair.restart(1);
    assert_in_sync(&pair);
}

#[test]
fn only_one_node_is_primary() {
    let mut pair = Pair::in_sync(1, Protocol::C);
    let refused = pair.command(1, Command::Primary { force: false });
    assert!(matches!(refused, Err(CommandError::PeerIsPrimary { .. })), "{refused:?}");
    let refused = pair.command(0, Command::Secondary { force: false });
    assert!(matches!(refused, Err(CommandError::InUse { clients: 1 })), "{refused:?}");
    demote(&mut pair, 0);
    pair.command(1, Command::Primary { force: false }).unwrap();
    assert_in_sync(&pair);
}

#[test]
fn a_primary_that_hangs_up_leaves_an_outdated_secondary() {
    let mut pair = Pair::in_sync(1, Protocol::C);
    pair.command(0, Command::Disconnect { peer: NodeId(1), force: false }).unwrap();
    assert_eq!(disks(&pair), [DiskState::UpToDate, DiskState::Outdated]);
    let refused = pair.command(1, Command::Primary { force: false });
    assert!(matches!(refused, Err(CommandError::NeedUpToDate { .. })), "{refused:?}");
    pair.write(0, 0, &[9; 4096]);
    pair.try_connect(0, false).unwrap();
    pair.run(Duration::from_secs(60));
    assert_in_sync(&pair);
}

#[test]
fn invalidation_copies_everything_in_either_direction() {
    let mut pair = Pair::in_sync(1, Protocol::C);
    pair.write(0, 0, &[3; 4096]);
    for command in [
        Command::Invalidate { volume: VOLUME, reset_bitmap: true },
        Command::InvalidateRemote { volume: VOLUME, peer: NodeId(1), reset_bitmap: true },
    ] {
        let node = usize::from(matches!(command, Command::Invalidate { .. }));
        pair.nodes[1].devices[0][123] ^= 1;
        pair.command(node, command).unwrap();
        pair.run(Duration::from_secs(30));
        assert_in_sync(&pair);
    }
}

#[test]
fn a_primary_whose_data_are_invalidated_reads_from_its_peer() {
    let mut pair = Pair::in_sync(1, Protocol::C);
    pair.write(0, 0, &[3; 4096]);
    pair.run(Duration::from_secs(2));
    pair.nodes[0].devices[0][..4096].fill(0xff);
    pair.command(0, Command::Invalidate { volume: VOLUME, reset_bitmap: true }).unwrap();
    assert_eq!(pair.read(0, 0, 4096)[..], [3; 4096]);
    pair.write(0, 100, &[4; 10]);
    pair.run(Duration::from_secs(30));
    assert_in_sync(&pair);
}

#[test]
fn a_silent_peer_is_given_up_and_the_write_answered() {
    let mut pair = Pair::in_sync(1, Protocol::C);
    pair.hang = true;
    let data = Bytes::from(vec![5; 4096]);
    let cookie = pair.request(0, 0, RequestOp::Write { offset: 0, data, fua: false });
    pair.linked = false;
    pair.run(Duration::from_secs(5));
    assert_eq!(pair.reply(0, cookie), None);
    pair.run(Duration::from_secs(5));
    assert_eq!(pair.reply(0, cookie), Some(Ok(None)));
    pair.hang = false;
    pair.heal();
    assert_in_sync(&pair);
}

#[test]
fn zeroes_and_trims_are_alike_on_both() {
    let mut pair = Pair::in_sync(1, Protocol::C);
    pair.write(0, 0, &[1; 32768]);
    let cookie =
        pair.request(0, 0, RequestOp::Trim { range: ByteRange::new(100, 10_000), fua: false });
    assert_eq!(pair.reply(0, cookie), Some(Ok(None)));
    let range = ByteRange::new(16384, 4096);
    let op = RequestOp::Zeroes { range, keep_space: true, fua: true };
    let cookie = pair.request(0, 0, op);
    assert_eq!(pair.reply(0, cookie), Some(Ok(None)));
    let cookie = pair.request(0, 0, RequestOp::Flush);
    assert_eq!(pair.reply(0, cookie), Some(Ok(None)));
    let mut expected = vec![1; 32768];
    expected[4096..8192].fill(0);
    expected[16384..20480].fill(0);
    assert_eq!(pair.read(0, 0, 32768), expected);
    assert_in_sync(&pair);
}

#[test]
fn down_leaves_nothing_behind_and_up_goes_on() {
    let mut pair = Pair::in_sync(1, Protocol::C);
    pair.write(0, 0, &[6; 4096]);
    let refused = pair.command(0, Command::Down { force: false });
    assert!(matches!(refused, Err(CommandError::InUse { .. })));
    pair.nodes[0].resource.close_client(CLIENT, pair.now);
    pair.command(0, Command::Down { force: false }).unwrap();
    assert_eq!(disks(&pair)[0], DiskState::Diskless);
    pair.restart(0);
    assert_in_sync(&pair);
    pair.command(0, Command::Primary { force: false }).unwrap();
}

/// A large packet takes long on a narrow link, and pings wait behind it: who sends it hears all the
/// same that it arrives, and who waits for it sees that.
#[test]
fn a_packet_that_takes_long_is_a_sign_of_life() {
    let mut pair = Pair::in_sync(1, Protocol::A);
    let sessions = pair.sessions;
    pair.paused[1] = true;
    start_write(&mut pair, 0, 0, 7);
    for _ in 0..600 {
        pair.run(Duration::from_millis(100));
        pair.trickle(1);
    }
    pair.paused[1] = false;
    pair.run(Duration::from_secs(1));
    assert_eq!(pair.sessions, sessions);
    assert_in_sync(&pair);
}
