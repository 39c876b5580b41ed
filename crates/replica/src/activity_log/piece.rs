//! Long writes in pieces: one after the other under one lock, with one reply at the end.
//!
//! A piece covers at most a quarter of the log's slots, and zeroing at most
//! [`ZEROES_PIECE_BYTES`]: that bounds single disk operations and frames, and every write gets its
//! slots. As the lock is held to the end nobody sees the pieces; a crash between them leaves a
//! write without a reply, of which any part may be there.

use tandem_wire::{ByteRange, WriteKind};

use crate::limits::ZEROES_PIECE_BYTES;
use crate::resource::Resource;
use crate::slab::Key;
use crate::write::{NewWrite, Part, Write};

/// What is left of a write behind the piece that is carried out.
#[derive(Debug)]
pub(crate) struct Rest {
    range: ByteRange,
    kind: WriteKind,
    part: Option<Part>,
}

impl Resource {
    /// Cuts what is left of a write down to what may be issued at once.
    pub(crate) fn cut_write(&mut self, key: Key) {
        let write = self.writes.get(key).expect("cut before it is issued");
        let whole = write.whole;
        let attached = self.volumes[write.volume].attached();
        let by_log = attached.and_then(|attached| attached.log.as_deref()).map(|log| {
            let extent = log.offset(1);
            (whole.offset / extent + log.extents_max()) * extent
        });
        let by_kind = match write.kind {
            Some(WriteKind::Trim | WriteKind::Zeroes { .. }) => {
                let piece = u64::from(ZEROES_PIECE_BYTES);
                (whole.offset / piece + 1) * piece
            }
            Some(WriteKind::Data(_)) | None => u64::MAX,
        };
        let end = whole.end().min(by_kind).min(by_log.unwrap_or(u64::MAX));
        let len = u32::try_from(end - whole.offset).expect("no longer than the whole");
        let write = self.writes.get_mut(key).expect("it was there");
        write.range = ByteRange::new(whole.offset, len);
    }

    /// A piece is stored: the next one goes its way, with the lock of all.
    pub(crate) fn next_piece(&mut self, key: Key, rest: Rest) {
        let now = self.now;
        let write = self.writes.get_mut(key).expect("it has just ended");
        let (client, cookie, volume, fua) = (write.client, write.cookie, write.volume, write.fua);
        let lock = write.lock.take();
        let Rest { range, kind, part } = rest;
        let new = NewWrite { client, cookie, volume, range, kind, fua };
        let mut next = Write::new(new, range, now);
        (next.lock, next.part) = (lock, part);
        let next = self.writes.insert(next);
        self.cover_write(next);
    }
}

/// Cuts a write at the end of its first piece.
pub(crate) fn cut(
    whole: ByteRange,
    piece: ByteRange,
    kind: WriteKind,
    part: Option<&Part>,
) -> (WriteKind, Option<Rest>) {
    assert!(whole.offset == piece.offset && piece.len <= whole.len, "a piece comes first");
    if whole == piece {
        return (kind, None);
    }
    let range = ByteRange::new(piece.end(), whole.len - piece.len);
    let (first, rest) = match kind {
        WriteKind::Data(data) => {
            let at = piece.len as usize;
            (WriteKind::Data(data.slice(..at)), WriteKind::Data(data.slice(at..)))
        }
        WriteKind::Trim => (WriteKind::Trim, WriteKind::Trim),
        WriteKind::Zeroes { keep_space } => {
            (WriteKind::Zeroes { keep_space }, WriteKind::Zeroes { keep_space })
        }
    };
    let part = part.and_then(|part| part.behind(piece));
    (first, Some(Rest { range, kind: rest, part }))
}
