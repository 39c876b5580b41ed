//! The bitmap of one peer on disk: index blocks that say of each page whether it is all clear, all
//! set or mixed, and the pages themselves, of which only mixed ones are read and written.
//!
//! Contract: reading never yields less than was written. A page whose checksum does not match, an
//! index block that is not valid, and whatever could not be read count as all set. Checksums cover
//! the device's UUID, the slot and the number beside the bytes, so that a block of another place or
//! of an earlier making is no valid one.
//!
//! Order on disk: a page and its index block may be issued together, a crash between them reads as
//! all set. Bits count as stored when both are durable. No two writes of one index block may be in
//! flight.

use std::collections::BTreeMap;

use crate::bitmap::{Bitmap, DEVICE_BYTES_MAX, PAGE_BYTES, PageImage, PageIndex, page_count};

use super::fields::{index_block as field, index_entry};
use super::{Area, DeviceUuid, META_BLOCK, META_BLOCK_BYTES, MetaWrite, SlotIndex};

/// Pages that an index block has entries for.
pub const INDEX_ENTRIES: u64 = 510;

/// Longest range that is read at once: as much as a resync moves.
pub const READ_BYTES_MAX: u64 = 1 << 20;

const MAGIC: [u8; 2] = *b"TX";
const STATE_CLEAR: u8 = 0;
const STATE_SET: u8 = 1;
const STATE_MIXED: u8 = 2;

/// Where the bitmap of a slot lies: its index, and behind it its pages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BitmapArea {
    /// Whose it is.
    pub slot: SlotIndex,
    /// First byte.
    pub offset: u64,
    /// How many blocks the index has.
    pub index_blocks: u32,
    /// How many pages there is room for.
    pub pages: u32,
}

impl BitmapArea {
    /// `None` where an area of this length cannot be divided so.
    pub(super) fn from_region(slot: SlotIndex, index_blocks: u32, area: Area) -> Option<Self> {
        let pages = (area.len / META_BLOCK).checked_sub(u64::from(index_blocks))?;
        let has_entries = u64::from(index_blocks) * INDEX_ENTRIES >= pages;
        if pages == 0 || pages > page_count(DEVICE_BYTES_MAX) || !has_entries {
            return None;
        }
        let pages = u32::try_from(pages).ok()?;
        Some(Self { slot, offset: area.offset, index_blocks, pages })
    }

    /// All of it.
    pub fn area(&self) -> Area {
        let blocks = u64::from(self.index_blocks) + u64::from(self.pages);
        Area { offset: self.offset, len: blocks * META_BLOCK }
    }

    fn index(&self) -> Area {
        Area { offset: self.offset, len: u64::from(self.index_blocks) * META_BLOCK }
    }

    fn page_offset(&self, page: u32) -> u64 {
        self.offset + (u64::from(self.index_blocks) + u64::from(page)) * META_BLOCK
    }
}

/// What the index on disk says of a page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Entry {
    Clear,
    Set,
    Mixed { crc: u32 },
}

/// The index of one peer's bitmap, as it is on disk.
#[derive(Clone, Debug)]
pub struct BitmapIndex {
    device: DeviceUuid,
    area: BitmapArea,
    /// By page.
    entries: Vec<Entry>,
}

impl BitmapIndex {
    /// The index of metadata that were just made: no bit is set.
    pub fn all_clear(device: DeviceUuid, area: BitmapArea) -> Self {
        Self { device, area, entries: vec![Entry::Clear; area.pages as usize] }
    }

    /// The index of metadata that exist; all counts as set until it was loaded.
    pub fn unread(device: DeviceUuid, area: BitmapArea) -> Self {
        Self { device, area, entries: vec![Entry::Set; area.pages as usize] }
    }

    /// Takes what was read of an area that [`Self::plan_index_read`] named, `None` where reading
    /// failed, and adds the pages that are all set to `bitmap`. Returns how many index blocks count
    /// as all set for being damaged. All that is set is marked unsaved: what is read may be in the
    /// cache of a disk whose write was never finished, and gone with the power.
    ///
    /// # Panics
    /// Where the area is none of those planned, or the bytes are not as many.
    pub fn load_index(&mut self, read: Area, bytes: Option<&[u8]>, bitmap: &mut Bitmap) -> u32 {
        let first = self.block_number(self.area.offset, read);
        let mut damaged = 0;
        for (number, bytes) in blocks(first, read, bytes) {
            let entries = bytes.and_then(|bytes| self.decode_index_block(number, bytes));
            damaged += u32::from(entries.is_none());
            for page in self.pages_of(number) {
                let entry = entries.as_ref().and_then(|of| of[(page % PER_BLOCK) as usize]);
                self.entries[page as usize] = entry.unwrap_or(Entry::Set);
                if self.entries[page as usize] == Entry::Set && page < bitmap.page_count() {
                    bitmap.load_page(PageIndex(page), &PageImage::AllSet);
                    bitmap.mark_unsaved(PageIndex(page));
                }
            }
        }
        damaged
    }

    /// Takes what was read of an area that [`Self::plan_page_reads`] named, `None` where reading
    /// failed, and adds it to `bitmap`. Returns how many pages count as all set for being damaged.
    /// They are marked unsaved, all of them, as by [`Self::load_index`].
    ///
    /// # Panics
    /// As [`Self::load_index`].
    pub fn load_pages(&mut self, read: Area, bytes: Option<&[u8]>, bitmap: &mut Bitmap) -> u32 {
        let first = self.block_number(self.area.page_offset(0), read);
        let mut damaged = 0;
        for (page, bytes) in blocks(first, read, bytes) {
            let entry = &mut self.entries[page as usize];
            let Entry::Mixed { crc } = *entry else {
                continue;
            };
            let whole = bytes.filter(|bytes| checksum(self.device, self.area, page, *bytes) == crc);
            let image = match whole {
                Some(bytes) => PageImage::Mixed(Box::new(*bytes)),
                None => {
                    damaged += 1;
                    *entry = Entry::Set;
                    PageImage::AllSet
                }
            };
            bitmap.load_page(PageIndex(page), &image);
            bitmap.mark_unsaved(PageIndex(page));
        }
        damaged
    }

    /// The writes that store these pages: mixed ones, and each index block with one of them, once.
    ///
    /// # Panics
    /// Where there is no room for a page: the bitmap is larger than its device.
    pub fn plan_write(&mut self, pages: &[(PageIndex, PageImage)]) -> Vec<MetaWrite> {
        let mut writes = BTreeMap::new();
        for (index, image) in pages {
            assert!(index.0 < self.area.pages, "page {} of {}", index.0, self.area.pages);
            self.entries[index.0 as usize] = match image {
                PageImage::AllClear => Entry::Clear,
                PageImage::AllSet => Entry::Set,
                PageImage::Mixed(bytes) => {
                    writes.insert(self.area.page_offset(index.0), bytes.to_vec());
                    Entry::Mixed {
                        crc: checksum(self.device, self.area, index.0, bytes.as_slice()),
                    }
                }
            };
        }
        for (index, _) in pages {
            let number = index.0 / PER_BLOCK;
            let offset = self.area.offset + u64::from(number) * META_BLOCK;
            writes.entry(offset).or_insert_with(|| self.encode_index_block(number).to_vec());
        }
        writes.into_iter().map(|(offset, bytes)| MetaWrite { offset, bytes }).collect()
    }

    /// The writes that store the whole index.
    pub fn plan_write_index(&self) -> Vec<MetaWrite> {
        let write = |number| MetaWrite {
            offset: self.area.offset + u64::from(number) * META_BLOCK,
            bytes: self.encode_index_block(number).to_vec(),
        };
        (0..self.area.index_blocks).map(write).collect()
    }

    /// What to read first: the index, in ranges of at most [`READ_BYTES_MAX`].
    pub fn plan_index_read(&self) -> Vec<Area> {
        let mut reads = Vec::new();
        push_ranges(&mut reads, self.area.index());
        reads
    }

    /// What to read when all of the index was loaded: the mixed pages of `bitmap`, neighbours
    /// together, in ranges of at most [`READ_BYTES_MAX`].
    pub fn plan_page_reads(&self, bitmap: &Bitmap) -> Vec<Area> {
        let mut reads = Vec::new();
        let mut run: Option<Area> = None;
        for page in 0..bitmap.page_count().min(self.area.pages) {
            let mixed = matches!(self.entries[page as usize], Entry::Mixed { .. });
            match (&mut run, mixed) {
                (Some(run), true) => run.len += META_BLOCK,
                (None, true) => {
                    run = Some(Area { offset: self.area.page_offset(page), len: META_BLOCK });
                }
                (Some(_) | None, false) => {
                    run.take().into_iter().for_each(|run| push_ranges(&mut reads, run));
                }
            }
        }
        run.into_iter().for_each(|run| push_ranges(&mut reads, run));
        reads
    }

    /// Number of the block that a read starts with, counted from `base`.
    fn block_number(&self, base: u64, read: Area) -> u32 {
        let all = self.area.area();
        assert!(read.is_whole() && base <= read.offset, "no area that was planned");
        assert!(read.offset + read.len <= all.offset + all.len, "no area that was planned");
        u32::try_from((read.offset - base) / META_BLOCK).expect("at most 2^23 pages")
    }

    fn pages_of(&self, number: u32) -> std::ops::Range<u32> {
        let end = (u64::from(number) + 1) * INDEX_ENTRIES;
        let end = u32::try_from(end.min(u64::from(self.area.pages))).expect("a number of pages");
        (number * PER_BLOCK).min(end)..end
    }

    fn encode_index_block(&self, number: u32) -> [u8; META_BLOCK_BYTES] {
        let mut block = [0; META_BLOCK_BYTES];
        field::MAGIC.put(&mut block, MAGIC);
        field::SLOT.put(&mut block, u16::from(self.area.slot.0).to_le_bytes());
        field::NUMBER.put(&mut block, number.to_le_bytes());
        for (index, page) in self.pages_of(number).enumerate() {
            let entry = field::ENTRIES.entry_mut(&mut block, index, index_entry::BYTES);
            let (state, crc) = match self.entries[page as usize] {
                Entry::Clear => (STATE_CLEAR, 0),
                Entry::Set => (STATE_SET, 0),
                Entry::Mixed { crc } => (STATE_MIXED, crc),
            };
            index_entry::STATE.put(entry, [state]);
            index_entry::PAGE_CRC.put(entry, crc.to_le_bytes());
        }
        let crc = checksum(self.device, self.area, number, &block[field::CRC.len..]);
        field::CRC.put(&mut block, crc.to_le_bytes());
        block
    }

    /// The entries of a block, `None` for one that says nothing known; `None` where the block is
    /// not the one that belongs here.
    fn decode_index_block(
        &self,
        number: u32,
        block: &[u8; META_BLOCK_BYTES],
    ) -> Option<Vec<Option<Entry>>> {
        let crc = checksum(self.device, self.area, number, &block[field::CRC.len..]);
        let valid = field::CRC.u32(block) == crc
            && field::MAGIC.array(block) == MAGIC
            && field::SLOT.u16(block) == u16::from(self.area.slot.0)
            && field::NUMBER.u32(block) == number;
        let entry = |index| {
            let entry = field::ENTRIES.entry(block, index, index_entry::BYTES);
            match index_entry::STATE.u8(entry) {
                STATE_CLEAR => Some(Entry::Clear),
                STATE_SET => Some(Entry::Set),
                STATE_MIXED => Some(Entry::Mixed { crc: index_entry::PAGE_CRC.u32(entry) }),
                _ => None,
            }
        };
        valid.then(|| (0..PER_BLOCK as usize).map(entry).collect())
    }
}

/// [`INDEX_ENTRIES`] where pages are numbered.
const PER_BLOCK: u32 = 510;

/// Over where the bytes belong, and the bytes.
fn checksum(device: DeviceUuid, area: BitmapArea, number: u32, bytes: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&device.0);
    hasher.update(&u16::from(area.slot.0).to_le_bytes());
    hasher.update(&number.to_le_bytes());
    hasher.update(bytes);
    hasher.finalize()
}

type Block = [u8; PAGE_BYTES];

/// The blocks of a read with their numbers.
fn blocks(
    first: u32,
    read: Area,
    bytes: Option<&[u8]>,
) -> impl Iterator<Item = (u32, Option<&Block>)> {
    let count = u32::try_from(read.len / META_BLOCK).expect("reads are at most 1 MiB");
    let blocks = bytes.map(|bytes| bytes.as_chunks::<PAGE_BYTES>());
    if let Some((blocks, rest)) = blocks {
        assert!(blocks.len() == count as usize && rest.is_empty(), "not the bytes of the area");
    }
    (0..count).map(move |index| (first + index, blocks.map(|(blocks, _)| &blocks[index as usize])))
}

fn push_ranges(reads: &mut Vec<Area>, area: Area) {
    let end = area.offset + area.len;
    let mut offset = area.offset;
    while offset < end {
        let len = (end - offset).min(READ_BYTES_MAX);
        reads.push(Area { offset, len });
        offset += len;
    }
}
