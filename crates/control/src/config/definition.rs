//! A resource as its file defines it, for all of its nodes, with inheritance applied.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use super::options::{OptionSet, wfc_timeout};
use super::{
    DiskOptions, MetaDisk, NetOptions, PeerConfig, PeerVolumeConfig, ResourceConfig,
    ResourceOptions, ResyncOptions, VolumeConfig,
};
use crate::id::{Minor, NodeId, VolumeNumber};

/// What `after-sb-0pri` begins with where it names the host that loses.
pub(super) const DISCARD_NODE: &str = "discard-node-";

/// What `fence-peer` was called in DRBD 8.
const OUTDATE_PEER: &str = "outdate-peer";

/// A resource and where it is defined.
#[derive(Clone, Debug)]
pub struct Definition {
    /// The file.
    pub file: PathBuf,
    /// Line of its keyword.
    pub line: u32,
    /// What it says.
    pub resource: Resource,
}

/// A resource for all of its nodes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Resource {
    /// Its name.
    pub name: String,
    /// Of `common` and the resource.
    pub options: OptionSet,
    /// Of `common` and the resource.
    pub startup: OptionSet,
    /// Commands by the name of their event.
    pub handlers: BTreeMap<String, String>,
    /// In the order of the file.
    pub hosts: Vec<Host>,
    /// One for each pair of hosts.
    pub connections: Vec<Connection>,
}

/// A node of a resource.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Host {
    /// Its name.
    pub name: String,
    /// Its number.
    pub node_id: NodeId,
    /// Its address, where connections do not bring their own.
    pub address: Option<SocketAddr>,
    /// What is set for this node only.
    pub options: OptionSet,
    /// By ascending number.
    pub volumes: Vec<HostVolume>,
}

/// A volume on a node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostVolume {
    /// Its number in the resource.
    pub number: VolumeNumber,
    /// Its number on the node.
    pub minor: Minor,
    /// The device name.
    pub device: String,
    /// The backing disk.
    pub disk: String,
    /// Where metadata lies.
    pub meta_disk: MetaDisk,
    /// Of `common`, the resource and the volume.
    pub options: OptionSet,
    /// What `resync-after` among them names, on this host.
    pub resync_after: Option<Minor>,
}

/// The connection of two nodes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Connection {
    /// Host names and their addresses.
    pub ends: [(String, SocketAddr); 2],
    /// Of `common`, the resource, the mesh and the connection.
    pub net: OptionSet,
    /// Set for all volumes in the connection.
    pub disk: OptionSet,
    /// Set for single volumes in the connection.
    pub volumes: BTreeMap<VolumeNumber, OptionSet>,
}

impl Resource {
    /// The host of that name.
    pub fn host(&self, name: &str) -> Option<&Host> {
        self.hosts.iter().find(|host| host.name == name)
    }

    /// What the node of that name is told; `None` if it is no node of the resource.
    pub fn seen_from(&self, node: &str) -> Option<ResourceConfig> {
        let host = self.host(node)?;
        let mut options = self.options.clone();
        options.extend(host.options.clone());
        let connections = self.connections.iter();
        let mut peers: Vec<PeerConfig> =
            connections.filter_map(|connection| self.peer(host, connection)).collect();
        peers.sort_by_key(|peer| peer.node_id);
        Some(ResourceConfig {
            name: self.name.clone(),
            node_name: host.name.clone(),
            node_id: host.node_id,
            options: ResourceOptions::from_set(&options),
            handlers: self.handlers.iter().map(by_its_name).collect(),
            volumes: host.volumes.iter().map(HostVolume::config).collect(),
            peers,
        })
    }

    /// How long commands wait for this resource; `None` for ever.
    pub fn wait_timeout(&self) -> Option<Duration> {
        wfc_timeout(&self.startup)
    }

    fn peer(&self, host: &Host, connection: &Connection) -> Option<PeerConfig> {
        let [first, second] = &connection.ends;
        let (own, peer) = match host.name.as_str() {
            name if name == first.0 => (first, second),
            name if name == second.0 => (second, first),
            _ => return None,
        };
        let volumes = host.volumes.iter().map(|volume| {
            let mut set = volume.options.clone();
            set.extend(connection.disk.clone());
            set.extend(connection.volumes.get(&volume.number).cloned().unwrap_or_default());
            PeerVolumeConfig { number: volume.number, resync: ResyncOptions::from_set(&set) }
        });
        let mut net = connection.net.clone();
        if let Some(policy) = net.get_mut("after-sb-0pri")
            && let Some(loser) = policy.text.strip_prefix(DISCARD_NODE)
        {
            let word = if loser == host.name { "discard-local" } else { "discard-remote" };
            policy.text = word.to_owned();
        }
        Some(PeerConfig {
            node_id: self.host(&peer.0)?.node_id,
            name: peer.0.clone(),
            own_address: own.1,
            peer_address: peer.1,
            net: NetOptions::from_set(&net),
            volumes: volumes.collect(),
        })
    }
}

/// A handler by the name of its event: one of them has had another name.
fn by_its_name((name, command): (&String, &String)) -> (String, String) {
    let name = if name == OUTDATE_PEER { "fence-peer" } else { name.as_str() };
    (name.to_owned(), command.clone())
}

impl HostVolume {
    fn config(&self) -> VolumeConfig {
        VolumeConfig {
            number: self.number,
            minor: self.minor,
            device: self.device.clone(),
            disk: PathBuf::from(&self.disk),
            meta_disk: self.meta_disk.clone(),
            options: DiskOptions::from_set(&self.options),
            resync_after: self.resync_after,
        }
    }
}
