//! Results as a table in Markdown.

use std::fmt::Write as _;

use tandem_tests::median;

use crate::results::{Operation, Results, Row, extremes};

/// The table of everything, a section for each medium and workload.
pub fn markdown(results: &Results) -> String {
    let machine = &results.machine;
    let mut text = format!(
        "{} processors ({}), Linux {}; {}.",
        machine.processors,
        machine.model,
        machine.kernel,
        machine.versions.join("; ")
    );
    if results.rounds > 0 {
        let _ = write!(
            text,
            " Medians of {} interleaved rounds of {} ms, and how far the rounds lie apart. CPU: of \
             all daemons, for each request.",
            results.rounds, results.run_ms
        );
    }
    text.push('\n');
    for rows in results.sections() {
        section(&rows, &mut text);
    }
    if !results.operations.is_empty() {
        text.push_str(
            "\n**Whole operations**\n\n| | median | least | most | |\n|---|---|---|---|---|\n",
        );
    }
    for Operation { name, unit, values } in &results.operations {
        let (least, most) = extremes(values.iter().copied());
        let middle = median(values.clone());
        let _ = writeln!(text, "| {name} | {middle:.2} | {least:.2} | {most:.2} | {unit} |");
    }
    for grid in &results.grids {
        text.push_str(&grid.markdown());
    }
    text
}

fn section(rows: &[&Row], text: &mut String) {
    let Some(first) = rows.first() else { return };
    let Row { medium, workload, .. } = first;
    let reference = first.median(|run| run.iops);
    let _ = write!(
        text,
        "\n**{workload}**, {medium}\n\n| | requests/s | of {} | MB/s | p50 us | p99 us | CPU us | \
         switches | MiB |\n|---|---|---|---|---|---|---|---|---|\n",
        first.candidate
    );
    for row in rows {
        let iops = row.median(|run| run.iops);
        let _ = writeln!(
            text,
            "| {} | {iops:.0} ±{:.0} % | {:.2} | {:.0} | {:.0} | {:.0} | {} |",
            row.candidate,
            row.spread(|run| run.iops) * 50.0,
            iops / reference.max(1.0),
            iops * row.request_bytes as f64 / 1e6,
            row.median(|run| run.p50_us),
            row.median(|run| run.p99_us),
            of_daemons(row)
        );
    }
}

/// What the daemons take; the disk itself has none.
fn of_daemons(row: &Row) -> String {
    let memory = row.median(|run| run.rss_kib as f64) / 1024.0;
    if memory == 0.0 {
        return "- | - | -".to_owned();
    }
    let (cpu, switches) = (row.median(|run| run.cpu_us), row.median(|run| run.switches));
    format!("{cpu:.1} | {switches:.2} | {memory:.0}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::grid::Grid;
    use crate::results::Run;

    #[test]
    fn a_row_says_what_was_measured_and_how_steady() {
        let row = |candidate: &str, iops: f64| Row {
            medium: "disk".to_owned(),
            workload: "4k write qd1".to_owned(),
            request_bytes: 4096,
            candidate: candidate.to_owned(),
            runs: [0.9, 1.0, 1.1]
                .map(|part| {
                    let rss_kib = if candidate == "disk" { 0 } else { 2048 };
                    Run { iops: iops * part, cpu_us: 10.0, rss_kib, ..Run::default() }
                })
                .to_vec(),
        };
        let rows = vec![row("tandem C", 4000.0), row("qemu quorum", 2000.0), row("disk", 8000.0)];
        let values = vec![2.0, 1.0, 4.0];
        let operations =
            vec![Operation { name: "fail-over".to_owned(), unit: "s".to_owned(), values }];
        let mut grid = Grid::new("Volumes", "volumes", [1, 8]);
        grid.note("requests/s", 0, 4000.0);
        let grids = vec![grid];
        let results =
            Results { rounds: 3, run_ms: 1500, rows, operations, grids, ..Results::default() };
        let text = markdown(&results);
        assert!(text.contains("| fail-over | 2.00 | 1.00 | 4.00 | s |"), "{text}");
        assert!(text.contains("| requests/s | 4000 | - |"), "{text}");
        assert!(text.contains("**4k write qd1**, disk"), "{text}");
        let line = "| tandem C | 4000 ±10 % | 1.00 | 16 | 0 | 0 | 10.0 | 0.00 | 2 |";
        assert!(text.contains(line), "{text}");
        assert!(text.contains("| qemu quorum | 2000 ±10 % | 0.50 |"), "{text}");
        let line = "| disk | 8000 ±10 % | 2.00 | 33 | 0 | 0 | - | - | - |";
        assert!(text.contains(line), "{text}");
    }
}
