//! The bytes of a sector, in brief.
//!
//! Nearly every sector is stamped or zero, and follows from a few words: an image kept in this way
//! is twenty times smaller than its bytes, and copies of sectors cost next to nothing. Readers get
//! the bytes; of what is written every byte is looked at.

use crate::stamp::{self, Content, SECTOR, Stamp};

/// What a sector holds. Equal cells are equal bytes, and the other way round.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Cell {
    /// Zeroes only.
    #[default]
    Zero,
    /// A whole stamp.
    Stamped(Stamp),
    /// Anything else: metadata, and what has rotted.
    Other(Box<[u8; SECTOR]>),
}

impl Cell {
    /// What stands for the bytes of `sector`.
    pub fn of(sector: &[u8]) -> Self {
        let bytes: &[u8; SECTOR] = sector.try_into().expect("a whole sector");
        match Stamp::of(bytes) {
            Some(stamp) => Self::Stamped(stamp),
            None if stamp::is_zero(bytes) => Self::Zero,
            None => Self::Other(Box::new(*bytes)),
        }
    }

    /// Gives the bytes.
    pub fn fill(&self, sector: &mut [u8]) {
        match self {
            Self::Zero => sector.fill(0),
            Self::Stamped(stamp) => stamp.fill(sector),
            Self::Other(bytes) => sector.copy_from_slice(&bytes[..]),
        }
    }

    /// What it shows, as `stamp::peek` tells it of the bytes.
    pub fn content(&self) -> Content {
        match self {
            Self::Zero => Content::Zero,
            Self::Stamped(stamp) => stamp.content(),
            Self::Other(bytes) => stamp::peek(&bytes[..]),
        }
    }

    /// Whether it is neither stamped nor zero.
    pub fn is_other(&self) -> bool {
        matches!(self, Self::Other(_))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stands_for_every_byte() {
        let mut stamped = [0; SECTOR];
        Stamp::new(7, 3, 1).fill(&mut stamped);
        let mut rotten = stamped;
        rotten[100] ^= 1;
        let mut low = [0; SECTOR];
        low[50] = 1;
        for (bytes, other) in [(stamped, false), (rotten, true), (low, true), ([0; SECTOR], false)]
        {
            let cell = Cell::of(&bytes);
            let mut back = [9; SECTOR];
            cell.fill(&mut back);
            assert_eq!(back, bytes);
            assert_eq!(cell.content(), stamp::peek(&bytes));
            assert_eq!(cell.is_other(), other);
        }
        assert_ne!(Cell::of(&stamped), Cell::of(&rotten));
    }
}
