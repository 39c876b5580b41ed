//! What a lock is for, and which kinds may hold the same bytes at once.
//!
//! A resync target claims a range when it asks the source for it. Its own application's writes then
//! wait until that resync is done, so that resync always ends. A write of the peer that arrives
//! meanwhile passes: the source reads for the reply after it sent that write, so the reply carries
//! it. The reply's own write to disk is a [`LockKind::ResyncWrite`], taken under the claim; it
//! keeps peer writes out, else the two could land in either order. Two claims exclude each other: a
//! block is asked for once.

/// What a lock is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum LockKind {
    /// An operation that the export of this node asked for.
    LocalWrite,
    /// A write that the peer sent.
    PeerWrite,
    /// On the target: a range asked of the source, until the reply is on disk.
    ResyncClaim,
    /// On the source: reading for a resync reply.
    ResyncRead,
    /// On the target: writing a resync reply.
    ResyncWrite,
}

impl LockKind {
    /// Every kind.
    pub const ALL: [Self; 5] =
        [Self::LocalWrite, Self::PeerWrite, Self::ResyncClaim, Self::ResyncRead, Self::ResyncWrite];

    /// Whether the two may not hold the same byte at once; the same either way round.
    pub fn conflicts_with(self, other: Self) -> bool {
        use LockKind::{LocalWrite, PeerWrite, ResyncClaim, ResyncRead, ResyncWrite};
        match (self, other) {
            (ResyncClaim, PeerWrite | ResyncRead | ResyncWrite)
            | (PeerWrite | ResyncRead | ResyncWrite, ResyncClaim) => false,
            (ResyncClaim, ResyncClaim | LocalWrite)
            | (LocalWrite, ResyncClaim)
            | (
                LocalWrite | PeerWrite | ResyncRead | ResyncWrite,
                LocalWrite | PeerWrite | ResyncRead | ResyncWrite,
            ) => true,
        }
    }
}
