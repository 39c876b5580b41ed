//! What the figures were measured on.

use std::path::Path;
use std::process::Command;

use serde::{Deserialize, Serialize};

/// A machine, in words.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Machine {
    /// Processors that may be used.
    pub processors: usize,
    /// What they call themselves.
    pub model: String,
    /// The kernel's release.
    pub kernel: String,
    /// The first line of what each peer's program says of itself.
    pub versions: Vec<String>,
}

impl Machine {
    /// This one.
    pub fn this() -> Self {
        let cpuinfo = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
        let model = cpuinfo.lines().find_map(|line| line.strip_prefix("model name"));
        let model = model.and_then(|rest| rest.split_once(':')).map(|(_, name)| name.trim());
        let programs = ["fio", "qemu-storage-daemon", "nbdkit", "nbd-server"];
        Self {
            processors: std::thread::available_parallelism().map_or(1, usize::from),
            model: model.unwrap_or("unknown").to_owned(),
            kernel: rustix::system::uname().release().to_string_lossy().into_owned(),
            versions: programs.iter().filter_map(|program| version(program)).collect(),
        }
    }
}

fn version(program: &str) -> Option<String> {
    // nbd-server knows the short form only, and fio the long one.
    let argument = if program == "nbd-server" { "-V" } else { "--version" };
    let output = Command::new(program).arg(argument).output().ok()?;
    let text = String::from_utf8_lossy(&output.stdout);
    let line = text.lines().next()?;
    Some(line.strip_prefix("This is ").unwrap_or(line).to_owned())
}

/// A folder's kind of storage, as results name it.
pub fn medium(folder: &Path) -> &'static str {
    if folder.starts_with("/dev/shm") { "RAM" } else { "disk" }
}
