//! A backing disk with a volatile cache, and the loss of its power.
//!
//! `nbdkit` serves a file through a cache that is written back at a flush only, and `nbdfuse` makes
//! a file of that for the daemon. A killed `nbdkit` has lost what was not flushed, as a disk does
//! that loses power. The machine goes on running, so a node that is to look as if it had been off
//! is started with another boot id.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::process::{GLANCE, Process};
use crate::tool::tool;
use crate::{Context, Result, ensure, fail};

/// How long its helpers may take.
const LIMIT: Duration = Duration::from_secs(10);

/// A disk whose power can be cut.
#[derive(Debug)]
pub struct VolatileDisk {
    /// What survives.
    base: PathBuf,
    /// What the daemon uses.
    front: PathBuf,
    powered: Option<Powered>,
}

#[derive(Debug)]
struct Powered {
    cache: Process,
    fuse: Process,
}

impl VolatileDisk {
    /// A disk over the file `base`, off.
    pub fn new(base: &Path) -> Self {
        let front = base.with_extension("volatile");
        Self { base: base.to_owned(), front, powered: None }
    }

    /// Switches it on.
    ///
    /// # Errors
    /// A tool is missing or does not start.
    pub fn power_on(&mut self) -> Result<()> {
        ensure(self.powered.is_none(), || "the disk is on".to_owned())?;
        let (socket, log) = (self.socket(), self.base.with_extension("nbdkit-log"));
        remove(&socket)?;
        let mut cache = tool("nbdkit")?;
        // Small blocks of the cache: a write dirties no more than it would on a disk.
        cache.args(["-f", "--filter=cache", "-U"]).arg(&socket);
        cache.arg("file").arg(&self.base).args(["cache=writeback", "cache-min-block-size=4k"]);
        let mut cache = Process::start("nbdkit", &mut cache, &log)?;
        until("nbdkit", &mut cache, || socket.exists())?;
        std::fs::write(&self.front, "").about(self.front.display())?;
        let mut fuse = tool("nbdfuse")?;
        fuse.arg(&self.front).arg(format!("nbd+unix:///?socket={}", socket.display()));
        let mut fuse = Process::start("nbdfuse", &mut fuse, &log)?;
        let bytes = std::fs::metadata(&self.base)?.len();
        let front = &self.front;
        let is_there = || std::fs::metadata(front).is_ok_and(|it| it.len() == bytes);
        until("nbdfuse", &mut fuse, is_there)?;
        self.powered = Some(Powered { cache, fuse });
        Ok(())
    }

    /// Switches it off without a warning: what was not flushed is lost. The daemon must be dead.
    ///
    /// # Errors
    /// The cache did not die by it, so that nothing can have been lost.
    pub fn power_off(&mut self) -> Result<()> {
        let Some(mut powered) = self.powered.take() else {
            return fail("the disk is off");
        };
        ensure(powered.cache.is_running()?, || "nbdkit was gone before the fault".to_owned())?;
        powered.cache.kill();
        let status = powered.cache.wait(LIMIT)?;
        ensure(!status.success(), || "nbdkit ended in good order".to_owned())?;
        self.unmount(&mut powered.fuse)
    }

    /// Ends `nbdfuse`, which takes the file away with it. Where it is killed in the middle of a
    /// request it may leave the mount behind, with nobody to answer: that is taken away here.
    fn unmount(&self, fuse: &mut Process) -> Result<()> {
        fuse.terminate(LIMIT)?;
        let deadline = Instant::now() + LIMIT;
        while !std::fs::metadata(&self.front).is_ok_and(|left| left.len() == 0) {
            let front = self.front.display();
            ensure(Instant::now() < deadline, || format!("{front} is still mounted"))?;
            let mut umount = std::process::Command::new("umount");
            umount.arg("--lazy").arg(&self.front);
            let _ = umount.stderr(std::process::Stdio::null()).status().about("umount")?;
            std::thread::sleep(GLANCE);
        }
        Ok(())
    }

    fn socket(&self) -> PathBuf {
        // In the folder of the run directories: the path of a socket must be short.
        let name = self.base.display().to_string();
        let name =
            format!("tandem-disk-{:08x}-{}", crc32fast::hash(name.as_bytes()), std::process::id());
        std::env::temp_dir().join(name)
    }

    /// What survives.
    pub fn base(&self) -> &Path {
        &self.base
    }

    /// What the daemon is to use.
    pub fn front(&self) -> &Path {
        &self.front
    }
}

impl Drop for VolatileDisk {
    fn drop(&mut self) {
        if let Some(mut powered) = self.powered.take() {
            powered.cache.kill();
            let _ = self.unmount(&mut powered.fuse);
        }
        let _ = remove(&self.socket());
    }
}

fn remove(path: &Path) -> Result<()> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(error).about(path.display())
        }
        Ok(()) | Err(_) => Ok(()),
    }
}

fn until(name: &str, process: &mut Process, is_so: impl Fn() -> bool) -> Result<()> {
    let deadline = Instant::now() + LIMIT;
    while !is_so() {
        ensure(process.is_running()?, || format!("{name} has ended"))?;
        ensure(Instant::now() < deadline, || format!("{name} is not ready within {LIMIT:?}"))?;
        std::thread::sleep(GLANCE);
    }
    Ok(())
}
