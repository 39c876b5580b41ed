//! The superblock: golden bytes, every damage, every bad value, the choice between copies.

use proptest::prelude::*;
use tandem_wire::{Protocol, Uuid};

use super::*;

const SECTOR: usize = 512;

/// A superblock with something in every field.
fn full() -> Superblock {
    let layout = internal(64 * MIB, 2);
    let mut superblock = Superblock::new(&layout, identity(), device_uuid());
    superblock.sequence = 0x0102_0304_0506_0708;
    superblock.effective_bytes = 32 * MIB;
    superblock.flags.consistent = true;
    superblock.flags.crashed_primary = true;
    superblock.primary_session = 0x55aa;
    superblock.current_uuid = Uuid(0x1111_2222_3333_4444);
    superblock.history[0] = Uuid(0x99);
    superblock.history[31] = Uuid(0x77);
    superblock.al_log = 0x0a0b_0c0d;
    superblock.peers[1] = Some(PeerSlot {
        node: NodeId(7),
        flags: PeerFlags { full_sync: true, resync_target: true, ..PeerFlags::default() },
        bitmap_uuid: Uuid(0xabcd),
        last_session: 0x66,
        last_protocol: Some(Protocol::C),
        boot_id: BootId([0xb0; 16]),
    });
    superblock
}

fn seal(block: &mut [u8; META_BLOCK_BYTES]) {
    block[8..12].fill(0);
    let crc = crc32fast::hash(block);
    block[8..12].copy_from_slice(&crc.to_le_bytes());
}

#[test]
fn is_coded_to_the_byte() {
    let block = full().encode(CopyIndex::B);
    let mut golden = [0; META_BLOCK_BYTES];
    let mut put = |offset: usize, hex: &str| {
        for (index, byte) in hex.split_whitespace().enumerate() {
            golden[offset + index] = u8::from_str_radix(byte, 16).unwrap();
        }
    };
    put(0, "54 41 4e 44 45 4d 53 42  fa 9c 76 d1  01 00 01 01");
    put(16, "08 07 06 05 04 03 02 01");
    // 64 MiB of disk, 1 MiB and two bitmaps of 8 KiB less of data, 32 MiB agreed.
    put(40, "00 00 00 04 00 00 00 00  00 00 00 00 00 00 00 00");
    put(56, "00 c0 ef 03 00 00 00 00  00 00 00 02 00 00 00 00");
    put(72, "00 10 00 00  41 00 00 00");
    put(80, "d0 d1 d2 d3 d4 d5 d6 d7 d8 d9 da db dc dd de df");
    put(96, "03 00 01 02 02 03 00 00  aa 55 00 00 00 00 00 00");
    put(112, "44 44 33 33 22 22 11 11");
    put(128, "72 30");
    put(256, "99");
    put(504, "77");
    (0..31).for_each(|slot| put(512 + slot * 48, "ff"));
    put(560, "07 03 00 00 28 00 00 00  cd ab 00 00 00 00 00 00  66 00 00 00 00 00 00 00");
    put(584, "b0 b0 b0 b0 b0 b0 b0 b0 b0 b0 b0 b0 b0 b0 b0 b0");
    put(2032, "00 00 40 00 00 00 00 00  0d 0c 0b 0a 00 00 00 00");
    put(2048, "01 00 00 00 00 00 00 00  00 10 f0 03 00 00 00 00  00 00 0a 00 00 00 00 00");
    put(2072, "02 00 00 00 01 00 00 00  00 c0 ef 03 00 00 00 00  00 20 00 00 00 00 00 00");
    put(2096, "02 00 01 00 01 00 00 00  00 e0 ef 03 00 00 00 00  00 20 00 00 00 00 00 00");
    for (offset, (found, expected)) in block.iter().zip(&golden).enumerate() {
        assert_eq!(found, expected, "byte {offset}; crc is {:02x?}", &block[8..12]);
    }
    let mut resealed = block;
    seal(&mut resealed);
    assert_eq!(resealed, block);
    assert_eq!(Superblock::decode(&block, CopyIndex::B), Ok(full()));
}

#[test]
fn any_damaged_byte_is_detected() {
    let whole = full().encode(CopyIndex::A);
    let mut block = whole;
    for offset in 0..META_BLOCK_BYTES {
        for flip in [0x01, 0x80, 0xff] {
            block[offset] ^= flip;
            let error = if offset < 8 { MetaError::NotFound } else { MetaError::Damaged };
            assert_eq!(Superblock::decode(&block, CopyIndex::A), Err(error), "byte {offset}");
            block = whole;
        }
    }
}

#[test]
fn any_length_but_a_block_is_refused() {
    let block = full().encode(CopyIndex::A);
    for len in [0, 1, 511, 512, 4095] {
        assert_eq!(Superblock::decode(&block[..len], CopyIndex::A), Err(MetaError::NotFound));
    }
}

proptest! {
    #[test]
    fn a_torn_update_is_detected(
        mask in 1..255_u8,
        sequence in any::<u64>(),
        uuid in any::<u64>(),
        session in any::<u64>(),
    ) {
        let (old, mut new) = (full(), full());
        (new.sequence, new.current_uuid, new.history[31]) = (sequence, Uuid(uuid), Uuid(session));
        new.peers[1].as_mut().unwrap().last_session = session;
        let (old, new) = (old.encode(CopyIndex::A), new.encode(CopyIndex::A));
        let mut torn = old;
        for sector in 0..8 {
            let range = sector * SECTOR..(sector + 1) * SECTOR;
            if mask & 1 << sector != 0 {
                torn[range.clone()].copy_from_slice(&new[range]);
            }
        }
        if torn != old && torn != new {
            prop_assert_eq!(Superblock::decode(&torn, CopyIndex::A), Err(MetaError::Damaged));
        }
    }

    /// Were the checksum right by chance, or by malice, nothing panics and no layout is unsound.
    #[test]
    fn sealed_garbage_is_harmless(
        changes in prop::collection::vec((12..META_BLOCK_BYTES, any::<u8>()), 0..12),
        regions in prop::collection::vec((2048..2120_usize, any::<u8>()), 0..4),
    ) {
        let mut block = full().encode(CopyIndex::A);
        for (offset, byte) in changes.into_iter().chain(regions) {
            block[offset] = byte;
        }
        seal(&mut block);
        if let Ok(superblock) = Superblock::decode(&block, CopyIndex::A) {
            let found = Layout::from_superblock(&superblock, 64 * MIB, Placement::Internal);
            if let Ok(layout) = found {
                layout::assert_sound(&layout, 64 * MIB);
            }
            let again = superblock.encode(CopyIndex::A);
            prop_assert_eq!(Superblock::decode(&again, CopyIndex::A), Ok(superblock));
        }
    }

    #[test]
    fn noise_is_harmless(block in prop::collection::vec(any::<u8>(), META_BLOCK_BYTES)) {
        let mut block: [u8; META_BLOCK_BYTES] = block.try_into().unwrap();
        prop_assert_eq!(Superblock::decode(&block, CopyIndex::A), Err(MetaError::NotFound));
        block[..14].copy_from_slice(b"TANDEMSB\0\0\0\0\x01\0");
        block[32..40].fill(0);
        seal(&mut block);
        prop_assert!(Superblock::decode(&block, CopyIndex::A).is_err());
    }
}

#[test]
fn values_that_cannot_be_are_named() {
    let bad = |field: &'static str| MetaError::BadValue { field };
    let cases: [(usize, &[u8], MetaError); 19] = [
        (12, &[2, 0], MetaError::Version(2)),
        (14, &[1], MetaError::WrongCopy),
        (14, &[9], MetaError::WrongCopy),
        (15, &[0], bad("placement")),
        (32, &[4], MetaError::Features(4)),
        (72, &[0, 0x20], bad("block_bytes")),
        (76, &[0x08], bad("flags")),
        (96, &[0xff, 0xff], bad("volume")),
        (98, &[32], bad("node_id")),
        (98, &[7], bad("peers")),
        (99, &[0], bad("max_peers")),
        (99, &[1], bad("peers")),
        (100, &[0], bad("resource")),
        (100, &[129], bad("resource_len")),
        (101, &[49], bad("region_count")),
        (101, &[4], bad("kind")),
        (128, &[0xff], bad("resource")),
        (128, b"\n", bad("resource")),
        (561, &[4], bad("last_protocol")),
    ];
    for (offset, bytes, error) in cases {
        let mut block = full().encode(CopyIndex::A);
        block[offset..offset + bytes.len()].copy_from_slice(bytes);
        seal(&mut block);
        let found = Superblock::decode(&block, CopyIndex::A);
        assert_eq!(found, Err(error), "byte {offset} as {bytes:?}");
    }
    let mut twice = full();
    twice.peers[0] = twice.peers[1];
    let block = twice.encode(CopyIndex::A);
    assert_eq!(Superblock::decode(&block, CopyIndex::A), Err(bad("peers")));
}

#[test]
fn the_newer_valid_copy_holds() {
    let at = |sequence| Superblock { sequence, ..full() };
    let other = |sequence| Superblock { device_uuid: DeviceUuid([1; 16]), ..at(sequence) };
    let changed = Superblock { primary_session: 1, ..at(5) };
    let layout = internal(64 * MIB, 2);
    let made = |identity: Option<_>| Superblock::new(&layout, identity, device_uuid());
    let fresh = |sequence| Superblock { sequence, ..made(Some(identity())) };
    let unclaimed = |sequence| Superblock { sequence, ..made(None) };
    let held = |sequence, repair| Ok((sequence, repair));
    let (a, b) = (CopyIndex::A, CopyIndex::B);
    use MetaError::{CopiesDisagree, Damaged, NotFound, Unreadable, Version};
    let cases = [
        (Ok(at(5)), Ok(at(5)), held(5, None)),
        (Ok(at(6)), Ok(at(5)), held(6, Some((b, None)))),
        (Ok(at(5)), Ok(at(6)), held(6, Some((a, None)))),
        (Ok(at(5)), Err(Damaged), held(5, Some((b, Some(Damaged))))),
        (Err(Unreadable), Ok(at(5)), held(5, Some((a, Some(Unreadable))))),
        (Err(NotFound), Ok(at(5)), held(5, Some((a, Some(NotFound))))),
        (Ok(at(5)), Err(Version(2)), Err(Version(2))),
        (Ok(at(5)), Ok(other(6)), Err(CopiesDisagree)),
        (Ok(at(5)), Ok(changed), Err(CopiesDisagree)),
        (Ok(fresh(6)), Ok(unclaimed(5)), held(6, Some((b, None)))),
        (Ok(unclaimed(5)), Ok(fresh(6)), held(6, Some((a, None)))),
        (Ok(fresh(5)), Ok(unclaimed(6)), Err(CopiesDisagree)),
        (Err(NotFound), Err(NotFound), Err(NotFound)),
        (Err(NotFound), Err(Damaged), Err(Damaged)),
        (Err(Damaged), Err(NotFound), Err(Damaged)),
        (Err(NotFound), Err(Unreadable), Err(Unreadable)),
        (Err(Damaged), Err(Version(2)), Err(Version(2))),
    ];
    for (copy_a, copy_b, expected) in cases {
        let chosen = choose(copy_a, copy_b);
        assert_eq!(chosen.map(|chosen| (chosen.superblock.sequence, chosen.repair)), expected);
    }
}

#[test]
fn identity_errors_name_both() {
    let wanted = Identity::new("mail", VolumeNumber(0), NodeId(2)).unwrap();
    assert_eq!(full().check_identity(&identity()), Ok(()));
    assert_eq!(
        full().check_identity(&wanted).unwrap_err().to_string(),
        "metadata belongs to resource r0 volume 3 node 1, not to resource mail volume 0 node 2",
    );
    for name in ["", "a\0b", &"x".repeat(129)] {
        assert!(Identity::new(name, VolumeNumber(0), NodeId(0)).is_err(), "{name:?}");
    }
}

#[test]
fn what_is_nobodys_is_claimed_once() {
    let external = Placement::External { meta_bytes: 4 * MIB };
    for (placement, data_bytes) in [(Placement::Internal, 66_052_096), (external, 64 * MIB)] {
        let layout = match placement {
            Placement::Internal => internal(64 * MIB, 1),
            Placement::External { meta_bytes } => Layout::widest(meta_bytes, 1).unwrap(),
        };
        let mut superblock = Superblock::new(&layout, None, device_uuid());
        let block = superblock.encode(CopyIndex::A);
        assert_eq!(Superblock::decode(&block, CopyIndex::A), Ok(superblock.clone()));
        assert_eq!(superblock.check_identity(&identity()), Err(MetaError::NotClaimed));
        superblock.claim(&identity(), 64 * MIB + 512).unwrap();
        assert_eq!(superblock.data_bytes, data_bytes);
        assert_eq!(superblock.check_identity(&identity()), Ok(()));
        assert!(Layout::from_superblock(&superblock, 64 * MIB + 512, placement).is_ok());
        let before = superblock.clone();
        superblock.claim(&identity(), MIB).unwrap();
        let other = Identity::new("mail", VolumeNumber(0), NodeId(2)).unwrap();
        assert!(superblock.claim(&other, MIB).is_err());
        assert_eq!(superblock, before);
    }
}

#[test]
fn what_is_nobodys_knows_no_peer() {
    let unclaimed = Superblock { identity: None, ..full() };
    let block = unclaimed.encode(CopyIndex::A);
    assert_eq!(
        Superblock::decode(&block, CopyIndex::A),
        Err(MetaError::BadValue { field: "peers" })
    );
}

#[test]
fn a_new_slot_asks_for_a_full_sync_unless_there_are_no_data() {
    let mut superblock = full();
    assert_eq!(superblock.allocate_slot(NodeId(7)), Ok(SlotIndex(1)));
    assert_eq!(superblock.allocate_slot(NodeId(2)), Ok(SlotIndex(0)));
    let flags = PeerFlags { full_sync: true, went_on: true, ..PeerFlags::default() };
    assert_eq!(superblock.peers[0].unwrap().flags, flags);
    let full_up = superblock.allocate_slot(NodeId(3));
    assert_eq!(full_up, Err(MetaError::NoFreeSlot { max_peers: 2 }));
    assert!(superblock.allocate_slot(NodeId(1)).is_err(), "this node is no peer");
    let mut fresh = Superblock::new(&internal(64 * MIB, 2), identity(), device_uuid());
    fresh.allocate_slot(NodeId(2)).unwrap();
    assert_eq!(fresh.peers[0].unwrap().flags, PeerFlags::default());
}

const FRESH: Uuid = Uuid(0xf1);

#[test]
fn who_gets_the_slot_of_a_forgotten_peer_gets_everything() {
    let mut superblock = full();
    superblock.peers[1].as_mut().unwrap().bitmap_uuid = Uuid::NONE;
    superblock.peers[1].as_mut().unwrap().flags = PeerFlags::default();
    let before = superblock.clone();
    assert!(!superblock.forget_peer(NodeId(2), FRESH), "it has none");
    assert_eq!(superblock, before);
    assert!(superblock.forget_peer(NodeId(7), FRESH));
    assert_eq!(superblock, Superblock { peers: [None; 31], ..before });
    assert_eq!(superblock.allocate_slot(NodeId(3)), Ok(SlotIndex(0)));
    assert_eq!(superblock.allocate_slot(NodeId(7)), Ok(SlotIndex(1)));
    for slot in superblock.peers.iter().flatten() {
        assert!(slot.flags.full_sync && slot.bitmap_uuid == Uuid::NONE, "{slot:?}");
    }
}

#[test]
fn a_forgotten_peer_that_is_behind_stays_behind() {
    let mut superblock = full();
    superblock.allocate_slot(NodeId(3)).unwrap();
    let (current, bitmap) = (superblock.current_uuid, Uuid(0xabcd));
    assert!(superblock.forget_peer(NodeId(7), FRESH));
    assert_eq!(superblock.current_uuid, FRESH);
    assert_eq!(superblock.history[..3], [current, bitmap, Uuid(0x99)]);
    assert_eq!(superblock.peers[0].unwrap().bitmap_uuid, current, "another peer had that");
    assert_eq!(superblock.peers[1], None);
}

#[test]
fn an_update_writes_both_copies_with_the_next_number() {
    let layout = internal(64 * MIB, 2);
    let mut superblock = full();
    let before = superblock.sequence;
    let [a, b] = superblock.plan_update(&layout, CopyIndex::A);
    assert_eq!(superblock.sequence, before + 1);
    assert_eq!((a.offset, b.offset), (63 * MIB, 64 * MIB - META_BLOCK));
    assert_eq!(Superblock::decode(&a.bytes, CopyIndex::A), Ok(superblock.clone()));
    assert_eq!(Superblock::decode(&b.bytes, CopyIndex::B), Ok(superblock));
}
