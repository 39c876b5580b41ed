//! Opens what a volume is stored on: a file or a block device.
//!
//! The disk is opened O_DIRECT and locked exclusively by flock on the very descriptor that is
//! registered with the engine: after a kill -9 the kernel holds such a lock until the last write in
//! flight has ended, where a lock of the process would be free at once. A block device is opened
//! with O_EXCL too, which keeps mounts and volume managers away from it. What the file system can
//! do (alignment, operation without waiting) is found here, once.
//!
//! Opening may wait, for the lock and for the disk: not a call for a data thread.

use std::fs::File;
use std::io::{self, ErrorKind};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::{FileTypeExt, OpenOptionsExt};
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use rustix::fs::{FlockOperation, SeekFrom};
use rustix::io::Errno;

use crate::error::OpenError;
use device::Device;
use probe::Abilities;

mod device;
mod holder;
mod probe;
#[cfg(test)]
mod tests;

/// How to open a backing disk.
#[derive(Clone, Copy, Debug, Default)]
pub struct OpenOptions {
    /// How long to try while somebody else uses the disk; a daemon that was just killed may do so
    /// for some 100 ms longer. Zero is one try.
    pub lock_patience: Duration,
    /// Whether a file system without direct I/O may be used through its page cache.
    pub allow_buffered: bool,
}

/// Who carries out operations on a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// The ring, as everything else.
    Ring,
    /// The thread itself, at submission: for files in memory (tmpfs), on which nothing has to be
    /// waited for, but of which the ring does not know that and hands each operation to a worker
    /// thread. Applies to flushes, and to reads and writes of at most
    /// [`INLINE_BYTES_MAX`](crate::limits::INLINE_BYTES_MAX).
    Inline,
    /// A worker thread of the ring, always: for files whose file system cannot promise not to wait
    /// and waits where it is asked to try (FUSE asks its server for the size first, Linux 6.18).
    /// A server that hangs would hang the thread.
    Worker,
}

/// An open, exclusively locked backing disk. Dropping `file` unlocks it.
#[derive(Debug)]
pub struct BackingDisk {
    /// The descriptor; the lock is on it.
    pub file: OwnedFd,
    /// The length of the file or device in bytes; of a file not always a multiple of `block_size`.
    pub size_bytes: u64,
    /// Offsets and lengths of reads and writes are multiples of this; a power of two from 512.
    pub block_size: u32,
    /// Addresses of what is read or written are multiples of this; a power of two.
    pub memory_align: u32,
    /// Whether this is a block device, as opposed to a file.
    pub is_block_device: bool,
    /// Whether the page cache is bypassed.
    pub is_direct: bool,
    /// Whether the ring can try operations without a worker thread (RWF_NOWAIT).
    pub nowait: bool,
    /// Whether a write with RWF_DSYNC is durable at its completion. FUSE drops the flag of
    /// asynchronous direct writes (Linux 6.18: a synchronous pwritev2 reaches its server as a
    /// flush, one of the ring does not), so only file systems known to keep it are trusted;
    /// elsewhere a write is durable only after an `Op::Fsync`.
    pub honours_dsync: bool,
    /// Whether a range is made to read as zeroes without all of it being written.
    pub zeroes_by_command: bool,
    /// Whether the device says that it turns; of a file, that which its file system is on.
    pub is_rotational: bool,
    /// How to register the file with the engine.
    pub access: Access,
}

/// Opens and locks the file or block device at `path`. Creates and changes nothing.
///
/// # Errors
/// See [`OpenError`]; each says what to do in one sentence.
pub fn open(path: &Path, options: &OpenOptions) -> Result<BackingDisk, OpenError> {
    let io = |what| move |source| OpenError::Io { path: path.into(), what, source };
    let kind = std::fs::metadata(path).map_err(io("open"))?.file_type();
    if !kind.is_file() && !kind.is_block_device() {
        return Err(OpenError::NotADisk { path: path.into() });
    }
    let is_block_device = kind.is_block_device();
    let patience = Patience { start: Instant::now(), total: options.lock_patience };
    let (file, is_direct) = loop {
        match open_direct(path, is_block_device, options.allow_buffered) {
            Err(OpenError::Busy { .. }) if patience.pause() => {}
            opened => break opened?,
        }
    };
    // The path may have become something else between the two looks at it.
    let opened = file.metadata().map_err(io("open"))?.file_type();
    if opened != kind {
        return Err(OpenError::NotADisk { path: path.into() });
    }
    lock(path, file.as_fd(), patience)?;
    let size_bytes = size(&file, is_block_device).map_err(io("find the size"))?;
    let abilities = Abilities::probe(file.as_fd(), is_block_device, is_direct, size_bytes)
        .map_err(io("probe"))?;
    let Some(abilities) = abilities.filter(|found| found.is_direct || options.allow_buffered)
    else {
        return Err(OpenError::NoDirectIo { path: path.into() });
    };
    let Abilities { block_size, memory_align, is_direct, nowait, is_memory } = abilities;
    let access = match nowait {
        true => Access::Ring,
        false if is_memory => Access::Inline,
        false => Access::Worker,
    };
    let honours_dsync =
        is_block_device || probe::honours_dsync(file.as_fd()).map_err(io("probe"))?;
    let device = Device::of(&file, is_block_device).map_err(io("probe"))?;
    let zeroes_by_command = device.zeroes_by_command(&file, is_block_device, size_bytes);
    let is_rotational = device.is_rotational();
    let file = file.into();
    let disk = BackingDisk {
        file,
        size_bytes,
        block_size,
        memory_align,
        is_block_device,
        is_direct,
        nowait,
        honours_dsync,
        zeroes_by_command,
        is_rotational,
        access,
    };
    assert!(disk.block_size.is_power_of_two() && disk.block_size >= 512, "{disk:?}");
    Ok(disk)
}

/// Opens for reading and writing, and tells whether with O_DIRECT.
fn open_direct(
    path: &Path,
    is_block_device: bool,
    allow_buffered: bool,
) -> Result<(File, bool), OpenError> {
    let exclusive = if is_block_device { libc::O_EXCL } else { 0 };
    let open = |flags| {
        let mut options = File::options();
        options.read(true).write(true).custom_flags(flags | exclusive);
        options.open(path)
    };
    let opened = match open(libc::O_DIRECT) {
        Err(error) if error.raw_os_error() == Some(libc::EINVAL) => {
            if !allow_buffered {
                return Err(OpenError::NoDirectIo { path: path.into() });
            }
            open(0).map(|file| (file, false))
        }
        direct => direct.map(|file| (file, true)),
    };
    opened.map_err(|source| {
        if source.kind() == ErrorKind::ResourceBusy {
            OpenError::Busy { path: path.into() }
        } else {
            OpenError::Io { path: path.into(), what: "open", source }
        }
    })
}

/// Locks the descriptor exclusively, trying until `patience` is over.
fn lock(path: &Path, file: BorrowedFd<'_>, patience: Patience) -> Result<(), OpenError> {
    loop {
        match rustix::fs::flock(file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => return Ok(()),
            Err(Errno::WOULDBLOCK) if patience.pause() => {}
            Err(Errno::WOULDBLOCK) => {
                return Err(OpenError::Locked { path: path.into(), pid: holder::holder(file) });
            }
            Err(Errno::INTR) => {}
            Err(errno) => {
                let source = io::Error::from(errno);
                return Err(OpenError::Io { path: path.into(), what: "lock", source });
            }
        }
    }
}

/// The length in bytes, now, of a file or block device that was opened.
///
/// # Errors
/// Of the system; it may wait for whoever serves the file.
pub fn size_of(file: BorrowedFd<'_>) -> io::Result<u64> {
    let file = File::from(file.try_clone_to_owned()?);
    let is_block_device = file.metadata()?.file_type().is_block_device();
    size(&file, is_block_device)
}

/// The system tells no length of a device, but where its end is.
fn size(file: &File, is_block_device: bool) -> io::Result<u64> {
    if is_block_device {
        Ok(rustix::fs::seek(file, SeekFrom::End(0))?)
    } else {
        Ok(file.metadata()?.len())
    }
}

/// How long is left to wait for whoever uses the disk.
#[derive(Clone, Copy)]
struct Patience {
    start: Instant,
    total: Duration,
}

impl Patience {
    /// Waits a little before the next try; `false` if there is no time left for one.
    fn pause(self) -> bool {
        let left = self.total.saturating_sub(self.start.elapsed());
        thread::sleep(left.min(RETRY_INTERVAL));
        !left.is_zero()
    }
}

/// Between two tries: short against the time that a killed daemon still holds a disk.
const RETRY_INTERVAL: Duration = Duration::from_millis(20);
