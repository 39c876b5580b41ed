//! An established link to a peer: packets in, packets out, over the ring.
//!
//! Owns the socket and the two directions' codecs. Outgoing packets wait in two lanes; each send
//! takes the ack lane first, then the data lane, whole frames only and up to a bound, so that acks
//! are never far behind bulk. Incoming payload goes into pooled buffers of its own; while there is
//! none, the link is not read. Headers, and so acks, need none.

use std::collections::VecDeque;

use bytes::{BufMut, Bytes, BytesMut};
use tandem_replica::LinkSession;
use tandem_replica::wire::limits::FRAME_HEADER_BYTES;
use tandem_replica::wire::{Decoder, Encoder, FrameHeader, Lane, NodeId, Packet};
use tandem_ring::{Buffer, Completion};

use crate::io::Io;
use crate::limits;
use crate::stream::{Received, Stream};

/// One link.
#[derive(Debug)]
pub(crate) struct Link {
    /// The resource it belongs to, as a place in the shard's table.
    pub(crate) resource: usize,
    pub(crate) peer: NodeId,
    pub(crate) session: LinkSession,
    stream: Stream,
    decoder: Decoder,
    encoder: Encoder,
    /// The frame whose payload is arriving.
    arriving: Option<Arriving>,
    acks: VecDeque<Packet>,
    data: VecDeque<Packet>,
    headers: BytesMut,
    /// Nothing is received any more and nothing new is sent.
    is_parting: bool,
}

/// What [`Link::next_packet`] found.
#[derive(Debug)]
pub(crate) enum Next {
    Packet(Packet),
    /// Nothing complete; a receive is under way.
    Waiting,
    /// No buffer for payload: ask again when some may have come back.
    Stalled,
    /// What the peer sent makes no sense.
    Error(String),
}

#[derive(Debug)]
struct Arriving {
    header: FrameHeader,
    filled: usize,
    /// Taken when the first byte is moved; away while a receive fills it.
    buffer: Option<Buffer>,
}

impl Link {
    /// `key` is the session key that the greetings agreed on.
    pub(crate) fn new(
        resource: usize,
        peer: NodeId,
        session: LinkSession,
        stream: Stream,
        key: u32,
    ) -> Self {
        Self {
            resource,
            peer,
            session,
            stream,
            decoder: Decoder::new(key),
            encoder: Encoder::new(key),
            arriving: None,
            acks: VecDeque::new(),
            data: VecDeque::new(),
            headers: BytesMut::new(),
            is_parting: false,
        }
    }

    /// Queues a packet; [`flush`](Self::flush) sends it.
    pub(crate) fn send(&mut self, packet: Packet) {
        if self.is_parting {
            return;
        }
        match packet.lane() {
            Lane::Ack => self.acks.push_back(packet),
            Lane::Data => self.data.push_back(packet),
        }
    }

    /// Starts one gathered send of what is queued, unless one is under way.
    pub(crate) fn flush(&mut self, io: &mut Io) {
        if !self.stream.may_send() {
            return;
        }
        let (mut bytes, mut pieces) = self.stream.queued();
        while bytes < limits::SEND_BYTES_MAX && pieces + 2 < limits::SEND_PIECES_MAX {
            let Some(packet) = self.acks.pop_front().or_else(|| self.data.pop_front()) else {
                break;
            };
            let frame = self.encoder.encode(&packet);
            self.headers.put_slice(&frame.header);
            bytes += frame.header.len();
            if let Some(payload) = frame.payload {
                bytes += payload.len();
                pieces += 2;
                self.stream.push(self.headers.split().freeze());
                self.stream.push(payload);
            }
        }
        if !self.headers.is_empty() {
            self.stream.push(self.headers.split().freeze());
        }
        self.stream.flush(io);
    }

    /// A send has completed.
    pub(crate) fn handle_sent(&mut self, completion: Completion) -> Result<(), String> {
        self.stream.handle_sent(completion).map_err(|error| format!("send: {error}"))
    }

    /// A receive has completed: bytes came, or the link is over.
    pub(crate) fn handle_received(&mut self, completion: Completion) -> Result<(), String> {
        match self.stream.handle_received(completion) {
            Received::Stream => Ok(()),
            Received::Direct { buffer, count } => {
                let arriving = self.arriving.as_mut().expect("a direct receive is for a payload");
                arriving.filled += count;
                arriving.buffer = Some(buffer);
                Ok(())
            }
            Received::End(None) => Err("closed by the peer".into()),
            Received::End(Some(error)) => Err(format!("receive: {error}")),
        }
    }

    /// The next packet of what was received; starts a receive where more bytes are needed.
    pub(crate) fn next_packet(&mut self, io: &mut Io) -> Next {
        loop {
            if self.stream.is_receiving() || self.stream.is_shut() {
                return Next::Waiting;
            }
            if self.arriving.is_none() {
                match self.decoder.next_header(self.stream.bytes()) {
                    Err(error) => return Next::Error(error.to_string()),
                    Ok(None) => {
                        self.stream.receive(io);
                        return Next::Waiting;
                    }
                    Ok(Some(header)) => {
                        self.stream.consume(FRAME_HEADER_BYTES);
                        self.arriving = Some(Arriving { header, filled: 0, buffer: None });
                    }
                }
            }
            if !self.receive_payload(io) {
                return Next::Stalled;
            }
            let len = self.arriving.as_ref().map(|it| it.header.payload_len() - it.filled);
            if let (Some(0), Some(arriving)) = (len, self.arriving.take_if(|_| len == Some(0))) {
                let payload = arriving.buffer.map_or_else(Bytes::new, Buffer::freeze);
                return match self.decoder.finish(arriving.header, payload) {
                    Ok(packet) => Next::Packet(packet),
                    Err(error) => Next::Error(error.to_string()),
                };
            }
        }
    }

    /// Moves payload into its buffer, or receives it there; `false` if there is no buffer now.
    fn receive_payload(&mut self, io: &mut Io) -> bool {
        let arriving = self.arriving.as_mut().expect("the caller has just found a header");
        let len = arriving.header.payload_len();
        let missing = len - arriving.filled;
        if missing == 0 {
            return true;
        }
        if arriving.buffer.is_none() {
            arriving.buffer = io.take_payload(len);
        }
        let Some(mut buffer) = arriving.buffer.take() else { return false };
        let at = arriving.filled;
        let count = missing.min(self.stream.bytes().len());
        if count == 0 && missing >= limits::DIRECT_BYTES_MIN && self.stream.may_receive_directly() {
            // Not until it is full: any bytes are a sign of life.
            self.stream.receive_into(io, buffer, at, false);
            return true;
        }
        buffer[at..at + count].copy_from_slice(&self.stream.bytes()[..count]);
        self.stream.consume(count);
        arriving.filled += count;
        arriving.buffer = Some(buffer);
        if count < missing {
            let is_direct = missing - count >= limits::DIRECT_BYTES_MIN;
            if !(is_direct && self.stream.may_receive_directly()) {
                self.stream.receive(io);
            }
        }
        true
    }

    /// No more packets are taken in or queued; `false` where this was so before.
    pub(crate) fn begin_parting(&mut self) -> bool {
        !std::mem::replace(&mut self.is_parting, true)
    }

    /// Ends the link at once; what is queued is lost.
    pub(crate) fn shut_down(&mut self, io: &mut Io) {
        self.acks.clear();
        self.data.clear();
        self.stream.shut_down(io);
    }

    /// Whether nothing is queued or under way to be sent.
    pub(crate) fn is_sent(&self) -> bool {
        self.acks.is_empty() && self.data.is_empty() && self.stream.is_sent()
    }

    /// Whether the link is over for the core.
    pub(crate) fn is_parting(&self) -> bool {
        self.is_parting
    }

    /// Whether it was shut down.
    pub(crate) fn is_shut(&self) -> bool {
        self.stream.is_shut()
    }

    /// Whether nothing is in flight on its socket: a link that was shut down may be dropped then.
    pub(crate) fn is_idle(&self) -> bool {
        self.stream.is_idle()
    }
}

#[cfg(test)]
mod tests;
