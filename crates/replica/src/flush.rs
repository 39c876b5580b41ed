//! Flushes: of the application, of a peer, of the resync, all through one funnel per volume.
//!
//! One flush runs on a volume's disk at a time; who asks meanwhile joins the next one, which begins
//! after everything he wants durable has completed. A client's flush completes when it is durable
//! here and, in protocol C, on every replicating peer (SEMANTICS INV-2); where the disk here is not
//! good, durable is what a peer's good disk has flushed.

use bytes::Bytes;
use tandem_wire::{DiskState, Packet, Protocol, RequestId};

use crate::action::{Action, ClientId, Cookie, DiskOpKind, Request, RequestOp};
use crate::connection::Connection;
use crate::error::{DiskError, RequestError};
use crate::outbound::MarkKind;
use crate::peers::{PeerIndex, PeerSet, VolumeIndex};
use crate::resource::Resource;
use crate::slab::Key;
use crate::volume::Purpose;

/// Who waits for a flush of one volume's disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FlushWaiter {
    /// The application.
    Client(Key),
    /// A barrier or flush of a peer.
    Peer(PeerIndex, Key),
    /// Resync data written for this peer's acks.
    Resync(PeerIndex),
    /// The demotion under way.
    Demotion,
    /// The next generation of this volume.
    Rotation,
    /// The activity log, in want of slots.
    ActivityLog,
    /// A handshake: what the last session brought must not be lost any more (INV-9).
    Settling(PeerIndex),
}

/// The funnel of one volume.
#[derive(Debug, Default)]
pub(crate) struct Flusher {
    running: Vec<FlushWaiter>,
    waiting: Vec<FlushWaiter>,
    /// How many have been issued.
    begun: u64,
}

impl Flusher {
    /// Number of the next flush, the first to cover what ends at this moment.
    pub(crate) fn next(&self) -> u64 {
        self.begun + 1
    }
}

/// A flush of the application.
#[derive(Debug)]
pub(crate) struct ClientFlush {
    client: ClientId,
    cookie: Cookie,
    volume: VolumeIndex,
    /// Durable here, or no disk here.
    local: Option<Result<(), DiskError>>,
    awaiting: PeerSet,
    on_peer: bool,
    /// A peer that was lost may not have what is before it: as for a write.
    apart: bool,
    /// A peer with good data was asked to flush whose link still stands.
    asked: bool,
    /// The disk here was given up since, or has failed to flush: a peer that had flushed before it
    /// knew of that may not have told its copy apart from the one here, and must be asked again
    /// (INV-2).
    outdated: bool,
}

impl ClientFlush {
    /// The disk here is given up, or is about to be.
    fn disk_lost(&mut self) {
        (self.on_peer, self.asked, self.outdated) = (false, false, true);
    }
}

impl Resource {
    /// Asks for a flush of a volume's disk. Without a disk nothing was written that a peer or a
    /// demotion could wait for; what a client or a resync wants durable is not there.
    pub(crate) fn flush_disk(&mut self, volume: VolumeIndex, waiter: FlushWaiter) {
        if !self.volumes[volume].is_attached() {
            let result = match waiter {
                FlushWaiter::Peer(..) | FlushWaiter::Demotion | FlushWaiter::Settling(_) => Ok(()),
                FlushWaiter::Client(_)
                | FlushWaiter::Resync(_)
                | FlushWaiter::Rotation
                | FlushWaiter::ActivityLog => Err(DiskError::Io),
            };
            return self.flushed(volume, waiter, result);
        }
        let flusher = &mut self.volumes[volume].flusher;
        if !flusher.running.is_empty() {
            flusher.waiting.push(waiter);
            return;
        }
        flusher.running.push(waiter);
        flusher.begun += 1;
        self.disk_op(volume, Purpose::Flush, DiskOpKind::Flush);
    }

    /// The running flush has ended.
    pub(crate) fn flush_done(&mut self, volume: VolumeIndex, result: &Result<Bytes, DiskError>) {
        let mut outcome = result.as_ref().map(|_| ()).map_err(|error| *error);
        if let Err(error) = outcome {
            // One without an answer has not failed yet, and its disk is given up (`hung`).
            if error != DiskError::NoAnswer {
                self.flush_failed(volume);
            }
            self.disk_failed(volume, "flushing", error);
        }
        let attached = self.volumes[volume].is_attached();
        let flusher = &mut self.volumes[volume].flusher;
        let mut done = std::mem::take(&mut flusher.running);
        let begun = flusher.begun;
        if outcome.is_ok() && attached {
            flusher.running = std::mem::take(&mut flusher.waiting);
            if !flusher.running.is_empty() {
                flusher.begun += 1;
                self.disk_op(volume, Purpose::Flush, DiskOpKind::Flush);
            }
            if let Some(log) = self.log_mut(volume) {
                log.flushed(begun);
            }
        } else {
            // A failed flush is final: no later one makes good what this one could not (INV-14).
            done.append(&mut flusher.waiting);
        }
        if !attached {
            outcome = Err(DiskError::Io);
        }
        for waiter in done {
            self.flushed(volume, waiter, outcome);
        }
    }

    fn flushed(&mut self, volume: VolumeIndex, waiter: FlushWaiter, result: Result<(), DiskError>) {
        match waiter {
            FlushWaiter::Client(key) => {
                if let Some(flush) = self.flushes.get_mut(key) {
                    if result.is_err() {
                        flush.disk_lost();
                    }
                    flush.local = Some(result);
                    self.settle_flush(key);
                }
            }
            FlushWaiter::Peer(peer, job) => self.peer_flush_done(peer, job, result),
            FlushWaiter::Resync(peer) => self.resync_flushed(peer, volume, result),
            FlushWaiter::Demotion => self.demotion_flushed(),
            FlushWaiter::Settling(peer) => self.settling_flushed(peer),
            FlushWaiter::Rotation => self.rotation_flushed(volume, result),
            FlushWaiter::ActivityLog => self.log_flushed(volume),
        }
    }

    /// Takes a client's flush.
    pub(crate) fn begin_flush(&mut self, client: ClientId, cookie: Cookie, volume: VolumeIndex) {
        let key = self.flushes.insert(ClientFlush {
            client,
            cookie,
            volume,
            local: None,
            awaiting: PeerSet::default(),
            on_peer: false,
            apart: false,
            asked: false,
            outdated: false,
        });
        self.volumes[volume].counters.pending.enter(self.now);
        for peer in self.peer_indexes() {
            // Also where this volume is not replicated: the order of all volumes is one, and a
            // flush is a boundary in it.
            if !self.connections[peer].is_running() {
                continue;
            }
            let id = RequestId(key.to_bits());
            let epoch = self.connections[peer].outbound.mark_flush(id);
            self.connections[peer].expect_answer(self.now);
            self.send(peer, Packet::Flush { id, epoch });
            // What a target has flushed proves nothing; once it is in sync it may be asked again.
            self.flush_mut(key).asked |= self.serves(peer, volume);
            let awaited = self.connections[peer].session_protocol() == Protocol::C;
            if awaited && self.replicates(peer, volume) {
                self.flush_mut(key).awaiting.insert(peer);
            }
        }
        if self.volumes[volume].is_attached() {
            self.flush_disk(volume, FlushWaiter::Client(key));
        } else {
            self.flush_mut(key).local = Some(Err(DiskError::Io));
            self.settle_flush(key);
        }
    }

    /// A peer has flushed, or could not.
    pub(crate) fn flush_acked(&mut self, peer: PeerIndex, id: RequestId, done: bool) -> bool {
        let Some(seq) = self.connections[peer].outbound.acked(MarkKind::Flush(id)) else {
            return false;
        };
        self.connections[peer].answered(self.now);
        if done {
            self.barrier_acked(peer, seq);
        }
        let key = Key::from_bits(id.0);
        let volume = self.flushes.get(key).map(|flush| flush.volume);
        let good = volume.is_some_and(|volume| self.has_good_disk(peer, volume));
        if let Some(flush) = self.flushes.get_mut(key) {
            flush.awaiting.remove(peer);
            flush.on_peer |= done && good && !flush.outdated;
            self.settle_flush(key);
        }
        true
    }

    /// The link to `peer` is lost: flushes do not wait for it any more, but where writes may be
    /// behind on it the new generation must be durable first.
    pub(crate) fn flushes_link_lost(&mut self, peer: PeerIndex) {
        let keys: Vec<Key> = self.flushes.iter().map(|(key, _)| key).collect();
        for key in keys {
            let flush = self.flush_mut(key);
            if flush.awaiting.remove(peer) {
                flush.apart = true;
            }
            flush.asked = false;
            self.settle_flush(key);
        }
    }

    /// The disk of a volume is given up: what was flushed there does not count for flushes that are
    /// not answered.
    pub(crate) fn flushes_disk_lost(&mut self, volume: VolumeIndex) {
        for flush in self.flushes.iter_mut() {
            if flush.volume != volume {
                continue;
            }
            flush.disk_lost();
            if flush.local.is_some() {
                flush.local = Some(Err(DiskError::Io));
            }
        }
        self.flushes_generation_settled(volume);
    }

    /// Flushes that waited for what a handshake brings.
    pub(crate) fn retry_flushes(&mut self) {
        if !self.flushes.is_empty() {
            for volume in self.volume_indexes() {
                self.flushes_generation_settled(volume);
            }
        }
    }

    /// Flushes that waited for a generation.
    pub(crate) fn flushes_generation_settled(&mut self, volume: VolumeIndex) {
        let keys: Vec<Key> = self
            .flushes
            .iter()
            .filter(|(_, flush)| flush.volume == volume)
            .map(|(key, _)| key)
            .collect();
        for key in keys {
            self.settle_flush(key);
        }
    }

    fn settle_flush(&mut self, key: Key) {
        let flush = self.flushes.get(key).expect("events of a flush come before its end");
        let Some(local) = flush.local else { return };
        if !flush.awaiting.is_empty() {
            return;
        }
        let ClientFlush { client, cookie, volume, apart, on_peer, asked, .. } = *flush;
        let good_disk = self.volumes[volume].disk_state() == DiskState::UpToDate;
        let durable = on_peer || (local.is_ok() && good_disk);
        let mark = MarkKind::Flush(RequestId(key.to_bits()));
        if !durable && self.connections.iter().any(|peer| peer.outbound.has_mark(mark)) {
            return; // A and B promise the local disk only; without a good one a peer's must do
        }
        if !durable && self.connections.iter().any(Connection::holds_requests) {
            return; // a handshake will show who has good data
        }
        // It came while no peer could be asked; one with good data is there.
        let unasked = !asked && self.has_data(volume) && self.clients.contains_key(&client);
        let again = !durable && (unasked || self.tries_again(client, volume));
        if !again && !self.may_answer(client, volume, apart) {
            return;
        }
        self.flushes.remove(key).expect("it was there");
        self.wake_procedures();
        self.volumes[volume].counters.pending.leave(self.now);
        for peer in self.peer_indexes() {
            if self.connections[peer].outbound.has_mark(mark) {
                self.connections[peer].outbound.close_epoch();
            }
        }
        if again {
            let volume = self.volumes[volume].number;
            return self.hold_again(Request { client, cookie, volume, op: RequestOp::Flush });
        }
        let result = if durable { Ok(None) } else { Err(RequestError::Io) };
        self.push(Action::Reply { client, cookie, result });
    }

    /// Whether no flush is under way; `held`: those that could be answered do not count.
    pub(crate) fn flushes_are_settled(&self, held: bool) -> bool {
        self.flushes.iter().all(|(_, f)| held && f.local.is_some() && f.awaiting.is_empty())
    }

    fn flush_mut(&mut self, key: Key) -> &mut ClientFlush {
        self.flushes.get_mut(key).expect("events of a flush come before its end")
    }
}
