//! What the tests of this crate share: disks on the real file system, patterns, and a loop that
//! waits for completions. A test that hangs is ended by a deadline.

use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use tempfile::{NamedTempFile, TempPath};

use crate::{BackingDisk, Completion, Config, Engine, FileId, Op, OpenOptions, Pool, open};

/// Longer than any test may take on a slow machine.
const DEADLINE: Duration = Duration::from_secs(30);

/// A folder on the disk that the project is built on, which has direct I/O where tmpfs would hide
/// what a real disk does.
pub(crate) fn disk_folder() -> PathBuf {
    let target = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target");
    std::fs::create_dir_all(&target).expect("the target folder can be made");
    target
}

pub(crate) fn memory_folder() -> PathBuf {
    PathBuf::from("/dev/shm")
}

/// A file of `len` zero bytes, deleted with the value.
pub(crate) fn file_in(folder: &Path, len: u64) -> TempPath {
    let file = NamedTempFile::new_in(folder).expect("a temporary file can be made");
    file.as_file().set_len(len).expect("a file can be made longer");
    file.into_temp_path()
}

/// A block device whose data are in a file; root may have one. It is detached with the value.
pub(crate) struct LoopDevice(PathBuf);

impl LoopDevice {
    pub(crate) fn attach(file: &Path) -> Self {
        let mut losetup = Command::new("losetup");
        let output = losetup.args(["--find", "--show", "--direct-io=on"]).arg(file).output();
        let output = output.expect("losetup is installed");
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{said}: loop devices need root");
        Self(PathBuf::from(String::from_utf8_lossy(&output.stdout).trim()))
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for LoopDevice {
    fn drop(&mut self) {
        let _ = Command::new("losetup").arg("--detach").arg(&self.0).status();
    }
}

/// An engine, its pool, and a registered file of `len` bytes in `folder`.
pub(crate) struct Rig {
    pub(crate) engine: Engine,
    pub(crate) pool: Pool,
    pub(crate) file: FileId,
    pub(crate) path: TempPath,
}

impl Rig {
    pub(crate) fn new(folder: &Path, len: u64) -> Self {
        let path = file_in(folder, len);
        let disk = open(&path, &OpenOptions::default()).expect("the disk opens");
        let BackingDisk { file, access, .. } = disk;
        let (mut engine, pool) = engine();
        let file = engine.register_file(file, access).expect("the table has room");
        Self { engine, pool, file, path }
    }
}

pub(crate) fn engine() -> (Engine, Pool) {
    let pool = Pool::default();
    let engine = Engine::new(Config::default(), &pool).expect("io_uring works here");
    (engine, pool)
}

/// Waits until `count` completions are there, and returns them by token.
pub(crate) fn complete(engine: &mut Engine, count: usize) -> Vec<Completion> {
    let start = Instant::now();
    let mut out = Vec::new();
    while out.len() < count {
        assert!(start.elapsed() < DEADLINE, "{} of {count} completions came", out.len());
        engine.wait(Some(Duration::from_secs(1)), &mut out).expect("the ring works");
    }
    out.sort_by_key(|completion| completion.token);
    out
}

/// Waits for the only operation in flight.
pub(crate) fn complete_one(engine: &mut Engine) -> Completion {
    let mut out = complete(engine, 1);
    assert_eq!(out.len(), 1);
    out.remove(0)
}

/// Submits an operation and waits for it; nothing else may be in flight.
pub(crate) fn run(engine: &mut Engine, op: Op) -> Completion {
    engine.submit(0, op).expect("the engine has room");
    complete_one(engine)
}

/// Bytes that differ by position and seed, in a buffer of the pool.
pub(crate) fn pattern(pool: &Pool, len: usize, seed: u64) -> crate::Buffer {
    let mut buffer = pool.take(len).expect("the pool has room");
    for (index, word) in (0_u64..).zip(buffer.chunks_mut(8)) {
        let value = (seed << 32 | index).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        word.copy_from_slice(&value.to_le_bytes()[..word.len()]);
    }
    buffer
}

pub(crate) fn socket_pair() -> (OwnedFd, std::os::unix::net::UnixStream) {
    let (ours, theirs) = std::os::unix::net::UnixStream::pair().expect("a socket pair");
    (ours.into(), theirs)
}
