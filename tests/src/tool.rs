//! Other people's programs that the tests use. One that is missing is a failure with its remedy.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use crate::process::{Output, run};
use crate::{Failure, Result};

/// Programs and the Debian packages that have them.
const PACKAGES: &[(&str, &str)] = &[
    ("fio", "fio"),
    ("qemu-io", "qemu-utils"),
    ("nbdcopy", "libnbd-bin"),
    ("nbdinfo", "libnbd-bin"),
    ("nbdfuse", "libnbd-bin"),
    ("nbdsh", "python3-libnbd"),
    ("qemu-img", "qemu-utils"),
    ("qemu-nbd", "qemu-utils"),
    ("qemu-storage-daemon", "qemu-utils"),
    ("nbdkit", "nbdkit"),
    ("mkfs.ext4", "e2fsprogs"),
    ("e2fsck", "e2fsprogs"),
    ("losetup", "mount"),
    ("mount", "mount"),
    ("nft", "nftables"),
    ("setpriv", "util-linux"),
    ("unshare", "util-linux"),
    ("drbdadm", "drbd-utils"),
    ("drbdmon", "drbd-utils"),
    ("script", "bsdutils"),
    ("jsonschema", "python3-jsonschema"),
];

/// A command that runs `name`.
///
/// # Errors
/// It is not installed.
pub fn tool(name: &str) -> Result<Command> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    // Debian keeps some administrators' programs out of users' PATH.
    let folders = std::env::split_paths(&path).chain([PathBuf::from("/usr/sbin")]);
    let mut candidates = folders.map(|folder| folder.join(name));
    let found = candidates.find(|candidate| Path::is_file(candidate));
    found.map(Command::new).ok_or_else(|| {
        let package = PACKAGES.iter().find(|(tool, _)| *tool == name);
        let package = package.map_or(name, |(_, package)| package);
        Failure::new(format!("{name} is not installed: apt-get install {package}"))
    })
}

/// Runs `name` with `arguments`.
///
/// # Errors
/// It is not installed, or has not ended within `limit`.
pub fn run_tool(name: &str, arguments: &[&str], limit: Duration) -> Result<Output> {
    run(tool(name)?.args(arguments), limit)
}

/// Runs a Python script in `nbdsh`, with the handle `h`; it fails where the script does. Returns
/// what it printed.
///
/// # Errors
/// The script has failed, or has not ended within `limit`.
pub fn nbdsh(script: &str, limit: Duration) -> Result<String> {
    let path = std::env::var("PATH").unwrap_or_default();
    let mut command = tool("nbdsh")?;
    // Its module belongs to Debian's Python, whatever other one is in front.
    command.env("PATH", format!("/usr/bin:{path}")).args(["-c", script]);
    run(&mut command, limit)?.ok()
}
