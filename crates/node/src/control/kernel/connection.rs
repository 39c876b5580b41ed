//! A connection of a device, from its opening until the kernel has taken one end of it.

use std::os::fd::{AsRawFd, OwnedFd};

use rustix::io::Errno;
use rustix::net::{RecvFlags, recv};
use tandem_nbd::ExportInfo;
use tokio::net::UnixStream;
use tokio::sync::OwnedSemaphorePermit;

use super::super::nbd::Chosen;
use super::super::{Control, offer};

/// The daemon's end, and the client that it will be.
pub(super) struct Connection {
    socket: OwnedFd,
    client: Chosen,
}

impl Connection {
    /// A connection that a volume is to be served on, the end that is for the kernel, and what the
    /// export is like. The place is free again when the connection has ended.
    ///
    /// # Errors
    /// The export is not to be had.
    pub(super) async fn open(
        control: &Control,
        export: &str,
        place: OwnedSemaphorePermit,
    ) -> Result<(Self, OwnedFd, ExportInfo), String> {
        let (ours, theirs) = UnixStream::pair().map_err(|error| error.to_string())?;
        let descriptor = control.exports.descriptor().await;
        let opened = offer::open(control, export).await;
        let (mut client, export) = opened.map_err(|refusal| refusal.reason)?;
        client.permits.extend([descriptor, place]);
        let [socket, theirs] = [ours, theirs].map(|it| it.into_std().map(OwnedFd::from));
        let client = Chosen::kernel(client, export.clone());
        let connection = Self { socket: socket.map_err(|error| error.to_string())?, client };
        Ok((connection, theirs.map_err(|error| error.to_string())?, export))
    }

    /// Serves it, if the kernel has taken the other end, which nobody else has any more. Whether
    /// it has.
    pub(super) fn serve_if_taken(self) -> bool {
        let is_taken = has_other_end(&self.socket);
        if is_taken {
            self.client.hand_over(Ok(self.socket));
        }
        is_taken
    }
}

/// The number of a descriptor, as messages have it.
pub(super) fn number(socket: &OwnedFd) -> u32 {
    u32::try_from(socket.as_raw_fd()).expect("an open descriptor is not negative")
}

fn has_other_end(socket: &OwnedFd) -> bool {
    let flags = RecvFlags::PEEK | RecvFlags::DONTWAIT;
    match recv(socket, &mut [0; 1][..], flags) {
        Ok((count, _)) => count > 0,
        Err(error) => error == Errno::AGAIN,
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::os::unix::net;

    use super::*;

    #[test]
    fn an_end_that_nobody_took_is_told_from_one_that_is_silent() {
        let (ours, mut theirs) = net::UnixStream::pair().unwrap();
        let ours = OwnedFd::from(ours);
        assert!(has_other_end(&ours));
        theirs.write_all(b"request").unwrap();
        assert!(has_other_end(&ours));
        let (ours, theirs) = net::UnixStream::pair().unwrap();
        drop(theirs);
        assert!(!has_other_end(&OwnedFd::from(ours)));
    }
}
