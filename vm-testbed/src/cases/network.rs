//! A network that delays, loses, doubles and reorders, and one that carries one way only.

use std::time::Duration;

use tandem_tests::Result;

use super::Case;
use crate::files::EXT4;
use crate::machine::Machine;
use crate::pair::Pair;
use crate::testbed::Testbed;

pub(super) const CASE: Case = Case {
    name: "network",
    story: "1. A pair; ext4 on the device of alice, and somebody who writes and fsyncs files.\n\
            2. The network delays packets, and loses, doubles and reorders some: writing\n   \
            goes on, and the pair is in sync.\n\
            3. What alice sends is lost, and what bob sends is not: both see that the other\n   \
            one is gone, writing goes on, and behind it the pair is in sync.\n\
            4. The same with what bob sends.\n\
            5. Every file is there, and both disks are the same.",
    run,
};

/// Time to see that a peer is gone.
const NOTICE: Duration = Duration::from_secs(60);

fn run(testbed: &Testbed) -> Result<()> {
    let (mut pair, mut files) = Pair::in_use(testbed, &EXT4)?;
    for machine in &mut pair.machines {
        machine.sh("modprobe sch_netem")?;
        disturb(machine, "delay 20ms 10ms loss 3% duplicate 2% reorder 20%")?;
    }
    for _ in 0..3 {
        files.await_more(&mut pair.machines[0])?;
    }
    pair.await_sync(0)?;
    for machine in &mut pair.machines {
        machine.sh("tc -s qdisc show dev eth0 | grep 'dropped [1-9]'")?;
        calm(machine)?;
    }
    for mute in [0, 1] {
        disturb(&mut pair.machines[mute], "loss 100%")?;
        for machine in &mut pair.machines {
            machine.sh_until("test \"$(tandemadm cstate r0)\" != Connected", NOTICE)?;
        }
        files.await_more(&mut pair.machines[0])?;
        calm(&mut pair.machines[mute])?;
        pair.await_sync(0)?;
    }
    files.finish(&mut pair.machines[0], &EXT4)?;
    pair.end_with_same_disks()
}

/// Does that to every packet that a machine sends.
fn disturb(machine: &mut Machine, how: &str) -> Result<()> {
    machine.sh(&format!("tc qdisc replace dev eth0 root netem {how}")).map(drop)
}

fn calm(machine: &mut Machine) -> Result<()> {
    machine.sh("tc qdisc del dev eth0 root").map(drop)
}
