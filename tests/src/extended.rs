//! A client that speaks extended headers: requests of 64-bit lengths, replies in chunks.
//!
//! One request at a time. Written from the protocol's text, as [`NbdClient`](crate::NbdClient) is;
//! of other people's clients only qemu and newer versions of libnbd have them, and neither sends a
//! request of more than 4 GiB.

use std::io::{self, Read, Write};

use crate::nbd::{Address, REPLY_ACK, Stream, greet, receive_option, send_option};

/// What is asked of an export.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ask {
    /// Forget the content.
    Trim = 4,
    /// Write zeroes.
    WriteZeroes = 6,
    /// Where space is taken.
    BlockStatus = 7,
}

/// A piece of an export, as `base:allocation` tells of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Allocation {
    /// Bytes.
    pub length: u64,
    /// 1: a hole; 2: reads as zeroes.
    pub flags: u64,
}

/// The client.
#[derive(Debug)]
pub struct ExtendedClient {
    stream: Stream,
    next_cookie: u64,
}

impl ExtendedClient {
    /// Connects, agrees on extended headers and `base:allocation`, and chooses an export.
    ///
    /// # Errors
    /// The server does not do one of that.
    pub fn open(address: &Address, export: &str) -> io::Result<Self> {
        let mut stream = Stream::connect(address)?;
        greet(&mut stream)?;
        let name = [&length_of(export)?[..], export.as_bytes()].concat();
        let context = "base:allocation";
        let contexts = [&name[..], &1u32.to_be_bytes(), &length_of(context)?, context.as_bytes()];
        for (option, payload) in [
            (EXTENDED_HEADERS, Vec::new()),
            (SET_META_CONTEXT, contexts.concat()),
            (GO, [&name[..], &[0, 0]].concat()),
        ] {
            send_option(&mut stream, option, &payload)?;
            loop {
                let (kind, data) = receive_option(&mut stream)?;
                if kind == REPLY_ACK {
                    break;
                }
                if kind & 1 << 31 != 0 {
                    let reason = String::from_utf8_lossy(&data).into_owned();
                    return Err(broken(format!("option {option}: {kind:#x}: {reason}")));
                }
            }
        }
        Ok(Self { stream, next_cookie: 1 })
    }

    /// Asks for something without data and returns what the reply tells of extents.
    ///
    /// # Errors
    /// The server says one, is gone, or breaks the protocol.
    pub fn ask(&mut self, ask: Ask, offset: u64, length: u64) -> io::Result<Vec<Allocation>> {
        let cookie = self.next_cookie;
        self.next_cookie += 1;
        let mut request = REQUEST_MAGIC.to_be_bytes().to_vec();
        request.extend([0, 0]);
        request.extend((ask as u16).to_be_bytes());
        for field in [cookie, offset, length] {
            request.extend(field.to_be_bytes());
        }
        self.stream.write_all(&request)?;
        let mut extents = Vec::new();
        loop {
            let mut header = [0; 32];
            self.stream.read_exact(&mut header)?;
            let field = |at: usize| u64::from_be_bytes(array(&header[at..at + 8]));
            if header[..4] != REPLY_MAGIC.to_be_bytes() || (field(8), field(16)) != (cookie, offset)
            {
                return Err(broken(format!("a wrong header: {header:02x?}")));
            }
            let length = usize::try_from(field(24)).ok().filter(|length| *length <= 1 << 20);
            let mut payload = vec![0; length.ok_or_else(|| broken("a reply that is too long"))?];
            self.stream.read_exact(&mut payload)?;
            match u16::from_be_bytes(array(&header[6..8])) {
                CHUNK_NONE => {}
                CHUNK_STATUS => extents.extend(payload[8..].chunks_exact(16).map(allocation)),
                kind => return Err(broken(format!("chunk {kind:#x}: {payload:02x?}"))),
            }
            if u16::from_be_bytes(array(&header[4..6])) & DONE != 0 {
                return Ok(extents);
            }
        }
    }
}

fn allocation(bytes: &[u8]) -> Allocation {
    let word = |at: usize| u64::from_be_bytes(array(&bytes[at..at + 8]));
    Allocation { length: word(0), flags: word(8) }
}

fn length_of(text: &str) -> io::Result<[u8; 4]> {
    Ok(u32::try_from(text.len()).map_err(|_| broken("too long a name"))?.to_be_bytes())
}

fn broken(text: impl Into<String>) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, text.into())
}

fn array<const N: usize>(bytes: &[u8]) -> [u8; N] {
    let mut array = [0; N];
    array.copy_from_slice(bytes);
    array
}

const GO: u32 = 7;
const SET_META_CONTEXT: u32 = 10;
const EXTENDED_HEADERS: u32 = 11;

const REQUEST_MAGIC: u32 = 0x21e4_1c71;
const REPLY_MAGIC: u32 = 0x6e8a_278c;

const DONE: u16 = 1;
const CHUNK_NONE: u16 = 0;
const CHUNK_STATUS: u16 = 6;
