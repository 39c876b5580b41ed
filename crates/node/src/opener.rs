//! Opens backing disks, and looks how large they are, on a thread of its own: that waits, for locks
//! and for devices.

use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread;

use tandem_replica::wire::VolumeNumber;
use tandem_replica::{AttachGeneration, OpenedDisk};
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

/// The very files that the ring has, to look at their sizes. Locked as long as this is kept.
#[derive(Debug)]
pub(crate) struct SizedFiles {
    pub(crate) data: OwnedFd,
    /// `None` for internal metadata.
    pub(crate) meta: Option<OwnedFd>,
    pub(crate) block_size: u32,
}

impl SizedFiles {
    /// Of files that are about to be given to the ring.
    pub(crate) fn of(files: &OpenedFiles) -> Result<Self, String> {
        let again = |disk: &BackingDisk| disk.file.try_clone().map_err(|error| error.to_string());
        let blocks = files.meta.as_ref().map_or(0, |meta| meta.block_size);
        Ok(Self {
            data: again(&files.data)?,
            meta: files.meta.as_ref().map(again).transpose()?,
            block_size: files.data.block_size.max(blocks),
        })
    }

    fn measure(&self) -> Result<OpenedDisk, String> {
        let size = |file: &OwnedFd| {
            tandem_ring::size_of(file.as_fd())
                .map_err(|error| format!("the size of the disk cannot be found out: {error}"))
        };
        let data_bytes = size(&self.data)?;
        let meta_bytes = self.meta.as_ref().map_or(Ok(data_bytes), size)?;
        Ok(OpenedDisk { data_bytes, meta_bytes, block_size: self.block_size })
    }
}

/// Looks how large the files are now; ends in [`Mail::DiskMeasured`].
pub(crate) fn measure(
    mailbox: &Mailbox,
    resource: ResourceKey,
    volume: VolumeNumber,
    generation: AttachGeneration,
    files: Arc<SizedFiles>,
) {
    let measured = {
        let mailbox = mailbox.clone();
        move || {
            let result = files.measure();
            drop(files);
            mailbox.post(Mail::DiskMeasured { resource, volume, generation, result });
        }
    };
    if let Err(error) = thread::Builder::new().name("measure-disk".into()).spawn(measured) {
        let result = Err(format!("a thread to look at the disk cannot be started: {error}"));
        mailbox.post(Mail::DiskMeasured { resource, volume, generation, result });
    }
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
