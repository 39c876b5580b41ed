//! Reads for a peer: of its application, of its resync, and for comparing.
//!
//! A range is locked from the arrival of the request until the answer is queued: writes sent
//! before it are in the answer, later ones follow it. That holds for digests too, so that whoever
//! compares them knows which writes they are of.

use bytes::Bytes;
use tandem_wire::{ByteRange, Packet, RequestId};

use crate::action::DiskOpKind;
use crate::error::{DiskError, PeerError};
use crate::limits::PEER_REQUESTS_MAX;
use crate::peer_device::Replication;
use crate::peers::{PeerIndex, VolumeIndex};
use crate::range_lock::{LockId, LockKind};
use crate::resource::Resource;
use crate::slab::Key;
use crate::volume::{LockOwner, Purpose};

/// What a peer wants to read for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum PeerReadFor {
    /// Its application.
    Application,
    /// Its resync.
    Resync,
    /// Its resync, which need not be sent zeroes.
    ThinResync,
    /// Its resync, which need not be sent what has these digests.
    ChecksumResync(Bytes),
    /// Its online verify: digests are wanted.
    Verify,
}

/// A read for a peer.
#[derive(Debug)]
pub(crate) struct PeerRead {
    volume: VolumeIndex,
    range: ByteRange,
    id: RequestId,
    wanted_for: PeerReadFor,
    /// What was read, while its digests are made.
    data: Bytes,
    lock: Option<LockId>,
}

impl Resource {
    /// A peer wants to know what a range holds, for its application or its verify.
    pub(crate) fn peer_read(
        &mut self,
        peer: PeerIndex,
        volume: VolumeIndex,
        range: ByteRange,
        id: RequestId,
        wanted_for: PeerReadFor,
    ) -> Result<(), PeerError> {
        if self.connections[peer].inbound.in_flight() >= PEER_REQUESTS_MAX {
            return Err(PeerError::TooMany { limit: PEER_REQUESTS_MAX });
        }
        self.read_for_peer(peer, volume, range, id, wanted_for);
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
        let read = PeerRead { volume, range, id, wanted_for, data: Bytes::new(), lock: None };
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
        if !self.may_be_read(peer, key) {
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
        let volume = read.volume;
        match (result, &read.wanted_for) {
            (Err(error), wanted_for) => {
                // Who wants data hears of the failed disk by the end of the session: an answer
                // before that would look as if nobody had them though the disk is good.
                // So does one whose resync needs them: no resync ends without.
                let verifies = *wanted_for == PeerReadFor::Verify;
                let may_stay = verifies || *wanted_for == PeerReadFor::Application;
                let range = read.range;
                let stays = may_stay && self.passes_on(volume, error);
                if stays {
                    self.note_passed_on(volume, range, "reading for the peer", error);
                } else {
                    self.disk_failed(volume, "reading for the peer", error);
                }
                if verifies || stays {
                    return self.peer_read_done(peer, key, Err(error));
                }
                self.drop_peer_read(peer, key);
            }
            (Ok(data), PeerReadFor::Application | PeerReadFor::Resync) => {
                self.peer_read_done(peer, key, Ok(data));
            }
            (Ok(data), PeerReadFor::ThinResync) => {
                let kind = DiskOpKind::IsZero { data };
                self.disk_op(volume, Purpose::PeerReadLook(peer, key), kind);
            }
            (Ok(data), PeerReadFor::ChecksumResync(_) | PeerReadFor::Verify) => {
                read.data = data.clone();
                let kind = DiskOpKind::Digest { data };
                self.disk_op(volume, Purpose::PeerReadLook(peer, key), kind);
            }
        }
    }

    /// Whether this node has good data; for a comparison also whether the peer is to have the same,
    /// for it misses what is only told to it.
    fn may_be_read(&self, peer: PeerIndex, key: Key) -> bool {
        let inbound = &self.connections[peer].inbound;
        let read = inbound.reads.get(key).expect("events of a read come before its end");
        let device = &self.connections[peer].devices[read.volume];
        let comparable = match read.wanted_for {
            PeerReadFor::Verify => device.replication == Replication::Established,
            PeerReadFor::Application
            | PeerReadFor::Resync
            | PeerReadFor::ThinResync
            | PeerReadFor::ChecksumResync(_) => true,
        };
        let good = self.local_is_good(read.volume, read.range);
        comparable && (good || self.outdates_itself(peer, read.volume))
    }

    /// What was read has been looked at: whether it is zero, or what its digests are.
    pub(crate) fn peer_read_looked_at(
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
            let len = u64::from(read.range.len);
            let packet = answer(read.id, read.wanted_for, read.data, result);
            if matches!(packet, Packet::DataReply { .. } | Packet::RsDataReply { .. }) {
                self.connections[peer].devices[read.volume].sent_bytes += len;
            }
            self.send(peer, packet);
        }
        self.unlock(read.volume, read.lock.expect("locked before it was read"));
    }

    fn drop_peer_read(&mut self, peer: PeerIndex, key: Key) {
        let inbound = &mut self.connections[peer].inbound;
        let read = inbound.reads.remove(key).expect("a read ends once");
        self.unlock(read.volume, read.lock.expect("locked before it was read"));
    }

    fn peer_read_mut(&mut self, peer: PeerIndex, key: Key) -> &mut PeerRead {
        let reads = &mut self.connections[peer].inbound.reads;
        reads.get_mut(key).expect("events of a read come before its end")
    }
}

/// `result` is what was read or what a look at it has found; in the latter case `data` is what was
/// looked at.
fn answer(
    id: RequestId,
    wanted_for: PeerReadFor,
    data: Bytes,
    result: Result<Bytes, DiskError>,
) -> Packet {
    use PeerReadFor::{Application, ChecksumResync, Resync, ThinResync, Verify};
    match (result, wanted_for) {
        (Ok(data), Application) => Packet::DataReply { id, data },
        (Ok(data), Resync) => Packet::RsDataReply { id, data },
        // A read is of at least one byte: nothing is left of zeroes only.
        (Ok(left), ThinResync) if left.is_empty() => Packet::RsDeallocated { id },
        (Ok(data), ThinResync) => Packet::RsDataReply { id, data },
        (Ok(mine), ChecksumResync(theirs)) if mine == theirs => Packet::RsIsInSync { id },
        (Ok(_), ChecksumResync(_)) => Packet::RsDataReply { id, data },
        (Ok(digests), Verify) => Packet::OvReply { id, digests },
        (Err(_), Application) => Packet::NegDataReply { id },
        (Err(_), Resync | ThinResync | ChecksumResync(_)) => Packet::NegRsDataReply { id },
        (Err(_), Verify) => Packet::NegOvReply { id },
    }
}
