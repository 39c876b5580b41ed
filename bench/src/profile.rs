//! Where the daemons' time goes: by perf, instructions and cycles for each request of the Primary
//! and of its peer, and the functions that take most.
//!
//! A machine without counters (many virtual ones have none) is told so by perf: then there is the
//! time on a processor alone, and functions are sampled by a clock instead of by cycles.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use rustix::process::Signal;
use tandem_tests::tool::tool;
use tandem_tests::{Context, Process, Result, fail, run};

use crate::candidates::{daemons, export, pair, spec};
use crate::fio::Target;
use crate::grid::Grid;
use crate::results::Results;
use crate::workload::{self, Workload};

const BYTES: u64 = 512 << 20;

/// Length of a run.
const RUN: Duration = Duration::from_secs(3);

/// How long perf may take to write down what it has.
const LIMIT: Duration = Duration::from_secs(60);

/// The nodes, in the order of their daemons.
const NODES: [&str; 2] = ["Primary", "Secondary"];

/// Functions that are shown of each daemon and workload.
const FUNCTIONS: usize = 12;

/// What perf counts, and how it stands in a table.
const EVENTS: [(&str, &str); 3] =
    [("instructions", "instructions"), ("cycles", "cycles"), ("task-clock", "CPU us")];

/// Measures a pair in C under the main workloads.
///
/// # Errors
/// perf or fio is missing, or fails.
pub fn measure(disks: &Path, results: &mut Results) -> Result<()> {
    let folder = tempfile::Builder::new().prefix("tandem-bench-").tempdir_in(disks)?;
    let mut cluster = pair(folder.path(), "profile", spec(BYTES, 'C'))?;
    cluster.bring_up()?;
    let targets = [export(&cluster, 0)];
    Workload::fill(&targets, BYTES)?;
    let pids = daemons(&mut cluster)?;
    let columns = EVENTS.map(|(_, column)| column);
    let mut grid = Grid::new("For each request, by node of a pair in C", "", columns);
    for workload in workload::QUICK {
        eprintln!("profile: {}", workload.name);
        let under = Load { workload, targets: &targets, pids: &pids, folder: folder.path() };
        under.count(&mut grid).about(workload.name)?;
        results.grids.extend(under.functions().about(workload.name)?);
    }
    results.grids.insert(0, grid);
    cluster.stop()
}

/// Daemons under a workload.
struct Load<'a> {
    workload: &'a Workload,
    targets: &'a [Target],
    pids: &'a [u32],
    folder: &'a Path,
}

impl Load<'_> {
    /// Runs the workload with one perf for each daemon; requests, and the files they wrote.
    fn with_perf(&self, arguments: &[&str]) -> Result<(u64, Vec<PathBuf>)> {
        let (mut perfs, mut files) = (Vec::new(), Vec::new());
        for pid in self.pids {
            let file = self.folder.join(format!("perf.{pid}"));
            let mut command = tool("perf")?;
            command.args(arguments).arg("-o").arg(&file).args(["-p", &pid.to_string()]);
            let log = self.folder.join("perf.log");
            perfs.push(Process::start("perf", &mut command, &log)?);
            files.push(file);
        }
        let figures = self.workload.run(self.targets, BYTES, RUN)?;
        for perf in &mut perfs {
            if !perf.is_running()? {
                let log = std::fs::read_to_string(self.folder.join("perf.log"))?;
                return fail(format!("perf has ended before the load: {}", log.trim_end()));
            }
            perf.signal(Signal::INT)?;
        }
        perfs.iter_mut().try_for_each(|perf| perf.wait(LIMIT).map(drop))?;
        Ok((figures.requests, files))
    }

    /// Notes what perf counts, for each request.
    fn count(&self, grid: &mut Grid) -> Result<()> {
        let events = EVENTS.map(|(event, _)| event).join(",");
        let (requests, files) = self.with_perf(&["stat", "-x,", "-e", &events])?;
        for (node, file) in NODES.iter().zip(files) {
            let text = std::fs::read_to_string(&file).about(file.display())?;
            let line = format!("{}: {node}", self.workload.name);
            for (column, (event, _)) in EVENTS.iter().enumerate() {
                if let Some(count) = counted(&text, event) {
                    // That of a clock is in milliseconds.
                    let count = if *event == "task-clock" { count * 1000.0 } else { count };
                    grid.note(&line, column, count / (requests as f64).max(1.0));
                }
            }
        }
        Ok(())
    }

    /// The functions that take most of each daemon's time.
    fn functions(&self) -> Result<Vec<Grid>> {
        let event = if has_counters()? { "cycles" } else { "cpu-clock" };
        let (_, files) = self.with_perf(&["record", "-F", "997", "-e", event])?;
        let grid = |(node, file): (&&str, PathBuf)| {
            let title = format!("{}: functions of the {node}", self.workload.name);
            let mut grid = Grid::new(&title, "function", [format!("% of {event}")]);
            for (percent, name) in functions(&report(&file)?) {
                grid.note(&name, 0, percent);
            }
            Ok(grid)
        };
        NODES.iter().zip(files).map(grid).collect()
    }
}

fn report(file: &Path) -> Result<String> {
    let mut command = tool("perf")?;
    command.arg("report").arg("-i").arg(file);
    command.args(["--stdio", "--no-children", "-s", "sym", "-F", "overhead,sym", "-t", "|"]);
    run(&mut command, LIMIT)?.ok()
}

/// Whether this machine counts instructions.
fn has_counters() -> Result<bool> {
    let mut command: Command = tool("perf")?;
    command.args(["stat", "-x,", "-e", "instructions", "true"]);
    Ok(counted(&run(&mut command, LIMIT)?.stderr, "instructions").is_some())
}

/// A count of `perf stat -x,`: value, unit, event and more. Its value is no number where the
/// machine cannot count it. The event may say that it is of user space only: `instructions:u`.
fn counted(text: &str, event: &str) -> Option<f64> {
    text.lines().find_map(|line| {
        let mut fields = line.split(',');
        let (value, _unit, name) = (fields.next()?, fields.next()?, fields.next()?);
        (name.split(':').next()? == event).then(|| value.parse().ok())?
    })
}

/// What takes most, of the lines of `perf report`: percent, and `[.]` or, of the kernel, `[k]`.
fn functions(report: &str) -> Vec<(f64, String)> {
    let parse = |line: &str| {
        let (percent, name) = line.split_once('|')?;
        Some((percent.trim().trim_end_matches('%').parse().ok()?, name.trim().to_owned()))
    };
    let mut found: Vec<(f64, String)> = report.lines().filter_map(parse).collect();
    found.sort_by(|one, other| other.0.total_cmp(&one.0));
    found.truncate(FUNCTIONS);
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_are_read_where_there_are_any() {
        let text = "# started\n\n<not supported>,,instructions,0,100.00,,\n\
                    1234,,cycles:u,5,100.00,,\n0.43,msec,task-clock,430000,100.00,0.5,CPUs\n";
        assert_eq!(counted(text, "instructions"), None);
        assert_eq!(counted(text, "cycles"), Some(1234.0));
        assert_eq!(counted(text, "task-clock"), Some(0.43));
    }

    #[test]
    fn functions_come_with_their_part() {
        let text = "# Overhead|Symbol\n#\n  3.00%|[k] copy\n 12.50%|[.] tandem_wire::seal\n\n";
        let expected = [(12.5, "[.] tandem_wire::seal".to_owned()), (3.0, "[k] copy".to_owned())];
        assert_eq!(functions(text), expected);
    }
}
