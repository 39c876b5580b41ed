//! States in which nothing has happened yet, of which tests change what they are about: those of
//! this crate, and of crates that print or send states.

use super::{
    Blocked, ConnectionStatus, IoErrors, PeerDeviceStatus, ResourceStatus, ResyncSuspended,
    Suspended, SyncState, VolumeStatus,
};
use crate::id::{Minor, NodeId, VolumeNumber};
use crate::names::{ConnectionState, DiskState, Protocol, ReplicationState, Role, WriteOrdering};

/// A resource of node 0 without volumes and peers.
pub fn resource(name: &str, role: Role) -> ResourceStatus {
    ResourceStatus {
        name: name.to_owned(),
        node_id: NodeId(0),
        role,
        suspended: Suspended::default(),
        force_io_failures: false,
        write_ordering: WriteOrdering::Flush,
        volumes: Vec::new(),
        connections: Vec::new(),
    }
}

/// A volume whose minor is its number.
pub fn volume(number: u16, disk_state: DiskState) -> VolumeStatus {
    VolumeStatus {
        volume: VolumeNumber(number),
        minor: Minor(u32::from(number)),
        disk_state,
        client: false,
        backing_dev: None,
        quorum: true,
        open: false,
        size_bytes: 0,
        read_bytes: 0,
        written_bytes: 0,
        al_writes: 0,
        bm_writes: 0,
        upper_pending: 0,
        requests: 0,
        requests_us: 0,
        lower_pending: 0,
        al_suspended: false,
        blocked: Blocked::default(),
        io_errors: IoErrors::default(),
    }
}

/// The connection to node 1, without paths and volumes; the peer is Secondary where it is there.
pub fn connection(name: &str, connection_state: ConnectionState) -> ConnectionStatus {
    let is_connected = connection_state == ConnectionState::Connected;
    ConnectionStatus {
        peer_node_id: NodeId(1),
        name: name.to_owned(),
        connection_state,
        congested: false,
        peer_role: if is_connected { Role::Secondary } else { Role::Unknown },
        tls: false,
        ap_in_flight_bytes: 0,
        rs_in_flight_bytes: 0,
        paths: Vec::new(),
        peer_devices: Vec::new(),
        protocol: Protocol::C,
        sync_state: SyncState::Normal,
        disconnect_reason: None,
        authentication_error: None,
        lag_bytes: 0,
        lag_ms: 0,
    }
}

/// A volume towards a peer.
pub fn peer_device(
    number: u16,
    replication_state: ReplicationState,
    peer_disk_state: DiskState,
) -> PeerDeviceStatus {
    PeerDeviceStatus {
        volume: VolumeNumber(number),
        replication_state,
        peer_disk_state,
        peer_client: false,
        resync_suspended: ResyncSuspended::default(),
        received_bytes: 0,
        sent_bytes: 0,
        out_of_sync_bytes: 0,
        pending: 0,
        unacked: 0,
        resync: None,
        verify: None,
        verify_found_blocks: 0,
    }
}
