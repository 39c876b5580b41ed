//! Taking a backing disk into use, and giving it up: by command, or because it failed.
//!
//! Attach: open, read both superblock copies, check whose they are and that they suit the device,
//! read the bitmaps' indexes and then their mixed pages. A node that crashed as Primary may have
//! had writes in flight: the extents in its activity log count as out of sync, towards every peer
//! there ever was, durably before the disk is used; without a log all of the disk does. On a
//! Primary the disk then gets its mark and begins a log of its own.

use bytes::Bytes;
use tandem_wire::{DiskState, Role};

use crate::action::{Action, CommandId, DiskOpKind, OpenedDisk, Severity};
use crate::bitmap::Bitmap;
use crate::error::{CommandError, DiskError};
use crate::meta::{
    Area, BitmapIndex, Chosen, CopyIndex, Hot, Identity, Layout, META_BLOCK_BYTES, MetaError,
    Placement, Ring, RingImage, SlotIndex, Superblock, choose, superblock_offsets,
};
use crate::peers::{List, PeerIndex, VolumeIndex};
use crate::resize::{Held, Sizing};
use crate::resource::Resource;
use crate::store::Store;
use crate::volume::{Attached, Disk, Purpose};

mod search;

use search::Search;

/// An attach under way, once the device is open.
#[derive(Debug)]
pub(crate) struct AttachRead {
    command: CommandId,
    opened: OpenedDisk,
    /// Size of the disk by its metadata, as far as they are known to lie elsewhere.
    end: u64,
    search: Option<Search>,
    copies: [Option<Result<Superblock, MetaError>>; 2],
    maps: Option<Maps>,
}

/// The bitmaps being read.
#[derive(Debug)]
struct Maps {
    layout: Layout,
    superblock: Superblock,
    first_copy: CopyIndex,
    slots: List<SlotIndex>,
    indexes: List<BitmapIndex>,
    bitmaps: List<Bitmap>,
    /// The activity log, where a crash has left one.
    ring: Option<RingImage>,
    /// The reads of the running step: whose, and what. Ended ones are counted in `ended`.
    reads: Vec<(Piece, Area)>,
    ended: usize,
    pages: bool,
    damaged: u32,
}

/// What a read is a piece of.
#[derive(Clone, Copy, Debug)]
enum Piece {
    Bitmap(PeerIndex),
    Ring,
}

impl Resource {
    pub(crate) fn begin_attach(
        &mut self,
        command: CommandId,
        volume: VolumeIndex,
    ) -> Result<(), CommandError> {
        let state = &mut self.volumes[volume];
        if state.lingers() {
            let text = format!(
                "volume {}: its disk was given up and has not ended {} operation(s) yet; it can be \
                 attached once it has",
                state.number,
                state.ops_in_flight()
            );
            return Err(CommandError::Refused(text));
        }
        if !matches!(state.disk, Disk::Diskless) {
            let text = format!("volume {} is {} already", state.number, state.disk_state());
            return Err(CommandError::Refused(text));
        }
        state.generation.0 += 1;
        state.disk = Disk::Opening(command);
        let (volume, generation) = (state.number, state.generation);
        self.push(Action::OpenDisk { volume, generation });
        Ok(())
    }

    /// The device is open, or not.
    pub(crate) fn disk_opened(&mut self, volume: VolumeIndex, result: Result<OpenedDisk, String>) {
        let state = &mut self.volumes[volume];
        let number = state.number;
        let Disk::Opening(command) = state.disk else {
            return;
        };
        let opened = match result {
            Ok(opened) => opened,
            Err(reason) => {
                state.disk = Disk::Diskless;
                self.unsettled = true;
                return self.done(command, Err(CommandError::OpenDisk { volume: number, reason }));
            }
        };
        let end = opened.data_bytes;
        let copies = [None, None];
        let read = AttachRead { command, opened, end, search: None, copies, maps: None };
        state.disk = Disk::Reading(Box::new(read));
        let placement = self.placement(volume, opened);
        let device = match placement {
            Placement::Internal => opened.data_bytes,
            Placement::External { meta_bytes } => meta_bytes,
        };
        let Some(offsets) = superblock_offsets(device, placement) else {
            return self.attach_failed(volume, "the device is too small to hold metadata");
        };
        self.read_superblocks(volume, offsets);
    }

    fn read_superblocks(&mut self, volume: VolumeIndex, offsets: [u64; 2]) {
        for (copy, offset) in offsets.into_iter().enumerate() {
            let kind = DiskOpKind::MetaRead {
                offset,
                len: u32::try_from(META_BLOCK_BYTES).expect("4096"),
            };
            self.disk_op(volume, Purpose::ReadSuperblock(copy), kind);
        }
    }

    pub(crate) fn placement(&self, volume: VolumeIndex, opened: OpenedDisk) -> Placement {
        if self.volumes[volume].config.external_metadata {
            return Placement::External { meta_bytes: opened.meta_bytes };
        }
        Placement::Internal
    }

    fn reading(&mut self, volume: VolumeIndex) -> Option<&mut AttachRead> {
        match &mut self.volumes[volume].disk {
            Disk::Reading(read) => Some(read),
            Disk::Diskless | Disk::Opening(_) | Disk::Attached(_) | Disk::Closing { .. } => None,
        }
    }

    /// A superblock copy has been read.
    pub(crate) fn superblock_read(
        &mut self,
        volume: VolumeIndex,
        copy: usize,
        result: Result<Bytes, DiskError>,
    ) {
        let Some(read) = self.reading(volume) else {
            return;
        };
        let decoded = match result {
            Ok(block) => Superblock::decode(&block, CopyIndex::ALL[copy]),
            Err(_) => Err(MetaError::Unreadable),
        };
        read.copies[copy] = Some(decoded);
        let [Some(copy_a), Some(copy_b)] = &read.copies else {
            return;
        };
        let (copy_a, copy_b) = (copy_a.clone(), copy_b.clone());
        match choose(copy_a, copy_b) {
            Ok(chosen) => self.plan_maps(volume, chosen),
            Err(error) => self.search_superblock(volume, error),
        }
    }

    /// The superblock is good: checks that it suits, and reads the bitmaps' indexes.
    fn plan_maps(&mut self, volume: VolumeIndex, chosen: Chosen) {
        let Chosen { mut superblock, repair } = chosen;
        let AttachRead { opened, end, .. } = *self.reading(volume).expect("reading goes on");
        let placement = self.placement(volume, opened);
        let number = self.volumes[volume].number;
        let identity = Identity::new(&self.config.name, number, self.config.node_id);
        let claimed = identity.and_then(|identity| superblock.claim(&identity, opened.data_bytes));
        if let Err(error) = claimed {
            return self.attach_failed(volume, &error.to_string());
        }
        if !self.may_attach(volume, &superblock) {
            let text = "this Primary's clients have seen newer data than this disk has; connect \
                        the peer that has them, or make this node Secondary first";
            return self.attach_failed(volume, text);
        }
        let layout = match Layout::from_superblock(&superblock, end, placement) {
            Ok(layout) => layout,
            Err(error) => return self.attach_failed(volume, &error.to_string()),
        };
        let slots: Result<Vec<SlotIndex>, MetaError> = self
            .connections
            .iter()
            .map(|connection| superblock.allocate_slot(connection.config.node_id))
            .collect();
        let slots = match slots {
            Ok(slots) => slots,
            Err(error) => return self.attach_failed(volume, &error.to_string()),
        };
        let size = match superblock.effective_bytes {
            0 => layout.data_bytes(),
            agreed => agreed,
        };
        let indexes: List<BitmapIndex> = slots
            .iter()
            .map(|slot| {
                let area = layout.bitmap(*slot).expect("a layout has an area for every slot");
                BitmapIndex::unread(superblock.device_uuid, area)
            })
            .collect();
        let flags = superblock.flags;
        let ring = Ring::new(superblock.device_uuid, layout.activity_log());
        let has_log = flags.primary_indicator && !flags.al_disabled;
        let maps = Maps {
            layout,
            superblock,
            first_copy: repair.map_or(CopyIndex::A, |(copy, _)| copy),
            ring: has_log.then(|| RingImage::unread(ring)),
            bitmaps: slots.iter().map(|_| Bitmap::new(size)).collect(),
            slots: slots.into_iter().collect(),
            indexes,
            reads: Vec::new(),
            ended: 0,
            pages: false,
            damaged: 0,
        };
        self.reading(volume).expect("reading goes on").maps = Some(maps);
        self.read_maps(volume);
    }

    /// Issues the reads of the next step: all indexes and the log, then all mixed pages.
    fn read_maps(&mut self, volume: VolumeIndex) {
        let peers: Vec<PeerIndex> = self.peer_indexes().collect();
        let maps = self.maps(volume);
        maps.ended = 0;
        maps.reads.clear();
        for peer in peers {
            let areas = if maps.pages {
                maps.indexes[peer].plan_page_reads(&maps.bitmaps[peer])
            } else {
                maps.indexes[peer].plan_index_read()
            };
            maps.reads.extend(areas.into_iter().map(|area| (Piece::Bitmap(peer), area)));
        }
        if let Some(ring) = maps.ring.as_ref().filter(|_| !maps.pages) {
            maps.reads.extend(ring.plan_read().into_iter().map(|area| (Piece::Ring, area)));
        }
        let reads = maps.reads.clone();
        if reads.is_empty() {
            return self.maps_read(volume);
        }
        for (piece, (_, area)) in reads.into_iter().enumerate() {
            let len = u32::try_from(area.len).expect("planned in pieces of a MiB");
            let kind = DiskOpKind::MetaRead { offset: area.offset, len };
            self.disk_op(volume, Purpose::ReadMap(piece), kind);
        }
    }

    fn maps(&mut self, volume: VolumeIndex) -> &mut Maps {
        let read = self.reading(volume).expect("reading goes on");
        read.maps.as_mut().expect("planned before")
    }

    /// A piece of the bitmaps or of the log has been read.
    pub(crate) fn map_read(
        &mut self,
        volume: VolumeIndex,
        piece: usize,
        result: &Result<Bytes, DiskError>,
    ) {
        if self.reading(volume).is_none() {
            return;
        }
        let maps = self.maps(volume);
        let (piece, area) = maps.reads[piece];
        let bytes = result.as_ref().ok().map(|bytes| bytes.as_ref());
        match piece {
            Piece::Ring => maps.ring.as_mut().expect("it is read").load(area, bytes),
            Piece::Bitmap(peer) => {
                let (index, bitmap) = (&mut maps.indexes[peer], &mut maps.bitmaps[peer]);
                maps.damaged += if maps.pages {
                    index.load_pages(area, bytes, bitmap)
                } else {
                    index.load_index(area, bytes, bitmap)
                };
            }
        }
        maps.ended += 1;
        if maps.ended == maps.reads.len() {
            self.maps_read(volume);
        }
    }

    fn maps_read(&mut self, volume: VolumeIndex) {
        let maps = self.maps(volume);
        if !maps.pages {
            maps.pages = true;
            return self.read_maps(volume);
        }
        self.attach(volume);
    }

    /// Everything has been read: the disk is attached, with what its metadata say it is worth.
    fn attach(&mut self, volume: VolumeIndex) {
        let disk = std::mem::replace(&mut self.volumes[volume].disk, Disk::Diskless);
        let Disk::Reading(read) = disk else { unreachable!("reading goes on") };
        let AttachRead { command, opened, maps, .. } = *read;
        let Maps {
            layout,
            mut superblock,
            first_copy,
            slots,
            indexes,
            mut bitmaps,
            ring,
            damaged,
            ..
        } = maps.expect("planned before");
        let crashed = superblock.flags.primary_indicator;
        let hot = crashed.then(|| ring.map_or(Hot::All, |ring| ring.recover(superblock.al_log)));
        if std::mem::take(&mut self.volumes[volume].unflushable) {
            superblock.forget_boots();
        }
        let state = self.attached_state(volume, &superblock);
        note_absent(&mut superblock, &slots);
        for (bitmap, slot) in bitmaps.iter_mut().zip(slots.iter()) {
            let slot = superblock.peers[slot.index()].as_mut().expect("allocated at attach");
            if std::mem::take(&mut slot.flags.full_sync) {
                bitmap.set_all();
            }
            if let Some(hot) = &hot {
                hot.mark(bitmap, superblock.al_extent_bytes);
            }
        }
        superblock.flags.crashed_primary |= crashed;
        superblock.flags.primary_indicator = false;
        // What the peers agreed on meanwhile stands where this disk says nothing.
        let size = match superblock.effective_bytes {
            0 => self.volumes[volume].size_bytes,
            agreed => agreed,
        };
        let former = superblock.former_bytes;
        let store = Store::new(layout, superblock, first_copy, slots, indexes);
        let sizing = Sizing::default();
        let attached =
            Attached { state, opened, store, bitmaps, log: None, attaching: None, sizing };
        let number = self.volumes[volume].number;
        // A size that this node has had from its peers is not taken back from clients.
        let is_held = self.volumes[volume].held.is_some();
        let unseen = former > 0 && (is_held || self.volumes[volume].size_bytes < size);
        self.volumes[volume].held = unseen.then_some(Held { bytes: former, until: None });
        self.volumes[volume].size_bytes = size;
        self.volumes[volume].disk = Disk::Attached(Box::new(attached));
        let ticket = self.commit(volume, true);
        let attached = self.volumes[volume].attached_mut().expect("attached above");
        attached.attaching = Some((command, ticket));
        let text = report(hot.as_ref(), damaged);
        let text = format!("volume {number} attached: {state}{text}");
        self.note(Some(volume), None, Severity::Info, text);
    }

    /// What the disk is worth, by its metadata and what is known of the peers.
    fn attached_state(&self, volume: VolumeIndex, superblock: &Superblock) -> DiskState {
        let current = superblock.current_uuid;
        let mut peers = superblock.peers.iter().flatten();
        let alone = peers.any(|it| it.is_apart(current));
        match (superblock.flags.consistent, superblock.flags.was_up_to_date) {
            (false, _) => DiskState::Inconsistent,
            (true, false) => DiskState::Outdated,
            // A Primary that went on without this disk: what the disk holds is old.
            (true, true) if self.was_served_by_peer(volume) => DiskState::Outdated,
            // Good, if still nobody has served when it can be used (`advance_attach`).
            (true, true) if self.role == Role::Primary => DiskState::Consistent,
            // Newest when last known. Where no peer can have written since, it still is.
            (true, true) if self.meets_data(volume) => DiskState::Consistent,
            (true, true) if alone || self.config.peers.is_empty() => DiskState::UpToDate,
            (true, true) => DiskState::Consistent,
        }
    }

    /// Whether a connected peer has data, which may be newer: a handshake will show.
    fn meets_data(&self, volume: VolumeIndex) -> bool {
        self.connections.iter().any(|connection| {
            connection.session().is_some()
                && connection.devices[volume].disk >= DiskState::Inconsistent
        })
    }

    /// Ends attaches whose metadata have become durable: the disk may be used.
    pub(crate) fn advance_attach(&mut self, volume: VolumeIndex) {
        let Some(attached) = self.volumes[volume].attached_mut() else {
            return;
        };
        let Some((command, ticket)) = attached.attaching else {
            return;
        };
        if !attached.store.is_durable(ticket) {
            return;
        }
        if self.role == Role::Primary && !self.is_unmarking() && self.lacks_mark(volume) {
            self.mark_primary(volume);
            let ticket = self.commit(volume, true);
            let attached = self.volumes[volume].attached_mut().expect("attached before");
            attached.attaching = Some((command, ticket));
            return;
        }
        // A peer may have begun to serve while this disk was being attached.
        let old = self.was_served_by_peer(volume);
        let attached = self.volumes[volume].attached_mut().expect("attached before");
        attached.attaching = None;
        if self.role == Role::Primary && attached.state == DiskState::Consistent {
            // What is not old has all that clients have seen.
            attached.state = if old { DiskState::Outdated } else { DiskState::UpToDate };
        }
        self.done(command, Ok(()));
        self.use_room(volume);
        for peer in self.peer_indexes() {
            self.leftovers_attached(peer, volume);
            if !self.connections[peer].is_settling() {
                self.renegotiate(peer, "a disk was attached");
            }
        }
        self.unsettled = true;
    }

    pub(crate) fn attach_failed(&mut self, volume: VolumeIndex, reason: &str) {
        let number = self.volumes[volume].number;
        let disk = std::mem::replace(
            &mut self.volumes[volume].disk,
            Disk::Closing { failed: false, detaching: Vec::new(), last_word: Vec::new() },
        );
        let Disk::Reading(read) = disk else { unreachable!("reading goes on") };
        let error = CommandError::Metadata { volume: number, reason: reason.to_owned() };
        self.done(read.command, Err(error));
        self.unsettled = true;
    }
}

/// What is said of the bits that an attach has set.
fn report(hot: Option<&Hot>, damaged: u32) -> String {
    let mut text = match hot {
        None => String::new(),
        Some(Hot::All) => {
            "; this node crashed as Primary, every block counts as out of sync".to_owned()
        }
        Some(Hot::Extents(extents)) => format!(
            "; this node crashed as Primary, {} extents of its activity log count as out of sync",
            extents.len()
        ),
    };
    if damaged > 0 {
        text += &format!("; {damaged} damaged bitmap blocks count as out of sync");
    }
    text
}

/// Peers that are not configured miss whatever is written from here on, and nobody notes what.
fn note_absent(superblock: &mut Superblock, configured: &List<SlotIndex>) {
    for (index, slot) in superblock.peers.iter_mut().enumerate() {
        if let Some(slot) = slot
            && !configured.iter().any(|known| known.index() == index)
        {
            slot.flags.full_sync = true;
        }
    }
}
