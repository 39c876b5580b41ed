//! Every pair of a small universe: the answers mirror each other, and no answer puts good data
//! under worse.

use super::*;

/// What must hold of any two sides.
#[track_caller]
pub(super) fn check(mine: &Side, peer: &Side) {
    let (ours, theirs) = (decide(mine, peer), decide(peer, mine));
    let rule = mirror_rule(ours, mine, peer);
    let mirrored = Verdict { decision: mirror(ours.decision), rule, reverted: ours.reverted };
    assert_eq!(theirs, mirrored, "no mirror: {mine:?} against {peer:?}");
    let (source, target) = match ours.decision {
        Decision::Source(_) => (mine, peer),
        Decision::Target(_) => (peer, mine),
        Decision::NoSync => return check_no_sync(ours.rule, mine, peer),
        Decision::SplitBrain | Decision::Unrelated => {
            let both = [mine, peer];
            assert!(both.iter().all(|side| side.uuids.current.is_real()));
            assert!(mine.uuids.current != peer.uuids.current, "one generation, {ours:?}");
            return;
        }
        Decision::Refuse(_) | Decision::Retry(_) => return,
    };
    let whole = DiskState::Outdated..=DiskState::UpToDate;
    assert!(whole.contains(&source.disk), "bad source: {mine:?} against {peer:?}");
    assert!(source.uuids.current.is_real(), "empty source: {mine:?} against {peer:?}");
    let has_data = target.disk >= DiskState::Consistent;
    let is_empty = source.uuids.dirty_blocks == 0 && target.uuids.dirty_blocks == 0;
    let bears_it = target.policies.rr_conflict == RoleConflict::Violently || is_empty;
    let may_target = target.role != Role::Primary || !has_data || bears_it;
    assert!(may_target, "target: {mine:?} against {peer:?}");
    let both_primary = [source, target].iter().all(|side| side.role == Role::Primary);
    assert!(!both_primary, "two Primaries: {mine:?} against {peer:?}");
    let has_other = is_whole(target) && target.uuids.current.is_real();
    let has_discarded = source.discard_my_data && !target.discard_my_data && has_other;
    assert!(!has_discarded, "discarded: {mine:?} against {peer:?}");
    assert_eq!(disk_after(SOURCE_BITS, source, target), DiskState::UpToDate);
}

/// Rule 2, with its documented exceptions: nobody has data to give.
fn check_no_sync(rule: Rule, mine: &Side, peer: &Side) {
    let has_data = [mine, peer].iter().all(|side| side.uuids.current.is_real());
    let is_half = |side: &Side| side.disk == DiskState::Inconsistent;
    match rule {
        Rule::Diskless => assert!(
            [mine, peer]
                .iter()
                .any(|side| side.disk == DiskState::Diskless || !(is_half(side) || is_whole(side)))
        ),
        Rule::JustCreatedBoth => {
            assert!([mine, peer].iter().all(|side| !side.uuids.current.is_real()));
        }
        Rule::InconsistentBoth => assert!(is_half(mine) && is_half(peer)),
        Rule::SyncSourceMissedFinish
        | Rule::SyncTargetPeerMissedFinish
        | Rule::Reconnected
        | Rule::BothOff => {
            assert!(has_data && mine.uuids.current == peer.uuids.current);
            assert_eq!((mine.uuids.dirty_blocks, peer.uuids.dirty_blocks), (0, 0));
            assert!(!mine.uuids.flags.crashed_primary && !peer.uuids.flags.crashed_primary);
            assert_eq!(disk_after(Decision::NoSync, mine, peer), DiskState::UpToDate);
        }
        Rule::DiscardBoth
        | Rule::JustCreatedSelf
        | Rule::JustCreatedPeer
        | Rule::DiskState
        | Rule::SyncBegun
        | Rule::CrashedPrimary
        | Rule::Survivor
        | Rule::DirtyBits
        | Rule::BitmapPeer
        | Rule::BitmapSelf
        | Rule::BitmapCrossed
        | Rule::HistoryPeer
        | Rule::HistorySelf
        | Rule::NothingNew
        | Rule::BitmapBoth
        | Rule::HistoryBoth
        | Rule::VolumesCrossed
        | Rule::Unrelated => panic!("{rule:?} means something to do"),
    }
}

pub(super) fn mirror(decision: Decision) -> Decision {
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

fn mirror_rule(verdict: Verdict, mine: &Side, peer: &Side) -> Rule {
    match verdict.rule {
        Rule::JustCreatedSelf => Rule::JustCreatedPeer,
        Rule::JustCreatedPeer => Rule::JustCreatedSelf,
        Rule::BitmapSelf => Rule::BitmapPeer,
        Rule::BitmapPeer => Rule::BitmapSelf,
        Rule::HistorySelf => Rule::HistoryPeer,
        Rule::HistoryPeer => Rule::HistorySelf,
        // Where both have a bitmap UUID to clear, each names its own.
        Rule::SyncSourceMissedFinish if !peer.uuids.bitmap.is_real() => {
            Rule::SyncTargetPeerMissedFinish
        }
        Rule::SyncTargetPeerMissedFinish => {
            assert!(!mine.uuids.bitmap.is_real());
            Rule::SyncSourceMissedFinish
        }
        rule @ (Rule::Diskless
        | Rule::DiscardBoth
        | Rule::JustCreatedBoth
        | Rule::InconsistentBoth
        | Rule::DiskState
        | Rule::SyncBegun
        | Rule::CrashedPrimary
        | Rule::Survivor
        | Rule::DirtyBits
        | Rule::SyncSourceMissedFinish
        | Rule::Reconnected
        | Rule::BothOff
        | Rule::BitmapCrossed
        | Rule::NothingNew
        | Rule::BitmapBoth
        | Rule::HistoryBoth
        | Rule::VolumesCrossed
        | Rule::Unrelated) => rule,
    }
}

const DISKS: [DiskState; 5] = [
    DiskState::Diskless,
    DiskState::Inconsistent,
    DiskState::Outdated,
    DiskState::Consistent,
    DiskState::UpToDate,
];

/// All sets of UUIDs with up to two old ones.
fn all_uuids() -> Vec<Side> {
    let real = [A, B, C];
    let mut histories: Vec<Vec<u64>> = vec![vec![]];
    histories.extend(real.iter().map(|one| vec![*one]));
    histories.extend(real.iter().flat_map(|one| real.iter().map(|two| vec![*one, *two])));
    histories.push(vec![4, 0]);
    let all = [0, 4, A, B, C];
    let mut sides = Vec::new();
    for current in all {
        for bitmap in all {
            sides.extend(histories.iter().map(|old| side(0, current).bitmap(bitmap).history(old)));
        }
    }
    sides
}

/// All combinations of flags and last sessions.
fn all_flags(side: Side) -> Vec<Side> {
    let mut sides = Vec::new();
    for bits in 0..16 {
        for protocol in 0..3 {
            for session in [0, 1, 2] {
                sides.push(side.session(session).flags(|flags| {
                    *flags = UuidFlags {
                        crashed_primary: bits & 1 != 0,
                        lost_power: bits & 2 != 0,
                        reconnect: bits & 4 != 0,
                        last_session_async: protocol == 1,
                        last_session_memory: protocol == 2,
                        bitmap_alias: bits & 8 != 0,
                        was_primary: false,
                        went_on: false,
                    }
                }));
            }
        }
    }
    sides
}

fn check_all_pairs(sides: &[Side]) {
    for mine in sides {
        for peer in sides {
            check(mine, &Side { node_id: NodeId(1), ..*peer });
        }
    }
}

#[test]
fn every_pair_of_uuids() {
    let sides: Vec<Side> = all_uuids()
        .into_iter()
        .flat_map(|it| [it, it.dirty(5)])
        .flat_map(|it| {
            let half = it.disk(DiskState::Inconsistent);
            let consistent = it.disk(DiskState::Consistent);
            [it, it.primary(), half, consistent.discards()]
        })
        .collect();
    assert!(sides.len().pow(2) > 7_000_000);
    check_all_pairs(&sides);
}

#[test]
fn every_pair_of_one_generation() {
    let sides: Vec<Side> = [side(0, A), side(0, A).bitmap(B)]
        .into_iter()
        .flat_map(|it| [it, it.dirty(5)])
        .flat_map(|it| [it, it.primary()])
        .flat_map(|it| DISKS.map(|disk| it.disk(disk)))
        .flat_map(all_flags)
        .collect();
    assert!(sides.len().pow(2) > 8_000_000);
    check_all_pairs(&sides);
}

#[test]
fn pairs_of_everything() {
    let uuids = all_uuids();
    let mut random = 0x7a9d_e001_u64;
    let mut draw = |count: usize| {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        usize::try_from(random >> 33).unwrap() % count
    };
    for _ in 0..2_000_000 {
        let mut any_side = |node_id| {
            let mut side = uuids[draw(uuids.len())].disk(DISKS[draw(DISKS.len())]);
            side.node_id = NodeId(node_id);
            side.role = [Role::Primary, Role::Secondary, Role::Unknown][draw(3)];
            side.uuids.exposed = Uuid([0, 0, A, B][draw(4)]);
            side.discard_my_data = draw(4) == 0;
            side.policies.rr_conflict = RoleConflict::ALL[draw(RoleConflict::ALL.len())];
            let protocol = draw(3);
            side.dirty([0, 5][draw(2)]).session([0, 1, 2][draw(3)]).flags(|flags| {
                flags.crashed_primary = draw(2) == 0;
                flags.lost_power = draw(2) == 0;
                flags.reconnect = draw(2) == 0;
                flags.went_on = draw(4) == 0;
                flags.last_session_async = protocol == 1;
                flags.last_session_memory = protocol == 2;
            })
        };
        let (mine, peer) = (any_side(3), any_side(2));
        check(&mine, &peer);
    }
}
