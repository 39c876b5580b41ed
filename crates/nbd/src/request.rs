//! What a request header asks for, and whether it may: the table of good and bad requests.
//!
//! One pure function from a header and an export to a [`Verdict`]. The order of the checks decides
//! which error a request with several faults gets: flags, then permission, then range.

use crate::cut::{Cut, Work};
use crate::error::{ReplyError, StopReason};
use crate::export::ExportInfo;
use crate::limits::REQUEST_BYTES_MAX;
use crate::terms::Terms;
use crate::wire::{RequestHeader, command, command_flag};

/// What to do with a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Do it. `charge_bytes` is what it will hold of payload or read data.
    Serve { cut: Cut, charge_bytes: u32 },
    /// Reply with an error, after skipping the payload that comes all the same.
    Refuse { error: ReplyError, skip_bytes: u32 },
    /// Take no more requests.
    Stop(StopReason),
}

/// Judges one request. Never fails: whatever a client sends has an answer.
pub(crate) fn judge(header: &RequestHeader, export: &ExportInfo, terms: Terms) -> Verdict {
    match header.command {
        command::DISC => Verdict::Stop(StopReason::Disconnected),
        command::WRITE if header.len > REQUEST_BYTES_MAX => {
            Verdict::Stop(StopReason::WriteTooLong(header.len))
        }
        _ => match work(header, export, terms) {
            Ok(work) => {
                let charge_bytes = if work.moves_data() { header.len } else { 0 };
                let cut = Cut::new(work, header.offset, header.len, export.block_size);
                Verdict::Serve { cut, charge_bytes }
            }
            Err(error) => {
                let skip_bytes = if header.command == command::WRITE { header.len } else { 0 };
                Verdict::Refuse { error, skip_bytes }
            }
        },
    }
}

fn work(header: &RequestHeader, export: &ExportInfo, terms: Terms) -> Result<Work, ReplyError> {
    let fua = header.flags & command_flag::FUA != 0;
    let (work, flags) = match header.command {
        command::READ => {
            let whole = header.flags & command_flag::DF != 0;
            (Work::Read { whole }, if terms.replies.has_chunks() { command_flag::DF } else { 0 })
        }
        command::WRITE => (Work::Write { fua }, 0),
        command::FLUSH => (Work::Flush, 0),
        command::TRIM => (Work::Trim { fua }, 0),
        command::WRITE_ZEROES => {
            let no_hole = header.flags & command_flag::NO_HOLE != 0;
            (Work::Zeroes { no_hole, fua }, command_flag::NO_HOLE)
        }
        _ => return Err(ReplyError::Invalid),
    };
    // FUA means nothing on a command that changes nothing, yet clients may set it on any.
    if header.flags & !(flags | command_flag::FUA) != 0 {
        return Err(ReplyError::Invalid);
    }
    if work.changes_data() && export.read_only {
        return Err(ReplyError::NotPermitted);
    }
    check_range(work, header, export.size_bytes)?;
    Ok(work)
}

fn check_range(work: Work, header: &RequestHeader, size_bytes: u64) -> Result<(), ReplyError> {
    let end = header.offset.checked_add(u64::from(header.len));
    let inside = end.is_some_and(|end| end <= size_bytes);
    match work {
        Work::Flush if header.offset != 0 || header.len != 0 => Err(ReplyError::Invalid),
        Work::Read { .. } if header.len > REQUEST_BYTES_MAX => Err(ReplyError::Invalid),
        Work::Read { .. } | Work::Trim { .. } if !inside => Err(ReplyError::Invalid),
        Work::Write { .. } | Work::Zeroes { .. } if !inside => Err(ReplyError::NoSpace),
        Work::Read { .. }
        | Work::Write { .. }
        | Work::Zeroes { .. }
        | Work::Trim { .. }
        | Work::Flush => Ok(()),
    }
}
