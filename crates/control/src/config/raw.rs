//! What the files say, sorted by section, before inheritance: every piece with its place.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use super::MetaDisk;
use super::diagnostic::Position;
use super::options::{PlacedSet, merge};
use super::tree::Word;

/// A value and where it was given.
#[derive(Clone, Debug)]
pub(super) struct Placed<T> {
    pub(super) value: T,
    pub(super) at: Position,
}

/// All files together.
#[derive(Debug, Default)]
pub(super) struct RawConfig {
    pub(super) global: PlacedSet,
    pub(super) common: Option<RawBody>,
    pub(super) resources: Vec<RawResource>,
}

/// A section `resource`.
#[derive(Debug)]
pub(super) struct RawResource {
    pub(super) name: Word,
    pub(super) body: RawBody,
}

/// What `common` and `resource` have in common.
#[derive(Debug)]
pub(super) struct RawBody {
    pub(super) at: Position,
    pub(super) options: PlacedSet,
    pub(super) net: PlacedSet,
    pub(super) disk: PlacedSet,
    pub(super) startup: PlacedSet,
    pub(super) handlers: BTreeMap<String, String>,
    pub(super) volumes: RawVolumes,
    pub(super) hosts: Vec<RawHost>,
    pub(super) connections: Vec<RawConnection>,
    pub(super) meshes: Vec<RawMesh>,
}

/// Volumes of a resource or of a host.
#[derive(Clone, Debug, Default)]
pub(super) struct RawVolumes {
    /// Written as `volume N { ... }`.
    pub(super) explicit: BTreeMap<u16, RawVolume>,
    /// Written without `volume`: number 0.
    pub(super) implicit: Option<RawVolume>,
}

/// A volume.
#[derive(Clone, Debug)]
pub(super) struct RawVolume {
    pub(super) at: Position,
    pub(super) device: Option<Placed<RawDevice>>,
    pub(super) disk: Option<Placed<String>>,
    pub(super) meta_disk: Option<Placed<MetaDisk>>,
    pub(super) options: PlacedSet,
}

/// A statement `device`.
#[derive(Clone, Debug)]
pub(super) struct RawDevice {
    pub(super) name: String,
    pub(super) minor: u32,
}

/// A section `on`.
#[derive(Debug)]
pub(super) struct RawHost {
    pub(super) name: Word,
    pub(super) node_id: Option<Placed<u8>>,
    pub(super) address: Option<Placed<SocketAddr>>,
    pub(super) options: PlacedSet,
    pub(super) volumes: RawVolumes,
}

/// A section `connection`.
#[derive(Debug)]
pub(super) struct RawConnection {
    pub(super) at: Position,
    pub(super) ends: Vec<RawEnd>,
    pub(super) net: PlacedSet,
    pub(super) disk: PlacedSet,
    pub(super) volumes: BTreeMap<u16, (Position, PlacedSet)>,
}

/// A statement `host` of a connection.
#[derive(Debug)]
pub(super) struct RawEnd {
    pub(super) host: Word,
    pub(super) address: EndAddress,
}

/// What address the end of a connection has.
#[derive(Debug)]
pub(super) enum EndAddress {
    /// The host's.
    OfHost,
    /// The host's with another port.
    Port(u16),
    /// One of its own.
    Own(Placed<SocketAddr>),
}

impl EndAddress {
    /// The address, given the host's.
    pub(super) fn resolve(&self, of_host: Option<SocketAddr>) -> Option<SocketAddr> {
        match self {
            Self::OfHost => of_host,
            Self::Port(port) => of_host.map(|address| with_port(address, *port)),
            Self::Own(address) => Some(address.value),
        }
    }
}

/// A section `connection-mesh`.
#[derive(Debug)]
pub(super) struct RawMesh {
    pub(super) hosts: Vec<Word>,
    pub(super) net: PlacedSet,
}

impl RawBody {
    pub(super) fn new(at: Position) -> Self {
        Self {
            at,
            options: PlacedSet::new(),
            net: PlacedSet::new(),
            disk: PlacedSet::new(),
            startup: PlacedSet::new(),
            handlers: BTreeMap::new(),
            volumes: RawVolumes::default(),
            hosts: Vec::new(),
            connections: Vec::new(),
            meshes: Vec::new(),
        }
    }
}

impl RawVolume {
    pub(super) fn new(at: Position) -> Self {
        let options = PlacedSet::new();
        Self { at, device: None, disk: None, meta_disk: None, options }
    }

    /// Takes over what the more specific `volume` says.
    fn refine(&mut self, volume: &Self) {
        self.at = volume.at;
        self.device = volume.device.clone().or_else(|| self.device.take());
        self.disk = volume.disk.clone().or_else(|| self.disk.take());
        self.meta_disk = volume.meta_disk.clone().or_else(|| self.meta_disk.take());
        self.options = merge(&[&self.options, &volume.options]);
    }
}

fn with_port(mut address: SocketAddr, port: u16) -> SocketAddr {
    address.set_port(port);
    address
}

impl RawResource {
    /// The volumes of a host by number, the resource's and its own put together.
    pub(super) fn volumes_of(&self, host: &RawHost) -> BTreeMap<u16, RawVolume> {
        let mut volumes = BTreeMap::<u16, RawVolume>::new();
        for level in [&self.body.volumes, &host.volumes] {
            let implicit = level.implicit.iter().map(|volume| (0, volume));
            for (number, volume) in level.explicit.iter().map(|(n, v)| (*n, v)).chain(implicit) {
                match volumes.get_mut(&number) {
                    Some(merged) => merged.refine(volume),
                    None => {
                        volumes.insert(number, volume.clone());
                    }
                }
            }
        }
        volumes
    }
}
