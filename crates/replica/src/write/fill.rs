//! Writes of parts of blocks: what they do not write is read first, and the blocks are made whole.
//!
//! While such a write waits to be issued, its node may become target of a resync as a Primary, by
//! `rr-conflict violently`: other data take the place of those that its blocks were filled up from,
//! and would be overwritten with old ones, at the source too. Such a write is filled up again.

use bytes::Bytes;
use tandem_wire::{ByteRange, WriteKind};

use super::{NewWrite, Stage, Write};
use crate::action::DiskOpKind;
use crate::error::{DiskError, RequestError};
use crate::read::ReadFor;
use crate::resource::Resource;
use crate::slab::Key;
use crate::volume::{Image, Purpose};

/// The client's own part of the blocks of a write.
#[derive(Clone, Debug)]
pub(crate) struct Part {
    range: ByteRange,
    data: Bytes,
    /// Of what data the rest is.
    image: Image,
}

impl Part {
    /// What of it lies behind a piece of the write.
    pub(crate) fn behind(&self, piece: ByteRange) -> Option<Self> {
        let at = piece.end().checked_sub(self.range.offset).expect("a piece has a whole block");
        let left = u64::from(self.range.len).checked_sub(at).filter(|left| *left > 0)?;
        let at = usize::try_from(at).expect("inside the data");
        let len = u32::try_from(left).expect("no longer than the whole");
        let range = ByteRange::new(piece.end(), len);
        Some(Self { range, data: self.data.slice(at..), image: self.image })
    }
}

impl Resource {
    /// The part of a new write that its client asks for, where it covers only some of `whole`.
    pub(crate) fn part_of(&self, new: &NewWrite, whole: ByteRange) -> Option<Part> {
        let WriteKind::Data(data) = &new.kind else { return None };
        let image = self.volumes[new.volume].image;
        let part = Part { range: new.range, data: data.clone(), image };
        (new.range != whole).then_some(part)
    }

    /// Its range is its own: whole blocks go on, others first read what they do not write.
    pub(crate) fn write_locked(&mut self, key: Key) {
        if self.write_mut(key).part.is_some() {
            self.fill_up(key);
        } else {
            self.cover_write(key);
        }
    }

    /// Reads what is around the client's part.
    pub(crate) fn fill_up(&mut self, key: Key) {
        let write = self.writes.get_mut(key).expect("filled up before it is issued");
        let (volume, whole) = (write.volume, write.whole);
        write.stage = Stage::Preparing;
        let part = write.part.as_mut().expect("only parts of blocks are filled up");
        part.image = self.volumes[volume].image;
        self.begin_read(volume, whole, ReadFor::Base(key));
    }

    /// Whether the blocks of a write were filled up from data that others have replaced since.
    pub(crate) fn is_filled_from_other_data(&self, write: &Write) -> bool {
        let image = self.volumes[write.volume].image;
        write.part.as_ref().is_some_and(|part| part.image != image)
    }

    /// The blocks around an unaligned write have been read.
    pub(crate) fn base_read(&mut self, key: Key, base: Result<Bytes, RequestError>) {
        let base = match base {
            Ok(base) => base,
            Err(error) => return self.abandon_write(key, error),
        };
        let write = self.write_mut(key);
        let part = write.part.as_ref().expect("only parts of blocks are filled up");
        let patch = part.data.clone();
        let at = u32::try_from(part.range.offset - write.whole.offset)
            .expect("less than a block, which is small");
        let volume = write.volume;
        self.disk_op(volume, Purpose::Merge(key), DiskOpKind::Merge { base, patch, at });
    }

    /// The blocks to write are whole.
    pub(crate) fn merged(&mut self, key: Key, merged: Result<Bytes, DiskError>) {
        let Ok(data) = merged else {
            return self.abandon_write(key, RequestError::Io);
        };
        self.write_mut(key).kind = Some(WriteKind::Data(data));
        self.cover_write(key);
    }
}
