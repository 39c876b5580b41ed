//! The network between the nodes: one proxy for each node that dials, with faults on request.
//!
//! Each node listens on its own address and finds its peer's at the proxy, so that everything that
//! crosses from node to node passes here, whoever dialled. Faults hold for both proxies at once. A
//! cut resets every connection and refuses new ones; a stall takes nothing more in, and gives
//! nothing more out, without a word, like a switch that lost its way; a corruption flips a bit.
//! Bytes are counted as they are given out, by direction.

use std::collections::VecDeque;
use std::io::{self, Read, Write};
use std::net::{IpAddr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use socket2::SockRef;

use crate::{Context, Result};

/// How soon a connection notices a fault.
const GLANCE: Duration = Duration::from_millis(10);

/// Bytes under way in one direction of a connection with a delay, at most.
const QUEUE_BYTES_MAX: usize = 8 << 20;

/// Which way bytes go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// From node `a` to node `b`.
    AToB,
    /// From node `b` to node `a`.
    BToA,
}

impl Direction {
    fn index(self) -> usize {
        match self {
            Self::AToB => 0,
            Self::BToA => 1,
        }
    }

    fn back(self) -> Self {
        match self {
            Self::AToB => Self::BToA,
            Self::BToA => Self::AToB,
        }
    }
}

/// The network between two nodes.
#[derive(Debug)]
pub struct Link {
    shared: Arc<Shared>,
    /// Where `a` finds `b`, and where `b` finds `a`.
    fronts: [SocketAddr; 2],
    /// Where `a` and where `b` listens.
    backs: [SocketAddr; 2],
    threads: Vec<JoinHandle<()>>,
}

#[derive(Debug, Default)]
struct Shared {
    is_over: AtomicBool,
    is_cut: AtomicBool,
    /// Counts cuts, so that a connection does not outlive one that was short.
    cuts: AtomicU64,
    stalled: [AtomicBool; 2],
    /// Bits to flip in each direction.
    flips: [AtomicU64; 2],
    delay_us: AtomicU64,
    bytes_per_second: AtomicU64,
    bytes: [AtomicU64; 2],
    connections: Mutex<Vec<JoinHandle<()>>>,
}

impl Link {
    /// Starts a network between nodes that listen on the addresses `a` and `b`.
    ///
    /// # Errors
    /// There are no free ports.
    pub fn start(a: SocketAddr, b: SocketAddr, ip: IpAddr) -> Result<Self> {
        let shared = Arc::new(Shared::default());
        let mut fronts = [a, b];
        let mut threads = Vec::new();
        for (direction, target) in [(Direction::AToB, b), (Direction::BToA, a)] {
            let listener = TcpListener::bind((ip, 0)).about("a port for the proxy")?;
            listener.set_nonblocking(true)?;
            fronts[direction.index()] = listener.local_addr()?;
            let shared = Arc::clone(&shared);
            threads.push(std::thread::spawn(move || accept(&shared, &listener, target, direction)));
        }
        Ok(Self { shared, fronts, backs: [a, b], threads })
    }

    /// Where the node that `direction` begins at finds its peer.
    pub fn front(&self, direction: Direction) -> SocketAddr {
        self.fronts[direction.index()]
    }

    /// Addresses of the proxy's and of the node's that everything passes which the node that
    /// `direction` begins at sends: what goes to the one, and what comes from the other.
    pub fn passed(&self, direction: Direction) -> [SocketAddr; 2] {
        [self.fronts[direction.index()], self.backs[direction.index()]]
    }

    /// Resets every connection, and refuses new ones until it heals.
    pub fn cut(&self) {
        self.shared.is_cut.store(true, Ordering::SeqCst);
        self.shared.cuts.fetch_add(1, Ordering::SeqCst);
    }

    /// Resets every connection; new ones are welcome.
    pub fn reset(&self) {
        self.shared.cuts.fetch_add(1, Ordering::SeqCst);
    }

    /// Lets nothing through in one direction, silently.
    pub fn stall(&self, direction: Direction) {
        self.shared.stalled[direction.index()].store(true, Ordering::SeqCst);
    }

    /// Lets nothing through, silently.
    pub fn stall_both(&self) {
        self.stall(Direction::AToB);
        self.stall(Direction::BToA);
    }

    /// Flips a bit of the next bytes that go in a direction.
    pub fn corrupt(&self, direction: Direction) {
        self.shared.flips[direction.index()].fetch_add(1, Ordering::SeqCst);
    }

    /// Ends cuts, stalls and corruptions that are due. Delay and rate stay.
    pub fn heal(&self) {
        for stalled in &self.shared.stalled {
            stalled.store(false, Ordering::SeqCst);
        }
        for flips in &self.shared.flips {
            flips.store(0, Ordering::SeqCst);
        }
        self.shared.is_cut.store(false, Ordering::SeqCst);
    }

    /// Gives out everything so much later, to the microsecond.
    pub fn delay(&self, delay: Duration) {
        let delay_us = u64::try_from(delay.as_micros()).unwrap_or(u64::MAX);
        self.shared.delay_us.store(delay_us, Ordering::SeqCst);
    }

    /// Limits each direction of each connection to so many bytes a second; 0 is without a limit.
    pub fn limit(&self, bytes_per_second: u64) {
        self.shared.bytes_per_second.store(bytes_per_second, Ordering::SeqCst);
    }

    /// Bytes that went in a direction.
    pub fn bytes(&self, direction: Direction) -> u64 {
        self.shared.bytes[direction.index()].load(Ordering::SeqCst)
    }

    /// Bytes that crossed in both directions.
    pub fn bytes_both(&self) -> u64 {
        self.bytes(Direction::AToB) + self.bytes(Direction::BToA)
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        self.shared.is_over.store(true, Ordering::SeqCst);
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
        let connections = std::mem::take(&mut *lock(&self.shared.connections));
        for connection in connections {
            let _ = connection.join();
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Takes connections of the node that `direction` begins at.
fn accept(shared: &Arc<Shared>, listener: &TcpListener, target: SocketAddr, direction: Direction) {
    while !shared.is_over.load(Ordering::SeqCst) {
        match listener.accept() {
            Ok((front, _)) => {
                // Counted before it is asked whether there is a cut: one that comes in between
                // ends the connection.
                let cuts = shared.cuts.load(Ordering::SeqCst);
                if shared.is_cut.load(Ordering::SeqCst) {
                    reset(&front);
                    continue;
                }
                // A peer that is not there looks as if the network refused.
                match TcpStream::connect_timeout(&target, Duration::from_secs(2)) {
                    Ok(back) => carry(shared, [front, back], direction, cuts),
                    Err(_) => reset(&front),
                }
            }
            Err(_) => std::thread::sleep(GLANCE),
        }
    }
}

/// A socket that is closed from now on says so by RST.
fn reset(stream: &TcpStream) {
    let _ = SockRef::from(stream).set_linger(Some(Duration::ZERO));
}

/// Starts both directions of a connection.
fn carry(shared: &Arc<Shared>, ends: [TcpStream; 2], direction: Direction, cuts: u64) {
    let (ends, broken) = (Arc::new(ends), Arc::new(AtomicBool::new(false)));
    let mut connections = lock(&shared.connections);
    connections.retain(|connection| !connection.is_finished());
    for (from, way) in [(0, direction), (1, direction.back())] {
        let (shared, ends, broken) = (Arc::clone(shared), Arc::clone(&ends), Arc::clone(&broken));
        let queue = VecDeque::new();
        let mut pump = Pump { shared, way, cuts, broken, queue, queued_bytes: 0 };
        connections.push(std::thread::spawn(move || {
            let (from, to) = (&ends[from], &ends[1 - from]);
            if pump.run(from, to).is_err() {
                // The other direction ends as well, and the last one to go closes by RST.
                pump.broken.store(true, Ordering::SeqCst);
                reset(from);
                reset(to);
            }
        }));
    }
}

/// One direction of one connection.
struct Pump {
    shared: Arc<Shared>,
    way: Direction,
    cuts: u64,
    /// Whether the other direction found the connection broken.
    broken: Arc<AtomicBool>,
    /// What was taken in, and when it is due.
    queue: VecDeque<(Instant, Vec<u8>)>,
    queued_bytes: usize,
}

impl Pump {
    /// Carries bytes until the sender ends; an error is a connection that broke or was cut.
    fn run(&mut self, mut from: &TcpStream, to: &TcpStream) -> io::Result<()> {
        from.set_nodelay(true)?;
        to.set_write_timeout(Some(GLANCE))?;
        let mut buffer = vec![0; 256 << 10];
        loop {
            self.check()?;
            if self.is_stalled() {
                std::thread::sleep(GLANCE);
                continue;
            }
            let patience = self.give_out(to)?;
            if self.queued_bytes > QUEUE_BYTES_MAX {
                std::thread::sleep(patience);
                continue;
            }
            if !is_readable(from, patience)? {
                continue;
            }
            match from.read(&mut buffer)? {
                0 => break,
                count => self.take_in(&buffer[..count]),
            }
        }
        while !self.queue.is_empty() {
            self.check()?;
            let patience = self.give_out(to)?;
            std::thread::sleep(patience);
        }
        to.shutdown(Shutdown::Write)
    }

    fn take_in(&mut self, bytes: &[u8]) {
        let delay = Duration::from_micros(self.shared.delay_us.load(Ordering::SeqCst));
        self.queued_bytes += bytes.len();
        let mut bytes = bytes.to_vec();
        let flips = &self.shared.flips[self.way.index()];
        let less = |flips: u64| flips.checked_sub(1);
        if flips.fetch_update(Ordering::SeqCst, Ordering::SeqCst, less).is_ok() {
            let middle = bytes.len() / 2;
            bytes[middle] ^= 0x10;
        }
        self.queue.push_back((Instant::now() + delay, bytes));
    }

    /// Gives out what is due; returns how long to wait for more.
    fn give_out(&mut self, to: &TcpStream) -> io::Result<Duration> {
        while let Some((due, bytes)) = self.queue.pop_front() {
            let left = due.saturating_duration_since(Instant::now());
            if !left.is_zero() || self.is_stalled() {
                self.queue.push_front((due, bytes));
                return Ok(if left.is_zero() { GLANCE } else { left.min(GLANCE) });
            }
            self.queued_bytes -= bytes.len();
            self.write(to, &bytes)?;
        }
        Ok(GLANCE)
    }

    fn write(&self, mut to: &TcpStream, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            self.check()?;
            let rate = self.shared.bytes_per_second.load(Ordering::SeqCst);
            let length = if rate == 0 { bytes.len() } else { bytes.len().min(32 << 10) };
            match to.write(&bytes[..length]) {
                Ok(count) => {
                    let counter = &self.shared.bytes[self.way.index()];
                    counter.fetch_add(count as u64, Ordering::SeqCst);
                    bytes = &bytes[count..];
                    if let Some(micros) = (count as u64 * 1_000_000).checked_div(rate) {
                        std::thread::sleep(Duration::from_micros(micros));
                    }
                }
                Err(error) if is_timeout(&error) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    fn is_stalled(&self) -> bool {
        self.shared.stalled[self.way.index()].load(Ordering::SeqCst)
    }

    fn check(&self) -> io::Result<()> {
        let is_cut = self.shared.cuts.load(Ordering::SeqCst) != self.cuts;
        let is_broken = self.broken.load(Ordering::SeqCst);
        if is_cut || is_broken || self.shared.is_over.load(Ordering::SeqCst) {
            return Err(io::ErrorKind::ConnectionReset.into());
        }
        Ok(())
    }
}

/// Whether there is something to be read, or the end of it, before so much time has passed. The
/// timeout of a socket would be one of the kernel's ticks at least, which may be 4 ms.
fn is_readable(stream: &TcpStream, patience: Duration) -> io::Result<bool> {
    let mut wanted = [PollFd::new(stream, PollFlags::IN)];
    let patience = Timespec::try_from(patience).map_err(io::Error::other)?;
    match poll(&mut wanted, Some(&patience)) {
        Ok(count) => Ok(count > 0),
        Err(Errno::INTR) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

fn is_timeout(error: &io::Error) -> bool {
    let kind = error.kind();
    matches!(kind, io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut | io::ErrorKind::Interrupted)
}

#[cfg(test)]
mod tests;
