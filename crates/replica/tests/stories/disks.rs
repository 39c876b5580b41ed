//! Disks are detached and attached under load: requests go on by the peer's disk, commands end, and
//! what the disk missed is copied to it.

use std::time::Duration;

use bytes::Bytes;
use tandem_replica::wire::{ByteRange, NodeId, Packet, Protocol, ReplicationState};
use tandem_replica::{Command, DiskOpKind, RequestOp};

use crate::pair::{CLIENT, Pair, data_writes, edit_superblock, meta_writes, reads};
use crate::stage::{
    VOLUME, assert_in_sync, demote, short, start_write, swap_roles, swap_roles_diskless,
};

/// A write is on the local disk and not at the peer when the local disk is given up.
#[test]
fn a_write_that_only_the_detached_disk_has_is_not_acknowledged() {
    let mut pair = Pair::in_sync(1, Protocol::C);
    pair.paused[1] = true;
    let write = start_write(&mut pair, 0, 0, 7);
    let detach = pair.start(0, Command::Detach { volume: VOLUME, force: false });
    pair.settle();
    pair.paused[1] = false;
    pair.run(Duration::from_secs(5));
    assert_eq!(pair.ended(0, detach), Some(Ok(())));
    let reply = pair.reply(0, write);
    if reply == Some(Ok(None)) {
        assert_eq!(pair.read(0, 0, 4096)[..], [7; 4096], "acknowledged, and gone");
    }
    assert_eq!(reply, Some(Ok(None)), "a detach is no error to the application");
}

/// Requests that come while the session is begun anew after a detach.
#[test]
fn requests_wait_while_a_detach_negotiates_anew() {
    let mut pair = Pair::in_sync(1, Protocol::C);
    pair.write(0, 0, &[7; 4096]);
    pair.hold_dials = true;
    pair.command(0, Command::Detach { volume: VOLUME, force: false }).unwrap();
    let read = pair.request(0, 0, RequestOp::Read(ByteRange::new(0, 4096)));
    let write = start_write(&mut pair, 0, 4096, 8);
    pair.dial(0);
    pair.run(Duration::from_secs(5));
    assert_eq!(pair.reply(0, write), Some(Ok(None)));
    assert_eq!(pair.reply(0, read), Some(Ok(Some(Bytes::from(vec![7; 4096])))));
}

#[test]
fn a_primary_gets_its_disk_back() {
    let mut pair = Pair::in_sync(1, Protocol::C);
    pair.command(0, Command::Detach { volume: VOLUME, force: false }).unwrap();
    pair.run(Duration::from_secs(5));
    pair.write(0, 0, &[1; 4096]);
    pair.attach(0);
    pair.run(Duration::from_secs(30));
    assert_in_sync(&pair);
}

/// The size of an export does not go away while a fresh disk is attached below it.
#[test]
fn requests_are_served_while_a_fresh_disk_is_attached() {
    let mut pair = Pair::in_sync(1, Protocol::C);
    pair.command(0, Command::Detach { volume: VOLUME, force: false }).unwrap();
    pair.run(Duration::from_secs(5));
    pair.format(0);
    pair.hold_dials = true;
    pair.attach(0);
    let read = pair.request(0, 0, RequestOp::Read(ByteRange::new(0, 4096)));
    pair.dial(0);
    pair.run(Duration::from_secs(30));
    assert!(matches!(pair.reply(0, read), Some(Ok(Some(_)))));
    assert_in_sync(&pair);
}

/// A write of a diskless Primary waits for the new generation here when the link breaks.
#[test]
fn a_write_issued_after_the_link_is_lost_is_out_of_sync() {
    let mut pair = Pair::in_sync(1, Protocol::C);
    swap_roles_diskless(&mut pair);
    pair.hold[0] = meta_writes;
    start_write(&mut pair, 1, 8192, 5);
    pair.cut();
    pair.release(0);
    pair.run(Duration::from_secs(1));
    assert_eq!(pair.nodes[0].devices[0][8192..12288], [5; 4096]);
    demote(&mut pair, 1);
    pair.attach(1);
    pair.heal();
    assert_in_sync(&pair);
}

#[test]
fn a_detach_ends_with_the_last_operation_of_the_disk() {
    let mut pair = Pair::in_sync(1, Protocol::C);
    pair.command(0, Command::Disconnect { peer: NodeId(1), force: true }).unwrap();
    pair.kill(1);
    pair.hold[0] = reads;
    pair.request(0, 0, RequestOp::Read(ByteRange::new(0, 4096)));
    let detach = pair.start(0, Command::Detach { volume: VOLUME, force: true });
    pair.run(Duration::from_secs(1));
    pair.release(0);
    pair.run(Duration::from_secs(60));
    assert_eq!(pair.ended(0, detach), Some(Ok(())));
}

#[test]
fn two_detaches_end_both() {
    let mut pair = Pair::in_sync(1, Protocol::C);
    swap_roles(&mut pair);
    let commands =
        [0; 2].map(|node| pair.start(node, Command::Detach { volume: VOLUME, force: true }));
    pair.run(Duration::from_secs(30));
    for command in commands {
        assert_eq!(pair.ended(0, command), Some(Ok(())));
    }
}

/// The power fails while the second copy of the superblock is written, and once more while the
/// first update after that is: each time what is being written is torn. The copy that the first
/// loss has left good must not be the one that the second one tears.
#[test]
fn a_superblock_survives_two_torn_updates() {
    let mut pair = Pair::in_sync(1, Protocol::C);
    pair.hold[1] = meta_writes;
    pair.start(1, Command::Detach { volume: VOLUME, force: false });
    pair.settle();
    pair.release_first(1);
    for _ in 0..2 {
        let Some(DiskOpKind::MetaWrite { offset, data }) =
            pair.held[1].front().map(|op| op.kind.clone())
        else {
            panic!("no update is under way: {:?}", pair.held[1]);
        };
        let at = usize::try_from(offset).unwrap();
        assert_eq!(data.len(), 4096);
        pair.kill(1);
        pair.nodes[1].devices[0][at + 512..at + 4096].fill(0x5a);
        pair.new_process(1);
        pair.hold[1] = meta_writes;
        pair.start(1, Command::Attach { volume: VOLUME });
        pair.settle();
    }
    pair.release(1);
    pair.try_connect(1, false).unwrap();
    pair.run(Duration::from_secs(30));
    assert_in_sync(&pair);
}

/// What a node sends last before a session runs.
fn is_ready(packet: &Packet) -> bool {
    matches!(packet, Packet::State(_, it) if it.replication == ReplicationState::Established)
}

/// A session that was negotiated without the Primary's disk begins while that is being attached,
/// and the attach fails: the peer must not have taken it for there, for it would set no bits for
/// what it is sent meanwhile.
#[test]
fn a_disk_that_is_not_attached_yet_is_not_told_as_if_it_were() {
    let mut pair = Pair::in_sync(1, Protocol::C);
    pair.command(0, Command::Detach { volume: VOLUME, force: false }).unwrap();
    pair.run(Duration::from_secs(5));
    pair.cut();
    pair.linked = true;
    pair.pause_at = Some((1, is_ready));
    pair.run(Duration::from_secs(2));
    pair.hold[0] = meta_writes;
    pair.start(0, Command::Attach { volume: VOLUME });
    pair.settle();
    pair.paused[0] = false;
    pair.settle();
    start_write(&mut pair, 0, 8192, 7);
    pair.settle();
    pair.fail_once(0);
    pair.run(Duration::from_secs(5));
    pair.attach(0);
    pair.run(Duration::from_secs(30));
    assert_in_sync(&pair);
    assert_eq!(pair.nodes[0].devices[0][8192], 7);
}

/// Metadata of drbdmeta, which did not know for what it made them: whoever attaches them first.
#[test]
fn metadata_that_are_nobodys_belong_to_the_first_that_attaches_them() {
    let mut pair = Pair::new(1, Protocol::C);
    pair.command(0, Command::Detach { volume: VOLUME, force: false }).unwrap();
    pair.format(0);
    let mut owner = None;
    edit_superblock(&mut pair.nodes[0].devices[0], |it| owner = it.identity.take());
    pair.attach(0);
    let mut claimed = None;
    edit_superblock(&mut pair.nodes[0].devices[0], |it| claimed.clone_from(&it.identity));
    assert!(owner.is_some() && claimed == owner, "{claimed:?}");
    pair.connect();
    pair.command(0, Command::Primary { force: true }).unwrap();
    pair.run(Duration::from_secs(30));
    assert_in_sync(&pair);
}

/// A Primary gets its disk back while it is being demoted and a write is still open: the disk has
/// the mark by which a crash is found, until that write is done with.
#[test]
fn a_disk_that_comes_back_in_a_demotion_is_marked() {
    let mut pair = Pair::in_sync(1, Protocol::C);
    pair.command(0, Command::Detach { volume: VOLUME, force: false }).unwrap();
    pair.hold = [meta_writes, data_writes];
    start_write(&mut pair, 0, 0, 7);
    let attach = pair.start(0, Command::Attach { volume: VOLUME });
    short(&mut pair);
    let demotion = pair.start(0, Command::Secondary { force: true });
    pair.release(0);
    assert_eq!(pair.ended(0, attach), Some(Ok(())));
    assert!(is_marked(&mut pair), "the write is open");
    pair.nodes[0].resource.close_client(CLIENT, pair.now);
    pair.release(1);
    pair.run(Duration::from_secs(60));
    assert_eq!(pair.ended(0, demotion), Some(Ok(())));
    assert!(!is_marked(&mut pair));
    assert_in_sync(&pair);
}

fn is_marked(pair: &mut Pair) -> bool {
    let mut is_marked = false;
    edit_superblock(&mut pair.nodes[0].devices[0], |it| is_marked = it.flags.primary_indicator);
    is_marked
}
