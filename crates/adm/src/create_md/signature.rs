//! Recognises what a device holds: file systems, partition tables, and what manages disks.
//!
//! Signatures are looked for where their formats put them. Recognising too much costs a `--force`,
//! recognising too little costs the data, so checks are kept loose.

use std::fmt;

use crate::device::Device;

/// Something that was recognised.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Found {
    device: String,
    what: String,
    offset: u64,
    /// Where it ends, if it says so.
    end: Option<u64>,
    note: String,
}

impl Found {
    pub(crate) fn new(device: &Device, what: impl Into<String>, offset: u64) -> Self {
        let device = device.path().display().to_string();
        Self { device, what: what.into(), offset, end: None, note: String::new() }
    }

    /// Notes whether it ends before internal metadata that start at `data_end`.
    pub(crate) fn note_fit(&mut self, data_end: u64) {
        self.note = match self.end {
            Some(end) if end > data_end => {
                format!(", reaches to byte {end} and into the metadata from {data_end} on")
            }
            Some(end) => {
                format!(", ends at byte {end}: metadata from {data_end} on would leave it whole")
            }
            None => String::new(),
        };
    }
}

impl fmt::Display for Found {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { device, what, offset, note, .. } = self;
        write!(f, "{device}: {what} at byte {offset}{note}")
    }
}

/// Everything that is recognised on `device`.
pub(crate) fn signatures(device: &Device) -> Result<Vec<Found>, String> {
    let mut found = Vec::new();
    for (what, offset, magic) in MAGICS {
        let length = u64::try_from(magic.len()).expect("magics are short");
        if device.read(*offset, length)? == *magic {
            found.push(Found::new(device, *what, *offset));
        }
    }
    for find in [ext, xfs, btrfs, lvm, partitions, zfs, raid, drbd] {
        found.extend(find(device)?);
    }
    Ok(found)
}

type Search = Result<Option<Found>, String>;

/// What is told by a few bytes at one place.
const MAGICS: &[(&str, u64, &[u8])] = &[
    ("LUKS encrypted volume", 0, b"LUKS\xba\xbe"),
    ("LUKS encrypted volume (second header)", 0x4000, b"SKUL\xba\xbe"),
    ("squashfs file system", 0, b"hsqs"),
    ("iso9660 file system", 32_769, b"CD001"),
    ("udf file system", 32_769, b"BEA01"),
    ("f2fs file system", 1024, b"\x10\x20\xf5\xf2"),
    ("ntfs file system", 3, b"NTFS    "),
    ("exfat file system", 3, b"EXFAT   "),
    ("vfat file system", 82, b"FAT32   "),
    ("vfat file system", 54, b"FAT16   "),
    ("vfat file system", 54, b"FAT12   "),
    ("swap space", 4086, b"SWAPSPACE2"),
    ("swap space", 4086, b"SWAP-SPACE"),
    ("swap space", 16_374, b"SWAPSPACE2"),
    ("swap space", 65_526, b"SWAPSPACE2"),
    ("bcache device", 4120, b"\xc6\x85\x73\xf6\x4e\x1a\x45\xca\x82\x65\xf5\x7f\x48\xba\x6d\x81"),
    (
        "bcachefs file system",
        4120,
        b"\xc6\x85\x73\xf6\x66\xce\x90\xa9\xd9\x6a\x60\xcf\x80\x3d\xf7\xef",
    ),
    ("erofs file system", 1024, b"\xe2\xe1\xf5\xe0"),
    ("reiserfs file system", 65_588, b"ReIsEr"),
    ("jfs file system", 32_768, b"JFS1"),
    ("ocfs2 file system", 8192, b"OCFSV2"),
    ("gfs2 file system", 65_536, b"\x01\x16\x19\x70"),
    ("vdo volume", 0, b"dmvdo001"),
    ("qcow2 image", 0, b"QFI\xfb"),
];

fn ext(device: &Device) -> Search {
    const START: u64 = 1024;
    let block = device.read(START, 1024)?;
    if u16_at(&block, 0x38) != 0xef53 {
        return Ok(None);
    }
    let (compatible, incompatible) = (u32_at(&block, 0x5c), u32_at(&block, 0x60));
    let journal = compatible & 0x4 != 0 || incompatible & 0x8 != 0;
    let extents = incompatible & 0x2c0 != 0;
    let what = match (extents, journal) {
        (true, _) => "ext4 file system",
        (false, true) => "ext3 file system",
        (false, false) => "ext2 file system",
    };
    let high = if incompatible & 0x80 == 0 { 0 } else { u64::from(u32_at(&block, 0x150)) };
    let blocks = high << 32 | u64::from(u32_at(&block, 4));
    let block_bytes = 1024_u64.checked_shl(u32_at(&block, 0x18)).unwrap_or(0);
    let end = blocks.checked_mul(block_bytes).filter(|end| *end > 0);
    Ok(Some(Found { end, ..Found::new(device, what, START) }))
}

fn xfs(device: &Device) -> Search {
    let block = device.read(0, 512)?;
    if !block.starts_with(b"XFSB") {
        return Ok(None);
    }
    let block_bytes = u64::from(u32::from_be_bytes(bytes_at(&block, 4)));
    let end = u64::from_be_bytes(bytes_at(&block, 8)).checked_mul(block_bytes);
    Ok(Some(Found { end, ..Found::new(device, "xfs file system", 0) }))
}

fn btrfs(device: &Device) -> Search {
    const START: u64 = 65_536;
    let block = device.read(START, 4096)?;
    if !block[64..].starts_with(b"_BHRfS_M") {
        return Ok(None);
    }
    let end = Some(u64::from_le_bytes(bytes_at(&block, 0x70)));
    Ok(Some(Found { end, ..Found::new(device, "btrfs file system", START) }))
}

fn lvm(device: &Device) -> Search {
    for sector in 0..4 {
        let block = device.read(sector * 512, 512)?;
        if block.starts_with(b"LABELONE") {
            return Ok(Some(Found::new(device, "LVM physical volume", sector * 512)));
        }
    }
    Ok(None)
}

/// GPT at either end, or an MBR that has an entry.
fn partitions(device: &Device) -> Search {
    for sector_bytes in [512, 4096] {
        let backup = device.bytes() / sector_bytes * sector_bytes;
        for offset in [Some(sector_bytes), backup.checked_sub(sector_bytes)].into_iter().flatten() {
            if device.read(offset, 8)? == b"EFI PART" {
                return Ok(Some(Found::new(device, "GPT partition table", offset)));
            }
        }
    }
    let block = device.read(0, 512)?;
    let signed = block[510..] == [0x55, 0xaa];
    let entries = block[446..510].chunks(16);
    let partition = |entry: &[u8]| matches!(entry[0], 0 | 0x80) && entry[4] != 0;
    if signed && entries.into_iter().any(partition) {
        return Ok(Some(Found::new(device, "MBR partition table", 0)));
    }
    if signed {
        return Ok(Some(Found::new(device, "boot sector", 0)));
    }
    Ok(None)
}

/// An uberblock in one of the four labels, of either byte order.
fn zfs(device: &Device) -> Search {
    const LABEL: u64 = 256 << 10;
    let end = device.bytes() / LABEL * LABEL;
    for label in [Some(0), Some(LABEL), end.checked_sub(2 * LABEL), end.checked_sub(LABEL)] {
        let Some(label) = label else { continue };
        let offset = label + LABEL / 2;
        let ring = device.read(offset, LABEL / 2)?;
        let uberblock = |block: &[u8]| {
            let magic = u64::from_le_bytes(bytes_at(block, 0));
            magic == 0x00ba_b10c || magic.swap_bytes() == 0x00ba_b10c
        };
        if ring.chunks(1024).any(uberblock) {
            return Ok(Some(Found::new(device, "ZFS member", offset)));
        }
    }
    Ok(None)
}

/// Linux software RAID, formats 1.1, 1.2, 1.0 and 0.90.
fn raid(device: &Device) -> Search {
    let bytes = device.bytes();
    let at_end = (bytes / 512).checked_sub(16).map(|sector| sector / 8 * 8 * 512);
    let old = (bytes / 65_536 * 65_536).checked_sub(65_536);
    for offset in [Some(0), Some(4096), at_end, old].into_iter().flatten() {
        if u32_at(&device.read(offset, 4)?, 0) == 0xa92b_4efc {
            return Ok(Some(Found::new(device, "Linux RAID member", offset)));
        }
    }
    Ok(None)
}

/// Metadata of DRBD 8 or 9: external at the start, internal in the last 4 KiB.
fn drbd(device: &Device) -> Search {
    let internal = (device.bytes() / 4096 * 4096).checked_sub(4096);
    for offset in [Some(0), internal].into_iter().flatten() {
        let block = device.read(offset, 128)?;
        let magic = |word: &[u8]| {
            (0x8374_026a..=0x8374_026d).contains(&u32::from_be_bytes(bytes_at(word, 0)))
        };
        if block.chunks(4).any(magic) {
            return Ok(Some(Found::new(device, "DRBD metadata", offset)));
        }
    }
    Ok(None)
}

fn bytes_at<const N: usize>(block: &[u8], offset: usize) -> [u8; N] {
    let bytes = block.get(offset..offset + N).and_then(|bytes| bytes.try_into().ok());
    bytes.expect("callers read as much as they look at")
}

fn u16_at(block: &[u8], offset: usize) -> u16 {
    u16::from_le_bytes(bytes_at(block, offset))
}

fn u32_at(block: &[u8], offset: usize) -> u32 {
    u32::from_le_bytes(bytes_at(block, offset))
}
