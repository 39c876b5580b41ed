//! Sectors that say which write they are of.
//!
//! A stamp has the number of its write, its own place and a CRC, so that a stale, misplaced, torn
//! or foreign sector is known from that sector alone.
//! ```text
//! 0        8        16       24                      508   512
//! | magic  | write  | sector | write, again and again | CRC |
//! ```

/// Bytes of a sector, the unit in which writes may tear.
pub const SECTOR_BYTES: usize = 512;

const MAGIC: [u8; 8] = *b"tandem-T";
const CRC_AT: usize = SECTOR_BYTES - 4;

/// Number of a write, from 1; 0 means zeroes.
pub type WriteId = u64;

/// The number that stands for zeroes.
pub const ZEROES: WriteId = 0;

/// Stamps the sectors of `bytes`, of which the first lies at sector `first`.
pub fn stamp(bytes: &mut [u8], write: WriteId, first: u64) {
    debug_assert_eq!(bytes.len() % SECTOR_BYTES, 0);
    for (sector, lba) in bytes.chunks_exact_mut(SECTOR_BYTES).zip(first..) {
        sector[..8].copy_from_slice(&MAGIC);
        sector[8..16].copy_from_slice(&write.to_le_bytes());
        sector[16..24].copy_from_slice(&lba.to_le_bytes());
        for word in sector[24..CRC_AT].chunks_mut(8) {
            word.copy_from_slice(&write.to_le_bytes()[..word.len()]);
        }
        let crc = crc32fast::hash(&sector[..CRC_AT]);
        sector[CRC_AT..].copy_from_slice(&crc.to_le_bytes());
    }
}

/// Which write sector `lba` is of, or what is wrong with it.
///
/// # Errors
/// It is torn, of another place, or no stamp.
pub fn read(sector: &[u8], lba: u64) -> Result<WriteId, String> {
    if sector.iter().all(|byte| *byte == 0) {
        return Ok(ZEROES);
    }
    let (crc, magic) = (crc32fast::hash(&sector[..CRC_AT]).to_le_bytes(), &sector[..8]);
    if magic != MAGIC || sector[CRC_AT..] != crc {
        return Err(format!("no whole stamp: {}", describe(sector)));
    }
    let found = number(&sector[16..24]);
    if found != lba {
        return Err(format!("a stamp of sector {found}"));
    }
    Ok(number(&sector[8..16]))
}

/// Where the stamp of a sector says that it lies; `None` where there is no whole one.
pub fn place(sector: &[u8]) -> Option<u64> {
    let lba = number(sector.get(16..24)?);
    matches!(read(sector, lba), Ok(write) if write != ZEROES).then_some(lba)
}

/// A sector in a few words.
pub fn describe(sector: &[u8]) -> String {
    if sector.iter().all(|byte| *byte == 0) {
        return "zeroes".to_owned();
    }
    if sector.len() == SECTOR_BYTES && sector[..8] == MAGIC {
        let crc = crc32fast::hash(&sector[..CRC_AT]).to_le_bytes();
        let torn = if sector[CRC_AT..] == crc { "" } else { ", torn" };
        let (write, lba) = (number(&sector[8..16]), number(&sector[16..24]));
        return format!("write {write} of sector {lba}{torn}");
    }
    format!("{:02x?}...", &sector[..sector.len().min(8)])
}

fn number(bytes: &[u8]) -> u64 {
    let mut word = [0; 8];
    word.copy_from_slice(bytes);
    u64::from_le_bytes(word)
}

#[cfg(test)]
mod tests {
    use super::{SECTOR_BYTES, place, read, stamp};

    #[test]
    fn a_stamp_is_read_back_and_everything_else_is_told_apart() {
        let mut two = vec![0; 2 * SECTOR_BYTES];
        assert_eq!(read(&two[..SECTOR_BYTES], 7), Ok(0));
        stamp(&mut two, 42, 7);
        let (first, second) = two.split_at(SECTOR_BYTES);
        assert_eq!(read(first, 7), Ok(42));
        assert_eq!(read(second, 8), Ok(42));
        assert_eq!([place(first), place(second)], [Some(7), Some(8)]);
        assert_eq!([place(&[0; SECTOR_BYTES]), place(&[1; SECTOR_BYTES])], [None, None]);
        assert!(read(second, 7).unwrap_err().contains("sector 8"));
        let mut torn = first.to_owned();
        stamp(&mut two, 43, 7);
        torn[256..].copy_from_slice(&two[256..SECTOR_BYTES]);
        assert!(read(&torn, 7).unwrap_err().contains("torn"));
        assert!(read(&[1; SECTOR_BYTES], 7).is_err());
    }
}
