//! What a handler finds in its environment: DRBD's names, so that programs written for it run.

use std::fmt::Display;
use std::path::Path;

use crate::config::{PeerConfig, ResourceConfig, VolumeConfig};
use crate::id::{NodeId, VolumeNumber};
use crate::names::DiskState;
use crate::status::ResourceStatus;

/// An event that a handler is run for.
#[derive(Clone, Copy, Debug)]
pub struct Occasion<'a> {
    /// The handler's name.
    pub handler: &'a str,
    /// The volume concerned, if it is one.
    pub volume: Option<VolumeNumber>,
    /// The peer concerned, if it is one.
    pub peer: Option<NodeId>,
    /// What only the running resource knows.
    pub facts: Facts,
}

/// What only the running resource knows; nothing where it does not run.
#[derive(Clone, Copy, Debug, Default)]
pub struct Facts {
    /// State of the connection to the peer concerned.
    pub connection_state: Option<&'static str>,
    /// One bit for each node whose data are known to be UpToDate, by node id.
    pub up_to_date_nodes: u64,
}

impl Facts {
    /// Those of an event that concerns this peer, if it is one.
    pub fn of(status: &ResourceStatus, peer: Option<NodeId>) -> Self {
        let own = status.volumes.iter().all(|it| it.disk_state == DiskState::UpToDate);
        let mut up_to_date_nodes = u64::from(own) << status.node_id.0;
        for connection in &status.connections {
            let mut devices = connection.peer_devices.iter();
            let good = devices.all(|it| it.peer_disk_state == DiskState::UpToDate);
            up_to_date_nodes |= u64::from(good) << connection.peer_node_id.0;
        }
        let connection = status.connections.iter().find(|it| Some(it.peer_node_id) == peer);
        let connection_state = connection.map(|it| it.connection_state.name());
        Self { connection_state, up_to_date_nodes }
    }
}

/// Where a handler, and `tandemadm` in it, finds what called it.
#[derive(Clone, Copy, Debug)]
pub struct Caller<'a> {
    /// The configuration file.
    pub config_file: &'a Path,
    /// Where the daemon has its sockets.
    pub run_dir: &'a Path,
    /// This node's name.
    pub node: &'a str,
}

/// All variables of a handler's run. An event of one volume has its numbers; one of a connection
/// has lists.
pub fn environment(
    config: &ResourceConfig,
    occasion: Occasion<'_>,
    caller: Caller<'_>,
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
    variables.volumes(config, occasion.volume);
    if let Some(peer) = config.peers.iter().find(|it| Some(it.node_id) == occasion.peer) {
        variables.peer(peer);
    }
    if let Some(state) = occasion.facts.connection_state {
        variables.set("DRBD_CSTATE", state);
    }
    if names_nodes(occasion.handler) {
        variables.set("UP_TO_DATE_NODES", format!("0x{:08X}", occasion.facts.up_to_date_nodes));
    }
    variables.set("DRBD_CONF", caller.config_file.display());
    variables.set("TANDEM_RUN_DIR", caller.run_dir.display());
    variables.set("TANDEM_NODE", caller.node);
    variables.0
}

/// Whether DRBD tells the handler which nodes have good data: those that fence.
fn names_nodes(handler: &str) -> bool {
    handler.contains("fence")
}

struct Variables(Vec<(String, String)>);

impl Variables {
    fn set(&mut self, name: &str, value: impl Display) {
        self.0.push((name.to_owned(), format!("{value}")));
    }

    fn volumes(&mut self, config: &ResourceConfig, one: Option<VolumeNumber>) {
        let concerned = |it: &&VolumeConfig| one.is_none_or(|volume| volume == it.number);
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
        if one.is_some() {
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
