//! A file as a block device of the kernel's.

use std::path::Path;
use std::time::Duration;

use crate::tool::run_tool;
use crate::{Result, ensure};

const LIMIT: Duration = Duration::from_secs(60);

/// A loop device. It is detached from its file when this is dropped.
#[derive(Debug)]
pub struct LoopDevice(String);

impl LoopDevice {
    /// Makes a device of a file.
    ///
    /// # Errors
    /// Not root, or the kernel has no loop devices.
    pub fn attach(file: &Path) -> Result<Self> {
        let is_root = rustix::process::geteuid().is_root();
        ensure(is_root, || "loop devices need root: run the tests as root".to_owned())?;
        let file = file.display().to_string();
        let arguments = ["--find", "--show", "--direct-io=on", &file];
        Ok(Self(run_tool("losetup", &arguments, LIMIT)?.ok()?.trim().to_owned()))
    }

    /// As `/dev/loop0`.
    pub fn name(&self) -> &str {
        &self.0
    }

    /// Takes the length that its file has now.
    ///
    /// # Errors
    /// The tool fails.
    pub fn take_size(&self) -> Result<()> {
        run_tool("losetup", &["--set-capacity", &self.0], LIMIT)?.ok().map(drop)
    }
}

impl Drop for LoopDevice {
    fn drop(&mut self) {
        let _ = run_tool("losetup", &["--detach", &self.0], LIMIT);
    }
}
