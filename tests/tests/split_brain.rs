//! Both sides are written while they cannot see each other.
//!
//! 1. The link is cut. `a` goes on as Primary; `b` is promoted; both are written to.
//! 2. The link heals. Both nodes report the split brain, stay apart, and change neither image.
//! 3. `connect` alone leads to the same again.
//! 4. `why` and `split-brain show` say what there is to decide. `split-brain resolve` on one side
//!    makes it a copy of the other one, and only what differs is copied. Then there is nothing left
//!    to resolve, and `why` has nothing to tell.

use std::time::Duration;

use tandem_tests::{Cluster, Result, Side, Spec, Status, image};

const LIMIT: Duration = Duration::from_secs(20);

#[test]
fn both_nodes_say_so_and_nothing_changes() -> Result<()> {
    for victim in [Side::B, Side::A] {
        let cluster = Cluster::in_sync("split-brain", Spec::default())?;
        split(&cluster)?;
        let bytes = cluster.data_bytes(0)?;
        let digests = digests(&cluster, bytes)?;
        cluster.link().heal();
        for side in [Side::A, Side::B] {
            cluster.node(side).wait("apart", LIMIT, is_split)?;
            cluster.node(side).check_status_schema()?;
        }
        assert_eq!(self::digests(&cluster, bytes)?, digests, "an image has changed");
        cluster.node(victim).adm_ok(&["connect", "r0"])?;
        cluster.node(victim.peer()).adm_ok(&["connect", "r0"])?;
        for side in [Side::A, Side::B] {
            cluster.node(side).wait("apart again", LIMIT, is_split)?;
        }
        assert_eq!(self::digests(&cluster, bytes)?, digests, "an image has changed");
        resolve(&cluster, victim, bytes)?;
        cluster.finish()?;
    }
    Ok(())
}

/// Each side writes what the other one does not know.
fn split(cluster: &Cluster) -> Result<()> {
    let [a, b] = [cluster.node(Side::A), cluster.node(Side::B)];
    a.client(0)?.write(0, &[1; 65_536])?;
    cluster.link().cut();
    for node in [a, b] {
        node.wait("cut off", LIMIT, |it| it.connection() != "Connected")?;
    }
    b.adm_ok(&["primary", "r0"])?;
    a.client(0)?.write(0, &[0xaa; 65_536])?;
    b.client(0)?.write(32_768, &[0xbb; 65_536])?;
    b.adm_ok(&["secondary", "r0"]).and_then(|_| a.adm_ok(&["secondary", "r0"])).map(drop)
}

fn is_split(status: &Status) -> bool {
    status.connection() == "StandAlone" && status.sync_state() == "SplitBrain"
}

fn digests(cluster: &Cluster, bytes: u64) -> Result<[u32; 2]> {
    let digest = |side| image::digest(cluster.node(side).disk(0), bytes);
    Ok([digest(Side::A)?, digest(Side::B)?])
}

fn resolve(cluster: &Cluster, victim: Side, bytes: u64) -> Result<()> {
    let survivor = cluster.node(victim.peer());
    let kept = image::digest(survivor.disk(0), bytes)?;
    let before = cluster.link().bytes_both();
    let loser = cluster.node(victim);
    let why = loser.adm_ok(&["why", "r0"])?;
    assert!(why.contains("split brain, both nodes wrote since they parted"), "{why}");
    let shown = loser.adm_ok(&["split-brain", "show", "r0"])?;
    assert!(shown.contains("blocks of 4 KiB (") && shown.contains("--discard-mine r0:"), "{shown}");
    loser.adm_ok(&["split-brain", "resolve", "--discard-mine", "r0"])?;
    cluster.wait_in_sync()?;
    let crossed = cluster.link().bytes_both() - before;
    assert!(crossed < 2 << 20, "{crossed} bytes crossed");
    assert_eq!(image::digest(survivor.disk(0), bytes)?, kept, "the wrong side was overwritten");
    cluster.assert_same_data()?;
    assert_eq!(survivor.status()?.sync_state(), "Normal");
    assert_eq!(loser.adm_ok(&["split-brain", "show", "r0"])?, "r0: no split brain\n");
    let again = loser.adm(&["split-brain", "resolve", "--discard-mine", "r0"])?;
    assert_eq!(again.code, 11, "{again:?}");
    let why = loser.adm_ok(&["why"])?;
    assert!(why.ends_with("connected, UpToDate and in sync.\n"), "{why}");
    Ok(())
}

/// Two primaries at once, each with a client: still neither is written over.
#[test]
fn two_primaries_stay_apart() -> Result<()> {
    let cluster = Cluster::in_sync("two-primaries", Spec::default())?;
    let [a, b] = [cluster.node(Side::A), cluster.node(Side::B)];
    cluster.link().cut();
    for node in [a, b] {
        node.wait("cut off", LIMIT, |it| it.connection() != "Connected")?;
    }
    b.adm_ok(&["primary", "r0"])?;
    let (mut one, mut other) = (a.client(0)?, b.client(0)?);
    one.write(0, &[1; 4096])?;
    other.write(0, &[2; 4096])?;
    cluster.link().heal();
    for node in [a, b] {
        node.wait("apart", LIMIT, is_split)?;
    }
    // Both go on serving what they have.
    one.write(4096, &[1; 4096])?;
    assert_eq!(one.read(0, 4096)?, [1; 4096]);
    assert_eq!(other.read(0, 4096)?, [2; 4096]);
    drop((one, other));
    cluster.finish()
}
