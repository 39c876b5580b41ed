//! Extents that leave an activity log, as its transactions on their way to a disk tell.

use std::collections::BTreeMap;

use tandem_replica::meta::NO_EXTENT;

/// Where the fields of a transaction lie, in bytes (docs/ON_DISK.md).
const MAGIC: usize = 4;
const LOG: usize = 8;
const UPDATE_COUNT: usize = 34;
const UPDATES: usize = 64;
/// Bytes of an update: two of its slot, four of what the slot holds from here on.
const UPDATE_BYTES: usize = 6;

/// What the transactions of one disk have said.
#[derive(Clone, Debug, Default)]
pub struct Evictions {
    log: u64,
    slots: BTreeMap<u16, u32>,
    /// The last transaction gave away a slot that held another extent.
    is_last: bool,
}

impl Evictions {
    /// Whether a block of metadata is a transaction.
    pub fn is_transaction(block: &[u8]) -> bool {
        block.get(MAGIC..).is_some_and(|rest| rest.starts_with(b"TNAL"))
    }

    /// A block is written; each of a transaction's two copies comes.
    pub fn saw(&mut self, block: &[u8]) {
        if !Self::is_transaction(block) {
            return;
        }
        let log = u64::from_le_bytes(bytes(block, LOG));
        if self.log != log {
            *self = Self { log, ..Self::default() };
        }
        let count = usize::from(u16::from_le_bytes(bytes(block, UPDATE_COUNT)));
        let (mut news, mut evicts) = (false, false);
        for update in block[UPDATES..].chunks_exact(UPDATE_BYTES).take(count) {
            let slot = u16::from_le_bytes(bytes(update, 0));
            let extent = u32::from_le_bytes(bytes(update, 2));
            let before = self.slots.insert(slot, extent);
            news |= before != Some(extent);
            evicts |= before.is_some_and(|old| old != NO_EXTENT && old != extent);
        }
        // The second copy says nothing new.
        if news {
            self.is_last = evicts;
        }
    }

    /// Whether the last transaction evicted an extent.
    pub fn is_last(&self) -> bool {
        self.is_last
    }
}

fn bytes<const N: usize>(block: &[u8], at: usize) -> [u8; N] {
    *block[at..].first_chunk().expect("blocks are longer than their fields")
}

#[cfg(test)]
mod tests {
    use tandem_replica::meta::fields::{al_block, al_update};

    use super::*;

    fn block(log: u8, updates: &[(u8, u8)]) -> Vec<u8> {
        let mut block = vec![0; 4096];
        block[MAGIC..][..4].copy_from_slice(b"TNAL");
        block[LOG] = log;
        block[UPDATE_COUNT] = u8::try_from(updates.len()).expect("few");
        for (update, (slot, extent)) in block[UPDATES..].chunks_exact_mut(6).zip(updates) {
            (update[0], update[2]) = (*slot, *extent);
        }
        block
    }

    #[test]
    fn fields_lie_where_the_format_has_them() {
        let offset = |name: &str| {
            let field = al_block::ALL.iter().find(|field| field.name == name);
            field.expect("a field of the format").offset
        };
        let told = [MAGIC, LOG, UPDATE_COUNT, UPDATES];
        assert_eq!(told, ["magic", "log", "update_count", "updates"].map(offset));
        assert_eq!(UPDATE_BYTES, al_update::BYTES);
    }

    #[test]
    fn a_slot_that_held_another_extent_is_an_eviction() {
        let mut seen = Evictions::default();
        seen.saw(&block(1, &[(0, 7), (1, 8)]));
        assert!(!seen.is_last(), "the slots were free");
        seen.saw(&block(1, &[(1, 9)]));
        seen.saw(&block(1, &[(1, 9)]));
        assert!(seen.is_last(), "8 is gone, in both copies");
        seen.saw(&block(1, &[(2, 3)]));
        assert!(!seen.is_last(), "the next one takes a free slot");
        seen.saw(&block(2, &[(1, 5)]));
        assert!(!seen.is_last(), "another log begins empty");
    }

    #[test]
    fn other_blocks_are_none() {
        let mut seen = Evictions::default();
        seen.saw(&[0; 4096]);
        seen.saw(&[]);
        assert!(!seen.is_last());
    }
}
