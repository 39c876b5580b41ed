//! Where in the client's stream we are, and the step from there to the next place.
//!
//! [`Intake`] is the state; one function for each of its variants makes the transition and says
//! which [`Step`] to report, or `None` to go on at once. A request holds one count of `pending` for
//! the intake from its header until the intake has left it, so it cannot finish half cut.

use super::part::{PartSlot, Stage};
use super::{Chain, Request, Step, Transmission};
use crate::cut::{Cut, Piece, Work};
use crate::error::StopReason;
use crate::limits::BULK_PARTS_MAX;
use crate::request::{Verdict, judge};
use crate::slab::Key;
use crate::terms::Replies;
use crate::wire::{EXTENDED_REQUEST_HEADER_BYTES, REQUEST_HEADER_BYTES, RequestHeader};

/// What comes next in the stream, and what is half done there.
#[derive(Debug, Clone, Copy)]
pub(super) enum Intake {
    Header(PartialHeader),
    /// A valid request that waits until its bytes fit.
    Held {
        cookie: u64,
        offset: u64,
        cut: Cut,
        charge_bytes: u32,
    },
    /// Parts without payload are being handed out.
    Cutting {
        request: Key,
        cut: Cut,
    },
    /// Payload is arriving for `part`, the last of the request so far.
    Filling {
        request: Key,
        cut: Cut,
        part: Key,
        at: u32,
    },
    /// All payload is here; the parts from `part` on are being handed out.
    Releasing {
        request: Key,
        part: Key,
    },
    /// Payload of a refused WRITE.
    Skipping {
        request: Key,
        remaining: u32,
    },
    Stopped(StopReason),
}

/// The first bytes of a request header; the receive buffer they came in can be gone.
#[derive(Debug, Clone, Copy)]
pub(super) struct PartialHeader {
    bytes: [u8; EXTENDED_REQUEST_HEADER_BYTES],
    len: usize,
}

impl Intake {
    pub(super) const START: Self =
        Self::Header(PartialHeader { bytes: [0; EXTENDED_REQUEST_HEADER_BYTES], len: 0 });
}

impl PartialHeader {
    pub(super) fn has_begun(&self) -> bool {
        self.len > 0
    }
}

impl Transmission {
    pub(super) fn take_step(&mut self, stream: &[u8]) -> (usize, Option<Step>) {
        match self.intake {
            Intake::Header(header) => self.take_header(header, stream),
            Intake::Held { cookie, offset, cut, charge_bytes } => {
                (0, self.admit(cookie, offset, cut, charge_bytes))
            }
            Intake::Cutting { request, cut } => (0, self.cut(request, cut)),
            Intake::Filling { part, at, .. } => {
                let part = self.parts[part].part(part);
                (0, Some(Step::Fill { part, at, len: part.len - at }))
            }
            Intake::Releasing { request, part } => (0, Some(self.release(request, part))),
            Intake::Skipping { request, remaining } => self.skip(request, remaining, stream),
            Intake::Stopped(reason) => (0, Some(Step::Stop(reason))),
        }
    }

    fn take_header(&mut self, mut header: PartialHeader, stream: &[u8]) -> (usize, Option<Step>) {
        if !self.has_slot() {
            return (0, Some(Step::Full));
        }
        let is_extended = self.terms.replies == Replies::Extended;
        let len = if is_extended { EXTENDED_REQUEST_HEADER_BYTES } else { REQUEST_HEADER_BYTES };
        let taken = stream.len().min(len - header.len);
        let end = header.len + taken;
        header.bytes[header.len..end].copy_from_slice(&stream[..taken]);
        header.len = end;
        if end < len {
            self.intake = Intake::Header(header);
            return (taken, Some(Step::NeedBytes));
        }
        let decoded = if is_extended {
            RequestHeader::decode_extended(&header.bytes)
        } else {
            let (bytes, _) = header.bytes.split_first_chunk().expect("it is the shorter one");
            RequestHeader::decode(bytes)
        };
        self.intake = match decoded {
            Ok(header) => self.begin(&header),
            Err(magic) => Intake::Stopped(StopReason::WrongMagic(magic)),
        };
        (taken, None)
    }

    fn begin(&mut self, header: &RequestHeader) -> Intake {
        let (cookie, offset) = (header.cookie, header.offset);
        match judge(header, &self.export, self.terms) {
            Verdict::Serve { cut, charge_bytes } => {
                Intake::Held { cookie, offset, cut, charge_bytes }
            }
            Verdict::Refuse { error, skip_bytes } => {
                let request = self.add_request(cookie, offset, None, 0);
                self.requests[request].error = Some(error);
                Intake::Skipping { request, remaining: skip_bytes }
            }
            Verdict::Stop(reason) => Intake::Stopped(reason),
        }
    }

    fn admit(&mut self, cookie: u64, offset: u64, mut cut: Cut, charge_bytes: u32) -> Option<Step> {
        if !self.fits(charge_bytes) {
            return Some(Step::Full);
        }
        let whole = match cut.work() {
            Work::Read { whole: true } => Some(charge_bytes).filter(|len| *len > 0),
            Work::Read { whole: false }
            | Work::Write { .. }
            | Work::Zeroes { .. }
            | Work::Trim { .. }
            | Work::Flush
            | Work::Cache
            | Work::Status { .. } => None,
        };
        let request = self.add_request(cookie, offset, whole, charge_bytes);
        let has_payload = matches!(cut.work(), Work::Write { .. });
        let first_with_payload = if has_payload { cut.next() } else { None };
        self.intake = match first_with_payload {
            Some(piece) => {
                let part = self.add_part(request, piece, Stage::Filling);
                Intake::Filling { request, cut, part, at: 0 }
            }
            None => Intake::Cutting { request, cut },
        };
        None
    }

    fn cut(&mut self, request: Key, mut cut: Cut) -> Option<Step> {
        if !self.may_cut() {
            return Some(Step::Full);
        }
        let Some(piece) = cut.next() else {
            self.leave(request);
            return None;
        };
        let key = self.add_part(request, piece, Stage::Executing);
        if cut.is_empty() {
            self.leave(request);
        } else {
            self.intake = Intake::Cutting { request, cut };
        }
        Some(Step::Part(self.parts[key].part(key)))
    }

    /// The state after `n` more bytes of `part` have arrived.
    pub(super) fn fill(
        &mut self,
        request: Key,
        mut cut: Cut,
        part: Key,
        at: u32,
        n: u32,
    ) -> Intake {
        let len = self.parts[part].piece.len;
        assert!(n <= len - at, "{n} bytes are more than the {} missing", len - at);
        let at = at + n;
        if at < len {
            return Intake::Filling { request, cut, part, at };
        }
        if let Some(piece) = cut.next() {
            let part = self.add_part(request, piece, Stage::Filling);
            return Intake::Filling { request, cut, part, at: 0 };
        }
        let chain = self.requests[request].parts.expect("a part of it was filled");
        Intake::Releasing { request, part: chain.first }
    }

    fn release(&mut self, request: Key, key: Key) -> Step {
        let slot = &mut self.parts[key];
        assert!(matches!(slot.stage, Stage::Filling), "part {key:?} was released before");
        slot.stage = Stage::Executing;
        let part = slot.part(key);
        match slot.next {
            Some(part) => self.intake = Intake::Releasing { request, part },
            None => self.leave(request),
        }
        Step::Part(part)
    }

    fn skip(&mut self, request: Key, remaining: u32, stream: &[u8]) -> (usize, Option<Step>) {
        let taken = stream.len().min(remaining as usize);
        let remaining = remaining - u32::try_from(taken).expect("not more than remaining");
        if remaining > 0 {
            self.intake = Intake::Skipping { request, remaining };
            return (taken, Some(Step::NeedBytes));
        }
        self.leave(request);
        (taken, None)
    }

    /// The request has been taken from the stream in full and all its parts are handed out.
    fn leave(&mut self, request: Key) {
        self.intake =
            if self.hung_up { Intake::Stopped(StopReason::HungUp) } else { Intake::START };
        self.settle(request);
    }

    fn add_request(
        &mut self,
        cookie: u64,
        offset: u64,
        whole: Option<u32>,
        charge_bytes: u32,
    ) -> Key {
        self.bytes_in_flight += u64::from(charge_bytes);
        let (pending, error, parts) = (1, None, None);
        let request = Request { cookie, offset, whole, pending, error, charge_bytes, parts };
        self.requests.insert(request)
    }

    fn add_part(&mut self, key: Key, piece: Piece, stage: Stage) -> Key {
        let part = self.parts.insert(PartSlot { request: key, piece, next: None, stage });
        let request = &mut self.requests[key];
        request.pending += 1;
        if !piece.op.is_linked() {
            self.bulk_parts += 1;
            return part;
        }
        request.parts = match request.parts {
            Some(Chain { first, last }) => {
                self.parts[last].next = Some(part);
                Some(Chain { first, last: part })
            }
            None => Some(Chain { first: part, last: part }),
        };
        part
    }

    /// Whether another part without payload may be handed out. When there is nobody any more whom a
    /// limit would hold back, what has arrived is handed out at once.
    pub(super) fn may_cut(&self) -> bool {
        self.hung_up || self.bulk_parts < BULK_PARTS_MAX
    }

    pub(super) fn has_slot(&self) -> bool {
        self.requests.len() < self.limits.requests_in_flight_max
    }

    /// Whether a request of so many bytes may start. One that is larger than the limit may when it
    /// is alone: else it would wait for ever.
    pub(super) fn fits(&self, charge_bytes: u32) -> bool {
        let charge_bytes = u64::from(charge_bytes);
        charge_bytes == 0
            || self.bytes_in_flight == 0
            || self.bytes_in_flight + charge_bytes <= self.limits.bytes_in_flight_max
    }
}
