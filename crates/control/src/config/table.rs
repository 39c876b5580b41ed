//! Every option of DRBD's sections: type, range, default, and what becomes of it here.
//!
//! The lists are DRBD's. A file that works with DRBD is read; but an option that
//! would change what is safe, and is not there yet, is refused with the reason instead of ignored.

mod disk;
mod global;
mod net;
mod options;

/// A section that holds options.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Section {
    Global,
    Options,
    Net,
    /// Options of disks, devices and peer devices.
    Disk,
    /// The part of `disk` that is allowed in a connection.
    PeerDisk,
    /// The other part.
    OwnDisk,
    Startup,
}

impl Section {
    /// Those that files have.
    pub(super) const ALL: [Self; 6] =
        [Self::Global, Self::Options, Self::Net, Self::Disk, Self::PeerDisk, Self::Startup];

    /// Its keyword.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Global => "global",
            Self::Options => "options",
            Self::Net => "net",
            Self::Disk | Self::PeerDisk | Self::OwnDisk => "disk",
            Self::Startup => "startup",
        }
    }

    /// Its options.
    pub(super) fn specs(self) -> impl Iterator<Item = &'static Spec> {
        let (first, second): (&[Spec], &[Spec]) = match self {
            Self::Global => (global::GLOBAL, &[]),
            Self::Options => (options::OPTIONS, &[]),
            Self::Net => (net::NET, &[]),
            Self::Disk => (disk::DISK, disk::PEER_DISK),
            Self::PeerDisk => (disk::PEER_DISK, &[]),
            Self::OwnDisk => (disk::DISK, &[]),
            Self::Startup => (global::STARTUP, &[]),
        };
        first.iter().chain(second)
    }

    /// The option of that name.
    pub(super) fn find(self, name: &str) -> Option<&'static Spec> {
        self.specs().find(|spec| spec.name == name)
    }
}

/// Whether the value of the option of that name, in any section, is shown to nobody who has not
/// asked for it.
pub fn is_secret(name: &str) -> bool {
    Section::ALL.iter().any(|section| section.find(name).is_some_and(Spec::is_secret))
}

/// Names of handlers: programs that are run at events. Of those that are `false` the event does not
/// exist yet.
pub(super) const HANDLERS: &[(&str, bool)] = &[
    ("fence-peer", true),
    ("outdate-peer", true),
    ("unfence-peer", true),
    ("before-resync-target", true),
    ("after-resync-target", true),
    ("before-resync-source", false),
    ("split-brain", true),
    ("initial-split-brain", true),
    ("pri-lost", true),
    ("pri-lost-after-sb", true),
    ("pri-on-incon-degr", false),
    ("local-io-error", true),
    ("out-of-sync", true),
    ("quorum-lost", false),
    ("disconnected", false),
];

/// An option.
#[derive(Debug)]
pub(super) struct Spec {
    pub(super) name: &'static str,
    pub(super) kind: Kind,
    pub(super) support: Support,
}

/// What an option's value is.
#[derive(Debug)]
pub(super) enum Kind {
    /// In units of `unit`, both ends of the range included.
    Number { min: u64, max: u64, default: u64, unit: Unit },
    /// `yes` or `no`; the name alone is `yes`, with `no-` before it `no`.
    Flag,
    /// One of these words; one that ends in `NAME` stands for all that begin as it does.
    Choice(&'static [&'static str]),
    /// One of these words, or a number of the range.
    CountOr { min: u64, max: u64, words: &'static [&'static str] },
    /// Names of hosts, one or more.
    Names,
    /// Any string of so many bytes.
    Text { len_max: usize },
    /// As [`Kind::Text`], and shown to nobody who has not asked for it.
    Secret { len_max: usize },
}

impl Spec {
    /// Whether its value is shown to nobody who has not asked for it.
    pub(super) fn is_secret(&self) -> bool {
        matches!(self.kind, Kind::Secret { .. })
    }
}

/// What a plain number counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unit {
    One,
    Seconds,
    Tenths,
    Millis,
    Bytes,
    Sectors,
    Kib,
}

impl Unit {
    /// Bytes of one unit, for the units that count bytes.
    pub(super) fn bytes(self) -> Option<u64> {
        match self {
            Self::One | Self::Seconds | Self::Tenths | Self::Millis => None,
            Self::Bytes => Some(1),
            Self::Sectors => Some(512),
            Self::Kib => Some(1024),
        }
    }

    /// For messages.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::One => "",
            Self::Seconds => " seconds",
            Self::Tenths => " tenths of a second",
            Self::Millis => " milliseconds",
            Self::Bytes => " bytes",
            Self::Sectors => " sectors of 512 bytes",
            Self::Kib => " KiB",
        }
    }
}

/// What becomes of an option.
#[derive(Debug)]
pub(super) enum Support {
    /// It has its effect.
    Active,
    /// As [`Support::Active`], but a number out of range is moved into it with a warning.
    Clamped,
    /// It has its effect, and another word than the one given would be true: one warning unless the
    /// value is among `quiet`.
    Renamed { quiet: &'static [&'static str], why: &'static str },
    /// It has no effect; one warning unless the value is among `quiet`, which is how it is anyway.
    Ignored { quiet: &'static [&'static str], why: &'static str },
    /// Values other than `allowed`, which is how it is anyway, are refused.
    Only { allowed: &'static [&'static str], why: &'static str },
}

/// Without effect because what it steers is not there.
const NOT_YET: Support = Support::Ignored { quiet: &[], why: "it is not there yet" };

const fn number(name: &'static str, range: (u64, u64, u64), unit: Unit, support: Support) -> Spec {
    let (min, max, default) = range;
    Spec { name, kind: Kind::Number { min, max, default, unit }, support }
}

const fn flag(name: &'static str, support: Support) -> Spec {
    Spec { name, kind: Kind::Flag, support }
}

const fn choice(name: &'static str, words: &'static [&'static str], support: Support) -> Spec {
    Spec { name, kind: Kind::Choice(words), support }
}

const fn text(name: &'static str, support: Support) -> Spec {
    Spec { name, kind: Kind::Text { len_max: 255 }, support }
}

const fn secret(name: &'static str, len_max: usize, support: Support) -> Spec {
    Spec { name, kind: Kind::Secret { len_max }, support }
}

const fn ignored(quiet: &'static [&'static str], why: &'static str) -> Support {
    Support::Ignored { quiet, why }
}

const fn only(allowed: &'static [&'static str], why: &'static str) -> Support {
    Support::Only { allowed, why }
}
