//! One test per row of the table; `universe` checks what must hold of any two sides.

mod conflict;
mod policies;
mod universe;

use tandem_wire::{HISTORY_LEN, RoleConflict, UuidFlags};

use super::*;
use universe::check;

const A: u64 = 0xa0;
const B: u64 = 0xb0;
const C: u64 = 0xc0;
const SESSION: u64 = 0x5e55;

/// A Secondary that was stopped in good order, with data of this generation.
fn side(node_id: u8, current: u64) -> Side {
    Side {
        node_id: NodeId(node_id),
        role: Role::Secondary,
        disk: DiskState::UpToDate,
        uuids: Uuids {
            current: Uuid(current),
            bitmap: Uuid::NONE,
            history: [Uuid::NONE; HISTORY_LEN],
            dirty_blocks: 0,
            last_session: SESSION,
            flags: UuidFlags::default(),
            exposed: Uuid::NONE,
        },
        discard_my_data: false,
        in_use: false,
        policies: Policies::default(),
    }
}

impl Side {
    fn primary(mut self) -> Self {
        self.role = Role::Primary;
        self
    }

    fn disk(mut self, disk: DiskState) -> Self {
        self.disk = disk;
        self
    }

    fn discards(mut self) -> Self {
        self.discard_my_data = true;
        self
    }

    fn bitmap(mut self, bitmap: u64) -> Self {
        self.uuids.bitmap = Uuid(bitmap);
        self
    }

    fn history(mut self, entries: &[u64]) -> Self {
        for (slot, entry) in self.uuids.history.iter_mut().zip(entries) {
            *slot = Uuid(*entry);
        }
        self
    }

    fn dirty(mut self, blocks: u64) -> Self {
        self.uuids.dirty_blocks = blocks;
        self
    }

    fn session(mut self, session: u64) -> Self {
        self.uuids.last_session = session;
        self
    }

    /// Its clients have seen this generation, and its disk does not have it.
    fn exposed(mut self, uuid: u64) -> Self {
        self.uuids.exposed = Uuid(uuid);
        self.primary()
    }

    fn flags(mut self, change: impl FnOnce(&mut UuidFlags)) -> Self {
        change(&mut self.uuids.flags);
        self
    }

    fn crashed(self) -> Self {
        self.flags(|flags| flags.crashed_primary = true)
    }

    fn lost_power(self) -> Self {
        self.flags(|flags| flags.lost_power = true)
    }

    fn reconnect(self) -> Self {
        self.flags(|flags| flags.reconnect = true)
    }

    fn protocol_a(self) -> Self {
        self.flags(|flags| flags.last_session_async = true)
    }

    fn protocol_b(self) -> Self {
        self.flags(|flags| flags.last_session_memory = true)
    }
}

const SOURCE_BITS: Decision = Decision::Source(Extent::Bits);
const SOURCE_FULL: Decision = Decision::Source(Extent::Full);
const TARGET_BITS: Decision = Decision::Target(Extent::Bits);
const TARGET_FULL: Decision = Decision::Target(Extent::Full);

/// Asserts the verdict, and its mirror for the peer.
#[track_caller]
fn expect(mine: Side, peer: Side, decision: Decision, rule: Rule) {
    check(&mine, &peer);
    let found = decide(&mine, &peer);
    assert_eq!((found.decision, found.rule), (decision, rule));
}

#[test]
fn diskless() {
    let peer = side(1, B);
    for disk in [
        DiskState::Diskless,
        DiskState::Attaching,
        DiskState::Failed,
        DiskState::Negotiating,
        DiskState::DUnknown,
    ] {
        expect(side(0, A).disk(disk).discards(), peer, Decision::NoSync, Rule::Diskless);
        expect(peer, side(0, A).disk(disk), Decision::NoSync, Rule::Diskless);
    }
}

#[test]
fn discard_both() {
    let refused = Decision::Refuse(Refusal::BothDiscard);
    expect(side(0, A).discards(), side(1, A).discards(), refused, Rule::DiscardBoth);
}

#[test]
fn just_created() {
    for new in [0, 4] {
        let new_side = side(0, new).disk(DiskState::Inconsistent).dirty(9);
        let also = side(1, 4).disk(DiskState::Inconsistent).dirty(9);
        expect(new_side, also, Decision::NoSync, Rule::JustCreatedBoth);
        expect(new_side, side(1, A), TARGET_FULL, Rule::JustCreatedSelf);
        expect(side(1, A).primary(), new_side, SOURCE_FULL, Rule::JustCreatedPeer);
        let half = side(1, A).disk(DiskState::Inconsistent);
        let refused = Decision::Refuse(Refusal::SourceInconsistent);
        expect(new_side, half, refused, Rule::JustCreatedSelf);
    }
}

#[test]
fn disk_state() {
    let half = side(0, A).disk(DiskState::Inconsistent).dirty(5).crashed();
    for disk in [DiskState::Outdated, DiskState::Consistent, DiskState::UpToDate] {
        expect(half, side(1, A).disk(disk), TARGET_BITS, Rule::DiskState);
        expect(half.primary(), side(1, A).disk(disk), TARGET_BITS, Rule::DiskState);
    }
    let also = side(1, A).disk(DiskState::Inconsistent);
    expect(half, also, Decision::NoSync, Rule::InconsistentBoth);
}

#[test]
fn survivor_in_c() {
    let crashed = side(0, A).crashed().dirty(5);
    expect(crashed, side(1, A), TARGET_BITS, Rule::Survivor);
    expect(crashed.lost_power(), side(1, A).reconnect(), TARGET_BITS, Rule::Survivor);
}

#[test]
fn a_source_that_has_begun_stays_source() {
    let mut source = side(0, A).dirty(5).lost_power();
    source.uuids.bitmap = Uuid(0x5);
    expect(source, side(1, A).crashed().dirty(9), SOURCE_BITS, Rule::SyncBegun);
    source.uuids.bitmap = Uuid(A);
    expect(source, side(1, A), SOURCE_BITS, Rule::DirtyBits);
}

#[test]
fn two_that_crashed_one_after_the_other() {
    let survivor = side(1, A).crashed().dirty(9);
    expect(side(0, A).crashed().dirty(9).lost_power(), survivor, TARGET_BITS, Rule::CrashedPrimary);
}

#[test]
fn an_alias_names_the_same_data() {
    let mut source = side(0, B).dirty(5);
    source.uuids.bitmap = Uuid(A);
    source.uuids.history[0] = Uuid(0x77);
    let target = side(1, 0x77);
    expect(source, target, SOURCE_FULL, Rule::HistorySelf);
    source.uuids.flags.bitmap_alias = true;
    expect(source, target, SOURCE_BITS, Rule::BitmapSelf);
}

#[test]
fn crashed_primary_without_a_survivor() {
    let crashed = side(1, A).crashed().dirty(5);
    for other in [side(0, A).lost_power(), side(0, A).session(0)] {
        expect(crashed, other, SOURCE_BITS, Rule::CrashedPrimary);
    }
    let alone = crashed.session(0);
    expect(alone, side(0, A).session(0), SOURCE_BITS, Rule::CrashedPrimary);
}

#[test]
fn survivor_in_b_has_drained_its_frames() {
    let crashed = side(0, A).crashed().protocol_b();
    expect(crashed, side(1, A).reconnect(), TARGET_BITS, Rule::Survivor);
    expect(crashed, side(1, A), SOURCE_BITS, Rule::CrashedPrimary);
    let off = side(1, A).reconnect().lost_power();
    expect(crashed, off, SOURCE_BITS, Rule::CrashedPrimary);
}

#[test]
fn crashed_primary_in_a_is_source() {
    let crashed = side(1, A).crashed().protocol_a();
    expect(crashed, side(0, A).reconnect(), SOURCE_BITS, Rule::CrashedPrimary);
}

#[test]
fn the_crashed_side_says_which_protocol_it_was() {
    let crashed = side(0, A).crashed();
    expect(crashed, side(1, A).protocol_a(), TARGET_BITS, Rule::Survivor);
}

#[test]
fn a_primary_at_the_handshake_is_source_after_a_crash() {
    let crashed = side(0, A).crashed().protocol_a().dirty(5);
    let primary = side(1, A).primary().lost_power();
    expect(crashed, primary, TARGET_BITS, Rule::CrashedPrimary);
    expect(crashed.primary(), side(1, A), SOURCE_BITS, Rule::CrashedPrimary);
    let both = Decision::Refuse(Refusal::TargetIsPrimary);
    expect(crashed.primary(), primary, both, Rule::CrashedPrimary);
}

#[test]
fn both_crashed() {
    let (low, high) = (side(0, A).crashed(), side(1, A).crashed().dirty(5));
    expect(low, high, SOURCE_BITS, Rule::CrashedPrimary);
    expect(low, high.primary(), TARGET_BITS, Rule::CrashedPrimary);
    let was_primary = high.protocol_a().flags(|flags| flags.was_primary = true);
    expect(low.protocol_a(), was_primary, TARGET_BITS, Rule::CrashedPrimary);
    expect(low.protocol_a().primary(), was_primary, SOURCE_BITS, Rule::CrashedPrimary);
}

#[test]
fn dirty_bits_make_their_holder_source() {
    expect(side(1, A).dirty(5), side(0, A), SOURCE_BITS, Rule::DirtyBits);
    let holder = side(1, A).dirty(5).reconnect();
    expect(holder, side(0, A).reconnect(), SOURCE_BITS, Rule::DirtyBits);
    expect(holder.bitmap(A), side(0, A), SOURCE_BITS, Rule::DirtyBits);
    expect(holder.primary(), side(0, A), SOURCE_BITS, Rule::DirtyBits);
    expect(side(1, A).dirty(5).lost_power(), side(0, A), TARGET_BITS, Rule::DirtyBits);
    let both_lost = side(0, A).lost_power();
    expect(side(1, A).dirty(5).lost_power(), both_lost, SOURCE_BITS, Rule::DirtyBits);
}

#[test]
fn dirty_bits_on_both_sides() {
    let (low, high) = (side(0, A).dirty(5), side(1, A).dirty(6));
    expect(low, high, SOURCE_BITS, Rule::DirtyBits);
    expect(low, high.primary(), TARGET_BITS, Rule::DirtyBits);
}

#[test]
fn dirty_bits_against_a_primary() {
    let holder = side(0, A).dirty(5);
    expect(holder, side(1, A).primary(), TARGET_BITS, Rule::DirtyBits);
    let refused = Decision::Refuse(Refusal::TargetIsPrimary);
    expect(holder.protocol_a(), side(1, A).primary(), refused, Rule::DirtyBits);
    expect(holder.protocol_b(), side(1, A).primary(), refused, Rule::DirtyBits);
    expect(holder, side(1, A).primary().lost_power(), refused, Rule::DirtyBits);
    expect(holder.session(0), side(1, A).primary(), refused, Rule::DirtyBits);
}

#[test]
fn missed_finish() {
    let source = side(0, A).bitmap(A);
    expect(source, side(1, A), Decision::NoSync, Rule::SyncSourceMissedFinish);
    expect(side(1, A), source, Decision::NoSync, Rule::SyncTargetPeerMissedFinish);
}

#[test]
fn reconnected_and_both_off() {
    let primary = side(0, A).primary().reconnect();
    expect(primary, side(1, A).reconnect(), Decision::NoSync, Rule::Reconnected);
    expect(primary, side(1, A), Decision::NoSync, Rule::Reconnected);
    expect(side(0, A), side(1, A), Decision::NoSync, Rule::BothOff);
}

#[test]
fn bitmap_self_and_peer() {
    let source = side(0, B).bitmap(A).dirty(5).primary();
    expect(source, side(1, A), SOURCE_BITS, Rule::BitmapSelf);
    expect(side(1, A), source, TARGET_BITS, Rule::BitmapPeer);
    let half = side(1, A).disk(DiskState::Inconsistent);
    expect(source, half, SOURCE_BITS, Rule::BitmapSelf);
    let refused = Decision::Refuse(Refusal::TargetIsPrimary);
    expect(source, side(1, A).primary(), refused, Rule::BitmapSelf);
    // A Primary with data to lose is no target, one without is: unless both are Primary.
    for disk in [DiskState::Outdated, DiskState::Inconsistent] {
        let without = side(1, A).primary().disk(disk);
        let secondary = side(0, B).bitmap(A).dirty(5);
        expect(secondary, without, SOURCE_BITS, Rule::BitmapSelf);
        let refused = Decision::Refuse(Refusal::TwoPrimaries);
        expect(source, without, refused, Rule::BitmapSelf);
    }
    let refused = Decision::Refuse(Refusal::SourceInconsistent);
    expect(source.disk(DiskState::Inconsistent), side(1, A), refused, Rule::BitmapSelf);
    expect(source.disk(DiskState::Inconsistent), half, refused, Rule::BitmapSelf);
}

#[test]
fn bitmap_crossed() {
    let (mine, peer) = (side(0, A).bitmap(B), side(1, B).bitmap(A));
    expect(mine, peer, Decision::SplitBrain, Rule::BitmapCrossed);
    expect(mine, peer.discards(), SOURCE_FULL, Rule::BitmapCrossed);
}

#[test]
fn history_self_and_peer() {
    let newer = side(0, C).history(&[B, A]);
    expect(newer, side(1, A), SOURCE_FULL, Rule::HistorySelf);
    expect(side(1, A).dirty(5), newer, TARGET_FULL, Rule::HistoryPeer);
    let refused = Decision::Refuse(Refusal::TargetIsPrimary);
    expect(side(1, A).primary(), newer, refused, Rule::HistoryPeer);
}

#[test]
fn split_brain_with_a_common_parent() {
    let (mine, peer) = (side(0, A).bitmap(C).dirty(5).primary(), side(1, B).bitmap(C).dirty(7));
    expect(mine, peer, Decision::SplitBrain, Rule::BitmapBoth);
    expect(mine, peer.discards(), SOURCE_BITS, Rule::BitmapBoth);
    expect(peer.discards(), mine, TARGET_BITS, Rule::BitmapBoth);
    let refused = Decision::Refuse(Refusal::TargetIsPrimary);
    expect(mine.discards(), peer, refused, Rule::BitmapBoth);
    let forced = side(1, B).bitmap(C).history(&[C, A]);
    let went_on = forced.flags(|flags| flags.went_on = true);
    expect(mine, went_on, Decision::SplitBrain, Rule::BitmapBoth);
    let half = mine.disk(DiskState::Inconsistent);
    expect(half, forced, TARGET_FULL, Rule::HistoryPeer);
}

/// Told apart, and nothing written: a Primary had come to live on it, or an operator said so.
#[test]
fn who_has_nothing_new_is_no_side_of_a_split_brain() {
    let (mine, peer) = (side(0, A).bitmap(C).dirty(5), side(1, B).bitmap(C));
    expect(mine, peer, SOURCE_BITS, Rule::NothingNew);
    expect(peer, mine, TARGET_BITS, Rule::NothingNew);
    expect(mine.dirty(0), peer, SOURCE_BITS, Rule::NothingNew);
    let went_on = peer.flags(|flags| flags.went_on = true);
    let was_primary = peer.flags(|flags| flags.was_primary = true);
    for wrote in [went_on, was_primary, peer.crashed(), peer.primary()] {
        expect(mine, wrote, Decision::SplitBrain, Rule::BitmapBoth);
    }
}

#[test]
fn split_brain_in_history() {
    for (mine, peer) in [
        (side(0, A).history(&[C]), side(1, B).history(&[C])),
        (side(0, A).bitmap(C), side(1, B).history(&[C])),
        (side(0, A).history(&[B]), side(1, B).history(&[A])),
    ] {
        expect(mine, peer, Decision::SplitBrain, Rule::HistoryBoth);
        expect(mine.discards(), peer, TARGET_FULL, Rule::HistoryBoth);
    }
}

#[test]
fn unrelated() {
    expect(side(0, A), side(1, B), Decision::Unrelated, Rule::Unrelated);
    expect(side(0, A).discards(), side(1, B), Decision::Unrelated, Rule::Unrelated);
    // Two volumes made Primary by force have just-created metadata in common, which name no data.
    let (mine, peer) = (side(0, A).bitmap(4), side(1, B).bitmap(4));
    expect(mine.history(&[4]), peer.history(&[4]), Decision::Unrelated, Rule::Unrelated);
}

#[test]
fn disk_states_after() {
    let outdated = side(0, A).disk(DiskState::Outdated);
    let consistent = side(1, A).disk(DiskState::Consistent);
    let half = side(1, A).disk(DiskState::Inconsistent);
    let after = |decision, mine: &Side, peer: &Side| disk_after(decision, mine, peer);
    assert_eq!(after(Decision::NoSync, &outdated, &consistent), DiskState::UpToDate);
    assert_eq!(after(Decision::NoSync, &consistent, &outdated), DiskState::UpToDate);
    assert_eq!(after(Decision::NoSync, &half, &half), DiskState::Inconsistent);
    assert_eq!(after(SOURCE_BITS, &outdated, &half), DiskState::UpToDate);
    assert_eq!(after(TARGET_FULL, &consistent, &outdated), DiskState::Inconsistent);
    let diskless = side(1, A).disk(DiskState::Diskless);
    assert_eq!(after(Decision::NoSync, &outdated, &diskless), DiskState::Outdated);
    let served = |uuid| diskless.primary().exposed(uuid);
    let apart = side(0, B).bitmap(A).disk(DiskState::Outdated);
    assert_eq!(after(Decision::NoSync, &outdated, &served(A)), DiskState::UpToDate);
    assert_eq!(after(Decision::NoSync, &apart, &served(A)), DiskState::UpToDate);
    assert_eq!(after(Decision::NoSync, &apart, &served(C)), DiskState::Outdated);
    assert_eq!(after(Decision::NoSync, &apart, &diskless.primary()), DiskState::Outdated);
    let (new, also) = (side(0, 4).disk(DiskState::Outdated), side(1, 4));
    assert_eq!(after(Decision::NoSync, &new, &also), DiskState::Outdated);
    for stays in
        [Decision::SplitBrain, Decision::Unrelated, Decision::Refuse(Refusal::TargetIsPrimary)]
    {
        assert_eq!(after(stays, &outdated, &consistent), DiskState::Outdated);
    }
}

/// A Primary whose disk is gone, or is back behind its peer's, takes no data that its clients have
/// seen newer ones of.
#[test]
fn what_clients_have_seen_the_peer_must_have() {
    let refused = Decision::Refuse(Refusal::ServedNewer);
    let gone = side(0, 0).disk(DiskState::Diskless).exposed(A);
    expect(gone, side(1, A), Decision::NoSync, Rule::Diskless);
    expect(gone, side(1, B).history(&[A]), Decision::NoSync, Rule::Diskless);
    expect(gone, side(1, B), refused, Rule::Diskless);
    expect(gone.protocol_a(), side(1, A), refused, Rule::Diskless);
    expect(gone.protocol_b(), side(1, A), refused, Rule::Diskless);
    expect(gone.protocol_b(), side(1, A).reconnect(), Decision::NoSync, Rule::Diskless);
    let back = side(0, A).disk(DiskState::Outdated).crashed();
    for back in [back, back.protocol_a(), back.protocol_b()] {
        expect(back.exposed(A), side(1, A), TARGET_BITS, Rule::Survivor);
        expect(back.exposed(C), side(1, A), refused, Rule::Survivor);
    }
    let old = side(0, A).disk(DiskState::Outdated);
    let newer = side(1, B).bitmap(A).discards();
    expect(old.primary().exposed(A), newer, refused, Rule::BitmapPeer);
    expect(old, newer, SOURCE_BITS, Rule::BitmapPeer);
}

/// A Primary that was left without data does not go on with those that others have used since.
#[test]
fn what_others_have_used_since_is_refused() {
    let other = side(1, B).history(&[A]).flags(|flags| flags.went_on = true);
    for gone in [side(0, 0).disk(DiskState::Diskless), side(0, A).disk(DiskState::Outdated)] {
        let found = decide(&gone.exposed(A), &other);
        assert_eq!(found.decision, Decision::Refuse(Refusal::WentOn));
        check(&gone.exposed(A), &other);
    }
    expect(side(0, A).disk(DiskState::Outdated), other, TARGET_FULL, Rule::HistoryPeer);
}
