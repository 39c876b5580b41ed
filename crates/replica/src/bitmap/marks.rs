//! A mark per page, taken in rotation so that a page changed over and over starves no other.

use super::PageIndex;

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct PageMarks {
    words: Vec<u64>,
    pages: usize,
    count: u32,
    /// Page that the next search starts at.
    cursor: usize,
}

impl PageMarks {
    pub(super) fn new(pages: usize) -> Self {
        Self { words: vec![0; pages.div_ceil(64)], pages, count: 0, cursor: 0 }
    }

    pub(super) fn mark(&mut self, index: PageIndex) {
        let (word, mask) = self.place(index);
        if self.words[word] & mask == 0 {
            self.words[word] |= mask;
            self.count += 1;
        }
    }

    /// Whether the page was marked; it is not any more.
    pub(super) fn take(&mut self, index: PageIndex) -> bool {
        let (word, mask) = self.place(index);
        let marked = self.words[word] & mask != 0;
        if marked {
            self.words[word] &= !mask;
            self.count -= 1;
        }
        marked
    }

    pub(super) fn take_next(&mut self) -> Option<PageIndex> {
        if self.count == 0 {
            return None;
        }
        let mut word = self.cursor / 64;
        let mut found = self.words[word] & (u64::MAX << (self.cursor % 64));
        while found == 0 {
            word = (word + 1) % self.words.len();
            found = self.words[word];
        }
        let bit = found.trailing_zeros();
        let index = PageIndex(u32::try_from(word * 64).expect("at most 2^23 pages") + bit);
        assert!(self.take(index), "a marked page was found");
        self.cursor = (index.slot() + 1) % self.pages;
        Some(index)
    }

    pub(super) fn is_marked(&self, index: PageIndex) -> bool {
        let (word, mask) = self.place(index);
        self.words[word] & mask != 0
    }

    pub(super) fn count(&self) -> u32 {
        self.count
    }

    fn place(&self, index: PageIndex) -> (usize, u64) {
        assert!(index.slot() < self.pages, "page {} of {}", index.0, self.pages);
        (index.slot() / 64, 1 << (index.slot() % 64))
    }
}
