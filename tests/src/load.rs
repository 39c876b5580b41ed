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
    /// Whether the larger part of requests goes to the smaller part of the volume at every scale,
    /// up to 1 MiB each, with trims and reads among them; else half of all to a small part.
    pub is_skewed: bool,
    /// Whether requests may be answered by errors, after which they are undecided.
    pub is_lenient: bool,
}

impl Default for LoadSpec {
    fn default() -> Self {
        Self {
            connections: 2,
            depth: 16,
            flush_per_mille: 20,
            fua_per_mille: 20,
            holes: true,
            is_skewed: false,
            is_lenient: false,
        }
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

    /// Has it stop, if the server has not made it stop before.
    ///
    /// # Errors
    /// The server hangs, or has said what it may not.
    pub fn end(self) -> Result<()> {
        self.stop.store(true, Ordering::SeqCst);
        self.join().map(drop)
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
    /// Its first sector.
    Read(u64),
    /// It touches no whole block.
    Nothing,
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
            let entered = self.in_flight.remove(&reply.cookie);
            if reply.error != 0 {
                if self.spec.is_lenient {
                    continue;
                }
                return Ok(Some(reply.error));
            }
            match entered {
                Some(Entered::Write(id)) => self.audit.acked(id),
                Some(Entered::Flush(id)) => self.audit.acked_flush(id),
                Some(Entered::Read(first)) => check_stamps(&reply.data, first)?,
                Some(Entered::Nothing) => {}
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
        if self.spec.is_skewed && self.random.chance(READS_PERCENT) {
            return self.send_read();
        }
        let (first, count) = self.place();
        if self.spec.is_skewed && self.spec.holes && self.random.chance(TRIMS_PERCENT) {
            return self.send_trim(first, count);
        }
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

    fn send_read(&mut self) -> io::Result<()> {
        let (first, count) = self.place();
        let offset = u64::from(first) * 512;
        let cookie = self.client.send(Command::Read, 0, offset, count * 512, &[])?;
        self.in_flight.insert(cookie, Entered::Read(first.into()));
        Ok(())
    }

    /// A trim zeroes the whole blocks in its range.
    fn send_trim(&mut self, first: u32, count: u32) -> io::Result<()> {
        let (begin, end) = (first.next_multiple_of(8), (first + count) & !7);
        let entered = if begin < end {
            Entered::Write(self.audit.begin(begin, end - begin, true, false))
        } else {
            Entered::Nothing
        };
        let offset = u64::from(first) * 512;
        let cookie = self.client.send(Command::Trim, 0, offset, count * 512, &[])?;
        self.in_flight.insert(cookie, entered);
        Ok(())
    }

    /// First sector and number of sectors of a request.
    fn place(&mut self) -> (u32, u32) {
        if self.spec.is_skewed {
            return self.skewed_place();
        }
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

impl Writer {
    /// Each half of the volume is as busy as a quarter of it, that as an eighth, and so on.
    fn skewed_place(&mut self) -> (u32, u32) {
        let random = &mut self.random;
        let count = match random.below(20) {
            0 => 1 + random.below(2048),
            1 => 256,
            2..6 => 1 + random.below(64),
            6..10 => 1 + random.below(8),
            _ => 8,
        };
        let area = (self.audit.sectors() >> random.below(10)).max(4096);
        let count = count.min(area);
        let mut first = random.below(area - count + 1);
        if random.chance(70) {
            first &= !7;
        }
        (u32::try_from(first).unwrap_or(0), u32::try_from(count).unwrap_or(1))
    }
}

/// Whatever a sector shows, it is one write of that place, and all of it.
fn check_stamps(data: &[u8], first: u64) -> io::Result<()> {
    for (sector, lba) in data.chunks_exact(SECTOR_BYTES).zip(first..) {
        if let Err(wrong) = crate::stamp::read(sector, lba) {
            let text = format!("sector {lba} was read as {wrong}");
            return Err(io::Error::new(ErrorKind::InvalidData, text));
        }
    }
    Ok(())
}

const READS_PERCENT: u64 = 10;
const TRIMS_PERCENT: u64 = 2;
const ZEROES_PERCENT: u64 = 4;

/// Sectors of the largest writes.
const LARGE_SECTORS: u64 = 256;

/// Sectors that half of all writes go to.
const HOT_SECTORS: u64 = 1024;
