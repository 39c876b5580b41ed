//! Rust source with its code and its comments apart.
//!
//! Both halves have the lines and columns of the source; whatever does not belong to one is blank
//! in it. Strings, characters and raw strings are in neither, so that what they say is not taken
//! for code. Knows just enough of the language for that.

/// The two halves of a source.
#[derive(Clone, Debug)]
pub struct Lexed {
    /// Code, without literals of text.
    pub code: String,
    /// Comments, with their slashes.
    pub comments: String,
}

impl Lexed {
    /// Words of the code with their line, from 1: identifiers, keywords, numbers, and every other
    /// character alone, but for `::`.
    pub fn words(&self) -> Vec<Word<'_>> {
        let mut words = Vec::new();
        for (number, line) in self.code.lines().enumerate() {
            let mut rest = line.trim_start();
            while let Some(first) = rest.chars().next() {
                let len = if is_name(first) {
                    rest.find(|c| !is_name(c)).unwrap_or(rest.len())
                } else if rest.starts_with("::") {
                    2
                } else {
                    first.len_utf8()
                };
                let (text, behind) = rest.split_at(len);
                words.push(Word { text, line: number + 1 });
                rest = behind.trim_start();
            }
        }
        words
    }
}

/// A word of code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Word<'a> {
    /// As written.
    pub text: &'a str,
    /// From 1.
    pub line: usize,
}

/// Whether a character may be part of a name.
pub fn is_name(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

/// Takes a source apart.
pub fn lex(source: &str) -> Lexed {
    let mut lexer = Lexer {
        chars: source.chars().collect(),
        at: 0,
        code: String::with_capacity(source.len()),
        comments: String::with_capacity(source.len()),
    };
    while lexer.at < lexer.chars.len() {
        lexer.next();
    }
    Lexed { code: lexer.code, comments: lexer.comments }
}

struct Lexer {
    chars: Vec<char>,
    at: usize,
    code: String,
    comments: String,
}

/// Where a character belongs.
#[derive(Clone, Copy)]
enum Half {
    Code,
    Comment,
    Neither,
}

impl Lexer {
    fn next(&mut self) {
        match (self.peek(0), self.peek(1)) {
            (Some('/'), Some('/')) => self.line_comment(),
            (Some('/'), Some('*')) => self.block_comment(),
            (Some('"'), _) => self.string(),
            (Some('\''), _) => self.quote(),
            (Some('r' | 'b' | 'c'), _) if !self.is_inside_name() && self.prefix_len() > 0 => {
                self.take(self.prefix_len(), Half::Neither);
                if self.peek(0) == Some('\'') {
                    self.quote();
                } else {
                    self.string();
                }
            }
            (Some('r' | 'b' | 'c'), _) if !self.is_inside_name() && self.raw_hashes().is_some() => {
                self.raw_string();
            }
            _ => self.take(1, Half::Code),
        }
    }

    fn peek(&self, ahead: usize) -> Option<char> {
        self.chars.get(self.at + ahead).copied()
    }

    fn is_inside_name(&self) -> bool {
        self.at > 0 && is_name(self.chars[self.at - 1])
    }

    /// Length of `b` or `c` before a plain literal.
    fn prefix_len(&self) -> usize {
        match (self.peek(0), self.peek(1)) {
            (Some('b'), Some('"' | '\'')) | (Some('c'), Some('"')) => 1,
            _ => 0,
        }
    }

    /// Of a raw string that starts here: the length of its prefix, and its hashes.
    fn raw_hashes(&self) -> Option<(usize, usize)> {
        let prefix = match (self.peek(0), self.peek(1)) {
            (Some('b' | 'c'), Some('r')) => 2,
            (Some('r'), _) => 1,
            _ => return None,
        };
        let hashes = (0..).take_while(|n| self.peek(prefix + n) == Some('#')).count();
        (self.peek(prefix + hashes) == Some('"')).then_some((prefix, hashes))
    }

    fn take(&mut self, count: usize, half: Half) {
        for _ in 0..count {
            let Some(c) = self.peek(0) else { return };
            self.at += 1;
            let blank = if c == '\n' { '\n' } else { ' ' };
            let (code, comment) = match half {
                Half::Code => (c, blank),
                Half::Comment => (blank, c),
                Half::Neither => (blank, blank),
            };
            self.code.push(code);
            self.comments.push(comment);
        }
    }

    fn line_comment(&mut self) {
        while self.peek(0).is_some_and(|c| c != '\n') {
            self.take(1, Half::Comment);
        }
    }

    fn block_comment(&mut self) {
        let mut depth = 0;
        loop {
            match (self.peek(0), self.peek(1)) {
                (Some('/'), Some('*')) => {
                    depth += 1;
                    self.take(2, Half::Comment);
                }
                (Some('*'), Some('/')) => {
                    depth -= 1;
                    self.take(2, Half::Comment);
                }
                (Some(_), _) => self.take(1, Half::Comment),
                (None, _) => return,
            }
            if depth == 0 {
                return;
            }
        }
    }

    fn string(&mut self) {
        self.take(1, Half::Neither);
        while let Some(c) = self.peek(0) {
            self.take(if c == '\\' { 2 } else { 1 }, Half::Neither);
            if c == '"' {
                return;
            }
        }
    }

    fn raw_string(&mut self) {
        let (prefix, hashes) = self.raw_hashes().expect("the caller has looked");
        self.take(prefix + hashes + 1, Half::Neither);
        while let Some(c) = self.peek(0) {
            self.take(1, Half::Neither);
            if c == '"' && (0..hashes).all(|n| self.peek(n) == Some('#')) {
                return self.take(hashes, Half::Neither);
            }
        }
    }

    /// A character, or a lifetime.
    fn quote(&mut self) {
        if self.peek(1) == Some('\\') {
            self.take(3, Half::Neither);
            while self.peek(0).is_some_and(|c| c != '\'') {
                self.take(1, Half::Neither);
            }
            self.take(1, Half::Neither);
        } else if self.peek(2) == Some('\'') {
            self.take(3, Half::Neither);
        } else {
            self.take(1, Half::Code);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::lex;

    fn code(source: &str) -> String {
        let lexed = lex(source);
        assert_eq!(lexed.code.lines().count(), lexed.comments.lines().count());
        lexed.code.split_whitespace().collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn text_is_no_code() {
        for (source, expected) in [
            (r#"a("{ // no", b)"#, "a( , b)"),
            (r#"a("\" {", b)"#, "a( , b)"),
            (r###"a(r#"" { "#, b)"###, "a( , b)"),
            (r##"a(br"\", cr#"}"#, r"{")"##, "a( , , )"),
            (r#"a(b"{", c"}", b'{', '}', '\'', '\u{7b}', '"')"#, "a( , , , , , , )"),
            ("fn f<'a>(x: &'a str) { 'l: loop {} }", "fn f<'a>(x: &'a str) { 'l: loop {} }"),
            ("r#type + for_r + ab\"x\"", "r#type + for_r + ab"),
            ("a /* { /* { */ } */ b // {", "a b"),
        ] {
            assert_eq!(code(source), expected, "{source}");
        }
    }

    #[test]
    fn comments_are_kept_apart() {
        let lexed = lex("a // SAFETY: so\n\"// no\" /* and */ b");
        assert_eq!(
            lexed.comments.split_whitespace().collect::<Vec<_>>().join(" "),
            "// SAFETY: so /* and */"
        );
    }

    #[test]
    fn words_know_their_line() {
        let lexed = lex("fn a()\n  -> b::C<'_>");
        let words: Vec<_> = lexed.words().iter().map(|w| (w.text, w.line)).collect();
        assert_eq!(words[..4], [("fn", 1), ("a", 1), ("(", 1), (")", 1)]);
        assert_eq!(words[6..9], [("b", 2), ("::", 2), ("C", 2)]);
    }
}
