//! Disks of machines: files of the host, and disks with a write cache that is lost with power.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use tandem_tests::tool::tool;
use tandem_tests::{Process, Result, ensure, fail};

/// What a machine has as `/dev/vda` and on.
#[derive(Clone, Debug)]
pub enum Disk {
    /// A file. What its machine was told is written survives the machine.
    File(PathBuf),
    /// The socket of a disk that is served over NBD.
    Served(PathBuf),
}

impl Disk {
    /// The value of QEMU's `file=`.
    pub(crate) fn location(&self) -> String {
        match self {
            Self::File(path) => path.display().to_string(),
            Self::Served(socket) => format!("nbd+unix:///?socket={}", socket.display()),
        }
    }
}

/// A disk whose power can be cut: nbdkit over a file, with a cache that is written back by a flush
/// only. What it keeps is all or nothing of what no flush covers.
#[derive(Debug)]
pub struct VolatileDisk {
    base: PathBuf,
    socket: PathBuf,
    server: Option<Process>,
}

impl VolatileDisk {
    /// Over the file `base`, off.
    pub fn new(base: &Path) -> Self {
        let socket = base.with_extension("nbd");
        Self { base: base.to_owned(), socket, server: None }
    }

    /// Switches it on.
    ///
    /// # Errors
    /// nbdkit is missing or does not start.
    pub fn power_on(&mut self) -> Result<Disk> {
        ensure(self.server.is_none(), || "the disk is on".to_owned())?;
        let _ = std::fs::remove_file(&self.socket);
        let mut nbdkit = tool("nbdkit")?;
        nbdkit.args(["-f", "--filter=cache", "-U"]).arg(&self.socket);
        nbdkit.arg("file").arg(&self.base);
        nbdkit.args(["cache=writeback", "cache-min-block-size=4k"]);
        let log = self.base.with_extension("nbdkit");
        let mut server = Process::start("nbdkit", &mut nbdkit, &log)?;
        let deadline = Instant::now() + Duration::from_secs(10);
        while !self.socket.exists() {
            ensure(server.is_running()?, || "nbdkit has ended".to_owned())?;
            ensure(Instant::now() < deadline, || "nbdkit does not start".to_owned())?;
            std::thread::sleep(Duration::from_millis(10));
        }
        self.server = Some(server);
        Ok(Disk::Served(self.socket.clone()))
    }

    /// Cuts its power: what no flush covered is lost. Its machine must be off.
    ///
    /// # Errors
    /// It was off.
    pub fn power_off(&mut self) -> Result<()> {
        let Some(mut server) = self.server.take() else { return fail("the disk is off") };
        server.kill();
        server.wait(Duration::from_secs(10)).map(drop)
    }
}
