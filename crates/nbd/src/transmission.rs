//! The transmission phase of one connection: requests in, parts of I/O out, replies back.
//!
//! [`Transmission`] owns the position in the client's stream, the table of requests in flight and
//! the queue of finished replies. It never holds payload that goes to the disk and never copies
//! data; buffers are the shell's.
//!
//! Four kinds of methods, as the shell's turn goes:
//! 1. [`next`](Transmission::next) while [`wants_input`](Transmission::wants_input), until it says
//!    [`Step::NeedBytes`], [`Step::Full`] or [`Step::Stop`]; [`filled`](Transmission::filled) in
//!    answer to [`Step::Fill`].
//! 2. [`complete`](Transmission::complete) once for each [`Step::Part`], in any order.
//! 3. [`poll_reply`](Transmission::poll_reply) as far as replies can be sent. A reply not polled
//!    counts as in flight: leaving it here is what makes a client that does not read wait.
//! 4. [`hang_up`](Transmission::hang_up) when the socket is gone.
//!
//! A WRITE is all or nothing: its parts come out only after its last payload byte came in.

use std::collections::VecDeque;

use crate::context;
use crate::cut::Piece;
use crate::error::{ReplyError, StopReason};
use crate::export::ExportInfo;
use crate::limits::{EXTENTS_MAX, HOLE_BYTES_MIN, Limits};
use crate::slab::{Key, Slab};
use crate::terms::Terms;

mod intake;
mod part;
mod reply;

pub use part::{Outcome, Part, PartId, PartOp};
pub use reply::{Body, Pieces, Reply, ReplyPiece};

use intake::Intake;
use part::{Kept, PartSlot, Stage};
use reply::Builder;

/// The requests of one connection. See the module for how to drive it.
#[derive(Debug)]
pub struct Transmission {
    export: ExportInfo,
    terms: Terms,
    limits: Limits,
    intake: Intake,
    requests: Slab<Request>,
    parts: Slab<PartSlot>,
    /// Requests whose reply is ready, oldest first.
    finished: VecDeque<Key>,
    bytes_in_flight: u64,
    /// Parts without data that are being executed.
    bulk_parts: usize,
    hung_up: bool,
}

/// What the next bytes of the stream mean.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// All bytes are consumed; come back with more.
    NeedBytes,
    /// Too much is in flight: come back when [`Transmission::wants_input`] says so.
    Full,
    /// Execute this and [`Transmission::complete`] it. For a WRITE the data are those that
    /// [`Step::Fill`] put into the buffer of the same part.
    Part(Part),
    /// The next `len` bytes of the stream belong into the buffer of this WRITE part, from byte `at`
    /// on. Obtain a buffer of `part.len` bytes when `at` is 0, move some or all of the bytes (by
    /// copy from the stream or by receiving straight into the buffer) and report how many by
    /// [`Transmission::filled`]. Do not execute the part: it may never come.
    Fill {
        /// The part; comes again as [`Step::Part`] when its whole request has arrived.
        part: Part,
        /// Bytes of the buffer that are filled.
        at: u32,
        /// Bytes that are missing, at least 1.
        len: u32,
    },
    /// Take no more from the stream. If the reason [owes replies](StopReason::owes_replies), close
    /// after [`Transmission::in_flight`] has come down to 0, else at once.
    Stop(StopReason),
}

/// A request that has been taken from the stream and not been replied to.
#[derive(Debug)]
struct Request {
    cookie: u64,
    offset: u64,
    /// Bytes that a READ wants in one chunk.
    whole: Option<u32>,
    /// Parts not completed, plus one while the intake is still at this request.
    pending: u32,
    error: Option<ReplyError>,
    /// This request's share of `bytes_in_flight`.
    charge_bytes: u32,
    parts: Option<Chain>,
}

/// The parts of a request in order of offset, linked through their slots.
#[derive(Debug, Clone, Copy)]
struct Chain {
    first: Key,
    last: Key,
}

impl Transmission {
    /// Starts after the handshake. Feed it the handshake's `rest` first.
    ///
    /// # Panics
    /// If a limit is 0 or the export's block size is not a power of two up to 4096.
    #[must_use]
    pub fn new(export: ExportInfo, terms: Terms, limits: Limits) -> Self {
        assert!(limits.requests_in_flight_max > 0 && limits.bytes_in_flight_max > 0);
        assert!(export.block_size.is_power_of_two() && export.block_size <= 4096);
        Self {
            export,
            terms,
            limits,
            intake: Intake::START,
            requests: Slab::new(),
            parts: Slab::new(),
            finished: VecDeque::new(),
            bytes_in_flight: 0,
            bulk_parts: 0,
            hung_up: false,
        }
    }

    /// The export has grown: requests of what it grew by are served from the next one on. What is
    /// less than it has changes nothing.
    pub fn grow(&mut self, size_bytes: u64) {
        self.export.size_bytes = self.export.size_bytes.max(size_bytes);
    }

    /// Takes from `stream`, the bytes received and not consumed yet, what makes one step. Returns
    /// how many bytes were consumed and the step. Steps can come without bytes: call it again,
    /// with an empty slice if need be, until it needs bytes, is full or stops.
    pub fn next(&mut self, stream: &[u8]) -> (usize, Step) {
        let mut consumed = 0;
        loop {
            let (taken, step) = self.take_step(&stream[consumed..]);
            consumed += taken;
            if let Some(step) = step {
                return (consumed, step);
            }
        }
    }

    /// Says that the next `n` bytes of the stream are in the buffer of the part that
    /// [`Step::Fill`] named. The caller skips them in its stream.
    ///
    /// # Panics
    /// If no part is being filled or it has less than `n` bytes missing.
    pub fn filled(&mut self, n: u32) {
        let Intake::Filling { request, cut, part, at } = self.intake else {
            panic!("no part is being filled");
        };
        self.intake = self.fill(request, cut, part, at, n);
    }

    /// Ends a part that came as [`Step::Part`], with an [`Outcome`] that fits it or an error. When
    /// the last part of a request ends, its one reply becomes ready; the request fails with the
    /// first error among its parts. Returns whether data are kept for the reply: of zeroes only
    /// that they are some.
    ///
    /// # Panics
    /// If the part is not being executed, or its outcome does not fit it.
    pub fn complete(&mut self, id: PartId, result: Result<Outcome, ReplyError>) -> bool {
        let slot = &mut self.parts[id.0];
        assert!(matches!(slot.stage, Stage::Executing), "part {id:?} is not being executed");
        let (piece, key) = (slot.piece, slot.request);
        let request = &mut self.requests[key];
        let kept = match result {
            Ok(outcome) => {
                let may_be_hole = self.terms.replies.has_chunks() && request.whole.is_none();
                kept(piece, outcome, may_be_hole)
            }
            Err(error) => {
                request.error.get_or_insert(error);
                Kept::Nothing
            }
        };
        let is_kept = matches!(kept, Kept::Data(_));
        slot.stage = Stage::Done(kept);
        // The buffer is free again; that of data is not before their reply is polled.
        if matches!(piece.op, PartOp::Write) || (matches!(piece.op, PartOp::Read) && !is_kept) {
            request.charge_bytes -= piece.len;
            self.bytes_in_flight -= u64::from(piece.len);
        }
        if !piece.op.is_linked() {
            self.parts.remove(id.0);
            self.bulk_parts -= 1;
        }
        self.settle(key);
        is_kept
    }

    /// The oldest reply that is ready. Send what you poll, in the order of polling.
    pub fn poll_reply(&mut self) -> Option<Reply> {
        let key = self.finished.pop_front()?;
        let Request { cookie, offset, whole, error, .. } = self.requests[key];
        let mut reply = Builder::new(self.terms.replies, cookie, offset, whole);
        self.remove(key, |piece, kept| reply.push(piece, kept));
        Some(reply.finish(error))
    }

    /// The socket is gone, nothing can be read or sent. A request that has not arrived in full is
    /// forgotten, and so are the buffers that [`Step::Fill`] asked for without a [`Step::Part`]
    /// having followed. Requests that have arrived are finished: call [`Self::next`] until it stops
    /// and complete their parts as ever; their replies are dropped here.
    pub fn hang_up(&mut self) {
        self.hung_up = true;
        match self.intake {
            Intake::Filling { request, .. } | Intake::Skipping { request, .. } => {
                self.remove(request, |_, _| {});
                self.intake = Intake::Stopped(StopReason::HungUp);
            }
            Intake::Header(_) | Intake::Held { .. } => {
                self.intake = Intake::Stopped(StopReason::HungUp);
            }
            Intake::Cutting { .. } | Intake::Releasing { .. } | Intake::Stopped(_) => {}
        }
        while self.poll_reply().is_some() {}
    }

    /// Whether [`Self::next`] would do anything but say [`Step::Full`] or [`Step::Stop`].
    #[must_use]
    pub fn wants_input(&self) -> bool {
        match &self.intake {
            Intake::Header(_) => self.has_slot(),
            Intake::Held { charge_bytes, .. } => self.fits(*charge_bytes),
            Intake::Cutting { .. } => self.may_cut(),
            Intake::Filling { .. } | Intake::Releasing { .. } | Intake::Skipping { .. } => true,
            Intake::Stopped(_) => false,
        }
    }

    /// Whether a request has arrived in part: the client owes the rest of it.
    #[must_use]
    pub fn is_mid_request(&self) -> bool {
        match &self.intake {
            Intake::Header(header) => header.has_begun(),
            Intake::Filling { .. } | Intake::Skipping { .. } => true,
            Intake::Held { .. }
            | Intake::Cutting { .. }
            | Intake::Releasing { .. }
            | Intake::Stopped(_) => false,
        }
    }

    /// Requests taken from the stream whose reply has not been polled.
    #[must_use]
    pub fn in_flight(&self) -> usize {
        self.requests.len()
    }

    /// WRITE payload of parts not completed and READ data whose reply has not been polled, counted
    /// from the request's header on.
    #[must_use]
    pub fn bytes_in_flight(&self) -> u64 {
        self.bytes_in_flight
    }

    /// The export that the requests are for.
    #[must_use]
    pub fn export(&self) -> &ExportInfo {
        &self.export
    }

    /// Takes one off what a request waits for; the last one makes its reply ready.
    fn settle(&mut self, key: Key) {
        let request = &mut self.requests[key];
        request.pending -= 1;
        if request.pending > 0 {
            return;
        }
        if self.hung_up {
            self.remove(key, |_, _| {});
            return;
        }
        if request.error.is_some() {
            // No data go with an error: do not keep them until the client reads its reply.
            let charge_bytes = std::mem::take(&mut request.charge_bytes);
            self.bytes_in_flight -= u64::from(charge_bytes);
            self.remove_parts(key, |_, _| {});
        }
        self.finished.push_back(key);
    }

    /// Forgets a request; each of its parts goes to `take`, in order, with what was kept of it.
    fn remove(&mut self, key: Key, take: impl FnMut(Piece, Kept)) {
        self.remove_parts(key, take);
        let request = self.requests.remove(key);
        self.bytes_in_flight -= u64::from(request.charge_bytes);
    }

    fn remove_parts(&mut self, key: Key, mut take: impl FnMut(Piece, Kept)) {
        let mut next = self.requests[key].parts.take().map(|chain| chain.first);
        while let Some(part) = next {
            let slot = self.parts.remove(part);
            next = slot.next;
            if let Stage::Done(kept) = slot.stage {
                take(slot.piece, kept);
            }
        }
    }
}

/// What to keep of a part.
fn kept(piece: Piece, outcome: Outcome, may_be_hole: bool) -> Kept {
    match (piece.op, outcome) {
        (PartOp::Read, Outcome::Data(data)) => {
            assert_eq!(data.len(), piece.len as usize, "data of {piece:?}");
            let is_hole = may_be_hole && data.len() >= HOLE_BYTES_MIN && is_zero(&data);
            if is_hole { Kept::Hole } else { Kept::Data(data) }
        }
        (PartOp::Extents { one, .. }, Outcome::Extents(extents)) => {
            let count_max = if one { 1 } else { EXTENTS_MAX as usize };
            Kept::Extents(context::tidied(extents, u64::from(piece.len), count_max))
        }
        (PartOp::Read | PartOp::Extents { .. }, outcome) => panic!("{outcome:?} of {piece:?}"),
        (
            PartOp::Write
            | PartOp::Zeroes { .. }
            | PartOp::ZeroesEdge
            | PartOp::Trim
            | PartOp::Flush,
            outcome,
        ) => {
            assert_eq!(outcome, Outcome::Done, "data of {piece:?}");
            Kept::Nothing
        }
    }
}

/// Whether there are only zeroes; looks at a cache line at a time, and no further than it must.
fn is_zero(data: &[u8]) -> bool {
    let (lines, rest) = data.as_chunks::<64>();
    lines.iter().all(|line| line.iter().fold(0, |any, byte| any | byte) == 0)
        && rest.iter().all(|byte| *byte == 0)
}

#[cfg(test)]
mod tests;
