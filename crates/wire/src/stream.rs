//! A decoder that owns its buffer: bytes in, packets out.
//!
//! For the simulator and for tests, where payloads may lie anywhere. It holds at most one frame of
//! the longest kind, and makes room for a payload only once its header has passed every check.

use bytes::{Buf, Bytes, BytesMut};

use crate::frame::{Decoder, FrameError};
use crate::limits::{FRAME_HEADER_BYTES, STREAM_BYTES_MAX};
use crate::packet::Packet;

/// Takes bytes as they come and gives the packets in them.
///
/// ```
/// # use tandem_wire::{Encoder, Packet, StreamDecoder};
/// let frame = Encoder::new(7).encode(&Packet::Ping);
/// let mut decoder = StreamDecoder::new(7);
/// let mut received: &[u8] = &frame.header;
/// while !received.is_empty() {
///     let taken = decoder.push(received);
///     received = &received[taken..];
///     while let Some(packet) = decoder.pop()? {
///         assert_eq!(packet, Packet::Ping);
///     }
/// }
/// # Ok::<(), tandem_wire::FrameError>(())
/// ```
#[derive(Debug)]
pub struct StreamDecoder {
    decoder: Decoder,
    buffer: BytesMut,
}

impl StreamDecoder {
    /// For a session that starts; the key is `Link::session_key`.
    pub fn new(session_key: u32) -> Self {
        Self { decoder: Decoder::new(session_key), buffer: BytesMut::new() }
    }

    /// Takes as many of `bytes` as fit and says how many. Once all that can be popped has been, at
    /// least one byte fits.
    pub fn push(&mut self, bytes: &[u8]) -> usize {
        let taken = bytes.len().min(STREAM_BYTES_MAX - self.buffer.len());
        self.buffer.extend_from_slice(&bytes[..taken]);
        taken
    }

    /// The next packet; `None` until all of it is there.
    ///
    /// # Errors
    /// What is wrong with the stream; the same from then on.
    pub fn pop(&mut self) -> Result<Option<Packet>, FrameError> {
        let Some(header) = self.decoder.next_header(&self.buffer)? else {
            return Ok(None);
        };
        let frame_len = FRAME_HEADER_BYTES + header.payload_len();
        if self.buffer.len() < frame_len {
            return Ok(None);
        }
        // A copy, so that a small payload that is kept does not keep the whole buffer.
        let payload = Bytes::copy_from_slice(&self.buffer[FRAME_HEADER_BYTES..frame_len]);
        self.buffer.advance(frame_len);
        self.decoder.finish(header, payload).map(Some)
    }

    /// Bytes of a frame that has not come in whole; 0 where a stream may end without loss.
    pub fn pending(&self) -> usize {
        self.buffer.len()
    }
}
