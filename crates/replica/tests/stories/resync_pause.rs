//! Stories of resyncs that are paused, that wait for each other, that make way, and that find
//! zeroes.

use std::time::Duration;

use bytes::Bytes;
use tandem_replica::wire::{ByteRange, Packet, Protocol, ReplicationState, VolumeNumber};
use tandem_replica::{Command, CommandError, ResyncConfig, ResyncSuspended};

use crate::pair::{Pair, peer_of};
use crate::stage::{
    VOLUME, assert_in_sync, connection, demote, promote, short, start_write, swap_roles, write_op,
};

fn pause(pair: &mut Pair, node: usize) {
    let peer = peer_of(node);
    pair.command(node, Command::PauseSync { volume: VOLUME, peer }).unwrap();
}

fn resume(pair: &mut Pair, node: usize) {
    let peer = peer_of(node);
    pair.command(node, Command::ResumeSync { volume: VOLUME, peer }).unwrap();
}

fn replication(pair: &Pair, node: usize, volume: usize) -> ReplicationState {
    connection(pair, node).peer_devices[volume].replication
}

fn suspended(pair: &Pair, node: usize) -> ResyncSuspended {
    connection(pair, node).peer_devices[0].resync_suspended
}

fn dirty_blocks(pair: &Pair, node: usize) -> u64 {
    connection(pair, node).peer_devices[0].out_of_sync_bytes / 4096
}

/// Node 1 is the target of a resync of blocks 0 to 9, paused by node `by` before it began.
fn paused(by: usize) -> Pair {
    let mut pair = Pair::in_sync(1, Protocol::C);
    pair.cut();
    pair.write(0, 0, &[1; 40960]);
    pause(&mut pair, by);
    pair.heal();
    pair
}

#[test]
fn a_paused_resync_copies_nothing_until_it_is_resumed() {
    for by in 0..2 {
        let mut pair = paused(by);
        assert_eq!(replication(&pair, 0, 0), ReplicationState::PausedSyncS, "by {by}");
        assert_eq!(replication(&pair, 1, 0), ReplicationState::PausedSyncT, "by {by}");
        assert_eq!((dirty_blocks(&pair, 0), dirty_blocks(&pair, 1)), (10, 10));
        let mine = ResyncSuspended { user: true, ..ResyncSuspended::default() };
        let theirs = ResyncSuspended { peer: true, ..ResyncSuspended::default() };
        assert_eq!((suspended(&pair, by), suspended(&pair, 1 - by)), (mine, theirs));
        resume(&mut pair, by);
        pair.run(Duration::from_secs(1));
        assert_in_sync(&pair);
    }
}

#[test]
fn a_pause_flag_is_set_once_and_cleared_once() {
    let mut pair = paused(0);
    let peer = peer_of(0);
    let again = pair.command(0, Command::PauseSync { volume: VOLUME, peer });
    assert_eq!(again, Err(CommandError::PauseFlag { volume: VOLUME, paused: true }));
    resume(&mut pair, 0);
    let again = pair.command(0, Command::ResumeSync { volume: VOLUME, peer });
    assert_eq!(again, Err(CommandError::PauseFlag { volume: VOLUME, paused: false }));
}

/// 1. A resync is paused.
/// 2. The application writes: to blocks that differ, and to others.
/// 3. The writes are on both nodes, and no bit is lost.
/// 4. The target's process dies and starts again; the pause was its source's.
/// 5. It is still paused, has its bits, and ends when it is resumed.
#[test]
fn a_paused_target_gets_writes_and_keeps_its_bits_over_a_restart() {
    let mut pair = paused(0);
    pair.write(0, 4096, &[5; 4096]);
    pair.write(0, 81920, &[6; 4096]);
    for (offset, byte) in [(4096, 5), (81920, 6)] {
        assert_eq!(pair.nodes[1].devices[0][offset], byte, "written on the paused target");
    }
    assert_eq!((dirty_blocks(&pair, 0), dirty_blocks(&pair, 1)), (10, 10));
    pair.kill(1);
    pair.write(0, 122_880, &[7; 4096]);
    pair.data_bytes = 0;
    pair.restart(1);
    assert_eq!(replication(&pair, 1, 0), ReplicationState::PausedSyncT);
    assert_eq!(pair.data_bytes, 0);
    resume(&mut pair, 0);
    pair.run(Duration::from_secs(1));
    assert_in_sync(&pair);
    assert!(pair.data_bytes <= 12 * 4096, "{} bytes copied: more than differed", pair.data_bytes);
}

/// The source itself starts again: it has crashed as Primary, and whoever has its bits goes on.
#[test]
fn a_source_that_restarts_goes_on_from_the_bits() {
    let mut pair = paused(1);
    swap_roles_of_paused(&mut pair);
    pair.kill(0);
    pair.run(Duration::from_secs(1));
    pair.data_bytes = 0;
    pair.restart(0);
    assert_eq!(replication(&pair, 1, 0), ReplicationState::PausedSyncT);
    resume(&mut pair, 1);
    pair.run(Duration::from_secs(1));
    assert_in_sync(&pair);
    assert_eq!(pair.data_bytes, 10 * 4096, "not from its beginning, and nothing forgotten");
}

/// The target becomes Primary while it is paused.
fn swap_roles_of_paused(pair: &mut Pair) {
    demote(pair, 0);
}

/// What the paused target lacks is read from its source; what it has it reads itself, and its
/// writes are on both.
#[test]
fn a_primary_whose_disk_is_a_paused_target_reads_what_differs_from_its_source() {
    let mut pair = paused(1);
    swap_roles(&mut pair);
    assert_eq!(&pair.read(1, 4096, 4)[..], [1; 4]);
    assert_ne!(pair.nodes[1].devices[0][4096], 1, "not here yet");
    pair.write(1, 8192, &[8; 4096]);
    assert_eq!((pair.nodes[0].devices[0][8192], pair.nodes[1].devices[0][8192]), (8, 8));
    pair.write(1, 100, b"part of a block");
    assert_eq!(&pair.read(1, 99, 3)[..], [1, b'p', b'a']);
    resume(&mut pair, 1);
    pair.run(Duration::from_secs(1));
    assert_in_sync(&pair);
}

/// 1. The target has asked for a block, and its source is about to read it.
/// 2. The resync is paused; the answer comes, is written, and its bit goes.
/// 3. The source sees another block out of sync, behind where the target has got to: it is told,
///    and the target knows it while it is paused.
#[test]
fn what_goes_out_of_sync_at_a_paused_target_is_copied_later() {
    let mut pair = paused(1);
    // As a source does that could not mirror a write: it says so, and the target has the bit.
    let range = ByteRange::new(262_144, 4096);
    pair.nodes[0].devices[0][262_144..266_240].fill(9);
    pair.inject(1, Packet::OutOfSync(VOLUME, range));
    assert_eq!(dirty_blocks(&pair, 1), 11);
    pair.nodes[0].devices[0][0] = 1;
    resume(&mut pair, 1);
    pair.run(Duration::from_secs(1));
    assert_in_sync(&pair);
}

/// A bit that is set behind the cursor while the last pieces are under way is found in a second
/// pass.
#[test]
fn a_bit_behind_the_cursor_is_found() {
    let mut pair = Pair::in_sync(1, Protocol::C);
    pair.cut();
    pair.write(0, 40960, &[1; 40960]);
    pair.hold[1] = crate::pair::data_writes;
    pair.linked = true;
    pair.run(Duration::from_secs(2));
    assert_eq!(replication(&pair, 1, 0), ReplicationState::SyncTarget);
    pair.nodes[0].devices[0][0..4096].fill(9);
    pair.inject(1, Packet::OutOfSync(VOLUME, ByteRange::new(0, 4096)));
    pair.release(1);
    pair.run(Duration::from_secs(1));
    assert_in_sync(&pair);
}

/// Volume 1 is synced after volume 0; who is Primary of what does not matter.
#[test]
fn a_volume_waits_for_the_one_it_is_synced_after() {
    let mut pair = Pair::in_sync(2, Protocol::C);
    for node in 0..2 {
        let mut config = pair.nodes[node].resource.config().volumes[1];
        config.resync_after = Some(VolumeNumber(0));
        pair.nodes[node].resource.update_volume(config, pair.now);
    }
    pair.cut();
    for volume in 0..2 {
        pair.request(0, volume, write_op(0, 1));
    }
    pair.run(Duration::from_secs(1));
    pause(&mut pair, 0);
    pair.heal();
    assert_eq!(replication(&pair, 1, 0), ReplicationState::PausedSyncT);
    assert_eq!(replication(&pair, 1, 1), ReplicationState::PausedSyncT);
    assert!(connection(&pair, 1).peer_devices[1].resync_suspended.dependency);
    resume(&mut pair, 0);
    pair.run(Duration::from_secs(1));
    assert_in_sync(&pair);
}

/// Another resource of the node comes first: the shell says so.
#[test]
fn a_volume_waits_for_another_resource() {
    let mut pair = Pair::in_sync(1, Protocol::C);
    pair.nodes[0].resource.set_resync_blocked(VOLUME, true, pair.now);
    pair.cut();
    pair.write(0, 0, &[1; 4096]);
    pair.heal();
    assert_eq!(replication(&pair, 1, 0), ReplicationState::PausedSyncT);
    assert!(suspended(&pair, 0).dependency && suspended(&pair, 1).peer);
    pair.nodes[0].resource.set_resync_blocked(VOLUME, false, pair.now);
    pair.run(Duration::from_secs(1));
    assert_in_sync(&pair);
}

fn set_pace(pair: &mut Pair, pace: ResyncConfig) {
    for node in 0..2 {
        let mut peer = pair.nodes[node].resource.config().peers[0].clone();
        peer.resync.insert(VOLUME, pace);
        pair.nodes[node].resource.update_peer(peer, pair.now);
    }
}

#[test]
fn a_fixed_rate_is_kept_and_no_timer_is_left() {
    let mut pair = Pair::in_sync(1, Protocol::C);
    let c_plan_ahead = Duration::ZERO;
    set_pace(&mut pair, ResyncConfig { resync_rate: 40960, c_plan_ahead, ..Default::default() });
    pair.cut();
    pair.write(0, 0, &[1; 409_600]);
    pair.linked = true;
    pair.run(Duration::from_secs(5));
    let left = dirty_blocks(&pair, 1);
    assert!((50..=80).contains(&left), "{left} blocks left after about four of ten seconds");
    pair.run(Duration::from_secs(6));
    assert_in_sync(&pair);
    let next = pair.nodes[1].resource.poll_timeout().unwrap().since(pair.now);
    assert!(next > Duration::from_millis(400), "a timer in {next:?} though nothing is copied");
}

/// The source answers at `c-min-rate` while its application works, and all at once when it rests.
#[test]
fn a_source_makes_way_for_its_application() {
    let mut pair = Pair::in_sync(1, Protocol::C);
    set_pace(&mut pair, ResyncConfig { c_min_rate: 256 << 10, ..Default::default() });
    pair.cut();
    pair.write(0, 0, &[1; 1 << 20]);
    pair.write(0, 1 << 20, &[1; 1 << 20]);
    pair.linked = true;
    let mut left = Vec::new();
    for _ in 0..60 {
        start_write(&mut pair, 0, 2 << 20, 7);
        pair.run(Duration::from_millis(50));
        left.push(dirty_blocks(&pair, 0));
    }
    let copied = 513 - left.last().unwrap();
    assert!((100..=320).contains(&copied), "{copied} blocks of 4 KiB in three seconds: {left:?}");
    pair.run(Duration::from_secs(1));
    assert_in_sync(&pair);
}

#[test]
fn zeroes_are_not_sent_and_their_space_is_given_up() {
    let mut pair = Pair::in_sync(1, Protocol::C);
    let mut config = pair.nodes[1].resource.config().volumes[0];
    config.discard_granularity_bytes = 16384;
    pair.nodes[1].resource.update_volume(config, pair.now);
    pair.write(0, 0, &[3; 65536]);
    pair.run(Duration::from_secs(2));
    pair.cut();
    // Zeroes but for one byte in the third granule, and beyond the fourth a granule in part.
    let mut data = vec![0; 65536];
    data[16384 * 2 + 77] = 1;
    pair.write(0, 0, &data);
    pair.write(0, 81920, &[0; 4096]);
    pair.data_bytes = 0;
    pair.heal();
    assert_in_sync(&pair);
    assert_eq!(pair.data_bytes, 16384 + 4096, "the granule that is not zero, and the partial one");
    assert_eq!(pair.zeroed[1], vec![(0, 16384), (16384, 16384), (49152, 16384)]);
}

/// The largest pieces of a bitmap, and more of them than may be on their way: every second block
/// of the device differs.
#[test]
fn bitmaps_are_sent_a_few_pieces_at_a_time() {
    let mut pair = Pair::in_sync(1, Protocol::C);
    pair.cut();
    for block in (0..200).step_by(2) {
        pair.write(0, block * 4096, &[1; 4096]);
    }
    pair.data_bytes = 0;
    pair.heal();
    assert_in_sync(&pair);
    assert_eq!(pair.data_bytes, 100 * 4096);
}

#[test]
fn a_role_moves_while_a_resync_runs() {
    let mut pair = Pair::in_sync(1, Protocol::C);
    let c_plan_ahead = Duration::ZERO;
    set_pace(&mut pair, ResyncConfig { resync_rate: 40960, c_plan_ahead, ..Default::default() });
    pair.cut();
    pair.write(0, 0, &[1; 409_600]);
    pair.linked = true;
    pair.run(Duration::from_secs(2));
    demote(&mut pair, 0);
    promote(&mut pair, 1);
    start_write(&mut pair, 1, 0, 9);
    start_write(&mut pair, 1, 405_504, 9);
    short(&mut pair);
    assert_eq!(&pair.read(1, 405_504, 1)[..], [9]);
    assert_eq!(&pair.read(1, 401_408, 1)[..], Bytes::from(vec![1]));
    pair.run(Duration::from_secs(15));
    assert_in_sync(&pair);
}
