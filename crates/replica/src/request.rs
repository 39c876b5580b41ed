//! Requests of the application as they come in: checked, and handed to what carries them out.

use tandem_wire::{ByteRange, Role, WriteKind};

use crate::action::{Action, Request, RequestOp};
use crate::error::RequestError;
use crate::limits::{BLOCK_BYTES, REQUEST_BYTES_MAX};
use crate::peers::VolumeIndex;
use crate::read::ReadFor;
use crate::resource::Resource;
use crate::time::Instant;
use crate::write::NewWrite;

impl Resource {
    /// A request from an export; ends in exactly one `Action::Reply`, unless its client is closed.
    /// Requests of clients that are not open are dropped: they get no answer (SEMANTICS rule 7).
    /// While I/O is suspended they wait.
    pub fn handle_request(&mut self, request: Request, now: Instant) {
        self.begin_input(now);
        if self.is_suspended() || self.has_held() {
            self.hold_request(request);
        } else {
            self.carry_out_request(request);
        }
        self.settle();
    }

    pub(crate) fn carry_out_request(&mut self, request: Request) {
        let Request { client, cookie, op, .. } = request;
        let Some(&volume) = self.clients.get(&client) else {
            return;
        };
        if self.role != Role::Primary || self.is_demoting() {
            return;
        }
        if self.volumes[volume].number != request.volume || !self.request_fits(volume, &op) {
            let result = Err(RequestError::Invalid);
            return self.push(Action::Reply { client, cookie, result });
        }
        self.volumes[volume].application_at = Some(self.now);
        let write = |range, kind, fua| NewWrite { client, cookie, volume, range, kind, fua };
        match op {
            RequestOp::Read(asked) => {
                let range = asked.aligned_outwards(BLOCK_BYTES);
                self.begin_read(volume, range, ReadFor::Client { client, cookie, asked });
            }
            RequestOp::Write { offset, data, fua } => {
                let len = u32::try_from(data.len()).expect("checked to fit");
                let range = ByteRange::new(offset, len);
                self.begin_write(write(range, WriteKind::Data(data), fua));
            }
            RequestOp::Trim { range, fua } => match aligned_inwards(range) {
                Some(range) => self.begin_write(write(range, WriteKind::Trim, fua)),
                None => self.push(Action::Reply { client, cookie, result: Ok(None) }),
            },
            RequestOp::Zeroes { range, keep_space, fua } => {
                self.begin_write(write(range, WriteKind::Zeroes { keep_space }, fua));
            }
            RequestOp::Flush => self.begin_flush(client, cookie, volume),
        }
    }

    /// Whether a request lies inside the export and within the limits.
    fn request_fits(&self, volume: VolumeIndex, op: &RequestOp) -> bool {
        let volume = &self.volumes[volume];
        let inside = |range: ByteRange| {
            range.len > 0 && range.checked_end().is_some_and(|end| end <= volume.export_bytes())
        };
        let data_fits = |range: ByteRange| {
            inside(range)
                && range.len <= REQUEST_BYTES_MAX
                && range.aligned_outwards(BLOCK_BYTES).len <= REQUEST_BYTES_MAX
        };
        match op {
            RequestOp::Read(range) => data_fits(*range),
            RequestOp::Write { offset, data, .. } => {
                u32::try_from(data.len()).is_ok_and(|len| data_fits(ByteRange::new(*offset, len)))
            }
            RequestOp::Trim { range, .. } => inside(*range),
            RequestOp::Zeroes { range, .. } => inside(*range) && range.is_aligned(BLOCK_BYTES),
            RequestOp::Flush => true,
        }
    }
}

/// The whole blocks inside a range: what a trim touches, alike on every node.
fn aligned_inwards(range: ByteRange) -> Option<ByteRange> {
    let block = u64::from(BLOCK_BYTES);
    let start = range.offset.div_ceil(block) * block;
    let end = range.end() / block * block;
    let len = end.checked_sub(start).filter(|len| *len > 0)?;
    Some(ByteRange::new(start, u32::try_from(len).expect("inside a range of 32 bits")))
}
