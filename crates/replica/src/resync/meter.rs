//! How fast a resync is: marks every three seconds, as in DRBD, and the time it was paused.

use std::collections::VecDeque;
use std::time::Duration;

use crate::status::ResyncProgress;
use crate::time::Instant;

/// Marks kept: half a minute.
const MARKS_MAX: usize = 10;

/// Time between two marks.
const MARK_PAUSE: Duration = Duration::from_secs(3);

/// What was left at some moment.
#[derive(Clone, Copy, Debug)]
struct Mark {
    at: Instant,
    left_bytes: u64,
}

/// Measures one resync.
#[derive(Debug)]
pub(crate) struct Meter {
    total_bytes: u64,
    began_at: Instant,
    paused: Duration,
    paused_since: Option<Instant>,
    /// Oldest first; never empty.
    marks: VecDeque<Mark>,
}

impl Meter {
    /// A resync of so many bytes begins.
    pub(crate) fn new(total_bytes: u64, now: Instant) -> Self {
        let first = Mark { at: now, left_bytes: total_bytes };
        Self {
            total_bytes,
            began_at: now,
            paused: Duration::ZERO,
            paused_since: None,
            marks: VecDeque::from([first]),
        }
    }

    /// Some more has been copied.
    pub(crate) fn advance(&mut self, left_bytes: u64, now: Instant) {
        let last = self.marks.back().expect("there is always one");
        if now.since(last.at) < MARK_PAUSE {
            return;
        }
        if self.marks.len() == MARKS_MAX {
            self.marks.pop_front();
        }
        self.marks.push_back(Mark { at: now, left_bytes });
    }

    /// The resync is paused, or goes on. Rates begin anew then.
    pub(crate) fn set_paused(&mut self, paused: bool, left_bytes: u64, now: Instant) {
        match (paused, self.paused_since) {
            (true, None) => self.paused_since = Some(now),
            (false, Some(since)) => {
                self.paused += now.since(since);
                self.paused_since = None;
                self.marks = VecDeque::from([Mark { at: now, left_bytes }]);
            }
            (true, Some(_)) | (false, None) => {}
        }
    }

    /// What is shown.
    pub(crate) fn progress(
        &self,
        left_bytes: u64,
        wanted_rate: u64,
        now: Instant,
    ) -> ResyncProgress {
        let paused_now = self.paused_since.map_or(Duration::ZERO, |since| now.since(since));
        let since = |mark: &Mark| {
            // While it is paused time stands still for the rates.
            let until = self.paused_since.unwrap_or(now);
            (mark.left_bytes.saturating_sub(left_bytes), until.since(mark.at))
        };
        let recent = self.marks.len().saturating_sub(2);
        ResyncProgress {
            total_bytes: self.total_bytes,
            elapsed: now.since(self.began_at),
            paused: self.paused + paused_now,
            recent: since(&self.marks[recent]),
            window: since(&self.marks[0]),
            wanted_rate,
            same_checksum_bytes: 0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;

    fn at(seconds: u64) -> Instant {
        Instant::default() + Duration::from_secs(seconds)
    }

    #[test]
    fn rates_are_of_the_last_seconds() {
        let mut meter = Meter::new(1000 * MIB, at(0));
        let mut left = 1000 * MIB;
        for second in 1..=60 {
            left -= if second <= 30 { MIB } else { 3 * MIB };
            meter.advance(left, at(second));
        }
        let progress = meter.progress(left, 0, at(60));
        assert_eq!(progress.recent, (9 * MIB, Duration::from_secs(3)));
        assert_eq!(progress.window, (27 * 3 * MIB, Duration::from_secs(27)));
        assert_eq!(progress.elapsed, Duration::from_secs(60));
    }

    #[test]
    fn a_pause_is_no_time_for_the_rates() {
        let mut meter = Meter::new(100 * MIB, at(0));
        meter.advance(90 * MIB, at(4));
        meter.set_paused(true, 90 * MIB, at(5));
        let paused = meter.progress(90 * MIB, 0, at(105));
        assert_eq!(paused.paused, Duration::from_secs(100));
        assert_eq!(paused.window, (10 * MIB, Duration::from_secs(5)));
        meter.set_paused(false, 90 * MIB, at(105));
        meter.advance(88 * MIB, at(106));
        let progress = meter.progress(88 * MIB, 0, at(107));
        assert_eq!(progress.window, (2 * MIB, Duration::from_secs(2)));
        assert_eq!(progress.paused, Duration::from_secs(100));
    }
}
