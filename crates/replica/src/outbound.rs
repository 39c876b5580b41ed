//! What has been sent to one peer in this session and is not known to be durable there.
//!
//! Epochs carry the writer's order (SEMANTICS rule 3): a new one begins with the first write issued
//! after a reply for something that the peer may not have applied. Marks (barriers and client
//! flushes) ask the peer to make everything before them durable; their acks retire the transfer
//! log.

use std::collections::VecDeque;

use tandem_wire::{BarrierNumber, Epoch, RequestId};

use crate::config::NetConfig;
use crate::limits::{BARRIER_BYTES, BARRIER_DELAY, CONGESTION_BARRIERS, UNBARRIERED_BYTES_MAX};
use crate::time::Instant;

/// The writer's order towards one peer: epochs, and the barriers that bound what is open.
#[derive(Debug, Default)]
pub(crate) struct Outbound {
    epoch: Epoch,
    /// The next write starts a new epoch.
    epoch_closed: bool,
    /// Bytes sent and not covered by a barrier ack.
    open_bytes: u64,
    /// Sent since the last mark.
    bytes_since_mark: u64,
    writes_since_mark: u32,
    last_seq: u64,
    /// When a barrier is due at the latest.
    pub(crate) barrier_due: Option<Instant>,
    /// Barriers and flushes sent and not acked, oldest first.
    pub(crate) marks: VecDeque<Mark>,
    barriers_sent: u64,
    max_epoch_size: u32,
    barrier_bytes: u64,
}

/// A point in the stream behind which the peer has been asked to make everything durable.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Mark {
    pub(crate) kind: MarkKind,
    /// Last write it covers.
    pub(crate) seq: u64,
}

/// How a mark was sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum MarkKind {
    Barrier(BarrierNumber),
    Flush(RequestId),
}

impl Outbound {
    /// Nothing sent; barriers as often as the limits of the connection ask for.
    pub(crate) fn new(net: &NetConfig) -> Self {
        let barrier_bytes = match net.congestion_fill_bytes {
            0 => BARRIER_BYTES,
            fill => BARRIER_BYTES.min(fill / CONGESTION_BARRIERS),
        };
        Self { max_epoch_size: net.max_epoch_size, barrier_bytes, ..Self::default() }
    }

    /// A write of `weight` bytes goes out: its epoch, and whether a barrier should follow.
    pub(crate) fn enter(&mut self, seq: u64, weight: u32, now: Instant) -> (Epoch, bool) {
        assert!(seq > self.last_seq, "writes enter in order");
        if std::mem::take(&mut self.epoch_closed) {
            self.epoch = Epoch(self.epoch.0.wrapping_add(1));
        }
        self.last_seq = seq;
        self.open_bytes += u64::from(weight);
        self.bytes_since_mark += u64::from(weight);
        self.writes_since_mark += 1;
        if self.barrier_due.is_none() {
            self.barrier_due = Some(now + BARRIER_DELAY);
        }
        let full = self.bytes_since_mark >= self.barrier_bytes
            || self.writes_since_mark >= self.max_epoch_size;
        (self.epoch, full)
    }

    /// A barrier or flush is about to be sent: it covers everything so far.
    fn mark(&mut self, kind: MarkKind) {
        self.marks.push_back(Mark { kind, seq: self.last_seq });
        self.bytes_since_mark = 0;
        self.writes_since_mark = 0;
        self.barrier_due = None;
    }

    /// The number that the next barrier will have.
    pub(crate) fn next_barrier(&self) -> BarrierNumber {
        BarrierNumber(self.barriers_sent + 1)
    }

    /// The number and the mark of the next barrier.
    pub(crate) fn mark_barrier(&mut self) -> BarrierNumber {
        self.barriers_sent += 1;
        let number = BarrierNumber(self.barriers_sent);
        self.mark(MarkKind::Barrier(number));
        number
    }

    /// Marks a flush; the epoch it belongs to.
    pub(crate) fn mark_flush(&mut self, id: RequestId) -> Epoch {
        self.mark(MarkKind::Flush(id));
        self.epoch
    }

    /// An ack for a mark: the last write it covers. `None` where nothing of that name is open.
    pub(crate) fn acked(&mut self, kind: MarkKind) -> Option<u64> {
        let place = self.marks.iter().position(|mark| mark.kind == kind)?;
        let seq = self.marks[place].seq;
        self.marks.remove(place);
        Some(seq)
    }

    /// Whether a mark is still open.
    pub(crate) fn has_mark(&self, kind: MarkKind) -> bool {
        self.marks.iter().any(|mark| mark.kind == kind)
    }

    /// Something replied to is not on the peer's disk yet: what follows may depend on it (INV-5).
    pub(crate) fn close_epoch(&mut self) {
        self.epoch_closed = true;
    }

    pub(crate) fn leave(&mut self, weight: u32) {
        self.open_bytes -= u64::from(weight);
    }

    /// Whether something is open that no mark covers yet.
    pub(crate) fn wants_barrier(&self) -> bool {
        self.writes_since_mark > 0
    }

    /// Whether new writes must wait for barrier acks.
    pub(crate) fn is_full(&self) -> bool {
        self.open_bytes > UNBARRIERED_BYTES_MAX
    }

    /// Bytes sent and not known to be durable on the peer.
    pub(crate) fn open_bytes(&self) -> u64 {
        self.open_bytes
    }
}
