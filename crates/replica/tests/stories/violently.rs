//! A Primary becomes target: `rr-conflict violently` puts its peer's data in the place of those
//! that its clients know, and no older ones get into them from here.

use std::time::Duration;

use bytes::Bytes;
use tandem_replica::wire::{Packet, Policies, Protocol, RoleConflict};
use tandem_replica::{Cookie, DiskOpKind, RequestOp};

use crate::pair::{AL_EXTENTS, Choice, EXTENT_BYTES, Pair, meta_writes, none, reads};
use crate::stage::{assert_in_sync, demote, promote};

fn violently() -> Policies {
    Policies { rr_conflict: RoleConflict::Violently, ..Policies::default() }
}

/// Node 1 has written while the link was cut; node 0, which has not, is Primary, and the link is
/// there again.
fn older_primary() -> Pair {
    let mut pair = Pair::in_sync(1, Protocol::C);
    pair.write(0, 0, &[1; 65536]);
    pair.run(Duration::from_secs(2));
    demote(&mut pair, 0);
    pair.cut();
    promote(&mut pair, 1);
    pair.write(1, 0, &[2; 65536]);
    demote(&mut pair, 1);
    promote(&mut pair, 0);
    pair.set_policies(violently());
    pair.hold_dials = true;
    pair.heal();
    pair
}

fn write_part(pair: &mut Pair, offset: u64, len: usize) -> Cookie {
    let data = Bytes::from(vec![3; len]);
    pair.request(0, 0, RequestOp::Write { offset, data, fua: false })
}

#[track_caller]
fn assert_written(pair: &mut Pair, cookie: Cookie, offset: usize, len: usize) {
    assert_eq!(pair.reply(0, cookie), Some(Ok(None)));
    assert_in_sync(pair);
    let mut expected = vec![2; 65536];
    expected[offset..offset + len].fill(3);
    assert!(pair.nodes[0].devices[0][..65536] == expected, "older data around the write");
}

fn merges(kind: &DiskOpKind) -> bool {
    matches!(kind, DiskOpKind::Merge { .. })
}

/// Node 0 is about to hear that it becomes target.
fn meet(pair: &mut Pair) {
    pair.pause_at = Some((1, |packet| matches!(packet, Packet::Verdict(..))));
    pair.dial(0);
}

/// At the gate, while its blocks are read, and while the client's part is put into them.
#[test]
fn a_block_is_not_filled_up_from_data_that_were_replaced() {
    let stages: [Choice; 3] = [none, reads, merges];
    for stage in stages {
        let mut pair = older_primary();
        meet(&mut pair);
        pair.hold[0] = stage;
        let cookie = write_part(&mut pair, 4096 + 100, 5000);
        pair.paused[0] = false;
        pair.run(Duration::from_millis(100));
        pair.release(0);
        pair.run(Duration::from_secs(60));
        assert_written(&mut pair, cookie, 4096 + 100, 5000);
    }
}

/// Its first piece is written when the link is lost, the next one waits for the log until the
/// nodes have met again.
#[test]
fn nor_is_the_end_of_a_long_write() {
    let mut pair = Pair::in_sync(1, Protocol::C);
    let piece = (AL_EXTENTS / 4 * EXTENT_BYTES) as usize;
    let len = 2 * piece + 100;
    pair.hold[0] = meta_writes;
    let cookie = write_part(&mut pair, 0, len);
    for _copy in 0..2 {
        pair.release_first(0);
    }
    pair.run(Duration::from_secs(2));
    pair.cut();
    promote(&mut pair, 1);
    pair.write(1, 2 * piece as u64, &[2; 4096]);
    demote(&mut pair, 1);
    pair.set_policies(violently());
    pair.hold_dials = true;
    pair.heal();
    meet(&mut pair);
    pair.release(0);
    pair.paused[0] = false;
    pair.run(Duration::from_secs(60));
    assert_eq!(pair.reply(0, cookie), Some(Ok(None)));
    assert_in_sync(&pair);
    let data = &pair.nodes[0].devices[0];
    assert!(data[piece..len].iter().all(|byte| *byte == 3), "a piece is missing");
    assert!(data[len..2 * piece + 4096].iter().all(|byte| *byte == 2), "older data behind it");
}
