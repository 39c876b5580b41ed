//! The bitmap against a vector of booleans, its borders by table, its chunks against garbage.

use proptest::prelude::*;

use super::*;

const PAGE_DEVICE_BYTES: u64 = BLOCK_BYTES * PAGE_BLOCKS;
const TIB: u64 = 1 << 40;

/// The bitmap as anybody would write it.
#[derive(Clone)]
struct Model {
    device_bytes: u64,
    bits: Vec<bool>,
}

impl Model {
    fn new(device_bytes: u64) -> Self {
        let blocks = usize::try_from(device_bytes.div_ceil(BLOCK_BYTES)).unwrap();
        Self { device_bytes, bits: vec![false; blocks] }
    }

    /// First and last byte of a block on the device, the last exclusive.
    fn bytes_of(&self, block: usize) -> (u64, u64) {
        let start = block as u64 * BLOCK_BYTES;
        (start, (start + BLOCK_BYTES).min(self.device_bytes))
    }

    fn set(&mut self, offset: u64, len: u64) -> u64 {
        let mut changed = 0;
        for block in 0..self.bits.len() {
            let (start, end) = self.bytes_of(block);
            if start < offset.saturating_add(len) && offset < end && !self.bits[block] && len > 0 {
                self.bits[block] = true;
                changed += 1;
            }
        }
        changed
    }

    fn clear(&mut self, offset: u64, len: u64) -> u64 {
        let mut changed = 0;
        for block in 0..self.bits.len() {
            let (start, end) = self.bytes_of(block);
            if offset <= start && end <= offset.saturating_add(len) && self.bits[block] {
                self.bits[block] = false;
                changed += 1;
            }
        }
        changed
    }

    fn resize(&mut self, device_bytes: u64) {
        let (old, mut grown) = (self.device_bytes, Self::new(device_bytes));
        let kept = self.bits.len().min(grown.bits.len());
        grown.bits[..kept].copy_from_slice(&self.bits[..kept]);
        *self = grown;
        if device_bytes > old {
            self.set(old, device_bytes - old);
        }
    }

    fn count(&self) -> u64 {
        self.bits.iter().filter(|bit| **bit).count() as u64
    }
}

fn assert_same(bitmap: &Bitmap, model: &Model) {
    let mut bits = vec![false; model.bits.len()];
    let mut block = 0;
    while let Some(run) = bitmap.next_run(block, 1000) {
        assert!(run.start >= block && run.start < run.end && run.end - run.start <= 1000);
        let run_index = usize::try_from(run.start).unwrap()..usize::try_from(run.end).unwrap();
        bits[run_index].fill(true);
        block = run.end;
    }
    assert!(bits == model.bits, "bits differ");
    assert_eq!(bitmap.count(), model.count());
    assert_eq!(bitmap.is_empty(), model.count() == 0);
    assert_eq!(bitmap.blocks(), model.bits.len() as u64);
}

/// What a node would find on disk: every page taken so far.
#[derive(Default)]
struct SavedPages(std::collections::BTreeMap<PageIndex, PageImage>);

impl SavedPages {
    fn save(&mut self, bitmap: &mut Bitmap) {
        while let Some((index, image)) = bitmap.take_unsaved_page() {
            self.0.insert(index, image);
        }
        assert_eq!(bitmap.unsaved_count(), 0);
    }

    fn load(&self, device_bytes: u64) -> Bitmap {
        let mut bitmap = Bitmap::new(device_bytes);
        for index in (0..bitmap.page_count()).map(PageIndex) {
            bitmap.load_page(index, self.0.get(&index).unwrap_or(&PageImage::AllClear));
        }
        assert_eq!(bitmap.unsaved_count(), 0);
        bitmap
    }
}

#[derive(Clone, Debug)]
enum Step {
    Set(u64, u64),
    Clear(u64, u64),
    SetAll,
    ClearAll,
    Resize(u64),
    Save,
}

fn device_bytes() -> impl Strategy<Value = u64> {
    prop_oneof![
        0..3 * PAGE_DEVICE_BYTES,
        (0..3 * PAGE_BLOCKS).prop_map(|blocks| blocks * BLOCK_BYTES),
        (0..4_u64).prop_map(|pages| pages * PAGE_DEVICE_BYTES),
    ]
}

fn byte_range() -> impl Strategy<Value = (u64, u64)> {
    let offset = prop_oneof![
        0..3 * PAGE_DEVICE_BYTES,
        (0..3 * PAGE_BLOCKS).prop_map(|block| block * BLOCK_BYTES),
        (0..4_u64).prop_map(|page| page * PAGE_DEVICE_BYTES),
    ];
    let len = prop_oneof![
        0..10_000_u64,
        (0..2 * PAGE_BLOCKS).prop_map(|blocks| blocks * BLOCK_BYTES),
        Just(u64::MAX),
    ];
    (offset, len)
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        8 => byte_range().prop_map(|(offset, len)| Step::Set(offset, len)),
        6 => byte_range().prop_map(|(offset, len)| Step::Clear(offset, len)),
        1 => Just(Step::SetAll),
        1 => Just(Step::ClearAll),
        1 => device_bytes().prop_map(Step::Resize),
        2 => Just(Step::Save),
    ];
    prop::collection::vec(step, 1..20)
}

/// Runs the steps on both; the third value is what the disk holds.
fn run(device_bytes: u64, steps: &[Step]) -> (Bitmap, Model, SavedPages) {
    let (mut bitmap, mut model) = (Bitmap::new(device_bytes), Model::new(device_bytes));
    let mut saved = SavedPages::default();
    for step in steps {
        match *step {
            Step::Set(offset, len) => {
                assert_eq!(bitmap.set(offset, len), model.set(offset, len));
                assert_eq!(bitmap.any(offset, len), len > 0 && offset < model.device_bytes);
            }
            Step::Clear(offset, len) => {
                let touched = bitmap.any(offset, len);
                let cleared = model.clear(offset, len);
                assert_eq!(bitmap.clear(offset, len), cleared);
                assert!(touched || cleared == 0);
            }
            Step::SetAll => {
                assert_eq!(bitmap.set_all(), model.set(0, u64::MAX));
            }
            Step::ClearAll => assert_eq!(bitmap.clear_all(), model.clear(0, u64::MAX)),
            Step::Resize(device_bytes) => {
                bitmap.resize(device_bytes);
                model.resize(device_bytes);
            }
            Step::Save => saved.save(&mut bitmap),
        }
    }
    (bitmap, model, saved)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn behaves_as_a_vector_of_booleans(device_bytes in device_bytes(), steps in steps()) {
        let (bitmap, model, _) = run(device_bytes, &steps);
        assert_same(&bitmap, &model);
    }

    #[test]
    fn what_was_saved_is_loaded(device_bytes in device_bytes(), steps in steps()) {
        let (mut bitmap, model, mut saved) = run(device_bytes, &steps);
        saved.save(&mut bitmap);
        assert_same(&saved.load(bitmap.device_bytes()), &model);
    }

    #[test]
    fn chunks_carry_the_map(
        device_bytes in device_bytes(),
        steps in steps(),
        max_bytes in CHUNK_BYTES_MIN..200,
    ) {
        let (bitmap, model, _) = run(device_bytes, &steps);
        let mut merged = Bitmap::new(bitmap.device_bytes());
        let mut from = Some(0);
        let mut expected_start = 0;
        while let Some(block) = from {
            prop_assert_eq!(block, expected_start);
            let (runs, next) = bitmap.encode_chunk(block, max_bytes);
            prop_assert!(runs.len() <= max_bytes);
            let MergedChunk { end_block, .. } = merged.merge_chunk(block, &runs).unwrap();
            prop_assert_eq!(end_block, next.unwrap_or_else(|| bitmap.blocks()));
            expected_start = end_block;
            from = next;
        }
        assert_same(&merged, &model);
    }

    #[test]
    fn merging_and_union_only_add(
        device_bytes in device_bytes(),
        ours in steps(),
        theirs in steps(),
    ) {
        let (mut ours, mut model, _) = run(device_bytes, &ours);
        let (mut theirs, _, _) = run(device_bytes, &theirs);
        theirs.resize(ours.device_bytes());
        let mut union = ours.clone();
        let before = ours.count();
        let runs = theirs.encode_chunk(0, usize::MAX).0;
        let merged = ours.merge_chunk(0, &runs).unwrap();
        prop_assert_eq!(union.union(&theirs), merged.changed);
        prop_assert_eq!(ours.count(), before + merged.changed);
        let mut block = 0;
        while let Some(run) = theirs.next_run(block, u64::MAX) {
            model.set(run.start * BLOCK_BYTES, (run.end - run.start) * BLOCK_BYTES);
            block = run.end;
        }
        assert_same(&ours, &model);
        assert_same(&union, &model);
    }

    #[test]
    fn garbage_changes_nothing(
        from_block in prop_oneof![0..3 * PAGE_BLOCKS, any::<u64>()],
        coding in prop_oneof![Just(1_u8), Just(2), any::<u8>()],
        rest in prop::collection::vec(any::<u8>(), 0..60),
    ) {
        let chunk = [&[coding][..], &rest].concat();
        let mut bitmap = Bitmap::new(PAGE_DEVICE_BYTES + 12_345);
        bitmap.set(77 * BLOCK_BYTES, 3 * BLOCK_BYTES);
        let before = bitmap.count();
        match bitmap.merge_chunk(from_block, &chunk) {
            Ok(merged) => {
                prop_assert!(merged.end_block <= bitmap.blocks());
                prop_assert_eq!(bitmap.count(), before + merged.changed);
            }
            Err(_) => prop_assert_eq!(bitmap.count(), before),
        }
    }
}

#[test]
fn sets_outwards_and_clears_inwards() {
    // (device, offset, length, blocks set, blocks cleared)
    let cases = [
        (8 * 4096, 0, 0, 0..0, 0..0),
        (8 * 4096, 1, 1, 0..1, 0..0),
        (8 * 4096, 4095, 2, 0..2, 0..0),
        (8 * 4096, 4096, 4096, 1..2, 1..2),
        (8 * 4096, 1, 3 * 4096, 0..4, 1..3),
        (8 * 4096, 7 * 4096, u64::MAX, 7..8, 7..8),
        (8 * 4096, 8 * 4096, 1, 0..0, 0..0),
        (8 * 4096, u64::MAX, u64::MAX, 0..0, 0..0),
        (4096 + 512, 4096, 512, 1..2, 1..2),
        (4096 + 512, 4096, 511, 1..2, 0..0),
        (4096 + 512, 4097, 511, 1..2, 0..0),
    ];
    for (device_bytes, offset, len, set, cleared) in cases {
        let mut bitmap = Bitmap::new(device_bytes);
        assert_eq!(bitmap.set(offset, len), set.end - set.start);
        assert_eq!(bitmap.next_run(0, 100), (!set.is_empty()).then_some(set));
        bitmap.set_all();
        assert_eq!(bitmap.clear(offset, len), cleared.end - cleared.start);
        let left = bitmap.blocks() - (cleared.end - cleared.start);
        assert_eq!(bitmap.count(), left, "device {device_bytes} offset {offset} length {len}");
    }
}

#[test]
fn marks_follow_changes_only() {
    let mut bitmap = Bitmap::new(200 * PAGE_DEVICE_BYTES);
    assert_eq!(bitmap.take_unsaved_page(), None);
    bitmap.set(PAGE_DEVICE_BYTES - 1, 2);
    bitmap.set(150 * PAGE_DEVICE_BYTES, PAGE_DEVICE_BYTES);
    assert_eq!(bitmap.unsaved_count(), 3);
    assert!(matches!(bitmap.take_unsaved_page(), Some((PageIndex(0), PageImage::Mixed(_)))));
    bitmap.set(0, 1);
    // Page 0 changed again and waits for its turn.
    assert!(matches!(bitmap.take_unsaved_page(), Some((PageIndex(1), PageImage::Mixed(_)))));
    assert_eq!(bitmap.take_unsaved_page(), Some((PageIndex(150), PageImage::AllSet)));
    assert!(bitmap.is_unsaved(PageIndex(0)));
    assert!(bitmap.take_if_unsaved(PageIndex(0)).is_some());
    assert_eq!(bitmap.take_if_unsaved(PageIndex(0)), None);
    bitmap.set(0, 1);
    bitmap.clear(PAGE_DEVICE_BYTES, 0);
    assert_eq!(bitmap.take_unsaved_page(), None);
    bitmap.mark_unsaved(PageIndex(7));
    assert_eq!(bitmap.take_unsaved_page(), Some((PageIndex(7), PageImage::AllClear)));
}

#[test]
fn loading_adds_to_what_is_there() {
    let mut bitmap = Bitmap::new(2 * PAGE_DEVICE_BYTES);
    bitmap.set(0, 1);
    bitmap.take_unsaved_page();
    bitmap.load_page(PageIndex(0), &PageImage::AllClear);
    assert_eq!(bitmap.count(), 1);
    assert!(bitmap.is_unsaved(PageIndex(0)), "the disk says less than the map");
    bitmap.load_page(PageIndex(1), &PageImage::AllSet);
    assert_eq!(bitmap.count(), 1 + PAGE_BLOCKS);
    assert!(!bitmap.is_unsaved(PageIndex(1)));
}

#[test]
fn loaded_bits_beyond_the_device_are_dropped() {
    let mut bitmap = Bitmap::new(70 * BLOCK_BYTES);
    bitmap.load_page(PageIndex(0), &PageImage::Mixed(Box::new([0xff; PAGE_BYTES])));
    assert_eq!((bitmap.count(), bitmap.page_image(PageIndex(0))), (70, PageImage::AllSet));
    bitmap.resize(69 * BLOCK_BYTES);
    assert_eq!((bitmap.count(), bitmap.next_run(0, 100)), (69, Some(0..69)));
}

#[test]
fn growth_within_a_block_sets_it() {
    let mut bitmap = Bitmap::new(BLOCK_BYTES + 512);
    bitmap.resize(2 * BLOCK_BYTES);
    assert_eq!((bitmap.next_run(0, 9), bitmap.unsaved_count()), (Some(1..2), 1));
}

#[test]
fn chunk_is_coded_to_the_byte() {
    let mut bitmap = Bitmap::new(1000 * BLOCK_BYTES);
    bitmap.set(300 * BLOCK_BYTES, 2 * BLOCK_BYTES);
    assert_eq!(bitmap.encode_chunk(0, 21), (vec![1, 0xac, 0x02, 2, 0xba, 0x05], None));
    assert_eq!(bitmap.encode_chunk(300, 21), (vec![1, 0, 2, 0xba, 0x05], None));
    assert_eq!(bitmap.encode_chunk(1000, 21), (vec![1], None));
    for block in 0..11 {
        bitmap.set((979 + block * 2) * BLOCK_BYTES, 1);
    }
    assert_eq!(bitmap.encode_chunk(977, 21), (vec![2, 0x54, 0x55, 0x55], None));
}

#[test]
fn noise_takes_no_more_room_than_its_bits() {
    let blocks = 8 * PAGE_BLOCKS + 77;
    let mut bitmap = Bitmap::new(blocks * BLOCK_BYTES);
    let mut random = 1_u64;
    for block in 0..blocks {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        if random.is_multiple_of(3) {
            bitmap.set(block * BLOCK_BYTES, 1);
        }
    }
    // From a block that begins no word, into a map that has bits of its own.
    let mut merged = Bitmap::new(blocks * BLOCK_BYTES);
    merged.set_blocks(0..3);
    let (mut from, mut bytes) = (Some(3), 0);
    while let Some(block) = from {
        let (chunk, next) = bitmap.encode_chunk(block, 6000);
        merged.merge_chunk(block, &chunk).unwrap();
        bytes += chunk.len() as u64;
        from = next;
    }
    bitmap.set_blocks(0..3);
    assert!(bytes <= blocks / 8 + 10, "{bytes} bytes for {blocks} blocks");
    let run = |map: &Bitmap, block| map.next_run(block, u64::MAX);
    let mut block = 0;
    while let Some(expected) = run(&bitmap, block) {
        assert_eq!(run(&merged, block), Some(expected.clone()));
        block = expected.end;
    }
    assert_eq!(merged.count(), bitmap.count());
}

#[test]
fn bad_chunks_are_named() {
    let mut bitmap = Bitmap::new(1000 * BLOCK_BYTES);
    let beyond = BitmapDecodeError::BeyondDevice { blocks: 1000 };
    let cases: [(u64, &[u8], BitmapDecodeError); 16] = [
        (0, &[], BitmapDecodeError::Truncated),
        (0, &[0], BitmapDecodeError::UnknownCoding(0)),
        (0, &[3, 1], BitmapDecodeError::UnknownCoding(3)),
        (0, &[1, 0x80], BitmapDecodeError::Truncated),
        (0, &[1, 0, 5, 0x81], BitmapDecodeError::Truncated),
        (0, &[1, 0x80, 0x00], BitmapDecodeError::NumberTooLong),
        (
            0,
            &[1, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff],
            BitmapDecodeError::NumberTooLong,
        ),
        (0, &[1, 0, 0], BitmapDecodeError::EmptyRun),
        (0, &[1, 1, 1, 0, 1], BitmapDecodeError::EmptyRun),
        (999, &[1, 0, 2], beyond),
        (1001, &[1], beyond),
        (1001, &[2], beyond),
        (992, &[2, 0xff, 0x00], beyond),
        (999, &[2, 0x02], beyond),
        (u64::MAX, &[2, 0x01], beyond),
        (u64::MAX, &[1, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01], beyond),
    ];
    for (from_block, runs, error) in cases {
        assert_eq!(bitmap.merge_chunk(from_block, runs), Err(error), "{from_block} {runs:?}");
        assert!(bitmap.is_empty());
    }
}

/// Were any of this a walk over blocks, it would take hours.
#[test]
fn large_maps_in_one_state_are_cheap() {
    let mut bitmap = Bitmap::new(16 * TIB);
    for _ in 0..50 {
        bitmap.set(16 * TIB - 1, 1);
        assert_eq!(bitmap.next_run(0, u64::MAX), Some((1 << 32) - 1..1 << 32));
        bitmap.set_all();
        assert_eq!(bitmap.next_run(1, u64::MAX), Some(1..1 << 32));
        assert_eq!(bitmap.encode_chunk(0, 21).0, [1, 0, 0x80, 0x80, 0x80, 0x80, 0x10]);
        bitmap.clear_all();
        assert_eq!(bitmap.next_run(0, u64::MAX), None);
    }
}
