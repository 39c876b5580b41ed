//! An NBD client in its transmission phase: requests in, replies out, over the ring.
//!
//! Owns the client's socket, its protocol machine and the buffers of writes that are arriving.
//! [`Client::pump`] turns what was received into requests of the core, as far as buffers and the
//! shard's [`Budget`] allow; [`Client::reply`] takes the core's answers and
//! [`Client::flush`] sends them. A client that does not read its replies is not read from either.
//! When it is gone, what it sent in full goes on, or is forgotten ([`OnceGone`]), and replies to it
//! go nowhere.

use std::mem;

use bytes::{BufMut, Bytes, BytesMut};
use tandem_nbd::{
    Body, ContextKind, Extent, Outcome, Part, PartId, PartOp, ReplyError, Step, Transmission,
};
use tandem_replica::wire::{ByteRange, VolumeNumber};
use tandem_replica::{ClientId, Cookie, Instant, Request, RequestError, RequestOp};
use tandem_ring::{Buffer, Completion};

use crate::budget::{Budget, charge_of};
use crate::io::Io;
use crate::limits;
use crate::mail::OnceGone;
use crate::pace::{Pace, Turn};
use crate::stream::{Received, Stream};

/// One client.
#[derive(Debug)]
pub(crate) struct Client {
    /// Its name towards the core.
    pub(crate) id: ClientId,
    /// Its place in the table of clients.
    key: usize,
    /// The resource that it uses, as a place in the shard's table.
    pub(crate) resource: usize,
    volume: VolumeNumber,
    stream: Stream,
    transmission: Transmission,
    once_gone: OnceGone,
    /// What is known of a part beside the machine, by its number.
    parts: Vec<PartEntry>,
    /// What is asked of extents and was not handed out.
    questions: Vec<Question>,
    /// The part whose buffer is away with a receive.
    receiving: Option<usize>,
    /// Bytes of the shard's budget that it holds.
    charged: u64,
    headers: BytesMut,
    /// Whether it said goodbye, or what it sends makes no sense: it is read no more.
    is_leaving: bool,
    /// How it goes on with the request that is arriving.
    request_pace: Pace,
    /// How it goes on with what would free its buffers.
    buffer_pace: Pace,
    /// Bytes since its pace was last noted.
    received: usize,
    sent: usize,
    /// Whether a request has arrived in full since then.
    has_finished: bool,
}

/// What a client wants to know of a range.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Question {
    pub(crate) client: ClientId,
    pub(crate) cookie: Cookie,
    pub(crate) kind: ContextKind,
    pub(crate) range: ByteRange,
    /// Only of the first extent.
    pub(crate) one: bool,
}

/// What became of a client.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Progress {
    /// It waits for the client or for completions.
    Waiting,
    /// It waits for buffers: pump again when some may have come back.
    Stalled,
    /// It is over: close it.
    Ended(String),
}

#[derive(Debug, Default)]
struct PartEntry {
    /// Set while the core has it.
    id: Option<PartId>,
    /// The payload of a write that is arriving.
    buffer: Option<Buffer>,
    charge: u64,
}

impl Client {
    pub(crate) fn new(
        id: ClientId,
        key: usize,
        resource: usize,
        volume: VolumeNumber,
        stream: Stream,
        transmission: Transmission,
        once_gone: OnceGone,
    ) -> Self {
        Self {
            id,
            key,
            resource,
            volume,
            stream,
            transmission,
            once_gone,
            parts: Vec::new(),
            questions: Vec::new(),
            receiving: None,
            charged: 0,
            headers: BytesMut::new(),
            is_leaving: false,
            request_pace: Pace::default(),
            buffer_pace: Pace::default(),
            received: 0,
            sent: 0,
            has_finished: false,
        }
    }

    /// The export has grown.
    pub(crate) fn grow(&mut self, size_bytes: u64) {
        self.transmission.grow(size_bytes);
    }

    /// A receive has completed.
    pub(crate) fn handle_received(&mut self, completion: Completion) -> Result<(), String> {
        let part = self.receiving.take();
        self.received += moved(&completion);
        match self.stream.handle_received(completion) {
            Received::Stream => Ok(()),
            Received::Direct { .. } if self.stream.is_shut() => Ok(()),
            Received::Direct { buffer, count } => {
                let part = part.expect("a direct receive belongs to a part");
                self.parts[part].buffer = Some(buffer);
                self.transmission.filled(u32::try_from(count).expect("a part is short"));
                Ok(())
            }
            Received::End(None) => Err("client closed the connection".into()),
            Received::End(Some(error)) => Err(format!("receive: {error}")),
        }
    }

    /// A send has completed.
    pub(crate) fn handle_sent(&mut self, completion: Completion) -> Result<(), String> {
        self.sent += moved(&completion);
        self.stream.handle_sent(completion).map_err(|error| format!("send: {error}"))
    }

    /// Turns what was received into requests, and receives more when all of it is used up.
    pub(crate) fn pump(
        &mut self,
        io: &mut Io,
        budget: &mut Budget,
        requests: &mut Vec<Request>,
    ) -> Progress {
        // Looked at before anything is taken: who gives a connection up does so before he asks
        // again, and what he asks again is received after this.
        if self.once_gone == OnceGone::Forget && self.takes_input() && self.stream.is_hung_up(io) {
            return Progress::Ended("the kernel has given the connection up".into());
        }
        while self.takes_input() {
            if !budget.admits(self.key, self.charged) {
                return Progress::Stalled;
            }
            let (consumed, step) = self.transmission.next(self.stream.bytes());
            self.stream.consume(consumed);
            match step {
                Step::NeedBytes => self.stream.receive(io),
                Step::Full => return Progress::Waiting,
                Step::Part(part) => {
                    self.has_finished = true;
                    requests.extend(self.request(budget, part));
                }
                Step::Fill { part, at, len } => {
                    if !self.fill(io, budget, part, at, len) {
                        return Progress::Stalled;
                    }
                }
                Step::Stop(reason) if reason.owes_replies() => self.is_leaving = true,
                Step::Stop(reason) => return Progress::Ended(reason.to_string()),
            }
        }
        let is_done = self.transmission.in_flight() == 0 && self.stream.is_sent();
        if self.is_leaving && is_done {
            return Progress::Ended("client disconnected".into());
        }
        Progress::Waiting
    }

    /// Whether there may be something to take of what was received.
    fn takes_input(&self) -> bool {
        !self.stream.is_receiving() && self.transmission.wants_input() && !self.is_leaving
    }

    /// Answers a request. The caller flushes when its turn is over.
    pub(crate) fn reply(
        &mut self,
        budget: &mut Budget,
        cookie: Cookie,
        result: Result<Option<Bytes>, RequestError>,
    ) {
        let outcome = result.map(|data| data.map_or(Outcome::Done, Outcome::Data));
        self.complete(budget, cookie, outcome.map_err(reply_error));
    }

    /// Answers a question. The caller flushes when its turn is over.
    pub(crate) fn tell(&mut self, budget: &mut Budget, cookie: Cookie, extents: Vec<Extent>) {
        self.complete(budget, cookie, Ok(Outcome::Extents(extents)));
    }

    /// What was asked since the last call.
    pub(crate) fn take_questions(&mut self) -> Vec<Question> {
        mem::take(&mut self.questions)
    }

    /// The name of a peer that a context is about.
    pub(crate) fn peer_name(&self, peer: usize) -> &str {
        &self.transmission.export().peers[peer]
    }

    fn complete(
        &mut self,
        budget: &mut Budget,
        cookie: Cookie,
        result: Result<Outcome, ReplyError>,
    ) {
        let part = usize::try_from(cookie.0).expect("a cookie is the number of a part");
        let entry = &mut self.parts[part];
        let id = entry.id.take().expect("a request is answered once");
        let charge = mem::take(&mut entry.charge);
        // The data of a read are held until its reply is sent, see `flush`.
        let is_kept = self.transmission.complete(id, result);
        if !is_kept {
            self.release(budget, charge);
        }
    }

    /// Sends the replies that are ready, unless a send is under way.
    pub(crate) fn flush(&mut self, io: &mut Io, budget: &mut Budget) {
        while self.stream.may_send() {
            let (bytes, pieces) = self.stream.queued();
            let has_room = bytes + self.headers.len() < limits::SEND_BYTES_MAX
                && pieces + 1 < limits::SEND_PIECES_MAX;
            let Some(reply) = has_room.then(|| self.transmission.poll_reply()).flatten() else {
                break;
            };
            budget.end_favour(self.key);
            for piece in reply {
                self.headers.put_slice(piece.head());
                match piece.body {
                    Body::Empty => {}
                    Body::Text(_) | Body::Extents(_) => {
                        self.headers.put_slice(piece.body.as_slice());
                    }
                    Body::Data(data) => {
                        self.release(budget, charge_of(data.len()));
                        self.stream.push(self.headers.split().freeze());
                        self.stream.push(data);
                    }
                }
            }
        }
        if !self.headers.is_empty() {
            self.stream.push(self.headers.split().freeze());
        }
        self.stream.flush(io);
        if self.transmission.in_flight() == 0 {
            // What a request that failed in part had read was dropped without a reply.
            let rest = self.charged;
            self.release(budget, rest);
        }
    }

    /// Ends the connection. Writes that arrived in full are appended to `requests`, if they go on.
    pub(crate) fn close(
        &mut self,
        io: &mut Io,
        budget: &mut Budget,
        requests: Option<&mut Vec<Request>>,
    ) {
        self.stream.shut_down(io);
        self.transmission.hang_up();
        let mut requests = requests.filter(|_| self.once_gone == OnceGone::Finish);
        while let (_, Step::Part(part)) = self.transmission.next(&[]) {
            let request = self.request(budget, part);
            if let Some(requests) = requests.as_deref_mut() {
                requests.extend(request);
            }
        }
        self.questions.clear();
        let charged = self.charged;
        self.release(budget, charged);
        budget.end_favour(self.key);
        self.is_leaving = true;
    }

    /// Takes note of what the client has done since the last call, and of what it has to do now.
    pub(crate) fn note_pace(&mut self, now: Instant) {
        let (received, sent) = (mem::take(&mut self.received), mem::take(&mut self.sent));
        if mem::take(&mut self.has_finished) {
            self.request_pace = Pace::default();
        }
        let of_request = if !self.transmission.is_mid_request() {
            Turn::Nobody
        } else if self.stream.is_receiving() {
            Turn::Client
        } else {
            Turn::Ours
        };
        self.request_pace.note(now, received, of_request);
        // Only the client can free its buffers, by reading or by sending on.
        let is_awaited = of_request == Turn::Client || !self.stream.is_sent();
        let is_holding = is_awaited && self.charged > 0;
        let of_buffers = if is_holding { Turn::Client } else { Turn::Nobody };
        self.buffer_pace.note(now, received + sent, of_buffers);
    }

    /// Whether it keeps such buffers for too long.
    pub(crate) fn is_stuck(&self, now: Instant) -> bool {
        self.buffer_pace.debt(now) >= limits::CLIENT_STALL_MAX
    }

    /// Whether it leaves a request in the middle, or is far too slow with the rest of it.
    pub(crate) fn is_abandoned(&self, now: Instant) -> bool {
        self.request_pace.debt(now) >= limits::CLIENT_REQUEST_PATIENCE
    }

    /// Whether it was closed.
    pub(crate) fn is_closed(&self) -> bool {
        self.stream.is_shut()
    }

    /// Whether nothing is in flight on its socket: a closed client may be dropped then.
    pub(crate) fn is_idle(&self) -> bool {
        self.stream.is_idle()
    }

    /// Makes a part a request of the core, or a question.
    fn request(&mut self, budget: &mut Budget, part: Part) -> Option<Request> {
        let Part { id, op, offset, len, fua } = part;
        let range = ByteRange::new(offset, len);
        let cookie = Cookie(u64::try_from(id.index()).expect("a usize fits"));
        let entry = entry(&mut self.parts, id.index());
        entry.id = Some(id);
        let op = match op {
            PartOp::Extents { context, one } => {
                let (client, kind) = (self.id, context.kind());
                self.questions.push(Question { client, cookie, kind, range, one });
                return None;
            }
            PartOp::Read => {
                entry.charge = charge_of(index(len));
                self.charged += entry.charge;
                budget.charge(entry.charge);
                RequestOp::Read(range)
            }
            PartOp::Write => {
                let buffer = entry.buffer.take().expect("a write part was filled before");
                RequestOp::Write { offset, data: buffer.freeze(), fua }
            }
            PartOp::Zeroes { no_hole } => RequestOp::Zeroes { range, keep_space: no_hole, fua },
            PartOp::ZeroesEdge => {
                let data = Bytes::from_static(&ZEROES[..index(len)]);
                RequestOp::Write { offset, data, fua }
            }
            PartOp::Trim => RequestOp::Trim { range, fua },
            PartOp::Flush => RequestOp::Flush,
        };
        Some(Request { client: self.id, cookie, volume: self.volume, op })
    }

    /// Moves payload into the part's buffer, or receives it there; `false` if there is no buffer
    /// now.
    fn fill(&mut self, io: &mut Io, budget: &mut Budget, part: Part, at: u32, len: u32) -> bool {
        let (key, at, len) = (part.id.index(), index(at), index(len));
        let entry = entry(&mut self.parts, key);
        if entry.buffer.is_none() {
            assert!(at == 0, "a part keeps its buffer while it is being filled");
            entry.buffer = io.take_payload(index(part.len));
            if entry.buffer.is_none() {
                return false;
            }
            entry.charge = charge_of(index(part.len));
            self.charged += entry.charge;
            budget.charge(entry.charge);
        }
        let count = len.min(self.stream.bytes().len());
        if count > 0 {
            let buffer = entry.buffer.as_mut().expect("it was just taken");
            buffer[at..at + count].copy_from_slice(&self.stream.bytes()[..count]);
            self.stream.consume(count);
            self.transmission.filled(u32::try_from(count).expect("a part is short"));
        } else if len >= limits::DIRECT_BYTES_MIN && self.stream.may_receive_directly() {
            let buffer = entry.buffer.take().expect("it was just taken");
            self.receiving = Some(key);
            self.stream.receive_into(io, buffer, at, true);
        } else {
            self.stream.receive(io);
        }
        true
    }

    fn release(&mut self, budget: &mut Budget, bytes: u64) {
        self.charged -= bytes;
        budget.release(bytes);
    }
}

/// Bytes that an operation has moved.
fn moved(completion: &Completion) -> usize {
    completion.result.as_ref().map_or(0, |count| index(*count))
}

/// The data of a zeroed piece inside one block.
static ZEROES: [u8; 4096] = [0; 4096];

fn entry(parts: &mut Vec<PartEntry>, key: usize) -> &mut PartEntry {
    if parts.len() <= key {
        parts.resize_with(key + 1, PartEntry::default);
    }
    &mut parts[key]
}

fn index(len: u32) -> usize {
    usize::try_from(len).expect("a usize has at least 32 bits")
}

fn reply_error(error: RequestError) -> ReplyError {
    match error {
        RequestError::Io => ReplyError::Io,
        RequestError::Invalid => ReplyError::Invalid,
        RequestError::NotPrimary => ReplyError::NotPermitted,
    }
}

#[cfg(test)]
mod tests;
