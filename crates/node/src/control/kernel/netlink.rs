//! The socket that messages to the kernel's NBD client go through.

use std::os::fd::OwnedFd;
use std::time::Duration;

use rustix::io::Errno;
use rustix::net::netlink::{GENERIC, SocketAddrNetlink};
use rustix::net::sockopt::{Timeout, set_socket_timeout};
use rustix::net::{
    AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, bind, recv, sendto, socket_with,
};

use super::message;

/// The kernel answers at once, unless it must load a module.
const PATIENCE: Duration = Duration::from_secs(10);

/// Longest answer that is read.
const ANSWER_BYTES: usize = 16 << 10;

/// A connection to the family `nbd`.
pub(crate) struct Netlink {
    socket: OwnedFd,
    family: u16,
}

impl Netlink {
    /// # Errors
    /// `ENOENT`: the kernel has no NBD client. Else what the system says.
    pub(crate) fn open() -> Result<Self, Errno> {
        let flags = SocketFlags::CLOEXEC;
        let socket = socket_with(AddressFamily::NETLINK, SocketType::RAW, flags, Some(GENERIC))?;
        bind(&socket, &kernel())?;
        set_socket_timeout(&socket, Timeout::Recv, Some(PATIENCE))?;
        let found = exchange(&socket, &message::get_family(), message::family)?;
        Ok(Self { socket, family: found })
    }

    /// Has the kernel carry out the message that `make` makes for the family.
    ///
    /// # Errors
    /// What it says.
    pub(crate) fn carry_out(&self, make: impl FnOnce(u16) -> Vec<u8>) -> Result<(), Errno> {
        exchange(&self.socket, &make(self.family), message::acknowledged)
    }
}

/// Nobody in particular: as a receiver the kernel, as a sender whoever it makes of it.
fn kernel() -> SocketAddrNetlink {
    SocketAddrNetlink::new(0, 0)
}

/// Sends, and receives until `read` has found what it looks for.
fn exchange<T>(
    socket: &OwnedFd,
    message: &[u8],
    read: impl Fn(&[u8]) -> Result<Option<T>, Errno>,
) -> Result<T, Errno> {
    sendto(socket, message, SendFlags::empty(), &kernel())?;
    let mut buffer = vec![0; ANSWER_BYTES];
    loop {
        let (count, _) = recv(socket, &mut buffer[..], RecvFlags::empty())?;
        let mut received = &buffer[..count];
        while let Some(answer) = message::take_message(&mut received) {
            if let Some(found) = read(answer)? {
                return Ok(found);
            }
        }
    }
}
