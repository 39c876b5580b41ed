//! What the audience sees, and the way it leaves early.
//!
//! ^C and SIGTERM are only noted: every step of the story asks [`check`] and ends in good order, so
//! that nothing is left behind.

use std::io::Write;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use tandem_tests::{Context, Result, fail};
use tokio::signal::unix::{SignalKind, signal};

static INTERRUPTED: AtomicBool = AtomicBool::new(false);

/// Standard output.
#[derive(Debug)]
pub(crate) struct Screen {
    begun: Instant,
}

impl Screen {
    pub(crate) fn new() -> Self {
        Self { begun: Instant::now() }
    }

    /// A line of text. Nobody listening is no error: the story ends the same.
    pub(crate) fn line(&self, text: &str) {
        let _ = writeln!(std::io::stdout(), "{text}");
    }

    /// The headline of a scene, with the time since the beginning.
    pub(crate) fn scene(&self, title: &str) {
        let seconds = self.begun.elapsed().as_secs_f64();
        self.line(&format!("\n=== {title}   [{seconds:.1} s]"));
    }

    /// Text that a program printed, indented.
    pub(crate) fn quote(&self, text: &str) {
        for line in text.trim_end().lines() {
            self.line(&format!("    {line}"));
        }
    }

    /// A bar for `bytes` of work; where output is no terminal, nothing but its end is to be seen.
    pub(crate) fn bar(&self, title: &str, bytes: u64) -> ProgressBar {
        let target = ProgressDrawTarget::stdout();
        let bar = ProgressBar::with_draw_target(Some(bytes), target);
        let template = "    {msg} [{bar:32}] {bytes:>10} of {total_bytes}, {bytes_per_sec}";
        // The template is written here; a bar without it would still move.
        if let Ok(style) = ProgressStyle::with_template(template) {
            bar.set_style(style.progress_chars("=> "));
        }
        bar.set_message(title.to_owned());
        bar
    }

    /// Seconds since the beginning.
    pub(crate) fn seconds(&self) -> f64 {
        self.begun.elapsed().as_secs_f64()
    }
}

/// Begins to note ^C and SIGTERM.
pub(crate) fn watch_signals() -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let guard = runtime.enter();
    let mut interrupt = signal(SignalKind::interrupt()).about("SIGINT")?;
    let mut terminate = signal(SignalKind::terminate()).about("SIGTERM")?;
    drop(guard);
    std::thread::spawn(move || {
        runtime.block_on(async {
            tokio::select! {
                _ = interrupt.recv() => {}
                _ = terminate.recv() => {}
            }
        });
        INTERRUPTED.store(true, Ordering::SeqCst);
    });
    Ok(())
}

/// Whether the audience has left.
pub(crate) fn is_interrupted() -> bool {
    INTERRUPTED.load(Ordering::SeqCst)
}

/// Fails once the audience has left.
pub(crate) fn check() -> Result<()> {
    if is_interrupted() { fail("interrupted") } else { Ok(()) }
}

/// Gives the audience time to read.
pub(crate) fn pause(duration: Duration) -> Result<()> {
    let deadline = Instant::now() + duration;
    while Instant::now() < deadline {
        check()?;
        std::thread::sleep(Duration::from_millis(20));
    }
    check()
}
