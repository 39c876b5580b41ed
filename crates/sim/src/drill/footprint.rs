//! What a move finds and leads to, told so that it is the same where only names differ.

use std::hash::{DefaultHasher, Hash, Hasher};

/// Numbers from here on are drawn, and say nothing but whether they are the same.
const NAMES_FROM: u128 = 1 << 32;

/// What stands before numbers that are counted up, and say no more either.
const COUNTED: &[&str] = &["RequestId(", "BarrierNumber(", "Data ", "DataReply ", "epoch "];

/// The telling so far.
#[derive(Clone, Debug, Default)]
pub(super) struct Footprint {
    hasher: DefaultHasher,
    /// Names in the order in which they came up.
    names: Vec<u128>,
}

impl Footprint {
    /// One more thing of it, as words and numbers.
    pub(super) fn enter(&mut self, text: &str) {
        let mut rest = text;
        while let Some(at) = rest.find(|c: char| c.is_ascii_digit()) {
            let (words, numbers) = rest.split_at(at);
            words.hash(&mut self.hasher);
            rest = numbers;
            let end = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
            // What is too long for a number is bytes of something.
            let number: u128 = rest[..end].parse().unwrap_or(u128::MAX);
            let is_name = number >= NAMES_FROM || COUNTED.iter().any(|it| words.ends_with(it));
            let told = if is_name { self.name(number) } else { number };
            told.hash(&mut self.hasher);
            rest = &rest[end..];
        }
        rest.hash(&mut self.hasher);
    }

    fn name(&mut self, number: u128) -> u128 {
        let known = self.names.iter().position(|name| *name == number);
        let place = known.unwrap_or_else(|| {
            self.names.push(number);
            self.names.len() - 1
        });
        NAMES_FROM + place as u128
    }

    /// Equal for what is told in the same words.
    pub(super) fn hash(&self) -> u64 {
        self.hasher.finish()
    }
}
