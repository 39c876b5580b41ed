//! `tandem-vm`: plays cases of the VM testbed. docs/VM_TESTBED.md is its guide.
#![expect(clippy::print_stdout, reason = "a command that reports to its user")]

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Instant;

use clap::{Parser, Subcommand};
use tandem_tests::{Binaries, Context, Failure, Result};
use tandem_vm::cases::{ALL, Case};
use tandem_vm::{Acceleration, Kernel, Shared, Testbed, sequence};

/// Machines wait much of their time: fewer cases at once leave processors idle.
const AT_ONCE: usize = 2;

/// Machines with a kernel of their own, and what only they can show
#[derive(Debug, Parser)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Name all cases, with their stories
    List,
    /// Write the sequence of the case log-writes to a file; what machines run
    #[command(hide = true)]
    Sequence {
        /// The file
        path: PathBuf,
    },
    /// Play cases, all of them where none is named
    Run {
        /// Their names
        cases: Vec<String>,
        /// The folder that scripts/install-vm-tools was given
        #[arg(long, default_value = "target/vm")]
        kernel: PathBuf,
        /// Where logs and disks go
        #[arg(long, default_value = "target/vm/cases")]
        out: PathBuf,
        /// Emulate the processor, also where KVM works
        #[arg(long)]
        emulate: bool,
    },
    /// Measure tandem beside DRBD 8.4, by instructions, and print a table
    Bench {
        /// How often each load is measured; the median is told
        #[arg(long, default_value_t = 3)]
        rounds: usize,
        /// The folder that scripts/install-vm-tools was given
        #[arg(long, default_value = "target/vm")]
        kernel: PathBuf,
        /// Where logs and disks go
        #[arg(long, default_value = "target/vm/bench")]
        out: PathBuf,
    },
    /// Tell in which functions one load of `bench` spends its instructions, by perf
    Profile {
        /// What the load is on: nbd0, socket, or DRBD's drbd0
        on: String,
        /// Its name, as in the table of `bench`
        load: String,
        /// The folder that scripts/install-vm-tools was given
        #[arg(long, default_value = "target/vm")]
        kernel: PathBuf,
        /// Where logs and disks go
        #[arg(long, default_value = "target/vm/profile")]
        out: PathBuf,
    },
}

fn main() -> ExitCode {
    let done = match Arguments::parse().command {
        Command::List => {
            for case in ALL {
                println!("{}\n    {}\n", case.name, case.story.replace('\n', "\n    "));
            }
            Ok(())
        }
        Command::Sequence { path } => sequence::write(&path, &mut std::io::stdout()),
        Command::Run { cases, kernel, out, emulate } => run(&cases, &kernel, &out, emulate),
        Command::Bench { rounds, kernel, out } => measure(rounds, &kernel, &out),
        Command::Profile { on, load, kernel, out } => profile(&on, &load, &kernel, &out),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            println!("{failure}");
            ExitCode::FAILURE
        }
    }
}

fn run(names: &[String], kernel: &Path, out: &Path, emulate: bool) -> Result<()> {
    let chosen = choose(names)?;
    let shared = prepare(kernel, out, emulate)?;
    println!("machines run by {}, {AT_ONCE} cases at once", shared.acceleration);
    let next = AtomicUsize::new(0);
    let failed = Mutex::new(Vec::new());
    thread::scope(|scope| {
        for _ in 0..AT_ONCE {
            scope.spawn(|| {
                while let Some(case) = chosen.get(next.fetch_add(1, Ordering::Relaxed)) {
                    if !play(case, &shared, out) {
                        failed.lock().expect("nobody panics with it").push(case.name);
                    }
                }
            });
        }
    });
    let failed = failed.into_inner().expect("nobody has panicked with it");
    if failed.is_empty() { Ok(()) } else { Err(Failure::new(format!("failed: {failed:?}"))) }
}

/// Whether the case passed.
fn play(case: &Case, shared: &Shared, out: &Path) -> bool {
    println!("=== {}\n{}", case.name, case.story);
    let began = Instant::now();
    let folder = out.join(case.name);
    let result = Testbed::new(shared.clone(), &folder).and_then(|it| (case.run)(&it));
    let seconds = began.elapsed().as_secs();
    match &result {
        Ok(()) => println!("=== {} passed in {seconds} s", case.name),
        Err(failure) => {
            let folder = folder.display();
            println!("{failure}\n=== {} FAILED in {seconds} s; logs: {folder}", case.name);
        }
    }
    result.is_ok()
}

fn measure(rounds: usize, kernel: &Path, out: &Path) -> Result<()> {
    let testbed = Testbed::new(prepare(kernel, out, false)?, out)?;
    let began = Instant::now();
    let tell = |what: &str| println!("{:4} s: {what}", began.elapsed().as_secs());
    println!("{}", tandem_vm::bench::run(&testbed, rounds, &tell)?);
    Ok(())
}

fn profile(on: &str, load: &str, kernel: &Path, out: &Path) -> Result<()> {
    let testbed = Testbed::new(prepare(kernel, out, false)?, out)?;
    println!("{}", tandem_vm::bench::profile(&testbed, on, load)?);
    Ok(())
}

fn prepare(kernel: &Path, out: &Path, emulate: bool) -> Result<Shared> {
    std::fs::create_dir_all(out).about(out.display())?;
    let kernel = kernel.canonicalize().about(kernel.display())?;
    let kernel = Kernel::prepare(&kernel)?;
    let acceleration =
        if emulate { Acceleration::Emulation } else { Acceleration::find(&kernel, out)? };
    Ok(Shared { kernel, acceleration, binaries: Binaries::find()? })
}

fn choose(names: &[String]) -> Result<Vec<&'static Case>> {
    if names.is_empty() {
        // The longest are last in the list: none of them is to be alone at the end.
        return Ok(ALL.iter().rev().collect());
    }
    let find = |name: &String| {
        let found = ALL.iter().find(|case| case.name == name);
        found.ok_or_else(|| Failure::new(format!("no case {name}: see 'tandem-vm list'")))
    };
    names.iter().map(find).collect()
}
