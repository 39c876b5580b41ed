//! The decision at connect: who copies what to whom, or why nobody may.
//!
//! [`decide`] looks at what both nodes say of a volume and runs on both of them; the answers mirror
//! each other. It is DRBD's reconnect table for two nodes (rows by their names in [`Rule`]), with
//! SEMANTICS rules 1 and 2 in front of the rows they replace. Order:
//!
//! 1. no disk on a side; both want to discard; metadata just created (rows 1 to 3, and 16 and 18
//!    where an operator has said that nothing differs);
//! 2. equal current UUIDs: disk states (20), a crashed Primary (7, 8, 12, 13, 15), dirty bits,
//!    an end of a resync that its source did not see (4, 5), nothing to do (6, 14);
//! 3. different ones: bitmap UUIDs (16, 18), a common parent of two whole images (23), histories
//!    (21, 22), split brain (23, 24), unrelated data (25);
//! 4. whatever came out (`conflict`): who discards its data is target of what is whole; no source
//!    with an Inconsistent disk; a target that is Primary and has data of its own as rr-conflict
//!    says.
//!
//! [`settle`] decides all volumes of a connection, and about split brains as the policies of the
//! connection say (`policies`).
//!
//! Pure, and trusts nothing: any two sides have an answer. UUIDs have no role bit to be masked.

use tandem_wire::{DiskState, NodeId, Policies, Role, Uuid, Uuids};

mod conflict;
mod policies;
mod refusal;

pub use conflict::loses_as_primary;
pub use policies::{Party, Policy, Settled, Settlement, SplitBrain, settle};
pub use refusal::Refusal;

/// What one node says of itself and of its disk of a volume.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Side {
    /// Its number.
    pub node_id: NodeId,
    /// Its role at the handshake.
    pub role: Role,
    /// What its data are worth. Anything but `Inconsistent`, `Outdated`, `Consistent` and
    /// `UpToDate` counts as no disk.
    pub disk: DiskState,
    /// What its metadata say.
    pub uuids: Uuids,
    /// `connect --discard-my-data` was said here.
    pub discard_my_data: bool,
    /// Clients use it: it cannot be demoted.
    pub in_use: bool,
    /// What it would do without asking.
    pub policies: Policies,
}

/// What is to be done, and by which rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// As this node sees it.
    pub decision: Decision,
    /// The row of the table; it stays when step 4 turns its direction or refuses it.
    pub rule: Rule,
    /// The direction is against the row: older data replace newer ones, because somebody said so.
    pub reverted: bool,
}

/// What is to be done, as one node sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision {
    /// Nothing to copy, or nothing that could be.
    NoSync,
    /// The peer copies from here.
    Source(Extent),
    /// This node copies from the peer.
    Target(Extent),
    /// Both wrote since they last agreed: disconnect and touch nothing.
    SplitBrain,
    /// The data never had anything in common: disconnect and touch nothing.
    Unrelated,
    /// A direction is clear and forbidden: disconnect and touch nothing.
    Refuse(Refusal),
    /// The same, and try again: what forbids it may pass.
    Retry(Refusal),
}

/// How much is copied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Extent {
    /// The union of both bitmaps, which may be empty.
    Bits,
    /// Everything: all bits are set first.
    Full,
}

macro_rules! rules {
    ($($(#[$doc:meta])+ $variant:ident = $name:literal,)+) => {
        /// The rows of the table.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Rule { $($(#[$doc])+ $variant,)+ }

        impl Rule {
            /// Its name in logs: DRBD's where DRBD has the rule.
            pub fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)+ }
            }
        }
    };
}

rules! {
    /// A side has no disk: there is nothing to compare.
    Diskless = "diskless",
    /// Both want to discard their data.
    DiscardBoth = "discard-both",
    /// Row 1: both stay as they are until one is made Primary by force.
    JustCreatedBoth = "just-created-both",
    /// Row 2.
    JustCreatedSelf = "just-created-self",
    /// Row 3.
    JustCreatedPeer = "just-created-peer",
    /// Row 20, both Inconsistent: nobody has data to give.
    InconsistentBoth = "inconsistent-both",
    /// Row 20: the side that is not Inconsistent is source.
    DiskState = "disk-state",
    /// A resync has begun of which its target has not heard: its source stays source.
    SyncBegun = "sync-begun",
    /// Rows 7, 8, 15: the crashed Primary, or who is Primary at the handshake, is source.
    CrashedPrimary = "crashed-primary",
    /// SEMANTICS rule 1: a survivor of the crashed Primary's last session is source.
    Survivor = "survivor",
    /// SEMANTICS rule 2: the holder of dirty bits is source.
    DirtyBits = "reconcile-bitmap",
    /// Row 4: the data are equal, this side's bitmap UUID is left to be cleared.
    SyncSourceMissedFinish = "sync-source-missed-finish",
    /// Row 5: the same of the peer.
    SyncTargetPeerMissedFinish = "sync-target-peer-missed-finish",
    /// Rows 6, 14: a break of the link without a write.
    Reconnected = "reconnected",
    /// Row 15: both were stopped in good order.
    BothOff = "both-off",
    /// Row 16: the peer tracks changes since this side's generation.
    BitmapPeer = "bitmap-peer",
    /// Row 18: this side tracks changes since the peer's generation.
    BitmapSelf = "bitmap-self",
    /// Rows 16 and 18 at once: each side tracks changes since the other's generation.
    BitmapCrossed = "bitmap-crossed",
    /// Row 21: this side's generation is among the peer's older ones.
    HistoryPeer = "history-peer",
    /// Row 22: the peer's generation is among this side's older ones.
    HistorySelf = "history-self",
    /// Both track changes since the same generation, and one of them has not changed anything.
    NothingNew = "nothing-new",
    /// Row 23: both track changes since the same generation.
    BitmapBoth = "bitmap-both",
    /// Row 24: somewhere the generations have met.
    HistoryBoth = "history-both",
    /// Each side has the newer data of some volume, and went on alone as Primary.
    VolumesCrossed = "volumes-crossed",
    /// Row 25.
    Unrelated = "unrelated-data",
}

/// What is to be done with the volume that both sides describe.
///
/// # Panics
/// Where both sides have the same node id, which the greeting refuses.
pub fn decide(mine: &Side, peer: &Side) -> Verdict {
    assert_ne!(mine.node_id, peer.node_id, "the greeting checks node ids");
    let (found, rule) = compare(mine, peer);
    let directed = conflict::discarding(found, mine, peer);
    Verdict {
        decision: conflict::against_roles(directed, rule, mine, peer),
        rule,
        reverted: directed != found,
    }
}

/// This node's disk state once the decision has taken effect. A target is Inconsistent for the time
/// of its resync and `UpToDate` at its end, which is not this function's to say.
pub fn disk_after(decision: Decision, mine: &Side, peer: &Side) -> DiskState {
    match decision {
        Decision::Source(_) if is_whole(mine) => DiskState::UpToDate,
        Decision::Target(_) => DiskState::Inconsistent,
        Decision::NoSync if is_whole(mine) && is_whole(peer) && is_same_generation(mine, peer) => {
            DiskState::UpToDate
        }
        Decision::NoSync if is_whole(mine) && !has_disk(peer) && lives_on(peer, mine) => {
            DiskState::UpToDate
        }
        Decision::NoSync
        | Decision::Source(_)
        | Decision::SplitBrain
        | Decision::Unrelated
        | Decision::Refuse(_)
        | Decision::Retry(_) => mine.disk,
    }
}

/// Whether the source of a resync must give its target another generation than it has. A target
/// that counts as told apart goes on writing in the generation that it has, if the resync is cut
/// off before it hears of it; tracked from there, those writes would count as the source's to
/// replace. One that tracks changes since the source's generation would be tracked by it as well.
pub fn needs_fresh_sync_uuid(source: &Side, target: &Side) -> bool {
    let is_apart = is_told_apart(target) && !tracks(&source.uuids, target.uuids.current);
    is_apart || tracks(&target.uuids, source.uuids.current)
}

/// Steps 1 to 3.
fn compare(mine: &Side, peer: &Side) -> (Decision, Rule) {
    if !has_disk(mine) || !has_disk(peer) {
        return (Decision::NoSync, Rule::Diskless);
    }
    if mine.discard_my_data && peer.discard_my_data {
        return (Decision::Refuse(Refusal::BothDiscard), Rule::DiscardBoth);
    }
    match (is_just_created(mine), is_just_created(peer)) {
        (true, true) => (Decision::NoSync, Rule::JustCreatedBoth),
        (true, false) if was_the_same(peer, mine) => (by_bits(false), Rule::BitmapPeer),
        (false, true) if was_the_same(mine, peer) => (by_bits(true), Rule::BitmapSelf),
        (true, false) => (Decision::Target(Extent::Full), Rule::JustCreatedSelf),
        (false, true) => (Decision::Source(Extent::Full), Rule::JustCreatedPeer),
        (false, false) if mine.uuids.current == peer.uuids.current => compare_equal(mine, peer),
        (false, false) => compare_different(mine, peer),
    }
}

/// Step 2: both hold the same generation.
fn compare_equal(mine: &Side, peer: &Side) -> (Decision, Rule) {
    match (is_whole(mine), is_whole(peer)) {
        (false, false) => return (Decision::NoSync, Rule::InconsistentBoth),
        (true, false) => return (by_bits(true), Rule::DiskState),
        (false, true) => return (by_bits(false), Rule::DiskState),
        (true, true) => {}
    }
    // Who is source was agreed on before, and its data were durable then, whatever happened
    // to either since; the target had not begun.
    match (is_told_apart(mine), is_told_apart(peer)) {
        (true, false) => return (by_bits(true), Rule::SyncBegun),
        (false, true) => return (by_bits(false), Rule::SyncBegun),
        (true, true) | (false, false) => {}
    }
    match (mine.uuids.flags.crashed_primary, peer.uuids.flags.crashed_primary) {
        (true, true) => return (by_bits(is_better_crashed(mine, peer)), Rule::CrashedPrimary),
        (true, false) => {
            let (is_crashed_source, rule) = after_crash(mine, peer);
            return (by_bits(is_crashed_source), rule);
        }
        (false, true) => {
            let (is_crashed_source, rule) = after_crash(peer, mine);
            return (by_bits(!is_crashed_source), rule);
        }
        (false, false) => {}
    }
    match (mine.uuids.dirty_blocks > 0, peer.uuids.dirty_blocks > 0) {
        (true, true) => return (by_bits(is_preferred(mine, peer)), Rule::DirtyBits),
        (true, false) => return (by_bits(is_holder_source(mine, peer)), Rule::DirtyBits),
        (false, true) => return (by_bits(!is_holder_source(peer, mine)), Rule::DirtyBits),
        (false, false) => {}
    }
    let rule = if mine.uuids.bitmap.is_real() {
        Rule::SyncSourceMissedFinish
    } else if peer.uuids.bitmap.is_real() {
        Rule::SyncTargetPeerMissedFinish
    } else if mine.uuids.flags.reconnect || peer.uuids.flags.reconnect {
        Rule::Reconnected
    } else {
        Rule::BothOff
    };
    (Decision::NoSync, rule)
}

/// Whether a side tracks its peer's changes since another generation than its own: it counts as
/// told apart. Where both hold one generation that is the mark of a source whose target has not
/// heard of the resync.
fn is_told_apart(side: &Side) -> bool {
    let bitmap = side.uuids.bitmap;
    bitmap.is_real() && bitmap != side.uuids.current
}

/// Both crashed as Primary, one after the other, and the later one had not written: whoever
/// survived the other's last session holds everything; where that says nothing, the one that was
/// Primary in that session has all that it has answered, and the other may lack its end.
fn is_better_crashed(mine: &Side, peer: &Side) -> bool {
    if is_primary(mine) || is_primary(peer) {
        return is_preferred(mine, peer);
    }
    match (is_survivor(mine, peer), is_survivor(peer, mine)) {
        (true, false) => return true,
        (false, true) => return false,
        (true, true) | (false, false) => {}
    }
    match (mine.uuids.flags.was_primary, peer.uuids.flags.was_primary) {
        (true, false) => true,
        (false, true) => false,
        (true, true) | (false, false) => is_preferred(mine, peer),
    }
}

/// SEMANTICS rule 1: whether the crashed one of the two is source, and by which rule.
fn after_crash(crashed: &Side, other: &Side) -> (bool, Rule) {
    match (is_primary(crashed), is_primary(other)) {
        // It lost its disk and lived on its peer's, which so has everything.
        (true, false) if crashed.disk == DiskState::Outdated => return (false, Rule::Survivor),
        (true, false) => return (true, Rule::CrashedPrimary),
        (false, true) => return (false, Rule::CrashedPrimary),
        (true, true) | (false, false) => {}
    }
    if is_survivor(other, crashed) { (false, Rule::Survivor) } else { (true, Rule::CrashedPrimary) }
}

/// Whether `side` holds every write that was acknowledged in the last session of `primary`: it took
/// part, was to hold them, and has kept power since its data were known complete. That it took part
/// follows from the equal generation; the numbers of the sessions may differ by attempts that one
/// side recorded and the other did not.
fn is_survivor(side: &Side, primary: &Side) -> bool {
    let took_part = side.uuids.last_session != 0 && primary.uuids.last_session != 0;
    took_part && was_to_hold(side, primary) && !side.uuids.flags.lost_power
}

/// Whether `side` had all that `primary` acknowledged in their last session, if it took part to its
/// end: on its disk (C), or in the memory of a process that has lived on to write it (B). The
/// protocol is the Primary's.
fn was_to_hold(side: &Side, primary: &Side) -> bool {
    let flags = primary.uuids.flags;
    !flags.last_session_async && (!flags.last_session_memory || side.uuids.flags.reconnect)
}

/// SEMANTICS rule 2, one holder: it is source. But where the other lacks nothing that was
/// acknowledged, the bits stand for what was promised to nobody: one that is Primary is source, and
/// one beside a holder in sync with it that may have lost what it had not flushed.
fn is_holder_source(holder: &Side, other: &Side) -> bool {
    if is_primary(holder) {
        return true;
    }
    let has_lost = holder.uuids.flags.lost_power && !holder.uuids.bitmap.is_real();
    !((is_primary(other) || has_lost) && is_survivor(other, holder))
}

/// Step 3: the sides hold different generations, neither just created.
fn compare_different(mine: &Side, peer: &Side) -> (Decision, Rule) {
    let (my_uuids, peer_uuids) = (&mine.uuids, &peer.uuids);
    match (tracks(peer_uuids, my_uuids.current), tracks(my_uuids, peer_uuids.current)) {
        // Bits of such a pair start at different generations, so they do not say what differs.
        (true, true) => return (resolve(mine, peer, Extent::Full), Rule::BitmapCrossed),
        (true, false) => return (Decision::Target(Extent::Bits), Rule::BitmapPeer),
        (false, true) => return (Decision::Source(Extent::Bits), Rule::BitmapSelf),
        (false, false) => {}
    }
    // A target that was made Primary by force has its source's generation among its older ones
    // where both held the same before the resync. A source that is whole is not given up by that.
    let has_parent = my_uuids.bitmap.is_real() && my_uuids.bitmap == peer_uuids.bitmap;
    if has_parent && is_whole(mine) && is_whole(peer) {
        return match (has_nothing_new(mine), has_nothing_new(peer)) {
            (true, true) => (by_bits(is_preferred(mine, peer)), Rule::NothingNew),
            (true, false) => (by_bits(false), Rule::NothingNew),
            (false, true) => (by_bits(true), Rule::NothingNew),
            (false, false) => (resolve(mine, peer, Extent::Bits), Rule::BitmapBoth),
        };
    }
    let is_mine_older = peer_uuids.history.contains(&my_uuids.current);
    let is_peer_older = my_uuids.history.contains(&peer_uuids.current);
    match (is_mine_older, is_peer_older) {
        (true, false) => return (Decision::Target(Extent::Full), Rule::HistoryPeer),
        (false, true) => return (Decision::Source(Extent::Full), Rule::HistorySelf),
        (true, true) | (false, false) => {}
    }
    if has_parent {
        return (resolve(mine, peer, Extent::Bits), Rule::BitmapBoth);
    }
    let has_common =
        generations(my_uuids).any(|mine| generations(peer_uuids).any(|peers| mine == peers));
    if has_common {
        return (resolve(mine, peer, Extent::Full), Rule::HistoryBoth);
    }
    (Decision::Unrelated, Rule::Unrelated)
}

/// Whether an operator has said that both disks were the same when metadata were made on both: the
/// bits of `side`, which has data by that, say what changed since.
fn was_the_same(side: &Side, created: &Side) -> bool {
    let is_told = [side.uuids.bitmap, created.uuids.current] == [Uuid::JUST_CREATED; 2];
    is_told && is_whole(side)
}

/// Whether a side that counts as told apart has not changed anything since: it got its generation
/// when a Primary without a disk came to live on it, or by hand, and nobody has written there.
fn has_nothing_new(side: &Side) -> bool {
    side.uuids.dirty_blocks == 0 && !may_have_gone_on(side)
}

/// Whether this side may have written its disk as Primary without the other one.
fn may_have_gone_on(side: &Side) -> bool {
    let flags = &side.uuids.flags;
    is_primary(side) || flags.was_primary || flags.went_on || flags.crashed_primary
}

/// Whether these bits say what changed since generation `uuid`.
fn tracks(uuids: &Uuids, uuid: Uuid) -> bool {
    uuids.bitmap == uuid || (uuids.flags.bitmap_alias && uuids.history[0] == uuid)
}

/// Split brain, unless exactly one side gives its data up.
fn resolve(mine: &Side, peer: &Side, extent: Extent) -> Decision {
    match (mine.discard_my_data, peer.discard_my_data) {
        (true, false) => Decision::Target(extent),
        (false, true) => Decision::Source(extent),
        (true, true) | (false, false) => Decision::SplitBrain,
    }
}

/// Where nothing else tells the sides apart: the only Primary, else the lower node id.
fn is_preferred(mine: &Side, peer: &Side) -> bool {
    match (is_primary(mine), is_primary(peer)) {
        (true, false) => true,
        (false, true) => false,
        (true, true) | (false, false) => mine.node_id < peer.node_id,
    }
}

fn by_bits(is_mine_source: bool) -> Decision {
    if is_mine_source { Decision::Source(Extent::Bits) } else { Decision::Target(Extent::Bits) }
}

/// Everything that names data in a node's metadata.
fn generations(uuids: &Uuids) -> impl Iterator<Item = Uuid> {
    let newest = [uuids.current, uuids.bitmap];
    newest.into_iter().chain(uuids.history).filter(|uuid| uuid.is_real())
}

/// Whether the disk of `side` is the one that clients of `primary` live on, told apart or not from
/// the one that they had.
fn lives_on(primary: &Side, side: &Side) -> bool {
    let served = primary.uuids.exposed;
    is_primary(primary)
        && served.is_real()
        && (side.uuids.current == served || side.uuids.bitmap == served)
}

fn is_same_generation(mine: &Side, peer: &Side) -> bool {
    mine.uuids.current == peer.uuids.current && !is_just_created(mine)
}

fn is_just_created(side: &Side) -> bool {
    !side.uuids.current.is_real()
}

fn is_primary(side: &Side) -> bool {
    match side.role {
        Role::Primary => true,
        Role::Unknown | Role::Secondary => false,
    }
}

/// Whether the disk holds one image, however old.
fn is_whole(side: &Side) -> bool {
    match side.disk {
        DiskState::Outdated | DiskState::Consistent | DiskState::UpToDate => true,
        DiskState::Diskless
        | DiskState::Attaching
        | DiskState::Failed
        | DiskState::Negotiating
        | DiskState::Inconsistent
        | DiskState::DUnknown => false,
    }
}

fn has_disk(side: &Side) -> bool {
    is_whole(side) || side.disk == DiskState::Inconsistent
}

#[cfg(test)]
mod tests;
