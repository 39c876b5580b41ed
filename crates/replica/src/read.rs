//! The life of one read of the application, or of the base of an unaligned write.
//!
//! Served from the local disk where its blocks are good, else from a peer whose disk is UpToDate;
//! where a source fails the next one is tried, and only when none is left the application sees an
//! error.

use bytes::Bytes;
use tandem_wire::{ByteRange, DiskState, Packet, RequestId};

use crate::action::{AttachGeneration, ClientId, Cookie, DiskOpKind};
use crate::connection::Connection;
use crate::error::{DiskError, RequestError};
use crate::peers::{PeerIndex, PeerSet, VolumeIndex};
use crate::resource::Resource;
use crate::slab::Key;
use crate::volume::Purpose;
use crate::write::Leg;

/// Who wants the data.
#[derive(Clone, Copy, Debug)]
pub(crate) enum ReadFor {
    /// A client, for this part of the blocks read.
    Client { client: ClientId, cookie: Cookie, asked: ByteRange },
    /// A write that covers only part of its blocks.
    Base(Key),
    /// The local disk, which could not read them.
    Repair(Key),
}

/// Where a read is being served.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Source {
    /// Nowhere yet: a handshake will show where.
    Waiting,
    Local,
    Peer(PeerIndex),
}

/// A read under way.
#[derive(Debug)]
pub(crate) struct Read {
    volume: VolumeIndex,
    range: ByteRange,
    wanted_by: ReadFor,
    source: Source,
    /// The opening of the disk that could not read it.
    local_failed: Option<AttachGeneration>,
    peers_failed: PeerSet,
}

impl Read {
    fn new(volume: VolumeIndex, range: ByteRange, wanted_by: ReadFor) -> Self {
        Self {
            volume,
            range,
            wanted_by,
            source: Source::Waiting,
            local_failed: None,
            peers_failed: PeerSet::default(),
        }
    }
}

impl Resource {
    /// Reads whole blocks for `wanted_by`.
    pub(crate) fn begin_read(&mut self, volume: VolumeIndex, range: ByteRange, wanted_by: ReadFor) {
        let key = self.reads.insert(Read::new(volume, range, wanted_by));
        self.volumes[volume].counters.pending.enter(self.now);
        self.serve_read(key);
    }

    /// Reads whole blocks from this peer, or not at all.
    pub(crate) fn read_from_peer(
        &mut self,
        peer: PeerIndex,
        volume: VolumeIndex,
        range: ByteRange,
        wanted_by: ReadFor,
    ) {
        let key = self.reads.insert(Read::new(volume, range, wanted_by));
        self.ask_peer(peer, key);
    }

    fn ask_peer(&mut self, peer: PeerIndex, key: Key) {
        let read = self.read_mut(key);
        read.source = Source::Peer(peer);
        let (volume, range) = (read.volume, read.range);
        let volume = self.volumes[volume].number;
        self.connections[peer].expect_answer(self.now);
        self.send(peer, Packet::DataRequest { volume, range, id: RequestId(key.to_bits()) });
    }

    /// Finds a source for a read; fails it where there is none and none is to come.
    fn serve_read(&mut self, key: Key) {
        let read = self.reads.get(key).expect("served before its end");
        let (volume, range) = (read.volume, read.range);
        if let ReadFor::Repair(_) = read.wanted_by {
            return self.end_read(key, Err(RequestError::Io)); // the peer it was to come from failed
        }
        let opening = Some(self.volumes[volume].generation);
        if read.local_failed != opening && self.local_is_good(volume, range) {
            if self.would_go_back(volume, range) {
                return self.read_mut(key).source = Source::Waiting;
            }
            self.read_mut(key).source = Source::Local;
            self.volumes[volume].counters.read_bytes += u64::from(range.len);
            return self.disk_op(volume, Purpose::Read(key), DiskOpKind::Read(range));
        }
        let peer = self.peer_indexes().find(|peer| {
            !read.peers_failed.contains(*peer)
                && self.serves(*peer, volume)
                && !self.is_ahead_of(*peer, volume, range)
        });
        if let Some(peer) = peer {
            self.note_shown_by_peer(volume, range);
            return self.ask_peer(peer, key);
        }
        let client = self.client_of(read.wanted_by);
        if self.tries_again(client, volume) {
            // What comes back may be able to read what was not to be read before.
            let read = self.read_mut(key);
            (read.local_failed, read.peers_failed) = (None, PeerSet::default());
            read.source = Source::Waiting;
            return;
        }
        let frozen = match read.wanted_by {
            // A write that has not begun, as those at the gate.
            ReadFor::Base(_) => self.is_suspended(),
            ReadFor::Client { .. } | ReadFor::Repair(_) => self.holds_answers(),
        };
        let frozen = frozen && self.clients.contains_key(&client);
        if frozen || self.connections.iter().any(Connection::holds_requests) {
            self.read_mut(key).source = Source::Waiting;
            return;
        }
        self.end_read(key, Err(RequestError::Io));
    }

    fn client_of(&self, wanted_by: ReadFor) -> ClientId {
        match wanted_by {
            ReadFor::Client { client, .. } => client,
            ReadFor::Base(write) => self.writes.get(write).expect("its base is being read").client,
            ReadFor::Repair(_) => unreachable!("a repair waits for nothing"),
        }
    }

    /// Whether no read is under way. Those that wait for a source do not count where they are for a
    /// write that has not begun, or where they are `held`.
    pub(crate) fn reads_are_settled(&self, held: bool) -> bool {
        self.reads.iter().all(|(_, read)| {
            let may_wait = held || matches!(read.wanted_by, ReadFor::Base(_));
            may_wait && read.source == Source::Waiting
        })
    }

    /// Whether there are good data to serve: here, or at a peer that replicates.
    pub(crate) fn has_data(&self, volume: VolumeIndex) -> bool {
        self.volumes[volume].disk_state() == DiskState::UpToDate || self.is_served(volume)
    }

    /// Whether the local disk has the newest data of these blocks.
    pub(crate) fn local_is_good(&self, volume: VolumeIndex, range: ByteRange) -> bool {
        let Some(attached) = self.volumes[volume].attached() else {
            return false;
        };
        if attached.state == DiskState::UpToDate {
            return true;
        }
        attached.state == DiskState::Inconsistent
            && self.peer_indexes().any(|peer| {
                self.is_sync_target(peer, volume)
                    && !attached.bitmaps[peer].any(range.offset, u64::from(range.len))
            })
    }

    /// A write is on its way to a disk that is not the one reads are sure to be served from.
    pub(crate) fn note_shown_early(&mut self, volume: VolumeIndex, write: Key) {
        let volume = &mut self.volumes[volume];
        if volume.disk_state() != DiskState::UpToDate {
            volume.shown_early.push(write);
        }
    }

    /// A peer is asked for blocks that the good disk here could not read: it shows writes that are
    /// still on their way to that disk.
    fn note_shown_by_peer(&mut self, volume: VolumeIndex, range: ByteRange) {
        let state = &mut self.volumes[volume];
        if state.disk_state() != DiskState::UpToDate {
            return;
        }
        let shown = self.writes.iter().filter(|(_, write)| {
            write.volume == volume && write.local == Leg::Pending && write.range.overlaps(range)
        });
        for (key, _) in shown {
            if !state.shown_early.contains(&key) {
                state.shown_early.push(key);
            }
        }
    }

    /// This disk has ended a write: reads that waited for it go on.
    pub(crate) fn shown_at_last(&mut self, volume: VolumeIndex, write: Key) {
        let shown_early = &mut self.volumes[volume].shown_early;
        if let Some(index) = shown_early.iter().position(|key| *key == write) {
            shown_early.swap_remove(index);
            self.unsettled = true;
        }
    }

    /// Whether this disk may still show what was before a write that the peer has shown (INV-6).
    pub(crate) fn would_go_back(&self, volume: VolumeIndex, range: ByteRange) -> bool {
        self.volumes[volume].shown_early.iter().any(|key| {
            let write = self.writes.get(*key).expect("in flight on the disk");
            write.range.overlaps(range)
        })
    }

    /// The local disk has answered.
    pub(crate) fn local_read_done(&mut self, key: Key, result: Result<Bytes, DiskError>) {
        let read = self.read_mut(key);
        let (volume, range) = (read.volume, read.range);
        match result {
            Ok(data) if self.volumes[volume].is_attached() => self.end_read(key, Ok(data)),
            // A disk that was given up meanwhile does not count, whatever it says.
            Ok(_) => self.serve_read(key),
            Err(error) => {
                self.read_mut(key).local_failed = Some(self.volumes[volume].generation);
                self.read_failed(volume, range, "reading data", error);
                self.serve_read(key);
            }
        }
    }

    /// A peer has answered; `None` where it could not read. False for an answer to nothing.
    pub(crate) fn remote_read_done(
        &mut self,
        peer: PeerIndex,
        id: RequestId,
        data: Option<Bytes>,
    ) -> bool {
        let key = Key::from_bits(id.0);
        let Some(read) = self.reads.get_mut(key) else {
            return false;
        };
        let fits = data.as_ref().is_none_or(|data| data.len() == read.range.len as usize);
        if read.source != Source::Peer(peer) || !fits {
            return false;
        }
        let (volume, range) = (read.volume, read.range);
        self.connections[peer].answered(self.now);
        match data.filter(|_| !self.is_ahead_of(peer, volume, range)) {
            Some(data) => self.end_read(key, Ok(data)),
            None => {
                self.read_mut(key).peers_failed.insert(peer);
                self.serve_read(key);
            }
        }
        true
    }

    /// Reads that wait for a source, or for a peer that is gone, look for another one.
    pub(crate) fn retry_reads(&mut self, lost: Option<PeerIndex>) {
        let keys: Vec<Key> = self
            .reads
            .iter()
            .filter(|(_, read)| match read.source {
                Source::Waiting => true,
                Source::Peer(peer) => Some(peer) == lost,
                Source::Local => false,
            })
            .map(|(key, _)| key)
            .collect();
        for key in keys {
            if self.reads.get(key).is_some() {
                self.serve_read(key);
            }
        }
    }

    fn end_read(&mut self, key: Key, result: Result<Bytes, RequestError>) {
        let read = self.reads.remove(key).expect("a read ends once");
        self.wake_procedures();
        let pending = &mut self.volumes[read.volume].counters.pending;
        match read.wanted_by {
            ReadFor::Repair(repair) => self.repair_fetched(repair, result),
            ReadFor::Base(write) => {
                pending.leave(self.now);
                self.base_read(write, result);
            }
            ReadFor::Client { client, cookie, asked } => {
                pending.leave(self.now);
                let result = result.map(|data| {
                    let start = usize::try_from(asked.offset - read.range.offset)
                        .expect("less than a block");
                    Some(data.slice(start..start + asked.len as usize))
                });
                self.answer(client, cookie, result);
            }
        }
    }

    fn read_mut(&mut self, key: Key) -> &mut Read {
        self.reads.get_mut(key).expect("events of a read come before its end")
    }
}
