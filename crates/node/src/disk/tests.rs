use std::fs;

use bytes::Bytes;
use tandem_replica::wire::{ByteRange, VolumeNumber};
use tandem_replica::{AttachGeneration, DiskError, DiskOp, DiskOpKind, DiskToken};
use tandem_ring::{OpenOptions, limits::BUFFER_BYTES_MAX};
use tempfile::TempDir;

use super::{BackingFile, Disk, Finished, Operations};
use crate::io::Io;
use crate::token::Token;

const MIB: usize = 1 << 20;

/// A disk of 8 MiB of the byte 7, on the real kernel.
struct Bench {
    io: Io,
    operations: Operations,
    disk: Disk,
    dir: TempDir,
    tokens: u64,
}

impl Bench {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("disk");
        fs::write(&path, vec![7; 8 * MIB]).unwrap();
        let options = OpenOptions { allow_buffered: true, ..OpenOptions::default() };
        let opened = tandem_ring::open(&path, &options).unwrap();
        let mut io = Io::new(0).unwrap();
        let id = io.register_file(opened.file, opened.access).unwrap();
        let data = BackingFile {
            id,
            honours_dsync: opened.honours_dsync,
            zeroes_by_command: opened.zeroes_by_command,
            is_rotational: opened.is_rotational,
        };
        let disk = Disk { generation: AttachGeneration(3), data, meta: data };
        Self { io, operations: Operations::new(), disk, dir, tokens: 0 }
    }

    fn start(&mut self, kind: DiskOpKind) -> Option<Finished> {
        self.tokens += 1;
        let op = DiskOp {
            volume: VolumeNumber(0),
            generation: AttachGeneration(3),
            token: DiskToken(self.tokens),
            kind,
        };
        self.operations.start(&mut self.io, 5, Some(self.disk), op)
    }

    /// Runs one operation to its end.
    fn run(&mut self, kind: DiskOpKind) -> Result<Bytes, DiskError> {
        let mut finished = self.start(kind);
        while finished.is_none() {
            finished = self.turn();
        }
        self.check(finished.unwrap())
    }

    fn turn(&mut self) -> Option<Finished> {
        let mut completions = Vec::new();
        self.io.wait(None, &mut completions).unwrap();
        let mut finished = None;
        for completion in completions {
            let Token::Disk(key) = Token::decode(completion.token) else { panic!() };
            finished = self.operations.handle(&mut self.io, key, completion);
        }
        finished
    }

    fn check(&self, finished: Finished) -> Result<Bytes, DiskError> {
        assert_eq!(finished.resource, 5);
        assert_eq!(finished.completion.token, DiskToken(self.tokens));
        assert_eq!(finished.fault.is_some(), finished.completion.result.is_err());
        finished.completion.result
    }

    fn contents(&self) -> Vec<u8> {
        fs::read(self.dir.path().join("disk")).unwrap()
    }
}

#[test]
fn writes_and_reads_from_any_memory_and_of_any_length() {
    let mut bench = Bench::new();
    let pattern: Vec<u8> =
        (0..=250).flat_map(|byte| [byte; 512]).cycle().take(3 * MIB + 4096).collect();
    // A slice that starts at no multiple of anything, as a part of a larger message would.
    let mut odd = vec![0];
    odd.extend_from_slice(&pattern);
    let data = Bytes::from(odd).slice(1..);
    let write = DiskOpKind::Write { offset: 4096, data: data.clone(), fua: false };
    assert_eq!(bench.run(write), Ok(Bytes::new()));
    let read = DiskOpKind::Read(ByteRange::new(4096, u32::try_from(data.len()).unwrap()));
    assert_eq!(bench.run(read), Ok(data));
    assert_eq!(bench.run(DiskOpKind::Flush), Ok(Bytes::new()));
    let contents = bench.contents();
    assert!(contents[..4096].iter().all(|byte| *byte == 7));
    assert!(contents[4096..4096 + pattern.len()] == pattern);
    assert!(contents[4096 + pattern.len()..].iter().all(|byte| *byte == 7));
}

#[test]
fn metadata_longer_than_a_buffer_comes_in_one_piece() {
    let mut bench = Bench::new();
    let data = Bytes::from(vec![9; 2 * BUFFER_BYTES_MAX + 512]);
    let write = DiskOpKind::MetaWrite { offset: 512, data: data.clone() };
    assert_eq!(bench.run(write), Ok(Bytes::new()));
    let len = u32::try_from(data.len()).unwrap();
    assert_eq!(bench.run(DiskOpKind::MetaRead { offset: 512, len }), Ok(data));
}

#[test]
fn zeroes_exactly_the_range_in_every_way() {
    for (keep_space, fua) in [(false, false), (true, false), (false, true), (true, true)] {
        let mut bench = Bench::new();
        let range = ByteRange::new(4096, 3 << 20);
        let zero = DiskOpKind::Zero { range, keep_space, fua };
        assert_eq!(bench.run(zero), Ok(Bytes::new()));
        let (start, end) = (4096, 4096 + 3 * MIB);
        let contents = bench.contents();
        assert_eq!(contents.len(), 8 * MIB);
        for (at, byte) in contents.iter().enumerate() {
            let expected = if (start..end).contains(&at) { 0 } else { 7 };
            assert_eq!(*byte, expected, "byte {at}, keep_space {keep_space}, fua {fua}");
        }
    }
}

#[test]
fn a_merge_needs_no_disk() {
    let mut bench = Bench::new();
    let (base, patch) = (Bytes::from(vec![1; 4096]), Bytes::from_static(b"abc"));
    let merge = DiskOpKind::Merge { base, patch, at: 4093 };
    for generation in [bench.disk.generation, AttachGeneration(77)] {
        bench.disk.generation = generation;
        let merged = bench.start(merge.clone()).unwrap();
        let merged = bench.check(merged).unwrap();
        assert_eq!((&merged[..4093], &merged[4093..]), (&[1; 4093][..], &b"abc"[..]));
    }
}

#[test]
fn digests_are_made_as_far_as_a_turn_has_time() {
    let mut bench = Bench::new();
    let data = Bytes::from(vec![1; MIB]);
    for _ in 0..3 {
        assert!(bench.start(DiskOpKind::Digest { data: data.clone() }).is_none());
    }
    for (token, left) in [(1, true), (2, true), (3, false)] {
        let mut finished = Vec::new();
        bench.operations.digest(&mut bench.io, &mut finished);
        assert_eq!(bench.operations.has_digests(), left);
        let finished = finished.pop().unwrap();
        assert_eq!(finished.completion.token, DiskToken(token), "oldest first");
        let digests = finished.completion.result.unwrap();
        assert_eq!(digests, tandem_replica::digest::of_blocks(&data));
    }
}

#[test]
fn a_closed_disk_and_a_range_behind_the_end_are_errors() {
    let mut bench = Bench::new();
    let behind = DiskOpKind::Read(ByteRange::new(8 << 20, 4096));
    assert_eq!(bench.run(behind), Err(DiskError::Io));
    let across = DiskOpKind::Read(ByteRange::new((8 << 20) - 4096, 8192));
    assert_eq!(bench.run(across), Err(DiskError::Io));
    bench.disk.generation = AttachGeneration(4);
    let read = DiskOpKind::Read(ByteRange::new(0, 4096));
    let refused = bench.start(read).unwrap();
    assert_eq!(bench.check(refused), Err(DiskError::Io));
}

#[test]
fn what_finds_no_buffer_goes_on_when_there_is_one() {
    let mut bench = Bench::new();
    let mut taken = Vec::new();
    while let Some(buffer) = bench.io.take_disk(MIB) {
        taken.push(buffer);
    }
    let read = DiskOpKind::Read(ByteRange::new(0, 1 << 20));
    assert!(bench.start(read).is_none());
    let mut finished = Vec::new();
    bench.operations.retry(&mut bench.io, &mut finished);
    assert!(finished.is_empty());
    taken.pop();
    bench.operations.retry(&mut bench.io, &mut finished);
    let mut ended = None;
    while ended.is_none() {
        ended = bench.turn();
    }
    assert_eq!(bench.check(ended.unwrap()), Ok(Bytes::from(vec![7; MIB])));
}

#[test]
fn only_zeroes_are_zero() {
    let mut bench = Bench::new();
    for len in [1, 63, 64, 65, 4096, 262_144] {
        for at in [None, Some(0), Some(len / 2), Some(len - 1)] {
            let mut data = vec![0; len];
            if let Some(at) = at {
                data[at] = 0x80;
            }
            let data = Bytes::from(data);
            let found = bench.run(DiskOpKind::IsZero { data: data.clone() }).unwrap();
            let expected = if at.is_none() { Bytes::new() } else { data };
            assert_eq!(found, expected, "{at:?} of {len}");
        }
    }
}
