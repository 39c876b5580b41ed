//! Option sets to typed options, with the table's defaults where nothing is set.

use std::str::FromStr;
use std::time::Duration;

use super::OptionSet;
use crate::config::table::{Kind, Section, Unit};
use crate::config::{Authentication, DiskOptions, NetOptions, ResourceOptions, ResyncOptions};
use crate::names::{
    AfterSb0Pri, AfterSb1Pri, AfterSb2Pri, Fencing, OnCongestion, OnIoError, OnNoDataAccessible,
    Protocol, RrConflict,
};
use crate::secret::Secret;

impl ResourceOptions {
    pub(in crate::config) fn from_set(set: &OptionSet) -> Self {
        let get = Getter { section: Section::Options, set };
        Self {
            auto_promote: get.flag("auto-promote", false),
            auto_promote_timeout: get.duration("auto-promote-timeout"),
            on_no_data_accessible: get
                .named("on-no-data-accessible")
                .unwrap_or(OnNoDataAccessible::IoError),
        }
    }
}

impl NetOptions {
    pub(in crate::config) fn from_set(set: &OptionSet) -> Self {
        let get = Getter { section: Section::Net, set };
        Self {
            protocol: get.named("protocol").unwrap_or(Protocol::C),
            timeout: get.duration("timeout"),
            connect_int: get.duration("connect-int"),
            ping_int: get.duration("ping-int"),
            ping_timeout: get.duration("ping-timeout"),
            ko_count: get.count("ko-count"),
            max_epoch_size: get.count("max-epoch-size"),
            checksum_resync: get.is_set("csums-alg"),
            checksums_after_crash_only: get.flag("csums-after-crash-only", false),
            sndbuf_bytes: get.bytes("sndbuf-size"),
            rcvbuf_bytes: get.bytes("rcvbuf-size"),
            after_sb_0pri: get.named("after-sb-0pri").unwrap_or(AfterSb0Pri::Disconnect),
            after_sb_1pri: get.named("after-sb-1pri").unwrap_or(AfterSb1Pri::Disconnect),
            after_sb_2pri: get.named("after-sb-2pri").unwrap_or(AfterSb2Pri::Disconnect),
            always_asbp: get.flag("always-asbp", false),
            rr_conflict: get.named("rr-conflict").unwrap_or(RrConflict::Disconnect),
            fencing: get.named("fencing").unwrap_or(Fencing::DontCare),
            on_congestion: get.named("on-congestion").unwrap_or(OnCongestion::Block),
            congestion_fill_bytes: get.bytes("congestion-fill"),
            authentication: get.named("cram-hmac-alg").map(|algorithm| Authentication {
                algorithm,
                secret: Secret::new(get.text("shared-secret")),
            }),
        }
    }
}

impl NetOptions {
    /// What cannot be meant together: the options to blame, the likeliest first, and a sentence.
    pub(in crate::config) fn contradictions(&self) -> Vec<([&'static str; 2], String)> {
        let mut found = Vec::new();
        // An answer that may take longer than the pause between pings cannot be told from none.
        for (name, value) in [("connect-int", self.connect_int), ("ping-int", self.ping_int)] {
            if self.timeout >= value {
                let text = format!("timeout ({:?}) must be below {name} ({value:?})", self.timeout);
                found.push((["timeout", name], text));
            }
        }
        // Only protocol A answers before the peer has a write, so only it can pull ahead.
        if self.on_congestion == OnCongestion::PullAhead && self.protocol != Protocol::A {
            let text = format!("on-congestion pull-ahead needs protocol A, not {}", self.protocol);
            found.push((["on-congestion", "protocol"], text));
        }
        // Protocol A has answered what the peer lacks before anybody could wait for a fence.
        if self.fencing == Fencing::ResourceAndStonith && self.protocol == Protocol::A {
            let text = "fencing resource-and-stonith needs protocol B or C, not A".to_owned();
            found.push((["fencing", "protocol"], text));
        }
        found
    }
}

impl DiskOptions {
    pub(in crate::config) fn from_set(set: &OptionSet) -> Self {
        let get = Getter { section: Section::Disk, set };
        Self {
            on_io_error: get.named("on-io-error").unwrap_or(OnIoError::Detach),
            disk_timeout: get.duration("disk-timeout"),
            al_extents: get.count("al-extents"),
            al_updates: get.flag("al-updates", true),
            rs_discard_granularity_bytes: get.bytes("rs-discard-granularity"),
        }
    }
}

impl ResyncOptions {
    pub(in crate::config) fn from_set(set: &OptionSet) -> Self {
        let get = Getter { section: Section::PeerDisk, set };
        Self {
            resync_rate: get.bytes("resync-rate"),
            c_plan_ahead: get.duration("c-plan-ahead"),
            c_delay_target: get.duration("c-delay-target"),
            c_fill_target_bytes: get.bytes("c-fill-target"),
            c_max_rate: get.bytes("c-max-rate"),
            c_min_rate: get.bytes("c-min-rate"),
        }
    }
}

impl Default for ResourceOptions {
    fn default() -> Self {
        Self::from_set(&OptionSet::new())
    }
}

impl Default for NetOptions {
    fn default() -> Self {
        Self::from_set(&OptionSet::new())
    }
}

impl Default for DiskOptions {
    fn default() -> Self {
        Self::from_set(&OptionSet::new())
    }
}

impl Default for ResyncOptions {
    fn default() -> Self {
        Self::from_set(&OptionSet::new())
    }
}

/// The time that `startup { wfc-timeout }` gives waiting commands; `None` for ever.
pub(in crate::config) fn wfc_timeout(set: &OptionSet) -> Option<Duration> {
    let get = Getter { section: Section::Startup, set };
    Some(get.duration("wfc-timeout")).filter(|timeout| !timeout.is_zero())
}

struct Getter<'a> {
    section: Section,
    set: &'a OptionSet,
}

impl Getter<'_> {
    /// The value or the default, and its unit.
    fn number(&self, name: &str) -> (u64, Unit) {
        let spec = self.section.find(name).expect("callers name options of the table");
        match spec.kind {
            Kind::Number { default, unit, .. } => {
                let set = self.set.get(name).and_then(|value| value.number);
                (set.unwrap_or(default), unit)
            }
            Kind::Flag
            | Kind::Choice(_)
            | Kind::CountOr { .. }
            | Kind::Names
            | Kind::Text { .. }
            | Kind::Secret { .. } => {
                unreachable!("callers ask for numbers: {name}")
            }
        }
    }

    fn count(&self, name: &str) -> u32 {
        u32::try_from(self.number(name).0).expect("the table's range of a count fits")
    }

    fn bytes(&self, name: &str) -> u64 {
        let (number, unit) = self.number(name);
        number * unit.bytes().expect("callers ask for options that count bytes")
    }

    fn duration(&self, name: &str) -> Duration {
        let (number, unit) = self.number(name);
        match unit {
            Unit::Seconds => Duration::from_secs(number),
            Unit::Tenths => Duration::from_millis(number * 100),
            Unit::Millis => Duration::from_millis(number),
            Unit::One | Unit::Bytes | Unit::Sectors | Unit::Kib => {
                unreachable!("callers ask for options that count time: {name}")
            }
        }
    }

    /// Whether a flag is on.
    fn flag(&self, name: &str, default: bool) -> bool {
        self.set.get(name).map_or(default, |value| value.text == "yes")
    }

    /// Whether a text is there and not empty.
    fn is_set(&self, name: &str) -> bool {
        self.set.get(name).is_some_and(|value| !value.text.is_empty())
    }

    fn text(&self, name: &str) -> &str {
        self.set.get(name).map_or("", |value| &value.text)
    }

    fn named<T: FromStr>(&self, name: &str) -> Option<T> {
        self.set.get(name)?.text.parse().ok()
    }
}
