//! `tandem-bench`: tandem beside its peers, on the same disk, in the same run.
//!
//! `tandem-bench quick` and `tandem-bench full` measure, print a table and write JSON;
//! `tandem-bench report FILE` makes the table and a page of charts of it again.
#![expect(clippy::print_stdout, reason = "a command that reports to its user")]

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use tandem_bench::machine::Machine;
use tandem_bench::measure;
use tandem_bench::part::Part;
use tandem_bench::plan::Plan;
use tandem_bench::results::Results;
use tandem_bench::{page, profile, table};
use tandem_tests::{Context, Result};

/// Tandem beside its peers, on the same disk, in the same run.
#[derive(Debug, Parser)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// The workloads that say most, in under three minutes
    Quick(Where),
    /// All workloads and candidates, on disk and in memory, in under fifteen minutes
    Full(Where),
    /// Parts of `full`, without its workloads
    Part {
        /// Which
        #[arg(required = true, value_enum)]
        parts: Vec<Part>,
        #[command(flatten)]
        place: Where,
    },
    /// Instructions, cycles and functions of the daemons under load, by perf
    Profile(Where),
    /// Print the table of results, and write FILE.html with charts
    Report {
        /// What a measurement has written
        file: PathBuf,
    },
}

#[derive(Debug, clap::Args)]
struct Where {
    /// Results, as JSON
    #[arg(long, default_value = "target/bench.json")]
    out: PathBuf,
    /// Where the disks are put: a file system on a disk that has `O_DIRECT`
    #[arg(long, default_value = "target")]
    disks: PathBuf,
    /// Candidates to measure, by name; all where none is named
    #[arg(long, value_name = "NAME")]
    only: Vec<String>,
    /// Rounds; more for steadier medians
    #[arg(long)]
    rounds: Option<usize>,
}

fn main() -> ExitCode {
    let done = match Arguments::parse().command {
        Command::Quick(place) => measure(Plan::quick(), &place),
        Command::Full(place) => measure(Plan::full(), &place),
        Command::Part { parts, place } => measure(Plan::of_parts(&parts), &place),
        Command::Profile(place) => profile(&place),
        Command::Report { file } => report(&file),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("tandem-bench: {failure}");
            ExitCode::FAILURE
        }
    }
}

fn measure(mut plan: Plan, place: &Where) -> Result<()> {
    plan.rounds = place.rounds.unwrap_or(plan.rounds).max(1);
    let results = measure::run(&plan, &place.disks, &place.only)?;
    write(&results, &place.out)
}

fn profile(place: &Where) -> Result<()> {
    let mut results = Results { machine: Machine::this(), ..Results::default() };
    profile::measure(&place.disks, &mut results)?;
    write(&results, &place.out)
}

fn write(results: &Results, out: &Path) -> Result<()> {
    let text = serde_json::to_string_pretty(results).about("results")?;
    std::fs::write(out, text).about(out.display())?;
    print!("{}", table::markdown(results));
    println!("\nwritten to {}", out.display());
    Ok(())
}

fn report(file: &Path) -> Result<()> {
    let text = std::fs::read_to_string(file).about(file.display())?;
    let results: Results = serde_json::from_str(&text).about(file.display())?;
    let html = file.with_extension("html");
    std::fs::write(&html, page::html(&results)).about(html.display())?;
    print!("{}", table::markdown(&results));
    println!("\ncharts in {}", html.display());
    Ok(())
}
