//! The steps: what is done to the nodes, and what is waited for behind it.

use Act::{Boot, Cut, Disk, Note, Run, Try, TryUntilDone};
use Settle::{Apart, Fresh, Parted, Together};

use crate::cases::flakey::{FAILING, GOOD};

/// Sides of acts.
const ALICE: usize = 0;
const BOB: usize = 1;

/// A step.
#[derive(Clone, Copy, Debug)]
pub(super) struct Step {
    /// What happens, as the table says it.
    pub title: &'static str,
    /// What is done, in order.
    pub acts: &'static [Act],
    /// What is waited for.
    pub settle: Settle,
}

/// What is done on a node.
#[derive(Clone, Copy, Debug)]
pub(super) enum Act {
    /// A script that must succeed.
    Run(usize, &'static str),
    /// A script whose exit code is told.
    Try(usize, &'static str),
    /// The same, again and again until it succeeds: a node has to see first that its peer is gone.
    TryUntilDone(usize, &'static str),
    /// What a verify has found is told.
    Note(usize),
    /// Its disk is one of that kind from here on.
    Disk(usize, &'static str),
    /// Its power is cut.
    Cut(usize),
    /// It boots, and the resource is brought up.
    Boot(usize),
}

/// What is waited for, until nothing changes for a while.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Settle {
    /// They are connected.
    Fresh,
    /// They are connected, and no disk is Inconsistent: a resync is done.
    Together,
    /// Nobody is connected.
    Apart,
    /// A node has given up its peer.
    Parted,
}

const CABLE_OUT: &str = "ip link set eth0 down";
const CABLE_IN: &str = "ip link set eth0 up";

const fn step(title: &'static str, acts: &'static [Act], settle: Settle) -> Step {
    Step { title, acts, settle }
}

/// So many steps, and alice is Primary and in sync with bob.
pub(super) const UNTIL_IN_SYNC: usize = 3;

pub(super) const STEPS: &[Step] = &[
    step("both come up for the first time", &[], Fresh),
    step("a fresh disk is promoted", &[Try(ALICE, "adm primary r0")], Fresh),
    step("and by force", &[Try(ALICE, "adm primary --force r0")], Together),
    step("a second Primary", &[Try(BOB, "adm primary r0")], Together),
    step("the Secondary's device is read", &[Try(BOB, "first_sector")], Together),
    step(
        "demoted while mounted",
        &[
            Run(ALICE, "mkfs.ext4 -q -E nodiscard /dev/volume; mount /dev/volume /mnt"),
            Try(ALICE, "adm secondary r0"),
            Run(ALICE, "umount /mnt"),
        ],
        Together,
    ),
    step(
        "the cable is cut under writes",
        &[Run(ALICE, "writer begin"), Run(ALICE, CABLE_OUT), Run(ALICE, "writer more")],
        Apart,
    ),
    step("the cable is back", &[Try(ALICE, "writer end"), Run(ALICE, CABLE_IN)], Together),
    step(
        "the Secondary loses its power under writes",
        &[Run(ALICE, "writer begin"), Cut(BOB), Run(ALICE, "writer more")],
        Apart,
    ),
    step("the Secondary is back", &[Try(ALICE, "writer end"), Boot(BOB)], Together),
    step(
        "the Primary loses its power under writes",
        &[Run(ALICE, "writer begin"), Cut(ALICE)],
        Apart,
    ),
    step("fail-over", &[TryUntilDone(BOB, "adm primary r0"), Try(BOB, "write 1")], Apart),
    step("the old Primary is back", &[Boot(ALICE)], Together),
    step(
        "roles are changed",
        &[Try(BOB, "adm secondary r0"), Try(ALICE, "adm primary r0")],
        Together,
    ),
    step(
        "the Secondary disconnects",
        &[Try(BOB, "adm disconnect r0"), Try(ALICE, "write 2")],
        Apart,
    ),
    step("it is promoted, outdated", &[Try(BOB, "adm primary r0")], Apart),
    step(
        "it connects, and gives up what it has",
        &[Run(BOB, "adm secondary r0"), Try(BOB, "adm connect --discard-my-data r0")],
        Together,
    ),
    step(
        "the Primary disconnects",
        &[Try(ALICE, "adm disconnect r0"), Try(ALICE, "write 2")],
        Apart,
    ),
    step("it connects", &[Try(ALICE, "adm connect r0")], Together),
    step("outdated while connected", &[Try(BOB, "adm outdate r0")], Together),
    step(
        "the cable is cut, both are Primary and write",
        &[
            Run(ALICE, CABLE_OUT),
            TryUntilDone(BOB, "adm primary r0"),
            Try(BOB, "write 3"),
            Try(ALICE, "write 4"),
        ],
        Apart,
    ),
    step("the cable is back: split brain", &[Run(ALICE, CABLE_IN)], Parted),
    step(
        "bob's writes are given up",
        &[
            Try(BOB, "adm secondary r0"),
            // Whoever has given up the peer has no connection; the other one may wait for it.
            Run(ALICE, "adm disconnect r0 || true"),
            Run(BOB, "adm disconnect r0 || true"),
            Try(BOB, "adm connect --discard-my-data r0"),
            Try(ALICE, "adm connect r0"),
        ],
        Together,
    ),
    step(
        "the Primary's disk fails",
        &[Disk(ALICE, FAILING), Try(ALICE, "write 5"), Try(ALICE, "read_back 5")],
        Fresh,
    ),
    step(
        "demoted, and promoted without a disk",
        &[Try(ALICE, "adm secondary r0"), Try(ALICE, "adm primary r0")],
        Fresh,
    ),
    step("the good disk is back", &[Disk(ALICE, GOOD), Try(ALICE, "adm attach r0")], Together),
    step("the Secondary's disk fails", &[Disk(BOB, FAILING), Try(ALICE, "write 6")], Fresh),
    step("the good disk is back", &[Disk(BOB, GOOD), Try(BOB, "adm attach r0")], Together),
    step(
        "the Primary's disk is detached",
        &[Try(ALICE, "adm detach r0"), Try(ALICE, "write 7")],
        Fresh,
    ),
    step("and attached", &[Try(ALICE, "adm attach r0")], Together),
    step(
        "three blocks of bob's disk change, and verify looks",
        &[
            Run(BOB, "dd if=/dev/urandom of=/dev/under bs=4k seek=500 count=3 oflag=direct"),
            Try(ALICE, "adm verify r0"),
            Note(ALICE),
        ],
        Together,
    ),
    step(
        "they connect anew",
        &[Try(ALICE, "adm disconnect r0"), Try(ALICE, "adm connect r0")],
        Together,
    ),
    step("the Secondary's data are called wrong", &[Try(BOB, "adm invalidate r0")], Together),
    step(
        "both lose their power under writes",
        &[Run(ALICE, "writer begin"), Cut(ALICE), Cut(BOB)],
        Apart,
    ),
    step("both are back", &[Boot(ALICE), Boot(BOB)], Together),
    step("bob is promoted", &[Try(BOB, "adm primary r0"), Try(BOB, "write 8")], Together),
];
