//! What a Primary without a good disk has shown to its clients: the generation that they have seen,
//! so that no copy is taken for theirs that lacks it (DRBD's exposed data UUID).
//!
//! While its disk is good that is the disk's generation. Without one it is what the disk had when
//! it was given up, and from then on what the peer has that serves in its place. The peer may make
//! new generations meanwhile: its data must descend from this one, and hold the end of it
//! (`decision`). That is remembered until the disk is good and is about to be copied over.

use tandem_wire::{DiskState, Protocol, Role, Uuid, UuidFlags, Uuids};

use crate::meta::Superblock;
use crate::peers::{PeerIndex, VolumeIndex};
use crate::resource::Resource;
use crate::volume::{Attached, Volume};

/// What clients have seen of a volume, where this node's disk does not tell.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Exposed {
    /// The generation, as a disk of this node must have it.
    here: Uuid,
    /// The same, as a peer must have it to serve in that disk's place; a name that nobody has where
    /// none has all of it.
    elsewhere: Uuid,
    /// A peer has served since the disk was given up: that disk is old.
    by_peer: bool,
    /// The disk was given up when no peer was there, and the last session had ended with writes on
    /// their way to one: its protocol, which says what such a peer holds.
    ended_in: Option<Protocol>,
    /// What clients had seen when the disk was given up with a flush in flight, if no peer has it.
    in_flush: Uuid,
}

impl Exposed {
    /// What a peer holds and serves.
    fn by_peer(current: Uuid) -> Self {
        Self { here: current, elsewhere: current, by_peer: true, ..Self::default() }
    }
}

impl Resource {
    /// The disk of a volume is about to be given up.
    pub(crate) fn expose_own(&mut self, volume: VolumeIndex) {
        let Volume { rotation, unflushable, .. } = self.volumes[volume];
        let Some(attached) = self.volumes[volume].attached() else { return };
        if attached.state != DiskState::UpToDate {
            return;
        }
        let served = self.is_served(volume);
        let mut exposed = if served {
            Exposed::by_peer(attached.store.superblock().current_uuid)
        } else {
            self.exposed_alone(volume, attached)
        };
        let lacked = rotation.is_some() || (!served && self.has_target(attached));
        let unknown = self.entropy.uuid();
        if lacked {
            exposed.elsewhere = unknown; // what a new generation was to stand for a peer lacks
        }
        if unflushable {
            // This disk may have lost what it could not flush. What a peer has is as it was.
            exposed.here = unknown;
        }
        self.volumes[volume].exposed = exposed;
    }

    /// What clients have seen on this disk alone.
    fn exposed_alone(&self, volume: VolumeIndex, attached: &Attached) -> Exposed {
        let current = attached.store.superblock().current_uuid;
        let bitmap_uuid = |peer| attached.store.peer(peer).bitmap_uuid;
        // A new generation on its way to this disk has been shown to nobody.
        let parting = self.volumes[volume].is_rotating();
        let before = self.peer_indexes().map(bitmap_uuid).filter(|it| parting && it.is_real());
        let here = before.last().unwrap_or(current);
        let mut behind = self.peer_indexes().filter(|peer| !attached.bitmaps[*peer].is_empty());
        let hangs = self.volumes[volume].ops().has_flush();
        Exposed {
            here,
            elsewhere: current,
            by_peer: false,
            ended_in: behind.find_map(|peer| attached.store.peer(peer).last_protocol),
            in_flush: if hangs { here } else { Uuid::NONE },
        }
    }

    /// Whether a peer is to be copied to. One that has not begun may hold the very generation that
    /// it lacks the end of.
    fn has_target(&self, attached: &Attached) -> bool {
        let current = attached.store.superblock().current_uuid;
        self.peer_indexes().any(|peer| {
            attached.store.peer(peer).is_apart(current) && !attached.bitmaps[peer].is_empty()
        })
    }

    /// A disk is about to be copied over. Where it was good until now, what clients had seen before
    /// is past: they have seen what it holds, which its source has as well.
    pub(crate) fn forget_exposed(&mut self, volume: VolumeIndex) {
        if self.volumes[volume].disk_state() == DiskState::UpToDate {
            self.volumes[volume].exposed = Exposed::default();
        }
    }

    /// What was answered belongs to a generation that nobody will have.
    pub(crate) fn expose_unknown(&mut self, volume: VolumeIndex) {
        let unknown = self.entropy.uuid();
        let exposed = &mut self.volumes[volume].exposed;
        (exposed.here, exposed.elsewhere) = (unknown, unknown);
    }

    /// A peer is lost that did not have an answered write. If this node's disk has none of it
    /// either, nobody has.
    pub(crate) fn expose_lost(&mut self, volume: VolumeIndex) {
        if self.volumes[volume].disk_state() != DiskState::UpToDate {
            self.expose_unknown(volume);
        }
    }

    /// A flush of the disk that was given up has failed late: if no peer has what it was to make
    /// durable, nobody has what clients have seen.
    pub(crate) fn expose_unflushed(&mut self, volume: VolumeIndex) {
        let Exposed { in_flush, here, .. } = self.volumes[volume].exposed;
        if in_flush.is_real() && in_flush == here {
            self.expose_unknown(volume);
        }
    }

    /// Whether a disk of this generation, and those before it, may be used by this node: as Primary
    /// only if it has what was served, or a peer that has it is there to copy from.
    pub(crate) fn may_attach(&self, volume: VolumeIndex, superblock: &Superblock) -> bool {
        let exposed = self.if_primary(self.volumes[volume].exposed.here);
        let known = |uuid: &Uuid| *uuid == exposed;
        let slots = superblock.peers.iter().flatten();
        !exposed.is_real()
            || superblock.current_uuid == exposed
            || superblock.history.iter().any(known)
            || slots.map(|slot| slot.bitmap_uuid).any(|uuid| uuid == exposed)
            || self.is_served(volume)
    }

    /// Whether a disk that may be used is old all the same: a peer has served in its place.
    pub(crate) fn was_served_by_peer(&self, volume: VolumeIndex) -> bool {
        let Exposed { by_peer, here, .. } = self.volumes[volume].exposed;
        self.role == Role::Primary && (by_peer || !here.is_real())
    }

    /// A session runs with a peer whose data are served where this node's are not good.
    pub(crate) fn expose_peers(&mut self, peer: PeerIndex, volume: VolumeIndex) {
        if self.volumes[volume].disk_state() != DiskState::UpToDate && self.serves(peer, volume) {
            let current = self.connections[peer].devices[volume].peer_current;
            self.volumes[volume].exposed = Exposed::by_peer(current);
        }
    }

    /// What a handshake says of a volume that has no disk here: what the peer's data must hold.
    pub(crate) fn exposed_uuids(&self, volume: VolumeIndex) -> Uuids {
        let ended_in = self.volumes[volume].exposed.ended_in;
        Uuids {
            exposed: self.exposed_elsewhere(volume),
            flags: UuidFlags {
                last_session_async: ended_in == Some(Protocol::A),
                last_session_memory: ended_in == Some(Protocol::B),
                ..UuidFlags::default()
            },
            ..Uuids::default()
        }
    }

    /// What the peer's data must hold because clients have seen it, where this node's disk does not
    /// have it.
    pub(crate) fn exposed_elsewhere(&self, volume: VolumeIndex) -> Uuid {
        if self.volumes[volume].disk_state() >= DiskState::Consistent {
            return Uuid::NONE;
        }
        self.if_primary(self.volumes[volume].exposed.elsewhere)
    }

    /// A Secondary has shown nothing to clients.
    fn if_primary(&self, exposed: Uuid) -> Uuid {
        match self.role {
            Role::Primary => exposed,
            Role::Secondary | Role::Unknown => Uuid::NONE,
        }
    }
}
