//! Objects of a command line, `RES[:PEER][/VOL]`, `minor-N` or `all`, and what they are in the
//! configuration.

use tandem_control::VolumeNumber;
use tandem_control::config::{
    Config, Definition, Host, HostVolume, PeerConfig, ResourceConfig, VolumeConfig,
};
use tandem_control::exit;

use crate::output::Failure;

/// How precise an object may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Allowed {
    pub(crate) peer: bool,
    pub(crate) volume: bool,
}

pub(crate) const RESOURCE: Allowed = Allowed { peer: false, volume: false };
pub(crate) const VOLUME: Allowed = Allowed { peer: false, volume: true };
pub(crate) const PEER: Allowed = Allowed { peer: true, volume: false };
pub(crate) const PEER_DEVICE: Allowed = Allowed { peer: true, volume: true };

/// An object as written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Object {
    /// `None` for `all`.
    pub(crate) resource: Option<String>,
    pub(crate) peer: Option<String>,
    pub(crate) volume: Option<VolumeNumber>,
}

impl Object {
    /// What `all` means.
    pub(crate) const ALL: Self = Self { resource: None, peer: None, volume: None };

    /// Reads an object that may be as precise as `allowed`.
    pub(crate) fn parse(text: &str, allowed: Allowed) -> Result<Self, Failure> {
        let wrong = |why: String| Failure::new(exit::USAGE, format!("'{text}': {why}"));
        if text == "all" {
            return Ok(Self::ALL);
        }
        let (rest, volume) = match text.split_once('/') {
            Some((rest, digits)) => {
                let number =
                    digits.parse().map_err(|_| wrong(format!("'{digits}' is no volume number")))?;
                (rest, Some(VolumeNumber(number)))
            }
            None => (text, None),
        };
        let (resource, peer) = match rest.split_once(':') {
            Some((resource, peer)) => (resource, Some(peer.to_owned())),
            None => (rest, None),
        };
        if resource.is_empty() || peer.as_deref() == Some("") {
            return Err(wrong("RES, RES/VOL, RES:PEER or RES:PEER/VOL expected".to_owned()));
        }
        if volume.is_some() && !allowed.volume {
            return Err(wrong("this command takes no volume".to_owned()));
        }
        if peer.is_some() && !allowed.peer {
            return Err(wrong("this command takes no peer".to_owned()));
        }
        Ok(Self { resource: Some(resource.to_owned()), peer, volume })
    }
}

/// An object found in the configuration.
#[derive(Debug)]
pub(crate) struct Target<'a> {
    pub(crate) definition: &'a Definition,
    /// What this node is in it.
    pub(crate) host: &'a Host,
    /// As this node sees it.
    pub(crate) config: ResourceConfig,
    object: Object,
}

impl<'a> Target<'a> {
    /// What `texts` name in `config`, seen from `node`.
    pub(crate) fn find(
        config: &'a Config,
        node: &str,
        texts: &[String],
        allowed: Allowed,
    ) -> Result<Vec<Self>, Failure> {
        let mut found = Vec::new();
        for text in texts {
            let object = match of_minor(config, node, text) {
                Some(object) if allowed.volume => object,
                Some(_) | None => Object::parse(text, allowed)?,
            };
            match &object.resource {
                Some(name) => found.push(Self::one(config, node, name, object.clone())?),
                None => found.extend(config.definitions.iter().filter_map(|definition| {
                    let config = definition.resource.seen_from(node)?;
                    let host = definition.resource.host_of(node)?;
                    Some(Self { definition, host, config, object: object.clone() })
                })),
            }
        }
        if found.is_empty() {
            let file = config.file.display();
            let message = format!("no resource in {file} has a section 'on {node}' (see --node)");
            return Err(Failure::new(exit::USAGE, message));
        }
        Ok(found)
    }

    fn one(config: &'a Config, node: &str, name: &str, object: Object) -> Result<Self, Failure> {
        let Some(definition) = config.find(name) else {
            let names: Vec<&str> = config.definitions.iter().map(|d| &*d.resource.name).collect();
            let known = if names.is_empty() { "none".to_owned() } else { names.join(", ") };
            let file = config.file.display();
            let message = format!("'{name}' not defined in your config {file} (it has: {known})");
            return Err(Failure::new(exit::USAGE, message));
        };
        let resource = &definition.resource;
        let (Some(host), Some(seen)) = (resource.host_of(node), resource.seen_from(node)) else {
            let hosts: Vec<&str> = definition.resource.hosts.iter().map(|h| &*h.name).collect();
            let hosts = hosts.join(", ");
            let message = format!(
                "'{name}' not defined in your config (for this host): this node is '{node}', the \
                 resource has 'on' sections for {hosts}; name the node with --node"
            );
            return Err(Failure::new(exit::USAGE, message));
        };
        let target = Self { definition, host, config: seen, object };
        target.check()?;
        Ok(target)
    }

    fn check(&self) -> Result<(), Failure> {
        let name = &self.config.name;
        if self.host_volumes().next().is_none()
            && let Some(volume) = self.object.volume
        {
            return Err(Failure::new(exit::USAGE, format!("'{name}' has no volume {volume}")));
        }
        if self.peers().next().is_none()
            && let Some(peer) = &self.object.peer
        {
            return Err(Failure::new(exit::USAGE, format!("'{name}' has no peer '{peer}'")));
        }
        Ok(())
    }

    /// The volumes meant.
    pub(crate) fn volumes(&self) -> impl Iterator<Item = &VolumeConfig> {
        let meant = self.object.volume;
        self.config.volumes.iter().filter(move |volume| meant.is_none_or(|n| n == volume.number))
    }

    /// The same in the definition, with those that have no disk.
    pub(crate) fn host_volumes(&self) -> impl Iterator<Item = &'a HostVolume> {
        let meant = self.object.volume;
        self.host.volumes.iter().filter(move |volume| meant.is_none_or(|n| n == volume.number))
    }

    /// The peers meant.
    pub(crate) fn peers(&self) -> impl Iterator<Item = &PeerConfig> {
        let meant = self.object.peer.as_deref();
        self.config.peers.iter().filter(move |peer| meant.is_none_or(|name| name == peer.name))
    }

    /// The peer, if the object names one.
    pub(crate) fn named_peer(&self) -> Option<&PeerConfig> {
        self.object.peer.as_ref().and_then(|_| self.peers().next())
    }

    /// The volume, if the object names one.
    pub(crate) fn named_volume(&self) -> Option<VolumeNumber> {
        self.object.volume
    }
}

/// `minor-N`: the volume of this node that has the minor, where no resource is called so.
fn of_minor(config: &Config, node: &str, text: &str) -> Option<Object> {
    let minor: u32 = text.strip_prefix("minor-")?.parse().ok()?;
    if config.find(text).is_some() {
        return None;
    }
    config.definitions.iter().find_map(|definition| {
        let resource = &definition.resource;
        let mut volumes = resource.host_of(node)?.volumes.iter();
        let volume = volumes.find(|volume| volume.minor.0 == minor)?;
        let (resource, volume) = (Some(resource.name.clone()), Some(volume.number));
        Some(Object { resource, peer: None, volume })
    })
}
