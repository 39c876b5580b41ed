//! Frames: what encoding and decoding a write take, and the checksum and the copy of
//! block data that are most of that.

use std::hint::black_box;

use bytes::{Bytes, BytesMut};
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use tandem_wire::{
    BarrierNumber, ByteRange, Decoder, Encoder, Epoch, Packet, PeerWrite, RequestId, VolumeNumber,
    WriteKind,
};

const KEY: u32 = 0x1234_5678;
const SIZES: [usize; 3] = [4 << 10, 64 << 10, 1 << 20];

fn data(len: usize) -> Bytes {
    (0..=u8::MAX).cycle().take(len).collect()
}

fn write(data: Bytes) -> Packet {
    let len = u32::try_from(data.len()).expect("a request is below 4 GiB");
    Packet::Write(PeerWrite {
        volume: VolumeNumber(0),
        range: ByteRange::new(0, len),
        id: RequestId(1),
        epoch: Epoch(1),
        fua: false,
        kind: WriteKind::Data(data),
    })
}

fn encode(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("encode");
    for len in SIZES {
        let packet = write(data(len));
        group.throughput(Throughput::Bytes(len as u64));
        group.bench_with_input(BenchmarkId::new("write", len), &packet, |bencher, packet| {
            let mut encoder = Encoder::new(KEY);
            bencher.iter(|| encoder.encode(black_box(packet)));
        });
    }
    let barrier = Packet::Barrier(BarrierNumber(1));
    group.throughput(Throughput::Elements(1));
    group.bench_function("barrier", |bencher| {
        let mut encoder = Encoder::new(KEY);
        bencher.iter(|| encoder.encode(black_box(&barrier)));
    });
    group.finish();
}

fn decode(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("decode");
    for len in SIZES {
        let frame = Encoder::new(KEY).encode(&write(data(len)));
        let payload = frame.payload.expect("a write has one");
        group.throughput(Throughput::Bytes(len as u64));
        group.bench_function(BenchmarkId::new("write", len), |bencher| {
            bencher.iter(|| {
                // Every frame is the first of its session: it is the same one all the time.
                let mut decoder = Decoder::new(KEY);
                let header = decoder.next_header(black_box(&frame.header)).expect("it is good");
                decoder.finish(header.expect("all of it is there"), payload.clone())
            });
        });
    }
    group.finish();
}

fn checksum_and_copy(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("block data");
    for len in SIZES {
        let data = data(len);
        group.throughput(Throughput::Bytes(len as u64));
        group.bench_with_input(BenchmarkId::new("crc32", len), &data, |bencher, data| {
            bencher.iter(|| crc32fast::hash(black_box(data)));
        });
        group.bench_with_input(BenchmarkId::new("copy", len), &data, |bencher, data| {
            let mut to = BytesMut::with_capacity(len);
            bencher.iter(|| {
                to.clear();
                to.extend_from_slice(black_box(data));
            });
        });
        group.bench_with_input(BenchmarkId::new("crc32 and copy", len), &data, |bencher, data| {
            let mut to = BytesMut::with_capacity(len);
            bencher.iter(|| {
                to.clear();
                to.extend_from_slice(black_box(data));
                crc32fast::hash(&to)
            });
        });
    }
    group.finish();
}

criterion_group!(benches, encode, decode, checksum_and_copy);
criterion_main!(benches);
