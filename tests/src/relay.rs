//! One address for two nodes: each connection goes to the node that is Primary as it comes in.
//!
//! What an address that follows the Primary is to clients. A connection for which there is no
//! Primary is closed at once, or goes to the node that was said to be right then, which clients may
//! promote. One whose node goes away is reset. Where the next one goes is asked anew.

use std::ffi::OsString;
use std::io::{self, Read, Write};
use std::net::{IpAddr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use socket2::SockRef;

use crate::process::run;
use crate::spec::RESOURCE;
use crate::{Cluster, Context, Result, Side};

/// How soon a connection notices that the relay is over.
const GLANCE: Duration = Duration::from_millis(10);

/// How long a node may take to say its role.
const ROLE_LIMIT: Duration = Duration::from_secs(5);

/// The relay. Its connections end with it.
#[derive(Debug)]
pub struct Relay {
    shared: Arc<Shared>,
    address: SocketAddr,
    listener: Option<JoinHandle<()>>,
}

#[derive(Debug)]
struct Shared {
    is_over: AtomicBool,
    nodes: [Target; 2],
    /// Who gets connections while there is no Primary.
    fallback: Mutex<Option<Side>>,
    /// Connections that were passed on to a node.
    passed: AtomicU64,
    connections: Mutex<Vec<JoinHandle<()>>>,
}

/// A node: where it serves, and the command that prints its role.
#[derive(Debug)]
struct Target {
    address: SocketAddr,
    program: PathBuf,
    arguments: Vec<OsString>,
}

impl Relay {
    /// Listens on a free port of `ip` for the nodes of a cluster, which serve over TCP.
    ///
    /// # Errors
    /// There is no port.
    pub fn start(ip: IpAddr, cluster: &Cluster) -> Result<Self> {
        let listener = TcpListener::bind((ip, 0)).about("a port for the relay")?;
        listener.set_nonblocking(true)?;
        let address = listener.local_addr()?;
        let nodes = [Side::A, Side::B].map(|side| {
            let command = cluster.node(side).adm_command(&["role", RESOURCE]);
            let arguments = command.get_args().map(ToOwned::to_owned).collect();
            let (address, program) = (cluster.nbd_tcp(side), command.get_program().into());
            Target { address, program, arguments }
        });
        let shared = Arc::new(Shared {
            is_over: AtomicBool::new(false),
            nodes,
            fallback: Mutex::default(),
            passed: AtomicU64::new(0),
            connections: Mutex::default(),
        });
        let for_thread = Arc::clone(&shared);
        let listener = Some(std::thread::spawn(move || accept(&for_thread, &listener)));
        Ok(Self { shared, address, listener })
    }

    /// Where clients find it.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Who gets connections while there is no Primary; at first nobody does.
    pub fn set_fallback(&self, side: Option<Side>) {
        *lock(&self.shared.fallback) = side;
    }

    /// Connections that were passed on so far.
    pub fn passed(&self) -> u64 {
        self.shared.passed.load(Ordering::SeqCst)
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.shared.is_over.store(true, Ordering::SeqCst);
        if let Some(listener) = self.listener.take() {
            let _ = listener.join();
        }
        let connections = std::mem::take(&mut *lock(&self.shared.connections));
        for connection in connections {
            let _ = connection.join();
        }
    }
}

impl Shared {
    /// The node that a connection is for, as its address.
    fn target(&self) -> Option<SocketAddr> {
        let primary = self.nodes.iter().find(|node| node.is_primary());
        let fallback = || lock(&self.fallback).map(|side| &self.nodes[side as usize]);
        primary.or_else(fallback).map(|node| node.address)
    }

    /// An error ends a connection that outlives the relay.
    fn check(&self) -> io::Result<()> {
        if self.is_over.load(Ordering::SeqCst) {
            return Err(io::ErrorKind::ConnectionReset.into());
        }
        Ok(())
    }
}

impl Target {
    fn is_primary(&self) -> bool {
        let mut command = Command::new(&self.program);
        let role = run(command.args(&self.arguments), ROLE_LIMIT);
        role.is_ok_and(|output| output.code == 0 && output.stdout.trim() == "Primary")
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn accept(shared: &Arc<Shared>, listener: &TcpListener) {
    while !shared.is_over.load(Ordering::SeqCst) {
        match listener.accept() {
            Ok((front, _)) => {
                let for_thread = Arc::clone(shared);
                // Asking for roles takes its time; others need not wait for that.
                let connection = std::thread::spawn(move || connect(&for_thread, &front));
                let mut connections = lock(&shared.connections);
                connections.retain(|connection| !connection.is_finished());
                connections.push(connection);
            }
            Err(_) => std::thread::sleep(GLANCE),
        }
    }
}

/// Carries a connection until either end is gone.
fn connect(shared: &Shared, front: &TcpStream) {
    let Some(target) = shared.target() else { return };
    let Ok(back) = TcpStream::connect_timeout(&target, ROLE_LIMIT) else { return };
    shared.passed.fetch_add(1, Ordering::SeqCst);
    let is_broken = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for (from, to) in [(front, &back), (&back, front)] {
            let is_broken = &is_broken;
            scope.spawn(move || {
                if pump(shared, is_broken, from, to).is_err() {
                    is_broken.store(true, Ordering::SeqCst);
                }
            });
        }
    });
    if is_broken.load(Ordering::SeqCst) {
        for end in [front, &back] {
            let _ = SockRef::from(end).set_linger(Some(Duration::ZERO));
        }
    }
}

/// Carries bytes one way until the sender ends; an error is a connection that broke.
fn pump(
    shared: &Shared,
    is_broken: &AtomicBool,
    mut from: &TcpStream,
    mut to: &TcpStream,
) -> io::Result<()> {
    from.set_nodelay(true)?;
    from.set_nonblocking(false)?;
    from.set_read_timeout(Some(GLANCE))?;
    to.set_write_timeout(Some(GLANCE))?;
    let mut buffer = vec![0; 256 << 10];
    loop {
        shared.check()?;
        if is_broken.load(Ordering::SeqCst) {
            return Ok(());
        }
        match from.read(&mut buffer) {
            Ok(0) => return to.shutdown(Shutdown::Write),
            Ok(count) => {
                let mut bytes = &buffer[..count];
                while !bytes.is_empty() {
                    shared.check()?;
                    match to.write(bytes) {
                        Ok(count) => bytes = &bytes[count..],
                        Err(error) if is_timeout(&error) => {}
                        Err(error) => return Err(error),
                    }
                }
            }
            Err(error) if is_timeout(&error) => {}
            Err(error) => return Err(error),
        }
    }
}

fn is_timeout(error: &io::Error) -> bool {
    let kind = error.kind();
    matches!(kind, io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut | io::ErrorKind::Interrupted)
}
