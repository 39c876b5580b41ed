//! Rounds of all workloads over all candidates.

use std::path::Path;
use std::time::{Duration, Instant};

use tandem_tests::{Context, Result};

use crate::candidates::{self, Candidate, Kind};
use crate::machine::{self, Machine};
use crate::operations;
use crate::results::{Results, Row, Run};
use crate::usage::Usage;
use crate::workload::{self, Workload};

/// What is measured.
#[derive(Clone, Debug)]
pub struct Plan {
    candidates: &'static [Kind],
    workloads: &'static [Workload],
    /// Rounds of each workload.
    pub rounds: usize,
    run: Duration,
    /// In memory as well.
    with_memory: bool,
    /// Resyncs, fail-over and start-up as well.
    with_operations: bool,
}

/// Bytes of an export: more than any cache of a candidate's own, little enough to be written at
/// once.
const BYTES: u64 = 512 << 20;

/// In memory a few workloads say enough, on smaller disks.
const MEMORY_BYTES: u64 = 128 << 20;

impl Plan {
    /// Under three minutes.
    pub fn quick() -> Self {
        Self {
            candidates: candidates::QUICK,
            workloads: workload::QUICK,
            rounds: 3,
            run: Duration::from_millis(1500),
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
            run: Duration::from_millis(1500),
            with_memory: true,
            with_operations: true,
        }
    }
}

/// Measures.
///
/// # Errors
/// A program is missing, or a candidate fails.
pub fn run(plan: &Plan, disks: &Path, only: &[String]) -> Result<Results> {
    let mut results = Results {
        machine: Machine::this(),
        rounds: plan.rounds,
        run_ms: u64::try_from(plan.run.as_millis()).unwrap_or(u64::MAX),
        ..Results::default()
    };
    let kinds = candidates::named(plan.candidates, only)?;
    let disks = disks.canonicalize().about(disks.display())?;
    if !plan.workloads.is_empty() {
        on_medium(plan, &kinds, plan.workloads, BYTES, &disks, &mut results)?;
    }
    if plan.with_memory {
        let memory = Path::new("/dev/shm");
        on_medium(plan, &kinds, workload::IN_MEMORY, MEMORY_BYTES, memory, &mut results)?;
    }
    if plan.with_operations {
        results.operations = operations::measure(&disks, plan.rounds)?;
    }
    Ok(results)
}

fn on_medium(
    plan: &Plan,
    kinds: &[Kind],
    workloads: &[Workload],
    bytes: u64,
    parent: &Path,
    results: &mut Results,
) -> Result<()> {
    let medium = machine::medium(parent);
    let folder = tempfile::Builder::new().prefix("tandem-bench-").tempdir_in(parent)?;
    let mut running = Vec::new();
    for kind in kinds {
        eprintln!("{medium}: {} starts and is written once", kind.name());
        let candidate = kind.start(folder.path(), bytes).about(kind.name())?;
        Workload::fill(&candidate.uri, bytes).about(&candidate.name)?;
        running.push(candidate);
    }
    let row = |workload: &Workload, candidate: &Candidate| Row {
        medium: medium.to_owned(),
        workload: workload.name.to_owned(),
        request_bytes: workload.bytes,
        candidate: candidate.name.clone(),
        runs: Vec::new(),
    };
    let first = results.rows.len();
    for workload in workloads {
        results.rows.extend(running.iter().map(|candidate| row(workload, candidate)));
    }
    let begun = Instant::now();
    let all = plan.rounds * workloads.len();
    for round in 0..plan.rounds {
        for (number, workload) in workloads.iter().enumerate() {
            let done = round * workloads.len() + number;
            eprintln!(
                "{medium}: {done} of {all} steps done after {:.0} s: round {}, {}",
                begun.elapsed().as_secs_f64(),
                round + 1,
                workload.name
            );
            // Each of them begins in its turn: who comes first finds the machine otherwise.
            for turn in 0..running.len() {
                let index = (turn + round + number) % running.len();
                let candidate = &running[index];
                let run = one(candidate, workload, bytes, plan.run).about(&candidate.name)?;
                results.rows[first + number * running.len() + index].runs.push(run);
            }
        }
    }
    running.into_iter().try_for_each(Candidate::end)
}

fn one(candidate: &Candidate, workload: &Workload, bytes: u64, length: Duration) -> Result<Run> {
    let before = Usage::of(&candidate.pids)?;
    let figures = workload.run(&candidate.uri, bytes, length)?;
    let after = Usage::of(&candidate.pids)?;
    let each = |sum: u64| sum as f64 / (figures.requests as f64).max(1.0);
    Ok(Run {
        iops: figures.iops,
        p50_us: figures.p50_us,
        p99_us: figures.p99_us,
        cpu_us: each(after.cpu_ns.saturating_sub(before.cpu_ns)) / 1000.0,
        switches: each(after.switches.saturating_sub(before.switches)),
        rss_kib: after.rss_kib,
    })
}
