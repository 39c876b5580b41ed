//! One page of a bitmap: 32768 bits, of which the first `limit` stand for blocks of the device.
//!
//! A page is kept in one form only: with no bit set it is [`Page::AllClear`], with all bits below
//! `limit` set [`Page::AllSet`], and a mixed page has no bit at or above `limit`.

use std::ops::Range;

use super::PAGE_BYTES;

type Words = [u64; 512];

/// What is written to disk, or was read, for one page.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PageImage {
    /// No bit is set.
    AllClear,
    /// Every bit is set that stands for a block.
    AllSet,
    /// The bits: bit `i` of the page is bit `i % 8`, counted from the lowest, of byte `i / 8`.
    Mixed(Box<[u8; PAGE_BYTES]>),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Page {
    AllClear,
    AllSet,
    Mixed { words: Box<Words>, set: u32 },
}

impl Page {
    /// The page that an image stands for; bits at and above `limit` are dropped.
    pub(super) fn from_image(image: &PageImage, limit: u32) -> Self {
        let bytes = match image {
            PageImage::AllClear => return Self::AllClear,
            PageImage::AllSet => return Self::AllSet,
            PageImage::Mixed(bytes) => bytes,
        };
        let mut words = Box::new([0; 512]);
        let mut set = 0;
        for (word, mask) in masks(0..limit) {
            let eight = bytes[word * 8..].first_chunk().expect("a page has 512 words");
            words[word] = u64::from_le_bytes(*eight) & mask;
            set += words[word].count_ones();
        }
        let mut page = Self::Mixed { words, set };
        page.settle(limit);
        page
    }

    /// Returns how many bits changed, as all below do.
    pub(super) fn set(&mut self, bits: Range<u32>, limit: u32) -> u32 {
        assert!(bits.end <= limit, "bits beyond the device");
        if bits.is_empty() || *self == Self::AllSet {
            return 0;
        }
        let before = self.count(limit);
        if bits == (0..limit) {
            *self = Self::AllSet;
            return limit - before;
        }
        let (words, set) = self.mixed(limit);
        for (word, mask) in masks(bits) {
            *set += (mask & !words[word]).count_ones();
            words[word] |= mask;
        }
        self.settle(limit);
        self.count(limit) - before
    }

    /// Sets what is set in `bits`, of the 64 bits from `word` times 64 on.
    pub(super) fn or_word(&mut self, word: usize, bits: u64, limit: u32) -> u32 {
        assert_eq!(bits & !word_limit(word, limit), 0, "bits beyond the device");
        if bits == 0 || *self == Self::AllSet {
            return 0;
        }
        let (words, set) = self.mixed(limit);
        let added = (bits & !words[word]).count_ones();
        words[word] |= bits;
        *set += added;
        self.settle(limit);
        added
    }

    pub(super) fn clear(&mut self, bits: Range<u32>, limit: u32) -> u32 {
        assert!(bits.end <= limit, "bits beyond the device");
        if bits.is_empty() || *self == Self::AllClear {
            return 0;
        }
        let before = self.count(limit);
        if bits == (0..limit) {
            *self = Self::AllClear;
            return before;
        }
        let (words, set) = self.mixed(limit);
        for (word, mask) in masks(bits) {
            *set -= (mask & words[word]).count_ones();
            words[word] &= !mask;
        }
        self.settle(limit);
        before - self.count(limit)
    }

    pub(super) fn union(&mut self, other: &Self, limit: u32) -> u32 {
        let added = match other {
            Self::AllClear => return 0,
            Self::AllSet => return self.set(0..limit, limit),
            Self::Mixed { words, .. } => words,
        };
        if *self == Self::AllSet {
            return 0;
        }
        let before = self.count(limit);
        let (words, set) = self.mixed(limit);
        *set = 0;
        for (word, more) in words.iter_mut().zip(added.iter()) {
            *word |= more;
            *set += word.count_ones();
        }
        self.settle(limit);
        self.count(limit) - before
    }

    /// Follows the page's limit from `old_limit` to `limit`: bits from `kept` on become clear.
    pub(super) fn relimit(&mut self, kept: u32, old_limit: u32, limit: u32) {
        if old_limit == limit || *self == Self::AllClear {
            return;
        }
        let (words, set) = self.mixed(old_limit);
        for (word, mask) in masks(kept..old_limit.max(kept)) {
            words[word] &= !mask;
        }
        *set = words.iter().map(|word| word.count_ones()).sum();
        self.settle(limit);
    }

    pub(super) fn count(&self, limit: u32) -> u32 {
        match self {
            Self::AllClear => 0,
            Self::AllSet => limit,
            Self::Mixed { set, .. } => *set,
        }
    }

    pub(super) fn any(&self, bits: Range<u32>) -> bool {
        match self {
            Self::AllClear => false,
            Self::AllSet => !bits.is_empty(),
            Self::Mixed { words, .. } => masks(bits).any(|(word, mask)| words[word] & mask != 0),
        }
    }

    /// The 64 bits from `word` times 64 on.
    pub(super) fn word(&self, word: usize, limit: u32) -> u64 {
        match self {
            Self::AllClear => 0,
            Self::AllSet => word_limit(word, limit),
            Self::Mixed { words, .. } => words[word],
        }
    }

    /// First set bit at or behind `from`, a bit below the limit.
    pub(super) fn next_set(&self, from: u32) -> Option<u32> {
        match self {
            Self::AllClear => None,
            Self::AllSet => Some(from),
            Self::Mixed { words, .. } => first_bit(from..32768, |word| words[word]),
        }
    }

    /// First clear bit in `bits`.
    pub(super) fn next_clear(&self, bits: Range<u32>) -> Option<u32> {
        match self {
            Self::AllClear => Some(bits.start),
            Self::AllSet => None,
            Self::Mixed { words, .. } => first_bit(bits, |word| !words[word]),
        }
    }

    pub(super) fn image(&self) -> PageImage {
        let words = match self {
            Self::AllClear => return PageImage::AllClear,
            Self::AllSet => return PageImage::AllSet,
            Self::Mixed { words, .. } => words,
        };
        let mut bytes = Box::new([0; PAGE_BYTES]);
        for (eight, word) in bytes.as_chunks_mut().0.iter_mut().zip(words.iter()) {
            *eight = word.to_le_bytes();
        }
        PageImage::Mixed(bytes)
    }

    /// Gives the page memory of its own to change bits in.
    fn mixed(&mut self, limit: u32) -> (&mut Words, &mut u32) {
        let filled = match self {
            Self::AllClear => 0,
            Self::AllSet => limit,
            Self::Mixed { words, set } => return (words, set),
        };
        let mut words = Box::new([0; 512]);
        masks(0..filled).for_each(|(word, mask)| words[word] = mask);
        *self = Self::Mixed { words, set: filled };
        self.mixed(limit)
    }

    /// Returns to the page's one form after its bits changed.
    fn settle(&mut self, limit: u32) {
        let set = self.count(limit);
        assert!(set <= limit, "more bits set than there are");
        if set == 0 {
            *self = Self::AllClear;
        } else if set == limit {
            *self = Self::AllSet;
        }
    }
}

/// The bits of a word that lie below `limit`.
fn word_limit(word: usize, limit: u32) -> u64 {
    let first = u32::try_from(word * 64).expect("a page has 32768 bits");
    match limit.saturating_sub(first) {
        0 => 0,
        below if below >= 64 => u64::MAX,
        below => u64::MAX >> (64 - below),
    }
}

/// Cuts a run of bits at the borders of words, as masks.
fn masks(bits: Range<u32>) -> impl Iterator<Item = (usize, u64)> {
    (bits.start / 64..bits.end.div_ceil(64)).map(move |word| {
        let low = bits.start.saturating_sub(word * 64);
        let high = (bits.end - word * 64).min(64);
        (word as usize, (u64::MAX << low) & (u64::MAX >> (64 - high)))
    })
}

fn first_bit(bits: Range<u32>, word_at: impl Fn(usize) -> u64) -> Option<u32> {
    for (word, mask) in masks(bits) {
        let found = word_at(word) & mask;
        if found != 0 {
            let first = u32::try_from(word * 64).expect("a page has 32768 bits");
            return Some(first + found.trailing_zeros());
        }
    }
    None
}
