//! Split brains and what the policies make of them.

use tandem_wire::{
    AfterSplitBrain0Pri as Zero, AfterSplitBrain1Pri as One, AfterSplitBrain2Pri as Two,
};

use super::*;

const LOSE: Decision = TARGET_BITS;
const WIN: Decision = SOURCE_BITS;
const STAY: Decision = Decision::SplitBrain;

fn ours() -> Side {
    side(0, A).bitmap(C).dirty(5)
}

fn theirs() -> Side {
    side(1, B).bitmap(C).dirty(7)
}

fn was_primary(side: Side) -> Side {
    side.flags(|flags| flags.was_primary = true)
}

/// The decision with these policies on both sides; checks that the peer's mirrors it.
#[track_caller]
fn settled(mine: Side, peer: Side, policies: Policies) -> Decision {
    settlement(mine, peer, policies).verdicts[0].decision
}

#[track_caller]
fn settlement(mine: Side, peer: Side, policies: Policies) -> Settlement {
    let (mine, peer) = (Side { policies, ..mine }, Side { policies, ..peer });
    let (found, mirrored) = (settle(&[mine], &[peer]), settle(&[peer], &[mine]));
    let decision = universe::mirror(found.verdicts[0].decision);
    assert_eq!(mirrored.verdicts[0].decision, decision, "no mirror: {policies:?}");
    found
}

fn zero(after_sb_0pri: Zero) -> Policies {
    Policies { after_sb_0pri, ..Policies::default() }
}

fn one(after_sb_0pri: Zero, after_sb_1pri: One) -> Policies {
    Policies { after_sb_0pri, after_sb_1pri, ..Policies::default() }
}

fn two(after_sb_0pri: Zero, after_sb_2pri: Two) -> Policies {
    Policies { after_sb_0pri, after_sb_2pri, ..Policies::default() }
}

#[test]
fn without_a_primary() {
    let node = |node| Zero::DiscardNode(NodeId(node));
    let (unchanged, changed) = (ours().dirty(0), ours());
    for (policy, mine, peer, decision) in [
        (Zero::Disconnect, ours(), theirs(), STAY),
        (Zero::DiscardYoungerPrimary, was_primary(ours()), theirs(), WIN),
        (Zero::DiscardYoungerPrimary, ours(), was_primary(theirs()), LOSE),
        (Zero::DiscardYoungerPrimary, ours(), theirs(), LOSE),
        (Zero::DiscardYoungerPrimary, was_primary(ours()), was_primary(theirs()), LOSE),
        (Zero::DiscardOlderPrimary, was_primary(ours()), theirs(), LOSE),
        (Zero::DiscardOlderPrimary, ours(), was_primary(theirs()), WIN),
        (Zero::DiscardOlderPrimary, ours(), theirs().dirty(0), WIN),
        (Zero::DiscardZeroChanges, unchanged, theirs().dirty(0), WIN),
        (Zero::DiscardZeroChanges, unchanged, theirs(), LOSE),
        (Zero::DiscardZeroChanges, changed, theirs().dirty(0), WIN),
        (Zero::DiscardZeroChanges, changed, theirs(), STAY),
        (Zero::DiscardLeastChanges, ours(), theirs(), LOSE),
        (Zero::DiscardLeastChanges, ours().dirty(9), theirs(), WIN),
        (Zero::DiscardLeastChanges, ours().dirty(7), theirs(), WIN),
        (node(0), ours(), theirs(), LOSE),
        (node(1), ours(), theirs(), WIN),
        (node(2), ours(), theirs(), STAY),
    ] {
        assert_eq!(settled(mine, peer, zero(policy)), decision, "{policy} {mine:?} {peer:?}");
    }
}

#[test]
fn with_one_primary() {
    let (mine_loses, peer_loses) = (Zero::DiscardNode(NodeId(0)), Zero::DiscardNode(NodeId(1)));
    let refused = STAY;
    for (policy, zero, decision) in [
        (One::Disconnect, peer_loses, STAY),
        (One::Consensus, peer_loses, WIN),
        (One::Consensus, mine_loses, STAY),
        (One::DiscardSecondary, Zero::Disconnect, WIN),
        (One::DiscardSecondary, mine_loses, WIN),
        (One::CallPriLostAfterSb, peer_loses, WIN),
        (One::CallPriLostAfterSb, mine_loses, LOSE),
        (One::CallPriLostAfterSb, Zero::Disconnect, STAY),
        (One::ViolentlyAs0p, peer_loses, WIN),
        (One::ViolentlyAs0p, mine_loses, refused),
    ] {
        let found = settled(ours().primary(), theirs(), one(zero, policy));
        assert_eq!(found, decision, "{zero} {policy:?}");
    }
}

#[test]
fn a_primary_that_loses_is_demoted_if_it_can_be() {
    let policies = one(Zero::DiscardNode(NodeId(0)), One::CallPriLostAfterSb);
    let idle = settlement(ours().primary(), theirs(), policies);
    assert!(idle.demote && !idle.primary_lost);
    let other = settlement(theirs(), ours().primary(), policies);
    assert_eq!((other.verdicts[0].decision, other.demote), (WIN, false));
    let busy = Side { in_use: true, ..ours().primary() };
    let found = settlement(busy, theirs(), policies);
    assert_eq!(found.verdicts[0].decision, STAY);
    assert!(!found.demote && found.primary_lost);
    assert!(!settlement(theirs(), busy, policies).primary_lost);
}

#[test]
fn with_two_primaries() {
    let mine_loses = Zero::DiscardNode(NodeId(0));
    let (mine, peer) = (ours().primary(), theirs().primary());
    assert_eq!(settled(mine, peer, two(mine_loses, Two::Disconnect)), STAY);
    let found = settlement(mine, peer, two(mine_loses, Two::CallPriLostAfterSb));
    assert_eq!((found.verdicts[0].decision, found.demote), (LOSE, true));
    let violent = two(mine_loses, Two::ViolentlyAs0p);
    assert_eq!(settled(mine, peer, violent), STAY);
    let more = Policies { rr_conflict: RoleConflict::Violently, ..violent };
    assert_eq!(settled(mine, peer, more), STAY, "two Primaries are never connected");
}

#[test]
fn violence_needs_two_settings() {
    let policies = one(Zero::DiscardNode(NodeId(0)), One::ViolentlyAs0p);
    let violent = Policies { rr_conflict: RoleConflict::Violently, ..policies };
    assert_eq!(settled(ours().primary(), theirs(), policies), STAY);
    assert_eq!(settled(ours().primary(), theirs(), violent), LOSE);
}

#[test]
fn bits_of_different_generations_settle_nothing_but_by_always_asbp() {
    let (mine, peer) = (side(0, A).history(&[C]).dirty(5), side(1, B).history(&[C]));
    let asbp = |after_sb_0pri| Policies { always_asbp: true, ..zero(after_sb_0pri) };
    assert_eq!(settled(mine, peer, zero(Zero::DiscardLeastChanges)), STAY);
    assert_eq!(settled(mine, peer, asbp(Zero::DiscardLeastChanges)), SOURCE_FULL);
    assert_eq!(settled(mine, peer, asbp(Zero::DiscardZeroChanges)), STAY);
    let only_here = Side { policies: asbp(Zero::DiscardLeastChanges), ..mine };
    let there = Side { policies: zero(Zero::DiscardLeastChanges), ..peer };
    assert_eq!(settle(&[only_here], &[there]).verdicts[0].decision, STAY);
    let crossed = (side(0, A).bitmap(B).dirty(5), side(1, B).bitmap(A));
    let node = Zero::DiscardNode(NodeId(0));
    assert_eq!(settled(crossed.0, crossed.1, zero(node)), STAY);
    assert_eq!(settled(crossed.0, crossed.1, asbp(node)), TARGET_FULL);
}

#[test]
fn an_operator_has_said_it_before_any_policy() {
    let policies = zero(Zero::DiscardNode(NodeId(1)));
    let found = settlement(ours().discards(), theirs(), policies);
    assert_eq!(found.verdicts[0].decision, LOSE);
    assert_eq!(found.split_brain.unwrap().settled, Settled::Manually);
}

#[test]
fn a_winner_needs_a_whole_image() {
    let half = theirs().disk(DiskState::Inconsistent);
    let found = settlement(ours(), half, zero(Zero::DiscardNode(NodeId(0))));
    assert_eq!(found.verdicts[0].decision, STAY);
    assert_eq!(found.split_brain.unwrap().settled, Settled::No);
}

/// One has the newer data of the first volume, the other one of the second, and both have both
/// disks (docs/decisions/0029-volumes-apart-by-their-disks.md).
#[test]
fn newer_volumes_on_both_sides_are_a_split_brain() {
    let (newer, older) = (side(0, B).bitmap(A).dirty(5), side(0, A));
    let of_peer = |side: Side| Side { node_id: NodeId(1), ..side };
    let mine = [newer, older].map(was_primary);
    let peer = [older, newer].map(of_peer);
    let decisions = |mine: &[Side], peer: &[Side]| -> Vec<Decision> {
        settle(mine, peer).verdicts.iter().map(|it| it.decision).collect()
    };
    assert_eq!(decisions(&mine, &peer), [WIN, LOSE], "one was the other's disk for a while");
    let marked = peer.map(|side| side.flags(|flags| flags.went_on = true));
    assert_eq!(decisions(&mine, &[marked[0], peer[1]]), [WIN, LOSE], "a mark on older data");
    let peer = marked;
    for (mine, peer) in [(&mine, &peer), (&peer, &mine)] {
        assert_eq!(decisions(mine, peer), [STAY; 2]);
        let found = settle(mine, peer).split_brain.unwrap();
        assert_eq!((found.rule, found.settled), (Rule::VolumesCrossed, Settled::No));
    }
    let (one, other) = (mine.map(Side::primary), peer.map(Side::primary));
    for (mine, peer) in [(one, peer), (mine, other), (one, other)] {
        assert_eq!(decisions(&mine, &peer), [STAY; 2], "{:?} and {:?}", mine[0].role, peer[0].role);
    }
    assert_eq!(decisions(&mine.map(Side::discards), &peer), [LOSE; 2]);
    assert_eq!(decisions(&mine, &peer.map(Side::discards)), [WIN; 2]);
    let half = peer.map(|side| side.disk(DiskState::Inconsistent));
    assert_eq!(decisions(&mine, &[half[0], peer[1]]), [WIN, LOSE], "a resync is open");
    let away = peer[0].disk(DiskState::Diskless);
    let compared = [Decision::NoSync, LOSE];
    assert_eq!(decisions(&mine, &[away, peer[1]]), compared, "what is compared with nothing");
}

/// Of one volume the loser has the only whole image, of another both have one: the peer's first is
/// half a copy, or has no disk.
#[test]
fn nobody_loses_in_part() {
    let policies = zero(Zero::DiscardNode(NodeId(0)));
    for (disk, here, there) in [
        (DiskState::Inconsistent, SOURCE_BITS, TARGET_BITS),
        (DiskState::Diskless, Decision::NoSync, Decision::NoSync),
    ] {
        let mine = [ours(), ours()].map(|it| Side { policies, ..it });
        let peer = [side(1, A).disk(disk), theirs()].map(|it| Side { policies, ..it });
        assert_eq!(settle(&mine, &peer).verdicts[1].decision, STAY);
        let told = mine.map(Side::discards);
        let decisions = |mine: &[Side], peer: &[Side]| -> Vec<Decision> {
            settle(mine, peer).verdicts.iter().map(|it| it.decision).collect()
        };
        let refused = Decision::Refuse(Refusal::DiscardsInPart);
        assert_eq!(decisions(&told, &peer), [here, refused]);
        assert_eq!(decisions(&peer, &told), [there, refused]);
        assert_eq!(decisions(&mine, &peer.map(Side::discards)), [here, SOURCE_BITS]);
    }
}

#[test]
fn a_node_loses_in_all_volumes_alike() {
    let policies = zero(Zero::DiscardLeastChanges);
    let with = |side| Side { policies, ..side };
    let (newer, older) = (with(side(0, B).bitmap(A).dirty(1)), with(side(1, A)));
    let (mine, peer) = ([newer, with(ours())], [older, with(theirs())]);
    let found = settle(&mine, &peer);
    let decisions: Vec<Decision> = found.verdicts.iter().map(|it| it.decision).collect();
    assert_eq!(decisions, [TARGET_BITS, TARGET_BITS]);
    let split_brain = found.split_brain.unwrap();
    assert_eq!((split_brain.volume, split_brain.rule), (1, Rule::BitmapBoth));
    assert_eq!((split_brain.mine.blocks, split_brain.peer.blocks), (6, 7));
    assert_eq!(split_brain.policy, Some(Policy::NoPrimary(Zero::DiscardLeastChanges)));
    assert_eq!(split_brain.policy.unwrap().to_string(), "after-sb-0pri discard-least-changes");
}

#[test]
fn different_policies_settle_nothing() {
    let mine = Side { policies: zero(Zero::DiscardLeastChanges), ..ours() };
    assert_eq!(settle(&[mine], &[theirs()]).verdicts[0].decision, STAY);
}
