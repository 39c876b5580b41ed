//! A blocking client of the admin socket, for the admin command and for tests.
//!
//! Connecting says hello and checks the version. A daemon that accepts and then says nothing is
//! given up after [`REPLY_TIMEOUT`], except where the request itself says how long to wait.

use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::{
    CodecError, HEADER_LEN, Hello, Request, Response, SOCKET_NAME, VERSION, decode_response,
    encode_request, payload_len,
};

/// How long the daemon may take for any command but a wait; drbdadm's `cmd-timeout-medium`.
const REPLY_TIMEOUT: Duration = Duration::from_secs(121);

/// A promotion may wait for a handler that fences the peer; the daemon kills one that hangs.
const PROMOTION_TIMEOUT: Duration = Duration::from_secs(700);

/// Why the daemon could not be asked.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// Nobody listens on the socket.
    #[error("no daemon listens on {socket}: {source}")]
    NotRunning {
        /// The socket.
        socket: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The session broke.
    #[error("the daemon behind {socket} ended the session: {source}")]
    Io {
        /// The socket.
        socket: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The daemon sent what makes no sense.
    #[error("the daemon behind {socket}: {source}")]
    Codec {
        /// The socket.
        socket: PathBuf,
        /// What is wrong with the frame.
        source: CodecError,
    },
    /// The daemon speaks another version of the protocol, or no such protocol.
    #[error("the daemon behind {socket} speaks {theirs}, this command version {VERSION}")]
    Version {
        /// The socket.
        socket: PathBuf,
        /// What the daemon said.
        theirs: String,
    },
}

/// A session with a daemon.
#[derive(Debug)]
pub struct Client {
    socket: PathBuf,
    stream: UnixStream,
    hello: Hello,
}

impl Client {
    /// Connects to the daemon of `run_dir`.
    ///
    /// # Errors
    /// No daemon is there, or one of another version.
    pub fn connect(run_dir: &Path) -> Result<Self, ClientError> {
        let socket = run_dir.join(SOCKET_NAME);
        let stream = UnixStream::connect(&socket)
            .map_err(|source| ClientError::NotRunning { socket: socket.clone(), source })?;
        let nobody = Hello { version: 0, node: String::new(), release: String::new(), pid: 0 };
        let mut client = Self { socket, stream, hello: nobody };
        let theirs = match client.call(&Request::Hello { version: VERSION })? {
            Response::Hello(hello) if hello.version == VERSION => {
                client.hello = hello;
                return Ok(client);
            }
            Response::Hello(hello) => format!("version {}", hello.version),
            Response::Refused(refusal) => format!("another protocol ({})", refusal.message),
            Response::Done
            | Response::Status(_)
            | Response::Progress(_)
            | Response::Running(_)
            | Response::Sighted(_) => "another protocol".to_owned(),
        };
        Err(ClientError::Version { socket: client.socket, theirs })
    }

    /// Sends a request and returns the final response.
    ///
    /// # Errors
    /// The daemon went away, or what it sent makes no sense.
    pub fn call(&mut self, request: &Request) -> Result<Response, ClientError> {
        self.call_with_progress(request, |_| ())
    }

    /// Sends a request, hands each word of progress to `progress`, returns the final response.
    ///
    /// # Errors
    /// The daemon went away, or what it sent makes no sense.
    pub fn call_with_progress(
        &mut self,
        request: &Request,
        mut progress: impl FnMut(&str),
    ) -> Result<Response, ClientError> {
        let frame = encode_request(request).map_err(|source| self.codec_error(source))?;
        let deadline =
            reply_timeout(request).and_then(|timeout| Instant::now().checked_add(timeout));
        let sent = self.stream.write_all(&frame);
        sent.map_err(|source| self.io_error(source))?;
        loop {
            match self.receive(deadline)? {
                Response::Progress(word) => progress(&word),
                last @ (Response::Hello(_)
                | Response::Done
                | Response::Status(_)
                | Response::Refused(_)
                | Response::Running(_)
                | Response::Sighted(_)) => return Ok(last),
            }
        }
    }

    /// Watches a resource, or all for `None`.
    ///
    /// # Errors
    /// The daemon went away.
    pub fn watch(mut self, resource: Option<&str>) -> Result<Watch, ClientError> {
        let request = Request::Watch { resource: resource.map(str::to_owned) };
        let frame = encode_request(&request).map_err(|source| self.codec_error(source))?;
        let sent = self.stream.write_all(&frame);
        sent.map_err(|source| self.io_error(source))?;
        Ok(Watch { client: self })
    }

    /// What the daemon said of itself.
    pub fn hello(&self) -> &Hello {
        &self.hello
    }

    /// The socket the session runs over.
    pub fn socket(&self) -> &Path {
        &self.socket
    }

    fn receive(&mut self, deadline: Option<Instant>) -> Result<Response, ClientError> {
        let mut header = [0; HEADER_LEN];
        self.read_exact(&mut header, deadline)?;
        let length = payload_len(header).map_err(|source| self.codec_error(source))?;
        let mut frame = vec![0; HEADER_LEN + length];
        frame[..HEADER_LEN].copy_from_slice(&header);
        self.read_exact(&mut frame[HEADER_LEN..], deadline)?;
        let decoded = decode_response(&frame).map_err(|source| self.codec_error(source))?;
        let (response, _) = decoded.expect("the frame was read to its announced end");
        Ok(response)
    }

    fn read_exact(
        &mut self,
        mut into: &mut [u8],
        deadline: Option<Instant>,
    ) -> Result<(), ClientError> {
        while !into.is_empty() {
            let taken = self.read_some(into, deadline).map_err(|source| self.io_error(source))?;
            into = &mut into[taken..];
        }
        Ok(())
    }

    fn read_some(&mut self, into: &mut [u8], deadline: Option<Instant>) -> io::Result<usize> {
        let silent = || io::Error::new(io::ErrorKind::TimedOut, "it does not answer");
        let remaining = match deadline {
            Some(deadline) => match deadline.saturating_duration_since(Instant::now()) {
                Duration::ZERO => return Err(silent()),
                remaining => Some(remaining),
            },
            None => None,
        };
        self.stream.set_read_timeout(remaining)?;
        match self.stream.read(into) {
            Ok(0) => Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(taken) => Ok(taken),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Err(silent()),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => Ok(0),
            Err(error) => Err(error),
        }
    }

    fn io_error(&self, source: io::Error) -> ClientError {
        ClientError::Io { socket: self.socket.clone(), source }
    }

    fn codec_error(&self, source: CodecError) -> ClientError {
        ClientError::Codec { socket: self.socket.clone(), source }
    }
}

/// A session that watches.
#[derive(Debug)]
pub struct Watch {
    client: Client,
}

/// The end of such a session that asks for everything again.
#[derive(Debug)]
pub struct Refresher(UnixStream);

impl Watch {
    /// Waits for the next [`Response::Sighted`], or for [`Response::Refused`].
    ///
    /// # Errors
    /// The daemon went away, or what it sent makes no sense.
    pub fn wait(&mut self) -> Result<Response, ClientError> {
        self.client.receive(None)
    }

    /// The other end, for another thread.
    ///
    /// # Errors
    /// There are too many open files.
    pub fn refresher(&self) -> Result<Refresher, ClientError> {
        let stream = self.client.stream.try_clone();
        stream.map(Refresher).map_err(|source| self.client.io_error(source))
    }
}

impl Refresher {
    /// Has everything told again.
    ///
    /// # Errors
    /// The daemon went away.
    pub fn refresh(&mut self) -> io::Result<()> {
        let frame = encode_request(&Request::Refresh).map_err(io::Error::other)?;
        self.0.write_all(&frame)
    }
}

/// How long to wait for the last response; `None` for ever.
fn reply_timeout(request: &Request) -> Option<Duration> {
    match request {
        Request::WaitConnect { timeout, .. } | Request::WaitSync { timeout, .. } => {
            timeout.map(|timeout| timeout.saturating_add(REPLY_TIMEOUT))
        }
        Request::Primary { .. } | Request::Resize { .. } | Request::NewCurrentUuid { .. } => {
            Some(PROMOTION_TIMEOUT)
        }
        Request::Hello { .. }
        | Request::Ping
        | Request::Up(_)
        | Request::Down { .. }
        | Request::Attach { .. }
        | Request::Detach { .. }
        | Request::Connect { .. }
        | Request::Disconnect { .. }
        | Request::Secondary { .. }
        | Request::Outdate { .. }
        | Request::Invalidate { .. }
        | Request::InvalidateRemote { .. }
        | Request::PauseSync { .. }
        | Request::ResumeSync { .. }
        | Request::Verify { .. }
        | Request::StopVerify { .. }
        | Request::Adjust { .. }
        | Request::Status { .. }
        | Request::Part { .. }
        | Request::Running { .. }
        | Request::Watch { .. }
        | Request::Refresh
        | Request::KernelAttach { .. }
        | Request::KernelDetach { .. }
        | Request::SuspendIo { .. }
        | Request::ResumeIo { .. } => Some(REPLY_TIMEOUT),
    }
}
