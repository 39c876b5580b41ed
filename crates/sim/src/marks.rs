//! Marks: named situations that runs are expected to come across, and how often they did.
//!
//! A run that passes proves little if nothing happened in it. What counts is seen from the
//! simulator's side of the boundary: packets, requests, crashes and changes of states. The core
//! knows nothing of marks. Counting is an addition to an array, so that it costs nothing.

use std::collections::BTreeMap;

macro_rules! marks {
    ($($variant:ident = $name:literal: $doc:literal,)+) => {
        /// A situation.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Mark { $(#[doc = $doc] $variant,)+ }

        impl Mark {
            /// All of them.
            pub const ALL: &[Self] = &[$(Self::$variant,)+];

            /// Its name in summaries.
            pub fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)+ }
            }
        }
    };
}

marks! {
    BothConnectCross = "both_connect_cross": "Both nodes dial at the same time.",
    LinkRejected = "link_rejected": "A greeting is rejected.",
    OnlyTried = "only_tried": "A node finds out what connecting would come to.",
    SessionReplaced = "session_replaced": "A link comes up while its end still had an older one.",
    LateFrame = "late_frame": "A frame of an ended session reaches a core.",
    LateFrameInNewSession = "late_frame_in_new_session": "The same while a newer session is up.",
    LinkHalfOpen = "link_half_open": "One end is told of the end of a link, the other is not.",
    LinkLostInHandshake = "link_lost_in_handshake": "A link ends before its session runs.",
    ChangedInHandshake = "uuid_changed_during_handshake": "What a node told is not so any more.",
    PrimaryKilledInHandshake = "primary_killed_in_handshake": "A Primary dies in a handshake.",
    SecondaryKilledInHandshake = "secondary_killed_in_handshake": "A Secondary dies in one.",
    KilledAsSource = "killed_as_source": "The source of a resync dies.",
    KilledAsTarget = "killed_as_target": "The target of a resync dies.",
    KilledInBitmapExchange = "killed_in_bitmap_exchange": "A node dies while bitmaps go over.",
    KilledWhilePromoting = "killed_while_promoting": "A node dies while it becomes Primary.",
    KilledWhileDemoting = "killed_while_demoting": "A node dies while it becomes Secondary.",
    KilledWhileAttaching = "killed_while_attaching": "A node dies while it reads its metadata.",
    KilledWithRequests = "killed_with_requests": "A node dies with requests in flight.",
    KilledWithMetaWrite = "killed_with_meta_write": "A node dies with a metadata write in flight.",
    KilledWithTransaction = "killed_with_al_transaction": "One of its activity log is among them.",
    KilledWithFlush = "killed_with_flush": "A node dies with a flush in flight.",
    EvictThenCrash = "al_evict_then_crash": "It dies behind an eviction from its activity log.",
    PowerLostWithCache = "power_lost_with_cache": "A power loss finds unflushed sectors.",
    PowerLostWithFewSectors = "power_lost_with_few_sectors": "It finds eight at most.",
    PowerLostWhileFollowing = "power_lost_while_following": "It hits an up-to-date Secondary.",
    BothDead = "both_dead": "No process runs.",
    StoppedAsPrimary = "stopped_as_primary": "A Primary is stopped.",
    StoppedAsSecondary = "stopped_as_secondary": "A Secondary is stopped.",
    StoppedInResync = "stopped_in_resync": "A node is stopped in a resync.",
    WokeWithoutLink = "woke_without_link": "A stopped node goes on, and its peer has given it up.",
    WokeBesidePrimary = "woke_beside_primary": "A Primary goes on that was replaced meanwhile.",
    KilledWhileStopped = "killed_while_stopped": "A stopped node dies.",
    ReadFailed = "read_failed": "A disk fails to read data.",
    WriteFailed = "write_failed": "It fails to write them.",
    FlushFailed = "flush_failed": "It fails to flush, and loses its cache.",
    MetaWriteFailed = "meta_write_failed": "It fails to write metadata.",
    LogWriteFailed = "eio_in_al_commit": "It fails to write a transaction of the activity log.",
    DiskHangs = "disk_hangs": "An operation of a disk hangs.",
    LocalIoError = "local_io_error": "A node asks for the program for its failed disk.",
    LateCompletion = "late_completion": "It ends on a disk that was given up.",
    ErrorPassedOn = "error_passed_on": "A client gets an error of a disk that stays.",
    ReadRepaired = "read_repaired": "What could not be read is written again.",
    MetaReadFailed = "meta_read_failed": "It fails to read them.",
    ReadWhileWritten = "read_overlaps_write": "A read meets a write in flight.",
    WriteWhileWritten = "write_overlaps_write": "A write meets one in flight.",
    TrimWhileWritten = "trim_overlaps_write": "A trim or zeroing meets a write in flight.",
    UnalignedWrite = "unaligned_write": "A write of parts of blocks.",
    UnalignedTrim = "unaligned_trim": "A trim whose head or tail is part of a block.",
    TrimOfNothing = "trim_of_nothing": "A trim of no whole block.",
    LongRequest = "long_request": "A request of 512 KiB or more.",
    FlushWhileWriting = "flush_with_writes_in_flight": "A flush while writes are in flight.",
    FuaWrite = "fua_write": "A write to be durable at its reply.",
    ClientKilled = "client_killed_in_flight": "A client dies with requests in flight.",
    ReplayMeetsCopy = "replay_meets_stuck_copy": "A request comes again while its copy is stuck.",
    ReplayedElsewhere = "replayed_on_other_node": "A request comes again after a fail-over.",
    DegradedWrite = "degraded_write": "A write is replied to without a peer.",
    RemoteRead = "remote_read": "A read is served from the peer.",
    NegativeReply = "negative_reply": "A node tells its peer that it could not.",
    PeerWriteOverlaps = "peer_write_overlaps": "A peer's write meets disk writes in flight.",
    BarrierWithHeldWrite = "barrier_with_held_write": "A barrier comes while one is held for that.",
    BarrierWhileWriting = "barrier_while_writing": "A barrier comes while the disk writes.",
    PeerFlush = "peer_flush": "A flush goes to the peer.",
    ResyncReadMeetsWrite = "resync_read_overlaps_write": "A resync asks for what is being written.",
    WriteBehindCursor = "write_behind_cursor": "A write to what a resync has passed.",
    WriteAheadOfCursor = "write_ahead_of_cursor": "A write to what a resync has not reached.",
    BitSetBehindCursor = "bit_set_behind_cursor": "A block behind the cursor gets out of sync.",
    AckLostAtResyncEnd = "ack_lost_at_resync_end": "Only one node saw the end of a resync.",
    ResyncBegan = "resync_began": "A resync begins.",
    ResyncOfEverything = "resync_of_everything": "All blocks are to be copied.",
    ResyncEnded = "resync_ended": "A resync is done.",
    ResyncInterrupted = "resync_interrupted": "A resync loses its link.",
    ResyncTurned = "resync_of_former_primary": "The Primary of before is the target.",
    PromotedConnected = "promoted_connected": "A node becomes Primary beside its peer.",
    PromotedAlone = "promoted_alone": "A node becomes Primary without its peer.",
    PromotionsCross = "promotions_cross": "Both nodes want to become Primary.",
    VotedNo = "voted_no": "A node votes against its peer's promotion.",
    DisconnectsCross = "disconnects_cross": "Both nodes want to leave.",
    ClientsSentAway = "clients_sent_away": "A demotion closes clients.",
    SplitBrainSeen = "split_brain_seen": "A node reports a split brain.",
    AttachedConnected = "attached_while_connected": "A disk comes back in a session.",
    DetachedConnected = "detached_while_connected": "A disk goes in a session.",
    SectorRotted = "sector_rotted": "A sector of a healthy Secondary rots.",
    VerifyMeetsWrite = "verify_meets_write": "A verify asks for what is being written.",
    VerifyFound = "verify_found": "A verify finds blocks that differ.",
    VerifyDone = "verify_done": "A verify comes to its end.",
    VerifyStopped = "verify_stopped": "A verify is stopped by command.",
    VerifyCannotRead = "verify_cannot_read": "A peer that is compared cannot read its disk.",
    VerifyRepaired = "verify_repaired": "What a verify has found is repaired at its end.",
    VerifyInterrupted = "verify_interrupted": "A verify loses its link.",
    KilledInVerify = "killed_in_verify": "A node dies that verifies or is compared.",
    RolesMovedInVerify = "promoted_in_verify": "A node becomes Primary while it is compared.",
    ChecksumSame = "checksum_same": "A resync finds by digest that there is nothing to copy.",
    PromotedByForce = "promoted_by_force": "A node without good data is declared good.",
    RenewedByHand = "renewed_by_hand": "Data of a node alone get a generation by command.",
    CommandsAtOnce = "commands_at_once": "Both nodes get a command at the same moment.",
    ConsistentAfterCrash = "consistent_after_restart": "A node does not know whether it is newest.",
    ResyncPaused = "resync_paused": "A resync that runs is paused by command.",
    ResyncResumed = "resync_resumed": "A resync that was paused goes on.",
    WriteToPausedTarget = "write_to_paused_target": "A paused target gets a write.",
    KilledWhilePaused = "killed_while_paused": "A node dies in a resync that is paused.",
    ZeroesNotSent = "zeroes_not_sent": "A piece of a resync is zeroes and is not sent.",
    FenceCalled = "fence_called": "A node wants its peer fenced.",
    FenceMetPrimary = "fence_met_primary": "The peer that is to be outdated is Primary.",
    FenceAnswerLate = "fence_answer_late": "The answer comes when a link is up again.",
    PeerOutdated = "peer_outdated": "A peer is outdated by a handler.",
    PeerShot = "peer_shot": "A handler takes the power of the peer.",
    FrozenForFence = "frozen_for_fence": "I/O is frozen for a peer that is lost.",
    FenceFailed = "fence_failed": "A handler could not fence the peer.",
    FenceSilent = "fence_silent": "A handler gives no answer.",
    FenceWaived = "fence_waived": "An operator has a node go on without a fence.",
    PeerUnfenced = "peer_unfenced": "A peer that is in sync again needs no fence.",
    KilledWhileFrozen = "killed_while_frozen_for_fence": "A node dies whose I/O is frozen for one.",
    PermitAsked = "permit_asked": "A node asks whether it may be target of a resync.",
    PermitGranted = "permit_granted": "A node is told that it may be target.",
    PermitRefused = "permit_refused": "A node is told that it may not be target.",
    PermitSilent = "permit_silent": "A node is not told whether it may be target.",
    PermitAskedBehind = "permit_asked_behind": "A node that is behind asks before it catches up.",
    PulledAhead = "pulled_ahead": "A node pulls ahead of its peer.",
    KilledWhileBehind = "killed_while_behind": "A node dies that is behind its peer.",
    CaughtUp = "caught_up": "A node that was behind becomes target.",
    VolumeGrew = "volume_grew": "A volume has become larger.",
    GrewUnderLoad = "grew_under_load": "A volume has become larger with requests in flight.",
    ResizeRefused = "resize_refused": "A volume cannot grow.",
    LinkLostWhileGrowing = "link_lost_while_growing": "A link is lost while a resize is under way.",
    KilledWhileGrowing = "killed_while_growing": "A node dies while a resize is under way.",
    TargetCompared = "target_compared": "The bits of a resting target are compared with its disk.",
}

/// How often each mark was hit, and each class of faults injected.
#[derive(Clone, Debug)]
pub struct Marks {
    counts: [u64; Mark::ALL.len()],
    faults: BTreeMap<String, u64>,
}

impl Marks {
    /// The situation is there.
    pub fn hit(&mut self, mark: Mark) {
        self.counts[mark as usize] += 1;
    }

    /// The situation is there, if it is.
    pub fn hit_if(&mut self, there: bool, mark: Mark) {
        if there {
            self.hit(mark);
        }
    }

    /// A fault of this class was injected.
    pub fn fault(&mut self, class: String) {
        *self.faults.entry(class).or_default() += 1;
    }

    /// All together.
    pub fn add(&mut self, other: &Self) {
        for (sum, count) in self.counts.iter_mut().zip(other.counts) {
            *sum += count;
        }
        for (class, count) in &other.faults {
            *self.faults.entry(class.clone()).or_default() += count;
        }
    }

    /// How often a mark was hit.
    pub fn count(&self, mark: Mark) -> u64 {
        self.counts[mark as usize]
    }

    /// Faults by class, and how many.
    pub fn faults(&self) -> impl Iterator<Item = (&str, u64)> {
        self.faults.iter().map(|(class, count)| (class.as_str(), *count))
    }
}

impl Default for Marks {
    fn default() -> Self {
        Self { counts: [0; Mark::ALL.len()], faults: BTreeMap::new() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_add_up() {
        let mut sum = Marks::default();
        for _ in 0..3 {
            let mut run = Marks::default();
            run.hit(Mark::BothDead);
            run.hit_if(false, Mark::FuaWrite);
            run.fault("Kill".into());
            sum.add(&run);
        }
        assert_eq!([sum.count(Mark::BothDead), sum.count(Mark::FuaWrite)], [3, 0]);
        assert_eq!(sum.faults().collect::<Vec<_>>(), [("Kill", 3)]);
    }

    #[test]
    fn names_are_unique() {
        let mut names: Vec<&str> = Mark::ALL.iter().map(|mark| mark.name()).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), Mark::ALL.len());
    }
}
