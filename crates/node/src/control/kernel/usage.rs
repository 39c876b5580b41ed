//! Whose a device is, and who has it open.

use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::Path;
use std::time::Duration;

use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use tokio::sync::oneshot;
use tokio::time::timeout;

/// Opening a device for the first time reads its partition table: where that takes longer, its I/O
/// is frozen.
const PATIENCE: Duration = Duration::from_secs(5);

/// Times that an open device is looked at, and the pause between: those who look what is on a new
/// device (udev) are done in less.
const GLANCES: u32 = 10;
const GLANCE: Duration = Duration::from_millis(100);

/// Whose a device is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Owner {
    /// Nobody's.
    None,
    /// This volume's, with connections that may be dead.
    This,
    /// Somebody else's, by the name that they gave, if they gave one.
    Other(String),
}

/// Whose a device is, to somebody whose name is `own`.
pub(super) fn owner_of(index: u32, own: &str) -> Owner {
    let device = format!("/sys/block/nbd{index}");
    let is_connected = Path::new(&device).join("pid").exists();
    let backend = std::fs::read_to_string(Path::new(&device).join("backend")).ok();
    owner(is_connected, backend.as_deref(), own)
}

/// Whose a connected device is, by what the kernel tells of it.
fn owner(is_connected: bool, backend: Option<&str>, own: &str) -> Owner {
    match (is_connected, backend.map(str::trim)) {
        (false, _) => Owner::None,
        (true, Some(backend)) if backend == own => Owner::This,
        (true, Some(backend)) => Owner::Other(format!("'{backend}'")),
        (true, None) => Owner::Other("somebody who gave no name".to_owned()),
    }
}

/// Size of a device in bytes.
pub(super) fn size_of(index: u32) -> Option<u64> {
    let sectors = std::fs::read_to_string(format!("/sys/block/nbd{index}/size")).ok()?;
    sectors.trim().parse::<u64>().ok()?.checked_mul(512)
}

/// Who uses a device, where anybody does: a sentence's end.
///
/// The kernel tells nobody how often a device is open. Opening it exclusively finds what has it as
/// a whole: mounts in any namespace, swap, LVM, RAID. It does not find a virtual machine or a copy
/// that merely has it open; the descriptors of processes do. `/proc/mounts` would tell of this
/// process's mounts only, and `holders` of devices only.
pub(super) async fn user_of(index: u32) -> Option<String> {
    for _ in 0..GLANCES {
        match look(index).await {
            Ok(None) => return None,
            Ok(Some(_)) => tokio::time::sleep(GLANCE).await,
            Err(reason) => return Some(reason),
        }
    }
    look(index).await.unwrap_or_else(Some)
}

/// Looks once, on a thread of its own: it may hang as long as I/O is frozen, also when the daemon
/// ends.
async fn look(index: u32) -> Result<Option<String>, String> {
    let (tell, told) = oneshot::channel();
    let body = move || {
        let device = format!("/dev/nbd{index}");
        // Nobody hears it who has lost his patience.
        let _ = tell.send(look_for_user(Path::new("/proc"), Path::new(&device)));
    };
    let thread = std::thread::Builder::new().name("look-at-device".into()).spawn(body);
    thread.map_err(|error| format!("a thread to look at it cannot be started: {error}"))?;
    match timeout(PATIENCE, told).await {
        Ok(Ok(user)) => Ok(user),
        Ok(Err(_)) | Err(_) => Err("it does not answer: its I/O is frozen".to_owned()),
    }
}

fn look_for_user(proc: &Path, device: &Path) -> Option<String> {
    // Looked for first: the look itself must not be found.
    if let Some(process) = process_with(proc, device) {
        return Some(format!("{process} has it open"));
    }
    let flags = OFlags::RDONLY | OFlags::EXCL | OFlags::CLOEXEC | OFlags::NONBLOCK;
    match rustix::fs::open(device, flags, Mode::empty()) {
        Err(Errno::BUSY) => Some("it is mounted, or a part of another device".to_owned()),
        Ok(_) | Err(_) => None,
    }
}

/// A process that has a device open, or a partition of it. Who may not look into a process, or
/// finds it ended, passes it over.
fn process_with(proc: &Path, device: &Path) -> Option<String> {
    let number = std::fs::metadata(device).ok().filter(|it| it.file_type().is_block_device())?;
    let partitions = partitions(device);
    let is_it = |found: &std::fs::Metadata| {
        found.file_type().is_block_device()
            && (found.rdev() == number.rdev() || partitions.contains(&found.rdev()))
    };
    for process in std::fs::read_dir(proc).ok()?.flatten() {
        let name = process.file_name();
        let Some(pid) = name.to_str().and_then(|it| it.parse::<u32>().ok()) else { continue };
        let Ok(descriptors) = std::fs::read_dir(process.path().join("fd")) else { continue };
        let mut open = descriptors.flatten().filter_map(|it| std::fs::metadata(it.path()).ok());
        if open.any(|it| is_it(&it)) {
            let command = std::fs::read_to_string(process.path().join("comm")).unwrap_or_default();
            return Some(format!("process {pid} ({})", command.trim()));
        }
    }
    None
}

/// The device numbers of a device's partitions.
fn partitions(device: &Path) -> Vec<u64> {
    let Some(name) = device.file_name().and_then(|it| it.to_str()) else { return Vec::new() };
    let Ok(entries) = std::fs::read_dir(format!("/sys/class/block/{name}")) else {
        return Vec::new();
    };
    let parts = entries.flatten().filter(|it| it.path().join("partition").exists());
    let numbers = parts.filter_map(|it| {
        let text = std::fs::read_to_string(it.path().join("dev")).ok()?;
        let (major, minor) = text.trim().split_once(':')?;
        Some(rustix::fs::makedev(major.parse().ok()?, minor.parse().ok()?))
    });
    numbers.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_device_is_taken_from_nobody_else() {
        let own = "tandem a r0/0";
        assert_eq!(owner(false, None, own), Owner::None);
        assert_eq!(owner(false, Some(own), own), Owner::None, "what is left of it says nothing");
        assert_eq!(owner(true, Some("tandem a r0/0\n"), own), Owner::This);
        for other in [Some("tandem a r0/1"), Some("tandem b r0/0"), None] {
            assert!(matches!(owner(true, other, own), Owner::Other(_)), "{other:?}");
        }
    }

    #[test]
    fn what_is_no_device_is_used_by_nobody() {
        let file = tempfile::NamedTempFile::new().unwrap();
        assert_eq!(look_for_user(Path::new("/proc"), file.path()), None);
        assert_eq!(look_for_user(Path::new("/proc"), Path::new("/dev/nbd-none")), None);
        assert_eq!(size_of(4711), None);
    }
}
