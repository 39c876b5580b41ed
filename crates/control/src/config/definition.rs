//! A resource as its file defines it, for all of its nodes, with inheritance applied.

use std::collections::BTreeMap;
use std::net::{SocketAddr, UdpSocket};
use std::path::PathBuf;
use std::time::Duration;

use super::options::{OptionSet, texts, wfc_timeout};
use super::table::Section;
use super::{
    Backing, DiskOptions, MetaDisk, NetOptions, PeerConfig, PeerPath, PeerVolumeConfig,
    ResourceConfig, ResourceOptions, ResyncOptions, VolumeConfig,
};
use crate::id::{Minor, NodeId, VolumeNumber};
use crate::secret::Secret;

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
    /// By the order of their hosts.
    pub connections: Vec<Connection>,
}

/// A node of a resource.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Host {
    /// What others call it: all of its names.
    pub name: String,
    /// The host names that it has; of a floating one its address, made a name.
    pub names: Vec<String>,
    /// Whether it is whatever machine has its address.
    pub floating: bool,
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
    /// The backing disk; `None` where the node has none.
    pub disk: Option<String>,
    /// Where metadata lies.
    pub meta_disk: MetaDisk,
    /// Whether the node may decide between others; yes where nothing is said.
    pub tiebreaker: Option<bool>,
    /// Of `common`, the resource and the volume.
    pub options: OptionSet,
    /// What `resync-after` among them names, on this host.
    pub resync_after: Option<Minor>,
}

/// The connection of two nodes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Connection {
    /// Their names.
    pub hosts: [String; 2],
    /// At least one: addresses, in the order of the hosts.
    pub paths: Vec<[SocketAddr; 2]>,
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
        let called = |host: &&Host| host.name == name || host.names.iter().any(|own| own == name);
        self.hosts.iter().find(called)
    }

    /// The host that the node of that name is; a floating one also by its address, which `node`
    /// says or this machine has.
    pub fn host_of(&self, node: &str) -> Option<&Host> {
        if let Some(host) = self.host(node) {
            return Some(host);
        }
        let floating = |host: &&Host| host.floating;
        let said = |host: &&Host| host.address.is_some_and(|it| it.ip().to_string() == node);
        if let Some(host) = self.hosts.iter().filter(floating).find(said) {
            return Some(host);
        }
        let mut here = self.hosts.iter().filter(floating).filter(|host| host.is_here());
        // Two of them on one machine are told apart by the node's name only.
        here.next().filter(|_| here.next().is_none())
    }

    /// What the node of that name is told; `None` if it is no node of the resource.
    pub fn seen_from(&self, node: &str) -> Option<ResourceConfig> {
        let host = self.host_of(node)?;
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
            written: texts(&options, Section::Options),
            handlers: self.handlers.iter().map(by_its_name).collect(),
            volumes: host.volumes.iter().filter_map(HostVolume::config).collect(),
            peers,
        })
    }

    /// How long commands wait for this resource; `None` for ever.
    pub fn wait_timeout(&self) -> Option<Duration> {
        wfc_timeout(&self.startup)
    }

    fn peer(&self, host: &Host, connection: &Connection) -> Option<PeerConfig> {
        let [first, second] = &connection.hosts;
        let (own, peer) = match &host.name {
            name if name == first => (0, second),
            name if name == second => (1, first),
            _ => return None,
        };
        let path = connection.paths.first()?;
        let volumes = host.volumes.iter().map(|volume| {
            let mut set = volume.options.clone();
            set.extend(connection.disk.clone());
            set.extend(connection.volumes.get(&volume.number).cloned().unwrap_or_default());
            let (number, written) = (volume.number, texts(&set, Section::PeerDisk));
            PeerVolumeConfig { number, resync: ResyncOptions::from_set(&set), written }
        });
        let mut net = connection.net.clone();
        if let Some(policy) = net.get_mut("after-sb-0pri")
            && let Some(loser) = policy.text.strip_prefix(DISCARD_NODE)
        {
            let is_own = host.names.iter().any(|name| name == loser);
            let word = if is_own { "discard-local" } else { "discard-remote" };
            policy.text = word.to_owned();
        }
        Some(PeerConfig {
            node_id: self.host(peer)?.node_id,
            name: peer.clone(),
            path: Some(PeerPath { own_address: path[own], peer_address: path[1 - own] }),
            net: NetOptions::from_set(&net),
            written: texts(&net, Section::Net),
            volumes: volumes.collect(),
        })
    }
}

/// A handler by the name of its event: one of them has had another name.
fn by_its_name((name, command): (&String, &String)) -> (String, String) {
    let name = if name == OUTDATE_PEER { "fence-peer" } else { name.as_str() };
    (name.to_owned(), command.clone())
}

impl Host {
    /// Whether this machine has its address.
    fn is_here(&self) -> bool {
        let Some(mut address) = self.address else { return false };
        address.set_port(0);
        UdpSocket::bind(address).is_ok()
    }
}

impl HostVolume {
    /// What the node is told; nothing where it has no disk, which is refused before.
    fn config(&self) -> Option<VolumeConfig> {
        let mut written = texts(&self.options, Section::OwnDisk);
        if let (Some(first), Some(text)) = (self.resync_after, written.get_mut("resync-after")) {
            *text = Secret::new(first.to_string());
        }
        let (disk, meta_disk) = (PathBuf::from(self.disk.as_ref()?), self.meta_disk.clone());
        Some(VolumeConfig {
            number: self.number,
            minor: self.minor,
            device: self.device.clone(),
            backing: Some(Backing { disk, meta_disk }),
            options: DiskOptions::from_set(&self.options),
            written,
            resync_after: self.resync_after,
        })
    }
}
