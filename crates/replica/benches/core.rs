//! The core: what a write takes that goes through two of them, with disks and a link in memory, and
//! what it takes to find the bits of a bitmap.

#![expect(clippy::unwrap_used, reason = "where a node refuses, there is nothing to be measured")]

use std::hint::black_box;

use bytes::Bytes;
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use tandem_replica::RequestOp;
use tandem_replica::bitmap::{BLOCK_BYTES, Bitmap};
use tandem_replica::wire::Protocol;

#[path = "../tests/stories"]
#[allow(dead_code, unused_imports, reason = "stories do more with a pair than write")]
mod stories {
    pub(crate) mod pair;
}

use stories::pair::{DEVICE_BYTES, Pair};

const TIB: u64 = 1 << 40;

/// A write of 4 KiB, from the request to its reply: both cores, disks that copy, and acks.
fn write(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("write through two cores");
    group.throughput(Throughput::Elements(1));
    for (name, protocol) in [("A", Protocol::A), ("B", Protocol::B), ("C", Protocol::C)] {
        let mut pair = Pair::in_sync(1, protocol);
        let data = Bytes::from(vec![7; 4096]);
        let blocks = pair.size() as u64 / BLOCK_BYTES;
        let mut block = 0;
        group.bench_function(name, |bencher| {
            bencher.iter(|| {
                block = (block + 1) % blocks;
                let (offset, data) = (block * BLOCK_BYTES, data.clone());
                let op = RequestOp::Write { offset, data, fua: false };
                let cookie = pair.request(0, 0, black_box(op));
                pair.reply(0, cookie).unwrap().unwrap()
            });
        });
        assert!(blocks * BLOCK_BYTES <= DEVICE_BYTES as u64 && pair.identical());
    }
    group.finish();
}

/// All runs of a map of 1 TiB: nothing set, a block here and there, every other block of 1 GiB.
fn scan(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("bitmap of 1 TiB");
    let sparse = (0..1000).map(|index| index * (TIB / 1000));
    let dense = (0..1 << 17).map(|index| index * 2 * BLOCK_BYTES);
    let maps = [("empty", Vec::new()), ("1000 bits", sparse.collect()), ("dense", dense.collect())];
    for (name, offsets) in maps {
        let mut map = Bitmap::new(TIB);
        for offset in &offsets {
            map.set(*offset, 1);
        }
        group.bench_function(format!("scan: {name}"), |bencher| {
            bencher.iter(|| black_box(&map).runs().count());
        });
    }
    group.bench_function("set and clear one bit", |bencher| {
        let mut map = Bitmap::new(TIB);
        bencher.iter(|| {
            map.set(black_box(TIB / 2), BLOCK_BYTES);
            map.clear(black_box(TIB / 2), BLOCK_BYTES)
        });
    });
    group.finish();
}

criterion_group!(benches, write, scan);
criterion_main!(benches);
