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
use tandem_wire::{ByteRange, DiskState, RequestId};

use crate::decision::{self, Decision, Extent, Side};
use crate::peers::{PeerIndex, VolumeIndex};
use crate::range_lock::LockId;
use crate::resource::Resource;
use crate::slab::Key;
use crate::store::Ticket;
use crate::time::Instant;

mod ending;
mod source;
mod target;

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
    fresh_uuid: bool,
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
        self.fresh_uuid = decision::needs_fresh_sync_uuid(mine, theirs);
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
