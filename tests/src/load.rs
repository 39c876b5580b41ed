//! Writers that enter every write in an [`Audit`]: random, overlapping, many at a time.
//!
//! Several connections write to the same volume, half of the time to a small part of it, so that
//! writes in flight overlap within a connection and between them. Flushes, FUA and zeroes are mixed
//! in. A writer goes on until it is told to stop, or until the server is gone.

use std::collections::BTreeMap;
use std::io::{self, ErrorKind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;

use crate::audit::{Audit, FlushId};
use crate::nbd::{Address, Command, FUA, NO_HOLE, NbdClient};
use crate::spec::RESOURCE;
use crate::stamp::{SECTOR_BYTES, WriteId, stamp};
use crate::{Context, Failure, Node, Random, Result, fail};

/// What to write.
#[derive(Clone, Copy, Debug)]
pub struct LoadSpec {
    /// Connections, each with a thread.
    pub connections: usize,
    /// Requests in flight on each.
    pub depth: usize,
    /// Requests of a thousand that are flushes.
    pub flush_per_mille: u64,
    /// Writes of a thousand that have FUA.
    pub fua_per_mille: u64,
    /// Whether zeroes may be holes.
    pub holes: bool,
}

impl Default for LoadSpec {
    fn default() -> Self {
        Self { connections: 2, depth: 16, flush_per_mille: 20, fua_per_mille: 20, holes: true }
    }
}

/// Writers at work.
#[derive(Debug)]
pub struct Load {
    stop: Arc<AtomicBool>,
    writers: Vec<JoinHandle<Result<Outcome>>>,
}

/// How a load ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It was told to, and has all its replies.
    Stopped,
    /// The server went away; what was in flight is indeterminate.
    Broken(String),
}

impl Load {
    /// Starts writing to volume 0 of a node.
    ///
    /// # Errors
    /// A client is refused.
    pub fn start(node: &Node, audit: &Arc<Audit>, spec: LoadSpec, seed: u64) -> Result<Self> {
        Self::start_at(&node.nbd(), audit, spec, seed)
    }

    /// The same to whoever serves that volume at an address.
    ///
    /// # Errors
    /// A client is refused.
    pub fn start_at(
        address: &Address,
        audit: &Arc<Audit>,
        spec: LoadSpec,
        seed: u64,
    ) -> Result<Self> {
        let stop = Arc::new(AtomicBool::new(false));
        let mut clients = Vec::new();
        for _ in 0..spec.connections {
            let client = NbdClient::open(address, &format!("{RESOURCE}/0"));
            clients.push(client.about("a writer")?);
        }
        let writers = clients.into_iter().zip(seed..).map(|(client, seed)| {
            let (in_flight, random) = (BTreeMap::new(), Random::new(seed));
            let (audit, stop) = (Arc::clone(audit), Arc::clone(&stop));
            let writer = Writer { client, audit, stop, spec, random, in_flight };
            std::thread::spawn(move || writer.run())
        });
        let writers = writers.collect();
        Ok(Self { stop, writers })
    }

    /// Stops it and waits for its replies.
    ///
    /// # Errors
    /// A request was answered with an error, or the server was gone.
    pub fn stop(self) -> Result<()> {
        self.stop.store(true, Ordering::SeqCst);
        match self.join()? {
            Outcome::Stopped => Ok(()),
            Outcome::Broken(reason) => fail(format!("the server went away: {reason}")),
        }
    }

    /// Waits for the end that the server makes of it.
    ///
    /// # Errors
    /// A request was answered with an error, or the server hangs.
    pub fn join(self) -> Result<Outcome> {
        let mut outcome = Outcome::Stopped;
        for writer in self.writers {
            let ended = writer.join().map_err(|_| Failure::new("a writer panicked"))??;
            if matches!(ended, Outcome::Broken(_)) {
                outcome = ended;
            }
        }
        Ok(outcome)
    }

    /// Whether all its writers still write.
    pub fn is_going(&self) -> bool {
        !self.writers.iter().any(JoinHandle::is_finished)
    }
}

struct Writer {
    client: NbdClient,
    audit: Arc<Audit>,
    stop: Arc<AtomicBool>,
    spec: LoadSpec,
    random: Random,
    in_flight: BTreeMap<u64, Entered>,
}

/// A request as the record has it.
enum Entered {
    Write(WriteId),
    Flush(FlushId),
}

impl Writer {
    fn run(mut self) -> Result<Outcome> {
        let ended = self.write();
        match ended {
            Ok(None) => Ok(Outcome::Stopped),
            Ok(Some(error)) => fail(format!("a request was answered with error {error}")),
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                fail(format!("the server hangs with {} requests", self.client.in_flight()))
            }
            Err(error) if error.kind() == ErrorKind::InvalidData => fail(error.to_string()),
            Err(error) => Ok(Outcome::Broken(error.to_string())),
        }
    }

    /// Writes until it is to stop; `Some` is the error number of a reply.
    fn write(&mut self) -> io::Result<Option<u32>> {
        loop {
            let is_over = self.stop.load(Ordering::SeqCst);
            if is_over && self.in_flight.is_empty() {
                return Ok(None);
            }
            if !is_over && self.client.in_flight() < self.spec.depth {
                self.send()?;
                continue;
            }
            let reply = self.client.receive()?;
            if reply.error != 0 {
                return Ok(Some(reply.error));
            }
            match self.in_flight.remove(&reply.cookie) {
                Some(Entered::Write(id)) => self.audit.acked(id),
                Some(Entered::Flush(id)) => self.audit.acked_flush(id),
                None => return Err(ErrorKind::InvalidData.into()),
            }
        }
    }

    fn send(&mut self) -> io::Result<()> {
        if self.random.below(1000) < self.spec.flush_per_mille {
            let id = self.audit.begin_flush();
            let cookie = self.client.send(Command::Flush, 0, 0, 0, &[])?;
            self.in_flight.insert(cookie, Entered::Flush(id));
            return Ok(());
        }
        let (first, count) = self.place();
        let is_zeroes = self.random.chance(ZEROES_PERCENT);
        let fua = self.random.below(1000) < self.spec.fua_per_mille;
        let flags = if fua { FUA } else { 0 };
        let id = self.audit.begin(first, count, is_zeroes, fua);
        let (offset, length) = (u64::from(first) * 512, count * 512);
        let cookie = if is_zeroes {
            let no_hole = if self.spec.holes { 0 } else { NO_HOLE };
            self.client.send(Command::WriteZeroes, flags | no_hole, offset, length, &[])?
        } else {
            let mut data = vec![0; count as usize * SECTOR_BYTES];
            stamp(&mut data, id, u64::from(first));
            self.client.send(Command::Write, flags, offset, length, &data)?
        };
        self.in_flight.insert(cookie, Entered::Write(id));
        Ok(())
    }

    /// First sector and number of sectors of a write.
    fn place(&mut self) -> (u32, u32) {
        let random = &mut self.random;
        let sectors = self.audit.sectors();
        let count = match random.below(10) {
            0 => 1 + random.below(LARGE_SECTORS),
            1..5 => 1 + random.below(8),
            _ => 8,
        };
        let area = if random.chance(50) { sectors.min(HOT_SECTORS) } else { sectors };
        let mut first = random.below(area - count.min(area - 1));
        if random.chance(70) {
            first &= !7;
        }
        (u32::try_from(first).unwrap_or(0), u32::try_from(count).unwrap_or(1))
    }
}

const ZEROES_PERCENT: u64 = 4;

/// Sectors of the largest writes.
const LARGE_SECTORS: u64 = 256;

/// Sectors that half of all writes go to.
const HOT_SECTORS: u64 = 1024;
