//! The parts that metadata consists of beside the superblocks, as the superblock's table lists
//! them.
//!
//! A kind this program does not know is kept as it was found: it belongs to a feature that need not
//! be known (those that must be are refused by the superblock's incompatible features).

use super::fields::region as field;
use super::{BitmapArea, META_BLOCK, MetaError, SlotIndex};

/// Entries that the superblock's table has room for: a bitmap per peer, and 17 others.
pub const REGIONS_MAX: usize = 48;

/// A range of the device that holds the metadata, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Area {
    /// First byte.
    pub offset: u64,
    /// Length in bytes.
    pub len: u64,
}

impl Area {
    /// First byte behind it, where that is a `u64`.
    pub fn checked_end(self) -> Option<u64> {
        self.offset.checked_add(self.len)
    }

    /// Whether it starts and ends between blocks and has at least one.
    pub fn is_whole(self) -> bool {
        self.len > 0
            && self.offset.is_multiple_of(META_BLOCK)
            && self.len.is_multiple_of(META_BLOCK)
    }
}

/// What a region is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RegionKind {
    /// The ring of the activity log.
    ActivityLog,
    /// The bitmap of the peer in a slot: so many index blocks, then pages.
    Bitmap {
        /// Whose it is.
        slot: SlotIndex,
        /// How many blocks its index has.
        index_blocks: u32,
    },
    /// Something a later program put there.
    Other {
        /// Its `kind`.
        code: u16,
        /// Its `slot`.
        slot: u16,
        /// Its `index_blocks`.
        parameter: u32,
    },
}

/// A region: what it is for and where it lies. Where it lies is unchecked until a
/// [`Layout`](super::Layout) was made of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Region {
    /// What it is for.
    pub kind: RegionKind,
    /// Where it lies.
    pub area: Area,
}

const CODE_ACTIVITY_LOG: u16 = 1;
const CODE_BITMAP: u16 = 2;

impl Region {
    pub(super) fn of_bitmap(area: &BitmapArea) -> Self {
        let kind = RegionKind::Bitmap { slot: area.slot, index_blocks: area.index_blocks };
        Self { kind, area: area.area() }
    }

    pub(super) fn encode(&self, entry: &mut [u8]) {
        let (code, slot, parameter) = match self.kind {
            RegionKind::ActivityLog => (CODE_ACTIVITY_LOG, 0, 0),
            RegionKind::Bitmap { slot, index_blocks } => {
                (CODE_BITMAP, u16::from(slot.0), index_blocks)
            }
            RegionKind::Other { code, slot, parameter } => (code, slot, parameter),
        };
        field::KIND.put(entry, code.to_le_bytes());
        field::SLOT.put(entry, slot.to_le_bytes());
        field::INDEX_BLOCKS.put(entry, parameter.to_le_bytes());
        field::OFFSET.put(entry, self.area.offset.to_le_bytes());
        field::LEN.put(entry, self.area.len.to_le_bytes());
    }

    pub(super) fn decode(entry: &[u8]) -> Result<Self, MetaError> {
        let (code, slot) = (field::KIND.u16(entry), field::SLOT.u16(entry));
        let parameter = field::INDEX_BLOCKS.u32(entry);
        let kind = match code {
            0 => {
                return Err(MetaError::BadValue { field: field::KIND.name });
            }
            CODE_ACTIVITY_LOG => RegionKind::ActivityLog,
            CODE_BITMAP => {
                let slot = u8::try_from(slot)
                    .map_err(|_| MetaError::BadValue { field: field::SLOT.name })?;
                RegionKind::Bitmap { slot: SlotIndex(slot), index_blocks: parameter }
            }
            code => RegionKind::Other { code, slot, parameter },
        };
        let area = Area { offset: field::OFFSET.u64(entry), len: field::LEN.u64(entry) };
        Ok(Self { kind, area })
    }
}
