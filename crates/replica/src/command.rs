//! What operators ask for, and its end.

use tandem_wire::{NodeId, Role, VolumeNumber};

use crate::action::{Action, Command, CommandId};
use crate::connection::Link;
use crate::error::CommandError;
use crate::limits::COMMANDS_MAX;
use crate::peers::{PeerIndex, VolumeIndex};
use crate::resize::Growth;
use crate::resource::Resource;
use crate::role::Aim;
use crate::verify::Extent;

impl Resource {
    /// Starts a command.
    pub(crate) fn begin_command(&mut self, id: CommandId, command: Command) {
        if self.invalidations.len() >= COMMANDS_MAX {
            return self.done(id, Err(CommandError::Concurrent));
        }
        if let Err(error) = self.dispatch_command(id, command) {
            self.done(id, Err(error));
        }
    }

    fn dispatch_command(&mut self, id: CommandId, command: Command) -> Result<(), CommandError> {
        match command {
            Command::Attach { volume } => self.begin_attach(id, self.find_volume(volume)?),
            Command::Detach { volume, force } => {
                self.begin_detach(id, self.find_volume(volume)?, force)
            }
            Command::Connect { peer, discard_my_data } => {
                self.begin_connect(id, self.find_peer(peer)?, discard_my_data)
            }
            Command::TryConnect { peer, discard_my_data } => {
                self.begin_trial(id, self.find_peer(peer)?, discard_my_data)
            }
            Command::Disconnect { peer, force } => {
                self.begin_leaving(self.find_peer(peer)?, Some(id), force);
                Ok(())
            }
            Command::Primary { force } => {
                self.begin_promotion(id, Aim::Primary { force });
                Ok(())
            }
            Command::Secondary { force } => {
                self.begin_demotion(Some(id), force);
                Ok(())
            }
            Command::Invalidate { volume, reset_bitmap } => {
                self.begin_invalidate(id, self.find_volume(volume)?, reset_bitmap)
            }
            Command::InvalidateRemote { volume, peer, reset_bitmap } => {
                let (volume, peer) = (self.find_volume(volume)?, self.find_peer(peer)?);
                self.begin_invalidate_remote(id, volume, peer, reset_bitmap)
            }
            Command::Down { force } => self.begin_down(id, force),
            Command::Verify { volume, peer, start, stop, repair } => {
                let (volume, peer) = (self.find_volume(volume)?, self.find_peer(peer)?);
                self.begin_verify(id, peer, volume, Extent { start, stop, repair })
            }
            Command::StopVerify { volume, peer } => {
                let (volume, peer) = (self.find_volume(volume)?, self.find_peer(peer)?);
                self.interrupt_verify(peer, volume, "by the operator");
                self.done(id, Ok(()));
                Ok(())
            }
            Command::Outdate { volume } => self.begin_outdate(id, self.find_volume(volume)?),
            Command::NewUuid { volume, initial: None } => {
                self.begin_new_uuid(id, self.find_volume(volume)?)
            }
            Command::NewUuid { volume, initial: Some(initial) } => {
                let aim = Aim::Data { volume: self.find_volume(volume)?, initial };
                self.begin_promotion(id, aim);
                Ok(())
            }
            Command::Resize { volume, size, assume_clean, assume_peer_has_space } => {
                let growth = Growth { size, assume_clean, assume_peer_has_space };
                self.begin_resize(id, self.find_volume(volume)?, growth)
            }
            Command::SuspendIo => self.begin_suspend(id),
            Command::ResumeIo => {
                self.begin_resume(id);
                Ok(())
            }
            Command::PauseSync { volume, peer } => {
                self.set_user_pause(id, self.find_volume(volume)?, self.find_peer(peer)?, true)
            }
            Command::ResumeSync { volume, peer } => {
                self.set_user_pause(id, self.find_volume(volume)?, self.find_peer(peer)?, false)
            }
        }
    }

    fn find_volume(&self, number: VolumeNumber) -> Result<VolumeIndex, CommandError> {
        let found = self.volume_indexes().find(|volume| self.volumes[*volume].number == number);
        found.ok_or(CommandError::UnknownVolume(number))
    }

    fn find_peer(&self, node: NodeId) -> Result<PeerIndex, CommandError> {
        self.peer_by_node(node).ok_or(CommandError::UnknownPeer(node.0))
    }

    pub(crate) fn begin_connect(
        &mut self,
        id: CommandId,
        peer: PeerIndex,
        discard_my_data: bool,
    ) -> Result<(), CommandError> {
        if discard_my_data && self.role == Role::Primary {
            let text = "a Primary cannot discard its data: make this node Secondary first";
            return Err(CommandError::Refused(text.to_owned()));
        }
        let now = self.now;
        let connection = &mut self.connections[peer];
        match connection.link {
            Link::StandAlone | Link::Waiting(_) => {
                connection.discard_my_data = discard_my_data;
                connection.pause = crate::limits::CONNECT_PAUSE_FIRST;
                connection.link = Link::Waiting(now);
                connection.reason = None;
            }
            Link::Up(_) if !connection.on_trial => {}
            Link::Attempting | Link::Up(_) => connection.discard_my_data = discard_my_data,
        }
        connection.on_trial = false;
        self.unsettled = true;
        self.done(id, Ok(()));
        Ok(())
    }

    fn begin_down(&mut self, id: CommandId, force: bool) -> Result<(), CommandError> {
        if self.down.as_ref().is_some_and(|down| down.force || !force) {
            return Err(CommandError::Concurrent);
        }
        if !self.clients.is_empty() && !force {
            return Err(CommandError::InUse { clients: self.clients.len() });
        }
        if force {
            self.hurry_disks();
        }
        let down = self.down.get_or_insert_default();
        down.commands.push(id);
        down.force = force;
        self.unsettled = true;
        Ok(())
    }

    /// The peer cannot do without this node.
    pub(crate) fn down_refused(&mut self, peer: PeerIndex, text: &str) {
        match self.down.take_if(|down| !down.force) {
            Some(Down { commands, .. }) => {
                for command in commands {
                    self.done(command, Err(CommandError::Refused(text.to_owned())));
                }
            }
            None => self.drop_to_standalone(peer, "disconnected by the operator"),
        }
    }

    /// Takes `down` on: demote, disconnect, detach.
    pub(crate) fn advance_down(&mut self) {
        let Some(force) = self.down.as_ref().map(|down| down.force) else { return };
        if self.role == Role::Primary {
            if self.role_change.is_none() {
                self.begin_demotion(None, true);
            }
            return;
        }
        if self.role_change.is_some() {
            // A handler that hangs must not keep the node up.
            return self.end_fencing(Err(CommandError::Concurrent));
        }
        for peer in self.peer_indexes() {
            match &self.connections[peer].link {
                Link::StandAlone => {}
                Link::Up(session) if session.leaving.is_some() => return,
                Link::Up(_) | Link::Waiting(_) | Link::Attempting => {
                    return self.begin_leaving(peer, None, false);
                }
            }
        }
        let drained = self.connections.iter().all(|c| c.inbound.is_idle() && c.pieces.is_empty());
        if !drained {
            return;
        }
        for volume in self.volume_indexes() {
            self.detach_for_down(volume, force);
        }
        // Operations that nobody waits for any more are the shell's until they end.
        if self.volumes.iter().all(|volume| volume.is_diskless() || volume.lingers()) {
            for command in self.down.take().into_iter().flat_map(|down| down.commands) {
                self.done(command, Ok(()));
            }
        }
    }

    /// A command has ended.
    pub(crate) fn done(&mut self, id: CommandId, result: Result<(), CommandError>) {
        self.push(Action::CommandDone { id, result });
    }

    /// A command, or a step of one that nobody waits for, has ended.
    pub(crate) fn end_command(&mut self, id: Option<CommandId>, result: Result<(), CommandError>) {
        if let Some(id) = id {
            self.done(id, result);
        }
    }
}

/// A `down` under way.
#[derive(Debug, Default)]
pub(crate) struct Down {
    /// Who waits for it: one by force may join one that is not.
    commands: Vec<CommandId>,
    /// Clients and peers bear it, and no disk is waited for that hangs.
    force: bool,
}
