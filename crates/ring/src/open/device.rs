//! What the system says of the device that a file is on.

use std::fs::File;
use std::io;
use std::path::PathBuf;

use rustix::fs::{FallocateFlags, fallocate, fstat, major, minor};

/// A block device by its number; file systems without one have a number that names none.
#[derive(Clone, Copy, Debug)]
pub(super) struct Device {
    number: u64,
}

impl Device {
    pub(super) fn of(file: &File, is_block_device: bool) -> io::Result<Self> {
        let stat = fstat(file)?;
        Ok(Self { number: if is_block_device { stat.st_rdev } else { stat.st_dev } })
    }

    pub(super) fn is_rotational(self) -> bool {
        self.attribute("rotational").is_some_and(|value| value > 0)
    }

    /// A device says so; a file system is asked for a hole behind the end, which is none.
    pub(super) fn zeroes_by_command(
        self,
        file: &File,
        is_block_device: bool,
        size_bytes: u64,
    ) -> bool {
        if is_block_device {
            return self.attribute("write_zeroes_max_bytes").is_some_and(|value| value > 0);
        }
        let behind = size_bytes.next_multiple_of(HOLE_BYTES);
        let flags = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
        fallocate(file, flags, behind, HOLE_BYTES).is_ok()
    }

    /// An attribute of its queue; a partition has that of its disk.
    fn attribute(self, name: &str) -> Option<u64> {
        let device = format!("/sys/dev/block/{}:{}", major(self.number), minor(self.number));
        let device = PathBuf::from(device);
        let paths = [device.join("queue"), device.join("../queue")];
        let text = paths.iter().find_map(|path| std::fs::read_to_string(path.join(name)).ok())?;
        text.trim().parse().ok()
    }
}

const HOLE_BYTES: u64 = 4096;
