//! Options of sections `global` and `startup`.

use super::Unit::{One, Seconds};
use super::{Kind, NOT_YET, Spec, Support, choice, flag, ignored, number};

/// What concerns a kernel driver or drbdadm itself, and nothing here.
const NOTHING: Support = ignored(&["yes", "no", "ask"], FOREIGN);
const NO_NUMBER: Support = ignored(&[], FOREIGN);
const NO_FLAG: Support = ignored(&["yes", "no"], FOREIGN);
const FOREIGN: &str = "it has no meaning here";

/// Options for everything.
pub(super) const GLOBAL: &[Spec] = &[
    choice("usage-count", &["yes", "no", "ask"], NOTHING),
    number("minor-count", (1, 1_048_576, 32), One, NO_NUMBER),
    number("dialog-refresh", (0, 600, 1), Seconds, NO_NUMBER),
    flag("disable-ip-verification", NO_FLAG),
    flag("udev-always-use-vnr", NO_FLAG),
    number("cmd-timeout-short", (0, 900, 5), Seconds, NOT_YET),
    number("cmd-timeout-medium", (0, 900, 121), Seconds, NOT_YET),
    number("cmd-timeout-long", (0, 900, 600), Seconds, NOT_YET),
];

/// Options of the commands that wait.
pub(super) const STARTUP: &[Spec] = &[
    number("wfc-timeout", (0, 300_000, 0), Seconds, Support::Active),
    number("degr-wfc-timeout", (0, 300_000, 0), Seconds, NOT_YET),
    number("outdated-wfc-timeout", (0, 300_000, 0), Seconds, NOT_YET),
    flag("wait-after-sb", ignored(&["no"], "it is not there yet")),
    Spec {
        name: "become-primary-on",
        kind: Kind::Names,
        support: ignored(&[], "nothing is promoted by a start, yet"),
    },
    flag("stacked-timeouts", NOT_YET),
];
