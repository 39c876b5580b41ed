//! Volumes that grow: both nodes, one of them, at any step of it.

use std::time::Duration;

use tandem_replica::wire::{ByteRange, Packet, Protocol, Role};
use tandem_replica::{Command, CommandError, ConnectionState, RequestOp};

use crate::pair::{DEVICE_BYTES, Pair, meta_writes, peer_of};
use crate::stage::{
    VOLUME, assert_in_sync, connection, demote, promote, short, start_write, swap_roles,
};

const GROWN: usize = 10 << 20;

const RESIZE: Command = Command::Resize {
    volume: VOLUME,
    size: None,
    assume_clean: false,
    assume_peer_has_space: false,
};
const ALONE: Command = Command::Resize {
    volume: VOLUME,
    size: None,
    assume_clean: false,
    assume_peer_has_space: true,
};
const CLEAN: Command = Command::Resize {
    volume: VOLUME,
    size: None,
    assume_clean: true,
    assume_peer_has_space: false,
};

fn resize_to(size: u64) -> Command {
    let size = Some(size);
    Command::Resize { volume: VOLUME, size, assume_clean: false, assume_peer_has_space: false }
}

/// The file behind node's volume 0 gets larger; what it grows by holds anything.
fn enlarge(pair: &mut Pair, node: usize, bytes: usize) {
    let filler = 0xe0 + u8::try_from(node).unwrap();
    pair.nodes[node].devices[0].resize(bytes, filler);
}

fn enlarge_both(pair: &mut Pair) {
    enlarge(pair, 0, GROWN);
    enlarge(pair, 1, GROWN);
}

fn size_of(pair: &Pair, node: usize) -> u64 {
    pair.nodes[node].resource.status(pair.now).volumes[0].size_bytes
}

fn refusal(result: Result<(), CommandError>) -> String {
    result.expect_err("it is refused").to_string()
}

/// In sync, with some data, and its size.
fn start() -> (Pair, u64) {
    let mut pair = Pair::in_sync(1, Protocol::C);
    pair.write(0, 0, &[1; 4096]);
    pair.write(0, 1 << 20, &[2; 4096]);
    pair.run(Duration::from_secs(2));
    let size = size_of(&pair, 0);
    (pair, size)
}

#[test]
fn both_grow_and_the_new_part_is_copied() {
    let (mut pair, before) = start();
    enlarge_both(&mut pair);
    pair.data_bytes = 0;
    pair.command(0, RESIZE).unwrap();
    let after = size_of(&pair, 0);
    assert!(after > before && after < GROWN as u64, "{before} {after}");
    pair.run(Duration::from_secs(30));
    assert_eq!(size_of(&pair, 1), after);
    assert_in_sync(&pair);
    assert_eq!(pair.data_bytes, after - before, "what was there is not copied again");
    pair.write(0, after - 4096, &[3; 4096]);
    assert_eq!(&pair.read(0, 1 << 20, 4)[..], [2; 4]);
    assert_in_sync(&pair);
}

#[test]
fn what_is_assumed_to_be_clean_is_not_copied() {
    let (mut pair, before) = start();
    for node in 0..2 {
        pair.nodes[node].devices[0].resize(GROWN, 0);
    }
    pair.data_bytes = 0;
    pair.command(0, CLEAN).unwrap();
    pair.run(Duration::from_secs(30));
    assert_eq!(pair.data_bytes, 0);
    assert!(size_of(&pair, 1) > before);
    // Also where the metadata were there are zeroes.
    assert_in_sync(&pair);
}

#[test]
fn a_size_may_be_named_and_the_rest_comes_later() {
    let (mut pair, before) = start();
    enlarge_both(&mut pair);
    let first = before + (1 << 20);
    pair.command(0, resize_to(first)).unwrap();
    pair.run(Duration::from_secs(30));
    assert_eq!([size_of(&pair, 0), size_of(&pair, 1)], [first; 2]);
    pair.command(0, RESIZE).unwrap();
    pair.run(Duration::from_secs(30));
    assert!(size_of(&pair, 1) > first);
    assert_in_sync(&pair);
}

#[test]
fn a_smaller_peer_never_truncates() {
    let (mut pair, before) = start();
    enlarge(&mut pair, 0, GROWN);
    let text = refusal(pair.command(0, RESIZE));
    assert!(text.contains("bob") && text.contains("and no more"), "{text}");
    assert_eq!([size_of(&pair, 0), size_of(&pair, 1)], [before; 2]);
    assert_in_sync(&pair);

    // Told that it has room, this node grows alone, and is used.
    pair.cut();
    pair.command(0, ALONE).unwrap();
    let after = size_of(&pair, 0);
    assert!(after > before);
    pair.write(0, after - 4096, &[9; 4096]);
    pair.linked = true;
    pair.run(Duration::from_secs(60));
    for node in 0..2 {
        let connection = connection(&pair, node);
        assert_ne!(connection.state, ConnectionState::Connected, "node {node}");
        let reason = connection.reason.unwrap();
        assert!(reason.contains("enlarge it"), "{reason}");
    }
    assert_eq!([size_of(&pair, 0), size_of(&pair, 1)], [after, before]);
    assert_eq!(&pair.read(0, after - 4096, 4)[..], [9; 4]);

    // Once it really has, it is found out without anybody's help.
    enlarge(&mut pair, 1, GROWN);
    pair.run(Duration::from_secs(120));
    assert_eq!(size_of(&pair, 1), after);
    assert_in_sync(&pair);
    assert_eq!(&pair.nodes[1].devices[0][..4], [1; 4]);
}

#[test]
fn what_cannot_be_is_refused_with_the_reason() {
    let (mut pair, before) = start();
    let text = refusal(pair.command(0, RESIZE));
    assert!(text.contains("enlarge the disks"), "{text}");
    enlarge(&mut pair, 0, DEVICE_BYTES + 4096);
    let text = refusal(pair.command(0, RESIZE));
    assert!(text.contains("at least"), "a move needs room: {text}");
    enlarge_both(&mut pair);
    let text = refusal(pair.command(0, resize_to(before - 4096)));
    assert!(text.contains("does not get smaller"), "{text}");
    let text = refusal(pair.command(0, resize_to(before + 100)));
    assert!(text.contains("multiple"), "{text}");
    let text = refusal(pair.command(0, resize_to(1 << 40)));
    assert!(text.contains("has room for"), "{text}");
    let text = refusal(pair.command(1, RESIZE));
    assert!(text.contains("run resize there"), "{text}");
    pair.command(0, Command::PauseSync { volume: VOLUME, peer: peer_of(0) }).unwrap();
    let invalidate =
        Command::InvalidateRemote { volume: VOLUME, peer: peer_of(0), reset_bitmap: true };
    pair.command(0, invalidate).unwrap();
    pair.run(Duration::from_secs(2));
    let text = refusal(pair.command(0, RESIZE));
    assert!(text.contains("PausedSyncS"), "{text}");
    pair.command(0, Command::ResumeSync { volume: VOLUME, peer: peer_of(0) }).unwrap();
    pair.run(Duration::from_secs(30));
    pair.command(1, Command::Detach { volume: VOLUME, force: true }).unwrap();
    let text = refusal(pair.command(0, RESIZE));
    assert!(text.contains("--assume-peer-has-space"), "{text}");
    assert_eq!(size_of(&pair, 0), before);
}

/// One node is killed before each disk operation of a resize and what follows it.
fn dies_at_each_step(victim: usize) {
    let mut sizes = [0; 2];
    for step in 0..200 {
        let (mut pair, before) = start();
        pair.cut();
        pair.write(0, 2 << 20, &[7; 4096]);
        pair.heal();
        assert_in_sync(&pair);
        enlarge_both(&mut pair);
        pair.doom = Some((victim, step));
        let command = pair.start(0, RESIZE);
        pair.run(Duration::from_secs(30));
        if pair.doom.is_some() {
            assert!(step > 20, "it takes some operations");
            assert_eq!(sizes.map(|count| count > 0), [true; 2], "{sizes:?}");
            return;
        }
        if victim == 1 {
            // Known to be larger or not, clients see what both have.
            assert!(pair.ended(0, command).is_some(), "step {step}: no command hangs");
        }
        pair.restart(victim);
        if victim == 0 {
            promote(&mut pair, 0);
        }
        assert_in_sync(&pair);
        let size = size_of(&pair, 0);
        sizes[usize::from(size > before)] += 1;
        assert_eq!(&pair.read(0, 2 << 20, 4)[..], [7; 4], "step {step}");
        if size == before {
            pair.command(0, RESIZE).unwrap_or_else(|error| panic!("step {step}: {error}"));
            pair.run(Duration::from_secs(30));
        }
        assert!(size_of(&pair, 1) > before);
        assert_in_sync(&pair);
    }
    panic!("it takes too many operations");
}

#[test]
fn a_primary_that_dies_at_any_step_has_the_old_size_or_the_new_one() {
    dies_at_each_step(0);
}

#[test]
fn a_secondary_that_dies_at_any_step_has_the_old_size_or_the_new_one() {
    dies_at_each_step(1);
}

#[test]
fn a_crash_leaves_no_metadata_among_the_data() {
    for victim in 0..2 {
        for step in 0..60 {
            let (mut pair, before) = start();
            for node in 0..2 {
                pair.nodes[node].devices[0].resize(GROWN, 0);
            }
            pair.doom = Some((victim, step));
            pair.start(0, CLEAN);
            pair.run(Duration::from_secs(30));
            if pair.doom.take().is_none() {
                pair.restart(victim);
            }
            if victim == 0 && pair.nodes[0].resource.status(pair.now).role == Role::Secondary {
                promote(&mut pair, 0);
            }
            if size_of(&pair, 0) == before {
                pair.command(0, CLEAN).unwrap_or_else(|error| panic!("step {step}: {error}"));
                pair.run(Duration::from_secs(30));
            }
            assert!(size_of(&pair, 0) > before);
            // Nothing of it was copied, and both are the same.
            assert_in_sync(&pair);
        }
    }
}

#[test]
fn bits_and_log_outlive_a_crash_at_any_step_of_a_move() {
    for step in 0..200 {
        let (mut pair, _) = start();
        pair.cut();
        // Bits, and writes of which only the log tells.
        pair.write(0, 2 << 20, &[7; 4096]);
        enlarge(&mut pair, 0, GROWN);
        enlarge(&mut pair, 1, GROWN);
        pair.doom = Some((0, step));
        pair.start(0, ALONE);
        for block in 0..8 {
            start_write(&mut pair, 0, (40 + block) << 14, 8);
            short(&mut pair);
        }
        pair.run(Duration::from_secs(1));
        let done = pair.doom.take().is_some();
        if done {
            pair.kill(0);
        }
        pair.linked = true;
        pair.restart(0);
        pair.try_connect(1, false).unwrap();
        pair.run(Duration::from_secs(60));
        assert_in_sync(&pair);
        assert_eq!(&pair.nodes[1].devices[0][2 << 20..(2 << 20) + 4], [7; 4], "step {step}");
        if done {
            return;
        }
    }
    panic!("it takes too many operations");
}

#[test]
fn a_disk_that_was_enlarged_while_its_node_was_down_is_recognised() {
    let (mut pair, before) = start();
    pair.kill(1);
    pair.write(0, 8192, &[4; 4096]);
    enlarge(&mut pair, 1, GROWN);
    pair.restart(1);
    assert_in_sync(&pair);
    assert_eq!(size_of(&pair, 1), before, "it is larger when somebody says so");
    // Its metadata are at the new end now: found at once.
    pair.kill(1);
    pair.restart(1);
    enlarge(&mut pair, 0, GROWN);
    pair.command(0, RESIZE).unwrap();
    pair.run(Duration::from_secs(30));
    assert!(size_of(&pair, 1) > before);
    assert_in_sync(&pair);
}

/// The peer has not got the new size yet when the disk here goes and comes back.
#[test]
fn a_size_that_the_peer_lacks_is_not_seen_when_the_disk_is_back() {
    let (mut pair, before) = start();
    enlarge_both(&mut pair);
    pair.cut_at = Some((0, |packet| matches!(packet, Packet::SyncUuid(..))));
    pair.start(0, RESIZE);
    while pair.cut_at.is_some() {
        short(&mut pair); // until both have decided on it
    }
    pair.linked = false;
    let volume = VOLUME;
    pair.command(0, Command::Detach { volume, force: true }).unwrap();
    pair.attach(0);
    assert_eq!(size_of(&pair, 0), before, "clients see what both have");
    pair.heal();
    assert!(size_of(&pair, 0) > before);
    assert_in_sync(&pair);
}

/// The copy of the superblock at the old end is damaged: the other one will do.
#[test]
fn an_enlarged_disk_is_recognised_by_either_copy() {
    for copy in [0, 1] {
        let (mut pair, before) = start();
        pair.kill(1);
        let end = pair.nodes[1].devices[0].len();
        let at = [end - (1 << 20), end - 4096][copy];
        pair.nodes[1].devices[0][at + 100] ^= 1;
        enlarge(&mut pair, 1, GROWN);
        pair.restart(1);
        assert_in_sync(&pair);
        assert_eq!(size_of(&pair, 1), before);
    }
}

#[test]
fn a_peer_that_missed_the_commit_learns_of_it_when_it_is_back() {
    let (mut pair, before) = start();
    enlarge_both(&mut pair);
    pair.hold[0] = meta_writes;
    // The reply is in; what it leads to is not durable yet.
    let command = pair.start(0, RESIZE);
    short(&mut pair);
    pair.release(0);
    pair.cut_at = Some((0, |packet| matches!(packet, Packet::Sizes(..))));
    pair.run(Duration::from_secs(1));
    assert_eq!(size_of(&pair, 0), before, "clients see what both have");
    pair.run(Duration::from_secs(30));
    let text = refusal(pair.ended(0, command).unwrap());
    assert!(text.contains("is stored here"), "{text}");
    pair.kill(0);
    pair.new_process(0);
    pair.attach(0);
    assert_eq!(size_of(&pair, 0), before, "also after a crash");
    pair.linked = true;
    pair.try_connect(0, false).unwrap();
    pair.run(Duration::from_secs(30));
    assert_in_sync(&pair);
    assert!(size_of(&pair, 0) > before);
    assert_eq!(size_of(&pair, 0), size_of(&pair, 1));
}

#[test]
fn writes_go_on_while_metadata_move() {
    let (mut pair, _) = start();
    enlarge_both(&mut pair);
    pair.hold[0] = meta_writes;
    let command = pair.start(0, RESIZE);
    short(&mut pair);
    let hot = start_write(&mut pair, 0, 0, 5);
    let cold = start_write(&mut pair, 0, 3 << 19, 6);
    short(&mut pair);
    assert!(pair.reply(0, hot).is_some(), "its extent is in the log");
    assert!(pair.reply(0, cold).is_none(), "the log rests");
    pair.release(0);
    pair.run(Duration::from_secs(1));
    assert!(pair.reply(0, cold).is_some());
    assert_eq!(pair.ended(0, command), Some(Ok(())));
    pair.run(Duration::from_secs(30));
    assert_in_sync(&pair);
}

#[test]
fn no_request_reaches_what_both_nodes_do_not_have() {
    let (mut pair, before) = start();
    enlarge_both(&mut pair);
    pair.hold[1] = meta_writes;
    pair.start(0, RESIZE);
    pair.run(Duration::from_secs(1));
    let range = ByteRange::new(before, 4096);
    let beyond = pair.request(0, 0, RequestOp::Read(range));
    assert!(matches!(pair.reply(0, beyond), Some(Err(_))));
    pair.release(1);
    pair.run(Duration::from_secs(30));
    assert_in_sync(&pair);
    pair.read(0, before, 4096);
}

#[test]
fn either_of_two_secondaries_may_be_told() {
    let (mut pair, before) = start();
    demote(&mut pair, 0);
    enlarge_both(&mut pair);
    pair.command(1, RESIZE).unwrap();
    pair.run(Duration::from_secs(30));
    assert_in_sync(&pair);
    assert!(size_of(&pair, 0) > before);
    promote(&mut pair, 0);
    pair.write(0, before, &[3; 4096]);
    swap_roles(&mut pair);
    assert_in_sync(&pair);
}

#[test]
fn a_full_log_goes_on_behind_a_move() {
    let (mut pair, _) = start();
    enlarge_both(&mut pair);
    for extent in 0..60 {
        pair.write(0, extent << 14, &[3; 4096]);
    }
    pair.command(0, RESIZE).unwrap();
    pair.run(Duration::from_secs(30));
    for extent in 60..120 {
        pair.write(0, extent << 14, &[4; 4096]);
    }
    pair.kill(0);
    pair.restart(0);
    assert_in_sync(&pair);
}

/// A peer without a disk has no room to be asked for, and hears of the size all the same.
#[test]
fn a_peer_without_a_disk_hears_of_the_size() {
    let (mut pair, before) = start();
    pair.command(1, Command::Detach { volume: VOLUME, force: false }).unwrap();
    enlarge(&mut pair, 0, GROWN);
    pair.command(0, ALONE).unwrap();
    pair.run(Duration::from_secs(5));
    assert!(size_of(&pair, 0) > before);
    assert_eq!(size_of(&pair, 1), size_of(&pair, 0));
    swap_roles(&mut pair);
    let last = size_of(&pair, 0) - 4096;
    pair.write(1, last, &[3; 4096]);
    assert_eq!(pair.read(1, last, 4)[..], [3; 4]);
}

/// A node got a new disk, a larger one, and meets its peer while that has none: the new disk says
/// nothing of how large the volume is.
#[test]
fn a_new_disk_alone_does_not_say_how_large_a_volume_is() {
    let (mut pair, before) = start();
    pair.kill(0);
    pair.kill(1);
    enlarge(&mut pair, 1, GROWN);
    pair.format(1);
    pair.new_process(0);
    pair.try_connect(0, false).unwrap();
    pair.restart(1);
    assert_eq!(connection(&pair, 1).state, ConnectionState::Connected);
    pair.attach(0);
    pair.run(Duration::from_secs(30));
    assert_in_sync(&pair);
    assert_eq!([0, 1].map(|node| size_of(&pair, node)), [before; 2]);
    assert_eq!(&pair.nodes[1].devices[0][..4], [1; 4]);
}

/// Nor does the only disk of both nodes, until an operator says that its data are good.
#[test]
fn a_forced_promotion_says_how_large_a_volume_is() {
    let mut pair = Pair::new(1, Protocol::C);
    pair.command(0, Command::Detach { volume: VOLUME, force: false }).unwrap();
    pair.connect();
    assert_eq!([0, 1].map(|node| size_of(&pair, node)), [0; 2]);
    pair.command(1, Command::Primary { force: true }).unwrap();
    pair.run(Duration::from_secs(5));
    let size = size_of(&pair, 1);
    assert!(size > 0);
    assert_eq!((size_of(&pair, 0), connection(&pair, 0).state), (size, ConnectionState::Connected));
    pair.attach(0);
    pair.run(Duration::from_secs(30));
    assert_in_sync(&pair);
}
