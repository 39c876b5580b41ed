//! What a handler finds in its environment: DRBD's names, so that programs written for it run.

use std::fmt::Display;

use tandem_control::config::{PeerConfig, ResourceConfig, VolumeConfig};
use tandem_replica::wire::DiskState;
use tandem_replica::{Handler, ResourceStatus};

use super::Occasion;
use crate::control::registry::Running;

/// What only the running resource knows.
#[derive(Debug, Default)]
pub(super) struct Facts {
    connection_state: Option<&'static str>,
    /// One bit for each node whose data are known to be UpToDate, by node id.
    up_to_date_nodes: u64,
}

impl Facts {
    /// Nothing where the resource does not answer.
    pub(super) fn of(
        status: Option<ResourceStatus>,
        running: &Running,
        occasion: Occasion,
    ) -> Self {
        let Some(status) = status else { return Self::default() };
        let own = status.volumes.iter().all(|it| it.disk == DiskState::UpToDate);
        let mut up_to_date_nodes = u64::from(own) << running.config.node_id.0;
        for connection in &status.connections {
            let good = connection.peer_devices.iter().all(|it| it.peer_disk == DiskState::UpToDate);
            up_to_date_nodes |= u64::from(good) << connection.peer.0;
        }
        let connection = status.connections.iter().find(|it| Some(it.peer) == occasion.peer);
        Self { connection_state: connection.map(|it| it.state.name()), up_to_date_nodes }
    }
}

/// All variables of a handler's run. An event of one volume has its numbers; one of a connection
/// has lists.
pub(super) fn environment(
    config: &ResourceConfig,
    occasion: Occasion,
    facts: &Facts,
) -> Vec<(String, String)> {
    let mut variables = Variables(Vec::new());
    variables.set("HOME", "/");
    variables.set("TERM", "linux");
    variables.set("PATH", "/sbin:/usr/sbin:/bin:/usr/bin");
    variables.set("DRBD_RESOURCE", &config.name);
    variables.set("DRBD_MY_NODE_ID", config.node_id.0);
    variables.set(&format!("DRBD_NODE_ID_{}", config.node_id.0), &config.node_name);
    for peer in &config.peers {
        variables.set(&format!("DRBD_NODE_ID_{}", peer.node_id.0), &peer.name);
    }
    variables.volumes(config, occasion);
    if let Some(peer) =
        config.peers.iter().find(|it| Some(it.node_id.0) == occasion.peer.map(|it| it.0))
    {
        variables.peer(peer);
    }
    if let Some(state) = facts.connection_state {
        variables.set("DRBD_CSTATE", state);
    }
    if names_nodes(occasion.handler) {
        variables.set("UP_TO_DATE_NODES", format!("0x{:08X}", facts.up_to_date_nodes));
    }
    variables.0
}

/// Whether DRBD tells the handler which nodes have good data: those that fence.
fn names_nodes(handler: Handler) -> bool {
    handler.name().contains("fence")
}

struct Variables(Vec<(String, String)>);

impl Variables {
    fn set(&mut self, name: &str, value: impl Display) {
        self.0.push((name.to_owned(), format!("{value}")));
    }

    fn volumes(&mut self, config: &ResourceConfig, occasion: Occasion) {
        let concerned =
            |it: &&VolumeConfig| occasion.volume.is_none_or(|volume| volume.0 == it.number.0);
        let volumes: Vec<&VolumeConfig> = config.volumes.iter().filter(concerned).collect();
        let list = |of: &dyn Fn(&VolumeConfig) -> String| {
            volumes.iter().map(|volume| of(volume)).collect::<Vec<_>>().join(" ")
        };
        let disk = |volume: &VolumeConfig| {
            let backing = volume.backing.as_ref();
            backing.map_or_else(|| "none".to_owned(), |it| it.disk.display().to_string())
        };
        self.set("DRBD_VOLUME", list(&|it| it.number.to_string()));
        self.set("DRBD_MINOR", list(&|it| it.minor.to_string()));
        self.set("DRBD_LL_DISK", list(&disk));
        if occasion.volume.is_some() {
            self.set("DRBD_BACKING_DEV", list(&disk));
        }
        for volume in &volumes {
            self.set(&format!("DRBD_MINOR_{}", volume.number), volume.minor);
            self.set(&format!("DRBD_BACKING_DEV_{}", volume.number), disk(volume));
        }
    }

    fn peer(&mut self, peer: &PeerConfig) {
        self.set("DRBD_PEER_NODE_ID", peer.node_id.0);
        let Some(path) = peer.path else { return };
        for (whose, address) in [("MY", path.own_address), ("PEER", path.peer_address)] {
            let family = if address.is_ipv4() { "ipv4" } else { "ipv6" };
            self.set(&format!("DRBD_{whose}_AF"), family);
            self.set(&format!("DRBD_{whose}_ADDRESS"), address.ip());
        }
    }
}
