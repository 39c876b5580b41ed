//! The log in memory against its contract: what is referred to stays, and everybody gets his turn.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use tandem_wire::ByteRange;

use super::*;
use crate::meta::{Area, DeviceUuid, Hot, RingImage};

const EXTENT: u64 = 16 << 10;

fn ring() -> Ring {
    Ring::new(DeviceUuid([7; 16]), Area { offset: 0, len: 8 * 4096 })
}

fn log(slots: u32) -> ActivityLog {
    ActivityLog::begin(ring(), 1, 16 << 10, slots).0
}

fn extent(number: u64) -> ByteRange {
    ByteRange::new(number * EXTENT + 4096, 4096)
}

fn key(number: u64) -> Key {
    Key::from_bits(number)
}

/// Writes what is staged; who is covered by it.
fn write_out(log: &mut ActivityLog) -> Vec<Key> {
    log.reserve();
    if log.begin_transaction().is_some() {
        log.step = Step::Writing { left: 2 };
        assert_eq!(log.next_covered(), None, "covered by what is not durable");
        log.step = Step::Idle;
    }
    std::iter::from_fn(|| log.next_covered()).collect()
}

#[test]
fn a_hot_extent_costs_nothing_and_a_cold_one_a_transaction() {
    let mut log = log(8);
    assert!(!log.refer(extent(3)));
    log.wait(key(1), extent(3));
    assert_eq!(write_out(&mut log), [key(1)]);
    assert!(log.refer(extent(3)));
    assert!(!log.refer(ByteRange::new(3 * EXTENT, 2 * 16384)), "half of it is cold");
}

#[test]
fn what_becomes_hot_during_a_transaction_goes_with_the_next() {
    let mut log = log(8);
    log.wait(key(1), extent(1));
    log.reserve();
    let (first, _) = log.begin_transaction().unwrap();
    log.step = Step::Writing { left: 2 };
    (2..5).for_each(|number| log.wait(key(number), extent(number)));
    log.wait(key(9), extent(1));
    log.reserve();
    assert!(log.begin_transaction().is_none());
    assert!(!log.refer(extent(1)), "its transaction is not durable");
    log.step = Step::Idle;
    assert_eq!(log.next_covered(), Some(key(1)));
    let (second, _) = log.begin_transaction().unwrap();
    assert_eq!((first.updates.len(), second.updates.len()), (1, 3));
}

#[test]
fn a_slot_is_taken_from_the_least_recently_used_once_it_is_flushed() {
    let mut log = log(4);
    for number in 0..4 {
        log.wait(key(number), extent(number));
    }
    assert_eq!(write_out(&mut log).len(), 4);
    log.wait(key(4), extent(4));
    log.reserve();
    assert_eq!(log.lack, Some(Lack::References));
    assert_eq!(log.wants(), Wants { flush: true, barriers: true }, "all slots are given");
    assert_eq!(log.wants(), Wants { flush: false, barriers: true }, "asked once");
    assert!(!log.refer(extent(3)), "nobody passes who lacks a slot");
    for number in [2, 0] {
        log.written(extent(number), 1);
        log.release(extent(number));
    }
    log.reserve();
    assert_eq!(log.lack, Some(Lack::Flush));
    log.flushed(1);
    log.reserve();
    let (transaction, evicted) = log.begin_transaction().unwrap();
    assert_eq!(evicted, [2]);
    assert_eq!(transaction.updates, [Update { slot: 2, extent: 4 }]);
}

#[test]
fn a_transaction_takes_at_most_64_updates() {
    let mut log = log(400);
    (0..100).for_each(|number| log.wait(key(number), extent(number)));
    assert_eq!(write_out(&mut log).len(), 64);
    assert_eq!(write_out(&mut log).len(), 36);
}

/// A model of disk and peers: writes end, flushes come, the log is cut off anywhere and recovered.
#[derive(Default)]
struct World {
    image: BTreeMap<u64, Vec<u8>>,
    /// Writes that are covered, and whether the disk has ended them.
    covered: Vec<(Key, ByteRange, bool)>,
    pending: BTreeMap<u64, ByteRange>,
    flushes: u64,
}

impl World {
    fn recover(&self) -> Hot {
        let mut image = RingImage::unread(ring());
        for area in image.plan_read() {
            let block = |at| self.image.get(&(area.offset + at * 4096)).cloned();
            let blocks = (0..area.len / 4096).map(|at| block(at).unwrap_or_else(|| vec![0; 4096]));
            image.load(area, Some(&blocks.collect::<Vec<_>>().concat()));
        }
        image.recover(1)
    }

    fn store(&mut self, writes: impl IntoIterator<Item = MetaWrite>) {
        for write in writes {
            self.image.insert(write.offset, write.bytes);
        }
    }

    /// Everything covered is found after a crash.
    fn check(&self, log: &ActivityLog) -> Result<(), TestCaseError> {
        let Hot::Extents(hot) = self.recover() else { panic!("the ring is whole") };
        let hot: BTreeSet<u32> = hot.into_iter().collect();
        prop_assert!(hot.len() <= log.slots.count() as usize);
        for (_, range, _) in &self.covered {
            let (first, last) = log.extents(*range);
            prop_assert!((first..=last).all(|extent| hot.contains(&extent)));
        }
        Ok(())
    }

    fn advance(&mut self, log: &mut ActivityLog, copies: usize) -> Result<(), TestCaseError> {
        log.reserve();
        if let Some((transaction, _)) = log.begin_transaction() {
            log.step = Step::Writing { left: 2 };
            let writes = log.ring.plan_write(&transaction);
            // A crash after one copy or none finds what was covered before.
            self.store(writes[..copies].to_vec());
            self.check(log)?;
            self.store(writes);
            log.step = Step::Idle;
        }
        while let Some(write) = log.next_covered() {
            let range = self.pending.remove(&write.to_bits()).expect("it waited");
            self.covered.push((write, range, false));
        }
        if log.wants().flush {
            self.flush(log);
            log.flush_answered();
        }
        self.check(log)
    }

    fn flush(&mut self, log: &mut ActivityLog) {
        self.flushes += 1;
        log.flushed(self.flushes);
    }

    /// The oldest write ends, or one that has ended is done with.
    fn end(&mut self, log: &mut ActivityLog, at: usize) {
        if self.covered.is_empty() {
            return;
        }
        let at = at % self.covered.len();
        let (_, range, written) = self.covered[at];
        if written {
            self.covered.remove(at);
            log.release(range);
        } else {
            self.covered[at].2 = true;
            log.written(range, self.flushes + 1);
        }
    }
}

proptest! {
    #[test]
    fn what_is_covered_is_found_and_everybody_is_served(
        slots in prop_oneof![4..20_u32, 913..1000_u32],
        steps in prop::collection::vec((0..4_u8, 0..300_u64, 1..4_u64, 0..3_usize), 1..200),
    ) {
        let (mut log, writes) = ActivityLog::begin(ring(), 1, 16 << 10, slots);
        let mut world = World::default();
        world.store(writes);
        for (number, (step, at, len, copies)) in (0..).zip(steps) {
            match step {
                0 | 1 => {
                    let len = len.min(log.extents_max()) * EXTENT;
                    let range = ByteRange::new(at * EXTENT, u32::try_from(len).unwrap());
                    if log.refer(range) {
                        world.covered.push((key(number), range, false));
                    } else {
                        log.wait(key(number), range);
                        world.pending.insert(number, range);
                    }
                }
                2 => world.end(&mut log, usize::try_from(at).unwrap()),
                _ => world.flush(&mut log),
            }
            world.advance(&mut log, copies)?;
        }
        for _ in 0..10_000 {
            if world.pending.is_empty() && world.covered.is_empty() {
                return Ok(());
            }
            world.end(&mut log, 0);
            world.advance(&mut log, 2)?;
        }
        prop_assert!(false, "{} writes never get their slots", world.pending.len());
    }
}
