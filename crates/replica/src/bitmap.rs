//! The record of difference towards one peer: one bit per block of 4 KiB, set while it may differ.
//!
//! Two levels: a page of 32768 bits stands for 128 MiB of device and is all clear, all set or
//! mixed; only a mixed one owns memory for its bits, so that 16 TiB in sync, or all out of sync,
//! cost 2 MiB.
//!
//! Contract: the map never says less than was recorded. Setting rounds outwards, clearing inwards
//! (SEMANTICS rule 5), merging and loading only add. Ranges are bytes of the device; what reaches
//! beyond its end has no blocks and is ignored.
//!
//! A page that changed carries an *unsaved* mark until it is taken to be written to disk. Whoever
//! takes it owns the write: one that fails is marked again, and two writes of a page are never in
//! flight.

use std::fmt;
use std::ops::Range;

mod chunk;
mod marks;
mod page;
#[cfg(test)]
mod tests;

pub use chunk::{BitmapDecodeError, CHUNK_BYTES_MIN, MergedChunk};
pub use page::PageImage;

use marks::PageMarks;
use page::Page;

/// Bytes of device that one bit stands for.
pub const BLOCK_BYTES: u64 = 4096;

/// Bits of a page: 128 MiB of device.
pub const PAGE_BLOCKS: u64 = 32768;

/// Bytes that the bits of a page take.
pub const PAGE_BYTES: usize = 4096;

/// Largest device: 1 PiB, whose map in memory is 128 MiB while nothing is mixed.
pub const DEVICE_BYTES_MAX: u64 = 1 << 50;

/// Number of a page in its bitmap.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PageIndex(pub u32);

impl PageIndex {
    /// The page that the bit of `block` lies in.
    ///
    /// # Panics
    /// Where `block` lies beyond [`DEVICE_BYTES_MAX`].
    pub fn of_block(block: u64) -> Self {
        Self(u32::try_from(block / PAGE_BLOCKS).expect("devices are at most 1 PiB"))
    }

    /// First block of the page.
    pub fn first_block(self) -> u64 {
        u64::from(self.0) * PAGE_BLOCKS
    }

    fn slot(self) -> usize {
        self.0 as usize
    }
}

/// Pages that the bitmap of a device of `device_bytes` has.
pub fn page_count(device_bytes: u64) -> u64 {
    device_bytes.div_ceil(BLOCK_BYTES * PAGE_BLOCKS)
}

/// Which blocks of a device differ from those of one peer.
#[derive(Clone)]
pub struct Bitmap {
    device_bytes: u64,
    blocks: u64,
    set_count: u64,
    pages: Vec<Page>,
    unsaved: PageMarks,
}

impl Bitmap {
    /// A map of a device of `device_bytes` with no bit set and no page unsaved.
    ///
    /// # Panics
    /// Where `device_bytes` is above [`DEVICE_BYTES_MAX`].
    pub fn new(device_bytes: u64) -> Self {
        assert!(device_bytes <= DEVICE_BYTES_MAX, "a device of {device_bytes} bytes is too large");
        let pages = usize::try_from(page_count(device_bytes)).expect("at most 2^23 pages");
        Self {
            device_bytes,
            blocks: device_bytes.div_ceil(BLOCK_BYTES),
            set_count: 0,
            pages: vec![Page::AllClear; pages],
            unsaved: PageMarks::new(pages),
        }
    }

    /// Sets every block that the bytes touch; returns how many bits changed.
    pub fn set(&mut self, offset: u64, len: u64) -> u64 {
        self.set_blocks(self.blocks_touched(offset, len))
    }

    /// Clears every block that lies wholly in the bytes; returns how many bits changed. The last
    /// block of the device is whole when the range reaches the device's end.
    pub fn clear(&mut self, offset: u64, len: u64) -> u64 {
        let mut changed = 0;
        for (page, bits) in spans(self.blocks_inside(offset, len)) {
            let limit = self.page_limit(page);
            let cleared = self.pages[page.slot()].clear(bits, limit);
            if cleared > 0 {
                self.unsaved.mark(page);
            }
            changed += u64::from(cleared);
        }
        assert!(changed <= self.set_count, "more bits cleared than were set");
        self.set_count -= changed;
        changed
    }

    /// Sets every bit; returns how many changed.
    pub fn set_all(&mut self) -> u64 {
        self.set_blocks(0..self.blocks)
    }

    /// Clears every bit; returns how many changed.
    pub fn clear_all(&mut self) -> u64 {
        self.clear(0, self.device_bytes)
    }

    /// Sets what is set in `other`, the map of a device of the same size; returns how many bits
    /// changed.
    ///
    /// # Panics
    /// Where the sizes differ.
    pub fn union(&mut self, other: &Self) -> u64 {
        assert_eq!(self.device_bytes, other.device_bytes, "maps of devices of different sizes");
        let mut changed = 0;
        for index in (0..self.page_count()).map(PageIndex) {
            let limit = self.page_limit(index);
            let set = self.pages[index.slot()].union(&other.pages[index.slot()], limit);
            if set > 0 {
                self.unsaved.mark(index);
            }
            changed += u64::from(set);
        }
        self.set_count += changed;
        changed
    }

    /// Follows the device to its new size. What it grew by is set: nobody has compared it.
    ///
    /// # Panics
    /// Where `device_bytes` is above [`DEVICE_BYTES_MAX`].
    pub fn resize(&mut self, device_bytes: u64) {
        let mut resized = Self::new(device_bytes);
        for (index, bits) in spans(0..self.blocks.min(resized.blocks)) {
            let old_limit = self.page_limit(index);
            let limit = resized.page_limit(index);
            let mut page = std::mem::replace(&mut self.pages[index.slot()], Page::AllClear);
            page.relimit(bits.end, old_limit, limit);
            resized.set_count += u64::from(page.count(limit));
            resized.pages[index.slot()] = page;
            if self.unsaved.is_marked(index) {
                resized.unsaved.mark(index);
            }
        }
        // Rounded outwards: a block that was partial has grown too.
        resized.set(self.device_bytes, device_bytes.saturating_sub(self.device_bytes));
        *self = resized;
    }

    /// Adds what the disk holds for a page, at attach. Leaves the page's mark alone unless the map
    /// then says more than the disk does.
    ///
    /// # Panics
    /// Where the map has no such page.
    pub fn load_page(&mut self, index: PageIndex, image: &PageImage) {
        let limit = self.page_limit(index);
        let loaded = Page::from_image(image, limit);
        let page = &mut self.pages[index.slot()];
        self.set_count += u64::from(page.union(&loaded, limit));
        if *page != loaded {
            self.unsaved.mark(index);
        }
    }

    /// Takes the next page that has changed since it was last taken, to be written to disk.
    pub fn take_unsaved_page(&mut self) -> Option<(PageIndex, PageImage)> {
        let index = self.unsaved.take_next()?;
        Some((index, self.page_image(index)))
    }

    /// Takes this page if it has changed since it was last taken.
    pub fn take_if_unsaved(&mut self, index: PageIndex) -> Option<PageImage> {
        self.unsaved.take(index).then(|| self.page_image(index))
    }

    /// Says that what the disk holds for a page is not what the map says: its write failed, or what
    /// was read was damaged.
    pub fn mark_unsaved(&mut self, index: PageIndex) {
        self.unsaved.mark(index);
    }

    /// Whether a page has changed since it was last taken.
    pub fn is_unsaved(&self, index: PageIndex) -> bool {
        self.unsaved.is_marked(index)
    }

    /// How many pages have changed since they were last taken.
    pub fn unsaved_count(&self) -> u32 {
        self.unsaved.count()
    }

    /// What is to be written for a page.
    ///
    /// # Panics
    /// Where the map has no such page.
    pub fn page_image(&self, index: PageIndex) -> PageImage {
        self.pages[index.slot()].image()
    }

    /// Whether any block that the bytes touch is set.
    pub fn any(&self, offset: u64, len: u64) -> bool {
        let mut spans = spans(self.blocks_touched(offset, len));
        spans.any(|(page, bits)| self.pages[page.slot()].any(bits))
    }

    /// The next run of set bits at or behind `from_block`, cut to `max_blocks`.
    pub fn next_run(&self, from_block: u64, max_blocks: u64) -> Option<Range<u64>> {
        if self.set_count == 0 || max_blocks == 0 {
            return None;
        }
        let start = self.next_set(from_block)?;
        let limit = start.saturating_add(max_blocks).min(self.blocks);
        Some(start..self.next_clear(start, limit))
    }

    /// All runs of set bits, ascending.
    pub fn runs(&self) -> impl Iterator<Item = Range<u64>> {
        let mut from = 0;
        std::iter::from_fn(move || {
            let run = self.next_run(from, u64::MAX)?;
            from = run.end;
            Some(run)
        })
    }

    /// How many bits are set.
    pub fn count(&self) -> u64 {
        self.set_count
    }

    /// Whether no bit is set.
    pub fn is_empty(&self) -> bool {
        self.set_count == 0
    }

    /// Size of the device in bytes.
    pub fn device_bytes(&self) -> u64 {
        self.device_bytes
    }

    /// How many blocks the device has; the last may be partial.
    pub fn blocks(&self) -> u64 {
        self.blocks
    }

    /// How many pages the map has.
    pub fn page_count(&self) -> u32 {
        u32::try_from(self.pages.len()).expect("at most 2^23 pages")
    }

    fn set_blocks(&mut self, blocks: Range<u64>) -> u64 {
        let mut changed = 0;
        for (page, bits) in spans(blocks) {
            let limit = self.page_limit(page);
            let set = self.pages[page.slot()].set(bits, limit);
            if set > 0 {
                self.unsaved.mark(page);
            }
            changed += u64::from(set);
        }
        self.set_count += changed;
        assert!(self.set_count <= self.blocks, "more bits set than there are");
        changed
    }

    fn next_set(&self, from_block: u64) -> Option<u64> {
        for (index, bits) in spans(from_block.min(self.blocks)..self.blocks) {
            if let Some(bit) = self.pages[index.slot()].next_set(bits.start) {
                return Some(index.first_block() + u64::from(bit));
            }
        }
        None
    }

    fn next_clear(&self, from_block: u64, limit: u64) -> u64 {
        for (index, bits) in spans(from_block..limit) {
            if let Some(bit) = self.pages[index.slot()].next_clear(bits) {
                return index.first_block() + u64::from(bit);
            }
        }
        limit
    }

    fn blocks_touched(&self, offset: u64, len: u64) -> Range<u64> {
        let end = offset.saturating_add(len).min(self.device_bytes);
        if offset >= end {
            return 0..0;
        }
        offset / BLOCK_BYTES..end.div_ceil(BLOCK_BYTES)
    }

    fn blocks_inside(&self, offset: u64, len: u64) -> Range<u64> {
        let end = offset.saturating_add(len).min(self.device_bytes);
        let end_block = if end == self.device_bytes { self.blocks } else { end / BLOCK_BYTES };
        let first = offset.div_ceil(BLOCK_BYTES);
        if first >= end_block { 0..0 } else { first..end_block }
    }

    /// How many bits of a page stand for blocks of the device.
    fn page_limit(&self, index: PageIndex) -> u32 {
        let rest = self.blocks.checked_sub(index.first_block()).expect("a page of this map");
        u32::try_from(rest.min(PAGE_BLOCKS)).expect("at most 32768")
    }
}

impl fmt::Debug for Bitmap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Bitmap")
            .field("device_bytes", &self.device_bytes)
            .field("set_count", &self.set_count)
            .field("unsaved_pages", &self.unsaved.count())
            .finish_non_exhaustive()
    }
}

/// Cuts a run of blocks at the borders of pages.
fn spans(blocks: Range<u64>) -> impl Iterator<Item = (PageIndex, Range<u32>)> {
    let mut start = blocks.start;
    std::iter::from_fn(move || {
        if start >= blocks.end {
            return None;
        }
        let page = PageIndex::of_block(start);
        let end = blocks.end.min(page.first_block() + PAGE_BLOCKS);
        let bit = |block: u64| {
            u32::try_from(block - page.first_block()).expect("a page has 32768 blocks")
        };
        let bits = bit(start)..bit(end);
        start = end;
        Some((page, bits))
    })
}
