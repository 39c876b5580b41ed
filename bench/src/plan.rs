//! What is measured, and for how long.

use std::time::Duration;

use crate::candidates::{self, Kind};
use crate::workload::{self, Workload};

/// What is measured.
#[derive(Clone, Debug)]
pub struct Plan {
    /// What is compared.
    pub candidates: &'static [Kind],
    /// By what.
    pub workloads: &'static [Workload],
    /// Rounds of each workload.
    pub rounds: usize,
    /// Length of a run.
    pub run: Duration,
    /// In memory as well.
    pub with_memory: bool,
    /// Resyncs, fail-over and start-up as well.
    pub with_operations: bool,
}

impl Plan {
    /// Under three minutes.
    pub fn quick() -> Self {
        Self {
            candidates: candidates::QUICK,
            workloads: workload::QUICK,
            rounds: 3,
            run: Duration::from_millis(700),
            with_memory: false,
            with_operations: false,
        }
    }

    /// Resyncs, fail-over and start-up only.
    pub fn operations() -> Self {
        Self { workloads: &[], with_operations: true, ..Self::quick() }
    }

    /// Under fifteen.
    pub fn full() -> Self {
        Self {
            candidates: candidates::ALL,
            workloads: workload::ALL,
            rounds: 3,
            run: Duration::from_millis(800),
            with_memory: true,
            with_operations: true,
        }
    }
}
