//! Opens backing disks on a thread of their own: opening waits, for locks and for devices.

use std::path::{Path, PathBuf};
use std::thread;

use tandem_replica::AttachGeneration;
use tandem_replica::wire::VolumeNumber;
use tandem_ring::{BackingDisk, OpenOptions};

use crate::limits;
use crate::mail::{Mail, Mailbox, ResourceKey};

/// Where a volume's data and metadata lie.
#[derive(Clone, Debug)]
pub(crate) struct DiskPaths {
    pub(crate) volume: VolumeNumber,
    pub(crate) data: PathBuf,
    /// `None` for internal metadata.
    pub(crate) meta: Option<PathBuf>,
}

/// The files of a volume, locked.
#[derive(Debug)]
pub(crate) struct OpenedFiles {
    pub(crate) data: BackingDisk,
    /// `None` for internal metadata.
    pub(crate) meta: Option<BackingDisk>,
}

/// Starts opening; ends in [`Mail::DiskOpened`].
pub(crate) fn spawn(
    mailbox: &Mailbox,
    resource: ResourceKey,
    generation: AttachGeneration,
    paths: DiskPaths,
) {
    let volume = paths.volume;
    let opened = {
        let mailbox = mailbox.clone();
        move || {
            let result = open(&paths);
            mailbox.post(Mail::DiskOpened { resource, volume, generation, result });
        }
    };
    if let Err(error) = thread::Builder::new().name("open-disk".into()).spawn(opened) {
        let result = Err(format!("a thread to open the disk cannot be started: {error}"));
        mailbox.post(Mail::DiskOpened { resource, volume, generation, result });
    }
}

fn open(paths: &DiskPaths) -> Result<OpenedFiles, String> {
    let data = open_one(&paths.data)?;
    let meta = paths.meta.as_deref().map(open_one).transpose()?;
    Ok(OpenedFiles { data, meta })
}

fn open_one(path: &Path) -> Result<BackingDisk, String> {
    let options = OpenOptions { lock_patience: limits::LOCK_PATIENCE, allow_buffered: false };
    let disk = tandem_ring::open(path, &options).map_err(|error| error.to_string())?;
    if disk.block_size > BLOCK_BYTES_MAX || disk.memory_align > BLOCK_BYTES_MAX {
        let path = path.display();
        return Err(format!(
            "{path}: blocks of more than {BLOCK_BYTES_MAX} bytes are not supported"
        ));
    }
    if !disk.nowait {
        let path = path.display();
        tracing::info!(%path, "its file system or device always needs worker threads: it is slow");
    }
    Ok(disk)
}

/// Largest logical block that the core works with.
const BLOCK_BYTES_MAX: u32 = 4096;
