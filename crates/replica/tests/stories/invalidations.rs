//! Data that an operator declares wrong: never the last good ones.

use std::time::Duration;

use tandem_replica::wire::{DiskState, NodeId, Packet, Protocol};
use tandem_replica::{Command, CommandError};

use crate::pair::{Pair, data_writes, flushes, meta_writes, reads};
use crate::stage::{VOLUME, assert_in_sync, connection, demote, disks, short, start_write};

const ALL: Command = Command::Invalidate { volume: VOLUME, reset_bitmap: true };
const BY_BITS: Command = Command::Invalidate { volume: VOLUME, reset_bitmap: false };

fn remote(peer: u8, reset_bitmap: bool) -> Command {
    Command::InvalidateRemote { volume: VOLUME, peer: NodeId(peer), reset_bitmap }
}

fn secondaries() -> Pair {
    let mut pair = Pair::in_sync(1, Protocol::C);
    demote(&mut pair, 0);
    pair
}

/// Commands that cross on the link: the lower node id's counts, whoever is to lose by it.
#[test]
fn of_two_that_cross_one_is_refused() {
    for (commands, loser) in [
        ([ALL, ALL], 0),
        ([remote(1, true), remote(0, true)], 1),
        ([ALL, remote(0, true)], 0),
        ([remote(1, true), ALL], 1),
    ] {
        let mut pair = secondaries();
        pair.hold = [reads; 2];
        let ids = [0, 1].map(|node| pair.start(node, commands[node]));
        pair.run(Duration::from_secs(2));
        let mut expected = [DiskState::UpToDate; 2];
        expected[loser] = DiskState::Inconsistent;
        assert_eq!(disks(&pair), expected, "{commands:?}");
        let ended = [0, 1].map(|node| pair.ended(node, ids[node]).unwrap());
        let is_remote = |command| matches!(command, Command::InvalidateRemote { .. });
        if is_remote(commands[0]) == is_remote(commands[1]) {
            assert!(ended[0].is_ok() && ended[1].is_err(), "{commands:?}: {ended:?}");
        } else {
            // One that wants the same may find the session ended by the other.
            assert!(ended.iter().any(Result::is_ok), "{commands:?}: {ended:?}");
        }
        pair.release(0);
        pair.release(1);
        pair.run(Duration::from_secs(60));
        assert_in_sync(&pair);
    }
}

/// The disk goes away while the Primary waits for what the peer has not durably yet.
#[test]
fn a_disk_detached_meanwhile_ends_its_invalidation() {
    let mut pair = Pair::in_sync(1, Protocol::C);
    pair.hold[1] = flushes;
    pair.write(0, 0, &[1; 4096]);
    let invalidate = pair.start(0, ALL);
    let detach = pair.start(0, Command::Detach { volume: VOLUME, force: false });
    pair.run(Duration::from_millis(100));
    pair.release(1);
    pair.run(Duration::from_secs(1));
    assert_eq!(pair.ended(0, detach), Some(Ok(())));
    assert!(pair.ended(0, invalidate).is_some_and(|ended| ended.is_err()));
    assert_eq!(disks(&pair)[1], DiskState::UpToDate, "the last good copy");
    pair.attach(0);
    pair.run(Duration::from_secs(60));
    assert_in_sync(&pair);
}

/// One node gives its data up for the other's, whose disk is to go: whichever command has come
/// first, one of them is refused, and a good disk is left.
#[test]
fn the_disk_to_copy_from_stays() {
    for invalidates_first in [true, false] {
        let mut pair = Pair::in_sync(1, Protocol::C);
        pair.hold = [meta_writes, meta_writes];
        let detach = Command::Detach { volume: VOLUME, force: false };
        let commands =
            if invalidates_first { [(1, ALL), (0, detach)] } else { [(0, detach), (1, ALL)] };
        let ids = commands.map(|(node, command)| {
            let id = pair.start(node, command);
            short(&mut pair);
            (node, id)
        });
        pair.release(0);
        pair.release(1);
        pair.run(Duration::from_secs(60));
        let [first, second] = ids.map(|(node, id)| pair.ended(node, id).unwrap());
        assert_eq!((first, second), (Ok(()), Err(CommandError::Concurrent)), "{commands:?}");
        let write = start_write(&mut pair, 0, 0, 7);
        short(&mut pair);
        assert!(matches!(pair.reply(0, write), Some(Ok(_))), "{commands:?}");
    }
}

#[test]
fn by_bits_nothing_is_copied_that_is_not_known_to_differ() {
    for command in [BY_BITS, remote(0, false)] {
        let mut pair = secondaries();
        let node = usize::from(matches!(command, Command::InvalidateRemote { .. }));
        let before = pair.data_bytes;
        pair.command(node, command).unwrap();
        pair.run(Duration::from_secs(30));
        assert_in_sync(&pair);
        assert_eq!(pair.data_bytes, before, "{command:?}");
    }
}

#[test]
fn a_node_that_is_standalone_marks_its_data() {
    let mut pair = secondaries();
    pair.command(1, Command::Disconnect { peer: NodeId(0), force: false }).unwrap();
    pair.nodes[1].devices[0][..4096].fill(7);
    pair.command(1, ALL).unwrap();
    assert_eq!(disks(&pair)[1], DiskState::Inconsistent);
    pair.kill(1);
    pair.restart(1);
    assert_in_sync(&pair);
}

#[test]
fn a_node_whose_peer_is_away_keeps_its_data() {
    let mut pair = secondaries();
    pair.cut();
    let refused = pair.command(1, ALL);
    assert!(matches!(refused, Err(CommandError::Refused(_))), "{refused:?}");
    assert_eq!(disks(&pair)[1], DiskState::UpToDate);
}

/// The peer has agreed and its word is lost: whatever it did is put right when they meet.
#[test]
fn a_word_that_is_lost_leaves_one_good_copy() {
    for command in [ALL, remote(1, true)] {
        let mut pair = secondaries();
        pair.cut_at = Some((1, |packet| matches!(packet, Packet::PrepareReply { .. })));
        let id = pair.start(0, command);
        pair.run(Duration::from_secs(1));
        assert!(matches!(pair.ended(0, id), Some(Err(CommandError::Refused(_)))));
        assert!(disks(&pair).contains(&DiskState::UpToDate));
        pair.heal();
        assert_in_sync(&pair);
    }
}

/// The peer does not come to mark its data.
#[test]
fn a_slow_peer_is_not_waited_for() {
    let mut pair = secondaries();
    pair.hold[1] = meta_writes;
    let id = pair.start(0, remote(1, true));
    pair.run(Duration::from_secs(7));
    assert!(matches!(pair.ended(0, id), Some(Err(CommandError::Timeout { .. }))));
    pair.release(1);
    pair.run(Duration::from_secs(60));
    assert_in_sync(&pair);
    assert!(connection(&pair, 0).reason.is_none());
}

/// In A a reply does not wait for the peer: what only a Primary has goes there before its own data
/// count for nothing.
#[test]
fn a_primary_drains_before_it_gives_its_data_up() {
    let mut pair = Pair::in_sync(1, Protocol::A);
    pair.hold[1] = data_writes;
    let write = start_write(&mut pair, 0, 0, 7);
    assert_eq!(pair.reply(0, write), Some(Ok(None)));
    let id = pair.start(0, ALL);
    let late = start_write(&mut pair, 0, 8192, 8);
    short(&mut pair);
    assert_eq!(disks(&pair)[0], DiskState::UpToDate);
    pair.release(1);
    pair.run(Duration::from_secs(60));
    assert_eq!(pair.ended(0, id), Some(Ok(())));
    assert_eq!(pair.reply(0, late), Some(Ok(None)));
    assert_in_sync(&pair);
    assert_eq!(pair.nodes[1].devices[0][..4096], [7; 4096], "an acknowledged write is lost");
}
