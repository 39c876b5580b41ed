//! Runs a simulator until it finds something.

use std::fmt;
use std::io::{BufRead, BufReader};
use std::num::NonZeroUsize;
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread;
use std::time::{Duration, Instant};

use crate::Result;

/// How long is looked for a bug.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    pub(crate) seeds: u64,
    pub(crate) time: Duration,
    pub(crate) jobs: Option<NonZeroUsize>,
}

/// What came of it.
#[derive(Clone, Debug)]
pub(crate) struct Hunt {
    pub(crate) finding: Option<Finding>,
    pub(crate) elapsed: Duration,
}

/// The first seed that failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Finding {
    pub(crate) seed: u64,
    /// What was broken.
    pub(crate) invariant: String,
    /// How.
    text: String,
}

impl fmt::Display for Hunt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = self.elapsed.as_secs_f64();
        match &self.finding {
            Some(Finding { seed, invariant, text }) => {
                write!(f, "found by seed {seed} in {seconds:.1} s: {invariant}: {text}")
            }
            None => write!(f, "NOT FOUND in {seconds:.1} s"),
        }
    }
}

/// Runs seeds from 0 on until one fails, or the limits are reached.
pub(crate) fn hunt(simulator: &Path, limits: &Limits) -> Result<Hunt> {
    let began = Instant::now();
    let mut command = Command::new(simulator);
    command.args(["--seeds", &limits.seeds.to_string()]);
    if let Some(jobs) = limits.jobs {
        command.args(["--jobs", &jobs.to_string()]);
    }
    command.stdout(Stdio::piped()).stderr(Stdio::null());
    let mut child = command.spawn().map_err(|error| error.to_string())?;
    let stdout = child.stdout.take().expect("it is piped");
    let finding = first_finding(&lines_of(stdout), began + limits.time);
    end(&mut child)?;
    Ok(Hunt { finding: finding?, elapsed: began.elapsed() })
}

/// Whether a seed passes.
pub(crate) fn passes(simulator: &Path, seed: u64) -> Result<bool> {
    let mut command = Command::new(simulator);
    command.args(["--seed", &seed.to_string()]);
    Ok(command.output().map_err(|error| error.to_string())?.status.success())
}

/// The lines of a pipe, which so can be waited for with a limit.
fn lines_of(stdout: ChildStdout) -> Receiver<String> {
    let (sender, receiver) = channel();
    thread::spawn(move || {
        let lines = BufReader::new(stdout).lines().map_while(std::result::Result::ok);
        for line in lines {
            if sender.send(line).is_err() {
                return;
            }
        }
    });
    receiver
}

/// The first finding told by `until`. A simulator that ends without its sums has crashed.
fn first_finding(lines: &Receiver<String>, until: Instant) -> Result<Option<Finding>> {
    let mut ends_well = false;
    loop {
        match lines.recv_timeout(until.saturating_duration_since(Instant::now())) {
            Ok(line) => {
                if let Some(finding) = parse(&line) {
                    return Ok(Some(finding));
                }
                ends_well |= line.ends_with(" passed, 0 failed");
            }
            Err(RecvTimeoutError::Timeout) => return Ok(None),
            Err(RecvTimeoutError::Disconnected) if ends_well => return Ok(None),
            Err(RecvTimeoutError::Disconnected) => {
                return Err("the simulator ended before its seeds did".to_owned());
            }
        }
    }
}

/// `seed 7 failed at 12.034 ms: INV-1: a write is gone`; a panic is named by its place.
fn parse(line: &str) -> Option<Finding> {
    let (seed, rest) = line.strip_prefix("seed ")?.split_once(" failed at ")?;
    let (_, told) = rest.split_once(": ")?;
    let (invariant, text) = told.split_once(": ")?;
    let place = text.rsplit_once(" at ").map(|(_, place)| place);
    let file = place.and_then(|place| place.split(':').next()).filter(|_| invariant == "panic");
    let invariant = match file.and_then(|file| file.rsplit_once("/src/")) {
        Some((_, file)) => format!("assertion in `{file}`"),
        None => invariant.to_owned(),
    };
    Some(Finding { seed: seed.parse().ok()?, invariant, text: text.to_owned() })
}

/// Ends what may still run.
fn end(child: &mut Child) -> Result<()> {
    // One that has ended already cannot be killed, which is as well.
    let _ended = child.kill();
    child.wait().map(|_| ()).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn findings_are_told_from_other_lines() {
        let line = "seed 7 failed at 12.034 ms: INV-1: a write: it is gone";
        let finding = parse(line).expect("a finding");
        assert_eq!((finding.seed, finding.invariant.as_str()), (7, "INV-1"));
        assert_eq!(finding.text, "a write: it is gone");
        assert_eq!(parse("    cargo run --release -p tandem-sim -- --seed 7"), None);
        assert_eq!(parse("100 passed, 0 failed"), None);
    }

    #[test]
    fn panics_are_named_by_their_file() {
        let line =
            "seed 3 failed at 1.000 ms: panic: it ends once at crates/replica/src/read.rs:9:1";
        assert_eq!(parse(line).expect("a finding").invariant, "assertion in `read.rs`");
    }

    #[test]
    fn a_simulator_that_crashes_is_an_error() {
        let (sender, lines) = channel();
        let until = Instant::now() + Duration::from_secs(60);
        sender.send("3 passed, 0 failed".to_owned()).expect("somebody listens");
        drop(sender);
        assert_eq!(first_finding(&lines, until), Ok(None));
        let (sender, lines) = channel();
        drop(sender);
        assert!(first_finding(&lines, until).is_err());
    }
}
