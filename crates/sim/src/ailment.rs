//! What a disk suffers from: operations that fail, or that take long.
//!
//! A write that fails has changed any of its sectors. A flush that fails is the worst there is: the
//! disk has dropped what it had in its cache, or some of it, so that nothing may be believed that
//! was not durable before (SEMANTICS, finding 6).

use tandem_replica::{DiskError, DiskOpKind};

use crate::checks::Violation;
use crate::clock::{MILLIS, SECONDS};
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

    /// Whether an operation fails, and how.
    pub fn strikes(&mut self, kind: &DiskOpKind) -> Option<DiskError> {
        let organ = match kind {
            DiskOpKind::Read(_) => Organ::Read,
            DiskOpKind::Write { .. } | DiskOpKind::Zero { .. } => Organ::Write,
            DiskOpKind::Flush => Organ::Flush,
            DiskOpKind::MetaRead { .. } | DiskOpKind::MetaWrite { .. } => Organ::Meta,
            DiskOpKind::Merge { .. } | DiskOpKind::IsZero { .. } | DiskOpKind::Digest { .. } => {
                return None;
            }
        };
        if self.left == 0 || (self.organ != organ && self.organ != Organ::All) {
            return None;
        }
        self.left -= 1;
        Some(self.error)
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

    /// Every disk is well again.
    pub(crate) fn cure(&mut self) {
        for disk in self.nodes.iter_mut().flat_map(|node| &mut node.disks) {
            disk.ailment = None;
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
        if matches!(kind, DiskOpKind::Flush) {
            // Its cache is gone, as in a power loss of this one disk.
            self.check_stable(node, volume)?;
            let target = &mut self.nodes[node];
            target.disks[volume].caches_lost += 1;
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
