//! A backing disk that fails, or hangs, when it is told to.

use std::path::{Path, PathBuf};

use crate::served::Served;
use crate::{Context, Result};

/// What a disk answers with where it fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// `EIO` for everything.
    Eio,
    /// `EIO` for reads.
    Unreadable,
    /// `ENOSPC` for writes, trims and zeroes.
    Enospc,
    /// Everything takes 10 ms longer, whether it fails or not.
    Slow,
}

/// A disk over a file, through `nbdkit` and its filters.
#[derive(Debug)]
pub struct FaultyDisk {
    served: Served,
    front: PathBuf,
    /// It fails while this file exists.
    switch: PathBuf,
}

impl FaultyDisk {
    /// A disk over the file `base` that will be able to fail in this way.
    ///
    /// # Errors
    /// A tool is missing or does not start.
    pub fn new(base: &Path, fault: Fault) -> Result<Self> {
        let (front, switch) = (base.with_extension("faulty"), base.with_extension("fails"));
        let file = format!("error-file={}", switch.display());
        let rate = "error-rate=100%".to_owned();
        let served = match fault {
            Fault::Eio => {
                let parameters = ["error=EIO".to_owned(), rate, file];
                Served::start(base, &front, &["error"], &parameters)?
            }
            Fault::Unreadable => {
                let parameters = [
                    "error-pread=EIO".to_owned(),
                    "error-pread-rate=100%".to_owned(),
                    format!("error-pread-file={}", switch.display()),
                ];
                Served::start(base, &front, &["error"], &parameters)?
            }
            Fault::Enospc => {
                let kinds = ["pwrite", "trim", "zero"].iter().flat_map(|kind| {
                    let file = format!("error-{kind}-file={}", switch.display());
                    [format!("error-{kind}=ENOSPC"), format!("error-{kind}-rate=100%"), file]
                });
                Served::start(base, &front, &["error"], &kinds.collect::<Vec<_>>())?
            }
            Fault::Slow => {
                let kinds = ["read", "write", "trim", "zero"];
                let parameters = kinds.map(|kind| format!("delay-{kind}=10ms"));
                Served::start(base, &front, &["delay"], &parameters)?
            }
        };
        Ok(Self { served, front, switch })
    }

    /// It fails from here on.
    ///
    /// # Errors
    /// The file that says so cannot be made.
    pub fn fail(&self) -> Result<()> {
        std::fs::write(&self.switch, "").about(self.switch.display())
    }

    /// It fails no more.
    ///
    /// # Errors
    /// It did not fail.
    pub fn mend(&self) -> Result<()> {
        std::fs::remove_file(&self.switch).about(self.switch.display())
    }

    /// It answers nothing from here on.
    ///
    /// # Errors
    /// Its helper is gone.
    pub fn hang(&self) -> Result<()> {
        self.served.hang()
    }

    /// It goes on where it was.
    ///
    /// # Errors
    /// Its helper is gone.
    pub fn go_on(&self) -> Result<()> {
        self.served.go_on()
    }

    /// What the daemon is to use.
    pub fn front(&self) -> &Path {
        &self.front
    }
}
