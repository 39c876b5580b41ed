//! What is measured from its beginning to its end: resyncs, a fail-over, the start on a large disk.

use std::path::Path;
use std::time::{Duration, Instant};

use tandem_tests::{Cluster, Context, Process, Result, Side, Status, fail, image};

use crate::candidates::{daemons, export, pair, spec};
use crate::fio::Target;
use crate::qemu::{self, Copies};
use crate::results::Results;
use crate::usage::Usage;
use crate::workload::Workload;

/// Of a volume that is copied: 1 GiB.
const BYTES: u64 = 1 << 30;
const TIB: u64 = 1 << 40;

/// How long anything may take.
const LIMIT: Duration = Duration::from_secs(60);

/// Measures all of them, round by round.
///
/// # Errors
/// One of them does not come to its end.
pub fn measure(disks: &Path, rounds: usize, results: &mut Results) -> Result<()> {
    for round in 1..=rounds {
        eprintln!("operations: round {round} of {rounds}");
        let folder = tempfile::Builder::new().prefix("tandem-bench-").tempdir_in(disks)?;
        resyncs(folder.path(), results).about("resync")?;
        qemu_copy(folder.path(), results).about("qemu")?;
        failover(folder.path(), results).about("fail-over")?;
        for tib in [1, 15] {
            start_up(folder.path(), tib, results).about(format!("{tib} TiB"))?;
        }
    }
    Ok(())
}

fn in_sync(parent: &Path, name: &str, bytes: u64) -> Result<Cluster> {
    let mut cluster = pair(parent, name, spec(bytes, 'C'))?;
    cluster.bring_up()?;
    Ok(cluster)
}

/// Notes how fast a copy of [`BYTES`] goes, and what it takes of the processors.
fn copy(
    results: &mut Results,
    name: &str,
    pids: &[u32],
    act: impl FnOnce() -> Result<()>,
) -> Result<()> {
    let (before, begun) = (Usage::of(pids)?, Instant::now());
    act()?;
    let (seconds, after) = (begun.elapsed().as_secs_f64(), Usage::of(pids)?);
    let cpu = (after.cpu_ns - before.cpu_ns) as f64 / 1e9;
    results.note(name, "MB/s", BYTES as f64 / 1e6 / seconds);
    results.note(name, "CPU s/GB", cpu / (BYTES as f64 / 1e9));
    Ok(())
}

/// All of a volume, then what was written to a twentieth of it while the nodes were apart.
fn resyncs(parent: &Path, results: &mut Results) -> Result<()> {
    let mut cluster = in_sync(parent, "resync", BYTES)?;
    let pids = daemons(&mut cluster)?;
    let a = cluster.node(Side::A);
    Workload::fill(&[export(&cluster, 0)], BYTES)?;
    copy(results, "full resync, 1 GiB: tandem", &pids, || {
        a.adm_ok(&["invalidate-remote", "r0:b/0"])?;
        cluster.wait_in_sync()
    })?;
    a.adm_ok(&["disconnect", "r0"])?;
    let mut client = a.client(0)?;
    for block in 0..BYTES / 4096 / 20 {
        client.write(block * 20 * 4096, &[7; 4096])?;
    }
    drop(client);
    let begun = Instant::now();
    a.adm_ok(&["connect", "r0"])?;
    cluster.wait_in_sync()?;
    let seconds = begun.elapsed().as_secs_f64();
    results.note("resync, every 20th block of 1 GiB: tandem", "s", seconds);
    cluster.stop()
}

/// The same copy by QEMU's mirror.
fn qemu_copy(parent: &Path, results: &mut Results) -> Result<()> {
    let folder = parent.join("qemu-copy");
    std::fs::create_dir_all(&folder)?;
    let [a, b] = ["a", "b"].map(|name| folder.join(name));
    for file in [&a, &b] {
        image::allocate(file, BYTES)?;
    }
    let peer_socket = folder.join("peer.sock").display().to_string();
    let mut peer = qemu::start("peer", &folder, &b, Copies::One)?;
    let mut main = qemu::start("main", &folder, &a, Copies::Beside(&peer_socket))?;
    Workload::fill(&[Target::Export(main.uri.clone())], BYTES)?;
    main.copy_all()?; // so that all space of the other file has been written, too
    let pids = [&main, &peer].map(|daemon| daemon.process.pid());
    copy(results, "full copy, 1 GiB: qemu mirror", &pids, || main.copy_all())?;
    let end = |process: &mut Process| process.terminate(LIMIT).map(drop);
    end(&mut main.process).and_then(|()| end(&mut peer.process))
}

/// From the kill of the Primary to the first write that the other node has answered.
fn failover(parent: &Path, results: &mut Results) -> Result<()> {
    let mut cluster = in_sync(parent, "failover", 64 << 20)?;
    let mut client = cluster.node(Side::A).client(0)?;
    client.write(0, &[1; 4096])?;
    let begun = Instant::now();
    cluster.node_mut(Side::A).kill()?;
    let b = cluster.node(Side::B);
    while b.adm(&["primary", "r0"])?.code != 0 {
        if begun.elapsed() > LIMIT {
            return fail("the other node is not promoted");
        }
    }
    b.client(0)?.write(0, &[2; 4096])?;
    results.note("fail-over, kill -9 to first write", "s", begun.elapsed().as_secs_f64());
    cluster.stop()
}

/// A volume of so many TiB, of which next to nothing is written: from the start of the daemon until
/// its disk is attached, and its memory then.
fn start_up(parent: &Path, tib: u64, results: &mut Results) -> Result<()> {
    let folder = Cluster::folder_in(parent, "large")?;
    let mut cluster = Cluster::alone_on_sparse(folder, tib * TIB)?;
    cluster.be_quiet();
    cluster.node_mut(Side::A).stop()?;
    let begun = Instant::now();
    cluster.node_mut(Side::A).start()?;
    let is_attached = |status: &Status| !["Diskless", "Attaching"].contains(&status.disk(0));
    cluster.node(Side::A).wait("attached", LIMIT, is_attached)?;
    let name = format!("start on {tib} TiB");
    results.note(&name, "s", begun.elapsed().as_secs_f64());
    let pids = daemons(&mut cluster)?;
    results.note(&name, "MiB", Usage::of(&pids)?.rss_kib as f64 / 1024.0);
    cluster.stop()
}
