//! Sections to definitions: inheritance, what is implied, and what one resource must say.
//!
//! The most specific setting wins: `common`, then the resource, then `connection-mesh` or `volume`,
//! then `connection` or the volume of a host. DRBD refuses some of these conflicts as ambiguous.

use std::collections::{BTreeMap, BTreeSet};

use super::MetaDisk;
use super::definition::{Connection, DISCARD_NODE, Definition, Host, HostVolume, Resource};
use super::diagnostic::{Diagnostics, Position};
use super::options::{PlacedSet, merge, without_places};
use super::raw::{RawBody, RawConfig, RawConnection, RawHost, RawResource, RawVolume};
use super::resync_after::{self, Dependency};
use super::tree::Word;
use crate::config::NetOptions;
use crate::id::{Minor, NodeId, VolumeNumber};
use crate::limits;
use crate::names::{Fencing, OnCongestion, Protocol};

/// The definitions of all resources that are without errors.
pub(super) fn resolve(config: &RawConfig, diagnostics: &mut Diagnostics) -> Vec<Definition> {
    let nothing = RawBody::new(Position { file: 0, line: 1, column: 1 });
    let common = config.common.as_ref().unwrap_or(&nothing);
    let mut definitions = Vec::new();
    let mut dependencies = Vec::new();
    for raw in &config.resources {
        let mut resolver = Resolver { raw, common, diagnostics };
        if let Some(resource) = resolver.resource() {
            let at = raw.body.at;
            let file = diagnostics.path(at).to_owned();
            definitions.push(Definition { file, line: at.line, resource });
            dependencies.extend(Dependency::of(common, raw));
        }
    }
    resync_after::resolve(&mut definitions, &dependencies, diagnostics);
    definitions
}

struct Resolver<'a> {
    raw: &'a RawResource,
    common: &'a RawBody,
    diagnostics: &'a mut Diagnostics,
}

impl Resolver<'_> {
    fn resource(&mut self) -> Option<Resource> {
        let (raw, common) = (self.raw, self.common);
        if !self.host_count() {
            return None;
        }
        self.unique_hosts();
        let hosts: Vec<Option<Host>> = raw.body.hosts.iter().map(|host| self.host(host)).collect();
        self.same_volumes();
        let connections = self.connections();
        let mut handlers = common.handlers.clone();
        handlers.extend(raw.body.handlers.clone());
        let hosts: Option<Vec<Host>> = hosts.into_iter().collect();
        Some(Resource {
            name: raw.name.text.clone(),
            options: without_places(merge(&[&common.options, &raw.body.options])),
            startup: without_places(merge(&[&common.startup, &raw.body.startup])),
            handlers,
            hosts: hosts?,
            connections,
        })
    }

    fn host_count(&mut self) -> bool {
        let (name, count) = (&self.raw.name, self.raw.body.hosts.len());
        let supported = limits::NODES_SUPPORTED;
        if count > limits::NODES_MAX {
            let max = limits::NODES_MAX;
            self.error(name.at, format!("{count} hosts, at most {max} are possible"));
        } else if count > supported {
            self.error(name.at, format!("{count} hosts; more than {supported} are not there yet"));
        } else if count < supported {
            self.error(name.at, format!("{supported} hosts expected ('on NAME'), not {count}"));
        }
        count == supported
    }

    fn unique_hosts(&mut self) {
        let mut names = BTreeMap::new();
        let mut ids = BTreeMap::new();
        for host in &self.raw.body.hosts {
            if let Some(first) = names.insert(&host.name.text, host.name.at) {
                let first = self.diagnostics.place(first);
                self.error(host.name.at, format!("host is given twice, first at {first}"));
            }
            let Some(id) = &host.node_id else {
                let message = format!("'node-id' expected in 'on {}'", host.name.text);
                self.error(host.name.at, message);
                continue;
            };
            if let Some(first) = ids.insert(id.value, &host.name.text) {
                let message = format!("node-id {} is that of '{first}', too", id.value);
                self.error(id.at, message);
            }
        }
    }

    fn host(&mut self, host: &RawHost) -> Option<Host> {
        let name = &host.name.text;
        let volumes = self.raw.volumes_of(host);
        let mixes = |volumes: &super::raw::RawVolumes| volumes.implicit.is_some();
        let resource_volumes = &self.raw.body.volumes;
        if (mixes(&host.volumes) && !resource_volumes.explicit.is_empty())
            || (mixes(resource_volumes) && !host.volumes.explicit.is_empty())
        {
            let message = "a volume without 'volume N' beside one with; use 'volume 0 { ... }'";
            self.error(host.name.at, message);
            return None;
        }
        if volumes.is_empty() {
            self.error(host.name.at, format!("'{name}' has no volume ('device', 'disk')"));
            return None;
        }
        let resolved: Vec<Option<HostVolume>> =
            volumes.into_iter().map(|(n, volume)| self.volume(host, n, &volume)).collect();
        Some(Host {
            name: name.clone(),
            node_id: NodeId(host.node_id.as_ref()?.value),
            address: host.address.as_ref().map(|address| address.value),
            options: without_places(host.options.clone()),
            volumes: resolved.into_iter().collect::<Option<_>>()?,
        })
    }

    fn volume(&mut self, host: &RawHost, number: u16, volume: &RawVolume) -> Option<HostVolume> {
        let name = &host.name.text;
        if volume.device.is_none() {
            self.error(volume.at, format!("'device' expected in volume {number} on '{name}'"));
        }
        if volume.disk.is_none() {
            self.error(volume.at, format!("'disk' expected in volume {number} on '{name}'"));
        }
        let device = &volume.device.as_ref()?.value;
        let meta_disk = volume.meta_disk.as_ref().map(|meta_disk| meta_disk.value.clone());
        let sets: [&PlacedSet; 3] = [&self.common.disk, &self.raw.body.disk, &volume.options];
        Some(HostVolume {
            number: VolumeNumber(number),
            minor: Minor(device.minor),
            device: device.name.clone(),
            disk: volume.disk.as_ref()?.value.clone(),
            meta_disk: meta_disk.unwrap_or(MetaDisk::Internal),
            options: without_places(merge(&sets)),
            resync_after: None,
        })
    }

    fn same_volumes(&mut self) {
        let of_host = |host| self.raw.volumes_of(host).into_keys().collect::<BTreeSet<u16>>();
        let hosts = &self.raw.body.hosts;
        let sets: Vec<BTreeSet<u16>> = hosts.iter().map(of_host).collect();
        let all: BTreeSet<u16> = sets.iter().flatten().copied().collect();
        for (host, set) in hosts.iter().zip(&sets) {
            // A host without any has been told so already.
            for missing in all.difference(set).filter(|_| !set.is_empty()) {
                let message = format!("volume {missing} is missing on '{}'", host.name.text);
                self.error(host.name.at, message);
            }
        }
    }

    /// One connection for each pair of hosts: as written, or as the implied full mesh.
    fn connections(&mut self) -> Vec<Connection> {
        let hosts = &self.raw.body.hosts;
        let mut written = BTreeMap::new();
        for connection in &self.raw.body.connections {
            let [first, second] = connection.ends.as_slice() else {
                continue;
            };
            let known = [self.known_host(&first.host), self.known_host(&second.host)];
            let [Some(a), Some(b)] = known else { continue };
            if a == b {
                self.error(second.host.at, "a connection needs two different hosts");
            } else if let Some(first) = written.insert((a.min(b), a.max(b)), connection) {
                let first = self.diagnostics.place(first.at);
                let message = format!("these hosts have a connection already, at {first}");
                self.error(connection.at, message);
            }
        }
        let mut found = Vec::new();
        for a in 0..hosts.len() {
            for b in a + 1..hosts.len() {
                found.extend(self.pair((a, b), written.get(&(a, b)).copied()));
            }
        }
        found
    }

    fn pair(
        &mut self,
        (a, b): (usize, usize),
        written: Option<&RawConnection>,
    ) -> Option<Connection> {
        let hosts = &self.raw.body.hosts;
        let ends = [self.end(&hosts[a], written), self.end(&hosts[b], written)];
        let mut sets = vec![self.common.net.clone(), self.raw.body.net.clone()];
        for mesh in &self.raw.body.meshes {
            let known: Vec<_> = mesh.hosts.iter().map(|host| self.known_host(host)).collect();
            if known.contains(&Some(a)) && known.contains(&Some(b)) {
                sets.push(mesh.net.clone());
            }
        }
        sets.extend(written.map(|connection| connection.net.clone()));
        let net = merge(&sets.iter().collect::<Vec<_>>());
        self.check_times(&net);
        self.check_loser(&net, [&hosts[a].name.text, &hosts[b].name.text]);
        self.check_congestion(&net);
        self.check_fencing(&net);
        let mut volumes = BTreeMap::new();
        for (number, (at, set)) in written.iter().flat_map(|connection| &connection.volumes) {
            if !self.raw.volumes_of(&hosts[a]).contains_key(number) {
                self.error(*at, format!("there is no volume {number}"));
            }
            volumes.insert(VolumeNumber(*number), without_places(set.clone()));
        }
        let [Some(first), Some(second)] = ends else {
            return None;
        };
        let disk = written.map(|connection| connection.disk.clone()).unwrap_or_default();
        Some(Connection {
            ends: [first, second],
            net: without_places(net),
            disk: without_places(disk),
            volumes,
        })
    }

    fn end(
        &mut self,
        host: &RawHost,
        written: Option<&RawConnection>,
    ) -> Option<(String, std::net::SocketAddr)> {
        let of_host = host.address.as_ref().map(|address| address.value);
        let mut ends = written.iter().flat_map(|connection| &connection.ends);
        let end = ends.find(|end| end.host.text == host.name.text);
        let address = end.map_or(of_host, |end| end.address.resolve(of_host));
        if address.is_none() {
            let message = format!("'address' expected in 'on {}'", host.name.text);
            self.error(host.name.at, message);
        }
        Some((host.name.text.clone(), address?))
    }

    /// The host that `after-sb-0pri discard-node-NAME` names is one of the two.
    fn check_loser(&mut self, net: &PlacedSet, ends: [&String; 2]) {
        let Some((value, at)) = net.get("after-sb-0pri") else { return };
        let Some(name) = value.text.strip_prefix(DISCARD_NODE) else { return };
        if !ends.iter().any(|end| *end == name) {
            let message = format!("after-sb-0pri: '{name}' is no host of this connection");
            self.error(*at, message);
        }
    }

    /// An answer that may take longer than the pause between pings cannot be told from none.
    fn check_times(&mut self, net: &PlacedSet) {
        let typed = NetOptions::from_set(&without_places(net.clone()));
        for (name, value) in [("connect-int", typed.connect_int), ("ping-int", typed.ping_int)] {
            let place = net.get("timeout").or_else(|| net.get(name)).map(|(_, at)| *at);
            if let Some(at) = place
                && typed.timeout >= value
            {
                let message =
                    format!("timeout ({:?}) must be below {name} ({value:?})", typed.timeout);
                self.error(at, message);
            }
        }
    }

    /// Only protocol A answers before the peer has a write, so only it can pull ahead.
    fn check_congestion(&mut self, net: &PlacedSet) {
        let typed = NetOptions::from_set(&without_places(net.clone()));
        let pulls = typed.on_congestion == OnCongestion::PullAhead;
        if let (true, Some((_, at))) = (pulls, net.get("on-congestion"))
            && typed.protocol != Protocol::A
        {
            let message =
                format!("on-congestion pull-ahead needs protocol A, not {}", typed.protocol);
            self.error(*at, message);
        }
    }

    /// Protocol A has answered what the peer lacks before anybody could wait for a fence.
    fn check_fencing(&mut self, net: &PlacedSet) {
        let typed = NetOptions::from_set(&without_places(net.clone()));
        let freezes = typed.fencing == Fencing::ResourceAndStonith;
        if let (true, Some((_, at))) = (freezes, net.get("fencing"))
            && typed.protocol == Protocol::A
        {
            let message = "fencing resource-and-stonith needs protocol B or C, not A";
            self.error(*at, message);
        }
    }

    fn known_host(&mut self, name: &Word) -> Option<usize> {
        let mut hosts = self.raw.body.hosts.iter();
        let index = hosts.position(|host| host.name.text == name.text);
        if index.is_none() {
            let message = format!("there is no host '{}' in this resource", name.text);
            self.error(name.at, message);
        }
        index
    }

    fn error(&mut self, at: Position, message: impl AsRef<str>) {
        let resource = &self.raw.name.text;
        self.diagnostics.error(at, format!("resource '{resource}': {}", message.as_ref()));
    }
}
