//! Making inputs, running them, and keeping those that led to something new.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use crate::attempt::{Failure, attempt};
use crate::mutate::mutate;
use crate::{Journal, Random, Target};

/// Inputs of which one is made from nothing; the others are changed ones.
const FRESH_ONE_IN: usize = 10;

/// Fuzzes one target.
#[derive(Debug)]
pub struct Fuzzer<'a> {
    target: &'a Target,
    journal: Journal,
    random: Random,
    corpus: Vec<Vec<u8>>,
    seen: BTreeSet<u64>,
    runs: u64,
}

/// An input that fails.
#[derive(Clone, Debug)]
pub struct Finding {
    /// The input.
    pub input: Vec<u8>,
    /// What it does.
    pub failure: Failure,
}

/// How far a fuzzer has come.
#[derive(Clone, Copy, Debug)]
pub struct Report {
    /// Inputs run.
    pub runs: u64,
    /// Different things seen.
    pub seen: usize,
    /// Inputs that showed one of them first.
    pub kept: usize,
}

impl<'a> Fuzzer<'a> {
    /// Of a seed. `corpus` is what it begins with.
    ///
    /// # Errors
    /// One of those fails already.
    pub fn new(
        target: &'a Target,
        journal: Journal,
        seed: u64,
        corpus: Vec<Vec<u8>>,
    ) -> Result<Self, Finding> {
        let (random, seen) = (Random::new(seed), BTreeSet::new());
        let mut fuzzer = Self { target, journal, random, corpus: Vec::new(), seen, runs: 0 };
        for input in corpus {
            fuzzer.try_one(input)?;
        }
        Ok(fuzzer)
    }

    /// Goes on for `time`.
    ///
    /// # Errors
    /// The first input that fails.
    pub fn run_for(&mut self, time: Duration) -> Result<(), Finding> {
        let end = Instant::now() + time;
        while Instant::now() < end {
            for _ in 0..16 {
                self.step()?;
            }
        }
        Ok(())
    }

    /// Makes one input and runs it.
    ///
    /// # Errors
    /// It fails.
    pub fn step(&mut self) -> Result<(), Finding> {
        let random = &mut self.random;
        let mut input = if self.corpus.is_empty() || random.below(FRESH_ONE_IN) == 0 {
            (self.target.generate)(random)
        } else {
            random.pick(&self.corpus).clone()
        };
        if !random.chance(5) {
            mutate(&mut input, random, &self.corpus, self.target.words, self.target.len_max);
        }
        self.try_one(input)
    }

    /// Where it stands.
    pub fn report(&self) -> Report {
        Report { runs: self.runs, seen: self.seen.len(), kept: self.corpus.len() }
    }

    /// The inputs that showed something first, in that order.
    pub fn corpus(&self) -> &[Vec<u8>] {
        &self.corpus
    }

    fn try_one(&mut self, input: Vec<u8>) -> Result<(), Finding> {
        self.runs += 1;
        let wrong = |failure| Finding { input: input.clone(), failure };
        self.journal.note(&input).map_err(|error| {
            wrong(Failure::Wrong(format!("the input cannot be noted: {error}")))
        })?;
        let seen = attempt(self.target, &input).map_err(wrong)?;
        let before = self.seen.len();
        self.seen.extend(seen.iter());
        if self.seen.len() > before {
            self.corpus.push(input);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
