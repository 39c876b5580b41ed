//! What a client asks in EXPORT_NAME, INFO, GO and the options about contexts, taken from the
//! payload of the option.

use bytes::Buf;
use thiserror::Error;

use super::Purpose;
use crate::error::NameError;
use crate::limits::{CONTEXT_QUERIES_MAX, STRING_BYTES_MAX};
use crate::wire::{info, option, option_reply};

/// A question about one export.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct InfoQuery {
    pub(super) purpose: Purpose,
    pub(super) name: String,
    /// Which information was asked for, beside the export's size and flags.
    pub(super) wants: InfoSet,
}

/// A question about the contexts of an export.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ContextQuery {
    /// LIST_META_CONTEXT or SET_META_CONTEXT.
    pub(super) option: u32,
    pub(super) name: String,
    queries: Vec<String>,
    count: u32,
}

/// Information that is sent when asked for, however often.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(super) struct InfoSet {
    pub(super) name: bool,
    pub(super) description: bool,
    pub(super) block_size: bool,
}

/// What is wrong with the payload of an option that names an export.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub(super) enum QueryError {
    #[error("option is shorter than what it announces")]
    Short,
    #[error("option is longer than what it announces")]
    Long,
    #[error(transparent)]
    Name(#[from] NameError),
    #[error("more than {CONTEXT_QUERIES_MAX} queries")]
    TooManyQueries,
    #[error("a query is longer than {STRING_BYTES_MAX} bytes")]
    QueryTooLong,
}

impl QueryError {
    /// The type of the reply.
    pub(super) fn reply(self) -> u32 {
        match self {
            Self::TooManyQueries => option_reply::ERR_TOO_BIG,
            Self::Short | Self::Long | Self::Name(_) | Self::QueryTooLong => {
                option_reply::ERR_INVALID
            }
        }
    }
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

impl ContextQuery {
    /// Which of the contexts are meant. In a list, no query means all, and one that ends where a
    /// group of names has its separator means the group; to choose a context it must be named.
    pub(super) fn matches(&self, context: &str) -> bool {
        let is_list = self.option == option::LIST_META_CONTEXT;
        let is_group = |query: &str| query.ends_with([':', '/']) && context.starts_with(query);
        let is_meant = |query: &String| query == context || (is_list && is_group(query));
        (is_list && self.count == 0) || self.queries.iter().any(is_meant)
    }
}

/// Length of the name 4, name, count of queries 4, length 4 and query each; nothing more.
pub(super) fn parse_context_query(option: u32, payload: &[u8]) -> Result<ContextQuery, QueryError> {
    let (name, mut payload) = split_string(payload)?;
    let name = parse_name(name)?;
    let count = payload.try_get_u32().map_err(|_| QueryError::Short)?;
    if count > CONTEXT_QUERIES_MAX {
        return Err(QueryError::TooManyQueries);
    }
    let mut queries = Vec::new();
    for _ in 0..count {
        let (query, rest) = split_string(payload)?;
        payload = rest;
        if query.len() > STRING_BYTES_MAX {
            return Err(QueryError::QueryTooLong);
        }
        // What is no text is the name of nothing, as any other name that we do not know.
        queries.extend(str::from_utf8(query).map(str::to_owned));
    }
    if !payload.is_empty() {
        return Err(QueryError::Long);
    }
    Ok(ContextQuery { option, name, queries, count })
}

fn split_string(mut payload: &[u8]) -> Result<(&[u8], &[u8]), QueryError> {
    let len = payload.try_get_u32().map_err(|_| QueryError::Short)?;
    payload.split_at_checked(len as usize).ok_or(QueryError::Short)
}

/// Length of the name 4, name, count of requests 2, requests 2 each; nothing more.
pub(super) fn parse_info_query(purpose: Purpose, payload: &[u8]) -> Result<InfoQuery, QueryError> {
    let (name, mut payload) = split_string(payload)?;
    let name = parse_name(name)?;
    let count = payload.try_get_u16().map_err(|_| QueryError::Short)?;
    let expected = 2 * usize::from(count);
    if payload.len() < expected {
        return Err(QueryError::Short);
    }
    if payload.len() > expected {
        return Err(QueryError::Long);
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
