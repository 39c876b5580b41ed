//! The transfer log: issued writes in order, until every peer has them durably.

use tandem_wire::Protocol;

use crate::peers::{PeerIndex, PeerSet, VolumeIndex};
use crate::resource::Resource;
use crate::slab::Key;
use crate::time::Instant;
use crate::write::{Leg, Stage};

impl Resource {
    /// Forgets writes at the front of the log that nobody owes anything for.
    pub(crate) fn retire_log(&mut self) {
        while let Some(&key) = self.log.front() {
            let write = self.writes.get(key).expect("the log holds live writes");
            if write.stage != Stage::Replied || !write.unbarriered.is_empty() {
                return;
            }
            self.log.pop_front();
            let write = self.writes.remove(key).expect("it was there");
            self.wake_procedures();
            self.uncover(&write);
        }
    }

    /// A peer has made everything up to `seq` durable.
    pub(crate) fn barrier_acked(&mut self, peer: PeerIndex, seq: u64) {
        let mut settled = std::mem::take(&mut self.scratch);
        for &key in &self.log {
            let write = self.writes.get_mut(key).expect("the log holds live writes");
            if write.seq > seq {
                break;
            }
            if write.unbarriered.remove(peer) {
                write.unacked.remove(peer);
                self.connections[peer].outbound.leave(write.weight_for(peer));
                write.awaiting.remove(peer);
                // A notice is no copy.
                write.on_peer |= !write.only_told.contains(peer)
                    && self.connections[peer].devices[write.volume].has_good_disk();
                if write.stage == Stage::InFlight {
                    settled.push(key);
                }
            }
        }
        self.settle_all(&mut settled);
    }

    /// No good disk is known to have a write yet, and only a peer's can: in every protocol the
    /// reply waits for that. What A and B ask of a peer is too little where it has the only copy.
    pub(crate) fn hurry_barriers(&mut self, peers: PeerSet) {
        for peer in peers.iter() {
            if self.connections[peer].outbound.wants_barrier() {
                self.send_barrier(peer);
            }
        }
    }

    /// The link to `peer`, or its disk of one volume, is lost: what it may not have durably is out
    /// of sync, and replies that waited for it wait for a new generation instead (INV-1, INV-7).
    pub(crate) fn log_peer_lost(&mut self, peer: PeerIndex, only: Option<VolumeIndex>) {
        let protocol = self.connections[peer].session_protocol();
        let waits = self.waits_for_data();
        let mut settled = std::mem::take(&mut self.scratch);
        for index in 0..self.log.len() {
            let key = self.log[index];
            let write = self.writes.get_mut(key).expect("the log holds live writes");
            if only.is_some_and(|volume| volume != write.volume) {
                continue;
            }
            let unapplied = write.unacked.remove(peer);
            let unseen = unapplied && protocol == Protocol::A;
            let owed = write.awaiting.remove(peer);
            if waits && write.stage == Stage::InFlight {
                // It comes back, perhaps without what it had not flushed.
                write.on_peer = false;
            }
            if !write.unbarriered.remove(peer) {
                continue;
            }
            let is_answered = write.stage == Stage::Replied;
            // What a node received it writes also where the link is lost, but not without a disk.
            let diskless = only.is_some();
            write.apart |= owed || unseen || diskless;
            let (volume, range, weight) = (write.volume, write.range, write.weight_for(peer));
            if write.stage == Stage::InFlight {
                settled.push(key);
            }
            self.connections[peer].outbound.leave(weight);
            self.set_out_of_sync(volume, peer, range);
            if is_answered && (unseen || diskless) {
                self.rotate_generation(volume);
            }
            if is_answered && unapplied {
                self.expose_lost(volume);
            }
        }
        self.settle_all(&mut settled);
    }

    fn settle_all(&mut self, settled: &mut Vec<Key>) {
        for key in settled.drain(..) {
            if self.writes.get(key).is_some() {
                self.settle_write(key);
            }
        }
        self.scratch = std::mem::take(settled);
        self.retire_log();
    }

    /// The disk of a volume is given up: what it has of writes that are not answered does not count
    /// any more, also where it comes back; nor does what it could not write, where a peer can.
    pub(crate) fn log_disk_lost(&mut self, volume: VolumeIndex) {
        for key in &self.log {
            let write = self.writes.get_mut(*key).expect("the log holds live writes");
            if write.volume == volume {
                write.refused = false;
                if write.local == Leg::Done {
                    write.local = Leg::Failed;
                }
            }
        }
        self.generation_settled(volume);
    }

    /// The volume's generation is durable: replies that waited for it go out.
    pub(crate) fn generation_settled(&mut self, volume: VolumeIndex) {
        let mut settled = std::mem::take(&mut self.scratch);
        settled.extend(self.log.iter().filter(|key| {
            let write = self.writes.get(**key).expect("the log holds live writes");
            write.volume == volume && write.stage == Stage::InFlight
        }));
        self.settle_all(&mut settled);
    }

    /// When the oldest write that `peer` has not acked durably was issued.
    pub(crate) fn oldest_unacked(&self, peer: PeerIndex) -> Option<Instant> {
        self.log.iter().find_map(|key| {
            let write = self.writes.get(*key).expect("the log holds live writes");
            write.unbarriered.contains(peer).then_some(write.issued_at)
        })
    }
}
