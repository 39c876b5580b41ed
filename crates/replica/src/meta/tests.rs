//! The format against golden bytes, against damage and crashes, and against docs/ON_DISK.md.

mod activity_log;
mod bitmap_index;
mod docs;
mod format;
mod layout;
mod superblock;

use tandem_wire::{NodeId, VolumeNumber};

use super::*;

const MIB: u64 = 1 << 20;

fn identity() -> Identity {
    Identity::new("r0", VolumeNumber(3), NodeId(1)).unwrap()
}

fn device_uuid() -> DeviceUuid {
    DeviceUuid(std::array::from_fn(|index| 0xd0 + u8::try_from(index).unwrap()))
}

fn internal(device_bytes: u64, max_peers: u8) -> Layout {
    Layout::new(device_bytes, Placement::Internal, max_peers).unwrap()
}

/// A device in memory, as it would be read after a power loss.
struct Device(Vec<u8>);

impl Device {
    fn new(bytes: u64, fill: u8) -> Self {
        Self(vec![fill; usize::try_from(bytes).unwrap()])
    }

    fn range(area: Area) -> std::ops::Range<usize> {
        let end = usize::try_from(area.offset + area.len).unwrap();
        usize::try_from(area.offset).unwrap()..end
    }

    fn read(&self, area: Area) -> &[u8] {
        &self.0[Self::range(area)]
    }

    fn write(&mut self, write: &MetaWrite) {
        assert!(write.offset.is_multiple_of(META_BLOCK));
        assert!(!write.bytes.is_empty() && write.bytes.len().is_multiple_of(META_BLOCK_BYTES));
        let area = Area { offset: write.offset, len: write.bytes.len() as u64 };
        self.0[Self::range(area)].copy_from_slice(&write.bytes);
    }

    fn superblocks(&self, offsets: [u64; 2]) -> [&[u8]; 2] {
        offsets.map(|offset| self.read(Area { offset, len: META_BLOCK }))
    }
}
