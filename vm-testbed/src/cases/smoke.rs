//! What people do with a volume: a file system on its device, through a restart of the daemon and a
//! fail-over.

use std::time::Duration;

use tandem_tests::{Result, ensure};

use super::Case;
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
    run,
};

/// A volume that ext4 has room for beside its journal.
const MEBIBYTES: u64 = 64;

/// Writes files of 64 KiB and notes each that is durable, with its sum, until told to stop.
const WRITER: &str = "cat >/run/writer <<'END'
number=0
while [ ! -e /run/stop ]; do
    file=/mnt/file$number
    head -c 65536 /dev/urandom >$file && sync $file || exit 1
    (cd /mnt && md5sum file$number) >>/run/manifest
    number=$((number + 1))
    [ $number -lt 300 ] || exit 0
done
END
setsid bash /run/writer >/run/writer.log 2>&1 </dev/null & echo $! >/run/writer.pid";

fn run(testbed: &Testbed) -> Result<()> {
    let mut pair = Pair::in_sync(testbed, MEBIBYTES, "")?;
    pair.machines[0].sh("test \"$(readlink /dev/tandem/by-res/r0/0)\" = /dev/nbd0")?;
    pair.machines[0].sh("mkfs.ext4 -q -E nodiscard /dev/nbd0; mount /dev/nbd0 /mnt")?;
    pair.machines[0].sh(WRITER)?;
    await_files(&mut pair, 5)?;
    pair.kill_daemon(0)?;
    pair.start(0)?;
    pair.admin(0, "primary r0")?;
    let before = files(&mut pair)?;
    await_files(&mut pair, before + 5)?;
    pair.machines[0].sh("! tandemadm secondary r0 2>/run/refused; grep -q unmount /run/refused")?;
    pair.await_sync(0)?;
    let manifest = pair.machines[0].sh("kill -STOP $(cat /run/writer.pid); cat /run/manifest")?;
    let Pair { machines: [alice, mut bob], .. } = pair;
    alice.cut_power()?;
    bob.sh_until("tandemadm primary r0", Duration::from_secs(60))?;
    bob.sh("mount /dev/nbd0 /mnt && umount /mnt && e2fsck -fn /dev/nbd0")?;
    bob.sh(&format!("cat >/run/manifest <<'END'\n{manifest}END\nmount /dev/nbd0 /mnt"))?;
    let found = bob.sh("cd /mnt && md5sum -c --quiet /run/manifest; wc -l </run/manifest")?;
    ensure(manifest.lines().count() > 10, || format!("{found} files say little"))?;
    bob.sh("umount /mnt; tandemadm secondary r0; test ! -e /dev/tandem/by-res/r0/0").map(drop)
}

fn files(pair: &mut Pair) -> Result<usize> {
    let count = pair.machines[0].sh("wc -l </run/manifest 2>/dev/null || echo 0")?;
    Ok(count.trim().parse().unwrap_or(0))
}

/// Waits until so many files are durable.
fn await_files(pair: &mut Pair, count: usize) -> Result<()> {
    let script = format!(
        "test -e /run/manifest && test $(wc -l </run/manifest) -ge {count} || \
         {{ cat /run/writer.log; false; }}"
    );
    pair.machines[0].sh_until(&script, Duration::from_secs(60)).map(drop)
}
