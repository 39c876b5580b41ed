//! Options of sockets, and how they leave the control thread.

use std::io;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::time::Duration;

use socket2::{Domain, SockRef, TcpKeepalive};
use tokio::net::{TcpListener, TcpSocket, TcpStream, UnixListener};
use tokio::time::Instant;

use crate::limits;

/// Connections that may wait to be accepted.
const BACKLOG: u32 = 128;

/// Pause between attempts to listen.
const LISTEN_PAUSE: Duration = Duration::from_millis(20);

/// A listener on `address`, which may have been used until a moment ago.
pub(crate) fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = match address {
        SocketAddr::V4(_) => TcpSocket::new_v4()?,
        SocketAddr::V6(_) => TcpSocket::new_v6()?,
    };
    socket.set_reuseaddr(true)?;
    if address.is_ipv6() {
        SockRef::from(&socket).set_only_v6(true)?;
    }
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

/// Tries again for a while where an address is in use: a daemon that was killed a moment ago may
/// not have let go of it yet, though it has of its lock.
///
/// # Errors
/// What `attempt` says in the end.
pub(crate) async fn while_in_use<T>(mut attempt: impl FnMut() -> io::Result<T>) -> io::Result<T> {
    let deadline = Instant::now() + limits::LISTEN_PATIENCE;
    loop {
        match attempt() {
            Err(error) if error.kind() == io::ErrorKind::AddrInUse && Instant::now() < deadline => {
                tokio::time::sleep(LISTEN_PAUSE).await;
            }
            result => return result,
        }
    }
}

/// A listener on a socket file that only this user may connect to; a file left over is replaced.
pub(crate) fn listen_unix(path: &Path) -> io::Result<UnixListener> {
    use std::os::unix::fs::PermissionsExt;
    remove_file(path)?;
    let listener = UnixListener::bind(path)?;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600))?;
    Ok(listener)
}

/// A listener that this process was started with.
#[derive(Debug)]
pub(crate) enum Inherited {
    Unix(UnixListener),
    Tcp(TcpListener),
}

/// Finds out what a socket is that a service manager has passed on.
pub(crate) fn inherited(socket: OwnedFd) -> io::Result<Inherited> {
    let about = SockRef::from(&socket);
    let (domain, listens) = (about.domain()?, about.is_listener()?);
    about.set_nonblocking(true)?;
    match domain {
        _ if !listens => Err(io::Error::other("it does not listen")),
        Domain::UNIX => UnixListener::from_std(socket.into()).map(Inherited::Unix),
        Domain::IPV4 | Domain::IPV6 => TcpListener::from_std(socket.into()).map(Inherited::Tcp),
        other => Err(io::Error::other(format!("neither a unix nor a TCP socket: {other:?}"))),
    }
}

/// Removes a file, if it is there.
pub(crate) fn remove_file(path: &Path) -> io::Result<()> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        Ok(()) | Err(_) => Ok(()),
    }
}

/// Connects from the address of this node, any port, to `to`.
pub(crate) async fn connect(from: SocketAddr, to: SocketAddr) -> io::Result<TcpStream> {
    let socket = match to {
        SocketAddr::V4(_) => TcpSocket::new_v4()?,
        SocketAddr::V6(_) => TcpSocket::new_v6()?,
    };
    if !from.ip().is_unspecified() && from.is_ipv4() == to.is_ipv4() {
        socket.set_reuseaddr(true)?;
        socket.bind(SocketAddr::new(from.ip(), 0))?;
    }
    socket.connect(to).await
}

/// Options of a peer link. Buffer sizes of 0 are left to the kernel.
pub(crate) fn tune_link(stream: &TcpStream, sndbuf: u64, rcvbuf: u64) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let socket = SockRef::from(stream);
    if let Some(bytes) = usize::try_from(sndbuf).ok().filter(|bytes| *bytes > 0) {
        socket.set_send_buffer_size(bytes)?;
    }
    if let Some(bytes) = usize::try_from(rcvbuf).ok().filter(|bytes| *bytes > 0) {
        socket.set_recv_buffer_size(bytes)?;
    }
    Ok(())
}

/// Options of a client: small replies at once, and an end for those that vanished.
pub(crate) fn tune_client(stream: &TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let socket = SockRef::from(stream);
    socket.set_tcp_keepalive(&TcpKeepalive::new().with_time(limits::CLIENT_KEEPALIVE))?;
    socket.set_tcp_user_timeout(Some(limits::CLIENT_USER_TIMEOUT))
}

/// Takes a TCP connection out of the control thread.
pub(crate) fn release(stream: TcpStream) -> io::Result<OwnedFd> {
    stream.into_std().map(OwnedFd::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_that_is_let_go_of_is_listened_on() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let other = listen("127.0.0.1:0".parse().unwrap()).unwrap();
            let address = other.local_addr().unwrap();
            assert!(listen(address).is_err(), "it is in use");
            let mut other = Some(other);
            let listener = while_in_use(|| {
                let result = listen(address);
                drop(other.take());
                result
            });
            assert_eq!(listener.await.unwrap().local_addr().unwrap(), address);
            let refused = while_in_use(|| Err::<(), _>(io::ErrorKind::AddrNotAvailable.into()));
            assert_eq!(refused.await.unwrap_err().kind(), io::ErrorKind::AddrNotAvailable);
        });
    }
}
