//! Every limit of the peer link, with its reason. Both nodes must agree on them: they are part of
//! the protocol and drawn in docs/PROTOCOL.md.

/// Bytes of the fixed header that every frame starts with.
pub const FRAME_HEADER_BYTES: usize = 48;

/// Longest block data in one frame: one pooled buffer, and the longest request the core takes. A
/// longer one would hold up the acks behind it, since frames do not interleave.
pub const DATA_BYTES_MAX: u32 = 1 << 20;

/// Bytes of the digest of one block: 128 bits, so that equal digests mean equal blocks.
pub const DIGEST_BYTES: usize = 16;

/// Longest list of digests in one frame: one for each block of 4 KiB of the longest range.
pub const DIGESTS_BYTES_MAX: u32 = DATA_BYTES_MAX / 4096 * 16;

/// Longest piece of a bitmap in one frame: small enough that acks between two pieces stay prompt.
pub const BITMAP_BYTES_MAX: u32 = 64 << 10;

/// Longest payload of any frame; a receiver never needs more room for one.
pub const PAYLOAD_BYTES_MAX: u32 = DATA_BYTES_MAX;

/// Bytes a `StreamDecoder` holds: one frame of the longest kind, so that any frame can complete.
pub const STREAM_BYTES_MAX: usize = FRAME_HEADER_BYTES + (1 << 20);

/// Bytes of the first message in each direction, greeting or refusal: all that an unknown peer can
/// make a node hold.
pub const HELLO_BYTES: usize = 256;

/// Longest resource name, as in DRBD.
pub const RESOURCE_NAME_BYTES_MAX: usize = 128;

/// Longest text of a refusal: two lines on a terminal.
pub const REJECT_TEXT_BYTES_MAX: usize = 160;

/// Largest volume number; one more is kept free for "none".
pub const VOLUME_NUMBER_MAX: u16 = u16::MAX - 1;

const _: () = assert!(STREAM_BYTES_MAX - FRAME_HEADER_BYTES == 1 << 20);
const _: () = assert!(PAYLOAD_BYTES_MAX == 1 << 20 && BITMAP_BYTES_MAX <= PAYLOAD_BYTES_MAX);
