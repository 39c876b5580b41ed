//! What it takes to bring a copy up to date that was away: tandem's resync beside rsync, and a few
//! blocks of a volume that is huge.

use std::fs::File;
use std::path::Path;
use std::time::{Duration, Instant};

use tandem_tests::tool::run_tool;
use tandem_tests::{Cluster, Context, Failure, Random, Result, Side, Spec, ensure};

use crate::candidates::{export, pair, spec};
use crate::results::Results;
use crate::workload::Workload;

const BYTES: u64 = 1 << 30;
const BLOCK: u64 = 4096;

/// A twentieth of the blocks.
const DIRTY: u64 = BYTES / BLOCK / 20;

const HUGE_BYTES: u64 = 1 << 40;
const FEW: u64 = 1000;

const LIMIT: Duration = Duration::from_secs(60);

/// rsync reads and sums up all of both images, and one in blocks that start at every byte.
const RSYNC_LIMIT: Duration = Duration::from_secs(300);

/// Measures both, once: what crosses the link is the same every time, but for chance.
///
/// # Errors
/// A copy does not come up to date.
pub fn measure(disks: &Path, results: &mut Results) -> Result<()> {
    let folder = tempfile::Builder::new().prefix("tandem-bench-").tempdir_in(disks)?;
    beside_rsync(folder.path(), results).about("5 % of 1 GiB")?;
    of_a_huge_volume(folder.path(), results).about("1000 blocks of 1 TiB")
}

fn beside_rsync(parent: &Path, results: &mut Results) -> Result<()> {
    eprintln!("copies: 5 % of 1 GiB, by tandem and by rsync");
    let through_proxy = Spec { is_direct: false, ..spec(BYTES, 'C') };
    let mut cluster = pair(parent, "copies", through_proxy)?;
    cluster.bring_up()?;
    Workload::fill(&[export(&cluster, 0)], BYTES)?;
    cluster.wait_in_sync()?;
    cluster.node(Side::A).adm_ok(&["disconnect", "r0"])?;
    let old = parent.join("old.img");
    std::fs::copy(cluster.node(Side::B).disk(0), &old).about(old.display())?;
    dirty(&cluster, DIRTY)?;
    let (seconds, bytes) = by_rsync(cluster.node(Side::A).disk(0), &old)?;
    let name = "5 % of 1 GiB differ: rsync --inplace";
    results.note(name, "s", seconds);
    results.note(name, "MB over the link", bytes / 1e6);
    let resync = resync(&cluster)?;
    let name = "5 % of 1 GiB differ: tandem";
    results.note(name, "s", resync.seconds);
    results.note(name, "MB over the link", resync.link_bytes / 1e6);
    results.note(name, "MB of blocks, by its own count", resync.counted_bytes / 1e6);
    cluster.stop()
}

fn of_a_huge_volume(parent: &Path, results: &mut Results) -> Result<()> {
    eprintln!("copies: {FEW} blocks of 1 TiB");
    let folder = Cluster::folder_in(parent, "huge")?;
    let disks = ["a", "b"].map(|name| vec![folder.path().join(name)]);
    for disk in disks.iter().flatten() {
        File::create(disk).and_then(|file| file.set_len(HUGE_BYTES)).about(disk.display())?;
    }
    let mut cluster = Cluster::with_disks(Spec::with_bytes(HUGE_BYTES), folder, &disks)?;
    cluster.be_quiet();
    up_without_a_copy(&mut cluster)?;
    cluster.node(Side::A).adm_ok(&["disconnect", "r0"])?;
    dirty(&cluster, FEW)?;
    let resync = resync(&cluster)?;
    let name = format!("{FEW} blocks of 1 TiB differ: tandem");
    results.note(&name, "s", resync.seconds);
    let factor = resync.link_bytes / (FEW * BLOCK) as f64;
    results.note(&name, "bytes over the link for each that differs", factor);
    cluster.stop()
}

/// Both disks are empty, and so the same: nothing is copied at first.
fn up_without_a_copy(cluster: &mut Cluster) -> Result<()> {
    for side in [Side::A, Side::B] {
        cluster.node(side).adm_ok(&["create-md", "r0"])?;
        cluster.node_mut(side).start()?;
    }
    let a = cluster.node(Side::A);
    a.wait("connected", LIMIT, |it| it.connection() == "Connected")?;
    a.adm_ok(&["new-current-uuid", "--clear-bitmap", "r0/0"])?;
    cluster.wait_in_sync()?;
    cluster.node(Side::A).adm_ok(&["primary", "r0"]).map(drop)
}

/// Writes so many blocks, each another one, at random.
fn dirty(cluster: &Cluster, blocks: u64) -> Result<()> {
    let mut random = Random::new(blocks);
    let mut client = cluster.node(Side::A).client(0)?;
    // One in each of as many equal parts: none is met twice.
    let part = client.size_bytes() / BLOCK / blocks;
    for index in 0..blocks {
        let block = index * part + random.below(part);
        client.write(block * BLOCK, &random.bytes(4096))?;
    }
    client.flush().about("a flush")
}

struct Resync {
    seconds: f64,
    /// All that crossed the link, both ways.
    link_bytes: f64,
    /// What the target says that it has received.
    counted_bytes: f64,
}

/// Connects both nodes, until they are in sync.
fn resync(cluster: &Cluster) -> Result<Resync> {
    let b = cluster.node(Side::B);
    let received = || Ok::<_, Failure>(b.status()?.received_kib(0) * 1024);
    let (before, link_before) = (received()?, cluster.link().bytes_both());
    let begun = Instant::now();
    cluster.node(Side::A).adm_ok(&["connect", "r0"])?;
    cluster.wait_in_sync()?;
    let seconds = begun.elapsed().as_secs_f64();
    let counted = received()?.saturating_sub(before);
    ensure(counted > 0, || "the nodes are in sync, and nothing was copied".to_owned())?;
    let link_bytes = (cluster.link().bytes_both() - link_before) as f64;
    Ok(Resync { seconds, link_bytes, counted_bytes: counted as f64 })
}

/// Has rsync bring `old` up to date; how long that takes, and what it sends and receives.
fn by_rsync(new: &Path, old: &Path) -> Result<(f64, f64)> {
    let [new, old] = [new, old].map(|path| path.display().to_string());
    // Without `--ignore-times`, files of one length and age are the same to it; without
    // `--no-whole-file`, it copies everything where no network is between.
    let arguments =
        ["--inplace", "--no-whole-file", "--ignore-times", "--stats", new.as_str(), old.as_str()];
    let begun = Instant::now();
    let text = run_tool("rsync", &arguments, RSYNC_LIMIT)?.ok()?;
    let seconds = begun.elapsed().as_secs_f64();
    let sent = statistic(&text, "Total bytes sent:")?;
    Ok((seconds, sent + statistic(&text, "Total bytes received:")?))
}

/// A number of `--stats`, in which thousands are set apart.
fn statistic(text: &str, name: &str) -> Result<f64> {
    let line = text.lines().find_map(|line| line.strip_prefix(name));
    let digits = line.map(|rest| rest.trim().replace(',', ""));
    let number = digits.and_then(|digits| digits.parse().ok());
    number.ok_or_else(|| Failure::new(format!("rsync's --stats have no '{name}': {text}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rsync_sends_what_differs() {
        let folder = tempfile::tempdir().expect("a folder");
        let [new, old] = ["new", "old"].map(|name| folder.path().join(name));
        let mut bytes = Random::new(1).bytes(1 << 20);
        std::fs::write(&old, &bytes).expect("there is room");
        bytes[700_000] ^= 1;
        std::fs::write(&new, &bytes).expect("there is room");
        let (_, sent) = by_rsync(&new, &old).expect("rsync is installed");
        assert!(sent > 1000.0 && sent < 100_000.0, "{sent}");
        assert_eq!(std::fs::read(&old).expect("it is there"), bytes);
    }
}
