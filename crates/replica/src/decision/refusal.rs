//! Why nodes that know who has the newer data do not connect all the same, in words for operators.

use std::fmt;

/// Why a clear direction is forbidden.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// Both sides said `--discard-my-data`.
    BothDiscard,
    /// One side said `--discard-my-data` and has the only whole image of another volume, so that
    /// the volumes would be of different times.
    DiscardsInPart,
    /// The side that should be source has no whole image.
    SourceInconsistent,
    /// The side that should be target is Primary and has data of its own.
    TargetIsPrimary,
    /// Both are Primary; neither has written yet, or it would be a split brain.
    TwoPrimaries,
    /// One side is Primary without good data of its own and the other one has lost power: what was
    /// written there and not flushed may be gone, which the Primary's clients must not find out by
    /// reading older data.
    SourceLostPower,
    /// One side is Primary without a good disk and has served a generation that the other one does
    /// not have, or the end of which it may lack, or was told to discard: its clients must not be
    /// given older data (DRBD's exposed data UUID).
    ServedNewer,
    /// One side is Primary without a good disk and the other one was made Primary without it: other
    /// clients have used those data since.
    WentOn,
}

impl Refusal {
    fn explanation(self) -> &'static str {
        match self {
            Self::BothDiscard => {
                "both nodes were told to discard their data; say --discard-my-data on one of them"
            }
            Self::DiscardsInPart => {
                "the node that was told to discard its data has the only whole image of another \
                 volume; attach the other node's disk there, or say --discard-my-data on that node"
            }
            Self::SourceInconsistent => {
                "the node to copy from has no whole image, for a resync to it was not finished, or \
                 its data were invalidated; connect it to the node it copied from, have it discard \
                 its data (connect --discard-my-data), or use primary --force there"
            }
            Self::TargetIsPrimary => {
                "a Primary's data would be overwritten; make that node Secondary and connect \
                 again, or see rr-conflict"
            }
            Self::TwoPrimaries => "both nodes are Primary; make one of them Secondary",
            Self::SourceLostPower => {
                "a Primary without a good disk lived on a peer that has lost power, and with it \
                 maybe writes that were answered; attach the Primary's disk, or make it Secondary"
            }
            Self::ServedNewer => {
                "a Primary without a good disk has served newer data than its peer is sure to \
                 have, or to keep; attach the disk that has them and connect again, or make it \
                 Secondary to go back"
            }
            Self::WentOn => {
                "a Primary has no good disk and its peer was made Primary without it, for other \
                 clients; end the clients of the former, make it Secondary and connect again"
            }
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self:?}: {}", self.explanation())
    }
}
