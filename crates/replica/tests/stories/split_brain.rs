//! Both nodes wrote apart: what they see, and what operators and policies make of it.

use std::time::Duration;

use tandem_replica::decision::{Party, Policy, Rule};
use tandem_replica::wire::{
    AfterSplitBrain0Pri, AfterSplitBrain1Pri, AfterSplitBrain2Pri, NodeId, Packet, Policies,
    Protocol, Role, RoleConflict, Verdict, VolumeNumber,
};
use tandem_replica::{
    ClientId, Command, CommandError, ConnectionState, Divergence, Handler, SyncState,
};

use crate::pair::{CLIENT, Pair, Tamper, reads};
use crate::stage::{VOLUME, assert_in_sync, connection, demote, promote, short, write_op};

/// Both were Primary while the link was cut.
fn split_brain() -> Pair {
    let mut pair = Pair::in_sync(1, Protocol::C);
    pair.cut();
    pair.write(0, 0, &[1; 4096]);
    promote(&mut pair, 1);
    pair.write(1, 4096, &[2; 8192]);
    pair
}

fn data(pair: &Pair, node: usize) -> Vec<u8> {
    pair.nodes[node].devices[0][..pair.size()].to_vec()
}

fn was_told(pair: &Pair, node: usize, text: &str) -> bool {
    pair.nodes[node].events.iter().any(|event| event.contains(text))
}

#[track_caller]
fn assert_split(pair: &Pair) {
    for node in 0..2 {
        let connection = connection(pair, node);
        assert_eq!(connection.state, ConnectionState::StandAlone, "{connection:?}");
        assert!(matches!(connection.sync_state, SyncState::SplitBrain(_)), "{connection:?}");
    }
}

#[test]
fn a_split_brain_is_seen_by_both_and_changes_nothing() {
    let mut pair = split_brain();
    let before = [0, 1].map(|node| data(&pair, node));
    pair.heal();
    let parties = [Party { blocks: 1, was_primary: true }, Party { blocks: 2, was_primary: false }];
    for node in 0..2 {
        let connection = connection(&pair, node);
        assert_eq!(connection.state, ConnectionState::StandAlone);
        let expected = SyncState::SplitBrain(Divergence {
            volume: VOLUME,
            rule: Rule::BitmapBoth,
            policy: Some(Policy::TwoPrimaries(AfterSplitBrain2Pri::Disconnect)),
            own: parties[node],
            peer: parties[1 - node],
        });
        assert_eq!(connection.sync_state, expected);
        assert_eq!(data(&pair, node), before[node]);
        assert_eq!(pair.nodes[node].called, [Handler::InitialSplitBrain, Handler::SplitBrain]);
    }
}

/// The peer was away when the node was told to discard its data, and it was promoted instead: what
/// its clients write then is no part of what the operator gave up.
#[test]
fn who_is_promoted_discards_nothing() {
    let mut pair = Pair::in_sync(1, Protocol::C);
    pair.cut();
    demote(&mut pair, 0);
    pair.try_connect(1, true).unwrap();
    promote(&mut pair, 1);
    assert!(was_told(&pair, 1, "connect --discard-my-data is taken back"));
    pair.write(1, 4096, &[2; 8192]);
    let written = data(&pair, 1);
    pair.heal();
    pair.run(Duration::from_secs(60));
    assert_in_sync(&pair);
    assert_eq!(data(&pair, 0), written);
}

#[test]
fn discarding_one_side_resolves_a_split_brain() {
    for victim in 0..2 {
        let mut pair = split_brain();
        pair.heal();
        let refused = pair.try_connect(victim, true);
        assert!(matches!(refused, Err(CommandError::Refused(_))), "a Primary: {refused:?}");
        demote(&mut pair, victim);
        let survivor = data(&pair, 1 - victim);
        pair.try_connect(victim, true).unwrap();
        pair.run(Duration::from_secs(60));
        assert_in_sync(&pair);
        assert_eq!(data(&pair, 0), survivor);
        assert_eq!(connection(&pair, 1 - victim).sync_state, SyncState::Normal);
    }
}

/// 1. One side is to lose, the link breaks before it hears of the resync, and it serves again.
/// 2. What it has written since nobody has given up.
#[test]
fn a_loser_that_has_not_heard_has_not_lost() {
    let mut pair = split_brain();
    demote(&mut pair, 0);
    demote(&mut pair, 1);
    pair.heal();
    pair.cut_at = Some((0, |packet| matches!(packet, Packet::SyncUuid(..))));
    pair.try_connect(1, true).unwrap();
    pair.try_connect(0, false).unwrap();
    pair.run(Duration::from_secs(10));
    assert!(pair.cut_at.is_none(), "the winner was about to begin");
    pair.kill(1);
    pair.restart(1);
    promote(&mut pair, 1);
    pair.write(1, 65536, &[9; 4096]);
    demote(&mut pair, 1);
    pair.heal();
    assert_split(&pair);
    assert_eq!(pair.nodes[1].devices[0][65536..69632], [9; 4096], "overwritten");
    pair.data_bytes = 0;
    pair.try_connect(1, true).unwrap();
    pair.try_connect(0, false).unwrap();
    pair.run(Duration::from_secs(60));
    assert_in_sync(&pair);
    assert!(pair.data_bytes < 16 * 4096, "bits say what differs");
}

/// 1. Both wrote apart, on two volumes. Then a disk of one node's is taken away.
/// 2. The other node is to lose: only one volume would be the winner's, and the other of another
///    time. That is refused until the disk is back.
#[test]
fn nobody_gives_up_one_volume_for_a_node_without_the_other() {
    let mut pair = Pair::in_sync(2, Protocol::C);
    let second = VolumeNumber(1);
    pair.cut();
    pair.request(0, 0, write_op(0, 1));
    pair.request(0, 1, write_op(0, 1));
    promote(&mut pair, 1);
    pair.write(1, 4096, &[2; 4096]);
    pair.nodes[0].resource.close_client(ClientId(8), pair.now);
    demote(&mut pair, 0);
    demote(&mut pair, 1);
    pair.heal();
    assert_split(&pair);
    pair.command(0, Command::Detach { volume: second, force: false }).unwrap();
    let before = data(&pair, 1);
    let discard = |pair: &mut Pair| {
        pair.try_connect(1, true).unwrap();
        pair.try_connect(0, false).unwrap();
        pair.run(Duration::from_secs(60));
    };
    discard(&mut pair);
    assert_split(&pair);
    assert!(was_told(&pair, 1, "DiscardsInPart"));
    assert_eq!(data(&pair, 1), before);
    pair.command(0, Command::Attach { volume: second }).unwrap();
    discard(&mut pair);
    assert_in_sync(&pair);
}

/// 1. Apart, one node wrote the second volume, and the other one, promoted, the first.
/// 2. No volume was written by both, and yet the resource has two histories: a split brain.
#[test]
fn each_wrote_another_volume() {
    let mut pair = Pair::in_sync(2, Protocol::C);
    pair.cut();
    pair.request(0, 1, write_op(0, 1));
    pair.nodes[0].resource.close_client(ClientId(8), pair.now);
    demote(&mut pair, 0);
    promote(&mut pair, 1);
    pair.write(1, 4096, &[2; 4096]);
    demote(&mut pair, 1);
    let before = [0, 1].map(|node| pair.nodes[node].devices.clone());
    pair.heal();
    assert_split(&pair);
    assert_eq!(before, [0, 1].map(|node| pair.nodes[node].devices.clone()), "data have changed");
    pair.try_connect(1, true).unwrap();
    pair.try_connect(0, false).unwrap();
    pair.run(Duration::from_secs(60));
    assert_in_sync(&pair);
    assert_eq!((pair.nodes[0].devices[1][0], pair.nodes[0].devices[0][4096]), (1, 0));
}

/// A Primary went on with its peer's disk of one volume, and alone with its own of the other: both
/// are of one history, and each goes where it is older.
#[test]
fn one_history_on_two_nodes_is_no_split_brain() {
    let mut pair = Pair::in_sync(2, Protocol::C);
    pair.command(0, Command::Detach { volume: VOLUME, force: false }).unwrap();
    pair.write(0, 0, &[3; 4096]);
    pair.cut();
    pair.request(0, 1, write_op(0, 1));
    pair.run(Duration::from_secs(1));
    pair.nodes[0].resource.close_client(ClientId(8), pair.now);
    demote(&mut pair, 0);
    pair.command(0, Command::Attach { volume: VOLUME }).unwrap();
    pair.heal();
    assert_in_sync(&pair);
    assert_eq!((pair.nodes[0].devices[0][0], pair.nodes[1].devices[1][0]), (3, 1));
}

/// A peer whose decision is another one, by whatever fault: nobody acts.
#[test]
fn verdicts_that_do_not_mirror_each_other_are_not_acted_on() {
    let all: [Tamper; 3] = [
        |packet| told(packet, Verdict::Source),
        |packet| told(packet, Verdict::Target),
        |packet| told(packet, Verdict::SplitBrain),
    ];
    for tamper in all {
        let mut pair = Pair::in_sync(1, Protocol::C);
        pair.cut();
        pair.tamper = Some((1, tamper));
        let before = data(&pair, 1);
        pair.heal();
        let connection = connection(&pair, 0);
        assert_eq!(connection.state, ConnectionState::StandAlone);
        let reason = connection.reason.unwrap();
        assert!(reason.contains("different verdicts"), "{reason}");
        assert_eq!(data(&pair, 1), before);
    }
}

fn told(packet: Packet, wrong: Verdict) -> Packet {
    if let Packet::Verdict(volume, _) = packet { Packet::Verdict(volume, wrong) } else { packet }
}

#[test]
fn different_policies_keep_the_nodes_apart() {
    let mut pair = Pair::in_sync(1, Protocol::C);
    pair.cut();
    let after_sb_0pri = AfterSplitBrain0Pri::DiscardLeastChanges;
    pair.set_policies_of(0, Policies { after_sb_0pri, ..Policies::default() });
    pair.heal();
    for (node, text) in [
        (0, "after-sb-0pri settings: here discard-least-changes, at bob disconnect"),
        (1, "after-sb-0pri settings: here disconnect, at alice discard-least-changes"),
    ] {
        let connection = connection(&pair, node);
        assert_eq!(connection.state, ConnectionState::StandAlone);
        let reason = connection.reason.unwrap();
        assert!(reason.contains(&format!("incompatible {text}")), "{reason}");
    }
}

#[test]
fn the_secondary_loses_by_policy() {
    let mut pair = split_brain();
    demote(&mut pair, 1);
    let after_sb_1pri = AfterSplitBrain1Pri::DiscardSecondary;
    pair.set_policies(Policies { after_sb_1pri, ..Policies::default() });
    let (survivor, before) = (data(&pair, 0), pair.data_bytes);
    pair.heal();
    assert_in_sync(&pair);
    assert_eq!(data(&pair, 1), survivor);
    let settled = "settled by after-sb-1pri discard-secondary: ";
    assert!(was_told(&pair, 0, &format!("{settled}bob loses 2 blocks of 4 KiB (8192 bytes)")));
    assert!(was_told(&pair, 1, &format!("{settled}this node loses 2 blocks")));
    assert_eq!(pair.nodes[0].called, [Handler::InitialSplitBrain]);
    assert_eq!(pair.data_bytes - before, 3 * 4096, "only what differs is copied");
}

#[test]
fn who_was_primary_when_they_parted_is_remembered() {
    for (after_sb_0pri, survivor) in [
        (AfterSplitBrain0Pri::DiscardYoungerPrimary, 0),
        (AfterSplitBrain0Pri::DiscardOlderPrimary, 1),
    ] {
        let mut pair = split_brain();
        demote(&mut pair, 0);
        demote(&mut pair, 1);
        for node in 0..2 {
            pair.kill(node);
        }
        let kept = data(&pair, survivor);
        pair.linked = false;
        pair.restart(0);
        pair.restart(1);
        pair.set_policies(Policies { after_sb_0pri, ..Policies::default() });
        pair.heal();
        assert_in_sync(&pair);
        assert_eq!(data(&pair, 0), kept, "{after_sb_0pri}");
    }
}

#[test]
fn a_primary_without_clients_steps_back() {
    let policies = Policies {
        after_sb_0pri: AfterSplitBrain0Pri::DiscardNode(NodeId(0)),
        after_sb_1pri: AfterSplitBrain1Pri::CallPriLostAfterSb,
        ..Policies::default()
    };
    let mut pair = split_brain();
    demote(&mut pair, 1);
    pair.nodes[0].resource.close_client(CLIENT, pair.now);
    pair.set_policies(policies);
    let kept = data(&pair, 1);
    pair.heal();
    assert_in_sync(&pair);
    assert_eq!(data(&pair, 0), kept);
    assert_eq!(pair.nodes[0].resource.status(pair.now).role, Role::Secondary);
    assert_eq!(connection(&pair, 1).peer_role, Role::Secondary);
}

#[test]
fn a_primary_in_use_does_not_step_back() {
    let policies = Policies {
        after_sb_0pri: AfterSplitBrain0Pri::DiscardNode(NodeId(0)),
        after_sb_1pri: AfterSplitBrain1Pri::CallPriLostAfterSb,
        ..Policies::default()
    };
    let mut pair = split_brain();
    demote(&mut pair, 1);
    pair.set_policies(policies);
    let before = [0, 1].map(|node| data(&pair, node));
    pair.heal();
    assert_split(&pair);
    assert_eq!([0, 1].map(|node| data(&pair, node)), before);
    assert!(pair.nodes[0].called.contains(&Handler::PriLostAfterSb));
    assert!(!pair.nodes[1].called.contains(&Handler::PriLostAfterSb));
}

/// The generations have met only further back: bits do not tell what differs, so everything is
/// copied.
#[test]
fn a_complex_split_brain_is_settled_by_a_full_sync() {
    let mut pair = split_brain();
    pair.heal();
    assert_split(&pair);
    for node in 0..2 {
        demote(&mut pair, node);
        // Older metadata of another peer slot would do the same: what tracks the peer is lost.
        pair.command(node, Command::Detach { volume: VOLUME, force: true }).unwrap();
        forget_bitmap_uuid(&mut pair, node);
        pair.attach(node);
    }
    pair.set_policies(Policies {
        after_sb_0pri: AfterSplitBrain0Pri::DiscardNode(NodeId(1)),
        ..Policies::default()
    });
    pair.connect();
    pair.run(Duration::from_secs(60));
    assert_split(&pair);
    pair.set_policies(Policies {
        after_sb_0pri: AfterSplitBrain0Pri::DiscardNode(NodeId(1)),
        always_asbp: true,
        ..Policies::default()
    });
    let (kept, before) = (data(&pair, 0), pair.data_bytes);
    pair.connect();
    pair.run(Duration::from_secs(60));
    assert_in_sync(&pair);
    assert_eq!(data(&pair, 1), kept);
    assert!(pair.data_bytes - before >= pair.size() as u64, "not everything was copied");
}

/// Moves the bitmap UUID for the peer into the history, as metadata that met a third state would.
fn forget_bitmap_uuid(pair: &mut Pair, node: usize) {
    let device = &mut pair.nodes[node].devices[0];
    crate::pair::edit_superblock(device, |superblock| {
        let slot = superblock.peers.iter_mut().flatten().next().unwrap();
        let old = std::mem::replace(&mut slot.bitmap_uuid, tandem_replica::wire::Uuid::NONE);
        superblock.history.rotate_right(1);
        superblock.history[0] = old;
    });
}

#[test]
fn a_conflict_of_roles_is_tried_again_until_it_is_gone() {
    let mut pair = Pair::in_sync(1, Protocol::C);
    demote(&mut pair, 0);
    pair.cut();
    promote(&mut pair, 1);
    pair.write(1, 0, &[1; 4096]);
    demote(&mut pair, 1);
    promote(&mut pair, 0);
    let rr_conflict = RoleConflict::RetryConnect;
    pair.set_policies(Policies { rr_conflict, ..Policies::default() });
    pair.heal();
    for node in 0..2 {
        assert_eq!(connection(&pair, node).state, ConnectionState::Connecting);
    }
    demote(&mut pair, 0);
    pair.run(Duration::from_secs(60));
    assert_in_sync(&pair);
}

#[test]
fn a_conflict_of_roles_calls_for_help() {
    let mut pair = Pair::in_sync(1, Protocol::C);
    demote(&mut pair, 0);
    pair.cut();
    promote(&mut pair, 1);
    pair.write(1, 0, &[1; 4096]);
    demote(&mut pair, 1);
    promote(&mut pair, 0);
    let rr_conflict = RoleConflict::CallPriLost;
    pair.set_policies(Policies { rr_conflict, ..Policies::default() });
    pair.heal();
    assert_eq!(connection(&pair, 0).state, ConnectionState::StandAlone);
    assert_eq!(pair.nodes[0].called, [Handler::PriLost]);
    assert!(pair.nodes[1].called.is_empty());
}

/// Only one node wrote; its operator wants the state before.
#[test]
fn discarding_goes_back_to_older_data() {
    let mut pair = Pair::in_sync(1, Protocol::C);
    pair.write(0, 0, &[1; 4096]);
    pair.cut();
    pair.write(0, 0, &[2; 4096]);
    demote(&mut pair, 0);
    pair.command(0, Command::Disconnect { peer: NodeId(1), force: true }).unwrap();
    pair.try_connect(0, true).unwrap();
    pair.heal();
    assert_in_sync(&pair);
    assert_eq!(pair.nodes[0].devices[0][..4096], [1; 4096]);
    assert!(was_told(&pair, 0, "reverting to older data"));
    pair.cut();
    promote(&mut pair, 1);
    pair.write(1, 0, &[3; 4096]);
    pair.heal();
    assert_in_sync(&pair);
}

/// 1. node 1 copies from node 0, of the same generation, and is cut off; 2. node 0 is written to;
/// 3. node 1 is made Primary by force. Node 0's newer data must not be replaced: nobody has given
///    them up.
#[test]
fn force_on_half_a_copy_is_one_side_of_a_split_brain() {
    let mut pair = Pair::in_sync(1, Protocol::C);
    pair.hold[0] = reads;
    pair.start(1, Command::Invalidate { volume: VOLUME, reset_bitmap: true });
    pair.run(Duration::from_secs(1));
    pair.cut();
    pair.release(0);
    pair.write(0, 8192, &[7; 4096]);
    demote(&mut pair, 0);
    pair.command(1, Command::Primary { force: true }).unwrap();
    pair.command(1, Command::Secondary { force: false }).unwrap();
    pair.heal();
    assert_split(&pair);
    assert_eq!(pair.nodes[0].devices[0][8192..12288], [7; 4096], "an acknowledged write is lost");
    pair.try_connect(1, true).unwrap();
    pair.try_connect(0, false).unwrap();
    pair.run(Duration::from_secs(60));
    assert_in_sync(&pair);
    assert_eq!(pair.nodes[0].devices[0][8192..12288], [7; 4096]);
}

/// 1. the Primary dies; 2. its peer is promoted, and loses the disk of one volume; 3. the dead one
///    comes back as Secondary, and has that volume for it; 4. both volumes are written; 5. the disk
///    comes back, and the other volume is written while they negotiate: each has the newer data of
///    one, and only one of them wrote.
#[test]
fn who_lent_its_disk_has_not_gone_on() {
    let lent = VolumeNumber(1);
    let mut pair = Pair::in_sync(2, Protocol::C);
    pair.kill(0);
    pair.command(1, Command::Primary { force: false }).unwrap();
    for volume in 0..2 {
        let (client, volume) = (ClientId(7 + u64::from(volume)), VolumeNumber(volume));
        pair.nodes[1].resource.open_client(client, volume, pair.now).unwrap();
    }
    pair.command(1, Command::Detach { volume: lent, force: true }).unwrap();
    pair.write(1, 0, &[1; 4096]);
    pair.revive(0);
    pair.run(Duration::from_secs(30));
    let write = pair.request(1, 1, write_op(0, 2));
    short(&mut pair);
    assert_eq!(pair.reply(1, write), Some(Ok(None)));
    pair.hold_dials = true;
    pair.start(1, Command::Attach { volume: lent });
    pair.run(Duration::from_secs(10)); // longer than writes wait for that
    pair.write(1, 8192, &[3; 4096]);
    pair.dial(1);
    pair.run(Duration::from_secs(30));
    assert_in_sync(&pair);
    for node in 0..2 {
        assert_eq!(pair.nodes[node].devices[0][8192..12288], [3; 4096]);
        assert_eq!(pair.nodes[node].devices[1][..4096], [2; 4096]);
    }
}
