//! LIVE-1: a resync that is not paused ends in the time that its least rate needs.

use super::Violation;
use crate::clock::SECONDS;
use crate::profile::Profile;
use crate::view::View;

/// Bytes per second that every profile leaves to a resync, where its link is wide.
const RATE_MIN: u64 = 512 << 10;

/// The same behind an application that fills a narrow link: the least window, once a second.
const RATE_MIN_NARROW: u64 = 64 << 10;

/// Bytes that are asked for at once, at least.
const WINDOW_MIN: u64 = 64 << 10;

/// Time for what is not copying: a link that hangs, disks that stall, claims that wait.
const SLACK: u64 = 20 * SECONDS;

/// When the resyncs that run must have ended.
#[derive(Clone, Debug, Default)]
pub struct Progress {
    /// By node and volume.
    deadlines: [Vec<Option<u64>>; 2],
    /// By node and volume: blocks out of sync when it was last seen.
    blocks: [Vec<u64>; 2],
    checked_at: u64,
    rate_min: u64,
    in_line: u64,
}

impl Progress {
    /// For a run of this profile.
    pub fn new(profile: &Profile) -> Self {
        let link = profile.link;
        let rate_min = if link.is_narrow() { RATE_MIN_NARROW } else { RATE_MIN };
        let requests = (profile.clients * profile.depth) as u64;
        // With more requests than extents each may stand for its place in the activity log: two
        // copies, and the flush before an extent is used again.
        let slowest = profile.disk.iter().map(|pace| pace.high).max().unwrap_or(0);
        let is_short = u64::from(profile.log.extents) < requests;
        let log = if is_short { 4 * slowest } else { 0 };
        let in_line = requests * (2 * link.high + log);
        Self { rate_min, in_line, ..Self::default() }
    }

    /// A node's states have changed.
    pub fn saw(&mut self, node: usize, view: &View, now: u64) {
        let deadlines = &mut self.deadlines[node];
        deadlines.resize(view.volumes.len(), None);
        self.blocks[node].resize(view.volumes.len(), 0);
        for (index, deadline) in deadlines.iter_mut().enumerate() {
            let volume = &view.volumes[index];
            let copies = view.is_connected() && view.is_target(index) && !volume.suspended.any();
            let bytes = volume.dirty_blocks * 4096;
            // All requests of the applications may stand in one line before each window.
            let in_line = (1 + bytes / WINDOW_MIN) * self.in_line;
            let time = SLACK + 3 * SECONDS * bytes / self.rate_min + in_line;
            // What a Primary that is Ahead tells of one volume comes to the others as well.
            let before = std::mem::replace(&mut self.blocks[node][index], volume.dirty_blocks);
            let grew = volume.dirty_blocks > before;
            *deadline = match *deadline {
                Some(deadline) if copies && !grew => Some(deadline),
                Some(_) | None => copies.then_some(now + time),
            };
        }
    }

    /// None of them is late. Time in which the world is `disturbed`, a process stopped, a disk
    /// hung, the link no link or I/O frozen, does not count: what is frozen holds its ranges.
    ///
    /// # Errors
    /// The one that is.
    pub fn check(&mut self, disturbed: bool, now: u64) -> Result<(), Violation> {
        let passed = now - std::mem::replace(&mut self.checked_at, now);
        if disturbed {
            for deadline in self.deadlines.iter_mut().flatten().flatten() {
                *deadline += passed;
            }
        }
        for (node, deadlines) in self.deadlines.iter().enumerate() {
            if let Some(volume) = deadlines.iter().position(|it| it.is_some_and(|it| it < now)) {
                let text = format!("node {node}, volume {volume}: not done in its time");
                return Err(Violation::new("LIVE-1 resync ends", text));
            }
        }
        Ok(())
    }
}
