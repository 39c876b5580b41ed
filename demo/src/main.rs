//! `make demo`: what tandem does, in half a minute, on this machine and with nothing installed.
//!
//! Two nodes run on loopback, with files of a temporary folder for disks. The story has six scenes:
//! the pair comes up; a client writes a tree of files; the link is cut, in a proxy that the daemons
//! know nothing of, and writing goes on; the link heals and only what changed is copied; the
//! primary is killed with SIGKILL; the other node takes over, and every byte is compared. Each
//! command of `tandemadm` is shown as it is run.
//!
//! Exit code 0 means that everything was as it should be. Processes and folder are gone at the end,
//! also after an error or ^C.

mod screen;
mod story;
mod tree;

use std::process::ExitCode;

use screen::Screen;
use story::Story;
use tandem_tests::Result;

fn main() -> ExitCode {
    let screen = Screen::new();
    let told = interruptible(|| Story::begin(&screen).and_then(|story| story.tell(&screen)));
    match told {
        Some(Ok(())) => ExitCode::SUCCESS,
        Some(Err(failure)) => {
            screen.line(&format!("\nThe demo did not succeed: {failure}"));
            ExitCode::FAILURE
        }
        None => {
            screen.line("\nInterrupted. Everything is cleaned up.");
            ExitCode::from(INTERRUPTED)
        }
    }
}

/// As shells report a process that ^C ended.
const INTERRUPTED: u8 = 130;

/// Runs `tell`, which looks after itself; `None` if a signal came in its time.
fn interruptible(tell: impl FnOnce() -> Result<()>) -> Option<Result<()>> {
    let told = screen::watch_signals().and_then(|()| tell());
    if screen::is_interrupted() { None } else { Some(told) }
}
