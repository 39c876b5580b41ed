//! `new-current-uuid` of data that are there: they get a generation of their own, as the next write
//! without the peer would give them one. The peer's count as older from then on, and where it does
//! the same, or writes, that is a split brain.
//!
//! Refused while connected, as in DRBD: a peer that gets every write has the same data.

use tandem_wire::{DiskState, Role};

use crate::action::{AttachGeneration, CommandId};
use crate::error::CommandError;
use crate::peers::VolumeIndex;
use crate::resource::Resource;

/// One under way.
#[derive(Debug)]
pub(crate) struct Renewal {
    command: CommandId,
    volume: VolumeIndex,
    /// The opening of the disk that it is about.
    generation: AttachGeneration,
}

impl Resource {
    pub(crate) fn begin_new_uuid(
        &mut self,
        command: CommandId,
        volume: VolumeIndex,
    ) -> Result<(), CommandError> {
        let (state, number) = (&self.volumes[volume], self.volumes[volume].number);
        let refuse = |text: String| Err(CommandError::Refused(text));
        if !state.is_attached() {
            return refuse(format!("volume {number} has no disk: attach it first"));
        }
        let disk = state.disk_state();
        if disk != DiskState::UpToDate {
            let advice = "the data get a generation of their own only where they are the newest \
                          known; primary --force makes them that"
                .to_owned();
            return Err(CommandError::NeedUpToDate { volume: number, disk, advice });
        }
        if let Some(connection) = self.connections.iter().find(|it| it.session().is_some()) {
            let name = &connection.config.name;
            return refuse(format!("{name} is connected and has the same data; disconnect first"));
        }
        let is_waived = self.role == Role::Primary;
        if let Some(peer) = self.peer_indexes().find(|peer| self.must_fence(*peer, is_waived)) {
            let name = &self.connections[peer].config.name;
            return refuse(format!("{name} is not known to be Outdated: fence it, or connect it"));
        }
        if self.is_frozen() {
            return refuse("I/O is suspended: resume it first".to_owned());
        }
        if self.role_change.is_some() || state.is_rotating() {
            return Err(CommandError::Concurrent);
        }
        let generation = state.generation;
        self.begin_rotation(volume);
        self.renewals.push(Renewal { command, volume, generation });
        self.unsettled = true;
        Ok(())
    }

    /// Whether it is an operator who starts the generation, and not a write.
    pub(crate) fn is_renewing(&self, volume: VolumeIndex) -> bool {
        self.renewals.iter().any(|renewal| renewal.volume == volume)
    }

    pub(crate) fn advance_renewals(&mut self) {
        for renewal in std::mem::take(&mut self.renewals) {
            let state = &self.volumes[renewal.volume];
            if !state.is_attached() || state.generation != renewal.generation {
                self.done(renewal.command, Err(CommandError::Io { volume: state.number }));
            } else if state.is_rotating() {
                self.renewals.push(renewal);
            } else {
                self.done(renewal.command, Ok(()));
            }
        }
    }
}
