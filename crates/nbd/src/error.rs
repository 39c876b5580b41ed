//! Who is to blame, and what the client gets to hear.
//!
//! [`ReplyError`] goes back to the client as the error of one request, and the connection lives on.
//! [`CloseReason`] and [`StopReason`] end the connection, in the handshake and in the transmission
//! phase; they are for our log. [`NameError`] is what can be wrong with a string of the client.

use thiserror::Error;

use crate::limits::{OPTION_BYTES_MAX, OPTIONS_MAX, REQUEST_BYTES_MAX, STRING_BYTES_MAX};
use crate::wire;

/// The error of a reply, as few as the protocol has use for.
///
/// All of them become a hard I/O error in the client's kernel. To have requests repeated elsewhere
/// (demotion, lost quorum, shutdown), close the connection and do not reply at all.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("{}", self.text())]
pub enum ReplyError {
    /// A change was asked of a read-only export.
    NotPermitted,
    /// The data could not be read or made safe.
    Io,
    /// The request makes no sense: its flags, its length, its range for anything but a write.
    Invalid,
    /// A write beyond the end of the export.
    NoSpace,
    /// Zeroing by command alone was asked for, which the backing disk cannot do.
    NotSupported,
    /// The server is going away.
    Shutdown,
}

impl ReplyError {
    /// The number that stands in a reply.
    #[must_use]
    pub fn code(self) -> u32 {
        match self {
            Self::NotPermitted => wire::error::EPERM,
            Self::Io => wire::error::EIO,
            Self::Invalid => wire::error::EINVAL,
            Self::NoSpace => wire::error::ENOSPC,
            Self::NotSupported => wire::error::ENOTSUP,
            Self::Shutdown => wire::error::ESHUTDOWN,
        }
    }

    /// The words that stand in a structured reply.
    #[must_use]
    pub fn text(self) -> &'static str {
        match self {
            Self::NotPermitted => "the export is read-only",
            Self::Io => "input/output error",
            Self::Invalid => "the request makes no sense here",
            Self::NoSpace => "behind the end of the export",
            Self::NotSupported => "zeroing is not fast here",
            Self::Shutdown => "server is shutting down",
        }
    }

    pub(crate) fn text_len(self) -> u16 {
        u16::try_from(self.text().len()).expect("they are a few words")
    }
}

/// What is wrong with an export name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum NameError {
    /// Longer than the protocol allows.
    #[error("export name is longer than {STRING_BYTES_MAX} bytes")]
    TooLong,
    /// Contains a NUL byte.
    #[error("export name contains a NUL byte")]
    Nul,
    /// Is not UTF-8.
    #[error("export name is not UTF-8")]
    NotUtf8,
}

/// Why a handshake ended without an export.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum CloseReason {
    /// The client said goodbye.
    #[error("client aborted the handshake")]
    Aborted,
    /// The client set flags that the protocol says we must not ignore.
    #[error("unknown client flags {0:#x}")]
    UnknownClientFlags(u32),
    /// An option did not begin with its magic number; this is not an NBD client.
    #[error("wrong option magic {0:#x}")]
    WrongOptionMagic(u64),
    /// An option announced more payload than any client needs.
    #[error("option {option} of {len_bytes} bytes is longer than {OPTION_BYTES_MAX}")]
    OptionTooLong {
        /// The option's number.
        option: u32,
        /// The length it announced.
        len_bytes: u32,
    },
    /// The client keeps sending options.
    #[error("more than {OPTIONS_MAX} options")]
    TooManyOptions,
    /// EXPORT_NAME with a bad name: the protocol has no way to answer.
    #[error(transparent)]
    Name(#[from] NameError),
    /// EXPORT_NAME of an export that may not be used: the protocol has no way to answer.
    #[error("export refused: {0}")]
    Refused(String),
    /// More bytes came in than were asked for.
    #[error("too many bytes before the end of the handshake")]
    InputOverflow,
}

/// Why no more requests are taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum StopReason {
    /// DISC: send the replies still owed, then close.
    #[error("client disconnected")]
    Disconnected,
    /// The stream is out of step or this is no client: close.
    #[error("wrong request magic {0:#x}")]
    WrongMagic(u32),
    /// Payload too long to be skipped: close.
    #[error("payload of {0} bytes is longer than {REQUEST_BYTES_MAX}")]
    PayloadTooLong(u64),
    /// The shell called [`crate::Transmission::hang_up`].
    #[error("connection is gone")]
    HungUp,
}

impl StopReason {
    /// Whether replies are still owed to the client, so that the shell closes only after the last.
    #[must_use]
    pub fn owes_replies(self) -> bool {
        match self {
            Self::Disconnected => true,
            Self::WrongMagic(_) | Self::PayloadTooLong(_) | Self::HungUp => false,
        }
    }
}
