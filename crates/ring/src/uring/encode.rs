//! One operation as an entry of the submission queue.
//!
//! The entry holds the addresses of what the operation owns. Nothing here keeps them valid: the
//! caller has put the operation into its flight before, and leaves it there until its completion.

use io_uring::{opcode, squeue, types};

use super::descriptors::Target;
use super::fixed::FixedBuffers;
use super::flight::{Flight, Message};
use crate::buffer::Buffer;
use crate::limits::TRANSFER_BYTES_MAX;
use crate::op::{FallocateMode, Op};

/// An entry, and whether it uses a registered buffer.
pub(super) struct Encoded {
    pub(super) entry: squeue::Entry,
    pub(super) is_fixed: bool,
}

/// Encodes `flight.op`. A send finds its message in `flight.message`.
pub(super) fn encode(flight: &mut Flight, target: Target, buffers: &FixedBuffers) -> Encoded {
    let fd = types::Fd(target.number);
    let encoded = match &mut flight.op {
        Op::Read { offset, buffer, .. } => encode_read(fd, *offset, buffer, buffers),
        Op::Write { offset, data, dsync, .. } => {
            let flags = if *dsync { libc::RWF_DSYNC } else { 0 };
            encode_write(fd, *offset, data, flags, buffers)
        }
        Op::Fsync { .. } => {
            plain(opcode::Fsync::new(fd).flags(types::FsyncFlags::DATASYNC).build())
        }
        Op::Fallocate { mode, offset, len, .. } => {
            let fallocate = opcode::Fallocate::new(fd, *len);
            plain(fallocate.offset(*offset).mode(fallocate_mode(*mode)).build())
        }
        Op::Recv { buffer, filled, wait_all, .. } => {
            let room = &mut buffer[*filled..];
            let flags = if *wait_all { libc::MSG_WAITALL } else { 0 };
            let len = transfer_len(room.len());
            plain(opcode::Recv::new(fd, room.as_mut_ptr(), len).flags(flags).build())
        }
        Op::Send { pieces, .. } => {
            let message = flight.message.get_or_insert_with(Message::new);
            let flags = u32::try_from(libc::MSG_NOSIGNAL).expect("a positive constant");
            plain(opcode::SendMsg::new(fd, message.gather(pieces)).flags(flags).build())
        }
    };
    let mut flags = squeue::Flags::empty();
    flags.set(squeue::Flags::FIXED_FILE, target.is_fixed);
    flags.set(squeue::Flags::ASYNC, target.by_worker);
    Encoded { entry: encoded.entry.flags(flags), ..encoded }
}

fn encode_read(fd: types::Fd, offset: u64, buffer: &mut Buffer, buffers: &FixedBuffers) -> Encoded {
    let index = buffers.index_of(buffer);
    // Taken last: nothing looks at the buffer between this and the completion.
    let (len, start) = (transfer_len(buffer.len()), buffer.as_mut_ptr());
    match index {
        Some(index) => fixed(opcode::ReadFixed::new(fd, start, len, index).offset(offset).build()),
        None => plain(opcode::Read::new(fd, start, len).offset(offset).build()),
    }
}

fn encode_write(
    fd: types::Fd,
    offset: u64,
    data: &[u8],
    flags: i32,
    buffers: &FixedBuffers,
) -> Encoded {
    let (start, len) = (data.as_ptr(), transfer_len(data.len()));
    match buffers.index_of(data) {
        Some(index) => {
            let write = opcode::WriteFixed::new(fd, start, len, index);
            fixed(write.offset(offset).rw_flags(flags).build())
        }
        None => plain(opcode::Write::new(fd, start, len).offset(offset).rw_flags(flags).build()),
    }
}

fn plain(entry: squeue::Entry) -> Encoded {
    Encoded { entry, is_fixed: false }
}

fn fixed(entry: squeue::Entry) -> Encoded {
    Encoded { entry, is_fixed: true }
}

/// What the kernel transfers at most is what it is asked for; the rest is a short result.
fn transfer_len(len: usize) -> u32 {
    u32::try_from(len.min(TRANSFER_BYTES_MAX)).expect("TRANSFER_BYTES_MAX is below 2^31")
}

fn fallocate_mode(mode: FallocateMode) -> i32 {
    libc::FALLOC_FL_KEEP_SIZE
        | match mode {
            FallocateMode::PunchHole => libc::FALLOC_FL_PUNCH_HOLE,
            FallocateMode::ZeroRange => libc::FALLOC_FL_ZERO_RANGE,
        }
}
