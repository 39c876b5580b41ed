//! What is written into a sector, so that any sector of any image tells which write it is.
//!
//! A stamped sector holds magic, write id, its own sector number, a check word, and a body that
//! follows from them: a torn, misplaced or foreign sector is none.

use crate::prng::mix;

/// Bytes of a sector: what a disk writes wholly or not at all.
pub const SECTOR: usize = 512;
/// Sectors of a block, the unit of the bitmap.
pub const BLOCK_SECTORS: usize = 8;
const MAGIC: u64 = 0x7461_6E64_656D_5331;
/// Magic, id and number.
const HEAD_BYTES: usize = 24;
const STEP: u64 = 0xD6E8_FEB8_6659_FD93;

/// Names a write; in order of submission over the whole run. 0 is what was there at the beginning.
pub type WriteId = u32;

/// What a sector holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Content {
    /// Zeroes only.
    Zero,
    /// Put there by this write for this sector of the volume.
    Written(WriteId, u64),
    /// Neither: torn inside, or bytes of something else.
    Garbage,
}

/// A stamp: what the bytes of a sector follow from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stamp {
    /// The write, and the salt above it.
    id: u64,
    /// Of the sector.
    number: u64,
}

impl Stamp {
    /// The stamp of `id` at sector number `number`. `salt` tells the images of the nodes apart that
    /// nobody has written yet.
    pub fn new(id: WriteId, number: u64, salt: u32) -> Self {
        Self { id: u64::from(id) | u64::from(salt) << 32, number }
    }

    /// The stamp that `sector` holds, every byte checked.
    pub fn of(sector: &[u8]) -> Option<Self> {
        if word(sector, 0) != MAGIC {
            return None;
        }
        let stamp = Self { id: word(sector, 1), number: word(sector, 2) };
        let mut expected = stamp.check();
        // All bits that differ, and no early end: the compiler makes a straight run of it.
        let mut wrong = 0;
        for bytes in sector[HEAD_BYTES..].chunks_exact(8) {
            wrong |= u64::from_le_bytes(bytes.try_into().expect("eight bytes")) ^ expected;
            expected = expected.wrapping_add(STEP);
        }
        (wrong == 0).then_some(stamp)
    }

    /// Fills `sector` with it.
    pub fn fill(self, sector: &mut [u8]) {
        assert_eq!(sector.len(), SECTOR);
        let (head, body) = sector.split_at_mut(HEAD_BYTES);
        for (bytes, word) in head.chunks_exact_mut(8).zip([MAGIC, self.id, self.number]) {
            bytes.copy_from_slice(&word.to_le_bytes());
        }
        let mut word = self.check();
        for bytes in body.chunks_exact_mut(8) {
            bytes.copy_from_slice(&word.to_le_bytes());
            word = word.wrapping_add(STEP);
        }
    }

    /// What a sector with it shows.
    pub fn content(self) -> Content {
        let id = WriteId::try_from(self.id & 0xFFFF_FFFF).expect("32 bits");
        Content::Written(id, self.number)
    }

    /// The first word of the body; each further one is a step larger.
    fn check(self) -> u64 {
        mix(MAGIC ^ mix(self.id) ^ self.number)
    }
}

/// The whole sector, every byte checked.
pub fn read(sector: &[u8]) -> Content {
    match Stamp::of(sector) {
        Some(stamp) => stamp.content(),
        None if is_zero(sector) => Content::Zero,
        None => Content::Garbage,
    }
}

/// Whether every byte of a sector is zero.
pub fn is_zero(sector: &[u8]) -> bool {
    sector == [0; SECTOR]
}

/// By the first and last words only: for scans of whole images, where sectors never tear inside.
pub fn peek(sector: &[u8]) -> Content {
    match word(sector, 0) {
        MAGIC => Stamp { id: word(sector, 1), number: word(sector, 2) }.content(),
        0 if word(sector, SECTOR / 8 - 1) == 0 => Content::Zero,
        _ => Content::Garbage,
    }
}

fn word(sector: &[u8], index: usize) -> u64 {
    let bytes = sector[index * 8..index * 8 + 8].try_into().expect("eight bytes");
    u64::from_le_bytes(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tells_its_write_and_place() {
        let mut sector = [0; SECTOR];
        assert_eq!(read(&sector), Content::Zero);
        Stamp::new(77, 5, 0).fill(&mut sector);
        assert_eq!(read(&sector), Content::Written(77, 5));
    }

    #[test]
    fn any_flipped_byte_is_garbage() {
        for at in 0..SECTOR {
            let mut sector = [0; SECTOR];
            Stamp::new(1, 2, 0).fill(&mut sector);
            sector[at] ^= 1;
            assert_ne!(read(&sector), Content::Written(1, 2), "byte {at}");
        }
    }
}
