//! Metadata while no daemon has them, by `tandemadm` and as `drbdmeta`.

use std::fs::{File, OpenOptions};
use std::os::unix::fs::FileExt;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Command, Stdio};

use tandem_replica::bitmap::{Bitmap, PageIndex};
use tandem_replica::meta::{
    AL_EXTENT_BYTES, BitmapIndex, BootId, CopyIndex, DeviceUuid, Identity, Layout, MetaWrite,
    NO_EXTENT, PeerFlags, Placement, Probe, Ring, SlotIndex, Superblock, Transaction, Update,
    format, probe, superblock_offsets,
};
use tandem_wire::{NodeId, Uuid, VolumeNumber};

use crate::Setup;
use crate::dry_run::replay;

const MIB: u64 = 1 << 20;
const BYTES: u64 = 16 * MIB;

fn layout() -> Layout {
    Layout::new(BYTES, Placement::Internal, 2).unwrap()
}

fn put(path: &Path, writes: &[MetaWrite]) {
    let file = OpenOptions::new().write(true).open(path).unwrap();
    writes.iter().for_each(|write| file.write_all_at(&write.bytes, write.offset).unwrap());
}

/// `disk0` with metadata of `r0/0`, of which `edit` says more; `b` has a slot in them.
fn setup(edit: impl FnOnce(&mut Superblock)) -> Setup {
    let setup = Setup::new();
    for name in ["disk0", "disk1", "meta1"] {
        File::create(setup.path().join(name)).unwrap().set_len(BYTES).unwrap();
    }
    let identity = Identity::new("r0", VolumeNumber(0), NodeId(0)).unwrap();
    let uuid = DeviceUuid([0xd0; 16]);
    let (mut superblock, plan) = format(&layout(), identity, uuid, AL_EXTENT_BYTES);
    superblock.effective_bytes = layout().data_bytes();
    superblock.current_uuid = Uuid(0x1122_3344_5566_7788);
    superblock.flags.consistent = true;
    superblock.flags.was_up_to_date = true;
    superblock.allocate_slot(NodeId(1)).unwrap();
    let peer = superblock.peers[0].as_mut().unwrap();
    peer.flags = PeerFlags { outdated: true, device_seen: true, ..PeerFlags::default() };
    peer.bitmap_uuid = Uuid(0xaabb_ccdd_0011_2233);
    superblock.history[1] = Uuid(0x99);
    edit(&mut superblock);
    let disk = setup.path().join("disk0");
    put(&disk, &plan.indexes);
    put(&disk, &superblock.plan_update(&layout(), CopyIndex::A));
    setup
}

/// Sets bits in the bitmap of the first slot.
fn set_bits(setup: &Setup, ranges: &[(u64, u64)]) {
    let mut bitmap = Bitmap::new(layout().data_bytes());
    ranges.iter().for_each(|(offset, len)| {
        bitmap.set(*offset, *len);
    });
    let area = layout().bitmap(SlotIndex(0)).unwrap();
    let mut index = BitmapIndex::all_clear(DeviceUuid([0xd0; 16]), area);
    let pages = [(PageIndex(0), bitmap.page_image(PageIndex(0)))];
    put(&setup.path().join("disk0"), &index.plan_write(&pages));
}

/// What the disk says, if its copies say the same.
fn superblock(setup: &Setup) -> Superblock {
    let bytes = std::fs::read(setup.path().join("disk0")).unwrap();
    let offsets = superblock_offsets(BYTES, Placement::Internal).unwrap();
    let [a, b] = offsets.map(|offset| {
        let at = usize::try_from(offset).unwrap();
        &bytes[at..at + 4096]
    });
    let both = (Superblock::decode(a, CopyIndex::A), Superblock::decode(b, CopyIndex::B));
    let Probe::Found(found) = probe(a, b) else { panic!("{both:?}") };
    assert_eq!(both, (Ok(*found.clone()), Ok(*found.clone())), "the copies differ");
    *found
}

#[test]
fn what_is_said_of_metadata_is_as_recorded() {
    let setup = setup(|it| it.flags.crashed_primary = true);
    set_bits(&setup, &[(0, 4096), (MIB, 2 * MIB), (layout().data_bytes() - 4096, 4096)]);
    let said = replay(&setup, "metadata.txt");
    assert!(said.contains(&false), "outdate says nothing");
}

#[test]
fn drbdmeta_answers_as_recorded() {
    let setup = Setup::new();
    for name in ["disk0", "disk1", "meta1"] {
        File::create(setup.path().join(name)).unwrap().set_len(BYTES).unwrap();
    }
    put(&setup.path().join("disk1"), &[MetaWrite { offset: 0, bytes: b"XFSB".to_vec() }]);
    replay(&setup, "drbdmeta.txt");
    let disk = std::fs::read(setup.path().join("disk1")).unwrap();
    assert!(disk[4..].iter().all(|byte| *byte == 0), "what was refused was written to");
}

#[test]
fn a_fresh_line_is_the_one_of_drbd() {
    let setup = Setup::new();
    File::create(setup.path().join("disk0")).unwrap().set_len(BYTES).unwrap();
    assert_eq!(setup.drbdmeta("1 v09 DIR/disk0 internal create-md 1").code, 0);
    let run = setup.drbdmeta("1 v09 DIR/disk0 internal --node-id=1 show-gi");
    // As drbdmeta 9.22 printed it, of metadata that it had just made.
    let golden = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden/show-gi-fresh.txt");
    assert_eq!(run.out, std::fs::read_to_string(golden).unwrap());
}

#[test]
fn an_update_repairs_a_damaged_copy() {
    for copy in CopyIndex::ALL {
        let setup = setup(|_| ());
        let offset = layout().superblock_offset(copy);
        let noise = MetaWrite { offset: offset + 100, bytes: vec![0xee; 8] };
        put(&setup.path().join("disk0"), &[noise]);
        let run = setup.run("outdate r0/0");
        assert_eq!((run.code, run.out.as_str(), run.err.as_str()), (0, "", ""), "{run:?}");
        let found = superblock(&setup);
        assert!(found.flags.consistent && !found.flags.was_up_to_date);
        assert_eq!(found.sequence, 3);
        assert_eq!(setup.run("outdate r0/0").code, 0, "it is Outdated already");
        assert_eq!(superblock(&setup), found, "and stays as it is");
    }
}

#[test]
fn a_device_in_use_is_neither_read_nor_changed() {
    let setup = setup(|it| it.flags.primary_indicator = true);
    let disk = setup.path().join("disk0");
    let before = std::fs::read(&disk).unwrap();
    let held = File::open(&disk).unwrap();
    held.lock().unwrap();
    let commands =
        ["get-gi", "show-gi", "dump-md", "wipe-md --force", "outdate", "apply-al", "create-md"];
    for command in commands.into_iter().chain(["invalidate", "forget-peer", "set-gi"]) {
        let object = match command {
            "forget-peer" => "r0:b",
            "set-gi" => "r0:b/0 1 --force",
            _ => "r0/0",
        };
        let run = setup.run(&format!("{command} {object}"));
        assert_eq!((run.code, run.out.as_str()), (20, ""), "{command}: {run:?}");
        assert!(run.err.contains("in use by another process"), "{command}: {run:?}");
    }
    let commands = ["dump-md --force", "wipe-md --force", "outdate", "apply-al", "create-md 1"];
    for command in commands.into_iter().chain([
        "invalidate",
        "forget-peer --node-id=1",
        "set-gi 1 --node-id=1 --force",
    ]) {
        let run = setup.drbdmeta(&format!("1 v09 DIR/disk0 internal {command}"));
        assert_eq!((run.code, run.out.as_str()), (20, ""), "{command}: {run:?}");
    }
    assert!(std::fs::read(&disk).unwrap() == before, "it was written to");
}

#[test]
fn metadata_of_another_volume_are_left_alone() {
    let setup = setup(|it| {
        it.identity = Identity::new("mail", VolumeNumber(0), NodeId(0)).ok();
        it.flags.primary_indicator = true;
    });
    let before = superblock(&setup);
    for command in ["get-gi", "dump-md", "outdate", "invalidate", "apply-al"] {
        let run = setup.run(&format!("{command} r0/0"));
        assert_eq!((run.code, run.out.as_str()), (10, ""), "{command}: {run:?}");
        assert!(run.err.contains("belongs to resource mail volume 0"), "{command}: {run:?}");
    }
    assert_eq!(superblock(&setup), before);
}

/// A crashed Primary's disk with this extent in its activity log.
fn crashed(extent: u32) -> Setup {
    let setup = setup(|it| {
        it.flags.primary_indicator = true;
        it.al_log = 7;
    });
    let transaction = Transaction {
        log: 7,
        sequence: 1,
        slots: 67,
        context_first: 1,
        context: vec![NO_EXTENT],
        updates: vec![Update { slot: 0, extent }],
    };
    let ring = Ring::new(DeviceUuid([0xd0; 16]), layout().activity_log());
    put(&setup.path().join("disk0"), &ring.plan_write(&transaction));
    setup
}

#[test]
fn a_crashed_primarys_log_is_applied_once() {
    let setup = crashed(2);
    set_bits(&setup, &[(8 * MIB, 4096)]);
    let run = setup.run("apply-al r0/0");
    let said = "r0/0: this node crashed as Primary, 1 extents of its activity log count as out of \
                sync: 1023 blocks of 4 KiB that did not before\n";
    assert_eq!((run.code, run.out.as_str()), (0, said), "{run:?}");
    let found = superblock(&setup);
    assert!(found.flags.crashed_primary && !found.flags.primary_indicator);
    let run = setup.run("dump-md r0/0");
    assert!(run.out.ends_with("# bits-set 1024;\n"), "{run:?}");
    let run = setup.run("apply-al r0/0");
    assert_eq!((run.code, run.out.as_str()), (0, ""), "{run:?}");
    assert_eq!(superblock(&setup), found);
}

/// Runs a command that is killed by its first write at `limit` bytes or behind.
fn crash_at(setup: &Setup, limit: u64, line: &str) {
    let mut command = Command::new("prlimit");
    command.arg(format!("--fsize={limit}")).arg(env!("CARGO_BIN_EXE_tandemadm"));
    command.args(["--node", "a", "-c"]).arg(setup.path().join("t.res"));
    command.args(["--run-dir"]).arg(setup.path()).args(line.split_whitespace());
    let status = command.stderr(Stdio::null()).status().unwrap();
    const SIGXFSZ: i32 = 25;
    assert_eq!(status.signal(), Some(SIGXFSZ), "{line}: {status}");
}

#[test]
fn a_crash_leaves_the_bits_or_the_mark() {
    let copies = CopyIndex::ALL.map(|copy| layout().superblock_offset(copy));
    for (limit, flags) in [(copies[0], "flags 0x00000013;"), (copies[1], "flags 0x000000d1;")] {
        let setup = crashed(2);
        crash_at(&setup, limit, "apply-al r0/0");
        let run = setup.run("dump-md r0/0");
        assert!(run.out.contains(&format!("\n{flags}\n")), "{limit}: {run:?}");
        assert!(run.out.ends_with("# bits-set 1024;\n"), "{limit}: {run:?}");
        assert_eq!(setup.run("apply-al r0/0").code, 0);
        assert_eq!(setup.run("outdate r0/0").code, 0);
        superblock(&setup);
    }
}

#[test]
fn a_crash_leaves_a_copy_whole() {
    let [a, b] = CopyIndex::ALL.map(|copy| layout().superblock_offset(copy));
    for (damaged, flags) in [(a, ":1:0:0:0:1:"), (b, ":1:1:0:0:1:")] {
        let setup = setup(|_| ());
        let noise = MetaWrite { offset: damaged + 100, bytes: vec![0xee; 8] };
        put(&setup.path().join("disk0"), &[noise]);
        crash_at(&setup, b, "outdate r0/0");
        let run = setup.run("get-gi r0/0");
        assert!(run.out.contains(flags), "the damaged copy is to be written first: {run:?}");
    }
}

#[test]
fn what_is_invalidated_counts_for_nothing_and_differs_everywhere() {
    let mut setup = setup(|_| ());
    for line in ["invalidate r0/0", "1 v09 DIR/disk0 internal invalidate"] {
        let before = superblock(&setup);
        let run = if line.starts_with('i') { setup.run(line) } else { setup.drbdmeta(line) };
        assert_eq!((run.code, run.out.as_str(), run.err.as_str()), (0, "", ""), "{run:?}");
        let mut expected = before;
        expected.sequence += 1;
        (expected.flags.consistent, expected.flags.was_up_to_date) = (false, false);
        expected.peers[0].as_mut().unwrap().flags.full_sync = true;
        assert_eq!(superblock(&setup), expected, "{line}");
        assert_eq!(setup.run("invalidate r0/0").code, 0, "it is that already");
        assert_eq!(superblock(&setup), expected, "and stays as it is");
        setup = self::setup(|_| ());
    }
}

#[test]
fn what_is_invalidated_by_bits_has_those_of_a_crash_among_them() {
    let setup = crashed(2);
    set_bits(&setup, &[(0, 4096)]);
    let run = setup.run("invalidate --reset-bitmap=no r0/0");
    assert_eq!((run.code, run.out.as_str(), run.err.as_str()), (0, "", ""), "{run:?}");
    let found = superblock(&setup);
    assert!(!found.flags.consistent && !found.flags.was_up_to_date);
    assert!(found.flags.primary_indicator, "the log is still to be applied");
    assert!(!found.peers[0].unwrap().flags.full_sync);
    assert_eq!(setup.run("apply-al r0/0").code, 0);
    assert!(setup.run("dump-md r0/0").out.ends_with("# bits-set 1025;\n"));
    assert_eq!(setup.run("outdate r0/0").code, 5, "it is worse than Outdated");
}

#[test]
fn a_crash_leaves_data_good_or_invalid() {
    let [a, b] = CopyIndex::ALL.map(|copy| layout().superblock_offset(copy));
    for (limit, flags) in [(a, "1:1:0:0:1:0:0:0:1:0:0:1"), (b, "0:0:0:0:1:0:0:0:1:0:1:1")] {
        let setup = setup(|_| ());
        crash_at(&setup, limit, "invalidate r0/0");
        let run = setup.run("get-gi r0/0");
        assert!(run.out.trim_end().ends_with(flags), "{limit}: {run:?}");
    }
}

#[test]
fn who_gets_a_forgotten_peers_slot_is_copied_everything() {
    let setup = setup(|it| it.peers[0].as_mut().unwrap().bitmap_uuid = Uuid::NONE);
    let before = superblock(&setup);
    let run = setup.drbdmeta("1 v09 DIR/disk0 internal forget-peer --node-id 1");
    let said = "minor 1: the slot of node 1 is free\n";
    assert_eq!((run.code, run.out.as_str(), run.err.as_str()), (0, said, ""), "{run:?}");
    let mut found = superblock(&setup);
    assert_eq!((found.peers, found.current_uuid), ([None; 31], before.current_uuid));
    assert_eq!(found.history, before.history);
    found.allocate_slot(NodeId(2)).unwrap();
    assert!(found.peers[0].unwrap().flags.full_sync);
}

#[test]
fn data_that_a_forgotten_peer_lacks_get_a_generation_of_their_own() {
    let setup = setup(|_| ());
    let run = setup.drbdmeta("1 v09 DIR/disk0 internal forget-peer --node-id 1");
    assert!(run.out.ends_with("are of a generation of their own\n"), "{run:?}");
    let found = superblock(&setup);
    let (old, theirs) = (Uuid(0x1122_3344_5566_7788), Uuid(0xaabb_ccdd_0011_2233));
    assert!(found.current_uuid != old && found.current_uuid.is_real());
    assert_eq!(found.history[..3], [old, theirs, Uuid(0)]);
    assert!(found.flags.consistent && found.flags.was_up_to_date);
}

/// A slot in which everything is said.
fn full_slot(it: &mut Superblock) {
    let slot = it.peers[0].as_mut().unwrap();
    let flags = PeerFlags { drained: true, unheard: true, was_primary: true, ..slot.flags };
    slot.flags = PeerFlags { went_on: true, bitmap_alias: true, ..flags };
    (slot.last_session, slot.boot_id) = (7, BootId([1; 16]));
}

#[test]
fn the_line_that_get_gi_prints_changes_nothing() {
    let setup = setup(full_slot);
    let before = superblock(&setup);
    let line = setup.run("get-gi r0:b/0").out;
    let run = setup.run(&format!("set-gi --force r0:b/0 {line}"));
    let said = format!("previously {line}set GI to  {line}");
    assert_eq!((run.code, run.out), (0, said));
    let found = superblock(&setup);
    assert_eq!(found, Superblock { sequence: found.sequence, ..before });
}

#[test]
fn what_a_line_says_is_what_get_gi_prints() {
    let setup = setup(full_slot);
    let line = "A1:B2:C3:D4:0:0:1:1:0:1:0:1:0:1:1:0";
    let run =
        setup.drbdmeta(&format!("1 v09 DIR/disk0 internal set-gi {line} --node-id=1 --force"));
    assert_eq!(run.code, 0, "{run:?}");
    let printed = "00000000000000A1:00000000000000B2:00000000000000C3:00000000000000D4\
                   :0:0:1:1:0:1:0:1:0:1:1:0\n";
    assert_eq!(setup.run("get-gi r0:b/0").out, printed);
    // Facts of another generation are gone, and those that hold back are not.
    let slot = superblock(&setup).peers[0].unwrap();
    let flags = PeerFlags { connected: true, fencing: true, full_sync: true, ..slot.flags };
    assert_eq!(slot.flags, PeerFlags { was_primary: true, went_on: true, ..flags });
    assert!(!slot.flags.drained && !slot.flags.unheard && !slot.flags.bitmap_alias);
    assert_eq!((slot.last_session, slot.boot_id), (0, BootId::default()));
}

#[test]
fn what_a_line_leaves_out_stays() {
    let setup = setup(|_| ());
    let before = superblock(&setup);
    assert_eq!(setup.run("set-gi --force r0:b/0 ::c3:::0").code, 0);
    let mut expected = before;
    (expected.sequence, expected.history[0]) = (3, Uuid(0xc3));
    expected.flags.was_up_to_date = false;
    assert_eq!(superblock(&setup), expected);
    // Of a peer that has no slot.
    assert_eq!(setup.run("forget-peer r0:b/0").code, 1, "it takes no volume");
    let drbdmeta = |line: &str| setup.drbdmeta(&format!("1 v09 DIR/disk0 internal {line}"));
    assert_eq!(drbdmeta("set-gi 9:0 --node-id=5 --force").code, 0);
    assert_eq!(superblock(&setup).peers[1], None, "nothing is said of it");
    assert_eq!(drbdmeta("set-gi 9:b:::::::::::::0 --node-id=5 --force").code, 0);
    let slot = superblock(&setup).peers[1].unwrap();
    assert_eq!((slot.node, slot.bitmap_uuid), (NodeId(5), Uuid(0xb)));
    assert!(slot.flags.full_sync, "what its bitmap says is unknown");
}

#[test]
fn what_is_no_line_changes_nothing() {
    let setup = setup(|_| ());
    let before = superblock(&setup);
    for (line, code, said) in [
        ("", 10, "says nothing"),
        (":::", 10, "says nothing"),
        ("1:2:3:x", 10, "part 4 (older history UUID), 'x': up to 16"),
        ("12345678123456781", 10, "part 1 (current UUID), '12345678123456781': up to 16"),
        ("+1", 10, "part 1 (current UUID)"),
        ("1:2:3:4:2", 10, "part 5 (consistent), '2': 0 or 1 expected"),
        ("1:2:3:4:1:1:0:0:1:0:1", 10, "part 11 (lost quorum as primary), '1': there is no"),
        ("1:2:3:4:1:1:0:0:0", 10, "part 9 (activity log was applied): it is the opposite"),
        ("1:2:3:4:1:1:0:0:1:0:0:0:0:0:0:0:0", 10, "there are 16 parts at most"),
    ] {
        let line = format!("1 v09 DIR/disk0 internal --node-id=1 --force set-gi {line}");
        let run = setup.drbdmeta(&line);
        let said = if line.ends_with("set-gi ") { "Required Argument missing" } else { said };
        assert_eq!((run.code, run.out.as_str()), (code, ""), "{line}: {run:?}");
        assert!(run.err.contains(said), "{line}: {run:?}");
    }
    // Three peers for two slots, itself, one that asks, and a volume too many.
    let drbdmeta = |line: &str| setup.drbdmeta(&format!("1 v09 DIR/disk0 internal {line}"));
    assert_eq!(drbdmeta("set-gi :b --node-id=0 --force").code, 20);
    assert_eq!(drbdmeta("set-gi 1 --node-id=1").code, 1, "it is not confirmed");
    assert_eq!(setup.run("set-gi --force r0:b 1").code, 1, "it has two volumes");
    assert_eq!(superblock(&setup), before);
    assert_eq!(drbdmeta("set-gi :b --node-id=5 --force").code, 0);
    let full = superblock(&setup);
    let run = drbdmeta("set-gi :b --node-id=6 --force");
    assert!(run.code == 20 && run.err.contains("no free slot"), "{run:?}");
    assert_eq!(superblock(&setup), full);
}

#[test]
fn a_log_is_applied_before_anything_is_said_of_it() {
    let setup = crashed(2);
    let before = superblock(&setup);
    let run = setup.run("set-gi --force r0:b/0 1");
    assert!(run.code == 20 && run.err.contains("run apply-al first"), "{run:?}");
    assert_eq!(superblock(&setup), before);
}

#[test]
fn without_its_log_every_block_counts() {
    let setup = crashed(2);
    let area = layout().activity_log();
    let zeroes = vec![0; usize::try_from(area.len).unwrap()];
    put(&setup.path().join("disk0"), &[MetaWrite { offset: area.offset, bytes: zeroes }]);
    let run = setup.drbdmeta("1 v09 DIR/disk0 internal apply-al");
    assert_eq!(run.code, 0, "{run:?}");
    assert!(run.out.contains("every block counts as out of sync"), "{run:?}");
    let blocks = layout().data_bytes() / 4096;
    assert!(setup.run("dump-md r0/0").out.ends_with(&format!("# bits-set {blocks};\n")));
}

#[test]
fn metadata_of_an_enlarged_disk_are_left_to_an_attach() {
    let setup = setup(|it| it.flags.primary_indicator = true);
    let disk = setup.path().join("disk0");
    OpenOptions::new().write(true).open(&disk).unwrap().set_len(3 * BYTES).unwrap();
    let before = std::fs::read(&disk).unwrap();
    for run in [
        setup.run("apply-al r0/0"),
        setup.drbdmeta("1 v09 DIR/disk0 internal apply-al"),
        setup.drbdmeta("1 v09 DIR/disk0 internal check-resize"),
    ] {
        assert_eq!(run.code, 0, "{run:?}");
        assert!(run.out.contains("metadata end at byte 16777216; attach it"), "{run:?}");
    }
    assert_eq!(setup.run("outdate r0/0").code, 1);
    assert!(std::fs::read(&disk).unwrap() == before, "it was written to");
}
