//! Proves that the simulator can fail: plants the bugs of `crates/sim/mutants`, one after the
//! other, and runs seeds and small worlds until one of them fails; for a few that those do not find
//! a story of the core's tests is named, which must.
//!
//! A bug is a patch against the core, of the kind that good programmers make. The tree is copied
//! to a scratch folder with build products of its own, so that neither the work tree nor its
//! builds are touched; each patch is applied there, built, run and taken back. A patch that does
//! not apply or build is an error, and the others go on. The run that finds a bug must pass
//! without it.
//!
//! Progress goes to standard error, the table to standard output. Exit code 1 where a bug is not
//! found, 2 where something else is wrong.
#![expect(clippy::print_stdout, reason = "a command that reports to its user")]

mod hunt;
mod patch;
mod scratch;

use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use clap::Parser;

use hunt::{Hunt, Limits, Programs};
use patch::Patch;
use scratch::Scratch;

/// What goes wrong is told: there is nothing else to be done about it.
type Result<T> = std::result::Result<T, String>;

/// Plants bugs in a copy of the core, and has the simulator find them.
#[derive(Debug, Parser)]
struct Arguments {
    /// Bugs to plant, by the names of their patches; all of them where none is named.
    names: Vec<String>,
    /// Seeds of each kind that a bug may take to be found.
    #[arg(long, default_value_t = 3000)]
    seeds: u64,
    /// Seconds that it may take in each way to look for it.
    #[arg(long, default_value_t = 120)]
    seconds: u64,
    /// Seeds run at the same time.
    #[arg(long)]
    jobs: Option<NonZeroUsize>,
    /// The tree to plant them in a copy of.
    #[arg(long, default_value = ".")]
    root: PathBuf,
}

/// What has become of one bug.
struct Row<'a> {
    patch: &'a Patch,
    hunt: Result<Hunt>,
}

impl Row<'_> {
    fn is_found(&self) -> bool {
        self.hunt.as_ref().is_ok_and(|hunt| hunt.finding.is_some())
    }
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    match run(&arguments) {
        Ok(code) => code,
        Err(text) => {
            eprintln!("{text}");
            ExitCode::from(2)
        }
    }
}

/// Looks for every bug, and tells what became of it.
fn run(arguments: &Arguments) -> Result<ExitCode> {
    let patches = patch::load(&arguments.root.join(patch::FOLDER), &arguments.names)?;
    let scratch = Scratch::copy(&arguments.root, &scratch_folder()?)?;
    eprintln!("building without a bug in {}", scratch.folder().display());
    let sound = scratch.build_sound()?;
    let limits = Limits {
        seeds: arguments.seeds,
        time: Duration::from_secs(arguments.seconds),
        jobs: arguments.jobs,
    };
    let mut rows = Vec::new();
    for (index, patch) in patches.iter().enumerate() {
        let hunt = hunt_one(&scratch, patch, &sound, &limits);
        let told = hunt.as_ref().map_or_else(Clone::clone, ToString::to_string);
        eprintln!("{} of {}: {}: {told}", index + 1, patches.len(), patch.name);
        rows.push(Row { patch, hunt });
    }
    print_table(&rows);
    if rows.iter().any(|row| row.hunt.is_err()) {
        return Ok(ExitCode::from(2));
    }
    let all = rows.iter().all(Row::is_found);
    Ok(if all { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Plants one bug and looks for it; the copy is as it was afterwards.
fn hunt_one(scratch: &Scratch, patch: &Patch, sound: &Programs, limits: &Limits) -> Result<Hunt> {
    if let Some(story) = &patch.story {
        return tell_one(scratch, patch, story);
    }
    scratch.apply(patch)?;
    let built = scratch.build();
    let found = built.and_then(|programs| hunt::hunt(&programs, limits));
    scratch.take_back(patch)?;
    let found = found?;
    if let Some(finding) = &found.finding
        && !hunt::passes(sound, finding)?
    {
        return Err(format!("{finding} fails without the bug too"));
    }
    Ok(found)
}

/// Plants one bug and plays the only story that finds it.
fn tell_one(scratch: &Scratch, patch: &Patch, story: &str) -> Result<Hunt> {
    scratch.apply(patch)?;
    let began = Instant::now();
    let passed = scratch.passes_story(story);
    let elapsed = began.elapsed();
    scratch.take_back(patch)?;
    if passed? {
        return Ok(Hunt { finding: None, elapsed });
    }
    if !scratch.passes_story(story)? {
        return Err(format!("{story} fails without the bug too"));
    }
    Ok(hunt::told(story, elapsed))
}

/// Beside the build that this program is of.
fn scratch_folder() -> Result<PathBuf> {
    let program = std::env::current_exe().map_err(|error| error.to_string())?;
    let target = program.parent().and_then(Path::parent);
    Ok(target.ok_or("this program lies in no target folder")?.join("mutants"))
}

/// In Markdown, as docs/TESTING.md has it.
fn print_table(rows: &[Row<'_>]) {
    println!("| bug | class | found by | seed or moves | s |");
    println!("|---|---|---|---|---|");
    for Row { patch, hunt } in rows {
        let elapsed = hunt.as_ref().map_or(Duration::ZERO, |hunt| hunt.elapsed);
        let (by, run) = match hunt.as_ref().map(|hunt| &hunt.finding) {
            Ok(Some(finding)) => (finding.invariant.as_str(), finding.to_string()),
            Ok(None) => ("**not found**", "-".to_owned()),
            Err(_) => ("**error**", "-".to_owned()),
        };
        let seconds = elapsed.as_secs_f64();
        println!("| `{}` | {} | {by} | {run} | {seconds:.1} |", patch.name, patch.class);
    }
    let found = rows.iter().filter(|row| row.is_found()).count();
    println!("\n{found} of {} bugs found", rows.len());
}
