//! What comes of more of something: volumes, requests in flight, connections of clients.

use std::path::Path;
use std::time::Duration;

use tandem_tests::{Cluster, Context, Result, Side, Spec};

use crate::candidates::{daemons, export, pair, spec};
use crate::fio::Target;
use crate::grid::Grid;
use crate::measure::of_processes;
use crate::results::{Results, Run};
use crate::usage::Usage;
use crate::workload::Workload;

/// Of all volumes together.
const BYTES: u64 = 512 << 20;

const VOLUMES: [u16; 3] = [1, 8, 32];
const DEPTHS: [u32; 8] = [1, 2, 4, 8, 16, 32, 64, 128];
const CONNECTIONS: [u16; 4] = [1, 2, 4, 8];

/// Requests in flight, of all volumes or connections together.
const DEPTH: u32 = 32;

const RUN: Duration = Duration::from_millis(1000);

/// Measures all of them, round by round.
///
/// # Errors
/// A pair does not come up, or fails.
pub fn measure(disks: &Path, rounds: usize, results: &mut Results) -> Result<()> {
    let of_all = format!("4k writes, {DEPTH} in flight in all, tandem C");
    let mut volumes = Grid::new(&format!("Volumes: {of_all}"), "volumes", VOLUMES);
    let mut depths = Grid::new("Requests in flight: 4k writes, tandem C", "in flight", DEPTHS);
    let title = format!("Connections to one volume: {of_all}");
    let mut connections = Grid::new(&title, "connections", CONNECTIONS);
    for (column, count) in VOLUMES.into_iter().enumerate() {
        eprintln!("scaling: {count} volumes");
        let folder = tempfile::Builder::new().prefix("tandem-bench-").tempdir_in(disks)?;
        let mut cluster = with_volumes(folder.path(), count).about(format!("{count} volumes"))?;
        let pids = daemons(&mut cluster)?;
        let idle_mib = Usage::of(&pids)?.rss_kib as f64 / 1024.0;
        volumes.note("memory of both daemons before, MiB", column, idle_mib);
        let targets: Vec<Target> = (0..count).map(|volume| export(&cluster, volume)).collect();
        let each = BYTES / u64::from(count);
        Workload::fill(&targets, each)?;
        for _ in 0..rounds {
            let workload = Workload::writes(DEPTH / u32::from(count));
            note(&mut volumes, column, of(&pids, &workload, &targets, each)?);
            if count == 1 {
                in_flight(&mut depths, &pids, &targets)?;
                of_clients(&mut connections, &pids, &targets[0])?;
            }
        }
        cluster.stop()?;
    }
    note_memory_of_one(&volumes, results);
    results.grids.extend([volumes, depths, connections]);
    Ok(())
}

/// A pair in sync with so many volumes, as large together as one would be.
fn with_volumes(parent: &Path, count: u16) -> Result<Cluster> {
    let one = spec(BYTES / u64::from(count), 'C');
    let volumes = vec![one.volumes[0]; usize::from(count)];
    let mut cluster = pair(parent, &format!("{count}-volumes"), Spec { volumes, ..one })?;
    cluster.bring_up()?;
    // The first copy has filled the pools of buffers. What volumes take by themselves is to be
    // seen of daemons that have done nothing yet.
    cluster.stop()?;
    for side in [Side::A, Side::B] {
        cluster.node_mut(side).start()?;
    }
    cluster.wait_in_sync()?;
    cluster.node(Side::A).adm_ok(&["primary", "r0"])?;
    Ok(cluster)
}

fn in_flight(grid: &mut Grid, pids: &[u32], targets: &[Target]) -> Result<()> {
    for (column, depth) in DEPTHS.into_iter().enumerate() {
        note(grid, column, of(pids, &Workload::writes(depth), targets, BYTES)?);
    }
    Ok(())
}

fn of_clients(grid: &mut Grid, pids: &[u32], target: &Target) -> Result<()> {
    for (column, count) in CONNECTIONS.into_iter().enumerate() {
        let targets = vec![target.clone(); usize::from(count)];
        let workload = Workload::writes(DEPTH / u32::from(count));
        note(grid, column, of(pids, &workload, &targets, BYTES)?);
    }
    Ok(())
}

fn of(pids: &[u32], workload: &Workload, targets: &[Target], bytes: u64) -> Result<Run> {
    of_processes(pids, || workload.run(targets, bytes, RUN))
}

fn note(grid: &mut Grid, column: usize, run: Run) {
    grid.note("requests/s", column, run.iops);
    grid.note("p50, us", column, run.p50_us);
    grid.note("p99, us", column, run.p99_us);
    grid.note("CPU, us a request", column, run.cpu_us);
}

/// What a volume takes on each of its two nodes: by how much many take more than one.
fn note_memory_of_one(volumes: &Grid, results: &mut Results) {
    let last = VOLUMES.len() - 1;
    let mib = |column| volumes.values("memory of both daemons before, MiB", column)[0];
    let of_both = (mib(last) - mib(0)) / f64::from(VOLUMES[last] - VOLUMES[0]);
    results.note("memory of an idle volume, on each node", "MiB", of_both / 2.0);
}
