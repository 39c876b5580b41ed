//! Internal metadata that do not lie at the end of the disk: it was enlarged, and the daemon ended
//! before they were moved there, or while they were.
//!
//! The disk is read back from its end until a copy of a superblock says that the disk ended right
//! there. What a move leaves behind is zeroed, so the first one found is the one that counts.

use bytes::Bytes;

use super::AttachRead;
use crate::action::{DiskOpKind, Severity};
use crate::error::DiskError;
use crate::limits::SEARCH_BYTES_MAX;
use crate::meta::{
    Identity, META_BLOCK, MetaError, Placement, READ_BYTES_MAX, end_told, superblock_offsets,
};
use crate::peers::VolumeIndex;
use crate::resource::Resource;
use crate::volume::Purpose;

/// A search under way.
#[derive(Debug)]
pub(super) struct Search {
    /// What was found at the end of the disk.
    error: MetaError,
    /// The piece being read.
    offset: u64,
    end: u64,
}

impl AttachRead {
    /// Whether metadata may lie before the end of the disk.
    fn may_search(&self, error: &MetaError) -> bool {
        self.search.is_none() && matches!(error, MetaError::NotFound | MetaError::Damaged)
    }
}

impl Resource {
    /// There is no superblock where one was read: looks for one that the disk has outgrown.
    pub(super) fn search_superblock(&mut self, volume: VolumeIndex, error: MetaError) {
        let opened = self.reading(volume).expect("reading goes on").opened;
        let internal = self.placement(volume, opened) == Placement::Internal;
        let read = self.reading(volume).expect("reading goes on");
        if !internal || !read.may_search(&error) {
            return self.no_superblock(volume, &error);
        }
        let end = opened.data_bytes / META_BLOCK * META_BLOCK;
        read.search = Some(Search { error, offset: end, end });
        self.search_piece(volume, end);
    }

    fn no_superblock(&mut self, volume: VolumeIndex, error: &MetaError) {
        let advice = if *error == MetaError::NotFound {
            "; run create-md, or give the disk the size back that it had"
        } else {
            ""
        };
        self.attach_failed(volume, &format!("{error}{advice}"));
    }

    /// Reads the piece that ends at `end`.
    fn search_piece(&mut self, volume: VolumeIndex, end: u64) {
        let read = self.reading(volume).expect("reading goes on");
        let device_end = read.opened.data_bytes;
        let search = read.search.as_mut().expect("it goes on");
        let too_far = device_end - end >= SEARCH_BYTES_MAX;
        if end == 0 || too_far {
            let error = search.error.clone();
            return self.no_superblock(volume, &error);
        }
        (search.offset, search.end) = (end - READ_BYTES_MAX.min(end), end);
        let len = u32::try_from(search.end - search.offset).expect("at most 1 MiB");
        let kind = DiskOpKind::MetaRead { offset: search.offset, len };
        self.disk_op(volume, Purpose::Search, kind);
    }

    /// A piece has been read, or cannot be.
    pub(crate) fn piece_searched(
        &mut self,
        volume: VolumeIndex,
        result: &Result<Bytes, DiskError>,
    ) {
        let number = self.volumes[volume].number;
        let identity = Identity::new(&self.config.name, number, self.config.node_id);
        let Some(read) = self.reading(volume) else { return };
        let search = read.search.as_ref().expect("it goes on");
        let offset = search.offset;
        let found = result.as_ref().ok().zip(identity.ok());
        let end =
            found.and_then(|(bytes, identity)| end_told(bytes, offset, |it| it == Some(&identity)));
        let Some(end) = end else { return self.search_piece(volume, offset) };
        read.end = end;
        read.copies = [None, None];
        let text = format!("the disk was enlarged: its metadata end at byte {end}");
        self.note(Some(volume), None, Severity::Info, text);
        let offsets = superblock_offsets(end, Placement::Internal).expect("a copy was found");
        self.read_superblocks(volume, offsets);
    }
}
