//! Runs that dwell on a few faults: what goes wrong where two of them meet is rare among all kinds.
//!
//! Runs of seeds that are older than that are as they were.

use super::{FaultWeights, Profile};
use crate::clock::{MICROS, MILLIS};
use crate::prng::{Prng, mix};

/// The first seed of a run that dwells on something.
const FIRST_SEED: u64 = 2_000_000;

impl Profile {
    /// A few kinds of faults, more of them, and at times one right behind the other: drawn from
    /// numbers of the seed's own, where it is one of these runs.
    pub fn dwell(&mut self, seed: u64) {
        if seed < FIRST_SEED {
            return;
        }
        let prng = &mut Prng::new(mix(!seed));
        let mut weights = FaultWeights::default();
        for _ in 0..prng.between(2, 5) {
            let mut all = weights.each();
            let chosen = prng.index(all.len());
            *all[chosen] = prng.between(1, 4);
        }
        if self.faults.sicken > 0 && self.passes_on.contains(&true) {
            weights.sicken = weights.sicken.max(1); // else nothing would be passed on
        }
        self.faults = weights;
        self.fault_pause = prng.log_between(100 * MILLIS, 4_000 * MILLIS);
        self.bursts = prng.pick(&[0, 200, 500, 800]);
    }

    /// Time until the next fault, where one comes right behind another.
    pub(crate) fn draw_burst(&self, prng: &mut Prng) -> Option<u64> {
        let is_near = self.bursts > 0 && prng.per_mille(self.bursts);
        is_near.then(|| prng.log_between(20 * MICROS, 200 * MILLIS))
    }
}
