//! The kinds of frames and what the header of each may hold.
//!
//! A kind names the fields and flags it uses and the lengths its payload may have; everything else
//! in the header must be zero. Numbers are given once and never used again for something else: a
//! new kind comes with a new version or feature of the link.

use crate::limits::{BITMAP_BYTES_MAX, DATA_BYTES_MAX, DIGESTS_BYTES_MAX};
use crate::record;

macro_rules! kinds {
    ($($(#[$doc:meta])+ $name:ident = $number:literal,)+) => {
        /// What a frame says; one per packet, and one per way to write.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[repr(u8)]
        pub enum Kind { $($(#[$doc])+ $name = $number,)+ }

        impl Kind {
            /// All kinds, by ascending number.
            pub const ALL: &[Self] = &[$(Self::$name,)+];

            /// The kind with this number, if there is one.
            pub fn from_u8(number: u8) -> Option<Self> {
                match number {
                    $($number => Some(Self::$name),)+
                    _ => None,
                }
            }

            /// Its name in docs/PROTOCOL.md.
            pub fn name(self) -> &'static str {
                match self { $(Self::$name => stringify!($name),)+ }
            }
        }
    };
}

kinds! {
    /// `Packet::Protocol`.
    Protocol = 1,
    /// `Packet::Sizes`.
    Sizes = 2,
    /// `Packet::Uuids`.
    Uuids = 3,
    /// `Packet::State`.
    State = 4,
    /// `Packet::SyncUuid`.
    SyncUuid = 5,
    /// `Packet::Bitmap`.
    Bitmap = 6,
    /// `Packet::SyncDone`.
    SyncDone = 7,
    /// `Packet::Prepare`.
    Prepare = 8,
    /// `Packet::PrepareReply`.
    PrepareReply = 9,
    /// `Packet::Commit`.
    Commit = 10,
    /// `Packet::Abort`.
    Abort = 11,
    /// `Packet::Verdict`.
    Verdict = 12,
    /// `Packet::Write` that stores bytes.
    Data = 16,
    /// `Packet::Write` that trims.
    Trim = 17,
    /// `Packet::Write` that zeroes.
    Zeroes = 18,
    /// `Packet::Flush`.
    Flush = 19,
    /// `Packet::Barrier`.
    Barrier = 20,
    /// `Packet::OutOfSync`.
    OutOfSync = 21,
    /// `Packet::DataRequest`.
    DataRequest = 22,
    /// `Packet::DataReply`.
    DataReply = 23,
    /// `Packet::NegDataReply`.
    NegDataReply = 24,
    /// `Packet::RsDataRequest`.
    RsDataRequest = 25,
    /// `Packet::RsDataReply`.
    RsDataReply = 26,
    /// `Packet::NegRsDataReply`.
    NegRsDataReply = 27,
    /// `Packet::RsDeallocated`.
    RsDeallocated = 28,
    /// `Packet::BitmapAck`.
    BitmapAck = 29,
    /// `Packet::RsWriteAck`.
    RsWriteAck = 32,
    /// `Packet::RecvAck`.
    RecvAck = 33,
    /// `Packet::WriteAck`.
    WriteAck = 34,
    /// `Packet::NegAck`.
    NegAck = 35,
    /// `Packet::FlushAck`.
    FlushAck = 36,
    /// `Packet::NegFlushAck`.
    NegFlushAck = 37,
    /// `Packet::BarrierAck`.
    BarrierAck = 38,
    /// `Packet::Ping`.
    Ping = 39,
    /// `Packet::PingAck`.
    PingAck = 40,
    /// `Packet::CsumRsRequest`.
    CsumRsRequest = 41,
    /// `Packet::RsIsInSync`.
    RsIsInSync = 42,
    /// `Packet::OvRequest`.
    OvRequest = 43,
    /// `Packet::OvReply`.
    OvReply = 44,
    /// `Packet::OvResult`.
    OvResult = 45,
    /// `Packet::NegOvReply`.
    NegOvReply = 46,
    /// `Packet::CatchUp`.
    CatchUp = 48,
    /// `Packet::Invalidate`.
    Invalidate = 56,
    /// `Packet::Resize`.
    Resize = 57,
    /// `Packet::ResizeReply`.
    ResizeReply = 58,
}

/// Bits of the header's flags.
pub(crate) mod flag {
    /// Durable before it is acked.
    pub(crate) const FUA: u8 = 1 << 0;
    /// Zeroed space stays allocated.
    pub(crate) const KEEP_SPACE: u8 = 1 << 1;
    /// Ends a sequence of frames.
    pub(crate) const LAST: u8 = 1 << 2;
    /// Zeroes need not be sent.
    pub(crate) const THIN: u8 = 1 << 3;
}

/// What the header of a kind may hold. A `false` field must be zero.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rule {
    pub(crate) flags: u8,
    pub(crate) volume: bool,
    pub(crate) offset: bool,
    pub(crate) id: bool,
    pub(crate) length: Length,
    pub(crate) epoch: bool,
    pub(crate) payload_min: u32,
    pub(crate) payload_max: u32,
}

/// What the header's `length` means for a kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Length {
    /// Nothing: it is zero.
    Unused,
    /// A number of the kind's own: a change, a vote or a verdict.
    Code,
    /// Length of the range that starts at `offset`, at most this many bytes.
    Range(u32),
    /// The same, and the payload is the range's data: it equals `payload_len`.
    Payload,
}

impl Kind {
    pub(crate) const fn rule(self) -> Rule {
        const RECORD: Rule = Rule::NONE.volume();
        const WRITE: Rule = Rule::NONE.flags(flag::FUA).volume().offset().id().epoch();
        const READ: Rule = Rule::NONE.volume().offset().id().length(Length::Range(DATA_BYTES_MAX));
        const DIGEST: u32 = 16;
        const REPLY: Rule = Rule::NONE.id().payload(1, DATA_BYTES_MAX);
        match self {
            Self::Protocol => Rule::NONE.exactly(record::PROTOCOL_BYTES),
            Self::Sizes => RECORD.exactly(record::SIZES_BYTES),
            Self::Uuids => RECORD.exactly(record::UUIDS_BYTES),
            Self::State => RECORD.exactly(record::STATE_BYTES),
            Self::SyncUuid | Self::SyncDone | Self::CatchUp => Rule::NONE.volume().offset(),
            Self::Bitmap => {
                Rule::NONE.flags(flag::LAST).volume().offset().payload(1, BITMAP_BYTES_MAX)
            }
            Self::Verdict => RECORD.length(Length::Code),
            Self::Prepare | Self::PrepareReply => Rule::NONE.id().length(Length::Code),
            Self::Resize => Rule::NONE.volume().id(),
            Self::ResizeReply => Rule::NONE.offset().id().length(Length::Code),
            Self::Invalidate => Rule::NONE.volume().id().length(Length::Code),
            Self::Data => WRITE.length(Length::Payload).payload(1, DATA_BYTES_MAX),
            Self::Trim => WRITE.length(Length::Range(u32::MAX)),
            Self::Zeroes => {
                WRITE.flags(flag::FUA | flag::KEEP_SPACE).length(Length::Range(u32::MAX))
            }
            Self::Flush => Rule::NONE.id().epoch(),
            Self::OutOfSync | Self::OvResult => {
                Rule::NONE.volume().offset().length(Length::Range(u32::MAX))
            }
            Self::DataRequest | Self::OvRequest => READ,
            Self::RsDataRequest => READ.flags(flag::THIN),
            Self::BitmapAck => RECORD,
            Self::CsumRsRequest => READ.payload(DIGEST, DIGESTS_BYTES_MAX),
            Self::OvReply => Rule::NONE.id().payload(DIGEST, DIGESTS_BYTES_MAX),
            Self::DataReply | Self::RsDataReply => REPLY,
            Self::Commit
            | Self::Abort
            | Self::Barrier
            | Self::NegDataReply
            | Self::NegRsDataReply
            | Self::RsDeallocated
            | Self::RsWriteAck
            | Self::RecvAck
            | Self::WriteAck
            | Self::NegAck
            | Self::FlushAck
            | Self::NegFlushAck
            | Self::BarrierAck
            | Self::RsIsInSync
            | Self::NegOvReply => Rule::NONE.id(),
            Self::Ping | Self::PingAck => Rule::NONE,
        }
    }
}

impl Rule {
    const NONE: Self = Self {
        flags: 0,
        volume: false,
        offset: false,
        id: false,
        length: Length::Unused,
        epoch: false,
        payload_min: 0,
        payload_max: 0,
    };

    const fn flags(self, flags: u8) -> Self {
        Self { flags, ..self }
    }

    const fn volume(self) -> Self {
        Self { volume: true, ..self }
    }

    const fn offset(self) -> Self {
        Self { offset: true, ..self }
    }

    const fn id(self) -> Self {
        Self { id: true, ..self }
    }

    const fn length(self, length: Length) -> Self {
        Self { length, ..self }
    }

    const fn epoch(self) -> Self {
        Self { epoch: true, ..self }
    }

    const fn payload(self, payload_min: u32, payload_max: u32) -> Self {
        Self { payload_min, payload_max, ..self }
    }

    const fn exactly(self, bytes: u32) -> Self {
        self.payload(bytes, bytes)
    }
}
