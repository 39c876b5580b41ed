//! Making metadata on a device full of something else, recognising and removing them.

use super::*;
use crate::bitmap::Bitmap;

const DEVICE_BYTES: u64 = 16 * MIB + 512;

fn probed(device: &Device) -> Probe {
    let offsets = superblock_offsets(DEVICE_BYTES, Placement::Internal).unwrap();
    let [a, b] = device.superblocks(offsets);
    probe(a, b)
}

#[test]
fn what_was_made_is_found_and_says_nothing_is_set() {
    let layout = internal(DEVICE_BYTES, 3);
    let mut device = Device::new(DEVICE_BYTES, 0xee);
    let (superblock, plan) = format(&layout, identity(), device_uuid(), AL_EXTENT_BYTES);
    let data = usize::try_from(layout.data_bytes()).unwrap();
    device.0[Device::range(plan.zero)].fill(0);
    plan.indexes.iter().for_each(|write| device.write(write));
    assert_eq!(probed(&device), Probe::Nothing, "not complete yet");
    device.write(&plan.superblocks[0]);
    assert_eq!(probed(&device), Probe::Found(Box::new(superblock.clone())));
    device.write(&plan.superblocks[1]);
    let Probe::Found(found) = probed(&device) else { panic!("not found") };
    assert_eq!(*found, superblock);
    assert!(device.0[..data].iter().all(|byte| *byte == 0xee), "data were written to");
    assert!(device.0[device.0.len() - 512..].iter().all(|byte| *byte == 0xee));
    let read = Layout::from_superblock(&found, DEVICE_BYTES, Placement::Internal).unwrap();
    assert_eq!(read, layout);
    for slot in (0..3).map(SlotIndex) {
        let mut bitmap = Bitmap::new(read.data_bytes());
        let mut index = BitmapIndex::unread(found.device_uuid, read.bitmap(slot).unwrap());
        for area in index.plan_index_read() {
            assert_eq!(index.load_index(area, Some(device.read(area)), &mut bitmap), 0);
        }
        assert!(bitmap.is_empty() && index.plan_page_reads(&bitmap).is_empty());
    }
}

#[test]
fn one_copy_is_recognised_and_two_wiped_ones_are_not() {
    let layout = internal(DEVICE_BYTES, 1);
    let (_, plan) = format(&layout, identity(), device_uuid(), AL_EXTENT_BYTES);
    let mut device = Device::new(DEVICE_BYTES, 0);
    plan.superblocks.iter().for_each(|write| device.write(write));
    let offsets = superblock_offsets(DEVICE_BYTES, Placement::Internal).unwrap();
    let [first, second] = wipe(offsets);
    device.write(&first);
    assert!(matches!(probed(&device), Probe::Found(_)));
    let b = usize::try_from(offsets[1]).unwrap();
    device.0[b + 100] ^= 1;
    assert_eq!(probed(&device), Probe::Unusable(MetaError::Damaged));
    device.write(&second);
    assert_eq!(probed(&device), Probe::Nothing);
    assert_eq!(superblock_offsets(MIB - 1, Placement::Internal), None);
    assert_eq!(probe(&[], &[]), Probe::Nothing);
}
