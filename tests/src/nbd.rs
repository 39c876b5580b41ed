//! A plain NBD client, written from the protocol's text and sharing nothing with the daemon.
//!
//! Fixed newstyle with GO, simple replies, many requests at a time on one connection: requests are
//! [sent](NbdClient::send) and replies [received](NbdClient::receive) apart from each other, or one
//! after the other by `read`, `write`, `flush`. [`Stream`] alone is for clients that misbehave.

use std::collections::BTreeMap;
use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::time::Duration;

/// Longest silence of a server that is not taken for a hang.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// Where exports are served.
#[derive(Clone, Debug)]
pub enum Address {
    /// A socket in the file system.
    Unix(PathBuf),
    /// TCP.
    Tcp(SocketAddr),
}

/// A connection to a server, without a handshake.
#[derive(Debug)]
pub enum Stream {
    /// Of a socket in the file system.
    Unix(UnixStream),
    /// Of TCP.
    Tcp(TcpStream),
}

impl Stream {
    /// Connects.
    ///
    /// # Errors
    /// Nobody listens.
    pub fn connect(address: &Address) -> io::Result<Self> {
        match address {
            Address::Unix(path) => {
                let stream = UnixStream::connect(path)?;
                stream.set_read_timeout(Some(PATIENCE))?;
                stream.set_write_timeout(Some(PATIENCE))?;
                Ok(Self::Unix(stream))
            }
            Address::Tcp(address) => {
                let stream = TcpStream::connect(address)?;
                stream.set_read_timeout(Some(PATIENCE))?;
                stream.set_write_timeout(Some(PATIENCE))?;
                stream.set_nodelay(true)?;
                Ok(Self::Tcp(stream))
            }
        }
    }

    /// Ends the sending direction.
    ///
    /// # Errors
    /// The connection is gone.
    pub fn finish(&self) -> io::Result<()> {
        match self {
            Self::Unix(stream) => stream.shutdown(Shutdown::Write),
            Self::Tcp(stream) => stream.shutdown(Shutdown::Write),
        }
    }
}

impl Read for Stream {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Unix(stream) => stream.read(buffer),
            Self::Tcp(stream) => stream.read(buffer),
        }
    }
}

impl Write for Stream {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Unix(stream) => stream.write(bytes),
            Self::Tcp(stream) => stream.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// What is asked of an export.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Command {
    /// Read.
    Read = 0,
    /// Write the payload.
    Write = 1,
    /// Leave.
    Disconnect = 2,
    /// Make durable what has been replied to.
    Flush = 3,
    /// Forget the content.
    Trim = 4,
    /// Write zeroes.
    WriteZeroes = 6,
}

/// Flag of a request: durable before the reply.
pub const FUA: u16 = 1;

/// Flag of a request for zeroes: their space stays allocated.
pub const NO_HOLE: u16 = 2;

/// The answer to a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply {
    /// As `send` returned it.
    pub cookie: u64,
    /// 0, or an error number.
    pub error: u32,
    /// What was read.
    pub data: Vec<u8>,
}

/// A client of one export.
#[derive(Debug)]
pub struct NbdClient {
    stream: Stream,
    size_bytes: u64,
    flags: u16,
    next_cookie: u64,
    /// Bytes that the reply to each request in flight brings.
    in_flight: BTreeMap<u64, usize>,
}

impl NbdClient {
    /// Connects and chooses an export by GO.
    ///
    /// # Errors
    /// There is no server, or it refuses; the text has its reason.
    pub fn open(address: &Address, export: &str) -> io::Result<Self> {
        let mut stream = Stream::connect(address)?;
        greet(&mut stream)?;
        let mut payload = Vec::new();
        payload.extend_from_slice(&u32::try_from(export.len()).map_err(invalid)?.to_be_bytes());
        payload.extend_from_slice(export.as_bytes());
        payload.extend_from_slice(&0u16.to_be_bytes());
        send_option(&mut stream, OPTION_GO, &payload)?;
        let (mut size_bytes, mut flags) = (0, 0);
        loop {
            let (kind, data) = receive_option(&mut stream)?;
            match kind {
                REPLY_ACK => break,
                REPLY_INFO if data.len() == 12 && data[..2] == [0, 0] => {
                    size_bytes = u64::from_be_bytes(array(&data[2..10]));
                    flags = u16::from_be_bytes(array(&data[10..12]));
                }
                REPLY_INFO => {}
                error => {
                    let reason = String::from_utf8_lossy(&data);
                    return Err(invalid(format!("refused with {error:#x}: {reason}")));
                }
            }
        }
        Ok(Self { stream, size_bytes, flags, next_cookie: 1, in_flight: BTreeMap::new() })
    }

    /// Sends a request; `data` is what a write brings, and `length` what it is about.
    ///
    /// # Errors
    /// The connection is gone.
    pub fn send(
        &mut self,
        command: Command,
        flags: u16,
        offset: u64,
        length: u32,
        data: &[u8],
    ) -> io::Result<u64> {
        let cookie = self.next_cookie;
        self.next_cookie += 1;
        let mut request = Vec::with_capacity(28 + data.len());
        request.extend_from_slice(&request_header(command as u16, flags, cookie, offset, length));
        request.extend_from_slice(data);
        self.stream.write_all(&request)?;
        let expected = if command == Command::Read { length as usize } else { 0 };
        self.in_flight.insert(cookie, expected);
        Ok(cookie)
    }

    /// Waits for the next reply.
    ///
    /// # Errors
    /// The connection is gone, or the server breaks the protocol.
    pub fn receive(&mut self) -> io::Result<Reply> {
        let mut header = [0; 16];
        self.stream.read_exact(&mut header)?;
        if header[..4] != REPLY_MAGIC {
            return Err(invalid("a reply without its magic number"));
        }
        let error = u32::from_be_bytes(array(&header[4..8]));
        let cookie = u64::from_be_bytes(array(&header[8..16]));
        let expected = self.in_flight.remove(&cookie);
        let expected = expected.ok_or_else(|| invalid(format!("a reply to nothing: {cookie}")))?;
        let mut data = vec![0; if error == 0 { expected } else { 0 }];
        self.stream.read_exact(&mut data)?;
        Ok(Reply { cookie, error, data })
    }

    /// Reads.
    ///
    /// # Errors
    /// The server says one, or is gone.
    pub fn read(&mut self, offset: u64, length: u32) -> io::Result<Vec<u8>> {
        Ok(self.ask(Command::Read, 0, offset, length, &[])?.data)
    }

    /// Writes.
    ///
    /// # Errors
    /// The server says one, or is gone.
    pub fn write(&mut self, offset: u64, data: &[u8]) -> io::Result<()> {
        let length = u32::try_from(data.len()).map_err(invalid)?;
        self.ask(Command::Write, 0, offset, length, data).map(drop)
    }

    /// Makes everything durable that was replied to.
    ///
    /// # Errors
    /// The server says one, or is gone.
    pub fn flush(&mut self) -> io::Result<()> {
        self.ask(Command::Flush, 0, 0, 0, &[]).map(drop)
    }

    /// Sends one request and waits for its reply; an error reply is an error.
    ///
    /// # Errors
    /// The server says one, or is gone.
    pub fn ask(
        &mut self,
        command: Command,
        flags: u16,
        offset: u64,
        length: u32,
        data: &[u8],
    ) -> io::Result<Reply> {
        self.send(command, flags, offset, length, data)?;
        let reply = self.receive()?;
        match reply.error {
            0 => Ok(reply),
            error => Err(io::Error::from_raw_os_error(error.cast_signed())),
        }
    }

    /// Leaves as the protocol wants it: the server closes when everything is done.
    ///
    /// # Errors
    /// The server does not close, or sends something.
    pub fn disconnect(mut self) -> io::Result<()> {
        let header = request_header(Command::Disconnect as u16, 0, 0, 0, 0);
        self.stream.write_all(&header)?;
        match self.stream.read(&mut [0])? {
            0 => Ok(()),
            _ => Err(invalid("bytes after a disconnect")),
        }
    }

    /// Reads all of the export.
    ///
    /// # Errors
    /// The server says one, or is gone.
    pub fn read_all(&mut self) -> io::Result<Vec<u8>> {
        let mut image = Vec::with_capacity(usize::try_from(self.size_bytes).map_err(invalid)?);
        while (image.len() as u64) < self.size_bytes {
            let offset = image.len() as u64;
            let length = (self.size_bytes - offset).min(1 << 20);
            image.extend(self.read(offset, u32::try_from(length).map_err(invalid)?)?);
        }
        Ok(image)
    }

    /// Length of the export.
    pub fn size_bytes(&self) -> u64 {
        self.size_bytes
    }

    /// Transmission flags of the export.
    pub fn flags(&self) -> u16 {
        self.flags
    }

    /// Requests without a reply.
    pub fn in_flight(&self) -> usize {
        self.in_flight.len()
    }

    /// The connection, to break the rules on.
    pub fn stream(&mut self) -> &mut Stream {
        &mut self.stream
    }
}

/// A request's header, whatever it says.
pub fn request_header(command: u16, flags: u16, cookie: u64, offset: u64, length: u32) -> [u8; 28] {
    let mut header = [0; 28];
    header[..4].copy_from_slice(&REQUEST_MAGIC);
    header[4..6].copy_from_slice(&flags.to_be_bytes());
    header[6..8].copy_from_slice(&command.to_be_bytes());
    header[8..16].copy_from_slice(&cookie.to_be_bytes());
    header[16..24].copy_from_slice(&offset.to_be_bytes());
    header[24..].copy_from_slice(&length.to_be_bytes());
    header
}

/// Takes the server's greeting and answers it, without the 124 zeroes of old.
///
/// # Errors
/// It is none.
pub fn greet(stream: &mut Stream) -> io::Result<()> {
    let mut greeting = [0; 18];
    stream.read_exact(&mut greeting)?;
    if greeting[..16] != *b"NBDMAGICIHAVEOPT" {
        return Err(invalid("no greeting of NBD"));
    }
    stream.write_all(&3u32.to_be_bytes())
}

/// Sends an option.
///
/// # Errors
/// The connection is gone.
pub fn send_option(stream: &mut Stream, option: u32, payload: &[u8]) -> io::Result<()> {
    let mut bytes = b"IHAVEOPT".to_vec();
    bytes.extend_from_slice(&option.to_be_bytes());
    bytes.extend_from_slice(&u32::try_from(payload.len()).map_err(invalid)?.to_be_bytes());
    bytes.extend_from_slice(payload);
    stream.write_all(&bytes)
}

/// Waits for a reply to an option: its kind and payload.
///
/// # Errors
/// The connection is gone, or the server breaks the protocol.
pub fn receive_option(stream: &mut Stream) -> io::Result<(u32, Vec<u8>)> {
    let mut header = [0; 20];
    stream.read_exact(&mut header)?;
    if header[..8] != OPTION_REPLY_MAGIC {
        return Err(invalid("a reply to an option without its magic number"));
    }
    let kind = u32::from_be_bytes(array(&header[12..16]));
    let length = u32::from_be_bytes(array(&header[16..20]));
    if length > 1 << 20 {
        return Err(invalid("a reply to an option that is too long"));
    }
    let mut data = vec![0; length as usize];
    stream.read_exact(&mut data)?;
    Ok((kind, data))
}

fn invalid(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, error)
}

fn array<const N: usize>(bytes: &[u8]) -> [u8; N] {
    let mut array = [0; N];
    array.copy_from_slice(bytes);
    array
}

const REQUEST_MAGIC: [u8; 4] = [0x25, 0x60, 0x95, 0x13];
const REPLY_MAGIC: [u8; 4] = [0x67, 0x44, 0x66, 0x98];
const OPTION_REPLY_MAGIC: [u8; 8] = [0x00, 0x03, 0xe8, 0x89, 0x04, 0x55, 0x65, 0xa9];

/// Option: learn of an export.
pub const OPTION_INFO: u32 = 6;
/// Option: choose an export.
pub const OPTION_GO: u32 = 7;
/// Reply to an option: done.
pub const REPLY_ACK: u32 = 1;
/// Reply to an option: a piece of information.
pub const REPLY_INFO: u32 = 3;
/// Reply to an option: not known here.
pub const REPLY_UNSUPPORTED: u32 = (1 << 31) + 1;
/// Reply to an option: not allowed now.
pub const REPLY_POLICY: u32 = (1 << 31) + 2;
/// Reply to an option: it makes no sense.
pub const REPLY_INVALID: u32 = (1 << 31) + 3;
/// Reply to an option: no such export.
pub const REPLY_UNKNOWN: u32 = (1 << 31) + 6;
