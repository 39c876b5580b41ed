//! Bytes behind a volatile cache.
//!
//! Two images: `run`, what a reader sees, and `stable`, what a power loss leaves. A sector is dirty
//! while they may differ; its number says which write made it so. Durability is the least that was
//! promised: a flush saves what was complete when it was issued, and a sector written again since
//! then keeps the newer bytes volatile.

use bytes::Bytes;

use crate::prng::Prng;
use crate::stamp::SECTOR;

/// One device.
#[derive(Debug)]
pub struct Device {
    run: Vec<u8>,
    stable: Vec<u8>,
    /// Number of the write that a sector's cached bytes come from; 0 while it is clean.
    dirtied_by: Vec<u64>,
    /// Sectors that are dirty, in no order.
    dirty: Vec<usize>,
    writes: u64,
    /// Newest write that each flush in flight covers.
    flushes: Vec<u64>,
}

impl Device {
    /// A device with this content, all of it durable.
    pub fn new(image: Vec<u8>) -> Self {
        assert!(image.len().is_multiple_of(SECTOR));
        let sectors = image.len() / SECTOR;
        Self {
            stable: image.clone(),
            run: image,
            dirtied_by: vec![0; sectors],
            dirty: Vec::new(),
            writes: 0,
            flushes: Vec::new(),
        }
    }

    /// Bytes it has.
    pub fn len(&self) -> u64 {
        self.run.len() as u64
    }

    /// Whether it has none.
    pub fn is_empty(&self) -> bool {
        self.run.is_empty()
    }

    /// What a reader sees.
    pub fn image(&self) -> &[u8] {
        &self.run
    }

    /// Bytes as a reader sees them.
    pub fn read(&self, offset: u64, len: u64) -> Bytes {
        let start = index(offset);
        Bytes::copy_from_slice(&self.run[start..start + index(len)])
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
        let dirty = std::mem::take(&mut self.dirty);
        for sector in dirty {
            if self.dirtied_by[sector] <= upto {
                self.save(sector);
            } else {
                self.dirty.push(sector);
            }
        }
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
            self.save(sector);
        }
    }

    /// The cache is lost: each of its sectors made it or did not.
    pub fn power_loss(&mut self, prng: &mut Prng) {
        let keep = prng.pick(&[0, 100, 500, 900, 1000]);
        self.flushes.clear();
        let mut dirty = std::mem::take(&mut self.dirty);
        dirty.sort_unstable();
        for sector in dirty {
            if prng.per_mille(keep) {
                self.save(sector);
            } else {
                let bytes = span(sector);
                self.run[bytes.clone()].copy_from_slice(&self.stable[bytes]);
                self.dirtied_by[sector] = 0;
            }
        }
    }

    fn put(&mut self, sector: usize, bytes: &[u8], durable: bool) {
        let dirtied_by = self.dirtied_by[sector];
        // A flush in flight covers the bytes that are about to be replaced: they may go out early.
        if dirtied_by != 0 && self.flushes.iter().any(|flush| *flush >= dirtied_by) {
            self.stable[span(sector)].copy_from_slice(&self.run[span(sector)]);
        }
        self.run[span(sector)].copy_from_slice(bytes);
        if durable {
            self.stable[span(sector)].copy_from_slice(bytes);
            if dirtied_by != 0 {
                let at = self.dirty.iter().position(|dirty| *dirty == sector);
                self.dirty.swap_remove(at.expect("a dirty sector is in the list"));
            }
            self.dirtied_by[sector] = 0;
            return;
        }
        if dirtied_by == 0 {
            self.dirty.push(sector);
        }
        self.dirtied_by[sector] = self.writes;
    }

    fn save(&mut self, sector: usize) {
        let bytes = span(sector);
        self.stable[bytes.clone()].copy_from_slice(&self.run[bytes]);
        self.dirtied_by[sector] = 0;
    }
}

fn span(sector: usize) -> std::ops::Range<usize> {
    sector * SECTOR..(sector + 1) * SECTOR
}

fn index(offset: u64) -> usize {
    usize::try_from(offset).expect("simulated devices are small")
}
