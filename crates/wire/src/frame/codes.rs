//! Numbers of a kind's own in the header's `length`, as what they mean.

use super::{FrameError, FrameHeader};
use crate::packet::{Change, Invalidated, Verdict, Vote};

pub(super) fn change(header: &FrameHeader) -> Result<Change, FrameError> {
    [Change::Promote, Change::Disconnect]
        .into_iter()
        .find(|change| u32::from(*change as u8) == header.length)
        .ok_or_else(|| header.unknown_code())
}

pub(super) fn invalidated(header: &FrameHeader) -> Result<Invalidated, FrameError> {
    [Invalidated::Sender, Invalidated::Receiver, Invalidated::ReceiverByBits]
        .into_iter()
        .find(|whose| u32::from(*whose as u8) == header.length)
        .ok_or_else(|| header.unknown_code())
}

pub(super) fn vote(header: &FrameHeader) -> Result<Vote, FrameError> {
    [Vote::Yes, Vote::PeerIsPrimary, Vote::Concurrent, Vote::NeedUpToDate]
        .into_iter()
        .find(|vote| u32::from(*vote as u8) == header.length)
        .ok_or_else(|| header.unknown_code())
}

pub(super) fn verdict(header: &FrameHeader) -> Result<Verdict, FrameError> {
    [
        Verdict::NoSync,
        Verdict::Source,
        Verdict::Target,
        Verdict::SplitBrain,
        Verdict::Unrelated,
        Verdict::Refused,
    ]
    .into_iter()
    .find(|verdict| u32::from(*verdict as u8) == header.length)
    .ok_or_else(|| header.unknown_code())
}
