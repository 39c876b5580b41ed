//! The layout of metadata whose disk has grown, or whose own device has.
//!
//! What is written for it must not lie on what counts until it does: internal metadata go to the
//! new end, all of them behind what the disk was; of external ones only bitmaps that are too short
//! move, to a free place. The ring of the activity log keeps its length, so that a transaction's
//! number still says its place in it.

use super::{
    AL_BYTES, ANCHOR_BYTES, Area, BitmapArea, INDEX_ENTRIES, Layout, LayoutError, META_BLOCK,
    Placement, RegionKind, check_limits, fits_u32, page_count, whole,
};
use crate::bitmap::{BLOCK_BYTES, PAGE_BLOCKS};

impl Layout {
    /// The layout for the devices as they are now; `None` where nothing can be larger than before.
    ///
    /// # Errors
    /// Where they have grown and it is of no use.
    pub fn grown(
        &self,
        device_bytes: u64,
        placement: Placement,
    ) -> Result<Option<Self>, LayoutError> {
        if whole(device_bytes) <= whole(self.device_bytes) && self.data_bytes == whole(device_bytes)
        {
            return Ok(None);
        }
        check_limits(device_bytes, placement, self.max_peers())?;
        let grown = match (self.placement, placement) {
            (Placement::Internal, Placement::Internal) => self.moved_to_end(device_bytes)?,
            (Placement::External { .. }, Placement::External { meta_bytes }) => {
                self.with_room(device_bytes, meta_bytes)?
            }
            (Placement::Internal, Placement::External { .. })
            | (Placement::External { .. }, Placement::Internal) => {
                return Err(LayoutError::OtherPlacement);
            }
        };
        Ok(grown.filter(|grown| grown.data_bytes > self.data_bytes))
    }

    fn moved_to_end(&self, device_bytes: u64) -> Result<Option<Self>, LayoutError> {
        let (found, recorded) = (whole(device_bytes), whole(self.device_bytes));
        if found <= recorded {
            return Ok(None);
        }
        if !self.other.is_empty() {
            return Err(LayoutError::RegionUnfit { what: "another feature" });
        }
        let mut grown = Self::new(device_bytes, Placement::Internal, self.max_peers())?;
        if grown.data_bytes < recorded {
            let needed = recorded + (found - grown.data_bytes);
            return Err(LayoutError::GrownTooLittle { found, recorded, needed });
        }
        if self.activity_log.len > AL_BYTES {
            return Err(LayoutError::RegionUnfit { what: RegionKind::ActivityLog.name() });
        }
        grown.activity_log.len = self.activity_log.len;
        Ok(Some(grown))
    }

    fn with_room(&self, device_bytes: u64, meta_bytes: u64) -> Result<Option<Self>, LayoutError> {
        let mut grown = self.clone();
        grown.device_bytes = device_bytes;
        grown.data_bytes = whole(device_bytes);
        grown.placement = Placement::External { meta_bytes };
        let pages = page_count(grown.data_bytes);
        let room = self.bitmaps.iter().map(|bitmap| u64::from(bitmap.pages)).min();
        let room = room.expect("there is a slot for one peer at least");
        if room >= pages {
            return Ok(Some(grown));
        }
        let index_blocks = pages.div_ceil(INDEX_ENTRIES);
        let each = (pages + index_blocks) * META_BLOCK;
        let len = each * u64::from(self.max_peers());
        if let Some(offset) = self.free_place(len, whole(meta_bytes)) {
            for (bitmap, index) in grown.bitmaps.iter_mut().zip(0..) {
                *bitmap = BitmapArea {
                    slot: bitmap.slot,
                    offset: offset + each * index,
                    index_blocks: fits_u32(index_blocks),
                    pages: fits_u32(pages),
                };
            }
            return Ok(Some(grown));
        }
        grown.data_bytes = room * PAGE_BLOCKS * BLOCK_BYTES;
        if grown.data_bytes > self.data_bytes {
            return Ok(Some(grown));
        }
        let needed = self.used_end() + len;
        Err(LayoutError::MetaTooSmall { found: meta_bytes, needed })
    }

    /// Where `len` bytes are free on a device of `meta_bytes` of its own.
    fn free_place(&self, len: u64, meta_bytes: u64) -> Option<u64> {
        let mut used: Vec<Area> = self.regions().into_iter().map(|region| region.area).collect();
        used.push(Area { offset: 0, len: ANCHOR_BYTES });
        let end = |area: &Area| area.offset + area.len;
        let fits = |offset: u64| {
            offset.checked_add(len).is_some_and(|behind| {
                behind <= meta_bytes
                    && used.iter().all(|area| end(area) <= offset || behind <= area.offset)
            })
        };
        used.iter().map(end).filter(|offset| fits(*offset)).min()
    }

    fn used_end(&self) -> u64 {
        let ends = self.regions().into_iter().map(|region| region.area.offset + region.area.len);
        ends.max().unwrap_or(ANCHOR_BYTES).max(ANCHOR_BYTES)
    }

    /// What a move from `self` leaves behind on the backing disk: it becomes data.
    pub fn left_behind(&self) -> Option<Area> {
        match self.placement {
            Placement::Internal => Some(self.metadata()),
            Placement::External { .. } => None,
        }
    }
}
