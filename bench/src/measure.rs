//! Rounds of all workloads over all candidates.

use std::path::Path;
use std::time::Instant;

use tandem_tests::{Context, Result};

use crate::candidates::{self, Candidate, Kind};
use crate::fio::Figures;
use crate::machine::{self, Machine};
use crate::plan::Plan;
use crate::results::{Results, Row, Run};
use crate::usage::Usage;
use crate::workload::{self, Workload};

/// In memory a few workloads say enough, on smaller disks.
const MEMORY_BYTES: u64 = 128 << 20;

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
    let disks = disks.canonicalize().about(disks.display())?;
    if !plan.workloads.is_empty() {
        let kinds = candidates::named(plan.candidates, only)?;
        let medium = Medium { parent: &disks, bytes: plan.bytes, workloads: plan.workloads };
        medium.measure(plan, &kinds, &mut results)?;
    }
    if plan.with_memory {
        let kinds = candidates::named(candidates::IN_MEMORY, only)?;
        let workloads = workload::IN_MEMORY;
        let medium = Medium { parent: Path::new("/dev/shm"), bytes: MEMORY_BYTES, workloads };
        medium.measure(plan, &kinds, &mut results)?;
    }
    for part in &plan.parts {
        part.measure(&disks, plan.rounds, &mut results)?;
    }
    Ok(results)
}

/// Where disks are put, and what is asked of them there.
struct Medium<'a> {
    parent: &'a Path,
    bytes: u64,
    workloads: &'a [Workload],
}

impl Medium<'_> {
    fn measure(&self, plan: &Plan, kinds: &[Kind], results: &mut Results) -> Result<()> {
        let name = machine::medium(self.parent);
        let folder = tempfile::Builder::new().prefix("tandem-bench-").tempdir_in(self.parent)?;
        let mut running = Vec::new();
        for kind in kinds {
            eprintln!("{name}: {} starts and is written once", kind.name());
            let candidate = kind.start(folder.path(), self.bytes).about(kind.name())?;
            candidate.fill(self.bytes).about(&candidate.name)?;
            running.push(candidate);
        }
        let mut rows = self.rows(name, &running);
        let begun = Instant::now();
        let all = plan.rounds * self.workloads.len();
        for round in 0..plan.rounds {
            for (number, workload) in self.workloads.iter().enumerate() {
                let done = round * self.workloads.len() + number;
                eprintln!(
                    "{name}: {done} of {all} steps done after {:.0} s: round {}, {}",
                    begun.elapsed().as_secs_f64(),
                    round + 1,
                    workload.name
                );
                // Each of them begins in its turn: who comes first finds the machine otherwise.
                for turn in 0..running.len() {
                    let index = (turn + round + number) % running.len();
                    let candidate = &running[index];
                    if let Some(row) = &mut rows[number * running.len() + index] {
                        empty_cache(folder.path())?;
                        let run = of_processes(&candidate.pids, || {
                            candidate.run(workload, self.bytes, plan.run)
                        });
                        row.runs.push(run.about(&candidate.name)?);
                    }
                }
            }
        }
        results.rows.extend(rows.into_iter().flatten());
        running.into_iter().try_for_each(Candidate::end)
    }

    /// A row for each workload and candidate that takes it.
    fn rows(&self, medium: &str, running: &[Candidate]) -> Vec<Option<Row>> {
        let row = |workload: &Workload, candidate: &Candidate| Row {
            medium: medium.to_owned(),
            workload: workload.name.to_owned(),
            request_bytes: workload.bytes,
            candidate: candidate.name.clone(),
            runs: Vec::new(),
        };
        let of = |workload: &Workload| -> Vec<Option<Row>> {
            let rows = running.iter().map(|it| it.takes(workload).then(|| row(workload, it)));
            rows.collect()
        };
        self.workloads.iter().flat_map(of).collect()
    }
}

/// Has the disk write out what it has cached: whoever flushes next would pay for what others, who
/// never do, have written before.
fn empty_cache(folder: &Path) -> Result<()> {
    let folder = std::fs::File::open(folder).about(folder.display())?;
    rustix::fs::syncfs(&folder).about("syncfs")
}

/// What a run comes to, and what it takes of these processes.
///
/// # Errors
/// The run fails, or a process is gone.
pub fn of_processes(pids: &[u32], act: impl FnOnce() -> Result<Figures>) -> Result<Run> {
    let before = Usage::of(pids)?;
    let figures = act()?;
    let after = Usage::of_ended(pids)?;
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
