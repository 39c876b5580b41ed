//! Disks that fail, are full, are slow or hang, on either node, under load.
//!
//! 1. One node's disk is a file behind `nbdkit`, which fails, or is stopped, when it is told to.
//!    Writers work on the primary; every write is on record.
//! 2. The disk fails. No writer sees an error: the other node has the data. The disk is given up
//!    and said to be Diskless.
//! 3. The disk is mended and attached again, while the writers go on; the nodes come to be in sync.
//! 4. No acknowledged write is missing, and both disks are the same.
//!
//! A disk that hangs is the peer's trouble for `timeout` x `ko-count`: then the primary goes on
//! without that node. At any time `status` answers on both nodes within a second.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use tandem_tests::{
    Audit, Cluster, Fault, FaultyDisk, Load, LoadSpec, Must, Random, Result, Side, Spec, ensure,
    image, run,
};

const BYTES: u64 = 32 << 20;
const LIMIT: Duration = Duration::from_secs(30);

#[test]
fn eio_on_the_primary() -> Result<()> {
    fails("eio-primary", Side::A, Fault::Eio)
}

#[test]
fn eio_on_the_secondary() -> Result<()> {
    fails("eio-secondary", Side::B, Fault::Eio)
}

#[test]
fn enospc_on_the_primary() -> Result<()> {
    fails("enospc-primary", Side::A, Fault::Enospc)
}

#[test]
fn enospc_on_the_secondary() -> Result<()> {
    fails("enospc-secondary", Side::B, Fault::Enospc)
}

fn fails(test: &str, side: Side, fault: Fault) -> Result<()> {
    let mut story = Story::begin(test, side, fault)?;
    let load = story.load()?;
    story.disk.fail()?;
    let node = story.cluster.node(side);
    node.wait("Diskless", LIMIT, |it| it.disk(0) == "Diskless")?;
    std::thread::sleep(Duration::from_millis(500));
    ensure(load.is_going(), || "a writer stopped over the failed disk".to_owned())?;
    story.disk.mend()?;
    node.adm_ok(&["attach", "r0/0"])?;
    node.wait("attached", LIMIT, |it| it.disk(0) != "Diskless")?;
    load.stop()?;
    story.end()
}

/// With `on-io-error pass_on` the disk stays, and what it could not read is written to it again,
/// beside writers whose writes are the later ones.
#[test]
fn a_disk_that_cannot_read_stays_with_pass_on() -> Result<()> {
    let options = "on-io-error pass_on;";
    let mut story = Story::begin_with("pass-on-reads", Side::A, Fault::Unreadable, options)?;
    let load = story.load()?;
    story.disk.fail()?;
    let node = story.cluster.node(Side::A);
    for _ in 0..5 {
        node.client(0)?.read_all()?;
    }
    ensure(load.is_going(), || "a writer stopped over the failed disk".to_owned())?;
    story.disk.mend()?;
    load.stop()?;
    ensure(node.status()?.disk(0) == "UpToDate", || "the disk has not stayed".to_owned())?;
    let again = node.log()?.matches("written again from the peer").count();
    ensure(again > 10, || format!("only {again} ranges were written again"))?;
    story.end()
}

/// The same without a peer: who reads gets the error, and the disk serves again when it is well.
#[test]
fn a_lone_disk_stays_with_pass_on() -> Result<()> {
    let options = "on-io-error pass_on;";
    let mut story = Story::begin_with("pass-on-alone", Side::A, Fault::Unreadable, options)?;
    story.load()?.stop()?;
    story.cluster.node(Side::A).adm_ok(&["disconnect", "--force", "r0"])?;
    story.disk.fail()?;
    let node = story.cluster.node(Side::A);
    let mut client = node.client(0)?;
    ensure(client.read(0, 4096).is_err(), || "made-up data".to_owned())?;
    ensure(node.status()?.disk(0) == "UpToDate", || "the disk has not stayed".to_owned())?;
    story.disk.mend()?;
    client.read(0, 4096)?;
    drop(client);
    node.adm_ok(&["connect", "r0"])?;
    story.end()
}

/// It takes longer, and that is all.
#[test]
fn a_slow_disk_is_waited_for() -> Result<()> {
    for (test, side) in [("slow-primary", Side::A), ("slow-secondary", Side::B)] {
        let mut story = Story::begin(test, side, Fault::Slow)?;
        let load = story.load()?;
        std::thread::sleep(Duration::from_secs(2));
        load.stop()?;
        story.end()?;
    }
    Ok(())
}

/// The primary goes on without a node whose disk answers nothing, and has it back afterwards.
#[test]
fn a_hung_disk_of_the_secondary_is_done_without() -> Result<()> {
    let mut story = Story::begin("hung-secondary", Side::B, Fault::Eio)?;
    let load = story.load()?;
    story.disk.hang()?;
    let a = story.cluster.node(Side::A);
    a.wait("alone", LIMIT, |it| it.connection() != "Connected")?;
    let before = story.audit.acked_count();
    std::thread::sleep(Duration::from_secs(1));
    ensure(story.audit.acked_count() > before, || "no write was answered without it".to_owned())?;
    story.disk.go_on()?;
    load.stop()?;
    story.end()
}

/// Its primary waits, and answers everything when the disk goes on.
#[test]
fn a_hung_disk_of_the_primary_is_waited_for() -> Result<()> {
    let mut story = Story::begin("hung-primary", Side::A, Fault::Eio)?;
    let load = story.load()?;
    story.disk.hang()?;
    std::thread::sleep(Duration::from_secs(3));
    story.disk.go_on()?;
    ensure(load.is_going(), || "a writer stopped over the hung disk".to_owned())?;
    load.stop()?;
    story.end()
}

/// With `disk-timeout` it is given up: writers wait no longer than that, and the disk is attached
/// again once it has ended what it was told.
#[test]
fn a_hung_disk_of_the_primary_is_given_up_in_its_time() -> Result<()> {
    let mut story = Story::begin_with("timeout-primary", Side::A, Fault::Eio, "disk-timeout 20;")?;
    let load = story.load()?;
    story.disk.hang()?;
    let a = story.cluster.node(Side::A);
    a.wait("given up", Duration::from_secs(5), |it| it.disk(0) == "Failed")?;
    let before = story.audit.acked_count();
    std::thread::sleep(Duration::from_secs(1));
    ensure(story.audit.acked_count() > before, || "no write was answered without it".to_owned())?;
    ensure(a.adm(&["attach", "r0/0"])?.ok().is_err(), || "attached while it hangs".to_owned())?;
    story.disk.go_on()?;
    a.wait("closed", LIMIT, |it| it.disk(0) == "Diskless")?;
    a.adm_ok(&["attach", "r0/0"])?;
    load.stop()?;
    story.end()
}

/// Nobody has said how long to wait: the operator does not.
#[test]
fn a_hung_disk_is_detached_by_force() -> Result<()> {
    let mut story = Story::begin("force-primary", Side::A, Fault::Eio)?;
    let load = story.load()?;
    story.disk.hang()?;
    let a = story.cluster.node(Side::A);
    let asked = Instant::now();
    a.adm_ok(&["detach", "--force", "r0/0"])?;
    ensure(asked.elapsed() < Duration::from_secs(3), || "the detach waited".to_owned())?;
    let before = story.audit.acked_count();
    std::thread::sleep(Duration::from_secs(1));
    ensure(story.audit.acked_count() > before, || "no write was answered without it".to_owned())?;
    story.disk.go_on()?;
    load.stop()?;
    // Refused until everything has ended that it was told.
    let refused = Instant::now() + LIMIT;
    while a.adm(&["attach", "r0/0"])?.ok().is_err() && Instant::now() < refused {
        std::thread::sleep(Duration::from_millis(50));
    }
    story.end()
}

struct Story {
    cluster: Cluster,
    disk: FaultyDisk,
    audit: Arc<Audit>,
    random: Random,
    watches: Vec<Watch>,
}

impl Story {
    /// A pair in sync; the disk of `side` can fail.
    fn begin(test: &str, side: Side, fault: Fault) -> Result<Self> {
        Self::begin_with(test, side, fault, "")
    }

    /// The same with options of the disk section.
    fn begin_with(test: &str, side: Side, fault: Fault, options: &str) -> Result<Self> {
        let random = Random::announced(test);
        let folder = Cluster::folder_for(test)?;
        let mut disks = ["a", "b"].map(|name| folder.path().join(format!("{name}0.img")));
        for disk in &disks {
            image::allocate(disk, BYTES)?;
        }
        let disk = FaultyDisk::new(&disks[side as usize], fault)?;
        disks[side as usize] = disk.front().to_owned();
        let (net, options) = ("ko-count 2;".to_owned(), options.to_owned());
        let spec = Spec { net, disk: options, ..Spec::with_bytes(BYTES) };
        let mut cluster = Cluster::with_disks(spec, folder, &disks.map(|disk| vec![disk]))?;
        cluster.bring_up()?;
        let audit = Arc::new(Audit::new(cluster.data_bytes(0)?)?);
        let watches = [Side::A, Side::B].map(|side| Watch::start(&cluster, side)).into();
        Ok(Self { cluster, disk, audit, random, watches })
    }

    /// Writers at work for a moment. No holes: nbdfuse makes a TRIM of them.
    fn load(&mut self) -> Result<Load> {
        let spec = LoadSpec { holes: false, ..LoadSpec::default() };
        let load =
            Load::start(self.cluster.node(Side::A), &self.audit, spec, self.random.number())?;
        std::thread::sleep(Duration::from_millis(500));
        Ok(load)
    }

    fn end(mut self) -> Result<()> {
        self.cluster.wait_in_sync()?;
        for watch in self.watches {
            watch.end()?;
        }
        let mut client = self.cluster.node(Side::A).client(0)?;
        let acked = self.audit.judge(&client.read_all()?, Must::Acked)?.acked;
        ensure(acked > 100, || format!("only {acked} writes: the fault had nothing to hit"))?;
        drop(client);
        self.cluster.assert_same_data()?;
        self.cluster.stop()?;
        drop(self.disk);
        self.cluster.finish()
    }
}

/// Asks a node for its status, again and again.
struct Watch {
    over: Arc<AtomicBool>,
    thread: JoinHandle<Result<Duration>>,
}

impl Watch {
    fn start(cluster: &Cluster, side: Side) -> Self {
        let over = Arc::new(AtomicBool::new(false));
        let (seen, mut command) = (Arc::clone(&over), cluster.node(side).adm_command(&["status"]));
        let thread = std::thread::spawn(move || {
            let mut longest = Duration::ZERO;
            while !seen.load(Ordering::SeqCst) {
                let asked = Instant::now();
                run(&mut command, LIMIT)?.ok()?;
                longest = longest.max(asked.elapsed());
                std::thread::sleep(Duration::from_millis(50));
            }
            Ok(longest)
        });
        Self { over, thread }
    }

    /// Every answer came within a second.
    fn end(self) -> Result<()> {
        self.over.store(true, Ordering::SeqCst);
        let longest = self.thread.join().expect("the watch does not panic")?;
        ensure(longest < Duration::from_secs(1), || format!("status took {longest:?}"))
    }
}
