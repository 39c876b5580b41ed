//! Why a resource is not as it should be, in sentences, with the command that helps.
//!
//! Pure: what a status holds, nothing else. Findings come in the order in which they are worth
//! being looked at: what stops I/O, then links, then disks, then what is out of sync.

use std::fmt::Write as _;

use super::{
    ConnectionStatus, PeerDeviceStatus, ResourceStatus, Suspended, SyncState, VolumeStatus,
    size_text,
};
use crate::events::Promotion;
use crate::names::{ConnectionState, DiskState, ReplicationState, Role};

/// Something that is not as it should be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// What it is about: the resource, a peer, a volume.
    pub subject: String,
    /// What is wrong, and what is known of its cause; a sentence without a full stop.
    pub what: String,
    /// What to do; `None` where it is enough to wait.
    pub help: Option<String>,
}

/// Everything that keeps a resource from being connected, UpToDate, promotable and in sync; nothing
/// where it is all of that.
pub fn findings(resource: &ResourceStatus) -> Vec<Finding> {
    let mut found = frozen(resource);
    for connection in &resource.connections {
        found.extend(of_connection(resource, connection));
    }
    for volume in &resource.volumes {
        found.extend(of_disk(resource, volume));
    }
    for connection in &resource.connections {
        for device in &connection.peer_devices {
            found.extend(of_replication(resource, connection, device));
        }
    }
    found
}

/// The findings as text: a line about the resource, then two or three for each.
pub fn why(resource: &ResourceStatus) -> String {
    let found = findings(resource);
    let mut text = format!("{} is {}", resource.name, headline(resource));
    if found.is_empty() {
        text.push_str(": connected, UpToDate and in sync.\n");
        return text;
    }
    text.push_str(".\n");
    for Finding { subject, what, help } in found {
        let _ = writeln!(text, "  {subject}: {what}.");
        if let Some(help) = help {
            let _ = writeln!(text, "    -> {help}");
        }
    }
    text
}

/// Its role, and whether that can be Primary.
fn headline(resource: &ResourceStatus) -> String {
    if resource.role == Role::Primary {
        return "Primary".to_owned();
    }
    let primary = resource.connections.iter().find(|it| it.peer_role == Role::Primary);
    if let Some(primary) = primary {
        return format!("Secondary, and cannot be promoted while {} is Primary", primary.name);
    }
    let can = Promotion::of(resource);
    if can.may_promote {
        "Secondary, and can be promoted".to_owned()
    } else if resource.force_io_failures {
        "Secondary, and cannot be promoted before every client of its forced demotion has gone"
            .to_owned()
    } else {
        "Secondary, and cannot be promoted: no UpToDate data are within reach".to_owned()
    }
}

fn frozen(resource: &ResourceStatus) -> Vec<Finding> {
    let Suspended { user, no_data, fencing, quorum } = resource.suspended;
    let name = &resource.name;
    let causes = [
        (user, "suspend-io was said", ""),
        (no_data, "no UpToDate data are within reach", "attach a disk or connect a peer; or "),
        (
            fencing,
            "a peer that is away is being fenced, and the answer is not there",
            "see the handler fence-peer; if the peer is certainly down: ",
        ),
        (quorum, "quorum is lost", "connect peers; or "),
    ];
    let set = causes.into_iter().filter(|(is_set, ..)| *is_set);
    set.map(|(_, cause, before)| Finding {
        subject: "I/O".to_owned(),
        what: format!("frozen: {cause}"),
        help: Some(format!("{before}tandemadm resume-io {name}")),
    })
    .collect()
}

fn of_connection(resource: &ResourceStatus, connection: &ConnectionStatus) -> Option<Finding> {
    let (name, peer) = (&resource.name, &connection.name);
    let finding = |what: String, help: Option<String>| {
        Some(Finding { subject: peer.clone(), what: format!("not connected: {what}"), help })
    };
    match &connection.sync_state {
        SyncState::SplitBrain(_) => {
            return finding(
                "split brain, both nodes wrote since they parted".to_owned(),
                Some(format!("tandemadm split-brain show {name}")),
            );
        }
        SyncState::Unrelated(_) => {
            return finding(
                "the data of the two nodes never were one".to_owned(),
                Some(format!(
                    "on the node whose data are to be given up: tandemadm down {name}, then \
                     create-md --force {name}, then up {name}"
                )),
            );
        }
        SyncState::Normal => {}
    }
    let reason = connection.disconnect_reason.as_deref();
    match connection.connection_state {
        ConnectionState::Connected => None,
        ConnectionState::StandAlone | ConnectionState::Disconnecting => {
            let reason = reason.map_or_else(
                || "this node does not try, since nobody has said connect".to_owned(),
                |reason| format!("this node does not try any more ({reason})"),
            );
            finding(reason, Some(format!("tandemadm connect {name}:{peer}")))
        }
        ConnectionState::Connecting
        | ConnectionState::Unconnected
        | ConnectionState::Timeout
        | ConnectionState::BrokenPipe
        | ConnectionState::NetworkFailure
        | ConnectionState::ProtocolError
        | ConnectionState::TearDown => {
            if let Some(error) = &connection.authentication_error {
                return finding(
                    format!("authentication fails, and the nodes keep trying ({error})"),
                    Some(format!(
                        "give both nodes the same cram-hmac-alg and shared-secret (section net); \
                         where that was changed: tandemadm adjust {name}"
                    )),
                );
            }
            let address = connection.paths.first().map(|path| path.peer_address);
            let address = address.map(|address| format!(" at {address}")).unwrap_or_default();
            let reason = reason.map(|reason| format!(" ({reason})")).unwrap_or_default();
            finding(
                format!("this node keeps trying to reach it{address}{reason}"),
                Some(format!(
                    "there: is tandemd running, and the resource up (tandemadm up {name})? \
                     Between: a firewall?"
                )),
            )
        }
    }
}

fn of_disk(resource: &ResourceStatus, volume: &VolumeStatus) -> Option<Finding> {
    let place = format!("{}/{}", resource.name, volume.volume);
    let others = "connect a peer that has newer data; if there is none any more: tandemadm primary \
                  --force";
    let force = format!("{others} {}", resource.name);
    let (what, help) = match volume.disk_state {
        DiskState::UpToDate | DiskState::DUnknown => return None,
        DiskState::Diskless if volume.client => return None,
        DiskState::Diskless => (
            "no disk is attached".to_owned(),
            Some(format!("tandemadm attach {place} (the daemon's log says why it was given up)")),
        ),
        DiskState::Attaching | DiskState::Negotiating => ("is being attached".to_owned(), None),
        DiskState::Detaching => ("is being detached".to_owned(), None),
        DiskState::Failed => (
            format!("the disk has failed ({})", errors(volume)),
            Some(format!(
                "replace it and say tandemadm create-md {place}, or mend it; then tandemadm attach \
                 {place}"
            )),
        ),
        DiskState::Inconsistent if is_target(resource, volume) => return None,
        DiskState::Inconsistent => {
            ("is half a copy, and no resync runs that would complete it".to_owned(), Some(force))
        }
        DiskState::Outdated => ("is Outdated: a peer has newer data".to_owned(), Some(force)),
        DiskState::Consistent => (
            "is Consistent: whether a peer has newer data is not known before they have met"
                .to_owned(),
            Some(force),
        ),
    };
    Some(Finding { subject: format!("volume {}", volume.volume), what, help })
}

/// Whether a peer's data are being copied to it, or are to be.
fn is_target(resource: &ResourceStatus, volume: &VolumeStatus) -> bool {
    let mut devices = resource.connections.iter().flat_map(|it| &it.peer_devices);
    devices.any(|device| {
        device.volume == volume.volume
            && matches!(
                device.replication_state,
                ReplicationState::StartingSyncT
                    | ReplicationState::WFBitMapT
                    | ReplicationState::WFSyncUUID
                    | ReplicationState::SyncTarget
                    | ReplicationState::PausedSyncT
                    | ReplicationState::Behind
            )
    })
}

fn errors(volume: &VolumeStatus) -> String {
    let counts = volume.io_errors;
    let named = [
        (counts.reads, "read errors"),
        (counts.writes, "write errors"),
        (counts.flushes, "flush errors"),
        (counts.metadata, "metadata errors"),
        (counts.timeouts, "timeouts"),
    ];
    let set: Vec<String> = (named.iter().filter(|(count, _)| *count > 0))
        .map(|(count, name)| format!("{count} {name}"))
        .collect();
    if set.is_empty() { "no error is on record".to_owned() } else { set.join(", ") }
}

fn of_replication(
    resource: &ResourceStatus,
    connection: &ConnectionStatus,
    device: &PeerDeviceStatus,
) -> Option<Finding> {
    let peer = &connection.name;
    let place = format!("{}:{peer}/{}", resource.name, device.volume);
    let (what, help) = match device.replication_state {
        ReplicationState::Off if connection.connection_state == ConnectionState::Connected => {
            return of_peer_disk(connection, device);
        }
        ReplicationState::Off if device.out_of_sync_bytes > 0 => {
            (format!("{} are to be copied once they meet", size(device.out_of_sync_bytes)), None)
        }
        ReplicationState::Off => return None,
        ReplicationState::Established if device.verify_found_blocks > 0 => (
            format!("a verify has found {} that differ", size(device.verify_found_blocks * 4096)),
            Some(format!(
                "to copy them, on the node whose data are right: tandemadm disconnect {0}:{peer}, \
                 then connect {0}:{peer}",
                resource.name
            )),
        ),
        ReplicationState::Established => return of_peer_disk(connection, device),
        ReplicationState::VerifyS | ReplicationState::VerifyT => return None,
        ReplicationState::StartingSyncS
        | ReplicationState::StartingSyncT
        | ReplicationState::WFBitMapS
        | ReplicationState::WFBitMapT
        | ReplicationState::WFSyncUUID => ("a resync is about to begin".to_owned(), None),
        ReplicationState::SyncSource | ReplicationState::SyncTarget => (progress(device), None),
        ReplicationState::PausedSyncS | ReplicationState::PausedSyncT => paused(device, &place),
        ReplicationState::Ahead => (
            format!(
                "the link is congested: {} are to be copied later",
                size(device.out_of_sync_bytes)
            ),
            None,
        ),
        ReplicationState::Behind => {
            ("the link is congested: the peer has gone ahead".to_owned(), None)
        }
    };
    Some(Finding { subject: format!("volume {} with {peer}", device.volume), what, help })
}

/// A peer's disk that is not as good as it should be, though nothing is being done about it.
fn of_peer_disk(connection: &ConnectionStatus, device: &PeerDeviceStatus) -> Option<Finding> {
    let state = device.peer_disk_state;
    if state == DiskState::UpToDate || device.peer_client {
        return None;
    }
    Some(Finding {
        subject: format!("volume {} with {}", device.volume, connection.name),
        what: format!("its disk is {state} there, so writes are on one disk only"),
        help: Some(format!("ask there: tandemadm why, on {}", connection.name)),
    })
}

fn progress(device: &PeerDeviceStatus) -> String {
    let way = if device.replication_state == ReplicationState::SyncSource { "to" } else { "from" };
    let done = device.percent_done().unwrap_or(0.0);
    let left = device
        .seconds_left()
        .map_or_else(|| "no end in sight".to_owned(), |seconds| format!("{seconds} s to go"));
    format!("a resync {way} the peer is {done:.1} % done, {left}")
}

fn paused(device: &PeerDeviceStatus, place: &str) -> (String, Option<String>) {
    let left = size(device.out_of_sync_bytes);
    let reasons = device.resync_suspended;
    let (cause, help) = if reasons.user {
        ("pause-sync was said here", Some(format!("tandemadm resume-sync {place}")))
    } else if reasons.peer {
        ("the peer pauses it", Some("there: tandemadm why, or resume-sync".to_owned()))
    } else {
        ("another volume's resync comes first (resync-after)", None)
    };
    (format!("a resync is paused with {left} to go: {cause}"), help)
}

/// Bytes for people.
fn size(bytes: u64) -> String {
    size_text(bytes as f64)
}

#[cfg(test)]
mod tests;
