//! Which packets may overtake the others.

use super::{Lane, Packet};

impl Packet {
    /// The queue this packet waits in.
    pub fn lane(&self) -> Lane {
        match self {
            Self::BitmapAck(_)
            | Self::RsWriteAck { .. }
            | Self::RecvAck { .. }
            | Self::WriteAck { .. }
            | Self::NegAck { .. }
            | Self::FlushAck { .. }
            | Self::NegFlushAck { .. }
            | Self::BarrierAck(_)
            | Self::Ping
            | Self::PingAck => Lane::Ack,
            Self::Protocol(_)
            | Self::Sizes(..)
            | Self::Uuids(..)
            | Self::State(..)
            | Self::Verdict(..)
            | Self::SyncUuid(..)
            | Self::Bitmap { .. }
            | Self::SyncDone(..)
            | Self::CatchUp(..)
            | Self::Prepare { .. }
            | Self::PrepareReply { .. }
            | Self::Commit { .. }
            | Self::Abort { .. }
            | Self::Invalidate { .. }
            | Self::Resize { .. }
            | Self::ResizeReply { .. }
            | Self::Write(_)
            | Self::Flush { .. }
            | Self::Barrier(_)
            | Self::OutOfSync(..)
            | Self::DataRequest { .. }
            | Self::DataReply { .. }
            | Self::NegDataReply { .. }
            | Self::RsDataRequest { .. }
            | Self::RsDataReply { .. }
            | Self::NegRsDataReply { .. }
            | Self::RsDeallocated { .. }
            | Self::CsumRsRequest { .. }
            | Self::RsIsInSync { .. }
            | Self::OvRequest { .. }
            | Self::OvReply { .. }
            | Self::OvResult(..)
            | Self::NegOvReply { .. } => Lane::Data,
        }
    }
}
