//! Runs seeds: `tandem-sim --seeds 5000`, or one of them again with its timeline: `--seed S
//! --trace`, made small: `--seed S --reduce`, or with steps left out: `--seed S --only f2,r7-9`.
//!
//! Exit code 1 where a seed failed. Results go to standard output; a run of more than some seconds
//! tells on standard error how far it is, a line at a time, for terminals and logs alike. Seeds are
//! independent, so jobs share nothing but a counter and the sums.
#![expect(clippy::print_stdout, reason = "a command that reports to its user")]

use std::num::NonZeroUsize;
use std::process::ExitCode;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use clap::Parser;
use tandem_sim::clock::{MILLIS, SECONDS};
use tandem_sim::failure::{keep_panics_quiet, run_caught};
use tandem_sim::fault::FaultCounts;
use tandem_sim::marks::{Mark, Marks};
use tandem_sim::steps::{Kind, Steps};
use tandem_sim::world::{Options, Outcome};
use tandem_sim::{jobs, reduce};

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
    /// Seeds run at the same time; as many as there are processors unless told otherwise.
    #[arg(long)]
    jobs: Option<NonZeroUsize>,
    /// Print the timeline.
    #[arg(long)]
    trace: bool,
    /// Tell how often each named situation was met.
    #[arg(long)]
    marks: bool,
    /// Fail where so many seeds or more have never met a named situation, and say which.
    #[arg(long, value_name = "SEEDS")]
    require_marks: Option<u64>,
    /// Run every seed twice and compare.
    #[arg(long)]
    check_determinism: bool,
    /// Find out which steps of a failing seed it takes: faults (f), looks of the operator (o),
    /// requests (r).
    #[arg(long, requires = "seed", conflicts_with_all = ["trace", "check_determinism"])]
    reduce: bool,
    /// Carry out these steps and no others, as `f2,o14,r7-9`.
    #[arg(long, requires = "seed", value_name = "STEPS")]
    only: Option<Steps>,
    /// Leave these steps out.
    #[arg(long, requires = "seed", value_name = "STEPS", conflicts_with = "only")]
    without: Option<Steps>,
}

#[derive(Debug, Default)]
struct Summary {
    passed: u64,
    failed: u64,
    events: u64,
    simulated: u64,
    requests: u64,
    faults: FaultCounts,
    marks: Marks,
    /// When progress was told last, after the beginning.
    told: Duration,
}

/// Time between two lines about progress.
const TELL_EVERY: Duration = Duration::from_secs(10);

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    keep_panics_quiet();
    if let (true, Some(seed)) = (arguments.reduce, arguments.seed) {
        return reduce_seed(seed, &arguments);
    }
    let (start, count) = match arguments.seed {
        Some(seed) => (seed, 1),
        None => (arguments.start, arguments.seeds),
    };
    let summary = Mutex::new(Summary::default());
    let began = Instant::now();
    jobs::for_each(count, job_count(&arguments), |index| {
        let seed = start.wrapping_add(index);
        let outcome = run_seed(seed, &arguments);
        let mut summary = summary.lock().expect("no job panics while it counts");
        report(seed, &outcome, &arguments, &mut summary);
        let elapsed = began.elapsed();
        if elapsed - summary.told >= TELL_EVERY {
            summary.told = elapsed;
            eprintln!("{}", progress(&summary, count, elapsed));
        }
    });
    let summary = summary.into_inner().expect("no job panics while it counts");
    conclude(&summary, began.elapsed());
    if arguments.marks {
        tell_marks(&summary.marks);
    }
    let is_long = arguments.require_marks.is_some_and(|seeds| count >= seeds);
    let missing = missing_marks(&summary.marks).filter(|_| is_long);
    if let Some(text) = &missing {
        println!("{text}");
    }
    let is_well = summary.failed == 0 && missing.is_none();
    if is_well { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Timelines of several seeds at once could not be told apart.
fn job_count(arguments: &Arguments) -> usize {
    if arguments.trace { 1 } else { jobs::count(arguments.jobs) }
}

fn run_seed(seed: u64, arguments: &Arguments) -> Outcome {
    let options = Options { seconds: arguments.seconds, trace: arguments.trace };
    let mut outcome = run_steps(seed, options, arguments);
    if arguments.check_determinism {
        let again = run_steps(seed, Options { trace: false, ..options }, arguments);
        if again.hash != outcome.hash {
            let text = format!("hashes {:016x} and {:016x}", outcome.hash, again.hash);
            let violation = tandem_sim::checks::Violation::new("determinism", text);
            outcome.violation.get_or_insert((outcome.simulated, violation));
        }
    }
    outcome
}

/// All of a run, or some of its steps.
fn run_steps(seed: u64, options: Options, arguments: &Arguments) -> Outcome {
    if arguments.only.is_none() && arguments.without.is_none() {
        return run_caught(seed, options);
    }
    let (_, tape) = reduce::record(seed, Options { trace: false, ..options });
    let all = Kind::ALL.into_iter().flat_map(|kind| tape.steps(kind));
    let kept = all.filter(|step| {
        arguments.only.as_ref().is_none_or(|only| only.contains(*step))
            && !arguments.without.as_ref().is_some_and(|without| without.contains(*step))
    });
    reduce::play(seed, options, &tape, kept.collect()).0
}

/// Makes a failing seed small, and tells what is left of it.
fn reduce_seed(seed: u64, arguments: &Arguments) -> ExitCode {
    let seconds = arguments.seconds;
    let began = Instant::now();
    let mut told = Duration::ZERO;
    let mut tell = |runs, left| {
        if began.elapsed() - told >= TELL_EVERY {
            told = began.elapsed();
            eprintln!("{left} steps left after {runs} runs of {} at most", reduce::RUNS_MAX);
        }
    };
    let Some(reduced) = reduce::reduce(seed, Options { seconds, trace: false }, &mut tell) else {
        println!("seed {seed} does not fail");
        return ExitCode::SUCCESS;
    };
    let reduce::Reduced { outcome, before, steps, lines, runs } = reduced;
    println!("seed {seed} fails with {} of {before} steps, by {runs} runs:", steps.0.len());
    for line in &lines {
        let place = line.node.map_or_else(|| "-".to_owned(), |node| node.to_string());
        println!("{:>8} {:>16}  {place}  {}", line.step, moment(line.at), line.text);
    }
    if let Some((at, violation)) = outcome.violation {
        println!("  failed {:>16}     {violation}", moment(at));
    }
    println!(
        "    cargo run --release -p tandem-sim -- --seed {seed} --seconds {seconds} --only {steps} \
         --trace"
    );
    ExitCode::FAILURE
}

/// A moment in milliseconds, as timelines have it.
fn moment(at: u64) -> String {
    format!("{}.{:03} ms", at / MILLIS, at % MILLIS / 1000)
}

fn report(seed: u64, outcome: &Outcome, arguments: &Arguments, summary: &mut Summary) {
    summary.events += outcome.events;
    summary.simulated += outcome.simulated;
    summary.requests += outcome.requests;
    summary.faults.add(&outcome.faults);
    summary.marks.add(&outcome.marks);
    let Some((at, violation)) = &outcome.violation else {
        summary.passed += 1;
        return;
    };
    summary.failed += 1;
    println!("seed {seed} failed at {}: {violation}", moment(*at));
    let seconds = arguments.seconds;
    println!("    cargo run --release -p tandem-sim -- --seed {seed} --seconds {seconds} --trace");
}

/// How far a run of `count` seeds is, and how fast.
fn progress(summary: &Summary, count: u64, elapsed: Duration) -> String {
    let done = summary.passed + summary.failed;
    let left = count.saturating_sub(done);
    let seconds = elapsed.as_secs() * left / done.max(1);
    format!(
        "{done} of {count} seeds done, {} failed; {:.1} seeds/s, {:.0} simulated seconds per \
         second; {}:{:02} left",
        summary.failed,
        rate(done, elapsed),
        rate(summary.simulated / SECONDS, elapsed),
        seconds / 60,
        seconds % 60
    )
}

/// So many a second.
#[expect(clippy::cast_precision_loss, reason = "rates for people")]
fn rate(count: u64, elapsed: Duration) -> f64 {
    count as f64 / elapsed.as_secs_f64().max(0.001)
}

fn conclude(summary: &Summary, elapsed: Duration) {
    let seeds = summary.passed + summary.failed;
    let simulated = summary.simulated / SECONDS;
    let faults = &summary.faults;
    println!(
        "{seeds} seeds, {simulated} simulated seconds, {} events, {} requests in {:.1} s",
        summary.events,
        summary.requests,
        elapsed.as_secs_f64()
    );
    println!(
        "faults: {} kills, {} power losses, {} cuts, {} resets, {} flipped bits, {} commands, \
         {} split brains, {} settled by policy, {} damaged blocks, {} disk errors, {} new disks; \
         {} looks behind crashes; I/O frozen {} times by command, {} without data",
        faults.kills,
        faults.power_losses,
        faults.cuts,
        faults.resets,
        faults.flips,
        faults.commands,
        faults.split_brains,
        faults.settled,
        faults.damaged,
        faults.disk_errors,
        faults.replaced,
        faults.crashes_checked,
        faults.suspended,
        faults.no_data
    );
    println!(
        "{:.0} events/s, {:.0} simulated seconds per second",
        rate(summary.events, elapsed),
        rate(simulated, elapsed)
    );
    println!("{} passed, {} failed", summary.passed, summary.failed);
}

/// Faults by class, then every mark.
fn tell_marks(marks: &Marks) {
    for (class, count) in marks.faults() {
        println!("fault {count:>9}  {class}");
    }
    for mark in Mark::ALL {
        println!("mark  {:>9}  {}", marks.count(*mark), mark.name());
    }
}

/// Names what was never met; nothing where everything was.
fn missing_marks(marks: &Marks) -> Option<String> {
    let missing = Mark::ALL.iter().filter(|mark| marks.count(**mark) == 0);
    let names: Vec<&str> = missing.map(|mark| mark.name()).collect();
    let all = Mark::ALL.len();
    let text = format!("{} of {all} marks were never met: {}", names.len(), names.join(", "));
    (!names.is_empty()).then_some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn progress_tells_what_is_done_and_what_is_left() {
        let summary =
            Summary { passed: 98, failed: 2, simulated: 6000 * SECONDS, ..Summary::default() };
        assert_eq!(
            progress(&summary, 400, Duration::from_secs(25)),
            "100 of 400 seeds done, 2 failed; 4.0 seeds/s, 240 simulated seconds per second; 1:15 \
             left"
        );
    }

    #[test]
    fn marks_that_were_never_met_are_named() {
        let mut marks = Marks::default();
        for mark in Mark::ALL.iter().filter(|mark| **mark != Mark::FuaWrite) {
            marks.hit(*mark);
        }
        let all = Mark::ALL.len();
        let text = format!("1 of {all} marks were never met: fua_write");
        assert_eq!(missing_marks(&marks), Some(text));
        marks.hit(Mark::FuaWrite);
        assert_eq!(missing_marks(&marks), None);
    }

    #[test]
    fn a_timeline_is_one_job() {
        let parse = |line: &str| Arguments::parse_from(line.split(' '));
        assert_eq!(job_count(&parse("tandem-sim --jobs 3")), 3);
        assert_eq!(job_count(&parse("tandem-sim --jobs 3 --seed 1 --trace")), 1);
        assert!(job_count(&parse("tandem-sim")) >= 1);
        assert!(Arguments::try_parse_from(["tandem-sim", "--jobs", "0"]).is_err());
    }
}
