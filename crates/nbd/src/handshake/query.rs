//! What a client asks in EXPORT_NAME, INFO and GO, taken from the payload of the option.

use bytes::Buf;
use thiserror::Error;

use super::Purpose;
use crate::error::NameError;
use crate::limits::STRING_BYTES_MAX;
use crate::wire::{info, option};

/// A question about one export.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct InfoQuery {
    pub(super) purpose: Purpose,
    pub(super) name: String,
    /// Which information was asked for, beside the export's size and flags.
    pub(super) wants: InfoSet,
}

/// Information that is sent when asked for, however often.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(super) struct InfoSet {
    pub(super) name: bool,
    pub(super) description: bool,
    pub(super) block_size: bool,
}

/// What is wrong with the payload of INFO or GO.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub(super) enum InfoQueryError {
    #[error("option is shorter than what it announces")]
    Short,
    #[error("option is longer than what it announces")]
    Long,
    #[error(transparent)]
    Name(#[from] NameError),
}

impl InfoQuery {
    pub(super) fn export_name(name: String) -> Self {
        Self { purpose: Purpose::ExportName, name, wants: InfoSet::default() }
    }

    /// The option that this came in.
    pub(super) fn option(&self) -> u32 {
        match self.purpose {
            Purpose::Info => option::INFO,
            Purpose::Go => option::GO,
            Purpose::ExportName => option::EXPORT_NAME,
        }
    }
}

/// Length of the name 4, name, count of requests 2, requests 2 each; nothing more.
pub(super) fn parse_info_query(
    purpose: Purpose,
    mut payload: &[u8],
) -> Result<InfoQuery, InfoQueryError> {
    let name_len = payload.try_get_u32().map_err(|_| InfoQueryError::Short)?;
    let (name, mut payload) =
        payload.split_at_checked(name_len as usize).ok_or(InfoQueryError::Short)?;
    let name = parse_name(name)?;
    let count = payload.try_get_u16().map_err(|_| InfoQueryError::Short)?;
    let expected = 2 * usize::from(count);
    if payload.len() < expected {
        return Err(InfoQueryError::Short);
    }
    if payload.len() > expected {
        return Err(InfoQueryError::Long);
    }
    let mut wants = InfoSet::default();
    while payload.has_remaining() {
        match payload.get_u16() {
            info::NAME => wants.name = true,
            info::DESCRIPTION => wants.description = true,
            info::BLOCK_SIZE => wants.block_size = true,
            // EXPORT is sent anyway, and what we do not know the protocol says to ignore.
            _ => {}
        }
    }
    Ok(InfoQuery { purpose, name, wants })
}

pub(super) fn parse_name(bytes: &[u8]) -> Result<String, NameError> {
    if bytes.len() > STRING_BYTES_MAX {
        return Err(NameError::TooLong);
    }
    if bytes.contains(&0) {
        return Err(NameError::Nul);
    }
    str::from_utf8(bytes).map(str::to_owned).map_err(|_| NameError::NotUtf8)
}
