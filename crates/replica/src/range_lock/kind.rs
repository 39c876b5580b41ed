//! What a lock is for, and which kinds may hold the same bytes at once.
//!
//! A resync target claims a range when it asks the source for it. Its own application's writes then
//! wait until that resync is done, so that resync always ends. A write of the peer that arrives
//! meanwhile passes: the source reads for the reply after it sent that write, so the reply carries
//! it. The reply's own write to disk is a [`LockKind::ResyncWrite`], taken under the claim; it
//! keeps peer writes out, else the two could land in either order. Two claims exclude each other: a
//! block is asked for once. A Primary that writes again what its disk could not read does the same.
//!
//! An online verify compares what both nodes have under one and the same set of writes. The node
//! that was told to verify claims the range ([`LockKind::VerifyClaim`]): none of its own writes is
//! in flight while the peer reads. The peer reads as for a resync, in the place in line at which
//! the question came: it sees the writes that were sent before, and its answer goes out before any
//! later write of its own. When the answer comes this node reads
//! ([`LockKind::VerifyRead`]), again in the place in line: behind the writes that the peer sent
//! before its answer, before those it sent after.
//!
//! No circle can form. The claim does not hold up what the peer sends, so nothing that the peer's
//! read may wait for waits for the claim. The read at the end holds up writes of the peer only, and
//! like these waits only for what arrived before it; it does not wait for writes of this node,
//! which wait for the claim. Reads exclude no reads, so that both nodes may verify at once.

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
    /// On the node that verifies: from the question to the peer to the end of its own read.
    VerifyClaim,
    /// On the node that verifies: its own read, once the peer has answered.
    VerifyRead,
}

impl LockKind {
    /// Every kind.
    pub const ALL: [Self; 7] = [
        Self::LocalWrite,
        Self::PeerWrite,
        Self::ResyncClaim,
        Self::ResyncRead,
        Self::ResyncWrite,
        Self::VerifyClaim,
        Self::VerifyRead,
    ];

    /// Whether the two may not hold the same byte at once; the same either way round.
    pub fn conflicts_with(self, other: Self) -> bool {
        use LockKind::{
            LocalWrite, PeerWrite, ResyncClaim, ResyncRead, ResyncWrite, VerifyClaim, VerifyRead,
        };
        match (self, other) {
            (ResyncClaim, PeerWrite | ResyncRead | ResyncWrite)
            | (PeerWrite | ResyncRead | ResyncWrite, ResyncClaim)
            | (
                VerifyClaim,
                PeerWrite | ResyncClaim | ResyncRead | ResyncWrite | VerifyClaim | VerifyRead,
            )
            | (PeerWrite | ResyncClaim | ResyncRead | ResyncWrite | VerifyRead, VerifyClaim)
            | (VerifyRead, LocalWrite | ResyncClaim | ResyncRead | VerifyRead)
            | (LocalWrite | ResyncClaim | ResyncRead, VerifyRead) => false,
            (ResyncClaim, ResyncClaim | LocalWrite)
            | (LocalWrite, ResyncClaim)
            | (VerifyClaim, LocalWrite)
            | (LocalWrite, VerifyClaim)
            | (VerifyRead, PeerWrite | ResyncWrite)
            | (PeerWrite | ResyncWrite, VerifyRead)
            | (
                LocalWrite | PeerWrite | ResyncRead | ResyncWrite,
                LocalWrite | PeerWrite | ResyncRead | ResyncWrite,
            ) => true,
        }
    }
}
