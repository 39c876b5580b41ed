//! What compilers and linters do not check of this repository, as functions over its files.
//!
//! [`Tree`] holds the files that git knows. Each module is one kind of rule and returns
//! [`Finding`]s; `tests/tidy.rs` runs all of them on the repository, and the unit tests here run
//! each on small bad input, so that a rule that finds nothing is known to be able to find
//! something. Sizes that are too large may be listed in `exceptions.txt` ([`exceptions`]); nothing
//! else may.

pub mod doc_tables;
pub mod docs;
pub mod exceptions;
pub mod functions;
pub mod lexer;
pub mod manifests;
pub mod paths;
pub mod purity;
pub mod test_names;
pub mod text;
pub mod tree;
pub mod unsafety;

pub use tree::{File, Finding, Tree};
