//! What the distance between the nodes costs: round trips of growing length, in each protocol.

use std::path::Path;
use std::time::Duration;

use tandem_tests::{Cluster, Context, Result, Spec};

use crate::candidates::{Candidate, Kind, export, pair, spec};
use crate::fio::Figures;
use crate::grid::Grid;
use crate::results::Results;
use crate::workload::Workload;

const ROUND_TRIPS_MS: [u64; 5] = [0, 1, 5, 10, 50];

/// The one at which A is held against no peer at all, by its column.
const FAR: usize = 3;

const DEPTHS: [u32; 2] = [1, 32];

const BYTES: u64 = 128 << 20;

const RUN: Duration = Duration::from_millis(800);

const TITLE: &str = "Round trips between the nodes, 4k writes";

/// Measures all of them, round by round.
///
/// # Errors
/// A pair does not come up, or loses its peer.
pub fn measure(disks: &Path, rounds: usize, results: &mut Results) -> Result<()> {
    let folder = tempfile::Builder::new().prefix("tandem-bench-").tempdir_in(disks)?;
    let alone = Kind::TandemAlone.start(folder.path(), BYTES)?;
    alone.fill(BYTES)?;
    let mut pairs = Vec::new();
    for protocol in ['A', 'B', 'C'] {
        pairs.push((protocol, far_pair(folder.path(), protocol)?));
    }
    let mut table = Table::new();
    for round in 1..=rounds {
        for (column, ms) in ROUND_TRIPS_MS.iter().enumerate() {
            eprintln!("round trips: {ms} ms, round {round} of {rounds}");
            for (_, cluster) in &pairs {
                cluster.link().delay(Duration::from_micros(ms * 1000 / 2));
            }
            table.column(column, &alone, &pairs).about(format!("a round trip of {ms} ms"))?;
        }
    }
    for (_, mut cluster) in pairs {
        cluster.link().delay(Duration::ZERO);
        cluster.stop()?;
    }
    alone.end()?;
    table.into_results(results);
    Ok(())
}

/// A pair in sync, the nodes of which find each other through a proxy that can delay.
fn far_pair(parent: &Path, protocol: char) -> Result<Cluster> {
    let spec = Spec { is_direct: false, ..spec(BYTES, protocol) };
    let mut cluster = pair(parent, &format!("far-{protocol}"), spec)?;
    cluster.bring_up()?;
    Workload::fill(&[export(&cluster, 0)], BYTES)?;
    cluster.wait_in_sync()?;
    Ok(cluster)
}

struct Table {
    rates: Grid,
    medians: Grid,
}

impl Table {
    fn new() -> Self {
        let columns = ROUND_TRIPS_MS.map(|ms| format!("{ms} ms"));
        let grid =
            |figure: &str| Grid::new(&format!("{TITLE}: {figure}"), "round trip", columns.clone());
        Self { rates: grid("requests/s"), medians: grid("p50, us") }
    }

    /// All pairs at one distance, and who has no peer, which it means nothing to.
    fn column(
        &mut self,
        column: usize,
        alone: &Candidate,
        pairs: &[(char, Cluster)],
    ) -> Result<()> {
        for depth in DEPTHS {
            let workload = Workload::writes(depth);
            let mut note = |name: &str, figures: Figures| {
                let line = format!("{name} qd{depth}");
                self.rates.note(&line, column, figures.iops);
                self.medians.note(&line, column, figures.p50_us);
            };
            note(&alone.name, alone.run(&workload, BYTES, RUN)?);
            for (protocol, cluster) in pairs {
                note(
                    &format!("tandem {protocol}"),
                    workload.run(&[export(cluster, 0)], BYTES, RUN)?,
                );
                // What is still under way is no part of the next run.
                cluster.wait_in_sync()?;
            }
        }
        Ok(())
    }

    fn into_results(self, results: &mut Results) {
        let name = "A at 10 ms, qd1: its p50 in parts of that without a peer";
        let values = |line: &str| self.medians.values(line, FAR).to_vec();
        for (far, near) in values("tandem A qd1").into_iter().zip(values("tandem alone qd1")) {
            results.note(name, "times", far / near.max(f64::MIN_POSITIVE));
        }
        results.grids.extend([self.rates, self.medians]);
    }
}
