//! Checksum resync: what both nodes have does not travel; nothing is called equal that is not
//! durable.

use std::time::Duration;

use bytes::Bytes;
use tandem_replica::wire::{ByteRange, Packet, Protocol};
use tandem_replica::{ChecksumResync, Command, RequestOp};

use crate::pair::{Pair, data_writes, flushes, peer_of};
use crate::stage::{VOLUME, assert_in_sync, connection, short, start_write};

fn pair(checksum_resync: ChecksumResync) -> Pair {
    let mut pair = Pair::in_sync(1, Protocol::C);
    for node in 0..2 {
        let mut config = pair.nodes[node].resource.config().peers[0].clone();
        config.net.checksum_resync = checksum_resync;
        pair.nodes[node].resource.update_peer(config, pair.now);
    }
    pair
}

#[test]
fn only_what_differs_travels() {
    let mut pair = pair(ChecksumResync::Always);
    pair.write(0, 0, &[1; 65536]);
    pair.nodes[1].devices[0][4096] ^= 1;
    pair.data_bytes = 0;
    pair.command(1, Command::Invalidate { volume: VOLUME, reset_bitmap: true }).unwrap();
    pair.run(Duration::from_secs(60));
    assert_in_sync(&pair);
    assert_eq!(pair.data_bytes, 64 << 10, "one request of 64 KiB");
}

#[test]
fn after_a_crash_only_means_that() {
    let mut pair = pair(ChecksumResync::AfterCrash);
    pair.data_bytes = 0;
    pair.command(1, Command::Invalidate { volume: VOLUME, reset_bitmap: true }).unwrap();
    pair.run(Duration::from_secs(60));
    assert_in_sync(&pair);
    assert_eq!(pair.data_bytes, pair.size() as u64);
}

/// The source's writes pass the claim while the target looks at what it has.
#[test]
fn a_write_meanwhile_is_not_lost() {
    for stopped in 0..2 {
        let mut pair = pair(ChecksumResync::Always);
        pair.pause_at = Some((stopped, |packet| {
            matches!(packet, Packet::CsumRsRequest { .. } | Packet::RsIsInSync { .. })
        }));
        pair.start(1, Command::Invalidate { volume: VOLUME, reset_bitmap: true });
        pair.run(Duration::from_secs(2));
        start_write(&mut pair, 0, 4096, 9);
        short(&mut pair);
        pair.paused = [false; 2];
        pair.run(Duration::from_secs(60));
        assert_in_sync(&pair);
        assert_eq!(pair.nodes[1].devices[0][4096], 9);
    }
}

/// What the target has read may be in its disk's cache only: bits stay until it is flushed.
#[test]
fn equal_blocks_are_flushed_before_their_bits_are_cleared() {
    let mut pair = pair(ChecksumResync::Always);
    pair.command(0, Command::Disconnect { peer: peer_of(0), force: true }).unwrap();
    pair.write(0, 0, &[0; 4096]);
    let bits = connection(&pair, 0).peer_devices[0].out_of_sync_bytes;
    assert_eq!(bits, 4096);
    pair.pause_at = Some((0, |packet| matches!(packet, Packet::RsIsInSync { .. })));
    pair.try_connect(0, false).unwrap();
    pair.run(Duration::from_secs(5));
    pair.hold[1] = flushes;
    pair.paused = [false; 2];
    pair.run(Duration::from_secs(1));
    for node in 0..2 {
        assert_eq!(connection(&pair, node).peer_devices[0].out_of_sync_bytes, bits, "{node}");
    }
    let progress = connection(&pair, 1).peer_devices[0].resync;
    assert_eq!(progress.map(|progress| progress.same_checksum_bytes), Some(4096));
    pair.release(1);
    pair.run(Duration::from_secs(5));
    assert_in_sync(&pair);
}

/// The Primary is the target. A read shows a write that the peer has and this disk not yet; then
/// the resync ends.
#[test]
fn what_the_peer_has_shown_this_disk_shows_too() {
    const AT: u64 = 256 << 10;
    let mut pair = pair(ChecksumResync::Always);
    pair.pause_at = Some((1, |packet| matches!(packet, Packet::RsIsInSync { .. })));
    pair.start(0, Command::Invalidate { volume: VOLUME, reset_bitmap: true });
    pair.run(Duration::from_millis(200));
    pair.hold[0] = |kind| flushes(kind) || data_writes(kind);
    pair.paused = [false; 2];
    pair.settle();
    start_write(&mut pair, 0, AT, 9);
    let read = || RequestOp::Read(ByteRange::new(AT, 4096));
    let from_peer = pair.request(0, 0, read());
    assert_eq!(pair.reply(0, from_peer), Some(Ok(Some(Bytes::from(vec![9; 4096])))));
    pair.release_first(0);
    let later = pair.request(0, 0, read());
    pair.run(Duration::from_millis(50));
    let reply = pair.reply(0, later);
    assert!(reply.is_none() || reply == Some(Ok(Some(Bytes::from(vec![9; 4096])))), "gone again");
    pair.release(0);
    pair.run(Duration::from_secs(60));
    if reply.is_none() {
        assert_eq!(pair.reply(0, later), Some(Ok(Some(Bytes::from(vec![9; 4096])))));
    }
    assert_in_sync(&pair);
}
