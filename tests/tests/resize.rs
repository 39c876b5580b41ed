//! Volumes that grow while they are in use.
//!
//! 1. Writers work on the primary; every write is on record.
//! 2. The files of both nodes are enlarged, and the primary is told to resize. A daemon may be
//!    killed before, or at any moment of it.
//! 3. A new client sees the new size and uses it; the writers, who see the old one, go on.
//! 4. No acknowledged write is missing, and both disks are the same, to the new end.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tandem_tests::{
    Audit, Cluster, Load, LoadSpec, Metadata, Must, Random, Result, Side, Spec, ensure,
};

const BYTES: u64 = 32 << 20;
const MORE: u64 = 12 << 20;

#[test]
fn a_volume_grows_under_load() -> Result<()> {
    for (test, metadata) in
        [("resize-internal", Metadata::Internal), ("resize-external", Metadata::External)]
    {
        let spec = Spec { metadata, ..Spec::with_bytes(BYTES) };
        let mut cluster = Cluster::in_sync(test, spec)?;
        let before = cluster.data_bytes(0)?;
        let audit = Arc::new(Audit::new(before)?);
        let mut random = Random::announced(test);
        let a = cluster.node(Side::A);
        let load = Load::start(a, &audit, LoadSpec::default(), random.number())?;
        std::thread::sleep(Duration::from_millis(300));
        enlarge(&cluster, Side::A, BYTES + MORE)?;
        enlarge(&cluster, Side::B, BYTES + MORE)?;
        a.adm_ok(&["resize", "r0"])?;
        let after = cluster.data_bytes(0)?;
        ensure(after >= before + MORE - 4096, || format!("{before} bytes, then {after}"))?;
        write_at_end(&cluster, after)?;
        std::thread::sleep(Duration::from_millis(300));
        ensure(load.is_going(), || "a writer stopped over the resize".to_owned())?;
        load.stop()?;
        judge(&cluster, &audit)?;
        let told = cluster.node(Side::B).status()?.size_bytes(0);
        ensure(told == after, || format!("b has {told} bytes of {after}"))?;
        cluster.stop()?;
        cluster.finish()?;
    }
    Ok(())
}

#[test]
fn a_smaller_peer_truncates_nothing() -> Result<()> {
    let mut cluster = Cluster::in_sync("resize-smaller", Spec::with_bytes(BYTES))?;
    let before = cluster.data_bytes(0)?;
    enlarge(&cluster, Side::A, BYTES + MORE)?;
    let told = cluster.node(Side::A).adm(&["resize", "r0/0"])?;
    ensure(told.code != 0, || "it has grown beyond its peer".to_owned())?;
    let why = told.stderr;
    ensure(why.contains("the disk of b has room for"), || format!("it says only: {why}"))?;
    cluster.wait_in_sync()?;
    ensure(cluster.data_bytes(0)? == before, || "its size has changed".to_owned())?;
    cluster.assert_same_data()?;
    cluster.stop()?;
    cluster.finish()
}

/// Before the resize, and at random moments of it, on either node.
#[test]
fn a_daemon_killed_in_a_resize_has_the_old_size_or_the_new_one() -> Result<()> {
    let mut cluster = Cluster::in_sync("resize-kills", Spec::with_bytes(BYTES))?;
    let audit = Arc::new(Audit::new(cluster.data_bytes(0)?)?);
    let mut random = Random::announced("resize-kills");
    for round in 0..4_u64 {
        let before = cluster.data_bytes(0)?;
        let victim = if round % 2 == 0 { Side::B } else { Side::A };
        let seed = random.number();
        let load = Load::start(cluster.node(Side::A), &audit, LoadSpec::default(), seed)?;
        std::thread::sleep(Duration::from_millis(200));
        for side in [Side::A, Side::B] {
            enlarge(&cluster, side, BYTES + (round + 1) * MORE)?;
        }
        let mut command = cluster.node(Side::A).adm_command(&["resize", "r0/0"]);
        let mut resize = command.spawn()?;
        // In the first two rounds mostly before it begins.
        let pause = if round < 2 { 1 } else { random.below(60) };
        std::thread::sleep(Duration::from_millis(pause));
        cluster.node_mut(victim).kill()?;
        resize.wait()?;
        if victim == Side::A {
            load.join()?;
            cluster.node_mut(victim).start()?;
            let a = cluster.node(victim);
            a.wait("connected", Duration::from_secs(20), |it| it.connection() == "Connected")?;
            a.adm_ok(&["primary", "r0"])?;
        } else {
            cluster.node_mut(victim).start()?;
            std::thread::sleep(Duration::from_millis(200));
            load.stop()?;
        }
        cluster.wait_in_sync()?;
        if cluster.data_bytes(0)? == before {
            cluster.node(Side::A).adm_ok(&["resize", "r0/0"])?;
        }
        let after = cluster.data_bytes(0)?;
        ensure(after > before, || format!("{before} bytes, then {after}"))?;
        write_at_end(&cluster, after)?;
        judge(&cluster, &audit)?;
    }
    cluster.stop()?;
    cluster.finish()
}

/// The file behind a node's volume gets longer.
fn enlarge(cluster: &Cluster, side: Side, bytes: u64) -> Result<()> {
    let path: &Path = cluster.node(side).disk(0);
    std::fs::File::options().write(true).open(path)?.set_len(bytes)?;
    Ok(())
}

/// A new client uses what has been added.
fn write_at_end(cluster: &Cluster, bytes: u64) -> Result<()> {
    let mut client = cluster.node(Side::A).client(0)?;
    let told = client.size_bytes();
    ensure(told == bytes, || format!("a client sees {told} bytes of {bytes}"))?;
    client.write(bytes - 8192, &[0x5a; 8192])?;
    let read = client.read(bytes - 8192, 8192)?;
    ensure(read == [0x5a; 8192], || "it reads something else".to_owned())
}

/// Nothing acknowledged is missing, and both nodes have the same.
fn judge(cluster: &Cluster, audit: &Audit) -> Result<()> {
    cluster.wait_in_sync()?;
    let mut client = cluster.node(Side::A).client(0)?;
    let image = client.read_all()?;
    let known = usize::try_from(audit.bytes())?;
    let acked = audit.judge(&image[..known], Must::Acked)?.acked;
    ensure(acked > 50, || format!("only {acked} writes: nothing was in use"))?;
    drop(client);
    cluster.wait_in_sync()?;
    cluster.assert_same_data()
}
