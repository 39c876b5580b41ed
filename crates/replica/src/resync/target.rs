//! The target of a resync: claims ranges, asks for them, writes them, flushes in batches.

use bytes::Bytes;
use tandem_wire::{Packet, RequestId, Role, WriteKind};

use super::piece::Wanted;
use super::{Ending, Piece, Stage};
use crate::error::{DiskError, PeerError};
use crate::flush::FlushWaiter;
use crate::limits::{CHECKSUM_REQUEST_BYTES, RESYNC_FLUSH_BYTES, RESYNC_FLUSH_DELAY};
use crate::peers::{PeerIndex, VolumeIndex};
use crate::range_lock::LockKind;
use crate::resource::Resource;
use crate::slab::Key;
use crate::volume::{LockOwner, Purpose};
use crate::write::write_op;

impl Resource {
    /// Target: asks for more, as far as the pace allows; ends the resync where nothing is left. A
    /// paused one ends only when it goes on.
    pub(crate) fn pump_resync(&mut self, peer: PeerIndex, volume: VolumeIndex) {
        let device = &self.connections[peer].devices[volume];
        if !self.is_sync_target(peer, volume) || device.resync.ending != Ending::NotYet {
            return;
        }
        if device.suspended.any() {
            return self.flush_written(peer, volume);
        }
        if device.resync.pieces == 0 && self.dirty_blocks(peer, volume) == 0 {
            return self.finish_resync(peer, volume);
        }
        loop {
            let room = self.resync_room(peer, volume);
            if room == 0 {
                return self.flush_written(peer, volume);
            }
            let room = if self.compares_first(peer, volume) {
                room.min(u64::from(CHECKSUM_REQUEST_BYTES))
            } else {
                room
            };
            let Some(wanted) = self.next_dirty(peer, volume, room) else {
                break;
            };
            self.request_piece(peer, volume, wanted);
        }
        let resync = &mut self.connections[peer].devices[volume].resync;
        if resync.pieces > 0 {
            return self.flush_written(peer, volume);
        }
        // Bits were set behind the cursor: once more from the start.
        resync.cursor = 0;
        self.pump_resync(peer, volume);
    }

    fn request_piece(&mut self, peer: PeerIndex, volume: VolumeIndex, wanted: Wanted) {
        let Wanted { range, thin } = wanted;
        let connection = &mut self.connections[peer];
        let resync = &mut connection.devices[volume].resync;
        resync.open_bytes += u64::from(range.len);
        resync.pace.asked(range.len);
        resync.pieces += 1;
        let key = connection.pieces.insert(Piece {
            volume,
            range,
            thin,
            stage: Stage::Asked,
            touched: false,
            claim: None,
            lock: None,
        });
        let owner = LockOwner::ResyncClaim(peer, key);
        let (claim, granted) = self.volumes[volume].lock(LockKind::ResyncClaim, range, owner);
        self.piece(peer, key).claim = Some(claim);
        if granted {
            self.piece_claimed(peer, key);
        }
    }

    /// Its range is claimed: ask for it.
    pub(crate) fn piece_claimed(&mut self, peer: PeerIndex, key: Key) {
        let piece = self.piece(peer, key);
        let (volume, range, thin) = (piece.volume, piece.range, piece.thin);
        if self.compares_first(peer, volume) {
            return self.read_own_piece(peer, key);
        }
        let number = self.volumes[volume].number;
        self.connections[peer].expect_answer(self.now);
        let id = RequestId(key.to_bits());
        self.send(peer, Packet::RsDataRequest { volume: number, range, id, thin });
    }

    /// The data of a piece have come.
    pub(crate) fn piece_arrived(
        &mut self,
        peer: PeerIndex,
        id: RequestId,
        data: Bytes,
    ) -> Result<(), PeerError> {
        let key = Key::from_bits(id.0);
        let piece = self.connections[peer].pieces.get_mut(key);
        let fits = piece.as_ref().is_some_and(|piece| {
            matches!(piece.stage, Stage::Asked | Stage::Compared)
                && data.len() == piece.range.len as usize
        });
        if !fits {
            return Err(PeerError::UnknownRequest { packet: "RsDataReply", id: id.0 });
        }
        self.take_piece(peer, key, WriteKind::Data(data));
        Ok(())
    }

    /// A piece is zero on the source: its space is given up here.
    pub(crate) fn piece_is_zero(
        &mut self,
        peer: PeerIndex,
        id: RequestId,
    ) -> Result<(), PeerError> {
        let key = Key::from_bits(id.0);
        let piece = self.connections[peer].pieces.get_mut(key);
        if !piece.is_some_and(|piece| matches!(piece.stage, Stage::Asked) && piece.thin) {
            return Err(PeerError::UnknownRequest { packet: "RsDeallocated", id: id.0 });
        }
        self.take_piece(peer, key, WriteKind::Trim);
        Ok(())
    }

    /// What a piece is to become is known: take its range and write it.
    fn take_piece(&mut self, peer: PeerIndex, key: Key, kind: WriteKind) {
        let has_data = matches!(kind, WriteKind::Data(_));
        let piece = self.piece(peer, key);
        piece.stage = Stage::Arrived(kind);
        let (volume, range) = (piece.volume, piece.range);
        self.connections[peer].answered(self.now);
        let device = &mut self.connections[peer].devices[volume];
        device.resync.pace.arrived(range.len);
        device.received_bytes += if has_data { u64::from(range.len) } else { 0 };
        let owner = LockOwner::ResyncWrite(peer, key);
        let claim = self.piece(peer, key).claim.expect("held until it is written");
        let (lock, granted) = if self.role == Role::Primary {
            // Below the claim: a write of the application that waits for the claim must not be
            // waited for in turn.
            self.volumes[volume].lock_under(claim, LockKind::ResyncWrite, range, owner)
        } else {
            // In line: a write of the peer that waits for its epoch, which waits for another that
            // stands behind the claim, must not be waited for from in front of that one.
            self.volumes[volume].lock(LockKind::ResyncWrite, range, owner)
        };
        self.piece(peer, key).lock = Some(lock);
        if granted {
            self.piece_locked(peer, key);
        }
        self.pump_resync(peer, volume);
    }

    /// The range is its own: write it.
    pub(crate) fn piece_locked(&mut self, peer: PeerIndex, key: Key) {
        let volume = self.piece(peer, key).volume;
        if !self.volumes[volume].is_attached() {
            return; // the failed disk ends this session, and the piece with it
        }
        let piece = self.piece(peer, key);
        let range = piece.range;
        let Stage::Arrived(kind) = std::mem::replace(&mut piece.stage, Stage::Writing) else {
            unreachable!("locked when it was known what it is to become");
        };
        self.disk_op(volume, Purpose::ResyncWrite(peer, key), write_op(range, kind, false));
    }

    /// The disk has ended a piece.
    pub(crate) fn piece_written(&mut self, peer: PeerIndex, key: Key, error: Option<DiskError>) {
        let now = self.now;
        let piece = self.piece(peer, key);
        let volume = piece.volume;
        if matches!(piece.stage, Stage::Orphaned) {
            self.drop_piece(peer, key);
            self.unsettled = true;
            return;
        }
        piece.stage = Stage::Written;
        let len = u64::from(piece.range.len);
        let locks = [piece.lock.take(), piece.claim.take()];
        let resync = &mut self.connections[peer].devices[volume].resync;
        resync.written.push(key);
        resync.written_bytes += len;
        resync.written_at.get_or_insert(now);
        for lock in locks.into_iter().flatten() {
            self.unlock(volume, lock);
        }
        match error {
            None => self.flush_written(peer, volume),
            Some(error) => self.disk_failed(volume, "writing resync data", error),
        }
    }

    /// Starts a flush where enough is written, or where nothing else would move the resync on.
    fn flush_written(&mut self, peer: PeerIndex, volume: VolumeIndex) {
        let now = self.now;
        let resync = &mut self.connections[peer].devices[volume].resync;
        let all_written = resync.written.len() == resync.pieces;
        let waited = resync.written_at.is_some_and(|at| now.since(at) >= RESYNC_FLUSH_DELAY);
        let enough = resync.written_bytes >= RESYNC_FLUSH_BYTES || all_written || waited;
        if !resync.flushing.is_empty() || resync.written.is_empty() || !enough {
            return;
        }
        resync.flushing = std::mem::take(&mut resync.written);
        resync.written_bytes = 0;
        resync.written_at = None;
        self.flush_disk(volume, FlushWaiter::Resync(peer));
    }

    /// Written pieces are durable: both nodes may clear their bits.
    pub(crate) fn resync_flushed(
        &mut self,
        peer: PeerIndex,
        volume: VolumeIndex,
        result: Result<(), DiskError>,
    ) {
        let flushed = std::mem::take(&mut self.connections[peer].devices[volume].resync.flushing);
        for key in flushed {
            let Some(piece) = self.drop_piece(peer, key) else {
                continue;
            };
            if matches!(piece.stage, Stage::Orphaned) || result.is_err() {
                continue;
            }
            if let (false, Some(attached)) = (piece.touched, self.volumes[volume].attached_mut()) {
                attached.bitmaps[peer].clear(piece.range.offset, u64::from(piece.range.len));
            }
            self.send(peer, Packet::RsWriteAck { id: RequestId(key.to_bits()) });
        }
        self.measure_resync(peer, volume);
        self.pump_resync(peer, volume);
        self.unsettled = true;
    }
}
