//! Every state in which the secondary's disk may be found behind a loss of power: `dm-log-writes`
//! between its daemon and the disk, and the log carried out again on the host.

use std::time::{Duration, Instant};

use tandem_tests::{Context, Failure, Result, ensure};

use super::Case;
use crate::disk::Disk;
use crate::files::EXT4;
use crate::looker::Looker;
use crate::pair::Pair;
use crate::replay::{Durable, Replay};
use crate::testbed::Testbed;
use crate::write_log::WriteLog;

pub(super) const CASE: Case = Case {
    name: "log-writes",
    story: "1. A pair; all that bob's daemon writes to its disk is logged, with its flushes.\n\
            2. ext4 on the device of alice. Somebody writes and fsyncs files there, somebody\n   \
            else numbered blocks, several at a time, with FUA and flushes between them.\n   \
            What alice was told is durable is noted in bob's log.\n\
            3. bob's disk is made again from the log, write by write. After each of them it\n   \
            shows a prefix of the numbered blocks, with all that was told is durable, also\n   \
            where its cache keeps nothing but that write.\n\
            4. At 16 of these points the metadata are as they were, and the file system is\n   \
            clean behind its journal, with every file that was fsynced, whole.\n\
            5. The same log without one of its writes is no prefix.",
    run,
};

/// Room for all that is written.
const LOG_MEBIBYTES: u64 = 1024;

/// How many numbered blocks are to be durable on both nodes.
const ENOUGH: u64 = 1200;

/// At how many points the file system and the metadata are looked at.
const LOOKS: usize = 16;

/// Time for something to begin, and to end.
const PATIENCE: Duration = Duration::from_secs(60);

/// Time for enough to become durable.
const WORK: Duration = Duration::from_secs(400);

/// On the machine that has a second disk for the log, all writes to the first go there too.
const LAY_UNDER: &str = "test -e /dev/vdb || exit 0\n\
    modprobe dm-log-writes; mv /dev/vda /dev/under\n\
    sectors=$(blockdev --getsz /dev/under)\n\
    dmsetup create disk --noudevsync --table \"0 $sectors log-writes /dev/under /dev/vdb\"\n\
    dmsetup mknodes disk; ln -s /dev/mapper/disk /dev/vda";

fn run(testbed: &Testbed) -> Result<()> {
    let log_device = testbed.file("bob-log", LOG_MEBIBYTES)?;
    let bobs = testbed.file("bob", EXT4.mebibytes)?;
    let disks = [
        vec![testbed.disk("alice", EXT4.mebibytes)?],
        vec![Disk::File(bobs.clone()), Disk::File(log_device.clone())],
    ];
    let mut pair = Pair::in_sync_behind(testbed, disks, "", LAY_UNDER)?;
    let configuration = pair.machines[1].sh("cat /etc/tandem.conf")?;
    let manifest = record(pair)?;
    let disk = std::fs::read(&bobs).about(bobs.display())?;
    let looker = Looker::new(testbed, &configuration, &manifest, &disk)?;
    let replay = Replay::of(WriteLog::read(&log_device)?, &disk)?;
    let points = replay.points(LOOKS);
    let counts = replay.judge(None, |index, durable, disk| {
        if points.contains(&index) { looker.look(disk, durable.files) } else { Ok(()) }
    })?;
    testbed.note(&format!("{counts}; the file system was looked at {} times", points.len()))?;
    replay.leads_to(&disk)?;
    ensure(points.len() == LOOKS && counts.writes >= ENOUGH, || format!("too little: {counts}"))?;
    let dropped = replay.one_to_drop()?;
    let seen = replay.judge(Some(dropped), |_, _, _| Ok(())).err();
    let seen = seen.ok_or_else(|| Failure::new(format!("nobody misses entry {dropped}")))?;
    testbed.note(&format!("without entry {dropped}: {seen}"))
}

/// Has both writers write, and notes what they were told is durable; ends with the log complete.
/// Returns what md5sum says of the files.
fn record(mut pair: Pair) -> Result<String> {
    let mut files = pair.begin_use(&EXT4)?;
    let program = std::env::current_exe().about("this program")?;
    let [alice, bob] = &mut pair.machines;
    alice.sh(&format!(
        "setsid {} sequence /mnt/sequence >/run/sequence 2>/run/sequence.log </dev/null &\n\
         echo $! >/run/sequence.pid",
        program.display()
    ))?;
    alice.sh_until("test -s /run/sequence || { cat /run/sequence.log; false; }", PATIENCE)?;
    let (mut durable, deadline) = (Durable::default(), Instant::now() + WORK);
    while durable.write < ENOUGH {
        let noted = alice.sh("kill -0 $(cat /run/sequence.pid)\n\
                              echo $(tail -n 1 /run/sequence) $(wc -l </run/manifest)")?;
        durable = Durable::parse(&noted)?;
        ensure(Instant::now() < deadline, || format!("only {durable:?} within {WORK:?}"))?;
        bob.sh(&format!("dmsetup message disk 0 mark {}", durable.mark()))?;
    }
    files.stop(alice)?;
    bob.sh("tandemadm down r0; kill $(cat /run/tandemd.pid)")?;
    bob.sh_until("dmsetup remove --noudevsync disk", PATIENCE)?;
    Ok(files.manifest().to_owned())
}
