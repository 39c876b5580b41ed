//! What client and server have agreed on in the handshake, beside the export.

use crate::context::ContextSet;

/// The terms of a connection; by default those of a client that asked for nothing.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Terms {
    /// How requests are replied to.
    pub replies: Replies,
    /// What BLOCK_STATUS tells.
    pub contexts: ContextSet,
}

/// The form of requests and replies.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Replies {
    /// One header, and the data of a READ behind it. What the Linux kernel speaks.
    #[default]
    Simple,
    /// Chunks, each of which says what it is; the only form that can tell of holes.
    Structured,
    /// Chunks, and headers with lengths of 64 bits in both directions.
    Extended,
}

impl Replies {
    /// Whether a reply consists of chunks.
    #[must_use]
    pub fn has_chunks(self) -> bool {
        match self {
            Self::Simple => false,
            Self::Structured | Self::Extended => true,
        }
    }
}
