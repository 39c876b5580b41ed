//! Options of section `net`.

use super::Unit::{Bytes, One, Seconds, Sectors, Tenths};
use super::{NOT_YET, Spec, Support, choice, flag, ignored, number, only, secret, text};

use Support::Active;

const ENCRYPTION: Support = only(&["no"], "links are not encrypted yet");
const KEYS: Support = only(&[], "links are not encrypted yet");
const DIGESTS: Support = Support::Renamed {
    quiet: &["", "blake3"],
    why: "digests are BLAKE3 of 128 bits, whatever the name",
};
const RDMA: Support = ignored(&["0"], "there is no RDMA transport");

/// Options of a connection.
pub(super) const NET: &[Spec] = &[
    text("transport", only(&["tcp", ""], "tcp is the only transport")),
    flag("load-balance-paths", ignored(&["no"], "it is not there yet")),
    choice("protocol", &["A", "B", "C"], Active),
    number("timeout", (1, 600, 60), Tenths, Active),
    number("max-epoch-size", (1, 20_000, 20_000), One, Active),
    number("connect-int", (1, 120, 10), Seconds, Active),
    number("ping-int", (1, 120, 10), Seconds, Active),
    number("sndbuf-size", (0, 134_217_728, 0), Bytes, Active),
    number("rcvbuf-size", (0, 134_217_728, 0), Bytes, Active),
    number("ko-count", (0, 200, 7), One, Active),
    flag("allow-two-primaries", only(&["no"], "two Primaries at once are not there yet")),
    choice("cram-hmac-alg", &["", "sha1", "sha256", "sha384", "sha512"], Active),
    secret("shared-secret", 63, Active),
    choice(
        "after-sb-0pri",
        &[
            "disconnect",
            "discard-younger-primary",
            "discard-older-primary",
            "discard-zero-changes",
            "discard-least-changes",
            "discard-local",
            "discard-remote",
            "discard-node-NAME",
        ],
        Active,
    ),
    choice(
        "after-sb-1pri",
        &[
            "disconnect",
            "consensus",
            "discard-secondary",
            "call-pri-lost-after-sb",
            "violently-as0p",
        ],
        Active,
    ),
    choice("after-sb-2pri", &["disconnect", "call-pri-lost-after-sb", "violently-as0p"], Active),
    flag("always-asbp", Active),
    choice(
        "rr-conflict",
        &["disconnect", "call-pri-lost", "violently", "retry-connect", "auto-discard"],
        Active,
    ),
    number("ping-timeout", (1, 300, 5), Tenths, Active),
    text("data-integrity-alg", ignored(&[""], "every frame is checksummed anyway")),
    flag("tcp-cork", ignored(&["yes", "no"], "what belongs together is sent in one go")),
    choice("on-congestion", &["block", "pull-ahead", "disconnect"], Active),
    number("congestion-fill", (0, 20_971_520, 0), Sectors, Active),
    number("congestion-extents", (67, 65_534, 1237), One, NOT_YET),
    text("csums-alg", DIGESTS),
    flag("csums-after-crash-only", Active),
    text("verify-alg", DIGESTS),
    flag("use-rle", ignored(&["yes"], "bitmaps are always sent in runs")),
    number("socket-check-timeout", (0, 300, 0), Tenths, ignored(&["0"], "it is for proxies")),
    choice("fencing", &["dont-care", "resource-only", "resource-and-stonith"], Active),
    number("max-buffers", (32, 131_072, 2048), One, NOT_YET),
    flag("allow-remote-read", ignored(&["yes"], "it is not there yet")),
    flag("tls", ENCRYPTION),
    text("tls-keyring", KEYS),
    text("tls-privkey", KEYS),
    text("tls-certificate", KEYS),
    number("rdma-ctrl-rcvbuf-size", (0, 10_485_760, 0), Bytes, RDMA),
    number("rdma-ctrl-sndbuf-size", (0, 10_485_760, 0), Bytes, RDMA),
    text("_name", ignored(&[], "connections have the peer's name")),
];
