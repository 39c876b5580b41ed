//! Metadata on their way to another place, because the disk has grown.
//!
//! A move is a commit of everything. Order: all bitmaps and the activity log are durable in their
//! new places before superblock copy A is issued there, A before B, B before what was left behind
//! is zeroed. So a crash finds either the old metadata, untouched, or the new ones, whole, which
//! tell what is still to be zeroed. The activity log is at rest meanwhile, and what else is to be
//! committed waits; reads and writes in its extents go on.

use std::collections::BTreeMap;

use tandem_wire::ByteRange;

use super::{Store, Ticket, Wanted, write_op};
use crate::action::DiskOpKind;
use crate::bitmap::PageIndex;
use crate::limits::ZEROES_PIECE_BYTES;
use crate::meta::{Area, BitmapIndex, CopyIndex, Layout, MetaWrite, Ring, SlotIndex};
use crate::peers::VolumeIndex;
use crate::resource::Resource;
use crate::volume::Attached;

/// Whether metadata move.
#[derive(Debug)]
pub(super) enum Moving {
    No,
    /// As soon as the activity log and the commits rest.
    Planned(Box<Layout>),
    /// Until this is durable.
    Running(Ticket),
}

impl Store {
    /// Whether the metadata move, or are about to.
    pub(crate) fn is_moving(&self) -> bool {
        !matches!(self.moving, Moving::No)
    }

    /// A commit is durable: perhaps the one that is a move.
    pub(super) fn move_ends(&mut self) {
        if matches!(self.moving, Moving::Running(ticket) if self.is_durable(ticket)) {
            self.moving = Moving::No;
        }
    }

    /// Empty bitmaps of the slots that no connection has. Where a peer has one, all of it counts
    /// as out of sync whatever its bitmap says.
    fn write_absent(&self) -> Vec<MetaWrite> {
        let absent = (0..self.layout.max_peers()).map(SlotIndex);
        let absent = absent.filter(|slot| !self.slots.iter().any(|known| known == slot));
        let index = |slot| {
            let area = self.layout.bitmap(slot).expect("a layout has an area for every slot");
            BitmapIndex::all_clear(self.superblock.device_uuid, area)
        };
        absent.flat_map(|slot| index(slot).plan_write_index()).collect()
    }
}

impl Attached {
    /// Every bitmap as it is, whole, for its new place.
    fn write_bitmaps(&mut self) -> Vec<MetaWrite> {
        let Self { store, bitmaps, .. } = self;
        let mut writes = store.write_absent();
        let Store { layout, superblock, slots, indexes, .. } = store;
        for ((bitmap, index), slot) in bitmaps.iter_mut().zip(indexes.iter_mut()).zip(slots.iter())
        {
            while bitmap.take_unsaved_page().is_some() {}
            let area = layout.bitmap(*slot).expect("a layout has an area for every slot");
            *index = BitmapIndex::all_clear(superblock.device_uuid, area);
            let page = |number| (PageIndex(number), bitmap.page_image(PageIndex(number)));
            let pages: Vec<_> = (0..bitmap.page_count()).map(page).collect();
            let by_offset = |write: MetaWrite| (write.offset, write);
            let mut whole: BTreeMap<_, _> =
                index.plan_write(&pages).into_iter().map(by_offset).collect();
            whole.extend(index.plan_write_index().into_iter().map(by_offset));
            writes.extend(whole.into_values());
        }
        writes
    }
}

impl Resource {
    /// Moves the metadata of an attached disk, at the next moment that allows it.
    pub(crate) fn plan_move(&mut self, volume: VolumeIndex, layout: Layout) {
        let attached = self.volumes[volume].attached_mut().expect("metadata are of a disk");
        assert!(!attached.store.is_moving(), "one move at a time");
        attached.store.moving = Moving::Planned(Box::new(layout));
        self.log_due = true;
        self.pump_commit(volume);
    }

    /// The activity log may have come to rest.
    pub(crate) fn move_when_at_rest(&mut self, volume: VolumeIndex) {
        if self.may_move(volume) {
            self.begin_move(volume);
        }
    }

    pub(super) fn may_move(&self, volume: VolumeIndex) -> bool {
        self.volumes[volume].attached().is_some_and(|attached| {
            matches!(attached.store.moving, Moving::Planned(_))
                && attached.store.running.is_none()
                && attached.log.as_ref().is_none_or(|log| log.is_at_rest())
        })
    }

    pub(super) fn begin_move(&mut self, volume: VolumeIndex) {
        let attached = self.volumes[volume].attached_mut().expect("its metadata move");
        let store = &mut attached.store;
        store.asked.0 += 1;
        let ticket = store.asked;
        let Moving::Planned(layout) = std::mem::replace(&mut store.moving, Moving::Running(ticket))
        else {
            unreachable!("planned before")
        };
        if store.layout.superblock_offset(CopyIndex::A) != layout.superblock_offset(CopyIndex::A) {
            store.first_copy = CopyIndex::A; // none is good where they go
        }
        store.superblock.left_behind = store.layout.left_behind();
        store.superblock.place(&layout).expect("seen when it was planned");
        store.layout = *layout;
        let ring = Ring::new(store.superblock.device_uuid, store.layout.activity_log());
        let Wanted { first, .. } = std::mem::take(&mut store.wanted);
        let never_agreed = store.superblock.effective_bytes == 0;
        let data_bytes = store.layout.data_bytes();
        for bitmap in attached.bitmaps.iter_mut().filter(|_| never_agreed) {
            bitmap.resize(data_bytes);
        }
        let mut writes = match attached.log.as_deref_mut() {
            Some(log) if !log.is_in(&ring) => log.move_to(ring),
            Some(_) | None => first,
        };
        writes.extend(attached.write_bitmaps());
        attached.store.running = Some(attached.store.superblock_commit(ticket));
        self.issue_commit(volume, writes.into_iter().map(write_op).collect());
    }
}

/// Makes what was metadata read as zeroes: nothing is ever found there again, and both nodes have
/// the same.
pub(super) fn zeroes(area: Area) -> Vec<DiskOpKind> {
    let end = area.offset + area.len;
    let piece = u64::from(ZEROES_PIECE_BYTES);
    let pieces = (0..area.len.div_ceil(piece)).map(|index| area.offset + index * piece);
    let zero = |offset: u64| {
        let len = u32::try_from((end - offset).min(piece)).expect("a piece is below 4 GiB");
        DiskOpKind::Zero { range: ByteRange::new(offset, len), keep_space: true, fua: true }
    };
    pieces.map(zero).collect()
}
