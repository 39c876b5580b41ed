//! The life of one write of the application, from its arrival to its reply and beyond.
//!
//! Locked -> (base read, merged) -> covered by the activity log -> through the gate -> in flight ->
//! replied -> retired. A long one goes from the log on in pieces, one after the other.
//!
//! The range lock is held from arrival to reply (SEMANTICS rule 6). The gate holds writes while a
//! generation is being rotated, while a handshake compares what both nodes have, and while a peer
//! owes too many barrier acks. In flight, the local disk and every replicating peer get the same
//! buffer; a block that some peer does not get is out of sync from before the write is issued. The
//! entry stays in the transfer log until every peer has acked a barrier behind it: until then a
//! lost link sets its bits.

use tandem_wire::{ByteRange, DiskState, Packet, PeerWrite, Protocol, RequestId, WriteKind};

use crate::action::{Action, AttachGeneration, ClientId, Cookie, DiskOpKind};
use crate::activity_log::piece::{Rest, cut};
use crate::error::{DiskError, RequestError};
use crate::limits::{BLOCK_BYTES, NOTICE_BYTES};
use crate::peers::{PeerIndex, PeerSet, VolumeIndex};
use crate::range_lock::{LockId, LockKind};
use crate::resource::Resource;
use crate::slab::Key;
use crate::time::Instant;
use crate::volume::{LockOwner, Purpose};

mod fill;

pub(crate) use fill::Part;

/// Where a write stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stage {
    /// Waits for its range, or for the base of a read-modify-write.
    Preparing,
    /// Waits for its extents to be in the activity log.
    Covering,
    /// Waits at the gate.
    Gated,
    /// Issued.
    InFlight,
    /// The application has its answer.
    Replied,
}

/// What the local disk has of a write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Leg {
    /// Nothing was issued: no disk.
    Absent,
    /// Issued.
    Pending,
    /// Completed.
    Done,
    /// Failed.
    Failed,
}

/// A write of the application.
#[derive(Debug)]
pub(crate) struct Write {
    pub(crate) client: ClientId,
    pub(crate) cookie: Cookie,
    pub(crate) volume: VolumeIndex,
    /// What the client wrote, where that is only part of its blocks.
    pub(crate) part: Option<Part>,
    /// Whole blocks: all that is not issued yet.
    pub(crate) whole: ByteRange,
    /// The first piece of it, which is carried out.
    pub(crate) range: ByteRange,
    /// What to do; kept until the reply, for it may have to be issued again, and not until the
    /// write retires, so that its buffer is free before.
    pub(crate) kind: Option<WriteKind>,
    /// What comes behind the piece that was issued.
    rest: Option<Rest>,
    /// The disk in whose activity log it holds references.
    pub(crate) covered: Option<AttachGeneration>,
    /// Bytes it counts for in what may be open towards a peer.
    weight: u32,
    pub(crate) fua: bool,
    pub(crate) lock: Option<LockId>,
    pub(crate) stage: Stage,
    pub(crate) local: Leg,
    /// Peers whose ack the reply waits for.
    pub(crate) awaiting: PeerSet,
    /// Peers that may not have applied it yet.
    pub(crate) unacked: PeerSet,
    /// Peers that may not have made it durable yet.
    pub(crate) unbarriered: PeerSet,
    /// Peers that were only told that they lack it.
    pub(crate) only_told: PeerSet,
    /// A peer's good disk has it.
    pub(crate) on_peer: bool,
    /// A peer that was lost may not have it: the reply waits for a new generation.
    pub(crate) apart: bool,
    /// The only good disk could not write it and stays: the answer is an error.
    pub(crate) refused: bool,
    /// Place in the transfer log.
    pub(crate) seq: u64,
    pub(crate) issued_at: Instant,
}

/// A write as it comes from the export.
#[derive(Debug)]
pub(crate) struct NewWrite {
    pub(crate) client: ClientId,
    pub(crate) cookie: Cookie,
    pub(crate) volume: VolumeIndex,
    pub(crate) range: ByteRange,
    pub(crate) kind: WriteKind,
    pub(crate) fua: bool,
}

impl Write {
    /// A write of whole blocks, of which nothing is done.
    pub(crate) fn new(new: NewWrite, range: ByteRange, now: Instant) -> Self {
        Self {
            client: new.client,
            cookie: new.cookie,
            volume: new.volume,
            part: None,
            whole: range,
            range,
            kind: Some(new.kind),
            rest: None,
            covered: None,
            weight: 0,
            fua: new.fua,
            lock: None,
            stage: Stage::Preparing,
            local: Leg::Absent,
            awaiting: PeerSet::default(),
            unacked: PeerSet::default(),
            unbarriered: PeerSet::default(),
            only_told: PeerSet::default(),
            on_peer: false,
            apart: false,
            refused: false,
            seq: 0,
            issued_at: now,
        }
    }
}

impl Resource {
    /// Takes a checked write and asks for its range.
    pub(crate) fn begin_write(&mut self, new: NewWrite) {
        let range = match new.kind {
            WriteKind::Data(_) => new.range.aligned_outwards(BLOCK_BYTES),
            WriteKind::Trim | WriteKind::Zeroes { .. } => new.range,
        };
        let volume = new.volume;
        let part = self.part_of(&new, range);
        let mut write = Write::new(new, range, self.now);
        write.part = part;
        let key = self.writes.insert(write);
        let volume = &mut self.volumes[volume];
        volume.counters.pending.enter(self.now);
        let (lock, granted) = volume.lock(LockKind::LocalWrite, range, LockOwner::Write(key));
        self.write_mut(key).lock = Some(lock);
        if granted {
            self.write_locked(key);
        }
    }

    /// Its extents are in the log: it is issued as soon as the gate allows.
    pub(crate) fn pass_gate(&mut self, key: Key) {
        let volume = self.write_mut(key).volume;
        if self.gated.is_empty() && self.gate_is_open(volume) {
            return self.issue_write(key);
        }
        self.write_mut(key).stage = Stage::Gated;
        self.gated.push_back(key);
        // Where I/O is frozen nobody else takes out a write whose client is gone.
        self.unsettled |= self.is_suspended();
    }

    /// Lets waiting writes go, in order, as far as the gate allows.
    pub(crate) fn reopen_gate(&mut self) {
        while let Some(&key) = self.gated.front() {
            let volume = self.write_mut(key).volume;
            if !self.gate_is_open(volume) {
                return;
            }
            self.gated.pop_front();
            self.issue_write(key);
        }
    }

    /// Whether a write may be issued at this moment. Starts what it waits for, if anything.
    fn gate_is_open(&mut self, volume: VolumeIndex) -> bool {
        if !self.relieve_congestion() {
            return false;
        }
        let held = self.connections.iter().any(|c| c.holds_requests() || c.outbound.is_full());
        if held || self.is_giving_up() || self.is_suspended() {
            return false;
        }
        self.generation_allows_write(volume)
    }

    fn issue_write(&mut self, key: Key) {
        let write = self.writes.get(key).expect("the gate holds live writes");
        if !self.has_data(write.volume) {
            return self.abandon_write(key, RequestError::Io);
        }
        if self.is_filled_from_other_data(write) {
            return self.fill_up(key);
        }
        if self.needs_cover(write) {
            return self.cover_write(key); // the disk was attached while it waited
        }
        self.log_seq += 1;
        let seq = self.log_seq;
        let now = self.now;
        let write = self.write_mut(key);
        write.stage = Stage::InFlight;
        write.seq = seq;
        write.issued_at = now;
        let (volume, range, fua) = (write.volume, write.range, write.fua);
        let kind = write.kind.clone().expect("a write at the gate has what it writes");
        let (kind, rest) = cut(write.whole, range, kind, write.part.as_ref());
        (write.rest, write.weight) = (rest, weight(range, &kind));
        self.log.push_back(key);
        for peer in self.peer_indexes() {
            self.send_write(peer, key, &kind);
        }
        // A disk whose metadata are not durable yet is written to by nobody; peers track for it.
        if self.volumes[volume].usable_generation().is_some() {
            self.write_mut(key).local = Leg::Pending;
            self.note_shown_early(volume, key);
            self.volumes[volume].counters.written_bytes += u64::from(range.len);
            self.disk_op(volume, Purpose::Write(key), write_op(range, kind, fua));
        }
        self.settle_write(key);
    }

    /// Sends a write to a peer that replicates its volume, or marks it out of sync there.
    fn send_write(&mut self, peer: PeerIndex, key: Key, kind: &WriteKind) {
        let write = self.writes.get(key).expect("the caller holds the write");
        let (volume, range) = (write.volume, write.range);
        if self.is_only_told(peer, volume) {
            return self.send_notice(peer, key);
        }
        if !self.replicates(peer, volume) {
            return self.set_out_of_sync(volume, peer, range);
        }
        let connection = &mut self.connections[peer];
        let (epoch, mark) = connection.outbound.enter(write.seq, write.weight, self.now);
        let protocol = connection.session_protocol();
        connection.devices[volume].sent_bytes += u64::from(range.len);
        let packet = Packet::Write(PeerWrite {
            volume: self.volumes[volume].number,
            range,
            id: RequestId(key.to_bits()),
            epoch,
            fua: write.fua,
            kind: kind.clone(),
        });
        let write = self.writes.get_mut(key).expect("the caller holds the write");
        write.unacked.insert(peer);
        write.unbarriered.insert(peer);
        match protocol {
            Protocol::A => {}
            Protocol::B | Protocol::C => write.awaiting.insert(peer),
        }
        self.send(peer, packet);
        if mark {
            self.send_barrier(peer);
        }
    }

    /// Tells a peer that it does not get a write; like a write, that is open until a barrier ack.
    fn send_notice(&mut self, peer: PeerIndex, key: Key) {
        let write = self.writes.get(key).expect("the caller holds the write");
        let (volume, range, seq) = (write.volume, write.range, write.seq);
        self.set_out_of_sync(volume, peer, range);
        let (_, mark) = self.connections[peer].outbound.enter(seq, NOTICE_BYTES, self.now);
        let number = self.volumes[volume].number;
        self.send(peer, Packet::OutOfSync(number, range));
        let write = self.write_mut(key);
        write.unbarriered.insert(peer);
        write.only_told.insert(peer);
        if mark {
            self.send_barrier(peer);
        }
    }

    /// The local disk has ended the write.
    pub(crate) fn local_write_done(&mut self, key: Key, error: Option<DiskError>) {
        let volume = self.write_mut(key).volume;
        let attached = self.volumes[volume].is_attached();
        self.shown_at_last(volume, key);
        let write = self.write_mut(key);
        // A disk that was given up meanwhile does not count, whatever it says.
        write.local = if error.is_none() && attached { Leg::Done } else { Leg::Failed };
        match error {
            Some(error) => self.local_write_failed(key, error),
            None => self.written_under_cover(key),
        }
        if self.writes.get(key).is_some() {
            self.settle_write(key);
        }
    }

    /// A peer has the write: in memory, or on its disk.
    pub(crate) fn peer_write_done(&mut self, peer: PeerIndex, key: Key, on_disk: bool) {
        let volume = self.write_mut(key).volume;
        let good = self.has_good_disk(peer, volume);
        let write = self.write_mut(key);
        write.on_peer |= good && on_disk;
        write.awaiting.remove(peer);
        if on_disk {
            write.unacked.remove(peer);
        }
        self.settle_write(key);
    }

    /// A peer could not write it: its copy of these blocks is old from here on, and its data are of
    /// another generation before the reply is out. In A and B the reply is out already.
    pub(crate) fn peer_write_failed(&mut self, peer: PeerIndex, key: Key) {
        let write = self.write_mut(key);
        write.awaiting.remove(peer);
        write.unacked.remove(peer);
        let was_open = write.unbarriered.remove(peer);
        write.apart = true;
        let is_answered = write.stage == Stage::Replied;
        let (volume, range, weight) = (write.volume, write.range, write.weight_for(peer));
        if was_open {
            self.connections[peer].outbound.leave(weight);
        }
        self.set_out_of_sync(volume, peer, range);
        self.connections[peer].devices[volume].lags = true;
        if is_answered {
            self.rotate_generation(volume);
        }
        self.settle_write(key);
    }

    /// Replies, unlocks and retires as far as this write has come. Called after each of its events.
    pub(crate) fn settle_write(&mut self, key: Key) {
        let write = self.writes.get(key).expect("events of a write come before its end");
        if write.stage == Stage::InFlight
            && write.local != Leg::Pending
            && write.awaiting.is_empty()
        {
            let Write { client, volume, apart, unbarriered, refused, .. } = *write;
            let good_disk = self.volumes[volume].disk_state() == DiskState::UpToDate;
            // A peer that had it before it knew that the disk here is gone may not have told its
            // copy apart. That one counts as a survivor's, but for what must not be lost with its
            // power, and for all of it in A: it gets the write again (INV-1, INV-2).
            let relies_on_disk = write.fua || self.replicates_async();
            let told_apart = !relies_on_disk || write.local != Leg::Failed;
            let stored = (write.on_peer && told_apart) || (write.local == Leg::Done && good_disk);
            if !stored && !unbarriered.is_empty() {
                return self.hurry_barriers(unbarriered);
            }
            if !stored && !refused && (self.tries_again(client, volume) || self.may_retry(key)) {
                return self.retry_write(key);
            }
            if !self.may_answer(client, volume, apart) {
                return; // `generation_settled` comes back to it
            }
            self.reply_write(key, stored);
        }
        self.retire_log();
    }

    fn replicates_async(&self) -> bool {
        self.connections.iter().any(|connection| connection.session_protocol() == Protocol::A)
    }

    /// Whether a write that nothing good has is worth another try: whoever it was sent to is lost,
    /// and there are good data again, or a handshake will show.
    fn may_retry(&self, key: Key) -> bool {
        let write = self.writes.get(key).expect("the caller holds the write");
        let awaited = self.clients.contains_key(&write.client);
        let data =
            self.has_data(write.volume) || self.connections.iter().any(|c| c.holds_requests());
        awaited && data
    }

    /// Puts a write that nothing good has back to the gate, before all that came later. It gets a
    /// new name, so that late acks for the old one touch nothing.
    fn retry_write(&mut self, key: Key) {
        let mut write = self.writes.remove(key).expect("events of a write come before its end");
        self.log.retain(|logged| *logged != key);
        for peer in write.unbarriered.iter() {
            self.connections[peer].outbound.leave(write.weight_for(peer));
        }
        self.uncover(&write);
        (write.covered, write.rest) = (None, None);
        (write.unbarriered, write.only_told) = (PeerSet::default(), PeerSet::default());
        write.stage = Stage::Gated;
        write.local = Leg::Absent;
        write.on_peer = false;
        write.apart = false;
        let seq = write.seq;
        let key = self.writes.insert(write);
        let is_before = |other: &Key| {
            let other = self.writes.get(*other).expect("the gate holds live writes").seq;
            other != 0 && other < seq
        };
        let place = self.gated.iter().take_while(|other| is_before(other)).count();
        self.gated.insert(place, key);
        self.retire_log(); // it may have been all that kept those behind it
        self.unsettled = true;
    }

    fn reply_write(&mut self, key: Key, stored: bool) {
        let write = self.write_mut(key);
        (write.kind, write.part) = (None, None);
        write.stage = Stage::Replied;
        let rest = write.rest.take().filter(|_| stored);
        let (client, cookie, volume) = (write.client, write.cookie, write.volume);
        let behind = write.unacked;
        for peer in behind.iter() {
            self.connections[peer].outbound.close_epoch();
        }
        if let Some(rest) = rest {
            return self.next_piece(key, rest);
        }
        let lock = self.write_mut(key).lock.take().expect("held until the reply");
        self.volumes[volume].counters.pending.leave(self.now);
        self.unlock(volume, lock);
        let result = if stored { Ok(None) } else { Err(RequestError::Io) };
        self.push(Action::Reply { client, cookie, result });
    }

    /// Ends a write that was never issued.
    pub(crate) fn abandon_write(&mut self, key: Key, error: RequestError) {
        let write = self.writes.remove(key).expect("the caller holds the write");
        let issued = matches!(write.stage, Stage::InFlight | Stage::Replied);
        assert!(!issued, "issued writes are settled, not abandoned");
        self.wake_procedures();
        self.uncover(&write);
        let lock = write.lock.expect("abandoned only once locked");
        self.volumes[write.volume].counters.pending.leave(self.now);
        self.unlock(write.volume, lock);
        let (client, cookie) = (write.client, write.cookie);
        self.push(Action::Reply { client, cookie, result: Err(error) });
    }

    fn write_mut(&mut self, key: Key) -> &mut Write {
        self.writes.get_mut(key).expect("events of a write come before its end")
    }
}

impl Write {
    /// What it counts for in what is open towards a peer.
    pub(crate) fn weight_for(&self, peer: PeerIndex) -> u32 {
        if self.only_told.contains(peer) { NOTICE_BYTES } else { self.weight }
    }
}

/// What a write counts for in memory and on the wire: zeroing travels as a command.
fn weight(range: ByteRange, kind: &WriteKind) -> u32 {
    match kind {
        WriteKind::Data(_) => range.len,
        WriteKind::Trim | WriteKind::Zeroes { .. } => BLOCK_BYTES,
    }
}

/// The disk operation that applies a write.
pub(crate) fn write_op(range: ByteRange, kind: WriteKind, fua: bool) -> DiskOpKind {
    match kind {
        WriteKind::Data(data) => DiskOpKind::Write { offset: range.offset, data, fua },
        WriteKind::Trim => DiskOpKind::Zero { range, keep_space: false, fua },
        WriteKind::Zeroes { keep_space } => DiskOpKind::Zero { range, keep_space, fua },
    }
}
