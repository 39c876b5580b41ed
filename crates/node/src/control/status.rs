//! The state of resources as the admin command and NBD clients are told it.
//!
//! What the core reports, joined with what only the configuration knows. Asked with a deadline: a
//! shard that is stuck must not keep the state of others from being seen.

use std::time::Duration;

use tandem_control::config::{PeerConfig, PeerPath, ResourceConfig};
use tandem_control::names;
use tandem_control::status as shown;
use tandem_control::{NodeId, VolumeNumber};
use tandem_replica as core;
use tandem_replica::wire;
use tokio::time::timeout;

use super::Control;
use super::refusal::Refused;
use super::registry::Running;
use crate::limits;
use crate::mail::Mail;

/// The state of one resource, from its shard.
pub(crate) async fn of_core(
    control: &Control,
    running: &Running,
) -> Result<core::ResourceStatus, Refused> {
    let status = control.ask(running, |resource, reply| Mail::Status { resource, reply });
    match timeout(limits::STATUS_DEADLINE, status).await {
        Ok(status) => Ok(status?),
        Err(_) => Err(Refused::Busy(running.config.name.clone())),
    }
}

/// The state of one resource, as it is shown.
pub(crate) async fn of(
    control: &Control,
    running: &Running,
) -> Result<shown::ResourceStatus, Refused> {
    let mut status = resource(&running.config, &of_core(control, running).await?);
    for connection in &mut status.connections {
        if connection.connection_state != names::ConnectionState::Connected {
            let peer = wire::NodeId(connection.peer_node_id.0);
            connection.authentication_error = control.registry.authentication_error(running, peer);
        }
    }
    Ok(status)
}

/// What a list of exports says of a volume: `r0, Primary, UpToDate`.
pub(crate) async fn describe(
    control: &Control,
    running: &Running,
    volume: wire::VolumeNumber,
) -> String {
    let name = &running.config.name;
    let Ok(status) = of_core(control, running).await else { return name.clone() };
    let disk = status.volumes.iter().find(|it| it.number == volume).map(|it| it.disk.name());
    format!("{name}, {}, {}", status.role, disk.unwrap_or("Diskless"))
}

pub(crate) fn resource(
    config: &ResourceConfig,
    status: &core::ResourceStatus,
) -> shown::ResourceStatus {
    let volumes = status.volumes.iter().map(|it| volume(config, it));
    let connections = status.connections.iter().filter_map(|it| connection(config, it));
    shown::ResourceStatus {
        name: config.name.clone(),
        node_id: config.node_id,
        role: role(status.role),
        suspended: suspended(status.suspended),
        force_io_failures: false,
        write_ordering: names::WriteOrdering::Flush,
        volumes: volumes.collect(),
        connections: connections.collect(),
    }
}

fn suspended(suspended: core::Suspended) -> shown::Suspended {
    let core::Suspended { user, no_data, fencing, quorum } = suspended;
    shown::Suspended { user, no_data, fencing, quorum }
}

fn volume(config: &ResourceConfig, status: &core::VolumeStatus) -> shown::VolumeStatus {
    let number = VolumeNumber(status.number.0);
    let configured = config.volumes.iter().find(|volume| volume.number == number);
    let has_disk = status.disk != wire::DiskState::Diskless;
    let backing = configured.filter(|_| has_disk).and_then(|it| it.backing.as_ref());
    let backing_dev = backing.map(|backing| backing.disk.display().to_string());
    shown::VolumeStatus {
        volume: number,
        minor: configured.map_or(tandem_control::Minor(0), |volume| volume.minor),
        disk_state: disk(status.disk),
        client: false,
        backing_dev,
        quorum: true,
        open: status.open,
        size_bytes: status.size_bytes,
        read_bytes: status.read_bytes,
        written_bytes: status.written_bytes,
        al_writes: status.al_writes,
        bm_writes: status.bm_writes,
        upper_pending: status.upper_pending,
        requests: status.requests,
        requests_us: u64::try_from(status.requests_waited.as_micros()).unwrap_or(u64::MAX),
        lower_pending: status.lower_pending,
        al_suspended: status.al_suspended,
        blocked: shown::Blocked::default(),
        io_errors: io_errors(status.io_errors),
    }
}

fn io_errors(errors: core::IoErrors) -> shown::IoErrors {
    let core::IoErrors { reads, writes, flushes, metadata, timeouts } = errors;
    shown::IoErrors { reads, writes, flushes, metadata, timeouts }
}

fn connection(
    config: &ResourceConfig,
    status: &core::ConnectionStatus,
) -> Option<shown::ConnectionStatus> {
    let peer: &PeerConfig = config.peers.iter().find(|it| it.node_id.0 == status.peer.0)?;
    let established = status.state == core::ConnectionState::Connected;
    let path = |path: PeerPath| {
        let PeerPath { own_address, peer_address } = path;
        shown::PathStatus { own_address, peer_address, established }
    };
    let devices: Vec<_> = status.peer_devices.iter().map(peer_device).collect();
    Some(shown::ConnectionStatus {
        peer_node_id: NodeId(status.peer.0),
        name: status.name.clone(),
        connection_state: connection_state(status.state),
        congested: status.congested,
        peer_role: role(status.peer_role),
        tls: false,
        ap_in_flight_bytes: status.ap_in_flight_bytes,
        rs_in_flight_bytes: status.rs_in_flight_bytes,
        paths: peer.path.into_iter().map(path).collect(),
        peer_devices: devices,
        protocol: protocol(status.protocol),
        sync_state: sync_state(config, status),
        disconnect_reason: status.reason.clone(),
        authentication_error: None,
        lag_bytes: status.lag.bytes,
        lag_ms: u64::try_from(status.lag.age.as_millis()).unwrap_or(u64::MAX),
    })
}

fn sync_state(config: &ResourceConfig, status: &core::ConnectionStatus) -> shown::SyncState {
    let reason = |default: &str| status.reason.clone().unwrap_or_else(|| default.to_owned());
    match &status.sync_state {
        core::SyncState::Normal => shown::SyncState::Normal,
        core::SyncState::SplitBrain(found) => shown::SyncState::SplitBrain(shown::Divergence {
            volume: VolumeNumber(found.volume.0),
            reason: reason("both nodes were written to since they parted"),
            rule: found.rule.name().to_owned(),
            policy: found.policy.map(|policy| policy.to_string()),
            own_was_primary: found.own.was_primary,
            peer_was_primary: found.peer.was_primary,
            own_loss_blocks: found.own.blocks,
            peer_loss_blocks: found.peer.blocks,
        }),
        core::SyncState::Unrelated => shown::SyncState::Unrelated(shown::Divergence {
            volume: config.volumes.first().map_or(VolumeNumber(0), |volume| volume.number),
            reason: reason("the nodes' data have no generation in common"),
            rule: core::decision::Rule::Unrelated.name().to_owned(),
            policy: None,
            own_was_primary: false,
            peer_was_primary: false,
            own_loss_blocks: 0,
            peer_loss_blocks: 0,
        }),
    }
}

fn peer_device(status: &core::PeerDeviceStatus) -> shown::PeerDeviceStatus {
    shown::PeerDeviceStatus {
        volume: VolumeNumber(status.volume.0),
        replication_state: replication(status.replication),
        peer_disk_state: disk(status.peer_disk),
        peer_client: false,
        resync_suspended: shown::ResyncSuspended {
            user: status.resync_suspended.user,
            peer: status.resync_suspended.peer,
            dependency: status.resync_suspended.dependency,
        },
        received_bytes: status.received_bytes,
        sent_bytes: status.sent_bytes,
        out_of_sync_bytes: status.out_of_sync_bytes,
        pending: status.pending,
        unacked: status.unacked,
        resync: status.resync.as_ref().map(resync),
        verify: status.verify.map(|verify| shown::VerifyProgress {
            start_bytes: verify.start,
            stop_bytes: verify.stop,
            position_bytes: verify.position,
            elapsed_ms: u64::try_from(verify.elapsed.as_millis()).unwrap_or(u64::MAX),
        }),
        verify_found_blocks: status.verify_found_blocks,
    }
}

fn resync(progress: &core::ResyncProgress) -> shown::ResyncProgress {
    let ms = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
    shown::ResyncProgress {
        total_bytes: progress.total_bytes,
        elapsed_ms: ms(progress.elapsed),
        paused_ms: ms(progress.paused),
        window0_bytes: progress.recent.0,
        window0_ms: ms(progress.recent.1),
        window1_bytes: progress.window.0,
        window1_ms: ms(progress.window.1),
        wanted_rate: progress.wanted_rate,
        same_checksum_bytes: progress.same_checksum_bytes,
        ..shown::ResyncProgress::default()
    }
}

fn role(role: wire::Role) -> names::Role {
    match role {
        wire::Role::Unknown => names::Role::Unknown,
        wire::Role::Primary => names::Role::Primary,
        wire::Role::Secondary => names::Role::Secondary,
    }
}

fn disk(disk: wire::DiskState) -> names::DiskState {
    match disk {
        wire::DiskState::Diskless => names::DiskState::Diskless,
        wire::DiskState::Attaching => names::DiskState::Attaching,
        wire::DiskState::Failed => names::DiskState::Failed,
        wire::DiskState::Negotiating => names::DiskState::Negotiating,
        wire::DiskState::Inconsistent => names::DiskState::Inconsistent,
        wire::DiskState::Outdated => names::DiskState::Outdated,
        wire::DiskState::DUnknown => names::DiskState::DUnknown,
        wire::DiskState::Consistent => names::DiskState::Consistent,
        wire::DiskState::UpToDate => names::DiskState::UpToDate,
    }
}

fn replication(state: wire::ReplicationState) -> names::ReplicationState {
    match state {
        wire::ReplicationState::Off => names::ReplicationState::Off,
        wire::ReplicationState::Established => names::ReplicationState::Established,
        wire::ReplicationState::WFBitMapS => names::ReplicationState::WFBitMapS,
        wire::ReplicationState::WFBitMapT => names::ReplicationState::WFBitMapT,
        wire::ReplicationState::SyncSource => names::ReplicationState::SyncSource,
        wire::ReplicationState::SyncTarget => names::ReplicationState::SyncTarget,
        wire::ReplicationState::VerifyS => names::ReplicationState::VerifyS,
        wire::ReplicationState::VerifyT => names::ReplicationState::VerifyT,
        wire::ReplicationState::PausedSyncS => names::ReplicationState::PausedSyncS,
        wire::ReplicationState::PausedSyncT => names::ReplicationState::PausedSyncT,
        wire::ReplicationState::Ahead => names::ReplicationState::Ahead,
        wire::ReplicationState::Behind => names::ReplicationState::Behind,
    }
}

fn protocol(protocol: wire::Protocol) -> names::Protocol {
    match protocol {
        wire::Protocol::A => names::Protocol::A,
        wire::Protocol::B => names::Protocol::B,
        wire::Protocol::C => names::Protocol::C,
    }
}

fn connection_state(state: core::ConnectionState) -> names::ConnectionState {
    match state {
        core::ConnectionState::StandAlone => names::ConnectionState::StandAlone,
        core::ConnectionState::Disconnecting => names::ConnectionState::Disconnecting,
        core::ConnectionState::Unconnected => names::ConnectionState::Unconnected,
        core::ConnectionState::Connecting => names::ConnectionState::Connecting,
        core::ConnectionState::Connected => names::ConnectionState::Connected,
    }
}
