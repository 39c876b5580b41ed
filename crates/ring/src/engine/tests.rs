//! The engine against the real kernel.

use std::time::{Duration, Instant};

use crate::testing::{Rig, complete, complete_one, disk_folder, engine, file_in, socket_pair};
use crate::{Config, Engine, Full, Op, OpenOptions, Pool, Turn, open};

mod files;
mod lifetime;
mod sockets;

#[test]
fn one_system_call_submits_and_waits() {
    let mut rig = Rig::new(&disk_folder(), 1 << 20);
    for token in 0..64 {
        let buffer = rig.pool.take(4096).unwrap();
        let op = Op::Read { file: rig.file, offset: token * 4096, buffer };
        rig.engine.submit(token, op).unwrap();
    }
    let before = rig.engine.stats();
    assert_eq!((before.enters, before.submitted), (0, 64));
    let mut out = Vec::new();
    let turn = rig.engine.wait(None, &mut out).unwrap();
    assert_eq!(rig.engine.stats().enters, 1);
    assert!(turn.completions >= 1 && turn.completions == out.len() && !turn.woken);
    complete(&mut rig.engine, 64 - out.len());
    assert_eq!(rig.engine.operations(), 0);
}

#[test]
fn a_timeout_ends_the_wait() {
    let (mut engine, _pool) = engine();
    let mut out = Vec::new();
    for ms in [0, 30] {
        let (start, timeout) = (Instant::now(), Duration::from_millis(ms));
        assert_eq!(engine.wait(Some(timeout), &mut out).unwrap(), Turn::default());
        assert!(start.elapsed() >= timeout && start.elapsed() < Duration::from_secs(5));
    }
}

#[test]
fn a_waker_ends_the_wait_from_another_thread() {
    let (mut engine, _pool) = engine();
    let waker = engine.waker();
    let mut out = Vec::new();
    for _ in 0..100 {
        let other = waker.clone();
        let thread = std::thread::spawn(move || {
            std::thread::sleep(Duration::from_micros(300));
            other.wake();
            other.wake();
        });
        let mut turn = engine.wait(Some(Duration::from_secs(10)), &mut out).unwrap();
        assert!(turn.woken && turn.completions == 0);
        thread.join().unwrap();
        // The second wake may or may not have been one with the first.
        turn = engine.wait(Some(Duration::ZERO), &mut out).unwrap();
        assert!(turn.completions == 0);
    }
    waker.wake();
    assert!(engine.wait(None, &mut out).unwrap().woken, "a wake before the wait counts");
    assert!(!engine.wait(Some(Duration::from_millis(20)), &mut out).unwrap().woken);
    drop(engine);
    waker.wake();
}

/// What the sender published before `wake` is there in the turn that the wake ends, or a later wake
/// is under way: no message is left behind.
#[test]
fn no_wake_is_lost() {
    let (mut engine, _pool) = engine();
    let waker = engine.waker();
    let (sender, receiver) = std::sync::mpsc::channel();
    let thread = std::thread::spawn(move || {
        for number in 0..20_000_u32 {
            sender.send(number).unwrap();
            waker.wake();
        }
    });
    let (mut seen, mut out) = (0, Vec::new());
    while seen < 20_000 {
        let turn = engine.wait(Some(Duration::from_secs(10)), &mut out).unwrap();
        assert!(turn.woken, "{seen} messages came, then no wake");
        seen += receiver.try_iter().count();
    }
    thread.join().unwrap();
}

#[test]
fn a_full_engine_gives_the_operation_back() {
    let pool = Pool::default();
    let config = Config { operations_max: 3, descriptors_max: 1 };
    let mut engine = Engine::new(config, &pool).unwrap();
    let (ours, _theirs) = socket_pair();
    let socket = engine.register_socket(ours).unwrap();
    let recv = |pool: &Pool| Op::Recv {
        socket,
        buffer: pool.take(100).unwrap(),
        filled: 0,
        wait_all: false,
    };
    for token in 0..3 {
        engine.submit(token, recv(&pool)).unwrap();
    }
    let Full(op) = engine.submit(3, recv(&pool)).unwrap_err();
    assert!(matches!(op, Op::Recv { ref buffer, .. } if buffer.len() == 100));
    assert!(engine.cancel(1));
    assert_eq!(complete_one(&mut engine).token, 1);
    engine.submit(3, op).unwrap();
    let (second, _theirs) = socket_pair();
    assert!(engine.register_socket(second).is_err(), "the table has one place");
}

#[test]
fn an_unregistered_id_answers_ebadf_even_when_its_place_is_taken() {
    let mut rig = Rig::new(&disk_folder(), 4096);
    rig.engine.unregister_file(rig.file);
    assert!(!rig.engine.is_file_open(rig.file));
    let path = file_in(&disk_folder(), 4096);
    let disk = open(&path, &OpenOptions::default()).unwrap();
    let second = rig.engine.register_file(disk.file, disk.access).unwrap();
    assert_ne!(second, rig.file);
    rig.engine.submit(1, Op::Fsync { file: rig.file }).unwrap();
    rig.engine.submit(2, Op::Fsync { file: second }).unwrap();
    let done = complete(&mut rig.engine, 2);
    assert_eq!(done[0].result.as_ref().unwrap_err().raw_os_error(), Some(libc::EBADF));
    assert_eq!(*done[1].result.as_ref().unwrap(), 0);
}

#[test]
fn an_offset_that_the_kernel_would_misread_is_refused() {
    for folder in [disk_folder(), crate::testing::memory_folder()] {
        let mut rig = Rig::new(&folder, 4096);
        let buffer = rig.pool.take(512).unwrap();
        rig.engine.submit(1, Op::Read { file: rig.file, offset: u64::MAX, buffer }).unwrap();
        let done = complete_one(&mut rig.engine);
        assert_eq!(done.result.unwrap_err().raw_os_error(), Some(libc::EINVAL));
    }
}

#[test]
fn buffers_operations_and_wakers_may_change_threads() {
    fn is_send<T: Send>() {}
    is_send::<crate::Buffer>();
    is_send::<Op>();
    is_send::<crate::Completion>();
    is_send::<crate::Waker>();
    is_send::<Pool>();
    is_send::<crate::BackingDisk>();
}
