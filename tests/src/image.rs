//! Backing files and file images: made, read and compared.
//!
//! Files lie on a real file system, so that the daemons' `O_DIRECT` means what it says. Reading
//! goes through the page cache, which the kernel keeps coherent with direct writes of the same
//! machine.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;

use rustix::fs::{FallocateFlags, fallocate};

use crate::stamp::{SECTOR_BYTES, describe};
use crate::{Context, Failure, Result, ensure};

/// Read and compared at once.
const CHUNK_BYTES: usize = 1 << 20;

/// Compared by blocks of a bit of the bitmap.
const BLOCK_BYTES: usize = 4096;

/// Makes a file of zeroes whose space is allocated.
///
/// # Errors
/// The file system is full or has no `fallocate`.
pub fn allocate(path: &Path, bytes: u64) -> Result<()> {
    let file = File::create(path).about(path.display())?;
    fallocate(&file, FallocateFlags::empty(), 0, bytes).about(path.display())
}

/// Fails unless the first `bytes` of both files are the same; says where and in which way not.
///
/// # Errors
/// They differ or cannot be read.
pub fn assert_same(left: &Path, right: &Path, bytes: u64) -> Result<()> {
    ensure(bytes > 0, || "nothing to compare".to_owned())?;
    let (mut first, mut blocks) = (None, 0u64);
    for_each_chunk(left, right, bytes, |offset, one, other| {
        if one == other {
            return;
        }
        let pairs = one.chunks(BLOCK_BYTES).zip(other.chunks(BLOCK_BYTES));
        blocks += pairs.filter(|(one, other)| one != other).map(|_| 1).sum::<u64>();
        let sectors = one.chunks(SECTOR_BYTES).zip(other.chunks(SECTOR_BYTES)).enumerate();
        for (index, (one, other)) in sectors {
            if one != other && first.is_none() {
                let at = offset + (index * SECTOR_BYTES) as u64;
                first = Some(format!("byte {at}: {} / {}", describe(one), describe(other)));
            }
        }
    })?;
    first.map_or(Ok(()), |first| {
        let (left, right) = (left.display(), right.display());
        let text =
            format!("{left} and {right} differ in {blocks} blocks of 4 KiB, first at {first}");
        Err(Failure::new(text))
    })
}

fn for_each_chunk(
    left: &Path,
    right: &Path,
    bytes: u64,
    mut look: impl FnMut(u64, &[u8], &[u8]),
) -> Result<()> {
    let (one, other) = (File::open(left).about(left.display())?, File::open(right)?);
    let (mut one_chunk, mut other_chunk) = (vec![0; CHUNK_BYTES], vec![0; CHUNK_BYTES]);
    let mut offset = 0;
    while offset < bytes {
        let length = usize::try_from(bytes - offset).unwrap_or(CHUNK_BYTES).min(CHUNK_BYTES);
        one.read_exact_at(&mut one_chunk[..length], offset).about(left.display())?;
        other.read_exact_at(&mut other_chunk[..length], offset).about(right.display())?;
        look(offset, &one_chunk[..length], &other_chunk[..length]);
        offset += length as u64;
    }
    Ok(())
}

/// The first `bytes` of a file.
///
/// # Errors
/// It cannot be read, or is shorter.
pub fn read(path: &Path, bytes: u64) -> Result<Vec<u8>> {
    let mut image = vec![0; usize::try_from(bytes)?];
    File::open(path).and_then(|file| file.read_exact_at(&mut image, 0)).about(path.display())?;
    Ok(image)
}

/// A number that two equal files have in common, for "nothing has changed".
///
/// # Errors
/// The file cannot be read.
pub fn digest(path: &Path, bytes: u64) -> Result<u32> {
    let file = File::open(path).about(path.display())?;
    let mut digest = crc32fast::Hasher::new();
    let mut chunk = vec![0; CHUNK_BYTES];
    let mut offset = 0;
    while offset < bytes {
        let length = usize::try_from(bytes - offset).unwrap_or(CHUNK_BYTES).min(CHUNK_BYTES);
        file.read_exact_at(&mut chunk[..length], offset).about(path.display())?;
        digest.update(&chunk[..length]);
        offset += length as u64;
    }
    Ok(digest.finalize())
}

#[cfg(test)]
mod tests {
    use super::{assert_same, digest};

    #[test]
    fn one_byte_makes_a_difference() {
        let folder = tempfile::tempdir().unwrap();
        let [left, right] = ["left", "right"].map(|name| folder.path().join(name));
        let mut bytes = vec![7; (3 << 20) + 512];
        std::fs::write(&left, &bytes).unwrap();
        std::fs::write(&right, &bytes).unwrap();
        assert_same(&left, &right, 3 << 20).unwrap();
        let before = digest(&right, 3 << 20).unwrap();
        bytes[(2 << 20) + 1000] = 8;
        bytes[3 << 20] = 8;
        std::fs::write(&right, &bytes).unwrap();
        let text = assert_same(&left, &right, 3 << 20).unwrap_err().to_string();
        assert!(text.contains("differ in 1 blocks of 4 KiB, first at byte 2097664"), "{text}");
        assert_ne!(digest(&right, 3 << 20).unwrap(), before);
        assert_same(&left, &right, 4 << 20).unwrap_err();
        assert_same(&left, &right, 0).unwrap_err();
    }
}
