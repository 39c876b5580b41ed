//! A shard's ring and buffers, with what must wait because one of them is full.
//!
//! Three pools, so that no use can starve another that it waits for: payload (clients and peers),
//! disks (a reserve behind the payload pool), and the stream buffers of connections.

use std::collections::VecDeque;
use std::io;
use std::os::fd::OwnedFd;
use std::time::Duration;

use bytes::Bytes;
use tandem_ring::{
    Access, Buffer, Completion, Config, Engine, EngineError, FileId, Full, Op, Pool, SocketId,
    TableFull, Turn, Waker,
};

use crate::limits;
use crate::token::Token;

/// Ring and pools.
#[derive(Debug)]
pub(crate) struct Io {
    engine: Engine,
    payload: Pool,
    reserve: Pool,
    streams: Pool,
    /// Operations that found the ring full, in order.
    backlog: VecDeque<(u64, Op)>,
}

impl Io {
    /// Made on the thread that will use it, with `pool_bytes` of payload buffers.
    pub(crate) fn new(pool_bytes: usize) -> Result<Self, EngineError> {
        let payload = Pool::new(pool_bytes);
        let config = Config {
            operations_max: limits::OPERATIONS_MAX,
            descriptors_max: u32::try_from(4 * limits::CONNECTIONS_MAX).expect("a few thousand"),
        };
        Ok(Self {
            engine: Engine::new(config, &payload)?,
            payload,
            reserve: Pool::new(limits::RESERVE_BYTES),
            streams: Pool::new(2 * limits::CONNECTIONS_MAX * limits::STREAM_BYTES),
            backlog: VecDeque::new(),
        })
    }

    /// Starts an operation, or keeps it until the ring has room.
    pub(crate) fn submit(&mut self, token: Token, op: Op) {
        let token = token.encode();
        if !self.backlog.is_empty() {
            self.backlog.push_back((token, op));
            return;
        }
        if let Err(Full(op)) = self.engine.submit(token, op) {
            self.backlog.push_back((token, op));
        }
    }

    /// Submits and waits, see [`Engine::wait`].
    pub(crate) fn wait(
        &mut self,
        timeout: Option<Duration>,
        out: &mut Vec<Completion>,
    ) -> io::Result<Turn> {
        while let Some((token, op)) = self.backlog.pop_front() {
            if let Err(Full(op)) = self.engine.submit(token, op) {
                self.backlog.push_front((token, op));
                break;
            }
        }
        self.engine.wait(timeout, out)
    }

    /// A buffer for payload of clients and peers; `None`: not now.
    pub(crate) fn take_payload(&self, len: usize) -> Option<Buffer> {
        self.payload.take(len)
    }

    /// A buffer for a disk operation; `None`: not now, but soon, since the reserve is only held by
    /// operations on their way.
    pub(crate) fn take_disk(&self, len: usize) -> Option<Buffer> {
        self.payload.take(len).or_else(|| self.reserve.take(len))
    }

    /// `bytes` in memory that a disk with direct I/O accepts; `None`: not now.
    pub(crate) fn aligned(&self, bytes: &Bytes) -> Option<Bytes> {
        if bytes.as_ptr().addr().is_multiple_of(MEMORY_ALIGN) {
            return Some(bytes.clone());
        }
        let mut buffer = self.take_disk(bytes.len())?;
        buffer.copy_from_slice(bytes);
        Some(buffer.freeze())
    }

    /// The stream buffer of a connection.
    pub(crate) fn take_stream(&self) -> Option<Buffer> {
        self.streams.take(limits::STREAM_BYTES)
    }

    /// Bytes of payload buffers, at most.
    pub(crate) fn payload_bytes_max(&self) -> usize {
        self.payload.bytes_max()
    }

    pub(crate) fn register_file(
        &mut self,
        file: OwnedFd,
        access: Access,
    ) -> Result<FileId, TableFull> {
        self.engine.register_file(file, access)
    }

    pub(crate) fn unregister_file(&mut self, file: FileId) {
        self.engine.unregister_file(file);
    }

    pub(crate) fn register_socket(&mut self, socket: OwnedFd) -> Result<SocketId, TableFull> {
        self.engine.register_socket(socket)
    }

    pub(crate) fn shutdown_socket(&mut self, socket: SocketId) {
        self.engine.shutdown_socket(socket);
    }

    pub(crate) fn is_hung_up(&self, socket: SocketId) -> bool {
        self.engine.is_hung_up(socket)
    }

    pub(crate) fn unregister_socket(&mut self, socket: SocketId) {
        self.engine.unregister_socket(socket);
    }

    pub(crate) fn waker(&self) -> Waker {
        self.engine.waker()
    }

    pub(crate) fn features(&self) -> tandem_ring::Features {
        self.engine.features()
    }
}

/// What direct I/O may ask of addresses at most, and what every pooled buffer has.
const MEMORY_ALIGN: usize = 4096;
