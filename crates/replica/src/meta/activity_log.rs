//! The activity log on disk: which extents of the data may have writes in flight.
//!
//! The region is two copies of one ring of blocks; a transaction is one block, written to both at
//! once. It says which slots got another extent, and repeats a window of the slots that did not
//! change; windows follow each other, so the newest blocks of the ring describe every slot. A
//! transaction belongs to a numbered log, the one that the superblock names: what an earlier log
//! left in the ring counts for nothing.
//!
//! Contract: [`RingImage::recover`] never yields less than the extents of the last transaction that
//! was durable in both copies. One damaged copy is made up for by the other. A block that is
//! invalid in both is a torn tail: its writes of data were never issued. Where anything else is
//! missing, every extent counts as hot.

use crate::bitmap::Bitmap;

use super::{Area, DeviceUuid, META_BLOCK, META_BLOCK_BYTES, MetaWrite, READ_BYTES_MAX};

mod transaction;

pub use transaction::{CONTEXT_MAX, NO_EXTENT, Transaction, UPDATES_MAX, Update};

use transaction::Found;

/// Bytes of data of an extent, unless the superblock says otherwise.
pub const AL_EXTENT_BYTES: u32 = 4 << 20;

/// Smallest extent: what a bit of the bitmap stands for.
pub const AL_EXTENT_BYTES_MIN: u32 = 4096;

/// Largest extent: what a page of the bitmap stands for.
pub const AL_EXTENT_BYTES_MAX: u32 = 128 << 20;

/// Extents that a volume may have: 1 PiB in extents of the usual size.
pub const AL_EXTENTS_MAX: u64 = 1 << 28;

/// Slots that a log may have, whatever room there is: DRBD's limit.
pub const AL_SLOTS_MAX: u32 = 65_534;

/// Fewest blocks of a ring: one that is being written, one that holds what was.
const POSITIONS_MIN: u64 = 2;

/// Where the ring lies, and whose it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ring {
    device: DeviceUuid,
    area: Area,
}

/// What a crashed Primary's log says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Hot {
    /// These extents may have had writes in flight, and no others.
    Extents(Vec<u32>),
    /// All of them: too much of the log is missing.
    All,
}

impl Hot {
    /// Sets the bits of what a crash may have left different, in extents of `extent_bytes`.
    /// Returns how many were not set before.
    pub fn mark(&self, bitmap: &mut Bitmap, extent_bytes: u32) -> u64 {
        let len = u64::from(extent_bytes);
        match self {
            Self::All => bitmap.set_all(),
            Self::Extents(extents) => {
                extents.iter().map(|extent| bitmap.set(u64::from(*extent) * len, len)).sum()
            }
        }
    }
}

/// The ring as it was read.
#[derive(Debug)]
pub struct RingImage {
    ring: Ring,
    /// By copy and place.
    found: [Vec<Found>; 2],
}

impl Ring {
    /// Whether an area can be a ring.
    pub(super) fn fits(area: Area) -> bool {
        area.len >= 2 * POSITIONS_MIN * META_BLOCK
    }

    /// The ring of a device in an area that a [`Layout`](super::Layout) has checked.
    pub fn new(device: DeviceUuid, area: Area) -> Self {
        assert!(Self::fits(area), "layouts check their rings");
        Self { device, area }
    }

    /// Blocks of one copy.
    pub fn places(&self) -> u64 {
        self.area.len / META_BLOCK / 2
    }

    /// Most slots that a log in this ring can have: described by all blocks but the one being
    /// written.
    pub fn slots_max(&self) -> u32 {
        let described = (self.places() - 1).saturating_mul(CONTEXT_MAX as u64);
        u32::try_from(described).unwrap_or(u32::MAX).min(AL_SLOTS_MAX)
    }

    /// The two writes that store a transaction, to be issued together; it counts when both are
    /// durable, and no other transaction may be in flight.
    pub fn plan_write(&self, transaction: &Transaction) -> [MetaWrite; 2] {
        let place = transaction.sequence % self.places();
        [0, 1].map(|copy| MetaWrite {
            offset: self.offset(copy, place),
            bytes: transaction.encode(self.device, copy, place).to_vec(),
        })
    }

    /// What to read to recover a log, in ranges of at most [`READ_BYTES_MAX`], none of them with
    /// blocks of both copies.
    pub fn plan_read(&self) -> Vec<Area> {
        let half = self.places() * META_BLOCK;
        let mut reads = Vec::new();
        for copy in [0, 1] {
            let start = self.offset(copy, 0);
            let mut at = 0;
            while at < half {
                let len = (half - at).min(READ_BYTES_MAX);
                reads.push(Area { offset: start + at, len });
                at += len;
            }
        }
        reads
    }

    fn offset(&self, copy: u8, place: u64) -> u64 {
        self.area.offset + (u64::from(copy) * self.places() + place) * META_BLOCK
    }
}

impl RingImage {
    /// Nothing read.
    pub fn unread(ring: Ring) -> Self {
        let places = usize::try_from(ring.places()).expect("a region is addressable");
        let unread = || (0..places).map(|_| Found::Unreadable).collect();
        Self { ring, found: [unread(), unread()] }
    }

    /// What to read.
    pub fn plan_read(&self) -> Vec<Area> {
        self.ring.plan_read()
    }

    /// Takes what was read of an area that [`Ring::plan_read`] named, `None` where that failed.
    pub fn load(&mut self, read: Area, bytes: Option<&[u8]>) {
        let Some(bytes) = bytes else { return };
        let places = self.ring.places();
        let first = (read.offset - self.ring.area.offset) / META_BLOCK;
        let (copy, first) = (u8::from(first >= places), first % places);
        let (blocks, rest) = bytes.as_chunks::<META_BLOCK_BYTES>();
        assert!(rest.is_empty() && bytes.len() as u64 == read.len, "not the bytes of the area");
        for (place, block) in (first..).zip(blocks) {
            let index = usize::try_from(place).expect("a region is addressable");
            self.found[usize::from(copy)][index] =
                Transaction::decode(block, self.ring.device, copy, place);
        }
    }

    /// The extents that may have had writes in flight when log number `log` was last written.
    pub fn recover(&self, log: u64) -> Hot {
        if (0..self.found[0].len()).any(|place| self.is_unknown(place)) {
            return Hot::All;
        }
        let of_log = self.found.iter().flatten().filter_map(Found::transaction);
        let newest = of_log.filter(|it| it.log == log).max_by_key(|it| it.sequence);
        // Its first transaction was durable before the superblock named the log.
        newest.and_then(|newest| self.collect(newest)).map_or(Hot::All, Hot::Extents)
    }

    /// Walks back from the newest transaction until every slot is described.
    fn collect(&self, newest: &Transaction) -> Option<Vec<u32>> {
        let mut slots = vec![None; newest.slots as usize];
        let mut left = slots.len();
        let mut note = |slot: u32, extent: u32| {
            let known = slots.get_mut(slot as usize)?;
            left -= usize::from(known.is_none());
            known.get_or_insert(extent);
            Some(left)
        };
        let mut sequence = newest.sequence;
        loop {
            let transaction = self.find(newest, sequence)?;
            for update in &transaction.updates {
                note(u32::from(update.slot), update.extent)?;
            }
            let mut undescribed = slots_left(&mut note, transaction)?;
            // What the first transaction of a log does not mention is free.
            if sequence == 1 {
                undescribed = 0;
            }
            if undescribed == 0 {
                break;
            }
            sequence -= 1;
        }
        let mut extents: Vec<u32> =
            slots.into_iter().flatten().filter(|extent| *extent != NO_EXTENT).collect();
        extents.sort_unstable();
        extents.dedup();
        Some(extents)
    }

    /// The transaction of this number in the same log.
    fn find(&self, newest: &Transaction, sequence: u64) -> Option<&Transaction> {
        let place = usize::try_from(sequence % self.ring.places()).ok()?;
        let copies = self.found.iter().filter_map(|copy| copy[place].transaction());
        let mut of_log = copies.filter(|it| it.log == newest.log && it.slots == newest.slots);
        of_log.find(|it| it.sequence == sequence)
    }

    /// Whether a transaction may have been durable here of which nothing is left. Where one copy
    /// can be read and holds something else, or nothing, none was.
    fn is_unknown(&self, place: usize) -> bool {
        let copies = [&self.found[0][place], &self.found[1][place]];
        copies.iter().any(|found| matches!(found, Found::Unreadable))
            && copies.iter().all(|found| matches!(found, Found::Unreadable | Found::Invalid))
    }
}

/// Notes the window of a transaction; returns how many slots are not described yet.
fn slots_left(
    note: &mut impl FnMut(u32, u32) -> Option<usize>,
    transaction: &Transaction,
) -> Option<usize> {
    let mut left = None;
    for (index, extent) in (0..).zip(&transaction.context) {
        let slot = (transaction.context_first + index) % transaction.slots;
        left = Some(note(slot, *extent)?);
    }
    left
}
