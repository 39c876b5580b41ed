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
    /// What stands in the place of `common`.
    pub(super) template: Option<Box<Self>>,
    pub(super) options: PlacedSet,
    pub(super) net: PlacedSet,
    pub(super) disk: PlacedSet,
    pub(super) startup: PlacedSet,
    pub(super) handlers: BTreeMap<String, String>,
    pub(super) volumes: RawVolumes,
    pub(super) hosts: Vec<RawHost>,
    pub(super) connections: Vec<RawConnection>,
    pub(super) meshes: Vec<RawMesh>,
    /// Where a section `stacked-on-top-of` is.
    pub(super) stacked: Option<Position>,
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
    /// `None` in it is `none`.
    pub(super) disk: Option<Placed<Option<String>>>,
    pub(super) meta_disk: Option<Placed<MetaDisk>>,
    pub(super) tiebreaker: Option<bool>,
    pub(super) options: PlacedSet,
}

/// A statement `device`.
#[derive(Clone, Debug)]
pub(super) struct RawDevice {
    pub(super) name: String,
    pub(super) minor: u32,
}

/// A section `on` or `floating`.
#[derive(Debug)]
pub(super) struct RawHost {
    /// At least one; of a floating host its address, made a name.
    pub(super) names: Vec<Word>,
    pub(super) floating: bool,
    pub(super) node_id: Option<Placed<u8>>,
    pub(super) address: Option<Placed<SocketAddr>>,
    pub(super) options: PlacedSet,
    pub(super) volumes: RawVolumes,
}

/// A section `connection`.
#[derive(Debug)]
pub(super) struct RawConnection {
    pub(super) at: Position,
    /// At least one.
    pub(super) paths: Vec<RawPath>,
    pub(super) net: PlacedSet,
    pub(super) disk: PlacedSet,
    pub(super) volumes: BTreeMap<u16, (Position, PlacedSet)>,
}

/// A section `path`, or the hosts of a connection without one.
#[derive(Debug)]
pub(super) struct RawPath {
    pub(super) at: Position,
    pub(super) ends: [RawEnd; 2],
}

/// A statement `host` of a connection, or an `address` that says which host.
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
            template: None,
            options: PlacedSet::new(),
            net: PlacedSet::new(),
            disk: PlacedSet::new(),
            startup: PlacedSet::new(),
            handlers: BTreeMap::new(),
            volumes: RawVolumes::default(),
            hosts: Vec::new(),
            connections: Vec::new(),
            meshes: Vec::new(),
            stacked: None,
        }
    }
}

impl RawVolume {
    pub(super) fn new(at: Position) -> Self {
        let options = PlacedSet::new();
        Self { at, device: None, disk: None, meta_disk: None, tiebreaker: None, options }
    }

    /// Takes over what the more specific `volume` says.
    fn refine(&mut self, volume: &Self) {
        self.at = volume.at;
        self.device = volume.device.clone().or_else(|| self.device.take());
        self.disk = volume.disk.clone().or_else(|| self.disk.take());
        self.meta_disk = volume.meta_disk.clone().or_else(|| self.meta_disk.take());
        self.tiebreaker = volume.tiebreaker.or(self.tiebreaker);
        self.options = merge(&[&self.options, &volume.options]);
    }
}

impl RawHost {
    /// A host of which only the names are known.
    pub(super) fn new(names: Vec<Word>) -> Self {
        Self {
            names,
            floating: false,
            node_id: None,
            address: None,
            options: PlacedSet::new(),
            volumes: RawVolumes::default(),
        }
    }

    /// Where it begins.
    pub(super) fn at(&self) -> Position {
        self.names[0].at
    }

    /// What it is called by others: all of its names.
    pub(super) fn name(&self) -> String {
        let names: Vec<&str> = self.names.iter().map(|name| name.text.as_str()).collect();
        names.join("_")
    }

    /// Whether that is one of its names, or its address where it has no other.
    pub(super) fn is_called(&self, name: &str) -> bool {
        let address = self.address.as_ref().filter(|_| self.floating);
        address.is_some_and(|address| address.value.to_string() == name)
            || self.names.iter().any(|own| own.text == name)
    }
}

impl RawConnection {
    /// What it says of a host, for every path.
    pub(super) fn ends_of<'a>(&'a self, host: &'a RawHost) -> impl Iterator<Item = &'a RawEnd> {
        let ends = self.paths.iter().flat_map(|path| &path.ends);
        ends.filter(|end| host.is_called(&end.host.text))
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
