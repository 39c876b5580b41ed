//! What must be unique on a node, across resources: names, minors, disks, addresses.

use std::collections::BTreeMap;

use super::MetaDisk;
use super::diagnostic::{Diagnostics, Position};
use super::raw::{Placed, RawConfig, RawHost, RawResource, RawVolume};

/// Notes an error for everything that is used twice.
pub(super) fn check(config: &RawConfig, diagnostics: &mut Diagnostics) {
    let mut uses = Uses { seen: BTreeMap::new(), diagnostics };
    for resource in &config.resources {
        let name = &resource.name;
        uses.add(Kind::Resource, "", &name.text, name.at, &name.text);
        for host in &resource.body.hosts {
            uses.host(resource, host);
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    Resource,
    Minor,
    Disk,
    Address,
}

struct Uses<'a> {
    /// By kind, node (empty: any) and value: who uses it, and where.
    seen: BTreeMap<(Kind, String, String), (String, Position)>,
    diagnostics: &'a mut Diagnostics,
}

impl Uses<'_> {
    fn host(&mut self, resource: &RawResource, host: &RawHost) {
        let node = &host.name();
        for (number, volume) in resource.volumes_of(host) {
            let user = format!("volume {number} of '{}'", resource.name.text);
            self.volume(node, &volume, &user);
        }
        let user = format!("'{node}' in '{}'", resource.name.text);
        if let Some(address) = &host.address {
            self.add(Kind::Address, "", &address.value.to_string(), address.at, &user);
        }
        let connections = resource.body.connections.iter();
        for end in connections.flat_map(|connection| connection.ends_of(host)) {
            let of_host = host.address.as_ref().map(|address| address.value);
            if let Some(address) = end.address.resolve(of_host) {
                self.add(Kind::Address, "", &address.to_string(), end.host.at, &user);
            }
        }
    }

    fn volume(&mut self, node: &str, volume: &RawVolume, user: &str) {
        if let Some(device) = &volume.device {
            self.add(Kind::Minor, node, &device.value.minor.to_string(), device.at, user);
        }
        // Where there is no disk there is no metadata either.
        let Some(Placed { value: Some(disk), at }) = &volume.disk else {
            return;
        };
        self.add(Kind::Disk, node, disk, *at, user);
        let Some(meta_disk) = &volume.meta_disk else {
            return;
        };
        match &meta_disk.value {
            MetaDisk::Internal => {}
            MetaDisk::External { path, index: None } => {
                let path = path.display().to_string();
                self.add(Kind::Disk, node, &path, meta_disk.at, &format!("metadata of {user}"));
            }
            MetaDisk::External { path, index: Some(index) } => {
                let slot = format!("{}[{index}]", path.display());
                self.add(Kind::Disk, node, &slot, meta_disk.at, &format!("metadata of {user}"));
            }
        }
    }

    fn add(&mut self, kind: Kind, node: &str, value: &str, at: Position, user: &str) {
        let key = (kind, node.to_owned(), value.to_owned());
        let Some((first_user, first_at)) = self.seen.get(&key) else {
            self.seen.insert(key, (user.to_owned(), at));
            return;
        };
        // One host's address serves all of its connections.
        let shared = kind == Kind::Address && first_user == user;
        // A volume of the resource is met once for each of its hosts, under another node.
        if shared || *first_at == at {
            return;
        }
        let (what, first) = (kind.name(), self.diagnostics.place(*first_at));
        let on = if node.is_empty() { String::new() } else { format!(" on '{node}'") };
        let message = if kind == Kind::Resource {
            format!("{what} '{value}' is given twice, first at {first}")
        } else {
            format!("{what} '{value}'{on} is used by {first_user}, too, at {first}")
        };
        self.diagnostics.error(at, message);
    }
}

impl Kind {
    fn name(self) -> &'static str {
        match self {
            Self::Resource => "resource",
            Self::Minor => "minor",
            Self::Disk => "disk",
            Self::Address => "address",
        }
    }
}
