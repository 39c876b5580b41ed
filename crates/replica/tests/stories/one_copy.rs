//! A Primary whose own disk is not good: the peer holds the only copy that counts.
//!
//! Protocols A and B let a reply go before the peer has written, because a good disk here has the
//! data. Where there is none, a reply means in every protocol that the peer's disk has them: else
//! the end of the peer's process takes an acknowledged write under a living Primary.

use std::time::Duration;

use bytes::Bytes;
use tandem_replica::wire::{ByteRange, DiskState, Packet, Protocol, ReplicationState};
use tandem_replica::{Command, ConnectionState, DiskOpKind, RequestOp};

use crate::pair::{Pair, data_writes, flushes, meta_writes, none, reads};
use crate::stage::{
    VOLUME, assert_in_sync, connection, demote, disks, promote, short, start_write,
    swap_roles_diskless,
};

/// Node 1 is Primary and has no disk.
fn diskless(protocol: Protocol) -> Pair {
    let mut pair = Pair::in_sync(1, protocol);
    swap_roles_diskless(&mut pair);
    assert_eq!(disks(&pair), [DiskState::UpToDate, DiskState::Diskless]);
    pair
}

/// Node 0 is Primary and copies from node 1, which does not come to read.
fn sync_target(protocol: Protocol) -> Pair {
    let mut pair = Pair::in_sync(1, protocol);
    pair.hold[1] = reads;
    pair.start(0, Command::Invalidate { volume: VOLUME, reset_bitmap: true });
    pair.run(Duration::from_secs(1));
    assert_eq!(disks(&pair), [DiskState::Inconsistent, DiskState::UpToDate]);
    pair
}

const PROTOCOLS: [Protocol; 3] = [Protocol::A, Protocol::B, Protocol::C];

/// 1. the Primary has no good disk; 2. it writes; the peer's disk is slow; 3. no reply before the
///    peer has written.
#[test]
fn a_write_is_answered_when_the_only_good_disk_has_it() {
    for protocol in PROTOCOLS {
        for (mut pair, primary) in [(diskless(protocol), 1), (sync_target(protocol), 0)] {
            let peer = 1 - primary;
            pair.hold[peer] = data_writes;
            let cookie = start_write(&mut pair, primary, 8192, 7);
            short(&mut pair);
            assert_eq!(pair.reply(primary, cookie), None, "{protocol:?}: nobody has it yet");
            pair.release(peer);
            short(&mut pair);
            assert_eq!(pair.reply(primary, cookie), Some(Ok(None)), "{protocol:?}");
            assert!(pair.nodes[peer].devices[0][8192..12288].iter().all(|byte| *byte == 7));
        }
    }
}

/// 1. the Primary has no good disk; 2. the peer is killed with a write on its way; 3. the write is
///    not acknowledged, as it is nowhere.
#[test]
fn a_write_that_the_only_good_disk_never_got_is_not_acknowledged() {
    for protocol in PROTOCOLS {
        for (mut pair, primary) in [(diskless(protocol), 1), (sync_target(protocol), 0)] {
            pair.hold[1 - primary] = data_writes;
            let cookie = start_write(&mut pair, primary, 8192, 7);
            short(&mut pair);
            pair.kill(1 - primary);
            pair.run(Duration::from_secs(60));
            let reply = pair.reply(primary, cookie);
            assert!(matches!(reply, Some(Err(_))), "{protocol:?}: {reply:?}");
        }
    }
}

/// 1. the Primary has no good disk, and has a write, a read and a flush on their way; 2. the peer
///    alone notices that the link is lost, and connects anew; 3. they wait for what that brings.
#[test]
fn requests_outlive_a_link_that_is_replaced() {
    for protocol in PROTOCOLS {
        for (mut pair, primary) in [(diskless(protocol), 1), (sync_target(protocol), 0)] {
            let peer = 1 - primary;
            pair.hang = true;
            let write = start_write(&mut pair, primary, 8192, 7);
            let read = RequestOp::Read(ByteRange::new(0, 4096));
            let read = pair.request(primary, 0, read);
            let flush = pair.request(primary, 0, RequestOp::Flush);
            pair.settle();
            pair.lose_one_side(peer);
            pair.hang = false;
            pair.release(peer);
            pair.dial(peer);
            pair.run(Duration::from_secs(5));
            for cookie in [write, flush] {
                assert_eq!(pair.reply(primary, cookie), Some(Ok(None)), "{protocol:?}");
            }
            let shown = pair.reply(primary, read);
            assert_eq!(shown, Some(Ok(Some(Bytes::from(vec![0; 4096])))), "{protocol:?}");
            assert_eq!(pair.nodes[peer].devices[0][8192..12288], [7; 4096]);
        }
    }
}

/// 1. the Primary has no good disk; 2. it flushes; 3. the flush is answered when the peer's disk
///    has flushed: the only one whose power loss counts.
#[test]
fn a_flush_is_answered_when_the_only_good_disk_has_flushed() {
    for protocol in PROTOCOLS {
        for (mut pair, primary) in [(diskless(protocol), 1), (sync_target(protocol), 0)] {
            let peer = 1 - primary;
            pair.hold[peer] = flushes;
            let cookie = pair.request(primary, 0, RequestOp::Flush);
            short(&mut pair);
            assert_eq!(pair.reply(primary, cookie), None, "{protocol:?}: it has not flushed");
            pair.release(peer);
            short(&mut pair);
            assert_eq!(pair.reply(primary, cookie), Some(Ok(None)), "{protocol:?}");
        }
    }
}

/// 1. a copying Primary flushes; 2. the peer is killed before it has flushed; 3. that the own disk
///    has flushed is worth nothing.
#[test]
fn a_flush_of_a_copying_disk_alone_is_not_acknowledged() {
    for protocol in PROTOCOLS {
        let mut pair = sync_target(protocol);
        pair.hold[1] = flushes;
        let cookie = pair.request(0, 0, RequestOp::Flush);
        short(&mut pair);
        pair.kill(1);
        pair.run(Duration::from_secs(60));
        let reply = pair.reply(0, cookie);
        assert!(matches!(reply, Some(Err(_))), "{protocol:?}: {reply:?}");
    }
}

/// 1. the Primary's disk fails under a write that the peer has not written yet; 2. the reply waits
///    for the peer's disk; 3. the peer writes, and the failure is hidden.
#[test]
fn a_write_under_which_the_disk_fails_waits_for_the_peers() {
    for protocol in PROTOCOLS {
        let mut pair = Pair::in_sync(1, protocol);
        pair.hold = [data_writes; 2];
        let cookie = start_write(&mut pair, 0, 8192, 7);
        pair.fail_once(0);
        short(&mut pair);
        assert_eq!(pair.reply(0, cookie), None, "{protocol:?}: nobody has it yet");
        pair.release(1);
        short(&mut pair);
        assert_eq!(pair.reply(0, cookie), Some(Ok(None)), "{protocol:?}");
    }
}

/// 1. the Primary has no disk; 2. it writes a part of a block, for which it reads the rest from its
///    peer; 3. a disk is attached before both are merged; 4. the write goes on and ends.
#[test]
fn a_merge_outlives_the_disk_that_was_not_there() {
    for protocol in PROTOCOLS {
        let mut pair = diskless(protocol);
        pair.hold[1] = |kind| matches!(kind, DiskOpKind::Merge { .. });
        let data = Bytes::from(vec![7; 512]);
        let cookie = pair.request(1, 0, RequestOp::Write { offset: 8704, data, fua: false });
        short(&mut pair);
        let attach = pair.start(1, Command::Attach { volume: VOLUME });
        pair.run(Duration::from_secs(1));
        pair.release(1);
        pair.run(Duration::from_secs(10));
        assert_eq!(pair.ended(1, attach), Some(Ok(())), "{protocol:?}");
        assert_eq!(pair.reply(1, cookie), Some(Ok(None)), "{protocol:?}");
        assert!(pair.nodes[0].devices[0][8704..9216].iter().all(|byte| *byte == 7));
    }
}

/// 1. a resync to node 1 has begun and does not get on; 2. node 1 is promoted with force; 3. the
///    good data are at its peer, so nothing is declared good, and the resync ends.
#[test]
fn force_beside_good_data_gives_nothing_up() {
    let mut pair = Pair::in_sync(1, Protocol::C);
    pair.write(0, 8192, &[7; 4096]);
    demote(&mut pair, 0);
    pair.hold[0] = reads;
    pair.start(1, Command::Invalidate { volume: VOLUME, reset_bitmap: true });
    pair.run(Duration::from_secs(1));
    pair.command(1, Command::Primary { force: true }).unwrap();
    assert_eq!(disks(&pair), [DiskState::UpToDate, DiskState::Inconsistent]);
    pair.release(0);
    pair.run(Duration::from_secs(10));
    assert_in_sync(&pair);
    assert!(pair.nodes[1].devices[0][8192..12288].iter().all(|byte| *byte == 7));
}

/// 1. the link is lost; 2. the Primary writes alone; 3. its disk goes away; 4. the peer is back,
///    with data from before. Its clients must not be given them. 5. With its disk it goes on.
#[test]
fn a_primary_without_a_disk_takes_no_older_data() {
    for protocol in PROTOCOLS {
        let mut pair = Pair::in_sync(1, protocol);
        pair.write(0, 0, &[1; 4096]);
        pair.run(Duration::from_secs(2));
        pair.cut();
        pair.write(0, 0, &[2; 4096]);
        pair.command(0, Command::Detach { volume: VOLUME, force: true }).unwrap();
        pair.heal();
        let told = connection(&pair, 0);
        assert_eq!(told.state, ConnectionState::StandAlone, "{protocol:?}");
        let reason = told.reason.unwrap_or_default();
        assert!(reason.contains("attach the disk that has them"), "{protocol:?}: {reason}");
        pair.attach(0);
        for node in 0..2 {
            pair.try_connect(node, false).unwrap();
        }
        pair.run(Duration::from_secs(60));
        assert_eq!(pair.read(0, 0, 4096)[0], 2, "{protocol:?}");
        assert_in_sync(&pair);
    }
}

/// The peer has everything that was served, under a newer generation of its own.
#[test]
fn a_primary_without_a_disk_goes_on_with_a_descendant() {
    for protocol in PROTOCOLS {
        let mut pair = diskless(protocol);
        pair.write(1, 0, &[2; 4096]);
        pair.cut();
        pair.heal();
        pair.write(1, 4096, &[3; 4096]);
        pair.kill(0);
        pair.restart(0);
        assert_eq!(connection(&pair, 1).state, ConnectionState::Connected, "{protocol:?}");
        assert_eq!(pair.read(1, 0, 8192)[..], [[2; 4096], [3; 4096]].concat()[..], "{protocol:?}");
    }
}

/// In A the Primary has answered what its peer never got, and loses its link and its disk: the peer
/// has the same generation, and must not be read from.
#[test]
fn a_peer_that_lacks_answered_writes_does_not_serve() {
    let mut pair = Pair::in_sync(1, Protocol::A);
    pair.paused[1] = true;
    let write = start_write(&mut pair, 0, 8192, 7);
    pair.settle();
    assert_eq!(pair.reply(0, write), Some(Ok(None)));
    pair.cut();
    pair.paused[1] = false;
    pair.command(0, Command::Detach { volume: VOLUME, force: true }).unwrap();
    pair.heal();
    let read = pair.request(0, 0, RequestOp::Read(ByteRange::new(8192, 4096)));
    pair.run(Duration::from_secs(5));
    assert_ne!(pair.reply(0, read), Some(Ok(Some(Bytes::from(vec![0; 4096])))), "older data");
    pair.attach(0);
    let _ = pair.try_connect(0, false);
    let _ = pair.try_connect(1, false);
    pair.run(Duration::from_secs(30));
    assert_in_sync(&pair);
    assert_eq!(pair.read(0, 8192, 4096)[..], [7; 4096]);
}

/// A Primary that is alone loses its disk by a read, and a flush that was under way fails after
/// that: what was answered may be gone from the disk's cache, and the disk must not be served from.
#[test]
fn a_disk_whose_last_flush_failed_late_is_not_taken_for_the_newest() {
    let mut pair = Pair::in_sync(1, Protocol::C);
    pair.cut();
    pair.write(0, 8192, &[7; 4096]);
    pair.hold[0] = |kind| reads(kind) || flushes(kind);
    pair.request(0, 0, RequestOp::Read(ByteRange::new(0, 4096)));
    pair.request(0, 0, RequestOp::Flush);
    short(&mut pair);
    pair.fail[0] = |kind| reads(kind) || flushes(kind);
    pair.release_first(0);
    pair.release(0);
    pair.fail[0] = none;
    short(&mut pair);
    pair.nodes[0].devices[0][8192..12288].fill(0);
    pair.command(0, Command::Attach { volume: VOLUME }).expect_err("its clients have seen more");
}

/// 1. in A or B a write is answered that the peer has received and not written; 2. the peer's disk
///    is given up with it, and then the Primary's; 3. the peer's disk comes back, in the very
///    generation that clients have seen: it is not served.
#[test]
fn what_went_with_the_peers_disk_is_not_forgotten_behind_the_own_one() {
    for protocol in [Protocol::A, Protocol::B] {
        let mut pair = Pair::in_sync(1, protocol);
        pair.hold[1] = flushes;
        pair.request(0, 0, RequestOp::Flush);
        let write = start_write(&mut pair, 0, 8192, 7);
        short(&mut pair);
        assert_eq!(pair.reply(0, write), Some(Ok(None)), "{protocol:?}");
        pair.hold[0] = meta_writes;
        for node in [1, 0] {
            pair.start(node, Command::Detach { volume: VOLUME, force: true });
            pair.run(Duration::from_secs(1));
        }
        pair.hold = [none; 2];
        pair.release(0);
        pair.release(1);
        pair.attach(1);
        let read = pair.request(0, 0, RequestOp::Read(ByteRange::new(8192, 4096)));
        pair.run(Duration::from_secs(30));
        assert!(!matches!(pair.reply(0, read), Some(Ok(_))), "{protocol:?}: older data");
        pair.attach(0);
        pair.connect();
        pair.run(Duration::from_secs(30));
        assert_in_sync(&pair);
        assert_eq!(pair.read(0, 8192, 4096)[..], [7; 4096], "{protocol:?}");
    }
}

/// 1. the Primary's disk loses what it could not flush, and its peer serves instead, but never
///    hears that this disk is gone; 2. the disk comes back: the peer that has served is source,
///    in A too.
#[test]
fn a_disk_that_comes_back_under_a_primary_is_older_than_the_one_that_served() {
    for protocol in PROTOCOLS {
        let mut pair = Pair::in_sync(1, protocol);
        pair.write(0, 8192, &[7; 4096]);
        pair.run(Duration::from_secs(5));
        pair.paused[1] = true;
        pair.hold[0] = flushes;
        pair.request(0, 0, RequestOp::Flush);
        pair.fail_once(0);
        pair.nodes[0].devices[0][8192..12288].fill(0);
        pair.start(0, Command::Attach { volume: VOLUME });
        pair.settle();
        pair.paused[1] = false;
        pair.run(Duration::from_secs(30));
        assert_in_sync(&pair);
        assert_eq!(pair.read(0, 8192, 4096)[..], [7; 4096], "{protocol:?}");
    }
}

/// The disk of a Primary that is alone goes and comes back: nobody has newer data, and what waited
/// goes on.
#[test]
fn a_primary_that_is_alone_goes_on_with_its_disk() {
    let mut pair = Pair::in_sync(1, Protocol::C);
    pair.cut();
    pair.write(0, 0, &[2; 4096]);
    pair.command(0, Command::Detach { volume: VOLUME, force: true }).unwrap();
    let refused = start_write(&mut pair, 0, 0, 3);
    short(&mut pair);
    assert!(matches!(pair.reply(0, refused), Some(Err(_))));
    pair.attach(0);
    assert_eq!(disks(&pair)[0], DiskState::UpToDate);
    assert_eq!(pair.read(0, 0, 4096)[0], 2);
    pair.write(0, 0, &[4; 4096]);
    pair.heal();
    assert_in_sync(&pair);
}

/// A handshake is refused, and a disk is attached before the link is given up for that: nothing
/// waits for another handshake, which only `connect` begins.
#[test]
fn nothing_waits_for_a_connection_that_is_given_up() {
    let mut pair = Pair::in_sync(1, Protocol::C);
    pair.cut();
    pair.write(0, 0, &[2; 4096]);
    pair.command(0, Command::Detach { volume: VOLUME, force: true }).unwrap();
    pair.linked = true;
    while connection(&pair, 0).reason.is_none_or(|reason| !reason.contains("ServedNewer")) {
        pair.run(Duration::from_millis(100));
    }
    let write = start_write(&mut pair, 0, 0, 3);
    assert_eq!(pair.reply(0, write), None, "a handshake is under way");
    pair.attach(0);
    assert_eq!(connection(&pair, 0).state, ConnectionState::StandAlone);
    assert_eq!(pair.reply(0, write), Some(Ok(None)));
}

/// A Primary without data waits; its peer is made Primary meanwhile, for others, and comes back.
/// The clients that wait know nothing of what the others did: they are not given their data.
#[test]
fn a_waiting_primary_does_not_go_on_with_what_others_have_used() {
    let mut pair = Pair::in_sync(1, Protocol::C);
    pair.cut();
    pair.command(0, Command::Detach { volume: VOLUME, force: true }).unwrap();
    promote(&mut pair, 1);
    pair.write(1, 0, &[3; 4096]);
    demote(&mut pair, 1);
    pair.heal();
    let told = connection(&pair, 0);
    assert_eq!(told.state, ConnectionState::StandAlone);
    assert!(told.reason.unwrap_or_default().contains("WentOn"));
    demote(&mut pair, 0);
    pair.attach(0);
    for node in 0..2 {
        pair.try_connect(node, false).unwrap();
    }
    pair.run(Duration::from_secs(60));
    assert_in_sync(&pair);
    assert_eq!(pair.nodes[0].devices[0][0], 3);
}

/// A Primary has had data of its own alone, without its disk, and that is over: `invalidate` finds
/// a peer that has everything.
#[test]
fn what_was_exposed_is_forgotten_when_the_disk_is_good_again() {
    let mut pair = Pair::in_sync(1, Protocol::C);
    pair.cut();
    pair.write(0, 0, &[2; 4096]);
    pair.command(0, Command::Detach { volume: VOLUME, force: true }).unwrap();
    pair.attach(0);
    pair.heal();
    assert_in_sync(&pair);
    pair.command(0, Command::Invalidate { volume: VOLUME, reset_bitmap: true }).unwrap();
    pair.run(Duration::from_secs(60));
    assert_in_sync(&pair);
}

/// As above, but the peer was Primary before they parted and stayed it.
#[test]
fn a_waiting_primary_does_not_go_on_with_what_others_have_used_all_along() {
    let mut pair = Pair::in_sync(1, Protocol::C);
    pair.cut();
    promote(&mut pair, 1);
    pair.write(0, 0, &[3; 4096]);
    pair.command(1, Command::Detach { volume: VOLUME, force: true }).unwrap();
    demote(&mut pair, 0);
    pair.heal();
    assert_eq!(connection(&pair, 1).state, ConnectionState::StandAlone);
    assert!(connection(&pair, 1).reason.unwrap_or_default().contains("WentOn"));
}

/// 1. a Primary without its disk meets its peer, which is connected first, and counts its data as
///    apart from that disk's; 2. the link is lost before the Primary is connected; 3. its disk is
///    back, good, for nobody has lived on another one; 4. it writes: the peer has nothing new.
#[test]
fn a_peer_that_nobody_has_lived_on_is_no_side_of_a_split_brain() {
    for protocol in PROTOCOLS {
        let mut pair = Pair::in_sync(1, protocol);
        pair.cut();
        pair.command(0, Command::Detach { volume: VOLUME, force: true }).unwrap();
        let is_ready = |packet: &Packet| {
            let Packet::State(_, state) = packet else { return false };
            state.replication != ReplicationState::Off
        };
        pair.pause_at = Some((1, is_ready));
        pair.linked = true;
        pair.run(Duration::from_secs(2));
        assert_eq!(connection(&pair, 1).state, ConnectionState::Connected);
        assert_ne!(connection(&pair, 0).state, ConnectionState::Connected);
        pair.cut();
        pair.pause_at = None;
        pair.paused[0] = false;
        pair.attach(0);
        pair.run(Duration::from_secs(10));
        assert_eq!(disks(&pair)[0], DiskState::UpToDate);
        pair.write(0, 8192, &[5; 4096]);
        pair.heal();
        assert_in_sync(&pair);
        assert_eq!(pair.nodes[1].devices[0][8192..12288], [5; 4096], "{protocol:?}");
    }
}

/// 1. a Primary that is alone has no disk any more; 2. its peer has all but ended the handshake
///    when the disk comes back; 3. while the last of that disk's metadata are written the peer
///    serves a write: the disk is old, and gets what it lacks.
#[test]
fn a_peer_begins_to_serve_while_a_disk_is_attached() {
    let mut pair = Pair::in_sync(1, Protocol::C);
    pair.write(0, 0, &[2; 4096]);
    pair.cut();
    pair.command(0, Command::Detach { volume: VOLUME, force: true }).unwrap();
    pair.hold_dials = true;
    pair.heal();
    pair.hold = [meta_writes, meta_writes];
    pair.dial(0);
    let attach = pair.start(0, Command::Attach { volume: VOLUME });
    short(&mut pair);
    assert_eq!(disks(&pair)[0], DiskState::Consistent);
    pair.release(1);
    let write = start_write(&mut pair, 0, 0, 7);
    short(&mut pair);
    assert!(matches!(pair.reply(0, write), Some(Ok(_))), "the peer serves");
    pair.release(0);
    pair.run(Duration::from_secs(5));
    assert_eq!(pair.ended(0, attach), Some(Ok(())));
    assert_in_sync(&pair);
    assert_eq!(pair.read(0, 0, 4096)[..], [7; 4096]);
}
