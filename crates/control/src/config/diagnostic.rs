//! Errors and warnings that point at a place in a configuration file.
//!
//! A diagnostic prints as `FILE:LINE:COL: message`, the line, and a caret under the place. Reading
//! goes on after an error where it can, so that one run reports several.

use std::collections::BTreeSet;
use std::fmt;
use std::path::{Path, PathBuf};

use crate::limits;

/// A place in a configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Position {
    /// Index of the file in its [`Diagnostics`].
    pub(super) file: usize,
    /// From 1.
    pub(super) line: u32,
    /// In characters, from 1.
    pub(super) column: u32,
}

/// Something wrong or remarkable at a place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Diagnostic {
    /// The file.
    pub file: PathBuf,
    /// From 1; 0 where the file as a whole is meant.
    pub line: u32,
    /// In characters, from 1.
    pub column: u32,
    /// The line it points at.
    pub source_line: String,
    /// What is wrong and what was expected.
    pub message: String,
}

/// Why a configuration was not taken: at least one error, in the order of the files.
#[derive(Debug, thiserror::Error)]
#[error("{}", joined(.0))]
pub struct ConfigErrors(pub Vec<Diagnostic>);

/// Collects what is found while reading, and the text of the files to point at.
#[derive(Debug, Default)]
pub(super) struct Diagnostics {
    files: Vec<(PathBuf, Vec<String>)>,
    problems: Vec<Diagnostic>,
    has_errors: bool,
    warnings: Vec<Diagnostic>,
    warned: BTreeSet<String>,
}

/// What was found where nothing is wrong.
#[derive(Debug)]
pub(super) struct Findings {
    /// The files that were read.
    pub(super) files: Vec<PathBuf>,
    /// What is understood and not there.
    pub(super) refusals: Vec<Diagnostic>,
    /// What was accepted and has no effect.
    pub(super) warnings: Vec<Diagnostic>,
}

impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.line == 0 {
            return write!(f, "{}: {}", self.file.display(), self.message);
        }
        let (file, line, column) = (self.file.display(), self.line, self.column);
        writeln!(f, "{file}:{line}:{column}: {}", self.message)?;
        let place = usize::try_from(column).unwrap_or(1).max(1) - 1;
        let first = place.saturating_sub(LINE_SHOWN_MAX / 2);
        let shown: String = self.source_line.chars().skip(first).take(LINE_SHOWN_MAX).collect();
        writeln!(f, "    {shown}")?;
        let before = shown.chars().take(place - first);
        let indent: String = before.map(|c| if c == '\t' { '\t' } else { ' ' }).collect();
        write!(f, "    {indent}^")
    }
}

impl Diagnostics {
    /// Makes a file known; its index goes into positions.
    pub(super) fn add_file(&mut self, path: &Path, text: &str) -> usize {
        self.files.push((path.to_owned(), text.lines().map(str::to_owned).collect()));
        self.files.len() - 1
    }

    /// Notes an error: it is not DRBD's language, or contradicts itself.
    pub(super) fn error(&mut self, at: Position, message: impl Into<String>) {
        self.has_errors = true;
        let diagnostic = self.diagnostic(at, message.into());
        self.note(diagnostic);
    }

    /// Notes something that is understood and not there.
    pub(super) fn refuse(&mut self, at: Position, message: impl Into<String>) {
        let diagnostic = self.diagnostic(at, message.into());
        self.note(diagnostic);
    }

    /// Notes an error of a file as a whole.
    pub(super) fn file_error(&mut self, path: &Path, message: impl Into<String>) {
        let diagnostic = Diagnostic {
            file: path.to_owned(),
            line: 0,
            column: 0,
            source_line: String::new(),
            message: message.into(),
        };
        self.has_errors = true;
        self.note(diagnostic);
    }

    /// Makes stars of what stands between two places of a line, or from the first to its end: no
    /// message shows it.
    pub(super) fn hide(&mut self, from: Position, to: Position) {
        let index = usize::try_from(from.line).unwrap_or(1).max(1) - 1;
        let (path, lines) = &mut self.files[from.file];
        let Some(line) = lines.get_mut(index) else { return };
        let end = if to.line == from.line { to.column } else { u32::MAX };
        let hidden = |(column, c): (u32, char)| {
            if (from.column..end).contains(&column) { '*' } else { c }
        };
        *line = (1..).zip(line.chars()).map(hidden).collect();
        // What was wrong with the place has been noted already.
        for noted in &mut self.problems {
            if noted.file == *path && noted.line == from.line {
                noted.source_line.clone_from(line);
            }
        }
    }

    /// Notes a warning, the first time for each `name`.
    pub(super) fn warn_once(&mut self, name: &str, at: Position, message: impl Into<String>) {
        if self.warned.insert(name.to_owned()) {
            let diagnostic = self.diagnostic(at, message.into());
            self.warnings.push(diagnostic);
        }
    }

    /// What was found, or everything that stands against the files if there is an error in them.
    pub(super) fn finish(self) -> Result<Findings, ConfigErrors> {
        if self.has_errors {
            return Err(ConfigErrors(self.problems));
        }
        let files = self.files.into_iter().map(|(path, _)| path).collect();
        Ok(Findings { files, refusals: self.problems, warnings: self.warnings })
    }

    /// Whether an error was noted.
    pub(super) fn has_errors(&self) -> bool {
        self.has_errors
    }

    /// Whether so much was noted that reading on is of no use.
    pub(super) fn is_full(&self) -> bool {
        self.problems.len() >= limits::DIAGNOSTICS_MAX
    }

    /// How many files are known.
    pub(super) fn file_count(&self) -> usize {
        self.files.len()
    }

    /// `FILE:LINE` of a place, for use inside a message about another place.
    pub(super) fn place(&self, at: Position) -> String {
        format!("{}:{}", self.path(at).display(), at.line)
    }

    /// The file of a place.
    pub(super) fn path(&self, at: Position) -> &Path {
        &self.files[at.file].0
    }

    /// What is said for each of several hosts is said once.
    fn note(&mut self, diagnostic: Diagnostic) {
        if !self.is_full() && !self.problems.contains(&diagnostic) {
            self.problems.push(diagnostic);
        }
    }

    fn diagnostic(&self, at: Position, message: String) -> Diagnostic {
        let (path, lines) = &self.files[at.file];
        let index = usize::try_from(at.line).unwrap_or(1).max(1) - 1;
        Diagnostic {
            file: path.clone(),
            line: at.line,
            column: at.column,
            source_line: lines.get(index).cloned().unwrap_or_default(),
            message,
        }
    }
}

/// Characters of a source line that a diagnostic shows.
const LINE_SHOWN_MAX: usize = 160;

fn joined(diagnostics: &[Diagnostic]) -> String {
    let texts: Vec<String> = diagnostics.iter().map(Diagnostic::to_string).collect();
    texts.join("\n")
}
