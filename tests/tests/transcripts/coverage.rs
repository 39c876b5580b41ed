//! Whether every command has an answer that is recorded, one of success and one of failure: here,
//! or in the files of `crates/adm/tests/golden`, which need no daemon.
//!
//! Commands are those of the program's own completions, hidden ones included, and for `drbdsetup`
//! those that docs/OPERATING.md says there are. A dry run is no success.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use tandem_tests::{Binaries, Context, Failure, Result, ensure, run};

/// What cannot be recorded, and why.
const EXCEPTIONS: &[(&str, &str)] = &[
    ("tandemadm completions, done", "a file of some thousand lines; crates/adm/tests/cli"),
    ("tandemadm kernel-attach, done", "it needs the kernel's module; the machine ring has it"),
    ("tandemadm sh-lr-of, done", "no resource is stacked on another one here"),
    ("tandemadm monitor, done", "it needs a terminal; the test monitor"),
];

/// An outcome of a command, as `PROGRAM COMMAND, done` or `PROGRAM COMMAND, refused`.
type Outcomes = BTreeSet<String>;

pub(super) fn check() -> Result<()> {
    let mut recorded = Outcomes::new();
    for path in files()? {
        let text = std::fs::read_to_string(&path).about(path.display())?;
        recorded.extend(outcomes(&text));
    }
    let mut missing = Vec::new();
    for command in commands()? {
        for outcome in [format!("{command}, done"), format!("{command}, refused")] {
            let is_excepted = EXCEPTIONS.iter().any(|(excepted, _)| *excepted == outcome);
            if recorded.contains(&outcome) == is_excepted {
                let what = if is_excepted { "is recorded, and excepted" } else { "is missing" };
                missing.push(format!("{outcome}: {what}"));
            }
        }
    }
    ensure(missing.is_empty(), || format!("no transcript shows:\n{}", missing.join("\n")))
}

/// Everything that is recorded.
pub(super) fn files() -> Result<Vec<PathBuf>> {
    let offline = Path::new(env!("CARGO_MANIFEST_DIR")).join("../crates/adm/tests/golden");
    let mut files = Vec::new();
    for folder in [super::folder(), offline] {
        for entry in std::fs::read_dir(&folder).about(folder.display())? {
            files.push(entry?.path());
        }
    }
    Ok(files)
}

/// The outcomes that a file has.
fn outcomes(text: &str) -> Outcomes {
    let mut found = Outcomes::new();
    let mut last: Option<String> = None;
    for line in text.lines().chain(["a$ end"]) {
        let command = ["a$ ", "b$ ", "$ "].iter().find_map(|prefix| line.strip_prefix(prefix));
        if let Some(words) = command {
            found.extend(last.take().map(|command| format!("{command}, done")));
            last = named(words);
        } else if line.trim_start().starts_with("exit ") {
            found.extend(last.take().map(|command| format!("{command}, refused")));
        }
    }
    found
}

/// The program and its command that a line names; `None` for a dry run, and for neither.
fn named(line: &str) -> Option<String> {
    let mut words = line.split_whitespace();
    let program = words.next()?;
    while let Some(word) = words.next() {
        match word {
            "-c" | "--config-file" | "--node" | "--run-dir" => drop(words.next()),
            "-d" | "--dry-run" => return None,
            "split-brain" => return Some(format!("{program} {word} {}", words.next()?)),
            _ if word.starts_with('-') => {}
            _ => return Some(format!("{program} {word}")),
        }
    }
    None
}

fn commands() -> Result<Vec<String>> {
    let mut commands = own_commands()?;
    commands.extend(drbdsetup_commands()?);
    Ok(commands)
}

/// Those of `tandemadm`, as its completions for bash name them: `PATH,COMMAND)`.
fn own_commands() -> Result<Vec<String>> {
    let mut command = Command::new(Binaries::find()?.tandemadm);
    let script = run(command.args(["completions", "bash"]), Duration::from_secs(20))?.ok()?;
    let named = script.lines().filter_map(|line| line.trim().strip_suffix(')'));
    let pairs = named.filter_map(|words| words.split_once(','));
    // One line of the script is no command's: it stands for any.
    let pairs = pairs.filter(|(path, _)| path.starts_with("tandemadm"));
    let mut found = Vec::new();
    for (path, name) in pairs.filter(|(_, name)| *name != "help") {
        match path {
            // Its two commands come by themselves.
            "tandemadm" if name == "split-brain" => {}
            "tandemadm" => found.push(format!("tandemadm {name}")),
            _ if path.contains("help") => {}
            _ => found.push(format!("tandemadm split-brain {name}")),
        }
    }
    ensure(found.len() > 50, || format!("only {found:?} were found"))?;
    Ok(found)
}

/// Those of `drbdsetup`, which the manual lists between its name and a full stop.
fn drbdsetup_commands() -> Result<Vec<String>> {
    let manual = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/OPERATING.md");
    let text = std::fs::read_to_string(manual).about(manual)?;
    let missing = || Failure::new("docs/OPERATING.md does not say what drbdsetup has");
    let (_, list) = text.split_once("`drbdsetup` has ").ok_or_else(missing)?;
    let (list, _) = list.split_once(".\n").ok_or_else(missing)?;
    let mut found = Vec::new();
    for words in list.split('`').skip(1).step_by(2) {
        let name = words.split(' ').next().unwrap_or(words);
        match name.strip_suffix('*') {
            None => found.push(format!("drbdsetup {name}")),
            Some(stem) => {
                let kinds = ["resource", "connection", "volume"].iter();
                found.extend(kinds.map(|kind| format!("drbdsetup {stem}{kind}")));
            }
        }
    }
    ensure(found.len() > 40, || format!("only {found:?} were found"))?;
    Ok(found)
}

#[test]
fn outcomes_are_told_apart() {
    let here = "# none\n> start a\na$ tandemadm role r0\n    Primary\n\n\
                b$ tandemadm -c x split-brain show\n  ! no\n  exit 20\n";
    let offline = "$ tandemadm -d up r0\nup r0\n\n$ drbdmeta --force 1\nexit 1\n";
    let found: Vec<String> = outcomes(&format!("{here}{offline}")).into_iter().collect();
    let expected =
        ["drbdmeta 1, refused", "tandemadm role, done", "tandemadm split-brain show, refused"];
    assert_eq!(found, expected);
}
