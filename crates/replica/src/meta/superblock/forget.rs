//! A peer that is gone for good: its slot becomes free, and what it says of the data is kept.
//!
//! Contract: what a peer that comes back all the same held, or holds, is known for older wherever
//! the slot said so. So this node is never taken for one whose data that peer's descend from, and
//! where both have gone on it stays a split brain.

use tandem_wire::{NodeId, Uuid};

use super::Superblock;

impl Superblock {
    /// Frees the slot of a peer; whether it had one. The bitmap is left as it is: who gets the slot
    /// next is told that everything may differ ([`Self::allocate_slot`]).
    ///
    /// Data that count as told apart from the peer's get generation `fresh`, as by a write without
    /// it. The peer may have had the one they are of, before a resync gave it another: if it was
    /// made Primary then, it would name them as older than its own, and the bitmap UUID that says
    /// otherwise is gone with the slot.
    ///
    /// # Panics
    /// Where `fresh` names no data.
    pub fn forget_peer(&mut self, node: NodeId, fresh: Uuid) -> bool {
        assert!(fresh.is_real(), "{fresh} names no data");
        let Some(index) = self.slot_of(node) else { return false };
        let slot = self.peers[index.index()].take().expect("it is the peer's");
        let old = self.current_uuid;
        if !slot.bitmap_uuid.is_real() || slot.bitmap_uuid == old {
            return true;
        }
        self.current_uuid = fresh;
        self.remember(slot.bitmap_uuid);
        self.remember(old);
        for other in self.peers.iter_mut().flatten() {
            if !other.bitmap_uuid.is_real() {
                other.bitmap_uuid = old; // it has the same data, of the generation before
            }
        }
        true
    }
}
