//! Requests received from a peer: mirrored writes, barriers, flushes, reads.
//!
//! Order (SEMANTICS rule 3): ranges are locked in the order of arrival; a write of a later epoch is
//! issued only when every write and flush of earlier epochs has completed. A barrier or flush
//! covers what arrived before it: when that has completed the disks are flushed, then it is acked.
//!
//! What was accepted is carried out even if the link dies meanwhile (protocol B's promise); only
//! the acks have nowhere to go. The next session's handshake waits for that.

use std::collections::{BTreeMap, VecDeque};

use tandem_wire::{
    BarrierNumber, ByteRange, Epoch, Packet, PeerWrite, Protocol, RequestId, WriteKind,
};

use crate::action::AttachGeneration;
use crate::error::{DiskError, PeerError};
use crate::flush::FlushWaiter;
use crate::limits::PEER_REQUESTS_MAX;
use crate::peer_read::PeerRead;
use crate::peers::{PeerIndex, VolumeIndex};
use crate::range_lock::{LockId, LockKind};
use crate::resource::Resource;
use crate::slab::{Key, Slab};
use crate::volume::{LockOwner, Purpose};
use crate::write::write_op;

/// A mirrored write under way.
#[derive(Debug)]
struct Incoming {
    volume: VolumeIndex,
    range: ByteRange,
    kind: Option<WriteKind>,
    id: RequestId,
    epoch: Epoch,
    fua: bool,
    segment: u64,
    /// The opening of the disk that it arrived for. A disk attached later lacks what came between.
    disk: Option<AttachGeneration>,
    lock: Option<LockId>,
    granted: bool,
    /// It came before the new generation that is being made, and is part of the old one.
    earlier: bool,
}

/// What asks for durability behind a segment of the stream.
#[derive(Clone, Copy, Debug)]
enum Mark {
    Barrier(BarrierNumber),
    Flush { id: RequestId, epoch: Epoch },
}

/// The stream between two marks.
#[derive(Debug)]
struct Segment {
    number: u64,
    incomplete: u32,
    mark: Option<Mark>,
}

/// Disks being flushed for marks.
#[derive(Debug)]
struct FlushJob {
    marks: Vec<Mark>,
    disks_left: usize,
    failed: bool,
}

/// All that one peer has sent and that is not finished.
#[derive(Debug)]
pub(crate) struct Inbound {
    writes: Slab<Incoming>,
    pub(crate) reads: Slab<PeerRead>,
    flushes: Slab<FlushJob>,
    /// Unfinished writes and flushes of each epoch in order; only the first may be issued.
    epochs: VecDeque<(Epoch, u32)>,
    /// Locked writes of later epochs, and those that wait for a generation.
    held: VecDeque<Key>,
    segments: VecDeque<Segment>,
    /// By volume that got a new generation: the segment in which that was begun.
    parted: BTreeMap<VolumeIndex, u64>,
    flushing: bool,
    /// The link they came by still stands.
    pub(crate) linked: bool,
}

impl Default for Inbound {
    fn default() -> Self {
        Self {
            writes: Slab::default(),
            reads: Slab::default(),
            flushes: Slab::default(),
            epochs: VecDeque::new(),
            held: VecDeque::new(),
            segments: VecDeque::from([Segment { number: 0, incomplete: 0, mark: None }]),
            parted: BTreeMap::new(),
            flushing: false,
            linked: true,
        }
    }
}

impl Inbound {
    /// Whether all of it has been carried out.
    pub(crate) fn is_idle(&self) -> bool {
        self.writes.is_empty() && self.reads.is_empty() && self.flushes.is_empty()
    }

    /// Nobody waits for acks any more, so barriers are pointless. Flushes are not: later epochs
    /// wait for them, and what was received behind a flush must not become durable before it.
    pub(crate) fn link_lost(&mut self) {
        self.linked = false;
        for segment in &mut self.segments {
            segment.mark = segment.mark.take().filter(|mark| matches!(mark, Mark::Flush { .. }));
        }
    }

    pub(crate) fn in_flight(&self) -> usize {
        self.writes.len() + self.reads.len()
    }

    /// A new generation of a volume is made from here on: what has come so far is part of the old
    /// one.
    pub(crate) fn part(&mut self, volume: VolumeIndex) {
        for write in self.writes.iter_mut().filter(|write| write.volume == volume) {
            write.earlier = true;
        }
        let open = self.open_segment().number;
        self.parted.insert(volume, open);
    }

    /// Whether there are writes to a volume that came before its new generation.
    pub(crate) fn holds_earlier(&self, volume: VolumeIndex) -> bool {
        self.writes.iter().any(|(_, write)| write.earlier && write.volume == volume)
    }

    /// Whether the mark behind the first segment came before a volume's new generation.
    fn is_earlier_mark(&self, volume: VolumeIndex) -> bool {
        self.parted.get(&volume).is_some_and(|parted| self.segments[0].number < *parted)
    }

    fn open_segment(&mut self) -> &mut Segment {
        self.segments.back_mut().expect("the open segment is always there")
    }

    fn epoch_enters(&mut self, epoch: Epoch) {
        match self.epochs.back_mut() {
            Some((last, count)) if *last == epoch => *count += 1,
            Some(_) | None => self.epochs.push_back((epoch, 1)),
        }
        self.drop_finished_epochs();
    }

    fn drop_finished_epochs(&mut self) {
        while self.epochs.len() > 1 && self.epochs[0].1 == 0 {
            self.epochs.pop_front();
        }
    }

    /// One of `epoch` has completed; true where a later epoch may begin.
    fn epoch_leaves(&mut self, epoch: Epoch) -> bool {
        let entry = self.epochs.iter_mut().find(|(known, _)| *known == epoch);
        entry.expect("entered before").1 -= 1;
        let before = self.epochs.len();
        self.drop_finished_epochs();
        self.epochs.len() < before
    }

    fn is_current(&self, epoch: Epoch) -> bool {
        self.epochs.front().is_some_and(|(first, _)| *first == epoch)
    }
}

impl Resource {
    /// A mirrored write has arrived.
    pub(crate) fn peer_write(
        &mut self,
        peer: PeerIndex,
        write: PeerWrite,
    ) -> Result<(), PeerError> {
        let volume = self.volume_of_peer(write.volume)?;
        self.check_peer_range(volume, write.range, "Write")?;
        if self.is_behind(volume) {
            return Err(PeerError::Unexpected { packet: "Write", phase: "Behind" });
        }
        let connection = &mut self.connections[peer];
        let len = u64::from(write.range.len);
        connection.devices[volume].received_bytes += len;
        self.volumes[volume].application_at = Some(self.now);
        if connection.inbound.in_flight() >= PEER_REQUESTS_MAX {
            return Err(PeerError::TooMany { limit: PEER_REQUESTS_MAX });
        }
        // Who does not get it differs from here on: the sender too, where it has no disk.
        for other in self.peer_indexes() {
            if !self.replicates(other, volume) {
                self.set_out_of_sync(volume, other, write.range);
            }
        }
        self.part_from_absent(volume);
        let disk = self.volumes[volume].usable_generation();
        let connection = &mut self.connections[peer];
        let inbound = &mut connection.inbound;
        inbound.epoch_enters(write.epoch);
        let segment = inbound.open_segment();
        segment.incomplete += 1;
        let segment = segment.number;
        let key = inbound.writes.insert(Incoming {
            volume,
            range: write.range,
            kind: Some(write.kind),
            id: write.id,
            epoch: write.epoch,
            fua: write.fua,
            segment,
            disk,
            lock: None,
            granted: false,
            earlier: false,
        });
        if connection.session_protocol() == Protocol::B && disk.is_some() {
            self.send(peer, Packet::RecvAck { id: write.id });
        }
        let owner = LockOwner::PeerWrite(peer, key);
        let (lock, granted) = self.volumes[volume].lock(LockKind::PeerWrite, write.range, owner);
        self.incoming(peer, key).lock = Some(lock);
        if granted {
            self.peer_write_locked(peer, key);
        }
        Ok(())
    }

    /// Its range is its own.
    pub(crate) fn peer_write_locked(&mut self, peer: PeerIndex, key: Key) {
        self.incoming(peer, key).granted = true;
        if !self.issue_peer_write(peer, key) {
            self.connections[peer].inbound.held.push_back(key);
        }
    }

    /// Issues a locked write if its epoch and the generation allow.
    fn issue_peer_write(&mut self, peer: PeerIndex, key: Key) -> bool {
        let incoming = self.incoming(peer, key);
        let &mut Incoming { epoch, volume, range, fua, disk, earlier, .. } = incoming;
        if !self.connections[peer].inbound.is_current(epoch) {
            return false;
        }
        let same_disk = disk.is_some() && disk == self.volumes[volume].usable_generation();
        if !same_disk {
            // Its disk is gone, and with it the session or what is left of it.
            self.finish_peer_write(peer, key, None);
            return true;
        }
        if self.volumes[volume].is_rotating() && !earlier {
            return false;
        }
        let kind = self.incoming(peer, key).kind.take().expect("a write is issued once");
        self.volumes[volume].counters.written_bytes += u64::from(range.len);
        self.disk_op(volume, Purpose::PeerWrite(peer, key), write_op(range, kind, fua));
        true
    }

    /// Issues what was held, as far as epochs and generations allow.
    pub(crate) fn release_held(&mut self, peer: PeerIndex) {
        let mut rounds = self.connections[peer].inbound.held.len();
        while rounds > 0 {
            rounds -= 1;
            let Some(key) = self.connections[peer].inbound.held.pop_front() else {
                break;
            };
            if !self.issue_peer_write(peer, key) {
                self.connections[peer].inbound.held.push_back(key);
            }
        }
        self.pump_marks(peer);
    }

    /// A generation has become durable: peer writes that waited for it go on.
    pub(crate) fn release_peer_writes(&mut self) {
        for peer in self.peer_indexes() {
            self.release_held(peer);
        }
    }

    /// The disk has ended a mirrored write.
    pub(crate) fn peer_write_ended(&mut self, peer: PeerIndex, key: Key, error: Option<DiskError>) {
        let &mut Incoming { volume, id, .. } = self.incoming(peer, key);
        let acked = self.connections[peer].session_protocol() == Protocol::C;
        let answer = match error {
            None => acked.then_some(Packet::WriteAck { id }),
            // The peer hears of the failed disk by the end of the session: an answer before that
            // would look as if nobody had the data though the disk is good.
            Some(error) => {
                self.disk_failed(volume, "writing the peer's data", error);
                None
            }
        };
        self.finish_peer_write(peer, key, answer);
    }

    fn finish_peer_write(&mut self, peer: PeerIndex, key: Key, answer: Option<Packet>) {
        let inbound = &mut self.connections[peer].inbound;
        let incoming = inbound.writes.remove(key).expect("a write ends once");
        let segment = inbound
            .segments
            .iter_mut()
            .find(|segment| segment.number == incoming.segment)
            .expect("a segment stays while it is incomplete");
        segment.incomplete -= 1;
        let next_epoch = inbound.epoch_leaves(incoming.epoch);
        if let (true, Some(answer)) = (inbound.linked, answer) {
            self.send(peer, answer);
        }
        self.unlock(incoming.volume, incoming.lock.expect("locked before it was issued"));
        self.unsettled |= !self.connections[peer].inbound.linked || incoming.earlier;
        if next_epoch {
            self.release_held(peer);
        }
        self.pump_marks(peer);
    }

    /// A barrier or flush has arrived: it closes the open segment.
    fn close_segment(&mut self, peer: PeerIndex, mark: Mark) {
        let inbound = &mut self.connections[peer].inbound;
        if let Mark::Flush { epoch, .. } = mark {
            inbound.epoch_enters(epoch);
        }
        let open = inbound.open_segment();
        open.mark = Some(mark);
        let number = open.number + 1;
        inbound.segments.push_back(Segment { number, incomplete: 0, mark: None });
        self.pump_marks(peer);
    }

    pub(crate) fn peer_barrier(&mut self, peer: PeerIndex, number: BarrierNumber) {
        self.close_segment(peer, Mark::Barrier(number));
    }

    pub(crate) fn peer_flush(&mut self, peer: PeerIndex, id: RequestId, epoch: Epoch) {
        self.close_segment(peer, Mark::Flush { id, epoch });
    }

    /// Starts one flush for all marks whose segments have completed.
    fn pump_marks(&mut self, peer: PeerIndex) {
        // A generation on its way to disk tells this copy apart from one that is lost: who waits
        // for a flush goes on without that one (INV-2).
        let rotating = self.volume_indexes().filter(|it| self.volumes[*it].is_rotating());
        let rotating: Vec<VolumeIndex> = rotating.collect();
        let inbound = &mut self.connections[peer].inbound;
        if inbound.flushing {
            return;
        }
        let mut marks = Vec::new();
        while inbound.segments.len() > 1
            && inbound.segments[0].incomplete == 0
            && rotating.iter().all(|volume| inbound.is_earlier_mark(*volume))
        {
            let segment = inbound.segments.pop_front().expect("its length was seen");
            marks.extend(segment.mark);
        }
        if marks.is_empty() {
            return;
        }
        inbound.flushing = true;
        let disks_left = self.volumes.len();
        let job = FlushJob { marks, disks_left, failed: false };
        let key = self.connections[peer].inbound.flushes.insert(job);
        for volume in self.volume_indexes() {
            self.flush_disk(volume, FlushWaiter::Peer(peer, key));
        }
    }

    /// One disk has been flushed for a peer's marks.
    pub(crate) fn peer_flush_done(
        &mut self,
        peer: PeerIndex,
        key: Key,
        result: Result<(), DiskError>,
    ) {
        let inbound = &mut self.connections[peer].inbound;
        let job = inbound.flushes.get_mut(key).expect("a job ends with its last disk");
        job.failed |= result.is_err();
        job.disks_left -= 1;
        if job.disks_left > 0 {
            return;
        }
        let job = inbound.flushes.remove(key).expect("it was there");
        inbound.flushing = false;
        let linked = inbound.linked;
        let mut next_epoch = false;
        for mark in job.marks {
            if let Mark::Flush { epoch, .. } = mark {
                next_epoch |= self.connections[peer].inbound.epoch_leaves(epoch);
            }
            let packet = match mark {
                Mark::Barrier(number) => Packet::BarrierAck(number),
                Mark::Flush { id, .. } => Packet::FlushAck { id },
            };
            // A failed disk ends the session, and says so by that.
            if linked && !job.failed {
                self.send(peer, packet);
            }
        }
        if next_epoch {
            self.release_held(peer);
        }
        self.pump_marks(peer);
    }

    fn incoming(&mut self, peer: PeerIndex, key: Key) -> &mut Incoming {
        let writes = &mut self.connections[peer].inbound.writes;
        writes.get_mut(key).expect("events of a write come before its end")
    }
}
