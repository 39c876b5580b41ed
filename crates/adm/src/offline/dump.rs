//! Metadata as text, in the form of drbdmeta's dump; what only these have is in comments.

use std::fmt::Write;

use tandem_replica::bitmap::{Bitmap, PAGE_BYTES, PageImage, PageIndex};
use tandem_replica::meta::{
    CopyIndex, PeerFlags, PeerSlot, Ring, SlotIndex, Superblock, VolumeFlags,
};
use tandem_wire::{NodeId, Uuid};

use super::gi::is_log_clean;
use crate::metadata::Metadata;

/// All of them.
pub(super) fn dump(metadata: &Metadata) -> String {
    let Metadata { superblock, layout, .. } = metadata;
    let mut text = head(superblock);
    let area = layout.metadata();
    let first_bitmap = layout.bitmap(SlotIndex(0)).expect("there is a slot for one peer at least");
    let _ = write!(
        text,
        "max-peers {};\n# md_size_sect {}\n# md_offset {}\n# al_offset {}\n# bm_offset {}\n\n",
        superblock.max_peers,
        area.len / 512,
        layout.superblock_offset(CopyIndex::A),
        layout.activity_log().offset,
        first_bitmap.offset,
    );
    let node = superblock.identity.as_ref().map_or(-1, |own| i16::from(own.node().0));
    let _ = write!(
        text,
        "node-id {node};\ncurrent-uuid {};\nflags {:#010x};\n",
        word(superblock.current_uuid),
        volume_flags(superblock),
    );
    for node in (0..NodeId::COUNT_MAX).map(NodeId) {
        peer(&mut text, superblock, node);
    }
    history(&mut text, superblock);
    let ring = Ring::new(superblock.device_uuid, layout.activity_log());
    let _ = write!(
        text,
        "# al-extents {};\nla-size-sect {};\nbm-byte-per-bit 4096;\n\
         device-uuid {};\nla-peer-max-bio-size 0;\n",
        ring.slots_max(),
        superblock.effective_bytes / 512,
        word(Uuid(superblock.device_uuid.half())),
    );
    let mut set = 0;
    for slot in (0..superblock.max_peers).map(SlotIndex) {
        let (_, bits) = metadata.bitmap(slot);
        set += bits.count();
        bitmap(&mut text, slot, &bits);
    }
    let _ = writeln!(text, "# bits-set {set};");
    text
}

fn head(superblock: &Superblock) -> String {
    let owner = superblock.identity.as_ref();
    let owner = owner.map_or_else(|| "nobody yet".to_owned(), ToString::to_string);
    let mut text = format!(
        "# DRBD meta data dump\n# of tandem's metadata: {owner}\n\
         # update {}, disk of {} bytes, data of {} bytes, activity log {} of extents of {} bytes\n",
        superblock.sequence,
        superblock.device_bytes,
        superblock.data_bytes,
        superblock.al_log,
        superblock.al_extent_bytes,
    );
    if let Some(left) = superblock.left_behind {
        let _ = writeln!(text, "# bytes {} on, {} of them, to be zeroed", left.offset, left.len);
    }
    text.push_str("#\n\nversion \"v09\";\n\n");
    text
}

/// DRBD's flag for a log that has been applied.
const AL_CLEAN: u32 = 0x80;

/// DRBD's flag for a peer that there is.
const NODE_EXISTS: u32 = 0x1_0000;

fn volume_flags(superblock: &Superblock) -> u32 {
    let flags = superblock.flags;
    let VolumeFlags { consistent, primary_indicator, was_up_to_date, .. } = flags;
    let VolumeFlags { crashed_primary, al_disabled, .. } = flags;
    let clean = is_log_clean(superblock);
    let set = [
        (consistent, 0x1),
        (primary_indicator, 0x2),
        (was_up_to_date, 0x10),
        (crashed_primary, 0x40),
        (clean, AL_CLEAN),
        (al_disabled, 0x100),
    ];
    set.iter().map(|(is_set, bit)| if *is_set { *bit } else { 0 }).sum()
}

/// DRBD's flags with DRBD's names, and those that DRBD has not.
pub(super) fn peer_flags(flags: PeerFlags) -> (u32, Vec<&'static str>) {
    let set = [
        (flags.connected, 0x1, "connected"),
        (flags.outdated, 0x2, "<=outdated"),
        (flags.fencing, 0x4, "fencing"),
        (flags.full_sync, 0x8, "full-sync"),
        (flags.device_seen, 0x10, "seen"),
        (true, NODE_EXISTS, "exists"),
        (flags.resync_target, 0, "tandem: resync-target"),
        (flags.bitmap_alias, 0, "tandem: bitmap-alias"),
        (flags.drained, 0, "tandem: drained"),
        (flags.was_primary, 0, "tandem: was-primary"),
        (flags.went_on, 0, "tandem: went-on"),
        (flags.unheard, 0, "tandem: unheard"),
    ];
    let set = set.iter().filter(|(is_set, _, _)| *is_set);
    let names = set.clone().map(|(_, _, name)| *name).collect();
    (set.map(|(_, bit, _)| bit).sum(), names)
}

fn peer(text: &mut String, superblock: &Superblock, node: NodeId) {
    let index = superblock.slot_of(node);
    let slot: Option<PeerSlot> = index.and_then(|index| superblock.peers[usize::from(index.0)]);
    let (flags, names) = slot.map_or((0, Vec::new()), |slot| peer_flags(slot.flags));
    let comment =
        if names.is_empty() { String::new() } else { format!(" # {}", names.join(" | ")) };
    let _ = write!(
        text,
        "peer[{node}] {{\n    bitmap-index {};\n    bitmap-uuid {};\n    \
         bitmap-dagtag 0x0000000000000000;\n    flags {flags:#010X};{comment}\n}}\n",
        index.map_or(-1, |index| i16::from(index.0)),
        word(slot.map_or(Uuid::NONE, |slot| slot.bitmap_uuid)),
    );
}

fn history(text: &mut String, superblock: &Superblock) {
    text.push_str("history-uuids {\n");
    for four in superblock.history.chunks(4) {
        let four: Vec<String> = four.iter().map(|uuid| format!("{};", word(*uuid))).collect();
        let _ = writeln!(text, "        {}", four.join(" "));
    }
    text.push_str("}\n");
}

/// Words of 64 bits, the first block in the lowest bit; runs of equal ones are counted.
fn bitmap(text: &mut String, slot: SlotIndex, bitmap: &Bitmap) {
    let _ = write!(text, "bitmap[{}] {{\n   # at 0kB\n", slot.0);
    let mut words = bitmap.blocks().div_ceil(64);
    let mut run = (0_u64, 0_u64);
    let mut line = 0;
    for page in (0..bitmap.page_count()).map(PageIndex) {
        let in_page = words.min((PAGE_BYTES / 8) as u64);
        words -= in_page;
        let image = bitmap.page_image(page);
        for index in 0..in_page {
            let word = match &image {
                PageImage::AllClear => 0,
                PageImage::AllSet => u64::MAX,
                PageImage::Mixed(bytes) => word_of(bytes.as_slice(), index),
            };
            if run.1 > 0 && run.0 != word {
                put_run(text, run, &mut line);
                run.1 = 0;
            }
            run = (word, run.1 + 1);
        }
    }
    put_run(text, run, &mut line);
    text.push_str(if line > 0 { "\n}\n" } else { "}\n" });
}

fn word_of(page: &[u8], index: u64) -> u64 {
    let (words, _) = page.as_chunks::<8>();
    let index = usize::try_from(index).expect("a page has 512 words");
    u64::from_le_bytes(words[index])
}

/// Four words in a line, or a count of equal ones in a line of its own.
fn put_run(text: &mut String, (word, count): (u64, u64), line: &mut u32) {
    if count > 3 {
        let end = if std::mem::take(line) > 0 { "\n" } else { "" };
        let _ = writeln!(text, "{end}    {count} times 0x{word:016X};");
        return;
    }
    for _ in 0..count {
        let start = if *line == 0 { "    " } else { " " };
        let _ = write!(text, "{start}0x{word:016X};");
        *line = (*line + 1) % 4;
        if *line == 0 {
            text.push('\n');
        }
    }
}

fn word(uuid: Uuid) -> String {
    format!("0x{uuid}")
}
