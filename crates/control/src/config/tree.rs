//! Tokens to a tree of statements, without knowing what they mean.
//!
//! Every construct of the language is one to many words followed by `;` or by a block in braces; so
//! structure and meaning are checked apart, and a wrong keyword hides no other error.

use super::diagnostic::{Diagnostics, Position};
use super::lexer::{Token, TokenKind, tokens};
use crate::limits;

/// A word and where it stands.
#[derive(Clone, Debug)]
pub(super) struct Word {
    pub(super) text: String,
    pub(super) at: Position,
    /// Whether no message may show it.
    pub(super) secret: bool,
}

impl Word {
    /// Its text, for messages.
    pub(super) fn shown(&self) -> &str {
        if self.secret { "..." } else { &self.text }
    }
}

/// Words with `;` or a block behind them.
#[derive(Clone, Debug)]
pub(super) struct Statement {
    /// The first word.
    pub(super) keyword: Word,
    /// The other words.
    pub(super) values: Vec<Word>,
    /// What stands in braces; `None` where `;` ended the statement.
    pub(super) block: Option<Vec<Self>>,
}

/// What is behind this keyword is not there, braces and what is between them.
const SKIP: &str = "skip";

const UNCLOSED: &str = "this '{' is not closed, '}' expected";

/// The statements of a file.
pub(super) fn parse(text: &str, file: usize, diagnostics: &mut Diagnostics) -> Vec<Statement> {
    let tokens = tokens(text, file, diagnostics);
    let mut parser = Parser { tokens: tokens.into_iter().peekable(), diagnostics };
    let mut statements = Vec::new();
    while let Some(at) = parser.statements(&mut statements, 0) {
        parser.diagnostics.error(at, "'}' closes nothing here");
    }
    statements
}

struct Parser<'a> {
    tokens: std::iter::Peekable<std::vec::IntoIter<Token>>,
    diagnostics: &'a mut Diagnostics,
}

impl Parser<'_> {
    /// Reads until the end or a `}`, whose place it returns.
    fn statements(&mut self, into: &mut Vec<Statement>, depth: usize) -> Option<Position> {
        let mut words: Vec<Word> = Vec::new();
        while let Some(Token { kind, at, secret }) = self.tokens.next() {
            match kind {
                TokenKind::Word(text) | TokenKind::Quoted(text) => {
                    words.push(Word { text, at, secret });
                }
                TokenKind::Semicolon => self.end(&mut words, None, at, into),
                TokenKind::Open if words.first().is_some_and(|word| word.text == SKIP) => {
                    words.clear();
                    self.skip_block(at);
                }
                TokenKind::Open => {
                    let block = self.block(at, depth);
                    self.end(&mut words, Some(block), at, into);
                }
                TokenKind::Close => {
                    self.missing_semicolon(&words);
                    return Some(at);
                }
                TokenKind::End => {
                    self.missing_semicolon(&words);
                    return None;
                }
            }
        }
        None
    }

    fn block(&mut self, open: Position, depth: usize) -> Vec<Statement> {
        let mut block = Vec::new();
        if depth == limits::NESTING_MAX {
            let max = limits::NESTING_MAX;
            self.diagnostics.error(open, format!("braces are nested more than {max} deep"));
            self.skip_block(open);
        } else if self.statements(&mut block, depth + 1).is_none() {
            self.diagnostics.error(open, UNCLOSED);
        }
        block
    }

    /// Goes on behind the `}` of a block, whatever is in it.
    fn skip_block(&mut self, open: Position) {
        let mut depth = 1_usize;
        for token in self.tokens.by_ref() {
            match token.kind {
                TokenKind::Open => depth += 1,
                TokenKind::Close => depth -= 1,
                TokenKind::Word(_)
                | TokenKind::Quoted(_)
                | TokenKind::Semicolon
                | TokenKind::End => {}
            }
            if depth == 0 {
                return;
            }
        }
        self.diagnostics.error(open, UNCLOSED);
    }

    fn end(
        &mut self,
        words: &mut Vec<Word>,
        block: Option<Vec<Statement>>,
        at: Position,
        into: &mut Vec<Statement>,
    ) {
        let shown = if block.is_some() { '{' } else { ';' };
        let mut taken = std::mem::take(words).into_iter();
        let Some(keyword) = taken.next() else {
            self.diagnostics.error(at, format!("'{shown}' without a keyword before it"));
            return;
        };
        let values: Vec<Word> = taken.collect();
        if let Some(word) = values.get(limits::STATEMENT_WORDS_MAX) {
            let message = "too many words in one statement; is a ';' missing?";
            self.diagnostics.error(word.at, message);
            return;
        }
        into.push(Statement { keyword, values, block });
    }

    fn missing_semicolon(&mut self, words: &[Word]) {
        if let Some(last) = words.last() {
            self.diagnostics.error(last.at, format!("';' expected behind '{}'", last.shown()));
        }
    }
}
