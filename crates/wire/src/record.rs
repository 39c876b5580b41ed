//! Records: the payloads that are neither block data nor bitmap runs.
//!
//! Each has a fixed length that its kind demands of the header, so that a record's bytes are all
//! there when it is read. Reserved bytes and undefined bits must be zero; numbers that encode an
//! enum must be one of its values.

use bytes::Bytes;

use crate::frame::FrameError;
use crate::kind::Kind;
#[cfg(test)]
use crate::layout::Drawn;
use crate::layout::{Field, Number, index};
use crate::packet::{ProtocolSettings, Sizes, State, UuidFlags, Uuids};
use crate::policy::{
    AfterSplitBrain0Pri, AfterSplitBrain1Pri, AfterSplitBrain2Pri, Policies, RoleConflict,
};
use crate::types::{DiskState, HISTORY_LEN, Protocol, ReplicationState, Role, Uuid};

pub(crate) const PROTOCOL_BYTES: u32 = 8;
pub(crate) const SIZES_BYTES: u32 = 32;
pub(crate) const UUIDS_BYTES: u32 = 112;
pub(crate) const STATE_BYTES: u32 = 8;

pub(crate) mod protocol {
    use super::Field;
    pub(crate) const PROTOCOL: Field<u8> = Field::new("protocol", 0);
    pub(crate) const FLAGS: Field<u8> = Field::new("flags", 1);
    pub(crate) const VOLUMES: Field<u16> = Field::new("volumes", 2);
    pub(crate) const AFTER_SB_0PRI: Field<u8> = Field::new("after_sb_0pri", 4);
    pub(crate) const AFTER_SB_1PRI: Field<u8> = Field::new("after_sb_1pri", 5);
    pub(crate) const AFTER_SB_2PRI: Field<u8> = Field::new("after_sb_2pri", 6);
    pub(crate) const RR_CONFLICT: Field<u8> = Field::new("rr_conflict", 7);
    pub(crate) const DISCARD_MY_DATA: u8 = 1 << 0;
    pub(crate) const ALWAYS_ASBP: u8 = 1 << 1;
    pub(crate) const IN_USE: u8 = 1 << 2;
    pub(crate) const ALL: u8 = (1 << 3) - 1;
    #[cfg(test)]
    pub(crate) const LAYOUT: [super::Drawn; 7] = [
        PROTOCOL.drawn(),
        FLAGS.drawn(),
        VOLUMES.drawn(),
        AFTER_SB_0PRI.drawn(),
        AFTER_SB_1PRI.drawn(),
        AFTER_SB_2PRI.drawn(),
        RR_CONFLICT.drawn(),
    ];
}

pub(crate) mod sizes {
    use super::Field;
    pub(crate) const CAPACITY: Field<u64> = Field::new("capacity", 0);
    pub(crate) const EFFECTIVE: Field<u64> = Field::new("effective", 8);
    pub(crate) const BLOCK_SIZE: Field<u32> = Field::new("block_size", 16);
    pub(crate) const RESERVED: Field<u32> = Field::new("reserved", 20);
    pub(crate) const SHOWN: Field<u64> = Field::new("shown", 24);
    #[cfg(test)]
    pub(crate) const LAYOUT: [super::Drawn; 5] =
        [CAPACITY.drawn(), EFFECTIVE.drawn(), BLOCK_SIZE.drawn(), RESERVED.drawn(), SHOWN.drawn()];
}

pub(crate) mod uuids {
    use super::{Field, HISTORY_LEN};
    pub(crate) const CURRENT: Field<u64> = Field::new("current", 0);
    pub(crate) const BITMAP: Field<u64> = Field::new("bitmap", 8);
    pub(crate) const HISTORY: [Field<u64>; HISTORY_LEN] = [
        Field::new("history[0]", 16),
        Field::new("history[1]", 24),
        Field::new("history[2]", 32),
        Field::new("history[3]", 40),
        Field::new("history[4]", 48),
        Field::new("history[5]", 56),
        Field::new("history[6]", 64),
        Field::new("history[7]", 72),
    ];
    pub(crate) const DIRTY_BLOCKS: Field<u64> = Field::new("dirty_blocks", 80);
    pub(crate) const LAST_SESSION: Field<u64> = Field::new("last_session", 88);
    pub(crate) const FLAGS: Field<u32> = Field::new("flags", 96);
    pub(crate) const RESERVED: Field<u32> = Field::new("reserved", 100);
    pub(crate) const EXPOSED: Field<u64> = Field::new("exposed", 104);
    pub(crate) const CRASHED_PRIMARY: u32 = 1 << 0;
    pub(crate) const LOST_POWER: u32 = 1 << 1;
    pub(crate) const RECONNECT: u32 = 1 << 2;
    pub(crate) const LAST_SESSION_ASYNC: u32 = 1 << 3;
    pub(crate) const LAST_SESSION_MEMORY: u32 = 1 << 4;
    pub(crate) const BITMAP_ALIAS: u32 = 1 << 5;
    pub(crate) const WAS_PRIMARY: u32 = 1 << 6;
    pub(crate) const WENT_ON: u32 = 1 << 7;
    pub(crate) const ALL: u32 = (1 << 8) - 1;
    #[cfg(test)]
    pub(crate) const LAYOUT: [super::Drawn; 15] = [
        CURRENT.drawn(),
        BITMAP.drawn(),
        HISTORY[0].drawn(),
        HISTORY[1].drawn(),
        HISTORY[2].drawn(),
        HISTORY[3].drawn(),
        HISTORY[4].drawn(),
        HISTORY[5].drawn(),
        HISTORY[6].drawn(),
        HISTORY[7].drawn(),
        DIRTY_BLOCKS.drawn(),
        LAST_SESSION.drawn(),
        FLAGS.drawn(),
        RESERVED.drawn(),
        EXPOSED.drawn(),
    ];
}

pub(crate) mod state {
    use super::Field;
    pub(crate) const ROLE: Field<u8> = Field::new("role", 0);
    pub(crate) const DISK: Field<u8> = Field::new("disk", 1);
    pub(crate) const REPLICATION: Field<u8> = Field::new("replication", 2);
    pub(crate) const FLAGS: Field<u8> = Field::new("flags", 3);
    /// Bits of `FLAGS`.
    pub(crate) const PAUSES_RESYNC: u8 = 1 << 0;
    pub(crate) const RESERVED_TAIL: Field<u32> = Field::new("reserved", 4);
    #[cfg(test)]
    pub(crate) const LAYOUT: [super::Drawn; 5] =
        [ROLE.drawn(), DISK.drawn(), REPLICATION.drawn(), FLAGS.drawn(), RESERVED_TAIL.drawn()];
}

impl ProtocolSettings {
    pub(crate) fn to_record(self) -> Bytes {
        let mut bytes = [0; index_of(PROTOCOL_BYTES)];
        protocol::PROTOCOL.write(&mut bytes, self.protocol as u8);
        let flags = [
            (self.discard_my_data, protocol::DISCARD_MY_DATA),
            (self.policies.always_asbp, protocol::ALWAYS_ASBP),
            (self.in_use, protocol::IN_USE),
        ]
        .into_iter()
        .fold(0, |bits, (is_set, bit)| if is_set { bits | bit } else { bits });
        protocol::FLAGS.write(&mut bytes, flags);
        protocol::VOLUMES.write(&mut bytes, self.volumes);
        protocol::AFTER_SB_0PRI.write(&mut bytes, self.policies.after_sb_0pri.to_u8());
        protocol::AFTER_SB_1PRI.write(&mut bytes, self.policies.after_sb_1pri as u8);
        protocol::AFTER_SB_2PRI.write(&mut bytes, self.policies.after_sb_2pri as u8);
        protocol::RR_CONFLICT.write(&mut bytes, self.policies.rr_conflict as u8);
        Bytes::copy_from_slice(&bytes)
    }

    pub(crate) fn from_record(bytes: &[u8]) -> Result<Self, FrameError> {
        let record = Record::new(Kind::Protocol, bytes, PROTOCOL_BYTES);
        let flags = protocol::FLAGS.read(bytes);
        record.bits(&protocol::FLAGS, protocol::ALL)?;
        let (zero, one) = (&protocol::AFTER_SB_0PRI, &protocol::AFTER_SB_1PRI);
        let (two, conflict) = (&protocol::AFTER_SB_2PRI, &protocol::RR_CONFLICT);
        Ok(Self {
            protocol: record.value(&protocol::PROTOCOL, Protocol::from_u8)?,
            discard_my_data: flags & protocol::DISCARD_MY_DATA != 0,
            in_use: flags & protocol::IN_USE != 0,
            volumes: protocol::VOLUMES.read(bytes),
            policies: Policies {
                after_sb_0pri: record.value(zero, AfterSplitBrain0Pri::from_u8)?,
                after_sb_1pri: record.value(one, AfterSplitBrain1Pri::from_u8)?,
                after_sb_2pri: record.value(two, AfterSplitBrain2Pri::from_u8)?,
                always_asbp: flags & protocol::ALWAYS_ASBP != 0,
                rr_conflict: record.value(conflict, RoleConflict::from_u8)?,
            },
        })
    }
}

impl Sizes {
    pub(crate) fn to_record(self) -> Bytes {
        let mut bytes = [0; index_of(SIZES_BYTES)];
        sizes::CAPACITY.write(&mut bytes, self.capacity);
        sizes::EFFECTIVE.write(&mut bytes, self.effective);
        sizes::BLOCK_SIZE.write(&mut bytes, self.block_size);
        sizes::SHOWN.write(&mut bytes, self.shown);
        Bytes::copy_from_slice(&bytes)
    }

    pub(crate) fn from_record(bytes: &[u8]) -> Result<Self, FrameError> {
        Record::new(Kind::Sizes, bytes, SIZES_BYTES).zero(&sizes::RESERVED)?;
        Ok(Self {
            capacity: sizes::CAPACITY.read(bytes),
            effective: sizes::EFFECTIVE.read(bytes),
            block_size: sizes::BLOCK_SIZE.read(bytes),
            shown: sizes::SHOWN.read(bytes),
        })
    }
}

impl Uuids {
    pub(crate) fn to_record(self) -> Bytes {
        let mut bytes = [0; index_of(UUIDS_BYTES)];
        uuids::CURRENT.write(&mut bytes, self.current.0);
        uuids::BITMAP.write(&mut bytes, self.bitmap.0);
        for (field, uuid) in uuids::HISTORY.iter().zip(self.history) {
            field.write(&mut bytes, uuid.0);
        }
        uuids::DIRTY_BLOCKS.write(&mut bytes, self.dirty_blocks);
        uuids::LAST_SESSION.write(&mut bytes, self.last_session);
        uuids::FLAGS.write(&mut bytes, self.flags.to_bits());
        uuids::EXPOSED.write(&mut bytes, self.exposed.0);
        Bytes::copy_from_slice(&bytes)
    }

    pub(crate) fn from_record(bytes: &[u8]) -> Result<Self, FrameError> {
        let record = Record::new(Kind::Uuids, bytes, UUIDS_BYTES);
        record.zero(&uuids::RESERVED)?;
        record.bits(&uuids::FLAGS, uuids::ALL)?;
        Ok(Self {
            current: Uuid(uuids::CURRENT.read(bytes)),
            bitmap: Uuid(uuids::BITMAP.read(bytes)),
            history: uuids::HISTORY.map(|field| Uuid(field.read(bytes))),
            dirty_blocks: uuids::DIRTY_BLOCKS.read(bytes),
            last_session: uuids::LAST_SESSION.read(bytes),
            exposed: Uuid(uuids::EXPOSED.read(bytes)),
            flags: record.value(&uuids::FLAGS, UuidFlags::from_bits)?,
        })
    }
}

impl UuidFlags {
    /// # Panics
    /// Where the last session is said to have had both protocols.
    fn to_bits(self) -> u32 {
        assert!(!(self.last_session_async && self.last_session_memory), "a session has a protocol");
        [
            (self.crashed_primary, uuids::CRASHED_PRIMARY),
            (self.lost_power, uuids::LOST_POWER),
            (self.reconnect, uuids::RECONNECT),
            (self.last_session_async, uuids::LAST_SESSION_ASYNC),
            (self.last_session_memory, uuids::LAST_SESSION_MEMORY),
            (self.bitmap_alias, uuids::BITMAP_ALIAS),
            (self.was_primary, uuids::WAS_PRIMARY),
            (self.went_on, uuids::WENT_ON),
        ]
        .into_iter()
        .fold(0, |bits, (is_set, bit)| if is_set { bits | bit } else { bits })
    }

    fn from_bits(bits: u32) -> Option<Self> {
        const BOTH: u32 = uuids::LAST_SESSION_ASYNC | uuids::LAST_SESSION_MEMORY;
        if bits & BOTH == BOTH {
            return None;
        }
        Some(Self {
            crashed_primary: bits & uuids::CRASHED_PRIMARY != 0,
            lost_power: bits & uuids::LOST_POWER != 0,
            reconnect: bits & uuids::RECONNECT != 0,
            last_session_async: bits & uuids::LAST_SESSION_ASYNC != 0,
            last_session_memory: bits & uuids::LAST_SESSION_MEMORY != 0,
            was_primary: bits & uuids::WAS_PRIMARY != 0,
            went_on: bits & uuids::WENT_ON != 0,
            bitmap_alias: bits & uuids::BITMAP_ALIAS != 0,
        })
    }
}

impl State {
    pub(crate) fn to_record(self) -> Bytes {
        let mut bytes = [0; index_of(STATE_BYTES)];
        state::ROLE.write(&mut bytes, self.role as u8);
        state::DISK.write(&mut bytes, self.disk as u8);
        state::REPLICATION.write(&mut bytes, self.replication as u8);
        let flags = if self.pauses_resync { state::PAUSES_RESYNC } else { 0 };
        state::FLAGS.write(&mut bytes, flags);
        Bytes::copy_from_slice(&bytes)
    }

    pub(crate) fn from_record(bytes: &[u8]) -> Result<Self, FrameError> {
        let record = Record::new(Kind::State, bytes, STATE_BYTES);
        record.bits(&state::FLAGS, state::PAUSES_RESYNC)?;
        record.zero(&state::RESERVED_TAIL)?;
        Ok(Self {
            role: record.value(&state::ROLE, Role::from_u8)?,
            disk: record.value(&state::DISK, DiskState::from_u8)?,
            replication: record.value(&state::REPLICATION, ReplicationState::from_u8)?,
            pauses_resync: state::FLAGS.read(bytes) & state::PAUSES_RESYNC != 0,
        })
    }
}

/// A record being read; says what is wrong with it.
struct Record<'a> {
    kind: Kind,
    bytes: &'a [u8],
}

impl<'a> Record<'a> {
    fn new(kind: Kind, bytes: &'a [u8], len: u32) -> Self {
        assert_eq!(bytes.len(), index(len), "the header's rule fixes a record's length");
        Self { kind, bytes }
    }

    fn zero<T: Number + Into<u64>>(&self, field: &Field<T>) -> Result<(), FrameError> {
        self.value(field, |value| (value.into() == 0).then_some(()))
    }

    fn bits<T: Number + Into<u64>>(&self, field: &Field<T>, known: T) -> Result<(), FrameError> {
        self.value(field, |value| (value.into() & !known.into() == 0).then_some(()))
    }

    fn value<T: Number + Into<u64>, V>(
        &self,
        field: &Field<T>,
        parse: impl FnOnce(T) -> Option<V>,
    ) -> Result<V, FrameError> {
        let value = field.read(self.bytes);
        parse(value).ok_or_else(|| FrameError::Value {
            kind: self.kind,
            field: field.name(),
            value: value.into(),
        })
    }
}

/// `index`, where an array's length needs it at compile time.
const fn index_of(len: u32) -> usize {
    assert!(len <= 1024, "records are small");
    len as usize
}
