//! What a Primary without a good disk has shown to its clients: the generation that they have seen,
//! so that no copy is taken for theirs that lacks it (DRBD's exposed data UUID).
//!
//! While its disk is good that is the disk's generation. Without one it is what the disk had when
//! it was given up, and from then on what the peer has that serves in its place. The peer may make
//! new generations meanwhile; its data descend from this one, and that is all that is asked
//! (`decision`).

use tandem_wire::{DiskState, Role, Uuid};

use crate::peers::{PeerIndex, VolumeIndex};
use crate::resource::Resource;

impl Resource {
    /// The disk of a volume is about to be given up.
    pub(crate) fn expose_own(&mut self, volume: VolumeIndex) {
        let rotating = self.volumes[volume].is_rotating();
        let Some(attached) = self.volumes[volume].attached() else { return };
        if attached.state != DiskState::UpToDate {
            return;
        }
        let current = attached.store.superblock().current_uuid;
        // What was answered belongs to a generation that nobody else will have.
        let exposed = if rotating { self.entropy.uuid() } else { current };
        self.volumes[volume].exposed = exposed;
    }

    /// A session runs with a peer whose data are served where this node's are not good.
    pub(crate) fn expose_peers(&mut self, peer: PeerIndex, volume: VolumeIndex) {
        if self.volumes[volume].disk_state() != DiskState::UpToDate && self.serves(peer, volume) {
            let device = &self.connections[peer].devices[volume];
            self.volumes[volume].exposed = device.peer_current;
        }
    }

    /// What this node, without a disk, must find in its peer's data.
    pub(crate) fn exposed(&self, volume: VolumeIndex) -> Uuid {
        match self.role {
            Role::Primary => self.volumes[volume].exposed,
            Role::Secondary | Role::Unknown => Uuid::NONE,
        }
    }
}
