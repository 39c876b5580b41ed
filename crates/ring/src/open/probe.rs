//! What the file system under a descriptor can do.

use std::io::{self, IoSliceMut};
use std::os::fd::BorrowedFd;

use rustix::fs::{AtFlags, StatxFlags, fstatfs, ioctl_blksszget, statx};
use rustix::io::{Errno, ReadWriteFlags, pread, preadv2};

/// What was found; the fields are those of `BackingDisk`.
#[derive(Debug)]
pub(super) struct Abilities {
    pub(super) block_size: u32,
    pub(super) memory_align: u32,
    pub(super) is_direct: bool,
    pub(super) nowait: bool,
    /// Whether the file system keeps its files in memory: nothing on it waits for a device.
    pub(super) is_memory: bool,
}

impl Abilities {
    /// Probes by asking and by reading; `None` if not even an aligned read of 4096 bytes works.
    pub(super) fn probe(
        file: BorrowedFd<'_>,
        is_block_device: bool,
        is_opened_direct: bool,
        size_bytes: u64,
    ) -> io::Result<Option<Self>> {
        let is_memory = !is_block_device && is_memory(file)?;
        let nowait = is_nowait(file);
        let told = told_alignment(file)?;
        // An alignment of zero says that O_DIRECT was accepted and will be ignored. Files in memory
        // say so too, but have no cache in front of them that could be bypassed.
        let is_ignored = told.is_some_and(|told| told.offset == 0) && !is_memory;
        if is_block_device {
            let block_size = ioctl_blksszget(file)?.max(BLOCK_SIZE_MIN);
            let memory_align = told.map_or(block_size, |told| told.memory.max(1));
            let is_direct = is_opened_direct;
            return Ok(Some(Self { block_size, memory_align, is_direct, nowait, is_memory }));
        }
        if !is_opened_direct || is_ignored {
            let (block_size, memory_align) = (BLOCK_SIZE_MIN, 1);
            let is_direct = false;
            return Ok(Some(Self { block_size, memory_align, is_direct, nowait, is_memory }));
        }
        let told = told.filter(|told| told.offset > 0);
        let alignment = match told {
            Some(told) => Some(told),
            None => tried_alignment(file, size_bytes)?,
        };
        Ok(alignment.map(|Alignment { memory, offset }| Self {
            block_size: offset.max(BLOCK_SIZE_MIN),
            memory_align: memory.max(1),
            is_direct: true,
            nowait,
            is_memory,
        }))
    }
}

/// The least unit of what a volume is made of, whatever finer access the file system allows.
const BLOCK_SIZE_MIN: u32 = 512;

/// `TMPFS_MAGIC` and `RAMFS_MAGIC` of linux/magic.h.
const MEMORY_MAGICS: [rustix::fs::FsWord; 2] = [0x0102_1994, 0x8584_58f6];

/// File systems that make an asynchronous direct write with RWF_DSYNC durable: ext2 to ext4, XFS,
/// Btrfs and F2FS by linux/magic.h; those in memory have nothing to lose.
const DSYNC_MAGICS: [rustix::fs::FsWord; 4] = [0xef53, 0x5846_5342, 0x9123_683e, 0xf2f5_2010];

#[derive(Clone, Copy, Debug)]
struct Alignment {
    memory: u32,
    offset: u32,
}

/// A page to read into, aligned for every disk.
#[repr(align(4096))]
struct Page([u8; 4096]);

impl Page {
    fn new() -> Box<Self> {
        Box::new(Self([0; 4096]))
    }
}

/// Whether the file system is known to keep the promise of RWF_DSYNC.
pub(super) fn honours_dsync(file: BorrowedFd<'_>) -> io::Result<bool> {
    let magic = fstatfs(file)?.f_type;
    Ok(DSYNC_MAGICS.contains(&magic) || MEMORY_MAGICS.contains(&magic))
}

fn is_memory(file: BorrowedFd<'_>) -> io::Result<bool> {
    Ok(MEMORY_MAGICS.contains(&fstatfs(file)?.f_type))
}

/// Whether a read that must not wait is at least tried by the file system.
fn is_nowait(file: BorrowedFd<'_>) -> bool {
    let mut page = Page::new();
    let read = preadv2(file, &mut [IoSliceMut::new(&mut page.0)], 0, ReadWriteFlags::NOWAIT);
    matches!(read, Ok(_) | Err(Errno::AGAIN))
}

/// The alignment as statx tells it (Linux 6.1); `None` if it does not.
fn told_alignment(file: BorrowedFd<'_>) -> io::Result<Option<Alignment>> {
    let stat = statx(file, c"", AtFlags::EMPTY_PATH, StatxFlags::DIOALIGN)?;
    let is_told = stat.stx_mask & StatxFlags::DIOALIGN.bits() != 0;
    let alignment = Alignment { memory: stat.stx_dio_mem_align, offset: stat.stx_dio_offset_align };
    Ok(is_told.then_some(alignment))
}

/// The alignment found by reading, the same for memory and offset. An empty file answers any read,
/// so it is not asked.
fn tried_alignment(file: BorrowedFd<'_>, size_bytes: u64) -> io::Result<Option<Alignment>> {
    let mut page = Page::new();
    let sizes: &[u16] = if size_bytes == 0 { &[4096] } else { &[512, 4096] };
    for size in sizes {
        match pread(file, &mut page.0[..usize::from(*size)], 0) {
            Ok(_) => {
                let size = u32::from(*size);
                return Ok(Some(Alignment { memory: size, offset: size }));
            }
            Err(Errno::INVAL) => {}
            Err(errno) => return Err(errno.into()),
        }
    }
    Ok(None)
}
