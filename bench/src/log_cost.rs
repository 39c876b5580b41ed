//! What the activity log costs: with it, without it, and where it is too short.
//!
//! Nothing else of the metadata can be switched off: bits are set in memory while the peer is
//! there, and frames are checksummed always.

use std::path::Path;
use std::time::Duration;

use tandem_tests::{Context, Result, Spec};

use crate::candidates::{daemons, export, pair, spec};
use crate::grid::Grid;
use crate::measure::of_processes;
use crate::results::Results;
use crate::workload::Workload;

/// 128 extents of the log.
const BYTES: u64 = 512 << 20;

/// Options of the disk section, and what they come to.
const LOGS: [(&str, &str); 3] = [
    ("no log", "al-updates no;"),
    ("every extent hot", ""),
    // Of 128: every other write finds its extent cold, and waits until the log says otherwise.
    ("half of the extents hot", "al-extents 67;"),
];

const DEPTHS: [u32; 2] = [1, 32];

const RUN: Duration = Duration::from_millis(1000);

/// Measures all of them, round by round.
///
/// # Errors
/// A pair does not come up, or fails.
pub fn measure(disks: &Path, rounds: usize, results: &mut Results) -> Result<()> {
    let folder = tempfile::Builder::new().prefix("tandem-bench-").tempdir_in(disks)?;
    let mut running = Vec::new();
    for (name, disk) in LOGS {
        let spec = Spec { disk: disk.to_owned(), ..spec(BYTES, 'C') };
        let mut cluster = pair(folder.path(), name, spec)?;
        cluster.bring_up().about(name)?;
        Workload::fill(&[export(&cluster, 0)], BYTES)?;
        let pids = daemons(&mut cluster)?;
        running.push((name, cluster, pids));
    }
    let columns = DEPTHS.map(|depth| {
        ["requests/s", "p99 us", "CPU us"].map(|figure| format!("qd{depth}: {figure}"))
    });
    let columns = columns.concat();
    let mut grid = Grid::new("The activity log: 4k writes, tandem C", "", columns);
    for round in 1..=rounds {
        eprintln!("activity log: round {round} of {rounds}");
        for (number, depth) in DEPTHS.into_iter().enumerate() {
            for (name, cluster, pids) in &running {
                let target = [export(cluster, 0)];
                let workload = Workload::writes(depth);
                let run = of_processes(pids, || workload.run(&target, BYTES, RUN)).about(name)?;
                let values = [run.iops, run.p99_us, run.cpu_us];
                for (column, value) in values.into_iter().enumerate() {
                    grid.note(name, number * values.len() + column, value);
                }
            }
        }
    }
    results.grids.push(grid);
    running.into_iter().try_for_each(|(_, mut cluster, _)| cluster.stop())
}
