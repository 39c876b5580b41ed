//! The bitmap on disk: what is read is what was written, and after damage or a crash never less.

use proptest::prelude::*;

use super::*;
use crate::bitmap::{BLOCK_BYTES, Bitmap, PAGE_BLOCKS, PageImage, PageIndex};

const PAGE_DEVICE_BYTES: u64 = BLOCK_BYTES * PAGE_BLOCKS;
const PAGES: u32 = 1100;
const AREA: BitmapArea =
    BitmapArea { slot: SlotIndex(2), offset: 8192, index_blocks: 3, pages: PAGES };

fn bitmap() -> Bitmap {
    Bitmap::new(u64::from(PAGES) * PAGE_DEVICE_BYTES - 12_345)
}

/// A device with an index that says all clear; what lies in the pages' places is left over.
fn device() -> (Device, BitmapIndex) {
    let mut device = Device::new(AREA.area().checked_end().unwrap(), 0x5a);
    let index = BitmapIndex::all_clear(device_uuid(), AREA);
    index.plan_write_index().iter().for_each(|write| device.write(write));
    (device, index)
}

/// What storing the bitmap takes.
fn store(bitmap: &mut Bitmap, index: &mut BitmapIndex) -> Vec<MetaWrite> {
    let pages: Vec<_> = std::iter::from_fn(|| bitmap.take_unsaved_page()).collect();
    index.plan_write(&pages)
}

/// Reads as at attach; also returns how many blocks were damaged.
fn load(device: &Device) -> (Bitmap, u32) {
    let (mut bitmap, mut index) = (bitmap(), BitmapIndex::unread(device_uuid(), AREA));
    let mut damaged = 0;
    for read in index.plan_index_read() {
        damaged += index.load_index(read, Some(device.read(read)), &mut bitmap);
    }
    for read in index.plan_page_reads(&bitmap) {
        assert!(read.len <= READ_BYTES_MAX);
        damaged += index.load_pages(read, Some(device.read(read)), &mut bitmap);
    }
    (bitmap, damaged)
}

fn assert_same(one: &Bitmap, other: &Bitmap) {
    assert_eq!(one.count(), other.count());
    assert_contains(one, other);
}

fn assert_contains(larger: &Bitmap, smaller: &Bitmap) {
    let mut union = larger.clone();
    assert_eq!(union.union(smaller), 0, "bits were lost");
}

fn ranges() -> impl Strategy<Value = Vec<(u64, u64)>> {
    let offset = prop_oneof![
        0..u64::from(PAGES) * PAGE_DEVICE_BYTES,
        (500..520_u64).prop_map(|page| page * PAGE_DEVICE_BYTES),
        0..4 * PAGE_DEVICE_BYTES,
    ];
    let len = prop_oneof![1..100_000_u64, Just(3 * PAGE_DEVICE_BYTES), Just(PAGE_DEVICE_BYTES)];
    prop::collection::vec((offset, len), 0..12)
}

fn set(bitmap: &mut Bitmap, ranges: &[(u64, u64)]) {
    for (offset, len) in ranges {
        bitmap.set(*offset, *len);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn what_was_written_is_read(first in ranges(), cleared in ranges(), then in ranges()) {
        let (mut device, mut index) = device();
        let mut bitmap = bitmap();
        set(&mut bitmap, &first);
        store(&mut bitmap, &mut index).iter().for_each(|write| device.write(write));
        for (offset, len) in cleared {
            bitmap.clear(offset, len);
        }
        set(&mut bitmap, &then);
        store(&mut bitmap, &mut index).iter().for_each(|write| device.write(write));
        let (loaded, damaged) = load(&device);
        prop_assert_eq!(damaged, 0);
        // It may have been read from a cache: what is set is written again before it counts.
        for page in (0..loaded.page_count()).map(PageIndex) {
            let clear = matches!(loaded.page_image(page), PageImage::AllClear);
            prop_assert_eq!(loaded.is_unsaved(page), !clear);
        }
        assert_same(&loaded, &bitmap);
    }

    /// Any sector may be old or new after a power loss; bits that both maps have are kept.
    #[test]
    fn a_crash_while_writing_loses_no_bit(
        old in ranges(),
        cleared in ranges(),
        new in ranges(),
        seed in any::<u64>(),
    ) {
        let (mut device, mut index) = device();
        let mut bitmap = bitmap();
        set(&mut bitmap, &old);
        store(&mut bitmap, &mut index).iter().for_each(|write| device.write(write));
        let mut both = bitmap.clone();
        for (offset, len) in cleared {
            both.clear(offset, len);
            bitmap.clear(offset, len);
        }
        set(&mut bitmap, &new);
        let mut random = seed | 1;
        for write in store(&mut bitmap, &mut index) {
            let start = usize::try_from(write.offset).unwrap();
            for (sector, bytes) in write.bytes.chunks(512).enumerate() {
                random ^= random << 13;
                random ^= random >> 7;
                random ^= random << 17;
                if random & 0x30 != 0 {
                    device.0[start + sector * 512..][..512].copy_from_slice(bytes);
                }
            }
        }
        let (loaded, _) = load(&device);
        assert_contains(&loaded, &both);
    }

    #[test]
    fn a_damaged_byte_loses_no_bit(
        old in ranges(),
        at in any::<prop::sample::Index>(),
        flip in 1..=255_u8,
    ) {
        let (mut device, mut index) = device();
        let mut bitmap = bitmap();
        set(&mut bitmap, &old);
        store(&mut bitmap, &mut index).iter().for_each(|write| device.write(write));
        // Most damage goes to the index, where it counts.
        let area = AREA.area();
        let len = if flip < 200 { 3 * META_BLOCK } else { area.len };
        let place = usize::try_from(area.offset).unwrap() + at.index(usize::try_from(len).unwrap());
        device.0[place] ^= flip;
        let (loaded, damaged) = load(&device);
        assert_contains(&loaded, &bitmap);
        if flip < 200 {
            prop_assert_eq!(damaged, 1);
            prop_assert!(loaded.unsaved_count() >= 80, "damage is to be written over");
        }
    }
}

#[test]
fn an_index_block_is_coded_to_the_byte() {
    let (_, mut index) = device();
    let mut bitmap = bitmap();
    bitmap.set(510 * PAGE_DEVICE_BYTES, PAGE_DEVICE_BYTES);
    bitmap.set(512 * PAGE_DEVICE_BYTES + 9 * BLOCK_BYTES, 1);
    let writes = store(&mut bitmap, &mut index);
    assert_eq!(writes.len(), 2, "one index block, one page");
    let (block, page) = (&writes[0], &writes[1]);
    assert_eq!(block.offset, 8192 + 4096);
    assert_eq!(page.offset, 8192 + (3 + 512) * 4096);
    let mut bits = [0; 4096];
    bits[1] = 0b10;
    assert_eq!(page.bytes, bits);
    let mut golden = vec![0; 4096];
    golden[4..16].copy_from_slice(b"TX\x02\0\x01\0\0\0\0\0\0\0");
    golden[16] = 1;
    golden[32] = 2;
    // Checksums were reckoned by another program.
    golden[36..40].copy_from_slice(&[0x28, 0x7b, 0x4c, 0x25]);
    golden[..4].copy_from_slice(&[0x89, 0xdb, 0xf0, 0xd2]);
    assert_eq!(block.bytes, golden);
}

#[test]
fn blocks_of_another_place_or_making_are_all_set() {
    let pages_of_block = 510 * PAGE_BLOCKS;
    let (whole, _) = device();
    let block = |number: usize| 8192 + number * 4096..8192 + (number + 1) * 4096;
    let mut swapped = Device(whole.0.clone());
    swapped.0.copy_within(block(0), block(1).start);
    let (loaded, damaged) = load(&swapped);
    assert_eq!((loaded.count(), damaged), (pages_of_block, 1));
    for (uuid, slot) in [(DeviceUuid([0; 16]), 2), (device_uuid(), 3)] {
        let area = BitmapArea { slot: SlotIndex(slot), ..AREA };
        let stale = BitmapIndex::all_clear(uuid, area).plan_write_index();
        let mut device = Device(whole.0.clone());
        device.write(&stale[0]);
        let (loaded, damaged) = load(&device);
        assert_eq!((loaded.count(), damaged), (pages_of_block, 1));
    }
}

#[test]
fn pages_in_each_others_place_are_all_set() {
    let (mut device, mut index) = device();
    let mut bitmap = bitmap();
    bitmap.set(0, 1);
    bitmap.set(PAGE_DEVICE_BYTES + BLOCK_BYTES, 1);
    store(&mut bitmap, &mut index).iter().for_each(|write| device.write(write));
    let page = 8192 + 3 * 4096;
    device.0.copy_within(page..page + 4096, page + 4096);
    let (loaded, damaged) = load(&device);
    assert_eq!((loaded.count(), damaged), (1 + PAGE_BLOCKS, 1));
    assert!(loaded.is_unsaved(PageIndex(0)) && loaded.is_unsaved(PageIndex(1)));
}

#[test]
fn what_cannot_be_read_is_all_set() {
    let (mut device, mut index) = device();
    let mut stored = bitmap();
    stored.set(0, 1);
    store(&mut stored, &mut index).iter().for_each(|write| device.write(write));
    let (mut loaded, mut index) = (bitmap(), BitmapIndex::unread(device_uuid(), AREA));
    let reads = index.plan_index_read();
    assert_eq!(reads, [Area { offset: 8192, len: 3 * 4096 }]);
    index.load_index(reads[0], Some(device.read(reads[0])), &mut loaded);
    let pages = index.plan_page_reads(&loaded);
    assert_eq!(pages, [Area { offset: 8192 + 3 * 4096, len: 4096 }]);
    assert_eq!(index.load_pages(pages[0], None, &mut loaded), 1);
    assert_eq!(loaded.count(), PAGE_BLOCKS);
    let (mut loaded, mut index) = (bitmap(), BitmapIndex::unread(device_uuid(), AREA));
    assert_eq!(index.load_index(reads[0], None, &mut loaded), 3);
    assert_eq!(loaded.count(), loaded.blocks());
    assert_eq!(loaded.unsaved_count(), PAGES);
    assert_eq!(index.plan_page_reads(&loaded), []);
}

/// A later program's state of a page says nothing known, so it may be any.
#[test]
fn an_unknown_state_is_all_set() {
    let (mut device, _) = device();
    let start = 8192;
    device.0[start + 16] = 9;
    let mut all = device_uuid().0.to_vec();
    all.extend_from_slice(&[2, 0, 0, 0, 0, 0]);
    all.extend_from_slice(&device.0[start + 4..start + 4096]);
    let crc = crc32fast::hash(&all).to_le_bytes();
    device.0[start..start + 4].copy_from_slice(&crc);
    let (loaded, damaged) = load(&device);
    assert_eq!((loaded.count(), damaged), (PAGE_BLOCKS, 0));
    assert!(loaded.is_unsaved(PageIndex(0)));
}

#[test]
fn neighbours_are_read_together_within_bounds() {
    let (_, mut index) = device();
    let mut bitmap = bitmap();
    for page in (0..300).chain(302..303) {
        bitmap.set(page * PAGE_DEVICE_BYTES, 1);
    }
    let writes = store(&mut bitmap, &mut index);
    assert_eq!(writes.len(), 301 + 1, "pages and one index block");
    let page = |number: u64| 8192 + (3 + number) * 4096;
    assert_eq!(
        index.plan_page_reads(&bitmap),
        [
            Area { offset: page(0), len: MIB },
            Area { offset: page(256), len: 44 * 4096 },
            Area { offset: page(302), len: 4096 },
        ]
    );
}
