//! A node's disk for one volume: data, metadata, and what a power loss leaves of them.
//!
//! Data writes complete into a volatile cache. They become durable by a flush, as FUA, or because
//! the disk felt like it. Power loss: each sector of the cache is old or new on its own, in any
//! order; operations in flight keep any subset of their sectors, metadata writes too. A killed
//! process: what completed stays in the cache, operations in flight land wholly, partly or not,
//! before anybody opens the disk again. Nothing else ever changes a byte, but for what rots at rest
//! (`verify`).
//!
//! An operation fails in `complete`, where `ailment` says so.

use std::collections::{BTreeMap, BTreeSet};

use bytes::{Bytes, BytesMut};
use tandem_replica::{DiskError, DiskOpKind, OpenedDisk};
use tandem_wire::ByteRange;

use crate::ailment::{Ailment, Stall};
use crate::cell::Cell;
use crate::clock::{MICROS, MILLIS};
use crate::covered::Covers;
use crate::device::Device;
use crate::digests;
use crate::prng::Prng;
use crate::stamp::{self, Content, SECTOR};

/// Names an operation in flight.
pub type OpKey = u64;

/// A data device, with a metadata device of its own or none.
#[derive(Debug)]
pub struct SimDisk {
    data: Device,
    meta: Option<Device>,
    /// Bytes that the data device has had.
    lengths: Vec<u64>,
    block_size: u32,
    in_flight: BTreeMap<OpKey, InFlight>,
    next_key: OpKey,
    pace: Pace,
    /// What it suffers from, if anything.
    pub ailment: Option<Ailment>,
    /// How many of a thousand reads of data fail besides.
    pub unreadable: u64,
    /// How it hangs, if it does.
    pub stall: Option<Stall>,
    /// How often it has lost its cache without its node's power.
    pub caches_lost: u32,
    /// It has lost its cache, and has taken no metadata since that could say so.
    pub unmarked: bool,
    /// When it last failed to read or write data.
    pub failed_at: Option<u64>,
    /// What its metadata say of a crash.
    pub covers: Covers,
}

/// An operation that has ended, if it failed with what it was.
pub type Ended = (Result<Bytes, DiskError>, Option<DiskOpKind>);

/// How fast a disk is.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    /// Shortest time of an operation, nanoseconds.
    pub low: u64,
    /// Longest usual time.
    pub high: u64,
    /// Times in a thousand that an operation takes up to 60 ms.
    pub stalls: u64,
}

#[derive(Debug)]
struct InFlight {
    kind: DiskOpKind,
    /// For a flush: the writes it must make durable.
    flush_upto: u64,
    /// It hangs.
    stalled: bool,
    /// It ends with an error, when it ends.
    fails: bool,
}

/// When an operation that was started is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Due {
    /// After so many nanoseconds.
    After(u64),
    /// It hangs: after so many nanoseconds, or not before the disk is well again.
    Stalled(Option<u64>),
}

impl SimDisk {
    /// A disk of these images. Without `meta` the metadata lie on the data device.
    pub fn new(data: Vec<Cell>, meta: Option<Vec<Cell>>, block_size: u32, pace: Pace) -> Self {
        let data = Device::new(data);
        Self {
            lengths: vec![data.len()],
            data,
            meta: meta.map(Device::new),
            block_size,
            in_flight: BTreeMap::new(),
            next_key: 0,
            pace,
            ailment: None,
            unreadable: 0,
            stall: None,
            caches_lost: 0,
            unmarked: false,
            failed_at: None,
            covers: Covers::default(),
        }
    }

    /// What opening it tells.
    pub fn opened(&self) -> OpenedDisk {
        let meta = self.meta.as_ref().unwrap_or(&self.data);
        OpenedDisk {
            data_bytes: self.data.len(),
            meta_bytes: meta.len(),
            block_size: self.block_size,
        }
    }

    /// The data device gets larger; what it gets holds anything.
    pub fn enlarge(&mut self, more: usize, prng: &mut Prng) {
        let anything = |_| {
            let mut sector = [0; SECTOR];
            sector[..8].copy_from_slice(&prng.word().to_le_bytes());
            Cell::of(&sector)
        };
        self.data.grow((0..more / SECTOR).map(anything).collect());
        self.lengths.push(self.data.len());
    }

    /// Bytes that the data device has had, ascending.
    pub fn lengths(&self) -> &[u64] {
        &self.lengths
    }

    /// The metadata device.
    pub fn meta(&self) -> &Device {
        self.meta.as_ref().unwrap_or(&self.data)
    }

    /// Operations in flight.
    pub fn in_flight(&self) -> usize {
        self.in_flight.len()
    }

    /// Whether any of them touches it; a merge is on no disk.
    pub fn is_busy(&self) -> bool {
        self.in_flight.values().any(|op| !matches!(op.kind, DiskOpKind::Merge { .. }))
    }

    /// Whether a data write in flight meets the range.
    pub fn writes_meet(&self, range: ByteRange) -> bool {
        let mut written = self.in_flight.values().filter_map(|op| written(&op.kind));
        written.any(|other| other.offset < range.end() && range.offset < other.end())
    }

    /// Whether such an operation is in flight.
    pub fn flies(&self, what: impl Fn(&DiskOpKind) -> bool) -> bool {
        self.in_flight.values().any(|op| what(&op.kind))
    }

    /// By sector that a power loss may take back: what it would then show.
    pub fn may_return(&self) -> impl Iterator<Item = (usize, Content)> {
        self.data.may_return()
    }

    /// What writes in flight may leave, sector by sector.
    pub fn may_land(&self) -> impl Iterator<Item = (usize, Content)> {
        let writes = self.in_flight.values().filter_map(|op| match &op.kind {
            DiskOpKind::Write { offset, data, .. } => Some((*offset, data)),
            DiskOpKind::Read(_)
            | DiskOpKind::Zero { .. }
            | DiskOpKind::Flush
            | DiskOpKind::MetaRead { .. }
            | DiskOpKind::MetaWrite { .. }
            | DiskOpKind::Merge { .. }
            | DiskOpKind::IsZero { .. }
            | DiskOpKind::Digest { .. } => None,
        });
        writes.flat_map(|(offset, data)| {
            let first = usize::try_from(offset).expect("small") / SECTOR;
            let sectors = data.chunks_exact(SECTOR).enumerate();
            sectors.map(move |(index, bytes)| (first + index, stamp::peek(bytes)))
        })
    }

    /// Sectors of data that a power loss may take back.
    pub fn cached_sectors(&self) -> usize {
        self.data.dirty().len()
    }

    /// By sector: what a live process reads.
    pub fn image(&self) -> &[Cell] {
        self.data.image()
    }

    /// By sector of the image: what it shows.
    pub fn contents(&self) -> &[Content] {
        self.data.contents()
    }

    /// The data device.
    pub fn data_mut(&mut self) -> &mut Device {
        &mut self.data
    }

    /// The data device.
    pub fn data(&self) -> &Device {
        &self.data
    }

    /// The first sector of the first `sectors` that does not show what `contents` says, but for
    /// those that may have rotted.
    pub fn check_index(
        &self,
        sectors: usize,
        grown: usize,
        rotten: &BTreeSet<usize>,
    ) -> Option<usize> {
        self.data.check_index(sectors, grown, rotten)
    }

    /// The metadata device as a live process reads it, to be formatted before the run.
    pub fn meta_mut(&mut self) -> &mut Device {
        self.meta.as_mut().unwrap_or(&mut self.data)
    }

    /// Whether an operation in flight hangs.
    pub fn hangs(&self) -> bool {
        self.in_flight.values().any(|op| op.stalled)
    }

    /// Whether this one does.
    pub fn is_stalled(&self, key: OpKey) -> bool {
        self.in_flight.get(&key).is_some_and(|op| op.stalled)
    }

    /// Starts an operation.
    ///
    /// # Panics
    /// Where the operation is unaligned, empty or outside the device: the core must not ask for it.
    pub fn issue(&mut self, kind: DiskOpKind, prng: &mut Prng) -> (OpKey, Due) {
        self.check(&kind);
        let delay = match &kind {
            DiskOpKind::Merge { .. } | DiskOpKind::IsZero { .. } | DiskOpKind::Digest { .. } => {
                MICROS
            }
            DiskOpKind::Flush => 2 * self.delay(prng),
            DiskOpKind::Read(_)
            | DiskOpKind::Write { .. }
            | DiskOpKind::Zero { .. }
            | DiskOpKind::MetaRead { .. }
            | DiskOpKind::MetaWrite { .. } => self.delay(prng),
        };
        let flush_upto = match kind {
            DiskOpKind::Flush => self.data.begin_flush(),
            DiskOpKind::Read(_)
            | DiskOpKind::Write { .. }
            | DiskOpKind::Zero { .. }
            | DiskOpKind::MetaRead { .. }
            | DiskOpKind::MetaWrite { .. }
            | DiskOpKind::Merge { .. }
            | DiskOpKind::IsZero { .. }
            | DiskOpKind::Digest { .. } => 0,
        };
        self.next_key += 1;
        let stall = self.stall.as_mut().and_then(|stall| stall.strikes(&kind));
        let (stalled, fails) = (stall.is_some(), stall.is_some_and(|(_, fails)| fails));
        self.in_flight.insert(self.next_key, InFlight { kind, flush_upto, stalled, fails });
        (self.next_key, stall.map_or(Due::After(delay), |(length, _)| Due::Stalled(length)))
    }

    fn is_unreadable(&self, kind: &DiskOpKind, prng: &mut Prng) -> bool {
        self.unreadable > 0
            && matches!(kind, DiskOpKind::Read(_))
            && prng.per_mille(self.unreadable)
    }

    /// Ends an operation; `None` where a crash has ended it before.
    pub fn complete(&mut self, key: OpKey, prng: &mut Prng) -> Option<Ended> {
        let op = self.in_flight.remove(&key)?;
        let struck = (self.ailment.as_mut())
            .and_then(|ailment| ailment.strikes(&op.kind))
            .or_else(|| self.is_unreadable(&op.kind, prng).then_some(DiskError::Io))
            .or_else(|| op.fails.then_some(DiskError::Io));
        if let Some(error) = struck {
            let kind = op.kind.clone();
            self.land(op, prng);
            return Some((Err(error), Some(kind)));
        }
        let result = match op.kind {
            DiskOpKind::Read(range) => self.data.read(range.offset, u64::from(range.len)),
            DiskOpKind::Write { offset, data, fua } => {
                self.data.write(offset, &data, fua);
                Bytes::new()
            }
            DiskOpKind::Zero { range, fua, .. } => {
                self.data.write(range.offset, &vec![0; range.len as usize], fua);
                Bytes::new()
            }
            DiskOpKind::Flush => {
                self.data.end_flush(op.flush_upto);
                Bytes::new()
            }
            DiskOpKind::MetaRead { offset, len } => self.meta_mut().read(offset, u64::from(len)),
            DiskOpKind::MetaWrite { offset, data } => {
                self.meta_mut().write(offset, &data, true);
                self.covers.wrote(offset, &data);
                self.unmarked = false;
                Bytes::new()
            }
            DiskOpKind::Merge { base, patch, at } => merge(&base, &patch, at),
            DiskOpKind::IsZero { data } if data.chunks(SECTOR).all(stamp::is_zero) => Bytes::new(),
            DiskOpKind::IsZero { data } => data,
            DiskOpKind::Digest { data } => digests::of_blocks(&data),
        };
        self.data.destage_some(prng);
        Some((Ok(result), None))
    }

    /// The process died: what is in flight lands wholly, partly or not, and nothing more after
    /// that.
    pub fn kill(&mut self, prng: &mut Prng) {
        self.land_in_flight(prng);
    }

    /// The power failed: the cache is gone as well.
    pub fn power_loss(&mut self, prng: &mut Prng) {
        self.land_in_flight(prng);
        self.data.power_loss(prng);
        if let Some(meta) = &mut self.meta {
            meta.power_loss(prng);
        }
    }

    fn land_in_flight(&mut self, prng: &mut Prng) {
        self.covers = Covers::default();
        let mut left: Vec<InFlight> = std::mem::take(&mut self.in_flight).into_values().collect();
        while !left.is_empty() {
            let op = left.swap_remove(prng.index(left.len()));
            self.land(op, prng);
        }
    }

    /// What an operation leaves that does not end well.
    fn land(&mut self, op: InFlight, prng: &mut Prng) {
        let keep = prng.pick(&[0, 500, 1000, 1000]);
        match op.kind {
            DiskOpKind::Write { offset, data, .. } => {
                self.data.write_some(offset, &data, keep, prng);
            }
            DiskOpKind::Zero { range, .. } => {
                let data = vec![0; range.len as usize];
                self.data.write_some(range.offset, &data, keep, prng);
            }
            DiskOpKind::MetaWrite { offset, data } => {
                self.meta_mut().write_some(offset, &data, keep, prng);
                self.covers = Covers::default();
            }
            DiskOpKind::Flush => self.data.forget_flush(op.flush_upto),
            DiskOpKind::Read(_)
            | DiskOpKind::MetaRead { .. }
            | DiskOpKind::Merge { .. }
            | DiskOpKind::IsZero { .. }
            | DiskOpKind::Digest { .. } => {}
        }
    }

    fn delay(&self, prng: &mut Prng) -> u64 {
        if prng.per_mille(self.pace.stalls) {
            prng.between(MILLIS, 60 * MILLIS)
        } else {
            prng.log_between(self.pace.low, self.pace.high)
        }
    }

    fn check(&self, kind: &DiskOpKind) {
        let (offset, len, device) = match kind {
            DiskOpKind::Read(range) | DiskOpKind::Zero { range, .. } => {
                (range.offset, u64::from(range.len), &self.data)
            }
            DiskOpKind::Write { offset, data, .. } => (*offset, data.len() as u64, &self.data),
            DiskOpKind::MetaRead { offset, len } => {
                (*offset, u64::from(*len), self.meta.as_ref().unwrap_or(&self.data))
            }
            DiskOpKind::MetaWrite { offset, data } => {
                (*offset, data.len() as u64, self.meta.as_ref().unwrap_or(&self.data))
            }
            DiskOpKind::Flush
            | DiskOpKind::Merge { .. }
            | DiskOpKind::IsZero { .. }
            | DiskOpKind::Digest { .. } => return,
        };
        let block = u64::from(self.block_size);
        assert!(len > 0, "an empty disk operation");
        assert!(
            offset.is_multiple_of(block) && len.is_multiple_of(block),
            "unaligned disk operation {offset}+{len} on blocks of {block}"
        );
        assert!(offset + len <= device.len(), "disk operation behind the end: {offset}+{len}");
    }
}

/// Which data an operation writes; nothing where it writes none.
pub fn written(kind: &DiskOpKind) -> Option<ByteRange> {
    match kind {
        DiskOpKind::Write { offset, data, .. } => {
            let len = u32::try_from(data.len()).expect("a piece is small");
            Some(ByteRange::new(*offset, len))
        }
        DiskOpKind::Zero { range, .. } => Some(*range),
        DiskOpKind::Read(_)
        | DiskOpKind::Flush
        | DiskOpKind::MetaRead { .. }
        | DiskOpKind::MetaWrite { .. }
        | DiskOpKind::Merge { .. }
        | DiskOpKind::IsZero { .. }
        | DiskOpKind::Digest { .. } => None,
    }
}

fn merge(base: &Bytes, patch: &Bytes, at: u32) -> Bytes {
    let mut merged = BytesMut::from(&base[..]);
    let at = at as usize;
    merged[at..at + patch.len()].copy_from_slice(patch);
    merged.freeze()
}

#[cfg(test)]
mod tests;
