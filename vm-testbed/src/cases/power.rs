//! Power cuts of either node and of both, with write caches that are lost.

use std::time::Duration;

use tandem_tests::{Failure, Result};

use super::Case;
use crate::disk::VolatileDisk;
use crate::files::Files;
use crate::machine::{Machine, Parts};
use crate::pair::Pair;
use crate::testbed::Testbed;

pub(super) const CASE: Case = Case {
    name: "power",
    story: "1. A pair whose disks lose what was not flushed with their power; ext4 on its\n   \
            device, and somebody who writes files and fsyncs them.\n\
            2. The secondary loses its power: writing goes on. It comes back and is in sync.\n\
            3. The primary does: the other one is promoted, and has every file that was\n   \
            fsynced. The first one comes back and is in sync.\n\
            4. Both do. They come back, one is promoted, and has every file.\n\
            Steps 2 to 4 20 times, or as often as TANDEM_VM_CYCLES says.",
    run,
};

const MEBIBYTES: u64 = 48;

/// Time for a node to see that its peer is gone, or back.
const PATIENCE: Duration = Duration::from_secs(90);

fn run(testbed: &Testbed) -> Result<()> {
    let bases = [testbed.file("alice", MEBIBYTES)?, testbed.file("bob", MEBIBYTES)?];
    let mut disks = bases.map(|base| VolatileDisk::new(&base));
    let [alice, bob] = &mut disks;
    let pair = Pair::in_sync(testbed, [alice.power_on()?, bob.power_on()?], "")?;
    let mut scene = Scene { testbed, pair, disks, files: Files::default(), primary: 0 };
    scene.primary().sh("mkfs.ext4 -q -E nodiscard /dev/nbd0; mount /dev/nbd0 /mnt")?;
    for _ in 0..cycles()? {
        scene.cut_secondary()?;
        scene.cut_primary()?;
        scene.cut_both()?;
    }
    Ok(())
}

fn cycles() -> Result<usize> {
    match std::env::var("TANDEM_VM_CYCLES") {
        Ok(text) => text.parse().map_err(|_| Failure::new("TANDEM_VM_CYCLES is a number")),
        Err(_) => Ok(20),
    }
}

/// What the acts play with. Between them the primary has the file system mounted, nobody writes,
/// and the pair is in sync.
struct Scene<'a> {
    testbed: &'a Testbed,
    pair: Pair,
    disks: [VolatileDisk; 2],
    files: Files,
    primary: usize,
}

impl Scene<'_> {
    fn cut_secondary(&mut self) -> Result<()> {
        let secondary = 1 - self.primary;
        self.begin_writing()?;
        self.lose_power(&[secondary])?;
        self.await_more()?;
        self.rejoin(secondary)?;
        self.stop_writing()?;
        self.pair.await_sync(self.primary)?;
        let Self { files, pair, primary, .. } = self;
        files.check(&mut pair.machines[*primary])
    }

    fn cut_primary(&mut self) -> Result<()> {
        let old = self.primary;
        self.begin_writing()?;
        self.stop_writing()?;
        self.lose_power(&[old])?;
        self.primary = 1 - old;
        self.promote()?;
        self.rejoin(old)?;
        self.pair.await_sync(self.primary)
    }

    fn cut_both(&mut self) -> Result<()> {
        self.begin_writing()?;
        self.stop_writing()?;
        self.lose_power(&[0, 1])?;
        self.rejoin(0)?;
        self.rejoin(1)?;
        self.promote()?;
        self.pair.await_sync(self.primary)
    }

    /// Makes the primary one, and looks for all that is owed.
    fn promote(&mut self) -> Result<()> {
        self.primary().sh_until("tandemadm primary r0", PATIENCE)?;
        self.primary().sh("mount /dev/nbd0 /mnt")?;
        let Self { files, pair, primary, .. } = self;
        files.check(&mut pair.machines[*primary])
    }

    /// Cuts the power of these, then switches them on: they boot while others go on.
    fn lose_power(&mut self, sides: &[usize]) -> Result<()> {
        let mut off = Vec::new();
        for side in sides {
            let parts = self.pair.machines[*side].cut_power()?;
            self.disks[*side].power_off()?;
            off.push((*side, parts));
        }
        for (side, parts) in off {
            let parts = Parts { disks: vec![self.disks[side].power_on()?], ..parts };
            self.pair.machines[side] = self.testbed.power_on(parts)?;
        }
        Ok(())
    }

    /// Starts the daemon of one that boots.
    fn rejoin(&mut self, side: usize) -> Result<()> {
        self.pair.machines[side].await_boot()?;
        self.pair.configure(side)?;
        self.pair.start(side)
    }

    fn primary(&mut self) -> &mut Machine {
        &mut self.pair.machines[self.primary]
    }

    fn begin_writing(&mut self) -> Result<()> {
        self.files.begin(&mut self.pair.machines[self.primary])
    }

    fn await_more(&mut self) -> Result<()> {
        self.files.await_more(&mut self.pair.machines[self.primary])
    }

    fn stop_writing(&mut self) -> Result<()> {
        self.files.stop(&mut self.pair.machines[self.primary])
    }
}
