//! Online verify finds what differs, exactly, while clients write.
//!
//! 1. A pair in sync is filled. Five blocks in the second half of the secondary's disk are changed
//!    behind the daemon's back.
//! 2. A writer works on the first half without pause. The operator says `verify`, on either node.
//! 3. Both nodes report five blocks, and no other. The writer has seen no error.
//! 4. `disconnect` and `connect` repair them; both disks are the same.

use std::os::unix::fs::FileExt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tandem_tests::{Cluster, NbdClient, Random, Result, Side, Spec, Status, ensure};

const BLOCK_BYTES: u64 = 4096;
const LIMIT: Duration = Duration::from_secs(30);
const PLANTED: u64 = 5;

#[test]
fn planted_differences_are_found_by_the_primary() -> Result<()> {
    finds("verify-primary", Side::A)
}

#[test]
fn planted_differences_are_found_by_the_secondary() -> Result<()> {
    finds("verify-secondary", Side::B)
}

fn finds(test: &str, side: Side) -> Result<()> {
    let cluster = Cluster::in_sync(test, Spec::with_bytes(64 << 20))?;
    let mut random = Random::announced(test);
    let mut client = cluster.node(Side::A).client(0)?;
    for offset in (0..client.size_bytes()).step_by(1 << 20) {
        let len = (client.size_bytes() - offset).min(1 << 20);
        client.write(offset, &random.bytes(usize::try_from(len)?))?;
    }
    client.flush()?;
    plant(&cluster, client.size_bytes(), &mut random)?;
    let over = Arc::new(AtomicBool::new(false));
    let writer = {
        let over = Arc::clone(&over);
        std::thread::spawn(move || write_first_half(&mut client, &mut random, &over))
    };
    cluster.node(side).adm_ok(&["verify", "r0"])?;
    cluster.node(side).check_status_schema()?;
    for side in [Side::A, Side::B] {
        cluster.node(side).wait("verified", LIMIT, |it| found(it) == PLANTED)?;
    }
    let done = |it: &Status| it.replication(0) == "Established";
    cluster.node(side).wait("done", LIMIT, done)?;
    ensure(found(&cluster.node(side).status()?) == PLANTED, || "more than planted".to_owned())?;
    over.store(true, Ordering::SeqCst);
    let writes = writer.join().expect("the writer does not panic")?;
    ensure(writes > 20, || format!("only {writes} writes meanwhile"))?;
    cluster.node(Side::B).adm_ok(&["disconnect", "r0"])?;
    cluster.node(Side::B).adm_ok(&["connect", "r0"])?;
    cluster.wait_in_sync()?;
    cluster.assert_same_data()?;
    cluster.finish()
}

/// Changes some blocks of the secondary's disk, as a disk does that rots.
fn plant(cluster: &Cluster, bytes: u64, random: &mut Random) -> Result<()> {
    let disk = std::fs::File::options().write(true).open(cluster.node(Side::B).disk(0))?;
    let half = bytes / BLOCK_BYTES / 2;
    for part in 0..PLANTED {
        let block = half + part * (half / PLANTED) + random.below(half / PLANTED);
        disk.write_all_at(b"rotten", block * BLOCK_BYTES + random.below(4000))?;
    }
    Ok(disk.sync_all()?)
}

fn write_first_half(client: &mut NbdClient, random: &mut Random, over: &AtomicBool) -> Result<u64> {
    let blocks = client.size_bytes() / BLOCK_BYTES / 2 - 4;
    let mut writes = 0;
    while !over.load(Ordering::SeqCst) {
        let data = random.bytes(16 << 10);
        client.write(random.below(blocks) * BLOCK_BYTES, &data)?;
        writes += 1;
    }
    Ok(writes)
}

fn found(status: &Status) -> u64 {
    status.json()["connections"][0]["peer_devices"][0]["verify-found-blocks"].as_u64().unwrap_or(0)
}
