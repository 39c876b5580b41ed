//! Disks that fail under a daemon, or lie to it: dm-flakey between it and the disk.

use std::time::Duration;

use tandem_tests::Result;

use super::Case;
use crate::files::EXT4;
use crate::machine::Machine;
use crate::pair::Pair;
use crate::testbed::Testbed;

pub(super) const CASE: Case = Case {
    name: "flakey",
    story: "1. A pair, on disks that can fail; ext4 on the device of alice, and somebody who\n   \
            writes and fsyncs files.\n\
            2. Writes to bob's disk fail: it is detached, and writing goes on. The disk is\n   \
            good again and is attached: the pair is in sync.\n\
            3. Writes to alice's disk fail: writing goes on, on bob's disk. The same end.\n\
            4. bob's disk drops writes and says that they are done: verify finds the blocks,\n   \
            and copies them where it is told to.\n\
            5. Every file is there, and both disks are the same.",
    run,
};

/// Time to see that a disk has failed, and to copy what it has missed.
const PATIENCE: Duration = Duration::from_secs(60);

/// The disk of the resource is one that can fail from here on.
pub(super) const LAY_UNDER: &str = "modprobe dm-flakey; mv /dev/vda /dev/under\n\
    sectors=$(blockdev --getsz /dev/under)\n\
    dmsetup create disk --noudevsync --table \"0 $sectors linear /dev/under 0\"\n\
    dmsetup mknodes disk; ln -s /dev/mapper/disk /dev/vda";

pub(super) const GOOD: &str = "linear /dev/under 0";
pub(super) const FAILING: &str = "flakey /dev/under 0 0 3600 1 error_writes";
const LYING: &str = "flakey /dev/under 0 0 3600 1 drop_writes";

fn run(testbed: &Testbed) -> Result<()> {
    let (mut pair, mut files) = Pair::in_use_behind(testbed, &EXT4, LAY_UNDER)?;
    for side in [1, 0] {
        turn(&mut pair.machines[side], FAILING)?;
        files.await_more(&mut pair.machines[0])?;
        let lost = "test \"$(tandemadm dstate r0 | cut -d/ -f1)\" = Diskless";
        pair.machines[side].sh_until(lost, PATIENCE)?;
        files.await_more(&mut pair.machines[0])?;
        turn(&mut pair.machines[side], GOOD)?;
        pair.admin(side, "attach r0/0")?;
        pair.await_sync(0)?;
    }
    turn(&mut pair.machines[1], LYING)?;
    files.await_more(&mut pair.machines[0])?;
    turn(&mut pair.machines[1], GOOD)?;
    pair.admin(0, "verify --repair r0")?;
    let found = "grep -q 'online verify found' /run/tandemd.log";
    pair.machines[0].sh_until(found, PATIENCE)?;
    pair.await_sync(0)?;
    pair.admin(0, "wait-sync r0")?;
    files.finish(&mut pair.machines[0], &EXT4)?;
    pair.end_with_same_disks()
}

/// Makes the disk one of that kind, with nothing in flight.
pub(super) fn turn(machine: &mut Machine, kind: &str) -> Result<()> {
    let sectors = "$(blockdev --getsz /dev/under)";
    let script = format!(
        "dmsetup suspend --noudevsync disk; dmsetup reload disk --table \"0 {sectors} {kind}\"\n\
         dmsetup resume --noudevsync disk"
    );
    machine.sh(&script).map(drop)
}
