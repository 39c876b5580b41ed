//! The files of the repository, and what is found in them.

use std::fmt;
use std::path::Path;
use std::process::Command;

use crate::lexer::{Lexed, lex};

/// A text file.
#[derive(Clone, Debug)]
pub struct File {
    /// Path from the root of the repository, with `/`.
    pub path: String,
    /// Its content.
    pub text: String,
}

impl File {
    /// A file of this content.
    pub fn new(path: &str, text: &str) -> Self {
        Self { path: path.to_owned(), text: text.to_owned() }
    }

    /// Whether it is Rust source.
    pub fn is_rust(&self) -> bool {
        self.path.ends_with(".rs")
    }

    /// Its code and its comments, apart.
    pub fn lex(&self) -> Lexed {
        lex(&self.text)
    }
}

/// Text files by path.
#[derive(Clone, Debug, Default)]
pub struct Tree {
    /// In order of path.
    pub files: Vec<File>,
}

impl Tree {
    /// Every text file below `root` that git tracks, or would if it were added.
    ///
    /// # Panics
    /// Without git, or where a file cannot be read: there is nothing to check then.
    pub fn load(root: &Path) -> Self {
        let listed = Command::new("git")
            .args(["ls-files", "-z", "--cached", "--others", "--exclude-standard"])
            .current_dir(root)
            .output()
            .expect("git lists the repository's files");
        assert!(listed.status.success(), "git ls-files: {:?}", listed.stderr);
        let names = String::from_utf8(listed.stdout).expect("paths here are UTF-8");
        let mut files: Vec<File> =
            names.split_terminator('\0').filter_map(|path| read(root, path)).collect();
        files.sort_by(|a, b| a.path.cmp(&b.path));
        files.dedup_by(|a, b| a.path == b.path);
        Self { files }
    }

    /// The file at `path`.
    pub fn find(&self, path: &str) -> Option<&File> {
        self.files.iter().find(|file| file.path == path)
    }

    /// Rust files.
    pub fn rust(&self) -> impl Iterator<Item = &File> {
        self.files.iter().filter(|file| file.is_rust())
    }

    /// Whether there is a file or folder at `path`.
    pub fn holds(&self, path: &str) -> bool {
        let folder = format!("{path}/");
        self.files.iter().any(|file| file.path == path || file.path.starts_with(&folder))
    }
}

/// `None` for what is deleted but still listed, and for what is no text.
fn read(root: &Path, path: &str) -> Option<File> {
    let full = root.join(path);
    if !full.is_file() {
        return None;
    }
    let bytes = std::fs::read(full).expect("a listed file can be read");
    let text = String::from_utf8(bytes).ok()?;
    (!text.contains('\0')).then(|| File::new(path, &text))
}

/// Something that is not as it should be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// The rule, by its name in `exceptions.txt`.
    pub rule: &'static str,
    /// Which file, or which function of it as `path::name`.
    pub place: String,
    /// Line, from 1.
    pub line: usize,
    /// What is wrong.
    pub text: String,
    /// How large it is, where size is what is wrong.
    pub size: Option<usize>,
}

impl Finding {
    /// A finding without a size.
    pub fn new(rule: &'static str, place: &str, line: usize, text: impl Into<String>) -> Self {
        Self { rule, place: place.to_owned(), line, text: text.into(), size: None }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {} [{}]", self.place, self.line, self.text, self.rule)
    }
}
