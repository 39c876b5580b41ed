//! Clients on a unix socket, and on TCP.

use std::path::Path;
use std::time::Duration;

use tandem_tests::{Context, Result, Side, Spec};

use crate::candidates::{daemons, export, pair, spec};
use crate::fio::Target;
use crate::grid::Grid;
use crate::measure::of_processes;
use crate::results::Results;
use crate::workload::{QUICK, Workload};

const BYTES: u64 = 256 << 20;

const RUN: Duration = Duration::from_millis(700);

/// Measures both, round by round, on one pair.
///
/// # Errors
/// The pair does not come up, or fails.
pub fn measure(disks: &Path, rounds: usize, results: &mut Results) -> Result<()> {
    let folder = tempfile::Builder::new().prefix("tandem-bench-").tempdir_in(disks)?;
    let spec = Spec { nbd_over_tcp: true, ..spec(BYTES, 'C') };
    let mut cluster = pair(folder.path(), "sockets", spec)?;
    cluster.bring_up()?;
    let unix = export(&cluster, 0);
    let tcp = Target::Export(format!("nbd://{}/r0/0", cluster.nbd_tcp(Side::A)));
    Workload::fill(std::slice::from_ref(&unix), BYTES)?;
    let pids = daemons(&mut cluster)?;
    let names = QUICK.iter().map(|workload| workload.name);
    let mut grid = Grid::new("A client's socket, on loopback: tandem C", "", names);
    for round in 1..=rounds {
        eprintln!("sockets: round {round} of {rounds}");
        for (column, workload) in QUICK.iter().enumerate() {
            for (name, target) in [("unix", &unix), ("TCP", &tcp)] {
                let run = || workload.run(std::slice::from_ref(target), BYTES, RUN);
                let run = of_processes(&pids, run).about(name)?;
                grid.note(&format!("{name}: requests/s"), column, run.iops);
                grid.note(&format!("{name}: CPU us a request"), column, run.cpu_us);
            }
        }
    }
    results.grids.push(grid);
    cluster.stop()
}
