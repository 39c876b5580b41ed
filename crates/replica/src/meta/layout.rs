//! Where the metadata of a volume lies.
//!
//! Two copies of the superblock stand at the ends of an *anchor* of 1 MiB, far enough apart that
//! what spoils one spares the other, at a place that follows from the device's size alone: its end
//! for internal metadata, the start of a device of their own for external. The activity log's ring
//! lies between them, bitmaps beside the anchor. Data start at byte 0 of the backing disk in either
//! case.
//!
//! A layout is made for a new device or checked out of a superblock; one that exists is sound:
//! every region lies within the device, whole blocks, off the data, off every other.

use crate::bitmap::{DEVICE_BYTES_MAX, page_count};

use super::superblock::Superblock;
use super::{
    Area, BitmapArea, CopyIndex, INDEX_ENTRIES, META_BLOCK, PEERS_MAX, Region, RegionKind, Ring,
    SlotIndex,
};

mod grown;
mod widest;

/// Bytes from the start of one copy of the superblock to the end of the other.
pub const ANCHOR_BYTES: u64 = 1 << 20;

/// Bytes of the activity log's ring: room for the most slots that a log may have.
pub const AL_BYTES: u64 = 640 << 10;

/// Which device holds the metadata.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Placement {
    /// The backing disk itself, behind the data.
    Internal,
    /// A device or file of their own.
    External {
        /// Its size in bytes.
        meta_bytes: u64,
    },
}

/// Why there is no such layout.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LayoutError {
    /// Fewer than one or more than [`PEERS_MAX`] peers.
    #[error("metadata for {0} peers: must be 1 to {PEERS_MAX}")]
    MaxPeers(u8),
    /// Larger than [`DEVICE_BYTES_MAX`].
    #[error("device of {0} bytes is larger than {DEVICE_BYTES_MAX}")]
    DeviceTooLarge(u64),
    /// No room for data, or for the data that were there.
    #[error("device of {found} bytes is too small: at least {needed} are needed")]
    DeviceTooSmall {
        /// Its size.
        found: u64,
        /// Size it must have.
        needed: u64,
    },
    /// The disk has grown by less than its metadata take: they would lie on themselves.
    #[error(
        "the disk has grown from {recorded} to {found} bytes; to move its metadata behind what it \
         had it must have at least {needed}"
    )]
    GrownTooLittle {
        /// Its size.
        found: u64,
        /// Its size in the superblock.
        recorded: u64,
        /// Size it must have.
        needed: u64,
    },
    /// No room for metadata on their own device.
    #[error("device of {found} bytes for metadata is too small: {needed} are needed")]
    MetaTooSmall {
        /// Its size.
        found: u64,
        /// Size it must have.
        needed: u64,
    },
    /// Internal metadata say that the device had another size.
    #[error("device has {found} bytes, and had {recorded} when its metadata were made")]
    SizeChanged {
        /// Its size.
        found: u64,
        /// Its size in the superblock.
        recorded: u64,
    },
    /// Internal metadata found where external were looked for, or the other way round.
    #[error("metadata were made for another placement")]
    OtherPlacement,
    /// The size of the data is no multiple of 4096, zero, or smaller than the size agreed.
    #[error("metadata have a bad data size of {0} bytes")]
    DataSize(u64),
    /// A size that nodes have agreed on is no multiple of 4096.
    #[error("metadata have a bad agreed size of {0} bytes")]
    AgreedSize(u64),
    /// A region reaches out of the metadata, or not over whole blocks.
    #[error("metadata region at {offset} with {len} bytes is out of place")]
    RegionMisplaced {
        /// Where it starts.
        offset: u64,
        /// Its length.
        len: u64,
    },
    /// A region lies on another or on a superblock.
    #[error("metadata region at {offset} lies on another")]
    RegionOverlaps {
        /// Where it starts.
        offset: u64,
    },
    /// A region is missing, there twice, or too small for the device.
    #[error("metadata region for {what} is missing, there twice, or has a bad size")]
    RegionUnfit {
        /// What it is for.
        what: &'static str,
    },
}

/// Where everything lies; offsets are bytes of the device that holds the metadata.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Layout {
    placement: Placement,
    device_bytes: u64,
    data_bytes: u64,
    superblocks: [u64; 2],
    activity_log: Area,
    /// By slot: one for each peer there can be.
    bitmaps: Vec<BitmapArea>,
    other: Vec<Region>,
}

impl Layout {
    /// A layout for a backing disk of `device_bytes` with room for `max_peers` bitmaps.
    ///
    /// Bitmaps are made for the whole backing disk, also where its end holds metadata.
    ///
    /// # Errors
    /// Where a device is too small or too large, or `max_peers` is not 1 to [`PEERS_MAX`].
    pub fn new(
        device_bytes: u64,
        placement: Placement,
        max_peers: u8,
    ) -> Result<Self, LayoutError> {
        check_limits(device_bytes, placement, max_peers)?;
        let usable = whole(device_bytes);
        let pages = fits_u32(page_count(usable));
        let index_blocks = fits_u32(u64::from(pages).div_ceil(INDEX_ENTRIES));
        let bitmap_bytes = (u64::from(pages) + u64::from(index_blocks)) * META_BLOCK;
        let needed = ANCHOR_BYTES + bitmap_bytes * u64::from(max_peers);
        let (data_bytes, first_bitmap, meta_end) = match placement {
            Placement::Internal => (usable.saturating_sub(needed), None, usable),
            Placement::External { meta_bytes } if whole(meta_bytes) < needed => {
                return Err(LayoutError::MetaTooSmall { found: meta_bytes, needed });
            }
            Placement::External { meta_bytes } => (usable, Some(ANCHOR_BYTES), whole(meta_bytes)),
        };
        if data_bytes == 0 {
            let metadata = if first_bitmap.is_some() { 0 } else { needed };
            let needed = metadata + META_BLOCK;
            return Err(LayoutError::DeviceTooSmall { found: device_bytes, needed });
        }
        let superblocks = anchored(placement, meta_end);
        let first_bitmap = first_bitmap.unwrap_or(data_bytes);
        let bitmap = |slot: u8| BitmapArea {
            slot: SlotIndex(slot),
            offset: first_bitmap + bitmap_bytes * u64::from(slot),
            index_blocks,
            pages,
        };
        Ok(Self {
            placement,
            device_bytes,
            data_bytes,
            superblocks,
            activity_log: Area { offset: superblocks[0] + META_BLOCK, len: AL_BYTES },
            bitmaps: (0..max_peers).map(bitmap).collect(),
            other: Vec::new(),
        })
    }

    /// The layout that a superblock describes, checked against the backing disk and the device that
    /// holds the metadata as they are.
    ///
    /// External metadata and their data may have grown since; internal metadata may not have.
    ///
    /// # Errors
    /// Where anything in the superblock is out of place.
    pub fn from_superblock(
        superblock: &Superblock,
        device_bytes: u64,
        placement: Placement,
    ) -> Result<Self, LayoutError> {
        check_limits(device_bytes, placement, superblock.max_peers)?;
        let meta = check_sizes(superblock, device_bytes, placement)?;
        let superblocks = anchored(superblock.placement, meta.offset + meta.len);
        let bitmap_pages = page_count(superblock.data_bytes);
        let mut activity_log = None;
        let mut bitmaps = vec![None; usize::from(superblock.max_peers)];
        let mut other = Vec::new();
        for region in &superblock.regions {
            check_place(region.area, meta)?;
            let old = match region.kind {
                RegionKind::ActivityLog => {
                    !Ring::fits(region.area) || activity_log.replace(region.area).is_some()
                }
                RegionKind::Bitmap { slot, index_blocks } => {
                    let area = BitmapArea::from_region(slot, index_blocks, region.area);
                    let area = area.filter(|area| u64::from(area.pages) >= bitmap_pages);
                    match (bitmaps.get_mut(slot.index()), area) {
                        (Some(place), Some(area)) => place.replace(area).is_some(),
                        _ => true,
                    }
                }
                RegionKind::Other { .. } => {
                    other.push(*region);
                    false
                }
            };
            if old {
                return Err(LayoutError::RegionUnfit { what: region.kind.name() });
            }
        }
        check_overlaps(superblock, superblocks)?;
        let what = RegionKind::ActivityLog.name();
        let activity_log = activity_log.ok_or(LayoutError::RegionUnfit { what })?;
        let bitmaps: Option<Vec<_>> = bitmaps.into_iter().collect();
        let bitmaps = bitmaps.ok_or(LayoutError::RegionUnfit { what: "a bitmap" })?;
        let (placement, data_bytes) = (superblock.placement, superblock.data_bytes);
        let device_bytes = superblock.device_bytes;
        Ok(Self { placement, device_bytes, data_bytes, superblocks, activity_log, bitmaps, other })
    }

    /// Which device holds the metadata.
    pub fn placement(&self) -> Placement {
        self.placement
    }

    /// Size of the backing disk in bytes when the metadata were made.
    pub fn device_bytes(&self) -> u64 {
        self.device_bytes
    }

    /// Bytes that the volume can have, a multiple of 4096; they start at byte 0 of the backing
    /// disk.
    pub fn data_bytes(&self) -> u64 {
        self.data_bytes
    }

    /// How many peers there is room for.
    pub fn max_peers(&self) -> u8 {
        u8::try_from(self.bitmaps.len()).expect("at most 31")
    }

    /// Where a copy of the superblock lies.
    pub fn superblock_offset(&self, copy: CopyIndex) -> u64 {
        self.superblocks[copy as usize]
    }

    /// Where the ring of the activity log lies.
    pub fn activity_log(&self) -> Area {
        self.activity_log
    }

    /// Where the bitmap of a slot lies; `None` where there is no such slot.
    pub fn bitmap(&self, slot: SlotIndex) -> Option<BitmapArea> {
        self.bitmaps.get(slot.index()).copied()
    }

    /// Everything that is metadata, for zeroing before it is made.
    pub fn metadata(&self) -> Area {
        match self.placement {
            Placement::Internal => {
                let len = whole(self.device_bytes) - self.data_bytes;
                Area { offset: self.data_bytes, len }
            }
            Placement::External { .. } => {
                let bitmaps = self.bitmaps.iter().map(|bitmap| bitmap.area());
                let ends = bitmaps.filter_map(Area::checked_end);
                Area { offset: 0, len: ends.max().unwrap_or(ANCHOR_BYTES).max(ANCHOR_BYTES) }
            }
        }
    }

    /// The superblock's table of regions.
    pub fn regions(&self) -> Vec<Region> {
        let log = Region { kind: RegionKind::ActivityLog, area: self.activity_log };
        let bitmaps = self.bitmaps.iter().map(Region::of_bitmap);
        std::iter::once(log).chain(bitmaps).chain(self.other.iter().copied()).collect()
    }
}

/// Where the copies of the superblock lie if there are any, for a backing disk of `device_bytes`;
/// `None` where the device is too small for them.
pub fn superblock_offsets(device_bytes: u64, placement: Placement) -> Option<[u64; 2]> {
    let end = match placement {
        Placement::Internal => whole(device_bytes),
        Placement::External { meta_bytes } => whole(meta_bytes),
    };
    (end >= ANCHOR_BYTES).then(|| anchored(placement, end))
}

fn anchored(placement: Placement, meta_end: u64) -> [u64; 2] {
    let anchor = match placement {
        Placement::Internal => meta_end - ANCHOR_BYTES,
        Placement::External { .. } => 0,
    };
    [anchor, anchor + ANCHOR_BYTES - META_BLOCK]
}

fn whole(bytes: u64) -> u64 {
    bytes / META_BLOCK * META_BLOCK
}

fn fits_u32(count: u64) -> u32 {
    u32::try_from(count).expect("a device of 1 PiB has 2^23 pages")
}

fn check_limits(device_bytes: u64, placement: Placement, max_peers: u8) -> Result<(), LayoutError> {
    if !(1..=PEERS_MAX).contains(&max_peers) {
        return Err(LayoutError::MaxPeers(max_peers));
    }
    let largest = match placement {
        Placement::Internal => device_bytes,
        Placement::External { meta_bytes } => device_bytes.max(meta_bytes),
    };
    if largest > DEVICE_BYTES_MAX {
        return Err(LayoutError::DeviceTooLarge(largest));
    }
    Ok(())
}

/// Compares the sizes a superblock tells with those found; returns where metadata may lie.
fn check_sizes(
    superblock: &Superblock,
    device_bytes: u64,
    placement: Placement,
) -> Result<Area, LayoutError> {
    let data = superblock.data_bytes;
    let agreed = superblock.effective_bytes;
    let recorded = superblock.device_bytes;
    if data == 0 || !data.is_multiple_of(META_BLOCK) || agreed > data || recorded < data {
        return Err(LayoutError::DataSize(data));
    }
    for size in [agreed, superblock.former_bytes] {
        if !size.is_multiple_of(META_BLOCK) {
            return Err(LayoutError::AgreedSize(size));
        }
    }
    match (superblock.placement, placement) {
        (Placement::Internal, Placement::Internal) => {
            if whole(recorded) != whole(device_bytes) {
                return Err(LayoutError::SizeChanged { found: device_bytes, recorded });
            }
            let end = whole(device_bytes);
            if end.checked_sub(data).is_none_or(|rest| rest < ANCHOR_BYTES) {
                return Err(LayoutError::DataSize(data));
            }
            Ok(Area { offset: data, len: end - data })
        }
        (Placement::External { meta_bytes: recorded }, Placement::External { meta_bytes }) => {
            if whole(device_bytes) < data {
                return Err(LayoutError::DeviceTooSmall { found: device_bytes, needed: data });
            }
            let needed = whole(recorded).max(ANCHOR_BYTES);
            if whole(meta_bytes) < needed {
                return Err(LayoutError::MetaTooSmall { found: meta_bytes, needed });
            }
            Ok(Area { offset: 0, len: needed })
        }
        (Placement::Internal, Placement::External { .. })
        | (Placement::External { .. }, Placement::Internal) => Err(LayoutError::OtherPlacement),
    }
}

fn check_place(area: Area, meta: Area) -> Result<(), LayoutError> {
    let meta_end = meta.offset + meta.len;
    let inside = area.checked_end().is_some_and(|end| end <= meta_end);
    if area.is_whole() && meta.offset <= area.offset && inside {
        return Ok(());
    }
    Err(LayoutError::RegionMisplaced { offset: area.offset, len: area.len })
}

/// Regions were checked for their place before.
fn check_overlaps(superblock: &Superblock, superblocks: [u64; 2]) -> Result<(), LayoutError> {
    let copies = superblocks.map(|offset| Area { offset, len: META_BLOCK });
    let mut areas: Vec<_> = superblock.regions.iter().map(|region| region.area).collect();
    areas.extend(copies);
    areas.sort_unstable();
    for pair in areas.windows(2) {
        if pair[0].checked_end().is_none_or(|end| end > pair[1].offset) {
            return Err(LayoutError::RegionOverlaps { offset: pair[1].offset });
        }
    }
    Ok(())
}

impl RegionKind {
    fn name(self) -> &'static str {
        match self {
            Self::ActivityLog => "the activity log",
            Self::Bitmap { .. } => "a bitmap",
            Self::Other { .. } => "another feature",
        }
    }
}
