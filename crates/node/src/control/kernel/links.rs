//! Links by which devices are found by resource and volume.

use std::io::{Error, ErrorKind};
use std::path::{Path, PathBuf};

use tandem_replica::wire::VolumeNumber;

/// Where they are.
pub(super) const FOLDER: &str = "/dev/tandem/by-res";

/// Has the link of a volume lead to a device, which lies three folders above it: it leads there
/// also where `/dev` is seen in another place.
pub(super) fn make(
    folder: &Path,
    resource: &str,
    volume: VolumeNumber,
    index: u32,
) -> Result<(), Error> {
    std::fs::create_dir_all(folder.join(resource))?;
    let path = path(folder, resource, volume);
    match std::fs::remove_file(&path) {
        Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
        Ok(()) | Err(_) => {}
    }
    std::os::unix::fs::symlink(format!("../../../nbd{index}"), path)
}

/// Removes the link of a volume, and its folder with the last one.
pub(super) fn remove(folder: &Path, resource: &str, volume: VolumeNumber) {
    let path = path(folder, resource, volume);
    if let Err(error) = std::fs::remove_file(&path)
        && error.kind() != ErrorKind::NotFound
    {
        tracing::warn!("{} stays: {error}", path.display());
    }
    // Others may be in it.
    let _ = std::fs::remove_dir(folder.join(resource));
}

fn path(folder: &Path, resource: &str, volume: VolumeNumber) -> PathBuf {
    folder.join(resource).join(volume.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_lead_to_the_device_and_go_with_it() {
        let dev = tempfile::tempdir().unwrap();
        let folder = dev.path().join("tandem/by-res");
        std::fs::write(dev.path().join("nbd7"), "seven").unwrap();
        std::fs::write(dev.path().join("nbd8"), "eight").unwrap();
        make(&folder, "r0", VolumeNumber(1), 8).unwrap();
        make(&folder, "r0", VolumeNumber(0), 8).unwrap();
        make(&folder, "r0", VolumeNumber(0), 7).unwrap();
        assert_eq!(std::fs::read_to_string(folder.join("r0/0")).unwrap(), "seven");
        assert_eq!(std::fs::read_to_string(folder.join("r0/1")).unwrap(), "eight");
        remove(&folder, "r0", VolumeNumber(0));
        remove(&folder, "r0", VolumeNumber(0));
        assert!(!folder.join("r0/0").exists() && folder.join("r0/1").exists());
        remove(&folder, "r0", VolumeNumber(1));
        assert!(!folder.join("r0").exists() && folder.exists());
    }
}
