//! Text in DRBD's language: sections, indented by 4 spaces, lines and words.

use std::fmt::Write;
use std::net::SocketAddr;

/// Text that is being written.
#[derive(Debug, Default)]
pub(super) struct Writer {
    text: String,
    depth: usize,
}

impl Writer {
    /// Begins a section.
    pub(super) fn open(&mut self, head: &str) {
        self.line(&format!("{head} {{"));
        self.depth += 1;
    }

    /// Ends it.
    pub(super) fn close(&mut self) {
        self.depth -= 1;
        self.line("}");
    }

    /// A line, indented as its section is.
    pub(super) fn line(&mut self, line: &str) {
        let indent = self.depth * 4;
        writeln!(self.text, "{:indent$}{line}", "").expect("writing to a string does not fail");
    }

    /// An empty line.
    pub(super) fn blank(&mut self) {
        self.text.push('\n');
    }

    /// All of it.
    pub(super) fn finish(self) -> String {
        self.text
    }
}

/// In quotes, as the scanner of DRBD takes every string.
pub(super) fn quoted(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
}

/// Whether the scanner of DRBD takes a string without quotes, if it is not too long.
pub(super) fn is_plain(text: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-".contains(c);
    !text.is_empty() && text.chars().all(plain)
}

/// An address with its family.
pub(super) fn address_text(address: SocketAddr) -> String {
    match address {
        SocketAddr::V4(address) => format!("ipv4 {address}"),
        SocketAddr::V6(address) => format!("ipv6 {address}"),
    }
}
