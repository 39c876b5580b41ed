//! `resync-after` between resources: which volumes of the node are in a resync, and who has to wait
//! for them.
//!
//! Behind a mutex that is held for look-ups only. Volumes of one resource wait for each other in
//! the core.

use std::collections::BTreeSet;
use std::sync::{Mutex, MutexGuard, PoisonError};

use tandem_control::Minor;
use tandem_replica::wire::VolumeNumber;

use super::Control;
use super::registry::Running;
use crate::mail::{Mail, ResourceKey};

/// The volumes in a resync, paused ones included.
#[derive(Debug, Default)]
pub(crate) struct Dependencies {
    resyncing: Mutex<BTreeSet<Minor>>,
}

impl Dependencies {
    fn resyncing(&self) -> MutexGuard<'_, BTreeSet<Minor>> {
        self.resyncing.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Control {
    /// A volume is in a resync, or not any more.
    pub(crate) fn resyncing(
        &self,
        shard: usize,
        resource: ResourceKey,
        volume: VolumeNumber,
        resyncing: bool,
    ) {
        let Some(running) = self.registry.find_key(shard, resource) else { return };
        let mut volumes = running.config.volumes.iter();
        let Some(volume) = volumes.find(|it| it.number.0 == volume.0) else { return };
        if resyncing {
            self.dependencies.resyncing().insert(volume.minor);
        } else {
            self.dependencies.resyncing().remove(&volume.minor);
        }
        self.tell_dependents(volume.minor, resyncing);
    }

    /// The resource is there, or has new options: tells it what its volumes have to wait for.
    pub(crate) fn tell_dependencies(&self, running: &Running) {
        for volume in &running.config.volumes {
            let own = running.config.volumes.iter().map(|own| own.minor);
            let first = volume.resync_after.filter(|first| !own.clone().any(|own| own == *first));
            let blocked = first.is_some_and(|first| self.dependencies.resyncing().contains(&first));
            self.post_blocked(running, VolumeNumber(volume.number.0), blocked);
        }
    }

    /// The resource is gone: nobody waits for it any more.
    pub(crate) fn forget_dependencies(&self, running: &Running) {
        for volume in &running.config.volumes {
            if self.dependencies.resyncing().remove(&volume.minor) {
                self.tell_dependents(volume.minor, false);
            }
        }
    }

    fn tell_dependents(&self, first: Minor, blocked: bool) {
        for running in self.registry.all() {
            if running.config.volumes.iter().any(|own| own.minor == first) {
                continue;
            }
            for volume in running.config.volumes.iter().filter(|it| it.resync_after == Some(first))
            {
                self.post_blocked(&running, VolumeNumber(volume.number.0), blocked);
            }
        }
    }

    fn post_blocked(&self, running: &Running, volume: VolumeNumber, blocked: bool) {
        let mail = Mail::ResyncBlocked { resource: running.key, volume, blocked };
        self.shard(running.shard).post(mail);
    }
}
