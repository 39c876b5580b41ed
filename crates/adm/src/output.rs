//! Standard output and standard error.

use std::io::{IsTerminal, Write};

use tandem_control::config::Diagnostic;

/// Why a command failed: what to print, and what to exit with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Failure {
    /// One of [`tandem_control::exit`].
    pub(crate) exit_code: u8,
    /// What happened, to what, and what to do; empty where it was printed already.
    pub(crate) message: String,
}

impl Failure {
    pub(crate) fn new(exit_code: u8, message: impl Into<String>) -> Self {
        Self { exit_code, message: message.into() }
    }
}

/// Prints what was asked for. A reader that went away (`| head`) is no failure.
pub(crate) fn print(text: &str) {
    let mut stdout = std::io::stdout().lock();
    let _ = stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush());
}

/// Prints what went wrong.
pub(crate) fn error(message: &str) {
    if !message.is_empty() {
        let _ = writeln!(std::io::stderr(), "{}", message.trim_end());
    }
}

/// Prints what was accepted and has no effect.
pub(crate) fn warnings(warnings: &[Diagnostic]) {
    for warning in warnings {
        let place = format!("{}:{}:{}", warning.file.display(), warning.line, warning.column);
        error(&format!("{place}: warning: {}", warning.message));
    }
}

/// Columns of the terminal on standard output; `None` where it is none.
pub(crate) fn terminal_width() -> Option<usize> {
    let stdout = std::io::stdout();
    if !stdout.is_terminal() {
        return None;
    }
    let columns = rustix::termios::tcgetwinsize(&stdout).map_or(0, |size| size.ws_col);
    Some(if columns == 0 { 80 } else { usize::from(columns) })
}
