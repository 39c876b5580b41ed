//! The words both nodes share: numbers of nodes and volumes, byte ranges, generation UUIDs, states.
//!
//! They stand here, below everything else, because they travel on the link. Names and order are
//! DRBD's; `Ord` on [`DiskState`] is from bad to good.

use std::fmt;

/// Number of a node in its resource, 0 to 31 (`node-id` in the configuration).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeId(pub u8);

impl NodeId {
    /// Nodes a resource can have.
    pub const COUNT_MAX: u8 = 32;
}

impl fmt::Display for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Number of a volume in its resource, 0 to 65534.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct VolumeNumber(pub u16);

impl fmt::Display for VolumeNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A range of bytes on a volume.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ByteRange {
    /// First byte.
    pub offset: u64,
    /// Length in bytes.
    pub len: u32,
}

impl ByteRange {
    /// A range of `len` bytes at `offset`.
    pub fn new(offset: u64, len: u32) -> Self {
        Self { offset, len }
    }

    /// First byte behind the range; `None` where that is no `u64`.
    pub fn checked_end(self) -> Option<u64> {
        self.offset.checked_add(u64::from(self.len))
    }

    /// First byte behind the range, which its maker has checked to exist.
    pub fn end(self) -> u64 {
        self.offset + u64::from(self.len)
    }

    /// The smallest range of whole `block_bytes` blocks that holds this one.
    ///
    /// # Panics
    /// Where the result's length is no `u32`: requests are bounded far below that.
    pub fn aligned_outwards(self, block_bytes: u32) -> Self {
        let block = u64::from(block_bytes);
        let start = self.offset / block * block;
        let end = self.end().div_ceil(block) * block;
        let len = u32::try_from(end - start).expect("requests are bounded far below 4 GiB");
        Self { offset: start, len }
    }

    /// Whether both have a byte in common.
    pub fn overlaps(self, other: Self) -> bool {
        self.offset < other.end() && other.offset < self.end()
    }

    /// Whether both ends lie on multiples of `block_bytes`.
    pub fn is_aligned(self, block_bytes: u32) -> bool {
        let block = u64::from(block_bytes);
        self.offset.is_multiple_of(block) && self.end().is_multiple_of(block)
    }
}

impl fmt::Display for ByteRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}+{}", self.offset, self.len)
    }
}

/// Generation identifier of a volume's data, as DRBD has it: 64 random bits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Uuid(pub u64);

impl Uuid {
    /// No generation: an empty bitmap or history slot.
    pub const NONE: Self = Self(0);
    /// The generation of metadata that was just created and has seen neither data nor peer.
    pub const JUST_CREATED: Self = Self(4);

    /// Whether this is an empty slot.
    pub fn is_none(self) -> bool {
        self == Self::NONE
    }

    /// Whether this names real data: neither an empty slot nor just-created metadata.
    pub fn is_real(self) -> bool {
        self != Self::NONE && self != Self::JUST_CREATED
    }
}

impl fmt::Display for Uuid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016X}", self.0)
    }
}

/// History UUIDs kept and exchanged per volume.
pub const HISTORY_LEN: usize = 8;

/// Which role a node plays: a Primary may serve the export.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Role {
    /// Not told yet.
    Unknown = 0,
    /// Serves the export.
    Primary = 1,
    /// Receives.
    Secondary = 2,
}

/// What a node's backing disk is worth; ordered from bad to good, as in DRBD.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum DiskState {
    /// No backing disk.
    Diskless = 0,
    /// Metadata is being read.
    Attaching = 1,
    /// Given up after an I/O error, until in-flight operations have ended.
    Failed = 2,
    /// Attached; what its data is worth is being agreed with the peer.
    Negotiating = 3,
    /// Parts are old or unknown: target of a resync, or never synced.
    Inconsistent = 4,
    /// A whole image, but known to be older than the peer's.
    Outdated = 5,
    /// The peer's disk while it is not connected.
    DUnknown = 6,
    /// A whole image; whether the peer has a newer one is not known.
    Consistent = 7,
    /// The newest data.
    UpToDate = 8,
}

/// Replication state of one volume towards one peer, by DRBD's names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum ReplicationState {
    /// Not connected, or nothing agreed yet.
    Off = 0,
    /// Every write goes to both.
    Established = 1,
    /// Will be source; bitmaps are being exchanged.
    WFBitMapS = 4,
    /// Will be target; bitmaps are being exchanged.
    WFBitMapT = 5,
    /// The peer copies from here.
    SyncSource = 7,
    /// This node copies from the peer.
    SyncTarget = 8,
    /// This node compares with the peer, as it was told to.
    VerifyS = 9,
    /// The peer compares with this node.
    VerifyT = 10,
    /// As `SyncSource`, but nothing is copied for now.
    PausedSyncS = 11,
    /// As `SyncTarget`, but nothing is copied for now.
    PausedSyncT = 12,
    /// The peer gets no data but is told what it misses: the link is congested.
    Ahead = 13,
    /// The peer is ahead.
    Behind = 14,
}

/// When a write is complete to the application, as in DRBD.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Protocol {
    /// Local disk done and handed to the link.
    A = 1,
    /// Local disk done and received by the peer.
    B = 2,
    /// Local disk done and written by the peer.
    C = 3,
}

macro_rules! from_u8 {
    ($type:ty: $($variant:ident),+ $(,)?) => {
        impl $type {
            /// The value that `byte` encodes, if any.
            pub fn from_u8(byte: u8) -> Option<Self> {
                $(if byte == Self::$variant as u8 { return Some(Self::$variant); })+
                None
            }

            /// Its name as DRBD spells it.
            pub fn name(self) -> &'static str {
                match self { $(Self::$variant => stringify!($variant),)+ }
            }
        }

        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(self.name())
            }
        }
    };
}

from_u8!(Role: Unknown, Primary, Secondary);
from_u8!(DiskState: Diskless, Attaching, Failed, Negotiating, Inconsistent, Outdated, DUnknown,
    Consistent, UpToDate);
from_u8!(ReplicationState: Off, Established, WFBitMapS, WFBitMapT, SyncSource, SyncTarget, VerifyS,
    VerifyT, PausedSyncS, PausedSyncT, Ahead, Behind);
from_u8!(Protocol: A, B, C);
