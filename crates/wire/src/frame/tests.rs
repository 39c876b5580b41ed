//! What comes in is what went out, and nothing else ever comes in.

use bytes::Buf;
use proptest::prelude::*;

use super::*;
use crate::header::seal;
use crate::kind::Length;
use crate::limits::{DATA_BYTES_MAX, STREAM_BYTES_MAX};
use crate::samples::{any_packet, one_of_each};
use crate::stream::StreamDecoder;

const KEY: u32 = 0x9abc_def0;

fn wire(frame: &Frame) -> Vec<u8> {
    [&frame.header[..], frame.payload.as_deref().unwrap_or_default()].concat()
}

/// All packets in `bytes`, pushed in pieces of `piece` bytes, until an error or the end; the same
/// whether the pieces are copied or shared.
fn decode(key: u32, bytes: &[u8], piece: usize) -> (Vec<Packet>, Result<usize, FrameError>) {
    let copied = decode_by(key, bytes, piece, |decoder, chunk| {
        let taken = decoder.push(chunk);
        chunk.advance(taken);
    });
    assert_eq!(decode_by(key, bytes, piece, StreamDecoder::push_from), copied);
    copied
}

fn decode_by(
    key: u32,
    bytes: &[u8],
    piece: usize,
    push: impl Fn(&mut StreamDecoder, &mut Bytes),
) -> (Vec<Packet>, Result<usize, FrameError>) {
    let mut decoder = StreamDecoder::new(key);
    let mut packets = Vec::new();
    for chunk in bytes.chunks(piece) {
        let mut chunk = Bytes::copy_from_slice(chunk);
        while !chunk.is_empty() {
            let before = chunk.len();
            push(&mut decoder, &mut chunk);
            assert!(chunk.len() < before && decoder.pending() <= STREAM_BYTES_MAX);
            loop {
                match decoder.pop() {
                    Ok(Some(packet)) => packets.push(packet),
                    Ok(None) => break,
                    Err(error) => {
                        assert_eq!(decoder.pop(), Err(error), "an error stays");
                        return (packets, Err(error));
                    }
                }
            }
        }
    }
    (packets, Ok(decoder.pending()))
}

fn error_of(bytes: &[u8]) -> FrameError {
    let (packets, result) = decode(KEY, bytes, bytes.len());
    assert_eq!(packets, []);
    result.unwrap_err()
}

#[test]
fn one_frame_of_each_kind_goes_through_and_is_of_that_kind() {
    for (kind, packet) in one_of_each() {
        let frame = Encoder::new(KEY).encode(&packet);
        let header = Decoder::new(KEY).next_header(&frame.header).unwrap().unwrap();
        assert_eq!(header.kind(), kind);
        assert_eq!(header.payload_len(), frame.payload.as_ref().map_or(0, Bytes::len));
        assert_eq!(decode(KEY, &wire(&frame), 1), (vec![packet], Ok(0)), "{kind:?}");
    }
}

#[test]
fn block_data_are_not_copied_on_the_way_out_or_in() {
    let data = Bytes::from(vec![3; 4096]);
    let packet = Packet::RsDataReply { id: RequestId(1), data: data.clone() };
    let frame = Encoder::new(KEY).encode(&packet);
    assert_eq!(frame.payload.as_ref().unwrap().as_ptr(), data.as_ptr());
    let mut decoder = Decoder::new(KEY);
    let header = decoder.next_header(&frame.header).unwrap().unwrap();
    assert!(header.is_bulk());
    let Packet::RsDataReply { data: received, .. } =
        decoder.finish(header, frame.payload.unwrap()).unwrap()
    else {
        panic!("another packet came out");
    };
    assert_eq!(received.as_ptr(), data.as_ptr());
    let frame = Encoder::new(KEY).encode(&packet);
    let mut decoder = StreamDecoder::new(KEY);
    for mut bytes in [Bytes::copy_from_slice(&frame.header), frame.payload.unwrap()] {
        assert_eq!(decoder.pop(), Ok(None));
        decoder.push_from(&mut bytes);
        assert!(bytes.is_empty());
    }
    let Ok(Some(Packet::RsDataReply { data: received, .. })) = decoder.pop() else {
        panic!("another packet came out");
    };
    assert_eq!(received.as_ptr(), data.as_ptr());
}

#[test]
fn golden_bytes() {
    let mut encoder = Encoder::new(KEY);
    let mut drawn = String::new();
    for (kind, packet) in one_of_each() {
        let frame = encoder.encode(&packet);
        let payload = frame.payload.unwrap_or_default();
        let (header, payload) = (hex(&frame.header), hex(&payload));
        drawn += format!("{} {header} {payload}", kind.name()).trim_end();
        drawn += "\n";
    }
    assert_eq!(drawn, include_str!("golden.txt"), "the format changed; it is now\n{drawn}");
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[test]
fn every_flipped_bit_is_found() {
    for (kind, packet) in one_of_each() {
        let good = wire(&Encoder::new(KEY).encode(&packet));
        for bit in 0..good.len() * 8 {
            let mut bad = good.clone();
            bad[bit / 8] ^= 1 << (bit % 8);
            let (packets, result) = decode(KEY, &bad, bad.len());
            assert!(packets.is_empty() && result.is_err(), "bit {bit} of {kind:?}: {result:?}");
        }
    }
}

#[test]
fn a_stream_cut_anywhere_gives_whole_packets_and_shows_the_rest() {
    let mut encoder = Encoder::new(KEY);
    let frames: Vec<Vec<u8>> =
        one_of_each().iter().map(|(_, packet)| wire(&encoder.encode(packet))).collect();
    let ends: Vec<usize> = frames
        .iter()
        .scan(0, |end, frame| {
            *end += frame.len();
            Some(*end)
        })
        .collect();
    let stream = frames.concat();
    for cut in 0..stream.len() {
        let whole = ends.iter().filter(|end| **end <= cut).count();
        let rest = cut - whole.checked_sub(1).map_or(0, |last| ends[last]);
        let (packets, result) = decode(KEY, &stream[..cut], 64);
        assert_eq!((packets.len(), result), (whole, Ok(rest)), "cut at {cut}");
    }
}

#[test]
fn lost_repeated_and_swapped_frames_are_found() {
    let mut encoder = Encoder::new(KEY);
    let frames: Vec<Vec<u8>> = (0..3)
        .map(|number| wire(&encoder.encode(&Packet::Barrier(BarrierNumber(number)))))
        .collect();
    let result = |order: &[usize]| {
        let stream: Vec<u8> = order.iter().flat_map(|index| frames[*index].clone()).collect();
        let (packets, result) = decode(KEY, &stream, stream.len());
        (packets.len(), result.err())
    };
    let gap = |expected, found| Some(FrameError::Sequence { expected, found });
    assert_eq!(result(&[0, 1, 2]), (3, None));
    assert_eq!(result(&[0, 2]), (1, gap(1, 2)));
    assert_eq!(result(&[0, 0]), (1, gap(1, 0)));
    assert_eq!(result(&[0, 2, 1]), (1, gap(1, 2)));
    assert_eq!(result(&[1]), (0, gap(0, 1)));
}

#[test]
fn frame_numbers_wrap() {
    let (mut encoder, mut decoder) = (Encoder::new(KEY), Decoder::new(KEY));
    (encoder.seq, decoder.seq) = (u32::MAX, u32::MAX);
    for _ in 0..2 {
        let frame = encoder.encode(&Packet::Ping);
        let header = decoder.next_header(&frame.header).unwrap().unwrap();
        assert_eq!(decoder.finish(header, Bytes::new()), Ok(Packet::Ping));
    }
    assert_eq!((encoder.seq, decoder.seq), (1, 1));
}

#[test]
fn a_header_may_be_looked_at_again_but_finished_once() {
    let frame = Encoder::new(KEY).encode(&Packet::Ping);
    let mut decoder = Decoder::new(KEY);
    assert_eq!(decoder.next_header(&frame.header[..47]), Ok(None));
    let header = decoder.next_header(&frame.header).unwrap();
    assert_eq!(decoder.next_header(&frame.header).unwrap(), header);
    decoder.finish(header.unwrap(), Bytes::new()).unwrap();
    let repeated = Err(FrameError::Sequence { expected: 1, found: 0 });
    assert_eq!(decoder.next_header(&frame.header), repeated);
}

/// A frame's header with some bytes replaced and the CRC right for them.
fn forged(packet: &Packet, at: usize, bytes: &[u8]) -> Vec<u8> {
    let Frame { mut header, payload } = Encoder::new(KEY).encode(packet);
    header[at..at + bytes.len()].copy_from_slice(bytes);
    seal(KEY, &mut header);
    wire(&Frame { header, payload })
}

#[test]
fn what_a_kind_does_not_use_must_be_zero() {
    for (kind, packet) in one_of_each() {
        let rule = kind.rule();
        let has_payload = rule.payload_max > 0;
        for (is_used, field, at, width) in [
            (rule.volume, "volume", 4, 2),
            (false, "reserved", 6, 2),
            (has_payload, "payload_crc", 12, 4),
            (rule.offset, "offset", 16, 8),
            (rule.id, "id", 24, 8),
            (rule.length != Length::Unused, "length", 32, 4),
            (rule.epoch, "epoch", 36, 4),
        ] {
            for byte in (at..at + width).filter(|_| !is_used) {
                let value = 1 << (8 * (byte - at));
                let unused = FrameError::Unused { kind, field, value };
                assert_eq!(error_of(&forged(&packet, byte, &[1])), unused);
            }
        }
        for bit in (0..8).filter(|bit| rule.flags & (1 << bit) == 0) {
            let (flags, allowed) = (1 << bit, rule.flags);
            let error = error_of(&forged(&packet, 3, &[flags]));
            assert_eq!(error, FrameError::Flags { kind, flags, allowed });
        }
    }
}

#[test]
fn lengths_out_of_bounds_are_refused_before_a_payload_byte_is_there() {
    for (kind, packet) in one_of_each() {
        let (min, max) = (kind.rule().payload_min, kind.rule().payload_max);
        for len in [max + 1, u32::MAX].into_iter().chain(min.checked_sub(1)) {
            let header = forged(&packet, 8, &len.to_le_bytes());
            let error = error_of(&header[..FRAME_HEADER_BYTES]);
            assert_eq!(error, FrameError::PayloadLength { kind, len, min, max });
        }
    }
}

#[test]
fn ranges_are_bounded_and_end_below_2_to_the_64() {
    for (kind, packet) in one_of_each() {
        let len_max = match kind.rule().length {
            Length::Unused | Length::Code | Length::Payload => continue,
            Length::Range(len_max) => len_max,
        };
        let range_error = |bytes: &[u8]| matches!(error_of(bytes), FrameError::Range { .. });
        assert!(range_error(&forged(&packet, 32, &[0; 4])), "{kind:?} of nothing");
        assert!(range_error(&forged(&packet, 16, &[0xff; 8])), "{kind:?} behind the end");
        if let Some(len) = len_max.checked_add(1) {
            assert!(range_error(&forged(&packet, 32, &len.to_le_bytes())), "{kind:?} too long");
        }
    }
    let (_, data) = one_of_each().into_iter().find(|(kind, _)| *kind == Kind::Data).unwrap();
    let other = FrameError::RangeLength { kind: Kind::Data, range: 11, payload: 10 };
    assert_eq!(error_of(&forged(&data, 32, &11u32.to_le_bytes())), other);
    assert!(matches!(error_of(&forged(&data, 16, &[0xff; 8])), FrameError::Range { .. }));
}

#[test]
fn numbers_without_meaning_are_refused() {
    let sample = |kind| one_of_each().into_iter().find(|(is, _)| *is == kind).unwrap().1;
    let value = |kind, field, value| FrameError::Value { kind, field, value };
    let volume = forged(&sample(Kind::SyncUuid), 4, &[0xff, 0xff]);
    assert_eq!(error_of(&volume), value(Kind::SyncUuid, "volume", 0xffff));
    for (kind, code) in [(Kind::Prepare, 0), (Kind::Prepare, 3), (Kind::PrepareReply, 4)] {
        let frame = forged(&sample(kind), 32, &[code]);
        assert_eq!(error_of(&frame), value(kind, "length", code.into()));
    }
    let wide = forged(&sample(Kind::PrepareReply), 32, &0x100u32.to_le_bytes());
    assert_eq!(error_of(&wide), value(Kind::PrepareReply, "length", 0x100));
    for number in (0..=u8::MAX).filter(|number| Kind::from_u8(*number).is_none()) {
        let frame = forged(&Packet::Ping, 2, &[number]);
        assert_eq!(error_of(&frame), FrameError::UnknownKind { number });
    }
}

#[test]
fn records_are_checked_to_the_last_bit() {
    let cases = [
        (Kind::Protocol, 0, 0, "protocol"),
        (Kind::Protocol, 0, 4, "protocol"),
        (Kind::Protocol, 1, 8, "flags"),
        (Kind::Protocol, 4, 5, "after_sb_0pri"),
        (Kind::Protocol, 4, 0x80 + 32, "after_sb_0pri"),
        (Kind::Protocol, 5, 5, "after_sb_1pri"),
        (Kind::Protocol, 6, 3, "after_sb_2pri"),
        (Kind::Protocol, 7, 5, "rr_conflict"),
        (Kind::Sizes, 20, 1, "reserved"),
        (Kind::Uuids, 97, 1, "flags"),
        (Kind::Uuids, 96, 0x18, "flags"),
        (Kind::Uuids, 100, 1, "reserved"),
        (Kind::State, 0, 3, "role"),
        (Kind::State, 1, 9, "disk"),
        (Kind::State, 2, 2, "replication"),
        (Kind::State, 3, 2, "flags"),
        (Kind::State, 4, 1, "reserved"),
    ];
    for (kind, at, byte, field) in cases {
        let (_, packet) = one_of_each().into_iter().find(|(is, _)| *is == kind).unwrap();
        let Frame { mut header, payload } = Encoder::new(KEY).encode(&packet);
        let mut record = payload.unwrap().to_vec();
        record[at] = byte;
        header[12..16].copy_from_slice(&crc32fast::hash(&record).to_le_bytes());
        seal(KEY, &mut header);
        let error = error_of(&[&header[..], &record].concat());
        let value = match (kind, field) {
            (Kind::Uuids, "flags") => u32::from_le_bytes(record[96..100].try_into().unwrap()),
            _ => byte.into(),
        };
        assert_eq!(error, FrameError::Value { kind, field, value: value.into() }, "at {at}");
    }
}

#[test]
#[should_panic(expected = "range 0+0 of OutOfSync")]
fn an_empty_range_is_never_sent() {
    Encoder::new(KEY).encode(&Packet::OutOfSync(VolumeNumber(0), ByteRange::new(0, 0)));
}

#[test]
#[should_panic(expected = "payload of DataReply has 1048577 bytes")]
fn data_that_are_too_long_are_never_sent() {
    let data = vec![0; DATA_BYTES_MAX as usize + 1].into();
    Encoder::new(KEY).encode(&Packet::DataReply { id: RequestId(0), data });
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn any_packets_go_through_in_any_pieces(
        packets in proptest::collection::vec(any_packet(), 1..8),
        key: u32,
        piece in prop_oneof![1..200usize, 1000..3_000_000usize],
    ) {
        let mut encoder = Encoder::new(key);
        let stream: Vec<u8> =
            packets.iter().flat_map(|packet| wire(&encoder.encode(packet))).collect();
        prop_assert_eq!(decode(key, &stream, piece), (packets, Ok(0)));
    }

    #[test]
    fn no_frame_passes_in_another_session(packet in any_packet(), key: u32, other: u32) {
        prop_assume!(key != other);
        let frame = Encoder::new(key).encode(&packet);
        let result = Decoder::new(other).next_header(&frame.header);
        let is_crc = matches!(result, Err(FrameError::HeaderCrc { .. }));
        prop_assert!(is_crc);
    }

    #[test]
    fn garbage_is_an_error_and_nothing_else(
        garbage in proptest::collection::vec(any::<u8>(), FRAME_HEADER_BYTES..400),
        has_magic: bool,
    ) {
        let mut garbage = garbage;
        if has_magic {
            garbage[..2].copy_from_slice(b"TD");
        }
        let (packets, result) = decode(KEY, &garbage, garbage.len());
        prop_assert_eq!(packets, []);
        prop_assert!(result.is_err());
    }

    /// Garbage behind a right CRC reaches the checks of fields and records; whatever they let
    /// through goes back to the same bytes.
    #[test]
    fn sealed_garbage_is_refused_or_means_itself(
        header: [u8; 40],
        kind in 0..48u8,
        sparse in any::<u64>(),
        payload in proptest::collection::vec(0..6u8, 0..120),
    ) {
        let mut bytes = [0; FRAME_HEADER_BYTES];
        for (index, byte) in header.iter().enumerate() {
            bytes[index] = if sparse >> index & 1 == 1 { *byte } else { 0 };
        }
        bytes[..2].copy_from_slice(b"TD");
        bytes[2] = kind;
        let is_bare = sparse >> 63 == 1;
        let payload = if is_bare { Vec::new() } else { payload };
        bytes[8..12].copy_from_slice(&u32::try_from(payload.len()).unwrap().to_le_bytes());
        bytes[12..16].copy_from_slice(&crc32fast::hash(&payload).to_le_bytes());
        seal(KEY, &mut bytes);
        let stream = [&bytes[..], &payload].concat();
        if let (packets, Ok(0)) = decode(KEY, &stream, stream.len()) {
            prop_assert_eq!(wire(&Encoder::new(KEY).encode(&packets[0])), stream);
        }
    }
}
