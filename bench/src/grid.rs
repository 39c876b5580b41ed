//! Figures over something that is varied: lines and columns.

use std::fmt::Write as _;

use serde::{Deserialize, Serialize};
use tandem_tests::median;

/// A table of figures.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Grid {
    /// What was done; what the figure is, where all lines have the same.
    pub title: String,
    /// What differs from column to column.
    pub over: String,
    /// The columns' names.
    pub columns: Vec<String>,
    /// In order of their first value.
    pub lines: Vec<Line>,
}

/// A line of a [`Grid`].
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Line {
    /// What was measured.
    pub name: String,
    /// Values by round, of each column.
    pub cells: Vec<Vec<f64>>,
}

impl Grid {
    /// One without values.
    pub fn new(title: &str, over: &str, columns: impl IntoIterator<Item = impl ToString>) -> Self {
        let columns = columns.into_iter().map(|column| column.to_string()).collect();
        Self { title: title.to_owned(), over: over.to_owned(), columns, lines: Vec::new() }
    }

    /// Notes a value; what has no such line yet gets one.
    ///
    /// # Panics
    /// Where there is no such column.
    pub fn note(&mut self, line: &str, column: usize, value: f64) {
        assert!(column < self.columns.len(), "column {column} of '{}'", self.title);
        let index = self.lines.iter().position(|it| it.name == line).unwrap_or_else(|| {
            let cells = vec![Vec::new(); self.columns.len()];
            self.lines.push(Line { name: line.to_owned(), cells });
            self.lines.len() - 1
        });
        self.lines[index].cells[column].push(value);
    }

    /// The values of a line in a column, by round; none of a line that there is not.
    pub fn values(&self, line: &str, column: usize) -> &[f64] {
        let line = self.lines.iter().find(|it| it.name == line);
        line.map_or(&[], |line| &line.cells[column])
    }

    /// As a table in Markdown, of medians.
    pub fn markdown(&self) -> String {
        let mut text = format!("\n**{}**\n\n| {} |", self.title, self.over);
        for column in &self.columns {
            let _ = write!(text, " {column} |");
        }
        let _ = writeln!(text, "\n|{}", "---|".repeat(self.columns.len() + 1));
        for line in &self.lines {
            let cells: Vec<String> = line.cells.iter().map(|cell| shown(cell)).collect();
            let _ = writeln!(text, "| {} | {} |", line.name, cells.join(" | "));
        }
        text
    }
}

/// The median, with as many digits as say something.
pub fn shown(cell: &[f64]) -> String {
    match median(cell.to_vec()) {
        _ if cell.is_empty() => "-".to_owned(),
        large if large >= 100.0 => format!("{large:.0}"),
        middle if middle >= 10.0 => format!("{middle:.1}"),
        small => format!("{small:.2}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn medians_stand_where_their_line_and_column_cross() {
        let mut grid = Grid::new("Round trips: requests/s", "ms", [0, 10]);
        for value in [3000.4, 1000.0, 2000.0] {
            grid.note("tandem A qd1", 1, value);
        }
        grid.note("tandem C qd1", 0, 12.34);
        grid.note("tandem C qd1", 1, 0.5);
        let text = "\n**Round trips: requests/s**\n\n| ms | 0 | 10 |\n|---|---|---|\n\
                    | tandem A qd1 | - | 2000 |\n| tandem C qd1 | 12.3 | 0.50 |\n";
        assert_eq!(grid.markdown(), text);
    }
}
