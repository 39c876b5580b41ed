//! What `drbdsetup` is told of a resource, a part at a time, and the resource that parts make.
//!
//! Pure: a configuration and a part in, the configuration with it out. A part that is there already
//! and says the same changes nothing, so that a sequence that broke off can be begun again.

use serde::{Deserialize, Serialize};

use super::options::of_texts;
use super::table::Section;
use super::{
    Backing, DiskOptions, NetOptions, OptionSet, OptionTexts, PeerConfig, PeerPath,
    PeerVolumeConfig, ResourceConfig, ResourceOptions, ResyncOptions, VolumeConfig,
};
use crate::id::{Minor, NodeId, VolumeNumber};
use crate::limits;
use crate::secret::Secret;

/// A part of a resource, or a change of one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Part {
    /// `new-resource`: the resource without volumes and peers.
    Resource {
        /// This node's number.
        node_id: NodeId,
        /// Section `options`.
        options: PartOptions,
    },
    /// `resource-options`.
    ResourceOptions(PartOptions),
    /// `new-minor`: a volume without a disk.
    Volume {
        /// Its number in the resource.
        volume: VolumeNumber,
        /// Its number on the node.
        minor: Minor,
        /// Options of devices.
        options: PartOptions,
    },
    /// `del-minor`.
    NoVolume(VolumeNumber),
    /// The disk of `attach`, which the part does not attach.
    Disk {
        /// The volume.
        volume: VolumeNumber,
        /// Its disk.
        backing: Backing,
        /// Section `disk`.
        options: PartOptions,
    },
    /// `disk-options`.
    DiskOptions {
        /// The volume.
        volume: VolumeNumber,
        /// Section `disk`.
        options: PartOptions,
    },
    /// `new-peer`: a peer without a path.
    Peer {
        /// Its number.
        peer: NodeId,
        /// Its host name.
        name: String,
        /// Section `net`.
        options: PartOptions,
    },
    /// `del-peer`.
    NoPeer(NodeId),
    /// `net-options`.
    NetOptions {
        /// The peer.
        peer: NodeId,
        /// Section `net`.
        options: PartOptions,
    },
    /// `new-path`.
    Path {
        /// The peer.
        peer: NodeId,
        /// Where it is reached.
        path: PeerPath,
    },
    /// `del-path`.
    NoPath {
        /// The peer.
        peer: NodeId,
        /// Where it was reached.
        path: PeerPath,
    },
    /// `peer-device-options`.
    PeerVolumeOptions {
        /// The peer.
        peer: NodeId,
        /// The volume.
        volume: VolumeNumber,
        /// Those of section `disk` that concern a peer.
        options: PartOptions,
    },
}

/// Options of a part.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PartOptions {
    /// Those that are set.
    pub texts: OptionTexts,
    /// The others go back to their defaults.
    pub set_defaults: bool,
}

impl Part {
    /// What has no effect of the options that it sets, a sentence each.
    ///
    /// # Errors
    /// A sentence: there is no such option, its value makes no sense, or it is not there.
    pub fn warnings(&self) -> Result<Vec<String>, String> {
        let (options, section) = match self {
            Self::Resource { options, .. } | Self::ResourceOptions(options) => {
                (options, Section::Options)
            }
            Self::Volume { options, .. }
            | Self::Disk { options, .. }
            | Self::DiskOptions { options, .. } => (options, Section::OwnDisk),
            Self::Peer { options, .. } | Self::NetOptions { options, .. } => {
                (options, Section::Net)
            }
            Self::PeerVolumeOptions { options, .. } => (options, Section::PeerDisk),
            Self::NoVolume(_) | Self::NoPeer(_) | Self::Path { .. } | Self::NoPath { .. } => {
                return Ok(Vec::new());
            }
        };
        of_texts(&options.texts, section).map(|(_, warnings)| warnings)
    }
}

impl PartOptions {
    /// Changes what is set, and says what is set then.
    fn apply(&self, written: &mut OptionTexts, section: Section) -> Result<OptionSet, String> {
        let mut changed = if self.set_defaults { OptionTexts::new() } else { written.clone() };
        changed.extend(self.texts.clone());
        let (set, _) = of_texts(&changed, section)?;
        *written = changed;
        Ok(set)
    }
}

impl ResourceConfig {
    /// The resource that [`Part::Resource`] makes.
    ///
    /// # Errors
    /// A sentence: its name or an option of it cannot be.
    pub fn begun(
        name: &str,
        node_name: &str,
        node_id: NodeId,
        options: &PartOptions,
    ) -> Result<Self, String> {
        let allowed = |c: char| c.is_ascii_alphanumeric() || "+._-".contains(c);
        if name.is_empty() || name.len() > limits::WORD_LEN_MAX || !name.chars().all(allowed) {
            let max = limits::WORD_LEN_MAX;
            return Err(format!("a resource's name is 1 to {max} letters, digits or '+._-'"));
        }
        node_id_in_range(node_id)?;
        let mut written = OptionTexts::new();
        let set = options.apply(&mut written, Section::Options)?;
        Ok(Self {
            name: name.to_owned(),
            node_name: node_name.to_owned(),
            node_id,
            options: ResourceOptions::from_set(&set),
            written,
            handlers: std::collections::BTreeMap::new(),
            volumes: Vec::new(),
            peers: Vec::new(),
        })
    }

    /// The resource with a part; it is as it was where there is an error.
    ///
    /// # Errors
    /// A sentence: what it names is not there, or there already in another form, or cannot be.
    pub fn with(&self, part: &Part) -> Result<Self, String> {
        let mut changed = self.clone();
        match part {
            Part::Resource { node_id, .. } if *node_id == self.node_id => {}
            Part::Resource { .. } => {
                let own = self.node_id;
                return Err(format!("it is there already, with the node id {own}"));
            }
            Part::ResourceOptions(options) => {
                let set = options.apply(&mut changed.written, Section::Options)?;
                changed.options = ResourceOptions::from_set(&set);
            }
            Part::Volume { volume, minor, options } => {
                changed.add_volume(*volume, *minor, options)?;
            }
            Part::NoVolume(volume) => {
                changed.volume_mut(*volume)?;
                changed.volumes.retain(|it| it.number != *volume);
                for peer in &mut changed.peers {
                    peer.volumes.retain(|it| it.number != *volume);
                }
            }
            Part::Disk { volume, backing, options } => {
                let volume = changed.volume_mut(*volume)?;
                volume.backing = Some(backing.clone());
                let whole = PartOptions { set_defaults: true, ..options.clone() };
                volume.set_options(&whole)?;
            }
            Part::DiskOptions { volume, options } => {
                changed.volume_mut(*volume)?.set_options(options)?;
            }
            Part::Peer { peer, name, options } => changed.add_peer(*peer, name, options)?,
            Part::NoPeer(peer) => {
                changed.peer_mut(*peer)?;
                changed.peers.retain(|it| it.node_id != *peer);
            }
            Part::NetOptions { peer, options } => changed.peer_mut(*peer)?.set_net(options)?,
            Part::Path { peer, path } => changed.peer_mut(*peer)?.set_path(*path)?,
            Part::NoPath { peer, path } => changed.peer_mut(*peer)?.remove_path(*path)?,
            Part::PeerVolumeOptions { peer, volume, options } => {
                changed.volume_mut(*volume)?;
                changed.peer_mut(*peer)?.set_resync(*volume, options)?;
            }
        }
        Ok(changed)
    }

    fn add_volume(
        &mut self,
        number: VolumeNumber,
        minor: Minor,
        options: &PartOptions,
    ) -> Result<(), String> {
        if let Some(there) = self.volumes.iter().find(|it| it.number == number) {
            let own = there.minor;
            if own == minor {
                return Ok(());
            }
            return Err(format!("volume {number} is there already, with the minor {own}"));
        }
        if u64::from(number.0) > limits::VOLUME_MAX || u64::from(minor.0) > limits::MINOR_MAX {
            let (volume_max, minor_max) = (limits::VOLUME_MAX, limits::MINOR_MAX);
            return Err(format!("volumes go up to {volume_max}, minors up to {minor_max}"));
        }
        if let Some(there) = self.volumes.iter().find(|it| it.minor == minor) {
            return Err(format!("minor {minor} is that of its volume {}", there.number));
        }
        let mut volume = VolumeConfig {
            number,
            minor,
            device: format!("/dev/drbd{minor}"),
            backing: None,
            options: DiskOptions::from_set(&OptionSet::new()),
            written: OptionTexts::new(),
            resync_after: None,
        };
        volume.set_options(options)?;
        self.volumes.push(volume);
        self.volumes.sort_by_key(|volume| volume.number);
        for peer in &mut self.peers {
            peer.add_volume(number);
        }
        Ok(())
    }

    fn add_peer(
        &mut self,
        node_id: NodeId,
        name: &str,
        options: &PartOptions,
    ) -> Result<(), String> {
        if self.peers.iter().any(|it| it.node_id == node_id) {
            return Err(format!("the peer with the node id {node_id} is there already"));
        }
        if node_id == self.node_id {
            return Err(format!("{node_id} is the node id of this node"));
        }
        node_id_in_range(node_id)?;
        if self.peers.len() + 1 >= limits::NODES_SUPPORTED {
            let max = limits::NODES_SUPPORTED;
            return Err(format!("more than {max} nodes are not there yet"));
        }
        let mut peer = PeerConfig {
            node_id,
            name: name.to_owned(),
            path: None,
            net: NetOptions::from_set(&OptionSet::new()),
            written: OptionTexts::new(),
            volumes: Vec::new(),
        };
        peer.set_net(options)?;
        for volume in &self.volumes {
            peer.add_volume(volume.number);
        }
        self.peers.push(peer);
        self.peers.sort_by_key(|peer| peer.node_id);
        Ok(())
    }

    fn volume_mut(&mut self, number: VolumeNumber) -> Result<&mut VolumeConfig, String> {
        let found = self.volumes.iter_mut().find(|volume| volume.number == number);
        found.ok_or_else(|| format!("there is no volume {number}"))
    }

    fn peer_mut(&mut self, node_id: NodeId) -> Result<&mut PeerConfig, String> {
        let found = self.peers.iter_mut().find(|peer| peer.node_id == node_id);
        found.ok_or_else(|| format!("there is no peer with the node id {node_id}"))
    }
}

impl VolumeConfig {
    fn set_options(&mut self, options: &PartOptions) -> Result<(), String> {
        let set = options.apply(&mut self.written, Section::OwnDisk)?;
        self.options = DiskOptions::from_set(&set);
        self.resync_after = match self.written.get("resync-after").map(Secret::reveal) {
            None | Some("-1") => None,
            Some(text) => {
                let minor = text.parse().map_err(|_| format!("resync-after: '{text}' is no minor"));
                Some(Minor(minor?))
            }
        };
        Ok(())
    }
}

impl PeerConfig {
    fn set_net(&mut self, options: &PartOptions) -> Result<(), String> {
        let set = options.apply(&mut self.written, Section::Net)?;
        self.net = NetOptions::from_set(&set);
        let given = |name: &str| set.get(name).is_some_and(|value| !value.text.is_empty());
        if given("cram-hmac-alg") && !given("shared-secret") {
            return Err("cram-hmac-alg needs a shared-secret, the same on both nodes".to_owned());
        }
        match self.net.contradictions().into_iter().next() {
            None => Ok(()),
            Some((_, message)) => Err(message),
        }
    }

    fn set_path(&mut self, path: PeerPath) -> Result<(), String> {
        if self.path.is_some_and(|other| other != path) {
            return Err("a second path is not there yet".to_owned());
        }
        if path.own_address.is_ipv4() != path.peer_address.is_ipv4() {
            return Err("both addresses of a path are of one family".to_owned());
        }
        self.path = Some(path);
        Ok(())
    }

    fn remove_path(&mut self, path: PeerPath) -> Result<(), String> {
        if self.path != Some(path) {
            return Err("there is no such path".to_owned());
        }
        self.path = None;
        Ok(())
    }

    fn set_resync(&mut self, number: VolumeNumber, options: &PartOptions) -> Result<(), String> {
        let volume = self.volumes.iter_mut().find(|volume| volume.number == number);
        let volume = volume.ok_or_else(|| format!("there is no volume {number}"))?;
        let set = options.apply(&mut volume.written, Section::PeerDisk)?;
        volume.resync = ResyncOptions::from_set(&set);
        Ok(())
    }

    fn add_volume(&mut self, number: VolumeNumber) {
        let resync = ResyncOptions::from_set(&OptionSet::new());
        self.volumes.push(PeerVolumeConfig { number, resync, written: OptionTexts::new() });
        self.volumes.sort_by_key(|volume| volume.number);
    }
}

fn node_id_in_range(node_id: NodeId) -> Result<(), String> {
    let max = limits::NODES_MAX - 1;
    let is_in = usize::from(node_id.0) <= max;
    if is_in { Ok(()) } else { Err(format!("node ids go up to {max}")) }
}
