//! One block of the activity log.

use super::super::fields::{al_block as field, al_update};
use super::super::{DeviceUuid, META_BLOCK_BYTES};
use super::AL_SLOTS_MAX;

const MAGIC: [u8; 4] = *b"TNAL";

/// Slots that one transaction can give another extent.
pub const UPDATES_MAX: usize = 64;

/// Slots that one transaction can repeat.
pub const CONTEXT_MAX: usize = 912;

/// The extent of a free slot.
pub const NO_EXTENT: u32 = u32::MAX;

/// A slot gets another extent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Update {
    /// The slot.
    pub slot: u16,
    /// What it holds from here on.
    pub extent: u32,
}

/// One transaction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Transaction {
    /// The log it belongs to.
    pub log: u64,
    /// Its number in that log, from 1.
    pub sequence: u64,
    /// Slots that the log has.
    pub slots: u32,
    /// Slots that changed, at most [`UPDATES_MAX`].
    pub updates: Vec<Update>,
    /// First slot of the window.
    pub context_first: u32,
    /// The extents of the window's slots, at least one and at most [`CONTEXT_MAX`]; behind the last
    /// slot comes the first.
    pub context: Vec<u32>,
}

/// What was read at one place.
#[derive(Debug)]
pub(super) enum Found {
    /// Reading failed, or has not been tried.
    Unreadable,
    /// Something, and no transaction that belongs here.
    Invalid,
    /// Zeroes, as they were made.
    Empty,
    Transaction(Box<Transaction>),
}

impl Found {
    pub(super) fn transaction(&self) -> Option<&Transaction> {
        match self {
            Self::Transaction(transaction) => Some(transaction),
            Self::Unreadable | Self::Invalid | Self::Empty => None,
        }
    }
}

impl Transaction {
    /// The block that stores it at this place of this copy.
    pub(super) fn encode(
        &self,
        device: DeviceUuid,
        copy: u8,
        place: u64,
    ) -> [u8; META_BLOCK_BYTES] {
        assert!(self.is_sound(), "a transaction is made to fit its block");
        let count = |len: usize| u16::try_from(len).expect("at most 912").to_le_bytes();
        let mut block = [0; META_BLOCK_BYTES];
        field::MAGIC.put(&mut block, MAGIC);
        field::LOG.put(&mut block, self.log.to_le_bytes());
        field::SEQUENCE.put(&mut block, self.sequence.to_le_bytes());
        field::SLOTS.put(&mut block, self.slots.to_le_bytes());
        field::CONTEXT_FIRST.put(&mut block, self.context_first.to_le_bytes());
        field::CONTEXT_COUNT.put(&mut block, count(self.context.len()));
        field::UPDATE_COUNT.put(&mut block, count(self.updates.len()));
        for (index, update) in self.updates.iter().enumerate() {
            let entry = field::UPDATES.entry_mut(&mut block, index, al_update::BYTES);
            al_update::SLOT.put(entry, update.slot.to_le_bytes());
            al_update::EXTENT.put(entry, update.extent.to_le_bytes());
        }
        for (index, extent) in self.context.iter().enumerate() {
            field::CONTEXT.entry_mut(&mut block, index, 4).copy_from_slice(&extent.to_le_bytes());
        }
        let crc = checksum(device, copy, place, &block);
        field::CRC.put(&mut block, crc.to_le_bytes());
        block
    }

    /// Reads what was found at a place.
    pub(super) fn decode(
        block: &[u8; META_BLOCK_BYTES],
        device: DeviceUuid,
        copy: u8,
        place: u64,
    ) -> Found {
        if block.iter().all(|byte| *byte == 0) {
            return Found::Empty;
        }
        let is_whole = field::MAGIC.array(block) == MAGIC
            && field::CRC.u32(block) == checksum(device, copy, place, block);
        let updates = usize::from(field::UPDATE_COUNT.u16(block));
        let context = usize::from(field::CONTEXT_COUNT.u16(block));
        if !is_whole || updates > UPDATES_MAX || context > CONTEXT_MAX {
            return Found::Invalid;
        }
        let update = |index| {
            let entry = field::UPDATES.entry(block, index, al_update::BYTES);
            Update { slot: al_update::SLOT.u16(entry), extent: al_update::EXTENT.u32(entry) }
        };
        let extent = |index| {
            let entry = field::CONTEXT.entry(block, index, 4);
            u32::from_le_bytes(*entry.first_chunk().expect("an extent has 4 bytes"))
        };
        let transaction = Self {
            log: field::LOG.u64(block),
            sequence: field::SEQUENCE.u64(block),
            slots: field::SLOTS.u32(block),
            updates: (0..updates).map(update).collect(),
            context_first: field::CONTEXT_FIRST.u32(block),
            context: (0..context).map(extent).collect(),
        };
        if !transaction.is_sound() {
            return Found::Invalid;
        }
        Found::Transaction(Box::new(transaction))
    }

    /// Whether everything it names exists.
    fn is_sound(&self) -> bool {
        self.sequence > 0
            && (1..=AL_SLOTS_MAX).contains(&self.slots)
            && self.updates.len() <= UPDATES_MAX
            && self.updates.iter().all(|update| u32::from(update.slot) < self.slots)
            && self.context_first < self.slots
            && (1..=CONTEXT_MAX.min(self.slots as usize)).contains(&self.context.len())
    }
}

/// Over where the block belongs, and the block behind the checksum.
fn checksum(device: DeviceUuid, copy: u8, place: u64, block: &[u8; META_BLOCK_BYTES]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&device.0);
    hasher.update(&[copy]);
    hasher.update(&place.to_le_bytes());
    hasher.update(&block[field::CRC.len..]);
    hasher.finalize()
}
