//! A file for a daemon that a helper serves: `nbdkit` with filters of the caller's choice over a
//! file, and `nbdfuse`, which makes a file of that.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::process::Signal;

use crate::process::{GLANCE, Process};
use crate::tool::tool;
use crate::{Context, Result, ensure};

/// How long its helpers may take.
const LIMIT: Duration = Duration::from_secs(10);

/// A served file. Both helpers end when it is dropped.
#[derive(Debug)]
pub(crate) struct Served {
    server: Process,
    fuse: Process,
    front: PathBuf,
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
        until("nbdkit", &mut server, || socket.exists())?;
        std::fs::write(front, "").about(front.display())?;
        let mut fuse = tool("nbdfuse")?;
        fuse.arg(front).arg(format!("nbd+unix:///?socket={}", socket.display()));
        let mut fuse = Process::start("nbdfuse", &mut fuse, &log)?;
        let bytes = std::fs::metadata(base)?.len();
        let is_there = || std::fs::metadata(front).is_ok_and(|it| it.len() == bytes);
        until("nbdfuse", &mut fuse, is_there)?;
        Ok(Self { server, fuse, front: front.to_owned(), socket })
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
        self.unmount()
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

    /// Ends `nbdfuse`, which takes the file away with it. Where it is killed in the middle of a
    /// request it may leave the mount behind, with nobody to answer: that is taken away here.
    fn unmount(&mut self) -> Result<()> {
        self.fuse.terminate(LIMIT)?;
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
}

impl Drop for Served {
    fn drop(&mut self) {
        self.server.kill();
        let _ = self.unmount();
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

fn until(name: &str, process: &mut Process, is_so: impl Fn() -> bool) -> Result<()> {
    let deadline = Instant::now() + LIMIT;
    while !is_so() {
        ensure(process.is_running()?, || format!("{name} has ended"))?;
        ensure(Instant::now() < deadline, || format!("{name} is not ready within {LIMIT:?}"))?;
        std::thread::sleep(GLANCE);
    }
    Ok(())
}
