//! Errors as the admin command gets them: a sentence, and the exit code that DRBD's tools use.

use tandem_control::admin::{Refusal, Response};
use tandem_control::exit;
use tandem_replica::CommandError;

use crate::mail::ShardGone;

/// Why a request was not done.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Refused {
    /// The resource is not known to the daemon.
    #[error("{0}: not up on this node; run 'tandemadm up {0}'")]
    UnknownResource(String),
    /// The core refused, or it failed.
    #[error("{resource}: {error}")]
    Command { resource: String, error: CommandError },
    /// The configuration cannot be carried out.
    #[error("{resource}: {text}")]
    Config { resource: String, text: String },
    /// A device of the kernel's cannot be made or ended.
    #[error("{export}: {text}")]
    Kernel { export: String, text: String },
    /// A wait was over before what it waited for came.
    #[error("{resource}: timed out: {text}; see 'tandemadm why {resource}'")]
    TimedOut { resource: String, text: String },
    /// The session does not begin with a hello, or with one of another version.
    #[error("{0}")]
    Usage(String),
    /// The daemon does not answer in time.
    #[error("{0}: its data thread does not answer")]
    Busy(String),
    /// The daemon is ending.
    #[error(transparent)]
    Gone(#[from] ShardGone),
}

impl Refused {
    fn exit_code(&self) -> u8 {
        match self {
            Self::UnknownResource(_) | Self::Config { .. } => exit::CONFIG,
            Self::Command { error, .. } => command_exit_code(error),
            Self::Kernel { .. } => exit::STATE,
            Self::TimedOut { .. } => exit::TIMEOUT,
            Self::Usage(_) => exit::USAGE,
            Self::Busy(_) | Self::Gone(_) => exit::FAILURE,
        }
    }
}

impl From<Refused> for Response {
    fn from(refused: Refused) -> Self {
        let (exit_code, message) = (refused.exit_code(), refused.to_string());
        Self::Refused(Refusal { exit_code, message })
    }
}

fn command_exit_code(error: &CommandError) -> u8 {
    match error {
        CommandError::UnknownVolume(_)
        | CommandError::UnknownPeer(_)
        | CommandError::Metadata { .. }
        | CommandError::OpenDisk { .. }
        | CommandError::PauseFlag { .. } => exit::CONFIG,
        CommandError::NoDisk { .. } => exit::NO_DISK,
        CommandError::NeedUpToDate { .. } => exit::NEED_UP_TO_DATE,
        CommandError::OutdatePrimary => exit::IS_PRIMARY,
        CommandError::BelowOutdated { .. } => exit::BELOW_OUTDATED,
        CommandError::PeerIsPrimary { .. }
        | CommandError::NotFenced { .. }
        | CommandError::InUse { .. }
        | CommandError::Refused(_)
        | CommandError::Concurrent
        | CommandError::Timeout { .. }
        | CommandError::Io { .. } => exit::STATE,
    }
}
