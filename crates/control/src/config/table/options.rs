//! Options of section `options`.

use super::Unit::{Millis, One, Sectors, Tenths};
use super::{Kind, NOT_YET, Spec, Support, choice, flag, ignored, number, only, text};

const THREE_NODES: Support = ignored(&[], "it matters from three nodes on");
const QUORUM: Support = only(&["off"], "quorum is not there yet");
const VOTES: Kind = Kind::CountOr { min: 1, max: 32, words: &["off", "majority", "all"] };

/// Options of a resource.
pub(super) const OPTIONS: &[Spec] = &[
    text("cpu-mask", ignored(&[""], "it is not there yet")),
    choice("on-no-data-accessible", &["io-error", "suspend-io"], Support::Active),
    flag("auto-promote", Support::Active),
    number("peer-ack-window", (2048, 204_800, 4096), Sectors, THREE_NODES),
    number("peer-ack-delay", (1, 10_000, 100), Millis, THREE_NODES),
    number("twopc-timeout", (50, 600, 300), Tenths, NOT_YET),
    number("twopc-retry-timeout", (1, 50, 1), Tenths, NOT_YET),
    number("auto-promote-timeout", (0, 600, 20), Tenths, Support::Active),
    number("max-io-depth", (4, 4_294_967_295, 8000), One, NOT_YET),
    Spec { name: "quorum", kind: VOTES, support: QUORUM },
    choice("on-no-quorum", &["io-error", "suspend-io"], ignored(&[], "there is no quorum yet")),
    Spec { name: "quorum-minimum-redundancy", kind: VOTES, support: QUORUM },
    choice(
        "on-suspended-primary-outdated",
        &["disconnect", "force-secondary"],
        ignored(&["disconnect"], "there is no quorum yet"),
    ),
    flag("drbd8-api-compatibility", ignored(&["no"], "it is for a kernel driver")),
];
