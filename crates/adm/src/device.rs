//! A device or regular file, opened for this program alone, or looked at.
//!
//! A block device is opened with `O_EXCL`, which fails while it is mounted or part of another
//! device; both kinds are locked with `flock`, as the daemon locks them.

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::{FileExt, FileTypeExt};
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, Mode, OFlags, SeekFrom, flock, open, seek};
use rustix::io::Errno;

/// Written at once when zeroing.
const ZERO_BYTES: usize = 1 << 20;

/// A device that nobody else uses meanwhile.
#[derive(Debug)]
pub(crate) struct Device {
    path: PathBuf,
    file: File,
    bytes: u64,
}

impl Device {
    /// Opens and locks `path`; errors are sentences that name it.
    pub(crate) fn open(path: &Path) -> Result<Self, String> {
        let shown = path.display();
        let kind = std::fs::metadata(path).map_err(|error| {
            if error.kind() == io::ErrorKind::NotFound {
                return format!("{shown}: there is no such device or file");
            }
            format!("{shown}: {error}")
        })?;
        let kind = kind.file_type();
        let exclusive = match (kind.is_block_device(), kind.is_file()) {
            (true, _) => OFlags::EXCL,
            (false, true) => OFlags::empty(),
            (false, false) => {
                return Err(format!("{shown}: is no block device and no regular file"));
            }
        };
        let flags = OFlags::RDWR | OFlags::CLOEXEC | exclusive;
        let descriptor = open(path, flags, Mode::empty()).map_err(|error| match error {
            Errno::BUSY => format!("{shown}: is mounted or part of another device"),
            error => format!("{shown}: {error}"),
        })?;
        flock(&descriptor, FlockOperation::NonBlockingLockExclusive).map_err(
            |error| match error {
                Errno::WOULDBLOCK => {
                    format!("{shown}: is in use by another process; take the volume down first")
                }
                error => format!("{shown}: cannot be locked: {error}"),
            },
        )?;
        let bytes = seek(&descriptor, SeekFrom::End(0)).map_err(|e| format!("{shown}: {e}"))?;
        if bytes == 0 {
            return Err(format!("{shown}: has a length of 0; make it as long as it is to be"));
        }
        Ok(Self { path: path.to_owned(), file: File::from(descriptor), bytes })
    }

    /// Opens `path` to read it, whoever uses it.
    pub(crate) fn look(path: &Path) -> Result<Self, String> {
        let wrong = |error: &dyn std::fmt::Display| format!("{}: {error}", path.display());
        let file = File::open(path).map_err(|error| wrong(&error))?;
        let bytes = seek(&file, SeekFrom::End(0)).map_err(|error| wrong(&error))?;
        Ok(Self { path: path.to_owned(), file, bytes })
    }

    /// Writes `bytes` at `offset`.
    pub(crate) fn write(&self, offset: u64, bytes: &[u8]) -> Result<(), String> {
        self.file.write_all_at(bytes, offset).map_err(|error| self.error(offset, &error))
    }

    /// Writes zeroes, so that their space is allocated.
    pub(crate) fn zero(&self, offset: u64, length: u64) -> Result<(), String> {
        let zeroes = vec![0; ZERO_BYTES];
        let mut done = 0;
        while done < length {
            let left = usize::try_from(length - done).unwrap_or(ZERO_BYTES).min(ZERO_BYTES);
            self.write(offset + done, &zeroes[..left])?;
            done += u64::try_from(left).expect("at most a chunk");
        }
        Ok(())
    }

    /// Returns when everything written is durable.
    pub(crate) fn flush(&self) -> Result<(), String> {
        self.file.sync_all().map_err(|error| format!("{}: {error}", self.path.display()))
    }

    /// Reads `length` bytes at `offset`; behind the end there are zeroes.
    pub(crate) fn read(&self, offset: u64, length: u64) -> Result<Vec<u8>, String> {
        let length = usize::try_from(length).map_err(|error| error.to_string())?;
        let mut bytes = vec![0; length];
        let mut done = 0;
        while done < length {
            let from = offset + u64::try_from(done).map_err(|error| error.to_string())?;
            match self.file.read_at(&mut bytes[done..], from) {
                Ok(0) => break,
                Ok(count) => done += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(self.error(from, &error)),
            }
        }
        Ok(bytes)
    }

    /// Its length.
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Its name.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    fn error(&self, offset: u64, error: &io::Error) -> String {
        format!("{}: at byte {offset}: {error}", self.path.display())
    }
}

/// Random bytes of the kernel.
pub(crate) fn random() -> Result<[u8; 16], String> {
    let mut bytes = [0; 16];
    let read = File::open("/dev/urandom").and_then(|mut file| file.read_exact(&mut bytes));
    read.map_err(|error| format!("/dev/urandom: {error}"))?;
    Ok(bytes)
}
