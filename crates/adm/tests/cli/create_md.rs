//! `create-md` on files: what it refuses, what it writes.

use std::fs::{File, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::Path;

use crate::Setup;

const MIB: u64 = 1 << 20;

/// Files of 16 MiB for both disks and the metadata of volume 1.
fn setup() -> Setup {
    let setup = Setup::new();
    for name in ["disk0", "disk1", "meta1"] {
        File::create(setup.path().join(name)).unwrap().set_len(16 * MIB).unwrap();
    }
    setup
}

fn put(path: &Path, writes: &[(u64, &[u8])]) {
    let file = OpenOptions::new().write(true).open(path).unwrap();
    for (offset, bytes) in writes {
        file.write_all_at(bytes, *offset).unwrap();
    }
}

/// An ext superblock with so many blocks of 4 KiB.
fn ext(blocks: u32, compatible: u32, incompatible: u32) -> Vec<u8> {
    let mut block = vec![0; 1024];
    block[4..8].copy_from_slice(&blocks.to_le_bytes());
    block[0x18] = 2;
    block[0x38..0x3a].copy_from_slice(&0xef53_u16.to_le_bytes());
    block[0x5c..0x60].copy_from_slice(&compatible.to_le_bytes());
    block[0x60..0x64].copy_from_slice(&incompatible.to_le_bytes());
    block
}

fn xfs(blocks: u64) -> Vec<u8> {
    [&b"XFSB"[..], &4096_u32.to_be_bytes(), &blocks.to_be_bytes()].concat()
}

fn btrfs(bytes: u64) -> Vec<u8> {
    let mut block = vec![0; 0x78];
    block[64..72].copy_from_slice(b"_BHRfS_M");
    block[0x70..].copy_from_slice(&bytes.to_le_bytes());
    block
}

fn mbr() -> Vec<u8> {
    let mut block = vec![0; 512];
    block[446 + 4] = 0x83;
    block[510..].copy_from_slice(&[0x55, 0xaa]);
    block
}

/// What is refused: words of the message, and what the device holds at which place.
fn signatures() -> Vec<(&'static str, u64, Vec<u8>)> {
    let mut boot = mbr();
    boot[446 + 4] = 0;
    let drbd = 0x8374_026d_u32.to_be_bytes();
    let raid = 0xa92b_4efc_u32.to_le_bytes().to_vec();
    let zfs = 0x00ba_b10c_u64;
    let bcache = b"\xc6\x85\x73\xf6\x4e\x1a\x45\xca\x82\x65\xf5\x7f\x48\xba\x6d\x81";
    vec![
        ("ext2 file system at byte 1024", 1024, ext(512, 0, 2)),
        ("ext3 file system", 1024, ext(512, 4, 2)),
        ("ext4 file system", 1024, ext(512, 4, 0x42)),
        ("xfs file system at byte 0", 0, xfs(4096)),
        ("btrfs file system at byte 65536", 65_536, btrfs(16 * MIB)),
        ("swap space", 4086, b"SWAPSPACE2".to_vec()),
        ("LVM physical volume at byte 512", 512, b"LABELONE".to_vec()),
        ("LVM physical volume at byte 1536", 1536, b"LABELONE".to_vec()),
        ("LUKS encrypted volume", 0, b"LUKS\xba\xbe\0\x02".to_vec()),
        ("MBR partition table", 0, mbr()),
        ("boot sector", 0, boot),
        ("GPT partition table at byte 512", 512, b"EFI PART".to_vec()),
        ("GPT partition table at byte 4096", 4096, b"EFI PART".to_vec()),
        ("GPT partition table at byte 16776704", 16 * MIB - 512, b"EFI PART".to_vec()),
        ("squashfs file system", 0, b"hsqs".to_vec()),
        ("iso9660 file system", 32_769, b"CD001".to_vec()),
        ("ZFS member", 128 << 10, zfs.to_le_bytes().to_vec()),
        ("ZFS member", 16 * MIB - (128 << 10) + 3072, zfs.to_be_bytes().to_vec()),
        ("bcache device", 4120, bcache.to_vec()),
        ("Linux RAID member", 4096, raid.clone()),
        ("Linux RAID member", 16 * MIB - 65_536, raid.clone()),
        ("Linux RAID member", 16 * MIB - 8192, raid),
        ("DRBD metadata at byte 16773120", 16 * MIB - 4096 + 60, drbd.to_vec()),
        ("vfat file system", 82, b"FAT32   ".to_vec()),
    ]
}

#[test]
fn what_is_recognised_is_left_alone_unless_forced() {
    for (what, offset, bytes) in signatures() {
        for (object, name) in [("r0/0", "disk0"), ("r0/1", "meta1")] {
            let setup = setup();
            let path = setup.path().join(name);
            put(&path, &[(offset, &bytes)]);
            let before = std::fs::read(&path).unwrap();
            let run = setup.run(&format!("create-md {object}"));
            assert_eq!(run.code, 40, "{what}: {run:?}");
            assert!(run.err.contains(&format!("DIR/{name}: {what}")), "{what}: {run:?}");
            assert!(run.err.contains("nothing was written"), "{what}: {run:?}");
            assert!(std::fs::read(&path).unwrap() == before, "{what}: it was written to");
            let run = setup.run(&format!("create-md --force {object}"));
            assert_eq!(run.code, 0, "{what}: {run:?}");
            assert!(run.out.contains(what), "{what}: {run:?}");
        }
    }
}

#[test]
fn a_file_system_on_the_data_disk_is_no_matter_for_external_metadata() {
    let setup = setup();
    put(&setup.path().join("disk1"), &[(1024, &ext(4096, 4, 0x42))]);
    let before = std::fs::read(setup.path().join("disk1")).unwrap();
    let run = setup.run("create-md r0/1");
    assert_eq!(run.code, 0, "{run:?}");
    assert!(std::fs::read(setup.path().join("disk1")).unwrap() == before);
}

#[test]
fn internal_metadata_tell_whether_a_file_system_would_stay_whole() {
    for (blocks, words) in [
        (4096, "reaches to byte 16777216 and into the metadata from"),
        (512, "ends at byte 2097152: metadata from"),
    ] {
        for (offset, bytes) in [
            (1024, ext(blocks, 4, 0x42)),
            (0, xfs(u64::from(blocks))),
            (65_536, btrfs(u64::from(blocks) * 4096)),
        ] {
            let setup = setup();
            put(&setup.path().join("disk0"), &[(offset, &bytes)]);
            let run = setup.run("create-md r0/0");
            assert_eq!(run.code, 40);
            assert!(run.err.contains(words), "{run:?}");
        }
    }
}

#[test]
fn empty_devices_get_metadata_that_are_recognised_afterwards() {
    let setup = setup();
    let run = setup.run("create-md r0");
    assert_eq!((run.code, run.err.as_str()), (0, ""), "{run:?}");
    assert!(run.out.contains("r0/0: metadata for 1 peer(s) written to DIR/disk0, bytes "));
    assert!(run.out.contains("r0/1: metadata for 1 peer(s) written to DIR/meta1, bytes 0 to "));
    assert!(run.out.ends_with("r0: next: tandemadm up r0\n"), "{run:?}");
    let untouched = std::fs::read(setup.path().join("disk1")).unwrap();
    assert!(untouched.iter().all(|byte| *byte == 0), "the data disk has no part in it");
    let run = setup.run("create-md r0/0");
    assert_eq!(run.code, 40);
    let found = "DIR/disk0: tandem metadata of resource r0 volume 0 node 0 at byte 15728640";
    assert!(run.err.contains(found), "{run:?}");
    let run = setup.run("create-md r0/1");
    assert_eq!(run.code, 40);
    assert!(run.err.contains("DIR/meta1: tandem metadata of resource r0 volume 1"), "{run:?}");
    assert_eq!(setup.run("create-md --force --max-peers 3 r0").code, 0);
}

#[test]
fn one_copy_of_the_superblock_or_a_damaged_one_is_recognised() {
    let setup = setup();
    assert_eq!(setup.run("create-md r0/0").code, 0);
    let path = setup.path().join("disk0");
    put(&path, &[(15 * MIB, &[0; 4096])]);
    assert_eq!(setup.run("create-md r0/0").code, 40, "the second copy is left");
    put(&path, &[(16 * MIB - 4000, b"damage")]);
    let run = setup.run("create-md r0/0");
    assert_eq!(run.code, 40, "{run:?}");
    assert!(run.err.contains("tandem metadata (metadata is damaged"), "{run:?}");
}

#[test]
fn internal_metadata_on_the_data_disk_stop_external_ones() {
    let setup = setup();
    assert_eq!(setup.run("create-md r0/0").code, 0);
    std::fs::rename(setup.path().join("disk0"), setup.path().join("disk1")).unwrap();
    let run = setup.run("create-md r0/1");
    assert_eq!(run.code, 40, "{run:?}");
    assert!(run.err.contains("DIR/disk1: tandem metadata of resource r0 volume 0"), "{run:?}");
}

#[test]
fn devices_that_cannot_be_used_get_a_sentence() {
    let path_of = |setup: &Setup| setup.path().join("disk0");
    type Break = fn(&Path);
    let rows: &[(&str, Break)] = &[
        ("there is no such device or file", |path| {
            std::fs::remove_file(path).unwrap();
        }),
        ("has a length of 0", |path| {
            File::create(path).unwrap();
        }),
        ("too small: at least", |path| {
            File::create(path).unwrap().set_len(MIB).unwrap();
        }),
        ("is no block device and no regular file", |path| {
            std::fs::remove_file(path).unwrap();
            std::fs::create_dir(path).unwrap();
        }),
    ];
    for (words, damage) in rows {
        let setup = setup();
        damage(&path_of(&setup));
        let run = setup.run("create-md r0/0");
        assert_eq!(run.code, 20, "{words}: {run:?}");
        assert!(run.err.starts_with("r0/0: DIR/disk0: "), "{words}: {run:?}");
        assert!(run.err.contains(words), "{words}: {run:?}");
    }
}

#[test]
fn a_device_in_use_is_left_alone_even_if_forced() {
    let setup = setup();
    let held = File::open(setup.path().join("disk0")).unwrap();
    held.lock().unwrap();
    let run = setup.run("create-md --force r0/0");
    assert_eq!(run.code, 20, "{run:?}");
    assert!(run.err.contains("is in use by another process"), "{run:?}");
    drop(held);
    assert_eq!(setup.run("create-md r0/0").code, 0);
}

#[test]
fn slots_on_a_shared_device_are_refused() {
    let setup = setup();
    let text = crate::config(setup.path()).replace("/meta1;", "/meta1[0];");
    std::fs::write(setup.path().join("t.res"), text).unwrap();
    let run = setup.run("create-md r0/1");
    assert_eq!(run.code, 10, "{run:?}");
    assert!(run.err.contains("not supported yet"), "{run:?}");
}
