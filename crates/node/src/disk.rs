//! Disk operations of a shard: from the core's [`DiskOp`] to operations of the ring and back.
//!
//! One [`DiskOp`] may need several operations of the ring: transfers that came out short go on
//! where they stopped, metadata longer than a buffer is read in pieces, zeroing falls back to
//! writing zeroes, and is followed by a flush where it must be durable. An operation that finds no
//! buffer waits here until [`Operations::retry`]; digests, which cost time on this thread, until
//! [`Operations::digest`]. Each ends in exactly one [`Finished`].

use std::collections::VecDeque;
use std::io as std_io;

use bytes::{Bytes, BytesMut};
use rustix::io::Errno;
use tandem_replica::wire::ByteRange;
use tandem_replica::{AttachGeneration, DiskCompletion, DiskError, DiskOp, DiskOpKind, digest};
use tandem_ring::{Completion, FallocateMode, FileId, Op, limits::BUFFER_BYTES_MAX};

use crate::io::Io;
use crate::limits;
use crate::slab::Slab;
use crate::token::Token;

/// The open disk of a volume. `data` and `meta` are one file where the metadata is internal.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Disk {
    pub(crate) generation: AttachGeneration,
    pub(crate) data: BackingFile,
    pub(crate) meta: BackingFile,
}

impl Disk {
    /// Takes its files from the ring.
    pub(crate) fn unregister(self, io: &mut Io) {
        io.unregister_file(self.data.id);
        if self.meta.id != self.data.id {
            io.unregister_file(self.meta.id);
        }
    }
}

/// A file of the ring, and what it can do.
#[derive(Clone, Copy, Debug)]
pub(crate) struct BackingFile {
    pub(crate) id: FileId,
    /// Whether its writes can be made durable by a flag.
    pub(crate) honours_dsync: bool,
    /// Whether it zeroes a range without writing all of it.
    pub(crate) zeroes_by_command: bool,
    pub(crate) is_rotational: bool,
}

/// The operations in flight.
#[derive(Debug)]
pub(crate) struct Operations {
    operations: Slab<Operation>,
    /// Those that found no buffer, oldest first.
    waiting: VecDeque<usize>,
    /// Digests to be made, oldest first: they cost time on this thread.
    digests: VecDeque<usize>,
}

/// An operation that has ended.
#[derive(Debug)]
pub(crate) struct Finished {
    /// Whose it was: what was given to [`Operations::start`].
    pub(crate) resource: usize,
    /// For the core.
    pub(crate) completion: DiskCompletion,
    /// For the log.
    pub(crate) fault: Option<std_io::Error>,
}

#[derive(Debug)]
struct Operation {
    resource: usize,
    disk: Disk,
    op: DiskOp,
    /// Bytes of the range that are done.
    done: usize,
    /// Transfers that came out short.
    partial_transfers: u32,
    /// What was read, where it takes more than one buffer.
    collected: BytesMut,
    zeroing: Zeroing,
    /// All is written; the flush that makes it durable is under way.
    flushing: bool,
}

/// How far a zeroing operation has fallen back, or got.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Zeroing {
    Fallocate(FallocateMode),
    Write,
}

/// What became of an operation that was driven on.
enum Drive {
    /// The ring has it.
    Submitted,
    /// There is no buffer now.
    NoBuffer,
    Done(Result<Bytes, std_io::Error>),
}

impl Operations {
    pub(crate) fn new() -> Self {
        Self { operations: Slab::new(), waiting: VecDeque::new(), digests: VecDeque::new() }
    }

    /// Starts an operation on `disk`. What needs no waiting, and what names a disk that is not
    /// open, has ended on return: a merge well, for it is on none.
    pub(crate) fn start(
        &mut self,
        io: &mut Io,
        resource: usize,
        disk: Option<Disk>,
        op: DiskOp,
    ) -> Option<Finished> {
        let Some(disk) = disk.filter(|disk| disk.generation == op.generation) else {
            let result = match &op.kind {
                DiskOpKind::Merge { base, patch, at } => Ok(merged(base, patch, index(*at))),
                DiskOpKind::Read(_)
                | DiskOpKind::Write { .. }
                | DiskOpKind::Zero { .. }
                | DiskOpKind::Flush
                | DiskOpKind::MetaRead { .. }
                | DiskOpKind::MetaWrite { .. }
                | DiskOpKind::IsZero { .. }
                | DiskOpKind::Digest { .. } => Err(std_io::ErrorKind::NotConnected.into()),
            };
            return Some(finished(resource, &op, result));
        };
        let zeroing = match op.kind {
            DiskOpKind::Zero { keep_space: true, .. } => {
                Zeroing::Fallocate(FallocateMode::ZeroRange)
            }
            DiskOpKind::Zero { .. }
            | DiskOpKind::Read(_)
            | DiskOpKind::Write { .. }
            | DiskOpKind::Flush
            | DiskOpKind::MetaRead { .. }
            | DiskOpKind::MetaWrite { .. }
            | DiskOpKind::Merge { .. }
            | DiskOpKind::IsZero { .. }
            | DiskOpKind::Digest { .. } => Zeroing::Fallocate(FallocateMode::PunchHole),
        };
        let is_digest = matches!(op.kind, DiskOpKind::Digest { .. });
        let key = self.operations.insert(Operation {
            resource,
            disk,
            op,
            done: 0,
            partial_transfers: 0,
            collected: BytesMut::new(),
            zeroing,
            flushing: false,
        });
        if is_digest {
            self.digests.push_back(key);
            return None;
        }
        self.drive(io, key)
    }

    /// An operation of the ring has completed.
    pub(crate) fn handle(
        &mut self,
        io: &mut Io,
        key: usize,
        completion: Completion,
    ) -> Option<Finished> {
        let operation = self.operations.get_mut(key).expect("a completion has its operation");
        match operation.land(completion) {
            Some(result) => Some(self.finish(key, result)),
            None => self.drive(io, key),
        }
    }

    /// Goes on with what found no buffer; to be called when buffers may have come back.
    pub(crate) fn retry(&mut self, io: &mut Io, out: &mut Vec<Finished>) {
        for _ in 0..self.waiting.len() {
            let Some(key) = self.waiting.pop_front() else { return };
            let before = self.waiting.len();
            out.extend(self.drive(io, key));
            if self.waiting.len() > before {
                // Still no buffer: keep the order.
                self.waiting.rotate_right(1);
                return;
            }
        }
    }

    /// Makes the digests that this turn has time for, [`limits::DIGEST_BYTES_TURN`].
    pub(crate) fn digest(&mut self, io: &mut Io, out: &mut Vec<Finished>) {
        let mut bytes = 0;
        while bytes < limits::DIGEST_BYTES_TURN {
            let Some(key) = self.digests.pop_front() else { return };
            bytes += self.operations.get_mut(key).map_or(0, |operation| operation.range_len());
            out.extend(self.drive(io, key));
        }
    }

    /// Whether an operation of this resource is in flight.
    pub(crate) fn has_any_of(&self, resource: usize) -> bool {
        let keys = 0..self.operations.key_end();
        keys.filter_map(|key| self.operations.get(key)).any(|it| it.resource == resource)
    }

    /// Whether digests are left for the next turn, which then must not wait.
    pub(crate) fn has_digests(&self) -> bool {
        !self.digests.is_empty()
    }

    fn drive(&mut self, io: &mut Io, key: usize) -> Option<Finished> {
        let operation = self.operations.get_mut(key).expect("a driven operation exists");
        match operation.drive(io, key) {
            Drive::Submitted => None,
            Drive::NoBuffer => {
                self.waiting.push_back(key);
                None
            }
            Drive::Done(result) => Some(self.finish(key, result)),
        }
    }

    fn finish(&mut self, key: usize, result: Result<Bytes, std_io::Error>) -> Finished {
        let operation = self.operations.remove(key).expect("an operation ends once");
        finished(operation.resource, &operation.op, result)
    }
}

impl Operation {
    /// Starts the next operation of the ring.
    fn drive(&mut self, io: &mut Io, key: usize) -> Drive {
        let Disk { data: file, meta, .. } = self.disk;
        let next = match &self.op.kind {
            _ if self.flushing => Some(Op::Fsync { file: self.file().id }),
            DiskOpKind::Read(range) => {
                self.next_read(io, file.id, range.offset, index(range.len) - self.done)
            }
            DiskOpKind::MetaRead { offset, len } => {
                self.next_read(io, meta.id, *offset, index(*len) - self.done)
            }
            DiskOpKind::Write { offset, data, fua } => {
                self.next_write(io, file, *offset, data, *fua)
            }
            DiskOpKind::MetaWrite { offset, data } => {
                self.next_write(io, meta, *offset, data, true)
            }
            DiskOpKind::Zero { range, .. } => self.next_zero(io, *range),
            DiskOpKind::Flush => Some(Op::Fsync { file: file.id }),
            DiskOpKind::Merge { base, patch, at } => return merge(io, base, patch, index(*at)),
            DiskOpKind::IsZero { data } if is_zero(data) => return Drive::Done(Ok(Bytes::new())),
            DiskOpKind::IsZero { data } => return Drive::Done(Ok(data.clone())),
            DiskOpKind::Digest { data } => return Drive::Done(Ok(digest::of_blocks(data))),
        };
        match next {
            Some(op) => {
                io.submit(Token::Disk(key), op);
                Drive::Submitted
            }
            None => Drive::NoBuffer,
        }
    }

    fn next_read(&self, io: &Io, file: FileId, offset: u64, left: usize) -> Option<Op> {
        let buffer = io.take_disk(left.min(BUFFER_BYTES_MAX))?;
        Some(Op::Read { file, offset: offset + wide(self.done), buffer })
    }

    fn next_write(
        &self,
        io: &Io,
        file: BackingFile,
        offset: u64,
        data: &Bytes,
        durable: bool,
    ) -> Option<Op> {
        let dsync = durable && file.honours_dsync;
        let file = file.id;
        let end = data.len().min(self.done + BUFFER_BYTES_MAX);
        let data = io.aligned(&data.slice(self.done..end))?;
        Some(Op::Write { file, offset: offset + wide(self.done), data, dsync })
    }

    fn next_zero(&self, io: &Io, range: ByteRange) -> Option<Op> {
        let file = self.disk.data.id;
        match self.zeroing {
            Zeroing::Fallocate(mode) => {
                let (offset, len) = (range.offset, u64::from(range.len));
                Some(Op::Fallocate { file, mode, offset, len })
            }
            Zeroing::Write => {
                let len = (index(range.len) - self.done).min(BUFFER_BYTES_MAX);
                let mut zeroes = io.take_disk(len)?;
                zeroes.fill(0);
                let offset = range.offset + wide(self.done);
                Some(Op::Write { file, offset, data: zeroes.freeze(), dsync: false })
            }
        }
    }

    /// Takes in what the ring did; `None` if there is more to do.
    fn land(&mut self, completion: Completion) -> Option<Result<Bytes, std_io::Error>> {
        match completion.op {
            Op::Read { buffer, .. } => match completion.result {
                Ok(count) if index(count) == buffer.len() => self.land_read(buffer.freeze()),
                Ok(0) => Some(Err(std_io::ErrorKind::UnexpectedEof.into())),
                Ok(_) => self.land_partially(0),
                Err(error) => Some(Err(error)),
            },
            Op::Write { data, .. } => match completion.result {
                Ok(count) if index(count) == data.len() => self.land_write(data.len()),
                Ok(0) => Some(Err(std_io::ErrorKind::WriteZero.into())),
                Ok(count) => self.land_partially(index(count)),
                Err(error) => Some(Err(error)),
            },
            Op::Fallocate { mode, .. } => match completion.result {
                Ok(_) => self.land_all(),
                Err(error) if is_unsupported(&error) => {
                    self.zeroing = match mode {
                        FallocateMode::PunchHole => Zeroing::Fallocate(FallocateMode::ZeroRange),
                        FallocateMode::ZeroRange => Zeroing::Write,
                    };
                    None
                }
                Err(error) => Some(Err(error)),
            },
            Op::Fsync { .. } => Some(completion.result.map(|_| Bytes::new())),
            Op::Recv { .. } | Op::Send { .. } => {
                unreachable!("disk tokens are given to disk operations only")
            }
        }
    }

    fn land_read(&mut self, data: Bytes) -> Option<Result<Bytes, std_io::Error>> {
        self.done += data.len();
        let is_all = self.done == self.range_len();
        if is_all && self.collected.is_empty() {
            return Some(Ok(data));
        }
        self.collected.extend_from_slice(&data);
        is_all.then(|| Ok(std::mem::take(&mut self.collected).freeze()))
    }

    fn land_write(&mut self, len: usize) -> Option<Result<Bytes, std_io::Error>> {
        self.done += len;
        if self.done < self.range_len() {
            return None;
        }
        self.land_all()
    }

    /// All of the range is written: what must be durable and is not yet gets a flush.
    fn land_all(&mut self) -> Option<Result<Bytes, std_io::Error>> {
        let needs_flush = match self.op.kind {
            DiskOpKind::Zero { fua, .. } => fua,
            DiskOpKind::Write { fua, .. } => fua && !self.file().honours_dsync,
            DiskOpKind::MetaWrite { .. } => !self.file().honours_dsync,
            DiskOpKind::Read(_)
            | DiskOpKind::Flush
            | DiskOpKind::MetaRead { .. }
            | DiskOpKind::Merge { .. }
            | DiskOpKind::IsZero { .. }
            | DiskOpKind::Digest { .. } => false,
        };
        self.flushing = needs_flush;
        (!needs_flush).then(|| Ok(Bytes::new()))
    }

    /// The file that the operation concerns.
    fn file(&self) -> BackingFile {
        match self.op.kind {
            DiskOpKind::MetaRead { .. } | DiskOpKind::MetaWrite { .. } => self.disk.meta,
            DiskOpKind::Read(_)
            | DiskOpKind::Write { .. }
            | DiskOpKind::Zero { .. }
            | DiskOpKind::Flush
            | DiskOpKind::Merge { .. }
            | DiskOpKind::IsZero { .. }
            | DiskOpKind::Digest { .. } => self.disk.data,
        }
    }

    /// A transfer came out short: goes on behind its whole 4 KiB blocks.
    fn land_partially(&mut self, count: usize) -> Option<Result<Bytes, std_io::Error>> {
        self.done += count - count % PARTIAL_ALIGN;
        self.partial_transfers += 1;
        let is_stuck = self.partial_transfers > limits::PARTIAL_TRANSFERS_MAX;
        is_stuck.then(|| Err(std_io::ErrorKind::UnexpectedEof.into()))
    }

    /// Bytes that the operation reads or writes.
    fn range_len(&self) -> usize {
        match &self.op.kind {
            DiskOpKind::Read(range) | DiskOpKind::Zero { range, .. } => index(range.len),
            DiskOpKind::Write { data, .. }
            | DiskOpKind::MetaWrite { data, .. }
            | DiskOpKind::Digest { data } => data.len(),
            DiskOpKind::MetaRead { len, .. } => index(*len),
            DiskOpKind::Flush | DiskOpKind::Merge { .. } | DiskOpKind::IsZero { .. } => 0,
        }
    }
}

/// What a short write may go on from with direct I/O.
const PARTIAL_ALIGN: usize = 4096;

fn merge(io: &Io, base: &Bytes, patch: &Bytes, at: usize) -> Drive {
    if base.len() > BUFFER_BYTES_MAX {
        return Drive::Done(Ok(merged(base, patch, at)));
    }
    let Some(mut merged) = io.take_disk(base.len()) else { return Drive::NoBuffer };
    merged.copy_from_slice(base);
    merged[at..at + patch.len()].copy_from_slice(patch);
    Drive::Done(Ok(merged.freeze()))
}

/// Whether there are only zeroes; looks at a cache line at a time, and no further than it must.
fn is_zero(data: &[u8]) -> bool {
    let (lines, rest) = data.as_chunks::<64>();
    lines.iter().all(|line| line.iter().fold(0, |any, byte| any | byte) == 0)
        && rest.iter().all(|byte| *byte == 0)
}

/// A merge outside the pool.
fn merged(base: &Bytes, patch: &Bytes, at: usize) -> Bytes {
    let mut merged = BytesMut::from(&base[..]);
    merged[at..at + patch.len()].copy_from_slice(patch);
    merged.freeze()
}

fn finished(resource: usize, op: &DiskOp, result: Result<Bytes, std_io::Error>) -> Finished {
    let &DiskOp { volume, generation, token, .. } = op;
    let (result, fault) = match result {
        Ok(data) => (Ok(data), None),
        Err(error) => (Err(disk_error(&error)), Some(error)),
    };
    Finished { resource, completion: DiskCompletion { volume, generation, token, result }, fault }
}

fn disk_error(error: &std_io::Error) -> DiskError {
    match error.raw_os_error().map(Errno::from_raw_os_error) {
        Some(Errno::NOSPC | Errno::DQUOT) => DiskError::NoSpace,
        Some(_) | None => DiskError::Io,
    }
}

/// Whether the file system or device lacks this way to zero. Some drivers say EINVAL for it.
fn is_unsupported(error: &std_io::Error) -> bool {
    let errno = error.raw_os_error().map(Errno::from_raw_os_error);
    matches!(errno, Some(Errno::OPNOTSUPP | Errno::NOSYS | Errno::INVAL | Errno::NODEV))
}

fn index(len: u32) -> usize {
    usize::try_from(len).expect("a usize has at least 32 bits")
}

fn wide(len: usize) -> u64 {
    u64::try_from(len).expect("a usize has at most 64 bits")
}

#[cfg(test)]
mod tests;
