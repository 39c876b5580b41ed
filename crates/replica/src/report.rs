//! The state of a resource, told to people and scripts.

use std::ops::Range;

use tandem_wire::{ByteRange, DiskState, NodeId, ReplicationState, Role, VolumeNumber};

use crate::bitmap::Bitmap;
use crate::connection::{Connection, Link};
use crate::limits::BLOCK_BYTES;
use crate::peers::{PeerIndex, VolumeIndex};
use crate::resource::Resource;
use crate::status::{
    ConnectionState, ConnectionStates, ConnectionStatus, PeerDeviceStatus, ResourceStatus,
    VolumeStatus,
};
use crate::time::Instant;

impl Resource {
    /// The state of everything, for people and scripts.
    pub fn status(&self, now: Instant) -> ResourceStatus {
        ResourceStatus {
            role: self.role,
            suspended: self.suspended(),
            volumes: self.volume_statuses().collect(),
            connections: self
                .peer_indexes()
                .map(|peer| self.connection_status(peer, now))
                .collect(),
        }
    }

    /// This node's role.
    pub fn role(&self) -> Role {
        self.role
    }

    /// Its volumes, in order of the configuration; like the next two for callers that look after
    /// every input, so nothing is allocated.
    pub fn volume_statuses(&self) -> impl Iterator<Item = VolumeStatus> {
        self.volume_indexes().map(|volume| self.volume_status(volume))
    }

    /// The states of its connections, in order of the configuration.
    pub fn connection_states(&self) -> impl Iterator<Item = ConnectionStates<'_>> {
        self.connections.iter().map(connection_states)
    }

    /// Its volumes towards one peer; none where there is no such peer.
    pub fn device_statuses(
        &self,
        peer: NodeId,
        now: Instant,
    ) -> impl Iterator<Item = PeerDeviceStatus> {
        let peer = self.peer_by_node(peer).into_iter();
        peer.flat_map(move |peer| {
            self.volume_indexes().map(move |volume| self.device_status(peer, volume, now))
        })
    }

    /// Whether a block that the range touches counts as different from the peer's. False where this
    /// node has no disk or no such peer.
    pub fn is_out_of_sync(&self, volume: VolumeNumber, peer: NodeId, range: ByteRange) -> bool {
        let volume = self.volume_by_number(volume);
        let Some((volume, peer)) = volume.zip(self.peer_by_node(peer)) else { return false };
        let attached = self.volumes[volume].attached();
        attached.is_some_and(|it| it.bitmaps[peer].any(range.offset, u64::from(range.len)))
    }

    /// Runs of blocks of 4 KiB that may differ from a peer's, ascending; none where there is no
    /// such volume, peer or disk.
    pub fn out_of_sync(
        &self,
        volume: VolumeNumber,
        peer: NodeId,
    ) -> impl Iterator<Item = Range<u64>> {
        let found = self.volume_by_number(volume).zip(self.peer_by_node(peer));
        let bitmap = found.and_then(|(volume, peer)| {
            self.volumes[volume].attached().map(|attached| &attached.bitmaps[peer])
        });
        bitmap.into_iter().flat_map(Bitmap::runs)
    }

    /// The next such run at or behind `from_block`, no longer than `max_blocks`.
    pub fn next_out_of_sync(
        &self,
        volume: VolumeNumber,
        peer: NodeId,
        from_block: u64,
        max_blocks: u64,
    ) -> Option<Range<u64>> {
        let (volume, peer) = self.volume_by_number(volume).zip(self.peer_by_node(peer))?;
        self.volumes[volume].attached()?.bitmaps[peer].next_run(from_block, max_blocks)
    }

    /// Whether a client that reads the range would be served from the disk of this node.
    pub fn is_served_here(&self, volume: VolumeNumber, range: ByteRange) -> bool {
        let volume = self.volume_by_number(volume);
        volume.is_some_and(|it| self.local_is_good(it, range) && !self.would_go_back(it, range))
    }

    fn volume_status(&self, index: VolumeIndex) -> VolumeStatus {
        let volume = &self.volumes[index];
        let pending = &volume.counters.pending;
        VolumeStatus {
            number: volume.number,
            disk: volume.disk_state(),
            data_accessible: self.has_data(index),
            open: self.clients.values().any(|open| *open == index),
            size_bytes: volume.export_bytes(),
            read_bytes: volume.counters.read_bytes,
            written_bytes: volume.counters.written_bytes,
            al_writes: volume.counters.al_writes,
            al_suspended: volume.attached().is_some_and(|attached| {
                let flags = attached.store.superblock().flags;
                flags.primary_indicator && attached.log.is_none()
            }),
            bm_writes: volume.counters.bm_writes,
            upper_pending: pending.count(),
            requests: pending.answered(),
            requests_waited: pending.waited(self.now),
            lower_pending: volume.ops_in_flight() as u64,
            io_errors: volume.counters.io_errors,
        }
    }

    fn connection_status(&self, peer: PeerIndex, now: Instant) -> ConnectionStatus {
        let connection = &self.connections[peer];
        let devices = self.volume_indexes().map(|volume| self.device_status(peer, volume, now));
        let states = connection_states(connection);
        ConnectionStatus {
            peer: states.peer,
            name: connection.config.name.clone(),
            state: states.state,
            protocol: states.protocol,
            peer_role: states.peer_role,
            sync_state: states.sync_state.clone(),
            reason: connection.reason.clone(),
            ap_in_flight_bytes: connection.outbound.open_bytes(),
            congested: self.is_congested(peer),
            lag: self.lag(peer, now),
            rs_in_flight_bytes: connection.devices.iter().map(|d| d.resync.open_bytes).sum(),
            peer_devices: devices.collect(),
        }
    }

    fn device_status(
        &self,
        peer: PeerIndex,
        volume: VolumeIndex,
        now: Instant,
    ) -> PeerDeviceStatus {
        let connection = &self.connections[peer];
        let device = &connection.devices[volume];
        let running = connection.is_running();
        PeerDeviceStatus {
            volume: self.volumes[volume].number,
            replication: if running || connection.in_handshake() {
                device.replication_state()
            } else {
                ReplicationState::Off
            },
            peer_disk: if running { device.disk } else { DiskState::DUnknown },
            out_of_sync_bytes: self.dirty_blocks(peer, volume) * u64::from(BLOCK_BYTES),
            resync_suspended: device.suspended,
            resync: self.resync_progress(peer, volume, now),
            verify: self.verify_status(peer, volume, now),
            verify_found_blocks: self.verify_found_blocks(peer, volume),
            received_bytes: device.received_bytes,
            sent_bytes: device.sent_bytes,
            pending: u64::from(connection.answers_owed()),
            unacked: connection.inbound.in_flight() as u64,
        }
    }
}

fn connection_states(connection: &Connection) -> ConnectionStates<'_> {
    ConnectionStates {
        peer: connection.config.node_id,
        state: connection_state(connection),
        protocol: connection.session_protocol(),
        peer_role: if connection.is_running() { connection.peer_role } else { Role::Unknown },
        sync_state: &connection.sync_state,
    }
}

fn connection_state(connection: &Connection) -> ConnectionState {
    match &connection.link {
        Link::StandAlone => ConnectionState::StandAlone,
        Link::Up(session) if session.leaving.is_some() => ConnectionState::Disconnecting,
        Link::Up(_) if connection.is_running() => ConnectionState::Connected,
        Link::Up(_) | Link::Attempting | Link::Waiting(_) => ConnectionState::Connecting,
    }
}
