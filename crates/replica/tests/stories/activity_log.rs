//! What a crash of the Primary leaves to be copied: the extents in its activity log, and never less
//! than what differs.

use std::time::Duration;

use bytes::Bytes;
use tandem_replica::wire::{ByteRange, DiskState, Protocol};
use tandem_replica::{Cookie, DiskOpKind, RequestOp};

use crate::pair::{AL_EXTENTS, EXTENT_BYTES, Pair, data_writes, meta_writes};
use crate::stage::{assert_in_sync, demote, disks, short, start_write};

const EXTENT: u64 = EXTENT_BYTES as u64;

/// Extents of the whole volume: far more than slots.
fn extents(pair: &Pair) -> u64 {
    pair.size() as u64 / EXTENT
}

fn al_writes(pair: &Pair) -> u64 {
    pair.nodes[0].resource.status(pair.now).volumes[0].al_writes
}

fn assert_stored(pair: &mut Pair, writes: &[Cookie]) {
    for write in writes {
        assert_eq!(pair.reply(0, *write), Some(Ok(None)), "{write:?}");
    }
}

/// One block in every extent, all at once: nobody waits for ever for a slot.
#[test]
fn a_burst_over_more_extents_than_slots_ends() {
    for protocol in [Protocol::A, Protocol::B, Protocol::C] {
        let mut pair = Pair::in_sync(1, protocol);
        let count = extents(&pair);
        assert!(count > 4 * u64::from(AL_EXTENTS));
        let writes: Vec<_> =
            (0..count).map(|extent| start_write(&mut pair, 0, extent * EXTENT, 9)).collect();
        pair.run(Duration::from_secs(5));
        assert_stored(&mut pair, &writes);
        assert_in_sync(&pair);
        // Without a peer it is the local flush alone that makes slots free.
        pair.cut();
        let writes: Vec<_> =
            (0..count).map(|extent| start_write(&mut pair, 0, extent * EXTENT, 8)).collect();
        pair.run(Duration::from_secs(5));
        assert_stored(&mut pair, &writes);
        pair.heal();
        assert_in_sync(&pair);
    }
}

#[test]
fn writes_to_hot_extents_cost_no_transaction() {
    let mut pair = Pair::in_sync(1, Protocol::C);
    pair.write(0, 0, &[1; 4096]);
    let before = al_writes(&pair);
    for block in 1..4 {
        pair.write(0, block * 4096, &[1; 4096]);
    }
    assert_eq!(al_writes(&pair), before);
    pair.write(0, EXTENT, &[1; 4096]);
    assert_eq!(al_writes(&pair), before + 1);
}

#[test]
fn a_crashed_primary_copies_the_extents_in_its_log() {
    let mut pair = Pair::in_sync(1, Protocol::C);
    for extent in [3, 17, 40] {
        pair.write(0, extent * EXTENT, &[7; 4096]);
    }
    pair.run(Duration::from_secs(2));
    pair.kill(0);
    pair.data_bytes = 0;
    pair.restart(0);
    assert_in_sync(&pair);
    assert_eq!(pair.data_bytes, 3 * EXTENT);
}

#[test]
fn a_demotion_leaves_nothing_to_copy() {
    let mut pair = Pair::in_sync(1, Protocol::C);
    pair.write(0, 0, &[7; 4096]);
    demote(&mut pair, 0);
    pair.kill(0);
    pair.data_bytes = 0;
    pair.restart(0);
    assert_in_sync(&pair);
    assert_eq!(pair.data_bytes, 0);
}

/// The transaction is on no disk yet: neither is the write, here or at the peer.
#[test]
fn a_write_waits_for_its_transaction_on_both_nodes() {
    let mut pair = Pair::in_sync(1, Protocol::C);
    pair.run(Duration::from_secs(2));
    pair.hold[0] = meta_writes;
    let write = start_write(&mut pair, 0, 5 * EXTENT, 7);
    short(&mut pair);
    let place = usize::try_from(5 * EXTENT).unwrap();
    for node in &pair.nodes {
        assert_eq!(node.devices[0][place..place + 4096], [0; 4096]);
    }
    pair.release(0);
    short(&mut pair);
    assert_eq!(pair.reply(0, write), Some(Ok(None)));
    assert_in_sync(&pair);
}

/// The write of the log fails: the disk is given up, and the write goes to the peer alone.
#[test]
fn a_write_whose_transaction_fails_does_not_go_to_the_disk() {
    let mut pair = Pair::in_sync(1, Protocol::C);
    pair.run(Duration::from_secs(2));
    pair.fail[0] = meta_writes;
    let write = start_write(&mut pair, 0, 5 * EXTENT, 7);
    pair.run(Duration::from_secs(1));
    assert_eq!(disks(&pair)[0], DiskState::Diskless);
    assert_eq!(pair.reply(0, write), Some(Ok(None)));
    let place = usize::try_from(5 * EXTENT).unwrap();
    assert_eq!(pair.nodes[0].devices[0][place], 0);
    assert_eq!(pair.nodes[1].devices[0][place], 7);
    pair.fail[0] = crate::pair::none;
    pair.attach(0);
    pair.run(Duration::from_secs(30));
    assert_in_sync(&pair);
}

/// Only the peer has a write whose extent was in the log when both processes died.
#[test]
fn what_only_the_peer_has_is_found() {
    let mut pair = Pair::in_sync(1, Protocol::C);
    pair.run(Duration::from_secs(2));
    pair.hold[0] = data_writes;
    start_write(&mut pair, 0, 5 * EXTENT, 7);
    short(&mut pair);
    let place = usize::try_from(5 * EXTENT).unwrap();
    assert_eq!((pair.nodes[0].devices[0][place], pair.nodes[1].devices[0][place]), (0, 7));
    pair.kill(1);
    pair.kill(0);
    pair.restart(1);
    pair.restart(0);
    pair.run(Duration::from_secs(30));
    assert_in_sync(&pair);
}

/// The peer is away; what it misses lies in more extents than the log holds. Then the Primary dies.
#[test]
fn bits_of_evicted_extents_survive_a_kill() {
    let mut pair = Pair::in_sync(1, Protocol::C);
    pair.cut();
    for extent in 0..extents(&pair) {
        pair.write(0, extent * EXTENT, &[6; 4096]);
    }
    pair.kill(0);
    pair.linked = true;
    pair.restart(0);
    pair.run(Duration::from_secs(30));
    assert_in_sync(&pair);
}

/// One reply at the end of many pieces, and nobody in between.
#[test]
fn a_long_zeroing_is_one_write() {
    let mut pair = Pair::in_sync(1, Protocol::C);
    let len = u32::try_from(extents(&pair) * EXTENT).unwrap();
    for extent in 0..extents(&pair) {
        pair.write(0, extent * EXTENT, &[5; 4096]);
    }
    pair.hold[0] = |kind| matches!(kind, DiskOpKind::Zero { .. });
    let range = ByteRange::new(0, len);
    let zeroing = pair.request(0, 0, RequestOp::Zeroes { range, keep_space: false, fua: false });
    let last = u64::from(len) - 4096;
    let behind = start_write(&mut pair, 0, last, 3);
    pair.run(Duration::from_secs(1));
    assert!(pair.reply(0, zeroing).is_none() && pair.reply(0, behind).is_none());
    pair.release(0);
    pair.run(Duration::from_secs(5));
    assert_stored(&mut pair, &[zeroing, behind]);
    assert_eq!(pair.read(0, 0, 65536), Bytes::from(vec![0; 65536]));
    assert_eq!(pair.read(0, last, 4096), Bytes::from(vec![3; 4096]));
    assert_in_sync(&pair);
}
