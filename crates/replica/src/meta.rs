//! What a node keeps on disk beside the data of a volume; docs/ON_DISK.md draws it to the byte.
//! Pure.
//!
//! [`Layout`] says where everything lies, [`Superblock`] holds what the data are worth,
//! [`BitmapIndex`] reads and writes the bitmap of one peer, [`Ring`] the activity log, [`format()`]
//! makes all of it, [`probe`] recognises it. Nothing here reads or writes: functions say which
//! ranges to read or write, and take what was read.
//!
//! Contract: bytes read are not trusted. What is damaged is recovered from the other copy, refused,
//! or read as out of sync; never as in sync, and never as another resource's (INV-18). Where writes
//! have an order, the type that carries them says which must be durable before which is issued.

use tandem_wire::{NodeId, VolumeNumber};

pub mod fields;

mod activity_log;
mod bitmap_index;
mod format;
mod layout;
mod outgrown;
mod region;
mod superblock;
#[cfg(test)]
mod tests;

pub use activity_log::{
    AL_EXTENT_BYTES, AL_EXTENT_BYTES_MAX, AL_EXTENT_BYTES_MIN, AL_EXTENTS_MAX, AL_SLOTS_MAX,
    CONTEXT_MAX, Hot, NO_EXTENT, Ring, RingImage, Transaction, UPDATES_MAX, Update,
};
pub use bitmap_index::{BitmapArea, BitmapIndex, INDEX_ENTRIES, READ_BYTES_MAX};
pub use format::{FormatPlan, Probe, format, probe, wipe};
pub use layout::{AL_BYTES, ANCHOR_BYTES, Layout, LayoutError, Placement, superblock_offsets};
pub use outgrown::end_told;
pub use region::{Area, REGIONS_MAX, Region, RegionKind};
pub use superblock::{
    Chosen, CopyIndex, HISTORY_SLOTS, PeerFlags, PeerSlot, Superblock, VolumeFlags, choose,
};

/// Unit of everything here: offsets and lengths are multiples of it.
pub const META_BLOCK_BYTES: usize = 4096;

/// [`META_BLOCK_BYTES`] where offsets are reckoned.
pub const META_BLOCK: u64 = 4096;

/// Peers that metadata can have slots for: a resource has at most 32 nodes.
pub const PEERS_MAX: u8 = 31;

/// Longest name of a resource in bytes.
pub const RESOURCE_NAME_BYTES_MAX: usize = 128;

/// Number of a peer's slot in the metadata, and so of its bitmap.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SlotIndex(pub u8);

impl SlotIndex {
    pub(crate) fn index(self) -> usize {
        usize::from(self.0)
    }
}

/// Random name of one making of metadata; tells it from all that lay there before.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DeviceUuid(pub [u8; 16]);

impl DeviceUuid {
    /// As much of it as DRBD's name of a device has.
    pub fn half(self) -> u64 {
        u64::from_be_bytes(*self.0.first_chunk().expect("it has 16 bytes"))
    }
}

/// What the kernel calls its up-time (`/proc/sys/kernel/random/boot_id`); another one after a power
/// loss. All zero for none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BootId(pub [u8; 16]);

/// One write of metadata.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MetaWrite {
    /// Where it goes, in bytes of the device that holds the metadata.
    pub offset: u64,
    /// What to write: whole blocks of [`META_BLOCK_BYTES`].
    pub bytes: Vec<u8>,
}

/// Whose metadata it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    resource: String,
    volume: VolumeNumber,
    node: NodeId,
}

impl Identity {
    /// Volume `volume` of resource `resource` on node `node`.
    ///
    /// # Errors
    /// `BadValue` where the name is empty, longer than [`RESOURCE_NAME_BYTES_MAX`] or has a control
    /// character, or where there is no such node or volume number.
    pub fn new(resource: &str, volume: VolumeNumber, node: NodeId) -> Result<Self, MetaError> {
        let length_fits = (1..=RESOURCE_NAME_BYTES_MAX).contains(&resource.len());
        if !length_fits || resource.chars().any(char::is_control) {
            return Err(MetaError::BadValue { field: fields::superblock::RESOURCE.name });
        }
        if node.0 >= NodeId::COUNT_MAX {
            return Err(MetaError::BadValue { field: fields::superblock::NODE_ID.name });
        }
        if volume.0 == u16::MAX {
            return Err(MetaError::BadValue { field: fields::superblock::VOLUME.name });
        }
        Ok(Self { resource: resource.to_owned(), volume, node })
    }

    /// Name of the resource.
    pub fn resource(&self) -> &str {
        &self.resource
    }

    /// Number of the volume.
    pub fn volume(&self) -> VolumeNumber {
        self.volume
    }

    /// The node it was made for.
    pub fn node(&self) -> NodeId {
        self.node
    }
}

impl std::fmt::Display for Identity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "resource {} volume {} node {}", self.resource, self.volume, self.node)
    }
}

/// Why what was read is no metadata that can be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MetaError {
    /// The magic is not there.
    #[error("no metadata found")]
    NotFound,
    /// It is metadata, and its checksum does not match.
    #[error("metadata is damaged: checksum does not match")]
    Damaged,
    /// Reading it failed.
    #[error("metadata could not be read")]
    Unreadable,
    /// Written by a program with another format.
    #[error("metadata has format version {0}, which this program does not know")]
    Version(u16),
    /// Uses features that must be known to use it.
    #[error("metadata uses features {0:#x}, which this program does not know")]
    Features(u64),
    /// The checksum matches and a field says what it cannot say.
    #[error("metadata has a bad value in field {field}")]
    BadValue {
        /// Name of the field in docs/ON_DISK.md.
        field: &'static str,
    },
    /// A copy was found where the other one belongs.
    #[error("metadata copies are in each other's place")]
    WrongCopy,
    /// Both copies are whole and do not belong together.
    #[error("metadata copies do not belong together")]
    CopiesDisagree,
    /// It belongs to something else.
    #[error("metadata belongs to {found}, not to {wanted}")]
    OtherIdentity {
        /// Whose it is.
        found: Box<Identity>,
        /// Whose it was to be.
        wanted: Box<Identity>,
    },
    /// It belongs to nobody yet.
    #[error("metadata belongs to nobody yet")]
    NotClaimed,
    /// All slots belong to peers.
    #[error("metadata has no free slot for another peer: it was made for {max_peers}")]
    NoFreeSlot {
        /// How many it was made for.
        max_peers: u8,
    },
}
