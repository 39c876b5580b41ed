//! `on-io-error pass_on`: the disk stays. What it cannot read the peer is asked for, and it is
//! written again; what nobody can read or write is an error.

use std::time::Duration;

use tandem_replica::wire::{ByteRange, DiskState, NodeId, Packet, Protocol, ReplicationState};
use tandem_replica::{
    Command, ConnectionState, Cookie, Fencing, OnIoError, RequestError, RequestOp, VolumeConfig,
};

use crate::pair::{Pair, Reply, data_writes, flushes, meta_writes, none, reads};
use crate::stage::{
    VOLUME, assert_in_sync, connection, disks, promote, short, start_write, swap_roles,
    swap_roles_diskless,
};

const AT: usize = 8192;
const BLOCK: std::ops::Range<usize> = AT..AT + 4096;
const ELSEWHERE: usize = 65536;
const UNREADABLE: u8 = 0xee;

fn pass_on(pair: &mut Pair, node: usize) {
    let volume = pair.nodes[node].resource.config().volumes[0];
    let volume = VolumeConfig { on_io_error: OnIoError::PassOn, ..volume };
    pair.nodes[node].resource.update_volume(volume, pair.now);
}

/// Node 0 is Primary, a block has been written, and its own disk cannot read it.
fn with_bad_block(protocol: Protocol) -> Pair {
    let mut pair = Pair::in_sync(1, protocol);
    pass_on(&mut pair, 0);
    pass_on(&mut pair, 1);
    pair.write(0, AT as u64, &[7; 4096]);
    short(&mut pair);
    pair.nodes[0].devices[0][BLOCK].fill(UNREADABLE);
    pair.fail[0] = reads;
    pair
}

fn start_read(pair: &mut Pair, node: usize) -> Cookie {
    pair.request(node, 0, RequestOp::Read(ByteRange::new(AT as u64 + 512, 1024)))
}

fn bytes(reply: Option<Reply>) -> Vec<u8> {
    reply.expect("it is answered").expect("it succeeds").expect("it is a read").to_vec()
}

fn reread(pair: &mut Pair) -> Vec<u8> {
    let read = start_read(pair, 0);
    short(pair);
    bytes(pair.reply(0, read))
}

#[test]
fn what_could_not_be_read_is_written_again() {
    for protocol in [Protocol::A, Protocol::B, Protocol::C] {
        let mut pair = with_bad_block(protocol);
        assert_eq!(reread(&mut pair), [7; 1024]);
        pair.fail[0] = none;
        assert_eq!(pair.nodes[0].devices[0][BLOCK], [7; 4096], "whole blocks");
        let before = pair.data_bytes;
        assert_eq!(reread(&mut pair), [7; 1024]);
        assert_eq!(pair.data_bytes, before, "served by the local disk");
        let errors = pair.nodes[0].resource.status(pair.now).volumes[0].io_errors;
        assert_eq!((errors.reads, errors.writes), (1, 0));
        assert_in_sync(&pair);
    }
}

/// A write comes while the peer reads what is to be written again: it must be the later one.
#[test]
fn a_write_between_is_not_overwritten() {
    for protocol in [Protocol::A, Protocol::B, Protocol::C] {
        let mut pair = with_bad_block(protocol);
        pair.hold[1] = reads;
        let read = start_read(&mut pair, 0);
        pair.fail[0] = none;
        let write = start_write(&mut pair, 0, AT as u64, 9);
        short(&mut pair);
        pair.release(1);
        pair.run(Duration::from_secs(5));
        assert_eq!(bytes(pair.reply(0, read)), [7; 1024]);
        assert_eq!(pair.reply(0, write), Some(Ok(None)));
        assert_eq!(pair.nodes[0].devices[0][BLOCK], [9; 4096], "protocol {protocol:?}");
        assert_in_sync(&pair);
    }
}

/// The base of a write of part of a block cannot be read.
#[test]
fn the_base_of_an_unaligned_write_comes_from_the_peer() {
    let mut pair = with_bad_block(Protocol::C);
    pair.write(0, AT as u64 + 512, &[9; 512]);
    pair.run(Duration::from_secs(1));
    let block = &pair.nodes[0].devices[0][BLOCK];
    assert_eq!((block[0], block[512], block[1024]), (7, 9, 7));
    assert_in_sync(&pair);
}

#[test]
fn two_reads_of_bad_blocks_at_once() {
    let mut pair = with_bad_block(Protocol::C);
    pair.hold[1] = reads;
    let both = [start_read(&mut pair, 0), start_read(&mut pair, 0)];
    short(&mut pair);
    pair.release(1);
    short(&mut pair);
    for read in both {
        assert_eq!(bytes(pair.reply(0, read)), [7; 1024]);
    }
    let again = pair.nodes[0].events.iter().filter(|it| it.contains("written again"));
    assert_eq!(again.count(), 1);
    assert_in_sync(&pair);
}

/// Neither disk can read it: an error, and both stay.
#[test]
fn what_nobody_can_read_is_an_error() {
    let mut pair = with_bad_block(Protocol::C);
    pair.fail[1] = reads;
    let read = start_read(&mut pair, 0);
    short(&mut pair);
    assert_eq!(pair.reply(0, read), Some(Err(RequestError::Io)));
    assert_eq!(disks(&pair), [DiskState::UpToDate; 2]);
    assert_eq!(connection(&pair, 0).state, ConnectionState::Connected);
    pair.fail[1] = none;
    assert_eq!(reread(&mut pair), [7; 1024]);
    assert_in_sync(&pair);
}

#[test]
fn without_a_peer_the_client_gets_the_error_and_the_disk_stays() {
    let mut pair = with_bad_block(Protocol::C);
    pair.cut();
    short(&mut pair);
    let read = start_read(&mut pair, 0);
    short(&mut pair);
    assert_eq!(pair.reply(0, read), Some(Err(RequestError::Io)));
    pair.fail[0] = data_writes;
    let write = start_write(&mut pair, 0, 0, 5);
    pair.run(Duration::from_secs(1));
    assert_eq!(pair.reply(0, write), Some(Err(RequestError::Io)));
    assert_eq!(disks(&pair)[0], DiskState::UpToDate);
    pair.fail[0] = none;
    pair.write(0, 0, &[6; 4096]);
    pair.write(0, AT as u64, &[8; 4096]);
    pair.linked = true;
    pair.run(Duration::from_secs(60));
    assert_in_sync(&pair);
    assert_eq!(pair.nodes[1].devices[0][0], 6);
}

/// The peer has a write durably and said so, then the link is lost, and this disk fails to write
/// it: what is answered with an error may be on one node only.
#[test]
fn a_write_refused_after_the_link_was_lost_is_copied_over() {
    let mut pair = with_bad_block(Protocol::C);
    pair.hold[0] = data_writes;
    pair.fail[0] = none;
    pair.nodes[0].devices[0][BLOCK].fill(7);
    let write = start_write(&mut pair, 0, AT as u64, 9);
    pair.run(Duration::from_secs(1));
    pair.cut();
    short(&mut pair);
    pair.fail_once(0);
    pair.run(Duration::from_secs(1));
    assert_eq!(pair.reply(0, write), Some(Err(RequestError::Io)), "only the lost peer has it");
    assert_eq!(disks(&pair)[0], DiskState::UpToDate);
    pair.linked = true;
    pair.run(Duration::from_secs(60));
    assert_in_sync(&pair);
    assert_eq!(pair.nodes[1].devices[0][AT], 7, "this node is the source");
}

/// The peer is the target of a resync and has got a write that fails here.
#[test]
fn a_write_refused_beside_a_target_is_copied_over() {
    let mut pair = with_bad_block(Protocol::C);
    pair.fail[0] = none;
    pair.cut();
    pair.write(0, 0, &[1; 4096]);
    pair.linked = true;
    pair.hold[0] = reads;
    pair.run(Duration::from_secs(1));
    assert_eq!(disks(&pair), [DiskState::UpToDate, DiskState::Inconsistent]);
    pair.hold[0] = |kind| reads(kind) || data_writes(kind);
    let write = start_write(&mut pair, 0, ELSEWHERE as u64, 9);
    short(&mut pair);
    assert_eq!(pair.nodes[1].devices[0][ELSEWHERE], 9, "the target has it");
    pair.hold[0] = none;
    let held = std::mem::take(&mut pair.held[0]);
    pair.held[0] = held.into_iter().rev().collect();
    pair.fail_once(0);
    pair.release(0);
    pair.run(Duration::from_secs(60));
    assert_eq!(pair.reply(0, write), Some(Err(RequestError::Io)));
    assert_eq!(pair.nodes[1].devices[0][ELSEWHERE], 0);
    assert_in_sync(&pair);
}

/// Where a peer has everything a disk that cannot write is given up.
#[test]
fn a_disk_that_cannot_write_is_given_up_beside_a_good_one() {
    let mut pair = with_bad_block(Protocol::C);
    pair.fail[0] = data_writes;
    let write = start_write(&mut pair, 0, 0, 5);
    pair.run(Duration::from_secs(5));
    eprintln!(
        "DBG3 {:?} {:?} {:?}",
        connection(&pair, 0).state,
        pair.nodes[0].events,
        pair.nodes[0].replies
    );
    assert_eq!(pair.reply(0, write), Some(Ok(None)));
    assert_eq!(disks(&pair)[0], DiskState::Diskless);
}

#[test]
fn a_disk_that_can_neither_read_nor_write_is_given_up() {
    let mut pair = with_bad_block(Protocol::C);
    pair.fail[0] = |kind| reads(kind) || data_writes(kind);
    assert_eq!(reread(&mut pair), [7; 1024]);
    assert_eq!(disks(&pair)[0], DiskState::Diskless);
    assert_eq!(reread(&mut pair), [7; 1024]);
}

/// A failed flush is final, with a peer or without (INV-14).
#[test]
fn a_disk_that_cannot_flush_is_given_up() {
    let mut pair = with_bad_block(Protocol::C);
    pair.cut();
    pair.fail[0] = flushes;
    let flush = pair.request(0, 0, RequestOp::Flush);
    pair.run(Duration::from_secs(1));
    assert_eq!(pair.reply(0, flush), Some(Err(RequestError::Io)));
    assert_eq!(disks(&pair)[0], DiskState::Diskless);
}

/// The process ends before the blocks are written: they still cannot be read, and nothing is lost.
#[test]
fn a_crash_before_the_blocks_are_written() {
    let mut pair = with_bad_block(Protocol::C);
    pair.request(0, 0, RequestOp::Flush);
    pair.hold[0] = data_writes;
    assert_eq!(reread(&mut pair), [7; 1024]);
    assert_eq!(pair.held[0].len(), 1, "the blocks are being written");
    pair.kill(0);
    pair.fail[0] = none;
    pair.restart(0);
    pass_on(&mut pair, 0);
    promote(&mut pair, 0);
    pair.fail[0] = reads;
    assert_eq!(reread(&mut pair), [7; 1024]);
    assert_in_sync(&pair);
}

/// The link is lost while the peer reads: the write that waits for the blocks goes on.
#[test]
fn a_lost_link_ends_the_wait_for_the_blocks() {
    let mut pair = with_bad_block(Protocol::C);
    pair.hold[1] = reads;
    let read = start_read(&mut pair, 0);
    let write = start_write(&mut pair, 0, AT as u64, 9);
    short(&mut pair);
    pair.cut();
    pair.run(Duration::from_secs(1));
    assert_eq!(pair.reply(0, read), Some(Err(RequestError::Io)));
    eprintln!(
        "DBG3 {:?} {:?} {:?}",
        connection(&pair, 0).state,
        pair.nodes[0].events,
        pair.nodes[0].replies
    );
    assert_eq!(pair.reply(0, write), Some(Ok(None)));
    pair.fail[0] = none;
    pair.release(1);
    pair.linked = true;
    pair.run(Duration::from_secs(60));
    assert_in_sync(&pair);
}

/// The disk is detached while the peer reads: what comes is for nobody.
#[test]
fn a_detached_disk_is_not_written_to() {
    let mut pair = with_bad_block(Protocol::C);
    pair.hold[1] = reads;
    let read = start_read(&mut pair, 0);
    pair.command(0, Command::Detach { volume: VOLUME, force: false }).unwrap();
    pair.release(1);
    short(&mut pair);
    assert_eq!(bytes(pair.reply(0, read)), [7; 1024]);
    assert_eq!(pair.nodes[0].devices[0][BLOCK], [UNREADABLE; 4096]);
}

/// A Primary without a disk asks a peer whose disk cannot read.
#[test]
fn a_secondary_that_cannot_read_keeps_its_disk() {
    let mut pair = Pair::in_sync(1, Protocol::C);
    swap_roles_diskless(&mut pair);
    pass_on(&mut pair, 0);
    pair.fail[0] = reads;
    let read = start_read(&mut pair, 1);
    short(&mut pair);
    assert_eq!(pair.reply(1, read), Some(Err(RequestError::Io)));
    assert_eq!(disks(&pair), [DiskState::UpToDate, DiskState::Diskless]);
    assert_eq!(connection(&pair, 1).state, ConnectionState::Connected);
}

/// A resync that cannot be served from a disk is not done by it.
#[test]
fn a_source_that_cannot_read_is_given_up() {
    let mut pair = with_bad_block(Protocol::C);
    swap_roles(&mut pair);
    pair.cut();
    pair.write(1, AT as u64, &[9; 4096]);
    pass_on(&mut pair, 1);
    pair.fail[1] = reads;
    pair.linked = true;
    pair.run(Duration::from_secs(5));
    assert_eq!(disks(&pair), [DiskState::Inconsistent, DiskState::Diskless]);
}

/// A verify stops where this node cannot read, and goes on once that is written again.
#[test]
fn a_verify_stops_at_what_cannot_be_read() {
    let mut pair = with_bad_block(Protocol::C);
    let verify =
        Command::Verify { volume: VOLUME, peer: NodeId(1), start: None, stop: None, repair: false };
    pair.command(0, verify).unwrap();
    pair.run(Duration::from_secs(1));
    assert!(pair.nodes[0].events.iter().any(|it| it.contains("cannot read its disk")));
    assert_eq!(disks(&pair), [DiskState::UpToDate; 2]);
    pair.fail[0] = none;
    pair.command(0, verify).unwrap();
    pair.run(Duration::from_secs(5));
    assert!(pair.nodes[0].events.iter().any(|it| it.contains("no difference found")));
    assert_in_sync(&pair);
}

/// Blocks that a verify has found are not taken from the peer: nobody knows whose are right.
#[test]
fn blocks_that_differ_are_not_taken_from_the_peer() {
    let mut pair = with_bad_block(Protocol::C);
    pair.fail[0] = none;
    pair.nodes[0].devices[0][BLOCK].fill(7);
    pair.nodes[1].devices[0][BLOCK].fill(3);
    let verify =
        Command::Verify { volume: VOLUME, peer: NodeId(1), start: None, stop: None, repair: false };
    pair.command(0, verify).unwrap();
    pair.run(Duration::from_secs(5));
    let device = &connection(&pair, 0).peer_devices[0];
    assert_eq!(
        (device.replication, device.out_of_sync_bytes),
        (ReplicationState::Established, 4096)
    );
    pair.fail[0] = reads;
    let read = start_read(&mut pair, 0);
    short(&mut pair);
    assert_eq!(pair.reply(0, read), Some(Err(RequestError::Io)));
    assert_eq!(pair.nodes[0].devices[0][BLOCK], [7; 4096]);
}

/// The peer may still lack a write in protocol A when it is asked; its answer has it.
#[test]
fn the_peer_answers_behind_the_writes_that_were_sent() {
    let mut pair = with_bad_block(Protocol::A);
    pair.fail[0] = none;
    pair.pause_at = Some((0, |packet| matches!(packet, Packet::Write(_))));
    pair.write(0, AT as u64, &[8; 4096]);
    pair.nodes[0].devices[0][BLOCK].fill(UNREADABLE);
    pair.fail[0] = reads;
    let read = start_read(&mut pair, 0);
    short(&mut pair);
    pair.pause_at = None;
    pair.paused = [false; 2];
    short(&mut pair);
    assert_eq!(bytes(pair.reply(0, read)), [8; 1024]);
    assert_in_sync(&pair);
}

/// A write has come to the peer and not to the disk here, which cannot read: the peer shows it. A
/// read that the disk can carry out again must not go back behind that.
#[test]
fn a_read_does_not_go_back_behind_what_the_peer_has_shown() {
    let mut pair = with_bad_block(Protocol::C);
    pair.nodes[0].devices[0][BLOCK].fill(7);
    pair.hold[0] = data_writes;
    start_write(&mut pair, 0, AT as u64, 8);
    short(&mut pair);
    assert_eq!(reread(&mut pair), [8; 1024]);
    pair.fail[0] = none;
    let read = start_read(&mut pair, 0);
    short(&mut pair);
    assert_ne!(pair.reply(0, read).map(|_| ()), Some(()), "only the old data are there");
    pair.release(0);
    short(&mut pair);
    assert_eq!(bytes(pair.reply(0, read)), [8; 1024]);
}

/// The peer leaves in good order, and is Outdated before it has left: until then it has every
/// write.
#[test]
fn a_peer_that_is_leaving_is_still_asked() {
    let mut pair = with_bad_block(Protocol::C);
    pair.hold[1] = meta_writes;
    pair.start(1, Command::Disconnect { peer: NodeId(0), force: false });
    pair.settle();
    assert_eq!(disks(&pair)[1], DiskState::Outdated);
    let read = start_read(&mut pair, 0);
    pair.settle();
    assert_eq!(bytes(pair.reply(0, read)), [7; 1024]);
}

/// The end of a resync is on its way when this disk fails to write. The client is not answered
/// before the peer is fenced, and until then the disk is taken away: the peer gets the write.
#[test]
fn a_write_refused_by_a_disk_that_is_gone_is_tried_again() {
    let mut pair = with_bad_block(Protocol::C);
    pair.fail[0] = none;
    pair.cut();
    pair.write(0, AT as u64, &[1; 4096]);
    let mut peer = pair.nodes[0].resource.config().peers[0].clone();
    peer.net.fencing = Fencing::ResourceAndStonith;
    pair.nodes[0].resource.update_peer(peer, pair.now);
    pair.linked = true;
    pair.pause_at = Some((1, |packet| {
        matches!(packet, Packet::State(_, state) if state.disk == DiskState::UpToDate
            && state.replication == ReplicationState::Established)
    }));
    pair.run(Duration::from_secs(1));
    assert_eq!(disks(&pair), [DiskState::UpToDate; 2]);
    pair.hold[0] = data_writes;
    pair.hold_dials = true;
    let write = start_write(&mut pair, 0, AT as u64, 9);
    pair.fail_once(0);
    assert_eq!(pair.reply(0, write), None, "frozen");
    pair.command(0, Command::Detach { volume: VOLUME, force: true }).unwrap();
    pair.paused[0] = false;
    pair.dial(0);
    pair.run(Duration::from_secs(30));
    assert_eq!(disks(&pair), [DiskState::Diskless, DiskState::UpToDate]);
    assert_eq!(pair.reply(0, write), Some(Ok(None)));
    assert_eq!(pair.read(0, AT as u64, 1)[..], [9]);
}
