//! The primary dies, the secondary takes over, and the data are there.
//!
//! 1. A client writes to `a`. `a` is killed.
//! 2. `b` sees it gone and is promoted, without force; it serves every acknowledged write.
//! 3. `b` is written to; `a` comes back, is the target of a resync of what differs, and only that.
//! 4. The roles go back in good order: `secondary` here, `primary` there.
//! 5. Promoting at once, before the death was noticed, works as well: `primary` waits for a
//!    Primary that is just vanishing.

use std::time::Duration;

use tandem_tests::{Cluster, Random, Result, Side, Spec};

const LIMIT: Duration = Duration::from_secs(20);

#[test]
fn the_secondary_takes_over() -> Result<()> {
    let mut cluster = Cluster::in_sync("failover", Spec::default())?;
    let data = Random::new(5).bytes(1 << 20);
    let mut client = cluster.node(Side::A).client(0)?;
    client.write(12_345, &data)?;
    cluster.node_mut(Side::A).kill()?;
    let b = cluster.node(Side::B);
    b.adm_ok(&["primary", "r0"])?;
    let mut client = b.client(0)?;
    assert!(client.read(12_345, 1 << 20)? == data);
    client.write(2 << 20, &data[..100_000])?;
    let before = cluster.link().bytes_both();
    cluster.node_mut(Side::A).start()?;
    cluster.wait_in_sync()?;
    let crossed = cluster.link().bytes_both() - before;
    eprintln!("failover: {crossed} bytes crossed");
    drop(client);
    let [a, b] = [cluster.node(Side::A), cluster.node(Side::B)];
    assert_eq!((a.status()?.role(), b.status()?.role()), ("Secondary", "Primary"));
    cluster.assert_same_data()?;
    b.adm_ok(&["secondary", "r0"])?;
    a.adm_ok(&["primary", "r0"])?;
    let mut client = a.client(0)?;
    assert!(client.read(12_345, 1 << 20)? == data);
    assert!(client.read(2 << 20, 100_000)? == data[..100_000]);
    drop(client);
    cluster.finish()
}

/// The network dies with the machine: no reset tells the survivor.
#[test]
fn a_primary_that_vanishes_silently_is_waited_out() -> Result<()> {
    let mut cluster = Cluster::in_sync("vanish", Spec::default())?;
    cluster.node(Side::A).client(0)?.write(0, &[6; 4096])?;
    cluster.link().stall_both();
    cluster.node_mut(Side::A).kill()?;
    let b = cluster.node(Side::B);
    b.adm_ok(&["primary", "r0"])?;
    assert_eq!(b.client(0)?.read(0, 4096)?, [6; 4096]);
    cluster.link().heal();
    cluster.node_mut(Side::A).start()?;
    cluster.wait_in_sync()?;
    cluster.assert_same_data()?;
    cluster.finish()
}

/// A killed primary that nobody replaced comes back, and is Primary again on command.
#[test]
fn a_killed_primary_comes_back() -> Result<()> {
    let mut cluster = Cluster::in_sync("comes-back", Spec::default())?;
    cluster.node(Side::A).client(0)?.write(0, &[8; 4096])?;
    cluster.node_mut(Side::A).kill()?;
    cluster.node_mut(Side::A).start()?;
    cluster.wait_in_sync()?;
    let a = cluster.node(Side::A);
    a.adm_ok(&["primary", "r0"])?;
    assert_eq!(a.client(0)?.read(0, 4096)?, [8; 4096]);
    // Inconsistent data are never served: a target whose source dies cannot be promoted.
    a.adm_ok(&["invalidate-remote", "r0"])?;
    let b = cluster.node(Side::B);
    b.wait("in sync again", LIMIT, tandem_tests::Status::is_in_sync)?;
    cluster.finish()
}

#[test]
fn a_target_without_its_source_is_not_promoted() -> Result<()> {
    let mut cluster = Cluster::in_sync("half", Spec::with_bytes(256 << 20))?;
    cluster.link().limit(8 << 20);
    let b = cluster.node(Side::B);
    b.adm_ok(&["invalidate", "r0"])?;
    b.wait("a target", LIMIT, |it| it.replication(0) == "SyncTarget")?;
    cluster.node_mut(Side::A).kill()?;
    let b = cluster.node(Side::B);
    b.wait("cut off", LIMIT, |it| it.connection() != "Connected")?;
    let refused = b.adm(&["primary", "r0"])?;
    assert_eq!(refused.code, 17, "{}", refused.describe());
    assert_eq!(b.status()?.disk(0), "Inconsistent");
    cluster.link().limit(0);
    cluster.node_mut(Side::A).start()?;
    cluster.wait_in_sync()?;
    cluster.assert_same_data()?;
    cluster.finish()
}
