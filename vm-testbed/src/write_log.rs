//! What a disk was told to write, as the kernel's `dm-log-writes` has taken it down, and a disk
//! that gets it again (the format stands at the head of drivers/md/dm-log-writes.c).
//!
//! A write is in the log before the flush that covers it; with FUA, where it was completed.
//! Whatever the entry up to which the log is carried out, the disk is then as a loss of power at
//! that time may have left it.

use std::fs::File;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::Path;

use tandem_tests::{Context, Failure, Result, ensure};

const MAGIC: u64 = 0x006a_7366_7773_6872;
const VERSION: u64 = 1;

const FLUSH: u64 = 1;
const FUA: u64 = 1 << 1;
const DISCARD: u64 = 1 << 2;
const MARK: u64 = 1 << 3;

/// What the kernel notes last when the device is taken away in good order.
const END: &str = "dm-log-writes-end";

/// Fields of an entry, before the text of a mark.
const HEADER_BYTES: usize = 32;

/// One entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Entry {
    /// Bytes from `at` on, which stand in the log from `data` on.
    Write {
        /// Where, in bytes.
        at: usize,
        /// How many.
        bytes: usize,
        /// Where they stand in the log.
        data: u64,
        /// It went past the write cache.
        fua: bool,
    },
    /// Bytes that are no longer needed.
    Discard {
        /// Where, in bytes.
        at: usize,
        /// How many.
        bytes: usize,
    },
    /// The write cache was emptied.
    Flush,
    /// Somebody wrote this into the log.
    Mark(String),
}

impl Entry {
    /// The bytes of a disk that it changes.
    pub(crate) fn place(&self) -> Range<usize> {
        match *self {
            Self::Write { at, bytes, .. } | Self::Discard { at, bytes } => at..at + bytes,
            Self::Flush | Self::Mark(_) => 0..0,
        }
    }
}

/// A log.
#[derive(Debug)]
pub(crate) struct WriteLog {
    file: File,
    entries: Vec<Entry>,
}

impl WriteLog {
    /// Reads the log on a log device, whose device has been taken away.
    ///
    /// # Errors
    /// It is no log, or lacks its end: the log device was too small.
    pub(crate) fn read(path: &Path) -> Result<Self> {
        let file = File::open(path).about(path.display())?;
        let entries = entries(&file).about(path.display())?;
        let ends = entries.last() == Some(&Entry::Mark(END.to_owned()));
        ensure(ends, || format!("{}: the log of writes has no end", path.display()))?;
        Ok(Self { file, entries })
    }

    /// All entries, in order.
    pub(crate) fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// Carries out one entry of this log.
    ///
    /// # Errors
    /// It lies outside of `disk`, or the log ends in it.
    pub(crate) fn apply(&self, entry: &Entry, disk: &mut [u8]) -> Result<()> {
        let place = disk.get_mut(entry.place());
        let outside = || Failure::new(format!("{entry:?} lies outside of the disk"));
        let place = place.ok_or_else(outside)?;
        match *entry {
            Entry::Write { data, .. } => self.file.read_exact_at(place, data).about("a write"),
            Entry::Discard { .. } | Entry::Flush | Entry::Mark(_) => {
                place.fill(0);
                Ok(())
            }
        }
    }
}

fn entries(file: &File) -> Result<Vec<Entry>> {
    let [magic, version, count, sector_bytes] = words(file, 0)?;
    // The field has 32 bits.
    let sector_bytes = sector_bytes & u64::from(u32::MAX);
    ensure(magic == MAGIC && version == VERSION, || "no log of dm-log-writes".to_owned())?;
    ensure(sector_bytes >= 512, || format!("sectors of {sector_bytes} bytes"))?;
    let mut entries = Vec::new();
    let mut next = sector_bytes;
    for _ in 0..count {
        let [sector, sectors, flags, text_bytes] = words(file, next)?;
        let data = next + sector_bytes;
        next = data;
        let at = usize::try_from(sector * sector_bytes)?;
        let bytes = usize::try_from(sectors * sector_bytes)?;
        if flags & MARK != 0 {
            let room = sector_bytes - HEADER_BYTES as u64;
            let mut text = vec![0; usize::try_from(text_bytes.min(room))?];
            file.read_exact_at(&mut text, data - room).about("a mark")?;
            entries.push(Entry::Mark(String::from_utf8_lossy(&text).into_owned()));
        } else if flags & DISCARD != 0 {
            entries.push(Entry::Discard { at, bytes });
        } else {
            // A flush with data is one before them.
            if flags & FLUSH != 0 {
                entries.push(Entry::Flush);
            }
            if bytes > 0 {
                next += sectors * sector_bytes;
                entries.push(Entry::Write { at, bytes, data, fua: flags & FUA != 0 });
            }
        }
    }
    Ok(entries)
}

/// The four numbers that the superblock and every entry begin with.
fn words(file: &File, at: u64) -> Result<[u64; 4]> {
    let mut bytes = [0; HEADER_BYTES];
    file.read_exact_at(&mut bytes, at).about("the log of writes")?;
    let mut words = [0; 4];
    for (word, bytes) in words.iter_mut().zip(bytes.chunks_exact(8)) {
        *word = u64::from_le_bytes(bytes.try_into().expect("chunks of 8"));
    }
    Ok(words)
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    pub(crate) const FUA_FLAG: u64 = FUA;
    pub(crate) const FLUSH_FLAG: u64 = FLUSH;

    fn sector(words: [u64; 4], text: &[u8]) -> Vec<u8> {
        let mut sector: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
        sector.extend_from_slice(text);
        sector.resize(512, 0);
        sector
    }

    /// A log of these entries: sector, sectors, flags, data or the text of a mark.
    pub(crate) fn log_of(entries: &[(u64, u64, u64, &[u8])]) -> tempfile::NamedTempFile {
        let mut bytes = sector([MAGIC, VERSION, entries.len() as u64, 512], b"");
        for (at, sectors, flags, data) in entries {
            let (text, content) =
                if flags & MARK != 0 { (*data, &[][..]) } else { (&[][..], *data) };
            bytes.extend(sector([*at, *sectors, *flags, text.len() as u64], text));
            bytes.extend_from_slice(content);
        }
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), bytes).unwrap();
        file
    }

    /// What stands at the end of every log.
    pub(crate) const LAST: (u64, u64, u64, &[u8]) = (0, 0, MARK, END.as_bytes());

    #[test]
    fn a_log_is_carried_out() {
        let file = log_of(&[
            (1, 2, 0, &[7; 1024]),
            (0, 0, FLUSH, b""),
            (2, 1, FUA, &[8; 512]),
            (0, 0, MARK, b"owed 3"),
            (0, 2, DISCARD, b""),
            (3, 1, FLUSH | FUA, &[9; 512]),
            LAST,
        ]);
        let log = WriteLog::read(file.path()).unwrap();
        let mut disk = vec![1; 2048];
        let mut seen = Vec::new();
        for entry in log.entries() {
            log.apply(entry, &mut disk).unwrap();
            seen.push([disk[0], disk[512], disk[1024], disk[1536]]);
        }
        let expected = [
            [1, 7, 7, 1],
            [1, 7, 7, 1],
            [1, 7, 8, 1],
            [1, 7, 8, 1],
            [0, 0, 8, 1],
            [0, 0, 8, 1],
            [0, 0, 8, 9],
            [0, 0, 8, 9],
        ];
        assert_eq!(seen, expected);
        assert_eq!(log.entries()[3], Entry::Mark("owed 3".to_owned()));
        assert!(matches!(log.entries()[2], Entry::Write { fua: true, .. }));
        assert!(log.apply(&log.entries()[2], &mut [0; 1024]).is_err(), "outside of the disk");
    }

    #[test]
    fn what_is_no_whole_log_is_refused() {
        let refused = |file: &tempfile::NamedTempFile| WriteLog::read(file.path()).is_err();
        assert!(refused(&log_of(&[(0, 0, FLUSH, b"")])), "no end");
        let file = log_of(&[LAST]);
        assert!(!refused(&file));
        std::fs::write(file.path(), [0; 4096]).unwrap();
        assert!(refused(&file));
        std::fs::write(file.path(), sector([MAGIC, VERSION, 1, 512], b"")).unwrap();
        assert!(refused(&file), "cut off");
    }
}
