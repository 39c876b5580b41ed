//! Frozen I/O: what waits, what is answered when, and that nothing is lost or answered twice.

use std::time::Duration;

use bytes::Bytes;
use tandem_replica::wire::{ByteRange, DiskState, NodeId, Protocol};
use tandem_replica::{
    ClientId, Command, Cookie, OnNoData, Request, RequestError, RequestOp, Suspended,
};

use crate::pair::{CLIENT, Pair, data_writes, flushes, meta_writes, reads};
use crate::stage::{VOLUME, assert_in_sync, demote, disks, promote, short, start_write, write_op};

/// Another client of the same volume.
const OTHER: ClientId = ClientId(9);

fn suspended(pair: &Pair, node: usize) -> Suspended {
    pair.nodes[node].resource.status(pair.now).suspended
}

/// In sync; node 0 is Primary and waits for data where there are none.
fn waiting_pair() -> Pair {
    let mut pair = Pair::new(1, Protocol::C);
    pair.on_no_data = OnNoData::SuspendIo;
    for node in 0..2 {
        pair.kill(node);
        pair.restart(node);
    }
    pair.command(0, Command::Primary { force: true }).unwrap();
    pair.run(Duration::from_secs(30));
    pair.nodes[0].resource.open_client(CLIENT, VOLUME, pair.now).unwrap();
    pair
}

/// The point of a snapshot: what is on the disk then is all that was answered, and no more comes.
#[test]
fn suspend_io_ends_when_nothing_is_in_flight() {
    let mut pair = Pair::in_sync(1, Protocol::C);
    pair.hold[0] = data_writes;
    let before = start_write(&mut pair, 0, 0, 1);
    let command = pair.start(0, Command::SuspendIo);
    let after = start_write(&mut pair, 0, 4096, 2);
    short(&mut pair);
    assert_eq!(pair.ended(0, command), None, "a write is in flight");
    assert!(suspended(&pair, 0).user);
    pair.release(0);
    short(&mut pair);
    assert_eq!(pair.ended(0, command), Some(Ok(())));
    assert_eq!(pair.reply(0, before), Some(Ok(None)));
    let image = pair.nodes[0].devices[0].clone();
    let read = pair.request(0, 0, RequestOp::Read(ByteRange::new(4096, 4096)));
    let flush = pair.request(0, 0, RequestOp::Flush);
    pair.run(Duration::from_secs(60));
    for cookie in [after, read, flush] {
        assert_eq!(pair.reply(0, cookie), None, "a frozen node answers nothing");
    }
    assert!(pair.nodes[0].devices[0] == image, "a frozen node writes nothing");
    pair.command(0, Command::ResumeIo).unwrap();
    short(&mut pair);
    assert_eq!(pair.reply(0, after), Some(Ok(None)));
    assert_eq!(pair.reply(0, read), Some(Ok(Some(Bytes::from(vec![2; 4096])))));
    assert_eq!(pair.reply(0, flush), Some(Ok(None)));
    assert!(!suspended(&pair, 0).any());
    assert_in_sync(&pair);
}

/// It is said of the resource on one node, and outlasts its role.
#[test]
fn suspend_io_on_a_secondary_freezes_it_once_it_is_primary() {
    let mut pair = Pair::in_sync(1, Protocol::C);
    pair.command(1, Command::SuspendIo).unwrap();
    pair.write(0, 0, &[1; 4096]);
    demote(&mut pair, 0);
    promote(&mut pair, 1);
    let write = start_write(&mut pair, 1, 0, 2);
    short(&mut pair);
    assert_eq!(pair.reply(1, write), None);
    pair.command(1, Command::ResumeIo).unwrap();
    short(&mut pair);
    assert_eq!(pair.reply(1, write), Some(Ok(None)));
}

/// The peer is lost while I/O is frozen, and another generation begins only with the next write:
/// the peer may be promoted and come back without a split brain.
#[test]
fn a_frozen_primary_makes_no_generation() {
    let mut pair = Pair::in_sync(1, Protocol::C);
    pair.command(0, Command::SuspendIo).unwrap();
    let frozen = start_write(&mut pair, 0, 0, 1);
    pair.cut();
    pair.run(Duration::from_secs(1));
    promote(&mut pair, 1);
    pair.write(1, 8192, &[2; 4096]);
    // Its clients are sent away unanswered: what was frozen never was.
    let command = pair.start(0, Command::Secondary { force: true });
    pair.settle();
    pair.nodes[0].resource.close_client(CLIENT, pair.now);
    short(&mut pair);
    assert_eq!(pair.ended(0, command), Some(Ok(())));
    assert_eq!(pair.reply(0, frozen), None);
    pair.heal();
    assert_in_sync(&pair);
}

/// Both copies go at once, with requests in flight: these wait, and are carried out when one is
/// back.
#[test]
fn requests_without_data_wait_until_there_are_some() {
    let mut pair = waiting_pair();
    pair.write(0, 0, &[1; 8192]);
    pair.hold = [data_writes, data_writes];
    let first = start_write(&mut pair, 0, 0, 2);
    let second = start_write(&mut pair, 0, 0, 3);
    pair.fail[0] = data_writes;
    pair.cut();
    pair.release(0);
    short(&mut pair);
    assert_eq!(disks(&pair)[0], DiskState::Diskless);
    assert!(suspended(&pair, 0).no_data);
    let read = pair.request(0, 0, RequestOp::Read(ByteRange::new(0, 4096)));
    let flush = pair.request(0, 0, RequestOp::Flush);
    pair.run(Duration::from_secs(20));
    for cookie in [first, second, read, flush] {
        assert_eq!(pair.reply(0, cookie), None);
    }
    pair.fail[0] = crate::pair::none;
    pair.release(1);
    pair.heal();
    assert!(!suspended(&pair, 0).any());
    assert_eq!(pair.reply(0, first), Some(Ok(None)));
    assert_eq!(pair.reply(0, second), Some(Ok(None)));
    // It was asked while the second write was not answered: either is right.
    assert!(matches!(pair.reply(0, read), Some(Ok(Some(data))) if data[0] >= 2));
    assert_eq!(pair.read(0, 0, 4096), vec![3; 4096]);
    assert_eq!(pair.reply(0, flush), Some(Ok(None)));
    assert_eq!(pair.reply(0, first), None, "answered once");
    pair.attach(0);
    pair.run(Duration::from_secs(30));
    assert_in_sync(&pair);
}

/// A read whose disk fails under it, and a flush, with the peer gone already.
#[test]
fn a_read_and_a_flush_that_fail_are_tried_again() {
    for hold in [reads as crate::pair::Choice, flushes] {
        let mut pair = waiting_pair();
        pair.write(0, 0, &[1; 4096]);
        pair.run(Duration::from_secs(2));
        pair.hold[0] = hold;
        let range = ByteRange::new(0, 4096);
        let read = pair.request(0, 0, RequestOp::Read(range));
        let flush = pair.request(0, 0, RequestOp::Flush);
        pair.cut();
        pair.fail[0] = hold;
        pair.release(0);
        short(&mut pair);
        pair.fail[0] = crate::pair::none;
        assert!(suspended(&pair, 0).no_data, "{:?}", disks(&pair));
        pair.heal();
        for cookie in [read, flush] {
            // What ended before the disk failed was answered then.
            assert!(matches!(pair.reply(0, cookie), Some(Ok(_))));
        }
    }
}

/// The disk has lost what it could not flush; the peer has it, and has flushed it before it was
/// lost. The answer comes when the copies can be told apart: a power loss of both takes nothing.
#[test]
fn what_a_failed_flush_has_lost_the_peer_keeps() {
    let mut pair = waiting_pair();
    pair.write(0, 0, &[1; 4096]);
    pair.run(Duration::from_secs(2));
    pair.hold[0] = flushes;
    let flush = pair.request(0, 0, RequestOp::Flush);
    short(&mut pair);
    pair.cut();
    pair.fail_once(0);
    short(&mut pair);
    assert_eq!(pair.reply(0, flush), None, "nothing tells the copies apart");
    pair.heal();
    assert_eq!(pair.reply(0, flush), Some(Ok(None)));
    for node in 0..2 {
        pair.kill(node);
        pair.lose_unflushed(node);
    }
    pair.nodes[0].devices[0][..4096].fill(0);
    for node in 0..2 {
        pair.revive(node);
    }
    pair.run(Duration::from_secs(60));
    assert_in_sync(&pair);
    assert!(pair.nodes[0].devices[0][..4096].iter().all(|byte| *byte == 1));
}

/// The operator gives up waiting.
#[test]
fn resume_io_without_data_answers_errors() {
    let mut pair = waiting_pair();
    pair.hold[0] = data_writes;
    let write = start_write(&mut pair, 0, 0, 2);
    pair.fail[0] = data_writes;
    pair.cut();
    pair.release(0);
    pair.run(Duration::from_secs(10));
    assert_eq!(pair.reply(0, write), None);
    pair.command(0, Command::ResumeIo).unwrap();
    short(&mut pair);
    assert_eq!(pair.reply(0, write), Some(Err(RequestError::Io)));
    let write = start_write(&mut pair, 0, 0, 2);
    assert_eq!(pair.reply(0, write), Some(Err(RequestError::Io)));
    // Data are back: the next time they are gone, requests wait again.
    pair.fail[0] = crate::pair::none;
    pair.heal();
    pair.cut();
    let write = pair.request(0, 0, write_op(0, 3));
    pair.run(Duration::from_secs(10));
    assert_eq!(pair.reply(0, write), None);
}

/// The only copy has lost power, and with it perhaps what this Primary's clients were promised.
#[test]
fn a_primary_without_data_does_not_go_on_with_a_copy_that_lost_power() {
    let mut pair = waiting_pair();
    pair.command(0, Command::Detach { volume: VOLUME, force: false }).unwrap();
    pair.write(0, 0, &[7; 4096]);
    pair.kill(1);
    pair.nodes[1].boot_id = [99; 16];
    let read = pair.request(0, 0, RequestOp::Read(ByteRange::new(0, 4096)));
    pair.restart(1);
    assert_eq!(pair.reply(0, read), None, "served from a copy that may be older");
    assert!(suspended(&pair, 0).no_data);
    // Without a Primary nobody remembers more than the copy has.
    demote(&mut pair, 0);
    for node in 0..2 {
        pair.try_connect(node, false).unwrap();
    }
    pair.attach(0);
    pair.run(Duration::from_secs(30));
    assert_in_sync(&pair);
}

/// A verify has found a difference; the Secondary's I/O, of which it has none, is frozen and thawed
/// while it is alone.
#[test]
fn a_secondary_that_is_thawed_makes_no_generation() {
    let mut pair = Pair::in_sync(1, Protocol::C);
    pair.nodes[1].devices[0][8192] ^= 1;
    let verify =
        Command::Verify { volume: VOLUME, peer: NodeId(1), start: None, stop: None, repair: false };
    pair.command(0, verify).unwrap();
    short(&mut pair);
    pair.cut();
    pair.write(0, 0, &[5; 4096]);
    pair.command(1, Command::SuspendIo).unwrap();
    pair.command(1, Command::ResumeIo).unwrap();
    pair.heal();
    assert_in_sync(&pair);
}

/// What waits for data would go on in the middle of a suspension: it is not called complete.
#[test]
fn suspend_io_is_refused_without_data() {
    let mut pair = waiting_pair();
    pair.cut();
    pair.command(0, Command::Detach { volume: VOLUME, force: true }).unwrap();
    start_write(&mut pair, 0, 0, 1);
    assert!(suspended(&pair, 0).no_data);
    let refused = pair.command(0, Command::SuspendIo).unwrap_err();
    assert!(refused.to_string().contains("no UpToDate data"), "{refused}");
    assert!(!suspended(&pair, 0).user);
}

/// `suspend-io` is said again when the data are gone meanwhile: that must not end what was said
/// before.
#[test]
fn saying_suspend_io_twice_does_not_end_it() {
    let mut pair = waiting_pair();
    pair.command(0, Command::SuspendIo).unwrap();
    pair.command(0, Command::Detach { volume: VOLUME, force: true }).unwrap();
    pair.cut();
    assert!(suspended(&pair, 0).no_data);
    pair.command(0, Command::SuspendIo).unwrap();
    let write = start_write(&mut pair, 0, 0, 1);
    pair.heal();
    assert!(suspended(&pair, 0).user, "nobody has said resume-io");
    assert_eq!(pair.reply(0, write), None);
    pair.command(0, Command::ResumeIo).unwrap();
    pair.run(Duration::from_secs(5));
    assert_eq!(pair.reply(0, write), Some(Ok(None)));
}

/// A client dies while I/O is frozen, and lets a write on that waited behind its own one: that
/// finds no data to complete its blocks from, and is answered only once I/O goes on.
#[test]
fn a_write_that_gets_its_turn_in_a_suspension_is_not_answered() {
    let mut pair = Pair::in_sync(1, Protocol::C);
    pair.nodes[0].resource.open_client(OTHER, VOLUME, pair.now).unwrap();
    pair.hold[0] = meta_writes;
    pair.cut();
    let [cookie, later] = [Cookie(1001), Cookie(1002)];
    let write = Request { client: OTHER, cookie, volume: VOLUME, op: write_op(0, 1) };
    pair.nodes[0].resource.handle_request(write, pair.now);
    let data = Bytes::from(vec![2; 512]);
    let op = RequestOp::Write { offset: 0, data, fua: false };
    let behind = Request { client: CLIENT, cookie: later, volume: VOLUME, op };
    pair.nodes[0].resource.handle_request(behind, pair.now);
    let command = pair.start(0, Command::SuspendIo);
    pair.start(0, Command::Detach { volume: VOLUME, force: true });
    pair.run(Duration::from_secs(2));
    assert_eq!(pair.ended(0, command), Some(Ok(())));
    pair.nodes[0].resource.close_client(OTHER, pair.now);
    pair.run(Duration::from_secs(1));
    assert_eq!(pair.reply(0, later), None, "a frozen node answers nothing");
    assert!(suspended(&pair, 0).user);
    pair.command(0, Command::ResumeIo).unwrap();
    short(&mut pair);
    assert!(matches!(pair.reply(0, later), Some(Err(RequestError::Io))));
}

/// The disk fails under two writes with an answered one behind them: they go back to wait, and what
/// was answered is over. A demotion by force, which closes the client, has nothing to wait for.
#[test]
fn a_demotion_does_not_wait_for_what_was_answered() {
    let mut pair = waiting_pair();
    pair.cut();
    pair.hold[0] = data_writes;
    let waiting = [0, 4096].map(|offset| start_write(&mut pair, 0, offset, 1));
    pair.hold[0] = crate::pair::none;
    pair.write(0, 8192, &[2; 4096]);
    pair.fail_once(0);
    pair.release(0);
    short(&mut pair);
    assert_eq!((suspended(&pair, 0).no_data, disks(&pair)[0]), (true, DiskState::Diskless));
    assert_eq!(waiting.map(|cookie| pair.reply(0, cookie)), [None, None]);
    let demotion = pair.start(0, Command::Secondary { force: true });
    pair.nodes[0].resource.close_client(CLIENT, pair.now);
    pair.settle();
    assert_eq!(pair.ended(0, demotion), Some(Ok(())));
}
