//! Numbers that follow from what a status holds, computed as DRBD's tools do.

use super::{
    Blocked, Divergence, PeerDeviceStatus, ResyncProgress, ResyncSuspended, Suspended, SyncState,
    VerifyProgress,
};

/// What DRBD prints for the time to the end of a resync that does not advance.
pub(super) const STALLED_SECONDS: u64 = 987_654_321;

const MIB: f64 = 1_048_576.0;

impl Suspended {
    /// `no`, or the reasons with commas between them.
    pub(crate) fn text(self) -> String {
        list(&[
            (self.user, "user"),
            (self.no_data, "no-data"),
            (self.fencing, "fencing"),
            (self.quorum, "quorum"),
        ])
    }

    /// Whether there is any reason.
    pub fn any(self) -> bool {
        self != Self::default()
    }
}

impl Blocked {
    /// `no`, or the sides with commas between them.
    pub(crate) fn text(self) -> String {
        list(&[(self.upper, "upper"), (self.lower, "lower")])
    }
}

impl ResyncSuspended {
    /// `no`, or the reasons with commas between them.
    pub(crate) fn text(self) -> String {
        list(&[(self.user, "user"), (self.peer, "peer"), (self.dependency, "dependency")])
    }
}

impl SyncState {
    /// `Normal`, `SplitBrain` or `Unrelated`.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Normal => "Normal",
            Self::SplitBrain(_) => "SplitBrain",
            Self::Unrelated(_) => "Unrelated",
        }
    }

    /// What is known, if the data have not one history.
    pub fn divergence(&self) -> Option<&Divergence> {
        match self {
            Self::Normal => None,
            Self::SplitBrain(divergence) | Self::Unrelated(divergence) => Some(divergence),
        }
    }
}

impl Divergence {
    /// What this node would lose, in bytes of whole blocks.
    pub fn own_loss_bytes(&self) -> u64 {
        self.own_loss_blocks.saturating_mul(4096)
    }

    /// What the peer would lose.
    pub fn peer_loss_bytes(&self) -> u64 {
        self.peer_loss_blocks.saturating_mul(4096)
    }
}

/// The names whose flag is set, with commas between them, or `no`.
fn list(flags: &[(bool, &str)]) -> String {
    let set: Vec<&str> = flags.iter().filter(|(flag, _)| *flag).map(|(_, name)| *name).collect();
    if set.is_empty() { "no".to_owned() } else { set.join(",") }
}

impl PeerDeviceStatus {
    /// Share of the resync or verify that is done, 0 to 100; `None` without one.
    pub fn percent_done(&self) -> Option<f64> {
        if let Some(verify) = self.verify {
            return Some(percent(verify.done_bytes(), verify.total_bytes()));
        }
        let resync = self.resync?;
        let done = resync.total_bytes.saturating_sub(self.out_of_sync_bytes);
        Some(percent(done, resync.total_bytes))
    }

    /// Rate of the resync over the longer window, in bytes per second; `None` without a resync.
    pub fn resync_rate(&self) -> Option<f64> {
        self.resync.map(|resync| per_second(resync.window1_bytes, resync.window1_ms))
    }

    /// Seconds until the resync ends at that rate; `None` if it stalls, or without a resync.
    pub fn seconds_left(&self) -> Option<u64> {
        let resync = self.resync.filter(|resync| resync.window1_bytes > 0)?;
        let left = u128::from(self.out_of_sync_bytes) * u128::from(resync.window1_ms.max(1));
        u64::try_from(left / u128::from(resync.window1_bytes) / 1000).ok()
    }

    /// Share of the volume that is in sync; 0 for a volume without a size, as DRBD has it.
    pub(super) fn percent_in_sync(&self, size_bytes: u64) -> f64 {
        if size_bytes == 0 { 0.0 } else { 100.0 - percent(self.out_of_sync_bytes, size_bytes) }
    }
}

impl VerifyProgress {
    /// What it has compared.
    pub fn done_bytes(&self) -> u64 {
        self.position_bytes.saturating_sub(self.start_bytes)
    }

    /// What it compares.
    pub fn total_bytes(&self) -> u64 {
        self.stop_bytes.saturating_sub(self.start_bytes)
    }

    /// What is left.
    pub fn left_bytes(&self) -> u64 {
        self.stop_bytes.saturating_sub(self.position_bytes)
    }

    /// Rate since it began, in MiB per second.
    pub(super) fn mib_per_second(&self) -> f64 {
        per_second(self.done_bytes(), self.elapsed_ms) / MIB
    }

    /// Seconds until it ends at that rate; `None` if it stalls.
    pub fn seconds_left(&self) -> Option<u64> {
        let done = Some(self.done_bytes()).filter(|done| *done > 0)?;
        let left = u128::from(self.left_bytes()) * u128::from(self.elapsed_ms.max(1));
        u64::try_from(left / u128::from(done) / 1000).ok()
    }
}

impl ResyncProgress {
    /// Rate over the shorter window, in MiB per second.
    pub(super) fn recent_mib_per_second(&self) -> f64 {
        per_second(self.window0_bytes, self.window0_ms) / MIB
    }

    /// Rate over the longer window, in MiB per second.
    pub(crate) fn window_mib_per_second(&self) -> f64 {
        per_second(self.window1_bytes, self.window1_ms) / MIB
    }

    /// Rate since the beginning without pauses, in MiB per second.
    pub(super) fn mean_mib_per_second(&self, out_of_sync_bytes: u64) -> f64 {
        let done = self.total_bytes.saturating_sub(out_of_sync_bytes);
        per_second(done, self.elapsed_ms.saturating_sub(self.paused_ms)) / MIB
    }

    /// The rate asked for, in MiB per second.
    pub(super) fn wanted_mib_per_second(&self) -> f64 {
        approximate(self.wanted_rate) / MIB
    }
}

/// Bytes for people, with one decimal.
pub fn size_text(bytes: f64) -> String {
    let mut scaled = bytes;
    for unit in ["B", "KiB", "MiB", "GiB"] {
        if scaled < 1024.0 {
            return format!("{scaled:.1} {unit}");
        }
        scaled /= 1024.0;
    }
    format!("{scaled:.1} TiB")
}

/// Seconds as hours, minutes and seconds: `1:02:03`.
pub fn clock_text(seconds: u64) -> String {
    format!("{}:{:02}:{:02}", seconds / 3600, seconds / 60 % 60, seconds % 60)
}

fn percent(part: u64, whole: u64) -> f64 {
    if whole == 0 { 100.0 } else { 100.0 * approximate(part) / approximate(whole) }
}

/// A time of 0 counts as 1 ms, as in DRBD's tools.
fn per_second(bytes: u64, ms: u64) -> f64 {
    1000.0 * approximate(bytes) / approximate(ms.max(1))
}

/// Good enough for what is printed with two decimals.
fn approximate(number: u64) -> f64 {
    number as f64
}
