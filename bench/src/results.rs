//! What was measured, as it is written to a file.

use serde::{Deserialize, Serialize};
use tandem_tests::median;

use crate::grid::Grid;
use crate::machine::Machine;

/// A measurement.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Results {
    /// Where.
    pub machine: Machine,
    /// Rounds of each workload.
    pub rounds: usize,
    /// Milliseconds of each run.
    pub run_ms: u64,
    /// One for each medium, workload and candidate.
    pub rows: Vec<Row>,
    /// One for each operation and figure.
    #[serde(default)]
    pub operations: Vec<Operation>,
    /// What was varied, one for each figure or kind of figures.
    #[serde(default)]
    pub grids: Vec<Grid>,
}

/// A figure of something that was measured from its beginning to its end.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Operation {
    /// What was done, by whom.
    pub name: String,
    /// What the values are.
    pub unit: String,
    /// By round.
    pub values: Vec<f64>,
}

/// One candidate under one workload.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Row {
    /// `disk` or `RAM`.
    pub medium: String,
    /// The workload's name.
    pub workload: String,
    /// Bytes of its requests.
    pub request_bytes: u64,
    /// The candidate's name.
    pub candidate: String,
    /// By round.
    pub runs: Vec<Run>,
}

/// One run.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub struct Run {
    /// Requests a second.
    pub iops: f64,
    /// Median latency, microseconds.
    pub p50_us: f64,
    /// The latency that one request in a hundred exceeds.
    pub p99_us: f64,
    /// CPU time of all daemons for each request, microseconds.
    pub cpu_us: f64,
    /// Context switches of all daemons for each request.
    pub switches: f64,
    /// Memory of all daemons behind it, KiB.
    pub rss_kib: u64,
}

impl Row {
    /// The median of a figure over the rounds.
    pub fn median(&self, figure: impl Fn(&Run) -> f64) -> f64 {
        median(self.runs.iter().map(figure).collect())
    }

    /// The least and the most of it.
    pub fn extremes(&self, figure: impl Fn(&Run) -> f64) -> (f64, f64) {
        extremes(self.runs.iter().map(figure))
    }

    /// How far the rounds lie apart: the distance of the extremes, in parts of the median.
    pub fn spread(&self, figure: impl Fn(&Run) -> f64) -> f64 {
        let (low, high) = self.extremes(&figure);
        let median = self.median(figure);
        if median > 0.0 { (high - low) / median } else { 0.0 }
    }
}

/// The least and the most of some values.
pub fn extremes(values: impl Iterator<Item = f64>) -> (f64, f64) {
    values.fold((f64::MAX, 0.0), |(least, most), value| (least.min(value), most.max(value)))
}

impl Results {
    /// Notes a figure of an operation.
    pub fn note(&mut self, name: &str, unit: &str, value: f64) {
        let mut known = self.operations.iter_mut();
        match known.find(|it| it.name == name && it.unit == unit) {
            Some(operation) => operation.values.push(value),
            None => {
                let (name, unit) = (name.to_owned(), unit.to_owned());
                self.operations.push(Operation { name, unit, values: vec![value] });
            }
        }
    }

    /// The rows of each medium and workload that was measured, in order.
    pub fn sections(&self) -> Vec<Vec<&Row>> {
        let mut sections = Vec::new();
        for medium in self.distinct(|row| &row.medium) {
            for workload in self.distinct(|row| &row.workload) {
                let is_of = |row: &&Row| row.medium == medium && row.workload == workload;
                let rows: Vec<&Row> = self.rows.iter().filter(is_of).collect();
                if !rows.is_empty() {
                    sections.push(rows);
                }
            }
        }
        sections
    }

    /// The different values of a column, in order of their first appearance.
    fn distinct(&self, column: impl Fn(&Row) -> &str) -> Vec<&str> {
        let mut found: Vec<&str> = Vec::new();
        for row in &self.rows {
            let value = column(row);
            if !found.contains(&value) {
                found.push(value);
            }
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn medians_and_spreads() {
        let row = |iops: &[f64]| Row {
            runs: iops.iter().map(|iops| Run { iops: *iops, ..Run::default() }).collect(),
            ..Row::default()
        };
        let figures = |iops: &[f64]| {
            let row = row(iops);
            (row.median(|run| run.iops), row.spread(|run| run.iops))
        };
        assert_eq!(figures(&[30.0, 10.0, 20.0]), (20.0, 1.0));
        assert_eq!(figures(&[10.0, 20.0]), (15.0, 10.0 / 15.0));
        assert_eq!(figures(&[]), (0.0, 0.0));
    }
}
