//! The activity log bounds what a crashed Primary has copied.
//!
//! 1. A volume of 4 GiB with the smallest log, 67 extents of 4 MiB, is in sync; its link passes
//!    a proxy that counts. A writer works on random blocks of all of it, so that extents come and
//!    go all the time.
//! 2. The primary's daemon is killed, or its machine loses power: its disk forgets what was not
//!    flushed.
//! 3. It comes back, and the survivor is the source. Less than a tenth of the volume crosses the
//!    link.
//! 4. Both disks are the same, and no acknowledged write is missing.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use tandem_tests::nbd::Command;
use tandem_tests::{Cluster, NbdClient, Random, Result, Side, Spec, VolatileDisk, ensure, image};

const BYTES: u64 = 4 << 30;
const EXTENT_BYTES: u64 = 4 << 20;
const BLOCK_BYTES: u64 = 4096;

fn spec() -> Spec {
    Spec { disk: "al-extents 67;".to_owned(), ..Spec::with_bytes(BYTES) }
}

#[test]
fn a_kill_copies_what_the_log_covers() -> Result<()> {
    let mut cluster = Cluster::in_sync("al-kill", spec())?;
    let mut writer = Writer::new(&cluster, "al-kill")?;
    writer.write_for(Duration::from_secs(3))?;
    cluster.node_mut(Side::A).kill()?;
    writer.end();
    judge(&mut cluster, &writer)?;
    cluster.finish()
}

#[test]
fn a_power_loss_copies_what_the_log_covers() -> Result<()> {
    let folder = Cluster::folder_for("al-power")?;
    let [a, b] = ["a", "b"].map(|name| folder.path().join(format!("{name}0.img")));
    image::allocate(&a, BYTES)?;
    let mut disk = VolatileDisk::new(&a);
    disk.power_on()?;
    let disks = [vec![disk.front().to_owned()], vec![b]];
    let mut cluster = Cluster::with_disks(spec(), folder, &disks)?;
    cluster.node_mut(Side::A).reboot(1)?;
    cluster.bring_up()?;
    let mut writer = Writer::new(&cluster, "al-power")?;
    writer.write_for(Duration::from_secs(3))?;
    cluster.node_mut(Side::A).kill()?;
    disk.power_off()?;
    writer.end();
    disk.power_on()?;
    cluster.node_mut(Side::A).reboot(2)?;
    judge(&mut cluster, &writer)?;
    cluster.stop()?;
    drop(disk);
    cluster.finish()
}

/// Starts the crashed primary: it becomes the same as the survivor, and little is copied for that.
fn judge(cluster: &mut Cluster, writer: &Writer) -> Result<()> {
    let before = cluster.link().bytes_both();
    cluster.node_mut(Side::A).start()?;
    cluster.wait_in_sync()?;
    let crossed = cluster.link().bytes_both() - before;
    let extents = writer.extents();
    eprintln!(
        "activity log: {} MiB of {} MiB crossed after writes to {extents} extents",
        crossed >> 20,
        BYTES >> 20
    );
    ensure(extents > 200, || format!("only {extents} extents: none had to be evicted"))?;
    ensure(crossed > 0 && crossed < BYTES / 10, || format!("{crossed} bytes crossed"))?;
    cluster.assert_same_data()?;
    cluster.node(Side::A).adm_ok(&["primary", "r0"])?;
    writer.check(&mut cluster.node(Side::A).client(0)?)
}

/// Writes single blocks, each with a number of its own, and remembers what was acknowledged.
struct Writer {
    client: NbdClient,
    random: Random,
    /// By block: numbers that it may show; one that was acknowledged comes alone.
    blocks: BTreeMap<u64, Vec<u64>>,
    in_flight: BTreeMap<u64, u64>,
    count: u64,
}

impl Writer {
    fn new(cluster: &Cluster, test: &str) -> Result<Self> {
        Ok(Self {
            client: cluster.node(Side::A).client(0)?,
            random: Random::announced(test),
            blocks: BTreeMap::new(),
            in_flight: BTreeMap::new(),
            count: 0,
        })
    }

    /// Eight in flight, to different blocks.
    fn write_for(&mut self, time: Duration) -> Result<()> {
        let until = Instant::now() + time;
        let blocks = self.client.size_bytes() / BLOCK_BYTES;
        while Instant::now() < until {
            let block = self.random.below(blocks);
            if self.in_flight.values().any(|other| *other == block) {
                continue;
            }
            self.count += 1;
            let data = self.count.to_le_bytes().repeat(512);
            let offset = block * BLOCK_BYTES;
            let cookie = self.client.send(Command::Write, 0, offset, 4096, &data)?;
            self.in_flight.insert(cookie, block);
            self.blocks.entry(block).or_default().push(self.count);
            if self.in_flight.len() >= 8 {
                let reply = self.client.receive()?;
                ensure(reply.error == 0, || "a write failed".to_owned())?;
                self.acknowledged(reply.cookie);
            }
        }
        Ok(())
    }

    /// The server is gone: takes what it had still answered.
    fn end(&mut self) {
        while let Ok(reply) = self.client.receive() {
            if reply.error == 0 {
                self.acknowledged(reply.cookie);
            }
        }
    }

    fn acknowledged(&mut self, cookie: u64) {
        let block = self.in_flight.remove(&cookie).expect("a reply is to a request");
        let numbers = self.blocks.get_mut(&block).expect("written");
        numbers.drain(..numbers.len() - 1);
    }

    fn extents(&self) -> usize {
        let mut extents: Vec<u64> =
            self.blocks.keys().map(|block| block * BLOCK_BYTES / EXTENT_BYTES).collect();
        extents.dedup();
        extents.len()
    }

    fn check(&self, client: &mut NbdClient) -> Result<()> {
        let in_flight: Vec<u64> = self.in_flight.values().copied().collect();
        for (block, numbers) in &self.blocks {
            let data = client.read(block * BLOCK_BYTES, 4096)?;
            let shown = u64::from_le_bytes(data[..8].try_into().expect("8 bytes"));
            let old = in_flight.contains(block) && (numbers.len() > 1 || shown == 0);
            ensure(numbers.contains(&shown) || old, || {
                format!("block {block} shows write {shown}, not one of {numbers:?}")
            })?;
        }
        Ok(())
    }
}
