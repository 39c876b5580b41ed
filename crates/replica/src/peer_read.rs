//! Reads for a peer: of its application, and of its resync.

use bytes::Bytes;
use tandem_wire::{ByteRange, Packet, RequestId};

use crate::action::DiskOpKind;
use crate::error::{DiskError, PeerError};
use crate::limits::PEER_REQUESTS_MAX;
use crate::peers::{PeerIndex, VolumeIndex};
use crate::range_lock::{LockId, LockKind};
use crate::resource::Resource;
use crate::slab::Key;
use crate::volume::{LockOwner, Purpose};

/// What a peer wants to read for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PeerReadFor {
    /// Its application.
    Application,
    /// Its resync.
    Resync,
    /// Its resync, which need not be sent zeroes.
    ThinResync,
}

/// A read for a peer.
#[derive(Debug)]
pub(crate) struct PeerRead {
    volume: VolumeIndex,
    range: ByteRange,
    id: RequestId,
    wanted_for: PeerReadFor,
    lock: Option<LockId>,
}

impl Resource {
    /// A peer wants data for its application.
    pub(crate) fn peer_read(
        &mut self,
        peer: PeerIndex,
        volume: VolumeIndex,
        range: ByteRange,
        id: RequestId,
    ) -> Result<(), PeerError> {
        if self.connections[peer].inbound.in_flight() >= PEER_REQUESTS_MAX {
            return Err(PeerError::TooMany { limit: PEER_REQUESTS_MAX });
        }
        self.read_for_peer(peer, volume, range, id, PeerReadFor::Application);
        Ok(())
    }

    /// Reads under the lock of the range, and answers.
    pub(crate) fn read_for_peer(
        &mut self,
        peer: PeerIndex,
        volume: VolumeIndex,
        range: ByteRange,
        id: RequestId,
        wanted_for: PeerReadFor,
    ) {
        let read = PeerRead { volume, range, id, wanted_for, lock: None };
        let key = self.connections[peer].inbound.reads.insert(read);
        let owner = LockOwner::PeerRead(peer, key);
        let (lock, granted) = self.volumes[volume].lock(LockKind::ResyncRead, range, owner);
        self.peer_read_mut(peer, key).lock = Some(lock);
        if granted {
            self.peer_read_locked(peer, key);
        }
    }

    pub(crate) fn peer_read_locked(&mut self, peer: PeerIndex, key: Key) {
        let read = self.peer_read_mut(peer, key);
        let (volume, range) = (read.volume, read.range);
        if !self.local_is_good(volume, range) {
            return self.peer_read_done(peer, key, Err(DiskError::Io));
        }
        self.disk_op(volume, Purpose::PeerRead(peer, key), DiskOpKind::Read(range));
    }

    pub(crate) fn peer_read_ended(
        &mut self,
        peer: PeerIndex,
        key: Key,
        result: Result<Bytes, DiskError>,
    ) {
        let read = self.peer_read_mut(peer, key);
        let (volume, wanted_for) = (read.volume, read.wanted_for);
        match result {
            Err(error) => self.disk_failed(volume, "reading for the peer", error),
            Ok(data) if wanted_for == PeerReadFor::ThinResync => {
                let kind = DiskOpKind::IsZero { data };
                return self.disk_op(volume, Purpose::ZeroTest(peer, key), kind);
            }
            Ok(_) => {}
        }
        self.peer_read_done(peer, key, result);
    }

    /// What was read has been looked at: empty where it is zero.
    pub(crate) fn zero_tested(
        &mut self,
        peer: PeerIndex,
        key: Key,
        result: Result<Bytes, DiskError>,
    ) {
        self.peer_read_done(peer, key, result);
    }

    fn peer_read_done(&mut self, peer: PeerIndex, key: Key, result: Result<Bytes, DiskError>) {
        let inbound = &mut self.connections[peer].inbound;
        let read = inbound.reads.remove(key).expect("a read ends once");
        if inbound.linked {
            let id = read.id;
            let for_application = read.wanted_for == PeerReadFor::Application;
            let packet = match result {
                Ok(data) if for_application => Packet::DataReply { id, data },
                // A read is of at least one byte: nothing is left of zeroes only.
                Ok(data) if data.is_empty() => Packet::RsDeallocated { id },
                Ok(data) => Packet::RsDataReply { id, data },
                Err(_) if for_application => Packet::NegDataReply { id },
                Err(_) => Packet::NegRsDataReply { id },
            };
            if !matches!(packet, Packet::RsDeallocated { .. }) {
                self.connections[peer].devices[read.volume].sent_bytes += u64::from(read.range.len);
            }
            self.send(peer, packet);
        }
        self.unlock(read.volume, read.lock.expect("locked before it was read"));
    }

    fn peer_read_mut(&mut self, peer: PeerIndex, key: Key) -> &mut PeerRead {
        let reads = &mut self.connections[peer].inbound.reads;
        reads.get_mut(key).expect("events of a read come before its end")
    }
}
