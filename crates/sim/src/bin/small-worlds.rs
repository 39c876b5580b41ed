//! Every drill up to a length, and every blow on what its last move leads to: `tandem-small-worlds
//! --depth 4 --blows 3`; or one of them again with its timeline: `--play '0:write 1:invalidate'
//! --blow kill@1:4 --trace`.
//!
//! Drills grow move by move. One whose last move came to nothing is not gone on with: it is the one
//! without that move. Nor is one that failed. Exit code 1 where one failed; progress goes to
//! standard error.
#![expect(clippy::print_stdout, reason = "a command that reports to its user")]

use std::collections::BTreeSet;
use std::num::NonZeroUsize;
use std::process::ExitCode;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use clap::Parser;
use tandem_sim::checks::Violation;
use tandem_sim::clock::MILLIS;
use tandem_sim::drill::{self, Blow, Move, Moves, Setting};
use tandem_sim::failure::keep_panics_quiet;
use tandem_sim::jobs;
use tandem_wire::Protocol;

/// Small worlds: every script of moves up to a length, every crash and cut of its last move.
#[derive(Debug, Parser)]
struct Arguments {
    /// Moves that scripts begin with, which are not counted below; several of them may be given.
    #[arg(long, value_name = "MOVES", default_value = "", hide_default_value = true)]
    from: Vec<Moves>,
    /// Scripts begin with nodes apart: both Secondary, one behind, both Primary and written to, a
    /// Primary without data.
    #[arg(long, conflicts_with = "from")]
    apart: bool,
    /// Longest scripts.
    #[arg(long, default_value_t = 2)]
    depth: usize,
    /// Longest scripts on whose last move every blow falls.
    #[arg(long, default_value_t = 1)]
    blows: usize,
    /// Longest scripts on whose last move every blow falls if no move before had its footprint.
    #[arg(long, default_value_t = 0)]
    once: usize,
    /// Longest scripts whose last move is crossed by every other one at every moment of it, if no
    /// move before had its footprint.
    #[arg(long, default_value_t = 0)]
    crossings: usize,
    /// The same, with every other one made while an operation of a disk hangs, which then ends well
    /// or fails.
    #[arg(long, default_value_t = 0)]
    delays: usize,
    /// Protocol of the connection: A, B or C.
    #[arg(long, default_value = "C", value_parser = protocol)]
    protocol: Protocol,
    /// Errors of disks are passed on; else disks that fail are detached.
    #[arg(long)]
    passes_on: bool,
    /// Requests wait where no data can be reached; else they are answered with an error.
    #[arg(long)]
    freezes: bool,
    /// Scripts at the same time; as many as there are processors unless told otherwise.
    #[arg(long)]
    jobs: Option<NonZeroUsize>,
    /// Make these moves only, as `0:write 1:invalidate`.
    #[arg(long, value_name = "MOVES")]
    play: Option<Moves>,
    /// Let this blow fall on the last of them, as `kill@1:4`.
    #[arg(long, requires = "play")]
    blow: Option<Blow>,
    /// Print the timeline.
    #[arg(long, requires = "play")]
    trace: bool,
}

impl Arguments {
    fn setting(&self) -> Setting {
        let Self { protocol, passes_on, freezes, .. } = *self;
        Setting { protocol, passes_on, freezes }
    }
}

fn protocol(text: &str) -> Result<Protocol, String> {
    match text {
        "A" => Ok(Protocol::A),
        "B" => Ok(Protocol::B),
        "C" => Ok(Protocol::C),
        _ => Err("A, B or C".into()),
    }
}

/// What has come of all of them so far.
#[derive(Debug, Default)]
struct Tally {
    scripts: u64,
    /// Scripts whose last move came to nothing.
    idle: u64,
    blows: u64,
    /// Footprints of all moves with blows.
    seen: BTreeSet<u64>,
    failed: u64,
    simulated: u64,
    /// Scripts to be gone on with.
    open: Vec<Moves>,
    told: Duration,
}

/// How nodes come to be apart.
const APART: [&str; 4] = [
    "0:secondary 0:disconnect",
    "1:disconnect 0:write",
    "1:disconnect 1:primary-force 1:write 0:write",
    "1:disconnect 0:detach-force",
];

/// Time between two lines about progress.
const TELL_EVERY: Duration = Duration::from_secs(10);

/// Failures that are printed; more would be of one cause.
const FAILURES_MAX: u64 = 50;

fn main() -> ExitCode {
    let mut arguments = Arguments::parse();
    if arguments.apart {
        arguments.from = APART.map(|moves| moves.parse().expect("moves")).to_vec();
    }
    keep_panics_quiet();
    if let Some(moves) = &arguments.play {
        return play(moves, &arguments);
    }
    let began = Instant::now();
    let tally = Mutex::new(Tally { open: arguments.from.clone(), ..Tally::default() });
    for depth in 1..=arguments.depth {
        let stems = std::mem::take(&mut tally.lock().expect("no job panics while it counts").open);
        go_through(&stems, depth, &arguments, &tally, began);
    }
    let tally = tally.into_inner().expect("no job panics while it counts");
    println!(
        "{} scripts of {} moves at most behind {} beginnings, {} of them with a last move that \
         came to nothing; {} footprints; {} blows; {} simulated seconds in {:.1} s",
        tally.scripts,
        arguments.depth,
        arguments.from.len(),
        tally.idle,
        tally.seen.len(),
        tally.blows,
        tally.simulated / 1000,
        began.elapsed().as_secs_f64()
    );
    println!("{} failed", tally.failed);
    if tally.failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Every script that is one move longer than one of `stems`.
fn go_through(
    stems: &[Moves],
    depth: usize,
    arguments: &Arguments,
    tally: &Mutex<Tally>,
    began: Instant,
) {
    let all: Vec<Move> = Move::all().collect();
    let count = stems.len() * all.len();
    jobs::for_each(count as u64, jobs::count(arguments.jobs), |index| {
        let place = usize::try_from(index).expect("below a number of scripts");
        let mut moves = stems[place / all.len()].clone();
        moves.0.push(all[place % all.len()]);
        drill(moves, depth, arguments, tally);
        let (elapsed, mut tally) =
            (began.elapsed(), tally.lock().expect("no job panics while it counts"));
        if elapsed - tally.told >= TELL_EVERY {
            tally.told = elapsed;
            eprintln!(
                "{} of {count} scripts of {depth} moves done; {} blows, {} failed",
                index + 1,
                tally.blows,
                tally.failed
            );
        }
    });
}

/// One script, and the blows on it.
fn drill(moves: Moves, length: usize, arguments: &Arguments, tally: &Mutex<Tally>) {
    let &Arguments { blows, once, crossings, delays, .. } = arguments;
    let setting = arguments.setting();
    let (outcome, effects) = drill::run(&moves, None, setting, false);
    let mut simulated = outcome.simulated / MILLIS;
    let mut failures: Vec<(Option<Blow>, (u64, Violation))> = Vec::new();
    failures.extend(outcome.violation.map(|violation| (None, violation)));
    let goes_on = failures.is_empty() && !effects.is_nothing();
    let is_new = goes_on && {
        let mut tally = tally.lock().expect("no job panics while it counts");
        tally.seen.insert(effects.footprint)
    };
    let mut falling = Vec::new();
    if goes_on && (length <= blows || is_new && length <= once) {
        falling.extend(effects.blows());
    }
    if is_new && length <= crossings {
        falling.extend(effects.crossings());
    }
    if is_new && length <= delays {
        falling.extend(effects.delays());
    }
    for blow in &falling {
        let (outcome, _) = drill::run(&moves, Some(*blow), setting, false);
        simulated += outcome.simulated / MILLIS;
        failures.extend(outcome.violation.map(|violation| (Some(*blow), violation)));
    }
    let mut tally = tally.lock().expect("no job panics while it counts");
    tally.scripts += 1;
    tally.idle += u64::from(effects.is_nothing());
    tally.blows += falling.len() as u64;
    tally.simulated += simulated;
    for (blow, (at, violation)) in failures {
        tally.failed += 1;
        if tally.failed <= FAILURES_MAX {
            tell_failure(&moves, blow, setting, at, &violation);
        }
    }
    if goes_on {
        tally.open.push(moves);
    }
}

fn tell_failure(
    moves: &Moves,
    blow: Option<Blow>,
    setting: Setting,
    at: u64,
    violation: &Violation,
) {
    let blow = blow.map(|blow| format!(" --blow {blow}")).unwrap_or_default();
    println!("{moves}{blow} failed at {} ms: {violation}", at / MILLIS);
    let Setting { protocol, passes_on, freezes } = setting;
    let passes_on = if passes_on { " --passes-on" } else { "" };
    let freezes = if freezes { " --freezes" } else { "" };
    println!(
        "    cargo run --release -p tandem-sim --bin tandem-small-worlds -- --protocol \
         {protocol:?}{passes_on}{freezes} --play '{moves}'{blow} --trace"
    );
}

fn play(moves: &Moves, arguments: &Arguments) -> ExitCode {
    let setting = arguments.setting();
    let (outcome, effects) = drill::run(moves, arguments.blow, setting, arguments.trace);
    println!("{effects:?}");
    let Some((at, violation)) = outcome.violation else { return ExitCode::SUCCESS };
    tell_failure(moves, arguments.blow, setting, at, &violation);
    ExitCode::FAILURE
}
