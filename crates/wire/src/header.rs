//! The 48 bytes that every frame starts with: their places, their CRC, their rules.
//!
//! Both directions go through [`FrameHeader::check`]: a header that the decoder of the peer would
//! refuse is never made. The CRC is continued from the session key, so that a header of another
//! session fails for certain wherever the keys differ.

use crate::frame::FrameError;
use crate::kind::{Kind, Length};
#[cfg(test)]
use crate::layout::Drawn;
use crate::layout::{Field, Number, index};
use crate::limits::{FRAME_HEADER_BYTES, VOLUME_NUMBER_MAX};
use crate::packet::{Epoch, RequestId};
use crate::types::{ByteRange, Uuid, VolumeNumber};

/// First bytes of every frame, "TD".
pub(crate) const FRAME_MAGIC: u16 = u16::from_le_bytes(*b"TD");

const MAGIC: Field<u16> = Field::new("magic", 0);
const KIND: Field<u8> = Field::new("kind", 2);
const FLAGS: Field<u8> = Field::new("flags", 3);
const VOLUME: Field<u16> = Field::new("volume", 4);
const RESERVED: Field<u16> = Field::new("reserved", 6);
const PAYLOAD_LEN: Field<u32> = Field::new("payload_len", 8);
const PAYLOAD_CRC: Field<u32> = Field::new("payload_crc", 12);
const OFFSET: Field<u64> = Field::new("offset", 16);
const ID: Field<u64> = Field::new("id", 24);
const LENGTH: Field<u32> = Field::new("length", 32);
const EPOCH: Field<u32> = Field::new("epoch", 36);
const SEQ: Field<u32> = Field::new("seq", 40);
const HEADER_CRC: Field<u32> = Field::new("header_crc", 44);

/// Bytes that the header's CRC covers: all before it.
const COVERED: usize = 44;

/// The header as docs/PROTOCOL.md draws it.
#[cfg(test)]
pub(crate) const LAYOUT: [Drawn; 13] = [
    MAGIC.drawn(),
    KIND.drawn(),
    FLAGS.drawn(),
    VOLUME.drawn(),
    RESERVED.drawn(),
    PAYLOAD_LEN.drawn(),
    PAYLOAD_CRC.drawn(),
    OFFSET.drawn(),
    ID.drawn(),
    LENGTH.drawn(),
    EPOCH.drawn(),
    SEQ.drawn(),
    HEADER_CRC.drawn(),
];

/// A header that passed every check: what follows it may be received.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FrameHeader {
    pub(crate) kind: Kind,
    pub(crate) flags: u8,
    pub(crate) volume: u16,
    pub(crate) payload_len: u32,
    pub(crate) payload_crc: u32,
    pub(crate) offset: u64,
    pub(crate) id: u64,
    pub(crate) length: u32,
    pub(crate) epoch: u32,
    pub(crate) seq: u32,
}

impl FrameHeader {
    /// What the frame says.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// Bytes that follow the header, at most what its kind allows.
    pub fn payload_len(&self) -> usize {
        index(self.payload_len)
    }

    /// Whether the payload is block data, on its way to a disk or a client: it wants an aligned
    /// buffer. Other payloads are read and dropped.
    pub fn is_bulk(&self) -> bool {
        matches!(self.kind, Kind::Data | Kind::DataReply | Kind::RsDataReply)
    }

    /// A header of `kind` with everything else zero.
    pub(crate) fn new(kind: Kind) -> Self {
        Self {
            kind,
            flags: 0,
            volume: 0,
            payload_len: 0,
            payload_crc: 0,
            offset: 0,
            id: 0,
            length: 0,
            epoch: 0,
            seq: 0,
        }
    }

    /// Reads the header that should come `seq`th in the session with this key.
    pub(crate) fn parse(
        bytes: &[u8; FRAME_HEADER_BYTES],
        session_key: u32,
        seq: u32,
    ) -> Result<Self, FrameError> {
        let magic = MAGIC.read(bytes);
        if magic != FRAME_MAGIC {
            return Err(FrameError::Magic { found: magic });
        }
        let (computed, found) = (header_crc(session_key, bytes), HEADER_CRC.read(bytes));
        if computed != found {
            return Err(FrameError::HeaderCrc { computed, found });
        }
        let found = SEQ.read(bytes);
        if found != seq {
            return Err(FrameError::Sequence { expected: seq, found });
        }
        let number = KIND.read(bytes);
        let kind = Kind::from_u8(number).ok_or(FrameError::UnknownKind { number })?;
        unused(kind, &RESERVED, RESERVED.read(bytes))?;
        let header = Self {
            kind,
            flags: FLAGS.read(bytes),
            volume: VOLUME.read(bytes),
            payload_len: PAYLOAD_LEN.read(bytes),
            payload_crc: PAYLOAD_CRC.read(bytes),
            offset: OFFSET.read(bytes),
            id: ID.read(bytes),
            length: LENGTH.read(bytes),
            epoch: EPOCH.read(bytes),
            seq,
        };
        header.check()?;
        Ok(header)
    }

    /// Draws the header, sealed for the session with this key.
    pub(crate) fn draw(&self, session_key: u32) -> [u8; FRAME_HEADER_BYTES] {
        let mut bytes = [0; FRAME_HEADER_BYTES];
        MAGIC.write(&mut bytes, FRAME_MAGIC);
        KIND.write(&mut bytes, self.kind as u8);
        FLAGS.write(&mut bytes, self.flags);
        VOLUME.write(&mut bytes, self.volume);
        PAYLOAD_LEN.write(&mut bytes, self.payload_len);
        PAYLOAD_CRC.write(&mut bytes, self.payload_crc);
        OFFSET.write(&mut bytes, self.offset);
        ID.write(&mut bytes, self.id);
        LENGTH.write(&mut bytes, self.length);
        EPOCH.write(&mut bytes, self.epoch);
        SEQ.write(&mut bytes, self.seq);
        seal(session_key, &mut bytes);
        bytes
    }

    /// Checks what the kind's rule says of flags, fields, range and payload length.
    pub(crate) fn check(&self) -> Result<(), FrameError> {
        let (kind, rule) = (self.kind, self.kind.rule());
        if self.flags & !rule.flags != 0 {
            return Err(FrameError::Flags { kind, flags: self.flags, allowed: rule.flags });
        }
        let (len, min, max) = (self.payload_len, rule.payload_min, rule.payload_max);
        if len < min || len > max {
            return Err(FrameError::PayloadLength { kind, len, min, max });
        }
        if len == 0 {
            unused(kind, &PAYLOAD_CRC, self.payload_crc)?;
        }
        if rule.volume {
            self.check_volume()?;
        } else {
            unused(kind, &VOLUME, self.volume)?;
        }
        if !rule.offset {
            unused(kind, &OFFSET, self.offset)?;
        }
        if !rule.id {
            unused(kind, &ID, self.id)?;
        }
        if !rule.epoch {
            unused(kind, &EPOCH, self.epoch)?;
        }
        self.check_length(rule.length)
    }

    fn check_volume(&self) -> Result<(), FrameError> {
        if self.volume > VOLUME_NUMBER_MAX {
            return Err(FrameError::Value {
                kind: self.kind,
                field: VOLUME.name(),
                value: self.volume.into(),
            });
        }
        Ok(())
    }

    fn check_length(&self, rule: Length) -> Result<(), FrameError> {
        match rule {
            Length::Unused => unused(self.kind, &LENGTH, self.length),
            // The packet's own reading refuses codes it does not know.
            Length::Code => Ok(()),
            Length::Range(max) => self.check_range(max),
            Length::Payload => {
                if self.length != self.payload_len {
                    return Err(FrameError::RangeLength {
                        kind: self.kind,
                        range: self.length,
                        payload: self.payload_len,
                    });
                }
                self.check_range(self.length)
            }
        }
    }

    fn check_range(&self, len_max: u32) -> Result<(), FrameError> {
        let is_valid = (1..=len_max).contains(&self.length);
        if !is_valid || self.range().checked_end().is_none() {
            return Err(FrameError::Range {
                kind: self.kind,
                offset: self.offset,
                len: self.length,
                len_max,
            });
        }
        Ok(())
    }

    /// An error about `length` as a code.
    pub(crate) fn unknown_code(&self) -> FrameError {
        FrameError::Value { kind: self.kind, field: LENGTH.name(), value: self.length.into() }
    }

    pub(crate) fn volume(&self) -> VolumeNumber {
        VolumeNumber(self.volume)
    }

    pub(crate) fn range(&self) -> ByteRange {
        ByteRange::new(self.offset, self.length)
    }

    pub(crate) fn uuid(&self) -> Uuid {
        Uuid(self.offset)
    }

    pub(crate) fn id(&self) -> RequestId {
        RequestId(self.id)
    }

    pub(crate) fn epoch(&self) -> Epoch {
        Epoch(self.epoch)
    }

    pub(crate) fn has(&self, flag: u8) -> bool {
        self.flags & flag != 0
    }
}

/// Stores the CRC over everything before it.
pub(crate) fn seal(session_key: u32, bytes: &mut [u8; FRAME_HEADER_BYTES]) {
    let crc = header_crc(session_key, bytes);
    HEADER_CRC.write(bytes, crc);
}

fn header_crc(session_key: u32, bytes: &[u8; FRAME_HEADER_BYTES]) -> u32 {
    let mut hasher = crc32fast::Hasher::new_with_initial(session_key);
    hasher.update(&bytes[..COVERED]);
    hasher.finalize()
}

fn unused<T: Number + Into<u64>>(kind: Kind, field: &Field<T>, value: T) -> Result<(), FrameError> {
    let value = value.into();
    if value != 0 {
        return Err(FrameError::Unused { kind, field: field.name(), value });
    }
    Ok(())
}
