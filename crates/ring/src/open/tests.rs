use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use super::{Access, BackingDisk, OpenOptions, open};
use crate::testing::{LoopDevice, disk_folder, engine, file_in, memory_folder, pattern, run};
use crate::{Op, OpenError};

#[test]
fn a_file_on_disk_is_direct_and_aligned() {
    let path = file_in(&disk_folder(), 1_048_576 + 512);
    let disk = open(&path, &OpenOptions::default()).unwrap();
    let BackingDisk { size_bytes, block_size, memory_align, .. } = disk;
    assert_eq!(size_bytes, 1_048_576 + 512);
    assert!([512, 4096].contains(&block_size), "{disk:?}");
    assert!(memory_align.is_power_of_two() && memory_align <= 4096, "{disk:?}");
    assert!(!disk.is_block_device && disk.is_direct && disk.nowait, "{disk:?}");
    assert_eq!(disk.access, Access::Ring);
}

#[test]
fn a_file_in_memory_is_accessed_inline() {
    let path = file_in(&memory_folder(), 8192);
    let disk = open(&path, &OpenOptions::default()).unwrap();
    assert_eq!((disk.size_bytes, disk.block_size, disk.is_direct), (8192, 512, true));
    assert_eq!(disk.access == Access::Inline, !disk.nowait);
}

#[test]
fn the_lock_excludes_a_second_opener_until_the_descriptor_is_closed() {
    let path = file_in(&disk_folder(), 4096);
    let first = open(&path, &OpenOptions::default()).unwrap();
    let second = open(&path, &OpenOptions::default()).unwrap_err();
    assert!(matches!(second, OpenError::Locked { .. }), "{second}");
    let pid = std::process::id();
    assert!(second.to_string().ends_with(&format!("in use by another process, pid {pid}")));
    drop(first);
    open(&path, &OpenOptions::default()).unwrap();
}

#[test]
fn patience_waits_for_the_lock_and_ends() {
    let path = file_in(&disk_folder(), 4096);
    let patient = |ms| OpenOptions { lock_patience: Duration::from_millis(ms), ..<_>::default() };
    let first = open(&path, &OpenOptions::default()).unwrap();
    let start = Instant::now();
    assert!(matches!(open(&path, &patient(100)), Err(OpenError::Locked { .. })));
    assert!(start.elapsed() >= Duration::from_millis(100));
    thread::scope(|scope| {
        scope.spawn(move || {
            thread::sleep(Duration::from_millis(100));
            drop(first);
        });
        open(&path, &patient(10_000)).unwrap();
    });
    assert!(start.elapsed() < Duration::from_secs(8));
}

#[test]
fn what_is_no_disk_is_refused_with_a_sentence() {
    let options = OpenOptions::default();
    let text = |path: &str| open(Path::new(path), &options).unwrap_err().to_string();
    assert!(text("/dev/shm").ends_with("neither a regular file nor a block device"));
    assert!(text("/dev/null").ends_with("neither a regular file nor a block device"));
    assert!(text("/nonexistent/disk").starts_with("/nonexistent/disk: open: No such file"));
    assert!(text("/proc/self/comm").contains("has no direct I/O"));
}

#[test]
fn a_file_system_without_direct_io_is_used_if_allowed() {
    let options = OpenOptions { allow_buffered: true, ..<_>::default() };
    let disk = open(Path::new("/proc/self/comm"), &options).unwrap();
    assert!(!disk.is_direct);
    assert_eq!((disk.memory_align, disk.access), (1, Access::Worker));
}

#[test]
fn a_block_device_is_exclusive_and_serves_the_engine() {
    let file = file_in(&disk_folder(), 8 << 20);
    let device = LoopDevice::attach(&file);
    let path = device.path();
    let disk = open(path, &OpenOptions::default()).unwrap();
    assert!(disk.is_block_device && disk.is_direct && disk.size_bytes > 0, "{disk:?}");
    assert_eq!(disk.access, Access::Ring);
    let busy = open(path, &OpenOptions::default()).unwrap_err();
    assert!(matches!(busy, OpenError::Busy { .. }), "{busy}");

    let (mut engine, pool) = engine();
    let (offset, access) = (disk.size_bytes - 4096, disk.access);
    let file = engine.register_file(disk.file, access).unwrap();
    let data = pattern(&pool, 4096, 1).freeze();
    let flushes = [false, true].map(|dsync| {
        let before = flushes(path);
        let data = data.clone();
        let write = Op::Write { file, offset, data, dsync };
        assert_eq!(run(&mut engine, write).result.unwrap(), 4096);
        flushes(path) - before
    });
    assert!(flushes[0] == 0 && flushes[1] > 0, "{flushes:?}");
    let mode = crate::FallocateMode::ZeroRange;
    let zero = Op::Fallocate { file, mode, offset, len: 512 };
    run(&mut engine, zero).result.unwrap();
    let before = self::flushes(path);
    run(&mut engine, Op::Fsync { file }).result.unwrap();
    assert!(self::flushes(path) > before);
    let buffer = pool.take(4096).unwrap();
    let Op::Read { buffer, .. } = run(&mut engine, Op::Read { file, offset, buffer }).op else {
        panic!("not a read")
    };
    assert!(buffer[..512] == [0; 512] && buffer[512..] == data[512..]);
    drop(engine);
    let first = open(path, &OpenOptions::default()).unwrap();
    let patient = OpenOptions { lock_patience: Duration::from_secs(10), ..<_>::default() };
    thread::scope(|scope| {
        scope.spawn(move || {
            thread::sleep(Duration::from_millis(100));
            drop(first);
        });
        open(path, &patient).unwrap();
    });
}

/// How many flushes the device has carried out: the 16th number of its statistics.
fn flushes(device: &Path) -> u64 {
    let name = device.file_name().unwrap().to_str().unwrap();
    let stat = std::fs::read_to_string(format!("/sys/class/block/{name}/stat")).unwrap();
    stat.split_ascii_whitespace().nth(15).unwrap().parse().unwrap()
}
