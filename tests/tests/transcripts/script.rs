//! A story: its lines, its replay, and what has changed of it.

use std::fmt::Write as _;
use std::path::Path;

use tandem_tests::{Context, Output, Result, Side, fail};

use super::stage::Stage;

/// A line that is not an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Line<'a> {
    /// For the reader, or nothing.
    Text(&'a str),
    /// Sets the stage.
    Direction(&'a str),
    /// A command at a node.
    Command(Side, &'a str),
}

impl<'a> Line<'a> {
    /// Reads one; `None` for what belongs to an answer.
    pub(super) fn read(line: &'a str) -> Option<Result<Self>> {
        if line.starts_with(' ') {
            return None;
        }
        if let Some(words) = line.strip_prefix("> ") {
            return Some(Ok(Self::Direction(words)));
        }
        for (prefix, side) in [("a$ ", Side::A), ("b$ ", Side::B)] {
            if let Some(words) = line.strip_prefix(prefix) {
                return Some(Ok(Self::Command(side, words)));
            }
        }
        if line.is_empty() || line.starts_with('#') {
            return Some(Ok(Self::Text(line)));
        }
        Some(fail(format!("'{line}' is neither text, nor a direction, nor a command")))
    }
}

/// Does what the lines of a file say, and holds the answers against those in it.
pub(super) fn replay(path: &Path, stage: &mut Stage) -> Result<()> {
    let recorded = std::fs::read_to_string(path).about(path.display())?;
    let mut said = String::new();
    for (number, line) in (1..).zip(recorded.lines()) {
        let Some(line_read) = Line::read(line) else { continue };
        // What was said until then may say why.
        let place = || format!("{}{}:{number}: {line}", tail(&said), path.display());
        match line_read.about(path.display())? {
            Line::Text(_) => {}
            Line::Direction(words) => stage.direct(words).about(place())?,
            Line::Command(side, words) => {
                let output = stage.run(side, words).about(place())?;
                let _ = writeln!(said, "{line}");
                said.push_str(&stage.constant(&answer(&output)));
                continue;
            }
        }
        let _ = writeln!(said, "{line}");
    }
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        return std::fs::write(path, said).about(path.display());
    }
    match difference(&recorded, &said) {
        None => Ok(()),
        Some(text) => fail(format!(
            "{}: {text}\nif that is as it should be: UPDATE_GOLDEN=1 writes it anew",
            path.display()
        )),
    }
}

/// An answer as it is recorded. White space at the end of a line is seen by a bar behind it.
fn answer(output: &Output) -> String {
    let mut text = String::new();
    let mut add = |prefix: &str, line: &str| {
        let is_seen = !line.is_empty() && line.trim_end() == line;
        let _ = writeln!(text, "{prefix}{line}{}", if is_seen { "" } else { "|" });
    };
    output.stdout.lines().for_each(|line| add("    ", line));
    output.stderr.lines().for_each(|line| add("  ! ", line));
    if output.code != 0 {
        let _ = writeln!(text, "  exit {}", output.code);
    }
    text
}

/// The first lines that differ, under the last command before them.
fn difference(recorded: &str, said: &str) -> Option<String> {
    let (old, new): (Vec<&str>, Vec<&str>) = (recorded.lines().collect(), said.lines().collect());
    let same = old.iter().zip(&new).take_while(|(old, new)| old == new).count();
    if same == old.len() && same == new.len() {
        return None;
    }
    let above = old[..same].iter().rev().find(|line| !line.starts_with(' '));
    let excerpt = |lines: &[&str]| {
        let lines: Vec<&str> = lines[same..].iter().take(EXCERPT_LINES).copied().collect();
        lines.join("\n")
    };
    Some(format!(
        "line {}: the answer has changed\n{}\n--- recorded:\n{}\n--- said:\n{}",
        same + 1,
        above.unwrap_or(&""),
        excerpt(&old),
        excerpt(&new)
    ))
}

fn tail(said: &str) -> String {
    let lines: Vec<&str> = said.lines().collect();
    let tail = &lines[lines.len().saturating_sub(EXCERPT_LINES)..];
    tail.iter().map(|line| format!("{line}\n")).collect()
}

/// Lines that a failure shows of each side.
const EXCERPT_LINES: usize = 12;
