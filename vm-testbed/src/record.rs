//! What was done on a machine, in order, with times: a log for whoever wonders.

use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::time::Instant;

use tandem_tests::{Context, Result};

/// A log being written.
#[derive(Debug)]
pub(crate) struct Record {
    file: File,
    began: Instant,
}

impl Record {
    /// Goes on with the log at `path`.
    pub(crate) fn open(path: &Path) -> Result<Self> {
        let file = File::options().create(true).append(true).open(path).about(path.display())?;
        Ok(Self { file, began: Instant::now() })
    }

    /// Adds to it.
    pub(crate) fn note(&mut self, text: &str) -> Result<()> {
        let time = self.began.elapsed().as_secs_f64();
        writeln!(self.file, "[{time:8.2}] {text}").about("the log of a machine")
    }
}
