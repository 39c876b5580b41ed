//! Commands and requests, read from a script.

use bytes::Bytes;
use tandem_replica::wire::{ByteRange, NodeId, VolumeNumber};
use tandem_replica::{Command, Initial, RequestOp};

use crate::source::Source;

/// Any command that an operator may give.
pub(crate) fn any_command(source: &mut Source<'_>, peer: NodeId) -> Command {
    let kind = source.below(24);
    let flag = source.bool();
    // There is one volume; others are refused.
    let volume = VolumeNumber(u16::from(source.below(32) == 31));
    let peer = if source.below(32) == 31 { NodeId(source.byte() & 31) } else { peer };
    match kind {
        0 | 1 => Command::Attach { volume },
        2 => Command::Detach { volume, force: flag },
        3 | 4 => Command::Connect { peer, discard_my_data: source.below(4) == 3 },
        5 => Command::Disconnect { peer, force: flag },
        6 | 7 => Command::Primary { force: flag },
        8 => Command::Secondary { force: flag },
        9 => Command::Invalidate { volume, reset_bitmap: flag },
        10 => Command::InvalidateRemote { volume, peer, reset_bitmap: flag },
        11 => Command::Down { force: flag },
        12 => Command::Outdate { volume },
        13 => Command::Resize {
            volume,
            size: flag.then(|| source.number()),
            assume_clean: source.bool(),
            assume_peer_has_space: source.bool(),
        },
        14 => Command::SuspendIo,
        15 | 16 => Command::ResumeIo,
        17 => Command::PauseSync { volume, peer },
        18 | 19 => Command::ResumeSync { volume, peer },
        20..23 => Command::Verify {
            volume,
            peer,
            start: flag.then(|| source.number()),
            stop: source.bool().then(|| source.number()),
            repair: source.bool(),
        },
        _ if flag => {
            let initial = source.pick(&[None, Some(Initial::Equal), Some(Initial::Mine)]);
            Command::NewUuid { volume, initial }
        }
        _ => Command::StopVerify { volume, peer },
    }
}

/// Any request that an application may make, most often one inside the volume.
pub(crate) fn any_request(source: &mut Source<'_>) -> RequestOp {
    let kind = source.below(8);
    let flag = source.bool();
    let offset = source.number();
    let len = match source.below(4) {
        0 => u32::from(source.short()),
        1 => 512,
        _ => 4096 * (1 + u32::from(source.byte() & 15)),
    };
    match kind {
        0 => RequestOp::Read(ByteRange::new(offset, len)),
        1 => RequestOp::Trim { range: ByteRange::new(offset, len), fua: flag },
        2 => {
            let keep_space = source.bool();
            RequestOp::Zeroes { range: ByteRange::new(offset, len), keep_space, fua: flag }
        }
        3 => RequestOp::Flush,
        _ => {
            let data = Bytes::from(vec![source.byte(); len as usize]);
            RequestOp::Write { offset, data, fua: flag }
        }
    }
}
