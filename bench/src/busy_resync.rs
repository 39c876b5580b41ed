//! A full resync beside a full load: what it takes from the application, and that it ends.

use std::path::Path;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use tandem_tests::{Cluster, Context, Process, Result, Side, Status};

use crate::candidates::{export, pair, spec};
use crate::fio::{Figures, Target};
use crate::grid::Grid;
use crate::results::Results;
use crate::workload::Workload;

const MIB: u64 = 256;
const BYTES: u64 = MIB << 20;
const DEPTH: u32 = 32;

/// How long the load runs before, to be compared with.
const BEFORE: Duration = Duration::from_secs(3);

/// A resync that takes longer does not end.
const LIMIT: Duration = Duration::from_secs(120);

/// Measures it once: a source that keeps to its least rate takes its time.
///
/// # Errors
/// The resync does not end, or the load fails.
pub fn measure(disks: &Path, results: &mut Results) -> Result<()> {
    eprintln!("resync beside a full load");
    let folder = tempfile::Builder::new().prefix("tandem-bench-").tempdir_in(disks)?;
    let mut cluster = pair(folder.path(), "busy", spec(BYTES, 'C'))?;
    cluster.bring_up()?;
    let targets = [export(&cluster, 0)];
    Workload::fill(&targets, BYTES)?;
    let title = format!("A full resync of {MIB} MiB beside 4k writes, {DEPTH} in flight");
    let mut grid = Grid::new(&title, "", ["requests/s", "p50 us", "p99 us"]);
    let before = Workload::writes(DEPTH).run(&targets, BYTES, BEFORE)?;
    let (meanwhile, took) = resync(&cluster, &targets, &folder.path().join("fio.log"))?;
    for (line, figures) in [("before", before), ("meanwhile", meanwhile)] {
        let values = [figures.iops, figures.p50_us, figures.p99_us];
        values.into_iter().enumerate().for_each(|(column, value)| grid.note(line, column, value));
    }
    results.grids.push(grid);
    let name = format!("full resync, {MIB} MiB, beside {DEPTH} writes in flight");
    results.note(&name, "s", took.as_secs_f64());
    results.note(&name, "MB/s", BYTES as f64 / 1e6 / took.as_secs_f64());
    cluster.stop()
}

/// What the application saw while a resync ran, and how long that was.
fn resync(cluster: &Cluster, targets: &[Target], log: &Path) -> Result<(Figures, Duration)> {
    let a = cluster.node(Side::A);
    let jobs = Workload::writes(DEPTH).jobs(targets, BYTES, Some(LIMIT));
    let mut load = Process::start("fio", &mut jobs.command()?, log)?;
    let begun = Instant::now();
    a.adm_ok(&["invalidate-remote", "r0:b/0"])?;
    // Under load something is in flight always: less is asked for than of a pair at rest.
    let is_over = |it: &Status| it.replication(0) == "Established" && it.peer_disk(0) == "UpToDate";
    a.wait("resynced beside a full load", LIMIT, is_over)?;
    let took = begun.elapsed();
    // Interrupted, it says what it came to.
    load.signal(Signal::INT)?;
    load.wait(Duration::from_secs(30))?;
    let text = std::fs::read_to_string(log).about(log.display())?;
    Ok((Figures::parse(&text)?, took))
}
