//! What operators ask for.

use tandem_wire::{NodeId, VolumeNumber};

/// What an operator says of disks that nobody has written yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Initial {
    /// They are the same: nothing is copied.
    Equal,
    /// This node's are the data: they are copied.
    Mine,
}

/// What an operator asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Command {
    /// Open the backing disk.
    Attach {
        /// Volume to attach.
        volume: VolumeNumber,
    },
    /// Give the backing disk up.
    Detach {
        /// Volume to detach.
        volume: VolumeNumber,
        /// Even where no other good copy is connected.
        force: bool,
    },
    /// Start connecting.
    Connect {
        /// To whom.
        peer: NodeId,
        /// In a split brain this node's changes are the ones to lose.
        discard_my_data: bool,
    },
    /// Find out what connecting would come to, and be StandAlone again.
    TryConnect {
        /// To whom.
        peer: NodeId,
        /// As for `Connect`.
        discard_my_data: bool,
    },
    /// End the connection and stay apart.
    Disconnect {
        /// From whom.
        peer: NodeId,
        /// Without the peer's consent.
        force: bool,
    },
    /// Become Primary.
    Primary {
        /// Whatever the disk's state: its data become the newest.
        force: bool,
    },
    /// Become Secondary.
    Secondary {
        /// Close clients that are still connected.
        force: bool,
    },
    /// Local data are wrong: copy from the peer.
    Invalidate {
        /// Volume concerned.
        volume: VolumeNumber,
        /// Everything; else what the bitmap says already.
        reset_bitmap: bool,
    },
    /// The peer's data are wrong: copy to it.
    InvalidateRemote {
        /// Volume concerned.
        volume: VolumeNumber,
        /// Peer concerned.
        peer: NodeId,
        /// Everything; else what the bitmaps say already.
        reset_bitmap: bool,
    },
    /// Demote, disconnect, detach: the resource can be dropped when this is done.
    Down {
        /// Close clients that are still connected, and leave a Primary that has no other good data.
        force: bool,
    },
    /// Local data are older than the peer's, whatever they say of themselves.
    Outdate {
        /// Volume concerned.
        volume: VolumeNumber,
    },
    /// Local data get another generation.
    NewUuid {
        /// Volume concerned.
        volume: VolumeNumber,
        /// What this says of disks that nobody has written yet; `None` for data that are there.
        initial: Option<Initial>,
    },
    /// The volume gets larger: its disks have.
    Resize {
        /// Volume concerned.
        volume: VolumeNumber,
        /// Bytes; `None` for as many as all disks have room for.
        size: Option<u64>,
        /// What it adds is the same on all disks already.
        assume_clean: bool,
        /// Peers that are not connected have room for it.
        assume_peer_has_space: bool,
    },
    /// Freeze the application's I/O on this node; ends when nothing is in flight.
    SuspendIo,
    /// End every suspension of I/O; where no data are accessible, errors are answered.
    ResumeIo,
    /// Resyncs of the volume with the peer pause.
    PauseSync {
        /// Volume concerned.
        volume: VolumeNumber,
        /// Peer concerned.
        peer: NodeId,
    },
    /// They go on, if nothing else pauses them.
    ResumeSync {
        /// Volume concerned.
        volume: VolumeNumber,
        /// Peer concerned.
        peer: NodeId,
    },
    /// Compare a volume with a peer's, block by block, while it is in use.
    Verify {
        /// Volume concerned.
        volume: VolumeNumber,
        /// Peer concerned.
        peer: NodeId,
        /// First byte to compare; `None` goes on where the last run was stopped.
        start: Option<u64>,
        /// First byte not to compare; `None` is the end.
        stop: Option<u64>,
        /// Resync what is out of sync when the run is done, found by it or before.
        repair: bool,
    },
    /// Stop comparing.
    StopVerify {
        /// Volume concerned.
        volume: VolumeNumber,
        /// Peer concerned.
        peer: NodeId,
    },
}
