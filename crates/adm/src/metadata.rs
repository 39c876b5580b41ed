//! The metadata of a volume that no daemon has open, to be read and changed.
//!
//! The device is held exclusively for as long as they are: a daemon, or `create-md`, cannot have it
//! meanwhile. What is changed is stored as the daemon does it, one copy of the superblock durable
//! before the other is written, the one that is not good first.

use std::path::{Path, PathBuf};

use tandem_control::config::{Backing, MetaDisk, ResourceConfig};
use tandem_control::{VolumeNumber, exit};
use tandem_replica::bitmap::Bitmap;
use tandem_replica::meta::{
    Area, BitmapIndex, Chosen, CopyIndex, Identity, Layout, META_BLOCK, MetaError, MetaWrite,
    Placement, SlotIndex, Superblock, choose, superblock_offsets,
};

use crate::device::Device;
use crate::output::Failure;

/// Which metadata.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct MetaPlace {
    /// What they are called in messages: `r0/0`, `minor 1`.
    pub(crate) name: String,
    pub(crate) disk: PathBuf,
    pub(crate) meta_disk: MetaDisk,
    /// Whose they are to be, where that is known.
    pub(crate) owner: Option<Identity>,
}

/// Metadata, and the device that holds them.
#[derive(Debug)]
pub(crate) struct Metadata {
    pub(crate) superblock: Superblock,
    pub(crate) layout: Layout,
    name: String,
    device: Device,
    /// The copy that is written first.
    first_copy: CopyIndex,
}

impl MetaPlace {
    /// That of a volume of a resource that runs; `None` where it has no disk.
    pub(crate) fn of_running(config: &ResourceConfig, number: VolumeNumber) -> Option<Self> {
        let volume = config.volumes.iter().find(|volume| volume.number == number)?;
        let Backing { disk, meta_disk } = volume.backing.clone()?;
        Some(Self { name: format!("{}/{number}", config.name), disk, meta_disk, owner: None })
    }

    /// A failure that says of what.
    pub(crate) fn failure(&self, exit_code: u8, message: &str) -> Failure {
        Failure::new(exit_code, format!("{}: {message}", self.name))
    }

    /// The device that holds the metadata, which nobody else uses meanwhile.
    pub(crate) fn open(&self) -> Result<Device, Failure> {
        Device::open(self.path()?).map_err(|message| self.failure(exit::FAILURE, &message))
    }

    /// That device to be read while the daemon uses it: what of its superblocks is being written is
    /// not valid, the other one is.
    pub(crate) fn look(&self) -> Result<Device, Failure> {
        Device::look(self.path()?).map_err(|message| self.failure(exit::FAILURE, &message))
    }

    /// The name of that device.
    pub(crate) fn path(&self) -> Result<&Path, Failure> {
        match &self.meta_disk {
            MetaDisk::Internal => Ok(&self.disk),
            MetaDisk::External { path, index: None } => Ok(path),
            MetaDisk::External { path, index: Some(index) } => {
                let path = path.display();
                let message = format!(
                    "several volumes' metadata on one device are not supported yet: \
                     {path}[{index}]"
                );
                Err(self.failure(exit::CONFIG, &message))
            }
        }
    }

    pub(crate) fn placement(&self, device: &Device) -> Placement {
        match &self.meta_disk {
            MetaDisk::Internal => Placement::Internal,
            MetaDisk::External { .. } => Placement::External { meta_bytes: device.bytes() },
        }
    }

    /// What is read where the superblocks belong.
    pub(crate) fn choose(&self, device: &Device) -> Result<Chosen, MetaError> {
        let offsets = superblock_offsets(device.bytes(), self.placement(device));
        let offsets = offsets.ok_or(MetaError::NotFound)?;
        let read = |copy: CopyIndex| {
            let block = device.read(offsets[copy as usize], META_BLOCK);
            block.map_or(Err(MetaError::Unreadable), |block| Superblock::decode(&block, copy))
        };
        choose(read(CopyIndex::A), read(CopyIndex::B))
    }

    /// That there are none, or none that can be used.
    pub(crate) fn missing(&self, device: &Device, error: &MetaError) -> Failure {
        let advice = if *error == MetaError::NotFound {
            "; run create-md, or attach the disk first if it was enlarged"
        } else {
            ""
        };
        let path = device.path().display();
        let message = format!("No valid meta data found: {path}: {error}{advice}");
        self.failure(exit::NO_METADATA, &message)
    }
}

impl Metadata {
    /// Opens and checks them.
    pub(crate) fn open(place: &MetaPlace) -> Result<Self, Failure> {
        let device = place.open()?;
        match place.choose(&device) {
            Ok(chosen) => Self::of(place, device, chosen),
            Err(error) => Err(place.missing(&device, &error)),
        }
    }

    /// Of what was read on `device`.
    pub(crate) fn of(place: &MetaPlace, device: Device, chosen: Chosen) -> Result<Self, Failure> {
        let Chosen { superblock, repair } = chosen;
        let refuse = |exit_code, error: String| {
            place.failure(exit_code, &format!("{}: {error}", device.path().display()))
        };
        if let (Some(owner), Some(_)) = (&place.owner, &superblock.identity) {
            let checked = superblock.check_identity(owner);
            checked.map_err(|error| refuse(exit::CONFIG, error.to_string()))?;
        }
        let placement = place.placement(&device);
        let disk_bytes = match placement {
            Placement::Internal => device.bytes(),
            // The data are not looked at: what was recorded of their disk will do.
            Placement::External { .. } => superblock.device_bytes,
        };
        let layout = Layout::from_superblock(&superblock, disk_bytes, placement)
            .map_err(|error| refuse(exit::FAILURE, error.to_string()))?;
        let first_copy = repair.map_or(CopyIndex::A, |(copy, _)| copy);
        let name = place.name.clone();
        Ok(Self { superblock, layout, name, device, first_copy })
    }

    /// Stores what the superblock says.
    pub(crate) fn save(&mut self) -> Result<(), Failure> {
        let copies = self.superblock.plan_update(&self.layout, self.first_copy);
        copies.iter().try_for_each(|copy| self.write(std::slice::from_ref(copy)))
    }

    /// Writes, and returns when it is durable.
    pub(crate) fn write(&self, writes: &[MetaWrite]) -> Result<(), Failure> {
        let mut each = writes.iter();
        let written = each.try_for_each(|write| self.device.write(write.offset, &write.bytes));
        let durable = written.and_then(|()| self.device.flush());
        durable.map_err(|message| Failure::new(exit::FAILURE, format!("{}: {message}", self.name)))
    }

    /// What an area holds; `None` where it cannot be read.
    pub(crate) fn read(&self, area: Area) -> Option<Vec<u8>> {
        self.device.read(area.offset, area.len).ok()
    }

    /// The bitmap of a slot; what is damaged or cannot be read counts as set.
    pub(crate) fn bitmap(&self, slot: SlotIndex) -> (BitmapIndex, Bitmap) {
        let area = self.layout.bitmap(slot).expect("a layout has an area for every slot");
        let bytes = match self.superblock.effective_bytes {
            0 => self.superblock.data_bytes,
            agreed => agreed,
        };
        let mut bitmap = Bitmap::new(bytes);
        let mut index = BitmapIndex::unread(self.superblock.device_uuid, area);
        for area in index.plan_index_read() {
            index.load_index(area, self.read(area).as_deref(), &mut bitmap);
        }
        for area in index.plan_page_reads(&bitmap) {
            index.load_pages(area, self.read(area).as_deref(), &mut bitmap);
        }
        (index, bitmap)
    }

    /// What they are called in messages.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }
}
