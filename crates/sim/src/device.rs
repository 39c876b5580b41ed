//! Bytes behind a volatile cache.
//!
//! One image, what a reader sees, and apart from it the durable bytes of each dirty sector, which a
//! power loss may bring back. A sector is dirty while the two may differ; its number says which
//! write made it so. Durability is the least that was promised: a flush saves what was complete
//! when it was issued, and a sector written again since then keeps the newer bytes volatile.
//!
//! Beside each sector stands what it shows, looked at when it changes, so that checkers need not
//! read whole images; `check_index` proves that this is what the bytes say.

use std::collections::BTreeSet;

use bytes::Bytes;

use crate::prng::Prng;
use crate::sectors::SectorSet;
use crate::stamp::{self, Content, SECTOR};

/// One device.
#[derive(Debug)]
pub struct Device {
    image: Vec<u8>,
    /// By sector of the image: what it shows.
    contents: Vec<Content>,
    /// Sectors that were written since they were last taken.
    touched: SectorSet,
    /// By sector: whether and how it is dirty.
    cached: Vec<Cached>,
    /// Sectors that are dirty, in no order.
    dirty: Vec<usize>,
    /// The durable bytes of dirty sectors.
    durable: Vec<u8>,
    /// Places in `durable` that nobody uses.
    free: Vec<usize>,
    writes: u64,
    /// Newest write that each flush in flight covers.
    flushes: Vec<u64>,
}

/// What the cache knows of a sector.
#[derive(Clone, Copy, Debug, Default)]
struct Cached {
    /// Number of the write that its bytes come from; 0 while it is clean.
    by: u64,
    /// Where its durable bytes are kept, while it is dirty.
    place: usize,
}

impl Device {
    /// A device with this content, all of it durable.
    pub fn new(image: Vec<u8>) -> Self {
        assert!(image.len().is_multiple_of(SECTOR));
        let sectors = image.len() / SECTOR;
        Self {
            contents: image.chunks_exact(SECTOR).map(stamp::peek).collect(),
            image,
            touched: SectorSet::full(sectors),
            cached: vec![Cached::default(); sectors],
            dirty: Vec::new(),
            durable: Vec::new(),
            free: Vec::new(),
            writes: 0,
            flushes: Vec::new(),
        }
    }

    /// It gets larger; what it gets holds these bytes, durably.
    pub fn grow(&mut self, more: &[u8]) {
        assert!(more.len().is_multiple_of(SECTOR));
        let first = self.contents.len();
        self.image.extend_from_slice(more);
        self.contents.extend(more.chunks_exact(SECTOR).map(stamp::peek));
        self.cached.resize(self.contents.len(), Cached::default());
        self.touched.grow(self.contents.len());
        (first..self.contents.len()).for_each(|sector| self.touched.insert(sector));
    }

    /// Bytes it has.
    pub fn len(&self) -> u64 {
        self.image.len() as u64
    }

    /// Whether it has none.
    pub fn is_empty(&self) -> bool {
        self.image.is_empty()
    }

    /// What a reader sees.
    pub fn image(&self) -> &[u8] {
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
        self.dirty.iter().map(|sector| {
            let place = self.cached[*sector].place;
            (*sector, stamp::peek(&self.durable[span(place)]))
        })
    }

    /// The first sector of the first `sectors` whose bytes are not what `contents` says, all of
    /// them looked at but those that may have rotted. From `grown` on there may be parts
    /// of a move that was cut off, which can look like zeroes at both ends.
    pub fn check_index(
        &self,
        sectors: usize,
        grown: usize,
        except: &BTreeSet<usize>,
    ) -> Option<usize> {
        let bytes = self.image.chunks_exact(SECTOR).take(sectors);
        let wrong = |(sector, (bytes, content)): (usize, (&[u8], &Content))| {
            let found = stamp::read(bytes);
            let left_over = sector >= grown && found == Content::Garbage;
            (found != *content && !left_over && !except.contains(&sector)).then_some(sector)
        };
        bytes.zip(&self.contents).enumerate().find_map(wrong)
    }

    /// A clean sector rots at rest: it reads differently from here on, and still tells whose it
    /// was. False where it is dirty, or has rotted before.
    pub fn rot(&mut self, sector: usize, prng: &mut Prng) -> bool {
        let sound = self.is_sound(sector);
        if sound {
            // Behind the words that `stamp::peek` looks at.
            self.image[sector * SECTOR + 24 + prng.index(SECTOR - 32)] ^= 0x10;
            self.look(sector);
        }
        sound
    }

    /// Whether a sector is as it was written, and a power loss would not bring back anything else.
    pub fn is_sound(&self, sector: usize) -> bool {
        self.cached[sector].by == 0 && !self.is_rotten(sector)
    }

    /// Whether a sector's bytes are not what anybody wrote.
    pub fn is_rotten(&self, sector: usize) -> bool {
        stamp::read(&self.image[span(sector)]) == Content::Garbage
    }

    /// Adds the sectors written since the last call to `into`.
    pub fn take_touched(&mut self, into: &mut SectorSet) {
        self.touched.move_to(into);
    }

    /// Bytes as a reader sees them.
    pub fn read(&self, offset: u64, len: u64) -> Bytes {
        let start = index(offset);
        Bytes::copy_from_slice(&self.image[start..start + index(len)])
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
                let durable = span(self.cached[sector].place);
                self.image[span(sector)].copy_from_slice(&self.durable[durable]);
                self.look(sector);
            }
            self.clean(sector);
        }
    }

    fn put(&mut self, sector: usize, bytes: &[u8], durable: bool) {
        let Cached { by, place } = self.cached[sector];
        if by != 0 && durable {
            let at = self.dirty.iter().position(|dirty| *dirty == sector);
            self.dirty.swap_remove(at.expect("a dirty sector is in the list"));
            self.clean(sector);
        } else if !durable {
            if by == 0 {
                self.dirty.push(sector);
                self.cached[sector].place = self.keep_durable(sector);
            } else if self.flushes.iter().any(|flush| *flush >= by) {
                // A flush in flight covers the bytes that are about to be replaced: they may go out
                // early.
                self.durable[span(place)].copy_from_slice(&self.image[span(sector)]);
            }
            self.cached[sector].by = self.writes;
        }
        self.image[span(sector)].copy_from_slice(bytes);
        self.look(sector);
    }

    /// The sector has changed: takes down what it shows.
    fn look(&mut self, sector: usize) {
        self.contents[sector] = stamp::peek(&self.image[span(sector)]);
        self.touched.insert(sector);
    }

    /// Keeps a clean sector's bytes, which are durable, apart.
    fn keep_durable(&mut self, sector: usize) -> usize {
        let bytes = &self.image[span(sector)];
        if let Some(place) = self.free.pop() {
            self.durable[span(place)].copy_from_slice(bytes);
            return place;
        }
        self.durable.extend_from_slice(bytes);
        self.durable.len() / SECTOR - 1
    }

    /// A dirty sector's bytes in the image are durable; the caller has taken it off the list.
    fn clean(&mut self, sector: usize) {
        let Cached { by, place } = std::mem::take(&mut self.cached[sector]);
        assert!(by != 0, "only a dirty sector becomes clean");
        self.free.push(place);
    }
}

fn span(sector: usize) -> std::ops::Range<usize> {
    sector * SECTOR..(sector + 1) * SECTOR
}

fn index(offset: u64) -> usize {
    usize::try_from(offset).expect("simulated devices are small")
}
