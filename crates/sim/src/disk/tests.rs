//! What completes, what is durable, and what a crash leaves.

use bytes::Bytes;
use tandem_replica::DiskOpKind;
use tandem_wire::ByteRange;

use super::*;

const PACE: Pace = Pace { low: MICROS, high: MILLIS, stalls: 0 };

fn disk() -> SimDisk {
    SimDisk::new(vec![Cell::Zero; 128], None, 512, PACE)
}

fn image(disk: &SimDisk) -> Bytes {
    disk.data().read(0, disk.data().len())
}

fn write(byte: u8, offset: u64, sectors: usize, fua: bool) -> DiskOpKind {
    DiskOpKind::Write { offset, data: Bytes::from(vec![byte; sectors * 512]), fua }
}

fn run(disk: &mut SimDisk, kind: DiskOpKind, prng: &mut Prng) -> Bytes {
    let (key, _) = disk.issue(kind, prng);
    disk.complete(key, prng).unwrap().0.unwrap()
}

#[test]
fn a_completed_write_is_read_and_survives_a_kill() {
    for seed in 0..50 {
        let mut prng = Prng::new(seed);
        let mut disk = disk();
        run(&mut disk, write(7, 1024, 2, false), &mut prng);
        disk.kill(&mut prng);
        let data = run(&mut disk, DiskOpKind::Read(ByteRange::new(1024, 1024)), &mut prng);
        assert!(data.iter().all(|byte| *byte == 7));
    }
}

#[test]
fn an_unflushed_write_is_sometimes_lost_torn_or_kept() {
    let (mut lost, mut torn, mut kept) = (0, 0, 0);
    for seed in 0..200 {
        let mut prng = Prng::new(seed);
        let mut disk = disk();
        run(&mut disk, write(7, 0, 16, false), &mut prng);
        disk.power_loss(&mut prng);
        match image(&disk)[..8192].chunks(512).filter(|sector| sector[0] == 7).count() {
            0 => lost += 1,
            16 => kept += 1,
            _ => torn += 1,
        }
    }
    assert!(lost > 10 && torn > 10 && kept > 10, "lost {lost}, torn {torn}, kept {kept}");
}

#[test]
fn flushed_and_fua_writes_are_never_lost() {
    for seed in 0..200 {
        let mut prng = Prng::new(seed);
        let mut disk = disk();
        run(&mut disk, write(1, 0, 4, false), &mut prng);
        run(&mut disk, DiskOpKind::Flush, &mut prng);
        run(&mut disk, write(2, 4096, 4, true), &mut prng);
        run(&mut disk, write(3, 8192, 4, false), &mut prng);
        disk.power_loss(&mut prng);
        assert!(image(&disk)[..2048].iter().all(|byte| *byte == 1));
        assert!(image(&disk)[4096..6144].iter().all(|byte| *byte == 2));
    }
}

#[test]
fn a_flush_saves_what_was_complete_when_it_was_issued() {
    let mut seen = [false; 3];
    for seed in 0..200 {
        let mut prng = Prng::new(seed);
        let mut disk = disk();
        run(&mut disk, write(1, 0, 1, false), &mut prng);
        let (flush, _) = disk.issue(DiskOpKind::Flush, &mut prng);
        run(&mut disk, write(2, 0, 1, false), &mut prng);
        disk.complete(flush, &mut prng).unwrap().0.unwrap();
        disk.power_loss(&mut prng);
        seen[usize::from(image(&disk)[0])] = true;
    }
    assert_eq!(seen, [false, true, true], "old is lost for good, the newer write may be");
}

#[test]
fn operations_in_flight_land_in_any_subset() {
    let (mut none, mut part, mut all) = (0, 0, 0);
    for seed in 0..200 {
        let mut prng = Prng::new(seed);
        let mut disk = disk();
        let data = Bytes::from(vec![9; 4096]);
        let (key, _) = disk.issue(DiskOpKind::MetaWrite { offset: 0, data }, &mut prng);
        disk.kill(&mut prng);
        assert!(disk.complete(key, &mut prng).is_none(), "a dead process sees no completion");
        match image(&disk)[..4096].chunks(512).filter(|sector| sector[0] == 9).count() {
            0 => none += 1,
            8 => all += 1,
            _ => part += 1,
        }
    }
    assert!(none > 10 && part > 10 && all > 10, "none {none}, part {part}, all {all}");
}

#[test]
fn merges_a_patch() {
    let mut prng = Prng::new(1);
    let base = Bytes::from(vec![1; 512]);
    let patch = Bytes::from(vec![2; 10]);
    let merged = run(&mut disk(), DiskOpKind::Merge { base, patch, at: 5 }, &mut prng);
    assert_eq!(merged.iter().filter(|byte| **byte == 2).count(), 10);
    assert_eq!((merged[4], merged[5], merged[14], merged[15]), (1, 2, 2, 1));
}
