//! Giving a backing disk up: by command, or because it failed; and what it means that a peer did.

use tandem_wire::{DiskState, Role};

use crate::action::{Action, CommandId, Severity};
use crate::error::{CommandError, DiskError};
use crate::limits::FORCED_DETACH_PATIENCE;
use crate::peer_device::Replication;
use crate::peers::{PeerIndex, VolumeIndex};
use crate::resource::Resource;
use crate::store::Ticket;
use crate::time::Instant;
use crate::volume::{Attached, Disk, Purpose};

impl Resource {
    /// A peer's disk of one volume is gone while the session goes on: this node has the data alone.
    pub(crate) fn peer_disk_told(
        &mut self,
        peer: PeerIndex,
        volume: VolumeIndex,
        before: DiskState,
    ) {
        let device = &self.connections[peer].devices[volume];
        let lost = before >= DiskState::Inconsistent && device.disk < DiskState::Inconsistent;
        if !lost || !self.is_replicating(peer, volume) {
            return;
        }
        if device.replication != Replication::Established {
            return self.renegotiate(peer, "the peer's disk is gone");
        }
        self.note(
            Some(volume),
            Some(peer),
            Severity::Warning,
            "the peer's disk is gone".to_owned(),
        );
        self.log_peer_lost(peer, Some(volume));
        self.part_from_lost_disk(peer, volume);
    }

    /// Where a Primary's disk is gone: what it has missed, or lost, nobody knows; this node's has
    /// everything. Told apart only by the next write, it would count as a crashed Primary's
    /// (INV-2).
    pub(crate) fn part_from_lost_disk(&mut self, peer: PeerIndex, volume: VolumeIndex) {
        let connection = &self.connections[peer];
        let gone = connection.devices[volume].disk < DiskState::Inconsistent;
        if connection.peer_role == Role::Primary && gone {
            self.rotate_generation(volume);
        }
    }

    pub(crate) fn begin_detach(
        &mut self,
        command: CommandId,
        volume: VolumeIndex,
        force: bool,
    ) -> Result<(), CommandError> {
        let number = self.volumes[volume].number;
        match &mut self.volumes[volume].disk {
            Disk::Diskless => {
                self.done(command, Ok(()));
                return Ok(());
            }
            Disk::Closing { detaching, .. } => {
                detaching.push(command);
                if force || self.volumes[volume].lingers() {
                    self.give_up_operations(volume);
                }
                return Ok(());
            }
            Disk::Reading(_) if force => {
                self.attach_failed(volume, "given up by the operator");
                self.give_up_operations(volume);
                self.done(command, Ok(()));
                return Ok(());
            }
            Disk::Opening(_) | Disk::Reading(_) => return Err(CommandError::Concurrent),
            Disk::Attached(_) => {}
        }
        let needed = self.clients.values().any(|open| *open == volume);
        if needed && !force && !self.is_served(volume) {
            let disk = self.volumes[volume].disk_state();
            let advice = "clients use it, and no connected peer has UpToDate data to serve them; \
                          connect one, or close the clients"
                .to_owned();
            return Err(CommandError::NeedUpToDate { volume: number, disk, advice });
        }
        if !force && self.is_to_be_source(volume) {
            return Err(CommandError::Concurrent);
        }
        let until = force.then(|| self.now + FORCED_DETACH_PATIENCE);
        self.save_for_detach(volume, Some(command), until);
        self.unsettled = true;
        Ok(())
    }

    /// Whether an operator has asked for the disk, which goes when its metadata are durable.
    pub(crate) fn is_detaching(&self, volume: VolumeIndex) -> bool {
        self.detaching.iter().any(|detaching| detaching.volume == volume)
    }

    /// Part of `down`: nobody uses the disk any more.
    pub(crate) fn detach_for_down(&mut self, volume: VolumeIndex, force: bool) {
        if self.volumes[volume].is_attached() && !self.is_detaching(volume) {
            let until = force.then(|| self.now + FORCED_DETACH_PATIENCE);
            self.save_for_detach(volume, None, until);
        }
    }

    /// Saves what the disk must say while it is away: also, for each peer, whether it has all that
    /// was received. The peer may be dead before it hears that the disk is gone, and this one a
    /// survivor's (SEMANTICS rule 1).
    fn save_for_detach(
        &mut self,
        volume: VolumeIndex,
        command: Option<CommandId>,
        until: Option<Instant>,
    ) {
        self.note_drained(volume);
        let ticket = self.commit(volume, true);
        self.detaching.push(Detaching { volume, ticket, command, until, saved_again: false });
    }

    /// Notes for each peer where the disk has all that was received. False where nothing is new.
    fn note_drained(&mut self, volume: VolumeIndex) -> bool {
        let mut noted = false;
        for peer in self.peer_indexes() {
            let drained = self.has_all_received(peer, volume);
            if let Some(attached) = self.volumes[volume].attached_mut() {
                let flag = &mut attached.store.peer_mut(peer).flags.drained;
                noted |= drained && !*flag;
                *flag |= drained;
            }
        }
        noted
    }

    /// Takes back what has become wrong while it was being saved. False where all of it is right.
    fn correct_drained(&mut self, volume: VolumeIndex) -> bool {
        let mut corrected = false;
        for peer in self.peer_indexes() {
            let wrong = self.connections[peer].undrained && !self.has_all_received(peer, volume);
            if let Some(attached) = self.volumes[volume].attached_mut() {
                let drained = &mut attached.store.peer_mut(peer).flags.drained;
                corrected |= *drained && wrong;
                *drained &= !wrong;
            }
        }
        corrected
    }

    fn has_all_received(&self, peer: PeerIndex, volume: VolumeIndex) -> bool {
        self.connections[peer].inbound.is_idle() && self.served(peer, volume)
    }

    /// Detaches whose metadata are durable, and disks that nothing uses any more.
    pub(crate) fn advance_detach(&mut self) {
        let now = self.now;
        let (ready, waiting): (Vec<_>, Vec<_>) =
            std::mem::take(&mut self.detaching).into_iter().partition(|it| {
                it.until.is_some_and(|until| until <= now)
                    || self.all_durable(&[(it.volume, it.ticket)])
            });
        self.detaching = waiting;
        for Detaching { volume, command, until, saved_again, .. } in ready {
            let in_time = until.is_none_or(|until| now < until);
            let is_wrong = in_time && self.correct_drained(volume);
            // What was under way when it was first saved may have ended; under load that would go
            // on for ever.
            let is_behind = in_time && !saved_again && self.note_drained(volume);
            if is_wrong || is_behind {
                let ticket = self.commit(volume, true);
                let saved_again = true;
                self.detaching.push(Detaching { volume, ticket, command, until, saved_again });
                continue;
            }
            self.give_up_disk(volume, false, command, "a disk was detached");
            if until.is_some() || self.volumes[volume].lingers() {
                self.give_up_operations(volume);
            }
        }
        for volume in self.volume_indexes() {
            let state = &mut self.volumes[volume];
            if state.ops_in_flight() > 0 {
                continue;
            }
            let unflushable = state.unflushable;
            if let Disk::Closing { detaching, last_word, .. } = &mut state.disk {
                if unflushable && let Some(step) = last_word.pop() {
                    self.disk_op(volume, Purpose::LastWord, step);
                    continue;
                }
                let commands = std::mem::take(detaching);
                state.disk = Disk::Diskless;
                let (number, generation) = (state.number, state.generation);
                self.push(Action::CloseDisk { volume: number, generation });
                for command in commands {
                    self.done(command, Ok(()));
                }
                self.broadcast_states();
                self.unsettled = true;
            }
        }
    }

    /// No new operation goes to the disk; it is closed when the last one has ended.
    fn give_up_disk(
        &mut self,
        volume: VolumeIndex,
        failed: bool,
        command: Option<CommandId>,
        reason: &str,
    ) {
        let detaching: Vec<CommandId> = command.into_iter().collect();
        if let Disk::Closing { detaching: waiting, .. } = &mut self.volumes[volume].disk {
            waiting.extend(detaching);
            return;
        }
        self.expose_own(volume);
        let closing = Disk::Closing { failed, detaching, last_word: Vec::new() };
        let was = std::mem::replace(&mut self.volumes[volume].disk, closing);
        let Disk::Attached(attached) = was else {
            unreachable!("only attached disks are given up")
        };
        let Attached { store, log, attaching, .. } = *attached;
        if let Disk::Closing { last_word, .. } = &mut self.volumes[volume].disk {
            *last_word = store.into_last_word();
        }
        if let Some((command, _)) = attaching {
            let number = self.volumes[volume].number;
            self.done(command, Err(CommandError::Io { volume: number }));
        }
        self.volumes[volume].rotation = None;
        for peer in self.peer_indexes() {
            let device = &self.connections[peer].devices[volume];
            // A Primary lives on a peer that has everything; any other state is decided anew. So is
            // the loss of a Secondary's disk: its Primary must not take the flushes of the others
            // for this one's, and by the link's end everything that is not acked counts as missing.
            let goes_on = self.role == Role::Primary
                && self.serves(peer, volume)
                && device.replication == Replication::Established;
            if goes_on {
                // The peer must know before it gets what waits for the verify's ranges: of that the
                // disk here has nothing.
                self.send_state(peer, volume);
                self.interrupt_verify(peer, volume, reason);
            } else {
                // Before anything is let go that waits for a lock: what then ends without a disk
                // must find nobody to ack it to.
                self.renegotiate(peer, reason);
            }
            self.release_held(peer);
        }
        self.log_disk_lost(volume);
        self.flushes_disk_lost(volume);
        // The log stays on disk for the next attach; what waited for it goes to the peers alone.
        for key in log.into_iter().flat_map(|log| log.into_waiting()) {
            self.pass_gate(key);
        }
        self.unsettled = true;
    }

    /// A copy of the last word is stored. Where that fails the other one stays as it is: one of
    /// them must be whole.
    pub(crate) fn last_word_written(&mut self, volume: VolumeIndex, error: Option<DiskError>) {
        if let Disk::Closing { last_word, .. } = &mut self.volumes[volume].disk
            && error.is_some()
        {
            last_word.clear();
        }
    }

    /// An operation on the disk failed: it is not used any more (on-io-error detach). Acted upon
    /// when the present input has been dealt with.
    pub(crate) fn disk_failed(&mut self, volume: VolumeIndex, doing: &str, error: DiskError) {
        if self.volumes[volume].is_attached() && self.volumes[volume].failure.is_none() {
            let text = format!("{error} {doing}: the disk is detached");
            self.volumes[volume].failure = Some(text);
            self.unsettled = true;
        }
    }

    pub(crate) fn advance_failure(&mut self, volume: VolumeIndex) {
        if let Some(text) = self.volumes[volume].failure.take() {
            self.note_failure(volume, text);
            self.give_up_disk(volume, true, None, "the backing disk failed");
        }
    }
}

/// A disk being given up.
#[derive(Debug)]
pub(crate) struct Detaching {
    volume: VolumeIndex,
    /// What must be durable before.
    ticket: Ticket,
    command: Option<CommandId>,
    /// By force: when it is given up all the same.
    pub(crate) until: Option<Instant>,
    /// It was saved once more, as more had been carried out by then, or less.
    saved_again: bool,
}
