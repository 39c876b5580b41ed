//! Writes that overlap each other and a resync: the order that was replied is the order on both
//! disks, and nobody waits for each other in a circle.

use std::time::Duration;

use tandem_replica::wire::{Packet, Protocol, ReplicationState};

use crate::pair::{Pair, data_writes, reads};
use crate::stage::{assert_in_sync, connection, short, start_write};

/// Three writes of three epochs in one piece of a resync: y on the disk, x behind it on the same
/// block, w behind x elsewhere.
#[test]
fn a_resync_and_overlapping_writes_do_not_wait_for_each_other() {
    let mut pair = Pair::in_sync(1, Protocol::A);
    pair.run(Duration::from_secs(2));
    pair.cut();
    pair.write(0, 0, &[1; 65536]);
    pair.linked = true;
    pair.hold[0] = reads;
    pair.run(Duration::from_secs(1));
    assert_eq!(connection(&pair, 0).peer_devices[0].replication, ReplicationState::SyncSource);
    pair.hold[1] = data_writes;
    // Behind the source's read: they wait for its range, so they follow the answer on the link.
    let cookies = [(4096, 2), (4096, 3), (8192, 4)].map(|(at, b)| start_write(&mut pair, 0, at, b));
    pair.release(0);
    short(&mut pair);
    pair.release(1);
    pair.run(Duration::from_secs(5));
    for cookie in cookies {
        assert_eq!(pair.reply(0, cookie), Some(Ok(None)));
    }
    assert_in_sync(&pair);
}

/// The same with the writes in front of the answer on the link.
#[test]
fn a_resync_answer_behind_overlapping_writes_of_several_epochs_is_written() {
    let mut pair = Pair::in_sync(1, Protocol::A);
    pair.run(Duration::from_secs(2));
    pair.cut();
    pair.write(0, 0, &[1; 65536]);
    pair.linked = true;
    pair.hold[1] = data_writes;
    pair.pause_at = Some((1, |packet| matches!(packet, Packet::RsDataRequest { .. })));
    pair.run(Duration::from_secs(1));
    assert!(pair.pause_at.is_none() && pair.paused[0], "the request is under way");
    for (at, byte) in [(4096, 2), (4096, 3), (8192, 4)] {
        let cookie = start_write(&mut pair, 0, at, byte);
        assert_eq!(pair.reply(0, cookie), Some(Ok(None)));
    }
    pair.paused[0] = false;
    short(&mut pair);
    pair.release(1);
    pair.run(Duration::from_secs(5));
    assert_in_sync(&pair);
}
