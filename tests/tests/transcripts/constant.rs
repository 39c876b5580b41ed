//! What differs from run to run, each kind by one rule. Everything else stays as it was printed.
//!
//! | what | becomes |
//! |---|---|
//! | the folder of the pair's files | `DIR` |
//! | the run directories | `RUN-a`, `RUN-b` |
//! | an address on loopback, with or without a port | `127.0.0.1`, `127.0.0.1:PORT` |
//! | 16 hexadecimal digits that are no small number | `UUID-1`, `UUID-2` ... as a story has them |
//! | how far something is, `done:` | `done:N` |
//! | a process, `pid N` | `pid N` |
//! | a port in JSON | `"port": PORT` |
//! | a time, as in `events2 --timestamps` | `TIME` |

use std::net::{IpAddr, SocketAddr};

/// The rules, and what they have met.
#[derive(Debug)]
pub(super) struct Constant {
    /// Paths and what stands for them.
    paths: Vec<(String, &'static str)>,
    /// Generations, in the order in which they were printed.
    generations: Vec<u64>,
}

impl Constant {
    pub(super) fn new(paths: Vec<(String, &'static str)>) -> Self {
        Self { paths, generations: Vec::new() }
    }

    /// The text as every run prints it.
    pub(super) fn of(&mut self, text: &str) -> String {
        let mut text = text.to_owned();
        for (path, name) in &self.paths {
            text = text.replace(path, name);
        }
        let text = replaced(&text, is_of_address, address);
        let text = replaced(&text, is_of_time, time);
        let text = replaced(&text, is_of_key, done);
        let mut is_pid = false;
        let text = replaced(&text, is_of_key, |word| {
            let number = word.parse::<u32>().ok().filter(|_| is_pid);
            is_pid = word == "pid";
            number.map(|_| "N".to_owned())
        });
        let mut is_port = false;
        let text = replaced(&text, is_of_key, |word| {
            let number = word.parse::<u16>().ok().filter(|_| is_port);
            is_port = word == "port" || (is_port && word == ":");
            number.map(|_| "PORT".to_owned())
        });
        replaced(&text, |c| c.is_ascii_alphanumeric(), |word| self.generation(word))
    }

    /// A generation's name. Small numbers are no chance: none, or that of fresh metadata.
    fn generation(&mut self, word: &str) -> Option<String> {
        let digits = word.strip_prefix("0x").unwrap_or(word);
        let prefix = &word[..word.len() - digits.len()];
        let value = u64::from_str_radix(digits, 16).ok().filter(|_| digits.len() == 16)?;
        if value < SMALL {
            return None;
        }
        let known = self.generations.iter().position(|known| *known == value);
        let index = known.unwrap_or_else(|| {
            self.generations.push(value);
            self.generations.len() - 1
        });
        Some(format!("{prefix}UUID-{}", index + 1))
    }
}

/// Replaces each run of characters that `belongs` holds for by what `of` makes of it.
fn replaced(
    text: &str,
    belongs: impl Fn(char) -> bool,
    mut of: impl FnMut(&str) -> Option<String>,
) -> String {
    let mut out = String::new();
    let mut rest = text;
    while !rest.is_empty() {
        let word = &rest[..rest.find(|c| !belongs(c)).unwrap_or(rest.len())];
        out.push_str(&of(word).unwrap_or_else(|| word.to_owned()));
        rest = &rest[word.len()..];
        let between = &rest[..rest.find(&belongs).unwrap_or(rest.len())];
        out.push_str(between);
        rest = &rest[between.len()..];
    }
    out
}

fn is_of_address(c: char) -> bool {
    c.is_ascii_digit() || ".:".contains(c)
}

/// An address, perhaps behind the number of its family, perhaps before a colon.
fn address(word: &str) -> Option<String> {
    let at = word.find("127.")?;
    let found = word[at..].trim_end_matches(['.', ':']);
    let (before, behind) = (&word[..at], &word[at + found.len()..]);
    let constant = match found.parse::<SocketAddr>() {
        Ok(_) => "127.0.0.1:PORT",
        Err(_) => found.parse::<IpAddr>().ok().map(|_| "127.0.0.1")?,
    };
    Some(format!("{before}{constant}{behind}"))
}

fn is_of_time(c: char) -> bool {
    c.is_ascii_digit() || "-:.+TZ".contains(c)
}

fn time(word: &str) -> Option<String> {
    let is_date =
        word.len() >= "2026-01-01T00:00:00".len() && word.as_bytes().get(10) == Some(&b'T');
    is_date.then(|| "TIME".to_owned())
}

fn is_of_key(c: char) -> bool {
    c.is_ascii_alphanumeric() || "-_:.".contains(c)
}

fn done(word: &str) -> Option<String> {
    let value = word.strip_prefix("done:")?;
    value.parse::<f64>().ok().map(|_| "done:N".to_owned())
}

/// Below are numbers that have a meaning.
const SMALL: u64 = 1 << 16;

#[test]
fn only_what_differs_is_replaced() {
    let mut constant = Constant::new(vec![("/tmp/x-1".to_owned(), "DIR")]);
    let text = "disk /tmp/x-1/a0.img; local:ipv4:127.91.2.1:20007 listen on 127.1.2.3:99: \
                0123456789ABCDEF:0000000000000004 0xfedcba9876543210; 0123456789abcdef \
                done:46.21 pid 77 done: at 127.3.2.1. 10.0.0.1:7000 2026-11-28T11:13:22.5+00:00 x \
                \"port\": 7, 8";
    let expected = "disk DIR/a0.img; local:ipv4:127.0.0.1:PORT listen on 127.0.0.1:PORT: \
                    UUID-1:0000000000000004 0xUUID-2; UUID-1 \
                    done:N pid N done: at 127.0.0.1. 10.0.0.1:7000 TIME x \"port\": PORT, 8";
    assert_eq!(constant.of(text), expected);
}
