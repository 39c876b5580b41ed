//! The numbers and fixed layouts of the NBD protocol, for the server, for tests and for clients.
//!
//! Names follow the protocol text with the `NBD_` prefixes turned into modules: `NBD_OPT_GO` is
//! [`option::GO`]. Everything on the wire is big-endian. Listed are also the numbers that this
//! server refuses, because tests and log lines need their names.

use bytes::{Buf, BufMut};

/// First eight bytes of a server: `NBDMAGIC`.
pub const SERVER_MAGIC: u64 = u64::from_be_bytes(*b"NBDMAGIC");
/// Second eight bytes of a newstyle server and first eight of each option: `IHAVEOPT`.
pub const OPTION_MAGIC: u64 = u64::from_be_bytes(*b"IHAVEOPT");
/// First eight bytes of each reply to an option.
pub const OPTION_REPLY_MAGIC: u64 = 0x0003_e889_0455_65a9;
/// First four bytes of each request.
pub const REQUEST_MAGIC: u32 = 0x2560_9513;
/// First four bytes of each request with an extended header.
pub const EXTENDED_REQUEST_MAGIC: u32 = 0x21e4_1c71;
/// First four bytes of each simple reply.
pub const SIMPLE_REPLY_MAGIC: u32 = 0x6744_6698;
/// First four bytes of each chunk of a structured reply.
pub const STRUCTURED_REPLY_MAGIC: u32 = 0x668e_33ef;
/// First four bytes of each chunk of a reply with extended headers.
pub const EXTENDED_REPLY_MAGIC: u32 = 0x6e8a_278c;

/// Bytes of the server's greeting: two magics and the handshake flags.
pub const GREETING_BYTES: usize = 18;
/// Bytes of the client's flags.
pub const CLIENT_FLAGS_BYTES: usize = 4;
/// Bytes of an option before its payload.
pub const OPTION_HEADER_BYTES: usize = 16;
/// Bytes of a reply to an option before its payload.
pub const OPTION_REPLY_HEADER_BYTES: usize = 20;
/// Zero bytes after the answer to EXPORT_NAME unless both sides said NO_ZEROES.
pub const EXPORT_NAME_PADDING_BYTES: usize = 124;
/// Bytes of a request before its payload.
pub const REQUEST_HEADER_BYTES: usize = 28;
/// Bytes of a request with an extended header before its payload.
pub const EXTENDED_REQUEST_HEADER_BYTES: usize = 32;
/// Bytes of a simple reply before its payload.
pub const SIMPLE_REPLY_BYTES: usize = 16;
/// Bytes of a chunk of a structured reply before its content.
pub const STRUCTURED_REPLY_BYTES: usize = 20;

/// `NBD_FLAG_*` of the server's greeting, 16 bits.
pub mod handshake_flag {
    /// Options other than EXPORT_NAME are answered.
    pub const FIXED_NEWSTYLE: u16 = 1 << 0;
    /// The 124 zero bytes can be left out.
    pub const NO_ZEROES: u16 = 1 << 1;
}

/// `NBD_FLAG_C_*`: the client's answer to the greeting, 32 bits.
pub mod client_flag {
    /// The client knows fixed newstyle.
    pub const FIXED_NEWSTYLE: u32 = 1 << 0;
    /// The client does not want the 124 zero bytes.
    pub const NO_ZEROES: u32 = 1 << 1;
    /// All that exist.
    pub const ALL: u32 = FIXED_NEWSTYLE | NO_ZEROES;
}

/// `NBD_OPT_*`.
#[allow(missing_docs)]
pub mod option {
    pub const EXPORT_NAME: u32 = 1;
    pub const ABORT: u32 = 2;
    pub const LIST: u32 = 3;
    pub const PEEK_EXPORT: u32 = 4;
    pub const STARTTLS: u32 = 5;
    pub const INFO: u32 = 6;
    pub const GO: u32 = 7;
    pub const STRUCTURED_REPLY: u32 = 8;
    pub const LIST_META_CONTEXT: u32 = 9;
    pub const SET_META_CONTEXT: u32 = 10;
    pub const EXTENDED_HEADERS: u32 = 11;
}

/// `NBD_REP_*`: the type of a reply to an option. Bit 31 marks an error.
#[allow(missing_docs)]
pub mod option_reply {
    pub const ACK: u32 = 1;
    pub const SERVER: u32 = 2;
    pub const INFO: u32 = 3;
    pub const META_CONTEXT: u32 = 4;
    pub const ERR_UNSUP: u32 = 0x8000_0001;
    pub const ERR_POLICY: u32 = 0x8000_0002;
    pub const ERR_INVALID: u32 = 0x8000_0003;
    pub const ERR_PLATFORM: u32 = 0x8000_0004;
    pub const ERR_TLS_REQD: u32 = 0x8000_0005;
    pub const ERR_UNKNOWN: u32 = 0x8000_0006;
    pub const ERR_SHUTDOWN: u32 = 0x8000_0007;
    pub const ERR_BLOCK_SIZE_REQD: u32 = 0x8000_0008;
    pub const ERR_TOO_BIG: u32 = 0x8000_0009;
    pub const ERR_EXT_HEADER_REQD: u32 = 0x8000_000a;
}

/// `NBD_INFO_*`: what INFO and GO can tell.
#[allow(missing_docs)]
pub mod info {
    pub const EXPORT: u16 = 0;
    pub const NAME: u16 = 1;
    pub const DESCRIPTION: u16 = 2;
    pub const BLOCK_SIZE: u16 = 3;
}

/// `NBD_FLAG_*` of an export, 16 bits.
#[allow(missing_docs)]
pub mod transmission_flag {
    pub const HAS_FLAGS: u16 = 1 << 0;
    pub const READ_ONLY: u16 = 1 << 1;
    pub const SEND_FLUSH: u16 = 1 << 2;
    pub const SEND_FUA: u16 = 1 << 3;
    pub const ROTATIONAL: u16 = 1 << 4;
    pub const SEND_TRIM: u16 = 1 << 5;
    pub const SEND_WRITE_ZEROES: u16 = 1 << 6;
    pub const SEND_DF: u16 = 1 << 7;
    pub const CAN_MULTI_CONN: u16 = 1 << 8;
    pub const SEND_RESIZE: u16 = 1 << 9;
    pub const SEND_CACHE: u16 = 1 << 10;
    pub const SEND_FAST_ZERO: u16 = 1 << 11;
}

/// `NBD_CMD_*`.
#[allow(missing_docs)]
pub mod command {
    pub const READ: u16 = 0;
    pub const WRITE: u16 = 1;
    pub const DISC: u16 = 2;
    pub const FLUSH: u16 = 3;
    pub const TRIM: u16 = 4;
    pub const CACHE: u16 = 5;
    pub const WRITE_ZEROES: u16 = 6;
    pub const BLOCK_STATUS: u16 = 7;
    pub const RESIZE: u16 = 8;
}

/// `NBD_CMD_FLAG_*`.
#[allow(missing_docs)]
pub mod command_flag {
    pub const FUA: u16 = 1 << 0;
    pub const NO_HOLE: u16 = 1 << 1;
    pub const DF: u16 = 1 << 2;
    pub const REQ_ONE: u16 = 1 << 3;
    pub const FAST_ZERO: u16 = 1 << 4;
    pub const PAYLOAD_LEN: u16 = 1 << 5;
}

/// `NBD_REPLY_TYPE_*`: what a chunk of a structured reply has. Bit 15 marks an error.
#[allow(missing_docs)]
pub mod chunk {
    pub const NONE: u16 = 0;
    pub const OFFSET_DATA: u16 = 1;
    pub const OFFSET_HOLE: u16 = 2;
    pub const BLOCK_STATUS: u16 = 5;
    pub const BLOCK_STATUS_EXT: u16 = 6;
    pub const ERROR: u16 = 0x8001;
    pub const ERROR_OFFSET: u16 = 0x8002;
}

/// `NBD_REPLY_FLAG_*` of a chunk.
pub mod chunk_flag {
    /// The last chunk of its reply.
    pub const DONE: u16 = 1 << 0;
}

/// What `base:allocation` says of an extent.
pub mod allocation {
    /// No space is taken.
    pub const HOLE: u32 = 1 << 0;
    /// Reads as zeroes.
    pub const ZERO: u32 = 1 << 1;
}

/// What `x-tandem:out-of-sync/PEER` and `qemu:dirty-bitmap:PEER` say of an extent.
pub mod bitmap {
    /// Out of sync with the peer.
    pub const DIRTY: u32 = 1 << 0;
}

/// The errors that may stand in a reply: a subset of errno, with fixed numbers.
#[allow(missing_docs)]
pub mod error {
    pub const EPERM: u32 = 1;
    pub const EIO: u32 = 5;
    pub const ENOMEM: u32 = 12;
    pub const EINVAL: u32 = 22;
    pub const ENOSPC: u32 = 28;
    pub const EOVERFLOW: u32 = 75;
    pub const ENOTSUP: u32 = 95;
    pub const ESHUTDOWN: u32 = 108;
}

/// The fixed part of a request: magic 4, flags 2, command 2, cookie 8, offset 8, length 4, or 8 in
/// an extended header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RequestHeader {
    /// [`command_flag`] bits.
    pub flags: u16,
    /// One of [`command`], or anything.
    pub command: u16,
    /// Comes back in the reply; two requests in flight may carry the same.
    pub cookie: u64,
    /// First byte of the range.
    pub offset: u64,
    /// Length of the range in bytes, and of the payload of a WRITE.
    pub len: u64,
}

impl RequestHeader {
    /// # Errors
    /// The four bytes that stand where [`REQUEST_MAGIC`] should.
    pub fn decode(bytes: &[u8; REQUEST_HEADER_BYTES]) -> Result<Self, u32> {
        let mut bytes = &bytes[..];
        Self::decode_fields(&mut bytes, REQUEST_MAGIC, |bytes| u64::from(bytes.get_u32()))
    }

    /// # Errors
    /// The four bytes that stand where [`EXTENDED_REQUEST_MAGIC`] should.
    pub fn decode_extended(bytes: &[u8; EXTENDED_REQUEST_HEADER_BYTES]) -> Result<Self, u32> {
        let mut bytes = &bytes[..];
        Self::decode_fields(&mut bytes, EXTENDED_REQUEST_MAGIC, |bytes| bytes.get_u64())
    }

    /// The bytes as a client sends them; the payload of a WRITE follows.
    ///
    /// # Panics
    /// If the length needs more than 32 bits.
    #[must_use]
    pub fn encode(&self) -> [u8; REQUEST_HEADER_BYTES] {
        let mut header = [0; REQUEST_HEADER_BYTES];
        let mut bytes = &mut header[..];
        self.encode_fields(&mut bytes, REQUEST_MAGIC);
        bytes.put_u32(u32::try_from(self.len).expect("longer ones need an extended header"));
        header
    }

    /// The same as an extended header.
    #[must_use]
    pub fn encode_extended(&self) -> [u8; EXTENDED_REQUEST_HEADER_BYTES] {
        let mut header = [0; EXTENDED_REQUEST_HEADER_BYTES];
        let mut bytes = &mut header[..];
        self.encode_fields(&mut bytes, EXTENDED_REQUEST_MAGIC);
        bytes.put_u64(self.len);
        header
    }

    fn decode_fields(
        bytes: &mut &[u8],
        expected: u32,
        len: impl FnOnce(&mut &[u8]) -> u64,
    ) -> Result<Self, u32> {
        let magic = bytes.get_u32();
        if magic != expected {
            return Err(magic);
        }
        Ok(Self {
            flags: bytes.get_u16(),
            command: bytes.get_u16(),
            cookie: bytes.get_u64(),
            offset: bytes.get_u64(),
            len: len(bytes),
        })
    }

    fn encode_fields(&self, bytes: &mut &mut [u8], magic: u32) {
        bytes.put_u32(magic);
        bytes.put_u16(self.flags);
        bytes.put_u16(self.command);
        bytes.put_u64(self.cookie);
        bytes.put_u64(self.offset);
    }
}

/// A simple reply: magic 4, error 4 (0: success), cookie 8. The data of a READ follows a success.
#[must_use]
pub fn encode_simple_reply(error: u32, cookie: u64) -> [u8; SIMPLE_REPLY_BYTES] {
    let mut header = [0; SIMPLE_REPLY_BYTES];
    let mut bytes = &mut header[..];
    bytes.put_u32(SIMPLE_REPLY_MAGIC);
    bytes.put_u32(error);
    bytes.put_u64(cookie);
    header
}

/// An option as a client sends it.
///
/// # Panics
/// If the payload is longer than a `u32` can say.
#[must_use]
pub fn encode_option(option: u32, payload: &[u8]) -> Vec<u8> {
    let len = u32::try_from(payload.len()).expect("an option's length is 32 bits");
    let mut bytes = Vec::with_capacity(OPTION_HEADER_BYTES + payload.len());
    bytes.put_u64(OPTION_MAGIC);
    bytes.put_u32(option);
    bytes.put_u32(len);
    bytes.put_slice(payload);
    bytes
}

/// The payload of INFO and GO: name and the information asked for.
///
/// # Panics
/// If the name is longer than a `u32` or there are more requests than a `u16` can say.
#[must_use]
pub fn encode_info_payload(name: &[u8], infos: &[u16]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(6 + name.len() + 2 * infos.len());
    bytes.put_u32(u32::try_from(name.len()).expect("a name's length is 32 bits"));
    bytes.put_slice(name);
    bytes.put_u16(u16::try_from(infos.len()).expect("the count of requests is 16 bits"));
    for info in infos {
        bytes.put_u16(*info);
    }
    bytes
}

/// The payload of LIST_META_CONTEXT and SET_META_CONTEXT: the export's name and the queries.
///
/// # Panics
/// If a length or the count is longer than a `u32` can say.
#[must_use]
pub fn encode_context_payload(name: &[u8], queries: &[&[u8]]) -> Vec<u8> {
    let len = |bytes: &[u8]| u32::try_from(bytes.len()).expect("lengths are 32 bits");
    let mut bytes = Vec::new();
    bytes.put_u32(len(name));
    bytes.put_slice(name);
    bytes.put_u32(u32::try_from(queries.len()).expect("the count is 32 bits"));
    for query in queries {
        bytes.put_u32(len(query));
        bytes.put_slice(query);
    }
    bytes
}
