//! tandem beside DRBD 8.4, by instructions.
//!
//! Both nodes of a pair are on one machine, with disks in its memory, and that machine counts: its
//! clock goes on by a nanosecond for each instruction. So a request's time is the instructions on
//! its way through both nodes, the kernel's and the client's among them, whatever the host has to
//! do besides. What it does not know: caches, and the time of disks and of wires.

use std::fmt::Write;
use std::time::Duration;

use tandem_tests::{Failure, Result, ensure, median};

use crate::cases::fail_over;
use crate::disk::Disk;
use crate::machine::Machine;
use crate::software::Software;
use crate::testbed::Testbed;

mod workload;

use workload::{WORKLOADS, Workload};

const NODES: &str = include_str!("bench/nodes.sh");

/// Room for both disks in memory, or for metadata of 16 TiB and a bitmap of them.
const MEMORY: u32 = 1792;

/// Memory of a small machine.
const SMALL_MEMORY: u32 = 640;

/// Metadata of DRBD for 16 TiB, and some more.
const METADATA_MEBIBYTES: u64 = 640;

/// Time for a script, on a busy host.
const PATIENCE: Duration = Duration::from_secs(900);

/// Time for a script on the small one.
const SMALL_PATIENCE: Duration = Duration::from_secs(300);

/// How often a power cut is timed.
const FAIL_OVERS: usize = 3;

/// Measures everything: a text of tables. `tell` is told what comes next.
///
/// # Errors
/// A machine, or what runs on it, does not do what it is told.
pub fn run(testbed: &Testbed, rounds: usize, tell: &dyn Fn(&str)) -> Result<String> {
    ensure(rounds > 0, || "no rounds, no figures".to_owned())?;
    let [tandem, drbd] = Software::both(testbed.binaries())?;
    let loads = |software, on| {
        tell(&format!("loads on {on}"));
        loads(testbed, software, on, rounds)
    };
    let device = loads(&tandem, "nbd0")?;
    let socket = loads(&tandem, "socket")?;
    let theirs = loads(&drbd, "drbd0")?;
    let mut text = "| k instructions for each request | tandem, /dev/nbd0 | tandem, socket | \
                    DRBD 8.4, /dev/drbd0 | DRBD / tandem, /dev/nbd0 | DRBD / tandem, socket |\n\
                    |---|---|---|---|---|---|\n"
        .to_owned();
    for (index, Workload { name, .. }) in WORKLOADS.iter().enumerate() {
        let [device, socket, theirs] = [&device, &socket, &theirs].map(|column| column[index]);
        writeln!(
            text,
            "| {name} | {device:.1} | {socket:.1} | {theirs:.1} | {:.2} | {:.2} |",
            theirs / device,
            theirs / socket
        )?;
    }
    text += "\n| | tandem | DRBD 8.4 | |\n|---|---|---|---|\n";
    let [ours, theirs] = [operations(testbed, &tandem, tell)?, operations(testbed, &drbd, tell)?];
    for (ours, theirs) in ours.iter().zip(&theirs) {
        let (what, unit) = (ours.what, ours.unit);
        writeln!(text, "| {what} | {} | {} | {unit} |", ours.figure, theirs.figure)?;
    }
    Ok(text)
}

/// Thousands of instructions for a request of each load, the medians of rounds; `on` is the device
/// or the socket of the Primary.
fn loads(testbed: &Testbed, software: &Software, on: &str, rounds: usize) -> Result<Vec<f64>> {
    let mut machine = boot(&testbed.counting(on, MEMORY)?, software, vec![])?;
    sh(&mut machine, "begin")?;
    let on = target(on);
    let mut figures = vec![Vec::new(); WORKLOADS.len()];
    for _ in 0..rounds {
        for (workload, figures) in WORKLOADS.iter().zip(&mut figures) {
            let answer = sh(&mut machine, &format!("load {on} {}", workload.options))?;
            let [requests, microseconds] = numbers(&answer)?;
            ensure(requests > 0.0, || format!("{}: no request", workload.name))?;
            // A microsecond is a thousand instructions.
            figures.push(microseconds / requests);
        }
    }
    Ok(figures.into_iter().map(median).collect())
}

/// Where the instructions of one load go, by program and function: what perf prints. `on` is
/// `nbd0` or `socket` for tandem, `drbd0` for DRBD.
///
/// # Errors
/// There is no load of that name, or a machine does not do what it is told.
pub fn profile(testbed: &Testbed, on: &str, load: &str) -> Result<String> {
    let found = WORKLOADS.iter().find(|it| it.name == load);
    let Workload { options, .. } = found.ok_or_else(|| {
        let names: Vec<&str> = WORKLOADS.iter().map(|it| it.name).collect();
        Failure::new(format!("no load {load:?}: there are {names:?}"))
    })?;
    let [tandem, drbd] = Software::both(testbed.binaries())?;
    let software = if on == "drbd0" { drbd } else { tandem };
    let mut machine = boot(&testbed.counting("profile", MEMORY)?, &software, vec![])?;
    sh(&mut machine, "begin")?;
    sh(&mut machine, &format!("profile {} {options}", target(on)))
}

/// What fio is pointed at.
fn target(on: &str) -> String {
    if on == "socket" { on.to_owned() } else { format!("/dev/{on}") }
}

/// A figure of a whole operation.
struct Operation {
    what: &'static str,
    figure: String,
    unit: &'static str,
}

fn operations(
    testbed: &Testbed,
    software: &Software,
    tell: &dyn Fn(&str),
) -> Result<Vec<Operation>> {
    let name = software.name();
    tell(&format!("resyncs of {name}"));
    let on = if name == "tandem" { "/dev/nbd0" } else { "/dev/drbd0" };
    let mut machine =
        boot(&testbed.counting(&format!("{name}-copies"), MEMORY)?, software, vec![])?;
    sh(&mut machine, "begin")?;
    let mut all = Vec::new();
    let mut note = |what, figure, unit| all.push(Operation { what, figure, unit });
    let [whole] = numbers(&sh(&mut machine, "full_resync")?)?;
    note("full resync, 256 MiB", format!("{:.2}", whole / 1e6), "s of its clock");
    let [part] = numbers(&sh(&mut machine, &format!("part_resync {on}"))?)?;
    note("resync, every 20th block of 200 MiB", format!("{:.2}", part / 1e6), "s of its clock");
    for (tebibytes, what, memory) in
        [(1, "attach of 1 TiB", "its memory"), (16, "attach of 16 TiB", "its memory")]
    {
        tell(&format!("{what}: {name}"));
        let folder = testbed.counting(&format!("{name}-attach-{tebibytes}"), MEMORY)?;
        let mut machine = boot(&folder, software, vec![])?;
        let script = format!("ram_disks 1 {METADATA_MEBIBYTES}; attach {tebibytes} /dev/ram0");
        let [time, mebibytes] = numbers(&sh(&mut machine, &script)?)?;
        note(what, format!("{:.2}", time / 1e6), "s of its clock");
        note(memory, format!("{mebibytes:.0}"), "MiB");
    }
    tell(&format!("attach on a small machine: {name}"));
    let small = attach_on_small(testbed, software)?;
    note("attach of 16 TiB on a machine of 640 MiB", small, "");
    let mut times = Vec::new();
    for round in 0..FAIL_OVERS {
        tell(&format!("fail-over {} of {FAIL_OVERS}: {name}", round + 1));
        let part = testbed.part(&format!("{name}-fail-over-{round}"))?;
        times.push(fail_over(part, software.clone())?.as_secs_f64());
    }
    note("power cut to first write elsewhere", format!("{:.1}", median(times)), "s, wall clock");
    Ok(all)
}

fn attach_on_small(testbed: &Testbed, software: &Software) -> Result<String> {
    let testbed = testbed.counting(&format!("{}-small", software.name()), SMALL_MEMORY)?;
    let disk = testbed.disk("metadata", METADATA_MEBIBYTES)?;
    let mut machine = boot(&testbed, software, vec![disk])?;
    // A machine without memory answers late, or not at all.
    let answer = machine.try_sh(". /run/setting\nattach 16 /dev/vda", SMALL_PATIENCE);
    let attached = answer.is_ok_and(|it| it.code == 0 && numbers::<2>(&it.text).is_ok());
    Ok(if attached { "done" } else { "not done in 5 minutes" }.to_owned())
}

fn boot(testbed: &Testbed, software: &Software, disks: Vec<Disk>) -> Result<Machine> {
    let [mut machine] = testbed.machines(["both"], [disks])?;
    let setting = setting(software);
    machine.sh(&format!("cat >/run/setting <<'END'\n{setting}\n{NODES}END"))?;
    Ok(machine)
}

/// What the functions of `nodes.sh` go by.
fn setting(software: &Software) -> String {
    let programs = match software {
        Software::Tandem { daemon, admin } => {
            format!("tandemd={} tandemadm={}", daemon.display(), admin.display())
        }
        Software::Drbd => String::new(),
    };
    format!("software={} {programs}", software.name())
}

fn sh(machine: &mut Machine, script: &str) -> Result<String> {
    machine.sh_within(&format!(". /run/setting\n{script}"), PATIENCE)
}

/// The numbers of the last line.
fn numbers<const N: usize>(answer: &str) -> Result<[f64; N]> {
    let line = answer.lines().next_back().unwrap_or_default();
    let numbers: std::result::Result<Vec<f64>, _> = line.split(' ').map(str::parse).collect();
    let wrong = || Failure::new(format!("these are not {N} numbers: {answer}"));
    numbers.ok().and_then(|numbers| numbers.try_into().ok()).ok_or_else(wrong)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_line_has_the_numbers() {
        assert_eq!(numbers("UpToDate/DUnknown\n2000 31.5\n").unwrap(), [2000.0, 31.5]);
        assert!(numbers::<2>("2000\n").is_err() && numbers::<1>("").is_err());
    }
}
