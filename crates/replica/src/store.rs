//! An attached volume's metadata: what they say, and how they become durable.
//!
//! A commit stores what is said at the moment it begins. Order: the changed pages of the bitmaps
//! (those it was asked to store) and the begin of an activity log are durable before superblock
//! copy A is issued, A before B; the commit is durable with B, or without a superblock with its
//! pages. One commit runs at a time; what is asked for meanwhile goes with the next.

use bytes::Bytes;
use tandem_wire::{DiskState, HISTORY_LEN, Uuid};

use crate::action::DiskOpKind;
use crate::bitmap::PageIndex;
use crate::error::DiskError;
use crate::meta::{
    BitmapIndex, BootId, CopyIndex, Layout, MetaWrite, PeerSlot, SlotIndex, Superblock,
};
use crate::peers::{List, PeerIndex, VolumeIndex};
use crate::resource::Resource;
use crate::volume::Purpose;

mod moving;

use moving::Moving;

/// Names a commit; durable when a commit of this number or a later one is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Ticket(u64);

/// A commit under way.
#[derive(Debug)]
struct Commit {
    ticket: Ticket,
    /// Writes of the running step that have not ended.
    left: usize,
    /// What is not issued yet, the next step last: the copies of the superblock.
    steps: Vec<Vec<DiskOpKind>>,
    /// The superblock that it stores, if it does.
    superblock: Option<Box<Superblock>>,
    /// What a move has left behind is zeroed at its end.
    clears: bool,
}

impl Commit {
    /// Whether the first copy of the superblock is durable.
    fn has_stored_first(&self) -> bool {
        self.superblock.is_some() && self.steps.len() <= usize::from(self.clears)
    }
}

/// What the next commit stores.
#[derive(Debug, Default)]
struct Wanted {
    superblock: bool,
    /// All pages of the bitmaps that changed.
    bitmaps: bool,
    /// Of these pages the ones that changed.
    pages: Vec<PageIndex>,
    /// What must be durable before the superblock.
    first: Vec<MetaWrite>,
}

/// An attached volume's metadata.
#[derive(Debug)]
pub(crate) struct Store {
    layout: Layout,
    superblock: Superblock,
    /// The copy that every update writes first: the one that was not good at the attach. A crash
    /// must not find the other one half written before this one is good.
    first_copy: CopyIndex,
    /// By connection.
    pub(crate) slots: List<SlotIndex>,
    /// By connection.
    pub(crate) indexes: List<BitmapIndex>,
    asked: Ticket,
    /// The last commit of the superblock that was asked for.
    superblock_asked: Ticket,
    wanted: Wanted,
    running: Option<Commit>,
    durable: Ticket,
    /// The superblock that is on disk, once this process has stored one.
    stored: Option<Box<Superblock>>,
    moving: Moving,
}

impl Store {
    pub(crate) fn new(
        layout: Layout,
        superblock: Superblock,
        first_copy: CopyIndex,
        slots: List<SlotIndex>,
        indexes: List<BitmapIndex>,
    ) -> Self {
        Self {
            layout,
            superblock,
            first_copy,
            slots,
            indexes,
            asked: Ticket(0),
            superblock_asked: Ticket(0),
            wanted: Wanted::default(),
            running: None,
            durable: Ticket(0),
            stored: None,
            moving: Moving::No,
        }
    }

    pub(crate) fn layout(&self) -> &Layout {
        &self.layout
    }

    pub(crate) fn superblock(&self) -> &Superblock {
        &self.superblock
    }

    pub(crate) fn superblock_mut(&mut self) -> &mut Superblock {
        &mut self.superblock
    }

    /// What is kept for a peer.
    pub(crate) fn peer(&self, peer: PeerIndex) -> &PeerSlot {
        let slot = self.superblock.peers[self.slots[peer].index()].as_ref();
        slot.expect("every peer gets its slot at attach")
    }

    pub(crate) fn peer_mut(&mut self, peer: PeerIndex) -> &mut PeerSlot {
        let slot = self.superblock.peers[self.slots[peer].index()].as_mut();
        slot.expect("every peer gets its slot at attach")
    }

    pub(crate) fn is_durable(&self, ticket: Ticket) -> bool {
        self.durable >= ticket
    }

    /// Whether what the superblock says is on disk.
    pub(crate) fn is_superblock_durable(&self) -> bool {
        self.is_durable(self.superblock_asked)
    }

    /// These writes are durable before the superblock of the next commit is issued.
    pub(crate) fn write_first(&mut self, writes: [MetaWrite; 2]) {
        self.wanted.first = writes.into();
    }

    /// This node does not track changes for the peer any more.
    pub(crate) fn forget_bitmap_uuid(&mut self, peer: PeerIndex) {
        let flags = &mut self.peer_mut(peer).flags;
        flags.full_sync = false;
        flags.bitmap_alias = false;
        flags.unheard = false;
        let old = std::mem::replace(&mut self.peer_mut(peer).bitmap_uuid, Uuid::NONE);
        self.superblock.remember(old);
    }

    /// The peer, target of a resync that has copied everything, may take over the current
    /// generation: from here on it holds that one, or still the one it had for the time of the
    /// resync.
    pub(crate) fn allow_current(&mut self, peer: PeerIndex) {
        self.track_from(peer, self.superblock.current_uuid);
    }

    /// Changes are tracked for the peer since generation `uuid`, which it holds, unless it still
    /// has, or has taken, the one that it was given for the time of a resync.
    pub(crate) fn track_from(&mut self, peer: PeerIndex, uuid: Uuid) {
        let sync_uuid = self.peer(peer).bitmap_uuid;
        if sync_uuid == uuid {
            return;
        }
        self.forget_bitmap_uuid(peer);
        let known = sync_uuid.is_real() && self.superblock.history[0] == sync_uuid;
        let slot = self.peer_mut(peer);
        slot.bitmap_uuid = uuid;
        slot.flags.bitmap_alias = known;
    }

    /// A Primary whose disk is away lives on this one, and the two count as told apart: that this
    /// node was Primary before is settled.
    pub(crate) fn lend(&mut self, peer: PeerIndex) {
        self.superblock.flags.crashed_primary = false;
        self.peer_mut(peer).flags.was_primary = false;
    }

    /// The data are of another generation from here on.
    pub(crate) fn adopt_current(&mut self, uuid: Uuid) {
        let old = std::mem::replace(&mut self.superblock.current_uuid, uuid);
        if old != uuid {
            self.superblock.remember(old);
        }
    }

    /// What the disk is worth, as it is found at the next attach.
    pub(crate) fn set_disk_state(&mut self, state: DiskState) {
        let flags = &mut self.superblock.flags;
        flags.consistent = state >= DiskState::Outdated;
        flags.was_up_to_date = state >= DiskState::Consistent;
    }

    /// The copies of the superblock as it is to be, one step each, the first one last; before them
    /// in the list, behind them in time, zeroes over what a move has left behind.
    fn plan_copies(&mut self) -> Vec<Vec<DiskOpKind>> {
        let Self { superblock, layout, first_copy, .. } = self;
        let [first, second] = superblock.plan_update(layout, *first_copy);
        let left_behind = superblock.left_behind.map(moving::zeroes).into_iter();
        left_behind.chain([vec![write_op(second)], vec![write_op(first)]]).collect()
    }

    /// A commit of the superblock as it is to be.
    fn superblock_commit(&mut self, ticket: Ticket) -> Commit {
        let steps = self.plan_copies();
        let superblock = Some(Box::new(self.superblock.clone()));
        let clears = self.superblock.left_behind.is_some();
        Commit { ticket, left: 0, steps, superblock, clears }
    }

    /// What is to be stored, the last step first, if this disk may have lost what it had not made
    /// durable: that it is nobody's survivor, as after a power loss. All else is as it is on disk;
    /// what was on its way there nobody relies on. Nothing where the metadata are in two places.
    pub(crate) fn into_last_word(self) -> Vec<DiskOpKind> {
        let Self { layout, superblock, first_copy, stored, running, moving, .. } = self;
        let Some(mut stored) = stored.filter(|_| !matches!(moving, Moving::Running(_))) else {
            return Vec::new();
        };
        stored.forget_boots();
        stored.sequence = superblock.sequence;
        let [first, second] = stored.plan_update(&layout, first_copy).map(write_op);
        // The copy that a commit may have left half written comes first.
        match running.is_some_and(|commit| commit.has_stored_first()) {
            true => vec![first, second],
            false => vec![second, first],
        }
    }

    /// The newest older generations, as they are told to a peer.
    pub(crate) fn recent_history(&self) -> [Uuid; HISTORY_LEN] {
        std::array::from_fn(|index| self.superblock.history[index])
    }
}

impl Superblock {
    /// This disk may lack what it had received, and is nobody's survivor (SEMANTICS rule 1).
    pub(crate) fn forget_boots(&mut self) {
        for slot in self.peers.iter_mut().flatten() {
            slot.boot_id = BootId::default();
        }
    }

    /// Puts a generation in front of the history.
    pub(crate) fn remember(&mut self, uuid: Uuid) {
        if !uuid.is_real() || self.current_uuid == uuid {
            return;
        }
        // A generation stands in the history once, as the newest it was.
        let place = self.history.iter().position(|known| *known == uuid);
        let last = place.unwrap_or(self.history.len() - 1);
        self.history[..=last].rotate_right(1);
        self.history[0] = uuid;
        for slot in self.peers.iter_mut().flatten() {
            slot.flags.bitmap_alias = false;
        }
    }
}

impl Resource {
    /// Makes what the metadata say durable. `with_bitmaps`: the bits set so far too.
    pub(crate) fn commit(&mut self, volume: VolumeIndex, with_bitmaps: bool) -> Ticket {
        let attached = self.volumes[volume].attached_mut().expect("metadata are of a disk");
        attached.store.asked.0 += 1;
        attached.store.superblock_asked = attached.store.asked;
        attached.store.wanted.superblock = true;
        attached.store.wanted.bitmaps |= with_bitmaps;
        let ticket = attached.store.asked;
        self.pump_commit(volume);
        ticket
    }

    /// Makes the bits set so far in these pages durable, and nothing else.
    pub(crate) fn save_pages(&mut self, volume: VolumeIndex, pages: Vec<PageIndex>) -> Ticket {
        let attached = self.volumes[volume].attached_mut().expect("metadata are of a disk");
        attached.store.asked.0 += 1;
        attached.store.wanted.pages.extend(pages);
        let ticket = attached.store.asked;
        self.pump_commit(volume);
        ticket
    }

    /// Begins the next commit if one is asked for and none runs.
    fn pump_commit(&mut self, volume: VolumeIndex) {
        if self.may_move(volume) {
            return self.begin_move(volume);
        }
        let Some(attached) = self.volumes[volume].attached_mut() else {
            return;
        };
        let store = &mut attached.store;
        if store.running.is_some() || store.durable == store.asked {
            return;
        }
        let Wanted { superblock, bitmaps, pages, first } = std::mem::take(&mut store.wanted);
        let mut writes = Vec::new();
        for (bitmap, index) in attached.bitmaps.iter_mut().zip(store.indexes.iter_mut()) {
            let changed: Vec<_> = if bitmaps {
                std::iter::from_fn(|| bitmap.take_unsaved_page()).collect()
            } else {
                let changed = |page: &PageIndex| Some((*page, bitmap.take_if_unsaved(*page)?));
                pages.iter().filter_map(changed).collect()
            };
            writes.extend(index.plan_write(&changed));
        }
        let bm_writes = writes.len() as u64;
        writes.extend(first);
        store.running = Some(if superblock {
            store.superblock_commit(store.asked)
        } else {
            let (ticket, steps) = (store.asked, Vec::new());
            Commit { ticket, left: 0, steps, superblock: None, clears: false }
        });
        self.volumes[volume].counters.bm_writes += bm_writes;
        if writes.is_empty() {
            return self.next_step(volume);
        }
        self.issue_commit(volume, writes.into_iter().map(write_op).collect());
    }

    fn issue_commit(&mut self, volume: VolumeIndex, step: Vec<DiskOpKind>) {
        let attached = self.volumes[volume].attached_mut().expect("a commit needs its disk");
        attached.store.running.as_mut().expect("it runs").left = step.len();
        for kind in step {
            self.disk_op(volume, Purpose::Commit, kind);
        }
    }

    /// The running step is durable: issues the next one, or ends the commit.
    fn next_step(&mut self, volume: VolumeIndex) {
        let attached = self.volumes[volume].attached_mut().expect("a commit needs its disk");
        let commit = attached.store.running.as_mut().expect("it runs");
        if let Some(step) = commit.steps.pop() {
            return self.issue_commit(volume, step);
        }
        attached.store.durable = commit.ticket;
        if commit.clears {
            attached.store.superblock.left_behind = None; // as the next commit says
        }
        if let Some(superblock) = commit.superblock.take() {
            attached.store.stored = Some(superblock);
        }
        attached.store.running = None;
        attached.store.move_ends();
        self.unsettled = true;
        self.log_due = true;
        self.pump_commit(volume);
    }

    /// One write of the running commit has ended.
    pub(crate) fn commit_written(&mut self, volume: VolumeIndex, error: Option<DiskError>) {
        let Some(attached) = self.volumes[volume].attached_mut() else {
            return;
        };
        if let Some(error) = error {
            return self.disk_failed(volume, "writing metadata", error);
        }
        let commit = attached.store.running.as_mut().expect("its writes are in flight");
        commit.left -= 1;
        if commit.left == 0 {
            self.next_step(volume);
        }
    }

    pub(crate) fn is_durable(&self, volume: VolumeIndex, ticket: Ticket) -> bool {
        self.volumes[volume].attached().is_some_and(|a| a.store.is_durable(ticket))
    }

    pub(crate) fn current_uuid(&self, volume: VolumeIndex) -> Uuid {
        self.volumes[volume].attached().map_or(Uuid::NONE, |a| a.store.superblock.current_uuid)
    }

    pub(crate) fn bitmap_uuid(&self, peer: PeerIndex, volume: VolumeIndex) -> Uuid {
        self.volumes[volume].attached().map_or(Uuid::NONE, |a| a.store.peer(peer).bitmap_uuid)
    }

    /// Blocks of 4 KiB out of sync.
    pub(crate) fn dirty_blocks(&self, peer: PeerIndex, volume: VolumeIndex) -> u64 {
        self.volumes[volume].attached().map_or(0, |a| a.bitmaps[peer].count())
    }
}

fn write_op(write: MetaWrite) -> DiskOpKind {
    DiskOpKind::MetaWrite { offset: write.offset, data: Bytes::from(write.bytes) }
}
