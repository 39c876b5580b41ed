//! Addresses that nobody else uses.
//!
//! All of 127.0.0.0/8 is loopback: every cluster takes an address of its own, so that the ports of
//! tests that run at the same time, and those that the kernel gives to connections, do not collide.

use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener};
use std::sync::atomic::{AtomicU8, AtomicU16, Ordering};

use crate::{Result, fail};

/// A loopback address of this process, another one at each call.
pub fn loopback() -> IpAddr {
    static NEXT: AtomicU8 = AtomicU8::new(1);
    let [_, _, high, low] = std::process::id().to_be_bytes();
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    IpAddr::V4(Ipv4Addr::new(127, 64 | (high & 63), low, number))
}

/// An address on `ip` with a port that is free, and is given to nobody else by this process. The
/// kernel does not give it to a connection either: it takes others for these.
///
/// # Errors
/// There is none.
pub fn free_address(ip: IpAddr) -> Result<SocketAddr> {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    for _ in 0..PORTS {
        let port = FIRST_PORT + NEXT.fetch_add(1, Ordering::Relaxed) % PORTS;
        if let Ok(listener) = TcpListener::bind((ip, port)) {
            return Ok(listener.local_addr()?);
        }
    }
    fail(format!("no port of {ip} from {FIRST_PORT} on is free"))
}

/// Below those that the kernel gives by itself, which begin at 32768.
const FIRST_PORT: u16 = 20_000;
const PORTS: u16 = 10_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_address_is_given_twice() {
        let ip = loopback();
        let addresses = [(); 500].map(|()| free_address(ip).unwrap());
        let ports: std::collections::BTreeSet<u16> = addresses.iter().map(|it| it.port()).collect();
        assert_eq!(ports.len(), addresses.len());
        assert!(ports.iter().all(|port| *port < 32_768));
    }
}
