//! Every limit of the NBD server, each with its reason.
//!
//! Two kinds: what one client may make us hold (option and request sizes, things in flight), and
//! what the protocol itself fixes (string lengths, advertised block sizes). Exceeding a limit of
//! the first kind in the handshake ends the connection; in the transmission phase it means "not
//! yet": the machine stops asking for input until something completes.

use std::time::Duration;

/// Time from accept to the end of the handshake, all reads together. The shell keeps it: a client
/// that trickles two bytes a second must not hold a handshake slot for ever.
pub const HANDSHAKE_DEADLINE: Duration = Duration::from_secs(10);

/// Options a client may send. Real clients send fewer than ten; a flood ends the connection.
pub const OPTIONS_MAX: u32 = 64;

/// Payload of one option, in bytes. A longer option is not even skipped: the client is broken or
/// hostile, and reading on would only serve it.
pub const OPTION_BYTES_MAX: u32 = 1 << 20;

/// Payload of an option about contexts, in bytes: what is longer than a valid one is skipped and
/// refused by name, up to a hundred thousand queries; beyond, it is as any other option too long.
pub const CONTEXT_OPTION_BYTES_MAX: u32 = 4 << 20;

/// Queries in one option about contexts: clients ask for one or two, and no export has more.
pub const CONTEXT_QUERIES_MAX: u32 = 64;

/// Peers of a resource whose out-of-sync blocks are told: a resource has 32 nodes at most.
pub const PEERS_MAX: usize = 31;

/// Extents that one BLOCK_STATUS tells of one context. Clients ask on behind the last; the protocol
/// forbids more than 2^20.
pub const EXTENTS_MAX: u32 = 1024;

/// Bytes of one extent in a reply, at most.
pub const EXTENT_BYTES: u32 = 16;

/// Parts without data (TRIM, WRITE_ZEROES, FLUSH) that a connection has handed out and that are not
/// completed. Only lengths of more than 32 bits come near: 2 TiB of them go on at once.
pub const BULK_PARTS_MAX: usize = 1024;

/// Longest string of the protocol (export name, description, error text), in bytes.
pub const STRING_BYTES_MAX: usize = 4096;

/// Longest payload that a valid INFO or GO can have: a name of [`STRING_BYTES_MAX`] and the largest
/// count of information requests. Longer ones are skipped as they arrive, never stored.
pub const OPTION_PARSED_BYTES_MAX: u32 = 4 + 4096 + 2 + 2 * 65_535;

/// Bytes that a handshake holds: the longest option it stores and a generous read on top. The shell
/// feeds only what [`crate::HandshakeOutput::NeedBytes`] asked for, in reads of up to
/// [`HANDSHAKE_FEED_BYTES_MAX`], and never meets this limit.
pub const HANDSHAKE_BUFFER_BYTES_MAX: usize = 256 << 10;

/// Longest slice to give to [`crate::Handshake::handle_bytes`] at once, in bytes.
pub const HANDSHAKE_FEED_BYTES_MAX: usize = 64 << 10;

/// Smallest request we advertise, in bytes: any offset and length is served.
pub const BLOCK_BYTES_MIN: u32 = 1;

/// Preferred request size and alignment we advertise, in bytes: one bit of the dirty bitmap.
pub const BLOCK_BYTES_PREFERRED: u32 = 4096;

/// Longest payload we advertise, in bytes: what clients assume when they do not ask.
pub const BLOCK_BYTES_MAX: u32 = 32 << 20;

/// Longest READ or WRITE we serve, in bytes: twice what we advertise, because clients in the field
/// send requests of about 50 MiB. A longer READ is an error, a longer WRITE ends the connection.
pub const REQUEST_BYTES_MAX: u32 = 64 << 20;

/// Longest READ or WRITE [`crate::Part`], in bytes: bounds a pooled buffer and one disk operation.
pub const PART_BYTES_MAX: u32 = 1 << 20;

/// Where a request may be cut, and what TRIM is rounded inwards to, in bytes. No two parts of a
/// request share such a block, and a part widened to whole blocks still fits [`PART_BYTES_MAX`].
/// TRIM is the same on every node whatever its disk's block size: both replicas drop equal ranges.
pub const CUT_BYTES: u32 = 4096;

/// Data of nothing but zeroes of at least this length are told as a hole where the client
/// understands that. Telling takes four bytes more than the header of data.
pub const HOLE_BYTES_MIN: usize = 512;

/// What one connection may have in flight in the transmission phase.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Requests from their header to the moment their reply is polled; at least 1.
    pub requests_in_flight_max: usize,
    /// Bytes of WRITE payload not completed plus READ data not polled. A request that is larger
    /// than the whole limit is admitted when no other bytes are in flight.
    pub bytes_in_flight_max: u64,
}

impl Default for Limits {
    /// 256 requests: a Linux client has 128 tags per connection, other clients go somewhat deeper.
    /// 64 MiB: one request of the largest size, or the 64 largest parts.
    fn default() -> Self {
        Self { requests_in_flight_max: 256, bytes_in_flight_max: u64::from(REQUEST_BYTES_MAX) }
    }
}

// The two conversions that this crate makes everywhere cannot lose bits.
const _: () = assert!(usize::BITS >= u32::BITS && usize::BITS <= u64::BITS);
const _: () = assert!(PART_BYTES_MAX.is_multiple_of(CUT_BYTES) && CUT_BYTES.is_power_of_two());
const _: () = assert!(
    OPTION_PARSED_BYTES_MAX as usize + HANDSHAKE_FEED_BYTES_MAX + 16 <= HANDSHAKE_BUFFER_BYTES_MAX
);
