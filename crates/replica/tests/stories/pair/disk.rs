//! The disks of the pair: memory that completes at once, unless a test holds or fails operations.

use bytes::{Bytes, BytesMut};
use tandem_replica::{DiskCompletion, DiskError, DiskOp, DiskOpKind, digest};

use super::node::FLUSHED_BYTES;
use super::{Node, Pair};

/// Which disk operations.
pub(crate) type Choice = fn(&DiskOpKind) -> bool;

pub(crate) fn none(_: &DiskOpKind) -> bool {
    false
}

pub(crate) fn data_writes(kind: &DiskOpKind) -> bool {
    matches!(kind, DiskOpKind::Write { .. } | DiskOpKind::Zero { .. })
}

pub(crate) fn meta_writes(kind: &DiskOpKind) -> bool {
    matches!(kind, DiskOpKind::MetaWrite { .. })
}

pub(crate) fn reads(kind: &DiskOpKind) -> bool {
    matches!(kind, DiskOpKind::Read(_))
}

pub(crate) fn flushes(kind: &DiskOpKind) -> bool {
    matches!(kind, DiskOpKind::Flush)
}

impl Pair {
    /// The disk goes on: what was held ends, in order.
    pub(crate) fn release(&mut self, node: usize) {
        self.hold[node] = none;
        for op in std::mem::take(&mut self.held[node]) {
            self.disk(node, op);
        }
        self.settle();
    }

    /// The first operation held ends; what comes is held as before.
    pub(crate) fn release_first(&mut self, node: usize) {
        let hold = std::mem::replace(&mut self.hold[node], none);
        let op = self.held[node].pop_front().expect("one is held");
        self.disk(node, op);
        self.hold[node] = hold;
        self.settle();
    }

    /// What was held ends, but for what is to be held now.
    pub(crate) fn release_rest(&mut self, node: usize) {
        let held = std::mem::take(&mut self.held[node]);
        for op in held {
            self.disk(node, op);
        }
        self.settle();
    }

    /// The first operation held fails.
    pub(crate) fn fail_once(&mut self, node: usize) {
        let op = self.held[node].pop_front().expect("one is held");
        self.hold[node] = none;
        self.fail[node] = |_| true;
        self.disk(node, op);
        self.fail[node] = none;
        self.settle();
    }

    /// The power of a killed node was cut: `was` is what its disk 0 has kept of the data.
    pub(crate) fn lose_power(&mut self, node: usize, offset: usize, was: &[u8]) {
        self.nodes[node].boot_id[0] ^= 0x80;
        self.nodes[node].devices[0][offset..offset + was.len()].copy_from_slice(was);
    }

    /// The power of a killed node was cut: its disk 0 keeps what was flushed.
    pub(crate) fn lose_unflushed(&mut self, node: usize) {
        let Node { devices, flushed, boot_id, .. } = &mut self.nodes[node];
        devices[0][..FLUSHED_BYTES].copy_from_slice(flushed);
        let count = u64::from_le_bytes(*boot_id[8..].first_chunk().unwrap()) + 1;
        boot_id[8..].copy_from_slice(&count.to_le_bytes());
    }

    /// Whether a node that is doomed dies now.
    fn doom_strikes(&mut self, node: usize) -> bool {
        let Some((_, left)) = self.doom.as_mut().filter(|(doomed, _)| *doomed == node) else {
            return false;
        };
        if let Some(fewer) = left.checked_sub(1) {
            *left = fewer;
            return false;
        }
        self.doom = None;
        self.kill(node);
        true
    }

    /// Carries one operation out, unless it is held or fails.
    pub(super) fn disk(&mut self, node: usize, op: DiskOp) {
        if self.doom_strikes(node) {
            return;
        }
        if self.hold[node](&op.kind) {
            return self.held[node].push_back(op);
        }
        let (volume, generation, token) = (op.volume, op.generation, op.token);
        if self.fail[node](&op.kind) {
            let result = Err(DiskError::Io);
            let completion = DiskCompletion { volume, generation, token, result };
            return self.nodes[node].resource.handle_disk(completion, self.now);
        }
        let device = &mut self.nodes[node].devices[usize::from(op.volume.0)];
        let place = |offset: u64, len: usize| {
            let at = usize::try_from(offset).unwrap();
            at..at + len
        };
        let mut flush = false;
        let result: Result<Bytes, DiskError> = Ok(match op.kind {
            DiskOpKind::Read(range) => {
                Bytes::copy_from_slice(&device[place(range.offset, range.len as usize)])
            }
            DiskOpKind::MetaRead { offset, len } => {
                Bytes::copy_from_slice(&device[place(offset, len as usize)])
            }
            DiskOpKind::Write { offset, data, fua } => {
                device[place(offset, data.len())].copy_from_slice(&data);
                flush |= fua;
                Bytes::new()
            }
            DiskOpKind::MetaWrite { offset, data } => {
                device[place(offset, data.len())].copy_from_slice(&data);
                Bytes::new()
            }
            DiskOpKind::Zero { range, .. } => {
                self.zeroed[node].push((range.offset, range.len));
                device[place(range.offset, range.len as usize)].fill(0);
                Bytes::new()
            }
            DiskOpKind::Flush => {
                flush = true;
                Bytes::new()
            }
            DiskOpKind::Merge { base, patch, at } => {
                let mut merged = BytesMut::from(base.as_ref());
                merged[at as usize..at as usize + patch.len()].copy_from_slice(&patch);
                merged.freeze()
            }
            DiskOpKind::IsZero { data } if data.iter().all(|byte| *byte == 0) => Bytes::new(),
            DiskOpKind::IsZero { data } => data,
            DiskOpKind::Digest { data } => digest::of_blocks(&data),
        });
        if flush && op.volume.0 == 0 {
            let Node { devices, flushed, .. } = &mut self.nodes[node];
            flushed.copy_from_slice(&devices[0][..FLUSHED_BYTES]);
        }
        let completion = DiskCompletion {
            volume: op.volume,
            generation: op.generation,
            token: op.token,
            result,
        };
        self.nodes[node].resource.handle_disk(completion, self.now);
    }
}
