//! Connections of a resource: as written, of meshes, or the full mesh that is implied without any.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;

use super::Resolver;
use crate::config::NetOptions;
use crate::config::definition::{Connection, DISCARD_NODE};
use crate::config::diagnostic::Position;
use crate::config::options::{PlacedSet, merge, without_places};
use crate::config::raw::{RawConnection, RawHost, RawMesh, RawPath};
use crate::config::table::{Section, Spec};
use crate::config::tree::Word;
use crate::id::VolumeNumber;

/// Indexes of two hosts, the smaller one first.
type Pair = (usize, usize);

/// A mesh and the indexes of its hosts.
type Mesh<'a> = (BTreeSet<usize>, &'a RawMesh);

impl<'a> Resolver<'a> {
    pub(super) fn connections(&mut self) -> Vec<Connection> {
        let written = self.written();
        let meshes = self.meshes();
        let body = &self.raw.body;
        let implied = body.connections.is_empty() && body.meshes.is_empty();
        let count = body.hosts.len();
        let mut found = Vec::new();
        for pair in (0..count).flat_map(|a| (a + 1..count).map(move |b| (a, b))) {
            let connection = written.get(&pair).copied();
            let of_both =
                |(hosts, _): &&Mesh<'_>| hosts.contains(&pair.0) && hosts.contains(&pair.1);
            let of_both: Vec<&RawMesh> =
                meshes.iter().filter(of_both).map(|(_, mesh)| *mesh).collect();
            if implied || connection.is_some() || !of_both.is_empty() {
                found.extend(self.pair(pair, connection, &of_both));
            } else if count == 2 && !self.diagnostics.has_errors() {
                let names = body.hosts.iter().map(RawHost::name).collect::<Vec<_>>().join(" and ");
                self.refuse(self.raw.name.at, format!("no connection between {names}"));
            }
        }
        found
    }

    /// The sections `connection`, by the hosts that all of their paths join.
    fn written(&mut self) -> BTreeMap<Pair, &'a RawConnection> {
        let mut written = BTreeMap::new();
        let raw = self.raw;
        for connection in &raw.body.connections {
            let mut of_connection = None;
            for path in &connection.paths {
                let Some(pair) = self.ends(path) else { continue };
                if *of_connection.get_or_insert(pair) != pair {
                    self.error(path.at, "all paths of a connection join the same two hosts");
                }
            }
            let Some(pair) = of_connection else { continue };
            if let Some(first) = written.insert(pair, connection) {
                let first = self.diagnostics.place(first.at);
                let message = format!("these hosts have a connection already, at {first}");
                self.error(connection.at, message);
            }
        }
        written
    }

    fn ends(&mut self, path: &RawPath) -> Option<Pair> {
        let [first, second] = &path.ends;
        let known = [self.known_host(&first.host), self.known_host(&second.host)];
        let [Some(a), Some(b)] = known else { return None };
        if a == b {
            self.error(second.host.at, "a connection needs two different hosts");
            return None;
        }
        Some((a.min(b), a.max(b)))
    }

    fn meshes(&mut self) -> Vec<Mesh<'a>> {
        let raw = self.raw;
        let hosts = |mesh: &'a RawMesh| -> BTreeSet<usize> {
            mesh.hosts.iter().filter_map(|host| self.known_host(host)).collect()
        };
        let meshes = &raw.body.meshes;
        meshes.iter().map(hosts).zip(meshes).collect()
    }

    fn pair(
        &mut self,
        (a, b): Pair,
        written: Option<&RawConnection>,
        meshes: &[&RawMesh],
    ) -> Option<Connection> {
        let (body, nothing) = (&self.raw.body, PlacedSet::new());
        let hosts = [&body.hosts[a], &body.hosts[b]];
        let own = written.map_or(&nothing, |connection| &connection.net);
        self.check_meshes(meshes, own);
        let of_meshes = meshes.iter().map(|mesh| &mesh.net);
        let sets = [&self.common.net, &body.net].into_iter().chain(of_meshes).chain([own]);
        let net = merge(&sets.collect::<Vec<_>>());
        self.check_loser(&net, hosts);
        self.check_contradictions(&net);
        self.check_authentication(&net);
        let paths = self.paths(hosts, written);
        let disk = written.map(|connection| connection.disk.clone()).unwrap_or_default();
        Some(Connection {
            hosts: hosts.map(RawHost::name),
            paths: paths?,
            net: without_places(net),
            disk: without_places(disk),
            volumes: self.connection_volumes(hosts[0], written),
        })
    }

    fn connection_volumes(
        &mut self,
        host: &RawHost,
        written: Option<&RawConnection>,
    ) -> BTreeMap<VolumeNumber, crate::config::OptionSet> {
        let mut volumes = BTreeMap::new();
        for (number, (at, set)) in written.iter().flat_map(|connection| &connection.volumes) {
            if !self.raw.volumes_of(host).contains_key(number) {
                self.error(*at, format!("there is no volume {number}"));
            }
            volumes.insert(VolumeNumber(*number), without_places(set.clone()));
        }
        volumes
    }

    /// The addresses of the two hosts on every path.
    fn paths(
        &mut self,
        hosts: [&RawHost; 2],
        written: Option<&RawConnection>,
    ) -> Option<Vec<[SocketAddr; 2]>> {
        let Some(written) = written else {
            return Some(vec![self.path(hosts, None)?]);
        };
        if let Some(second) = written.paths.get(1) {
            self.refuse(second.at, "a second path is not there yet; leave one 'path'");
        }
        written.paths.iter().map(|path| self.path(hosts, Some(path))).collect()
    }

    fn path(&mut self, hosts: [&RawHost; 2], path: Option<&RawPath>) -> Option<[SocketAddr; 2]> {
        let [first, second] = hosts.map(|host| self.end(host, path));
        Some([first?, second?])
    }

    fn end(&mut self, host: &RawHost, path: Option<&RawPath>) -> Option<SocketAddr> {
        let of_host = host.address.as_ref().map(|address| address.value);
        let mut ends = path.iter().flat_map(|path| &path.ends);
        let end = ends.find(|end| host.is_called(&end.host.text));
        let address = end.map_or(of_host, |end| end.address.resolve(of_host));
        if address.is_none() {
            self.error(host.at(), format!("'address' expected in 'on {}'", host.name()));
        }
        address
    }

    fn known_host(&mut self, name: &Word) -> Option<usize> {
        let mut hosts = self.raw.body.hosts.iter();
        let index = hosts.position(|host| host.is_called(&name.text));
        if index.is_none() {
            let message = format!("there is no host '{}' in this resource", name.text);
            self.error(name.at, message);
        }
        index
    }

    /// What two meshes of the same hosts say differently, their connection must decide.
    fn check_meshes(&mut self, meshes: &[&RawMesh], own: &PlacedSet) {
        let mut said: BTreeMap<&str, (&str, Position)> = BTreeMap::new();
        for (name, (value, at)) in meshes.iter().flat_map(|mesh| &mesh.net) {
            let (text, first) = said.entry(name).or_insert((&value.text, *at));
            if *text != value.text && !own.contains_key(name) {
                let first = self.diagnostics.place(*first);
                let is_secret = Section::Net.find(name).is_some_and(Spec::is_secret);
                let [here, there] =
                    [&value.text, *text].map(|it| if is_secret { "..." } else { it });
                let message = format!(
                    "'{name}' is {here} here and {there} at {first}, for the same hosts; say it in \
                     their 'connection'"
                );
                self.error(*at, message);
            }
        }
    }

    /// The host that `after-sb-0pri discard-node-NAME` names is one of the two.
    fn check_loser(&mut self, net: &PlacedSet, hosts: [&RawHost; 2]) {
        let Some((value, at)) = net.get("after-sb-0pri") else { return };
        let Some(name) = value.text.strip_prefix(DISCARD_NODE) else { return };
        if !hosts.iter().any(|host| host.is_called(name)) {
            let message = format!("after-sb-0pri: '{name}' is no host of this connection");
            self.error(*at, message);
        }
    }

    /// Options that contradict each other.
    fn check_contradictions(&mut self, net: &PlacedSet) {
        let typed = NetOptions::from_set(&without_places(net.clone()));
        for (names, message) in typed.contradictions() {
            let place = names.iter().find_map(|name| net.get(name)).map(|(_, at)| *at);
            if let Some(at) = place {
                self.error(at, message);
            }
        }
    }

    /// Everybody knows the empty secret; and one that is not used protects nothing.
    fn check_authentication(&mut self, net: &PlacedSet) {
        let given = |name: &str| net.get(name).filter(|(value, _)| !value.text.is_empty());
        match (given("cram-hmac-alg"), given("shared-secret")) {
            (Some((_, at)), None) => {
                let message = "cram-hmac-alg needs a shared-secret, the same on both nodes";
                self.diagnostics.refuse(*at, message);
            }
            (None, Some((_, at))) => {
                let message = "peers are not authenticated: shared-secret needs cram-hmac-alg, too";
                self.diagnostics.warn_once("shared-secret", *at, message);
            }
            (Some(_), Some(_)) | (None, None) => {}
        }
    }
}
