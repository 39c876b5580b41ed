//! A set of sectors of one volume, one bit each.

/// The set; sectors behind its end are not in it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SectorSet {
    words: Vec<u64>,
}

impl SectorSet {
    /// None of so many sectors.
    pub fn empty(sectors: usize) -> Self {
        Self { words: vec![0; sectors.div_ceil(64)] }
    }

    /// All of so many sectors.
    pub fn full(sectors: usize) -> Self {
        let mut set = Self::empty(sectors);
        (0..sectors).for_each(|sector| set.insert(sector));
        set
    }

    /// Room for so many sectors.
    pub fn grow(&mut self, sectors: usize) {
        self.words.resize(sectors.div_ceil(64).max(self.words.len()), 0);
    }

    /// Puts one in.
    pub fn insert(&mut self, sector: usize) {
        self.words[sector / 64] |= 1 << (sector % 64);
    }

    /// Whether one is in it.
    pub fn contains(&self, sector: usize) -> bool {
        self.words.get(sector / 64).is_some_and(|word| word & 1 << (sector % 64) != 0)
    }

    /// Adds those that `into` has room for to it, and is empty.
    pub fn move_to(&mut self, into: &mut Self) {
        for (to, from) in into.words.iter_mut().zip(&self.words) {
            *to |= from;
        }
        self.words.fill(0);
    }

    /// Keeps those that `keep` is true for, in ascending order.
    pub fn retain(&mut self, mut keep: impl FnMut(usize) -> bool) {
        for (index, word) in self.words.iter_mut().enumerate() {
            let mut left = *word;
            while left != 0 {
                let bit = left.trailing_zeros();
                left &= left - 1;
                if !keep(index * 64 + bit as usize) {
                    *word &= !(1 << bit);
                }
            }
        }
    }

    /// Its sectors, ascending.
    pub fn iter(&self) -> impl Iterator<Item = usize> {
        let bits = |word: u64| (0..64).filter(move |bit| word & 1 << bit != 0);
        let words = self.words.iter().enumerate().filter(|(_, word)| **word != 0);
        words.flat_map(move |(index, word)| bits(*word).map(move |bit| index * 64 + bit))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn holds_what_was_put_in() {
        let mut touched = SectorSet::empty(200);
        let mut all = SectorSet::full(130);
        for sector in [0, 63, 64, 129, 130, 199] {
            touched.insert(sector);
        }
        assert_eq!(touched.iter().collect::<Vec<_>>(), [0, 63, 64, 129, 130, 199]);
        all.retain(|sector| sector == 5);
        touched.move_to(&mut all);
        all.retain(|sector| sector < 130);
        assert_eq!(all.iter().collect::<Vec<_>>(), [0, 5, 63, 64, 129]);
        assert_eq!(touched, SectorSet::empty(200));
        assert_eq!(SectorSet::full(70).iter().count(), 70);
    }
}
