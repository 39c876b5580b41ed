//! Which program this one is to be, by the name that it was called by or its first argument:
//! LINBIT's tools have others of their own.

use std::ffi::OsString;
use std::path::Path;

use tandem_control::exit;

use crate::output::Failure;
use crate::world::World;
use crate::{drbdmeta, drbdsetup};

/// What it can be beside itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Personality {
    /// `drbdmeta`: metadata of devices.
    Drbdmeta,
    /// `drbdsetup`: resources of the daemon.
    Drbdsetup,
}

impl Personality {
    /// Who is called, and with which arguments; `None` for `tandemadm` itself.
    pub(crate) fn of(called: &[OsString]) -> Option<(Self, &[OsString])> {
        let (program, rest) = called.split_first()?;
        let by_name = Path::new(program).file_name().and_then(|name| name.to_str());
        if let Some(personality) = by_name.and_then(Self::named) {
            return Some((personality, rest));
        }
        let (first, rest) = rest.split_first()?;
        Some((Self::named(first.to_str()?)?, rest))
    }

    /// Does what the arguments say.
    pub(crate) fn run(self, arguments: &[OsString], world: &mut dyn World) -> Result<(), Failure> {
        match self {
            Self::Drbdmeta => drbdmeta::run(arguments, world),
            Self::Drbdsetup => drbdsetup::run(arguments, world),
        }
    }

    fn named(name: &str) -> Option<Self> {
        match name {
            "drbdmeta" => Some(Self::Drbdmeta),
            "drbdsetup" => Some(Self::Drbdsetup),
            _ => None,
        }
    }
}

/// The arguments as text.
pub(crate) fn texts(arguments: &[OsString]) -> Result<Vec<&str>, Failure> {
    let wrong = |argument: &OsString| {
        let text = format!("'{}' is no UTF-8", argument.to_string_lossy());
        Failure::new(exit::FAILURE, text)
    };
    arguments.iter().map(|argument| argument.to_str().ok_or_else(|| wrong(argument))).collect()
}
