//! States and settings by DRBD's names.
//!
//! Each enum here prints as DRBD spells it and parses from that spelling, whatever its case. The
//! order of the variants is DRBD's and is meaning: lower connection states have no socket, disk
//! states go from bad to good.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// The word is none of the enum's names.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("unknown name '{0}'")]
pub struct UnknownName(pub String);

macro_rules! names {
    ($(#[$meta:meta])* $type:ident {
        $($(#[$variant_meta:meta])* $variant:ident = $name:literal,)+
    }) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        pub enum $type {
            $($(#[$variant_meta])* $variant,)+
        }

        impl $type {
            /// Every value, in order.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)+];

            /// Its name as DRBD spells it.
            pub fn name(self) -> &'static str {
                match self {
                    $(Self::$variant => $name,)+
                }
            }
        }

        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(self.name())
            }
        }

        impl FromStr for $type {
            type Err = UnknownName;

            fn from_str(word: &str) -> Result<Self, UnknownName> {
                let found = Self::ALL.iter().find(|value| value.name().eq_ignore_ascii_case(word));
                found.copied().ok_or_else(|| UnknownName(word.to_owned()))
            }
        }
    };
}

names! {
    /// Whether a node may serve the export.
    Role {
        /// Not told by the peer yet.
        Unknown = "Unknown",
        /// Serves the export.
        Primary = "Primary",
        /// Receives.
        Secondary = "Secondary",
    }
}

names! {
    /// State of a connection; those below `Connecting` have no socket to the peer.
    ConnectionState {
        /// Not configured to connect: by command, or given up.
        StandAlone = "StandAlone",
        /// On the way to `StandAlone`.
        Disconnecting = "Disconnecting",
        /// About to connect again.
        Unconnected = "Unconnected",
        /// The peer did not answer in time.
        Timeout = "Timeout",
        /// The peer closed the connection.
        BrokenPipe = "BrokenPipe",
        /// The network reported an error.
        NetworkFailure = "NetworkFailure",
        /// The peer sent what makes no sense.
        ProtocolError = "ProtocolError",
        /// The peer disconnects in good order.
        TearDown = "TearDown",
        /// Waiting for the peer to show up.
        Connecting = "Connecting",
        /// A session is up.
        Connected = "Connected",
    }
}

names! {
    /// Replication state of one volume towards one peer.
    ReplicationState {
        /// Not connected, or nothing agreed yet.
        Off = "Off",
        /// Every write goes to both.
        Established = "Established",
        /// Starting a full resync as source.
        StartingSyncS = "StartingSyncS",
        /// Starting a full resync as target.
        StartingSyncT = "StartingSyncT",
        /// Will be source; bitmaps are being exchanged.
        WFBitMapS = "WFBitMapS",
        /// Will be target; bitmaps are being exchanged.
        WFBitMapT = "WFBitMapT",
        /// Will be target; the generation of the resync is awaited.
        WFSyncUUID = "WFSyncUUID",
        /// The peer copies from here.
        SyncSource = "SyncSource",
        /// This node copies from the peer.
        SyncTarget = "SyncTarget",
        /// Asks the peer for an online verify.
        VerifyS = "VerifyS",
        /// Compares for an online verify.
        VerifyT = "VerifyT",
        /// Source of a resync that is paused.
        PausedSyncS = "PausedSyncS",
        /// Target of a resync that is paused.
        PausedSyncT = "PausedSyncT",
        /// Writes are only noted as out of sync: the link is congested.
        Ahead = "Ahead",
        /// The peer is `Ahead`.
        Behind = "Behind",
    }
}

names! {
    /// What a backing disk is worth, from bad to good.
    DiskState {
        /// No backing disk.
        Diskless = "Diskless",
        /// Metadata is being read.
        Attaching = "Attaching",
        /// Being detached by command.
        Detaching = "Detaching",
        /// Given up after an I/O error.
        Failed = "Failed",
        /// Attached; what its data is worth is being agreed.
        Negotiating = "Negotiating",
        /// Parts are old or unknown.
        Inconsistent = "Inconsistent",
        /// A whole image, known to be older than the peer's.
        Outdated = "Outdated",
        /// The peer's disk while it is not connected.
        DUnknown = "DUnknown",
        /// A whole image; whether the peer has a newer one is not known.
        Consistent = "Consistent",
        /// The newest data.
        UpToDate = "UpToDate",
    }
}

names! {
    /// When a write is complete to the application.
    Protocol {
        /// Local disk done and handed to the link.
        A = "A",
        /// Local disk done and received by the peer.
        B = "B",
        /// Local disk done and written by the peer.
        C = "C",
    }
}

names! {
    /// Who loses in a split brain without a Primary.
    AfterSb0Pri {
        /// Nobody without being asked.
        Disconnect = "disconnect",
        /// Who became Primary after the nodes had parted.
        DiscardYoungerPrimary = "discard-younger-primary",
        /// Who was Primary when they parted.
        DiscardOlderPrimary = "discard-older-primary",
        /// Who has changed nothing.
        DiscardZeroChanges = "discard-zero-changes",
        /// Who has changed fewer blocks.
        DiscardLeastChanges = "discard-least-changes",
        /// This node.
        DiscardLocal = "discard-local",
        /// The peer.
        DiscardRemote = "discard-remote",
    }
}

names! {
    /// Who loses in a split brain with one Primary.
    AfterSb1Pri {
        /// Nobody without being asked.
        Disconnect = "disconnect",
        /// The Secondary, if after-sb-0pri says so too.
        Consensus = "consensus",
        /// The Secondary.
        DiscardSecondary = "discard-secondary",
        /// As after-sb-0pri; a Primary is demoted first, if it can be.
        CallPriLostAfterSb = "call-pri-lost-after-sb",
        /// As after-sb-0pri, also the Primary.
        ViolentlyAs0p = "violently-as0p",
    }
}

names! {
    /// Who loses in a split brain with two Primaries.
    AfterSb2Pri {
        /// Nobody without being asked.
        Disconnect = "disconnect",
        /// As after-sb-0pri, and it is demoted first, if it can be.
        CallPriLostAfterSb = "call-pri-lost-after-sb",
        /// As after-sb-0pri.
        ViolentlyAs0p = "violently-as0p",
    }
}

names! {
    /// What is done where a Primary should become target of a resync.
    RrConflict {
        /// Stay apart until somebody acts.
        Disconnect = "disconnect",
        /// The same, and the handler is called.
        CallPriLost = "call-pri-lost",
        /// It becomes target; its clients see their data change.
        Violently = "violently",
        /// Try again until the roles have changed.
        RetryConnect = "retry-connect",
        /// Where only the end of a lost session is at stake, it is source instead.
        AutoDiscard = "auto-discard",
    }
}

names! {
    /// What is done about a link that does not keep up.
    OnCongestion {
        /// Writes wait.
        Block = "block",
        /// The peer is told what it misses, and catches up later.
        PullAhead = "pull-ahead",
        /// The connection is ended.
        Disconnect = "disconnect",
    }
}

names! {
    /// What is done before a node goes on without its peer.
    Fencing {
        /// Nothing.
        DontCare = "dont-care",
        /// The handler fence-peer is called; a promotion waits for it, a Primary does not.
        ResourceOnly = "resource-only",
        /// The same, and a Primary's I/O is frozen meanwhile.
        ResourceAndStonith = "resource-and-stonith",
    }
}

names! {
    /// Hash of the HMAC by which peers authenticate each other.
    HmacAlgorithm {
        /// 160 bits; what most configurations of DRBD have.
        Sha1 = "sha1",
        /// 256 bits.
        Sha256 = "sha256",
        /// 384 bits.
        Sha384 = "sha384",
        /// 512 bits.
        Sha512 = "sha512",
    }
}

names! {
    /// What happens to a disk that reports an I/O error.
    OnIoError {
        /// It is detached; I/O goes on at the peer.
        Detach = "detach",
        /// The same, and `local-io-error` is called.
        CallLocalIoError = "call-local-io-error",
        /// It stays where a peer can read in its place, or where it is the only good copy.
        PassOn = "pass_on",
    }
}

names! {
    /// What becomes of I/O while no good copy is reachable.
    OnNoDataAccessible {
        /// It is answered with an error.
        IoError = "io-error",
        /// It waits.
        SuspendIo = "suspend-io",
    }
}

names! {
    /// How order between epochs of writes is kept on the disk.
    WriteOrdering {
        /// Not at all.
        None = "none",
        /// By waiting for the writes.
        Drain = "drain",
        /// By waiting for the writes and flushing.
        Flush = "flush",
        /// By barrier requests.
        Barrier = "barrier",
    }
}
