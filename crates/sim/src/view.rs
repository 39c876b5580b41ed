//! A node's states as the checkers look at them: a small copy of what a `Resource` tells of itself.

use tandem_replica::{ConnectionState, Instant, Resource, ResyncSuspended, Suspended, SyncState};
use tandem_wire::{DiskState, ReplicationState, Role};

/// One node at one moment. A dead one is all defaults.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct View {
    /// Its process runs.
    pub alive: bool,
    /// Its role.
    pub role: Role,
    /// Why its I/O is frozen.
    pub suspended: Suspended,
    /// Its connection to the peer.
    pub connection: ConnectionState,
    /// The peer's role as it knows it.
    pub peer_role: Role,
    /// Split brain and the like.
    pub sync: SyncState,
    /// By index of the volume.
    pub volumes: Vec<VolumeView>,
}

/// One volume of a node at one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct VolumeView {
    /// Its disk.
    pub disk: DiskState,
    /// The peer's disk as this node knows it.
    pub peer_disk: DiskState,
    /// How it is replicated; Established also while it is verified.
    pub replication: ReplicationState,
    /// An online verify runs, from here or from the peer.
    pub verifying: Option<ReplicationState>,
    /// Blocks out of sync that a verify has found.
    pub found_blocks: u64,
    /// Blocks out of sync.
    pub dirty_blocks: u64,
    /// Why a resync is paused.
    pub suspended: ResyncSuspended,
    /// Size of the export in bytes, 0 while unknown.
    pub size: u64,
    /// Requests of clients not replied to.
    pub pending: u64,
}

impl View {
    /// A dead node with that many volumes.
    pub fn dead(volumes: usize) -> Self {
        let volume = VolumeView {
            disk: DiskState::Diskless,
            peer_disk: DiskState::DUnknown,
            replication: ReplicationState::Off,
            verifying: None,
            found_blocks: 0,
            dirty_blocks: 0,
            suspended: ResyncSuspended::default(),
            size: 0,
            pending: 0,
        };
        Self {
            alive: false,
            role: Role::Unknown,
            suspended: Suspended::default(),
            connection: ConnectionState::StandAlone,
            peer_role: Role::Unknown,
            sync: SyncState::Normal,
            volumes: vec![volume; volumes],
        }
    }

    /// What a live node says of itself.
    pub fn of(resource: &Resource, now: Instant) -> Self {
        let mut view = Self::dead(resource.config().volumes.len());
        view.alive = true;
        view.role = resource.role();
        view.suspended = resource.suspended();
        for (volume, told) in view.volumes.iter_mut().zip(resource.volume_statuses()) {
            volume.disk = told.disk;
            volume.size = told.size_bytes;
            volume.pending = told.upper_pending;
        }
        let Some(connection) = resource.connection_states().next() else { return view };
        view.connection = connection.state;
        view.peer_role = connection.peer_role;
        view.sync = connection.sync_state.clone();
        let devices = resource.device_statuses(connection.peer, now);
        for (volume, told) in view.volumes.iter_mut().zip(devices) {
            let verifying =
                [ReplicationState::VerifyS, ReplicationState::VerifyT].contains(&told.replication);
            volume.verifying = verifying.then_some(told.replication);
            volume.replication =
                if verifying { ReplicationState::Established } else { told.replication };
            volume.found_blocks = told.verify_found_blocks;
            volume.peer_disk = told.peer_disk;
            volume.dirty_blocks = told.out_of_sync_bytes.div_ceil(4096);
            volume.suspended = told.resync_suspended;
        }
        view
    }

    /// Whether it is up and linked.
    pub fn is_connected(&self) -> bool {
        self.alive && self.connection == ConnectionState::Connected
    }

    /// Whether every write of the volume goes to an up-to-date peer.
    pub fn is_established(&self, volume: usize) -> bool {
        let volume = &self.volumes[volume];
        self.is_connected()
            && volume.replication == ReplicationState::Established
            && volume.peer_disk == DiskState::UpToDate
    }

    /// Whether the volume is being copied, to or from it.
    pub fn is_resyncing(&self, volume: usize) -> bool {
        matches!(
            self.volumes[volume].replication,
            ReplicationState::SyncSource | ReplicationState::SyncTarget
        )
    }

    /// Whether the node and its peer are in the state that everything must come back to.
    pub fn is_healthy(&self) -> bool {
        (0..self.volumes.len()).all(|volume| {
            self.is_established(volume)
                && self.volumes[volume].disk == DiskState::UpToDate
                && self.volumes[volume].dirty_blocks == 0
                && self.volumes[volume].verifying.is_none()
        })
    }

    /// Whether its clients wait.
    pub fn is_frozen(&self) -> bool {
        self.role == Role::Primary && self.suspended.any()
    }

    /// Whether the volume is source of a resync, paused or not.
    pub fn is_source(&self, volume: usize) -> bool {
        match self.volumes[volume].replication {
            ReplicationState::SyncSource | ReplicationState::PausedSyncS => true,
            ReplicationState::Off
            | ReplicationState::Established
            | ReplicationState::WFBitMapS
            | ReplicationState::WFBitMapT
            | ReplicationState::SyncTarget
            | ReplicationState::PausedSyncT
            | ReplicationState::Ahead
            | ReplicationState::Behind
            | ReplicationState::VerifyS
            | ReplicationState::VerifyT => false,
        }
    }

    /// Whether the volume is target of a resync, paused or not.
    pub fn is_target(&self, volume: usize) -> bool {
        match self.volumes[volume].replication {
            ReplicationState::SyncTarget | ReplicationState::PausedSyncT => true,
            ReplicationState::Off
            | ReplicationState::Established
            | ReplicationState::WFBitMapS
            | ReplicationState::WFBitMapT
            | ReplicationState::SyncSource
            | ReplicationState::PausedSyncS
            | ReplicationState::Ahead
            | ReplicationState::Behind
            | ReplicationState::VerifyS
            | ReplicationState::VerifyT => false,
        }
    }

    /// Whether it reports a split brain.
    pub fn is_split(&self) -> bool {
        matches!(self.sync, SyncState::SplitBrain { .. })
    }

    /// Whether it reports data that have nothing in common with its peer's.
    pub fn is_unrelated(&self) -> bool {
        matches!(self.sync, SyncState::Unrelated)
    }

    /// One line for the timeline.
    pub fn text(&self) -> String {
        let mut text = format!("{} {}", self.role, self.connection.name());
        match self.sync {
            SyncState::Normal => {}
            SyncState::SplitBrain { .. } => text.push_str(" SplitBrain"),
            SyncState::Unrelated => text.push_str(" Unrelated"),
        }
        if self.suspended.any() {
            text.push_str(&format!(" {:?}", self.suspended));
        }
        for volume in &self.volumes {
            text.push_str(&format!(
                " [{} {}/{} oos {}]",
                volume.verifying.unwrap_or(volume.replication),
                volume.disk,
                volume.peer_disk,
                volume.dirty_blocks
            ));
        }
        text
    }
}
