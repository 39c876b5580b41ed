//! INV-8, without waiting for a crash: before a Primary's write goes to its disk or to the peer,
//! the metadata that a crash would find on that disk say that its blocks may differ.
//!
//! They are read as an attach reads them. What is known of the log is kept and follows its writes;
//! any other write of metadata but a bitmap's has it read anew.

use tandem_replica::bitmap::Bitmap;
use tandem_replica::meta::{
    Area, BitmapIndex, Hot, Layout, META_BLOCK, Ring, RingImage, SlotIndex, Superblock,
};
use tandem_replica::{DiskOpKind, Resource};
use tandem_wire::{ByteRange, DiskState, NodeId, PeerWrite, Role};

use crate::checks::Violation;
use crate::disk::{SimDisk, written};
use crate::format;
use crate::node::node_id;
use crate::profile::Profile;
use crate::stamp::{self, SECTOR};
use crate::view::View;
use crate::world::World;

/// What a disk's metadata say of a crash, as far as they have been looked at.
#[derive(Debug, Default)]
pub struct Covers(Option<Known>);

#[derive(Debug)]
struct Known {
    superblock: Superblock,
    layout: Layout,
    ring: RingImage,
    /// What the ring says, until it is written to.
    hot: Option<Hot>,
}

impl Covers {
    /// A block of metadata has been written.
    pub fn wrote(&mut self, at: u64, block: &[u8]) {
        let Some(known) = &mut self.0 else { return };
        let lies_in = |area: Area| area.offset <= at && at < area.offset + area.len;
        if lies_in(known.layout.activity_log()) {
            known.hot = None;
            let written = Area { offset: at, len: block.len() as u64 };
            known.ring.load(written, Some(block));
        } else if !known.bits().is_some_and(lies_in) {
            self.0 = None;
        }
    }

    /// Whether what the metadata say of a crash has the write among what may differ from `peer`.
    fn has(
        &mut self,
        disk: &SimDisk,
        (profile, node): (&Profile, usize),
        peer: NodeId,
        range: ByteRange,
    ) -> bool {
        if self.0.is_none() {
            self.0 = Known::read(disk, profile, node);
        }
        let Some(known) = &mut self.0 else { return false };
        known.is_left_behind(range) || known.is_hot(range) || known.has_bits(disk, peer, range)
    }
}

impl Known {
    fn read(disk: &SimDisk, profile: &Profile, node: usize) -> Option<Self> {
        let superblock = crate::grow::superblock(disk, profile, node)?;
        let placement = format::placement(profile, node);
        let end =
            if profile.external[node] { disk.opened().data_bytes } else { superblock.device_bytes };
        let layout = Layout::from_superblock(&superblock, end, placement).ok()?;
        let mut ring = RingImage::unread(Ring::new(superblock.device_uuid, layout.activity_log()));
        for area in ring.plan_read() {
            ring.load(area, Some(&disk.meta().read(area.offset, area.len)));
        }
        Some(Self { superblock, layout, ring, hot: None })
    }

    /// Where the bitmap of the only peer lies.
    fn bits(&self) -> Option<Area> {
        let slot = self.superblock.peers.iter().position(Option::is_some)?;
        let slot = SlotIndex(u8::try_from(slot).ok()?);
        self.layout.bitmap(slot).map(|it| it.area())
    }

    /// Whether it lies where metadata were, which both nodes make zero.
    fn is_left_behind(&self, range: ByteRange) -> bool {
        self.superblock.left_behind.is_some_and(|area| {
            area.offset <= range.offset && range.end() <= area.offset + area.len
        })
    }

    fn is_hot(&mut self, range: ByteRange) -> bool {
        let flags = self.superblock.flags;
        if !flags.primary_indicator || flags.al_disabled {
            return flags.primary_indicator;
        }
        let log = self.superblock.al_log;
        let hot = self.hot.get_or_insert_with(|| self.ring.recover(log));
        let Hot::Extents(extents) = hot else { return true };
        let of = |offset: u64| offset / u64::from(self.superblock.al_extent_bytes);
        (of(range.offset)..=of(range.end() - 1))
            .all(|extent| extents.iter().any(|it| u64::from(*it) == extent))
    }

    fn has_bits(&self, disk: &SimDisk, peer: NodeId, range: ByteRange) -> bool {
        let Some(slot) = self.superblock.slot_of(peer) else { return false };
        let area = self.layout.bitmap(slot).expect("a layout has an area for every slot");
        let mut index = BitmapIndex::unread(self.superblock.device_uuid, area);
        let mut bitmap = Bitmap::new(self.layout.data_bytes());
        let read = |area: &Area| disk.meta().read(area.offset, area.len);
        for area in index.plan_index_read() {
            index.load_index(area, Some(&read(&area)), &mut bitmap);
        }
        for area in index.plan_page_reads(&bitmap) {
            index.load_pages(area, Some(&read(&area)), &mut bitmap);
        }
        let blocks = range.offset / META_BLOCK..range.end().div_ceil(META_BLOCK);
        blocks.into_iter().all(|block| bitmap.any(block * META_BLOCK, META_BLOCK))
    }
}

impl World {
    /// A write is about to go to a disk; on a Primary's it is covered.
    pub(crate) fn check_covered(
        &mut self,
        node: usize,
        volume: usize,
        kind: &DiskOpKind,
    ) -> Result<(), Violation> {
        let Some(range) = written(kind) else { return Ok(()) };
        // What could not be read is written again as it is on the peer: nothing changes by that,
        // but for what has rotted.
        let first = usize::try_from(range.offset).expect("small") / SECTOR;
        let is_same = |disk: &SimDisk| {
            let DiskOpKind::Write { data, .. } = kind else { return false };
            let shown = disk.contents()[first..].iter().copied().take(data.len() / SECTOR);
            data.chunks_exact(SECTOR).map(stamp::peek).eq(shown)
        };
        if self.is_covered(node, volume, range) || is_same(&self.nodes[node].disks[volume]) {
            return Ok(());
        }
        Err(uncovered(node, volume, range, "to its disk"))
    }

    /// A write is about to go to the peer; with a disk of its own the node has covered it.
    pub(crate) fn check_sent_covered(
        &mut self,
        node: usize,
        write: &PeerWrite,
    ) -> Result<(), Violation> {
        let volume = usize::from(write.volume.0);
        let has_disk = |world: &Self| {
            let resource = world.nodes[node].resource.as_ref().expect("it sends");
            View::of(resource, world.now()).volumes[volume].disk == DiskState::UpToDate
        };
        if self.is_covered(node, volume, write.range) || !has_disk(self) {
            return Ok(());
        }
        Err(uncovered(node, volume, write.range, "to its peer"))
    }

    /// Whether metadata tell of what is written, where a Primary's must.
    fn is_covered(&mut self, node: usize, volume: usize, range: ByteRange) -> bool {
        let target = &mut self.nodes[node];
        let role = target.resource.as_ref().map(Resource::role);
        let disk = &mut target.disks[volume];
        if role != Some(Role::Primary) || target.opened[volume].is_none() {
            return true;
        }
        let mut covers = std::mem::take(&mut disk.covers);
        let is_covered = covers.has(disk, (&self.profile, node), node_id(1 - node), range);
        disk.covers = covers;
        is_covered
    }
}

fn uncovered(node: usize, volume: usize, range: ByteRange, place: &str) -> Violation {
    let text = format!(
        "node {node}, a Primary, writes {range} of volume {volume} {place}, of which a crash would \
         leave no trace in its metadata"
    );
    Violation::new("INV-8 activity log", text)
}
