//! Metadata that are changed while their daemon is down, and what the pair makes of it.
//!
//! Invalidated: `b` is stopped and its data are marked as wrong, in the metadata. Started again it
//! is Inconsistent, the whole volume is copied to it, and what `a` has written is there.

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
