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
//!
//! How much is asked for is the target's `pace`, how fast it is answered the source's `throttle`.

use std::collections::BTreeMap;

use tandem_wire::{ByteRange, DiskState, RequestId, WriteKind};

use crate::decision::{self, Decision, Extent, Side};
use crate::limits::BLOCK_BYTES;
use crate::peers::{PeerIndex, VolumeIndex};
use crate::range_lock::LockId;
use crate::resource::Resource;
use crate::slab::Key;
use crate::status::ResyncProgress;
use crate::store::Ticket;
use crate::time::Instant;

use meter::Meter;
use pace::Pace;
use throttle::Throttle;

mod checksum;
mod ending;
mod meter;
mod pace;
mod pause;
mod piece;
mod source;
mod target;
mod throttle;

/// A range on its way to the target.
#[derive(Debug)]
pub(crate) struct Piece {
    volume: VolumeIndex,
    range: ByteRange,
    /// Zeroes need not be sent.
    thin: bool,
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
    /// Asked for by digest.
    Compared,
    /// What it is to become waits for the range.
    Arrived(WriteKind),
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
    fresh_uuid: bool,
    disk_after: Option<DiskState>,
    /// A Primary has crashed since both nodes had the same.
    after_crash: bool,
    /// Target: found to be there already.
    same_bytes: u64,
    meter: Option<Meter>,
    /// Target: how much may be asked for.
    pub(crate) pace: Pace,
    /// Target: where to look for the next blocks to ask for.
    cursor: u64,
    /// Target: pieces under way.
    pieces: usize,
    /// Target: bytes of those pieces.
    pub(crate) open_bytes: u64,
    written: Vec<Key>,
    written_bytes: u64,
    /// When the first of those was written.
    written_at: Option<Instant>,
    flushing: Vec<Key>,
    ending: Ending,
    /// Source: what has been asked for and is not acked; true where touched.
    serving: BTreeMap<RequestId, (ByteRange, bool)>,
    /// Source: bytes of those.
    serving_bytes: u64,
    /// Source: what of those is not answered, for the sake of applications.
    throttle: Throttle,
}

impl Resync {
    /// Remembers what was decided, for the steps to come.
    pub(crate) fn plan(&mut self, decision: &Decision, mine: &Side, theirs: &Side) {
        self.full =
            matches!(decision, Decision::Source(Extent::Full) | Decision::Target(Extent::Full));
        self.fresh_uuid = decision::needs_fresh_sync_uuid(mine, theirs);
        self.after_crash = mine.uuids.flags.crashed_primary || theirs.uuids.flags.crashed_primary;
        self.disk_after = Some(decision::disk_after(*decision, mine, theirs));
    }

    /// Source: the target's generation for the time of the resync is to be one of its own.
    pub(crate) fn wants_fresh_uuid(&self) -> bool {
        self.fresh_uuid
    }

    /// Whether both ends have begun to agree that it is over.
    pub(crate) fn is_ending(&self) -> bool {
        self.ending != Ending::NotYet
    }

    pub(crate) fn is_full(&self) -> bool {
        self.full
    }

    pub(crate) fn disk_after(&self) -> DiskState {
        self.disk_after.expect("planned before it is prepared")
    }
}

impl Resource {
    /// Blocks are to be copied from here on, by either end.
    pub(crate) fn begin_resync(&mut self, peer: PeerIndex, volume: VolumeIndex) {
        let (left_bytes, now) = (self.dirty_bytes(peer, volume), self.now);
        let device = &mut self.connections[peer].devices[volume];
        let mut meter = Meter::new(left_bytes, now);
        meter.set_paused(device.suspended.any(), left_bytes, now);
        device.resync.meter = Some(meter);
        device.resync.cursor = 0;
        device.resync.same_bytes = 0;
    }

    /// What is due by the pace of a target and the throttle of a source.
    pub(crate) fn step_resyncs(&mut self, peer: PeerIndex) {
        for volume in self.volume_indexes() {
            let config = self.resync_config(peer, volume);
            let now = self.now;
            let resync = &mut self.connections[peer].devices[volume].resync;
            if resync.pace.due().is_some_and(|due| due <= now) {
                resync.pace.step(&config, now);
                self.pump_resync(peer, volume);
            }
            self.serve_resync(peer, volume);
        }
    }

    /// When `step_resyncs` wants to be called.
    pub(crate) fn resync_deadline(&self, peer: PeerIndex) -> Option<Instant> {
        let volumes = self.volume_indexes().filter_map(|volume| {
            let resync = &self.connections[peer].devices[volume].resync;
            let until = self.application_until(volume);
            let rate_min = self.resync_config(peer, volume).c_min_rate;
            let throttle = resync.throttle.due(rate_min, until);
            resync.pace.due().into_iter().chain(throttle).min()
        });
        volumes.min()
    }

    /// How far the resync is that runs or is paused.
    pub(crate) fn resync_progress(
        &self,
        peer: PeerIndex,
        volume: VolumeIndex,
        now: Instant,
    ) -> Option<ResyncProgress> {
        let resync = &self.connections[peer].devices[volume].resync;
        let left_bytes = self.dirty_bytes(peer, volume);
        let meter = resync.meter.as_ref()?;
        let progress = meter.progress(left_bytes, resync.pace.wanted_rate(), now);
        Some(ResyncProgress { same_checksum_bytes: resync.same_bytes, ..progress })
    }

    pub(crate) fn dirty_bytes(&self, peer: PeerIndex, volume: VolumeIndex) -> u64 {
        self.dirty_blocks(peer, volume) * u64::from(BLOCK_BYTES)
    }

    /// Bits were cleared on this side.
    fn measure_resync(&mut self, peer: PeerIndex, volume: VolumeIndex) {
        let (left_bytes, now) = (self.dirty_bytes(peer, volume), self.now);
        if let Some(meter) = &mut self.connections[peer].devices[volume].resync.meter {
            meter.advance(left_bytes, now);
        }
    }

    /// A write missed one side: what the resync has under way there does not make it equal.
    pub(crate) fn touch_resync(&mut self, peer: PeerIndex, volume: VolumeIndex, range: ByteRange) {
        let connection = &mut self.connections[peer];
        for (served, touched) in connection.devices[volume].resync.serving.values_mut() {
            *touched |= served.overlaps(range);
        }
        for piece in connection.pieces.iter_mut() {
            piece.touched |= piece.volume == volume && piece.range.overlaps(range);
        }
    }

    /// The link is gone: locks are given back, and only what the disk still writes is waited for.
    pub(crate) fn resync_link_lost(&mut self, peer: PeerIndex) {
        for volume in self.volume_indexes() {
            let resync = &mut self.connections[peer].devices[volume].resync;
            resync.serving.clear();
            resync.serving_bytes = 0;
            resync.throttle.reset();
            resync.pace.reset();
            resync.ending = Ending::NotYet;
            resync.meter = None;
            resync.written_bytes = 0;
            resync.written.clear();
            resync.written_at = None;
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
        resync.open_bytes -= u64::from(piece.range.len);
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
