//! Standard output and standard error.

use std::cell::RefCell;
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

/// What would have been printed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Captured {
    pub(crate) out: String,
    pub(crate) error: String,
}

thread_local! {
    static CAPTURED: RefCell<Option<Captured>> = const { RefCell::new(None) };
}

/// What `run` would print if it were not for this: nothing reaches anybody meanwhile.
pub(crate) fn captured<T>(run: impl FnOnce() -> T) -> (T, Captured) {
    CAPTURED.set(Some(Captured::default()));
    let ended = run();
    (ended, CAPTURED.take().unwrap_or_default())
}

/// Whether somebody else has taken it.
fn is_captured(take: impl FnOnce(&mut Captured)) -> bool {
    CAPTURED.with_borrow_mut(|captured| captured.as_mut().map(take).is_some())
}

/// Prints what was asked for. A reader that went away (`| head`) is no failure.
pub(crate) fn print(text: &str) {
    write(text.as_bytes());
}

/// The same of what may be no text.
pub(crate) fn write(bytes: &[u8]) {
    if is_captured(|captured| captured.out.push_str(&String::from_utf8_lossy(bytes))) {
        return;
    }
    let mut stdout = std::io::stdout().lock();
    let _ = stdout.write_all(bytes).and_then(|()| stdout.flush());
}

/// Prints what went wrong.
pub(crate) fn error(message: &str) {
    let line = format!("{}\n", message.trim_end());
    if !message.is_empty() && !is_captured(|captured| captured.error.push_str(&line)) {
        let _ = std::io::stderr().write_all(line.as_bytes());
    }
}

/// Prints why a command line is none; or help, which is no error. Whoever reads that may close the
/// pipe early.
pub(crate) fn usage(error: &clap::Error) {
    let is_taken = is_captured(|captured| {
        let text = error.render().to_string();
        let into = if error.use_stderr() { &mut captured.error } else { &mut captured.out };
        into.push_str(&text);
    });
    if !is_taken {
        let _ = error.print();
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
    if is_captured(|_| ()) || !stdout.is_terminal() {
        return None;
    }
    let columns = rustix::termios::tcgetwinsize(&stdout).map_or(0, |size| size.ws_col);
    Some(if columns == 0 { 80 } else { usize::from(columns) })
}
