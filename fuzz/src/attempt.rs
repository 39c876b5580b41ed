//! One run of a target, with everything that must not happen turned into a failure.
//!
//! Memory is counted for the whole process: there is one attempt at a time.

use std::cell::{Cell, RefCell};
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Mutex, Once, PoisonError};

use crate::{MEMORY, Sightings, Target};

/// What must not happen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Failure {
    /// The code under test panicked: where, and what it said.
    Panic(String, String),
    /// It had more memory than its input can be worth.
    Memory {
        /// Bytes at once.
        used: usize,
        /// Bytes that it may have.
        allowed: usize,
    },
    /// The target found something wrong.
    Wrong(String),
}

impl Failure {
    /// Whether both are likely to be of one cause.
    pub fn resembles(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Panic(place, _), Self::Panic(other, _)) => place == other,
            (Self::Memory { .. }, Self::Memory { .. }) => true,
            (Self::Wrong(text), Self::Wrong(other)) => first_words(text) == first_words(other),
            (Self::Panic(..) | Self::Memory { .. } | Self::Wrong(_), _) => false,
        }
    }
}

fn first_words(text: &str) -> Vec<&str> {
    text.split(|c: char| c.is_ascii_digit() || c == ':').next().unwrap_or("").split(' ').collect()
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Panic(place, text) => write!(f, "panicked at {place}: {text}"),
            Self::Memory { used, allowed } => {
                write!(f, "had {used} bytes allocated at once, {allowed} are allowed")
            }
            Self::Wrong(text) => f.write_str(text),
        }
    }
}

thread_local! {
    static IS_ATTEMPTING: Cell<bool> = const { Cell::new(false) };
    static PANIC: RefCell<Option<(String, String)>> = const { RefCell::new(None) };
    static ABOUT: RefCell<String> = const { RefCell::new(String::new()) };
}

/// What a panic of this attempt is told with, from a target whose inputs nobody can read.
pub(crate) fn about(text: &str) {
    ABOUT.set(text.to_owned());
}

/// Held by the attempt that memory is counted for.
static COUNTING: Mutex<()> = Mutex::new(());

/// Runs `target` on `input`, behind an attempt of another thread.
///
/// # Errors
/// What must not happen.
pub fn attempt(target: &Target, input: &[u8]) -> Result<Sightings, Failure> {
    catch_quietly();
    let _counting = COUNTING.lock().unwrap_or_else(PoisonError::into_inner);
    let mut seen = Sightings::default();
    about("");
    let before = MEMORY.current_usage();
    MEMORY.reset_peak_usage();
    IS_ATTEMPTING.set(true);
    let ended = catch_unwind(AssertUnwindSafe(|| (target.run)(input, &mut seen)));
    IS_ATTEMPTING.set(false);
    let used = MEMORY.peak_usage().saturating_sub(before);
    let allowed = target.allowed_bytes(input.len());
    match ended {
        Err(_) => {
            let (place, text) = PANIC.take().unwrap_or_default();
            Err(Failure::Panic(place, text + &ABOUT.take()))
        }
        Ok(Err(text)) => Err(Failure::Wrong(text)),
        Ok(Ok(())) if used > allowed => Err(Failure::Memory { used, allowed }),
        Ok(Ok(())) => Ok(seen),
    }
}

/// What a panic in an attempt says is kept, for the message.
fn catch_quietly() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let usual = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            if !IS_ATTEMPTING.get() {
                return usual(info);
            }
            let place = info.location().map(ToString::to_string).unwrap_or_default();
            let text = info.payload_as_str().unwrap_or("").to_owned();
            PANIC.set(Some((place, text)));
        }));
    });
}
