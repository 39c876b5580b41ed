//! What a Primary without a good disk has shown to its clients: the generation that they have seen,
//! so that no copy is taken for theirs that lacks it (DRBD's exposed data UUID).
//!
//! While its disk is good that is the disk's generation. Without one it is what the disk had when
//! it was given up, and from then on what the peer has that serves in its place. The peer may make
//! new generations meanwhile; its data descend from this one, and that is all that is asked
//! (`decision`).

use tandem_wire::{DiskState, Protocol, Role, Uuid, UuidFlags, Uuids};

use crate::meta::Superblock;
use crate::peers::{PeerIndex, VolumeIndex};
use crate::resource::Resource;
use crate::volume::Volume;

impl Resource {
    /// The disk of a volume is about to be given up.
    pub(crate) fn expose_own(&mut self, volume: VolumeIndex) {
        let Volume { rotation, unflushable, .. } = self.volumes[volume];
        let Some(attached) = self.volumes[volume].attached() else { return };
        if attached.state != DiskState::UpToDate {
            return;
        }
        let current = attached.store.superblock().current_uuid;
        // A target that has not begun may hold the very generation that it lacks the end of.
        let lacking = self.peer_indexes().any(|peer| {
            let bitmap_uuid = attached.store.peer(peer).bitmap_uuid;
            let is_source = bitmap_uuid.is_real() && bitmap_uuid != current;
            is_source && !attached.bitmaps[peer].is_empty()
        });
        // What a new generation was to stand for a peer lacks; this disk may still have the old one.
        let parting = rotation.is_some();
        let before = self.peer_indexes().map(|peer| attached.store.peer(peer).bitmap_uuid);
        let before = before.filter(|uuid| parting && uuid.is_real()).last().unwrap_or(current);
        let served = self.is_served(volume);
        let protocol = self.peer_indexes().find_map(|peer| {
            let last = attached.store.peer(peer).last_protocol;
            last.filter(|_| !served && !attached.bitmaps[peer].is_empty())
        });
        let hangs = self.volumes[volume].ops().has_flush() && !served;
        let state = &mut self.volumes[volume];
        (state.in_flush, state.exposed_in) = (if hangs { before } else { Uuid::NONE }, protocol);
        let nowhere = parting || (lacking && !served);
        let elsewhere = if nowhere { self.entropy.uuid() } else { current };
        self.set_exposed(volume, before, elsewhere);
        if unflushable && !served {
            self.expose_unknown(volume); // this disk may have lost what could not be flushed
        }
    }

    /// What was answered belongs to a generation that nobody will have.
    pub(crate) fn expose_unknown(&mut self, volume: VolumeIndex) {
        let unknown = self.entropy.uuid();
        self.set_exposed(volume, unknown, unknown);
    }

    fn set_exposed(&mut self, volume: VolumeIndex, here: Uuid, elsewhere: Uuid) {
        let state = &mut self.volumes[volume];
        (state.exposed, state.exposed_elsewhere) = (here, elsewhere);
    }

    /// A peer is lost that did not have an answered write. If this node's disk has none of it
    /// either, nobody has.
    pub(crate) fn expose_lost(&mut self, volume: VolumeIndex) {
        if self.volumes[volume].disk_state() != DiskState::UpToDate {
            self.expose_unknown(volume);
        }
    }

    /// Whether a disk of this generation, and those before it, may be used by this node: as Primary
    /// only if it has what was served, or a peer that has it is there to copy from.
    pub(crate) fn may_attach(&self, volume: VolumeIndex, superblock: &Superblock) -> bool {
        let exposed = self.exposed(volume);
        let known = |uuid: &Uuid| *uuid == exposed;
        let slots = superblock.peers.iter().flatten();
        !exposed.is_real()
            || superblock.current_uuid == exposed
            || superblock.history.iter().any(known)
            || slots.map(|slot| slot.bitmap_uuid).any(|uuid| uuid == exposed)
            || self.is_served(volume)
    }

    /// A session runs with a peer whose data are served where this node's are not good.
    pub(crate) fn expose_peers(&mut self, peer: PeerIndex, volume: VolumeIndex) {
        if self.volumes[volume].disk_state() != DiskState::UpToDate && self.serves(peer, volume) {
            let current = self.connections[peer].devices[volume].peer_current;
            self.set_exposed(volume, current, current);
            self.volumes[volume].exposed_in = None;
        }
    }

    /// What a handshake says of a volume that has no disk here: what the peer's data must hold.
    pub(crate) fn exposed_uuids(&self, volume: VolumeIndex) -> Uuids {
        let Volume { exposed_elsewhere, exposed_in, .. } = self.volumes[volume];
        Uuids {
            current: self.if_primary(exposed_elsewhere),
            flags: UuidFlags {
                last_session_async: exposed_in == Some(Protocol::A),
                last_session_memory: exposed_in == Some(Protocol::B),
                ..UuidFlags::default()
            },
            ..Uuids::default()
        }
    }

    /// What it must find in a disk of its own.
    fn exposed(&self, volume: VolumeIndex) -> Uuid {
        self.if_primary(self.volumes[volume].exposed)
    }

    /// A Secondary has shown nothing to clients.
    fn if_primary(&self, exposed: Uuid) -> Uuid {
        match self.role {
            Role::Primary => exposed,
            Role::Secondary | Role::Unknown => Uuid::NONE,
        }
    }
}
