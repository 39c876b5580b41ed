//! A disk whose metadata are damaged, and an attach.
//!
//! The disk knows of differences: bits in its bitmap, and extents that a Primary had in use when it
//! crashed. The input damages it: bytes are changed, blocks zeroed, copied over others, or cannot
//! be read. Then it is refused, or it is used with no less known to differ (INV-18). Both copies of
//! a transaction damaged look like one that was torn and never counted, where a block that cannot
//! be read costs all of its copy of the log; and a superblock that is sealed again after its change
//! may say what it likes. Of those it is only asked that nothing breaks.

use std::collections::BTreeSet;
use std::sync::OnceLock;
use std::time::Duration;

use bytes::Bytes;
use tandem_replica::bitmap::{BLOCK_BYTES, Bitmap};
use tandem_replica::meta::{
    Area, BitmapIndex, CopyIndex, Layout, META_BLOCK, META_BLOCK_BYTES, Placement, SlotIndex,
    Superblock, choose,
};
use tandem_replica::wire::{DiskState, Protocol};
use tandem_replica::{Command, RequestOp};

use super::Target;
use crate::core::{DEVICE_BYTES, MemoryDisk, Node, Pair, layout};
use crate::source::Source;
use crate::{Random, Sightings};

pub(super) const TARGET: Target = Target {
    name: "metadata",
    run,
    generate,
    words: &[b"TANDEMSB", b"TNAL", &[0, 0x10, 0, 0], &[0xff, 0xff, 0xff, 0xff]],
    len_max: 1 << 10,
    // What is read at once, in search of metadata that have been outgrown.
    base_bytes: 24 << 20,
    per_byte: 16 << 10,
};

fn run(input: &[u8], seen: &mut Sightings) -> Result<(), String> {
    let mut source = Source::new(input);
    let templates = templates()?;
    let template = &templates[source.below(TEMPLATES)];
    let mut damage = Damage { disk: template.disk.clone(), ..Damage::default() };
    while !source.is_empty() && damage.count < 200 {
        damage.inflict(template, &mut source);
    }
    let is_torn = damage.is_torn();
    let Damage { disk, unreadable, is_lie, .. } = damage;
    let mut pair = Pair::new([disk, Node::formatted(1)], Protocol::C);
    let node = &mut pair.nodes[0];
    if is_lie {
        node.data_bytes = 0;
    }
    node.unreadable = unreadable;
    node.command(Command::Attach { volume: tandem_replica::wire::VolumeNumber(0) }, pair.now);
    pair.settle(seen)?;
    if is_lie {
        // What it says may also be told to a peer.
        pair.start_one(1);
        pair.start_one(0);
        return pair.run(Duration::from_secs(3), seen);
    }
    if pair.nodes[0].stand(pair.now).disk < DiskState::Inconsistent {
        seen.see("refused");
        return Ok(());
    }
    if is_torn {
        return Ok(());
    }
    pair.nodes[0].unreadable.clear();
    let known = known_different(&pair.nodes[0].disk)?;
    seen.see(("attached", known.len() == template.different.len(), known.len() % 7));
    match template.different.iter().find(|block| !known.contains(block)) {
        None => Ok(()),
        Some(block) => Err(format!("block {block} is not known to differ any more")),
    }
}

#[derive(Debug, Default)]
struct Damage {
    disk: MemoryDisk,
    /// Blocks that cannot be read.
    unreadable: BTreeSet<u64>,
    /// Blocks that were damaged in any way.
    touched: BTreeSet<u64>,
    /// A checksum was made to fit.
    is_lie: bool,
    count: usize,
}

impl Damage {
    fn inflict(&mut self, template: &Template, source: &mut Source<'_>) {
        self.count += 1;
        let kind = source.below(16);
        let block = template.block(source);
        self.touched.insert(block);
        match kind {
            0..8 => self.change(block, source, 1 + kind / 3),
            8 => self.disk.zero(block * META_BLOCK, META_BLOCK),
            9 | 10 => {
                let from = template.block(source);
                let bytes = self.disk.read(from * META_BLOCK, META_BLOCK_BYTES);
                self.disk.write(block * META_BLOCK, &bytes);
            }
            11 | 12 => drop(self.unreadable.insert(block)),
            _ => self.lie(source),
        }
    }

    /// Whether nothing may be left of a transaction: both of its copies are damaged, or it is
    /// damaged in one copy of the log, and the other is not read for a block of it.
    fn is_torn(&self) -> bool {
        let log = layout().activity_log();
        let (first, places) = (log.offset / META_BLOCK, log.len / META_BLOCK / 2);
        let copies = [first..first + places, first + places..first + 2 * places];
        let both = |block: &u64| self.touched.contains(&(block + places));
        let unread = [0, 1].map(|copy| self.unreadable.range(copies[copy].clone()).next());
        let other = [1, 0].map(|copy| self.touched.range(copies[copy].clone()).next());
        self.touched.range(copies[0].clone()).any(both)
            || unread.iter().zip(other).any(|(unread, other)| unread.is_some() && other.is_some())
    }

    fn change(&mut self, block: u64, source: &mut Source<'_>, len: usize) {
        let at = usize::from(source.short()) % META_BLOCK_BYTES;
        let mut bytes = self.disk.read(block * META_BLOCK, META_BLOCK_BYTES).to_vec();
        for byte in bytes[at..].iter_mut().take(len) {
            *byte ^= source.byte();
        }
        self.disk.write(block * META_BLOCK, &bytes);
    }

    /// Changes both copies of the superblock alike, and seals them.
    fn lie(&mut self, source: &mut Source<'_>) {
        self.is_lie = true;
        let (at, len) = (usize::from(source.short()) % META_BLOCK_BYTES, 1 + source.below(8));
        let bytes = source.bytes(len);
        for copy in CopyIndex::ALL {
            let offset = layout().superblock_offset(copy);
            let mut block = self.disk.read(offset, META_BLOCK_BYTES).to_vec();
            for (place, byte) in block[at..].iter_mut().zip(bytes) {
                *place = *byte;
            }
            block[CRC].fill(0);
            let crc = crc32fast::hash(&block).to_le_bytes();
            block[CRC].copy_from_slice(&crc);
            self.disk.write(offset, &block);
        }
    }
}

/// Where docs/ON_DISK.md has the checksum of a superblock.
const CRC: std::ops::Range<usize> = 8..12;

/// A disk to be damaged.
#[derive(Debug)]
struct Template {
    disk: MemoryDisk,
    /// Blocks that are known to differ once it is attached.
    different: BTreeSet<u64>,
    /// Blocks of its metadata that are not zeroes.
    written: Vec<u64>,
}

impl Template {
    /// A block of the metadata, most often one that says something.
    fn block(&self, source: &mut Source<'_>) -> u64 {
        let index = usize::from(source.byte());
        if index < 0xe0 {
            return self.written[index % self.written.len()];
        }
        let area = layout().metadata();
        area.offset / META_BLOCK + u64::from(source.short()) % (area.len / META_BLOCK)
    }

    fn of(disk: MemoryDisk) -> Result<Self, String> {
        let Area { offset, len } = layout().metadata();
        let blocks = offset / META_BLOCK..(offset + len) / META_BLOCK;
        let is_written = |block: &u64| {
            let bytes = disk.read(block * META_BLOCK, META_BLOCK_BYTES);
            bytes.iter().any(|byte| *byte != 0)
        };
        let written = blocks.filter(is_written).collect();
        let mut pair = Pair::new([disk.clone(), Node::formatted(1)], Protocol::C);
        pair.start_one(0);
        pair.settle(&mut Sightings::default())?;
        let different = known_different(&pair.nodes[0].disk)?;
        if different.is_empty() {
            return Err("a template that knows of no difference".to_owned());
        }
        Ok(Self { disk, different, written })
    }
}

const TEMPLATES: usize = 3;

/// A Primary that crashed in sync, one that crashed alone, and one that ended alone in good order.
fn templates() -> Result<&'static [Template; TEMPLATES], String> {
    static MADE: OnceLock<[Template; TEMPLATES]> = OnceLock::new();
    if let Some(made) = MADE.get() {
        return Ok(made);
    }
    let seen = &mut Sightings::default();
    let mut pair = Pair::new([Node::formatted(0), Node::formatted(1)], Protocol::C);
    pair.start(seen)?;
    pair.nodes[0].command(Command::Primary { force: true }, pair.now);
    pair.run(Duration::from_secs(10), seen)?;
    write(&mut pair, &[3, 9, 80, 200], seen)?;
    let crashed = Template::of(pair.nodes[0].disk.clone())?;
    pair.cut();
    write(&mut pair, &[5, 6, 100, 150, 300], seen)?;
    let alone = Template::of(pair.nodes[0].disk.clone())?;
    pair.nodes[0].command(Command::Down { force: true }, pair.now);
    pair.run(Duration::from_secs(5), seen)?;
    let ended = Template::of(pair.nodes[0].disk.clone())?;
    Ok(MADE.get_or_init(|| [crashed, alone, ended]))
}

fn write(pair: &mut Pair, blocks: &[u64], seen: &mut Sightings) -> Result<(), String> {
    for block in blocks {
        let data = Bytes::from_static(&[7; 4096]);
        let op = RequestOp::Write { offset: block * BLOCK_BYTES, data, fua: false };
        pair.nodes[0].request(op, pair.now);
        pair.run(Duration::from_secs(1), seen)?;
    }
    Ok(())
}

/// Blocks that the metadata of a disk in use say may differ.
fn known_different(disk: &MemoryDisk) -> Result<BTreeSet<u64>, String> {
    let copies = CopyIndex::ALL.map(|copy| {
        let offset = layout().superblock_offset(copy);
        Superblock::decode(&disk.read(offset, META_BLOCK_BYTES), copy)
    });
    let [a, b] = copies;
    let superblock = choose(a, b).map_err(|error| format!("in use with {error}"))?.superblock;
    let layout = Layout::from_superblock(&superblock, DEVICE_BYTES, Placement::Internal)
        .map_err(|error| format!("in use with {error}"))?;
    let mut bitmap = Bitmap::new(layout.data_bytes());
    let area = layout.bitmap(SlotIndex(0)).ok_or("in use without a bitmap")?;
    let mut index = BitmapIndex::unread(superblock.device_uuid, area);
    let read = |area: Area| disk.read(area.offset, usize::try_from(area.len).unwrap_or(0));
    for area in index.plan_index_read() {
        index.load_index(area, Some(&read(area)), &mut bitmap);
    }
    for area in index.plan_page_reads(&bitmap) {
        index.load_pages(area, Some(&read(area)), &mut bitmap);
    }
    Ok(bitmap.runs().flatten().collect())
}

fn generate(random: &mut Random) -> Vec<u8> {
    let mut input = vec![random.byte()];
    for _ in 0..1 + random.below(4) {
        let kind = if random.chance(70) { random.byte() % 13 } else { 13 };
        input.extend([
            kind,
            random.byte(),
            random.byte(),
            random.byte() & 15,
            1 << random.below(8),
        ]);
        let len = random.below(9);
        input.extend(random.bytes(len));
    }
    input
}
