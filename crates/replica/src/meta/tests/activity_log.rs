//! The activity log: golden bytes, and that no crash and no damage yields less than was covered.

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;

fn ring(places: u64) -> Ring {
    Ring::new(device_uuid(), Area { offset: 8192, len: 2 * places * META_BLOCK })
}

fn first(slots: u32) -> Transaction {
    let context = vec![NO_EXTENT; CONTEXT_MAX.min(slots as usize)];
    Transaction { log: 3, sequence: 1, slots, updates: Vec::new(), context_first: 0, context }
}

#[test]
fn is_coded_to_the_byte() {
    let transaction = Transaction {
        log: 0x0102,
        sequence: 0x1122_3344_5566_7788,
        slots: 300,
        updates: vec![
            Update { slot: 7, extent: 0xa1b2_c3d4 },
            Update { slot: 299, extent: NO_EXTENT },
        ],
        context_first: 298,
        context: vec![5, NO_EXTENT, 0x0908_0706],
    };
    let writes = ring(4).plan_write(&transaction);
    // 0x1122334455667788 % 4 is place 0, of either copy.
    assert_eq!(writes.each_ref().map(|write| write.offset), [8192, 8192 + 4 * 4096]);
    let mut golden = [0; META_BLOCK_BYTES];
    let mut put = |offset: usize, hex: &str| {
        for (index, byte) in hex.split_whitespace().enumerate() {
            golden[offset + index] = u8::from_str_radix(byte, 16).unwrap();
        }
    };
    put(4, "54 4e 41 4c  02 01 00 00 00 00 00 00  88 77 66 55 44 33 22 11");
    put(24, "2c 01 00 00  2a 01 00 00  03 00  02 00");
    put(64, "07 00  d4 c3 b2 a1   2b 01  ff ff ff ff");
    put(448, "05 00 00 00  ff ff ff ff  06 07 08 09");
    for (copy, write) in writes.iter().enumerate() {
        let mut hasher = crc32fast::Hasher::new();
        hasher.update(&device_uuid().0);
        hasher.update(&[u8::try_from(copy).unwrap()]);
        hasher.update(&[0; 8]);
        hasher.update(&golden[4..]);
        golden[..4].copy_from_slice(&hasher.finalize().to_le_bytes());
        assert_eq!(write.bytes, golden, "copy {copy}");
    }
}

#[test]
fn there_is_room_for_the_most_slots() {
    let layout = internal(64 * MIB, 1);
    assert_eq!(Ring::new(device_uuid(), layout.activity_log()).slots_max(), AL_SLOTS_MAX);
    assert_eq!(ring(2).slots_max(), 912);
}

/// What would be found on a device that holds nothing but the ring.
struct Disk {
    ring: Ring,
    device: Device,
    unreadable: BTreeSet<u64>,
}

impl Disk {
    fn new(ring: Ring) -> Self {
        let end = ring.plan_read().last().unwrap().checked_end().unwrap();
        Self { ring, device: Device::new(end, 0), unreadable: BTreeSet::new() }
    }

    fn recover(&self) -> Hot {
        let mut image = RingImage::unread(self.ring);
        for area in image.plan_read() {
            let readable = !self.unreadable.contains(&area.offset);
            image.load(area, readable.then(|| self.device.read(area)));
        }
        image.recover(3)
    }

    /// Both copies, or the sectors that `masks` choose of each.
    fn write(&mut self, transaction: &Transaction, masks: [u8; 2]) {
        for (write, mask) in self.ring.plan_write(transaction).iter().zip(masks) {
            for sector in (0..8).filter(|sector| mask & 1 << sector != 0) {
                let at = usize::try_from(write.offset).unwrap() + sector * 512;
                let bytes = &write.bytes[sector * 512..(sector + 1) * 512];
                self.device.0[at..at + 512].copy_from_slice(bytes);
            }
        }
    }

    fn damage(&mut self, copy: u64, place: u64) {
        let half = self.ring.places() * META_BLOCK;
        let at = 8192 + copy * half + place * META_BLOCK + 1000;
        self.device.0[usize::try_from(at).unwrap()] ^= 1;
    }
}

fn covers(hot: &Hot, extents: &BTreeSet<u32>) -> bool {
    match hot {
        Hot::All => true,
        Hot::Extents(hot) => extents.iter().all(|extent| hot.contains(extent)),
    }
}

/// A log that goes on, and what its slots hold after each transaction.
struct Writer {
    slots: Vec<u32>,
    next: Transaction,
}

impl Writer {
    fn new(slots: u32) -> Self {
        Self { slots: vec![NO_EXTENT; slots as usize], next: first(slots) }
    }

    fn step(&mut self, changes: &[(u16, u32)]) -> Transaction {
        let count = self.slots.len();
        let window = CONTEXT_MAX.min(count);
        let context_first = (self.next.context_first as usize + window) % count;
        for (slot, extent) in changes {
            self.slots[usize::from(*slot) % count] = *extent;
        }
        let update = |(slot, _): &(u16, u32)| {
            let slot = usize::from(*slot) % count;
            Update { slot: u16::try_from(slot).unwrap(), extent: self.slots[slot] }
        };
        let updates = changes.iter().map(update).collect();
        self.next = Transaction {
            sequence: self.next.sequence + 1,
            updates,
            context_first: u32::try_from(context_first).unwrap(),
            context: (0..window).map(|index| self.slots[(context_first + index) % count]).collect(),
            ..self.next.clone()
        };
        self.next.clone()
    }

    fn hot(&self) -> BTreeSet<u32> {
        self.slots.iter().copied().filter(|extent| *extent != NO_EXTENT).collect()
    }
}

type Changes = Vec<Vec<(u16, u32)>>;

fn changes() -> impl Strategy<Value = Changes> {
    let change = (any::<u16>(), 0..5000_u32);
    prop::collection::vec(prop::collection::vec(change, 1..64), 0..40)
}

proptest! {
    /// Whatever lands of the last transaction: its writes were not issued, and what it takes away
    /// is durable elsewhere, so what is in the log before and after it must be there; and no more.
    #[test]
    fn a_torn_tail_leaves_what_was_before(
        slots in prop_oneof![4..67_u32, 900..1900_u32],
        changes in changes(),
        masks in any::<[u8; 2]>(),
        damaged in 0..2_u64,
        places in prop::collection::vec(any::<u64>(), 0..6),
    ) {
        let ring = ring(4);
        let mut disk = Disk::new(ring);
        let mut writer = Writer::new(slots);
        disk.write(&first(slots), [0xff; 2]);
        let mut before = BTreeSet::new();
        for (index, change) in changes.iter().enumerate() {
            before = writer.hot();
            let transaction = writer.step(change);
            let last = index + 1 == changes.len();
            disk.write(&transaction, if last { masks } else { [0xff; 2] });
        }
        let after = writer.hot();
        for place in places {
            // One copy of anything may be damaged at rest, but not the one that is whole alone.
            let torn = place % 4 == writer.next.sequence % 4;
            if !torn {
                disk.damage(damaged, place % 4);
            }
        }
        let found = disk.recover();
        let kept = before.intersection(&after).copied().collect();
        prop_assert!(covers(&found, &kept));
        if masks == [0xff; 2] {
            prop_assert!(covers(&found, &after));
        }
        let Hot::Extents(found) = found else { panic!("one copy is enough") };
        prop_assert!(found.iter().all(|extent| before.contains(extent) || after.contains(extent)));
    }

    /// Whatever else is damaged, in both copies too: never less, unless it looks like a torn tail.
    #[test]
    fn damage_yields_everything_or_enough(
        slots in prop_oneof![4..67_u32, 900..1900_u32],
        changes in changes(),
        damage in prop::collection::vec((0..2_u64, any::<u64>()), 0..8),
        unreadable in prop::option::of(0..2_usize),
    ) {
        let ring = ring(4);
        let mut disk = Disk::new(ring);
        let mut writer = Writer::new(slots);
        disk.write(&first(slots), [0xff; 2]);
        for change in &changes {
            let transaction = writer.step(change);
            disk.write(&transaction, [0xff; 2]);
        }
        for (copy, place) in damage {
            // The newest in both copies is what a torn write looks like.
            if copy == 0 || place % 4 != writer.next.sequence % 4 {
                disk.damage(copy, place % 4);
            }
        }
        if let Some(copy) = unreadable {
            disk.unreadable.insert(ring.plan_read()[copy].offset);
        }
        prop_assert!(covers(&disk.recover(), &writer.hot()));
    }

    #[test]
    fn noise_is_harmless(bytes in prop::collection::vec(any::<u8>(), 512), at in 0..64_usize) {
        let mut disk = Disk::new(ring(4));
        disk.write(&first(9), [0xff; 2]);
        let range = 8192 + at * 512..8192 + (at + 1) * 512;
        disk.device.0[range].copy_from_slice(&bytes);
        let _ = disk.recover();
    }
}

#[test]
fn nothing_found_means_everything() {
    let mut disk = Disk::new(ring(4));
    assert_eq!(disk.recover(), Hot::All, "zeroes");
    disk.write(&Transaction { log: 2, ..first(9) }, [0xff; 2]);
    assert_eq!(disk.recover(), Hot::All, "an older log");
    disk.write(&first(9), [0xff; 2]);
    assert_eq!(disk.recover(), Hot::Extents(Vec::new()));
    for copy in 0..2 {
        disk.unreadable.insert(disk.ring.plan_read()[copy].offset);
    }
    assert_eq!(disk.recover(), Hot::All, "unreadable");
}
