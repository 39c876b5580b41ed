//! Why a resync is paused, and what follows: by command here, because the peer has a reason, or
//! because another volume comes first (`resync-after`).
//!
//! A paused target asks for nothing more. All else goes on: what it has asked for is written and
//! acked, it gets the application's writes and what goes out of sync, it stays Inconsistent, and
//! dirty blocks are read from the source. What the operator said outlives sessions; the peer's
//! reason is told with its states; the dependency is found anew whenever anything moves.

use tandem_wire::VolumeNumber;

use crate::action::{Action, CommandId};
use crate::config::VolumeConfig;
use crate::error::CommandError;
use crate::peer_device::Replication;
use crate::peers::{PeerIndex, VolumeIndex};
use crate::resource::Resource;
use crate::status::ResyncSuspended;
use crate::time::Instant;

impl Resource {
    /// A volume of another resource that this one is to be synced after (`resync-after`) is in a
    /// resync, or not any more.
    pub fn set_resync_blocked(&mut self, volume: VolumeNumber, blocked: bool, now: Instant) {
        self.begin_input(now);
        if let Some(volume) = self.volume_by_number(volume) {
            self.volumes[volume].resync_blocked = blocked;
            self.unsettled = true;
        }
        self.settle();
    }

    /// New options of a volume: those of its resyncs and of what is done about errors; the others
    /// hold from its making.
    pub fn update_volume(&mut self, config: VolumeConfig, now: Instant) {
        self.begin_input(now);
        if let Some(index) = self.volume_by_number(config.number) {
            let volume = &mut self.volumes[index];
            volume.config.discard_granularity_bytes = config.discard_granularity_bytes;
            volume.config.resync_after = config.resync_after;
            volume.config.on_io_error = config.on_io_error;
            volume.config.asks_before_resync = config.asks_before_resync;
            if volume.config.disk_timeout != config.disk_timeout {
                volume.config.disk_timeout = config.disk_timeout;
                volume.ops_mut().limit_changed(config.disk_timeout);
            }
        }
        self.unsettled = true;
        self.settle();
    }

    /// `pause-sync` and `resume-sync`.
    pub(crate) fn set_user_pause(
        &mut self,
        id: CommandId,
        volume: VolumeIndex,
        peer: PeerIndex,
        paused: bool,
    ) -> Result<(), CommandError> {
        let suspended = self.connections[peer].devices[volume].suspended;
        if suspended.user == paused {
            let volume = self.volumes[volume].number;
            return Err(CommandError::PauseFlag { volume, paused });
        }
        self.suspend_resync(peer, volume, ResyncSuspended { user: paused, ..suspended });
        self.done(id, Ok(()));
        Ok(())
    }

    /// The peer has told whether it has a reason.
    pub(crate) fn peer_pauses(&mut self, peer: PeerIndex, volume: VolumeIndex, pauses: bool) {
        let suspended = self.connections[peer].devices[volume].suspended;
        self.suspend_resync(peer, volume, ResyncSuspended { peer: pauses, ..suspended });
    }

    /// Sees which volumes have to wait for others, and tells the shell which ones others wait for.
    pub(crate) fn advance_dependencies(&mut self) {
        for volume in self.volume_indexes() {
            let blocked = self.volumes[volume].resync_blocked
                || self.volumes[volume]
                    .config
                    .resync_after
                    .and_then(|first| self.volume_by_number(first))
                    .is_some_and(|first| self.is_resyncing(first));
            for peer in self.peer_indexes() {
                let device = &self.connections[peer].devices[volume];
                let dependency = blocked && device.is_resyncing();
                let suspended = ResyncSuspended { dependency, ..device.suspended };
                self.suspend_resync(peer, volume, suspended);
            }
            let resyncing = self.is_resyncing(volume);
            let state = &mut self.volumes[volume];
            if std::mem::replace(&mut state.told_resyncing, resyncing) != resyncing {
                let volume = state.number;
                self.push(Action::Resyncing { volume, resyncing });
            }
        }
    }

    /// Whether the volume is source or target of a resync, with whomever.
    fn is_resyncing(&self, volume: VolumeIndex) -> bool {
        self.connections.iter().any(|connection| connection.devices[volume].is_resyncing())
    }

    /// Takes new reasons over, and does what follows.
    fn suspend_resync(&mut self, peer: PeerIndex, volume: VolumeIndex, new: ResyncSuspended) {
        let device = &mut self.connections[peer].devices[volume];
        let old = std::mem::replace(&mut device.suspended, new);
        if old.is_own() != new.is_own() && self.connections[peer].is_running() {
            self.send_state(peer, volume);
        }
        if old.any() == new.any() {
            return;
        }
        let (left_bytes, now) = (self.dirty_bytes(peer, volume), self.now);
        let resync = &mut self.connections[peer].devices[volume].resync;
        if let Some(meter) = &mut resync.meter {
            meter.set_paused(new.any(), left_bytes, now);
        }
        self.drive_resync(peer, volume);
    }

    /// Lets a resync that is not paused go on, and one that is stop asking.
    pub(crate) fn drive_resync(&mut self, peer: PeerIndex, volume: VolumeIndex) {
        let config = self.resync_config(peer, volume);
        let now = self.now;
        let is_running = self.connections[peer].is_running();
        let device = &mut self.connections[peer].devices[volume];
        if device.replication != Replication::SyncTarget || !is_running {
            return;
        }
        if device.suspended.any() {
            device.resync.pace.stop();
        } else {
            device.resync.pace.start(&config, now);
        }
        self.pump_resync(peer, volume);
    }
}
