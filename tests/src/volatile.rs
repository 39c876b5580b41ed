//! A backing disk with a volatile cache, and the loss of its power.
//!
//! `nbdkit` serves a file through a cache that is written back at a flush only. Killed, it has lost
//! what was not flushed, as a disk does that loses power. The machine goes on running, so a node
//! that is to look as if it had been off is started with another boot id.

use std::path::{Path, PathBuf};

use crate::served::Served;
use crate::{Result, ensure, fail};

/// A disk whose power can be cut.
#[derive(Debug)]
pub struct VolatileDisk {
    /// What survives.
    base: PathBuf,
    /// What the daemon uses.
    front: PathBuf,
    powered: Option<Served>,
}

impl VolatileDisk {
    /// A disk over the file `base`, off.
    pub fn new(base: &Path) -> Self {
        let front = base.with_extension("volatile");
        Self { base: base.to_owned(), front, powered: None }
    }

    /// Switches it on.
    ///
    /// # Errors
    /// A tool is missing or does not start.
    pub fn power_on(&mut self) -> Result<()> {
        ensure(self.powered.is_none(), || "the disk is on".to_owned())?;
        // Small blocks of the cache: a write dirties no more than it would on a disk.
        let parameters = ["cache=writeback", "cache-min-block-size=4k"].map(str::to_owned);
        self.powered = Some(Served::start(&self.base, &self.front, &["cache"], &parameters)?);
        Ok(())
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
