//! What a request header asks for, and whether it may: the table of good and bad requests.
//!
//! One pure function from a header and an export to a [`Verdict`]. The order of the checks decides
//! which error a request with several faults gets: flags, then permission, then range, then
//! whether it can be done quickly.

use crate::cut::{Cut, Work};
use crate::error::{ReplyError, StopReason};
use crate::export::ExportInfo;
use crate::limits::{EXTENT_BYTES, EXTENTS_MAX, REQUEST_BYTES_MAX};
use crate::terms::{Replies, Terms};
use crate::wire::command_flag::{DF, FAST_ZERO, FUA, NO_HOLE, PAYLOAD_LEN, REQ_ONE};
use crate::wire::{RequestHeader, command};

/// What to do with a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Do it. `charge_bytes` is what it will hold of payload or of what its reply tells.
    Serve { cut: Cut, charge_bytes: u32 },
    /// Reply with an error, after skipping the payload that comes all the same.
    Refuse { error: ReplyError, skip_bytes: u32 },
    /// Take no more requests.
    Stop(StopReason),
}

/// Judges one request. Never fails: whatever a client sends has an answer.
pub(crate) fn judge(header: &RequestHeader, export: &ExportInfo, terms: Terms) -> Verdict {
    if header.command == command::DISC {
        return Verdict::Stop(StopReason::Disconnected);
    }
    let Some(payload_bytes) = payload_bytes(header, terms) else {
        return Verdict::Stop(StopReason::PayloadTooLong(header.len));
    };
    match work(header, export, terms) {
        Ok(work) => {
            let charge_bytes = match work {
                Work::Read { .. } => u32::try_from(header.len).expect("a valid READ is short"),
                Work::Write { .. } => payload_bytes,
                Work::Status { contexts, .. } => contexts.len() * EXTENTS_MAX * EXTENT_BYTES,
                Work::Zeroes { .. } | Work::Trim { .. } | Work::Flush | Work::Cache => 0,
            };
            let cut = Cut::new(work, header.offset, header.len, export.block_size);
            Verdict::Serve { cut, charge_bytes }
        }
        Err(error) => Verdict::Refuse { error, skip_bytes: payload_bytes },
    }
}

/// Bytes that follow the header, whatever becomes of the request; `None` if they are too many.
fn payload_bytes(header: &RequestHeader, terms: Terms) -> Option<u32> {
    let is_told = terms.replies == Replies::Extended && header.flags & PAYLOAD_LEN != 0;
    if header.command != command::WRITE && !is_told {
        return Some(0);
    }
    u32::try_from(header.len).ok().filter(|len| *len <= REQUEST_BYTES_MAX)
}

fn work(header: &RequestHeader, export: &ExportInfo, terms: Terms) -> Result<Work, ReplyError> {
    let has = |flag| header.flags & flag != 0;
    let fua = has(FUA);
    let (work, flags) = match header.command {
        command::READ if terms.replies.has_chunks() => (Work::Read { whole: has(DF) }, DF),
        command::READ => (Work::Read { whole: false }, 0),
        // A client that leaves the flag out where it should be is understood all the same.
        command::WRITE if terms.replies == Replies::Extended => (Work::Write { fua }, PAYLOAD_LEN),
        command::WRITE => (Work::Write { fua }, 0),
        command::FLUSH => (Work::Flush, 0),
        command::TRIM => (Work::Trim { fua }, 0),
        command::CACHE => (Work::Cache, 0),
        command::WRITE_ZEROES => {
            let fast_zero = if export.read_only { 0 } else { FAST_ZERO };
            (Work::Zeroes { no_hole: has(NO_HOLE), fua }, NO_HOLE | fast_zero)
        }
        command::BLOCK_STATUS if !terms.contexts.is_empty() => {
            (Work::Status { contexts: terms.contexts, one: has(REQ_ONE) }, REQ_ONE)
        }
        _ => return Err(ReplyError::Invalid),
    };
    // FUA means nothing on a command that changes nothing, yet clients may set it on any.
    if header.flags & !(flags | FUA) != 0 {
        return Err(ReplyError::Invalid);
    }
    if work.changes_data() && export.read_only {
        return Err(ReplyError::NotPermitted);
    }
    check_range(work, header, export.size_bytes)?;
    if has(FAST_ZERO) && !export.fast_zero {
        return Err(ReplyError::NotSupported);
    }
    Ok(work)
}

fn check_range(work: Work, header: &RequestHeader, size_bytes: u64) -> Result<(), ReplyError> {
    let end = header.offset.checked_add(header.len);
    let inside = end.is_some_and(|end| end <= size_bytes);
    match work {
        Work::Flush if header.offset != 0 || header.len != 0 => Err(ReplyError::Invalid),
        Work::Read { .. } if header.len > u64::from(REQUEST_BYTES_MAX) => Err(ReplyError::Invalid),
        Work::Status { .. } if header.len == 0 => Err(ReplyError::Invalid),
        Work::Read { .. } | Work::Trim { .. } | Work::Cache | Work::Status { .. } if !inside => {
            Err(ReplyError::Invalid)
        }
        Work::Write { .. } | Work::Zeroes { .. } if !inside => Err(ReplyError::NoSpace),
        Work::Read { .. }
        | Work::Write { .. }
        | Work::Zeroes { .. }
        | Work::Trim { .. }
        | Work::Cache
        | Work::Status { .. }
        | Work::Flush => Ok(()),
    }
}
