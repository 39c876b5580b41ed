//! Runs seeds: `tandem-sim --seeds 5000`, or one of them again with its timeline: `--seed S
//! --trace`.
//!
//! Exit code 1 where a seed failed. Seeds are independent, so jobs share nothing but a counter.
#![expect(clippy::print_stdout, reason = "a command that reports to its user")]

use std::process::ExitCode;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use clap::Parser;
use tandem_sim::clock::{MILLIS, SECONDS};
use tandem_sim::failure::{keep_panics_quiet, run_caught};
use tandem_sim::fault::FaultCounts;
use tandem_sim::world::{Options, Outcome};

/// The simulator: two nodes, their disks and their network, from one number.
#[derive(Debug, Parser)]
struct Arguments {
    /// How many seeds to run.
    #[arg(long, default_value_t = 100)]
    seeds: u64,
    /// First seed.
    #[arg(long, default_value_t = 0)]
    start: u64,
    /// Run this seed only.
    #[arg(long)]
    seed: Option<u64>,
    /// Simulated seconds of load and faults.
    #[arg(long, default_value_t = 60)]
    seconds: u64,
    /// Seeds run at the same time.
    #[arg(long, default_value_t = 2)]
    jobs: usize,
    /// Print the timeline.
    #[arg(long)]
    trace: bool,
    /// Run every seed twice and compare.
    #[arg(long)]
    check_determinism: bool,
}

#[derive(Debug, Default)]
struct Summary {
    passed: u64,
    failed: u64,
    events: u64,
    simulated: u64,
    requests: u64,
    faults: FaultCounts,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    keep_panics_quiet();
    let (start, count) = match arguments.seed {
        Some(seed) => (seed, 1),
        None => (arguments.start, arguments.seeds),
    };
    let next = AtomicU64::new(0);
    let summary = Mutex::new(Summary::default());
    let began = std::time::Instant::now();
    let jobs = if arguments.trace { 1 } else { arguments.jobs };
    std::thread::scope(|scope| {
        for _ in 0..jobs {
            scope.spawn(|| {
                loop {
                    let index = next.fetch_add(1, Ordering::Relaxed);
                    if index >= count {
                        return;
                    }
                    let seed = start.wrapping_add(index);
                    let outcome = run_seed(seed, &arguments);
                    let mut summary = summary.lock().expect("no job panics while it counts");
                    report(seed, &outcome, &arguments, &mut summary);
                }
            });
        }
    });
    let summary = summary.into_inner().expect("no job panics while it counts");
    conclude(&summary, began.elapsed().as_secs_f64());
    if summary.failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn run_seed(seed: u64, arguments: &Arguments) -> Outcome {
    let options = Options { seconds: arguments.seconds, trace: arguments.trace };
    let mut outcome = run_caught(seed, options);
    if arguments.check_determinism {
        let again = run_caught(seed, Options { trace: false, ..options });
        if again.hash != outcome.hash {
            let text = format!("hashes {:016x} and {:016x}", outcome.hash, again.hash);
            let violation = tandem_sim::checks::Violation::new("determinism", text);
            outcome.violation.get_or_insert((outcome.simulated, violation));
        }
    }
    outcome
}

fn report(seed: u64, outcome: &Outcome, arguments: &Arguments, summary: &mut Summary) {
    summary.events += outcome.events;
    summary.simulated += outcome.simulated;
    summary.requests += outcome.requests;
    summary.faults.add(&outcome.faults);
    let Some((at, violation)) = &outcome.violation else {
        summary.passed += 1;
        return;
    };
    summary.failed += 1;
    println!("seed {seed} failed at {}.{:03} ms: {violation}", at / MILLIS, at % MILLIS / 1000);
    let seconds = arguments.seconds;
    println!("    cargo run --release -p tandem-sim -- --seed {seed} --seconds {seconds} --trace");
}

fn conclude(summary: &Summary, elapsed: f64) {
    let seeds = summary.passed + summary.failed;
    let simulated = summary.simulated / SECONDS;
    let faults = &summary.faults;
    println!(
        "{seeds} seeds, {simulated} simulated seconds, {} events, {} requests in {elapsed:.1} s",
        summary.events, summary.requests
    );
    println!(
        "faults: {} kills, {} power losses, {} cuts, {} resets, {} flipped bits, {} commands, \
         {} split brains",
        faults.kills,
        faults.power_losses,
        faults.cuts,
        faults.resets,
        faults.flips,
        faults.commands,
        faults.split_brains
    );
    #[expect(clippy::cast_precision_loss, reason = "rates for people")]
    let rate = |count: u64| count as f64 / elapsed.max(0.001);
    println!(
        "{:.0} events/s, {:.0} simulated seconds per second",
        rate(summary.events),
        rate(simulated)
    );
    println!("{} passed, {} failed", summary.passed, summary.failed);
}
