//! Hosts of a resource, and their volumes.

use std::collections::{BTreeMap, BTreeSet};

use super::Resolver;
use crate::config::MetaDisk;
use crate::config::definition::{Host, HostVolume};
use crate::config::options::{PlacedSet, merge, without_places};
use crate::config::raw::{Placed, RawHost, RawVolume, RawVolumes};
use crate::id::{Minor, NodeId, VolumeNumber};
use crate::limits;

impl Resolver<'_> {
    pub(super) fn hosts(&mut self) -> Option<Vec<Host>> {
        let raw = self.raw;
        self.unique_names();
        let ids = self.node_ids();
        let hosts: Vec<Option<Host>> =
            raw.body.hosts.iter().zip(ids).map(|(host, id)| self.host(host, id)).collect();
        self.same_volumes();
        hosts.into_iter().collect()
    }

    /// Notes an error or a refusal if it is not the number of hosts that there can be; whether
    /// there is anything to go on with.
    pub(super) fn host_count(&mut self) -> bool {
        let (at, count) = (self.raw.name.at, self.raw.body.hosts.len());
        let (max, supported) = (limits::NODES_MAX, limits::NODES_SUPPORTED);
        if count == 0 {
            self.error(at, format!("{supported} hosts expected ('on NAME'), not 0"));
        } else if count > max {
            self.error(at, format!("{count} hosts, at most {max} are possible"));
        } else if count > supported {
            self.refuse(at, format!("{count} hosts; more than {supported} are not there yet"));
        } else if count < supported {
            self.refuse(at, format!("{supported} hosts expected ('on NAME'), not {count}"));
        }
        (1..=max).contains(&count)
    }

    fn unique_names(&mut self) {
        let mut names = BTreeMap::new();
        for name in self.raw.body.hosts.iter().flat_map(|host| &host.names) {
            if let Some(first) = names.insert(&name.text, name.at) {
                let first = self.diagnostics.place(first);
                self.error(name.at, format!("host is given twice, first at {first}"));
            }
        }
    }

    /// The numbers of the hosts: as given, or DRBD's of a pair that has none.
    fn node_ids(&mut self) -> Vec<Option<NodeId>> {
        let body = &self.raw.body;
        let v9 = !body.connections.is_empty() || !body.meshes.is_empty();
        if let ([first, second], false) = (body.hosts.as_slice(), v9)
            && let (None, None) = (&first.node_id, &second.node_id)
            && let (Some(a), Some(b)) = (&first.address, &second.address)
        {
            let [a, b] = [a, b].map(|it| address_order(&it.value.ip().to_string()));
            let first = u8::from(a <= b);
            return vec![Some(NodeId(first)), Some(NodeId(1 - first))];
        }
        let mut ids = BTreeMap::new();
        for host in &body.hosts {
            let Some(id) = &host.node_id else {
                let message = format!("'node-id' expected in 'on {}'", host.name());
                self.error(host.at(), message);
                continue;
            };
            if let Some(first) = ids.insert(id.value, host.name()) {
                let message = format!("node-id {} is that of '{first}', too", id.value);
                self.error(id.at, message);
            }
        }
        body.hosts.iter().map(|host| Some(NodeId(host.node_id.as_ref()?.value))).collect()
    }

    fn host(&mut self, host: &RawHost, node_id: Option<NodeId>) -> Option<Host> {
        let volumes = self.raw.volumes_of(host);
        let mixes = |volumes: &RawVolumes| volumes.implicit.is_some();
        let of_resource = &self.raw.body.volumes;
        if (mixes(&host.volumes) && !of_resource.explicit.is_empty())
            || (mixes(of_resource) && !host.volumes.explicit.is_empty())
        {
            let message = "a volume without 'volume N' beside one with; use 'volume 0 { ... }'";
            self.error(host.at(), message);
            return None;
        }
        if volumes.is_empty() {
            let message = format!("'{}' has no volume ('device', 'disk')", host.name());
            self.error(host.at(), message);
            return None;
        }
        let resolved: Vec<Option<HostVolume>> =
            volumes.into_iter().map(|(n, volume)| self.volume(host, n, &volume)).collect();
        Some(Host {
            name: host.name(),
            names: host.names.iter().map(|name| name.text.clone()).collect(),
            floating: host.floating,
            node_id: node_id?,
            address: host.address.as_ref().map(|address| address.value),
            options: without_places(host.options.clone()),
            volumes: resolved.into_iter().collect::<Option<_>>()?,
        })
    }

    fn volume(&mut self, host: &RawHost, number: u16, volume: &RawVolume) -> Option<HostVolume> {
        let name = host.name();
        if volume.device.is_none() {
            self.error(volume.at, format!("'device' expected in volume {number} on '{name}'"));
        }
        match (&volume.disk, &volume.meta_disk) {
            (Some(Placed { value: Some(_), .. }), _) => {}
            (Some(Placed { value: None, at }), _) => {
                self.refuse(*at, "'disk none' is refused: nodes without a disk are not there yet");
            }
            (None, Some(meta_disk)) => {
                let message = format!("'disk' expected in volume {number} on '{name}'");
                self.error(meta_disk.at, message);
            }
            (None, None) => {
                let message = format!(
                    "'disk' expected in volume {number} on '{name}': nodes without a disk are not \
                     there yet"
                );
                self.refuse(volume.at, message);
            }
        }
        let device = &volume.device.as_ref()?.value;
        let disk = volume.disk.as_ref().and_then(|disk| disk.value.clone());
        // Where there is no disk there is no metadata, whatever other hosts have.
        let meta_disk = volume.meta_disk.as_ref().filter(|_| disk.is_some());
        let meta_disk = meta_disk.map(|meta_disk| meta_disk.value.clone());
        let sets: [&PlacedSet; 3] = [&self.common.disk, &self.raw.body.disk, &volume.options];
        Some(HostVolume {
            number: VolumeNumber(number),
            minor: Minor(device.minor),
            device: device.name.clone(),
            disk,
            meta_disk: meta_disk.unwrap_or(MetaDisk::Internal),
            tiebreaker: volume.tiebreaker,
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
                let message = format!("volume {missing} is missing on '{}'", host.name());
                self.error(host.at(), message);
            }
        }
    }
}

/// What DRBD orders the addresses of a pair without `node-id` by: the greater one is node 0. It is
/// CRC-32C of the text, from a start of its own, without the usual complement, and signed.
fn address_order(text: &str) -> i32 {
    let mut crc: u32 = 0x1a65_6f21;
    for byte in text.bytes() {
        crc ^= u32::from(byte);
        for _ in 0..8 {
            let carry = if crc & 1 == 1 { 0x82f6_3b78 } else { 0 };
            crc = crc >> 1 ^ carry;
        }
    }
    crc.cast_signed()
}
