//! The testbed itself: machines come up, reach each other, and lose their power.

use tandem_tests::{Result, ensure};

use super::Case;
use crate::machine::Machine;
use crate::testbed::Testbed;

pub(super) const CASE: Case = Case {
    name: "boot",
    story: "1. Two machines boot with the host's root, and reach each other by a cable.\n\
            2. One writes to its disk and loses its power.\n\
            3. It boots again: the disk has what was written, the root has forgotten.",
    run,
};

fn run(testbed: &Testbed) -> Result<()> {
    let disks = [vec![testbed.disk("one", 16)?], vec![testbed.disk("other", 16)?]];
    let [mut one, mut other] = testbed.machines(["one", "other"], disks)?;
    one.sh("ping -c 1 -W 5 10.0.0.2 || exec 3<>/dev/tcp/10.0.0.2/1 || true")?;
    other.sh("ip neighbour show | grep -q '10.0.0.1 .*lladdr 52:54'")?;
    one.sh("touch /etc/was-here; echo written | dd of=/dev/vda conv=fsync status=none")?;
    let mut one = testbed.power_on(one.cut_power()?)?;
    one.await_boot()?;
    let found = one.sh("head -c 7 /dev/vda; test ! -e /etc/was-here")?;
    ensure(found == "written", || format!("the disk holds '{found}'"))?;
    let kernel: fn(&mut Machine) -> Result<String> = |machine| machine.sh("uname -r");
    ensure(kernel(&mut one)? == kernel(&mut other)?, || "two kernels".to_owned())
}
