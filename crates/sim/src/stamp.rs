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

/// Fills `sector` with the stamp of `id` at sector number `number`. `salt` tells the images of the
/// nodes apart that nobody has written yet.
pub fn write(sector: &mut [u8], id: WriteId, number: u64, salt: u32) {
    assert_eq!(sector.len(), SECTOR);
    let id = u64::from(id) | u64::from(salt) << 32;
    let (head, body) = sector.split_at_mut(HEAD_BYTES);
    for (bytes, word) in head.chunks_exact_mut(8).zip([MAGIC, id, number]) {
        bytes.copy_from_slice(&word.to_le_bytes());
    }
    let mut word = check(id, number);
    for bytes in body.chunks_exact_mut(8) {
        bytes.copy_from_slice(&word.to_le_bytes());
        word = word.wrapping_add(STEP);
    }
}

/// The first word of the body; each further one is a step larger.
fn check(id: u64, number: u64) -> u64 {
    mix(MAGIC ^ mix(id) ^ number)
}

/// The whole sector, every byte checked.
pub fn read(sector: &[u8]) -> Content {
    let (Content::Written(..), id, number) = head(sector) else {
        return if sector.iter().all(|byte| *byte == 0) { Content::Zero } else { Content::Garbage };
    };
    let mut expected = check(id, number);
    // All bits that differ, and no early end: the compiler makes a straight run of it.
    let mut wrong = 0;
    for bytes in sector[HEAD_BYTES..].chunks_exact(8) {
        wrong |= u64::from_le_bytes(bytes.try_into().expect("eight bytes")) ^ expected;
        expected = expected.wrapping_add(STEP);
    }
    if wrong == 0 { peek(sector) } else { Content::Garbage }
}

/// By the first and last words only: for scans of whole images, where sectors never tear inside.
pub fn peek(sector: &[u8]) -> Content {
    head(sector).0
}

fn head(sector: &[u8]) -> (Content, u64, u64) {
    let (magic, id, number) = (word(sector, 0), word(sector, 1), word(sector, 2));
    let content = if magic == MAGIC {
        let short = WriteId::try_from(id & 0xFFFF_FFFF).expect("32 bits");
        Content::Written(short, number)
    } else if magic == 0 && word(sector, SECTOR / 8 - 1) == 0 {
        Content::Zero
    } else {
        Content::Garbage
    };
    (content, id, number)
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
        write(&mut sector, 77, 5, 0);
        assert_eq!(read(&sector), Content::Written(77, 5));
    }

    #[test]
    fn any_flipped_byte_is_garbage() {
        for at in 0..SECTOR {
            let mut sector = [0; SECTOR];
            write(&mut sector, 1, 2, 0);
            sector[at] ^= 1;
            assert_ne!(read(&sector), Content::Written(1, 2), "byte {at}");
        }
    }
}
