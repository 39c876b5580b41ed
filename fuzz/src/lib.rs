//! Any bytes into everything that takes bytes from others: peers, clients, disks, administrators.
//!
//! A [`Target`] takes an input, which is always plain bytes, and judges what the code under test
//! makes of it. An [`attempt`](attempt::attempt) catches panics and counts memory. The [`Fuzzer`]
//! makes inputs: from the target's own generator, and by changing those that led to something new
//! before. What is new is what the target [saw](Sightings): an outcome, an error, a state, a packet
//! in a state. No compiler takes part, so that a stable one does.
//!
//! Inputs worth keeping lie in `fuzz/corpus/TARGET` and are run by every `cargo test`.

pub mod attempt;
mod core;
pub mod corpus;
mod engine;
mod journal;
mod minimise;
mod mutate;
mod random;
mod sightings;
mod source;
pub mod targets;

pub use engine::{Finding, Fuzzer, Report};
pub use journal::Journal;
pub use minimise::minimise;
pub use random::Random;
pub use sightings::Sightings;
pub use targets::Target;

/// Counts what is allocated, for all who link this crate.
#[global_allocator]
static MEMORY: peak_alloc::PeakAlloc = peak_alloc::PeakAlloc;
