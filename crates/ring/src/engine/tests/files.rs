//! Reads, writes, flushes and fallocate on real disks.

use std::path::Path;

use bytes::Bytes;

use crate::testing::{Rig, complete, complete_one, disk_folder, memory_folder, pattern};
use crate::{FallocateMode, Op};

#[test]
fn what_is_written_is_read_back() {
    for folder in [disk_folder(), memory_folder()] {
        for len in [512, 4096, 65_536, 1 << 20] {
            round_trip(&folder, len);
        }
    }
}

fn round_trip(folder: &Path, len: usize) {
    let mut rig = Rig::new(folder, 4 << 20);
    let (file, offset) = (rig.file, 1 << 20);
    let written = pattern(&rig.pool, len, 1).freeze();
    for dsync in [false, true] {
        let op = Op::Write { file, offset, data: written.clone(), dsync };
        rig.engine.submit(7, op).unwrap();
        let done = complete_one(&mut rig.engine);
        assert_eq!((done.token, done.result.unwrap() as usize), (7, len));
    }
    rig.engine.submit(8, Op::Fsync { file }).unwrap();
    assert_eq!(complete_one(&mut rig.engine).result.unwrap(), 0);

    let buffer = rig.pool.take_zeroed(len).unwrap();
    rig.engine.submit(9, Op::Read { file, offset, buffer }).unwrap();
    let done = complete_one(&mut rig.engine);
    assert_eq!(done.result.unwrap() as usize, len);
    let Op::Read { buffer, .. } = done.op else { panic!("a read comes back as a read") };
    assert!(*buffer == *written);
    let on_disk = std::fs::read(&rig.path).unwrap();
    assert!(on_disk[1 << 20..][..len] == *written);
    assert!(on_disk[..1 << 20].iter().all(|byte| *byte == 0));
}

#[test]
fn hundreds_of_operations_are_in_flight_and_each_lands_where_it_belongs() {
    let mut rig = Rig::new(&disk_folder(), 4 << 20);
    let count = 800;
    for round in 0..3 {
        for token in 0..count {
            let data = pattern(&rig.pool, 4096, round * count + token).freeze();
            // 349 is prime to the 1024 blocks: every token has a block of its own.
            let offset = token * 349 % 1024 * 4096;
            let op = Op::Write { file: rig.file, offset, data, dsync: token % 100 == 0 };
            rig.engine.submit(token, op).unwrap();
        }
        assert_eq!(rig.engine.operations(), 800);
        for done in complete(&mut rig.engine, 800) {
            assert_eq!(done.result.unwrap(), 4096);
        }
    }
    for token in 0..count {
        let buffer = rig.pool.take(4096).unwrap();
        let op = Op::Read { file: rig.file, offset: token * 349 % 1024 * 4096, buffer };
        rig.engine.submit(token, op).unwrap();
    }
    for done in complete(&mut rig.engine, 800) {
        assert_eq!(done.result.unwrap(), 4096);
        let Op::Read { buffer, .. } = done.op else { panic!("a read comes back as a read") };
        assert!(*buffer == *pattern(&rig.pool, 4096, 2 * count + done.token));
    }
}

#[test]
fn fallocate_makes_zeroes_and_keeps_the_length() {
    for folder in [disk_folder(), memory_folder()] {
        for mode in [FallocateMode::PunchHole, FallocateMode::ZeroRange] {
            let mut rig = Rig::new(&folder, 64 << 10);
            let data = pattern(&rig.pool, 64 << 10, 3).freeze();
            let file = rig.file;
            let write = Op::Write { file, offset: 0, data: data.clone(), dsync: false };
            rig.engine.submit(1, write).unwrap();
            complete_one(&mut rig.engine).result.unwrap();
            let op = Op::Fallocate { file, mode, offset: 8192, len: 1 << 20 };
            rig.engine.submit(2, op).unwrap();
            match complete_one(&mut rig.engine).result {
                Ok(bytes) => assert_eq!(bytes, 0),
                // tmpfs knows how to punch holes only.
                Err(error) => {
                    assert_eq!(error.raw_os_error(), Some(libc::EOPNOTSUPP));
                    assert!(folder == memory_folder() && mode == FallocateMode::ZeroRange);
                    continue;
                }
            }
            let on_disk = std::fs::read(&rig.path).unwrap();
            assert_eq!(on_disk.len(), 64 << 10);
            assert!(on_disk[..8192] == data[..8192]);
            assert!(on_disk[8192..].iter().all(|byte| *byte == 0));
        }
    }
}

#[test]
fn buffers_of_the_pool_take_the_registered_path_also_when_they_were_mapped_later() {
    let mut rig = Rig::new(&disk_folder(), 8 << 20);
    assert_eq!(rig.engine.features().fixed_buffer_bytes, 0, "the pool has mapped nothing yet");
    for token in 0..8 {
        let data = pattern(&rig.pool, 1 << 20, token).freeze().slice(4096..);
        let op = Op::Write { file: rig.file, offset: token << 20, data, dsync: false };
        rig.engine.submit(token, op).unwrap();
    }
    let heap = Bytes::from(vec![1; 12_288]);
    let skip = heap.as_ptr().align_offset(4096);
    let data = heap.slice(skip..skip + 4096);
    rig.engine.submit(8, Op::Write { file: rig.file, offset: 0, data, dsync: false }).unwrap();
    for done in complete(&mut rig.engine, 9) {
        assert_eq!(done.result.unwrap(), if done.token == 8 { 4096 } else { (1 << 20) - 4096 });
    }
    let (stats, features) = (rig.engine.stats(), rig.engine.features());
    assert_eq!(stats.submitted, 9);
    if features.fixed_buffers_refused {
        println!("not tested: RLIMIT_MEMLOCK does not admit the buffers");
        return;
    }
    // The kernel answers EFAULT where an address is not within the buffer of its index, so eight
    // writes that succeeded were addressed rightly.
    assert_eq!(stats.fixed, 8);
    assert_eq!(features.fixed_buffer_bytes, rig.pool.bytes_mapped());
    assert!(features.fixed_files && features.defer_taskrun, "{features:?}");
}

#[test]
fn short_operations_in_memory_are_done_at_submission_and_delivered_by_the_wait() {
    let mut rig = Rig::new(&memory_folder(), 4 << 20);
    let long = pattern(&rig.pool, 65_537, 1).freeze();
    for (token, data) in (0..).zip([long.slice(..65_536), long.clone(), long.slice(1..8)]) {
        let op = Op::Write { file: rig.file, offset: token << 20, data, dsync: token == 2 };
        rig.engine.submit(token, op).unwrap();
    }
    let stats = rig.engine.stats();
    assert_eq!((stats.inline, stats.submitted), (2, 1));
    assert_eq!(rig.engine.operations(), 3);
    let mut out = Vec::new();
    let turn = rig.engine.wait(None, &mut out).unwrap();
    assert!(turn.completions >= 2);
    let long_too = 3 - turn.completions;
    out.extend(complete(&mut rig.engine, long_too));
    let mut lens: Vec<_> = out.into_iter().map(|done| done.result.unwrap()).collect();
    lens.sort_unstable();
    assert_eq!(lens, [7, 65_536, 65_537]);
    assert!(std::fs::read(&rig.path).unwrap()[1 << 20..][..65_537] == long);
}

#[test]
fn errors_and_short_reads_are_reported_as_they_are() {
    let mut rig = Rig::new(&disk_folder(), 8192);
    let file = rig.file;
    let data = pattern(&rig.pool, 8192, 1).freeze();
    rig.engine.submit(9, Op::Write { file, offset: 0, data, dsync: false }).unwrap();
    complete_one(&mut rig.engine).result.unwrap();
    let at_end = Op::Read { file, offset: 4096, buffer: rig.pool.take(8192).unwrap() };
    let behind = Op::Read { file, offset: 8192, buffer: rig.pool.take(4096).unwrap() };
    let crooked = Op::Read { file, offset: 1, buffer: rig.pool.take(4096).unwrap() };
    for (token, op) in (0..).zip([at_end, behind, crooked]) {
        rig.engine.submit(token, op).unwrap();
    }
    let results: Vec<_> = complete(&mut rig.engine, 3)
        .into_iter()
        .map(|done| done.result.map_err(|error| error.raw_os_error().unwrap()))
        .collect();
    assert_eq!(results, [Ok(4096), Ok(0), Err(libc::EINVAL)]);
}
