//! What can go wrong outside of an operation, by what the user has to do about it.
//!
//! Failures of an operation are not here: they are the `result` of its completion.

use std::io;
use std::os::fd::OwnedFd;
use std::path::PathBuf;

use crate::op::Op;

/// Why an engine cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    /// io_uring is switched off or forbidden to this process.
    #[error(
        "io_uring is not permitted here ({0}): set the sysctl kernel.io_uring_disabled to 0 and \
         allow io_uring_setup, io_uring_enter and io_uring_register in the container's seccomp \
         profile"
    )]
    Denied(#[source] io::Error),
    /// The running kernel lacks something that cannot be worked around.
    #[error("the io_uring of this kernel lacks {0}: use Linux 6.1 or newer")]
    Unsupported(&'static str),
    /// Any other refusal, such as a lack of memory or descriptors.
    #[error("io_uring cannot be set up: {0}")]
    Setup(#[source] io::Error),
}

/// The engine has as many operations as it may have: not now. Gives the operation back.
#[derive(Debug, thiserror::Error)]
#[error("the engine is full")]
pub struct Full(pub Op);

/// The engine has as many files and sockets as it may have. Gives the descriptor back.
#[derive(Debug, thiserror::Error)]
#[error("the table of files and sockets is full")]
pub struct TableFull(pub OwnedFd);

/// Why a path does not serve as a backing disk.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The path is neither a regular file nor a block device.
    #[error("{}: neither a regular file nor a block device", path.display())]
    NotADisk {
        /// The path asked for.
        path: PathBuf,
    },
    /// Another process, or another resource of this process, holds the exclusive lock.
    #[error("{}: in use by {}", path.display(), holder(*pid))]
    Locked {
        /// The path asked for.
        path: PathBuf,
        /// The process that holds the lock, where the system tells.
        pid: Option<u32>,
    },
    /// The block device is mounted, or part of an array, a volume group or a swap area.
    #[error("{}: in use by the system (mounted, or part of another device)", path.display())]
    Busy {
        /// The path asked for.
        path: PathBuf,
    },
    /// The file system cannot bypass its page cache.
    #[error(
        "{}: the file system has no direct I/O (O_DIRECT), so data acknowledged could be lost in \
         its cache: use another file system or a block device, or allow buffered I/O",
        path.display()
    )]
    NoDirectIo {
        /// The path asked for.
        path: PathBuf,
    },
    /// Any other error of the system.
    #[error("{}: {what}: {source}", path.display())]
    Io {
        /// The path asked for.
        path: PathBuf,
        /// What was tried, as in "open".
        what: &'static str,
        /// The answer of the system.
        source: io::Error,
    },
}

fn holder(pid: Option<u32>) -> String {
    pid.map_or_else(|| "another process".into(), |pid| format!("another process, pid {pid}"))
}
