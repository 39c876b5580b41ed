//! What may be read after a fault: the record of every write, and the judge of an image.
//!
//! A write is entered before it is sent and marked when its reply is there; the ticks of one clock
//! say which write began after which reply. One without a reply is indeterminate. After a fault an
//! image is judged sector by sector. With `must` being the writes that no fault of the kind may
//! lose, a sector may show a write of it, unless a write of `must` began after that one's reply;
//! and what it showed before only if no write of `must` covers it. A judged image is the new
//! beginning: what was indeterminate has been decided, and may not flip back later.

use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::stamp::{SECTOR_BYTES, WriteId, ZEROES, read};
use crate::{Result, ensure, fail};

/// Which writes must have survived.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Must {
    /// Every acknowledged one.
    Acked,
    /// Those acknowledged before a flush began that was acknowledged, and those with FUA.
    Flushed,
    /// Whatever is lost is the end of the stream: everything acknowledged before the last one that
    /// is there began.
    Prefix,
}

/// What an image showed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Verdict {
    /// Writes that were acknowledged since the last image.
    pub acked: u64,
    /// Sectors with acknowledged writes of which nothing later than that is to be seen. Not an
    /// error where the fault may lose them.
    pub lost_sectors: u64,
}

/// The record of the writes to one volume.
#[derive(Debug)]
pub struct Audit {
    sectors: usize,
    record: Mutex<Record>,
}

#[derive(Debug)]
struct Record {
    clock: u64,
    /// The number of the first write in `writes`.
    first_id: WriteId,
    writes: Vec<Write>,
    flushes: Vec<Flush>,
    /// What each sector showed in the last image.
    base: Vec<WriteId>,
}

#[derive(Clone, Copy, Debug)]
struct Write {
    first: u32,
    count: u32,
    is_zeroes: bool,
    fua: bool,
    begun: u64,
    /// `u64::MAX` without a reply.
    acked: u64,
}

#[derive(Clone, Copy, Debug)]
struct Flush {
    begun: u64,
    acked: u64,
}

const NEVER: u64 = u64::MAX;

/// A flush under way.
#[derive(Clone, Copy, Debug)]
pub(crate) struct FlushId(usize);

impl Audit {
    /// Of a volume of zeroes.
    ///
    /// # Errors
    /// It is longer than a test needs.
    pub fn new(bytes: u64) -> Result<Self> {
        let sectors = usize::try_from(bytes)? / SECTOR_BYTES;
        let base = vec![ZEROES; sectors];
        let (writes, flushes) = (Vec::new(), Vec::new());
        let record = Record { clock: 0, first_id: 1, writes, flushes, base };
        Ok(Self { sectors, record: Mutex::new(record) })
    }

    /// Sectors of the volume.
    pub(crate) fn sectors(&self) -> u64 {
        self.sectors as u64
    }

    /// Bytes of the volume, in whole sectors.
    pub fn bytes(&self) -> u64 {
        (self.sectors * SECTOR_BYTES) as u64
    }

    /// Enters a write that is about to be sent.
    pub(crate) fn begin(&self, first: u32, count: u32, is_zeroes: bool, fua: bool) -> WriteId {
        let mut record = self.lock();
        let begun = record.tick();
        record.writes.push(Write { first, count, is_zeroes, fua, begun, acked: NEVER });
        record.first_id + record.writes.len() as u64 - 1
    }

    /// A write has its reply.
    pub(crate) fn acked(&self, id: WriteId) {
        let mut record = self.lock();
        let tick = record.tick();
        let index = id.checked_sub(record.first_id).and_then(|index| usize::try_from(index).ok());
        if let Some(write) = index.and_then(|index| record.writes.get_mut(index)) {
            write.acked = tick;
        }
    }

    /// Enters a flush that is about to be sent.
    pub(crate) fn begin_flush(&self) -> FlushId {
        let mut record = self.lock();
        let begun = record.tick();
        record.flushes.push(Flush { begun, acked: NEVER });
        FlushId(record.flushes.len() - 1)
    }

    /// A flush has its reply.
    pub(crate) fn acked_flush(&self, id: FlushId) {
        let mut record = self.lock();
        let tick = record.tick();
        if let Some(flush) = record.flushes.get_mut(id.0) {
            flush.acked = tick;
        }
    }

    /// Writes acknowledged since the last judged image.
    pub fn acked_count(&self) -> usize {
        self.lock().writes.iter().filter(|write| write.acked != NEVER).count()
    }

    /// Judges an image, which becomes the new beginning. No client is connected meanwhile.
    ///
    /// # Errors
    /// It shows something that it may not; the text says what, of the first of such sectors.
    pub fn judge(&self, image: &[u8], must: Must) -> Result<Verdict> {
        let verdict = self.check(image, must)?;
        let shown = self.decode(image)?;
        self.lock().restart(shown);
        Ok(verdict)
    }

    /// Judges an image, and leaves the record as it is.
    ///
    /// # Errors
    /// It shows something that it may not; the text says what, of the first of such sectors.
    pub fn check(&self, image: &[u8], must: Must) -> Result<Verdict> {
        let shown = self.decode(image)?;
        let record = self.lock();
        let horizon = record.horizon(must, &shown);
        let is_must = |write: &Write| match must {
            Must::Acked => write.acked != NEVER,
            Must::Flushed | Must::Prefix => {
                write.acked < horizon
                    || (must == Must::Flushed && write.fua && write.acked != NEVER)
            }
        };
        let (wrong, first) = record.violations(&shown, is_must);
        if let Some(first) = first {
            return fail(format!("{wrong} sectors show what they may not ({must:?}); {first}"));
        }
        let acked = record.writes.iter().filter(|write| write.acked != NEVER).count() as u64;
        let (lost_sectors, _) = record.violations(&shown, |write| write.acked != NEVER);
        Ok(Verdict { acked, lost_sectors })
    }

    /// Sectors of an image that lack a write that was acknowledged; the record stays as it is.
    ///
    /// # Errors
    /// A sector shows no write at all.
    pub fn count_lost(&self, image: &[u8]) -> Result<u64> {
        let shown = self.decode(image)?;
        Ok(self.lock().violations(&shown, |write| write.acked != NEVER).0)
    }

    fn decode(&self, image: &[u8]) -> Result<Vec<WriteId>> {
        ensure(image.len() == self.sectors * SECTOR_BYTES, || {
            format!("an image of {} bytes for {} sectors", image.len(), self.sectors)
        })?;
        let sectors = image.chunks_exact(SECTOR_BYTES).zip(0..);
        let decoded = sectors.map(|(sector, lba)| {
            read(sector, lba).map_err(|wrong| crate::Failure::new(format!("sector {lba}: {wrong}")))
        });
        decoded.collect()
    }

    fn lock(&self) -> MutexGuard<'_, Record> {
        self.record.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Record {
    fn tick(&mut self) -> u64 {
        self.clock += 1;
        self.clock
    }

    /// Writes acknowledged before this must be there.
    fn horizon(&self, must: Must, shown: &[WriteId]) -> u64 {
        match must {
            Must::Acked => NEVER,
            Must::Flushed => {
                let acked = self.flushes.iter().filter(|flush| flush.acked != NEVER);
                acked.map(|flush| flush.begun).max().unwrap_or(0)
            }
            Must::Prefix => {
                let visible = shown.iter().filter_map(|id| self.write(*id));
                visible.map(|write| write.begun).max().unwrap_or(0)
            }
        }
    }

    /// How many sectors show what they may not, and what is wrong with the first.
    fn violations(
        &self,
        shown: &[WriteId],
        is_must: impl Fn(&Write) -> bool,
    ) -> (u64, Option<String>) {
        // For each sector, the latest beginning of a write that must be there: whatever had its
        // reply before that may not be seen.
        let mut latest: Vec<Option<(u64, usize)>> = vec![None; shown.len()];
        for (index, write) in self.writes.iter().enumerate().filter(|(_, write)| is_must(write)) {
            for sector in write.sectors() {
                let known = &mut latest[sector];
                if known.is_none_or(|(begun, _)| begun < write.begun) {
                    *known = Some((write.begun, index));
                }
            }
        }
        let mut zeroed = self.zeroed(shown, &latest);
        let (mut wrong, mut first) = (0, None);
        for (sector, id) in shown.iter().enumerate() {
            let covered = latest[sector];
            let is_fine = match self.write(*id) {
                Some(write) => {
                    let is_here = write.sectors().contains(&sector) && !write.is_zeroes;
                    is_here && covered.is_none_or(|(begun, _)| write.acked >= begun)
                }
                None if *id == self.base[sector] && covered.is_none() => true,
                None => *id == ZEROES && zeroed.remove(&sector),
            };
            if !is_fine {
                wrong += 1;
                first.get_or_insert_with(|| self.explain(sector, *id, covered));
            }
        }
        (wrong, first)
    }

    /// Sectors that show zeroes because a write of zeroes is allowed to be seen there.
    fn zeroed(
        &self,
        shown: &[WriteId],
        latest: &[Option<(u64, usize)>],
    ) -> std::collections::BTreeSet<usize> {
        let mut zeroed = std::collections::BTreeSet::new();
        for write in self.writes.iter().filter(|write| write.is_zeroes) {
            let may_show = |sector: &usize| {
                let is_recent = latest[*sector].is_none_or(|(begun, _)| write.acked >= begun);
                shown[*sector] == ZEROES && is_recent
            };
            zeroed.extend(write.sectors().filter(may_show));
        }
        zeroed
    }

    fn explain(&self, sector: usize, id: WriteId, covered: Option<(u64, usize)>) -> String {
        let shown = match (self.write(id), id) {
            (Some(write), _) => format!("write {id} ({write:?})"),
            (None, ZEROES) => "zeroes".to_owned(),
            (None, id) => format!("write {id} of an earlier round"),
        };
        let expected = covered.map_or_else(
            || format!("no write that must be there; before it was write {}", self.base[sector]),
            |(_, index)| {
                let id = self.first_id + index as u64;
                format!("write {id} ({:?}) or a later one", self.writes[index])
            },
        );
        format!("sector {sector} shows {shown}, expected is {expected}")
    }

    fn write(&self, id: WriteId) -> Option<&Write> {
        let index = id.checked_sub(self.first_id)?;
        usize::try_from(index).ok().and_then(|index| self.writes.get(index))
    }

    fn restart(&mut self, shown: Vec<WriteId>) {
        self.first_id += self.writes.len() as u64;
        self.writes.clear();
        self.flushes.clear();
        self.base = shown;
    }
}

impl Write {
    fn sectors(&self) -> std::ops::Range<usize> {
        let first = self.first as usize;
        first..first + self.count as usize
    }
}

#[cfg(test)]
mod tests;
