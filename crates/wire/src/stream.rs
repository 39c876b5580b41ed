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
    /// The payload of the frame whose header is all that the buffer holds, if it came in one piece.
    payload: Option<Bytes>,
}

impl StreamDecoder {
    /// For a session that starts; the key is `Link::session_key`.
    pub fn new(session_key: u32) -> Self {
        Self { decoder: Decoder::new(session_key), buffer: BytesMut::new(), payload: None }
    }

    /// Takes as many of `bytes` as fit and says how many. Once all that can be popped has been, at
    /// least one byte fits.
    ///
    /// # Panics
    /// Where a whole frame waits to be popped that `push_from` has completed.
    pub fn push(&mut self, bytes: &[u8]) -> usize {
        assert!(self.payload.is_none(), "frames are popped before more is pushed");
        let taken = bytes.len().min(STREAM_BYTES_MAX - self.buffer.len());
        self.buffer.extend_from_slice(&bytes[..taken]);
        taken
    }

    /// Like `push`, from bytes that can be shared: a payload that lies in them from its first byte
    /// to its last becomes the packet's without a copy. Takes one byte at least, under the same
    /// condition.
    ///
    /// # Panics
    /// As `push` does.
    pub fn push_from(&mut self, bytes: &mut Bytes) {
        if self.buffer.len() == FRAME_HEADER_BYTES
            && let Ok(Some(header)) = self.decoder.next_header(&self.buffer)
            && (1..=bytes.len()).contains(&header.payload_len())
        {
            self.payload = Some(bytes.split_to(header.payload_len()));
            return;
        }
        let taken = self.push(bytes);
        bytes.advance(taken);
    }

    /// The next packet; `None` until all of it is there.
    ///
    /// # Errors
    /// What is wrong with the stream; the same from then on.
    pub fn pop(&mut self) -> Result<Option<Packet>, FrameError> {
        let Some(header) = self.decoder.next_header(&self.buffer)? else {
            return Ok(None);
        };
        if let Some(payload) = self.payload.take() {
            self.buffer.advance(FRAME_HEADER_BYTES);
            return self.decoder.finish(header, payload).map(Some);
        }
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
        self.buffer.len() + self.payload.as_ref().map_or(0, Bytes::len)
    }
}
