//! A daemon that is stopped for longer than the kernel waits, with several connections to it.

use std::time::Duration;

use tandem_tests::Result;

use super::Case;
use crate::files::EXT4;
use crate::pair::Pair;
use crate::testbed::Testbed;

pub(super) const CASE: Case = Case {
    name: "stopped",
    story: "1. A pair; ext4 on the device of alice, which has four connections that the kernel\n   \
            gives up after 3 s, and somebody who writes and fsyncs files.\n\
            2. Somebody else writes the same few blocks of one file again and again, directly,\n   \
            and reads each back.\n\
            3. alice's daemon is stopped for 10 s and goes on, and so twice more: what was\n   \
            stuck in a connection that was given up, and asked again, comes behind no\n   \
            newer write.\n\
            4. The same with bob's daemon, until alice has given it up.\n\
            5. Every file is there, and both disks are the same.",
    run,
};

/// Time for the daemon to be back, and for the kernel to ask again what was in flight.
const PATIENCE: Duration = Duration::from_secs(60);

const KEYS: &str = "printf 'kernel_timeout = 3\\nkernel_connections = 4\\n' >/etc/tandemd.more";

/// Rewrites 16 KiB of one file directly, each time with other bytes, and reads them back.
const REWRITER: &str = "cat >/run/rewriter <<'END'
round=0
while true; do
    round=$((round + 1))
    yes $round | head -c 16384 >/run/wanted
    dd if=/run/wanted of=/mnt/again bs=4096 oflag=direct conv=notrunc status=none || exit 1
    dd if=/mnt/again of=/run/found bs=16384 iflag=direct status=none || exit 1
    cmp -s /run/wanted /run/found || { echo $round >/run/stale; exit 1; }
    echo $round >/run/rounds
done
END
setsid bash /run/rewriter </dev/null >/run/rewriter.log 2>&1 &
echo $! >/run/rewriter.pid";

fn run(testbed: &Testbed) -> Result<()> {
    let (mut pair, mut files) = Pair::in_use_behind(testbed, &EXT4, KEYS)?;
    files.await_more(&mut pair.machines[0])?;
    pair.machines[0].sh(REWRITER)?;
    pair.machines[0].sh_until("test -e /run/rounds", PATIENCE)?;
    for side in [0, 0, 0, 1] {
        pair.machines[0].sh("cp /run/rounds /run/rounds.before")?;
        pair.machines[side].sh("kill -STOP $(cat /run/tandemd.pid); sleep 10")?;
        pair.machines[side].sh("kill -CONT $(cat /run/tandemd.pid)")?;
        pair.machines[0].sh_until("! cmp -s /run/rounds /run/rounds.before", PATIENCE)?;
        files.await_more(&mut pair.machines[0])?;
        pair.await_sync(0)?;
    }
    pair.machines[0].sh("dmesg | grep '/4 alive'")?;
    pair.machines[0].sh("test ! -e /run/stale; kill -9 $(cat /run/rewriter.pid)")?;
    files.finish(&mut pair.machines[0], &EXT4)?;
    pair.end_with_same_disks()
}
