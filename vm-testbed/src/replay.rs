//! A disk made again from the log of its writes, and judged at every point of it.

use std::fmt::{self, Display, Formatter};

use tandem_tests::{Context, Failure, Result};

use crate::sequence::Places;
use crate::write_log::{Entry, WriteLog};

/// What somebody was told is durable at a time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Durable {
    /// Of the numbered writes, what is owed behind this one.
    pub(crate) write: u64,
    /// Of the files, so many.
    pub(crate) files: usize,
}

impl Durable {
    const MARK: &str = "durable";

    /// From both numbers, as a machine tells them.
    ///
    /// # Errors
    /// They are something else.
    pub(crate) fn parse(text: &str) -> Result<Self> {
        let wrong = || Failure::new(format!("'{text}' does not say what is durable"));
        let (write, files) = text.trim().split_once([' ', ':']).ok_or_else(wrong)?;
        Ok(Self {
            write: write.parse().map_err(|_| wrong())?,
            files: files.parse().map_err(|_| wrong())?,
        })
    }

    /// As a mark in the log, a single word.
    pub(crate) fn mark(self) -> String {
        format!("{}:{}:{}", Self::MARK, self.write, self.files)
    }

    fn of_mark(entry: &Entry) -> Option<Self> {
        let Entry::Mark(text) = entry else { return None };
        Self::parse(text.strip_prefix(Self::MARK)?.strip_prefix(':')?).ok()
    }
}

/// A log, and where the numbered writes lie.
#[derive(Debug)]
pub(crate) struct Replay {
    log: WriteLog,
    places: Places,
    disk_bytes: usize,
}

/// What was judged.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Counts {
    /// Entries of the log.
    entries: usize,
    flushes: usize,
    fua: usize,
    /// Number of the last numbered write.
    pub(crate) writes: u64,
}

impl Display for Counts {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let Self { entries, flushes, fua, writes } = self;
        write!(
            f,
            "{writes} numbered writes, a prefix after each of {entries} entries of the log, of \
             which {flushes} are flushes and {fua} writes with FUA"
        )
    }
}

impl Replay {
    /// Of the log of a disk that was zero, and is `disk` now.
    ///
    /// # Errors
    /// `disk` lacks some of the numbered writes.
    pub(crate) fn of(log: WriteLog, disk: &[u8]) -> Result<Self> {
        Ok(Self { places: Places::find(disk)?, log, disk_bytes: disk.len() })
    }

    /// The log, carried out as a whole, leads to `disk`.
    ///
    /// # Errors
    /// It does not.
    pub(crate) fn leads_to(&self, disk: &[u8]) -> Result<()> {
        let mut made = vec![0; self.disk_bytes];
        self.log.entries().iter().try_for_each(|entry| self.log.apply(entry, &mut made))?;
        let differs = made.iter().zip(disk).position(|(made, byte)| made != byte);
        differs.map_or(Ok(()), |at| {
            Err(Failure::new(format!("byte {at} of the disk is not what the log leads to")))
        })
    }

    /// Judges the disk after every entry, and with nothing in its cache but the write of that
    /// entry: a loss of power may leave any part of a cache. The disk with all entries so far is
    /// shown to `look`, with the number of the last one and what is durable then. The entry
    /// `without` is not carried out.
    ///
    /// # Errors
    /// The disk is no prefix, or `look` says so.
    pub(crate) fn judge(
        &self,
        without: Option<usize>,
        mut look: impl FnMut(usize, Durable, &[u8]) -> Result<()>,
    ) -> Result<Counts> {
        let mut disk = CachedDisk::new(&self.log, self.disk_bytes);
        let mut durable = Durable::default();
        let mut counts = Counts::default();
        for (index, entry) in self.log.entries().iter().enumerate() {
            let about = || format!("behind entry {index} of the log, {entry:?}");
            counts.entries += 1;
            counts.flushes += usize::from(*entry == Entry::Flush);
            counts.fua += usize::from(matches!(entry, Entry::Write { fua: true, .. }));
            durable = Durable::of_mark(entry).unwrap_or(durable);
            if without != Some(index) {
                let alone = disk.with_only(entry, |disk| self.places.judge(disk, durable.write));
                alone.about(about()).about("of its cache, only the last write is kept")?;
                disk.carry_out(entry)?;
            }
            let judged = self.places.judge(&disk.all, durable.write);
            let judged = judged.and_then(|last| look(index, durable, &disk.all).map(|()| last));
            counts.writes = judged.about(about())?;
        }
        Ok(counts)
    }

    /// Entries behind which a disk is looked at closely: `count` of those that make something
    /// durable, evenly spread over the time in which it was noted what is.
    pub(crate) fn points(&self, count: usize) -> Vec<usize> {
        let entries = self.log.entries();
        let begin = entries.iter().position(|entry| Durable::of_mark(entry).is_some());
        let durable = |entry: &Entry| {
            *entry == Entry::Flush || matches!(entry, Entry::Write { fua: true, .. })
        };
        let all: Vec<usize> = (begin.unwrap_or(entries.len())..entries.len())
            .filter(|index| durable(&entries[*index]))
            .collect();
        let count = count.min(all.len());
        (0..count).map(|nth| all[(nth + 1) * all.len() / count - 1]).collect()
    }

    /// An entry in the middle that has a numbered write, which the rest of the log relies on.
    ///
    /// # Errors
    /// There is none.
    pub(crate) fn one_to_drop(&self) -> Result<usize> {
        let entries = self.log.entries();
        let has_one = |index: &usize| match entries[*index] {
            Entry::Write { at, bytes, .. } => self.places.lie_in(at..at + bytes),
            Entry::Discard { .. } | Entry::Flush | Entry::Mark(_) => false,
        };
        let found = (entries.len() / 2..entries.len()).find(has_one);
        found.ok_or_else(|| Failure::new("no numbered write in the second half of the log"))
    }
}

/// A disk with a write cache.
struct CachedDisk<'a> {
    log: &'a WriteLog,
    /// With all that was written.
    all: Vec<u8>,
    /// Without what is in the cache.
    stable: Vec<u8>,
    cache: Vec<&'a Entry>,
}

impl<'a> CachedDisk<'a> {
    fn new(log: &'a WriteLog, bytes: usize) -> Self {
        Self { log, all: vec![0; bytes], stable: vec![0; bytes], cache: Vec::new() }
    }

    fn carry_out(&mut self, entry: &'a Entry) -> Result<()> {
        self.log.apply(entry, &mut self.all)?;
        match entry {
            Entry::Write { fua: true, .. } => self.log.apply(entry, &mut self.stable)?,
            Entry::Write { .. } | Entry::Discard { .. } => self.cache.push(entry),
            Entry::Mark(_) => {}
            Entry::Flush => {
                for entry in self.cache.drain(..) {
                    self.log.apply(entry, &mut self.stable)?;
                }
            }
        }
        Ok(())
    }

    /// What `judge` says of the disk with this entry, but with nothing of its cache.
    fn with_only(
        &mut self,
        entry: &Entry,
        judge: impl FnOnce(&[u8]) -> Result<u64>,
    ) -> Result<u64> {
        let place = entry.place();
        let before = self.stable.get(place.clone()).unwrap_or_default().to_owned();
        self.log.apply(entry, &mut self.stable)?;
        let judged = judge(&self.stable);
        self.stable[place].copy_from_slice(&before);
        judged
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sequence::tests::logged;
    use crate::write_log::tests::{FLUSH_FLAG, FUA_FLAG, LAST, log_of};

    /// The log of a disk that carries out the first 600 writes, and does not obey what `obeys` says
    /// no to: of write so and so, FUA or the flush behind it.
    fn replay_of(obeys: impl Fn(u64) -> bool) -> Replay {
        let writes: Vec<_> = (1..=600).map(|write| (write, logged(write))).collect();
        let mut entries = Vec::new();
        for (write, (sector, fua, flush, bytes)) in &writes {
            let flags = if *fua && obeys(*write) { FUA_FLAG } else { 0 };
            entries.push((*sector, 8, flags, &bytes[..]));
            if *flush && obeys(*write) {
                entries.push((0, 0, FLUSH_FLAG, &b""[..]));
            }
        }
        entries.push(LAST);
        let file = log_of(&entries);
        let log = WriteLog::read(file.path()).unwrap();
        let mut disk = vec![0; 1 << 20];
        log.entries().iter().for_each(|entry| log.apply(entry, &mut disk).unwrap());
        let replay = Replay::of(log, &disk).unwrap();
        replay.leads_to(&disk).unwrap();
        disk[1000] ^= 1;
        assert!(replay.leads_to(&disk).is_err());
        replay
    }

    fn judged(replay: &Replay, without: Option<usize>) -> Result<Counts> {
        replay.judge(without, |_, _, _| Ok(()))
    }

    #[test]
    fn a_disk_that_obeys_is_a_prefix_at_any_time() {
        let replay = replay_of(|_| true);
        let counts = judged(&replay, None).unwrap();
        assert_eq!((counts.writes, counts.flushes, counts.fua), (600, 37, 75));
        let points = replay.points(4);
        assert!(points.is_empty(), "nobody noted what is durable: {points:?}");
    }

    #[test]
    fn a_flush_and_a_write_with_fua_that_are_not_obeyed_are_seen() {
        // Write 300 has a flush behind it, write 304 has FUA.
        for disobeyed in [300, 304] {
            let text = judged(&replay_of(|write| write != disobeyed), None).unwrap_err();
            assert!(text.to_string().contains("is lost"), "{text}");
        }
    }

    #[test]
    fn a_write_that_is_left_out_is_seen() {
        let replay = replay_of(|_| true);
        let dropped = replay.one_to_drop().unwrap();
        assert!(judged(&replay, Some(dropped)).is_err());
    }

    #[test]
    fn what_is_durable_is_read_back_from_a_mark() {
        let durable = Durable { write: 812, files: 40 };
        assert_eq!(Durable::parse("812 40\n").unwrap(), durable);
        assert_eq!(Durable::of_mark(&Entry::Mark(durable.mark())), Some(durable));
        assert_eq!(Durable::of_mark(&Entry::Mark("dm-log-writes-end".to_owned())), None);
        assert!(Durable::parse("812").is_err());
    }
}
