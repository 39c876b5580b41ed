//! The only source of chance: xoshiro256** seeded by splitmix64, both by Blackman and Vigna.
//!
//! Every part of the world draws from a generator of its own (`fork`), so that a change in one part
//! does not reshuffle the others more than it must.

/// A small generator; the same seed gives the same numbers for ever.
#[derive(Clone, Debug)]
pub struct Prng {
    state: [u64; 4],
}

/// One step of splitmix64: a good mix of one word.
pub fn mix(word: u64) -> u64 {
    let mut z = word.wrapping_add(0x9E37_79B9_7F4A_7C15);
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

impl Prng {
    /// A generator that only depends on `seed`.
    pub fn new(seed: u64) -> Self {
        let mut word = seed;
        let state = [0; 4].map(|_: u64| {
            word = word.wrapping_add(0x9E37_79B9_7F4A_7C15);
            mix(word)
        });
        Self { state }
    }

    /// A generator of its own for the part named `label`.
    pub fn fork(&mut self, label: u64) -> Self {
        Self::new(self.word() ^ mix(label))
    }

    /// 64 random bits.
    pub fn word(&mut self) -> u64 {
        let s = &mut self.state;
        let result = s[1].wrapping_mul(5).rotate_left(7).wrapping_mul(9);
        let t = s[1] << 17;
        s[2] ^= s[0];
        s[3] ^= s[1];
        s[1] ^= s[2];
        s[0] ^= s[3];
        s[2] ^= t;
        s[3] = s[3].rotate_left(45);
        result
    }

    /// A number below `limit`.
    ///
    /// # Panics
    /// Where `limit` is zero.
    pub fn below(&mut self, limit: u64) -> u64 {
        assert!(limit > 0, "nothing lies below zero");
        let wide = u128::from(self.word()) * u128::from(limit);
        u64::try_from(wide >> 64).expect("the upper half of 128 bits")
    }

    /// A number from `low` to `high`, both included.
    pub fn between(&mut self, low: u64, high: u64) -> u64 {
        low + self.below(high - low + 1)
    }

    /// An index below `len`.
    pub fn index(&mut self, len: usize) -> usize {
        usize::try_from(self.below(len as u64)).expect("below a usize")
    }

    /// True `count` times in a thousand.
    pub fn per_mille(&mut self, count: u64) -> bool {
        self.below(1000) < count
    }

    /// One of them.
    pub fn pick<T: Copy>(&mut self, options: &[T]) -> T {
        options[self.index(options.len())]
    }

    /// A number from `low` to `high`, small ones as likely as large ones: uniform in the exponent.
    pub fn log_between(&mut self, low: u64, high: u64) -> u64 {
        assert!(low > 0 && low <= high);
        let mut top = low;
        let mut steps = 0;
        while top < high {
            top = top.saturating_mul(2);
            steps += 1;
        }
        let floor = low << self.below(steps + 1);
        let ceiling = floor.saturating_mul(2).min(high);
        self.between(floor.min(high), ceiling.max(floor.min(high)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn repeats_itself() {
        let mut a = Prng::new(7);
        let mut b = Prng::new(7);
        assert!((0..100).all(|_| a.word() == b.word()));
        assert_ne!(Prng::new(7).word(), Prng::new(8).word());
    }

    #[test]
    fn stays_in_bounds() {
        let mut prng = Prng::new(1);
        for _ in 0..10_000 {
            assert!(prng.below(3) < 3);
            assert!((5..=9).contains(&prng.between(5, 9)));
            assert!((20..=50_000).contains(&prng.log_between(20, 50_000)));
        }
    }
}
