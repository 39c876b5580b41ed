//! An export as a file: `nbdfuse`, which anyone can use where the kernel has no client of its own.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::process::{GLANCE, Process};
use crate::tool::tool;
use crate::{Context, Result, ensure};

/// How long `nbdfuse` may take to begin, and to end.
const LIMIT: Duration = Duration::from_secs(60);

/// A file that is an export. It is empty again when this is dropped.
#[derive(Debug)]
pub struct Front {
    path: PathBuf,
    fuse: Process,
}

impl Front {
    /// Mounts the export at `uri`, which is not empty, on the file `path`, which is made for it.
    ///
    /// # Errors
    /// The tool is missing, or finds no export.
    pub fn mount(uri: &str, path: &Path) -> Result<Self> {
        std::fs::write(path, "").about(path.display())?;
        let mut command = tool("nbdfuse")?;
        command.arg(path).arg(uri);
        let log = path.with_extension("fuse-log");
        let fuse = Process::start("nbdfuse", &mut command, &log)?;
        let mut front = Self { path: path.to_owned(), fuse };
        let deadline = Instant::now() + LIMIT;
        while front.is_empty() {
            let is_running = front.fuse.is_running()?;
            ensure(is_running, || std::fs::read_to_string(&log).unwrap_or_default())?;
            ensure(Instant::now() < deadline, || "nbdfuse is not ready".to_owned())?;
            std::thread::sleep(GLANCE);
        }
        Ok(front)
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    fn is_empty(&self) -> bool {
        std::fs::metadata(&self.path).is_ok_and(|file| file.len() == 0)
    }

    /// Ends `nbdfuse` as its machine's death would: what it has not sent yet is lost.
    pub(crate) fn kill(&mut self) {
        self.fuse.kill();
        let _ = self.fuse.wait(LIMIT);
    }

    /// Ends `nbdfuse`, which takes the export out of the file. Where that happens in the middle of
    /// a request it may leave the mount behind, with nobody to answer: it is taken away here.
    ///
    /// # Errors
    /// It was gone before, or stays.
    pub fn unmount(&mut self) -> Result<()> {
        // It calls its end by a signal a failure.
        self.fuse.terminate(LIMIT)?;
        let deadline = Instant::now() + LIMIT;
        while !self.is_empty() {
            let path = self.path.display();
            ensure(Instant::now() < deadline, || format!("{path} is still mounted"))?;
            self.detach();
            std::thread::sleep(GLANCE);
        }
        Ok(())
    }

    fn detach(&self) {
        let mut umount = std::process::Command::new("umount");
        let _ = umount.arg("--lazy").arg(&self.path).stderr(std::process::Stdio::null()).status();
    }
}

impl Drop for Front {
    fn drop(&mut self) {
        self.kill();
        if !self.is_empty() {
            self.detach();
        }
    }
}
