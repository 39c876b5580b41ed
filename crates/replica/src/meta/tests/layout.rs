//! Layouts: sound for every size, the same through a superblock, and refused when tampered with.

use proptest::prelude::*;

use super::*;
use crate::bitmap::{DEVICE_BYTES_MAX, page_count};

/// What everybody may rely on of any layout; `meta_device` holds the metadata.
pub(super) fn assert_sound(layout: &Layout, meta_device: u64) {
    let mut areas: Vec<_> = layout.regions().iter().map(|region| region.area).collect();
    for copy in CopyIndex::ALL {
        areas.push(Area { offset: layout.superblock_offset(copy), len: META_BLOCK });
    }
    if layout.placement() == Placement::Internal {
        areas.push(Area { offset: 0, len: layout.data_bytes() });
    }
    areas.sort_unstable();
    let mut end = 0;
    for area in areas {
        assert!(area.is_whole(), "{area:?}");
        assert!(area.offset >= end, "{area:?} begins before {end}");
        end = area.checked_end().unwrap();
    }
    assert!(end <= meta_device, "{end} of {meta_device}");
    assert!(layout.data_bytes() > 0 && layout.data_bytes().is_multiple_of(META_BLOCK));
    assert!(layout.data_bytes() <= layout.device_bytes());
    for slot in (0..layout.max_peers()).map(SlotIndex) {
        let bitmap = layout.bitmap(slot).unwrap();
        assert!(u64::from(bitmap.pages) >= page_count(layout.data_bytes()));
        assert!(u64::from(bitmap.index_blocks) * INDEX_ENTRIES >= u64::from(bitmap.pages));
    }
    assert_eq!(layout.bitmap(SlotIndex(layout.max_peers())), None);
}

fn device_bytes() -> impl Strategy<Value = u64> {
    prop_oneof![0..16 * MIB, 0..1_u64 << 45, (0..64_u64).prop_map(|shift| 1 << shift), any::<u64>()]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    #[test]
    fn a_layout_is_sound_and_survives_its_superblock(
        device_bytes in device_bytes(),
        meta_bytes in prop::option::of(device_bytes()),
        max_peers in 0..40_u8,
    ) {
        let (placement, meta_device) = match meta_bytes {
            None => (Placement::Internal, device_bytes),
            Some(meta_bytes) => (Placement::External { meta_bytes }, meta_bytes),
        };
        let Ok(layout) = Layout::new(device_bytes, placement, max_peers) else { return Ok(()) };
        prop_assert!((1..=PEERS_MAX).contains(&max_peers));
        assert_sound(&layout, meta_device);
        prop_assert!(layout.metadata().checked_end().unwrap() <= meta_device);
        let superblock = Superblock::new(&layout, identity(), device_uuid());
        let block = superblock.encode(CopyIndex::A);
        let read = Superblock::decode(&block, CopyIndex::A).unwrap();
        prop_assert_eq!(Layout::from_superblock(&read, device_bytes, placement), Ok(layout));
    }
}

#[test]
fn sizes_are_as_documented() {
    let external = |meta_bytes| Placement::External { meta_bytes };
    // One page, one index block: 8 KiB a bitmap. 16 TiB: 131072 pages, 258 index blocks.
    let small = internal(16 * MIB + 4095, 1);
    assert_eq!(small.data_bytes(), 15 * MIB - 8192);
    assert_eq!(small.activity_log(), Area { offset: 15 * MIB + 4096, len: 655_360 });
    let large = internal(16 << 40, 2);
    assert_eq!(large.data_bytes(), (16 << 40) - MIB - 2 * (131_072 + 258) * 4096);
    let apart = Layout::new(10_000, external(MIB + 8192), 1).unwrap();
    assert_eq!((apart.data_bytes(), apart.superblock_offset(CopyIndex::B)), (8192, MIB - 4096));
    assert_eq!(apart.metadata(), Area { offset: 0, len: MIB + 8192 });
    let cases = [
        (MIB + 8192, Placement::Internal, 1),
        (0, external(16 * MIB), 1),
        (4095, external(16 * MIB), 1),
        (8192, external(MIB + 8191), 1),
        (DEVICE_BYTES_MAX + 1, Placement::Internal, 1),
        (8192, external(u64::MAX), 1),
        (64 * MIB, Placement::Internal, 0),
        (64 * MIB, Placement::Internal, 32),
    ];
    let errors = [
        LayoutError::DeviceTooSmall { found: MIB + 8192, needed: MIB + 12288 },
        LayoutError::DeviceTooSmall { found: 0, needed: 4096 },
        LayoutError::DeviceTooSmall { found: 4095, needed: 4096 },
        LayoutError::MetaTooSmall { found: MIB + 8191, needed: MIB + 8192 },
        LayoutError::DeviceTooLarge(DEVICE_BYTES_MAX + 1),
        LayoutError::DeviceTooLarge(u64::MAX),
        LayoutError::MaxPeers(0),
        LayoutError::MaxPeers(32),
    ];
    for ((device, placement, max_peers), error) in cases.into_iter().zip(errors) {
        assert_eq!(Layout::new(device, placement, max_peers), Err(error));
    }
}

type Tamper = fn(&mut Superblock);

#[test]
fn a_superblock_that_does_not_suit_its_device_is_refused() {
    use LayoutError::{
        AgreedSize, DataSize, MaxPeers, RegionMisplaced, RegionOverlaps, RegionUnfit,
    };
    let data = internal(64 * MIB, 2).data_bytes();
    let log = "the activity log";
    let cases: [(Tamper, LayoutError); 18] = [
        (|s| s.max_peers = 0, MaxPeers(0)),
        (|s| s.data_bytes += 1, DataSize(data + 1)),
        (|s| s.data_bytes = 0, DataSize(0)),
        (|s| s.data_bytes = 64 * MIB, DataSize(64 * MIB)),
        (|s| s.effective_bytes = s.data_bytes + 1, DataSize(data)),
        (|s| s.effective_bytes = 4096 + 512, AgreedSize(4096 + 512)),
        (|s| s.former_bytes = 1, AgreedSize(1)),
        (|s| s.placement = Placement::External { meta_bytes: MIB }, LayoutError::OtherPlacement),
        (|s| s.max_peers = 3, RegionUnfit { what: "a bitmap" }),
        (|s| s.max_peers = 1, RegionUnfit { what: "a bitmap" }),
        (|s| s.regions = s.regions.split_off(1), RegionUnfit { what: log }),
        (|s| s.regions.push(s.regions[0]), RegionUnfit { what: log }),
        (|s| s.regions[0].area.offset = 0, RegionMisplaced { offset: 0, len: AL_BYTES }),
        (|s| s.regions[0].area.len = 0, RegionMisplaced { offset: 63 * MIB + 4096, len: 0 }),
        (|s| s.regions[0].area.len = 3 * 4096, RegionUnfit { what: log }),
        (
            |s| s.regions[0].area.len = u64::MAX - 4095,
            RegionMisplaced { offset: 63 * MIB + 4096, len: u64::MAX - 4095 },
        ),
        (|s| s.regions[0].area.offset -= 4096, RegionOverlaps { offset: 63 * MIB }),
        (
            |s| s.regions[1].area.offset = s.regions[2].area.offset,
            RegionOverlaps { offset: 63 * MIB - 8192 },
        ),
    ];
    for (index, (tamper, error)) in cases.into_iter().enumerate() {
        let mut superblock = Superblock::new(&internal(64 * MIB, 2), identity(), device_uuid());
        tamper(&mut superblock);
        let found = Layout::from_superblock(&superblock, 64 * MIB, Placement::Internal);
        assert_eq!(found, Err(error), "case {index}");
    }
}

#[test]
fn a_device_of_another_size_is_refused_where_it_matters() {
    let inside = Superblock::new(&internal(64 * MIB, 1), identity(), device_uuid());
    let read = |bytes| Layout::from_superblock(&inside, bytes, Placement::Internal).is_ok();
    assert!(read(64 * MIB) && read(64 * MIB + 4095));
    assert!(!read(64 * MIB - 1) && !read(64 * MIB + 4096));
    let external = |meta_bytes| Placement::External { meta_bytes };
    let layout = Layout::new(64 * MIB, external(2 * MIB), 1).unwrap();
    let apart = Superblock::new(&layout, identity(), device_uuid());
    let read = |bytes, meta| Layout::from_superblock(&apart, bytes, external(meta)).is_ok();
    assert!(read(64 * MIB, 2 * MIB) && read(65 * MIB, 3 * MIB));
    assert!(!read(64 * MIB - 1, 2 * MIB) && !read(64 * MIB, 2 * MIB - 1));
}

#[test]
fn regions_of_later_programs_are_kept() {
    let mut superblock = Superblock::new(&internal(64 * MIB, 1), identity(), device_uuid());
    let kind = RegionKind::Other { code: 77, slot: 5, parameter: 6 };
    let area = Area { offset: 63 * MIB + 4096 + AL_BYTES, len: 8192 };
    superblock.regions.push(Region { kind, area });
    let block = superblock.encode(CopyIndex::A);
    let read = Superblock::decode(&block, CopyIndex::A).unwrap();
    assert_eq!(read, superblock);
    let layout = Layout::from_superblock(&read, 64 * MIB, Placement::Internal).unwrap();
    assert_eq!(layout.regions(), superblock.regions);
    superblock.regions.last_mut().unwrap().area.offset = 63 * MIB;
    assert!(Layout::from_superblock(&superblock, 64 * MIB, Placement::Internal).is_err());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    #[test]
    fn a_grown_layout_is_sound_and_spares_what_counts_until_then(
        before in (2 * MIB)..(1_u64 << 40),
        more in prop_oneof![0..4 * MIB, 0..1_u64 << 41],
        external in prop::option::of((prop_oneof![0..1_u64, 0..64 * MIB], 0..512 * MIB)),
        max_peers in 1..4_u8,
    ) {
        let room = |bytes: u64| bytes / 4096 * u64::from(max_peers) + 2 * MIB;
        let (old, new) = match external {
            None => (Placement::Internal, Placement::Internal),
            Some((first, more)) => {
                let meta_bytes = room(before / MIB * 64) + first;
                let grown = meta_bytes + more;
                (Placement::External { meta_bytes }, Placement::External { meta_bytes: grown })
            }
        };
        let Ok(layout) = Layout::new(before, old, max_peers) else { return Ok(()) };
        let device_bytes = before + more;
        let Ok(Some(grown)) = layout.grown(device_bytes, new) else { return Ok(()) };
        let meta_device = match new {
            Placement::Internal => device_bytes,
            Placement::External { meta_bytes } => meta_bytes,
        };
        assert_sound(&grown, meta_device);
        prop_assert!(grown.data_bytes() > layout.data_bytes());
        prop_assert_eq!(grown.activity_log().len, layout.activity_log().len);
        let end = |area: Area| area.checked_end().unwrap();
        let mut kept = vec![];
        kept.extend(layout.regions().into_iter().map(|region| region.area));
        for region in grown.regions() {
            let stays = kept.contains(&region.area) && new != Placement::Internal;
            let apart = |area: &Area| {
                end(*area) <= region.area.offset || end(region.area) <= area.offset
            };
            prop_assert!(stays || kept.iter().all(apart), "{region:?}");
        }
        if new == Placement::Internal {
            let old_end = before / META_BLOCK * META_BLOCK;
            prop_assert!(grown.data_bytes() >= old_end);
            prop_assert!(end(layout.left_behind().unwrap()) <= grown.data_bytes());
        }
        let mut superblock = Superblock::new(&layout, identity(), device_uuid());
        superblock.place(&grown).unwrap();
        let block = superblock.encode(CopyIndex::A);
        let read = Superblock::decode(&block, CopyIndex::A).unwrap();
        prop_assert_eq!(Layout::from_superblock(&read, device_bytes, new), Ok(grown.clone()));
        prop_assert_eq!(grown.grown(device_bytes, new).ok().flatten(), None);
    }
}

#[test]
fn external_bitmaps_move_when_they_are_too_short_and_there_is_room() {
    let old = Placement::External { meta_bytes: 2 * MIB };
    let layout = Layout::new(64 * MIB, old, 1).unwrap();
    let grown = layout.grown(100 * MIB, old).unwrap().unwrap();
    assert_eq!(grown.bitmap(SlotIndex(0)), layout.bitmap(SlotIndex(0)), "a page has room for 128");
    let grown = layout.grown(1024 * MIB, old).unwrap().unwrap();
    assert_ne!(
        grown.bitmap(SlotIndex(0)).unwrap().offset,
        layout.bitmap(SlotIndex(0)).unwrap().offset
    );
    assert_eq!(grown.data_bytes(), 1024 * MIB);
    let short = Placement::External { meta_bytes: MIB + 8192 };
    let layout = Layout::new(64 * MIB, short, 1).unwrap();
    let grown = layout.grown(1024 * MIB, short).unwrap().unwrap();
    assert_eq!(grown.data_bytes(), 128 * MIB, "as far as the bitmap reaches");
    let error = grown.grown(1024 * MIB, short).unwrap_err();
    assert!(matches!(error, LayoutError::MetaTooSmall { .. }), "{error}");
}

#[test]
fn a_disk_that_has_grown_by_less_than_its_metadata_stays_as_it_is() {
    let layout = Layout::new(64 * MIB, Placement::Internal, 1).unwrap();
    let error = layout.grown(64 * MIB + 4096, Placement::Internal).unwrap_err();
    let LayoutError::GrownTooLittle { needed, .. } = error else { panic!("{error}") };
    assert!(layout.grown(needed - 4096, Placement::Internal).is_err());
    let grown = layout.grown(needed, Placement::Internal).unwrap().unwrap();
    assert_eq!(grown.data_bytes(), 64 * MIB);
}

#[test]
fn the_widest_layout_fills_its_device_and_no_more() {
    let page = 128 * MIB;
    for (blocks, max_peers, pages) in [
        (2, 1, 1),
        (511, 1, 510),
        (512, 1, 510),
        (513, 1, 511),
        (1022, 2, 510),
        (1 << 40, 1, 1 << 23),
    ] {
        let meta_bytes = MIB + blocks * META_BLOCK + 512;
        if meta_bytes > DEVICE_BYTES_MAX {
            let error = LayoutError::DeviceTooLarge(meta_bytes);
            assert_eq!(Layout::widest(meta_bytes, max_peers), Err(error));
            continue;
        }
        let layout = Layout::widest(meta_bytes, max_peers).unwrap();
        assert_eq!(layout.data_bytes(), pages * page, "{blocks} blocks");
        let placement = Placement::External { meta_bytes };
        let more = Layout::new(layout.data_bytes() + page, placement, max_peers);
        assert!(more.is_err(), "{blocks} blocks have room for more");
    }
    let error = Layout::widest(MIB + META_BLOCK, 1).unwrap_err();
    assert!(matches!(error, LayoutError::MetaTooSmall { .. }));
    assert_eq!(Layout::widest(4 * MIB, 0), Err(LayoutError::MaxPeers(0)));
}
