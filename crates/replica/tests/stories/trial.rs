//! Connecting only to find out what it would come to: it is told, and nothing has changed.

use std::time::Duration;

use tandem_replica::wire::{NodeId, Protocol};
use tandem_replica::{Command, CommandError, ConnectionState, SyncState};

use crate::pair::{Pair, peer_of};
use crate::stage::{assert_in_sync, connection, demote, promote};

fn trial(discard_my_data: bool) -> Command {
    Command::TryConnect { peer: NodeId(0), discard_my_data }
}

/// Node 1 has left; node 0 has written on.
fn apart() -> Pair {
    let mut pair = Pair::in_sync(1, Protocol::C);
    pair.command(1, Command::Disconnect { peer: NodeId(0), force: true }).unwrap();
    pair.write(0, 0, &[1; 8192]);
    pair
}

/// Then node 1 has, too.
fn split_brain() -> Pair {
    let mut pair = apart();
    pair.command(1, Command::Primary { force: true }).unwrap();
    promote(&mut pair, 1);
    pair.write(1, 4096, &[3; 4096]);
    demote(&mut pair, 1);
    pair
}

/// Node 1 tries. What it says then; no disk has changed, and no handler was called.
fn tried(pair: &mut Pair, discard_my_data: bool) -> String {
    let before = [0, 1].map(|node| pair.nodes[node].devices[0].clone());
    let called = [0, 1].map(|node| pair.nodes[node].called.len());
    pair.command(1, trial(discard_my_data)).unwrap();
    pair.run(Duration::from_secs(5));
    assert!(before == [0, 1].map(|node| pair.nodes[node].devices[0].clone()), "a disk changed");
    assert_eq!(called, [0, 1].map(|node| pair.nodes[node].called.len()), "a handler was called");
    let told = connection(pair, 1);
    assert_eq!(told.state, ConnectionState::StandAlone, "{told:?}");
    assert_eq!(connection(pair, 0).state, ConnectionState::Connecting);
    assert_eq!(connection(pair, 0).sync_state, SyncState::Normal, "the peer has decided nothing");
    told.reason.unwrap()
}

#[test]
fn a_trial_tells_who_would_copy_and_changes_nothing() {
    let mut pair = apart();
    let reason = tried(&mut pair, false);
    assert!(reason.contains("at most 2 blocks of 4 KiB would be copied to this node"), "{reason}");
    pair.write(0, 8192, &[2; 4096]);
    pair.try_connect(1, false).unwrap();
    pair.run(Duration::from_secs(30));
    assert_in_sync(&pair);
}

#[test]
fn a_trial_of_a_split_brain_calls_nobody() {
    let mut pair = split_brain();
    let reason = tried(&mut pair, false);
    assert!(reason.contains("it would be a split brain"), "{reason}");
    let reason = tried(&mut pair, true);
    assert!(reason.contains("would be copied to this node"), "{reason}");
}

#[test]
fn only_who_is_apart_tries() {
    let mut pair = Pair::in_sync(1, Protocol::C);
    let refused = pair.command(1, trial(false));
    assert!(matches!(&refused, Err(CommandError::Refused(text)) if text.contains("'disconnect'")));
    assert_in_sync(&pair);
}

/// Who says `connect` meanwhile means it.
#[test]
fn connect_ends_a_trial_that_goes_on() {
    let mut pair = apart();
    pair.hold_dials = true;
    pair.command(1, trial(false)).unwrap();
    pair.try_connect(1, false).unwrap();
    pair.dial(1);
    pair.run(Duration::from_secs(30));
    assert_in_sync(&pair);
}

/// Nor does it discard anything because the trial would have.
#[test]
fn connect_beside_a_trial_discards_nothing() {
    let mut pair = split_brain();
    pair.paused[1] = true;
    pair.start(1, trial(true));
    pair.dial(1);
    let connect = pair.try_connect_later(1, false);
    pair.paused[1] = false;
    pair.run(Duration::from_secs(30));
    assert_eq!(pair.ended(1, connect), Some(Ok(())));
    let told = connection(&pair, 1);
    assert!(matches!(told.sync_state, SyncState::SplitBrain(_)), "{told:?}");
}

/// Neither reports, so both would wait for ever.
#[test]
fn two_trials_of_each_other_end() {
    let mut pair = Pair::in_sync(1, Protocol::C);
    for node in 0..2 {
        pair.command(node, Command::Disconnect { peer: peer_of(node), force: true }).unwrap();
    }
    for node in 0..2 {
        let peer = peer_of(node);
        pair.command(node, Command::TryConnect { peer, discard_my_data: false }).unwrap();
    }
    pair.run(Duration::from_secs(120));
    let mut told = [0, 1].map(|node| connection(&pair, node)).into_iter();
    assert!(told.all(|it| it.state == ConnectionState::StandAlone), "{told:?}");
}
