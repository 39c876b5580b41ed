//! A generated tree of files in one image, with a checksum for each file.
//!
//! ```text
//! 0      magic, number of files
//! 4096   index: for each file its path, offset, length and CRC-32, in 128 bytes
//! ...    the files, each from a multiple of 4096 on
//! ```
//! The index lies in the image itself, so that whoever reads the image can tell whether it is
//! whole, knowing nothing else.

use tandem_tests::{Failure, Random, Result, ensure};

const MAGIC: &[u8; 16] = b"tandem demo tree";
const BLOCK_BYTES: usize = 4096;
const ENTRY_BYTES: usize = 128;
const PATH_BYTES: usize = 104;

/// A file of the tree.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    pub(crate) path: String,
    offset: u64,
    length: u64,
    crc: u32,
}

/// The tree, as it should be.
#[derive(Debug)]
pub(crate) struct Tree {
    /// All of the image, to be written at 0.
    pub(crate) image: Vec<u8>,
    entries: Vec<Entry>,
    random: Random,
}

impl Tree {
    /// Files of some KiB to some MiB, in folders, until `bytes` are full.
    pub(crate) fn generate(bytes: usize) -> Self {
        let mut random = Random::new(0x7461_6e64_656d);
        let mut image = vec![0; bytes];
        let mut entries: Vec<Entry> = Vec::new();
        let mut offset = FIRST_FILE;
        while entries.len() < ENTRIES_MAX {
            let bound = if random.chance(10) { 4 << 20 } else { 300 << 10 };
            let length = 512 + random.below(bound);
            let end = offset + usize::try_from(length).unwrap_or(BLOCK_BYTES);
            if end > bytes {
                break;
            }
            let path = path(entries.len(), &mut random);
            image[offset..end].copy_from_slice(&random.bytes(end - offset));
            let crc = crc32fast::hash(&image[offset..end]);
            entries.push(Entry { path, offset: offset as u64, length, crc });
            offset = end.next_multiple_of(BLOCK_BYTES);
        }
        let mut tree = Self { image, entries, random };
        tree.write_index();
        tree
    }

    /// Rewrites `count` files with other contents; returns the ranges that have changed, in blocks.
    pub(crate) fn edit(&mut self, count: usize) -> Vec<std::ops::Range<usize>> {
        let mut changed = Vec::new();
        for _ in 0..count {
            let number = usize::try_from(self.random.below(self.entries.len() as u64)).unwrap_or(0);
            let entry = &mut self.entries[number];
            let range = entry.range();
            let fresh = self.random.bytes(range.len());
            self.image[range.clone()].copy_from_slice(&fresh);
            entry.crc = crc32fast::hash(&fresh);
            changed.push(range.start..range.end.next_multiple_of(BLOCK_BYTES));
        }
        self.write_index();
        let index = self.entries.len() * ENTRY_BYTES;
        changed.push(0..BLOCK_BYTES + index.next_multiple_of(BLOCK_BYTES));
        changed.retain(|range| range.end <= self.image.len());
        changed
    }

    /// How many files there are.
    pub(crate) fn files(&self) -> usize {
        self.entries.len()
    }

    fn write_index(&mut self) {
        self.image[..16].copy_from_slice(MAGIC);
        self.image[16..24].copy_from_slice(&(self.entries.len() as u64).to_le_bytes());
        let slots = self.image[BLOCK_BYTES..FIRST_FILE].chunks_exact_mut(ENTRY_BYTES);
        for (slot, entry) in slots.zip(&self.entries) {
            slot.fill(0);
            slot[..entry.path.len()].copy_from_slice(entry.path.as_bytes());
            slot[PATH_BYTES..PATH_BYTES + 8].copy_from_slice(&entry.offset.to_le_bytes());
            slot[PATH_BYTES + 8..PATH_BYTES + 16].copy_from_slice(&entry.length.to_le_bytes());
            slot[PATH_BYTES + 16..PATH_BYTES + 20].copy_from_slice(&entry.crc.to_le_bytes());
        }
    }
}

impl Entry {
    fn range(&self) -> std::ops::Range<usize> {
        let start = usize::try_from(self.offset).unwrap_or(usize::MAX);
        start..start.saturating_add(usize::try_from(self.length).unwrap_or(usize::MAX))
    }
}

/// Checks every file of an image against the index in it; returns their number.
pub(crate) fn check(image: &[u8]) -> Result<usize> {
    ensure(image.starts_with(MAGIC), || "there is no tree in this image".to_owned())?;
    let count = usize::try_from(number(&image[16..24]))?;
    ensure(count <= ENTRIES_MAX, || format!("an index of {count} files"))?;
    for slot in image[BLOCK_BYTES..FIRST_FILE].chunks_exact(ENTRY_BYTES).take(count) {
        let path = String::from_utf8_lossy(&slot[..PATH_BYTES]).trim_end_matches('\0').to_owned();
        let (offset, length) = (number(&slot[104..112]), number(&slot[112..120]));
        let entry = Entry { path, offset, length, crc: 0 };
        let file = image.get(entry.range());
        let file = file.ok_or_else(|| Failure::new(format!("{} has no place", entry.path)))?;
        let is_whole = crc32fast::hash(file).to_le_bytes() == slot[120..124];
        ensure(is_whole, || format!("{}: the checksum does not fit", entry.path))?;
    }
    Ok(count)
}

fn number(bytes: &[u8]) -> u64 {
    let mut word = [0; 8];
    word.copy_from_slice(bytes);
    u64::from_le_bytes(word)
}

fn path(number: usize, random: &mut Random) -> String {
    const FOLDERS: [&str; 6] = ["etc", "home/ada", "home/grace", "srv/db", "var/log", "var/mail"];
    const KINDS: [&str; 5] = ["txt", "db", "log", "jpg", "conf"];
    let folder = FOLDERS[usize::try_from(random.below(6)).unwrap_or(0)];
    let kind = KINDS[usize::try_from(random.below(5)).unwrap_or(0)];
    format!("{folder}/{number:04}.{kind}")
}

const ENTRIES_MAX: usize = 2048;
const FIRST_FILE: usize = BLOCK_BYTES + ENTRIES_MAX * ENTRY_BYTES;

#[cfg(test)]
mod tests {
    use super::{Tree, check};

    #[test]
    fn a_tree_checks_and_a_flipped_bit_does_not() {
        let mut tree = Tree::generate(8 << 20);
        assert!(tree.files() > 10);
        assert_eq!(check(&tree.image).unwrap(), tree.files());
        let before = tree.image.clone();
        let changed = tree.edit(3);
        assert_eq!(check(&tree.image).unwrap(), tree.files());
        let mut patched = before;
        for range in changed {
            patched[range.clone()].copy_from_slice(&tree.image[range]);
        }
        assert!(patched == tree.image, "edit names all that it changes");
        let place = usize::try_from(tree.entries[5].offset).unwrap();
        tree.image[place] ^= 1;
        assert!(check(&tree.image).unwrap_err().to_string().contains("checksum"));
    }
}
