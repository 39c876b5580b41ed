//! Addresses that nobody else uses.
//!
//! All of 127.0.0.0/8 is loopback: every cluster takes an address of its own, so that the ports of
//! tests that run at the same time, and those that the kernel gives to connections, do not collide.

use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener};
use std::sync::atomic::{AtomicU8, Ordering};

use crate::{Context, Result};

/// A loopback address of this process, another one at each call.
pub fn loopback() -> IpAddr {
    static NEXT: AtomicU8 = AtomicU8::new(1);
    let [_, _, high, low] = std::process::id().to_be_bytes();
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    IpAddr::V4(Ipv4Addr::new(127, 64 | (high & 63), low, number))
}

/// An address on `ip` with a port that is free.
///
/// # Errors
/// There is none.
pub fn free_address(ip: IpAddr) -> Result<SocketAddr> {
    let listener = TcpListener::bind((ip, 0)).about("a free port")?;
    Ok(listener.local_addr()?)
}
