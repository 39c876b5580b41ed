//! What is measured from its beginning to its end: resyncs, a fail-over, the start on a large disk.

use std::fs::File;
use std::path::Path;
use std::time::{Duration, Instant};

use tandem_tests::{Cluster, Context, Process, Result, Side, Spec, Status, fail, image};

use crate::qemu::{self, Copies};
use crate::results::Operation;
use crate::usage::Usage;
use crate::workload::Workload;

const GIB: u64 = 1 << 30;
const TIB: u64 = 1 << 40;

/// How long anything may take.
const LIMIT: Duration = Duration::from_secs(60);

/// Measures all of them, round by round.
///
/// # Errors
/// One of them does not come to its end.
pub fn measure(disks: &Path, rounds: usize) -> Result<Vec<Operation>> {
    let mut found = Vec::new();
    for round in 1..=rounds {
        eprintln!("operations: round {round} of {rounds}");
        let folder = tempfile::Builder::new().prefix("tandem-bench-").tempdir_in(disks)?;
        resyncs(folder.path(), &mut found).about("resync")?;
        qemu_copy(folder.path(), &mut found).about("qemu")?;
        failover(folder.path(), &mut found).about("fail-over")?;
        for tib in [1, 15] {
            start_up(folder.path(), tib, &mut found).about(format!("{tib} TiB"))?;
        }
    }
    Ok(found)
}

fn note(found: &mut Vec<Operation>, name: &str, unit: &str, value: f64) {
    match found.iter_mut().find(|it| it.name == name && it.unit == unit) {
        Some(operation) => operation.values.push(value),
        None => {
            let (name, unit) = (name.to_owned(), unit.to_owned());
            found.push(Operation { name, unit, values: vec![value] });
        }
    }
}

fn pair(parent: &Path, name: &str, bytes: u64) -> Result<Cluster> {
    let folder = Cluster::folder_in(parent, name)?;
    let disks = ["a", "b"].map(|name| vec![folder.path().join(name)]);
    let spec = Spec { volumes: vec![bytes + (8 << 20)], is_direct: true, ..Spec::default() };
    let mut cluster = Cluster::with_disks(spec, folder, &disks)?;
    cluster.be_quiet();
    cluster.bring_up()?;
    Ok(cluster)
}

fn pids(cluster: &mut Cluster) -> Result<[u32; 2]> {
    let a = cluster.node_mut(Side::A).daemon()?.pid();
    Ok([a, cluster.node_mut(Side::B).daemon()?.pid()])
}

/// All of a volume, then what was written to a twentieth of it while the nodes were apart.
fn resyncs(parent: &Path, found: &mut Vec<Operation>) -> Result<()> {
    const BYTES: u64 = GIB;
    let mut cluster = pair(parent, "resync", BYTES)?;
    let pids = pids(&mut cluster)?;
    let a = cluster.node(Side::A);
    Workload::fill(&a.uri(0), BYTES)?;
    let (before, begun) = (Usage::of(&pids)?, Instant::now());
    a.adm_ok(&["invalidate-remote", "r0:b/0"])?;
    cluster.wait_in_sync()?;
    let (seconds, after) = (begun.elapsed().as_secs_f64(), Usage::of(&pids)?);
    let cpu = (after.cpu_ns - before.cpu_ns) as f64 / 1e9;
    note(found, "full resync, 1 GiB: tandem", "MB/s", BYTES as f64 / 1e6 / seconds);
    note(found, "full resync, 1 GiB: tandem", "CPU s/GB", cpu / (BYTES as f64 / 1e9));
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
    note(found, "resync, every 20th block of 1 GiB: tandem", "s", seconds);
    cluster.stop()
}

/// The same copy by QEMU's mirror.
fn qemu_copy(parent: &Path, found: &mut Vec<Operation>) -> Result<()> {
    const BYTES: u64 = GIB;
    let folder = parent.join("qemu-copy");
    std::fs::create_dir_all(&folder)?;
    let [a, b] = ["a", "b"].map(|name| folder.join(name));
    for file in [&a, &b] {
        image::allocate(file, BYTES)?;
    }
    let peer_socket = folder.join("peer.sock").display().to_string();
    let mut peer = qemu::start("peer", &folder, &b, Copies::One)?;
    let mut main = qemu::start("main", &folder, &a, Copies::Beside(&peer_socket))?;
    Workload::fill(&main.uri, BYTES)?;
    main.copy_all()?; // so that all space of the other file has been written, too
    let pids = [&main, &peer].map(|daemon| daemon.process.pid());
    let (before, begun) = (Usage::of(&pids)?, Instant::now());
    main.copy_all()?;
    let (seconds, after) = (begun.elapsed().as_secs_f64(), Usage::of(&pids)?);
    let cpu = (after.cpu_ns - before.cpu_ns) as f64 / 1e9;
    note(found, "full copy, 1 GiB: qemu mirror", "MB/s", BYTES as f64 / 1e6 / seconds);
    note(found, "full copy, 1 GiB: qemu mirror", "CPU s/GB", cpu / (BYTES as f64 / 1e9));
    let end = |process: &mut Process| process.terminate(LIMIT).map(drop);
    end(&mut main.process).and_then(|()| end(&mut peer.process))
}

/// From the kill of the Primary to the first write that the other node has answered.
fn failover(parent: &Path, found: &mut Vec<Operation>) -> Result<()> {
    let mut cluster = pair(parent, "failover", 64 << 20)?;
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
    note(found, "fail-over, kill -9 to first write", "s", begun.elapsed().as_secs_f64());
    cluster.stop()
}

/// A volume of so many TiB, of which next to nothing is written: from the start of the daemon until
/// its disk is attached, and its memory then.
fn start_up(parent: &Path, tib: u64, found: &mut Vec<Operation>) -> Result<()> {
    let folder = Cluster::folder_in(parent, "large")?;
    let disks = ["a", "b"].map(|name| vec![folder.path().join(name)]);
    for disk in disks.iter().flatten() {
        File::create(disk).and_then(|file| file.set_len(tib * TIB)).about(disk.display())?;
    }
    let mut cluster = Cluster::with_disks(Spec::with_bytes(tib * TIB), folder, &disks)?;
    cluster.be_quiet();
    let a = cluster.node(Side::A);
    a.adm_ok(&["create-md", "r0"])?;
    cluster.node_mut(Side::A).start()?;
    cluster.node(Side::A).adm_ok(&["primary", "--force", "r0"])?;
    cluster.node_mut(Side::A).stop()?;
    let begun = Instant::now();
    cluster.node_mut(Side::A).start()?;
    let is_attached = |status: &Status| !["Diskless", "Attaching"].contains(&status.disk(0));
    cluster.node(Side::A).wait("attached", LIMIT, is_attached)?;
    let name = format!("start on {tib} TiB");
    note(found, &name, "s", begun.elapsed().as_secs_f64());
    let pid = cluster.node_mut(Side::A).daemon()?.pid();
    note(found, &name, "MiB", Usage::of(&[pid])?.rss_kib as f64 / 1024.0);
    cluster.stop()
}
