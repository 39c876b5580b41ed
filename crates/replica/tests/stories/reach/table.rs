//! What must hold of any pair of reports, whatever the roles, the policies and what is said: the
//! answers mirror each other, node numbers break ties only, and policies decide as their table
//! says.

use tandem_replica::decision::{Decision, Rule, Settled, SplitBrain, settle};
use tandem_replica::wire::{
    AfterSplitBrain0Pri as Zero, AfterSplitBrain1Pri as One, AfterSplitBrain2Pri as Two, DiskState,
    NodeId, Policies, Role, RoleConflict,
};

use tandem_replica::decision::Side;

/// Checks the pair as it is and in every role that its disks allow, under every policy.
pub(super) fn check(sides: [Side; 2]) {
    for roles in [
        [Role::Secondary, Role::Secondary],
        [Role::Primary, Role::Secondary],
        [Role::Secondary, Role::Primary],
        [Role::Primary, Role::Primary],
    ] {
        let may =
            |node: usize| roles[node] == Role::Secondary || sides[node].disk == DiskState::UpToDate;
        if !may(0) || !may(1) {
            continue;
        }
        let with = [0, 1].map(|node| Side { role: roles[node], ..sides[node] });
        check_mirror(with);
        check_exchange(with);
        for policies in every_policy() {
            check_policy(with.map(|side| Side { policies, discard_my_data: false, ..side }));
        }
    }
}

fn every_policy() -> impl Iterator<Item = Policies> {
    let zeroes = Zero::PLAIN.iter().copied().chain([0, 1].map(|n| Zero::DiscardNode(NodeId(n))));
    let ones = |zero| One::ALL.iter().map(move |one| (zero, *one));
    zeroes.flat_map(ones).flat_map(|(after_sb_0pri, after_sb_1pri)| {
        Two::ALL.iter().map(move |two| Policies {
            after_sb_0pri,
            after_sb_1pri,
            after_sb_2pri: *two,
            always_asbp: false,
            rr_conflict: RoleConflict::Disconnect,
        })
    })
}

fn check_mirror([mine, peer]: [Side; 2]) {
    let (ours, theirs) = (settle(&[mine], &[peer]), settle(&[peer], &[mine]));
    let (a, b) = (ours.verdicts[0].decision, theirs.verdicts[0].decision);
    assert_eq!(mirror(a), b, "{mine:?}\n{peer:?}");
    assert!(!(ours.demote && theirs.demote), "{mine:?}\n{peer:?}");
}

fn mirror(decision: Decision) -> Decision {
    match decision {
        Decision::Source(extent) => Decision::Target(extent),
        Decision::Target(extent) => Decision::Source(extent),
        Decision::NoSync
        | Decision::SplitBrain
        | Decision::Unrelated
        | Decision::Refuse(_)
        | Decision::Retry(_) => decision,
    }
}

/// Rules in which node ids break ties.
fn breaks_ties(rule: Rule) -> bool {
    matches!(rule, Rule::DirtyBits | Rule::CrashedPrimary | Rule::NothingNew)
}

/// With the node ids exchanged the same node is source.
fn check_exchange([mine, peer]: [Side; 2]) {
    let swapped = [Side { node_id: peer.node_id, ..mine }, Side { node_id: mine.node_id, ..peer }];
    let before = settle(&[mine], &[peer]).verdicts[0];
    let after = settle(&[swapped[0]], &[swapped[1]]).verdicts[0];
    if !breaks_ties(before.rule) {
        assert_eq!(before, after, "{mine:?}\n{peer:?}");
    }
}

fn check_policy([mine, peer]: [Side; 2]) {
    check_mirror([mine, peer]);
    let found = settle(&[mine], &[peer]);
    let Some(split_brain) = found.split_brain else { return };
    let decision = found.verdicts[0].decision;
    let expected = expected_loser(&split_brain, &mine, &peer);
    let loser = match decision {
        Decision::Target(_) => Some(0),
        Decision::Source(_) => Some(1),
        Decision::NoSync
        | Decision::SplitBrain
        | Decision::Unrelated
        | Decision::Refuse(_)
        | Decision::Retry(_) => None,
    };
    assert_eq!(loser, expected, "{mine:?}\n{peer:?}\n{split_brain:?}");
    let settled = if loser.is_some() { Settled::ByPolicy } else { Settled::No };
    assert_eq!(split_brain.settled, settled);
}

/// DRBD's table, line by line; always-asbp is not set.
fn expected_loser(split_brain: &SplitBrain, mine: &Side, peer: &Side) -> Option<usize> {
    if split_brain.rule != Rule::BitmapBoth {
        return None;
    }
    let sides = [mine, peer];
    let primaries = sides.map(|side| side.role == Role::Primary);
    let zero = zero_primaries(split_brain, sides);
    let Policies { after_sb_1pri, after_sb_2pri, .. } = mine.policies;
    // (who loses, whether a Primary is demoted for it)
    let (loser, demoted) = match primaries {
        [false, false] => (zero, false),
        [true, true] => match after_sb_2pri {
            Two::Disconnect => (None, false),
            Two::CallPriLostAfterSb => (zero, true),
            Two::ViolentlyAs0p => (zero, false),
        },
        [true, false] | [false, true] => {
            let secondary = usize::from(primaries[0]);
            match after_sb_1pri {
                One::Disconnect => (None, false),
                One::Consensus => (zero.filter(|loser| *loser == secondary), false),
                One::DiscardSecondary => (Some(secondary), false),
                One::CallPriLostAfterSb => (zero, true),
                One::ViolentlyAs0p => (zero, false),
            }
        }
    };
    let loser = loser?;
    let winner_is_whole = sides[1 - loser].disk >= DiskState::Outdated;
    // rr-conflict is disconnect.
    let nothing = split_brain.mine.blocks == 0 && split_brain.peer.blocks == 0;
    let may_lose = match (primaries[loser], demoted) {
        (false, _) => true,
        (true, true) => !sides[loser].in_use,
        (true, false) => nothing,
    };
    let both = primaries == [true, true] && !demoted;
    (winner_is_whole && may_lose && !both).then_some(loser)
}

fn zero_primaries(split_brain: &SplitBrain, sides: [&Side; 2]) -> Option<usize> {
    let parties = [split_brain.mine, split_brain.peer];
    let blocks = parties.map(|party| party.blocks);
    let higher = usize::from(sides[0].node_id < sides[1].node_id);
    let zero_changes = match blocks.map(|blocks| blocks == 0) {
        [true, true] => Some(higher),
        [true, false] => Some(0),
        [false, true] => Some(1),
        [false, false] => None,
    };
    let least = match blocks[0].cmp(&blocks[1]) {
        std::cmp::Ordering::Less => 0,
        std::cmp::Ordering::Greater => 1,
        std::cmp::Ordering::Equal => higher,
    };
    let older = match parties.map(|party| party.was_primary) {
        [true, false] => Some(0),
        [false, true] => Some(1),
        [true, true] | [false, false] => None,
    };
    match sides[0].policies.after_sb_0pri {
        Zero::Disconnect => None,
        Zero::DiscardYoungerPrimary => {
            Some(older.map_or_else(|| zero_changes.unwrap_or(least), |older| 1 - older))
        }
        Zero::DiscardOlderPrimary => Some(older.unwrap_or_else(|| zero_changes.unwrap_or(least))),
        Zero::DiscardZeroChanges => zero_changes,
        Zero::DiscardLeastChanges => Some(least),
        Zero::DiscardNode(NodeId(node)) => Some(usize::from(node)),
    }
}
