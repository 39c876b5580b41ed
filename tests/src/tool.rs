//! Other people's programs that the tests use. One that is missing is a failure with its remedy.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use crate::binaries::target_dir;
use crate::process::{Output, run};
use crate::{Failure, Result};

/// A command that runs `name`.
///
/// # Errors
/// It is not installed.
pub fn tool(name: &str) -> Result<Command> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    // Debian keeps some administrators' programs out of users' PATH; the other folder has what is
    // in no Debian package.
    let others = [PathBuf::from("/usr/sbin"), target_dir()?.join("tools/bin")];
    let mut candidates = std::env::split_paths(&path).chain(others).map(|it| it.join(name));
    let found = candidates.find(|candidate| Path::is_file(candidate));
    found.map(Command::new).ok_or_else(|| {
        Failure::new(format!("{name} is not installed: scripts/install-test-tools does that"))
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
