use std::collections::BTreeSet;

use super::{Class, Pool};
use crate::Buffer;
use crate::limits::{BUFFER_BYTES_MAX, POOL_BYTES_MIN, SLAB_BYTES};

#[test]
fn a_buffer_has_the_length_asked_for_and_a_page_alignment() {
    let pool = Pool::default();
    for (len, capacity) in [
        (0, 4096),
        (1, 4096),
        (4096, 4096),
        (4097, 65_536),
        (65_536, 65_536),
        (65_537, BUFFER_BYTES_MAX),
        (BUFFER_BYTES_MAX, BUFFER_BYTES_MAX),
    ] {
        let buffer = pool.take(len).unwrap();
        assert_eq!((buffer.len(), buffer.capacity()), (len, capacity));
        assert!(buffer.as_ptr().addr().is_multiple_of(4096));
    }
    assert_eq!(pool.bytes_taken(), 0);
}

#[test]
fn nothing_is_mapped_before_it_is_needed_and_never_more_than_the_bound() {
    let pool = Pool::new(POOL_BYTES_MIN + SLAB_BYTES + 1);
    assert_eq!((pool.bytes_max(), pool.bytes_mapped()), (POOL_BYTES_MIN + SLAB_BYTES, 0));
    let large = take_all(&pool, BUFFER_BYTES_MAX);
    // Two slabs are set aside for the other classes.
    assert_eq!(large.len() * BUFFER_BYTES_MAX, 2 * SLAB_BYTES);
    assert_eq!(take_all(&pool, 4096).len() * 4096, SLAB_BYTES);
    assert_eq!(take_all(&pool, 5000).len() * 65_536, SLAB_BYTES);
    assert_eq!(pool.bytes_mapped(), pool.bytes_max());
    assert_eq!(pool.bytes_taken(), 2 * SLAB_BYTES);
}

#[test]
fn a_bound_below_the_least_is_the_least() {
    assert_eq!(Pool::new(0).bytes_max(), POOL_BYTES_MIN);
}

#[test]
fn no_class_starves_another() {
    let pool = Pool::new(0);
    for class in Class::ALL {
        let held = Class::ALL.map(|other| {
            if other == class { Vec::new() } else { take_all(&pool, other.slot_bytes()) }
        });
        assert_eq!(take_all(&pool, class.slot_bytes()).len(), class.slots());
        drop(held);
    }
}

#[test]
fn a_free_slab_serves_the_class_that_has_run_out() {
    let pool = Pool::new(POOL_BYTES_MIN + 2 * SLAB_BYTES);
    let small = take_all(&pool, 4096);
    assert_eq!(small.len(), 3 * Class::Page.slots());
    assert_eq!(take_all(&pool, BUFFER_BYTES_MAX).len(), 2);
    drop(small);
    assert_eq!(take_all(&pool, 65_536).len(), 3 * Class::Medium.slots());
    assert_eq!(take_all(&pool, BUFFER_BYTES_MAX).len(), 3 * Class::Large.slots());
    assert_eq!(take_all(&pool, 4096).len(), 3 * Class::Page.slots());
    assert_eq!(pool.bytes_mapped(), pool.bytes_max());
}

#[test]
fn a_slot_is_held_until_the_last_bytes_of_it_are_gone() {
    let pool = Pool::new(0);
    let mut held = take_all(&pool, BUFFER_BYTES_MAX);
    assert_eq!(held.len(), 2);
    let buffer = held.pop().unwrap();
    let address = buffer.as_ptr();
    let bytes = buffer.freeze();
    let (clone, slice) = (bytes.clone(), bytes.slice(5000..5001));
    for holder in [bytes, clone, slice] {
        assert!(pool.take(BUFFER_BYTES_MAX).is_none());
        drop(holder);
    }
    assert_eq!(pool.take(BUFFER_BYTES_MAX).unwrap().as_ptr(), address);
}

#[test]
fn zeroed_means_zeroed_where_the_slot_was_used_before() {
    let pool = Pool::new(0);
    for mut buffer in take_all(&pool, 4096) {
        buffer.fill(7);
    }
    assert!(pool.take_zeroed(4095).unwrap().iter().all(|byte| *byte == 0));
}

#[test]
fn bytes_outlive_the_pool() {
    let pool = Pool::default();
    let mut buffer = pool.take(70_000).unwrap();
    buffer.fill(42);
    let bytes = buffer.freeze().slice(60_000..);
    drop(pool);
    assert_eq!(bytes, vec![42; 10_000]);
}

#[test]
fn set_len_stays_within_the_slot() {
    let pool = Pool::default();
    let mut buffer = pool.take(10).unwrap();
    buffer.set_len(4096);
    assert_eq!(buffer.len(), 4096);
    let beyond = std::panic::catch_unwind(move || buffer.set_len(4097));
    assert!(beyond.is_err());
    assert_eq!(pool.bytes_taken(), 0);
}

/// Takes and returns at random, on this thread and through another one; each buffer carries a mark
/// of its own that nobody may have changed when it is returned.
#[test]
fn no_two_owners_share_memory() {
    let pool = Pool::new(POOL_BYTES_MIN + 2 * SLAB_BYTES);
    let mut random = 0x2545_f491_4f6c_dd1d_u64;
    let mut held: Vec<(u64, Buffer)> = Vec::new();
    let mut served = BTreeSet::new();
    std::thread::scope(|scope| {
        let (sender, receiver) = std::sync::mpsc::channel::<(u64, bytes::Bytes)>();
        scope.spawn(move || {
            for (mark, bytes) in receiver {
                assert!(bytes.chunks_exact(8).all(|word| word == mark.to_le_bytes()));
            }
        });
        for mark in 0..4000 {
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            let len = [8, 4096, 40_000, 1 << 20][(random % 4) as usize];
            if let Some(mut buffer) = pool.take(len) {
                buffer
                    .chunks_exact_mut(8)
                    .for_each(|word| word.copy_from_slice(&u64::to_le_bytes(mark)));
                served.insert(buffer.capacity());
                held.push((mark, buffer));
            }
            if random & 0x300 != 0 && !held.is_empty() {
                let (mark, buffer) = held.swap_remove((random >> 20) as usize % held.len());
                if random & 0x400 == 0 {
                    sender.send((mark, buffer.freeze())).unwrap();
                } else {
                    assert!(buffer.chunks_exact(8).all(|word| word == mark.to_le_bytes()));
                }
            }
        }
        drop(sender);
    });
    assert_eq!(served.len(), 3, "each class was used");
    drop(held);
    assert_eq!(pool.bytes_taken(), 0);
    assert!(pool.bytes_mapped() <= pool.bytes_max());
}

fn take_all(pool: &Pool, len: usize) -> Vec<Buffer> {
    std::iter::from_fn(|| pool.take(len)).collect()
}
