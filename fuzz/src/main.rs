//! `tandem-fuzz`: fuzzes for some time, or replays what was found.
//!
//! One target after the other, one input at a time: memory is counted for the process. An input
//! that fails is made as short as it gets, saved, and printed with the command that replays it.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use clap::Parser;
use tandem_fuzz::attempt::attempt;
use tandem_fuzz::{Finding, Fuzzer, Journal, Target, corpus, minimise, targets};

/// Any bytes into everything that takes bytes from others.
#[derive(Debug, Parser)]
struct Arguments {
    /// What to fuzz; everything where nothing is named
    targets: Vec<String>,
    /// Minutes, all targets together
    #[arg(long, default_value_t = 2.0)]
    minutes: f64,
    /// Seed of every random choice; of the clock where none is given
    #[arg(long)]
    seed: Option<u64>,
    /// Run this one input of the one target that is named
    #[arg(long)]
    replay: Option<PathBuf>,
    /// Keep few of the inputs that have shown something in fuzz/corpus
    #[arg(long)]
    keep: bool,
    /// Where inputs that fail are saved
    #[arg(long, default_value = "target/fuzz")]
    out: PathBuf,
}

/// A run that takes longer has no end.
const PATIENCE: Duration = Duration::from_secs(20);

/// More memory than this is not given to the process: it would be taken from everybody else.
const MEMORY_BYTES_MAX: u64 = 4 << 30;

#[allow(clippy::print_stdout)]
fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let limit = rustix::process::Rlimit {
        current: Some(MEMORY_BYTES_MAX),
        maximum: Some(MEMORY_BYTES_MAX),
    };
    // Without the limit less is found, and nothing is wrong.
    let _ = rustix::process::setrlimit(rustix::process::Resource::As, limit);
    match run(&arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(text) => {
            println!("{text}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &Arguments) -> Result<(), String> {
    let chosen = chosen(&arguments.targets)?;
    if let Some(path) = &arguments.replay {
        let [target] = chosen.as_slice() else {
            return Err("an input is one target's: name it".to_owned());
        };
        return replay(target, path);
    }
    std::fs::create_dir_all(&arguments.out)
        .map_err(|error| format!("{}: {error}", arguments.out.display()))?;
    let seed = arguments.seed.unwrap_or_else(clock);
    let count = u32::try_from(chosen.len()).unwrap_or(u32::MAX);
    let time = Duration::try_from_secs_f64(arguments.minutes * 60.0)
        .map_err(|error| format!("{} minutes: {error}", arguments.minutes))?;
    chosen.iter().try_for_each(|target| fuzz(target, seed, time / count, arguments))
}

fn chosen(names: &[String]) -> Result<Vec<&'static Target>, String> {
    if names.is_empty() {
        return Ok(targets::ALL.iter().collect());
    }
    let find = |name: &String| {
        targets::find(name).ok_or_else(|| {
            let all: Vec<&str> = targets::ALL.iter().map(|target| target.name).collect();
            format!("there is no target '{name}'; there are {}", all.join(", "))
        })
    };
    names.iter().map(find).collect()
}

#[allow(clippy::print_stdout)]
fn fuzz(target: &Target, seed: u64, time: Duration, arguments: &Arguments) -> Result<(), String> {
    let folder = &arguments.out;
    let journal = |error| format!("{}: {error}", folder.display());
    let (journal, left) = Journal::begin(folder, target.name).map_err(journal)?;
    if let Some(input) = left {
        let path = save(folder, target, &input, "died")?;
        return Err(format!("an earlier run died of an input\n{}", how_to_replay(target, &path)));
    }
    let inputs = corpus::load(target).map_err(|error| error.to_string())?;
    let inputs = inputs.into_iter().map(|(_, input)| input).collect();
    let turns = Arc::new(AtomicU64::new(0));
    watch(target.name, folder, &turns);
    let found = |finding: Finding| {
        turns.store(OVER, Ordering::Relaxed);
        told(folder, target, seed, &finding)
    };
    let mut fuzzer = Fuzzer::new(target, journal, seed, inputs).map_err(found)?;
    let begun = Instant::now();
    while begun.elapsed() < time {
        fuzzer.run_for(Duration::from_millis(200).min(time)).map_err(found)?;
        turns.fetch_add(1, Ordering::Relaxed);
    }
    turns.store(OVER, Ordering::Relaxed);
    let report = fuzzer.report();
    println!(
        "{}: seed {seed}, {} inputs in {:.0} s, {} different outcomes, shown by {} inputs",
        target.name,
        report.runs,
        begun.elapsed().as_secs_f64(),
        report.seen,
        report.kept
    );
    if arguments.keep {
        keep(target, &corpus::distil(target, fuzzer.corpus()))?;
    }
    Ok(())
}

/// The value of turns that says that there will be no more.
const OVER: u64 = u64::MAX;

/// Ends the process where an input has no end; the journal keeps it.
fn watch(target: &'static str, folder: &Path, turns: &Arc<AtomicU64>) {
    let (folder, turns) = (folder.display().to_string(), Arc::clone(turns));
    std::thread::spawn(move || {
        let (mut last, mut since) = (0, Instant::now());
        loop {
            std::thread::sleep(Duration::from_secs(1));
            let turn = turns.load(Ordering::Relaxed);
            if turn == OVER {
                return;
            }
            if turn != last {
                (last, since) = (turn, Instant::now());
            }
            if since.elapsed() > PATIENCE {
                eprintln!("{target}: an input takes longer than {PATIENCE:?}; run it again, and");
                eprintln!("it will be saved in {folder}");
                std::process::abort();
            }
        }
    });
}

/// Makes a finding short, saves it, and says all of it.
fn told(folder: &Path, target: &Target, seed: u64, finding: &Finding) -> String {
    let (input, failure) = minimise(target, &finding.input, &finding.failure);
    let name = target.name;
    match save(folder, target, &input, "fails") {
        Ok(path) => {
            format!("{name}: seed {seed}: {failure}\n{}", how_to_replay(target, &path))
        }
        Err(error) => format!("{name}: seed {seed}: {failure}\n{error}\ninput: {input:02x?}"),
    }
}

fn save(folder: &Path, target: &Target, input: &[u8], how: &str) -> Result<PathBuf, String> {
    let name = format!("{}-{how}-{:08x}", target.name, crc32fast::hash(input));
    let path = folder.join(name);
    std::fs::write(&path, input).map_err(|error| format!("{}: {error}", path.display()))?;
    Ok(path)
}

fn how_to_replay(target: &Target, path: &Path) -> String {
    format!(
        "replay: cargo run --release -p tandem-fuzz -- {} --replay {}\n\
         once it is mended, keep it: cp {} fuzz/corpus/{}/",
        target.name,
        path.display(),
        path.display(),
        target.name
    )
}

#[allow(clippy::print_stdout)]
fn replay(target: &Target, path: &Path) -> Result<(), String> {
    let input = std::fs::read(path).map_err(|error| format!("{}: {error}", path.display()))?;
    match attempt(target, &input) {
        Ok(seen) => {
            println!("{}: passed, with {} outcomes", target.name, seen.iter().count());
            Ok(())
        }
        Err(failure) => Err(format!("{}: {failure}", target.name)),
    }
}

fn keep(target: &Target, inputs: &[Vec<u8>]) -> Result<(), String> {
    let folder = corpus::folder(target);
    let wrong = |error: std::io::Error| format!("{}: {error}", folder.display());
    std::fs::create_dir_all(&folder).map_err(wrong)?;
    for entry in std::fs::read_dir(&folder).map_err(wrong)? {
        let path = entry.map_err(wrong)?.path();
        // Those with another name were a bug once.
        if path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("kept-")) {
            std::fs::remove_file(&path).map_err(wrong)?;
        }
    }
    for input in inputs {
        let path = folder.join(format!("kept-{:08x}", crc32fast::hash(input)));
        std::fs::write(&path, input).map_err(wrong)?;
    }
    Ok(())
}

fn clock() -> u64 {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    now.map_or(1, |now| now.as_secs())
}
