//! `events2`: how resources change, a line for each object that did, as DRBD prints it.
//!
//! Pure: two states of a resource in, lines out. A line has the keys that name its object and the
//! groups of keys that have changed. The order is DRBD's: resource, connections, devices, then the
//! peer devices and paths of each connection; what is gone comes last, the inner before the outer.

mod line;
mod promotion;

#[cfg(test)]
mod tests;

pub use promotion::Promotion;

use crate::status::{ConnectionStatus, PathStatus, PeerDeviceStatus, ResourceStatus, VolumeStatus};
use line::{Line, yes_no};

/// What is printed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct EventOptions {
    /// Every group on every line; also counters (`--full`).
    pub full: bool,
    /// Also counters, and lines where only they have changed (`--statistics`).
    pub statistics: bool,
    /// Old and new values (`--diff`).
    pub diff: bool,
}

/// What becomes of objects that were not there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Appearance {
    /// They are told for the first time.
    Exists,
    /// They were made.
    Create,
}

/// The lines of a change; `None` where the resource was not, or is not, there.
pub fn event_lines(
    old: Option<&ResourceStatus>,
    new: Option<&ResourceStatus>,
    appearance: Appearance,
    options: EventOptions,
) -> Vec<String> {
    let statistics = options.statistics || options.full;
    let options = EventOptions { statistics, ..options };
    let mut printer = Printer { lines: Vec::new(), appearance, options };
    if let Some(new) = new {
        printer.changes(old, new);
    }
    if let Some(old) = old {
        printer.destroyed(old, new);
    }
    printer.lines
}

struct Printer {
    lines: Vec<String>,
    appearance: Appearance,
    options: EventOptions,
}

impl Printer {
    fn changes(&mut self, old: Option<&ResourceStatus>, new: &ResourceStatus) {
        self.resource(old, new);
        for connection in &new.connections {
            self.connection(&new.name, old.and_then(|old| same(old, connection)), connection);
        }
        for volume in &new.volumes {
            let old = old.and_then(|old| old.volumes.iter().find(|it| it.volume == volume.volume));
            self.device(&new.name, old, volume);
        }
        for connection in &new.connections {
            let old = old.and_then(|old| same(old, connection));
            for device in &connection.peer_devices {
                let mut devices = old.into_iter().flat_map(|old| &old.peer_devices);
                let old = devices.find(|it| it.volume == device.volume);
                self.peer_device(&new.name, connection, old, device);
            }
            for path in &connection.paths {
                let mut paths = old.into_iter().flat_map(|old| &old.paths);
                let old = paths.find(|it| addresses(it) == addresses(path));
                self.path(&new.name, connection, old, path);
            }
        }
    }

    fn line<T>(&self, object: &str, old: Option<&T>) -> Line {
        let verb = match (old, self.appearance) {
            (Some(_), _) => "change",
            (None, Appearance::Exists) => "exists",
            (None, Appearance::Create) => "create",
        };
        Line::new(&format!("{verb} {object}"), self.options)
    }

    fn resource(&mut self, old: Option<&ResourceStatus>, new: &ResourceStatus) {
        let mut line = self.line("resource", old);
        line.key("name", &new.name);
        line.group(old, new, |it| vec![("role", it.role.to_string())]);
        line.group(old, new, |it| vec![("suspended", it.suspended.text())]);
        line.group(old, new, |it| vec![("force-io-failures", yes_no(it.force_io_failures))]);
        line.statistics(old, new, |it| vec![("write-ordering", it.write_ordering.to_string())]);
        line.group(old, new, |it| {
            let Promotion { may_promote, score } = Promotion::of(it);
            vec![("may_promote", yes_no(may_promote)), ("promotion_score", score.to_string())]
        });
        self.lines.extend(line.end());
    }

    fn connection(
        &mut self,
        resource: &str,
        old: Option<&ConnectionStatus>,
        new: &ConnectionStatus,
    ) {
        let mut line = self.line("connection", old);
        connection_keys(&mut line, resource, new);
        line.group(old, new, |it| vec![("connection", it.connection_state.to_string())]);
        line.group(old, new, |it| vec![("role", it.peer_role.to_string())]);
        line.statistics(old, new, |it| vec![("congested", yes_no(it.congested))]);
        line.counters(old, new, |it| {
            let (ap, rs) = (it.ap_in_flight_bytes / 512, it.rs_in_flight_bytes / 512);
            vec![("ap-in-flight", ap.to_string()), ("rs-in-flight", rs.to_string())]
        });
        self.lines.extend(line.end());
    }

    fn device(&mut self, resource: &str, old: Option<&VolumeStatus>, new: &VolumeStatus) {
        let mut line = self.line("device", old);
        line.key("name", resource);
        line.key("volume", new.volume);
        line.key("minor", new.minor);
        line.group(old, new, |it| {
            let backing_dev = it.backing_dev.clone().unwrap_or_else(|| "none".to_owned());
            vec![
                ("backing_dev", backing_dev),
                ("disk", it.disk_state.to_string()),
                ("client", yes_no(it.client)),
                ("open", yes_no(it.open)),
                ("quorum", yes_no(it.quorum)),
            ]
        });
        line.counters(old, new, |it| {
            vec![
                ("size", (it.size_bytes / 1024).to_string()),
                ("read", (it.read_bytes / 1024).to_string()),
                ("written", (it.written_bytes / 1024).to_string()),
                ("al-writes", it.al_writes.to_string()),
                ("bm-writes", it.bm_writes.to_string()),
                ("upper-pending", it.upper_pending.to_string()),
                ("lower-pending", it.lower_pending.to_string()),
            ]
        });
        line.statistics(old, new, |it| vec![("al-suspended", yes_no(it.al_suspended))]);
        line.statistics_changed(old, new, |it| vec![("blocked", it.blocked.text())]);
        self.lines.extend(line.end());
    }

    fn peer_device(
        &mut self,
        resource: &str,
        connection: &ConnectionStatus,
        old: Option<&PeerDeviceStatus>,
        new: &PeerDeviceStatus,
    ) {
        let mut line = self.line("peer-device", old);
        connection_keys(&mut line, resource, connection);
        line.key("volume", new.volume);
        line.group(old, new, |it| vec![("replication", it.replication_state.to_string())]);
        line.group(old, new, |it| {
            let client = yes_no(it.peer_client);
            vec![("peer-disk", it.peer_disk_state.to_string()), ("peer-client", client)]
        });
        line.group(old, new, |it| vec![("resync-suspended", it.resync_suspended.text())]);
        let done = |it: &PeerDeviceStatus| it.percent_done().map(|done| format!("{done:.2}"));
        if let Some(done_now) = done(new) {
            line.progress("done", &done_now, old.and_then(done).as_ref() != Some(&done_now));
        }
        line.counters(old, new, |it| {
            let mut counters = vec![
                ("received", (it.received_bytes / 1024).to_string()),
                ("sent", (it.sent_bytes / 1024).to_string()),
                ("out-of-sync", (it.out_of_sync_bytes / 1024).to_string()),
                ("pending", it.pending.to_string()),
                ("unacked", it.unacked.to_string()),
            ];
            if let Some(resync) = it.resync {
                let eta = it.seconds_left().map_or_else(|| "nan".to_owned(), |it| it.to_string());
                counters.push(("dbdt1", format!("{:.2}", resync.window_mib_per_second())));
                counters.push(("eta", eta));
            }
            counters
        });
        self.lines.extend(line.end());
    }

    fn path(
        &mut self,
        resource: &str,
        connection: &ConnectionStatus,
        old: Option<&PathStatus>,
        new: &PathStatus,
    ) {
        let mut line = self.line("path", old);
        connection_keys(&mut line, resource, connection);
        path_keys(&mut line, new);
        line.group(old, new, |it| vec![("established", yes_no(it.established))]);
        self.lines.extend(line.end());
    }

    /// What is in `old` and not in `new`.
    fn destroyed(&mut self, old: &ResourceStatus, new: Option<&ResourceStatus>) {
        let name = &old.name;
        for connection in &old.connections {
            let new = new.and_then(|new| same(new, connection));
            for path in &connection.paths {
                let mut paths = new.into_iter().flat_map(|new| &new.paths);
                if !paths.any(|it| addresses(it) == addresses(path)) {
                    let mut line = self.gone("path");
                    connection_keys(&mut line, name, connection);
                    path_keys(&mut line, path);
                    self.lines.extend(line.whole());
                }
            }
            for device in &connection.peer_devices {
                let mut devices = new.into_iter().flat_map(|new| &new.peer_devices);
                if !devices.any(|it| it.volume == device.volume) {
                    let mut line = self.gone("peer-device");
                    connection_keys(&mut line, name, connection);
                    line.key("volume", device.volume);
                    self.lines.extend(line.whole());
                }
            }
        }
        for connection in &old.connections {
            if new.and_then(|new| same(new, connection)).is_none() {
                let mut line = self.gone("connection");
                connection_keys(&mut line, name, connection);
                self.lines.extend(line.whole());
            }
        }
        for volume in &old.volumes {
            let mut volumes = new.into_iter().flat_map(|new| &new.volumes);
            if !volumes.any(|it| it.volume == volume.volume) {
                let mut line = self.gone("device");
                line.key("name", name);
                line.key("volume", volume.volume);
                self.lines.extend(line.whole());
            }
        }
        if new.is_none() {
            let mut line = self.gone("resource");
            line.key("name", name);
            self.lines.extend(line.whole());
        }
    }

    fn gone(&self, object: &str) -> Line {
        Line::new(&format!("destroy {object}"), self.options)
    }
}

/// The same connection at another time.
fn same<'a>(
    resource: &'a ResourceStatus,
    connection: &ConnectionStatus,
) -> Option<&'a ConnectionStatus> {
    let mut connections = resource.connections.iter();
    connections.find(|it| it.peer_node_id == connection.peer_node_id && it.name == connection.name)
}

fn connection_keys(line: &mut Line, resource: &str, connection: &ConnectionStatus) {
    line.key("name", resource);
    line.key("peer-node-id", connection.peer_node_id);
    line.key("conn-name", &connection.name);
}

fn path_keys(line: &mut Line, path: &PathStatus) {
    for (key, address) in [("local", path.own_address), ("peer", path.peer_address)] {
        let family = if address.is_ipv4() { "ipv4" } else { "ipv6" };
        line.key(key, format!("{family}:{address}"));
    }
}

fn addresses(path: &PathStatus) -> [std::net::SocketAddr; 2] {
    [path.own_address, path.peer_address]
}
