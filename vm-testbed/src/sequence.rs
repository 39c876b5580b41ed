//! A sequence of writes that shows, on any image of a disk, which of them are there: whoever writes
//! it runs in a machine, whoever reads it on the host.
//!
//! Every write fills one slot of a file, 4 KiB, with stamps. Its number says which slot, whether it
//! is written with FUA, and whether a flush follows. Up to seven writes are under way at once; FUA
//! writes and flushes are alone. So a number is all that is to be noted, and an image can be judged
//! by itself: what it shows of a write, it owes of all that was durable before that one began.

use std::fs::File;
use std::io::Write;
use std::ops::Range;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;

use rustix::fs::OFlags;
use tandem_tests::stamp::{SECTOR_BYTES, ZEROES, place, read, stamp};
use tandem_tests::{Context, Failure, Result, ensure};

/// Slots of the file; each is written once in so many writes.
const SLOTS: usize = 256;

const SLOT_SECTORS: usize = 8;

/// Bytes of a slot.
const SLOT_BYTES: usize = SLOT_SECTORS * SECTOR_BYTES;

/// A write with FUA every so many.
const FUA_EVERY: u64 = 8;

/// A flush behind every write whose number leaves `FLUSH_BEHIND`, divided by so many.
const FLUSH_EVERY: u64 = 16;
const FLUSH_BEHIND: u64 = 12;

fn slot_of(write: u64) -> usize {
    // Odd, so that every slot gets its turn; neighbours are far apart.
    usize::try_from(write * 97 % SLOTS as u64).expect("below a usize")
}

/// The first sector of a slot, in the file.
fn sector_of(slot: usize) -> u64 {
    (slot * SLOT_SECTORS) as u64
}

fn has_fua(write: u64) -> bool {
    write.is_multiple_of(FUA_EVERY)
}

fn flush_follows(write: u64) -> bool {
    write % FLUSH_EVERY == FLUSH_BEHIND
}

/// The last write of those that are under way together with write `first`.
fn last_beside(first: u64) -> u64 {
    let ends = |write: &u64| has_fua(*write) || has_fua(*write + 1) || flush_follows(*write);
    (first..).find(ends).expect("every eighth does")
}

/// Whether write `early` is durable before write `late` is begun.
fn is_owed(early: u64, late: u64) -> bool {
    let flushed = (late + FLUSH_EVERY - FLUSH_BEHIND - 1) / FLUSH_EVERY * FLUSH_EVERY;
    let flushed = flushed.saturating_sub(FLUSH_EVERY - FLUSH_BEHIND);
    early < late && (early <= flushed || has_fua(early))
}

/// Writes the sequence to `path`, a file that it makes on what is mounted there, until it is
/// killed. Prints the number of every write behind which all that is owed before the next is
/// durable.
///
/// # Errors
/// The disk fails.
pub fn write(path: &Path, notes: &mut impl Write) -> Result<()> {
    // What is written once has its place, and no write behind it changes metadata.
    std::fs::write(path, vec![0; SLOTS * SLOT_BYTES]).about(path.display())?;
    let open = |more: OFlags| {
        let flags = i32::try_from((OFlags::DIRECT | more).bits())?;
        File::options().write(true).custom_flags(flags).open(path).about(path.display())
    };
    let (plain, forced) = (open(OFlags::empty())?, open(OFlags::DSYNC)?);
    plain.sync_all().about(path.display())?;
    let mut next = 1;
    loop {
        let last = last_beside(next);
        if has_fua(next) {
            put(&forced, next)?;
        } else {
            let plain = &plain;
            std::thread::scope(|scope| {
                let begin = |write| scope.spawn(move || put(plain, write));
                let writes: Vec<_> = (next..=last).map(begin).collect();
                writes.into_iter().try_for_each(|it| it.join().expect("it does not panic"))
            })?;
        }
        if flush_follows(last) {
            plain.sync_data().about(path.display())?;
        }
        if has_fua(last) || flush_follows(last) {
            writeln!(notes, "{last}").and_then(|()| notes.flush()).about("the notes")?;
        }
        next = last + 1;
    }
}

/// Fills the slot of a write.
fn put(file: &File, write: u64) -> Result<()> {
    // Direct writes come from aligned memory.
    let mut room = vec![0; 2 * SLOT_BYTES];
    let start = room.as_ptr().align_offset(SLOT_BYTES);
    let slot = &mut room[start..start + SLOT_BYTES];
    stamp(slot, write, sector_of(slot_of(write)));
    file.write_all_at(slot, (slot_of(write) * SLOT_BYTES) as u64).about(format!("write {write}"))
}

/// Where the slots lie on a disk.
#[derive(Debug)]
pub(crate) struct Places(Vec<usize>);

impl Places {
    /// On a disk on which all are written.
    ///
    /// # Errors
    /// One is not, or lies in two places.
    pub(crate) fn find(disk: &[u8]) -> Result<Self> {
        let mut places = vec![None; SLOTS];
        for (block, at) in disk.chunks_exact(SLOT_BYTES).zip((0..).step_by(SLOT_BYTES)) {
            let Some(lba) = place(&block[..SECTOR_BYTES]) else { continue };
            let slot = usize::try_from(lba)? / SLOT_SECTORS;
            let known = places.get_mut(slot).is_some_and(|it| it.replace(at).is_none());
            ensure(known, || format!("slot {slot} lies at byte {at}, and elsewhere"))?;
        }
        let found = places.iter().copied().collect::<Option<Vec<usize>>>();
        let missing = || places.iter().position(Option::is_none);
        found.map(Self).ok_or_else(|| Failure::new(format!("slot {:?} is nowhere", missing())))
    }

    /// Whether a slot begins in these bytes of a disk.
    pub(crate) fn lie_in(&self, bytes: Range<usize>) -> bool {
        self.0.iter().any(|at| bytes.contains(at))
    }

    /// Judges a disk: of what is durable behind write `noted`, and before the last write that is
    /// there was begun, everything is there or has been overwritten. Returns the number of that
    /// last write, 0 for none.
    ///
    /// # Errors
    /// A write is missing, torn or in a wrong place.
    pub(crate) fn judge(&self, disk: &[u8], noted: u64) -> Result<u64> {
        let shown = (0..SLOTS).zip(&self.0).map(|(slot, at)| {
            let slot_bytes = &disk[*at..*at + SLOT_BYTES];
            writes_of(slot_bytes, slot).about(format!("slot {slot}, byte {at}"))
        });
        let shown = shown.collect::<Result<Vec<u64>>>()?;
        let last = shown.iter().copied().max().unwrap_or(ZEROES);
        let late = last.max(noted + 1);
        // Each slot's last one is among these, and the one before it where that is not owed.
        for early in late.saturating_sub(2 * SLOTS as u64).max(1)..late {
            let there = shown[slot_of(early)];
            ensure(there >= early || !is_owed(early, late), || {
                let why = if late == last { "which is there" } else { "as was acknowledged" };
                format!(
                    "write {early} is lost: its slot shows write {there}. It was durable before \
                     write {late} was begun, {why}"
                )
            })?;
        }
        Ok(last)
    }
}

/// The one write that all of a slot is of.
fn writes_of(bytes: &[u8], slot: usize) -> Result<u64> {
    let sectors = bytes.chunks_exact(SECTOR_BYTES).zip(sector_of(slot)..);
    let writes = sectors.map(|(sector, lba)| read(sector, lba));
    let writes = writes.collect::<std::result::Result<Vec<u64>, String>>().about("a sector")?;
    let whole = writes.windows(2).all(|pair| pair[0] == pair[1]);
    ensure(whole, || format!("torn: sectors of writes {writes:?}"))?;
    Ok(writes[0])
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// How a write is logged on a disk that is the file: its first sector, whether it has FUA and
    /// whether a flush follows, and its bytes.
    pub(crate) fn logged(write: u64) -> (u64, bool, bool, Vec<u8>) {
        let mut bytes = vec![0; SLOT_BYTES];
        let sector = sector_of(slot_of(write));
        stamp(&mut bytes, write, sector);
        (sector, has_fua(write), flush_follows(write), bytes)
    }

    /// A disk with the sequence at its begin, all in order up to write `last`, but for those left
    /// out.
    fn disk(last: u64, left_out: &[u64]) -> Vec<u8> {
        let mut disk = vec![0; SLOTS * SLOT_BYTES];
        for write in (1..=last).filter(|write| !left_out.contains(write)) {
            let at = slot_of(write) * SLOT_BYTES;
            disk[at..at + SLOT_BYTES].copy_from_slice(&logged(write).3);
        }
        disk
    }

    fn places() -> Places {
        Places::find(&disk(SLOTS as u64, &[])).unwrap()
    }

    #[test]
    fn what_is_owed_is_what_was_durable_before() {
        let owed = |late| (1..late).filter(|early| is_owed(*early, late)).collect::<Vec<u64>>();
        assert!(owed(8).is_empty(), "the first seven are under way together, then one with FUA");
        assert_eq!(owed(9), [8]);
        assert_eq!(owed(12), [8]);
        assert_eq!(owed(13), (1..=12).collect::<Vec<u64>>(), "a flush follows the twelfth");
        assert_eq!(owed(17), (1..=12).chain([16]).collect::<Vec<u64>>());
        assert_eq!([1, 8, 9, 13, 16, 17].map(last_beside), [7, 8, 12, 15, 16, 23]);
    }

    #[test]
    fn a_prefix_is_one_and_a_gap_is_seen() {
        let places = places();
        assert_eq!(places.judge(&disk(0, &[]), 0).unwrap(), 0);
        assert_eq!(places.judge(&disk(700, &[]), 690).unwrap(), 700);
        // Of those since the last flush, any may be lost, but the ones with FUA.
        assert_eq!(places.judge(&disk(703, &[701, 702]), 696).unwrap(), 703);
        assert!(places.judge(&disk(703, &[696]), 0).is_err());
        assert!(places.judge(&disk(703, &[692]), 0).is_err(), "the flush behind it is done");
        assert!(places.judge(&disk(703, &[600]), 0).is_err(), "long before");
    }

    #[test]
    fn what_was_acknowledged_is_owed_without_a_later_write_too() {
        let places = places();
        // A flush follows write 700.
        assert_eq!(places.judge(&disk(699, &[]), 696).unwrap(), 699);
        assert!(places.judge(&disk(699, &[]), 700).is_err());
        assert!(places.judge(&disk(700, &[699]), 696).is_ok());
        assert!(places.judge(&disk(700, &[699]), 700).is_err());
    }

    #[test]
    fn torn_and_misplaced_writes_are_seen() {
        let places = places();
        let at = slot_of(300) * SLOT_BYTES;
        let mut torn = disk(300, &[]);
        let old = disk(299, &[]);
        torn[at..at + 512].copy_from_slice(&old[at..at + 512]);
        assert!(places.judge(&torn, 0).unwrap_err().to_string().contains("torn"));
        let mut twice = disk(300, &[]);
        let other = if at == 0 { SLOT_BYTES } else { 0 };
        twice.copy_within(at..at + SLOT_BYTES, other);
        assert!(places.judge(&twice, 0).is_err());
        assert!(Places::find(&twice).is_err());
        assert!(Places::find(&disk(SLOTS as u64 - 1, &[])).is_err(), "one slot was never written");
    }
}
