//! The node that was told to verify: claims ranges, asks the peer, reads and compares.

use bytes::Bytes;
use tandem_wire::{ByteRange, DiskState, Packet, RequestId};

use super::{Activity, Comparison, Extent, Run};
use crate::action::{CommandId, DiskOpKind, News, Severity};
use crate::digest;
use crate::error::{CommandError, DiskError, PeerError};
use crate::limits::{
    BLOCK_BYTES, VERIFY_REQUEST_BYTES, VERIFY_REQUESTS_BUSY, VERIFY_REQUESTS_IDLE,
};
use crate::peer_device::Replication;
use crate::peers::{PeerIndex, VolumeIndex};
use crate::range_lock::LockKind;
use crate::resource::Resource;
use crate::slab::Key;
use crate::volume::{LockOwner, Purpose};

impl Resource {
    /// The operator wants a volume compared.
    pub(crate) fn begin_verify(
        &mut self,
        id: CommandId,
        peer: PeerIndex,
        volume: VolumeIndex,
        extent: Extent,
    ) -> Result<(), CommandError> {
        self.may_verify(peer, volume)?;
        let size = self.volumes[volume].size_bytes;
        let verify = &self.connections[peer].devices[volume].verify;
        let block = u64::from(BLOCK_BYTES);
        let resume_at = if verify.resume_at < size { verify.resume_at } else { 0 };
        let start = extent.start.unwrap_or(resume_at) / block * block;
        let stop = extent.stop.unwrap_or(size).min(size).div_ceil(block) * block;
        if start >= stop {
            let text = format!(
                "volume {}: nothing to verify from byte {start} to {stop} of {size}: see --start, \
                 --stop",
                self.volumes[volume].number
            );
            return Err(CommandError::Refused(text));
        }
        let verify = &mut self.connections[peer].devices[volume].verify;
        verify.activity = Activity::Source(Run {
            start,
            next: start,
            stop,
            repair: extent.repair,
            began_at: self.now,
            found_blocks: 0,
            saved: None,
        });
        let text = format!("online verify begins at sector {}", start / 512);
        self.note(Some(volume), Some(peer), Severity::Info, text);
        self.send_state(peer, volume);
        self.pump_verify(peer, volume);
        self.done(id, Ok(()));
        Ok(())
    }

    /// Both nodes must be in sync as far as they know.
    fn may_verify(&self, peer: PeerIndex, volume: VolumeIndex) -> Result<(), CommandError> {
        let connection = &self.connections[peer];
        let name = &connection.config.name;
        let device = &connection.devices[volume];
        let number = self.volumes[volume].number;
        let established = connection.is_running() && device.replication == Replication::Established;
        if !established {
            let text = format!(
                "volume {number}: replication with {name} is {}, and must be Established to \
                 compare: connect, or wait for the resync",
                device.replication_state()
            );
            return Err(CommandError::Refused(text));
        }
        if !device.verify.is_idle() {
            let text = format!(
                "volume {number}: an online verify with {name} is running already; --cancel stops \
                 it"
            );
            return Err(CommandError::Refused(text));
        }
        let disk = self.volumes[volume].disk_state();
        if disk != DiskState::UpToDate || device.disk != DiskState::UpToDate {
            let advice = format!("both disks are compared, that of {name} is {}", device.disk);
            return Err(CommandError::NeedUpToDate { volume: number, disk, advice });
        }
        Ok(())
    }

    /// Asks for more, as far as the window allows.
    fn pump_verify(&mut self, peer: PeerIndex, volume: VolumeIndex) {
        let window = self.verify_window(peer, volume);
        while self.comparisons_of(peer, volume) < window {
            let device = &mut self.connections[peer].devices[volume];
            let Some(run) = device.verify.run_mut() else { return };
            if run.next == run.stop {
                break;
            }
            let len = (run.stop - run.next).min(u64::from(VERIFY_REQUEST_BYTES));
            let len = u32::try_from(len).expect("at most one request");
            let range = ByteRange::new(run.next, len);
            run.next = range.end();
            self.compare(peer, volume, range);
        }
        self.unsettled = true; // it may have come to its end
    }

    /// How many ranges may be under comparison: few while the application is busy on either node.
    fn verify_window(&self, peer: PeerIndex, volume: VolumeIndex) -> usize {
        let here = self.volumes[volume].counters.pending.count() > 0;
        let there = self.connections[peer].inbound.in_flight() > 0;
        if here || there { VERIFY_REQUESTS_BUSY } else { VERIFY_REQUESTS_IDLE }
    }

    fn comparisons_of(&self, peer: PeerIndex, volume: VolumeIndex) -> usize {
        self.connections[peer].comparisons.iter().filter(|(_, it)| it.volume == volume).count()
    }

    fn compare(&mut self, peer: PeerIndex, volume: VolumeIndex, range: ByteRange) {
        let comparison = Comparison { volume, range, claim: None, lock: None, theirs: None };
        let key = self.connections[peer].comparisons.insert(comparison);
        let owner = LockOwner::VerifyClaim(peer, key);
        let (claim, granted) = self.volumes[volume].lock(LockKind::VerifyClaim, range, owner);
        self.comparison(peer, key).claim = Some(claim);
        if granted {
            self.verify_claimed(peer, key);
        }
    }

    /// None of this node's writes is in flight in the range: ask.
    pub(crate) fn verify_claimed(&mut self, peer: PeerIndex, key: Key) {
        let comparison = self.comparison(peer, key);
        let (volume, range) = (comparison.volume, comparison.range);
        let volume = self.volumes[volume].number;
        self.connections[peer].expect_answer(self.now);
        self.send(peer, Packet::OvRequest { volume, range, id: RequestId(key.to_bits()) });
    }

    /// The peer's digests have come: read, behind the writes that came before them. An answer to
    /// what has been given up meanwhile is no error.
    pub(crate) fn verify_reply(
        &mut self,
        peer: PeerIndex,
        id: RequestId,
        digests: Bytes,
    ) -> Result<(), PeerError> {
        let key = Key::from_bits(id.0);
        self.connections[peer].answered(self.now);
        let Some(comparison) = self.connections[peer].comparisons.get_mut(key) else {
            return Ok(());
        };
        if comparison.theirs.is_some() || !digest::fit(&digests, comparison.range) {
            return Err(PeerError::UnknownRequest { packet: "OvReply", id: id.0 });
        }
        comparison.theirs = Some(digests);
        let (volume, range) = (comparison.volume, comparison.range);
        let owner = LockOwner::VerifyRead(peer, key);
        let (lock, granted) = self.volumes[volume].lock(LockKind::VerifyRead, range, owner);
        self.comparison(peer, key).lock = Some(lock);
        if granted {
            self.verify_locked(peer, key);
        }
        Ok(())
    }

    /// The peer cannot read.
    pub(crate) fn verify_refused(&mut self, peer: PeerIndex, id: RequestId) {
        self.connections[peer].answered(self.now);
        let key = Key::from_bits(id.0);
        if let Some(comparison) = self.connections[peer].comparisons.get(key) {
            let volume = comparison.volume;
            self.interrupt_verify(peer, volume, "the peer cannot read its disk");
        }
    }

    pub(crate) fn verify_locked(&mut self, peer: PeerIndex, key: Key) {
        let comparison = self.comparison(peer, key);
        let (volume, range) = (comparison.volume, comparison.range);
        if self.volumes[volume].is_attached() {
            self.disk_op(volume, Purpose::VerifyRead(peer, key), DiskOpKind::Read(range));
        }
    }

    /// The range has been read: its digests need no lock.
    pub(crate) fn verify_read_done(
        &mut self,
        peer: PeerIndex,
        key: Key,
        result: Result<Bytes, DiskError>,
    ) {
        let Some(comparison) = self.connections[peer].comparisons.get_mut(key) else {
            return;
        };
        let (volume, range) = (comparison.volume, comparison.range);
        let locks = [comparison.lock.take(), comparison.claim.take()];
        match result {
            Ok(data) => {
                let kind = DiskOpKind::Digest { data };
                self.disk_op(volume, Purpose::VerifyDigest(peer, key), kind);
            }
            Err(error) => {
                if self.passes_on(volume, error) {
                    self.interrupt_verify(peer, volume, "this node cannot read its disk");
                }
                self.read_failed(volume, range, "reading for an online verify", error);
            }
        }
        for lock in locks.into_iter().flatten() {
            self.unlock(volume, lock);
        }
    }

    /// Compares.
    pub(crate) fn verify_digested(
        &mut self,
        peer: PeerIndex,
        key: Key,
        result: Result<Bytes, DiskError>,
    ) {
        let (Some(comparison), Ok(mine)) = (self.drop_comparison(peer, key), result) else {
            return;
        };
        let (volume, range) = (comparison.volume, comparison.range);
        let theirs = comparison.theirs.expect("read once the peer has answered");
        for run in digest::differing(range, &mine, &theirs) {
            self.blocks_differ(peer, volume, run);
        }
        self.pump_verify(peer, volume);
    }

    fn blocks_differ(&mut self, peer: PeerIndex, volume: VolumeIndex, range: ByteRange) {
        let ticket = self.set_blocks_differ(peer, volume, range);
        self.send(peer, Packet::OvResult(self.volumes[volume].number, range));
        let run = self.connections[peer].devices[volume].verify.run_mut();
        let run = run.expect("a comparison ends with its run");
        run.found_blocks += u64::from(range.len / BLOCK_BYTES);
        run.saved = ticket.or(run.saved);
        let text = format!(
            "online verify: out of sync, sectors {}+{}",
            range.offset / 512,
            range.len / 512
        );
        self.tell(volume, peer, Severity::Error, text, News::BlocksDiffer(range));
    }

    /// Ends the run when everything is compared and what was found is durable, or when one node
    /// does not get the other's writes any more.
    pub(crate) fn advance_verify(&mut self, peer: PeerIndex, volume: VolumeIndex) {
        let device = &self.connections[peer].devices[volume];
        let Some(run) = device.verify.run() else { return };
        if device.replication != Replication::Established {
            return self.interrupt_verify(peer, volume, "one node misses writes");
        }
        let durable = run.saved.is_none_or(|ticket| self.is_durable(volume, ticket));
        if run.next < run.stop || self.comparisons_of(peer, volume) > 0 || !durable {
            return;
        }
        let (start, stop, found_blocks, repair) =
            (run.start, run.stop, run.found_blocks, run.repair);
        let whole = stop >= self.volumes[volume].size_bytes;
        let verify = &mut self.connections[peer].devices[volume].verify;
        verify.activity = Activity::Idle;
        verify.resume_at = if whole { 0 } else { stop };
        self.send_state(peer, volume);
        let (severity, text) = match found_blocks {
            0 => (Severity::Info, "online verify done: no difference found".to_owned()),
            found => {
                let text = format!("online verify found {found} blocks of 4 KiB out of sync");
                (Severity::Error, text)
            }
        };
        self.tell(volume, peer, severity, text, News::VerifyDone { start, stop, found_blocks });
        // Also what an earlier run has found: it was not compared again.
        if repair && self.dirty_bytes(peer, volume) > 0 {
            self.renegotiate(peer, "blocks found out of sync are to be repaired");
        }
    }

    fn comparison(&mut self, peer: PeerIndex, key: Key) -> &mut Comparison {
        let comparisons = &mut self.connections[peer].comparisons;
        comparisons.get_mut(key).expect("its locks end with it")
    }
}
