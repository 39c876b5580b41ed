//! Step 4 of the decision: a direction against what the operator said, or against the roles.

use tandem_wire::{DiskState, RoleConflict};

use super::{
    Decision, Extent, Refusal, Rule, Side, compare, generations, has_disk, is_just_created,
    is_primary, is_whole, was_to_hold,
};

/// Turns a direction whose source said `--discard-my-data`, if the other side has a whole image.
pub(super) fn discarding(found: Decision, mine: &Side, peer: &Side) -> Decision {
    let gives_in = |side: &Side, other: &Side| {
        side.discard_my_data && !other.discard_my_data && is_whole(other) && !is_just_created(other)
    };
    match found {
        Decision::Source(extent) if gives_in(mine, peer) => Decision::Target(extent),
        Decision::Target(extent) if gives_in(peer, mine) => Decision::Source(extent),
        Decision::NoSync
        | Decision::Source(_)
        | Decision::Target(_)
        | Decision::SplitBrain
        | Decision::Unrelated
        | Decision::Refuse(_)
        | Decision::Retry(_) => found,
    }
}

/// Refuses or turns a direction that the disks or the roles forbid.
pub(super) fn against_roles(found: Decision, rule: Rule, mine: &Side, peer: &Side) -> Decision {
    let goes_on = matches!(found, Decision::NoSync | Decision::Source(_) | Decision::Target(_));
    if goes_on && (forgets(mine, peer) || forgets(peer, mine)) {
        return Decision::Refuse(Refusal::SourceLostPower);
    }
    let serves_older = has_served_newer(mine, peer) || has_served_newer(peer, mine);
    if goes_on && (serves_older || goes_back(found, mine, peer)) {
        return Decision::Refuse(Refusal::ServedNewer);
    }
    if goes_on && (has_gone_on(mine, peer) || has_gone_on(peer, mine)) {
        return Decision::Refuse(Refusal::WentOn);
    }
    let ruling = match found {
        Decision::Source(extent) => judge(extent, rule, mine, peer),
        Decision::Target(extent) => judge(extent, rule, peer, mine),
        Decision::NoSync if is_primary(mine) && is_primary(peer) => {
            return Decision::Refuse(Refusal::TwoPrimaries);
        }
        Decision::NoSync
        | Decision::SplitBrain
        | Decision::Unrelated
        | Decision::Refuse(_)
        | Decision::Retry(_) => return found,
    };
    match (ruling, found) {
        (Ruling::GoOn, _) => found,
        (Ruling::Turn, Decision::Source(extent)) => Decision::Target(extent),
        (Ruling::Turn, Decision::Target(extent)) => Decision::Source(extent),
        (Ruling::Turn, _) => unreachable!("only directions are judged"),
        (Ruling::Refuse(reason), _) => Decision::Refuse(reason),
        (Ruling::Retry(reason), _) => Decision::Retry(reason),
    }
}

/// Whether this side, a Primary, is the one whose data would be replaced.
pub fn loses_as_primary(mine: &Side, peer: &Side) -> bool {
    let directed = discarding(compare(mine, peer).0, mine, peer);
    is_primary(mine) && matches!(directed, Decision::Target(_))
}

/// Whether clients of `primary` may have been promised what `other` has lost with its power.
fn forgets(primary: &Side, other: &Side) -> bool {
    is_primary(primary)
        && primary.disk != DiskState::UpToDate
        && is_whole(other)
        && other.uuids.flags.lost_power
}

/// Whether clients of `primary`, whose disk is not good, have seen what `other` does not have: its
/// data do not descend from the generation that was served, or may lack its end. With a disk, the
/// flags of `primary` tell of that disk's last session, and not of the one in which it was served.
fn has_served_newer(primary: &Side, other: &Side) -> bool {
    let served = primary.uuids.exposed;
    let has_it = generations(&other.uuids).any(|known| known == served)
        && (has_disk(primary) || was_to_hold(other, primary));
    is_primary(primary) && served.is_real() && has_disk(other) && !has_it
}

/// Whether a Primary that has lived on its peer's data would go on with the older ones on its own
/// disk, for the peer was told to discard its data.
fn goes_back(found: Decision, mine: &Side, peer: &Side) -> bool {
    let is_old = |side: &Side| is_primary(side) && side.disk < DiskState::UpToDate;
    match found {
        Decision::Source(_) => is_old(mine) && peer.discard_my_data,
        Decision::Target(_) => is_old(peer) && mine.discard_my_data,
        Decision::NoSync
        | Decision::SplitBrain
        | Decision::Unrelated
        | Decision::Refuse(_)
        | Decision::Retry(_) => false,
    }
}

/// Whether `other`, whose data clients of `primary` would be given, was Primary without it: others
/// have used them since.
fn has_gone_on(other: &Side, primary: &Side) -> bool {
    is_primary(primary)
        && primary.disk < DiskState::Consistent
        && is_whole(other)
        && other.uuids.flags.went_on
}

enum Ruling {
    GoOn,
    Turn,
    Refuse(Refusal),
    Retry(Refusal),
}

fn judge(extent: Extent, rule: Rule, source: &Side, target: &Side) -> Ruling {
    if !is_whole(source) {
        return Ruling::Refuse(Refusal::SourceInconsistent);
    }
    let has_data = target.disk >= DiskState::Consistent;
    if is_primary(source) && is_primary(target) && (!has_data || may_go_on(extent, source, target))
    {
        return Ruling::Refuse(Refusal::TwoPrimaries);
    }
    if !is_primary(target) || !has_data {
        return Ruling::GoOn;
    }
    if may_go_on(extent, source, target) {
        return Ruling::GoOn;
    }
    match target.policies.rr_conflict {
        RoleConflict::AutoDiscard
            if ends_a_session(rule) && !is_primary(source) && !target.discard_my_data =>
        {
            Ruling::Turn
        }
        RoleConflict::RetryConnect => Ruling::Retry(Refusal::TargetIsPrimary),
        RoleConflict::Disconnect
        | RoleConflict::CallPriLost
        | RoleConflict::AutoDiscard
        | RoleConflict::Violently => Ruling::Refuse(Refusal::TargetIsPrimary),
    }
}

/// Whether the Primary may be target all the same: its clients see nothing of it, or shall bear it.
fn may_go_on(extent: Extent, source: &Side, target: &Side) -> bool {
    let is_empty = source.uuids.dirty_blocks == 0 && target.uuids.dirty_blocks == 0;
    let is_unseen = extent == Extent::Bits && is_empty;
    is_unseen || target.policies.rr_conflict == RoleConflict::Violently
}

/// Whether both hold one generation, so that all that is at stake is the end of a session.
fn ends_a_session(rule: Rule) -> bool {
    matches!(rule, Rule::CrashedPrimary | Rule::Survivor | Rule::DirtyBits)
}
