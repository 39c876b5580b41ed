//! Resources that are put together a part at a time, as DRBD's drbdsetup does.
//!
//! Every part leaves a resource that runs, if only without volumes, disks or peers. Where a part is
//! one that the core was made without, a resource that nobody uses yet is made anew.

use std::sync::Arc;

use tandem_control::config::{Part, PeerConfig, ResourceConfig};
use tandem_replica::Command;
use tandem_replica::wire::{self, DiskState};

use super::Control;
use super::refusal::Refused;
use super::registry::{Origin, Running};
use super::status;

impl Control {
    /// Puts a part into place.
    pub(crate) async fn part(self: &Arc<Self>, name: &str, part: Part) -> Result<(), Refused> {
        let lock = self.registry.lock(name);
        let _guard = lock.lock().await;
        let refused = |text: String| Refused::Config { resource: name.to_owned(), text };
        let Some(running) = self.registry.find(name) else {
            let Part::Resource { node_id, options } = &part else {
                return Err(Refused::UnknownResource(name.to_owned()));
            };
            let begun = ResourceConfig::begun(name, &self.node, *node_id, options);
            return self.create(begun.map_err(refused)?, Origin::Begun).await.map(drop);
        };
        let config = running.config.with(&part).map_err(refused)?;
        self.check_minors(&config)?;
        if let Part::Disk { volume, .. } = &part {
            let state = status::of_core(self, &running).await?;
            let mut volumes = state.volumes.iter().filter(|it| it.number.0 == volume.0);
            if volumes.any(|it| it.disk != DiskState::Diskless) {
                let text = format!("volume {volume} has a disk attached: 'detach' it first");
                return Err(refused(text));
            }
            if config.peers.is_empty() {
                // Without peers a disk would be taken for the only one there is.
                return Err(refused("it has no peer yet: 'new-peer' comes before 'attach'".into()));
            }
        }
        self.change(running, config).await.map(drop)
    }

    /// A minor is of one volume of the node.
    fn check_minors(&self, config: &ResourceConfig) -> Result<(), Refused> {
        for other in self.registry.all().iter().filter(|it| it.config.name != config.name) {
            let theirs = other.config.volumes.iter();
            let mut taken = theirs.filter(|it| config.volumes.iter().any(|v| v.minor == it.minor));
            if let Some(volume) = taken.next() {
                let (minor, number) = (volume.minor, volume.number);
                let text = format!("minor {minor} is that of {}/{number}", other.config.name);
                return Err(Refused::Config { resource: config.name.clone(), text });
            }
        }
        Ok(())
    }
}

/// Whether there is what the command is about: a resource that is put together may lack it.
pub(crate) fn check_whole(running: &Running, command: Command) -> Result<(), Refused> {
    let config = &running.config;
    let mut volumes = config.volumes.iter();
    #[expect(clippy::wildcard_enum_match_arm, reason = "all others are the core's to check")]
    let missing = match command {
        Command::Attach { volume } => volumes
            .any(|it| it.number.0 == volume.0 && it.backing.is_none())
            .then(|| format!("volume {volume} has no disk: 'attach' names it")),
        Command::Connect { peer, .. } | Command::TryConnect { peer, .. } => find(config, peer)
            .is_some_and(|peer| peer.path.is_none())
            .then(|| format!("peer {peer} has no path: 'new-path' names it")),
        _ => None,
    };
    match missing {
        None => Ok(()),
        Some(text) => Err(Refused::Config { resource: config.name.clone(), text }),
    }
}

fn find(config: &ResourceConfig, peer: wire::NodeId) -> Option<&PeerConfig> {
    config.peers.iter().find(|it| it.node_id.0 == peer.0)
}
