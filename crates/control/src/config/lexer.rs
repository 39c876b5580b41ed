//! Text to tokens: words, quoted strings, `{`, `}`, `;`.
//!
//! A word is what stands between white space and `{ } ; " #`, so that addresses (`[fd00::3]:7000`)
//! and slots (`/dev/sdb1[0]`) are one word; what a word may consist of is for its use to say.
//! Comments go from `#` to the end of the line. Errors do not stop the lexer: it goes on behind the
//! bad piece. What stands behind a keyword whose value is secret is kept out of all messages.

use super::diagnostic::{Diagnostics, Position};
use crate::limits;

/// A piece of text and where it starts.
#[derive(Clone, Debug)]
pub(super) struct Token {
    pub(super) kind: TokenKind,
    pub(super) at: Position,
    /// Whether no message may show it.
    pub(super) secret: bool,
}

#[derive(Clone, Debug)]
pub(super) enum TokenKind {
    Word(String),
    Quoted(String),
    Open,
    Close,
    Semicolon,
    /// Stands once, at the end.
    End,
}

/// The tokens of a file; the last is [`TokenKind::End`].
pub(super) fn tokens(text: &str, file: usize, diagnostics: &mut Diagnostics) -> Vec<Token> {
    let start = Position { file, line: 1, column: 1 };
    let mut lexer = Lexer { rest: text.chars().peekable(), at: start, diagnostics };
    let mut tokens = Vec::new();
    let mut secret = false;
    loop {
        lexer.skip_blank();
        let at = lexer.at;
        let Some(kind) = lexer.token() else {
            tokens.push(Token { kind: TokenKind::End, at, secret: false });
            return tokens;
        };
        match &kind {
            TokenKind::Word(_) | TokenKind::Quoted(_) if secret => {
                lexer.diagnostics.hide(at, lexer.at);
                tokens.push(Token { kind, at, secret: true });
                continue;
            }
            TokenKind::Word(text) => secret = SECRET.contains(&text.as_str()),
            TokenKind::Quoted(_)
            | TokenKind::Open
            | TokenKind::Close
            | TokenKind::Semicolon
            | TokenKind::End => secret = false,
        }
        tokens.push(Token { kind, at, secret: false });
    }
}

/// Keywords whose values are nobody's business.
const SECRET: &[&str] = &["shared-secret"];

struct Lexer<'a> {
    rest: std::iter::Peekable<std::str::Chars<'a>>,
    at: Position,
    diagnostics: &'a mut Diagnostics,
}

impl Lexer<'_> {
    fn token(&mut self) -> Option<TokenKind> {
        let kind = match *self.rest.peek()? {
            '{' => TokenKind::Open,
            '}' => TokenKind::Close,
            ';' => TokenKind::Semicolon,
            '"' => return Some(self.quoted()),
            _ => return Some(self.word()),
        };
        self.advance();
        Some(kind)
    }

    fn word(&mut self) -> TokenKind {
        let at = self.at;
        let mut text = String::new();
        let mut odd = None;
        while let Some(&c) = self.rest.peek() {
            if c.is_whitespace() || matches!(c, '{' | '}' | ';' | '"' | '#') {
                break;
            }
            if !c.is_ascii_graphic() && odd.is_none() {
                odd = Some((self.at, c));
            }
            text.push(c);
            self.advance();
        }
        if let Some((at, c)) = odd {
            let shown = c.escape_default();
            self.diagnostics.error(at, format!("character '{shown}' outside of quotes"));
        }
        self.check_length(at, &text, limits::WORD_LEN_MAX, "word");
        TokenKind::Word(text)
    }

    fn quoted(&mut self) -> TokenKind {
        let at = self.at;
        self.advance();
        let mut text = String::new();
        loop {
            match self.rest.peek().copied() {
                None | Some('\n') => {
                    self.diagnostics.error(at, "this string is not closed, '\"' expected");
                    break;
                }
                Some('"') => {
                    self.advance();
                    break;
                }
                Some('\\') => {
                    let escape_at = self.at;
                    self.advance();
                    match self.rest.peek().copied() {
                        Some(c @ ('"' | '\\')) => {
                            text.push(c);
                            self.advance();
                        }
                        Some(_) | None => {
                            let message = "'\\' starts no escape here, '\\\"' or '\\\\' expected";
                            self.diagnostics.error(escape_at, message);
                        }
                    }
                }
                Some(c) if c.is_control() && c != '\t' => {
                    let shown = c.escape_default();
                    self.diagnostics.error(self.at, format!("character '{shown}' in a string"));
                    self.advance();
                }
                Some(c) => {
                    text.push(c);
                    self.advance();
                }
            }
        }
        self.check_length(at, &text, limits::QUOTED_LEN_MAX, "string");
        TokenKind::Quoted(text)
    }

    fn skip_blank(&mut self) {
        let mut comment = false;
        while let Some(&c) = self.rest.peek() {
            match c {
                '\n' => comment = false,
                '#' => comment = true,
                c if c.is_whitespace() || comment => {}
                _ => return,
            }
            self.advance();
        }
    }

    fn advance(&mut self) {
        match self.rest.next() {
            Some('\n') => {
                self.at.line += 1;
                self.at.column = 1;
            }
            Some(_) => self.at.column += 1,
            None => {}
        }
    }

    fn check_length(&mut self, at: Position, text: &str, max: usize, what: &str) {
        let length = text.len();
        if length > max {
            let message = format!("this {what} has {length} bytes, at most {max} are allowed");
            self.diagnostics.error(at, message);
        }
    }
}
