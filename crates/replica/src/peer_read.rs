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

/// A read for a peer.
#[derive(Debug)]
pub(crate) struct PeerRead {
    volume: VolumeIndex,
    range: ByteRange,
    id: RequestId,
    for_resync: bool,
    lock: Option<LockId>,
}

impl Resource {
    /// A peer wants data, for its application or its resync.
    pub(crate) fn peer_read(
        &mut self,
        peer: PeerIndex,
        volume: VolumeIndex,
        range: ByteRange,
        id: RequestId,
        for_resync: bool,
    ) -> Result<(), PeerError> {
        if self.connections[peer].inbound.in_flight() >= PEER_REQUESTS_MAX {
            return Err(PeerError::TooMany { limit: PEER_REQUESTS_MAX });
        }
        let read = PeerRead { volume, range, id, for_resync, lock: None };
        let key = self.connections[peer].inbound.reads.insert(read);
        let owner = LockOwner::PeerRead(peer, key);
        let (lock, granted) = self.volumes[volume].lock(LockKind::ResyncRead, range, owner);
        self.peer_read_mut(peer, key).lock = Some(lock);
        if granted {
            self.peer_read_locked(peer, key);
        }
        Ok(())
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
        if let Err(error) = result {
            let volume = self.peer_read_mut(peer, key).volume;
            self.disk_failed(volume, "reading for the peer", error);
            return self.peer_read_done(peer, key, Err(error));
        }
        self.peer_read_done(peer, key, result);
    }

    fn peer_read_done(&mut self, peer: PeerIndex, key: Key, result: Result<Bytes, DiskError>) {
        let inbound = &mut self.connections[peer].inbound;
        let read = inbound.reads.remove(key).expect("a read ends once");
        if inbound.linked {
            let id = read.id;
            let packet = match (result, read.for_resync) {
                (Ok(data), false) => Packet::DataReply { id, data },
                (Ok(data), true) => Packet::RsDataReply { id, data },
                (Err(_), false) => Packet::NegDataReply { id },
                (Err(_), true) => Packet::NegRsDataReply { id },
            };
            self.connections[peer].devices[read.volume].sent_bytes += u64::from(read.range.len);
            self.send(peer, packet);
        }
        self.unlock(read.volume, read.lock.expect("locked before it was read"));
    }

    fn peer_read_mut(&mut self, peer: PeerIndex, key: Key) -> &mut PeerRead {
        let reads = &mut self.connections[peer].inbound.reads;
        reads.get_mut(key).expect("events of a read come before its end")
    }
}
