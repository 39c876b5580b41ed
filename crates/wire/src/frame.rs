//! Frames: one packet each, a fixed header and a payload, both under a CRC.
//!
//! [`Encoder`] numbers the frames of one direction of one session and never copies block data.
//! [`Decoder`] is for streams whose owner decides where payloads land: it checks a header, the
//! owner puts `payload_len` bytes where they belong, and the decoder checks them and gives the
//! packet. `stream::StreamDecoder` does both for those who do not care.
//!
//! A header's CRC is checked before anything in it is used, a payload's length before anybody makes
//! room for it. Any error ends the connection: the decoder that found one repeats it for ever.

use bytes::Bytes;

pub use crate::header::FrameHeader;
use crate::kind::{Kind, flag};
use crate::limits::FRAME_HEADER_BYTES;
use crate::packet::{
    BarrierNumber, Epoch, Packet, PeerWrite, ProtocolSettings, RequestId, Sizes, State, Uuids,
    WriteKind,
};
use crate::types::{ByteRange, Uuid, VolumeNumber};

mod codes;

use codes::{change, invalidated, verdict, vote};

/// A packet as it goes out: header, then payload.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    /// The fixed header.
    pub header: [u8; FRAME_HEADER_BYTES],
    /// What follows it, never empty; block data are the packet's own buffer.
    pub payload: Option<Bytes>,
}

/// Why what a peer sent is no frame of this session. Ends the connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// The stream is not ours, or out of step.
    #[error("frame magic {found:#06x} is unknown")]
    Magic {
        /// What stood there.
        found: u16,
    },
    /// Corrupt, or of another session.
    #[error("header crc {found:#010x} should be {computed:#010x}")]
    HeaderCrc {
        /// Over the bytes received.
        computed: u32,
        /// In the header.
        found: u32,
    },
    /// A frame was lost, repeated or moved.
    #[error("frame {found} came where {expected} was due")]
    Sequence {
        /// Next in order.
        expected: u32,
        /// In the header.
        found: u32,
    },
    /// No kind has this number.
    #[error("frame kind {number} is unknown")]
    UnknownKind {
        /// In the header.
        number: u8,
    },
    /// A flag that the kind does not have.
    #[error("flags {flags:#04x} of {kind:?}: only {allowed:#04x} are defined")]
    Flags {
        /// The frame's kind.
        kind: Kind,
        /// In the header.
        flags: u8,
        /// Those the kind has.
        allowed: u8,
    },
    /// Longer or shorter than the kind allows.
    #[error("payload of {kind:?} has {len} bytes, must have {min} to {max}")]
    PayloadLength {
        /// The frame's kind.
        kind: Kind,
        /// In the header, in bytes.
        len: u32,
        /// Least bytes.
        min: u32,
        /// Most bytes.
        max: u32,
    },
    /// A field that must be zero for this kind is not.
    #[error("unused {field} of {kind:?} is {value}")]
    Unused {
        /// The frame's kind.
        kind: Kind,
        /// Its name in docs/PROTOCOL.md.
        field: &'static str,
        /// In the header.
        value: u64,
    },
    /// Empty, too long, or it ends behind 2^64.
    #[error("range {offset}+{len} of {kind:?}: must be 1 to {len_max} bytes and end below 2^64")]
    Range {
        /// The frame's kind.
        kind: Kind,
        /// First byte.
        offset: u64,
        /// Bytes.
        len: u32,
        /// Most bytes.
        len_max: u32,
    },
    /// Data and their range disagree.
    #[error("{kind:?} of {range} bytes carries {payload}")]
    RangeLength {
        /// The frame's kind.
        kind: Kind,
        /// Bytes of the range.
        range: u32,
        /// Bytes of the payload.
        payload: u32,
    },
    /// The payload is corrupt.
    #[error("payload crc {found:#010x} of {kind:?} should be {computed:#010x}")]
    PayloadCrc {
        /// The frame's kind.
        kind: Kind,
        /// Over the bytes received.
        computed: u32,
        /// In the header.
        found: u32,
    },
    /// A number without meaning.
    #[error("{field} of {kind:?} is {value}, which means nothing")]
    Value {
        /// The frame's kind.
        kind: Kind,
        /// Its name in docs/PROTOCOL.md.
        field: &'static str,
        /// What stood there.
        value: u64,
    },
}

/// Makes the frames of one direction of one session, in the order in which they are sent.
#[derive(Debug)]
pub struct Encoder {
    session_key: u32,
    seq: u32,
}

impl Encoder {
    /// For a session that starts; the key is `Link::session_key`.
    pub fn new(session_key: u32) -> Self {
        Self { session_key, seq: 0 }
    }

    /// The next frame to send. Costs one pass of CRC-32 over block data, and no copy of them.
    ///
    /// # Panics
    /// Where the packet breaks its kind's rule (docs/PROTOCOL.md): an empty range, one that ends
    /// behind 2^64, data longer than `DATA_BYTES_MAX`, data that do not fill their range.
    pub fn encode(&mut self, packet: &Packet) -> Frame {
        let Draft { mut header, payload } = Draft::of(packet);
        header.seq = self.seq;
        if !payload.is_empty() {
            header.payload_crc = crc32fast::hash(&payload);
        }
        if let Err(error) = header.check() {
            panic!("own packet cannot be sent: {error}");
        }
        self.seq = self.seq.wrapping_add(1);
        Frame {
            header: header.draw(self.session_key),
            payload: (!payload.is_empty()).then_some(payload),
        }
    }
}

/// Checks the frames of one direction of one session, in the order in which they come.
#[derive(Debug)]
pub struct Decoder {
    session_key: u32,
    seq: u32,
    failed: Option<FrameError>,
}

impl Decoder {
    /// For a session that starts; the key is `Link::session_key`.
    pub fn new(session_key: u32) -> Self {
        Self { session_key, seq: 0, failed: None }
    }

    /// Checks the header that `stream` starts with; `None` until all its bytes are there.
    /// The caller then takes header and payload off its stream and calls [`Self::finish`]; until it
    /// does, the same header is given again.
    ///
    /// # Errors
    /// What is wrong with the header, also if an earlier frame was wrong: the connection is over.
    pub fn next_header(&mut self, stream: &[u8]) -> Result<Option<FrameHeader>, FrameError> {
        if let Some(error) = self.failed {
            return Err(error);
        }
        let Some(bytes) = stream.first_chunk() else {
            return Ok(None);
        };
        let header = FrameHeader::parse(bytes, self.session_key, self.seq);
        self.settle(header).map(Some)
    }

    /// Checks the payload and gives the packet; block data in it are `payload` itself.
    ///
    /// # Errors
    /// What is wrong with the payload: the connection is over.
    ///
    /// # Panics
    /// Where `header` is not the last one that [`Self::next_header`] gave, or `payload` not as long
    /// as it says.
    pub fn finish(&mut self, header: FrameHeader, payload: Bytes) -> Result<Packet, FrameError> {
        assert!(self.failed.is_none(), "no frame follows a wrong one");
        assert_eq!(header.seq, self.seq, "frames are finished in order, each once");
        assert_eq!(payload.len(), header.payload_len(), "the header says how long the payload is");
        let packet = open(header, payload);
        self.seq = self.seq.wrapping_add(1);
        self.settle(packet)
    }

    fn settle<T>(&mut self, result: Result<T, FrameError>) -> Result<T, FrameError> {
        self.failed = result.as_ref().err().copied();
        result
    }
}

/// A packet taken apart: header without number and CRCs, payload.
struct Draft {
    header: FrameHeader,
    payload: Bytes,
}

impl Draft {
    fn of(packet: &Packet) -> Self {
        match packet {
            Packet::Protocol(settings) => Self::new(Kind::Protocol).payload(settings.to_record()),
            Packet::Sizes(volume, it) => Self::of_record(Kind::Sizes, *volume, it.to_record()),
            Packet::Uuids(volume, it) => Self::of_record(Kind::Uuids, *volume, it.to_record()),
            Packet::State(volume, it) => Self::of_record(Kind::State, *volume, it.to_record()),
            Packet::SyncUuid(volume, uuid) => Self::of_uuid(Kind::SyncUuid, *volume, *uuid),
            Packet::SyncDone(volume, uuid) => Self::of_uuid(Kind::SyncDone, *volume, *uuid),
            Packet::CatchUp(volume, uuid) => Self::of_uuid(Kind::CatchUp, *volume, *uuid),
            Packet::Bitmap { volume, first_block, last, piece } => {
                let offset = *first_block;
                Self::of_record(Kind::Bitmap, *volume, piece.clone())
                    .header(|header| header.offset = offset)
                    .flag(flag::LAST, *last)
            }
            Packet::Prepare { id, change } => {
                Self::of_id(Kind::Prepare, *id).header(|it| it.length = u32::from(*change as u8))
            }
            Packet::PrepareReply { id, vote } => {
                Self::of_id(Kind::PrepareReply, *id).header(|it| it.length = u32::from(*vote as u8))
            }
            Packet::Verdict(volume, it) => Self::of_record(Kind::Verdict, *volume, Bytes::new())
                .header(|header| header.length = u32::from(*it as u8)),
            Packet::Commit { id } => Self::of_id(Kind::Commit, *id),
            Packet::Abort { id } => Self::of_id(Kind::Abort, *id),
            Packet::Invalidate { .. } | Packet::Resize { .. } | Packet::ResizeReply { .. } => {
                Self::of_order(packet)
            }
            Packet::Write(write) => Self::of_write(write),
            Packet::Flush { id, epoch } => Self::of_id(Kind::Flush, *id).epoch(*epoch),
            Packet::Barrier(number) => Self::of_id(Kind::Barrier, RequestId(number.0)),
            Packet::OutOfSync(volume, range) => Self::new(Kind::OutOfSync).range(*volume, *range),
            Packet::DataRequest { volume, range, id } => {
                Self::of_id(Kind::DataRequest, *id).range(*volume, *range)
            }
            Packet::DataReply { id, data } => {
                Self::of_id(Kind::DataReply, *id).payload(data.clone())
            }
            Packet::NegDataReply { id } => Self::of_id(Kind::NegDataReply, *id),
            Packet::RsDataRequest { volume, range, id, thin } => {
                Self::of_id(Kind::RsDataRequest, *id).range(*volume, *range).flag(flag::THIN, *thin)
            }
            Packet::RsDataReply { id, data } => {
                Self::of_id(Kind::RsDataReply, *id).payload(data.clone())
            }
            Packet::NegRsDataReply { id } => Self::of_id(Kind::NegRsDataReply, *id),
            Packet::RsDeallocated { id } => Self::of_id(Kind::RsDeallocated, *id),
            Packet::BitmapAck(volume) => Self::of_record(Kind::BitmapAck, *volume, Bytes::new()),
            Packet::RsWriteAck { id } => Self::of_id(Kind::RsWriteAck, *id),
            Packet::RecvAck { id } => Self::of_id(Kind::RecvAck, *id),
            Packet::WriteAck { id } => Self::of_id(Kind::WriteAck, *id),
            Packet::NegAck { id } => Self::of_id(Kind::NegAck, *id),
            Packet::FlushAck { id } => Self::of_id(Kind::FlushAck, *id),
            Packet::NegFlushAck { id } => Self::of_id(Kind::NegFlushAck, *id),
            Packet::BarrierAck(number) => Self::of_id(Kind::BarrierAck, RequestId(number.0)),
            Packet::Ping => Self::new(Kind::Ping),
            Packet::PingAck => Self::new(Kind::PingAck),
            Packet::CsumRsRequest { .. }
            | Packet::RsIsInSync { .. }
            | Packet::OvRequest { .. }
            | Packet::OvReply { .. }
            | Packet::OvResult(..)
            | Packet::NegOvReply { .. } => Self::of_comparison(packet),
        }
    }

    #[expect(clippy::wildcard_enum_match_arm, reason = "the caller's match lists the packets")]
    fn of_comparison(packet: &Packet) -> Self {
        match packet {
            Packet::CsumRsRequest { volume, range, id, digests } => {
                Self::of_id(Kind::CsumRsRequest, *id)
                    .range(*volume, *range)
                    .payload(digests.clone())
            }
            Packet::RsIsInSync { id } => Self::of_id(Kind::RsIsInSync, *id),
            Packet::OvRequest { volume, range, id } => {
                Self::of_id(Kind::OvRequest, *id).range(*volume, *range)
            }
            Packet::OvReply { id, digests } => {
                Self::of_id(Kind::OvReply, *id).payload(digests.clone())
            }
            Packet::OvResult(volume, range) => Self::new(Kind::OvResult).range(*volume, *range),
            Packet::NegOvReply { id } => Self::of_id(Kind::NegOvReply, *id),
            other => unreachable!("{} compares nothing", other.name()),
        }
    }

    #[expect(clippy::wildcard_enum_match_arm, reason = "the caller's match lists the packets")]
    fn of_order(packet: &Packet) -> Self {
        match packet {
            Packet::Invalidate { id, volume, whose } => {
                Self::of_id(Kind::Invalidate, *id).header(|header| {
                    (header.volume, header.length) = (volume.0, u32::from(*whose as u8));
                })
            }
            Packet::Resize { id, volume } => {
                Self::of_id(Kind::Resize, *id).header(|header| header.volume = volume.0)
            }
            Packet::ResizeReply { id, capacity, vote } => Self::of_id(Kind::ResizeReply, *id)
                .header(|header| {
                    (header.offset, header.length) = (*capacity, u32::from(*vote as u8));
                }),
            other => unreachable!("{} is no operator's", other.name()),
        }
    }

    fn of_write(write: &PeerWrite) -> Self {
        let (kind, payload, keep_space) = match &write.kind {
            WriteKind::Data(data) => (Kind::Data, data.clone(), false),
            WriteKind::Trim => (Kind::Trim, Bytes::new(), false),
            WriteKind::Zeroes { keep_space } => (Kind::Zeroes, Bytes::new(), *keep_space),
        };
        Self::of_id(kind, write.id)
            .range(write.volume, write.range)
            .epoch(write.epoch)
            .flag(flag::FUA, write.fua)
            .flag(flag::KEEP_SPACE, keep_space)
            .payload(payload)
    }

    fn of_record(kind: Kind, volume: VolumeNumber, record: Bytes) -> Self {
        Self::new(kind).header(|header| header.volume = volume.0).payload(record)
    }

    fn of_uuid(kind: Kind, volume: VolumeNumber, uuid: Uuid) -> Self {
        Self::new(kind).header(|header| (header.volume, header.offset) = (volume.0, uuid.0))
    }

    fn of_id(kind: Kind, id: RequestId) -> Self {
        Self::new(kind).header(|header| header.id = id.0)
    }

    fn new(kind: Kind) -> Self {
        Self { header: FrameHeader::new(kind), payload: Bytes::new() }
    }

    fn header(mut self, change: impl FnOnce(&mut FrameHeader)) -> Self {
        change(&mut self.header);
        self
    }

    fn range(self, volume: VolumeNumber, range: ByteRange) -> Self {
        self.header(|header| {
            (header.volume, header.offset, header.length) = (volume.0, range.offset, range.len);
        })
    }

    fn epoch(self, epoch: Epoch) -> Self {
        self.header(|header| header.epoch = epoch.0)
    }

    fn flag(self, flag: u8, is_set: bool) -> Self {
        self.header(|header| header.flags |= if is_set { flag } else { 0 })
    }

    fn payload(mut self, payload: Bytes) -> Self {
        self.header.payload_len = u32::try_from(payload.len()).expect("payloads are below 4 GiB");
        self.payload = payload;
        self
    }
}

/// The packet of a header that passed its checks, if the payload passes too.
fn open(header: FrameHeader, payload: Bytes) -> Result<Packet, FrameError> {
    let (kind, found) = (header.kind, header.payload_crc);
    let computed = crc32fast::hash(&payload);
    if computed != found {
        return Err(FrameError::PayloadCrc { kind, computed, found });
    }
    let (volume, id, range) = (header.volume(), header.id(), header.range());
    Ok(match kind {
        Kind::Protocol => Packet::Protocol(ProtocolSettings::from_record(&payload)?),
        Kind::Sizes => Packet::Sizes(volume, Sizes::from_record(&payload)?),
        Kind::Uuids => Packet::Uuids(volume, Uuids::from_record(&payload)?),
        Kind::State => Packet::State(volume, State::from_record(&payload)?),
        Kind::SyncUuid => Packet::SyncUuid(volume, header.uuid()),
        Kind::SyncDone => Packet::SyncDone(volume, header.uuid()),
        Kind::CatchUp => Packet::CatchUp(volume, header.uuid()),
        Kind::Bitmap => Packet::Bitmap {
            volume,
            first_block: header.offset,
            last: header.has(flag::LAST),
            piece: payload,
        },
        Kind::Prepare => Packet::Prepare { id, change: change(&header)? },
        Kind::PrepareReply => Packet::PrepareReply { id, vote: vote(&header)? },
        Kind::Verdict => Packet::Verdict(volume, verdict(&header)?),
        Kind::Commit => Packet::Commit { id },
        Kind::Abort => Packet::Abort { id },
        Kind::Data => write(&header, WriteKind::Data(payload)),
        Kind::Trim => write(&header, WriteKind::Trim),
        Kind::Zeroes => {
            write(&header, WriteKind::Zeroes { keep_space: header.has(flag::KEEP_SPACE) })
        }
        Kind::Flush => Packet::Flush { id, epoch: header.epoch() },
        Kind::Barrier => Packet::Barrier(BarrierNumber(header.id)),
        Kind::OutOfSync => Packet::OutOfSync(volume, range),
        Kind::DataRequest => Packet::DataRequest { volume, range, id },
        Kind::DataReply => Packet::DataReply { id, data: payload },
        Kind::NegDataReply => Packet::NegDataReply { id },
        Kind::RsDataRequest => {
            Packet::RsDataRequest { volume, range, id, thin: header.has(flag::THIN) }
        }
        Kind::RsDataReply => Packet::RsDataReply { id, data: payload },
        Kind::NegRsDataReply => Packet::NegRsDataReply { id },
        Kind::RsDeallocated => Packet::RsDeallocated { id },
        Kind::BitmapAck => Packet::BitmapAck(volume),
        Kind::RsWriteAck => Packet::RsWriteAck { id },
        Kind::RecvAck => Packet::RecvAck { id },
        Kind::WriteAck => Packet::WriteAck { id },
        Kind::NegAck => Packet::NegAck { id },
        Kind::FlushAck => Packet::FlushAck { id },
        Kind::NegFlushAck => Packet::NegFlushAck { id },
        Kind::BarrierAck => Packet::BarrierAck(BarrierNumber(header.id)),
        Kind::Ping => Packet::Ping,
        Kind::PingAck => Packet::PingAck,
        Kind::CsumRsRequest => Packet::CsumRsRequest { volume, range, id, digests: payload },
        Kind::RsIsInSync => Packet::RsIsInSync { id },
        Kind::OvRequest => Packet::OvRequest { volume, range, id },
        Kind::OvReply => Packet::OvReply { id, digests: payload },
        Kind::OvResult => Packet::OvResult(volume, range),
        Kind::NegOvReply => Packet::NegOvReply { id },
        Kind::Resize => Packet::Resize { id, volume },
        Kind::ResizeReply => {
            Packet::ResizeReply { id, capacity: header.offset, vote: vote(&header)? }
        }
        Kind::Invalidate => Packet::Invalidate { id, volume, whose: invalidated(&header)? },
    })
}

fn write(header: &FrameHeader, kind: WriteKind) -> Packet {
    Packet::Write(PeerWrite {
        volume: header.volume(),
        range: header.range(),
        id: header.id(),
        epoch: header.epoch(),
        fua: header.has(flag::FUA),
        kind,
    })
}

#[cfg(test)]
mod tests;
