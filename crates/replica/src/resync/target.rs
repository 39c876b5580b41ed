//! The target of a resync: claims ranges, asks for them, writes them, flushes in batches.

use bytes::Bytes;
use tandem_wire::{ByteRange, Packet, RequestId, Role};

use super::{Ending, Piece, Stage};
use crate::action::DiskOpKind;
use crate::error::{DiskError, PeerError};
use crate::flush::FlushWaiter;
use crate::limits::{BLOCK_BYTES, RESYNC_FLUSH_BYTES, RESYNC_REQUEST_BYTES};
use crate::peers::{PeerIndex, VolumeIndex};
use crate::range_lock::LockKind;
use crate::resource::Resource;
use crate::slab::Key;
use crate::volume::{LockOwner, Purpose};

impl Resource {
    /// Target: asks for more, as far as the window allows; ends the resync where nothing is left.
    pub(crate) fn pump_resync(&mut self, peer: PeerIndex, volume: VolumeIndex) {
        if !self.is_sync_target(peer, volume) {
            return;
        }
        let window = u64::from(self.connections[peer].config.net.resync_window_bytes);
        loop {
            let resync = &self.connections[peer].devices[volume].resync;
            if resync.in_flight_bytes >= window || resync.ending != Ending::NotYet {
                return;
            }
            let Some(range) = self.next_dirty(peer, volume) else {
                break;
            };
            self.request_piece(peer, volume, range);
        }
        let empty = self.dirty_blocks(peer, volume) == 0;
        let resync = &mut self.connections[peer].devices[volume].resync;
        if resync.pieces > 0 {
            return self.flush_written(peer, volume);
        }
        if empty {
            return self.finish_resync(peer, volume);
        }
        // Bits were set behind the cursor: once more from the start.
        resync.cursor = 0;
        self.pump_resync(peer, volume);
    }

    /// The next range to ask for; moves the cursor behind it.
    fn next_dirty(&mut self, peer: PeerIndex, volume: VolumeIndex) -> Option<ByteRange> {
        let blocks_max = u64::from(RESYNC_REQUEST_BYTES / BLOCK_BYTES);
        let resync = &mut self.connections[peer].devices[volume].resync;
        let attached = self.volumes[volume].attached()?;
        let run = attached.bitmaps[peer].next_run(resync.cursor, blocks_max)?;
        resync.cursor = run.end;
        let block = u64::from(BLOCK_BYTES);
        let offset = run.start * block;
        let end = (run.end * block).min(self.volumes[volume].size_bytes);
        let len = u32::try_from(end - offset).expect("at most one request");
        Some(ByteRange::new(offset, len))
    }

    fn request_piece(&mut self, peer: PeerIndex, volume: VolumeIndex, range: ByteRange) {
        let connection = &mut self.connections[peer];
        let resync = &mut connection.devices[volume].resync;
        resync.in_flight_bytes += u64::from(range.len);
        resync.pieces += 1;
        let key = connection.pieces.insert(Piece {
            volume,
            range,
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
        let (volume, range) = (piece.volume, piece.range);
        let number = self.volumes[volume].number;
        self.connections[peer].expect_answer(self.now);
        let id = RequestId(key.to_bits());
        self.send(peer, Packet::RsDataRequest { volume: number, range, id });
    }

    /// The data of a piece have come: take its range and write it.
    pub(crate) fn piece_arrived(
        &mut self,
        peer: PeerIndex,
        id: RequestId,
        data: Bytes,
    ) -> Result<(), PeerError> {
        let key = Key::from_bits(id.0);
        let piece = self.connections[peer].pieces.get_mut(key);
        let fits = piece.as_ref().is_some_and(|piece| {
            matches!(piece.stage, Stage::Asked) && data.len() == piece.range.len as usize
        });
        let (Some(piece), true) = (piece, fits) else {
            return Err(PeerError::UnknownRequest { packet: "RsDataReply", id: id.0 });
        };
        piece.stage = Stage::Arrived(data);
        let (volume, range) = (piece.volume, piece.range);
        self.connections[peer].answered(self.now);
        self.connections[peer].devices[volume].received_bytes += u64::from(range.len);
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
        Ok(())
    }

    /// The range is its own: write it.
    pub(crate) fn piece_locked(&mut self, peer: PeerIndex, key: Key) {
        let volume = self.piece(peer, key).volume;
        if !self.volumes[volume].is_attached() {
            return; // the failed disk ends this session, and the piece with it
        }
        let piece = self.piece(peer, key);
        let offset = piece.range.offset;
        let Stage::Arrived(data) = std::mem::replace(&mut piece.stage, Stage::Writing) else {
            unreachable!("locked when its data came");
        };
        let kind = DiskOpKind::Write { offset, data, fua: false };
        self.disk_op(volume, Purpose::ResyncWrite(peer, key), kind);
    }

    /// The disk has ended a piece.
    pub(crate) fn piece_written(&mut self, peer: PeerIndex, key: Key, error: Option<DiskError>) {
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
        let resync = &mut self.connections[peer].devices[volume].resync;
        let all_written = resync.written.len() == resync.pieces;
        let enough = resync.written_bytes >= RESYNC_FLUSH_BYTES || all_written;
        if !resync.flushing.is_empty() || resync.written.is_empty() || !enough {
            return;
        }
        resync.flushing = std::mem::take(&mut resync.written);
        resync.written_bytes = 0;
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
        self.pump_resync(peer, volume);
        self.unsettled = true;
    }
}
