//! Frames that no decent peer sends, sealed as if one had.

use tandem_wire::limits::FRAME_HEADER_BYTES;
use tandem_wire::{Decoder, FrameError, Kind};

use crate::source::Source;

/// Where docs/PROTOCOL.md has the fields of a frame's header.
mod at {
    pub(super) const KIND: usize = 2;
    pub(super) const FLAGS: usize = 3;
    pub(super) const VOLUME: usize = 4;
    pub(super) const PAYLOAD_LEN: usize = 8;
    pub(super) const PAYLOAD_CRC: usize = 12;
    pub(super) const OFFSET: usize = 16;
    pub(super) const ID: usize = 24;
    pub(super) const LENGTH: usize = 32;
    pub(super) const EPOCH: usize = 36;
    pub(super) const HEADER_CRC: usize = 44;
}

/// Makes the CRCs of a frame what its bytes ask for.
pub(crate) fn reseal(frame: &mut [u8], session_key: u32) {
    let Some((header, payload)) = frame.split_first_chunk_mut::<FRAME_HEADER_BYTES>() else {
        return;
    };
    let payload_crc = if payload.is_empty() { 0 } else { crc32fast::hash(payload) };
    put(header, at::PAYLOAD_CRC, &payload_crc.to_le_bytes());
    let mut crc = crc32fast::Hasher::new_with_initial(session_key);
    crc.update(&header[..at::HEADER_CRC]);
    put(header, at::HEADER_CRC, &crc.finalize().to_le_bytes());
}

/// A frame of any kind with any fields, the first of its session. Most often it is made to keep the
/// rules of its kind, by what the decoder says against it: it gets further then.
pub(crate) fn any_frame(source: &mut Source<'_>, session_key: u32) -> Vec<u8> {
    let mut draft = Draft::read(source);
    let mut frame = draft.draw(session_key);
    if source.below(8) == 7 {
        return frame;
    }
    for _ in 0..8 {
        let Err(error) = Decoder::new(session_key).next_header(&frame) else { break };
        draft.obey(error);
        frame = draft.draw(session_key);
    }
    frame
}

struct Draft {
    kind: u8,
    flags: u8,
    volume: u16,
    offset: u64,
    id: u64,
    length: u32,
    epoch: u32,
    payload: Vec<u8>,
}

impl Draft {
    fn read(source: &mut Source<'_>) -> Self {
        let kind =
            if source.below(64) == 63 { source.byte() } else { source.pick(Kind::ALL) as u8 };
        let (offset, id) = (source.number(), source.number());
        let length = u32::try_from(source.number()).unwrap_or(u32::MAX);
        let (flags, volume) = (source.byte(), u16::from(source.below(64) == 63));
        let (epoch, len) = (u32::from(source.byte()), usize::from(source.byte()));
        let payload = source.bytes(len).to_vec();
        Self { kind, flags, volume, offset, id, length, epoch, payload }
    }

    fn obey(&mut self, error: FrameError) {
        let payload_len = u32::try_from(self.payload.len()).expect("it is short");
        match error {
            FrameError::Unused { field, .. } => match field {
                "volume" => self.volume = 0,
                "offset" => self.offset = 0,
                "id" => self.id = 0,
                "length" => self.length = 0,
                _ => self.epoch = 0,
            },
            FrameError::Flags { allowed, .. } => self.flags &= allowed,
            FrameError::PayloadLength { min, max, .. } => {
                let len = self.length.clamp(min, max.min(min.max(64 << 10)));
                self.payload.resize(usize::try_from(len).expect("it is short"), 0);
            }
            FrameError::RangeLength { .. } => self.length = payload_len,
            FrameError::Range { len_max, .. } => {
                self.length = self.length.clamp(1, len_max.max(1));
                self.offset %= 1 << 32;
            }
            FrameError::Magic { .. }
            | FrameError::HeaderCrc { .. }
            | FrameError::Sequence { .. }
            | FrameError::UnknownKind { .. }
            | FrameError::PayloadCrc { .. }
            | FrameError::Value { .. } => {}
        }
    }

    fn draw(&self, session_key: u32) -> Vec<u8> {
        let mut header = [0; FRAME_HEADER_BYTES];
        put(&mut header, 0, b"TD");
        put(&mut header, at::KIND, &[self.kind]);
        put(&mut header, at::FLAGS, &[self.flags]);
        put(&mut header, at::VOLUME, &self.volume.to_le_bytes());
        let len = u32::try_from(self.payload.len()).expect("it is short");
        put(&mut header, at::PAYLOAD_LEN, &len.to_le_bytes());
        put(&mut header, at::OFFSET, &self.offset.to_le_bytes());
        put(&mut header, at::ID, &self.id.to_le_bytes());
        put(&mut header, at::LENGTH, &self.length.to_le_bytes());
        put(&mut header, at::EPOCH, &self.epoch.to_le_bytes());
        let mut frame = header.to_vec();
        frame.extend_from_slice(&self.payload);
        reseal(&mut frame, session_key);
        frame
    }
}

fn put(header: &mut [u8; FRAME_HEADER_BYTES], at: usize, bytes: &[u8]) {
    header[at..at + bytes.len()].copy_from_slice(bytes);
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use tandem_wire::{BarrierNumber, Encoder, Packet, StreamDecoder};

    use super::{any_frame, reseal};
    use crate::Random;
    use crate::source::Source;

    #[test]
    fn an_edited_frame_passes_once_it_is_sealed_again() {
        let packet = Packet::Barrier(BarrierNumber(7));
        let frame = Encoder::new(9).encode(&packet);
        let mut bytes = frame.header.to_vec();
        bytes.extend(frame.payload.unwrap_or_default());
        let at = bytes.iter().position(|byte| *byte == 7).unwrap();
        bytes[at] = 8;
        let mut decoder = StreamDecoder::new(9);
        decoder.push(&bytes);
        decoder.pop().unwrap_err();
        reseal(&mut bytes, 9);
        let mut decoder = StreamDecoder::new(9);
        decoder.push(&bytes);
        assert_eq!(decoder.pop(), Ok(Some(Packet::Barrier(BarrierNumber(8)))));
    }

    /// Else a fuzzer would never get behind the decoder.
    #[test]
    fn many_frames_that_are_made_of_anything_are_packets() {
        let (mut random, mut kinds) = (Random::new(3), BTreeMap::new());
        for _ in 0..10_000 {
            let bytes = random.bytes(300);
            let frame = any_frame(&mut Source::new(&bytes), 5);
            let mut decoder = StreamDecoder::new(5);
            decoder.push(&frame);
            if let Ok(Some(_)) = decoder.pop() {
                *kinds.entry(frame[2]).or_insert(0) += 1;
            }
        }
        assert!(kinds.values().sum::<i32>() > 3_000, "{kinds:?}");
        assert!(kinds.len() > tandem_wire::Kind::ALL.len() * 3 / 4, "{kinds:?}");
    }
}
