//! The judge must be able to say no.

use super::{Audit, Must};
use crate::stamp::{SECTOR_BYTES, stamp};

const SECTORS: usize = 8;

/// A record, and the images that its writes would leave.
struct Bench {
    audit: Audit,
    image: Vec<u8>,
}

impl Bench {
    fn new() -> Self {
        let bytes = SECTORS * SECTOR_BYTES;
        Self { audit: Audit::new(bytes as u64).unwrap(), image: vec![0; bytes] }
    }

    /// Enters a write; `lands` says whether the image gets it.
    fn write(&mut self, first: u32, count: u32, lands: bool) -> u64 {
        let id = self.audit.begin(first, count, false, false);
        if lands {
            self.land(id, first, count);
        }
        id
    }

    fn land(&mut self, id: u64, first: u32, count: u32) {
        let from = first as usize * SECTOR_BYTES;
        let bytes = &mut self.image[from..from + count as usize * SECTOR_BYTES];
        stamp(bytes, id, u64::from(first));
    }

    fn refuses(&self, must: Must) -> bool {
        self.audit.judge(&self.image, must).is_err()
    }
}

#[test]
fn an_acked_write_must_be_there_and_an_indeterminate_one_may() {
    let mut bench = Bench::new();
    let lost = bench.write(0, 2, false);
    assert!(!bench.refuses(Must::Acked));
    let id = bench.write(0, 2, false);
    bench.audit.acked(id);
    assert_ne!(id, lost);
    assert!(bench.refuses(Must::Acked));
    bench.land(id, 0, 1);
    assert!(bench.refuses(Must::Acked), "half of it is not enough");
    bench.land(id, 0, 2);
    assert_eq!(bench.audit.judge(&bench.image, Must::Acked).unwrap().acked, 1);
}

#[test]
fn an_older_write_may_not_come_back() {
    let mut bench = Bench::new();
    for _ in 0..2 {
        let id = bench.write(3, 1, true);
        bench.audit.acked(id);
    }
    bench.land(1, 3, 1);
    assert!(bench.refuses(Must::Acked));
    // Nor may one that was decided in an earlier round.
    bench.land(2, 3, 1);
    bench.audit.judge(&bench.image, Must::Acked).unwrap();
    bench.land(1, 3, 1);
    assert!(bench.refuses(Must::Acked));
}

#[test]
fn of_concurrent_writes_any_may_win() {
    let mut bench = Bench::new();
    let (one, other) = (bench.write(3, 1, false), bench.write(3, 1, false));
    bench.audit.acked(one);
    bench.audit.acked(other);
    for winner in [other, one] {
        bench.land(winner, 3, 1);
        let lost = bench.audit.count_lost(&bench.image).unwrap();
        assert_eq!(lost, 0, "write {winner} wins");
    }
}

#[test]
fn only_a_flush_makes_a_write_survive_everything() {
    let mut bench = Bench::new();
    let id = bench.write(0, 1, false);
    bench.audit.acked(id);
    let flush = bench.audit.begin_flush();
    assert_eq!(bench.audit.count_lost(&bench.image).unwrap(), 1);
    bench.audit.acked_flush(flush);
    assert!(bench.refuses(Must::Flushed));
    bench.land(id, 0, 1);
    let later = bench.write(0, 1, false);
    bench.audit.acked(later);
    let verdict = bench.audit.judge(&bench.image, Must::Flushed).unwrap();
    assert_eq!((verdict.acked, verdict.lost_sectors), (2, 1));
}

#[test]
fn what_is_lost_must_be_the_end_of_the_stream() {
    let mut bench = Bench::new();
    for sector in 0..3 {
        let id = bench.write(sector, 1, sector != 1);
        bench.audit.acked(id);
    }
    assert!(bench.refuses(Must::Prefix), "the second is lost, the third is there");
    let mut bench = Bench::new();
    for sector in 0..3 {
        let id = bench.write(sector, 1, sector < 1);
        bench.audit.acked(id);
    }
    let verdict = bench.audit.judge(&bench.image, Must::Prefix).unwrap();
    assert_eq!(verdict.lost_sectors, 2);
}

#[test]
fn zeroes_are_a_write_like_any_other() {
    let mut bench = Bench::new();
    let id = bench.write(0, 4, true);
    bench.audit.acked(id);
    let zeroes = bench.audit.begin(1, 2, true, false);
    assert!(!bench.refuses_without_restart(), "not yet replied to: old or new");
    bench.image[SECTOR_BYTES..3 * SECTOR_BYTES].fill(0);
    assert!(!bench.refuses_without_restart());
    bench.image[..SECTOR_BYTES].fill(0);
    assert!(bench.refuses_without_restart(), "nobody wrote zeroes there");
    bench.land(id, 0, 4);
    bench.audit.acked(zeroes);
    assert!(bench.refuses_without_restart(), "they are gone");
}

impl Bench {
    fn refuses_without_restart(&self) -> bool {
        self.audit.count_lost(&self.image).unwrap() > 0
    }
}

#[test]
fn a_misplaced_and_a_torn_sector_are_seen() {
    let mut bench = Bench::new();
    let id = bench.write(0, 1, true);
    bench.audit.acked(id);
    let sector = bench.image[..SECTOR_BYTES].to_vec();
    bench.image[SECTOR_BYTES..2 * SECTOR_BYTES].copy_from_slice(&sector);
    assert!(bench.refuses(Must::Acked));
    bench.image[SECTOR_BYTES..2 * SECTOR_BYTES].fill(0);
    bench.image[100] ^= 1;
    assert!(bench.refuses(Must::Acked));
}
