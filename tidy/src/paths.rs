//! The paths that code names: `a::b::c`, and each one of `a::{b, c::d}`.

use crate::lexer::{Lexed, Word, is_name};

/// A path in code, written out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CodePath {
    /// As in `std::fs::File`; a single name is a path too.
    pub text: String,
    /// From 1.
    pub line: usize,
}

impl CodePath {
    /// Whether it is `prefix` or lies below it.
    pub fn is_below(&self, prefix: &str) -> bool {
        self.text.strip_prefix(prefix).is_some_and(|rest| rest.is_empty() || rest.starts_with("::"))
    }

    /// Its parts.
    pub fn parts(&self) -> impl Iterator<Item = &str> {
        self.text.split("::")
    }
}

/// Every path in `lexed`, groups of imports written out.
pub fn paths(lexed: &Lexed) -> Vec<CodePath> {
    let words = lexed.words();
    let (mut found, mut at) = (Vec::new(), 0);
    while at < words.len() {
        at = read(&words, at, "", &mut found);
    }
    found
}

/// Reads what begins at `at`, below `prefix`; returns where it ends.
fn read(words: &[Word<'_>], mut at: usize, prefix: &str, found: &mut Vec<CodePath>) -> usize {
    let line = words[at].line;
    let mut text = prefix.to_owned();
    while let Some(word) = words.get(at) {
        if word.text == "{" && text.ends_with("::") {
            return read_group(words, at + 1, &text, found);
        }
        let is_part = word.text == "::" || is_part_of_path(word.text, &text);
        if !is_part {
            break;
        }
        text.push_str(word.text);
        at += 1;
    }
    if text == prefix {
        return at + 1;
    }
    let text = text.trim_matches(':').to_owned();
    found.push(CodePath { text, line });
    at
}

/// Whether `word` goes on with the path `text`: a name after `::` or at the begin.
fn is_part_of_path(word: &str, text: &str) -> bool {
    let may_begin = text.is_empty() || text.ends_with("::");
    may_begin && (word.chars().all(is_name) || word == "*")
}

fn read_group(words: &[Word<'_>], mut at: usize, prefix: &str, found: &mut Vec<CodePath>) -> usize {
    while let Some(word) = words.get(at) {
        match word.text {
            "}" => return at + 1,
            "," => at += 1,
            // The new name of an import is no path of this group.
            "as" => at += 2,
            _ => at = read(words, at, prefix, found),
        }
    }
    at
}

#[cfg(test)]
mod tests {
    use super::paths;
    use crate::lexer::lex;

    #[test]
    fn groups_are_written_out() {
        let source = "use std::{fs::{self, File as F}, io};\nlet x: a::B = c.d; e!(f::*); }";
        let found: Vec<String> = paths(&lex(source)).into_iter().map(|path| path.text).collect();
        let expected = [
            "use",
            "std::fs::self",
            "std::fs::File",
            "std::io",
            "let",
            "x",
            "a::B",
            "c",
            "d",
            "e",
            "f::*",
        ];
        assert_eq!(found, expected);
    }
}
