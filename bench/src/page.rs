//! Results as a page of charts: one file of HTML with SVG in it, which needs nothing else.

use std::fmt::Write as _;

use crate::grid::{Grid, shown};
use crate::results::{Operation, Results, Row, Run};

const WIDTH: f64 = 420.0;
const BAR: f64 = 18.0;
const LABEL: f64 = 110.0;

/// The page.
pub fn html(results: &Results) -> String {
    let machine = &results.machine;
    let mut text = format!(
        "<!DOCTYPE html>\n<meta charset=\"utf-8\">\n<title>tandem-bench</title>\n<style>body \
         {{ font-family: sans-serif; max-width: 60em; margin: 2em auto }} svg {{ display: \
         inline-block; margin: 0.5em }} text {{ font-size: 12px }} td, th {{ text-align: left; \
         padding: 0.1em 0.8em 0.1em 0 }}</style>\n<h1>tandem beside its peers</h1>\n<p>{} \
         processors ({}), Linux {}. Medians of {} rounds of {} ms; lines: the rounds' \
         extremes.</p>\n",
        machine.processors,
        escape(&machine.model),
        escape(&machine.kernel),
        results.rounds,
        results.run_ms
    );
    for rows in results.sections() {
        let Row { workload, medium, .. } = rows[0];
        let _ = writeln!(text, "<h2>{}, {}</h2>", escape(workload), escape(medium));
        chart("requests a second", &rows, |run| run.iops, &mut text);
        chart("CPU for each, microseconds", &rows, |run| run.cpu_us, &mut text);
    }
    operations(&results.operations, &mut text);
    for grid in &results.grids {
        lines(grid, &mut text);
    }
    text
}

fn operations(operations: &[Operation], text: &mut String) {
    if operations.is_empty() {
        return;
    }
    text.push_str("<h2>Whole operations</h2>\n<table>\n");
    for Operation { name, unit, values } in operations {
        let (name, unit, value) = (escape(name), escape(unit), shown(values));
        let _ = writeln!(text, "<tr><td>{name}<td>{value}<td>{unit}");
    }
    text.push_str("</table>\n");
}

fn lines(grid: &Grid, text: &mut String) {
    let _ = write!(text, "<h2>{}</h2>\n<table>\n<tr><th>", escape(&grid.title));
    text.push_str(&escape(&grid.over));
    for column in &grid.columns {
        let _ = write!(text, "<th>{}", escape(column));
    }
    for line in &grid.lines {
        let _ = write!(text, "\n<tr><td>{}", escape(&line.name));
        for cell in &line.cells {
            let _ = write!(text, "<td>{}", shown(cell));
        }
    }
    text.push_str("\n</table>\n");
}

fn chart(title: &str, rows: &[&Row], figure: impl Fn(&Run) -> f64, text: &mut String) {
    let values = rows.iter().flat_map(|row| row.runs.iter().map(&figure));
    let most = values.fold(0.0_f64, f64::max).max(f64::MIN_POSITIVE);
    let room = WIDTH - LABEL - 70.0;
    let height = BAR * (rows.len() as f64 + 1.5);
    let _ = writeln!(
        text,
        "<svg width=\"{WIDTH}\" height=\"{height}\"><text x=\"0\" y=\"12\">{title}</text>"
    );
    for (number, row) in rows.iter().enumerate() {
        let top = BAR * (number as f64 + 1.2);
        let scaled = |value: f64| value / most * room;
        let median = row.median(&figure);
        let (low, high) = row.extremes(&figure);
        let color = if row.candidate.starts_with("tandem") { "#2a6f97" } else { "#b0b0b0" };
        let middle = top + BAR / 2.0 - 1.0;
        let _ = writeln!(
            text,
            "<text x=\"0\" y=\"{:.1}\">{}</text><rect x=\"{LABEL}\" y=\"{top:.1}\" \
             width=\"{:.1}\" height=\"{:.1}\" fill=\"{color}\"/><line x1=\"{:.1}\" x2=\"{:.1}\" \
             y1=\"{middle:.1}\" y2=\"{middle:.1}\" stroke=\"#000\"/><text x=\"{:.1}\" \
             y=\"{:.1}\">{median:.1}</text>",
            top + BAR - 5.0,
            escape(&row.candidate),
            scaled(median),
            BAR - 3.0,
            LABEL + scaled(low),
            LABEL + scaled(high),
            LABEL + scaled(high) + 4.0,
            top + BAR - 5.0
        );
    }
    text.push_str("</svg>\n");
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_candidate_has_a_bar_in_each_chart() {
        let row = |candidate: &str| Row {
            medium: "disk".to_owned(),
            workload: "4k <write>".to_owned(),
            candidate: candidate.to_owned(),
            runs: vec![Run { iops: 10.0, cpu_us: 3.0, ..Run::default() }],
            ..Row::default()
        };
        let mut grid = Grid::new("Volumes", "volumes", [1, 8]);
        grid.note("requests/s", 1, 4000.0);
        let rows = vec![row("tandem C"), row("qemu quorum")];
        let mut results = Results { rows, grids: vec![grid], ..Results::default() };
        results.note("fail-over", "s", 0.5);
        let text = html(&results);
        assert_eq!(text.matches("<rect").count(), 4, "{text}");
        assert!(text.contains("<tr><td>requests/s<td>-<td>4000\n"), "{text}");
        assert!(text.contains("<tr><td>fail-over<td>0.50<td>s\n"), "{text}");
        assert!(text.contains("<h2>4k &lt;write>, disk</h2>"), "{text}");
    }
}
