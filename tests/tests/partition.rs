//! The link is cut, writes go on, the link heals: only what changed is copied.
//!
//! 1. A volume of 2 GiB is in sync; its link passes a proxy that counts.
//! 2. The link is cut. 10 MiB of random 4k writes go to the primary alone.
//! 3. The link heals. The resync carries no more than 1.3 times the dirty blocks.
//! 4. Afterwards both disks are the same, to the last byte.
//!
//! The same for a silent stall in both directions, and in one only; and with an application that
//! never stops writing while the link comes and goes.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use tandem_tests::nbd::Command;
use tandem_tests::proxy::Direction;
use tandem_tests::{
    Audit, Cluster, Load, LoadSpec, Must, NbdClient, Random, Result, Side, Spec, ensure,
};

const LIMIT: Duration = Duration::from_secs(30);

#[test]
fn only_dirty_blocks_are_copied() -> Result<()> {
    let cluster = Cluster::in_sync("partition", Spec::with_bytes(2 << 30))?;
    let mut client = cluster.node(Side::A).client(0)?;
    client.write(0, &[1; 4096])?;
    cluster.link().cut();
    let a = cluster.node(Side::A);
    a.wait("cut off", LIMIT, |it| it.connection() != "Connected")?;
    let dirty_bytes = write_blocks(&mut client, 2560)?;
    let known = a.status()?.out_of_sync_bytes(0);
    assert!(known >= dirty_bytes && known <= dirty_bytes + (1 << 20), "{known} of {dirty_bytes}");
    let before = cluster.link().bytes_both();
    cluster.link().heal();
    cluster.wait_in_sync()?;
    let crossed = cluster.link().bytes_both() - before;
    eprintln!("partition: {crossed} bytes crossed for {dirty_bytes} dirty ones");
    assert!(crossed >= dirty_bytes, "{crossed} bytes crossed for {dirty_bytes} dirty ones");
    let limit = dirty_bytes * 13 / 10;
    assert!(crossed <= limit, "{crossed} bytes crossed for {dirty_bytes} dirty ones");
    drop(client);
    cluster.assert_same_data()?;
    cluster.finish()
}

/// Writes so many random blocks, 16 at a time; returns the bytes of different ones.
fn write_blocks(client: &mut NbdClient, count: usize) -> Result<u64> {
    let mut random = Random::announced("partition");
    let blocks = client.size_bytes() / 4096;
    let mut written = BTreeSet::new();
    for number in 0..count {
        let block = random.below(blocks);
        written.insert(block);
        let data = random.bytes(4096);
        client.send(Command::Write, 0, block * 4096, 4096, &data)?;
        if number >= 16 {
            ensure(client.receive()?.error == 0, || "a write failed".to_owned())?;
        }
    }
    while client.in_flight() > 0 {
        ensure(client.receive()?.error == 0, || "a write failed".to_owned())?;
    }
    Ok(written.len() as u64 * 4096)
}

/// A link that says nothing: found out by the keep-alive, while writes wait, and none is lost.
#[test]
fn a_silent_link_is_found_out() -> Result<()> {
    let cluster = Cluster::in_sync("silent", Spec::default())?;
    let a = cluster.node(Side::A);
    let mut client = a.client(0)?;
    for (round, ways) in [
        (1u8, &[Direction::AToB, Direction::BToA][..]),
        (2, &[Direction::AToB]),
        (3, &[Direction::BToA]),
    ] {
        for way in ways {
            cluster.link().stall(*way);
        }
        client.write(u64::from(round) * 65_536, &vec![round; 65_536])?;
        a.wait("cut off", LIMIT, |it| it.connection() != "Connected")?;
        client.write(u64::from(round + 10) * 65_536, &vec![round; 65_536])?;
        cluster.link().heal();
        cluster.wait_in_sync()?;
        cluster.assert_same_data()?;
    }
    drop(client);
    cluster.finish()
}

/// The link comes and goes under load: nothing is lost on either node.
#[test]
fn the_link_comes_and_goes_under_load() -> Result<()> {
    let cluster = Cluster::in_sync("flapping", Spec::default())?;
    let audit = Arc::new(Audit::new(cluster.data_bytes(0)?)?);
    let mut random = Random::announced("flapping");
    let a = cluster.node(Side::A);
    for round in 0..6 {
        let load = Load::start(a, &audit, LoadSpec::default(), random.number())?;
        pause(&mut random, 200);
        match round % 3 {
            0 => cluster.link().cut(),
            1 => cluster.link().reset(),
            _ => cluster.link().stall_both(),
        }
        pause(&mut random, 300);
        cluster.link().heal();
        if round % 2 == 0 {
            // A resync with the application writing.
            cluster.node(Side::B).wait("connected", LIMIT, |it| it.connection() == "Connected")?;
            pause(&mut random, 200);
        }
        load.stop()?;
        cluster.wait_in_sync()?;
        let verdict = audit.judge(&a.client(0)?.read_all()?, Must::Acked)?;
        ensure(verdict.acked > 0, || "nothing was written".to_owned())?;
        cluster.assert_same_data()?;
    }
    cluster.finish()
}

fn pause(random: &mut Random, millis: u64) {
    std::thread::sleep(Duration::from_millis(50 + random.below(millis)));
}
