//! What a disk suffers from: operations that fail, or that hang.
//!
//! A write that fails has changed any of its sectors. A flush that fails is the worst there is: the
//! disk has dropped what it had in its cache, or some of it, so that nothing may be believed that
//! was not durable before (SEMANTICS, finding 6).
//!
//! An operation that hangs ends late: a node that has given the disk up meanwhile must neither be
//! touched by that nor use the disk before. Some end only with the process.

use tandem_replica::{DiskError, DiskOpKind};
use tandem_wire::{DiskState, Protocol, Role};

use crate::checks::Violation;
use crate::clock::{MILLIS, SECONDS};
use crate::eviction::Evictions;
use crate::marks::Mark;
use crate::prng::Prng;
use crate::world::World;

/// Which operations suffer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Organ {
    /// Reads of data.
    Read,
    /// Writes and zeroing of data.
    Write,
    /// Flushes.
    Flush,
    /// Reads and writes of metadata.
    Meta,
    /// All of them.
    All,
}

/// What the next operations of a disk suffer from.
#[derive(Clone, Copy, Debug)]
pub struct Ailment {
    organ: Organ,
    /// Operations that still fail.
    left: u32,
    error: DiskError,
}

impl Ailment {
    fn draw(prng: &mut Prng) -> Self {
        let organ = prng.pick(&[
            Organ::Read,
            Organ::Write,
            Organ::Write,
            Organ::Flush,
            Organ::Meta,
            Organ::All,
        ]);
        let full = organ == Organ::Write && prng.per_mille(400);
        Self {
            organ,
            left: prng.pick(&[1, 1, 2, 5, 100]),
            error: if full { DiskError::NoSpace } else { DiskError::Io },
        }
    }

    /// So many operations of any kind fail.
    pub(crate) fn of_all(left: u32) -> Self {
        Self { organ: Organ::All, left, error: DiskError::Io }
    }

    /// Whether an operation fails, and how.
    pub fn strikes(&mut self, kind: &DiskOpKind) -> Option<DiskError> {
        if self.left == 0 || !self.organ.serves(kind) {
            return None;
        }
        self.left -= 1;
        Some(self.error)
    }
}

/// What the next operations of a disk hang for.
#[derive(Clone, Copy, Debug)]
pub struct Stall {
    organ: Organ,
    /// Operations that still hang.
    left: u32,
    /// For how long; `None` for ever.
    length: Option<u64>,
    /// What has hung fails.
    fails: bool,
}

impl Stall {
    /// `limit` is when the node gives the disk up, if it does.
    fn draw(prng: &mut Prng, limit: u64) -> Self {
        let length = match limit {
            0 => Some(prng.log_between(100 * MILLIS, 10 * SECONDS)),
            _ if prng.per_mille(300) => None,
            _ => Some(prng.log_between(limit / 2, 8 * limit)),
        };
        let organ = prng.pick(&[
            Organ::Read,
            Organ::Write,
            Organ::Flush,
            Organ::Meta,
            Organ::All,
            Organ::All,
        ]);
        Self { organ, left: prng.pick(&[1, 1, 2, 5, 100]), length, fails: false }
    }

    /// One operation of any kind hangs so long, and then fails or not.
    pub(crate) fn of_one(length: u64, fails: bool) -> Self {
        Self { organ: Organ::All, left: 1, length: Some(length), fails }
    }

    /// Whether an operation hangs: for how long, and whether it fails then.
    pub fn strikes(&mut self, kind: &DiskOpKind) -> Option<(Option<u64>, bool)> {
        if self.left == 0 || !self.organ.serves(kind) {
            return None;
        }
        self.left -= 1;
        Some((self.length, self.fails))
    }
}

impl Organ {
    fn serves(self, kind: &DiskOpKind) -> bool {
        let organ = match kind {
            DiskOpKind::Read(_) => Self::Read,
            DiskOpKind::Write { .. } | DiskOpKind::Zero { .. } => Self::Write,
            DiskOpKind::Flush => Self::Flush,
            DiskOpKind::MetaRead { .. } | DiskOpKind::MetaWrite { .. } => Self::Meta,
            DiskOpKind::Merge { .. } | DiskOpKind::IsZero { .. } | DiskOpKind::Digest { .. } => {
                return false;
            }
        };
        self == organ || self == Self::All
    }
}

impl World {
    /// A disk falls ill.
    pub(crate) fn sicken(&mut self, node: usize) {
        let volume = self.prng.index(self.nodes[node].disks.len());
        let ailment = Ailment::draw(&mut self.prng);
        self.tell(Some(node), format_args!("disk {volume} suffers from {ailment:?}"));
        self.nodes[node].disks[volume].ailment = Some(ailment);
        // The operator has to find another disk, or room.
        let pause = self.prng.log_between(50 * MILLIS, 8 * SECONDS);
        self.operator.keep_detached(node, self.clock.now() + pause);
    }

    /// A disk hangs; at times the operator does not wait for it.
    pub(crate) fn stall(&mut self, node: usize) {
        let volume = self.prng.index(self.nodes[node].disks.len());
        let limit = self.profile.disk_timeout[node].as_nanos();
        let stall = Stall::draw(&mut self.prng, u64::try_from(limit).expect("seconds"));
        self.tell(Some(node), format_args!("disk {volume} hangs: {stall:?}"));
        self.nodes[node].disks[volume].stall = Some(stall);
        if self.prng.per_mille(200) {
            let at = self.clock.now() + self.prng.log_between(10 * MILLIS, 5 * SECONDS);
            self.operator.force_detach(node, volume, at);
        }
    }

    /// Disks that fail to read now and then do from here on.
    pub(crate) fn wear_out(&mut self) {
        for (node, unreadable) in self.nodes.iter_mut().zip(self.profile.unreadable) {
            for disk in &mut node.disks {
                disk.unreadable = unreadable;
            }
        }
    }

    /// Every disk is well again.
    pub(crate) fn cure(&mut self) {
        for node in &mut self.nodes {
            for disk in &mut node.disks {
                (disk.ailment, disk.stall, disk.unreadable) = (None, None, 0);
            }
            for event in std::mem::take(&mut node.stalled) {
                self.clock.after(self.prng.below(100 * MILLIS), event);
            }
        }
    }

    /// A process ends whose disk has lost its cache and refused to be told: nobody knows that any
    /// more. What that disk had of the other one's data is given up, with what lies there alone.
    pub(crate) fn forget_lost_caches(&mut self, node: usize) {
        let disks = self.nodes[node].disks.iter_mut().zip(&mut self.model.volumes);
        for (disk, volume) in disks.filter(|(disk, _)| disk.unmarked) {
            disk.unmarked = false;
            volume.nodes[1 - node].released = true;
            volume.nodes[1 - node].read.fill(0);
        }
    }

    /// An operation of a disk has failed.
    pub(crate) fn saw_disk_error(
        &mut self,
        node: usize,
        volume: usize,
        kind: &DiskOpKind,
    ) -> Result<(), Violation> {
        self.faults.disk_errors += 1;
        let mark = match kind {
            DiskOpKind::Read(_) => Mark::ReadFailed,
            DiskOpKind::Flush => Mark::FlushFailed,
            DiskOpKind::MetaWrite { .. } => Mark::MetaWriteFailed,
            DiskOpKind::MetaRead { .. } => Mark::MetaReadFailed,
            DiskOpKind::Write { .. }
            | DiskOpKind::Zero { .. }
            | DiskOpKind::Merge { .. }
            | DiskOpKind::IsZero { .. }
            | DiskOpKind::Digest { .. } => Mark::WriteFailed,
        };
        self.marks.hit(mark);
        let transaction = matches!(kind, DiskOpKind::MetaWrite { data, .. }
            if Evictions::is_transaction(data));
        self.marks.hit_if(transaction, Mark::LogWriteFailed);
        let view = &self.nodes[node].view;
        if view.volumes[volume].disk >= DiskState::Inconsistent {
            // It is given up: what it was to note of what it has received it has not noted.
            let owes = &mut self.model.volumes[volume].nodes[node];
            owes.failed = true;
            owes.crashed |= self.model.protocol == Protocol::B && view.role != Role::Primary;
        }
        if matches!(mark, Mark::ReadFailed | Mark::WriteFailed) {
            self.nodes[node].disks[volume].failed_at = Some(self.clock.now());
        }
        if matches!(kind, DiskOpKind::Flush) {
            // Its cache is gone, as in a power loss of this one disk.
            self.check_stable(node, volume)?;
            let target = &mut self.nodes[node];
            target.disks[volume].caches_lost += 1;
            target.disks[volume].unmarked = true;
            target.disks[volume].data_mut().power_loss(&mut target.prng);
            let owes = &mut self.model.volumes[volume].nodes[node];
            owes.lose_power();
            owes.crashed = true;
            owes.follows = false;
            self.end_tenure(node, true);
        }
        Ok(())
    }
}
