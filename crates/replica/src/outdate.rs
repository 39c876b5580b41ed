//! `outdate`: this node's data are marked as older than the peer's, durably, so that nobody takes
//! them for the newest. What a peer's `fence-peer` asks for.
//!
//! Refused to a Primary, and while connected, as in DRBD. A link that only looks alive does not
//! count: the peer is asked for a sign of life first.

use tandem_wire::{DiskState, Role};

use crate::action::{AttachGeneration, CommandId};
use crate::error::CommandError;
use crate::peers::VolumeIndex;
use crate::resource::Resource;
use crate::role::{Promotion, RoleChange};
use crate::store::Ticket;

/// An `outdate` under way.
#[derive(Debug)]
pub(crate) struct Outdating {
    command: CommandId,
    volume: VolumeIndex,
    /// The mark on its way to disk, and in which opening of it. Before, peers are asked whether
    /// they are there.
    saving: Option<(AttachGeneration, Ticket)>,
}

impl Resource {
    pub(crate) fn begin_outdate(
        &mut self,
        command: CommandId,
        volume: VolumeIndex,
    ) -> Result<(), CommandError> {
        self.may_outdate(volume)?;
        for peer in self.peer_indexes() {
            if self.connections[peer].is_running() {
                self.ping(peer);
            }
        }
        self.outdating.push(Outdating { command, volume, saving: None });
        self.unsettled = true;
        Ok(())
    }

    fn may_outdate(&self, volume: VolumeIndex) -> Result<(), CommandError> {
        let becomes_primary = matches!(
            self.role_change,
            Some(RoleChange::Promoting { step: Promotion::Saving(_), .. })
        );
        if self.role == Role::Primary || becomes_primary {
            return Err(CommandError::OutdatePrimary);
        }
        let (number, disk) = (self.volumes[volume].number, self.volumes[volume].disk_state());
        if self.volumes[volume].is_attaching() {
            return Err(CommandError::Concurrent);
        }
        if !self.volumes[volume].is_attached() {
            let text = format!("volume {number} has no disk: there is nothing to mark");
            return Err(CommandError::Refused(text));
        }
        if disk < DiskState::Outdated {
            return Err(CommandError::BelowOutdated { volume: number, disk });
        }
        Ok(())
    }

    pub(crate) fn advance_outdating(&mut self) {
        for outdating in std::mem::take(&mut self.outdating) {
            let Outdating { command, volume, saving } = outdating;
            let result = match saving {
                Some(mark) => self.mark_saved(volume, mark),
                None => self.try_outdate(volume),
            };
            match result {
                Ok(None) if saving.is_some() => self.done(command, Ok(())),
                Ok(saving) => self.outdating.push(Outdating { command, volume, saving }),
                Err(error) => self.done(command, Err(error)),
            }
        }
    }

    /// Nothing where the mark is on disk.
    fn mark_saved(
        &self,
        volume: VolumeIndex,
        mark: (AttachGeneration, Ticket),
    ) -> Result<Option<(AttachGeneration, Ticket)>, CommandError> {
        let (generation, ticket) = mark;
        let state = &self.volumes[volume];
        let attached = state.attached().filter(|_| state.generation == generation);
        let attached = attached.ok_or(CommandError::Io { volume: state.number })?;
        Ok((!attached.store.is_durable(ticket)).then_some(mark))
    }

    /// The mark's ticket, or nothing while a peer has yet to answer.
    fn try_outdate(
        &mut self,
        volume: VolumeIndex,
    ) -> Result<Option<(AttachGeneration, Ticket)>, CommandError> {
        self.may_outdate(volume)?;
        let mut running = self.connections.iter().filter(|it| it.is_running());
        if running.clone().any(|it| it.signs.pinged_at.is_none()) {
            let text = "connected: who is Outdated then is for both nodes to say; disconnect first";
            return Err(CommandError::Refused(text.to_owned()));
        }
        if running.next().is_some() {
            return Ok(None);
        }
        for peer in self.peer_indexes() {
            // What it reports in a handshake under way would not be so any more.
            self.renegotiate(peer, "this node's data were marked as Outdated");
        }
        let ticket = self.outdate(volume);
        self.unsettled = true;
        Ok(Some((self.volumes[volume].generation, ticket)))
    }
}
