//! What is measured, and for how long.

use std::time::Duration;

use clap::ValueEnum;

use crate::candidates::{self, Kind};
use crate::part::Part;
use crate::workload::{self, Workload};

/// What is measured.
#[derive(Clone, Debug)]
pub struct Plan {
    /// What is compared.
    pub candidates: &'static [Kind],
    /// By what.
    pub workloads: &'static [Workload],
    /// Bytes of an export on disk: more than any cache of a candidate's own, little enough to be
    /// written at once.
    pub bytes: u64,
    /// Rounds of each workload.
    pub rounds: usize,
    /// Length of a run.
    pub run: Duration,
    /// In memory as well.
    pub with_memory: bool,
    /// What else.
    pub parts: Vec<Part>,
}

impl Plan {
    /// Under three minutes.
    pub fn quick() -> Self {
        Self {
            candidates: candidates::QUICK,
            workloads: workload::QUICK,
            bytes: 256 << 20,
            rounds: 3,
            run: Duration::from_millis(700),
            with_memory: false,
            parts: Vec::new(),
        }
    }

    /// These parts only.
    pub fn of_parts(parts: &[Part]) -> Self {
        Self { workloads: &[], parts: parts.to_vec(), ..Self::quick() }
    }

    /// Under fifteen.
    pub fn full() -> Self {
        Self {
            candidates: candidates::ALL,
            workloads: workload::ALL,
            bytes: 512 << 20,
            rounds: 3,
            run: Duration::from_millis(800),
            with_memory: true,
            parts: Part::value_variants().to_vec(),
        }
    }
}
