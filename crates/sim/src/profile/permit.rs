//! Programs that are asked before a node becomes target of a resync.

use crate::clock::{MILLIS, SECONDS};
use crate::prng::Prng;

/// What is behind `before-resync-target`.
#[derive(Clone, Copy, Debug, Default)]
pub struct PermitProfile {
    /// There is one.
    pub is_asked: bool,
    /// Longest time that it takes, nanoseconds.
    pub delay_max: u64,
    /// How many of a thousand forbid the resync.
    pub refuses: u64,
    /// How many of a thousand do not end in time.
    pub hangs: u64,
}

impl PermitProfile {
    /// Whether there is one, and what it is like.
    pub(super) fn draw(prng: &mut Prng) -> Self {
        if prng.per_mille(700) {
            return Self::default();
        }
        Self {
            is_asked: true,
            delay_max: prng.log_between(5 * MILLIS, 5 * SECONDS),
            refuses: prng.pick(&[0, 0, 100, 300]),
            hangs: prng.pick(&[0, 0, 50, 200]),
        }
    }
}
