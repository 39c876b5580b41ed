//! Runs what finds bugs until it finds one.

use std::fmt;
use std::io::{BufRead, BufReader};
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread;
use std::time::{Duration, Instant};

use crate::Result;

/// How long is looked for a bug.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    /// Of each kind.
    pub(crate) seeds: u64,
    /// In each way.
    pub(crate) time: Duration,
    pub(crate) jobs: Option<NonZeroUsize>,
}

/// What looks for bugs.
#[derive(Clone, Debug)]
pub(crate) struct Programs {
    /// `tandem-sim`.
    pub(crate) simulator: PathBuf,
    /// `tandem-small-worlds`.
    pub(crate) small_worlds: PathBuf,
}

/// One way to look, the quick ones first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    /// Seeds from this one on.
    Seeds(u64),
    /// Small worlds, whose disks are detached when they fail.
    SmallWorlds,
    /// Small worlds whose disks pass their errors on, and hang.
    PassingOn,
    /// Small worlds that begin with nodes apart.
    Apart,
    /// A story of the core's tests.
    Story,
}

impl Way {
    const ALL: [Self; 6] = [
        Self::Seeds(0),
        Self::SmallWorlds,
        Self::Seeds(2_000_000),
        Self::PassingOn,
        Self::Apart,
        Self::Seeds(1_000_000),
    ];

    fn program(self, programs: &Programs) -> &Path {
        match self {
            Self::Seeds(_) => &programs.simulator,
            Self::SmallWorlds | Self::PassingOn | Self::Apart => &programs.small_worlds,
            Self::Story => unreachable!("stories are played by cargo"),
        }
    }

    /// What is the same for all that is looked at, and for each of them again.
    fn setting(self) -> &'static [&'static str] {
        match self {
            Self::Seeds(_) | Self::SmallWorlds | Self::Apart | Self::Story => &[],
            Self::PassingOn => &["--passes-on", "--freezes"],
        }
    }

    fn extent(self, limits: &Limits) -> Vec<String> {
        match self {
            Self::Seeds(start) => {
                vec![format!("--start={start}"), format!("--seeds={}", limits.seeds)]
            }
            Self::SmallWorlds => words(&["--depth=2", "--blows=2", "--crossings=1"]),
            Self::PassingOn => words(&["--depth=2", "--blows=2", "--crossings=1", "--delays=1"]),
            Self::Apart => words(&["--apart", "--depth=1", "--blows=1", "--crossings=1"]),
            Self::Story => Vec::new(),
        }
    }
}

fn words(words: &[&str]) -> Vec<String> {
    words.iter().copied().map(str::to_owned).collect()
}

/// What came of it.
#[derive(Clone, Debug)]
pub(crate) struct Hunt {
    pub(crate) finding: Option<Finding>,
    /// In the way that found it; in all of them where none did.
    pub(crate) elapsed: Duration,
}

/// The first run that failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Finding {
    way: Way,
    run: Run,
    /// What was broken.
    pub(crate) invariant: String,
    /// How.
    text: String,
}

/// One run, by which it can be had again.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Run {
    Seed(u64),
    Drill { moves: String, blow: Option<String> },
    Story(String),
}

impl Run {
    fn arguments(&self) -> Vec<String> {
        match self {
            Self::Seed(seed) => vec![format!("--seed={seed}")],
            Self::Drill { moves, blow } => {
                let blow = blow.iter().map(|blow| format!("--blow={blow}"));
                std::iter::once(format!("--play={moves}")).chain(blow).collect()
            }
            Self::Story(name) => vec![name.clone()],
        }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for word in self.way.setting() {
            write!(f, "{word} ")?;
        }
        match &self.run {
            Run::Seed(seed) => write!(f, "{seed}"),
            Run::Drill { moves, blow: None } => write!(f, "`{moves}`"),
            Run::Drill { moves, blow: Some(blow) } => write!(f, "`{moves}`, {blow}"),
            Run::Story(name) => write!(f, "story `{name}`"),
        }
    }
}

impl fmt::Display for Hunt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = self.elapsed.as_secs_f64();
        match &self.finding {
            Some(finding) => {
                let Finding { invariant, text, .. } = finding;
                write!(f, "found by {finding} in {seconds:.1} s: {invariant}: {text}")
            }
            None => write!(f, "NOT FOUND in {seconds:.1} s"),
        }
    }
}

/// A story that has failed.
pub(crate) fn told(story: &str, elapsed: Duration) -> Hunt {
    let (way, run) = (Way::Story, Run::Story(story.to_owned()));
    let (invariant, text) = ("a story".to_owned(), "it does not end as it is told".to_owned());
    Hunt { finding: Some(Finding { way, run, invariant, text }), elapsed }
}

/// Looks in one way after the other until a run fails, or the limits are reached.
pub(crate) fn hunt(programs: &Programs, limits: &Limits) -> Result<Hunt> {
    let mut in_vain = Duration::ZERO;
    for way in Way::ALL {
        let began = Instant::now();
        let finding = look(way, programs, limits, began + limits.time)?;
        let elapsed = began.elapsed();
        if finding.is_some() {
            return Ok(Hunt { finding, elapsed });
        }
        in_vain += elapsed;
    }
    Ok(Hunt { finding: None, elapsed: in_vain })
}

fn look(way: Way, programs: &Programs, limits: &Limits, until: Instant) -> Result<Option<Finding>> {
    let mut command = Command::new(way.program(programs));
    command.args(way.setting()).args(way.extent(limits));
    if let Some(jobs) = limits.jobs {
        command.arg(format!("--jobs={jobs}"));
    }
    command.stdout(Stdio::piped()).stderr(Stdio::null());
    let mut child = command.spawn().map_err(|error| error.to_string())?;
    let stdout = child.stdout.take().expect("it is piped");
    let finding = first_finding(way, &lines_of(stdout), until);
    end(&mut child)?;
    finding
}

/// Whether what has failed passes.
pub(crate) fn passes(programs: &Programs, Finding { way, run, .. }: &Finding) -> Result<bool> {
    let mut command = Command::new(way.program(programs));
    command.args(way.setting()).args(run.arguments());
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

/// The first finding told by `until`. What ends without its sums has crashed.
fn first_finding(way: Way, lines: &Receiver<String>, until: Instant) -> Result<Option<Finding>> {
    let mut ends_well = false;
    loop {
        match lines.recv_timeout(until.saturating_duration_since(Instant::now())) {
            Ok(line) => {
                if let Some(finding) = parse(way, &line) {
                    return Ok(Some(finding));
                }
                ends_well |= line == "0 failed" || line.ends_with(" passed, 0 failed");
            }
            Err(RecvTimeoutError::Timeout) => return Ok(None),
            Err(RecvTimeoutError::Disconnected) if ends_well => return Ok(None),
            Err(RecvTimeoutError::Disconnected) => {
                return Err("what looks for it ended before it had seen all".to_owned());
            }
        }
    }
}

/// `seed 7 failed at 12.034 ms: INV-1: a write is gone`, or moves and a blow in place of the seed;
/// a panic is named by its place.
fn parse(way: Way, line: &str) -> Option<Finding> {
    let (run, rest) = line.split_once(" failed at ")?;
    let run = match (way, run.split_once(" --blow ")) {
        (Way::Seeds(_), _) => Run::Seed(run.strip_prefix("seed ")?.parse().ok()?),
        (_, None) => Run::Drill { moves: run.to_owned(), blow: None },
        (_, Some((moves, blow))) => {
            Run::Drill { moves: moves.to_owned(), blow: Some(blow.to_owned()) }
        }
    };
    let (_, told) = rest.split_once(": ")?;
    let (invariant, text) = told.split_once(": ")?;
    let place = text.rsplit_once(" at ").map(|(_, place)| place);
    let file = place.and_then(|place| place.split(':').next()).filter(|_| invariant == "panic");
    let invariant = match file.and_then(|file| file.rsplit_once("/src/")) {
        Some((_, file)) => format!("assertion in `{file}`"),
        None => invariant.to_owned(),
    };
    Some(Finding { way, run, invariant, text: text.to_owned() })
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

    const SEEDS: Way = Way::Seeds(0);

    #[test]
    fn findings_are_told_from_other_lines() {
        let line = "seed 7 failed at 12.034 ms: INV-1: a write: it is gone";
        let finding = parse(SEEDS, line).expect("a finding");
        assert_eq!((&finding.run, finding.invariant.as_str()), (&Run::Seed(7), "INV-1"));
        assert_eq!(finding.text, "a write: it is gone");
        assert_eq!(parse(SEEDS, "    cargo run --release -p tandem-sim -- --seed 7"), None);
        assert_eq!(parse(SEEDS, "100 passed, 0 failed"), None);
    }

    #[test]
    fn drills_can_be_had_again() {
        let line = "0:write 1:kill --blow 0:read@1:4 failed at 9 ms: INV-6: a read: old";
        let finding = parse(Way::PassingOn, line).expect("a finding");
        assert_eq!(finding.run.arguments(), ["--play=0:write 1:kill", "--blow=0:read@1:4"]);
        assert_eq!(finding.to_string(), "--passes-on --freezes `0:write 1:kill`, 0:read@1:4");
        let line = "0:write failed at 9 ms: LIVE-1: not healthy in time";
        let finding = parse(Way::SmallWorlds, line).expect("a finding");
        assert_eq!(finding.run.arguments(), ["--play=0:write"]);
        assert_eq!(parse(Way::SmallWorlds, "0 failed"), None);
    }

    #[test]
    fn panics_are_named_by_their_file() {
        let line =
            "seed 3 failed at 1.000 ms: panic: it ends once at crates/replica/src/read.rs:9:1";
        let finding = parse(SEEDS, line).expect("a finding");
        assert_eq!(finding.invariant, "assertion in `read.rs`");
    }

    #[test]
    fn what_crashes_is_an_error() {
        let until = Instant::now() + Duration::from_secs(60);
        for end in ["3 passed, 0 failed", "0 failed"] {
            let (sender, lines) = channel();
            sender.send(end.to_owned()).expect("somebody listens");
            drop(sender);
            assert_eq!(first_finding(SEEDS, &lines, until), Ok(None));
        }
        let (sender, lines) = channel();
        drop(sender);
        assert!(first_finding(SEEDS, &lines, until).is_err());
    }
}
