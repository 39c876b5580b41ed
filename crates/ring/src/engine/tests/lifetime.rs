//! Who owns what, and for how long: the tests behind every SAFETY line.

use std::io::{Read, Write};
use std::time::Duration;

use crate::limits::BUFFER_BYTES_MAX;
use crate::testing::{Rig, complete_one, disk_folder, engine, file_in, pattern, socket_pair};
use crate::{Buffer, Config, Engine, Op, OpenError, OpenOptions, Pool, open};

fn take_all(pool: &Pool) -> Vec<Buffer> {
    std::iter::from_fn(|| pool.take(BUFFER_BYTES_MAX)).collect()
}

#[test]
fn a_buffer_in_flight_is_not_handed_out_until_its_completion_and_last_bytes_are_gone() {
    let pool = Pool::new(0);
    let mut engine = Engine::new(Config::default(), &pool).unwrap();
    let (ours, mut theirs) = socket_pair();
    let socket = engine.register_socket(ours).unwrap();
    let buffer = pool.take(BUFFER_BYTES_MAX).unwrap();
    let address = buffer.as_ptr();
    let op = Op::Recv { socket, buffer, filled: 0, wait_all: false };
    engine.submit(1, op).unwrap();
    let is_handed_out = || take_all(&pool).iter().any(|buffer| buffer.as_ptr() == address);
    assert!(!is_handed_out());
    engine.wait(Some(Duration::ZERO), &mut Vec::new()).unwrap();
    engine.cancel(1);
    assert!(!is_handed_out(), "cancelled is not completed");
    theirs.write_all(b"late").unwrap();
    let done = complete_one(&mut engine);
    assert!(!is_handed_out(), "the completion owns it");
    let Op::Recv { buffer, .. } = done.op else { panic!("not a receive") };
    let slice = buffer.freeze().slice(..4);
    assert!(!is_handed_out(), "the bytes own it");
    drop(slice);
    assert!(is_handed_out());
}

#[test]
fn cancelling_a_receive_gives_the_buffer_back() {
    let (mut engine, pool) = engine();
    let (ours, _theirs) = socket_pair();
    let socket = engine.register_socket(ours).unwrap();
    for is_submitted in [false, true] {
        let mut buffer = pool.take(100).unwrap();
        buffer.fill(3);
        engine.submit(5, Op::Recv { socket, buffer, filled: 0, wait_all: true }).unwrap();
        if is_submitted {
            engine.wait(Some(Duration::ZERO), &mut Vec::new()).unwrap();
        }
        assert!(!engine.cancel(6), "there is no such token");
        assert!(engine.cancel(5));
        let done = complete_one(&mut engine);
        assert_eq!(done.result.unwrap_err().raw_os_error(), Some(libc::ECANCELED));
        assert!(matches!(done.op, Op::Recv { buffer, .. } if *buffer == [3; 100]));
        assert!(!engine.cancel(5), "it is no longer in flight");
    }
}

#[test]
fn dropping_the_engine_ends_everything_in_flight() {
    for _ in 0..20 {
        let mut rig = Rig::new(&disk_folder(), 8 << 20);
        let (ours, mut theirs) = socket_pair();
        let socket = rig.engine.register_socket(ours).unwrap();
        for token in 0..50 {
            let buffer = rig.pool.take(4096).unwrap();
            let op = Op::Recv { socket, buffer, filled: 0, wait_all: true };
            rig.engine.submit(token, op).unwrap();
            let data = pattern(&rig.pool, 65_536, token).freeze();
            let op = Op::Write { file: rig.file, offset: token * 65_536, data, dsync: true };
            rig.engine.submit(token, op).unwrap();
        }
        rig.engine.wait(Some(Duration::ZERO), &mut Vec::new()).unwrap();
        let late = rig.pool.take(4096).unwrap();
        let op = Op::Recv { socket, buffer: late, filled: 0, wait_all: true };
        rig.engine.submit(99, op).unwrap();
        let Rig { engine, pool, path, .. } = rig;
        drop(engine);
        assert_eq!(pool.bytes_taken(), 0, "every buffer is back");
        assert_eq!(theirs.read(&mut [0; 10]).unwrap(), 0, "the socket is closed");
        open(&path, &OpenOptions::default()).unwrap();
    }
}

#[test]
fn the_engine_outlives_the_pool() {
    let Rig { mut engine, pool, file, path } = Rig::new(&disk_folder(), 1 << 20);
    let data = pattern(&pool, 1 << 20, 1).freeze();
    let op = Op::Write { file, offset: 0, data: data.clone(), dsync: false };
    engine.submit(1, op).unwrap();
    drop(pool);
    assert_eq!(complete_one(&mut engine).result.unwrap(), 1 << 20);
    drop(engine);
    assert!(std::fs::read(&path).unwrap() == data);
}

#[test]
fn a_file_stays_open_and_locked_until_its_last_operation_has_completed() {
    let mut rig = Rig::new(&disk_folder(), 4096);
    let data = pattern(&rig.pool, 4096, 1).freeze();
    let op = Op::Write { file: rig.file, offset: 0, data, dsync: true };
    rig.engine.submit(1, op).unwrap();
    rig.engine.unregister_file(rig.file);
    assert!(rig.engine.is_file_open(rig.file));
    let second = open(&rig.path, &OpenOptions::default());
    assert!(matches!(second, Err(OpenError::Locked { .. })));
    rig.engine.submit(2, Op::Fsync { file: rig.file }).unwrap();
    let done = crate::testing::complete(&mut rig.engine, 2);
    assert_eq!(*done[0].result.as_ref().unwrap(), 4096);
    assert!(done[1].result.is_err(), "nothing new is accepted on it");
    assert!(!rig.engine.is_file_open(rig.file));
    open(&rig.path, &OpenOptions::default()).unwrap();
}

/// More files than a table of descriptors would have generations of places for, if it leaked.
#[test]
fn places_in_the_table_are_used_again() {
    let pool = Pool::default();
    let mut engine = Engine::new(Config { operations_max: 8, descriptors_max: 2 }, &pool).unwrap();
    let path = file_in(&disk_folder(), 4096);
    for token in 0..100 {
        let disk = open(&path, &OpenOptions::default()).unwrap();
        let file = engine.register_file(disk.file, disk.access).unwrap();
        let buffer = pool.take(4096).unwrap();
        engine.submit(token, Op::Read { file, offset: 0, buffer }).unwrap();
        engine.unregister_file(file);
        assert_eq!(complete_one(&mut engine).result.unwrap(), 4096);
    }
}

/// The registered path is an optimisation: where the limit of pinned memory refuses it, everything
/// works without. The test gives up, in its own thread only, the privilege that lifts the limit.
#[test]
fn refused_registration_costs_speed_only() {
    let limit = rustix::process::getrlimit(rustix::process::Resource::Memlock).current;
    if limit.is_none_or(|bytes| bytes > 32 << 20) {
        println!("not tested: RLIMIT_MEMLOCK admits the whole pool");
        return;
    }
    let thread = std::thread::spawn(|| {
        give_up_privileges();
        let mut rig = Rig::new(&disk_folder(), 64 << 20);
        let held: Vec<_> = (0..48).map(|seed| pattern(&rig.pool, 1 << 20, seed)).collect();
        for (token, buffer) in (0..).zip(held) {
            let (offset, data) = (token << 20, buffer.freeze());
            let op = Op::Write { file: rig.file, offset, data, dsync: false };
            rig.engine.submit(token, op).unwrap();
        }
        for done in crate::testing::complete(&mut rig.engine, 48) {
            assert_eq!(done.result.unwrap(), 1 << 20);
        }
        let (features, stats) = (rig.engine.features(), rig.engine.stats());
        assert!(features.fixed_buffers_refused, "{features:?}");
        assert!(stats.fixed < 48, "{stats:?}");
    });
    thread.join().unwrap();
}

fn give_up_privileges() {
    // struct __user_cap_header_struct, version 3, and two __user_cap_data_struct.
    let (header, none) = ([0x2008_0522_u32, 0], [0_u32; 6]);
    // SAFETY: both arrays have the size and layout that capset reads, and outlive the call; glibc's
    // wrapper-less system call changes the calling thread alone.
    let result = unsafe { libc::syscall(libc::SYS_capset, header.as_ptr(), none.as_ptr()) };
    assert_eq!(result, 0);
}
