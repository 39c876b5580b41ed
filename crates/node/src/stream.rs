//! One connected socket on the ring: a receive buffer, a queue to send, one operation each way.
//!
//! Owned by a link or a client, which decides when to receive and what to send. Received bytes are
//! looked at by [`bytes`](Stream::bytes) and used up by [`consume`](Stream::consume); payload that
//! is large is received straight into its own buffer by [`receive_into`](Stream::receive_into).
//! All bytes pass the [`Transform`]. A stream may be dropped when it [is idle](Stream::is_idle)
//! only: before that, completions under its tokens are still to come.

use std::collections::VecDeque;
use std::io;
use std::os::fd::OwnedFd;

use bytes::{Buf, Bytes};
use tandem_ring::{Buffer, Completion, Op, SocketId};

use crate::io::Io;
use crate::token::Token;
use crate::transform::Transform;

/// A connected socket.
#[derive(Debug)]
pub(crate) struct Stream {
    socket: SocketId,
    receive_token: Token,
    send_token: Token,
    transform: Transform,
    /// `None` while a receive into it is in flight.
    buffer: Option<Buffer>,
    /// What of the buffer was received and not consumed.
    start: usize,
    end: usize,
    is_receiving: bool,
    is_sending: bool,
    is_shut: bool,
    /// Pushed, and not taken into a send.
    queue: VecDeque<Bytes>,
    queue_bytes: usize,
    /// Taken into a send that did not take all of it.
    wire: VecDeque<Bytes>,
}

/// What a completed receive brought.
#[derive(Debug)]
pub(crate) enum Received {
    /// More bytes in the stream buffer.
    Stream,
    /// More bytes in a payload buffer.
    Direct {
        /// The buffer.
        buffer: Buffer,
        /// How many.
        count: usize,
    },
    /// The end: `None` if the other side closed.
    End(Option<io::Error>),
}

/// Why a stream cannot be made.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StreamError {
    #[error("too many connections")]
    TooMany,
    #[error("too many bytes before the connection was handed over")]
    TooMuchRest,
}

impl Stream {
    /// Takes over a connected socket, of which `rest` was received already.
    pub(crate) fn new(
        io: &mut Io,
        socket: OwnedFd,
        rest: &[u8],
        receive_token: Token,
        send_token: Token,
    ) -> Result<Self, StreamError> {
        let mut buffer = io.take_stream().ok_or(StreamError::TooMany)?;
        buffer.get_mut(..rest.len()).ok_or(StreamError::TooMuchRest)?.copy_from_slice(rest);
        let socket = io.register_socket(socket).map_err(|_| StreamError::TooMany)?;
        Ok(Self {
            socket,
            receive_token,
            send_token,
            transform: Transform::Plain,
            buffer: Some(buffer),
            start: 0,
            end: rest.len(),
            is_receiving: false,
            is_sending: false,
            is_shut: false,
            queue: VecDeque::new(),
            queue_bytes: 0,
            wire: VecDeque::new(),
        })
    }

    /// Uses up the first `count` of [`bytes`](Self::bytes).
    pub(crate) fn consume(&mut self, count: usize) {
        assert!(count <= self.end - self.start, "no more is consumed than was received");
        self.start += count;
    }

    /// Receives more bytes into the stream buffer, unless a receive is under way.
    pub(crate) fn receive(&mut self, io: &mut Io) {
        if self.is_receiving || self.is_shut {
            return;
        }
        let mut buffer = self.buffer.take().expect("the buffer is here between receives");
        buffer.copy_within(self.start..self.end, 0);
        (self.start, self.end) = (0, self.end - self.start);
        assert!(self.end < buffer.len(), "no header is as long as the stream buffer");
        self.is_receiving = true;
        let (socket, filled) = (self.socket, self.end);
        io.submit(self.receive_token, Op::Recv { socket, buffer, filled, wait_all: false });
    }

    /// Receives straight into `buffer` behind its first `filled` bytes; with `wait_all` until it is
    /// full. No receive is under way, no byte is unconsumed, and the transform is transparent.
    pub(crate) fn receive_into(
        &mut self,
        io: &mut Io,
        buffer: Buffer,
        filled: usize,
        wait_all: bool,
    ) {
        assert!(!self.is_receiving && self.start == self.end && self.may_receive_directly());
        self.is_receiving = true;
        let socket = self.socket;
        io.submit(self.receive_token, Op::Recv { socket, buffer, filled, wait_all });
    }

    /// A receive has completed.
    pub(crate) fn handle_received(&mut self, completion: Completion) -> Received {
        self.is_receiving = false;
        let Op::Recv { mut buffer, filled, .. } = completion.op else {
            unreachable!("the receive token is given to receives only");
        };
        let is_direct = self.buffer.is_some();
        let count = match completion.result {
            Ok(count) => usize::try_from(count).expect("a u32 fits"),
            Err(error) => {
                self.buffer.get_or_insert(buffer);
                return Received::End(Some(error));
            }
        };
        if is_direct {
            return match count {
                0 => Received::End(None),
                _ => Received::Direct { buffer, count },
            };
        }
        self.end += self.transform.open(&mut buffer[filled..filled + count]);
        self.buffer = Some(buffer);
        if count == 0 { Received::End(None) } else { Received::Stream }
    }

    /// Queues bytes to be sent behind all others.
    pub(crate) fn push(&mut self, piece: Bytes) {
        self.queue_bytes += piece.len();
        if !piece.is_empty() {
            self.queue.push_back(piece);
        }
    }

    /// Starts a send of what is queued, unless one is under way.
    pub(crate) fn flush(&mut self, io: &mut Io) {
        if self.is_sending || self.is_shut {
            return;
        }
        self.transform.seal(&mut self.queue, &mut self.wire);
        self.queue_bytes = 0;
        if self.wire.is_empty() {
            return;
        }
        self.is_sending = true;
        let (socket, pieces) = (self.socket, std::mem::take(&mut self.wire));
        io.submit(self.send_token, Op::Send { socket, pieces });
    }

    /// A send has completed, perhaps in part.
    pub(crate) fn handle_sent(&mut self, completion: Completion) -> io::Result<()> {
        self.is_sending = false;
        let Op::Send { mut pieces, .. } = completion.op else {
            unreachable!("the send token is given to sends only");
        };
        let mut sent = usize::try_from(completion.result?).expect("a u32 fits");
        if sent == 0 {
            return Err(io::ErrorKind::WriteZero.into());
        }
        while let Some(piece) = pieces.front_mut() {
            if piece.len() > sent {
                piece.advance(sent);
                break;
            }
            sent -= piece.len();
            pieces.pop_front();
        }
        self.wire = pieces;
        Ok(())
    }

    /// Ends both directions; operations under way complete soon, nothing new is started.
    pub(crate) fn shut_down(&mut self, io: &mut Io) {
        if !self.is_shut {
            self.is_shut = true;
            self.queue.clear();
            self.wire.clear();
            io.shutdown_socket(self.socket);
            io.unregister_socket(self.socket);
        }
    }

    /// What was received and not consumed; nothing while a receive is under way.
    pub(crate) fn bytes(&self) -> &[u8] {
        self.buffer.as_ref().map_or(&[], |buffer| &buffer[self.start..self.end])
    }

    /// Whether payload may be received into its own buffer.
    pub(crate) fn may_receive_directly(&self) -> bool {
        self.transform.is_transparent()
    }

    /// Whether a receive is under way.
    pub(crate) fn is_receiving(&self) -> bool {
        self.is_receiving
    }

    /// Whether the next [`flush`](Self::flush) could start a send of something new.
    pub(crate) fn may_send(&self) -> bool {
        !self.is_sending && !self.is_shut
    }

    /// Bytes and pieces that the next send has already been given.
    pub(crate) fn queued(&self) -> (usize, usize) {
        let wire: usize = self.wire.iter().map(Bytes::len).sum();
        (wire + self.queue_bytes, self.wire.len() + self.queue.len())
    }

    /// Whether nothing is queued or under way to be sent.
    pub(crate) fn is_sent(&self) -> bool {
        !self.is_sending && self.wire.is_empty() && self.queue.is_empty()
    }

    /// Whether it was shut down.
    pub(crate) fn is_shut(&self) -> bool {
        self.is_shut
    }

    /// Whether the other side has ended both directions, however much of it is not received yet.
    pub(crate) fn is_hung_up(&self, io: &Io) -> bool {
        io.is_hung_up(self.socket)
    }

    /// Whether no operation is under way.
    pub(crate) fn is_idle(&self) -> bool {
        !self.is_receiving && !self.is_sending
    }
}
