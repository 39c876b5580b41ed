//! When data get a new generation: at the first write that a peer misses, durably before it, and
//! never without one.

use std::time::Duration;

use tandem_replica::wire::{DiskState, Packet, Protocol, ReplicationState};
use tandem_replica::{ClientId, Command, RequestOp, SyncState};

use crate::pair::{
    CLIENT, PacketChoice, Pair, data_writes, edit_superblock, flushes, meta_writes, peer_of,
};
use crate::stage::{
    VOLUME, assert_in_sync, connection, demote, disks, promote, short, start_write,
};

#[test]
fn promotions_without_a_write_part_nobody() {
    let mut pair = Pair::in_sync(1, Protocol::C);
    let before = pair.data_bytes;
    pair.cut();
    promote(&mut pair, 1);
    demote(&mut pair, 1);
    demote(&mut pair, 0);
    pair.heal();
    assert_in_sync(&pair);
    assert_eq!(pair.data_bytes, before);
}

#[test]
fn a_new_generation_is_durable_before_the_write_it_is_for() {
    let mut pair = Pair::in_sync(1, Protocol::C);
    pair.cut();
    pair.hold[0] = meta_writes;
    let write = start_write(&mut pair, 0, 0, 7);
    short(&mut pair);
    assert_eq!(pair.reply(0, write), None);
    assert_eq!(pair.nodes[0].devices[0][..4096], [0; 4096], "written in the old generation");
    pair.release(0);
    short(&mut pair);
    assert_eq!(pair.reply(0, write), Some(Ok(None)));
}

/// 1. the peer comes back without its disk; 2. the Primary writes; 3. the peer, on the disk it had,
///    is promoted alone and writes: both wrote.
#[test]
fn a_peer_that_comes_back_diskless_is_parted_by_a_write() {
    let mut pair = Pair::in_sync(1, Protocol::C);
    pair.command(1, Command::Detach { volume: VOLUME, force: true }).unwrap();
    pair.run(Duration::from_secs(30));
    pair.write(0, 0, &[1; 4096]);
    pair.cut();
    pair.attach(1);
    pair.command(1, Command::Primary { force: true }).unwrap();
    pair.nodes[1].resource.open_client(CLIENT, VOLUME, pair.now).unwrap();
    pair.write(1, 8192, &[2; 4096]);
    pair.heal();
    for node in 0..2 {
        assert!(matches!(connection(&pair, node).sync_state, SyncState::SplitBrain(_)));
    }
}

/// 1. the Primary's disk fails, its peer keeps the data; 2. it writes; 3. the disk comes back and
///    is the target.
#[test]
fn a_primary_that_lost_its_disk_writes_in_a_new_generation() {
    for protocol in [Protocol::A, Protocol::B, Protocol::C] {
        let mut pair = Pair::in_sync(1, protocol);
        pair.fail[0] = data_writes;
        pair.write(0, 0, &[1; 4096]);
        pair.fail[0] = crate::pair::none;
        pair.run(Duration::from_secs(5));
        assert_eq!(disks(&pair), [DiskState::Diskless, DiskState::UpToDate]);
        pair.write(0, 8192, &[2; 4096]);
        pair.attach(0);
        pair.run(Duration::from_secs(60));
        assert_in_sync(&pair);
        assert_eq!(pair.nodes[0].devices[0][..4096], [1; 4096], "{protocol:?}");
        assert_eq!(pair.nodes[0].devices[0][8192..12288], [2; 4096], "{protocol:?}");
    }
}

/// The same without another write: the failed disk is no crashed Primary's, which in A is source
/// whatever it has.
#[test]
fn what_a_failed_disk_missed_comes_back_to_it() {
    for protocol in [Protocol::A, Protocol::B, Protocol::C] {
        let mut pair = Pair::in_sync(1, protocol);
        pair.fail[0] = data_writes;
        pair.write(0, 0, &[1; 4096]);
        pair.fail[0] = crate::pair::none;
        pair.run(Duration::from_secs(5));
        demote(&mut pair, 0);
        pair.attach(0);
        pair.run(Duration::from_secs(60));
        assert_in_sync(&pair);
        assert!(pair.nodes[1].devices[0][..4096] == [1; 4096], "{protocol:?}: a write is lost");
    }
}

/// A node wrote alone and was demoted; its peer, Primary without a disk, writes on its disk. It is
/// killed: what it had noted in memory alone must be found again.
#[test]
fn what_a_diskless_primary_wrote_is_known_after_a_crash_of_its_peer() {
    let mut pair = Pair::in_sync(1, Protocol::C);
    pair.cut();
    pair.write(0, 8192, &[7; 4096]);
    demote(&mut pair, 0);
    pair.command(1, Command::Detach { volume: VOLUME, force: true }).unwrap();
    pair.heal();
    promote(&mut pair, 1);
    let write = start_write(&mut pair, 1, 65536, 9);
    pair.run(Duration::from_secs(1));
    assert_eq!(pair.reply(1, write), Some(Ok(None)));
    pair.kill(0);
    pair.revive(0);
    pair.run(Duration::from_secs(30));
    pair.attach(1);
    pair.run(Duration::from_secs(30));
    assert_in_sync(&pair);
    assert_eq!(pair.nodes[1].devices[0][65536], 9);
}

/// In B a write is answered that the peer has received and not written; the Primary's disk is given
/// up, and the peer's copy is to be told apart from it as the better one: it has the write first.
#[test]
fn a_copy_counts_as_better_once_it_has_what_was_received() {
    let mut pair = Pair::in_sync(1, Protocol::B);
    let current = |pair: &Pair| {
        let mut uuid = None;
        edit_superblock(&mut pair.nodes[1].devices[0].clone(), |it| uuid = Some(it.current_uuid));
        uuid.unwrap()
    };
    let before = current(&pair);
    pair.hold[1] = |_| true;
    pair.request(0, 0, RequestOp::Flush);
    let write = start_write(&mut pair, 0, 8192, 7);
    short(&mut pair);
    assert_eq!(pair.reply(0, write), Some(Ok(None)));
    pair.command(0, Command::Detach { volume: VOLUME, force: true }).unwrap();
    while !pair.held[1].is_empty() {
        pair.release_first(1);
        let has_it = pair.nodes[1].devices[0][8192] == 7;
        assert!(has_it || current(&pair) == before, "better without the write");
    }
    assert_ne!(current(&pair), before);
}

/// A Secondary's disk is given up with data in its cache, and comes back without them and without
/// knowing: its Primary has told it apart as soon as it heard of that, not by its next write.
#[test]
fn a_peer_whose_disk_is_gone_is_told_apart_at_once() {
    let mut pair = Pair::in_sync(1, Protocol::C);
    pair.hold[1] = flushes;
    pair.write(0, 8192, &[7; 4096]);
    pair.command(1, Command::Detach { volume: VOLUME, force: true }).unwrap();
    pair.run(Duration::from_secs(1));
    assert_eq!(disks(&pair)[1], DiskState::Diskless);
    pair.nodes[1].devices[0][8192..12288].fill(0);
    pair.kill(0);
    pair.release(1);
    pair.attach(1);
    pair.restart(0);
    pair.run(Duration::from_secs(30));
    assert_in_sync(&pair);
    assert_eq!(pair.nodes[1].devices[0][8192], 7);
}

/// The link breaks for good where node 0, Primary and source of a resync in the middle of one
/// generation, sends the packet, or node 1 does.
fn begun_resync_lost(node: usize, packet: PacketChoice) -> Pair {
    let mut pair = Pair::in_sync(1, Protocol::C);
    pair.nodes[1].devices[0][4096] ^= 0x40;
    let verify = Command::Verify {
        volume: VOLUME,
        peer: peer_of(0),
        start: None,
        stop: None,
        repair: false,
    };
    pair.command(0, verify).unwrap();
    short(&mut pair);
    pair.cut();
    pair.linked = true;
    pair.cut_at = Some((node, packet));
    pair.run(Duration::from_secs(60));
    assert!(pair.cut_at.is_none(), "the link broke where the resync began");
    pair
}

fn unheard_resync() -> Pair {
    let pair = begun_resync_lost(0, |packet| matches!(packet, Packet::SyncUuid(..)));
    assert_eq!(disks(&pair), [DiskState::UpToDate; 2]);
    pair
}

/// The target still holds the generation of its source, which writes; so does the target.
#[test]
fn a_target_that_has_not_heard_is_parted_by_a_write() {
    let mut pair = unheard_resync();
    pair.write(0, 8192, &[2; 4096]);
    demote(&mut pair, 0);
    promote(&mut pair, 1);
    pair.write(1, 16384, &[3; 4096]);
    pair.heal();
    for node in 0..2 {
        assert!(matches!(connection(&pair, node).sync_state, SyncState::SplitBrain(_)));
    }
    assert_eq!(pair.nodes[0].devices[0][8192..12288], [2; 4096], "overwritten");
}

/// The same, and nobody else writes: whether the target has heard or not, bits say what it lacks.
#[test]
fn a_write_behind_the_beginning_of_a_resync_costs_no_full_one() {
    let heard = begun_resync_lost(1, |packet| {
        let Packet::State(_, state) = packet else { return false };
        state.replication == ReplicationState::SyncTarget
    });
    assert_eq!(disks(&heard)[1], DiskState::Inconsistent);
    for mut pair in [unheard_resync(), heard] {
        pair.write(0, 8192, &[2; 4096]);
        pair.data_bytes = 0;
        pair.heal();
        assert_in_sync(&pair);
        assert_eq!(pair.data_bytes, 2 * 4096);
    }
}

/// The source is killed, and the target, UpToDate, serves: the source has no newest data.
#[test]
fn a_source_whose_target_has_not_heard_is_not_up_to_date_by_itself() {
    let mut pair = unheard_resync();
    pair.kill(0);
    promote(&mut pair, 1);
    pair.write(1, 16384, &[3; 4096]);
    pair.restart(0);
    assert_eq!(disks(&pair)[0], DiskState::Consistent, "older than what the other node serves");
    pair.heal();
    assert_in_sync(&pair);
    assert_eq!(pair.nodes[0].devices[0][16384..20480], [3; 4096], "a write is lost");
}

/// The metadata of a node's volume 0 are written, those of the other one are not.
fn release_meta_of_first(pair: &mut Pair, node: usize) {
    loop {
        pair.held[node].make_contiguous().sort_by_key(|op| op.volume);
        if pair.held[node].front().is_none_or(|op| op.volume != VOLUME) {
            return;
        }
        pair.release_first(node);
    }
}

/// A node leaves the other one; node 1, the Secondary, is Outdated for what is to come, but the
/// disk of another volume is slow. Meanwhile the Primary loses its disk and lives on the peer's.
fn left_without_a_disk(protocol: Protocol, leaver: usize) -> Pair {
    let mut pair = Pair::in_sync(2, protocol);
    pair.hold[1] = meta_writes;
    let peer = peer_of(leaver);
    let leave = pair.start(leaver, Command::Disconnect { peer, force: false });
    short(&mut pair);
    release_meta_of_first(&mut pair, 1);
    assert_eq!(disks(&pair)[1], DiskState::Outdated);
    pair.command(0, Command::Detach { volume: VOLUME, force: true }).unwrap();
    let cookie = start_write(&mut pair, 0, 0, 1);
    release_meta_of_first(&mut pair, 1);
    pair.run(Duration::from_secs(1));
    assert_eq!(pair.reply(0, cookie), Some(Ok(None)), "{protocol:?}");
    pair.release(1);
    assert_eq!(pair.ended(leaver, leave), Some(Ok(())));
    pair
}

/// The disk comes back: in A it is no crashed Primary's, which would be source whatever it has.
#[test]
fn a_node_that_leaves_a_primary_without_a_disk_has_the_better_copy() {
    for protocol in [Protocol::A, Protocol::B, Protocol::C] {
        for leaver in 0..2 {
            let mut pair = left_without_a_disk(protocol, leaver);
            pair.command(0, Command::Attach { volume: VOLUME }).unwrap();
            pair.nodes[0].resource.close_client(ClientId(8), pair.now);
            demote(&mut pair, 0);
            pair.try_connect(leaver, false).unwrap();
            pair.run(Duration::from_secs(60));
            assert_in_sync(&pair);
            let first = &pair.nodes[1].devices[0][..4096];
            assert!(first == [1; 4096], "{protocol:?}: a write is lost");
        }
    }
}

/// The Primary, still without its disk, goes on with that copy.
#[test]
fn a_primary_without_a_disk_goes_on_with_the_node_that_has_left_it() {
    for leaver in 0..2 {
        let mut pair = left_without_a_disk(Protocol::C, leaver);
        pair.try_connect(leaver, false).unwrap();
        pair.run(Duration::from_secs(60));
        assert_eq!(disks(&pair), [DiskState::Diskless, DiskState::UpToDate]);
        assert_eq!(pair.read(0, 0, 4096)[..], [1; 4096]);
    }
}
