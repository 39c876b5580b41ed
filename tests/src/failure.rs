//! What went wrong, as a sentence for a person.

use std::fmt::{self, Debug, Display, Formatter};

/// Why a test, a step of it, or the demo did not succeed.
pub struct Failure(String);

/// Of everything here.
pub type Result<T> = std::result::Result<T, Failure>;

impl Failure {
    /// With this text.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }
}

// A test that returns a failure has it printed by `Debug`: it must read like a message there too.
impl Debug for Failure {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        Display::fmt(self, f)
    }
}

impl Display for Failure {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl<E: std::error::Error> From<E> for Failure {
    fn from(error: E) -> Self {
        Self(error.to_string())
    }
}

/// Says what was being done when something went wrong.
pub trait Context<T> {
    /// Puts `what` in front of the reason.
    ///
    /// # Errors
    /// The same, said better.
    fn about(self, what: impl Display) -> Result<T>;
}

impl<T, E: Display> Context<T> for std::result::Result<T, E> {
    fn about(self, what: impl Display) -> Result<T> {
        self.map_err(|error| Failure(format!("{what}: {error}")))
    }
}

/// Fails with `text()` unless `holds`.
///
/// # Errors
/// It does not hold.
pub fn ensure(holds: bool, text: impl FnOnce() -> String) -> Result<()> {
    if holds { Ok(()) } else { Err(Failure(text())) }
}

/// Fails.
///
/// # Errors
/// Always.
pub fn fail<T>(text: impl Into<String>) -> Result<T> {
    Err(Failure(text.into()))
}
