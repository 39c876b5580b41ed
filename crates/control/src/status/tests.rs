//! The printers against DRBD's own output, `tests/golden/status-*`.

use std::collections::BTreeSet;

use super::*;
use crate::names::{ConnectionState, DiskState, ReplicationState, Role};

/// A volume with the figures of DRBD's own tests.
pub(crate) fn volume(number: u16, disk_state: DiskState, quorum: bool) -> VolumeStatus {
    let diskless = disk_state == DiskState::Diskless;
    VolumeStatus {
        minor: Minor(1000 + u32::from(number)),
        backing_dev: (!diskless).then(|| "/dev/sda".to_owned()),
        quorum,
        size_bytes: 5 << 10,
        read_bytes: 10 << 10,
        written_bytes: 15 << 10,
        al_writes: 40,
        bm_writes: 50,
        upper_pending: 60,
        lower_pending: 70,
        ..samples::volume(number, disk_state)
    }
}

/// What is told of it towards a peer.
pub(crate) fn peer_device(
    number: u16,
    state: ReplicationState,
    disk: DiskState,
) -> PeerDeviceStatus {
    PeerDeviceStatus {
        received_bytes: 5 << 10,
        sent_bytes: 10 << 10,
        pending: 30,
        unacked: 40,
        ..samples::peer_device(number, state, disk)
    }
}

fn syncing(number: u16) -> PeerDeviceStatus {
    let device = peer_device(number, ReplicationState::SyncSource, DiskState::Inconsistent);
    let resync = ResyncProgress {
        total_bytes: 8000 * 512,
        window1_ms: 100,
        window1_bytes: 50 * 512,
        ..ResyncProgress::default()
    };
    PeerDeviceStatus { out_of_sync_bytes: 2500 << 10, resync: Some(resync), ..device }
}

/// One peer.
pub(crate) fn resource(
    state: ConnectionState,
    volumes: Vec<VolumeStatus>,
    peer_devices: Vec<PeerDeviceStatus>,
) -> ResourceStatus {
    let connection = ConnectionStatus {
        ap_in_flight_bytes: 10 * 512,
        rs_in_flight_bytes: 20 * 512,
        paths: vec![PathStatus {
            own_address: "1.2.3.4:7789".parse().unwrap(),
            peer_address: "5.6.7.8:7790".parse().unwrap(),
            established: true,
        }],
        peer_devices,
        ..samples::connection("some-peer", state)
    };
    ResourceStatus {
        node_id: NodeId(4),
        volumes,
        connections: vec![connection],
        ..samples::resource("some-resource", Role::Primary)
    }
}

fn statuses() -> [(&'static str, ResourceStatus); 5] {
    use ConnectionState::{Connected, Connecting};
    use DiskState::{DUnknown, Diskless, UpToDate};
    use ReplicationState::{Established, Off};
    let first = |quorum| vec![volume(0, UpToDate, quorum)];
    let off = || vec![peer_device(0, Off, DUnknown)];
    let established = || peer_device(0, Established, UpToDate);
    let two = vec![volume(0, UpToDate, true), volume(1, Diskless, true)];
    [
        ("ok", resource(Connected, first(true), vec![established()])),
        ("off", resource(Connecting, first(true), off())),
        ("noq", resource(Connecting, first(false), off())),
        ("sync", resource(Connected, first(true), vec![syncing(0)])),
        ("two", resource(Connected, two, vec![established(), syncing(1)])),
    ]
}

fn golden(name: &str) -> String {
    let path = format!("{}/tests/golden/status-{name}", env!("CARGO_MANIFEST_DIR"));
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path}: {error}"))
}

#[test]
fn text_is_drbds_in_every_form() {
    let plain = TextOptions::default();
    let verbose = TextOptions { verbose: true, ..plain };
    let statistics = TextOptions { statistics: true, ..verbose };
    for (name, status) in statuses() {
        let forms = [("", plain), ("-verbose", verbose), ("-verbose-statistics", statistics)];
        for (suffix, options) in forms {
            let name = format!("{name}{suffix}.txt");
            assert_eq!(text(std::slice::from_ref(&status), options), golden(&name), "{name}");
        }
    }
}

#[test]
fn json_is_drbds_with_keys_added() {
    let added = [
        "backing-dev",
        "al-suspended",
        "blocked",
        "read-errors",
        "write-errors",
        "flush-errors",
        "meta-errors",
        "disk-timeouts",
        "requests",
        "requests-us",
        "protocol",
        "sync-state",
        "disconnect-reason",
        "lag-bytes",
        "lag-ms",
    ];
    for (name, status) in statuses() {
        let ours = json(std::slice::from_ref(&status));
        serde_json::from_str::<serde_json::Value>(&ours).expect("it is JSON");
        let is_added = |line: &&str| added.iter().any(|key| line.contains(&format!("\"{key}\":")));
        assert_eq!(ours.lines().filter(is_added).count(), 5 + 10 * status.volumes.len());
        let without: Vec<&str> = ours.lines().filter(|line| !is_added(line)).collect();
        // A key is added behind the last one of a device, which then ends in a comma.
        let without = without.join("\n").replace("70,\n    }", "70\n    }");
        let theirs = golden(&format!("{name}.json"));
        let theirs: Vec<&str> = theirs.lines().map(str::trim_end).collect();
        assert_eq!(without, theirs.join("\n"), "{name}");
    }
}

#[test]
fn nothing_configured_prints_as_drbd() {
    assert_eq!(text(&[], TextOptions::default()), "# No currently configured DRBD found.\n");
    assert_eq!(json(&[]), "[\n]\n\n");
}

fn divergence() -> Divergence {
    Divergence {
        volume: VolumeNumber(0),
        reason: "both were \"written\"".to_owned(),
        rule: "bitmap-both".to_owned(),
        policy: Some("after-sb-1pri consensus".to_owned()),
        own_was_primary: true,
        peer_was_primary: false,
        own_loss_blocks: 3,
        peer_loss_blocks: 7,
    }
}

#[test]
fn split_brain_shows_on_the_connection() {
    let (_, mut status) = statuses().into_iter().nth(1).unwrap();
    let connection = &mut status.connections[0];
    connection.connection_state = ConnectionState::StandAlone;
    connection.disconnect_reason = Some("the session ended".to_owned());
    connection.authentication_error = Some("a does not know the shared-secret of b".to_owned());
    connection.sync_state = SyncState::SplitBrain(divergence());
    let text = text(std::slice::from_ref(&status), TextOptions::default());
    let expected = [
        "  some-peer connection:StandAlone sync-state:SplitBrain own-loss-blocks:3",
        "      peer-loss-blocks:7 reason:\"both were \\\"written\\\"\"\n",
    ]
    .join("\n");
    assert!(text.contains(&expected), "{text}");
    let value: serde_json::Value = serde_json::from_str(&json(&[status])).unwrap();
    let connection = &value[0]["connections"][0];
    assert_eq!(connection["sync-state"], "SplitBrain");
    assert_eq!(connection["sync-state-reason"], "both were \"written\"");
    assert_eq!(connection["own-loss-blocks"], 3);
    assert_eq!(connection["peer-loss-blocks"], 7);
    assert_eq!(connection["own-loss-bytes"], 12288);
    assert_eq!(connection["peer-loss-bytes"], 28672);
    assert_eq!(connection["sync-state-rule"], "bitmap-both");
    assert_eq!(connection["sync-state-policy"], "after-sb-1pri consensus");
    assert_eq!(connection["own-primary-at-fork"], true);
    assert_eq!(connection["peer-primary-at-fork"], false);
    assert_eq!(connection["disconnect-reason"], "the session ended");
    let error = "a does not know the shared-secret of b";
    assert_eq!(connection["authentication-error"], error);
}

#[test]
fn a_reason_shows_only_where_the_connection_rests() {
    let (_, mut status) = statuses().into_iter().nth(1).unwrap();
    status.connections[0].disconnect_reason = Some("ping timed out".to_owned());
    let shown = |status: &ResourceStatus| {
        text(std::slice::from_ref(status), TextOptions::default()).contains("reason:")
    };
    assert!(!shown(&status));
    status.connections[0].connection_state = ConnectionState::StandAlone;
    assert!(shown(&status));
}

#[test]
fn resync_numbers_survive_extremes() {
    let mut device = syncing(0);
    assert_eq!(device.seconds_left(), Some(10));
    device.resync.as_mut().unwrap().window1_bytes = 0;
    assert_eq!(device.seconds_left(), None);
    device.out_of_sync_bytes = u64::MAX;
    device.resync.as_mut().unwrap().window1_bytes = 1;
    device.resync.as_mut().unwrap().window1_ms = u64::MAX;
    assert_eq!(device.seconds_left(), None, "longer than a u64 of seconds");
    assert_eq!(device.percent_done(), Some(0.0), "more is out of sync than at the beginning");
    let mut status = statuses()[0].1.clone();
    status.volumes[0].size_bytes = 0;
    status.connections[0].peer_devices = vec![device];
    let value: serde_json::Value = serde_json::from_str(&json(&[status])).unwrap();
    let device = &value[0]["connections"][0]["peer_devices"][0];
    assert_eq!(device["percent-in-sync"], 0.0);
    assert_eq!(device["estimated-seconds-to-finish"], 987_654_321);
}

#[test]
fn reasons_for_suspension_come_in_drbds_order() {
    let all = Suspended { user: true, no_data: true, fencing: true, quorum: true };
    assert_eq!(all.text(), "user,no-data,fencing,quorum");
    assert_eq!(Suspended::default().text(), "no");
}

fn verifying() -> ResourceStatus {
    let verify = VerifyProgress {
        start_bytes: 1 << 20,
        stop_bytes: 5 << 20,
        position_bytes: 2 << 20,
        elapsed_ms: 1000,
    };
    let device = peer_device(0, ReplicationState::VerifyS, DiskState::UpToDate);
    let device = PeerDeviceStatus { verify: Some(verify), verify_found_blocks: 3, ..device };
    let volumes = vec![volume(0, DiskState::UpToDate, true)];
    resource(ConnectionState::Connected, volumes, vec![device])
}

#[test]
fn a_verify_is_told_as_drbd_does_and_what_it_found_beside_it() {
    let status = [verifying()];
    let shown = text(&status, TextOptions::default());
    let line = "replication:VerifyS peer-disk:UpToDate done:25.00";
    assert!(shown.contains(line), "{shown}");
    assert!(shown.contains("verify-found-blocks:3"), "{shown}");
    let value: serde_json::Value = serde_json::from_str(&json(&status)).expect("it is JSON");
    let device = &value[0]["connections"][0]["peer_devices"][0];
    for (key, expected) in [
        ("ov-start-sector", 2048),
        ("ov-stop-sector", 10240),
        ("ov-position", 4096),
        ("ov-left", 6144),
        ("ov-skipped", 0),
        ("estimated-seconds-to-finish", 3),
        ("verify-found-blocks", 3),
    ] {
        assert_eq!(device[key], expected, "{key}");
    }
    assert_eq!(device["has-online-verify-details"], true);
}

/// A status in which every key shows.
fn everything() -> Vec<ResourceStatus> {
    let mut all: Vec<ResourceStatus> = statuses().into_iter().map(|(_, status)| status).collect();
    let mut verifying = verifying();
    verifying.connections[0].sync_state = SyncState::Unrelated(divergence());
    verifying.connections[0].authentication_error = Some(String::new());
    all.push(verifying);
    all
}

fn schema() -> serde_json::Value {
    let text = include_str!("../../../../docs/status.schema.json");
    serde_json::from_str(text).expect("the schema is JSON")
}

#[test]
fn the_schema_has_every_key_and_no_other() {
    use serde_json::Value;
    fn collect<'a>(value: &'a Value, keys: &mut BTreeSet<&'a str>) {
        match value {
            Value::Array(elements) => elements.iter().for_each(|it| collect(it, keys)),
            Value::Object(members) => {
                keys.extend(members.keys().map(String::as_str));
                members.values().for_each(|it| collect(it, keys));
            }
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
        }
    }
    let said = serde_json::from_str(&json(&everything())).expect("it is JSON");
    let mut written = BTreeSet::new();
    collect(&said, &mut written);
    let schema = schema();
    let objects = schema["$defs"].as_object().expect("it defines objects").values();
    let properties = objects.flat_map(|it| it["properties"].as_object().expect("it has some"));
    let told: BTreeSet<&str> = properties.map(|(key, _)| key.as_str()).collect();
    assert_eq!(told, written);
}

#[test]
fn the_schema_has_every_name_of_a_state() {
    let schema = schema();
    let told = |object: &str, key: &str| schema["$defs"][object]["properties"][key]["enum"].clone();
    let roles: Vec<&str> = Role::ALL.iter().map(|it| it.name()).collect();
    let disks: Vec<&str> = DiskState::ALL.iter().map(|it| it.name()).collect();
    let connections: Vec<&str> = ConnectionState::ALL.iter().map(|it| it.name()).collect();
    let replications: Vec<&str> = ReplicationState::ALL.iter().map(|it| it.name()).collect();
    assert_eq!(told("resource", "role"), serde_json::json!(roles));
    assert_eq!(told("connection", "peer-role"), serde_json::json!(roles));
    assert_eq!(told("device", "disk-state"), serde_json::json!(disks));
    assert_eq!(told("peer_device", "peer-disk-state"), serde_json::json!(disks));
    assert_eq!(told("connection", "connection-state"), serde_json::json!(connections));
    assert_eq!(told("peer_device", "replication-state"), serde_json::json!(replications));
}
