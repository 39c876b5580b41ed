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
    use LayoutError::{DataSize, MaxPeers, RegionMisplaced, RegionOverlaps, RegionUnfit};
    let data = internal(64 * MIB, 2).data_bytes();
    let log = "the activity log";
    let cases: [(Tamper, LayoutError); 16] = [
        (|s| s.max_peers = 0, MaxPeers(0)),
        (|s| s.data_bytes += 1, DataSize(data + 1)),
        (|s| s.data_bytes = 0, DataSize(0)),
        (|s| s.data_bytes = 64 * MIB, DataSize(64 * MIB)),
        (|s| s.effective_bytes = s.data_bytes + 1, DataSize(data)),
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
