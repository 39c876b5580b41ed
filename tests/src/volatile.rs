//! A backing disk with a volatile cache, and the loss of its power. It can fail and hang as well.
//!
//! `nbdkit` serves a file through a cache that is written back at a flush only. Killed, it has lost
//! what was not flushed, as a disk does that loses power. The machine goes on running, so a node
//! that is to look as if it had been off is started with another boot id.

use std::path::{Path, PathBuf};

use crate::served::Served;
use crate::{Context, Result, ensure, fail};

/// A disk whose power can be cut.
#[derive(Debug)]
pub struct VolatileDisk {
    /// What survives.
    base: PathBuf,
    /// What the daemon uses.
    front: PathBuf,
    /// It fails while this file exists.
    switch: PathBuf,
    powered: Option<Served>,
}

impl VolatileDisk {
    /// A disk over the file `base`, off.
    pub fn new(base: &Path) -> Self {
        let (front, switch) = (base.with_extension("volatile"), base.with_extension("fails"));
        Self { base: base.to_owned(), front, switch, powered: None }
    }

    /// Switches it on.
    ///
    /// # Errors
    /// A tool is missing or does not start.
    pub fn power_on(&mut self) -> Result<()> {
        ensure(self.powered.is_none(), || "the disk is on".to_owned())?;
        // Small blocks of the cache: a write dirties no more than it would on a disk.
        let cache = ["cache=writeback", "cache-min-block-size=4k"].map(str::to_owned);
        let failing = format!("error-file={}", self.switch.display());
        let fails = ["error=EIO".to_owned(), "error-rate=100%".to_owned(), failing];
        // The first filter is the one that requests come to first.
        let (filters, parameters) = (["error", "cache"], [cache.as_slice(), &fails].concat());
        self.powered = Some(Served::start(&self.base, &self.front, &filters, &parameters)?);
        Ok(())
    }

    /// It answers everything with `EIO` from here on, or does so no more.
    ///
    /// # Errors
    /// The file that says so cannot be made or removed.
    pub fn set_failing(&self, fails: bool) -> Result<()> {
        if fails {
            return std::fs::write(&self.switch, "").about(self.switch.display());
        }
        match std::fs::remove_file(&self.switch) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                Err(error).about(self.switch.display())
            }
            Ok(()) | Err(_) => Ok(()),
        }
    }

    /// It answers nothing from here on, or goes on where it was.
    ///
    /// # Errors
    /// It is off.
    pub fn set_hanging(&self, hangs: bool) -> Result<()> {
        match &self.powered {
            Some(served) if hangs => served.hang(),
            Some(served) => served.go_on(),
            None => fail("the disk is off"),
        }
    }

    /// Switches it off without a warning: what was not flushed is lost. The daemon must be dead.
    ///
    /// # Errors
    /// The cache did not die by it, so that nothing can have been lost.
    pub fn power_off(&mut self) -> Result<()> {
        self.powered.take().map_or_else(|| fail("the disk is off"), Served::kill)
    }

    /// What survives.
    pub fn base(&self) -> &Path {
        &self.base
    }

    /// What the daemon is to use.
    pub fn front(&self) -> &Path {
        &self.front
    }
}
