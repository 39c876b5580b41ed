//! Directions against what was said, and against the roles.

use super::*;

fn conflict(side: Side, rr_conflict: RoleConflict) -> Side {
    Side { policies: Policies { rr_conflict, ..Policies::default() }, ..side }
}

#[test]
fn who_discards_goes_back_to_older_data() {
    let newer = side(0, B).bitmap(A).dirty(5).discards();
    expect(newer, side(1, A), TARGET_BITS, Rule::BitmapSelf);
    assert!(decide(&newer, &side(1, A)).reverted);
    let history = side(0, C).history(&[B, A]).discards();
    expect(history, side(1, A), TARGET_FULL, Rule::HistorySelf);
    expect(side(0, A).dirty(5).discards(), side(1, A), TARGET_BITS, Rule::DirtyBits);
    let half = side(1, A).disk(DiskState::Inconsistent);
    expect(newer, half, SOURCE_BITS, Rule::BitmapSelf);
    let new_side = side(1, 4).disk(DiskState::Inconsistent);
    expect(newer, new_side, SOURCE_FULL, Rule::JustCreatedPeer);
    assert!(!decide(&newer, &new_side).reverted);
}

#[test]
fn a_reverted_source_gives_its_target_a_new_generation() {
    let newer = side(0, B).bitmap(A);
    assert!(needs_fresh_sync_uuid(&side(1, A), &newer));
    assert!(!needs_fresh_sync_uuid(&newer, &side(1, A)));
}

#[test]
fn rr_conflict() {
    let source = side(0, B).bitmap(A).dirty(5);
    let refused = Decision::Refuse(Refusal::TargetIsPrimary);
    for (rr_conflict, decision) in [
        (RoleConflict::Disconnect, refused),
        (RoleConflict::CallPriLost, refused),
        (RoleConflict::AutoDiscard, refused),
        (RoleConflict::RetryConnect, Decision::Retry(Refusal::TargetIsPrimary)),
        (RoleConflict::Violently, SOURCE_BITS),
    ] {
        let target = conflict(side(1, A).primary(), rr_conflict);
        expect(source, target, decision, Rule::BitmapSelf);
        assert!(loses_as_primary(&target, &source));
        // The other node's setting says nothing.
        expect(conflict(source, rr_conflict), side(1, A).primary(), refused, Rule::BitmapSelf);
    }
    let violent = conflict(side(1, A).primary(), RoleConflict::Violently);
    let two = Decision::Refuse(Refusal::TwoPrimaries);
    expect(source.primary(), violent, two, Rule::BitmapSelf);
    expect(side(0, B).bitmap(A), side(1, A).primary(), SOURCE_BITS, Rule::BitmapSelf);
}

#[test]
fn auto_discard_keeps_the_running_primary() {
    let primary = conflict(side(1, A).primary(), RoleConflict::AutoDiscard);
    expect(side(0, A).dirty(5).protocol_a(), primary, TARGET_BITS, Rule::DirtyBits);
    let also = side(0, A).crashed().primary().dirty(5);
    let refused = Decision::Refuse(Refusal::TargetIsPrimary);
    expect(also, primary, refused, Rule::Survivor);
}
