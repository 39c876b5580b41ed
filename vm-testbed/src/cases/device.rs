//! What a device of the kernel's goes through while it is mounted, on one machine: its daemon is
//! stopped in good order, I/O is frozen for longer than the kernel waits, and who uses it is seen.

use std::time::Duration;

use tandem_tests::Result;

use super::Case;
use crate::files::EXT4;
use crate::pair::Pair;
use crate::testbed::Testbed;

pub(super) const CASE: Case = Case {
    name: "device",
    story: "1. A pair; ext4 on the device of alice, and somebody who writes and fsyncs files.\n\
            2. alice's daemon is told to stop under the writer, and started again with a\n   \
            short timeout of the kernel's: nothing is remounted, and writing goes on.\n\
            3. I/O is frozen until connections have timed out twice: they have successors, and\n   \
            writing goes on when I/O does.\n\
            4. secondary is refused while a process has the device open, and not behind it.",
    run,
};

/// Time for the daemon to stop, and for the kernel to ask again what was in flight.
const PATIENCE: Duration = Duration::from_secs(60);

fn run(testbed: &Testbed) -> Result<()> {
    let (mut pair, mut files) = Pair::in_use(testbed, &EXT4)?;
    pair.machines[0].sh("kill -TERM $(cat /run/tandemd.pid)")?;
    pair.machines[0].sh_until("! kill -0 $(cat /run/tandemd.pid)", PATIENCE)?;
    pair.machines[0].sh("echo 'kernel_timeout = 4' >>/etc/tandemd.toml")?;
    pair.start(0)?;
    pair.machines[0].sh_until("tandemadm primary r0", PATIENCE)?;
    files.await_more(&mut pair.machines[0])?;
    pair.admin(0, "suspend-io r0")?;
    let replaced = "test $(grep -c 'in place of dead ones' /run/tandemd.log) -ge 2";
    pair.machines[0].sh_until(replaced, PATIENCE)?;
    pair.admin(0, "resume-io r0")?;
    files.await_more(&mut pair.machines[0])?;
    files.finish(&mut pair.machines[0], &EXT4)?;
    pair.machines[0].sh("sleep 600 </dev/nbd0 &\n! tandemadm secondary r0 2>/run/refused\n\
         grep -q '(sleep) has it open' /run/refused; kill $!; wait $! || true\n\
         tandemadm secondary r0; test ! -e /sys/block/nbd0/pid")?;
    Ok(())
}
