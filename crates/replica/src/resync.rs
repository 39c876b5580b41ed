//! The resync of one volume with one peer, both ends.
//!
//! The target pulls. It claims a range (its own application's writes wait, a peer's pass), asks for
//! it, takes the range for itself when the data come, writes them, and flushes in batches; only
//! then are its bits cleared and the source told (`RsWriteAck`), which clears its own. So a bit is
//! cleared when the block is durable on the target, and a block that is touched meanwhile by a
//! write that missed one side keeps its bit.
//!
//! The source reads under the range lock: every write that it sent before its answer is in the
//! answer, every later one follows it on the link.

use std::collections::BTreeMap;

use bytes::Bytes;
use tandem_wire::{ByteRange, DiskState, Packet, RequestId, Role, Uuid, VolumeNumber};

use crate::action::{DiskOpKind, Severity};
use crate::decision::{self, Decision, Extent, Side};
use crate::error::{DiskError, PeerError};
use crate::flush::FlushWaiter;
use crate::limits::{BLOCK_BYTES, RESYNC_FLUSH_BYTES, RESYNC_REQUEST_BYTES};
use crate::meta::BootId;
use crate::peer_device::Replication;
use crate::peers::{PeerIndex, VolumeIndex};
use crate::range_lock::{LockId, LockKind};
use crate::resource::Resource;
use crate::slab::Key;
use crate::store::Ticket;
use crate::time::Instant;
use crate::volume::{LockOwner, Purpose};

/// A range on its way to the target.
#[derive(Debug)]
pub(crate) struct Piece {
    volume: VolumeIndex,
    range: ByteRange,
    stage: Stage,
    /// A write missed one side since it was asked for: its bits stay.
    touched: bool,
    claim: Option<LockId>,
    lock: Option<LockId>,
}

/// Where a piece stands.
#[derive(Debug)]
enum Stage {
    /// Claimed, or waiting for the claim; asked for.
    Asked,
    /// Its data wait for the range.
    Arrived(Bytes),
    /// The disk writes it.
    Writing,
    /// Waits for a flush.
    Written,
    /// The session ended; only the disk is waited for.
    Orphaned,
}

/// How far the end of a resync has come. The target has everything and says so; the source makes
/// durable that the target may hold its generation from here on; the target takes it over; the
/// source forgets what it tracked. Wherever that is cut off, later writes tell the generations
/// apart.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Ending {
    #[default]
    NotYet,
    /// Target: the source has been told.
    Told,
    /// Target: its new generation is on its way to disk. Source: what it allows is.
    Saving(Ticket),
    /// Source: the target may take the generation over.
    Allowed,
}

/// One volume's resync with one peer.
#[derive(Debug, Default)]
pub(crate) struct Resync {
    full: bool,
    disk_after: Option<DiskState>,
    pub(crate) total_blocks: u64,
    pub(crate) began_at: Option<Instant>,
    /// Target: where to look for the next blocks to ask for.
    cursor: u64,
    /// Target: pieces under way.
    pieces: usize,
    pub(crate) in_flight_bytes: u64,
    written: Vec<Key>,
    written_bytes: u64,
    flushing: Vec<Key>,
    ending: Ending,
    /// Source: what has been asked for and is not acked; true where touched.
    serving: BTreeMap<RequestId, (ByteRange, bool)>,
}

impl Resync {
    /// Remembers what was decided, for the steps to come.
    pub(crate) fn plan(&mut self, decision: &Decision, mine: &Side, theirs: &Side) {
        self.full =
            matches!(decision, Decision::Source(Extent::Full) | Decision::Target(Extent::Full));
        self.disk_after = Some(decision::disk_after(*decision, mine, theirs));
    }

    pub(crate) fn is_full(&self) -> bool {
        self.full
    }

    pub(crate) fn disk_after(&self) -> DiskState {
        self.disk_after.expect("planned before it is prepared")
    }

    pub(crate) fn begin(&mut self, dirty_blocks: u64, now: Instant) {
        self.total_blocks = dirty_blocks;
        self.began_at = Some(now);
        self.cursor = 0;
    }
}

fn overlaps(a: ByteRange, b: ByteRange) -> bool {
    a.offset < b.end() && b.offset < a.end()
}

impl Resource {
    /// A write missed one side: what the resync has under way there does not make it equal.
    pub(crate) fn touch_resync(&mut self, peer: PeerIndex, volume: VolumeIndex, range: ByteRange) {
        let connection = &mut self.connections[peer];
        for (served, touched) in connection.devices[volume].resync.serving.values_mut() {
            *touched |= overlaps(*served, range);
        }
        for piece in connection.pieces.iter_mut() {
            piece.touched |= piece.volume == volume && overlaps(piece.range, range);
        }
    }

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

    /// Target: nothing differs any more, and all of it is durable.
    fn finish_resync(&mut self, peer: PeerIndex, volume: VolumeIndex) {
        let device = &mut self.connections[peer].devices[volume];
        device.resync.ending = Ending::Told;
        let packet = Packet::SyncDone(self.volumes[volume].number, device.peer_current);
        self.connections[peer].expect_answer(self.now);
        self.send(peer, packet);
    }

    /// `SyncDone`, from either end.
    pub(crate) fn resync_done(
        &mut self,
        peer: PeerIndex,
        number: VolumeNumber,
        reached: Uuid,
    ) -> Result<(), PeerError> {
        let volume = self.volume_of_peer(number)?;
        let device = &self.connections[peer].devices[volume];
        let expected = match device.replication {
            Replication::SyncSource => device.resync.ending == Ending::NotYet,
            Replication::SyncTarget => device.resync.ending == Ending::Told,
            Replication::Off | Replication::Preparing { .. } | Replication::Established => false,
        };
        if !expected {
            return Err(PeerError::Unexpected { packet: "SyncDone", phase: "not at its end" });
        }
        let is_source = device.replication == Replication::SyncSource;
        let current = if is_source { self.current_uuid(volume) } else { device.peer_current };
        let boot_id = self.config.boot_id;
        let dirty = self.dirty_blocks(peer, volume) > 0;
        let Some(attached) = self.volumes[volume].attached_mut() else { return Ok(()) };
        if reached != current || dirty {
            self.renegotiate(peer, "blocks were written past the end of the resync");
            return Ok(());
        }
        if is_source {
            attached.store.allow_current(peer);
        } else {
            self.connections[peer].answered(self.now);
            attached.store.adopt_current(current);
            attached.store.forget_bitmap_uuid(peer);
            attached.store.set_disk_state(DiskState::UpToDate);
            attached.store.peer_mut(peer).boot_id = BootId(boot_id);
        }
        let ticket = self.commit(volume, true);
        self.connections[peer].devices[volume].resync.ending = Ending::Saving(ticket);
        Ok(())
    }

    /// Takes the end on when what it waits for has become durable.
    pub(crate) fn advance_resync(&mut self, peer: PeerIndex, volume: VolumeIndex) {
        let device = &self.connections[peer].devices[volume];
        let Ending::Saving(ticket) = device.resync.ending else { return };
        if !self.is_durable(volume, ticket) {
            return;
        }
        if device.replication == Replication::SyncSource {
            self.connections[peer].devices[volume].resync.ending = Ending::Allowed;
            let packet = Packet::SyncDone(self.volumes[volume].number, self.current_uuid(volume));
            return self.send(peer, packet);
        }
        let attached = self.volumes[volume].attached_mut().expect("durable only on a disk");
        attached.state = DiskState::UpToDate;
        self.end_of_resync(peer, volume);
        self.broadcast_states();
        self.retry_reads(None);
    }

    /// Source: the target says what its disk is; `UpToDate` is the last word of a resync.
    pub(crate) fn target_tells(&mut self, peer: PeerIndex, volume: VolumeIndex) {
        let device = &self.connections[peer].devices[volume];
        if device.resync.ending != Ending::Allowed || device.disk != DiskState::UpToDate {
            return;
        }
        if self.dirty_blocks(peer, volume) > 0 {
            return self.renegotiate(peer, "blocks were written past the end of the resync");
        }
        if let Some(attached) = self.volumes[volume].attached_mut() {
            attached.store.forget_bitmap_uuid(peer);
            self.commit(volume, true);
        }
        self.end_of_resync(peer, volume);
        self.send_state(peer, volume);
    }

    fn end_of_resync(&mut self, peer: PeerIndex, volume: VolumeIndex) {
        let now = self.now;
        let device = &mut self.connections[peer].devices[volume];
        device.replication = Replication::Established;
        let resync = &mut device.resync;
        resync.ending = Ending::NotYet;
        let blocks = resync.total_blocks;
        let began = resync.began_at.take();
        resync.total_blocks = 0;
        let seconds = began.map_or(0.0, |began| now.since(began).as_secs_f64());
        let text = format!("resync done: {blocks} blocks of 4 KiB in {seconds:.1} s");
        self.note(Some(volume), Some(peer), Severity::Info, text);
    }

    /// Source: the target asks for a range.
    pub(crate) fn resync_request(
        &mut self,
        peer: PeerIndex,
        number: VolumeNumber,
        range: ByteRange,
        id: RequestId,
    ) -> Result<(), PeerError> {
        let volume = self.volume_of_peer(number)?;
        self.check_peer_range(volume, range, "RsDataRequest")?;
        let device = &mut self.connections[peer].devices[volume];
        if device.replication != Replication::SyncSource {
            return Err(PeerError::Unexpected { packet: "RsDataRequest", phase: "not SyncSource" });
        }
        if device.resync.serving.insert(id, (range, false)).is_some() {
            return Err(PeerError::UnknownRequest { packet: "RsDataRequest", id: id.0 });
        }
        self.peer_read(peer, volume, range, id, true)
    }

    /// Source: the target has a range durably.
    pub(crate) fn resync_acked(&mut self, peer: PeerIndex, id: RequestId) -> Result<(), PeerError> {
        for volume in self.volume_indexes() {
            let serving = &mut self.connections[peer].devices[volume].resync.serving;
            let Some((range, touched)) = serving.remove(&id) else {
                continue;
            };
            if let (false, Some(attached)) = (touched, self.volumes[volume].attached_mut()) {
                attached.bitmaps[peer].clear(range.offset, u64::from(range.len));
            }
            return Ok(());
        }
        Err(PeerError::UnknownRequest { packet: "RsWriteAck", id: id.0 })
    }

    /// The link is gone: locks are given back, and only what the disk still writes is waited for.
    pub(crate) fn resync_link_lost(&mut self, peer: PeerIndex) {
        for volume in self.volume_indexes() {
            let resync = &mut self.connections[peer].devices[volume].resync;
            resync.serving.clear();
            resync.ending = Ending::NotYet;
            resync.began_at = None;
            resync.total_blocks = 0;
            resync.written_bytes = 0;
            resync.written.clear();
        }
        let keys: Vec<Key> = self.connections[peer].pieces.iter().map(|(key, _)| key).collect();
        for key in keys {
            let piece = self.piece(peer, key);
            let volume = piece.volume;
            let on_disk = matches!(piece.stage, Stage::Writing | Stage::Orphaned);
            if on_disk || self.connections[peer].devices[volume].resync.flushing.contains(&key) {
                self.piece(peer, key).stage = Stage::Orphaned;
            } else {
                self.drop_piece(peer, key);
            }
        }
    }

    /// Forgets a piece and gives its range back.
    fn drop_piece(&mut self, peer: PeerIndex, key: Key) -> Option<Piece> {
        let connection = &mut self.connections[peer];
        let piece = connection.pieces.remove(key)?;
        let resync = &mut connection.devices[piece.volume].resync;
        resync.in_flight_bytes -= u64::from(piece.range.len);
        resync.pieces -= 1;
        for lock in [piece.lock, piece.claim].into_iter().flatten() {
            self.unlock(piece.volume, lock);
        }
        Some(piece)
    }

    fn piece(&mut self, peer: PeerIndex, key: Key) -> &mut Piece {
        self.connections[peer].pieces.get_mut(key).expect("events of a piece come before its end")
    }
}
