//! One volume on this node: its disk, the operations in flight on it, its range locks.

use tandem_wire::{ByteRange, DiskState, VolumeNumber};

use crate::action::{AttachGeneration, CommandId, DiskOpKind, DiskToken, OpenedDisk};
use crate::activity_log::ActivityLog;
use crate::attach::AttachRead;
use crate::bitmap::Bitmap;
use crate::config::VolumeConfig;
use crate::exposed::Exposed;
use crate::flush::Flusher;
use crate::in_flight::InFlight;
use crate::limits::BLOCK_BYTES;
use crate::peers::{List, PeerIndex};
use crate::pending::Pending;
use crate::range_lock::{Acquired, LockId, LockKind, RangeLocks};
use crate::resize::{Held, Sizing};
use crate::slab::Key;
use crate::status::IoErrors;
use crate::store::{Store, Ticket};
use crate::time::Instant;

/// What a disk operation in flight is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// One of the two superblock copies, at attach.
    ReadSuperblock(usize),
    /// The n-th piece of the bitmaps or the activity log, at attach.
    ReadMap(usize),
    /// A look for metadata that the disk has outgrown, at attach.
    Search,
    /// Part of a metadata commit.
    Commit,
    /// A copy of a transaction of the activity log.
    Transaction,
    Flush,
    Read(Key),
    Merge(Key),
    Write(Key),
    PeerRead(PeerIndex, Key),
    PeerWrite(PeerIndex, Key),
    ResyncWrite(PeerIndex, Key),
    /// Blocks that could not be read are written again.
    Repair(Key),
    /// Looks at what was read for a peer: whether it is zero, or its digests.
    PeerReadLook(PeerIndex, Key),
    /// A resync target's look at what it has.
    ChecksumRead(PeerIndex, Key),
    ChecksumDigest(PeerIndex, Key),
    VerifyRead(PeerIndex, Key),
    VerifyDigest(PeerIndex, Key),
    /// What a disk that was given up must say of itself.
    LastWord,
    /// Nothing any more: its disk was given up before it ended (`hung`). Its name and its buffer
    /// are not free before it has. How a flush has ended tells what the disk may have lost.
    GivenUp {
        flush: bool,
    },
}

impl Purpose {
    /// Whether a disk has to do something for it.
    pub(crate) fn is_on_disk(self) -> bool {
        match self {
            Self::ReadSuperblock(_)
            | Self::Search
            | Self::ReadMap(_)
            | Self::Commit
            | Self::Transaction
            | Self::Flush
            | Self::Read(_)
            | Self::Write(_)
            | Self::PeerRead(..)
            | Self::PeerWrite(..)
            | Self::ResyncWrite(..)
            | Self::Repair(_)
            | Self::ChecksumRead(..)
            | Self::VerifyRead(..)
            | Self::LastWord
            | Self::GivenUp { .. } => true,
            Self::Merge(_)
            | Self::PeerReadLook(..)
            | Self::ChecksumDigest(..)
            | Self::VerifyDigest(..) => false,
        }
    }
}

/// Who holds or waits for a range.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LockOwner {
    Write(Key),
    PeerWrite(PeerIndex, Key),
    PeerRead(PeerIndex, Key),
    ResyncClaim(PeerIndex, Key),
    ResyncWrite(PeerIndex, Key),
    VerifyClaim(PeerIndex, Key),
    VerifyRead(PeerIndex, Key),
    RepairClaim(Key),
    RepairWrite(Key),
}

impl LockOwner {
    const PEER_SHIFT: u32 = Key::BITS;
    const KIND_SHIFT: u32 = Key::BITS + 5;

    fn to_bits(self) -> u64 {
        let (kind, peer, key) = match self {
            Self::Write(key) => (0, 0, key),
            Self::PeerWrite(peer, key) => (1, peer.0, key),
            Self::PeerRead(peer, key) => (2, peer.0, key),
            Self::ResyncClaim(peer, key) => (3, peer.0, key),
            Self::ResyncWrite(peer, key) => (4, peer.0, key),
            Self::VerifyClaim(peer, key) => (5, peer.0, key),
            Self::VerifyRead(peer, key) => (6, peer.0, key),
            // Of no peer, so that one kind does for both: three bits are left for kinds.
            Self::RepairClaim(key) => (7, 0, key),
            Self::RepairWrite(key) => (7, 1, key),
        };
        kind << Self::KIND_SHIFT | u64::from(peer) << Self::PEER_SHIFT | key.to_bits()
    }

    fn from_bits(bits: u64) -> Self {
        let key = Key::from_bits(bits & ((1 << Key::BITS) - 1));
        let peer = PeerIndex((bits >> Self::PEER_SHIFT & 31) as u8);
        match bits >> Self::KIND_SHIFT {
            0 => Self::Write(key),
            1 => Self::PeerWrite(peer, key),
            2 => Self::PeerRead(peer, key),
            3 => Self::ResyncClaim(peer, key),
            4 => Self::ResyncWrite(peer, key),
            5 => Self::VerifyClaim(peer, key),
            6 => Self::VerifyRead(peer, key),
            7 if peer.0 == 0 => Self::RepairClaim(key),
            7 => Self::RepairWrite(key),
            kind => unreachable!("{kind} is no kind of owner"),
        }
    }
}

/// A new generation on its way to disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Rotation {
    /// This node's disk does not have all yet that its peers have sent before; in A and B that has
    /// been answered.
    Draining,
    /// What the peer has as well must first be safe from a power loss here: from the new generation
    /// on this disk counts as the better one (INV-1).
    Flushing,
    /// The metadata are being written.
    Saving(Ticket),
}

/// Counters for the status.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    pub(crate) read_bytes: u64,
    pub(crate) written_bytes: u64,
    pub(crate) al_writes: u64,
    pub(crate) bm_writes: u64,
    pub(crate) pending: Pending,
    pub(crate) io_errors: IoErrors,
}

/// Where the backing disk stands.
#[derive(Debug)]
pub(crate) enum Disk {
    Diskless,
    /// Being opened for this command.
    Opening(CommandId),
    /// Its metadata are being read.
    Reading(Box<AttachRead>),
    Attached(Box<Attached>),
    /// Given up: closed once nothing is in flight on it. The commands wait for that.
    Closing {
        failed: bool,
        detaching: Vec<CommandId>,
        /// What it is told before where a flush of it has failed, the last step first.
        last_word: Vec<DiskOpKind>,
    },
}

/// An attached disk.
#[derive(Debug)]
pub(crate) struct Attached {
    pub(crate) state: DiskState,
    pub(crate) opened: OpenedDisk,
    pub(crate) store: Store,
    /// One for each connection, in their order.
    pub(crate) bitmaps: List<Bitmap>,
    /// Kept while this node is Primary, unless it is not wanted.
    pub(crate) log: Option<Box<ActivityLog>>,
    /// The command that attached it, until what was found is durable.
    pub(crate) attaching: Option<(CommandId, Ticket)>,
    pub(crate) sizing: Sizing,
}

/// Names the data of a volume in this process, until a peer's take their place.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Image(u64);

/// One volume.
#[derive(Debug)]
pub(crate) struct Volume {
    pub(crate) number: VolumeNumber,
    pub(crate) config: VolumeConfig,
    /// A volume of another resource that is synced before is in a resync.
    pub(crate) resync_blocked: bool,
    /// The shell knows that this one is in a resync.
    pub(crate) told_resyncing: bool,
    /// When an application, here or at a peer, last asked for something.
    pub(crate) application_at: Option<Instant>,
    pub(crate) generation: AttachGeneration,
    pub(crate) disk: Disk,
    ops: InFlight,
    locks: RangeLocks,
    /// A new generation is on its way to disk.
    pub(crate) rotation: Option<Rotation>,
    /// The disk failed in the present input.
    pub(crate) failure: Option<String>,
    pub(crate) flusher: Flusher,
    /// Writes of the application in flight on this disk that a read from a peer may have shown.
    pub(crate) shown_early: Vec<Key>,
    /// A flush of this disk has failed: what it has not made durable it may have lost.
    pub(crate) unflushable: bool,
    /// What clients have seen, where this node's disk does not tell.
    pub(crate) exposed: Exposed,
    /// Which data these are.
    pub(crate) image: Image,
    /// Size agreed with peers; 0 while unknown.
    pub(crate) size_bytes: u64,
    /// Clients see less than that.
    pub(crate) held: Option<Held>,
    pub(crate) counters: Counters,
}

impl Volume {
    pub(crate) fn new(config: VolumeConfig) -> Self {
        Self {
            number: config.number,
            config,
            resync_blocked: false,
            told_resyncing: false,
            application_at: None,
            generation: AttachGeneration::default(),
            disk: Disk::Diskless,
            ops: InFlight::default(),
            locks: RangeLocks::default(),
            rotation: None,
            failure: None,
            flusher: Flusher::default(),
            shown_early: Vec::new(),
            unflushable: false,
            exposed: Exposed::default(),
            image: Image::default(),
            size_bytes: 0,
            held: None,
            counters: Counters::default(),
        }
    }

    pub(crate) fn is_diskless(&self) -> bool {
        matches!(self.disk, Disk::Diskless)
    }

    pub(crate) fn is_closing(&self) -> bool {
        matches!(self.disk, Disk::Closing { .. })
    }

    pub(crate) fn is_attached(&self) -> bool {
        matches!(self.disk, Disk::Attached(_))
    }

    pub(crate) fn attached(&self) -> Option<&Attached> {
        match &self.disk {
            Disk::Attached(attached) => Some(attached),
            Disk::Diskless | Disk::Opening(_) | Disk::Reading(_) | Disk::Closing { .. } => None,
        }
    }

    pub(crate) fn attached_mut(&mut self) -> Option<&mut Attached> {
        match &mut self.disk {
            Disk::Attached(attached) => Some(attached),
            Disk::Diskless | Disk::Opening(_) | Disk::Reading(_) | Disk::Closing { .. } => None,
        }
    }

    pub(crate) fn disk_state(&self) -> DiskState {
        match &self.disk {
            Disk::Diskless | Disk::Closing { failed: false, .. } => DiskState::Diskless,
            Disk::Opening(_) | Disk::Reading(_) => DiskState::Attaching,
            Disk::Attached(attached) => attached.state,
            Disk::Closing { failed: true, .. } => DiskState::Failed,
        }
    }

    /// Names the opening of a disk that is attached and may be written to for a peer.
    pub(crate) fn usable_generation(&self) -> Option<AttachGeneration> {
        let attached = self.attached()?;
        attached.attaching.is_none().then_some(self.generation)
    }

    /// Whether what the disk is worth is still being found out.
    pub(crate) fn is_attaching(&self) -> bool {
        match &self.disk {
            Disk::Opening(_) | Disk::Reading(_) => true,
            Disk::Attached(attached) => attached.attaching.is_some(),
            Disk::Diskless | Disk::Closing { .. } => false,
        }
    }

    /// A peer's data take the place of this node's.
    pub(crate) fn replace_image(&mut self) {
        self.image.0 += 1;
    }

    pub(crate) fn is_rotating(&self) -> bool {
        self.rotation.is_some()
    }

    /// What clients see of the volume.
    pub(crate) fn export_bytes(&self) -> u64 {
        self.held.map_or(self.size_bytes, |held| held.bytes)
    }

    /// Whether `range` is not empty, lies inside the volume and on whole blocks.
    pub(crate) fn holds(&self, range: ByteRange) -> bool {
        range.len > 0
            && range.checked_end().is_some_and(|end| end <= self.size_bytes)
            && range.is_aligned(BLOCK_BYTES)
    }

    /// Names an operation that is about to be issued.
    pub(crate) fn op_begins(&mut self, purpose: Purpose, now: Instant) -> DiskToken {
        self.ops.begin(purpose, now, self.config.disk_timeout)
    }

    /// What an operation in flight is for.
    pub(crate) fn op(&self, token: DiskToken) -> Option<Purpose> {
        self.ops.get(token)
    }

    /// What an operation that has ended was for.
    pub(crate) fn op_ends(&mut self, token: DiskToken) -> Option<Purpose> {
        self.ops.end(token)
    }

    /// An operation has failed.
    pub(crate) fn count_error(&mut self, purpose: Purpose) {
        let errors = &mut self.counters.io_errors;
        let count = match purpose {
            Purpose::Read(_)
            | Purpose::PeerRead(..)
            | Purpose::ChecksumRead(..)
            | Purpose::VerifyRead(..) => &mut errors.reads,
            Purpose::Write(_)
            | Purpose::PeerWrite(..)
            | Purpose::ResyncWrite(..)
            | Purpose::Repair(_) => &mut errors.writes,
            Purpose::Flush | Purpose::GivenUp { flush: true } => &mut errors.flushes,
            Purpose::ReadSuperblock(_)
            | Purpose::Search
            | Purpose::ReadMap(_)
            | Purpose::Commit
            | Purpose::LastWord
            | Purpose::Transaction => &mut errors.metadata,
            // In memory; or of a disk that was given up, and counted as that.
            Purpose::Merge(_)
            | Purpose::PeerReadLook(..)
            | Purpose::ChecksumDigest(..)
            | Purpose::VerifyDigest(..)
            | Purpose::GivenUp { flush: false } => return,
        };
        *count += 1;
    }

    pub(crate) fn ops(&self) -> &InFlight {
        &self.ops
    }

    pub(crate) fn ops_mut(&mut self) -> &mut InFlight {
        &mut self.ops
    }

    pub(crate) fn ops_in_flight(&self) -> usize {
        self.ops.len()
    }

    /// Whether the disk was given up, and only operations that nobody waits for keep it open.
    pub(crate) fn lingers(&self) -> bool {
        self.is_closing() && self.ops.len() > 0 && self.ops.are_given_up()
    }

    /// Asks for a range: its lock, and whether it is granted at once.
    pub(crate) fn lock(
        &mut self,
        kind: LockKind,
        range: ByteRange,
        owner: LockOwner,
    ) -> (LockId, bool) {
        let covered = range.aligned_to_blocks();
        let (lock, acquired) = self.locks.acquire(kind, covered.0, covered.1, owner.to_bits());
        (lock, acquired == Acquired::Granted)
    }

    /// Asks for a range below a claim: takes the claim's place in line.
    pub(crate) fn lock_under(
        &mut self,
        claim: LockId,
        kind: LockKind,
        range: ByteRange,
        owner: LockOwner,
    ) -> (LockId, bool) {
        let covered = range.aligned_to_blocks();
        let owner = owner.to_bits();
        let (lock, acquired) = self.locks.acquire_under(claim, kind, covered.0, covered.1, owner);
        (lock, acquired == Acquired::Granted)
    }

    /// Gives a range, or the wait for one, back; who gets one by that is added to `granted`.
    pub(crate) fn unlock(&mut self, lock: LockId, granted: &mut Vec<LockOwner>) {
        let mut grants = Vec::new();
        if self.locks.is_granted(lock) {
            self.locks.release(lock, &mut grants);
        } else {
            self.locks.cancel(lock, &mut grants);
        }
        granted.extend(grants.into_iter().map(|grant| LockOwner::from_bits(grant.owner)));
    }
}

trait BlockCover {
    fn aligned_to_blocks(self) -> (u64, u64);
}

impl BlockCover for ByteRange {
    /// Offset and length of the 4 KiB blocks it touches: what bitmaps and resyncs know is blocks,
    /// so a lock covers whole ones.
    fn aligned_to_blocks(self) -> (u64, u64) {
        let block = u64::from(BLOCK_BYTES);
        let start = self.offset / block * block;
        (start, self.end().div_ceil(block) * block - start)
    }
}
