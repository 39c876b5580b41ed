//! Files to statements: reads, follows `include` and `template-file`, bounds what it reads.

use std::collections::BTreeSet;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use super::diagnostic::Diagnostics;
use super::glob;
use super::read::TEMPLATE;
use super::tree::{Statement, Word, parse};
use crate::limits;

/// The statements of `path` and of all files it includes, in order.
pub(super) fn load(path: &Path, diagnostics: &mut Diagnostics) -> Vec<Statement> {
    let mut loader = Loader { seen: BTreeSet::new(), statements: Vec::new(), diagnostics };
    match read(path) {
        Ok(text) => {
            loader.first_time(path);
            loader.text(path, &text, 0);
        }
        Err(message) => loader.diagnostics.file_error(path, message),
    }
    loader.statements
}

/// The statements of `text`, which stands for the file `path`, and of all files it includes.
pub(super) fn load_text(path: &Path, text: &str, diagnostics: &mut Diagnostics) -> Vec<Statement> {
    let mut loader = Loader { seen: BTreeSet::new(), statements: Vec::new(), diagnostics };
    loader.text(path, text, 0);
    loader.statements
}

struct Loader<'a> {
    seen: BTreeSet<PathBuf>,
    statements: Vec<Statement>,
    diagnostics: &'a mut Diagnostics,
}

impl Loader<'_> {
    fn text(&mut self, path: &Path, text: &str, depth: usize) {
        let file = self.diagnostics.add_file(path, text);
        let statements = parse(text, file, self.diagnostics);
        self.follow(path, statements, depth);
    }

    fn follow(&mut self, path: &Path, statements: Vec<Statement>, depth: usize) {
        for statement in statements {
            if self.diagnostics.is_full() {
                return;
            }
            if statement.keyword.text == "include" {
                self.include(path, &statement, depth);
            } else {
                let statement = self.with_template(path, statement);
                self.statements.push(statement);
            }
        }
    }

    /// Gives every `template-file` of a resource what is in its file as a block.
    fn with_template(&mut self, from: &Path, mut statement: Statement) -> Statement {
        let is_resource = statement.keyword.text == "resource";
        let inner = statement.block.iter_mut().flatten().filter(|_| is_resource);
        for template in inner.filter(|inner| inner.keyword.text == "template-file") {
            let ([word], None) = (template.values.as_slice(), &template.block) else {
                self.diagnostics.error(template.keyword.at, "one file and ';' expected");
                template.block = None;
                continue;
            };
            template.block = self.template(from, word);
        }
        statement
    }

    /// What stands in the section of a template.
    fn template(&mut self, from: &Path, word: &Word) -> Option<Vec<Statement>> {
        let path = from.parent().unwrap_or_else(|| Path::new("")).join(&word.text);
        let mut statements = self.parse(&path, word)?.into_iter();
        match (statements.next(), statements.next()) {
            (Some(Statement { keyword, values, block: Some(block) }), None)
                if keyword.text == TEMPLATE && values.is_empty() =>
            {
                Some(block)
            }
            _ => {
                let message = format!("one section '{TEMPLATE}' is expected in {}", path.display());
                self.diagnostics.error(word.at, message);
                None
            }
        }
    }

    /// The statements of a file that `word` names.
    fn parse(&mut self, path: &Path, word: &Word) -> Option<Vec<Statement>> {
        if self.diagnostics.file_count() >= limits::CONFIG_FILES_MAX {
            let max = limits::CONFIG_FILES_MAX;
            self.diagnostics.error(word.at, format!("more than {max} files"));
            return None;
        }
        match read(path) {
            Ok(text) => {
                let file = self.diagnostics.add_file(path, &text);
                Some(parse(&text, file, self.diagnostics))
            }
            Err(message) => {
                let message = format!("{}: {message}", path.display());
                self.diagnostics.error(word.at, message);
                None
            }
        }
    }

    fn include(&mut self, from: &Path, statement: &Statement, depth: usize) {
        let keyword = &statement.keyword;
        let ([word], None) = (statement.values.as_slice(), &statement.block) else {
            self.diagnostics.error(keyword.at, "one file or pattern and ';' expected");
            return;
        };
        if depth == limits::INCLUDE_DEPTH_MAX {
            let max = limits::INCLUDE_DEPTH_MAX;
            self.diagnostics.error(keyword.at, format!("includes are nested more than {max} deep"));
            return;
        }
        for path in self.targets(from, word) {
            if !self.first_time(&path) {
                continue;
            }
            if let Some(statements) = self.parse(&path, word) {
                self.follow(&path, statements, depth + 1);
            } else if self.diagnostics.is_full() {
                return;
            }
        }
    }

    /// A pattern may match nothing; a file that is named must exist.
    fn targets(&mut self, from: &Path, word: &Word) -> Vec<PathBuf> {
        let folder = from.parent().unwrap_or_else(|| Path::new(""));
        if !glob::is_pattern(&word.text) {
            return vec![folder.join(&word.text)];
        }
        match glob::expand(folder, &word.text, limits::CONFIG_FILES_MAX) {
            Ok(paths) => paths,
            Err(error) => {
                self.diagnostics.error(word.at, format!("'{}': {error}", word.text));
                Vec::new()
            }
        }
    }

    /// Whether the file was not read before, under whatever name.
    fn first_time(&mut self, path: &Path) -> bool {
        self.seen.insert(path.canonicalize().unwrap_or_else(|_| path.to_owned()))
    }
}

fn read(path: &Path) -> Result<String, String> {
    let describe = |error: io::Error| {
        if error.kind() == io::ErrorKind::NotFound {
            "there is no such file".to_owned()
        } else if error.kind() == io::ErrorKind::InvalidData {
            "is not UTF-8".to_owned()
        } else {
            error.to_string()
        }
    };
    let file = std::fs::File::open(path).map_err(describe)?;
    let max = limits::CONFIG_FILE_BYTES_MAX;
    let mut text = String::new();
    file.take(max + 1).read_to_string(&mut text).map_err(describe)?;
    if u64::try_from(text.len()).is_ok_and(|length| length <= max) {
        return Ok(text);
    }
    Err(format!("has more than {max} bytes"))
}
