//! A volume as a mounted file system, the way that works without the kernel's nbd client: `nbdfuse`
//! makes a file of the export, a loop device a disk of the file, and a file system lies on that.

use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::front::Front;
use crate::loop_device::LoopDevice;
use crate::tool::run_tool;
use crate::{Context, Node, Result};

/// How long its helpers may take.
const LIMIT: Duration = Duration::from_secs(60);

/// What lies on a volume. XFS needs 300 MiB.
#[derive(Clone, Copy, Debug)]
pub enum FileSystem {
    /// The usual one.
    Ext4,
    /// One with another journal.
    Xfs,
}

impl FileSystem {
    /// Makes it, with nothing left to be initialised in the background.
    fn make(self, device: &str) -> Result<()> {
        let (tool, arguments) = match self {
            Self::Ext4 => {
                let options = "lazy_itable_init=0,lazy_journal_init=0,nodiscard";
                ("mkfs.ext4", ["-q", "-E", options, device])
            }
            Self::Xfs => ("mkfs.xfs", ["-q", "-K", "-f", device]),
        };
        run_tool(tool, &arguments, LIMIT)?.ok().map(drop)
    }

    /// Finds nothing to repair.
    fn check(self, device: &str) -> Result<()> {
        let (tool, only_look) = match self {
            Self::Ext4 => ("e2fsck", "-fn"),
            Self::Xfs => ("xfs_repair", "-n"),
        };
        run_tool(tool, &[only_look, device], LIMIT)?.ok().map(drop)
    }

    fn mount(self, device: &str, point: &str) -> Result<()> {
        let options = match self {
            Self::Ext4 => "rw",
            // The kernel may not be done yet with the mount of a machine that died.
            Self::Xfs => "nouuid",
        };
        run_tool("mount", &["-o", options, device, point], LIMIT)?.ok().map(drop)
    }
}

/// [`Mounted::make`] or [`Mounted::mount`].
pub type Mount = fn(&Node, u16, &Path, FileSystem) -> Result<Mounted>;

/// A mounted volume. Dropped, it goes as if its machine had died: nothing is written any more.
#[derive(Debug)]
pub struct Mounted {
    kind: FileSystem,
    /// Where the file system is.
    point: PathBuf,
    is_mounted: bool,
    device: LoopDevice,
    /// The export as a file.
    front: Front,
}

impl Mounted {
    /// Makes a file system on volume `volume` of a Primary and mounts it below `folder`.
    ///
    /// # Errors
    /// Not root, a tool is missing, or something does not come up.
    pub fn make(node: &Node, volume: u16, folder: &Path, kind: FileSystem) -> Result<Self> {
        let mut mounted = Self::attach(node, volume, folder, kind)?;
        kind.make(mounted.device.name())?;
        mounted.enter()?;
        Ok(mounted)
    }

    /// Mounts what [`Self::make`] has made, on whichever node: its journal is replayed, and then
    /// there must be nothing to repair.
    ///
    /// # Errors
    /// As above, or the file system is damaged.
    pub fn mount(node: &Node, volume: u16, folder: &Path, kind: FileSystem) -> Result<Self> {
        let mut mounted = Self::attach(node, volume, folder, kind)?;
        mounted.enter()?;
        mounted.leave()?;
        kind.check(mounted.device.name())?;
        mounted.enter()?;
        Ok(mounted)
    }

    fn attach(node: &Node, volume: u16, folder: &Path, kind: FileSystem) -> Result<Self> {
        let name = format!("{}{volume}", node.name());
        let point = folder.join(&name);
        std::fs::create_dir_all(&point).about(point.display())?;
        let front = Front::mount(&node.uri(volume), &folder.join(format!("{name}.front")))?;
        let device = LoopDevice::attach(front.path())?;
        Ok(Self { kind, point, is_mounted: false, device, front })
    }

    fn enter(&mut self) -> Result<()> {
        self.kind.mount(self.device.name(), &self.point.display().to_string())?;
        self.is_mounted = true;
        Ok(())
    }

    fn leave(&mut self) -> Result<()> {
        run_tool("umount", &[&self.point.display().to_string()], LIMIT)?.ok()?;
        self.is_mounted = false;
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
        self.leave()
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        self.front.kill();
        if self.is_mounted {
            let _ = run_tool("umount", &["--lazy", &self.point.display().to_string()], LIMIT);
        }
    }
}
