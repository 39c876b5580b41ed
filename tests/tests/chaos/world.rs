//! A pair and what is known of it, from one round to the next.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use tandem_tests::{
    Audit, Cluster, Load, LoadSpec, Must, Packets, Random, Result, Side, Spec, Status,
    VolatileDisk, ensure, image,
};

use super::tally::Tally;

/// Bytes of each disk: an image is read and judged in each round.
const BYTES: u64 = 32 << 20;

const BOTH: [Side; 2] = [Side::A, Side::B];

/// The world.
pub(super) struct World {
    pub(super) cluster: Cluster,
    /// Where the disks can lose their power.
    pub(super) disks: Option<[VolatileDisk; 2]>,
    pub(super) packets: Option<Packets>,
    pub(super) random: Random,
    pub(super) protocol: char,
    pub(super) primary: Side,
    /// Nothing has happened to the secondary, its disk and the link since both were in sync.
    pub(super) is_clean: bool,
    seed: u64,
    audit: Arc<Audit>,
    load: Option<Load>,
    /// What has been done in this round.
    story: Vec<String>,
}

impl World {
    /// Up and in sync.
    pub(super) fn begin(seed: u64, tally: &mut Tally) -> Result<Self> {
        let mut random = Random::new(seed);
        let protocol = *[&'C', &'C', &'C', &'B', &'A'][usize::try_from(random.below(5))?];
        let spec = Spec {
            protocol,
            net: ["", "csums-alg crc32c;"][usize::try_from(random.below(2))?].to_owned(),
            ..Spec::with_bytes(BYTES)
        };
        let folder = Cluster::folder_for("chaos")?;
        let mut paths = ["a", "b"].map(|name| folder.path().join(format!("{name}0.img")));
        let mut disks = None;
        if random.chance(50) {
            for path in &paths {
                image::allocate(path, BYTES)?;
            }
            let mut volatile = paths.each_ref().map(|path| VolatileDisk::new(path));
            for (path, disk) in paths.iter_mut().zip(&mut volatile) {
                disk.power_on()?;
                *path = disk.front().to_owned();
            }
            disks = Some(volatile);
        }
        let mut cluster = Cluster::with_disks(spec, folder, &paths.map(|path| vec![path]))?;
        for side in BOTH {
            cluster.node_mut(side).reboot(random.number())?;
        }
        cluster.bring_up()?;
        tally.promotions += 1;
        let audit = Arc::new(Audit::new(cluster.data_bytes(0)?)?);
        let packets = Packets::of_own_network()?;
        let (primary, is_clean, load, story) = (Side::A, true, None, Vec::new());
        Ok(Self {
            cluster,
            disks,
            packets,
            random,
            protocol,
            primary,
            is_clean,
            seed,
            audit,
            load,
            story,
        })
    }

    /// One round: load, trouble, a last fault, and the judgement.
    pub(super) fn round(&mut self, tally: &mut Tally) -> Result<()> {
        self.story.clear();
        self.is_clean = true;
        self.start_load()?;
        for _ in 0..1 + self.random.below(6) {
            self.pause(400);
            self.trouble(tally)?;
            self.look()?;
        }
        self.pause(300);
        let must = self.last_fault(tally)?;
        self.end_load()?;
        self.mend(tally)?;
        self.judge(must, tally)?;
        tally.rounds += 1;
        Ok(())
    }

    /// The end of the world: what is in sync is found to be so by its own verify.
    pub(super) fn end(mut self) -> Result<()> {
        let node = self.cluster.node(self.primary);
        node.adm_ok(&["verify", "r0"])?;
        let limit = Duration::from_secs(60);
        node.wait("verified", limit, |it| it.replication(0) == "Established")?;
        let found = node.status()?.out_of_sync_bytes(0);
        ensure(found == 0, || format!("a verify has found {found} bytes that differ"))?;
        self.cluster.stop()?;
        drop(self.disks.take());
        self.cluster.finish()
    }

    /// What has been done in this round, in order.
    pub(super) fn told(&self) -> String {
        self.story.join(", ")
    }

    pub(super) fn tell(&mut self, what: impl Into<String>) {
        self.story.push(what.into());
    }

    pub(super) fn secondary(&self) -> Side {
        self.primary.peer()
    }

    pub(super) fn pause(&mut self, millis: u64) {
        std::thread::sleep(Duration::from_millis(30 + self.random.below(millis)));
    }

    /// What a node says of itself; it must say something.
    pub(super) fn status(&self, side: Side) -> Result<Status> {
        self.cluster.node(side).status()
    }

    /// Whether a node says that it takes part in a resync.
    pub(super) fn is_resyncing(&self, side: Side) -> Result<bool> {
        let status = self.status(side)?;
        let states = ["SyncSource", "SyncTarget", "PausedSyncS", "PausedSyncT"];
        Ok(states.contains(&status.replication(0)))
    }

    /// Writers go on, at least some of them.
    fn start_load(&mut self) -> Result<()> {
        let spec = LoadSpec {
            connections: 1 + usize::try_from(self.random.below(4))?,
            depth: 1 << self.random.below(5),
            // Rarely: what lies between two is what a power loss can take.
            flush_per_mille: 4,
            fua_per_mille: 4,
            // FUSE makes trims of holes, which promise nothing.
            holes: self.disks.is_none(),
            is_skewed: true,
            is_lenient: true,
        };
        let (seed, node) = (self.random.number(), self.cluster.node(self.primary));
        self.load = Some(Load::start(node, &self.audit, spec, seed)?);
        Ok(())
    }

    /// The writers end, or have ended with their server.
    pub(super) fn end_load(&mut self) -> Result<()> {
        self.load.take().map_or(Ok(()), |load| load.end())
    }

    /// Who runs says what it is, in words that it may say.
    fn look(&self) -> Result<()> {
        for side in BOTH.into_iter().filter(|side| self.cluster.node(*side).is_started()) {
            let status = self.status(side)?;
            let expected = if side == self.primary { "Primary" } else { "Secondary" };
            ensure(status.role() == expected, || {
                format!("{side:?} says that it is {}, not {expected}", status.role())
            })?;
            // What is Established and connected owes nothing.
            let is_fine = status.replication(0) != "Established"
                || (status.connection() == "Connected" && status.disk(0) != "Inconsistent");
            ensure(is_fine, || format!("{side:?} contradicts itself: {}", status.json()))?;
        }
        Ok(())
    }

    /// Everything works again, and both nodes come to be in sync.
    pub(super) fn mend(&mut self, tally: &mut Tally) -> Result<()> {
        self.heal_link()?;
        for side in BOTH {
            if let Some(disks) = &mut self.disks {
                disks[side as usize].set_failing(false)?;
            }
            if !self.cluster.node(side).is_started() {
                self.cluster.node_mut(side).start()?;
            }
        }
        for side in BOTH {
            // What is so already is refused.
            for command in ["attach", "connect", "resume-io", "resume-sync"] {
                self.cluster.node(side).adm(&[command, "r0"])?;
            }
        }
        let limit = Duration::from_secs(120);
        for side in BOTH {
            self.cluster.node(side).wait("in sync", limit, Status::is_in_sync)?;
        }
        if self.status(self.primary)?.role() != "Primary" {
            self.cluster.node(self.primary).adm_ok(&["primary", "r0"])?;
            tally.promotions += 1;
        }
        Ok(())
    }

    fn judge(&mut self, must: Must, tally: &mut Tally) -> Result<()> {
        let mut client = self.cluster.node(self.primary).client(0)?;
        // What is seen once may not vanish in a later round, so it is made durable.
        client.flush()?;
        tally.acked += self.audit.judge(&client.read_all()?, must)?.acked;
        drop(client);
        self.cluster.assert_same_data()?;
        for side in BOTH {
            let node = self.cluster.node(side);
            let panicked = node.log()?.contains("panicked at");
            ensure(!panicked, || format!("a daemon panicked\n{}", node.tail()))?;
        }
        Ok(())
    }
}

impl fmt::Display for World {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let disks = if self.disks.is_some() { "volatile disks" } else { "files" };
        write!(f, "seed {}, protocol {}, {disks}", self.seed, self.protocol)
    }
}
