//! Generations: when the data of this node and of an absent peer begin to differ, this node's data
//! get a new current UUID, durable before the first such write is issued, as in DRBD.
//!
//! Whether that is due is not remembered but seen: a peer that does not get the writes and whose
//! bitmap UUID is still empty has not been told apart yet.

use tandem_wire::{ByteRange, DiskState, Role, Uuid};

use crate::error::DiskError;
use crate::flush::FlushWaiter;
use crate::peers::{PeerIndex, VolumeIndex};
use crate::resource::Resource;
use crate::volume::Rotation;

impl Resource {
    /// Whether a write may be issued as far as generations go; starts the rotation it waits for.
    pub(crate) fn generation_allows_write(&mut self, volume: VolumeIndex) -> bool {
        self.rotate_generation(volume);
        !self.volumes[volume].is_rotating()
    }

    /// Starts a new generation if some peer does not get the writes any more and was not told
    /// apart.
    pub(crate) fn rotate_generation(&mut self, volume: VolumeIndex) {
        if self.volumes[volume].is_rotating() || !self.volumes[volume].is_attached() {
            return;
        }
        let unfenced = self.peer_indexes().any(|peer| self.awaits_fence(peer));
        if self.is_frozen() || unfenced || !self.is_untold(volume) {
            return;
        }
        self.begin_rotation(volume);
    }

    /// Starts a new generation, behind all that peers have sent.
    pub(crate) fn begin_rotation(&mut self, volume: VolumeIndex) {
        self.volumes[volume].rotation = Some(Rotation::Draining);
        self.unsettled = true; // handshakes that have told the old one begin anew
        for peer in self.peer_indexes() {
            self.connections[peer].inbound.part(volume);
        }
        self.advance_rotation(volume);
    }

    /// A write of a peer has arrived, which others may miss: starts a new generation where they
    /// were not told apart, and has it known after a crash what they miss. A Secondary keeps no
    /// activity log: all of its data count as different there, before the first such write.
    pub(crate) fn part_from_absent(&mut self, volume: VolumeIndex) {
        self.rotate_generation(volume);
        let unmarked: Vec<PeerIndex> = self
            .peer_indexes()
            .filter(|peer| self.role != Role::Primary && self.is_unmarked(*peer, volume))
            .collect();
        if unmarked.is_empty() {
            return;
        }
        let attached = self.volumes[volume].attached_mut().expect("it is unmarked there");
        for peer in unmarked {
            attached.store.peer_mut(peer).flags.full_sync = true;
        }
        let ticket = self.commit(volume, false);
        let rotation = &mut self.volumes[volume].rotation;
        if !matches!(rotation, Some(Rotation::Draining | Rotation::Flushing)) {
            *rotation = Some(Rotation::Saving(ticket)); // else it is stored with the generation
        }
    }

    /// Whether the peer misses writes, and a crash would leave only some of their bits.
    fn is_unmarked(&self, peer: PeerIndex, volume: VolumeIndex) -> bool {
        let attached = self.volumes[volume].attached();
        attached.is_some_and(|it| !it.store.peer(peer).flags.full_sync)
            && self.peer_lacks(peer, volume)
    }

    /// Starts a new generation where a peer that is gone does not have all that was answered: what
    /// had to wait while I/O was frozen. A Secondary has answered nothing: what differs there a
    /// verify has found.
    pub(crate) fn rotate_where_different(&mut self, volume: VolumeIndex) {
        if self.role != Role::Primary {
            return;
        }
        let Some(attached) = self.volumes[volume].attached() else { return };
        let mut bitmaps = self.peer_indexes().map(|peer| (peer, attached.bitmaps[peer].count()));
        if bitmaps.any(|(peer, bits)| bits > 0 && self.peer_lacks(peer, volume)) {
            self.rotate_generation(volume);
        }
    }

    /// What is older than the new generation is durable: make it.
    pub(crate) fn rotation_flushed(&mut self, volume: VolumeIndex, result: Result<(), DiskError>) {
        if self.volumes[volume].rotation != Some(Rotation::Flushing) || result.is_err() {
            return; // a disk that fails takes its rotation with it
        }
        // Only a Primary's bits are sure to be found again after a crash, where there are any.
        let is_unsure = self.role != Role::Primary && !self.is_renewing(volume);
        let fresh = self.entropy.uuid();
        let behind: Vec<PeerIndex> =
            self.peer_indexes().filter(|peer| self.peer_lacks(*peer, volume)).collect();
        let Some(attached) = self.volumes[volume].attached_mut() else {
            return;
        };
        let old = attached.store.superblock().current_uuid;
        if behind.iter().all(|peer| attached.store.peer(*peer).is_apart(old)) {
            attached.store.adopt_current(fresh); // nobody tracks from the old one
        }
        attached.store.superblock_mut().current_uuid = fresh;
        for peer in behind {
            if attached.store.peer(peer).is_apart(old) {
                continue;
            }
            attached.store.track_from(peer, old);
            attached.store.peer_mut(peer).flags.full_sync = is_unsure;
            if is_unsure {
                attached.store.lend(peer);
            }
        }
        let ticket = self.commit(volume, false);
        self.volumes[volume].rotation = Some(Rotation::Saving(ticket));
    }

    /// Whether some peer is behind and still holds what counts as the same generation.
    fn is_untold(&self, volume: VolumeIndex) -> bool {
        let Some(attached) = self.volumes[volume].attached() else {
            return false;
        };
        let current = attached.store.superblock().current_uuid;
        // A Primary that is being left may lose its disk, and live on this one until it is.
        let has_all = attached.state == DiskState::UpToDate
            || self.peer_indexes().any(|peer| self.outdates_itself(peer, volume));
        current.is_real()
            && has_all
            && self.peer_indexes().any(|peer| {
                !attached.store.peer(peer).is_apart(current) && self.peer_lacks(peer, volume)
            })
    }

    /// Whether the peer lacks what this node writes or has written.
    fn peer_lacks(&self, peer: PeerIndex, volume: VolumeIndex) -> bool {
        !self.replicates(peer, volume) || self.connections[peer].devices[volume].lags
    }

    /// Rotations go on when what came before them is on disk; those that have become durable let
    /// their writes and replies go.
    pub(crate) fn advance_rotation(&mut self, volume: VolumeIndex) {
        let ticket = match self.volumes[volume].rotation {
            Some(Rotation::Draining) => {
                if self.connections.iter().all(|peer| !peer.inbound.holds_earlier(volume)) {
                    self.volumes[volume].rotation = Some(Rotation::Flushing);
                    self.flush_disk(volume, FlushWaiter::Rotation);
                }
                return;
            }
            Some(Rotation::Saving(ticket)) => ticket,
            Some(Rotation::Flushing) | None => return,
        };
        let attached = self.volumes[volume].attached();
        if attached.is_some_and(|attached| !attached.store.is_durable(ticket)) {
            return;
        }
        self.volumes[volume].rotation = None;
        self.generation_settled(volume);
        self.flushes_generation_settled(volume);
        self.release_peer_writes();
    }

    /// Marks a range as different on a peer. What a resync has under way there is not in sync by
    /// it.
    pub(crate) fn set_out_of_sync(
        &mut self,
        volume: VolumeIndex,
        peer: PeerIndex,
        range: ByteRange,
    ) {
        self.touch_resync(peer, volume, range);
        if let Some(attached) = self.volumes[volume].attached_mut() {
            if attached.bitmaps[peer].is_empty() {
                self.connections[peer].devices[volume].out_of_sync_since = Some(self.now);
            }
            attached.bitmaps[peer].set(range.offset, u64::from(range.len));
        }
    }

    /// The same for a target that is to have another one than it has: the one that the source
    /// tracks it from already, so that the two are what they were until the target hears of it.
    pub(crate) fn choose_other_uuid(&mut self, own: Uuid, target: Uuid, tracked: Uuid) -> Uuid {
        if tracked.is_real() && tracked != own && tracked != target {
            return tracked;
        }
        self.entropy.uuid()
    }

    /// The generation that the target of a resync gets for as long as it runs: one that the source
    /// holds as its bitmap UUID, so that an interrupted resync goes on in the same direction.
    pub(crate) fn choose_sync_uuid(&mut self, source_current: Uuid, target_current: Uuid) -> Uuid {
        if target_current.is_real() && target_current != source_current {
            return target_current;
        }
        self.entropy.uuid()
    }
}
