//! What a change of a configuration means for a resource that runs: taken over, made anew, refused.
//!
//! A core has its volumes, its peers and some options from its making on. Pure.

use tandem_control::VolumeNumber;
use tandem_control::admin::Adjustment;
use tandem_control::config::{MetaDisk, PeerPath, ResourceConfig, ResourceOptions, VolumeConfig};
use tandem_replica::wire::{DiskState, Role};
use tandem_replica::{ConnectionState, ResourceStatus};

/// The new configuration, but for what is to stay as it runs.
pub(crate) fn adjusted(
    running: &ResourceConfig,
    new: ResourceConfig,
    asked: Adjustment,
) -> ResourceConfig {
    let mut config = new;
    for volume in config.volumes.iter_mut().filter(|_| asked.skip_disk) {
        if let Some(runs) = running.volumes.iter().find(|it| it.number == volume.number) {
            let (minor, device) = (volume.minor, std::mem::take(&mut volume.device));
            *volume = VolumeConfig { minor, device, ..runs.clone() };
        }
    }
    if asked.skip_net {
        config.peers.clone_from(&running.peers);
    }
    config
}

/// What differs that a core cannot take over, in words; `made` is what it was made with.
pub(crate) fn difference(made: &ResourceConfig, new: &ResourceConfig) -> Option<&'static str> {
    let nodes = |config: &ResourceConfig| -> Vec<_> {
        config.peers.iter().map(|peer| (peer.node_id, peer.name.clone())).collect()
    };
    if made.node_id != new.node_id {
        Some("its node-id")
    } else if volumes(made) != volumes(new) {
        Some("its volumes")
    } else if placements(made) != placements(new) {
        Some("a disk or meta-disk")
    } else if nodes(made) != nodes(new) {
        Some("its peers")
    } else if of_core(&made.options) != of_core(&new.options) {
        Some("an option of the resource")
    } else {
        None
    }
}

/// Whether something differs that is better taken over, and that the core can go on without.
pub(crate) fn is_outdated(made: &ResourceConfig, new: &ResourceConfig) -> bool {
    let logs = |config: &ResourceConfig| -> Vec<_> {
        let options = config.volumes.iter().map(|volume| &volume.options);
        options.map(|options| (options.al_extents, options.al_updates)).collect()
    };
    logs(made) != logs(new)
}

/// What differs that cannot change while it is in use, in words.
pub(crate) fn difference_in_use(
    state: &ResourceStatus,
    old: &ResourceConfig,
    new: &ResourceConfig,
) -> Option<&'static str> {
    let is_attached = |volume: VolumeNumber| {
        let mut volumes = state.volumes.iter().filter(|it| it.number.0 == volume.0);
        volumes.any(|it| it.disk != DiskState::Diskless)
    };
    let attached = |config: &ResourceConfig| -> Vec<_> {
        let volumes = config.volumes.iter().filter(|volume| is_attached(volume.number));
        volumes.map(|volume| (volume.number, volume.backing.clone())).collect()
    };
    if attached(old) != attached(new) {
        return Some("a disk or meta-disk");
    }
    let moved = state.connections.iter().any(|it| {
        it.state != ConnectionState::StandAlone && path(old, it.peer.0) != path(new, it.peer.0)
    });
    moved.then_some("an address")
}

/// Whether the core can end and another one follow: nobody uses it, and no peer knows of it.
pub(crate) fn is_idle(state: &ResourceStatus) -> bool {
    let apart = state.connections.iter().all(|it| it.state == ConnectionState::StandAlone);
    state.role == Role::Secondary && apart && state.volumes.iter().all(|volume| !volume.open)
}

/// The options of a resource but for what the core knows nothing of.
fn of_core(options: &ResourceOptions) -> ResourceOptions {
    ResourceOptions { auto_promote: false, ..options.clone() }
}

fn volumes(config: &ResourceConfig) -> Vec<VolumeNumber> {
    config.volumes.iter().map(|volume| volume.number).collect()
}

/// Which volumes have external metadata. One without a disk is made as if it had internal ones.
fn placements(config: &ResourceConfig) -> Vec<bool> {
    let is_external = |volume: &VolumeConfig| {
        let meta_disk = volume.backing.as_ref().map(|backing| &backing.meta_disk);
        matches!(meta_disk, Some(MetaDisk::External { .. }))
    };
    config.volumes.iter().map(is_external).collect()
}

fn path(config: &ResourceConfig, peer: u8) -> Option<PeerPath> {
    config.peers.iter().find(|it| it.node_id.0 == peer)?.path
}

#[cfg(test)]
mod tests {
    use tandem_control::config::{Config, Part, PartOptions};
    use tandem_control::names::OnIoError;

    use super::*;

    fn config(disk: &str, port: u16) -> ResourceConfig {
        let text = format!(
            "resource r0 {{ disk {{ on-io-error {disk}; }} net {{ ping-int {0}; }}
               options {{ auto-promote-timeout {0}; }} device minor 1; disk /dev/{disk};
               on a {{ node-id 0; address 10.0.0.1:{port}; }}
               on b {{ node-id 1; address 10.0.0.2:{port}; }} }}",
            port - 7000
        );
        let parsed = Config::parse("t.res".as_ref(), &text).expect("it is well-formed");
        parsed.seen_from("a").remove(0)
    }

    #[test]
    fn an_adjustment_leaves_what_it_is_told_to() {
        let (runs, new) = (config("detach", 7012), config("pass_on", 7013));
        let adjusted = |skip_disk, skip_net| {
            let asked = Adjustment { skip_disk, skip_net, ..Adjustment::default() };
            adjusted(&runs, new.clone(), asked)
        };
        assert_eq!(adjusted(false, false), new);
        let ResourceConfig { volumes, peers, .. } = runs.clone();
        assert_eq!(
            adjusted(true, false),
            ResourceConfig { volumes: volumes.clone(), ..new.clone() }
        );
        assert_eq!(adjusted(false, true), ResourceConfig { peers: peers.clone(), ..new.clone() });
        assert_eq!(adjusted(true, true), ResourceConfig { volumes, peers, ..new.clone() });
        assert_ne!(runs.options, new.options, "options of the resource are neither");
        assert_eq!(new.volumes[0].options.on_io_error, OnIoError::PassOn);
    }

    #[test]
    fn a_volume_that_does_not_run_is_as_the_configuration_says() {
        let new = config("pass_on", 7013);
        let text = PartOptions { texts: Default::default(), set_defaults: false };
        let part = Part::Volume {
            volume: VolumeNumber(1),
            minor: tandem_control::Minor(9),
            options: text,
        };
        let new = new.with(&part).expect("there is room");
        let asked = Adjustment { skip_disk: true, ..Adjustment::default() };
        let adjusted = adjusted(&config("detach", 7012), new.clone(), asked);
        assert_eq!(adjusted.volumes[0].options.on_io_error, OnIoError::Detach);
        assert_eq!(adjusted.volumes[1], new.volumes[1]);
    }
}
