//! A volume as a mounted file system, the way that works without the kernel's nbd client: `nbdfuse`
//! makes a file of the export, a loop device a disk of the file, and ext4 lies on that.
//!
//! Mounting needs root.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::process::{GLANCE, Process};
use crate::tool::{run_tool, tool};
use crate::{Context, Node, Result, ensure};

/// How long its helpers may take.
const LIMIT: Duration = Duration::from_secs(60);

/// A mounted volume.
#[derive(Debug)]
pub struct Mounted {
    /// Where the file system is.
    point: PathBuf,
    /// The export as a file.
    front: PathBuf,
    fuse: Process,
    loop_device: Option<String>,
    is_mounted: bool,
}

impl Mounted {
    /// Mounts volume `volume` of a Primary below `folder`; makes a file system first where `fresh`.
    ///
    /// # Errors
    /// Not root, a tool is missing, or something does not come up.
    pub fn mount(node: &Node, volume: u16, folder: &Path, fresh: bool) -> Result<Self> {
        let is_root = rustix::process::geteuid().is_root();
        ensure(is_root, || "mounting a file system needs root: run the tests as root".to_owned())?;
        let name = format!("{}{volume}", node.name());
        let (front, point) = (folder.join(format!("{name}.front")), folder.join(&name));
        std::fs::create_dir_all(&point).about(point.display())?;
        std::fs::write(&front, "").about(front.display())?;
        let mut command = tool("nbdfuse")?;
        command.arg(&front).arg(node.uri(volume));
        let fuse = Process::start("nbdfuse", &mut command, &front.with_extension("fuse-log"))?;
        let mut mounted = Self { point, front, fuse, loop_device: None, is_mounted: false };
        mounted.wait_for_front()?;
        mounted.attach(fresh)?;
        Ok(mounted)
    }

    fn wait_for_front(&mut self) -> Result<()> {
        let deadline = Instant::now() + LIMIT;
        while !std::fs::metadata(&self.front).is_ok_and(|file| file.len() > 0) {
            ensure(self.fuse.is_running()?, || "nbdfuse has ended".to_owned())?;
            ensure(Instant::now() < deadline, || "nbdfuse is not ready".to_owned())?;
            std::thread::sleep(GLANCE);
        }
        Ok(())
    }

    fn attach(&mut self, fresh: bool) -> Result<()> {
        let front = self.front.display().to_string();
        let arguments = ["--find", "--show", "--direct-io=on", &front];
        let device = run_tool("losetup", &arguments, LIMIT)?.ok()?.trim().to_owned();
        self.loop_device = Some(device.clone());
        if fresh {
            // Nothing is left to be initialised in the background.
            let options = "lazy_itable_init=0,lazy_journal_init=0,nodiscard";
            run_tool("mkfs.ext4", &["-q", "-E", options, &device], LIMIT)?.ok()?;
        } else {
            run_tool("e2fsck", &["-f", "-p", &device], LIMIT)?.ok_up_to(1)?;
        }
        let point = self.point.display().to_string();
        run_tool("mount", &[&device, &point], LIMIT)?.ok()?;
        self.is_mounted = true;
        Ok(())
    }

    /// Where the file system is.
    pub fn point(&self) -> &Path {
        &self.point
    }

    /// Unmounts in good order: everything is on the volume then.
    ///
    /// # Errors
    /// It is in use, or a tool does not end.
    pub fn unmount(mut self) -> Result<()> {
        run_tool("umount", &[&self.point.display().to_string()], LIMIT)?.ok()?;
        self.is_mounted = false;
        Ok(())
    }

    /// Takes it away as if its machine had died: nothing is written any more.
    fn tear_down(&mut self) {
        self.fuse.kill();
        let _ = self.fuse.wait(LIMIT);
        let point = self.point.display().to_string();
        if std::mem::take(&mut self.is_mounted) {
            let _ = run_tool("umount", &["--lazy", &point], LIMIT);
        }
        if let Some(device) = self.loop_device.take() {
            let _ = run_tool("losetup", &["--detach", &device], LIMIT);
        }
        let front = self.front.display().to_string();
        let _ = run_tool("umount", &["--lazy", &front], LIMIT);
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        self.tear_down();
    }
}
