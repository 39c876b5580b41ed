//! A file for a daemon that a helper serves: `nbdkit` with filters of the caller's choice over a
//! file, and `nbdfuse`, which makes a file of that.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::process::Signal;

use crate::front::Front;
use crate::process::{GLANCE, Process};
use crate::tool::tool;
use crate::{Context, Result, ensure};

/// How long its server may take.
const LIMIT: Duration = Duration::from_secs(10);

/// A served file. Both helpers end when it is dropped.
#[derive(Debug)]
pub(crate) struct Served {
    server: Process,
    front: Front,
    socket: PathBuf,
}

impl Served {
    /// Serves `base` as `front`; `before` the name of the plugin come options and filters of
    /// `nbdkit`, and parameters of the filters in the end.
    ///
    /// # Errors
    /// A tool is missing or does not start.
    pub(crate) fn start(
        base: &Path,
        front: &Path,
        filters: &[&str],
        parameters: &[String],
    ) -> Result<Self> {
        let (socket, log) = (socket_for(base), base.with_extension("nbdkit-log"));
        remove(&socket)?;
        let mut server = tool("nbdkit")?;
        server.arg("-f").args(filters.iter().map(|filter| format!("--filter={filter}")));
        server.arg("-U").arg(&socket).arg("file").arg(base).args(parameters);
        let mut server = Process::start("nbdkit", &mut server, &log)?;
        let deadline = Instant::now() + LIMIT;
        while !socket.exists() {
            ensure(server.is_running()?, || "nbdkit has ended".to_owned())?;
            ensure(Instant::now() < deadline, || "nbdkit is not ready".to_owned())?;
            std::thread::sleep(GLANCE);
        }
        let front = Front::mount(&format!("nbd+unix:///?socket={}", socket.display()), front)?;
        Ok(Self { server, front, socket })
    }

    /// Kills the server: what it kept to itself is lost.
    ///
    /// # Errors
    /// It was gone before, or ended in good order.
    pub(crate) fn kill(mut self) -> Result<()> {
        ensure(self.server.is_running()?, || "nbdkit was gone before the fault".to_owned())?;
        self.server.kill();
        let status = self.server.wait(LIMIT)?;
        ensure(!status.success(), || "nbdkit ended in good order".to_owned())?;
        self.front.unmount()
    }

    /// The server answers nothing from here on.
    ///
    /// # Errors
    /// It is gone.
    pub(crate) fn hang(&self) -> Result<()> {
        self.server.signal(Signal::STOP)
    }

    /// The server goes on.
    ///
    /// # Errors
    /// It is gone.
    pub(crate) fn go_on(&self) -> Result<()> {
        self.server.signal(Signal::CONT)
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        self.server.kill();
        let _ = self.front.unmount();
        let _ = remove(&self.socket);
    }
}

/// In the folder of the run directories: the path of a socket must be short.
fn socket_for(base: &Path) -> PathBuf {
    let name = base.display().to_string();
    let name =
        format!("tandem-disk-{:08x}-{}", crc32fast::hash(name.as_bytes()), std::process::id());
    std::env::temp_dir().join(name)
}

fn remove(path: &Path) -> Result<()> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(error).about(path.display())
        }
        Ok(()) | Err(_) => Ok(()),
    }
}
