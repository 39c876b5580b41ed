//! Disks that do not answer: `disk-timeout`, and a detach that does not wait for them.
//!
//! A disk with an operation in flight for too long is given up as one that failed, and so are all
//! its operations: to whoever waits for one it has failed. What the disk still does with them
//! touches nothing but the disk. Each keeps its name and its buffer until it ends, and the disk is
//! not closed, nor opened again, before the last one has: so nothing lands on a disk that is in use
//! again, and nothing is read into a buffer that is somebody else's
//! (docs/decisions/0013-a-hung-disk-is-a-failed-one.md).

use crate::detach::Detaching;
use crate::error::DiskError;
use crate::in_flight::Look;
use crate::limits::FORCED_DETACH_PATIENCE;
use crate::peers::VolumeIndex;
use crate::resource::Resource;
use crate::time::Instant;
use crate::volume::Disk;

impl Resource {
    /// When the disks want to be looked at.
    pub(crate) fn disk_deadline(&self) -> Option<Instant> {
        self.volumes.iter().filter_map(|volume| volume.ops().look_at()).min()
    }

    /// When the first detach by force has waited for long enough.
    pub(crate) fn detach_deadline(&self) -> Option<Instant> {
        self.detaching.iter().filter_map(|Detaching { until, .. }| *until).min()
    }

    /// Gives up every disk that has taken too long.
    pub(crate) fn check_disks(&mut self) {
        let now = self.now;
        for volume in self.volume_indexes() {
            let limit = self.volumes[volume].config.disk_timeout;
            if self.volumes[volume].ops_mut().look(now, limit) == Look::Hangs {
                self.disk_hangs(volume);
            }
        }
    }

    /// No disk is waited for any longer than a forced detach waits.
    pub(crate) fn hurry_disks(&mut self) {
        for volume in self.volume_indexes() {
            let volume = &mut self.volumes[volume];
            let limit = &mut volume.config.disk_timeout;
            if limit.is_zero() || *limit > FORCED_DETACH_PATIENCE {
                *limit = FORCED_DETACH_PATIENCE;
                volume.ops_mut().limit_changed(FORCED_DETACH_PATIENCE);
            }
        }
    }

    fn disk_hangs(&mut self, volume: VolumeIndex) {
        let limit = self.volumes[volume].config.disk_timeout;
        self.volumes[volume].counters.io_errors.timeouts += 1;
        let text = format!("the disk has not answered for {limit:?} (disk-timeout)");
        match &self.volumes[volume].disk {
            Disk::Attached(_) => {
                self.volumes[volume].failure = Some(format!("{text}: it is given up"));
                self.advance_failure(volume);
            }
            Disk::Reading(_) => self.attach_failed(volume, &text),
            Disk::Diskless | Disk::Opening(_) | Disk::Closing { .. } => {}
        }
        self.give_up_operations(volume);
    }

    /// A flush has failed, perhaps of a disk that was given up before. That is final (INV-14): what
    /// it was to make durable the disk may have lost.
    pub(crate) fn flush_failed(&mut self, volume: VolumeIndex) {
        self.volumes[volume].unflushable = true;
        self.expose_unflushed(volume);
    }

    /// Nobody waits any more for a disk that was given up.
    pub(crate) fn give_up_operations(&mut self, volume: VolumeIndex) {
        let Disk::Closing { detaching, .. } = &mut self.volumes[volume].disk else { return };
        let commands = std::mem::take(detaching);
        for purpose in self.volumes[volume].ops_mut().give_up() {
            self.operation_ended(volume, purpose, Err(DiskError::NoAnswer));
        }
        for command in commands {
            self.done(command, Ok(()));
        }
        self.unsettled = true;
    }
}
