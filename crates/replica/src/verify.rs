//! Online verify of one volume with one peer: comparing all blocks while the volume is in use.
//!
//! It runs on top of an Established volume: writes go to both nodes as ever. The node that was told
//! to verify (VerifyS, `verify/source.rs`) goes through the volume range by range and asks the peer
//! (VerifyT, `verify/target.rs`) for digests; then it reads the range itself and compares.
//!
//! Exact under load: both sides read the same set of writes. The asking node claims the range
//! before it asks, so that none of its own writes is in flight there until it has read; those it
//! sent before the question stand before the peer's read. The peer locks the range in the place in
//! line of the question, and answers in the data lane before it gives the range back; the asking
//! node reads in the place in line of the answer. So every write of the peer that came before the
//! answer is in both reads, and every later one in neither. None of that depends on who is Primary,
//! nor on who stays it. Why no circle of waiting can form: `range_lock::kind`.
//!
//! What differs becomes dirty bits on both nodes, durably. Nothing is copied: which side is right
//! the next handshake decides, as for all bits (SEMANTICS rule 2).
//!
//! A run that is stopped, or cut off by anything that ends the session or a disk, keeps its
//! position in memory; the next one goes on from there.

use bytes::Bytes;
use tandem_wire::{ByteRange, ReplicationState};

use crate::action::Severity;
use crate::limits::BLOCK_BYTES;
use crate::peers::{PeerIndex, VolumeIndex};
use crate::range_lock::LockId;
use crate::resource::Resource;
use crate::slab::Key;
use crate::status::VerifyStatus;
use crate::store::Ticket;
use crate::time::Instant;

mod source;
mod target;

/// What an operator wants compared.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Extent {
    pub(crate) start: Option<u64>,
    pub(crate) stop: Option<u64>,
    pub(crate) repair: bool,
}

/// What verifies of one volume with one peer have come to.
#[derive(Debug, Default)]
pub(crate) struct Verify {
    activity: Activity,
    /// Where a run without a start begins: where the last one was stopped, else at 0.
    resume_at: u64,
    /// Blocks found by runs of either node in this session.
    found_blocks: u64,
}

/// What goes on.
#[derive(Debug, Default)]
enum Activity {
    #[default]
    Idle,
    /// This node compares.
    Source(Run),
    /// The peer does.
    Target,
}

/// A run on the node that was told to verify.
#[derive(Debug)]
struct Run {
    start: u64,
    /// First byte that has not been asked for.
    next: u64,
    stop: u64,
    repair: bool,
    began_at: Instant,
    found_blocks: u64,
    /// The last bits set; the run ends when they are durable.
    saved: Option<Ticket>,
}

/// A range under comparison.
#[derive(Debug)]
pub(crate) struct Comparison {
    volume: VolumeIndex,
    range: ByteRange,
    claim: Option<LockId>,
    /// Once the peer has answered.
    lock: Option<LockId>,
    theirs: Option<Bytes>,
}

impl Verify {
    /// As DRBD names it; the volume is Established.
    pub(crate) fn replication_state(&self) -> ReplicationState {
        match self.activity {
            Activity::Idle => ReplicationState::Established,
            Activity::Source(_) => ReplicationState::VerifyS,
            Activity::Target => ReplicationState::VerifyT,
        }
    }

    fn is_idle(&self) -> bool {
        matches!(self.activity, Activity::Idle)
    }

    fn run(&self) -> Option<&Run> {
        match &self.activity {
            Activity::Source(run) => Some(run),
            Activity::Idle | Activity::Target => None,
        }
    }

    fn run_mut(&mut self) -> Option<&mut Run> {
        match &mut self.activity {
            Activity::Source(run) => Some(run),
            Activity::Idle | Activity::Target => None,
        }
    }
}

impl Resource {
    /// The link is gone, and with it what is under comparison.
    pub(crate) fn verify_link_lost(&mut self, peer: PeerIndex, reason: &str) {
        for volume in self.volume_indexes() {
            self.interrupt_verify(peer, volume, reason);
            let verify = &mut self.connections[peer].devices[volume].verify;
            verify.activity = Activity::Idle;
            // Bits that no session keeps apart from a resync need no excuse.
            verify.found_blocks = 0;
        }
    }

    /// Stops a run of this node, if there is one; it keeps its position.
    pub(crate) fn interrupt_verify(&mut self, peer: PeerIndex, volume: VolumeIndex, reason: &str) {
        let Some(position) = self.verified_upto(peer, volume) else { return };
        let verify = &mut self.connections[peer].devices[volume].verify;
        verify.activity = Activity::Idle;
        verify.resume_at = position;
        let comparisons = self.connections[peer].comparisons.iter();
        let keys: Vec<Key> =
            comparisons.filter(|(_, it)| it.volume == volume).map(|(key, _)| key).collect();
        for key in keys {
            self.drop_comparison(peer, key);
        }
        let sector = position / 512;
        let text = format!("online verify stopped at sector {sector}: {reason}");
        self.note(Some(volume), Some(peer), Severity::Warning, text);
        self.send_state(peer, volume);
    }

    /// Everything before this byte has been compared by the run of this node.
    fn verified_upto(&self, peer: PeerIndex, volume: VolumeIndex) -> Option<u64> {
        let connection = &self.connections[peer];
        let next = connection.devices[volume].verify.run()?.next;
        let open = connection.comparisons.iter().filter(|(_, it)| it.volume == volume);
        Some(open.map(|(_, it)| it.range.offset).min().unwrap_or(next))
    }

    /// Forgets a comparison and gives its range back. What its disk still reads goes nowhere.
    fn drop_comparison(&mut self, peer: PeerIndex, key: Key) -> Option<Comparison> {
        let comparison = self.connections[peer].comparisons.remove(key)?;
        for lock in [comparison.lock, comparison.claim].into_iter().flatten() {
            self.unlock(comparison.volume, lock);
        }
        Some(comparison)
    }

    /// These blocks differ: both nodes know it from here on. Durable with the ticket.
    fn set_blocks_differ(
        &mut self,
        peer: PeerIndex,
        volume: VolumeIndex,
        range: ByteRange,
    ) -> Option<Ticket> {
        self.set_out_of_sync(volume, peer, range);
        let verify = &mut self.connections[peer].devices[volume].verify;
        verify.found_blocks += u64::from(range.len / BLOCK_BYTES);
        self.volumes[volume].is_attached().then(|| self.commit(volume, true))
    }

    /// The run of this node, for people and scripts.
    pub(crate) fn verify_status(
        &self,
        peer: PeerIndex,
        volume: VolumeIndex,
        now: Instant,
    ) -> Option<VerifyStatus> {
        let run = self.connections[peer].devices[volume].verify.run()?;
        let position = self.verified_upto(peer, volume)?;
        let elapsed = now.since(run.began_at);
        Some(VerifyStatus { start: run.start, stop: run.stop, position, elapsed })
    }

    /// Blocks that runs have found and that are still out of sync.
    pub(crate) fn verify_found_blocks(&self, peer: PeerIndex, volume: VolumeIndex) -> u64 {
        let found = self.connections[peer].devices[volume].verify.found_blocks;
        found.min(self.dirty_blocks(peer, volume))
    }
}
