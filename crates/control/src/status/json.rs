//! `status --json`: DRBD's keys in DRBD's order, and a few more.
//!
//! Written by hand because numbers keep two decimals (`100.00`) and readers of DRBD's output know
//! its layout. Strings are escaped, which DRBD forgets. Keys that DRBD lacks: `backing-dev`,
//! `al-suspended`, `blocked`, `read-errors`, `write-errors`, `flush-errors`, `meta-errors`,
//! `disk-timeouts`, `requests`, `requests-us` of a device; `protocol`, `sync-state`,
//! `sync-state-reason`, `sync-state-volume`, `sync-state-rule`, `sync-state-policy`,
//! `own-loss-blocks`, `peer-loss-blocks`, `own-loss-bytes`, `peer-loss-bytes`,
//! `own-primary-at-fork`, `peer-primary-at-fork`, `disconnect-reason`, `authentication-error`,
//! `lag-bytes`, `lag-ms` of a connection.

use std::net::SocketAddr;

use super::derived::STALLED_SECONDS;
use super::{
    ConnectionStatus, PathStatus, PeerDeviceStatus, ResourceStatus, ResyncProgress, VerifyProgress,
    VolumeStatus,
};

/// The JSON array of all resources.
pub fn json(resources: &[ResourceStatus]) -> String {
    let written: Vec<String> = resources.iter().map(resource).collect();
    format!("[\n{}\n]\n\n", written.join(",\n")).replacen("[\n\n]", "[\n]", 1)
}

/// An object under construction.
struct Object {
    out: String,
    indent: usize,
}

impl Object {
    fn new(indent: usize) -> Self {
        Self { out: format!("{:indent$}{{", ""), indent }
    }

    fn raw(mut self, key: &str, value: impl AsRef<str>) -> Self {
        if !self.out.ends_with('{') {
            self.out.push(',');
        }
        let (indent, value) = (self.indent + 2, value.as_ref());
        self.out.push_str(&format!("\n{:indent$}\"{key}\": {value}", ""));
        self
    }

    fn number(self, key: &str, value: impl Into<u64>) -> Self {
        let value: u64 = value.into();
        self.raw(key, value.to_string())
    }

    fn decimal(self, key: &str, value: f64) -> Self {
        self.raw(key, format!("{value:.2}"))
    }

    fn flag(self, key: &str, value: bool) -> Self {
        self.raw(key, value.to_string())
    }

    fn string(self, key: &str, value: impl AsRef<str>) -> Self {
        self.raw(key, serde_json::Value::from(value.as_ref()).to_string())
    }

    fn string_or_null(self, key: &str, value: Option<&str>) -> Self {
        match value {
            Some(value) => self.string(key, value),
            None => self.raw(key, "null"),
        }
    }

    fn array(self, key: &str, elements: &[String]) -> Self {
        match elements {
            [] => self.raw(key, "[]"),
            [..] => self.raw(key, format!("[\n{} ]", elements.join(",\n"))),
        }
    }

    fn end(self) -> String {
        let indent = self.indent;
        format!("{}\n{:indent$}}}", self.out, "")
    }

    /// As a value of another object.
    fn end_nested(self) -> String {
        self.end().trim_start().to_owned()
    }
}

fn resource(resource: &ResourceStatus) -> String {
    let devices: Vec<String> = resource.volumes.iter().map(device).collect();
    let connections: Vec<String> =
        resource.connections.iter().map(|found| connection(found, resource)).collect();
    Object::new(0)
        .string("name", &resource.name)
        .number("node-id", resource.node_id.0)
        .string("role", resource.role.name())
        .flag("suspended", resource.suspended.any())
        .flag("suspended-user", resource.suspended.user)
        .flag("suspended-no-data", resource.suspended.no_data)
        .flag("suspended-fencing", resource.suspended.fencing)
        .flag("suspended-quorum", resource.suspended.quorum)
        .flag("force-io-failures", resource.force_io_failures)
        .string("write-ordering", resource.write_ordering.name())
        .array("devices", &devices)
        .array("connections", &connections)
        .end()
}

fn device(volume: &VolumeStatus) -> String {
    Object::new(4)
        .number("volume", volume.volume.0)
        .number("minor", volume.minor.0)
        .string("disk-state", volume.disk_state.name())
        .flag("client", volume.client)
        .flag("open", volume.open)
        .flag("quorum", volume.quorum)
        .number("size", volume.size_bytes / 1024)
        .number("read", volume.read_bytes / 1024)
        .number("written", volume.written_bytes / 1024)
        .number("al-writes", volume.al_writes)
        .number("bm-writes", volume.bm_writes)
        .number("upper-pending", volume.upper_pending)
        .number("lower-pending", volume.lower_pending)
        .string_or_null("backing-dev", volume.backing_dev.as_deref())
        .flag("al-suspended", volume.al_suspended)
        .string("blocked", volume.blocked.text())
        .number("read-errors", volume.io_errors.reads)
        .number("write-errors", volume.io_errors.writes)
        .number("flush-errors", volume.io_errors.flushes)
        .number("meta-errors", volume.io_errors.metadata)
        .number("disk-timeouts", volume.io_errors.timeouts)
        .number("requests", volume.requests)
        .number("requests-us", volume.requests_us)
        .end()
}

fn connection(connection: &ConnectionStatus, resource: &ResourceStatus) -> String {
    let paths: Vec<String> = connection.paths.iter().map(path).collect();
    let size = |peer_device: &PeerDeviceStatus| {
        let mut volumes = resource.volumes.iter();
        let volume = volumes.find(|volume| volume.volume == peer_device.volume);
        volume.map_or(0, |volume| volume.size_bytes)
    };
    let peer_devices: Vec<String> =
        connection.peer_devices.iter().map(|found| peer_device(found, size(found))).collect();
    let divergence = connection.sync_state.divergence();
    let mut object = Object::new(4)
        .number("peer-node-id", connection.peer_node_id.0)
        .string("name", &connection.name)
        .string("connection-state", connection.connection_state.name())
        .flag("congested", connection.congested)
        .string("peer-role", connection.peer_role.name())
        .flag("tls", connection.tls)
        .number("ap-in-flight", connection.ap_in_flight_bytes / 512)
        .number("rs-in-flight", connection.rs_in_flight_bytes / 512)
        .string("protocol", connection.protocol.name())
        .string("sync-state", connection.sync_state.name());
    if let Some(divergence) = divergence {
        object = object
            .string("sync-state-reason", &divergence.reason)
            .number("sync-state-volume", divergence.volume.0)
            .string("sync-state-rule", &divergence.rule)
            .string_or_null("sync-state-policy", divergence.policy.as_deref())
            .number("own-loss-blocks", divergence.own_loss_blocks)
            .number("peer-loss-blocks", divergence.peer_loss_blocks)
            .number("own-loss-bytes", divergence.own_loss_bytes())
            .number("peer-loss-bytes", divergence.peer_loss_bytes())
            .flag("own-primary-at-fork", divergence.own_was_primary)
            .flag("peer-primary-at-fork", divergence.peer_was_primary);
    }
    object = object.string_or_null("disconnect-reason", connection.disconnect_reason.as_deref());
    if let Some(error) = &connection.authentication_error {
        object = object.string("authentication-error", error);
    }
    object
        .number("lag-bytes", connection.lag_bytes)
        .number("lag-ms", connection.lag_ms)
        .array("paths", &paths)
        .array("peer_devices", &peer_devices)
        .end()
}

fn path(path: &PathStatus) -> String {
    let host = |address: SocketAddr| {
        let family = if address.is_ipv4() { "ipv4" } else { "ipv6" };
        Object::new(10)
            .string("address", address.ip().to_string())
            .number("port", address.port())
            .string("family", family)
            .end_nested()
    };
    Object::new(8)
        .raw("this_host", host(path.own_address))
        .raw("remote_host", host(path.peer_address))
        .flag("established", path.established)
        .end()
}

fn peer_device(peer_device: &PeerDeviceStatus, size_bytes: u64) -> String {
    let object = Object::new(8)
        .number("volume", peer_device.volume.0)
        .string("replication-state", peer_device.replication_state.name())
        .string("peer-disk-state", peer_device.peer_disk_state.name())
        .flag("peer-client", peer_device.peer_client)
        .string("resync-suspended", peer_device.resync_suspended.text())
        .number("received", peer_device.received_bytes / 1024)
        .number("sent", peer_device.sent_bytes / 1024)
        .number("out-of-sync", peer_device.out_of_sync_bytes / 1024)
        .number("pending", peer_device.pending)
        .number("unacked", peer_device.unacked)
        .flag("has-sync-details", peer_device.resync.is_some())
        .flag("has-online-verify-details", peer_device.verify.is_some())
        .decimal("percent-in-sync", peer_device.percent_in_sync(size_bytes));
    let object = if peer_device.verify_found_blocks > 0 {
        object.number("verify-found-blocks", peer_device.verify_found_blocks)
    } else {
        object
    };
    match (&peer_device.resync, &peer_device.verify) {
        (Some(resync), _) => sync_details(object, peer_device, resync).end(),
        (None, Some(verify)) => verify_details(object, peer_device, verify).end(),
        (None, None) => object.end(),
    }
}

fn verify_details(object: Object, of: &PeerDeviceStatus, verify: &VerifyProgress) -> Object {
    let done = verify.done_bytes() / 512;
    object
        .number("rs-total", verify.total_bytes() / 512)
        .number("rs-dt-start-ms", verify.elapsed_ms)
        .number("rs-paused-ms", 0_u64)
        .number("rs-dt0-ms", verify.elapsed_ms)
        .number("rs-db0-sectors", done)
        .number("rs-dt1-ms", verify.elapsed_ms)
        .number("rs-db1-sectors", done)
        .number("ov-start-sector", verify.start_bytes / 512)
        .number("ov-stop-sector", verify.stop_bytes / 512)
        .number("ov-position", verify.position_bytes / 512)
        .number("ov-left", verify.left_bytes() / 512)
        .number("ov-skipped", 0_u64)
        .decimal("want", 0.0)
        .decimal("db0/dt0 [MiB/s]", verify.mib_per_second())
        .decimal("db1/dt1 [MiB/s]", verify.mib_per_second())
        .number("estimated-seconds-to-finish", verify.seconds_left().unwrap_or(STALLED_SECONDS))
        .decimal("db/dt [MiB/s]", verify.mib_per_second())
        .decimal("percent-resync-done", of.percent_done().unwrap_or(100.0))
}

fn sync_details(object: Object, of: &PeerDeviceStatus, resync: &ResyncProgress) -> Object {
    let left = of.out_of_sync_bytes;
    object
        .number("rs-total", resync.total_bytes / 512)
        .number("rs-dt-start-ms", resync.elapsed_ms)
        .number("rs-paused-ms", resync.paused_ms)
        .number("rs-dt0-ms", resync.window0_ms)
        .number("rs-db0-sectors", resync.window0_bytes / 512)
        .number("rs-dt1-ms", resync.window1_ms)
        .number("rs-db1-sectors", resync.window1_bytes / 512)
        .number("rs-failed", resync.failed_bytes / 512)
        .number("rs-same-csum", resync.same_checksum_bytes / 512)
        .decimal("want", resync.wanted_mib_per_second())
        .decimal("db0/dt0 [MiB/s]", resync.recent_mib_per_second())
        .decimal("db1/dt1 [MiB/s]", resync.window_mib_per_second())
        .number("estimated-seconds-to-finish", of.seconds_left().unwrap_or(STALLED_SECONDS))
        .decimal("db/dt [MiB/s]", resync.mean_mib_per_second(left))
        .decimal("percent-resync-done", of.percent_done().unwrap_or(100.0))
}
