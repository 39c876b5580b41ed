//! Errors, by who is to blame.

use tandem_wire::{DiskState, VolumeNumber};
use thiserror::Error;

/// The peer sent what it must not: the connection ends.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum PeerError {
    /// A packet that this phase of the connection does not allow.
    #[error("unexpected {packet} while {phase}")]
    Unexpected {
        /// What came.
        packet: &'static str,
        /// Where the connection stands.
        phase: &'static str,
    },
    /// A volume that this resource does not have.
    #[error("unknown volume {0}")]
    UnknownVolume(VolumeNumber),
    /// A range outside the volume, empty, unaligned or too long.
    #[error("{packet} with bad range {offset}+{len} on volume {volume}")]
    BadRange {
        /// What came.
        packet: &'static str,
        /// Where.
        volume: VolumeNumber,
        /// First byte.
        offset: u64,
        /// Length.
        len: u64,
    },
    /// An ack for something never asked, or a name used twice.
    #[error("{packet} names unknown request {id}")]
    UnknownRequest {
        /// What came.
        packet: &'static str,
        /// The name.
        id: u64,
    },
    /// A damaged bitmap piece.
    #[error("damaged bitmap piece: {0}")]
    BadBitmap(String),
    /// More in flight than this node allows.
    #[error("more than {limit} requests in flight")]
    TooMany {
        /// The limit.
        limit: usize,
    },
    /// More bytes asked for than both nodes have agreed on.
    #[error("{packet} beyond {limit} bytes in flight")]
    TooMuch {
        /// What came.
        packet: &'static str,
        /// The limit.
        limit: u64,
    },
}

/// A disk operation did not happen, or not wholly.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum DiskError {
    /// Any failure but those below.
    #[error("I/O error")]
    Io,
    /// No space left on a thin backing file.
    #[error("no space left on the backing device")]
    NoSpace,
    /// It has not ended, and nobody waits for it any more.
    #[error("no answer")]
    NoAnswer,
}

/// A request was not carried out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum RequestError {
    /// No good copy could be read or written.
    #[error("I/O error")]
    Io,
    /// Outside the volume, or malformed.
    #[error("invalid request")]
    Invalid,
    /// This node is not Primary.
    #[error("not Primary")]
    NotPrimary,
}

/// An operator's command was refused or failed; the text says what to do.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum CommandError {
    /// No such volume.
    #[error("there is no volume {0}")]
    UnknownVolume(VolumeNumber),
    /// No such peer.
    #[error("there is no peer with node-id {0}")]
    UnknownPeer(u8),
    /// The peer is Primary (DRBD -1).
    #[error("peer {peer} is Primary; make it Secondary first")]
    PeerIsPrimary {
        /// Its name.
        peer: String,
    },
    /// Needs UpToDate data (DRBD -2).
    #[error("volume {volume}{}UpToDate data is needed: {advice}", lacking(*disk))]
    NeedUpToDate {
        /// Volume.
        volume: VolumeNumber,
        /// What its disk is.
        disk: DiskState,
        /// What to do.
        advice: String,
    },
    /// The peer may go on by itself (DRBD -7).
    #[error(
        "peer {peer} is not known to be Outdated: {what}; fence it, connect it, or use --force"
    )]
    NotFenced {
        /// Its name.
        peer: String,
        /// Why not.
        what: String,
    },
    /// A Primary's data are the newest.
    #[error("this node is Primary: its data cannot be marked as Outdated")]
    OutdatePrimary,
    /// The data are worse than Outdated (DRBD -16).
    #[error("volume {volume} is {disk}, which is lower than Outdated")]
    BelowOutdated {
        /// Volume.
        volume: VolumeNumber,
        /// What its disk is.
        disk: DiskState,
    },
    /// Nothing can be copied to or from a disk that is not there (DRBD -4).
    #[error("volume {volume} has no disk: attach it first")]
    NoDisk {
        /// Volume.
        volume: VolumeNumber,
    },
    /// Clients are connected (DRBD -12).
    #[error("{clients} client connection(s) open; close them, or use 'secondary --force'")]
    InUse {
        /// How many.
        clients: usize,
    },
    /// The state does not allow it.
    #[error("{0}")]
    Refused(String),
    /// Metadata are missing, damaged or somebody else's (DRBD 119).
    #[error("volume {volume}: {reason}")]
    Metadata {
        /// Volume.
        volume: VolumeNumber,
        /// What is wrong and what to do.
        reason: String,
    },
    /// Opening the backing disk failed (DRBD 104).
    #[error("volume {volume}: {reason}")]
    OpenDisk {
        /// Volume.
        volume: VolumeNumber,
        /// What happened.
        reason: String,
    },
    /// Another command of this kind is under way.
    #[error("another state change is under way; try again")]
    Concurrent,
    /// The peer did not answer in time (DRBD -23).
    #[error("peer {peer} did not answer in time")]
    Timeout {
        /// Its name.
        peer: String,
    },
    /// An I/O error stopped it.
    #[error("volume {volume}: I/O error on the backing disk")]
    Io {
        /// Volume.
        volume: VolumeNumber,
    },
    /// The pause flag has that value (DRBD 134, 135).
    #[error("volume {volume}: the pause flag of the resync is {} already", set_or_clear(*paused))]
    PauseFlag {
        /// Volume.
        volume: VolumeNumber,
        /// Its value.
        paused: bool,
    },
}

/// What its own disk lacks; nothing, where another one is needed.
fn lacking(disk: DiskState) -> String {
    if disk == DiskState::UpToDate { ": ".to_owned() } else { format!(" is {disk}, ") }
}

fn set_or_clear(flag: bool) -> &'static str {
    if flag { "set" } else { "clear" }
}
