//! Whether every way in which a daemon refuses a command, or fails at one, is recorded.
//!
//! A refusal is known by a piece of its sentence. [`SHOWN`] are recorded, [`NOT_SHOWN`] are not,
//! for a reason; both are in the sources as they are here, and every error of the core and of the
//! control thread that is a sentence by itself is in one of the two.

use std::path::Path;

use tandem_tests::{Context, Failure, Result, ensure};

/// Pieces of refusals that a recorded file has.
const SHOWN: &[&str] = &[
    // Of the core's errors, and the control thread's.
    "there is no volume ",
    "there is no peer with node-id ",
    " is Primary; make it Secondary first",
    "UpToDate data is needed: ",
    " is not known to be Outdated: ",
    "this node is Primary: its data cannot be marked as Outdated",
    ", which is lower than Outdated",
    " has no disk: attach it first",
    " client connection(s) open; close them, or use 'secondary --force'",
    ": the pause flag of the resync is ",
    ": not up on this node; run 'tandemadm up ",
    ": timed out: ",
    // Roles and generations.
    "the peer has newer data; connect it",
    "both disks are compared, that of ",
    "the data to copy must be good",
    " and has a history; this is for metadata that were just created on both nodes",
    " is connected and has the same data; disconnect first",
    " is not known to be Outdated: fence it, or connect it",
    "I/O is suspended: resume it first",
    // Connections.
    "a Primary cannot discard its data: make this node Secondary first",
    "the peer has the only good copy",
    "this node has the only good copy; demote ",
    // Disks.
    " has no disk here: attach it first",
    " has no disk: there is nothing to mark",
    "connected: who is Outdated then is for both nodes to say; disconnect first",
    "has a disk attached: 'detach' it first",
    "it has no peer yet: 'new-peer' comes before 'attach'",
    " has no disk: 'attach' names it",
    " has no path: 'new-path' names it",
    // Resyncs, verifies, sizes.
    "no connected peer has UpToDate data to copy from",
    " is not connected with a disk; connect it, or attach its disk there",
    ", and must be Established to compare: connect, or wait for the resync",
    " is running already; --cancel stops it",
    ": nothing to verify from byte ",
    "; a volume grows when it is in sync",
    ", and does not get smaller",
    " is Primary: run resize there",
    " is not connected with a disk, and may have no room",
    "; enlarge the disks of all nodes first",
    " is a multiple of ",
    // Freezing.
    "I/O is frozen already and cannot come to an end: no UpToDate data are accessible",
    "I/O is frozen already and cannot come to an end: the lost peer is not fenced",
    // What an adjustment cannot change.
    "its node-id",
    "its volumes",
    "its peers",
    "a disk or meta-disk",
    "an address",
    "cannot listen on ",
];

/// Pieces of refusals that no file has, and why.
const NOT_SHOWN: &[(&str, &str)] = &[
    ("another state change is under way; try again", "two commands at once"),
    (" did not answer in time", "a peer that hangs without being given up"),
    (": I/O error on the backing disk", "a disk that fails at that moment"),
    (": its data thread does not answer", "a daemon that hangs"),
    ("the command speaks version ", "a command of another release"),
    (" is used by {whose}; change the minor", "the kernel's NBD client; the machine ring has it"),
    ("a connection is being negotiated; try again", "it passes in an instant"),
    ("the disk is still writing what the lost peer sent", "it passes in an instant"),
    (" is Behind its peer, which has newer data", "a link that is congested"),
    (" has no UpToDate data any more", "a disk that goes while it is asked for"),
    (
        "this Primary's clients have seen newer data than this disk has",
        "a disk that was not marked as Outdated before its Primary lost it",
    ),
    ("a disk was detached meanwhile", "two commands at once"),
    ("the connection was lost before the peer had answered", "it passes in an instant"),
    ("is stored here; the volume gets it when its peer connects", "it passes in an instant"),
    ("resume-io was said before everything in flight had ended", "two commands at once"),
    ("its disk was given up and has not ended ", "a disk that hangs"),
];

/// Where commands are refused.
const CRATES: &[&str] = &["node", "replica"];

/// Enumerations whose errors are sentences.
const ERRORS: &[(&str, &str)] = &[
    ("replica/src/error.rs", "pub enum CommandError"),
    ("node/src/control/refusal.rs", "pub(crate) enum Refused"),
];

pub(super) fn check() -> Result<()> {
    let mut recorded = String::new();
    for path in super::coverage::files()? {
        recorded += &std::fs::read_to_string(&path).about(path.display())?;
    }
    let crates = Path::new(env!("CARGO_MANIFEST_DIR")).join("../crates");
    let mut sources = String::new();
    for name in CRATES {
        read_all(&crates.join(name).join("src"), &mut sources)?;
    }
    let excepted = NOT_SHOWN.iter().map(|(piece, _)| *piece);
    let listed: Vec<&str> = SHOWN.iter().copied().chain(excepted.clone()).collect();
    let mut wrong = Vec::new();
    let mut demand = |holds: bool, piece: &str, what: &str| {
        if !holds {
            wrong.push(format!("'{piece}': {what}"));
        }
    };
    for piece in &listed {
        demand(sources.contains(piece), piece, "no source says it");
    }
    for piece in SHOWN {
        demand(recorded.contains(piece), piece, "no transcript shows it");
    }
    for piece in excepted {
        demand(!recorded.contains(piece), piece, "is recorded, and excepted");
    }
    for (file, name) in ERRORS {
        let text = std::fs::read_to_string(crates.join(file)).about(file)?;
        for sentence in sentences(&text, name)? {
            let is_listed = listed.iter().any(|piece| sentence.contains(piece));
            demand(is_listed, &sentence, "is neither shown nor excepted");
        }
    }
    ensure(wrong.is_empty(), || wrong.join("\n"))
}

/// The texts of an enumeration's errors, but for those that another error is told by.
fn sentences(source: &str, name: &str) -> Result<Vec<String>> {
    let missing = || Failure::new(format!("there is no '{name}'"));
    let (_, behind) = source.split_once(name).ok_or_else(missing)?;
    let (body, _) = behind.split_once("\n}\n").ok_or_else(missing)?;
    let texts = body.split("#[error(").skip(1).filter_map(|it| it.split('"').nth(1));
    let is_sentence = |text: &str| text.split(['{', '}']).step_by(2).any(|it| it.trim().len() > 8);
    Ok(texts.filter(|text| is_sentence(text)).map(str::to_owned).collect())
}

/// Adds all sources below a folder, with strings of several lines in one.
fn read_all(folder: &Path, sources: &mut String) -> Result<()> {
    for entry in std::fs::read_dir(folder).about(folder.display())? {
        let path = entry?.path();
        if path.is_dir() {
            read_all(&path, sources)?;
            continue;
        }
        let text = std::fs::read_to_string(&path).about(path.display())?;
        let mut lines = text.split("\\\n");
        *sources += lines.next().unwrap_or_default();
        lines.for_each(|line| *sources += line.trim_start());
    }
    Ok(())
}
