//! Blocks that a Primary's disk could not read are written again with what a peer has (INV-15).
//!
//! The range is claimed as by the target of a resync: writes of the application wait. Then the peer
//! is asked; its answer has every write that was sent before, and none is sent before the claim
//! ends. The range is taken below the claim, so that reads for the peer see all of it or nothing,
//! and written. What is written is what the disk holds as far as it can be read: wherever that is
//! cut off nothing differs, so no bit is set, and blocks that cannot be read still cannot
//! (docs/decisions/0022-errors-passed-on.md).

use bytes::Bytes;
use tandem_wire::{ByteRange, DiskState, Role, WriteKind};

use crate::action::{AttachGeneration, Severity};
use crate::error::{DiskError, RequestError};
use crate::limits::REPAIRS_MAX;
use crate::peer_device::Replication;
use crate::peers::{PeerIndex, VolumeIndex};
use crate::range_lock::{LockId, LockKind};
use crate::read::ReadFor;
use crate::resource::Resource;
use crate::slab::Key;
use crate::volume::{LockOwner, Purpose};
use crate::write::write_op;

/// Blocks being written again.
#[derive(Debug)]
pub(crate) struct Repair {
    volume: VolumeIndex,
    range: ByteRange,
    /// The opening of the disk that could not read them.
    disk: AttachGeneration,
    claim: Option<LockId>,
    lock: Option<LockId>,
    /// What a peer has, once it has come.
    data: Bytes,
}

impl Resource {
    /// The disk could not read these blocks. They are written again if a peer has them; where too
    /// much of that is under way, when they are next asked for.
    pub(crate) fn begin_repair(&mut self, volume: VolumeIndex, range: ByteRange) {
        let under_way = self
            .repairs
            .iter()
            .any(|(_, repair)| repair.volume == volume && repair.range.overlaps(range));
        let source = self.repair_source(volume, range);
        if under_way || source.is_none() || self.repairs.len() >= REPAIRS_MAX {
            return;
        }
        let disk = self.volumes[volume].generation;
        let repair = Repair { volume, range, disk, claim: None, lock: None, data: Bytes::new() };
        let key = self.repairs.insert(repair);
        let owner = LockOwner::RepairClaim(key);
        let (claim, granted) = self.volumes[volume].lock(LockKind::ResyncClaim, range, owner);
        self.repair(key).claim = Some(claim);
        if granted {
            self.repair_claimed(key);
        }
    }

    /// A peer that has the same as this node, the blocks that cannot be read included.
    fn repair_source(&self, volume: VolumeIndex, range: ByteRange) -> Option<PeerIndex> {
        let good = self.role == Role::Primary
            && self.volumes[volume].failure.is_none()
            && self.volumes[volume].disk_state() == DiskState::UpToDate;
        let mut peers = self.peer_indexes().filter(|_| good);
        peers.find(|peer| {
            self.serves(*peer, volume)
                && self.connections[*peer].devices[volume].replication == Replication::Established
                && !self.is_ahead_of(*peer, volume, range)
        })
    }

    /// None of this node's writes is in flight in the range: ask.
    pub(crate) fn repair_claimed(&mut self, key: Key) {
        let repair = self.repair(key);
        let (volume, range) = (repair.volume, repair.range);
        match self.repair_source(volume, range) {
            Some(peer) => self.read_from_peer(peer, volume, range, ReadFor::Repair(key)),
            None => self.end_repair(key),
        }
    }

    /// The peer has answered, or is lost.
    pub(crate) fn repair_fetched(&mut self, key: Key, result: Result<Bytes, RequestError>) {
        let repair = self.repair(key);
        let (volume, range) = (repair.volume, repair.range);
        // Asked once more: it may have told meanwhile that it lacks something.
        let (Ok(data), Some(_)) = (result, self.repair_source(volume, range)) else {
            return self.end_repair(key);
        };
        let repair = self.repair(key);
        repair.data = data;
        let claim = repair.claim.expect("held until it is written");
        let owner = LockOwner::RepairWrite(key);
        let (lock, granted) =
            self.volumes[volume].lock_under(claim, LockKind::ResyncWrite, range, owner);
        self.repair(key).lock = Some(lock);
        if granted {
            self.repair_locked(key);
        }
    }

    /// The range is its own: write it.
    pub(crate) fn repair_locked(&mut self, key: Key) {
        let repair = self.repair(key);
        let (volume, range, disk) = (repair.volume, repair.range, repair.disk);
        let data = std::mem::take(&mut repair.data);
        if self.volumes[volume].usable_generation() != Some(disk) {
            return self.end_repair(key);
        }
        let kind = write_op(range, WriteKind::Data(data), false);
        self.disk_op(volume, Purpose::Repair(key), kind);
    }

    /// The disk has ended the write. One that can neither read nor write is given up.
    pub(crate) fn repair_written(&mut self, key: Key, error: Option<DiskError>) {
        let repair = self.repair(key);
        let (volume, range) = (repair.volume, repair.range);
        match error {
            None => {
                let (sector, sectors) = (range.offset / 512, range.len / 512);
                let text = format!("sectors {sector}+{sectors} were written again from the peer");
                self.note(Some(volume), None, Severity::Warning, text);
            }
            Some(error) => self.disk_failed(volume, "writing again what it could not read", error),
        }
        self.end_repair(key);
    }

    fn end_repair(&mut self, key: Key) {
        let repair = self.repairs.remove(key).expect("a repair ends once");
        for lock in [repair.lock, repair.claim].into_iter().flatten() {
            self.unlock(repair.volume, lock);
        }
    }

    fn repair(&mut self, key: Key) -> &mut Repair {
        self.repairs.get_mut(key).expect("events of a repair come before its end")
    }
}
