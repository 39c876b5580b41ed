//! Disks fail: the peer makes up for what it can, the rest is an error, and nothing is promised
//! that no disk has.

use std::time::Duration;

use bytes::Bytes;
use tandem_replica::wire::{ByteRange, DiskState, NodeId, Protocol, VolumeNumber};
use tandem_replica::{Command, ConnectionState, Handler, OnIoError, RequestOp, VolumeConfig};

use crate::pair::{CLIENT, Pair, data_writes, flushes, meta_writes, reads};
use crate::stage::{
    VOLUME, assert_in_sync, connection, disks, short, start_write, swap_roles_diskless,
};

#[test]
fn a_failed_local_write_is_masked_by_the_peer() {
    let mut pair = Pair::in_sync(1, Protocol::C);
    pair.fail[0] = data_writes;
    let write = start_write(&mut pair, 0, 0, 7);
    pair.run(Duration::from_secs(5));
    assert_eq!(pair.reply(0, write), Some(Ok(None)));
    assert_eq!(pair.read(0, 0, 4096)[..], [7; 4096]);
}

/// The peer hears of both: that the disk has failed, and that it is gone.
#[test]
fn a_failed_disk_is_diskless_to_the_peer() {
    let mut pair = Pair::in_sync(1, Protocol::C);
    pair.fail[0] = data_writes;
    pair.write(0, 0, &[7; 4096]);
    pair.run(Duration::from_secs(5));
    let devices = connection(&pair, 1).peer_devices;
    assert_eq!(devices[0].peer_disk, DiskState::Diskless);
}

/// `on-io-error call-local-io-error`: the disk is detached, and the operators' program is told.
#[test]
fn a_failed_disk_calls_its_handler() {
    for (on_io_error, called) in [(OnIoError::Detach, 0), (OnIoError::CallLocalIoError, 1)] {
        let mut pair = Pair::in_sync(1, Protocol::C);
        let volume = pair.nodes[0].resource.config().volumes[0];
        let volume = VolumeConfig { on_io_error, ..volume };
        pair.nodes[0].resource.update_volume(volume, pair.now);
        pair.fail[0] = data_writes;
        start_write(&mut pair, 0, 0, 7);
        start_write(&mut pair, 0, 4096, 7);
        pair.run(Duration::from_secs(5));
        assert_eq!(disks(&pair)[0], DiskState::Diskless);
        let told = pair.nodes[0].called.iter().filter(|it| **it == Handler::LocalIoError);
        assert_eq!(told.count(), called, "{on_io_error:?}");
        let errors = pair.nodes[0].resource.status(pair.now).volumes[0].io_errors;
        assert_eq!((errors.writes > 0, errors.reads), (true, 0));
    }
}

/// A write waits for the verify of its range when the disk fails: it goes to the peer alone, which
/// must have heard of the disk by then, for it keeps the bit.
#[test]
fn a_write_behind_a_verify_is_missing_on_the_failed_disk() {
    let mut pair = Pair::in_sync(1, Protocol::A);
    pair.hold[0] = reads;
    let verify =
        Command::Verify { volume: VOLUME, peer: NodeId(1), start: None, stop: None, repair: false };
    pair.command(0, verify).unwrap();
    let write = start_write(&mut pair, 0, 300 << 10, 7);
    short(&mut pair);
    assert_eq!(pair.reply(0, write), None, "it waits for the second range");
    pair.fail_once(0);
    short(&mut pair);
    assert_eq!(pair.reply(0, write), Some(Ok(None)));
    pair.release(0);
    let bits = connection(&pair, 1).peer_devices[0].out_of_sync_bytes;
    assert_eq!(bits, 4096, "the peer has written it alone");
    pair.attach(0);
    pair.run(Duration::from_secs(30));
    assert_in_sync(&pair);
    assert_eq!(pair.nodes[0].devices[0][300 << 10], 7);
}

#[test]
fn a_failed_local_read_is_served_by_the_peer() {
    let mut pair = Pair::in_sync(1, Protocol::C);
    pair.write(0, 0, &[7; 4096]);
    pair.fail[0] = reads;
    let read = pair.request(0, 0, RequestOp::Read(ByteRange::new(0, 4096)));
    pair.run(Duration::from_secs(5));
    assert_eq!(pair.reply(0, read), Some(Ok(Some(Bytes::from(vec![7; 4096])))));
}

/// The link breaks, the generation cannot be recorded because the disk fails: nobody has the write.
#[test]
fn a_write_is_not_acknowledged_when_its_generation_cannot_be_recorded() {
    let mut pair = Pair::in_sync(1, Protocol::C);
    pair.paused[1] = true;
    let write = start_write(&mut pair, 0, 0, 7);
    pair.fail[0] = meta_writes;
    pair.cut();
    pair.run(Duration::from_secs(1));
    assert_ne!(disks(&pair)[0], DiskState::UpToDate, "the disk failed");
    assert_ne!(pair.reply(0, write), Some(Ok(None)), "on no usable disk, and acknowledged");
}

/// As before, but the disk fails: the write must not be waited for for ever.
#[test]
fn a_write_that_waits_for_a_failed_generation_does_not_block_the_handshake() {
    let mut pair = Pair::in_sync(1, Protocol::C);
    swap_roles_diskless(&mut pair);
    pair.fail[0] = meta_writes;
    start_write(&mut pair, 1, 8192, 5);
    pair.run(Duration::from_secs(60));
    assert_eq!(connection(&pair, 1).state, ConnectionState::Connected);
}

/// The disk forgot what it could not flush: a later flush that succeeds says nothing of it.
#[test]
fn a_flush_behind_a_failed_one_fails() {
    let mut pair = Pair::in_sync(1, Protocol::C);
    pair.command(0, Command::Disconnect { peer: NodeId(1), force: true }).unwrap();
    pair.write(0, 0, &[1; 4096]);
    pair.hold[0] = flushes;
    let first = pair.request(0, 0, RequestOp::Flush);
    let second = pair.request(0, 0, RequestOp::Flush);
    pair.fail_once(0);
    pair.release(0);
    pair.run(Duration::from_secs(1));
    assert!(matches!(pair.reply(0, first), Some(Err(_))));
    assert_ne!(pair.reply(0, second), Some(Ok(None)), "declared durable after a failed flush");
}

/// The peer is a target that lacks most of the data: its flush does not replace the local one.
#[test]
fn a_flush_on_a_target_does_not_make_up_for_a_failed_one() {
    let mut pair = Pair::in_sync(1, Protocol::C);
    pair.cut();
    pair.write(0, 0, &[1; 4096]);
    pair.linked = true;
    pair.hold[0] = reads;
    pair.run(Duration::from_secs(1));
    assert_eq!(disks(&pair)[1], DiskState::Inconsistent);
    pair.hold[0] = |kind| reads(kind) || flushes(kind);
    let flush = pair.request(0, 0, RequestOp::Flush);
    pair.fail[0] = flushes;
    pair.paused[1] = true;
    pair.release(0);
    pair.paused[1] = false;
    pair.run(Duration::from_secs(1));
    assert_eq!(pair.nodes[1].devices[0][..4096], [0; 4096]);
    assert_ne!(pair.reply(0, flush), Some(Ok(None)), "durable nowhere");
}

/// The flush of a demotion fails, and the disk loses what was in its cache. Its mark must stay:
/// what the log covers is copied when the disk is back.
#[test]
fn a_demotion_whose_flush_fails_leaves_the_mark() {
    let mut pair = Pair::in_sync(1, Protocol::C);
    pair.write(0, 8192, &[7; 4096]);
    pair.nodes[0].resource.close_client(CLIENT, pair.now);
    pair.hold[0] = flushes;
    let demotion = pair.start(0, Command::Secondary { force: false });
    pair.run(Duration::from_secs(1));
    pair.fail_once(0);
    pair.run(Duration::from_secs(1));
    assert_eq!(pair.ended(0, demotion), Some(Ok(())));
    assert_eq!(disks(&pair)[0], DiskState::Diskless);
    pair.nodes[0].devices[0][8192..12288].fill(0);
    pair.attach(0);
    pair.run(Duration::from_secs(30));
    assert_in_sync(&pair);
    assert_eq!(pair.nodes[0].devices[0][8192], 7, "an acknowledged write is lost");
}

/// A Secondary's disk fails with writes that it has acked and not flushed.
#[test]
fn what_a_failed_disk_had_not_flushed_is_copied() {
    let mut pair = Pair::in_sync(1, Protocol::C);
    pair.write(0, 8192, &[7; 4096]);
    pair.hold[1] = flushes;
    let flush = pair.request(0, 0, RequestOp::Flush);
    short(&mut pair);
    pair.fail_once(1);
    pair.run(Duration::from_secs(5));
    assert_eq!(pair.reply(0, flush), Some(Ok(None)), "this node has flushed");
    pair.nodes[1].devices[0][8192..12288].fill(0);
    pair.attach(1);
    pair.run(Duration::from_secs(30));
    assert_in_sync(&pair);
    assert_eq!(pair.nodes[1].devices[0][8192], 7);
}

/// A read under way on a disk whose flush fails meanwhile is answered by the peer.
#[test]
fn a_disk_given_up_answers_nothing() {
    let mut pair = Pair::in_sync(1, Protocol::C);
    pair.write(0, 8192, &[7; 4096]);
    pair.hold[0] = |kind| reads(kind) || flushes(kind);
    pair.request(0, 0, RequestOp::Flush);
    let read = pair.request(0, 0, RequestOp::Read(ByteRange::new(8192, 4096)));
    pair.nodes[0].devices[0][8192..12288].fill(0);
    pair.fail_once(0);
    pair.release(0);
    pair.run(Duration::from_secs(1));
    assert_eq!(pair.reply(0, read), Some(Ok(Some(Bytes::from(vec![7; 4096])))));
}

/// A Primary's disk goes and comes back with data in its cache, and is the source of a resync. A
/// handshake without the disk must not have settled that nothing is left to be flushed: when the
/// power fails only the target has those data, and no bit says so.
#[test]
fn a_disk_that_comes_back_is_flushed_before_its_data_are_reported() {
    let mut pair = Pair::in_sync(1, Protocol::C);
    pair.cut();
    pair.write(0, 8192, &[7; 4096]);
    pair.command(0, Command::Detach { volume: VolumeNumber(0), force: true }).unwrap();
    pair.linked = true;
    pair.run(Duration::from_secs(5));
    pair.connect();
    pair.attach(0);
    for node in 0..2 {
        let _ = pair.try_connect(node, false);
    }
    pair.run(Duration::from_secs(30));
    assert_in_sync(&pair);
    for node in 0..2 {
        pair.kill(node);
        pair.lose_unflushed(node);
    }
    for node in 0..2 {
        pair.revive(node);
    }
    pair.run(Duration::from_secs(60));
    assert_in_sync(&pair);
    assert_eq!(pair.nodes[0].devices[0][8192], 7);
}

/// A flush has failed, and the node starts anew before the next one: what the disk has lost it does
/// not pass for having.
#[test]
fn a_failed_flush_is_remembered_by_the_next_process() {
    let mut pair = Pair::in_sync(1, Protocol::C);
    pair.command(0, Command::Detach { volume: VOLUME, force: true }).unwrap();
    pair.write(0, 0, &[7; 4096]);
    pair.hold[1] = flushes;
    pair.request(0, 0, RequestOp::Flush);
    pair.fail_once(1);
    pair.run(Duration::from_secs(1));
    pair.kill(1);
    pair.restart(1);
    let read = pair.request(0, 0, RequestOp::Read(ByteRange::new(0, 4096)));
    pair.run(Duration::from_secs(30));
    assert!(matches!(pair.reply(0, read), Some(Err(_))), "maybe older data");
    assert_eq!(connection(&pair, 0).state, ConnectionState::StandAlone);
}
