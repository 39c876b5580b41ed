//! What an input has led to: the signal by which inputs are kept.

use std::collections::BTreeSet;
use std::hash::{DefaultHasher, Hash, Hasher};

/// What one run has shown, as numbers.
#[derive(Clone, Debug, Default)]
pub struct Sightings(BTreeSet<u64>);

impl Sightings {
    /// Notes something: the same value is the same sighting, in every run and process.
    pub fn see(&mut self, what: impl Hash) {
        let mut hasher = DefaultHasher::new();
        what.hash(&mut hasher);
        self.0.insert(hasher.finish());
    }

    /// Notes a message by its words: numbers in it, and what it quotes, make no other one of it.
    pub fn see_text(&mut self, text: &str) {
        let plain =
            |word: &&str| word.chars().all(|c| c.is_ascii_alphabetic() || ":,;.-".contains(c));
        let unquoted = text.split(['\'', '"', '`']).step_by(2);
        let words: Vec<&str> = unquoted.flat_map(str::split_whitespace).filter(plain).collect();
        self.see(words);
    }

    /// What was seen.
    pub fn iter(&self) -> impl Iterator<Item = u64> {
        self.0.iter().copied()
    }
}

#[cfg(test)]
mod tests {
    use super::Sightings;

    #[test]
    fn a_message_is_the_same_whatever_it_is_about() {
        let seen = |text: &str| {
            let mut seen = Sightings::default();
            seen.see_text(text);
            seen.iter().next()
        };
        assert_eq!(seen("r0.res:7: 'a b' is no option"), seen("r0.res:9: 'c' is no option"));
        assert_ne!(seen("'c' is no option"), seen("'c' is no section"));
    }
}
