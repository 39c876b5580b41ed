//! The controller on a model of a link and two disks, in simulated time.

use std::collections::VecDeque;

use super::*;

const MIB: u64 = 1 << 20;

/// A link and the disks behind it: what is asked for arrives one way later, at most as fast as the
/// line is.
struct Model {
    pace: Pace,
    config: ResyncConfig,
    now: Instant,
    /// What is under way: when it arrives, and its bytes.
    coming: VecDeque<(Instant, u32)>,
    line_free: Instant,
    bytes_per_second: u64,
    delay: Duration,
    copied: u64,
    most_in_flight: u64,
}

impl Model {
    fn new(config: ResyncConfig, bytes_per_second: u64, delay: Duration) -> Self {
        let mut pace = Pace::default();
        let now = Instant::from_nanos(1);
        pace.start(&config, now);
        let coming = VecDeque::new();
        let (copied, most_in_flight) = (0, 0);
        Self {
            pace,
            config,
            now,
            coming,
            line_free: now,
            bytes_per_second,
            delay,
            copied,
            most_in_flight,
        }
    }

    /// Asks for what there is room for.
    fn ask(&mut self) {
        loop {
            let room = self.pace.room(&self.config, false) / 4096 * 4096;
            let room = if self.pace.room(&self.config, false) > 0 { room.max(4096) } else { 0 };
            if room == 0 {
                return;
            }
            let len = u32::try_from(room.min(u64::from(RESYNC_REQUEST_BYTES))).unwrap();
            self.pace.asked(len);
            let start = self.line_free.max(self.now + self.delay);
            let time = u64::from(len) * 1_000_000_000 / self.bytes_per_second;
            self.line_free = start + Duration::from_nanos(time);
            self.coming.push_back((self.line_free, len));
            self.most_in_flight = self.most_in_flight.max(self.pace.in_flight());
        }
    }

    /// Bytes copied in the next seconds.
    fn run(&mut self, seconds: u64) -> u64 {
        let end = self.now + Duration::from_secs(seconds);
        let before = self.copied;
        loop {
            self.ask();
            let step = self.pace.due().unwrap();
            let next = self.coming.front().map_or(step, |(at, _)| step.min(*at));
            if next > end {
                self.now = end;
                return self.copied - before;
            }
            self.now = next;
            self.pace.step(&self.config, self.now);
            while let Some((_, len)) = self.coming.pop_front_if(|(at, _)| *at <= next) {
                self.pace.arrived(len);
                self.copied += u64::from(len);
            }
        }
    }
}

fn fixed(rate: u64) -> ResyncConfig {
    let c_plan_ahead = Duration::ZERO;
    ResyncConfig { resync_rate: rate, c_plan_ahead, ..ResyncConfig::default() }
}

#[test]
fn an_idle_link_of_ten_gigabits_is_filled() {
    let line = 1250 * 1_000_000;
    let mut model = Model::new(ResyncConfig::default(), line, Duration::from_millis(1));
    model.run(2);
    let copied = model.run(10);
    assert!(copied > line * 10 * 97 / 100, "{copied}");
    assert!(model.most_in_flight <= RESYNC_IN_FLIGHT_BYTES_MAX);
}

#[test]
fn what_is_in_flight_goes_to_its_target_within_the_plan() {
    let config = ResyncConfig { c_fill_target_bytes: 2 * MIB, ..ResyncConfig::default() };
    let mut model = Model::new(config, 100 * MIB, Duration::from_millis(5));
    model.run(1);
    let half = model.pace.in_flight();
    assert!((MIB..2 * MIB - MIB / 2).contains(&half), "half of the plan's two seconds: {half}");
    model.run(2);
    let whole = model.pace.in_flight();
    assert!(whole.abs_diff(2 * MIB) <= 4096, "{whole}");
}

#[test]
fn a_delay_target_follows_the_bandwidth() {
    let c_delay_target = Duration::from_millis(100);
    let config = ResyncConfig { c_fill_target_bytes: 0, c_delay_target, ..ResyncConfig::default() };
    let mut model = Model::new(config, 100 * MIB, Duration::from_millis(2));
    model.run(10);
    for bandwidth in [100 * MIB, 10 * MIB, 40 * MIB] {
        model.bytes_per_second = bandwidth;
        model.run(15);
        let copied = model.run(5);
        assert!(copied > bandwidth * 5 * 95 / 100, "{copied} at {bandwidth}");
        let in_flight = model.pace.in_flight();
        let wanted = bandwidth / 10;
        assert!(in_flight.abs_diff(wanted) < wanted / 5 + 300_000, "{in_flight} for {wanted}");
    }
}

#[test]
fn a_fixed_rate_is_kept() {
    for rate in [10_000, MIB, 77 * MIB] {
        let mut model = Model::new(fixed(rate), 1000 * MIB, Duration::from_millis(1));
        model.run(2);
        let copied = model.run(20);
        assert!(copied.abs_diff(rate * 20) <= rate * 2, "{copied} at {rate}");
    }
}

#[test]
fn an_upper_bound_is_kept() {
    let config = ResyncConfig { c_max_rate: 20 * MIB, ..ResyncConfig::default() };
    let mut model = Model::new(config, 1000 * MIB, Duration::from_millis(1));
    model.run(3);
    let copied = model.run(20);
    assert!((19 * 20 * MIB..=20 * 20 * MIB + MIB).contains(&copied), "{copied}");
}

#[test]
fn the_smallest_targets_never_stall() {
    for (fill, delay) in [(1, 100), (0, 100), (512, 100)] {
        let config = ResyncConfig {
            c_fill_target_bytes: fill,
            c_delay_target: Duration::from_millis(delay),
            ..ResyncConfig::default()
        };
        // So far away that a delay target of 100 ms shrinks what is in flight.
        let mut model = Model::new(config, 100 * MIB, Duration::from_millis(300));
        for _ in 0..60 {
            assert!(model.run(1) > 0, "stalled with {fill} {delay}");
        }
    }
}

#[test]
fn it_goes_on_where_it_was_stopped() {
    let mut model = Model::new(ResyncConfig::default(), 100 * MIB, Duration::from_millis(2));
    model.run(3);
    let in_flight = model.pace.in_flight();
    model.pace.stop();
    assert_eq!((model.pace.due(), model.pace.room(&model.config, false)), (None, 0));
    model.pace.start(&model.config, model.now);
    assert_eq!(model.pace.in_flight(), in_flight, "what was asked for still comes");
    assert!(model.run(3) > 0);
}

#[test]
fn a_calm_resync_asks_for_one_request_at_a_time() {
    let mut pace = Pace::default();
    let config = ResyncConfig::default();
    pace.start(&config, Instant::default());
    for step in 1..50 {
        pace.step(&config, Instant::default() + RESYNC_STEP * step);
    }
    assert_eq!(pace.room(&config, false), config.c_fill_target_bytes);
    assert_eq!(pace.room(&config, true), u64::from(RESYNC_REQUEST_BYTES));
    pace.asked(RESYNC_REQUEST_BYTES);
    assert_eq!(pace.room(&config, true), 0);
}
