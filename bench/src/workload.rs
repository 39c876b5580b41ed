//! What is asked of a candidate, by fio.

use std::time::Duration;

use tandem_tests::{Context, Result};

use crate::fio::{Figures, Jobs, Target};

/// A pattern of requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Workload {
    /// As tables name it.
    pub name: &'static str,
    /// fio's name of the pattern.
    rw: &'static str,
    /// Bytes of a request.
    pub bytes: u64,
    /// Requests in flight, of each target.
    depth: u32,
    /// A flush behind so many writes; 0 for none.
    flush_every: u32,
    /// It says little that others do not: fewer candidates will do.
    pub is_minor: bool,
    /// With the daemons bound to processors, and fio.
    pub is_bound: bool,
}

const fn workload(
    name: &'static str,
    rw: &'static str,
    bytes: u64,
    depth: u32,
    flush_every: u32,
) -> Workload {
    Workload { name, rw, bytes, depth, flush_every, is_minor: false, is_bound: false }
}

const fn minor(of: Workload) -> Workload {
    Workload { is_minor: true, ..of }
}

const WRITE_QD1: Workload = workload("4k write qd1", "randwrite", 4096, 1, 0);
const WRITE_QD1_BOUND: Workload =
    Workload { is_bound: true, ..workload("4k write qd1, bound", "randwrite", 4096, 1, 0) };
const WRITE_QD32: Workload = workload("4k write qd32", "randwrite", 4096, 32, 0);
const WRITE_QD128: Workload = workload("4k write qd128", "randwrite", 4096, 128, 0);
const WRITE_FLUSHED: Workload = workload("4k write qd1, flush each", "randwrite", 4096, 1, 1);
const READ_QD32: Workload = workload("4k read qd32", "randread", 4096, 32, 0);
const LONG_WRITE: Workload = workload("1M write qd4", "write", 1 << 20, 4, 0);

/// The ones that say most.
pub const QUICK: &[Workload] =
    &[WRITE_QD1, WRITE_QD32, WRITE_QD128, WRITE_FLUSHED, READ_QD32, LONG_WRITE];

/// What memory says something about.
pub const IN_MEMORY: &[Workload] = &[WRITE_QD1, WRITE_QD32];

/// All of them.
pub const ALL: &[Workload] = &[
    WRITE_QD1,
    WRITE_QD1_BOUND,
    minor(workload("4k write qd8", "randwrite", 4096, 8, 0)),
    WRITE_QD32,
    WRITE_QD128,
    WRITE_FLUSHED,
    workload("4k write qd32, flush every 32", "randwrite", 4096, 32, 32),
    minor(workload("4k read qd1", "randread", 4096, 1, 0)),
    READ_QD32,
    minor(workload("4k 70/30 qd32", "randrw", 4096, 32, 0)),
    minor(workload("64k write qd8", "randwrite", 64 << 10, 8, 0)),
    LONG_WRITE,
    minor(workload("1M read qd4", "read", 1 << 20, 4, 0)),
];

impl Workload {
    /// Random writes of 4 KiB, so many in flight.
    pub const fn writes(depth: u32) -> Self {
        workload("4k write", "randwrite", 4096, depth, 0)
    }

    /// Whether it reads and does not write.
    pub fn only_reads(&self) -> bool {
        matches!(self.rw, "read" | "randread")
    }

    /// Whether it does both.
    pub fn is_mixed(&self) -> bool {
        self.rw == "randrw"
    }

    /// Runs it against each of these targets of `bytes` at once, for so long.
    ///
    /// # Errors
    /// fio is missing, or fails.
    pub fn run(&self, targets: &[Target], bytes: u64, length: Duration) -> Result<Figures> {
        self.jobs(targets, bytes, Some(length)).run().about(self.name)
    }

    /// fio's jobs for it.
    pub fn jobs<'a>(
        &self,
        targets: &'a [Target],
        bytes: u64,
        length: Option<Duration>,
    ) -> Jobs<'a> {
        Jobs {
            targets,
            rw: self.rw,
            request_bytes: self.bytes,
            depth: self.depth,
            flush_every: self.flush_every,
            bytes,
            length,
            processor: None,
        }
    }

    /// Writes every block of these targets once.
    ///
    /// # Errors
    /// fio is missing, or fails.
    pub fn fill(targets: &[Target], bytes: u64) -> Result<()> {
        LONG_WRITE.jobs(targets, bytes, None).run().about("written once").map(drop)
    }
}
