//! Writes and the activity log: a write is covered before it is issued, until it is durable on both
//! nodes; the log's own writes.
//!
//! Order: the bits of evicted extents are durable before the transaction that gives their slots
//! away is issued; a transaction is durable, in both copies, before a write that it covers is
//! issued to the disk or sent to a peer.

use bytes::Bytes;

use super::{ActivityLog, Step, Wants};
use crate::action::DiskOpKind;
use crate::bitmap::{BLOCK_BYTES, PageIndex};
use crate::error::DiskError;
use crate::flush::FlushWaiter;
use crate::meta::{MetaWrite, Ring, Transaction};
use crate::peers::VolumeIndex;
use crate::resource::Resource;
use crate::slab::Key;
use crate::volume::Purpose;
use crate::write::{Stage, Write};

impl Resource {
    /// Marks an attached disk as a Primary's and begins its log, unless none is kept; durable when
    /// the commit that must follow is.
    pub(crate) fn mark_primary(&mut self, volume: VolumeIndex) {
        let config = self.volumes[volume].config;
        let Some(attached) = self.volumes[volume].attached_mut() else { return };
        let area = attached.store.layout().activity_log();
        let superblock = attached.store.superblock_mut();
        superblock.flags.primary_indicator = true;
        superblock.flags.al_disabled = !config.al_updates;
        attached.log = None;
        if !config.al_updates {
            return;
        }
        superblock.al_log = superblock.al_log.checked_add(1).expect("2^64 logs take for ever");
        let ring = Ring::new(superblock.device_uuid, area);
        let (number, extent_bytes) = (superblock.al_log, superblock.al_extent_bytes);
        let (log, writes) = ActivityLog::begin(ring, number, extent_bytes, config.al_extents);
        attached.log = Some(Box::new(log));
        attached.store.write_first(writes);
    }

    /// Whether an attached disk has no Primary's mark.
    pub(crate) fn lacks_mark(&self, volume: VolumeIndex) -> bool {
        let attached = self.volumes[volume].attached();
        attached.is_some_and(|attached| !attached.store.superblock().flags.primary_indicator)
    }

    /// Takes a Primary's mark away, and its log with it: nothing is in flight.
    pub(crate) fn unmark_primary(&mut self, volume: VolumeIndex) {
        let Some(attached) = self.volumes[volume].attached_mut() else { return };
        attached.store.superblock_mut().flags.primary_indicator = false;
        attached.log = None;
    }

    /// Whether a write still needs the log before it may go to the disk. A disk that was attached
    /// since has a log of its own.
    pub(crate) fn needs_cover(&self, write: &Write) -> bool {
        let volume = &self.volumes[write.volume];
        let usable = volume.usable_generation();
        let has_log = volume.attached().is_some_and(|attached| attached.log.is_some());
        usable.is_some() && has_log && write.covered != usable
    }

    /// Takes a whole write, or its next piece, to the gate by way of the log.
    pub(crate) fn cover_write(&mut self, key: Key) {
        self.cut_write(key);
        let write = self.writes.get(key).expect("covered before it is issued");
        if !self.needs_cover(write) {
            return self.pass_gate(key);
        }
        let (volume, range) = (write.volume, write.range);
        let generation = self.volumes[volume].generation;
        let log = self.log_mut(volume).expect("it has one");
        let covered = log.refer(range);
        if !covered {
            log.wait(key, range);
            self.log_due = true;
        }
        let write = self.writes.get_mut(key).expect("it was there");
        if covered {
            write.covered = Some(generation);
            return self.pass_gate(key);
        }
        write.stage = Stage::Covering;
    }

    /// A covered write has ended on the local disk.
    pub(crate) fn written_under_cover(&mut self, key: Key) {
        let write = self.writes.get(key).expect("events of a write come before its end");
        let (volume, range) = (write.volume, write.range);
        if write.fua || write.covered != Some(self.volumes[volume].generation) {
            return; // durable already, or of no log
        }
        let flush = self.volumes[volume].flusher.next();
        if let Some(log) = self.log_mut(volume) {
            log.written(range, flush);
        }
    }

    /// A write is done with: durable at every peer, or in its bits.
    pub(crate) fn uncover(&mut self, write: &Write) {
        if write.covered != Some(self.volumes[write.volume].generation) {
            return;
        }
        if let Some(log) = self.log_mut(write.volume) {
            self.log_due |= log.release(write.range);
        }
    }

    /// Takes a log on: slots for waiting writes, the next transaction, writes that are covered.
    pub(crate) fn advance_log(&mut self, volume: VolumeIndex) {
        let moves = self.volumes[volume].attached().is_some_and(|it| it.store.is_moving());
        let Some(log) = self.log_mut(volume) else { return };
        // A log that is about to move ends what it has begun, and begins nothing.
        let wants = (!moves).then(|| {
            log.reserve();
            log.wants()
        });
        if let Some((transaction, evicted)) = log.begin_transaction() {
            self.save_evicted(volume, transaction, &evicted);
        }
        self.write_transaction(volume);
        match wants {
            Some(wants) => self.ask_for_slots(volume, wants),
            None => self.move_when_at_rest(volume),
        }
        let generation = self.volumes[volume].generation;
        while let Some(key) = self.log_mut(volume).and_then(ActivityLog::next_covered) {
            let write = self.writes.get_mut(key).expect("it waits for the log");
            write.covered = Some(generation);
            self.pass_gate(key);
        }
    }

    /// Before slots are overwritten: the bits set in what they held.
    fn save_evicted(&mut self, volume: VolumeIndex, transaction: Transaction, evicted: &[u32]) {
        let log = self.log_mut(volume).expect("it has begun a transaction");
        let page = |extent| PageIndex::of_block(log.offset(extent) / BLOCK_BYTES);
        let pages: Vec<PageIndex> = evicted.iter().map(|extent| page(*extent)).collect();
        let ticket = self.save_pages(volume, pages);
        let log = self.log_mut(volume).expect("it has begun a transaction");
        log.step = Step::SavingBits(ticket, Box::new(transaction));
    }

    /// Issues the transaction under way once the bits of what it evicts are durable.
    fn write_transaction(&mut self, volume: VolumeIndex) {
        let Some(attached) = self.volumes[volume].attached_mut() else { return };
        let Some(log) = attached.log.as_deref_mut() else { return };
        let Step::SavingBits(ticket, transaction) = &log.step else { return };
        if !attached.store.is_durable(*ticket) {
            return;
        }
        let writes = log.ring.plan_write(transaction);
        log.step = Step::Writing { left: 2 };
        self.volumes[volume].counters.al_writes += 1;
        for MetaWrite { offset, bytes } in writes {
            let data = Bytes::from(bytes);
            self.disk_op(volume, Purpose::Transaction, DiskOpKind::MetaWrite { offset, data });
        }
    }

    /// A copy of the transaction has been written, or has failed: then nothing that it covers is
    /// issued to this disk.
    pub(crate) fn transaction_written(&mut self, volume: VolumeIndex, error: Option<DiskError>) {
        if let Some(error) = error {
            return self.disk_failed(volume, "writing the activity log", error);
        }
        let Some(log) = self.log_mut(volume) else { return };
        let Step::Writing { left } = &mut log.step else {
            unreachable!("its writes are in flight")
        };
        *left -= 1;
        if *left == 0 {
            log.step = Step::Idle;
            self.log_due = true;
        }
    }

    fn ask_for_slots(&mut self, volume: VolumeIndex, wants: Wants) {
        if wants.barriers {
            for peer in self.peer_indexes() {
                if self.connections[peer].is_running()
                    && self.connections[peer].outbound.wants_barrier()
                {
                    self.send_barrier(peer);
                }
            }
        }
        if wants.flush {
            self.flush_disk(volume, FlushWaiter::ActivityLog);
        }
    }

    /// The flush that a log has asked for has ended.
    pub(crate) fn log_flushed(&mut self, volume: VolumeIndex) {
        if let Some(log) = self.log_mut(volume) {
            log.flush_answered();
            self.log_due = true;
        }
    }

    pub(crate) fn log_mut(&mut self, volume: VolumeIndex) -> Option<&mut ActivityLog> {
        self.volumes[volume].attached_mut()?.log.as_deref_mut()
    }
}
