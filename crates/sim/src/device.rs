//! Bytes behind a volatile cache.
//!
//! One image, what a reader sees, and apart from it what each dirty sector holds durably, which a
//! power loss may bring back. A sector is dirty while the two may differ; its number says which
//! write made it so. Durability is the least that was promised: a flush saves what was complete
//! when it was issued, and a sector written again since then keeps the newer bytes volatile.
//!
//! Beside each sector stands what it shows, looked at when it changes, so that checkers need not
//! read whole images; `check_index` proves that this is what the bytes say.

use std::collections::BTreeSet;

use bytes::Bytes;

use crate::cell::Cell;
use crate::prng::Prng;
use crate::sectors::SectorSet;
use crate::stamp::{Content, SECTOR};

/// One device.
#[derive(Debug)]
pub struct Device {
    /// By sector: what a reader sees.
    image: Vec<Cell>,
    /// By sector of the image: what it shows.
    contents: Vec<Content>,
    /// Sectors that were written since they were last taken.
    touched: SectorSet,
    /// By sector: whether and how it is dirty.
    cached: Vec<Cached>,
    /// Sectors that are dirty, in no order.
    dirty: Vec<usize>,
    writes: u64,
    /// Newest write that each flush in flight covers.
    flushes: Vec<u64>,
}

/// What the cache knows of a sector.
#[derive(Clone, Debug, Default)]
struct Cached {
    /// Number of the write that its bytes come from; 0 while it is clean.
    by: u64,
    /// What it holds durably, while it is dirty.
    durable: Cell,
}

impl Device {
    /// A device with this content, all of it durable.
    pub fn new(image: Vec<Cell>) -> Self {
        let sectors = image.len();
        Self {
            contents: image.iter().map(Cell::content).collect(),
            image,
            touched: SectorSet::full(sectors),
            cached: vec![Cached::default(); sectors],
            dirty: Vec::new(),
            writes: 0,
            flushes: Vec::new(),
        }
    }

    /// It gets larger; what it gets holds these bytes, durably.
    pub fn grow(&mut self, more: Vec<Cell>) {
        let first = self.contents.len();
        self.contents.extend(more.iter().map(Cell::content));
        self.image.extend(more);
        self.cached.resize(self.contents.len(), Cached::default());
        self.touched.grow(self.contents.len());
        (first..self.contents.len()).for_each(|sector| self.touched.insert(sector));
    }

    /// Bytes it has.
    pub fn len(&self) -> u64 {
        (self.image.len() * SECTOR) as u64
    }

    /// Whether it has none.
    pub fn is_empty(&self) -> bool {
        self.image.is_empty()
    }

    /// By sector: what a reader sees.
    pub fn image(&self) -> &[Cell] {
        &self.image
    }

    /// By sector: what a reader sees, as `stamp::peek` tells it.
    pub fn contents(&self) -> &[Content] {
        &self.contents
    }

    /// Sectors that a power loss may take back.
    pub fn dirty(&self) -> &[usize] {
        &self.dirty
    }

    /// By sector that a power loss may take back: what it would then show.
    pub fn may_return(&self) -> impl Iterator<Item = (usize, Content)> {
        self.dirty.iter().map(|sector| (*sector, self.cached[*sector].durable.content()))
    }

    /// The first sector of the first `sectors` that does not hold what `contents` says, but for
    /// those that may have rotted. From `grown` on there may be parts of a move that was cut off,
    /// which can look like zeroes at both ends.
    pub fn check_index(
        &self,
        sectors: usize,
        grown: usize,
        except: &BTreeSet<usize>,
    ) -> Option<usize> {
        let wrong = |(sector, (cell, content)): (usize, (&Cell, &Content))| {
            let found = if cell.is_other() { Content::Garbage } else { cell.content() };
            let left_over = sector >= grown && found == Content::Garbage;
            (found != *content && !left_over && !except.contains(&sector)).then_some(sector)
        };
        self.image.iter().zip(&self.contents).take(sectors).enumerate().find_map(wrong)
    }

    /// A clean sector rots at rest: it reads differently from here on, and still tells whose it
    /// was. False where it is dirty, or has rotted before.
    pub fn rot(&mut self, sector: usize, prng: &mut Prng) -> bool {
        let sound = self.is_sound(sector);
        if sound {
            // Behind the words that `stamp::peek` looks at.
            let mut bytes = [0; SECTOR];
            self.image[sector].fill(&mut bytes);
            bytes[24 + prng.index(SECTOR - 32)] ^= 0x10;
            self.show(sector, Cell::of(&bytes));
        }
        sound
    }

    /// Whether a sector is as it was written, and a power loss would not bring back anything else.
    pub fn is_sound(&self, sector: usize) -> bool {
        self.cached[sector].by == 0 && !self.is_rotten(sector)
    }

    /// Whether a sector's bytes are not what anybody wrote.
    pub fn is_rotten(&self, sector: usize) -> bool {
        self.image[sector].is_other()
    }

    /// Adds the sectors written since the last call to `into`.
    pub fn take_touched(&mut self, into: &mut SectorSet) {
        self.touched.move_to(into);
    }

    /// Bytes as a reader sees them.
    pub fn read(&self, offset: u64, len: u64) -> Bytes {
        let first = index(offset) / SECTOR;
        let mut data = Vec::with_capacity(index(len));
        let mut sector = [0; SECTOR];
        for cell in &self.image[first..first + index(len) / SECTOR] {
            cell.fill(&mut sector);
            data.extend_from_slice(&sector);
        }
        Bytes::from(data)
    }

    /// Whether a power loss takes none of these bytes back.
    pub fn is_durable(&self, offset: u64, len: u64) -> bool {
        let first = index(offset) / SECTOR;
        self.cached[first..first + index(len) / SECTOR].iter().all(|cached| cached.by == 0)
    }

    /// Stores `data`, in the cache or, as `durable`, for good.
    pub fn write(&mut self, offset: u64, data: &[u8], durable: bool) {
        self.writes += 1;
        let first = index(offset) / SECTOR;
        for (at, bytes) in data.chunks_exact(SECTOR).enumerate() {
            self.put(first + at, bytes, durable);
        }
    }

    /// Stores each sector of `data` with a chance of `keep` in a thousand, in the cache.
    pub fn write_some(&mut self, offset: u64, data: &[u8], keep: u64, prng: &mut Prng) {
        self.writes += 1;
        let first = index(offset) / SECTOR;
        for (at, bytes) in data.chunks_exact(SECTOR).enumerate() {
            if prng.per_mille(keep) {
                self.put(first + at, bytes, false);
            }
        }
    }

    /// A flush is issued; the number goes to `end_flush`.
    pub fn begin_flush(&mut self) -> u64 {
        self.flushes.push(self.writes);
        self.writes
    }

    /// The flush is complete: what was in the cache when it was issued is durable.
    pub fn end_flush(&mut self, upto: u64) {
        self.forget_flush(upto);
        let mut dirty = std::mem::take(&mut self.dirty);
        dirty.retain(|sector| {
            let stays = self.cached[*sector].by > upto;
            if !stays {
                self.clean(*sector);
            }
            stays
        });
        self.dirty = dirty;
    }

    /// The flush never ended.
    pub fn forget_flush(&mut self, upto: u64) {
        if let Some(at) = self.flushes.iter().position(|flush| *flush == upto) {
            self.flushes.swap_remove(at);
        }
    }

    /// The disk writes a little of its cache back because it feels like it.
    pub fn destage_some(&mut self, prng: &mut Prng) {
        if !self.dirty.is_empty() && prng.per_mille(100) {
            let sector = self.dirty.swap_remove(prng.index(self.dirty.len()));
            self.clean(sector);
        }
    }

    /// The cache is lost: each of its sectors made it or did not.
    pub fn power_loss(&mut self, prng: &mut Prng) {
        let keep = prng.pick(&[0, 100, 500, 900, 1000]);
        self.flushes.clear();
        let mut dirty = std::mem::take(&mut self.dirty);
        dirty.sort_unstable();
        for sector in dirty {
            if !prng.per_mille(keep) {
                let durable = std::mem::take(&mut self.cached[sector].durable);
                self.show(sector, durable);
            }
            self.clean(sector);
        }
    }

    fn put(&mut self, sector: usize, bytes: &[u8], durable: bool) {
        let cached = &mut self.cached[sector];
        if cached.by != 0 && durable {
            let at = self.dirty.iter().position(|dirty| *dirty == sector);
            self.dirty.swap_remove(at.expect("a dirty sector is in the list"));
            self.clean(sector);
        } else if !durable {
            // A flush in flight covers the bytes that are about to be replaced: they may go out
            // early.
            if cached.by == 0 || self.flushes.iter().any(|flush| *flush >= cached.by) {
                cached.durable = self.image[sector].clone();
            }
            if cached.by == 0 {
                self.dirty.push(sector);
            }
            cached.by = self.writes;
        }
        self.show(sector, Cell::of(bytes));
    }

    /// The sector shows this from here on.
    fn show(&mut self, sector: usize, cell: Cell) {
        self.contents[sector] = cell.content();
        self.image[sector] = cell;
        self.touched.insert(sector);
    }

    /// What a dirty sector shows is durable; the caller has taken it off the list.
    fn clean(&mut self, sector: usize) {
        let Cached { by, .. } = std::mem::take(&mut self.cached[sector]);
        assert!(by != 0, "only a dirty sector becomes clean");
    }
}

fn index(offset: u64) -> usize {
    usize::try_from(offset).expect("simulated devices are small")
}
