//! Options of section `disk`.

use super::Unit::{Bytes, Kib, One, Sectors, Tenths};
use super::{NOT_YET, Spec, Support, choice, flag, ignored, number, only, text};

use Support::Active;

const READ_BALANCING: &[&str] = &[
    "prefer-local",
    "prefer-remote",
    "round-robin",
    "least-pending",
    "when-congested-remote",
    "32K-striping",
    "64K-striping",
    "128K-striping",
    "256K-striping",
    "512K-striping",
    "1M-striping",
];

/// Options of disks and devices.
pub(super) const DISK: &[Spec] = &[
    number(
        "size",
        (0, 2_199_023_255_552, 0),
        Sectors,
        only(&["0"], "volumes have the size of their disk, yet"),
    ),
    choice("on-io-error", &["pass_on", "call-local-io-error", "detach"], Active),
    flag("disk-barrier", ignored(&["no"], "epochs are kept apart by waiting and flushing")),
    flag("disk-flushes", ignored(&["yes"], "disks are always flushed where order needs it")),
    flag("disk-drain", ignored(&["yes"], "epochs are always waited for")),
    flag("md-flushes", ignored(&["yes"], "metadata is always flushed")),
    text("resync-after", Active),
    number("al-extents", (67, 65_534, 6433), One, Support::Clamped),
    flag("al-updates", Active),
    flag("discard-zeroes-if-aligned", ignored(&["yes"], "discarded ranges always read as zeroes")),
    flag("disable-write-same", ignored(&["no"], "NBD has no such request")),
    number("disk-timeout", (0, 6000, 0), Tenths, Active),
    choice("read-balancing", READ_BALANCING, ignored(&["prefer-local"], "it is not there yet")),
    number("rs-discard-granularity", (0, 1_048_576, 0), Bytes, Active),
    number("max-bio-size", (512, 1_048_576, 1_048_576), One, NOT_YET),
    flag("diskless", only(&["no"], "nodes without a disk are not there yet")),
    number("block-size", (512, 4096, 512), One, NOT_YET),
    number("discard-granularity", (0, 134_217_728, 0), Bytes, NOT_YET),
];

/// Options of a volume towards a peer. DRBD's defaults of three are for disks and links of another
/// time: `c-fill-target` 100 sectors, `c-max-rate` 100 MiB/s, `c-min-rate` 250 KiB/s.
pub(super) const PEER_DISK: &[Spec] = &[
    number("resync-rate", (1, 8_388_608, 250), Kib, Active),
    number("c-plan-ahead", (0, 300, 20), Tenths, Active),
    number("c-delay-target", (1, 100, 10), Tenths, Active),
    number("c-fill-target", (0, 1_048_576, 8192), Sectors, Active),
    number("c-max-rate", (0, 4_194_304, 0), Kib, Active),
    number("c-min-rate", (0, 4_194_304, 10_240), Kib, Active),
    flag("bitmap", only(&["yes"], "nodes without a bitmap are not there yet")),
    flag("resync-without-replication", ignored(&["no"], "writes are always replicated")),
    flag("peer-tiebreaker", ignored(&["yes"], "there is no quorum yet")),
];
