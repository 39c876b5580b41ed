//! Demotion: nothing in flight, everything durable here and acked by the peers, then the mark goes.

use super::{Demotion, RoleChange};
use crate::action::{Action, ClientId, CommandId};
use crate::error::CommandError;
use crate::flush::FlushWaiter;
use crate::resource::Resource;
use tandem_wire::Role;

impl Resource {
    pub(crate) fn begin_demotion(&mut self, command: Option<CommandId>, force: bool) {
        let refusal = if self.role_change.is_some() {
            Some(CommandError::Concurrent)
        } else if !self.clients.is_empty() && !force {
            Some(CommandError::InUse { clients: self.clients.len() })
        } else {
            None
        };
        if let Some(error) = refusal {
            return self.end_command(command, Err(error));
        }
        if self.role != Role::Primary {
            return self.end_command(command, Ok(()));
        }
        let clients: Vec<ClientId> = self.clients.keys().copied().collect();
        for client in clients {
            self.push(Action::CloseClient { client });
        }
        let step = Demotion::Draining;
        self.role_change = Some(RoleChange::Demoting { command, step });
        self.unsettled = true;
    }

    pub(crate) fn is_demoting(&self) -> bool {
        matches!(self.role_change, Some(RoleChange::Demoting { .. }))
    }

    /// Whether no write is left that a crash could leave on one node only: the marks are going.
    pub(crate) fn is_unmarking(&self) -> bool {
        let step = match &self.role_change {
            Some(RoleChange::Demoting { step, .. }) => step,
            Some(RoleChange::Promoting { .. }) | None => return false,
        };
        matches!(step, Demotion::Flushing { .. } | Demotion::Saving(_))
    }

    pub(super) fn try_demotion(&mut self) {
        if !self.clients.is_empty() || !self.reads.is_empty() || !self.flushes.is_empty() {
            return;
        }
        if !self.writes.is_empty() {
            return self.ask_for_barriers();
        }
        self.set_demotion(Demotion::Flushing { left: self.volumes.len() });
        for volume in self.volume_indexes() {
            self.flush_disk(volume, FlushWaiter::Demotion);
        }
    }

    /// Asks every peer to make durable what was sent to it.
    pub(crate) fn ask_for_barriers(&mut self) {
        for peer in self.peer_indexes() {
            if self.connections[peer].outbound.wants_barrier() {
                self.send_barrier(peer);
            }
        }
    }

    /// One disk has been flushed for the demotion, or has failed and is about to be given up.
    pub(crate) fn demotion_flushed(&mut self) {
        let Some(RoleChange::Demoting { step: Demotion::Flushing { left }, .. }) =
            &mut self.role_change
        else {
            return;
        };
        *left -= 1;
        if *left > 0 {
            return;
        }
        let mut tickets = Vec::new();
        for volume in self.volume_indexes() {
            // What a disk has not flushed it may have lost: its mark and its log say where.
            if self.volumes[volume].is_attached() && self.volumes[volume].failure.is_none() {
                self.unmark_primary(volume);
                self.mark_sessions(volume, false);
                tickets.push((volume, self.commit(volume, true)));
            }
        }
        self.set_demotion(Demotion::Saving(tickets));
    }

    fn set_demotion(&mut self, next: Demotion) {
        if let Some(RoleChange::Demoting { step, .. }) = &mut self.role_change {
            *step = next;
        }
        self.unsettled = true;
    }

    pub(super) fn demoted(&mut self) {
        let Some(RoleChange::Demoting { command, .. }) = self.role_change.take() else {
            unreachable!("only a demotion ends as one");
        };
        self.role = Role::Secondary;
        self.unsettled = true;
        self.broadcast_states();
        self.end_command(command, Ok(()));
    }
}
