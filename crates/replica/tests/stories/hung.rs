//! Disks hang: they are given up in their time, and what they do late touches nothing.

use std::time::Duration;

use bytes::Bytes;
use tandem_replica::wire::{DiskState, NodeId, Protocol};
use tandem_replica::{Command, CommandError, RequestOp, VolumeConfig};

use crate::pair::{Pair, data_writes, flushes, meta_writes, reads};
use crate::stage::{VOLUME, assert_in_sync, connection, disks, short, start_write, swap_roles};

const LIMIT: Duration = Duration::from_secs(3);

/// In sync, with `disk-timeout` on both nodes.
fn limited(protocol: Protocol) -> Pair {
    let mut pair = Pair::in_sync(1, protocol);
    for node in &mut pair.nodes {
        let volume = node.resource.config().volumes[0];
        let volume = VolumeConfig { disk_timeout: LIMIT, ..volume };
        node.resource.update_volume(volume, pair.now);
    }
    pair
}

fn everything(_: &tandem_replica::DiskOpKind) -> bool {
    true
}

fn detach(pair: &mut Pair, node: usize, force: bool) -> tandem_replica::CommandId {
    pair.start(node, Command::Detach { volume: VOLUME, force })
}

#[test]
fn writes_go_on_without_a_hung_disk() {
    let mut pair = limited(Protocol::C);
    pair.hold[0] = data_writes;
    let write = start_write(&mut pair, 0, 0, 7);
    pair.run(LIMIT - Duration::from_millis(1));
    assert_eq!((pair.reply(0, write), disks(&pair)[0]), (None, DiskState::UpToDate));
    pair.run(Duration::from_millis(2));
    assert_eq!((pair.reply(0, write), disks(&pair)[0]), (Some(Ok(None)), DiskState::Failed));
    pair.write(0, 4096, &[8; 4096]);
    assert_eq!(pair.read(0, 0, 4096)[..], [7; 4096], "the peer has it");
}

#[test]
fn a_hung_disk_is_closed_once_all_of_it_has_ended() {
    let mut pair = limited(Protocol::C);
    pair.hold[0] = data_writes;
    start_write(&mut pair, 0, 0, 7);
    start_write(&mut pair, 0, 4096, 7);
    pair.run(2 * LIMIT);
    pair.release_first(0);
    assert_eq!((pair.nodes[0].closed, disks(&pair)[0]), (0, DiskState::Failed));
    let refused = pair.command(0, Command::Attach { volume: VOLUME });
    let Err(CommandError::Refused(text)) = refused else { panic!("attached: {refused:?}") };
    assert!(text.contains("has not ended 1 operation(s) yet"), "{text}");
    pair.release(0);
    assert_eq!((pair.nodes[0].closed, disks(&pair)[0]), (1, DiskState::Diskless));
    pair.attach(0);
    pair.run(Duration::from_secs(30));
    assert_in_sync(&pair);
}

/// An old write lands on the disk that was given up, behind a newer one of the same block.
#[test]
fn a_write_that_lands_late_is_copied_over() {
    let mut pair = limited(Protocol::C);
    pair.hold[1] = data_writes;
    let write = start_write(&mut pair, 0, 8192, 1);
    pair.run(2 * LIMIT);
    assert_eq!(pair.reply(0, write), Some(Ok(None)));
    pair.write(0, 8192, &[2; 4096]);
    pair.release(1);
    assert_eq!(pair.nodes[1].devices[0][8192], 1, "it did land");
    pair.attach(1);
    pair.run(Duration::from_secs(30));
    assert_in_sync(&pair);
    assert_eq!(pair.nodes[1].devices[0][8192], 2);
}

/// The peer has flushed before it knew that its copy is the only one: it is asked again, once it
/// can tell its copy apart (INV-2).
#[test]
fn what_a_peer_flushed_before_it_knew_is_flushed_again() {
    let mut pair = limited(Protocol::C);
    pair.hold[0] = flushes;
    let flush = pair.request(0, 0, RequestOp::Flush);
    pair.run(LIMIT - Duration::from_millis(1));
    pair.hold[1] = meta_writes;
    pair.run(Duration::from_millis(2));
    assert_eq!(disks(&pair)[0], DiskState::Failed);
    assert_eq!(pair.reply(0, flush), None, "answered though nothing tells the copies apart");
    pair.release(1);
    short(&mut pair);
    assert_eq!(pair.reply(0, flush), Some(Ok(None)));
}

/// The same where the flush fails at once.
#[test]
fn what_a_peer_flushed_before_a_flush_failed_is_flushed_again() {
    let mut pair = Pair::in_sync(1, Protocol::C);
    pair.hold[0] = flushes;
    let flush = pair.request(0, 0, RequestOp::Flush);
    short(&mut pair);
    pair.hold[1] = meta_writes;
    pair.fail_once(0);
    assert_ne!(disks(&pair)[0], DiskState::UpToDate);
    assert_eq!(pair.reply(0, flush), None, "answered though nothing tells the copies apart");
    pair.release(1);
    short(&mut pair);
    assert_eq!(pair.reply(0, flush), Some(Ok(None)));
}

#[test]
fn what_a_peer_wrote_durably_before_it_knew_is_written_again() {
    let mut pair = limited(Protocol::C);
    pair.hold[0] = data_writes;
    let data = Bytes::from(vec![7; 4096]);
    let write = pair.request(0, 0, RequestOp::Write { offset: 0, data, fua: true });
    pair.run(LIMIT - Duration::from_millis(1));
    pair.hold[1] = meta_writes;
    pair.run(Duration::from_millis(2));
    assert_eq!(pair.reply(0, write), None, "answered though nothing tells the copies apart");
    pair.release(1);
    short(&mut pair);
    assert_eq!(pair.reply(0, write), Some(Ok(None)));
}

/// A flush of a target proves nothing; but it was in sync by the time the disk here was given up.
#[test]
fn a_flush_is_tried_again_where_the_peer_has_become_good() {
    let mut pair = limited(Protocol::C);
    pair.cut();
    pair.write(0, 0, &[1; 4096]);
    pair.linked = true;
    pair.hold[0] = reads;
    pair.run(Duration::from_secs(1));
    assert_eq!(disks(&pair)[1], DiskState::Inconsistent);
    pair.hold[0] = |kind| reads(kind) || flushes(kind);
    let flush = pair.request(0, 0, RequestOp::Flush);
    pair.hold[0] = flushes;
    pair.release_rest(0);
    pair.run(LIMIT);
    assert_eq!(pair.reply(0, flush), Some(Ok(None)));
}

#[test]
fn hung_metadata_are_not_waited_for() {
    let mut pair = limited(Protocol::C);
    pair.hold[0] = meta_writes;
    pair.cut();
    let write = start_write(&mut pair, 0, 0, 7);
    pair.run(LIMIT + Duration::from_secs(1));
    assert_eq!(disks(&pair)[0], DiskState::Failed);
    assert!(matches!(pair.reply(0, write), Some(Err(_))), "nobody has it");
}

#[test]
fn an_attach_of_a_hung_disk_fails() {
    let mut pair = limited(Protocol::C);
    pair.command(1, Command::Detach { volume: VOLUME, force: false }).unwrap();
    pair.hold[1] = everything;
    let attach = pair.start(1, Command::Attach { volume: VOLUME });
    pair.run(LIMIT + Duration::from_secs(1));
    let ended = pair.ended(1, attach);
    let Some(Err(CommandError::Metadata { reason, .. })) = ended else { panic!("{ended:?}") };
    assert!(reason.contains("disk-timeout"), "{reason}");
    pair.release(1);
    pair.attach(1);
    pair.run(Duration::from_secs(30));
    assert_in_sync(&pair);
}

/// A flush that fails late is as final as one that fails at once: what went with it is nowhere.
#[test]
fn what_a_late_flush_has_lost_is_not_served() {
    let mut pair = limited(Protocol::C);
    pair.command(0, Command::Disconnect { peer: NodeId(1), force: true }).unwrap();
    pair.write(0, 0, &[1; 4096]);
    pair.hold[0] = flushes;
    let flush = pair.request(0, 0, RequestOp::Flush);
    pair.run(2 * LIMIT);
    assert!(matches!(pair.reply(0, flush), Some(Err(_))));
    pair.fail_once(0);
    let refused = pair.command(0, Command::Attach { volume: VOLUME });
    assert!(matches!(refused, Err(CommandError::Metadata { .. })), "{refused:?}");
}

#[test]
fn a_detach_by_force_does_not_wait_for_a_hung_disk() {
    let mut pair = Pair::in_sync(1, Protocol::C);
    pair.hold[0] = everything;
    let write = start_write(&mut pair, 0, 0, 7);
    let plain = detach(&mut pair, 0, false);
    pair.run(Duration::from_secs(20));
    assert_eq!((pair.ended(0, plain), pair.reply(0, write)), (None, None));
    let forced = detach(&mut pair, 0, true);
    pair.run(Duration::from_secs(2));
    assert_eq!(pair.ended(0, forced), Some(Ok(())));
    assert_eq!(pair.ended(0, plain), Some(Ok(())));
    assert_eq!(pair.reply(0, write), Some(Ok(None)), "the peer has it");
    assert_eq!((disks(&pair)[0], pair.nodes[0].closed), (DiskState::Diskless, 0));
    pair.release(0);
    assert_eq!(pair.nodes[0].closed, 1);
}

#[test]
fn a_detach_by_force_stores_what_a_good_disk_must_say() {
    let mut pair = Pair::in_sync(1, Protocol::B);
    let forced = detach(&mut pair, 1, true);
    short(&mut pair);
    assert_eq!(pair.ended(1, forced), Some(Ok(())));
    pair.attach(1);
    pair.run(Duration::from_secs(30));
    assert_in_sync(&pair);
}

#[test]
fn a_resource_goes_down_with_a_hung_disk() {
    let mut pair = limited(Protocol::C);
    swap_roles(&mut pair);
    pair.hold[0] = everything;
    let down = pair.start(0, Command::Down { force: false });
    pair.run(2 * LIMIT);
    assert_eq!(pair.ended(0, down), Some(Ok(())));
}

/// What waits for the disk of a demotion waits no longer than for the disk.
#[test]
fn a_hung_disk_does_not_keep_a_node_primary() {
    let mut pair = limited(Protocol::C);
    pair.write(0, 0, &[7; 4096]);
    pair.hold[0] = everything;
    pair.nodes[0].resource.close_client(crate::pair::CLIENT, pair.now);
    let demotion = pair.start(0, Command::Secondary { force: false });
    pair.run(LIMIT + Duration::from_secs(1));
    assert_eq!(pair.ended(0, demotion), Some(Ok(())));
}

/// The link is told of the disk, and stays.
#[test]
fn the_session_outlives_the_primarys_hung_disk() {
    let mut pair = limited(Protocol::C);
    let sessions = pair.sessions;
    pair.hold[0] = data_writes;
    start_write(&mut pair, 0, 0, 7);
    pair.run(LIMIT + Duration::from_secs(1));
    assert_eq!(pair.sessions, sessions);
    assert_eq!(connection(&pair, 1).peer_devices[0].peer_disk, DiskState::Failed);
}

/// By force, without `disk-timeout`: whatever a disk that hangs still has to do.
#[test]
fn a_resource_goes_down_by_force_whatever_hangs() {
    let writes_of_the_peer = {
        let mut pair = Pair::in_sync(1, Protocol::C);
        pair.hold[1] = everything;
        start_write(&mut pair, 0, 0, 7);
        pair
    };
    let last_word = {
        let mut pair = Pair::in_sync(1, Protocol::C);
        pair.fail[1] = flushes;
        pair.hold[1] = meta_writes;
        pair.request(0, 0, RequestOp::Flush);
        short(&mut pair);
        assert_eq!(disks(&pair)[1], DiskState::Failed);
        pair
    };
    for mut pair in [writes_of_the_peer, last_word] {
        let down = pair.start(1, Command::Down { force: false });
        pair.run(Duration::from_secs(60));
        assert_eq!(pair.ended(1, down), None, "it waits for the disk");
        let forced = pair.start(1, Command::Down { force: true });
        pair.run(Duration::from_secs(60));
        assert_eq!(pair.ended(1, forced), Some(Ok(())));
        assert_eq!(pair.ended(1, down), Some(Ok(())));
    }
}
