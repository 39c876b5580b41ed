//! The pace of a resync, on the target: how much may be asked for, as DRBD's controller has it.
//!
//! A *window* bounds what is asked for and has not arrived; what arrives makes room at once, so
//! that a fast link is kept full between two steps. Every [`RESYNC_STEP`] the window is moved
//! towards what is wanted: `c-fill-target`, or what arrives in `c-delay-target`. The way there is
//! spread evenly over `c-plan-ahead`, so that it follows a link's ups and downs calmly.
//!
//! A *budget* bounds the rate, where there is a bound: `c-max-rate`, or `resync-rate` without the
//! controller. It fills with the time and may be overdrawn by one request, so that pieces of any
//! size keep to the rate in the long run.
//!
//! Pure: time comes with the calls. While nothing may be asked for it is stopped and wants no
//! timer.

use std::collections::VecDeque;
use std::time::Duration;

use crate::config::ResyncConfig;
use crate::limits::{BLOCK_BYTES, RESYNC_IN_FLIGHT_BYTES_MAX, RESYNC_REQUEST_BYTES, RESYNC_STEP};
use crate::time::Instant;

#[cfg(test)]
mod tests;

/// How much may be asked for.
#[derive(Debug, Default)]
pub(crate) struct Pace {
    /// When it last looked; `None` while it is stopped.
    stepped_at: Option<Instant>,
    /// Bytes that may be asked for and not have arrived.
    window: i64,
    /// Changes of the window planned for the steps to come, and their sum.
    plan: VecDeque<i64>,
    planned: i64,
    /// Bytes that may still be asked for at the rate's bound; negative where overdrawn.
    budget: i64,
    /// Asked for, not arrived.
    in_flight: u64,
    /// Arrived since it last looked.
    arrived: u64,
    /// Bytes per second that were to be asked for at the last step.
    wanted_rate: u64,
}

impl Pace {
    /// Asking may begin, or begin again.
    pub(crate) fn start(&mut self, config: &ResyncConfig, now: Instant) {
        let first = bytes_in(config.resync_rate, RESYNC_STEP);
        *self = Self {
            stepped_at: Some(now),
            window: first.max(WINDOW_BYTES_MIN).min(wanted_max(config)),
            budget: rate_max(config).map_or(0, |rate| bytes_in(rate, RESYNC_STEP)),
            in_flight: self.in_flight,
            ..Self::default()
        };
    }

    /// Nothing may be asked for until it is started.
    pub(crate) fn stop(&mut self) {
        self.stepped_at = None;
        self.wanted_rate = 0;
    }

    /// So much was asked for.
    pub(crate) fn asked(&mut self, bytes: u32) {
        self.in_flight += u64::from(bytes);
        self.budget -= i64::from(bytes);
    }

    /// So much has arrived.
    pub(crate) fn arrived(&mut self, bytes: u32) {
        self.in_flight = self.in_flight.saturating_sub(u64::from(bytes));
        self.arrived += u64::from(bytes);
    }

    /// Looks at what has happened since it last did, where it is time.
    pub(crate) fn step(&mut self, config: &ResyncConfig, now: Instant) {
        let Some(stepped_at) = self.stepped_at.filter(|at| *at + RESYNC_STEP <= now) else {
            return;
        };
        let time = now.since(stepped_at);
        self.stepped_at = Some(now);
        let arrived = std::mem::take(&mut self.arrived);
        let correction = self.move_window(config, arrived, time);
        self.wanted_rate = match rate_max(config) {
            Some(rate) if config.c_plan_ahead.is_zero() => rate,
            bound => {
                let wanted = per_second(i64_of(arrived) + correction, time);
                bound.map_or(wanted, |rate| wanted.min(rate))
            }
        };
        if let Some(rate) = rate_max(config) {
            let unspent_max = bytes_in(rate, 2 * RESYNC_STEP).max(i64::from(BLOCK_BYTES));
            self.budget = (self.budget + bytes_in(rate, time)).min(unspent_max);
        }
    }

    /// DRBD's controller: what the window changes by at this step.
    fn move_window(&mut self, config: &ResyncConfig, arrived: u64, time: Duration) -> i64 {
        let steps = (config.c_plan_ahead.as_millis() / RESYNC_STEP.as_millis()).max(1);
        let steps = usize::try_from(steps).expect("a plan is of at most 30 seconds");
        if self.plan.len() != steps {
            self.plan = VecDeque::from(vec![0; steps]);
            self.planned = 0;
        }
        let wanted = match config.c_fill_target_bytes {
            // On a link that is longer than the delay less and less would arrive.
            0 => bytes_in(per_second(i64_of(arrived), time), config.c_delay_target)
                .max(WINDOW_BYTES_MIN),
            fill => i64_of(fill),
        };
        let wanted = wanted.max(i64::from(BLOCK_BYTES)).min(wanted_max(config));
        let length = i64::try_from(steps).expect("a plan is of at most 300 steps");
        let share = (wanted - self.window - self.planned) / length;
        for planned in &mut self.plan {
            *planned += share;
        }
        self.planned += share * length;
        let correction = self.plan.pop_front().expect("a plan has a step");
        self.plan.push_back(0);
        self.planned -= correction;
        self.window += correction;
        correction
    }

    /// Bytes that may be asked for at this moment. `calm`: one request at a time, for somebody else
    /// waits for what is asked for.
    pub(crate) fn room(&self, config: &ResyncConfig, calm: bool) -> u64 {
        if self.stepped_at.is_none() {
            return 0;
        }
        let window = if config.c_plan_ahead.is_zero() { wanted_max(config) } else { self.window };
        let window = if calm { window.min(WINDOW_BYTES_MIN) } else { window };
        let in_flight = i64_of(self.in_flight);
        let room = window.max(i64::from(BLOCK_BYTES)).saturating_sub(in_flight);
        let room = if rate_max(config).is_some() { room.min(self.budget) } else { room };
        u64::try_from(room).unwrap_or(0)
    }

    /// When it wants to look next.
    pub(crate) fn due(&self) -> Option<Instant> {
        self.stepped_at.map(|at| at + RESYNC_STEP)
    }

    pub(crate) fn in_flight(&self) -> u64 {
        self.in_flight
    }

    /// What was to be asked for at the last step, in bytes per second.
    pub(crate) fn wanted_rate(&self) -> u64 {
        self.wanted_rate
    }

    /// The session ended, and with it what was in flight.
    pub(crate) fn reset(&mut self) {
        *self = Self::default();
    }
}

/// The window begins with this, and is this for a calm resync.
const WINDOW_BYTES_MIN: i64 = RESYNC_REQUEST_BYTES as i64;

/// The rate that must not be exceeded.
fn rate_max(config: &ResyncConfig) -> Option<u64> {
    let rate = if config.c_plan_ahead.is_zero() { config.resync_rate } else { config.c_max_rate };
    (rate > 0).then_some(rate)
}

fn wanted_max(config: &ResyncConfig) -> i64 {
    let all = i64_of(RESYNC_IN_FLIGHT_BYTES_MAX);
    match config.c_fill_target_bytes {
        0 => all,
        _ if config.c_plan_ahead.is_zero() => all,
        fill => i64_of(fill).max(i64::from(BLOCK_BYTES)).min(all),
    }
}

fn bytes_in(rate: u64, time: Duration) -> i64 {
    let bytes = u128::from(rate) * time.as_nanos() / 1_000_000_000;
    i64::try_from(bytes).unwrap_or(i64::MAX / 4)
}

fn per_second(bytes: i64, time: Duration) -> u64 {
    let bytes = u128::try_from(bytes).unwrap_or(0);
    let rate = bytes * 1_000_000_000 / time.as_nanos().max(1);
    u64::try_from(rate).unwrap_or(u64::MAX)
}

fn i64_of(bytes: u64) -> i64 {
    i64::try_from(bytes).unwrap_or(i64::MAX / 4)
}
