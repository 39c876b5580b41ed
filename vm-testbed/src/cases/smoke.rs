//! What people do with a volume: a file system on its device, through a restart of the daemon and a
//! fail-over.

use std::time::Duration;

use tandem_tests::Result;

use super::Case;
use crate::files::{EXT4, FileSystem, XFS};
use crate::pair::Pair;
use crate::testbed::Testbed;

pub(super) const CASE: Case = Case {
    name: "smoke",
    story: "1. A pair comes up; `primary` makes the volume /dev/nbd0 of alice.\n\
            2. ext4 is made on it, mounted, and files are written and fsynced.\n\
            3. alice's daemon is killed while files are written, and started again: nothing\n   \
            is remounted, and writing goes on. What is mounted is not demoted.\n\
            4. alice loses her power. bob is promoted: the file system is clean behind its\n   \
            journal, and every file that was fsynced is there, whole.",
    run: |testbed| run(testbed, &EXT4),
};

pub(super) const XFS_CASE: Case =
    Case { name: "xfs", story: "The case smoke with xfs.", run: |testbed| run(testbed, &XFS) };

fn run(testbed: &Testbed, file_system: &FileSystem) -> Result<()> {
    let (mut pair, mut files) = Pair::in_use(testbed, file_system)?;
    pair.machines[0].sh("test \"$(readlink -f /dev/tandem/by-res/r0/0)\" = /dev/nbd0")?;
    pair.kill_daemon(0)?;
    pair.start(0)?;
    pair.admin(0, "primary r0")?;
    files.await_more(&mut pair.machines[0])?;
    pair.machines[0].sh("! tandemadm secondary r0 2>/run/refused; grep -q unmount /run/refused")?;
    pair.await_sync(0)?;
    files.stop(&mut pair.machines[0])?;
    let [alice, bob] = &mut pair.machines;
    alice.cut_power()?;
    bob.sh_until("tandemadm primary r0", Duration::from_secs(60))?;
    bob.sh(&format!(
        "mount /dev/nbd0 /mnt && umount /mnt && {} /dev/nbd0; mount /dev/nbd0 /mnt",
        file_system.check
    ))?;
    files.check(bob)?;
    bob.sh("umount /mnt; tandemadm secondary r0; test ! -e /dev/tandem/by-res/r0/0").map(drop)
}
