//! The checkers: each looks at the model and at images or views, and says which invariant is
//! broken.
//!
//! They change nothing, so they may run at any moment; `world` decides when. Names and numbers of
//! the invariants are those of the project's semantics page.

pub mod coverage;
pub mod differences;
pub mod equality;
pub mod floors;
pub mod lag;
pub mod mirror;
pub mod policies;
pub mod prefix;
pub mod progress;
pub mod transition;

use std::fmt;

/// An invariant is broken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// Which.
    pub invariant: &'static str,
    /// How.
    pub text: String,
}

impl Violation {
    /// This invariant, in this way.
    pub fn new(invariant: &'static str, text: impl Into<String>) -> Self {
        Self { invariant, text: text.into() }
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.invariant, self.text)
    }
}
