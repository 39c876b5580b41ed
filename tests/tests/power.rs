//! Power losses: the disk forgets what was not flushed.
//!
//! 1. Each backing disk is a file behind a cache that is written back at a flush only (`nbdkit`,
//!    `nbdfuse`). Writers work on the primary; every write and every flush is on record.
//! 2. At a random moment a node loses power, or both do: daemon and cache are killed with -9, and
//!    the node's next boot id is another one.
//! 3. A lost primary is replaced by the survivor, or comes back and is brought up to date by it. In
//!    C, with one node lost, no acknowledged write is missing. With both lost, nothing is missing
//!    that was flushed.
//! 4. When the nodes are in sync again, both hold the same.
//!
//! That the disks have really lost something is seen in the files under the caches: the test fails
//! if no acknowledged write was lost there. `TANDEM_POWER_LOSSES` says how many times.

use std::sync::Arc;
use std::time::Duration;

use tandem_tests::{
    Audit, Cluster, Context, Load, LoadSpec, Must, Random, Result, Side, Spec, VolatileDisk,
    ensure, image,
};

const BYTES: u64 = 32 << 20;

#[test]
fn power_losses_in_protocol_c() -> Result<()> {
    losses('C', count(4))
}

#[test]
fn power_losses_in_protocol_b() -> Result<()> {
    losses('B', count(4).div_ceil(2))
}

#[test]
fn power_losses_in_protocol_a() -> Result<()> {
    losses('A', count(4).div_ceil(2))
}

fn count(default: usize) -> usize {
    let chosen = std::env::var("TANDEM_POWER_LOSSES").ok().and_then(|losses| losses.parse().ok());
    chosen.unwrap_or(default)
}

fn losses(protocol: char, count: usize) -> Result<()> {
    let test = format!("power-{protocol}");
    let mut story = Story::begin(&test, protocol)?;
    for round in 1..=count {
        let kind = if round <= 4 { round as u64 } else { 1 + story.random.below(4) };
        story.round(kind).map_err(|failure| {
            let text = format!("{test}, round {round} of {count}, kind {kind}: {failure}");
            tandem_tests::Failure::new(text)
        })?;
    }
    let Story { mut cluster, disks, acked, lost_sectors, .. } = story;
    eprintln!("{test}: {count} losses, {acked} acked writes, disks lost {lost_sectors} sectors");
    ensure(acked > 100, || format!("only {acked} writes: the faults had nothing to hit"))?;
    ensure(lost_sectors > 0, || "no disk has lost anything: no fault was shown".to_owned())?;
    cluster.stop()?;
    drop(disks);
    cluster.finish()
}

struct Story {
    cluster: Cluster,
    disks: [VolatileDisk; 2],
    audit: Arc<Audit>,
    random: Random,
    protocol: char,
    primary: Side,
    acked: u64,
    /// Sectors of acknowledged writes that disks have lost.
    lost_sectors: u64,
}

impl Story {
    fn begin(test: &str, protocol: char) -> Result<Self> {
        let mut random = Random::announced(test);
        let spec = Spec { protocol, ..Spec::with_bytes(BYTES) };
        let folder = Cluster::folder_for(test)?;
        let mut disks = ["a", "b"].map(|name| folder.path().join(format!("{name}0.img")));
        for disk in &disks {
            image::allocate(disk, BYTES)?;
        }
        let mut volatile = disks.each_ref().map(|disk| VolatileDisk::new(disk));
        for (disk, volatile) in disks.iter_mut().zip(&mut volatile) {
            volatile.power_on()?;
            *disk = volatile.front().to_owned();
        }
        let mut cluster = Cluster::with_disks(spec, folder, &disks.map(|disk| vec![disk]))?;
        for side in [Side::A, Side::B] {
            cluster.node_mut(side).reboot(random.number())?;
        }
        cluster.bring_up()?;
        let audit = Arc::new(Audit::new(cluster.data_bytes(0)?)?);
        let (disks, primary) = (volatile, Side::A);
        Ok(Self { cluster, disks, audit, random, protocol, primary, acked: 0, lost_sectors: 0 })
    }

    fn round(&mut self, kind: u64) -> Result<()> {
        let load = self.load()?;
        self.pause(600);
        let must = match kind {
            1 => self.replace_primary(load)?,
            2 => self.lose_both(load)?,
            3 => self.lose_secondary(load)?,
            _ => self.restart_primary(load)?,
        };
        self.judge(must)?;
        self.cluster.wait_in_sync()?;
        self.cluster.assert_same_data()?;
        self.judge(Must::Acked)
    }

    /// The survivor takes over; the other one comes back with what its disk has kept.
    fn replace_primary(&mut self, load: Load) -> Result<Must> {
        let lost = self.primary;
        self.power_off(&[lost])?;
        load.join()?;
        self.primary = lost.peer();
        self.cluster.node(self.primary).adm_ok(&["primary", "r0"])?;
        let must = if self.protocol == 'A' { Must::Prefix } else { Must::Acked };
        self.judge(must)?;
        let load = self.load()?;
        self.pause(300);
        self.power_on(lost)?;
        self.pause(300);
        load.stop()?;
        Ok(Must::Acked)
    }

    /// Nobody takes over: it comes back, and who has the data is the source.
    fn restart_primary(&mut self, load: Load) -> Result<Must> {
        let lost = self.primary;
        self.power_off(&[lost])?;
        load.join()?;
        self.power_on(lost)?;
        self.cluster.wait_in_sync()?;
        self.cluster.node(lost).adm_ok(&["primary", "r0"])?;
        // In A the crashed primary is the source, whatever its disk has kept.
        Ok(if self.protocol == 'A' { Must::Flushed } else { Must::Acked })
    }

    /// The writers go on without it.
    fn lose_secondary(&mut self, load: Load) -> Result<Must> {
        let lost = self.primary.peer();
        self.power_off(&[lost])?;
        self.pause(300);
        self.power_on(lost)?;
        self.pause(300);
        load.stop()?;
        Ok(Must::Acked)
    }

    /// Only what was flushed can be there.
    fn lose_both(&mut self, load: Load) -> Result<Must> {
        self.power_off(&[self.primary, self.primary.peer()])?;
        load.join()?;
        for side in [Side::A, Side::B] {
            self.power_on(side)?;
        }
        self.cluster.wait_in_sync()?;
        self.cluster.node(self.primary).adm_ok(&["primary", "r0"])?;
        Ok(Must::Flushed)
    }

    fn power_off(&mut self, sides: &[Side]) -> Result<()> {
        for side in sides {
            self.cluster.node_mut(*side).kill()?;
        }
        for side in sides {
            let disk = &mut self.disks[*side as usize];
            disk.power_off()?;
            let kept = image::read(disk.base(), self.audit.bytes())?;
            self.lost_sectors += self.audit.count_lost(&kept)?;
            // In C a flush is durable on both nodes, else on the primary; one that came after the
            // loss of the secondary says nothing of it.
            let says = *side == self.primary || (self.protocol == 'C' && sides.len() == 2);
            if says {
                self.audit.check(&kept, Must::Flushed).about(format!("the disk of {side:?}"))?;
            }
        }
        Ok(())
    }

    fn power_on(&mut self, side: Side) -> Result<()> {
        self.disks[side as usize].power_on()?;
        let boot_id = self.random.number();
        self.cluster.node_mut(side).reboot(boot_id)?;
        self.cluster.node_mut(side).start()
    }

    fn load(&mut self) -> Result<Load> {
        // Few flushes: what lies between them is what a power loss can take.
        // No holes: nbdfuse makes a TRIM of them, which promises nothing of what is read then.
        let usual = LoadSpec::default();
        let spec = LoadSpec { flush_per_mille: 1, fua_per_mille: 1, holes: false, ..usual };
        let seed = self.random.number();
        Load::start(self.cluster.node(self.primary), &self.audit, spec, seed)
    }

    fn judge(&mut self, must: Must) -> Result<()> {
        let mut client = self.cluster.node(self.primary).client(0)?;
        // What is seen once may not vanish in a later round, so it is made durable.
        client.flush()?;
        self.acked += self.audit.judge(&client.read_all()?, must)?.acked;
        Ok(())
    }

    fn pause(&mut self, millis: u64) {
        std::thread::sleep(Duration::from_millis(100 + self.random.below(millis)));
    }
}
