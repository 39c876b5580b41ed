//! A shell in miniature: it drives a [`Transmission`] as the documentation says and remembers what
//! happened. Its disk holds [`pattern`] at every offset and keeps writes apart.

use std::collections::BTreeMap;

use crate::context::Extent;
use crate::terms::Replies;
use crate::wire::{
    EXTENDED_REPLY_MAGIC, REQUEST_HEADER_BYTES, RequestHeader, SIMPLE_REPLY_MAGIC,
    STRUCTURED_REPLY_MAGIC, chunk, command,
};
use bytes::Buf;

use super::super::*;

/// What the disk holds: bytes that tell their offset.
pub(super) fn pattern(offset: u64, len: usize) -> Vec<u8> {
    let byte = |at: u64| (at ^ (at >> 8) ^ (at >> 16)).to_le_bytes()[0];
    (offset..).take(len).map(byte).collect()
}

/// A reply as a client decodes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Answer {
    pub(super) cookie: u64,
    pub(super) error: u32,
    pub(super) data: Vec<u8>,
}

#[derive(Debug)]
pub(super) struct Shell {
    pub(super) machine: Transmission,
    /// Bytes received that the machine has not consumed.
    stream: Vec<u8>,
    /// Bytes that the machine has consumed in all.
    pub(super) consumed: usize,
    /// Buffers of WRITE parts, from the first [`Step::Fill`] to completion.
    pub(super) buffers: BTreeMap<usize, Vec<u8>>,
    /// Parts being executed, in the order they came.
    pub(super) executing: Vec<Part>,
    /// Writes handed out: offset, data, and how much of the stream had been consumed then.
    pub(super) writes: Vec<(u64, Vec<u8>, usize)>,
    pub(super) stopped: Option<StopReason>,
}

impl Shell {
    pub(super) fn new(export: ExportInfo, terms: Terms, limits: Limits) -> Self {
        Self {
            machine: Transmission::new(export, terms, limits),
            stream: Vec::new(),
            consumed: 0,
            buffers: BTreeMap::new(),
            executing: Vec::new(),
            writes: Vec::new(),
            stopped: None,
        }
    }

    /// Receives bytes and takes all the steps that there are.
    pub(super) fn receive(&mut self, bytes: &[u8]) {
        self.stream.extend_from_slice(bytes);
        loop {
            let wanted = self.machine.wants_input();
            let (n, step) = self.machine.next(&self.stream);
            self.consume(n);
            match step {
                Step::NeedBytes => {
                    assert!(self.stream.is_empty(), "it needs bytes and has left some");
                    return;
                }
                Step::Full => {
                    assert!(!self.machine.wants_input());
                    return;
                }
                Step::Part(part) => self.execute(part),
                Step::Fill { part, at, len } => {
                    assert!(wanted || n > 0);
                    if self.fill(part, at, len) == 0 {
                        return;
                    }
                }
                Step::Stop(reason) => {
                    assert!(self.stopped.is_none_or(|earlier| earlier == reason));
                    self.stopped = Some(reason);
                    return;
                }
            }
        }
    }

    fn consume(&mut self, n: usize) {
        self.consumed += n;
        self.stream.drain(..n);
    }

    fn fill(&mut self, part: Part, at: u32, len: u32) -> u32 {
        assert_eq!((part.op, at + len), (PartOp::Write, part.len));
        assert!(len > 0 && part.len <= crate::limits::PART_BYTES_MAX);
        let buffer = self.buffers.entry(part.id.index()).or_default();
        assert_eq!(buffer.len(), at as usize, "a buffer is new when `at` is 0");
        let n = u32::try_from(self.stream.len()).unwrap().min(len);
        buffer.extend_from_slice(&self.stream[..n as usize]);
        self.machine.filled(n);
        self.consume(n as usize);
        n
    }

    fn execute(&mut self, part: Part) {
        if part.op == PartOp::Write {
            let data = self.buffers[&part.id.index()].clone();
            assert_eq!(data.len(), part.len as usize);
            self.writes.push((part.offset, data, self.consumed));
        }
        self.executing.push(part);
    }

    /// Completes one of the parts being executed.
    pub(super) fn complete(&mut self, index: usize, error: Option<ReplyError>) {
        let part = self.executing.remove(index);
        self.buffers.remove(&part.id.index());
        let outcome = match part.op {
            PartOp::Read => Outcome::Data(pattern(part.offset, part.len as usize).into()),
            PartOp::Extents { .. } => {
                Outcome::Extents(vec![Extent { len: u64::from(part.len), flags: 0 }])
            }
            PartOp::Write
            | PartOp::Zeroes { .. }
            | PartOp::ZeroesEdge
            | PartOp::Trim
            | PartOp::Flush => Outcome::Done,
        };
        self.machine.complete(part.id, error.map_or(Ok(outcome), Err));
    }

    /// Completes all parts that there are, the last first.
    pub(super) fn complete_all(&mut self) {
        for index in (0..self.executing.len()).rev() {
            self.complete(index, None);
        }
    }

    pub(super) fn poll(&mut self) -> Option<Answer> {
        let replies = self.machine.terms.replies;
        let bytes = super::reply_bytes(&mut self.machine)?;
        Some(match replies {
            Replies::Simple => decode_simple(&bytes),
            Replies::Structured => decode_chunks(&bytes, false),
            Replies::Extended => decode_chunks(&bytes, true),
        })
    }

    pub(super) fn poll_all(&mut self) -> Vec<Answer> {
        std::iter::from_fn(|| self.poll()).collect()
    }

    /// Receives, completes and polls until nothing moves; returns the replies.
    pub(super) fn run(&mut self, bytes: &[u8]) -> Vec<Answer> {
        let mut answers = Vec::new();
        self.receive(bytes);
        loop {
            self.complete_all();
            let polled = self.poll_all();
            self.receive(&[]);
            if polled.is_empty() && self.executing.is_empty() {
                return answers;
            }
            answers.extend(polled);
        }
    }

    /// Demands that nothing is left over.
    pub(super) fn assert_idle(&self) {
        assert_eq!((self.machine.in_flight(), self.machine.bytes_in_flight()), (0, 0));
        assert_eq!((self.machine.requests.len(), self.machine.parts.len()), (0, 0));
        assert!(self.executing.is_empty() && self.machine.finished.is_empty());
    }
}

fn decode_simple(mut bytes: &[u8]) -> Answer {
    assert_eq!(bytes.get_u32(), SIMPLE_REPLY_MAGIC);
    let (error, cookie) = (bytes.get_u32(), bytes.get_u64());
    Answer { cookie, error, data: bytes.to_vec() }
}

/// Takes chunks apart as a client does; data must come without a gap.
fn decode_chunks(mut bytes: &[u8], is_extended: bool) -> Answer {
    let mut answer = Answer { cookie: 0, error: 0, data: vec![] };
    let mut next = None;
    loop {
        let magic = if is_extended { EXTENDED_REPLY_MAGIC } else { STRUCTURED_REPLY_MAGIC };
        assert_eq!(bytes.get_u32(), magic);
        let (flags, kind) = (bytes.get_u16(), bytes.get_u16());
        answer.cookie = bytes.get_u64();
        let len = if is_extended {
            bytes.advance(8);
            usize::try_from(bytes.get_u64()).unwrap()
        } else {
            bytes.get_u32() as usize
        };
        let (mut content, rest) = bytes.split_at(len);
        bytes = rest;
        match kind {
            chunk::NONE => assert_eq!((flags, len), (1, 0)),
            chunk::ERROR => {
                answer.error = content.get_u32();
                let text_len = usize::from(content.get_u16());
                assert_eq!((text_len, flags), (content.len(), 1));
            }
            chunk::OFFSET_DATA | chunk::OFFSET_HOLE => {
                let offset = content.get_u64();
                assert_eq!(offset, *next.get_or_insert(offset));
                let before = answer.data.len();
                if kind == chunk::OFFSET_DATA {
                    answer.data.extend(content);
                } else {
                    answer.data.resize(before + content.get_u32() as usize, 0);
                }
                next = Some(offset + (answer.data.len() - before) as u64);
            }
            other => panic!("chunk {other:#x}"),
        }
        if flags == 1 {
            assert!(bytes.is_empty(), "bytes behind the last chunk");
            return answer;
        }
    }
}

/// A request header without flags, cookie 1.
pub(super) fn header(command: u16, offset: u64, len: u32) -> RequestHeader {
    RequestHeader { flags: 0, command, cookie: 1, offset, len: u64::from(len) }
}

/// A request as bytes; a WRITE brings as many bytes of 0xAA as it says.
pub(super) fn request(header: RequestHeader) -> Vec<u8> {
    let mut bytes = header.encode().to_vec();
    assert_eq!(bytes.len(), REQUEST_HEADER_BYTES);
    if header.command == command::WRITE {
        bytes.resize(bytes.len() + usize::try_from(header.len).unwrap(), 0xaa);
    }
    bytes
}
