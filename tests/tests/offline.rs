//! Metadata that are changed while their daemon is down, and what the pair makes of it.
//!
//! Invalidated: `b` is stopped and its data are marked as wrong, in the metadata. Started again it
//! is Inconsistent, the whole volume is copied to it, and what `a` has written is there.
//!
//! Forgotten: `a` is stopped and forgets `b`, which comes back all the same. Everything is copied,
//! and always from the one that has what was written last.

use std::fs::OpenOptions;
use std::os::unix::fs::FileExt;
use std::time::Duration;

use tandem_tests::{Cluster, Random, Result, Side, Spec, ensure};

const LIMIT: Duration = Duration::from_secs(30);
const BYTES: u64 = 32 << 20;

#[test]
fn data_invalidated_offline_are_copied_as_a_whole() -> Result<()> {
    let mut cluster = Cluster::in_sync("offline-invalidate", Spec::with_bytes(BYTES))?;
    let data = Random::new(9).bytes(1 << 20);
    let mut client = cluster.node(Side::A).client(0)?;
    client.write(0, &data)?;
    cluster.node_mut(Side::B).stop()?;
    client.write(4 << 20, &data)?;
    // What no bitmap knows of: only a copy of everything puts it right.
    let disk = OpenOptions::new().write(true).open(cluster.node(Side::B).disk(0))?;
    disk.write_all_at(&[0xee; 4096], 16 << 20)?;
    cluster.node(Side::B).adm_ok(&["invalidate", "r0"])?;
    cluster.link().cut();
    cluster.node_mut(Side::B).start()?;
    let b = cluster.node(Side::B);
    b.wait("invalid before it has met its peer", LIMIT, |it| it.disk(0) == "Inconsistent")?;
    let before = cluster.link().bytes_both();
    cluster.link().heal();
    cluster.wait_in_sync()?;
    let crossed = cluster.link().bytes_both() - before;
    ensure(crossed > BYTES - (2 << 20), || format!("only {crossed} bytes were copied"))?;
    ensure(client.read(0, 1 << 20)? == data, || "the first write is gone".to_owned())?;
    ensure(client.read(4 << 20, 1 << 20)? == data, || "the second write is gone".to_owned())?;
    drop(client);
    cluster.assert_same_data()?;
    cluster.finish()
}

/// Both have the same: `a`, which cannot know, gives everything.
#[test]
fn a_peer_that_was_forgotten_is_copied_everything() -> Result<()> {
    let mut cluster = Cluster::in_sync("offline-forget", Spec::with_bytes(BYTES))?;
    let data = Random::new(10).bytes(1 << 20);
    cluster.node(Side::A).client(0)?.write(0, &data)?;
    let before = forget_on_a(&mut cluster, |_| Ok(()))?;
    ends_with(&cluster, Side::A, &data, before)?;
    cluster.finish()
}

/// `a` went on without `b`, and has the newer data.
#[test]
fn a_node_that_went_on_and_forgot_its_peer_is_source() -> Result<()> {
    let mut cluster = Cluster::in_sync("offline-forget-on", Spec::with_bytes(BYTES))?;
    let data = Random::new(11).bytes(1 << 20);
    cluster.node_mut(Side::B).stop()?;
    cluster.node(Side::A).client(0)?.write(0, &data)?;
    let before = forget_on_a(&mut cluster, |cluster| cluster.node_mut(Side::B).start())?;
    ends_with(&cluster, Side::A, &data, before)?;
    cluster.finish()
}

/// `b` went on without `a`, from data that `a` still has: `a` takes them.
#[test]
fn a_node_that_forgot_a_peer_with_newer_data_is_target() -> Result<()> {
    let mut cluster = Cluster::in_sync("offline-forget-off", Spec::with_bytes(BYTES))?;
    let data = Random::new(12).bytes(1 << 20);
    let before = forget_on_a(&mut cluster, |cluster| {
        let b = cluster.node(Side::B);
        b.adm_ok(&["primary", "r0"])?;
        b.client(0)?.write(0, &data)?;
        Ok(())
    })?;
    ends_with(&cluster, Side::B, &data, before)?;
    cluster.finish()
}

/// Both went on: nobody is taken for older because it forgot the other.
#[test]
fn a_split_brain_is_one_for_who_forgot_its_peer() -> Result<()> {
    let mut cluster = Cluster::in_sync("offline-forget-both", Spec::with_bytes(BYTES))?;
    let [mine, theirs] = [vec![0xaa; 4096], vec![0xbb; 4096]];
    cluster.node_mut(Side::B).stop()?;
    cluster.node(Side::A).client(0)?.write(0, &mine)?;
    forget_on_a(&mut cluster, |cluster| {
        cluster.node_mut(Side::B).start()?;
        let b = cluster.node(Side::B);
        b.adm_ok(&["primary", "--force", "r0"])?;
        b.client(0)?.write(0, &theirs)?;
        b.adm_ok(&["secondary", "r0"])?;
        Ok(())
    })?;
    let a = cluster.node(Side::A);
    a.wait("a split brain", LIMIT, |it| it.sync_state() == "SplitBrain")?;
    for (side, data) in [(Side::A, mine), (Side::B, theirs)] {
        let mut first = vec![0; 4096];
        std::fs::File::open(cluster.node(side).disk(0))?.read_exact_at(&mut first, 0)?;
        ensure(first == data, || format!("what {side:?} has written is gone"))?;
    }
    cluster.finish()
}

/// Stops `a`, does what is to be done meanwhile, and has it forget `b` and start; how many bytes
/// had crossed before.
fn forget_on_a(
    cluster: &mut Cluster,
    meanwhile: impl FnOnce(&mut Cluster) -> Result<()>,
) -> Result<u64> {
    cluster.node_mut(Side::A).stop()?;
    meanwhile(cluster)?;
    cluster.node(Side::A).adm_ok(&["forget-peer", "r0:b"])?;
    let before = cluster.link().bytes_both();
    cluster.node_mut(Side::A).start()?;
    Ok(before)
}

/// Everything was copied, from this node, and it has these data in front.
fn ends_with(cluster: &Cluster, source: Side, data: &[u8], before: u64) -> Result<()> {
    cluster.wait_in_sync()?;
    let crossed = cluster.link().bytes_both() - before;
    ensure(crossed > BYTES - (2 << 20), || format!("only {crossed} bytes were copied"))?;
    let received = cluster.node(source.peer()).status()?.received_kib(0);
    ensure(received * 1024 > BYTES - (2 << 20), || format!("only {received} KiB came in"))?;
    cluster.assert_same_data()?;
    let mut front = vec![0; data.len()];
    std::fs::File::open(cluster.node(source).disk(0))?.read_exact_at(&mut front, 0)?;
    ensure(front == data, || "what was written last is gone".to_owned())
}
