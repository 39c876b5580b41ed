//! Transcripts: what commands say to a pair that runs, as recorded in `tests/transcripts`.
//!
//! Each file there is a story of one pair, to be read: what the state is, a command, its answer.
//! Commands run on real daemons. A line is one of these:
//!
//! - `# text` is for the reader.
//! - `> words` sets the stage, or waits until it is set: see [`stage`]. Nothing that is printed
//!   rests on a pause.
//! - `a$ tandemadm status` runs a command at node `a`; `drbdsetup` is that personality. `DIR` is
//!   the folder of the pair's files, `HERE` and `THERE` are addresses that nobody else uses.
//! - What is indented is the answer: standard output, then standard error behind a `!`, then the
//!   exit code where it is not 0. A bar ends a line that is empty or ends in white space.
//!
//! What must differ from run to run is replaced by a word: see [`constant`]. With `UPDATE_GOLDEN=1`
//! in the environment the answers are written anew, to be read as a diff. [`coverage`] counts the
//! commands that have an answer, [`refusals`] the sentences that refuse one.

use std::path::PathBuf;

use tandem_tests::{Cluster, Result, Spec};

mod constant;
mod coverage;
mod refusals;
mod script;
mod stage;

/// Plays the story of that name with a pair, and compares what it says with what is recorded.
fn play(name: &str, spec: Spec) -> Result<()> {
    let path = folder().join(format!("{name}.txt"));
    let mut stage = stage::Stage::new(Cluster::new(name, spec)?)?;
    script::replay(&path, &mut stage)?;
    stage.finish()
}

/// Where the stories are.
fn folder() -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/transcripts"))
}

/// A pair whose resyncs take for ever, so that a story is never too late for one.
fn slow() -> Spec {
    let disk = "c-plan-ahead 0; resync-rate 4K; c-min-rate 4K;".to_owned();
    Spec { disk, ..Spec::default() }
}

#[test]
fn first_steps_are_as_recorded() -> Result<()> {
    play("first-steps", Spec::default())
}

#[test]
fn roles_are_as_recorded() -> Result<()> {
    play("roles", Spec::default())
}

#[test]
fn connections_are_as_recorded() -> Result<()> {
    play("connections", Spec::default())
}

#[test]
fn disks_are_as_recorded() -> Result<()> {
    play("disks", Spec::default())
}

#[test]
fn generations_are_as_recorded() -> Result<()> {
    play("generations", Spec::default())
}

#[test]
fn resyncs_are_as_recorded() -> Result<()> {
    play("resyncs", slow())
}

#[test]
fn resizes_are_as_recorded() -> Result<()> {
    play("resize", Spec::with_bytes(8 << 20))
}

#[test]
fn split_brains_are_as_recorded() -> Result<()> {
    play("split-brain", Spec::default())
}

#[test]
fn unrelated_data_are_as_recorded() -> Result<()> {
    play("unrelated", Spec::default())
}

#[test]
fn verifies_are_as_recorded() -> Result<()> {
    play("verify", Spec::default())
}

#[test]
fn verifies_that_go_on_are_as_recorded() -> Result<()> {
    play("long-verify", Spec::with_bytes(4 << 30))
}

#[test]
fn fences_are_as_recorded() -> Result<()> {
    let (net, handlers) = ("fencing resource-and-stonith;", "fence-peer \"exit 1\";");
    play("fencing", Spec { net: net.to_owned(), handlers: handlers.to_owned(), ..Spec::default() })
}

#[test]
fn handlers_are_as_recorded() -> Result<()> {
    let names = [
        "before-resync-target",
        "after-resync-target",
        "split-brain",
        "initial-split-brain",
        "pri-lost",
        "pri-lost-after-sb",
        "local-io-error",
        "out-of-sync",
        "unfence-peer",
    ];
    let quiet: String = names.iter().map(|name| format!("{name} \"true\"; ")).collect();
    let handlers = format!("{quiet}fence-peer \"echo $DRBD_PEER_NODE_ID is outdated; exit 4\";");
    play("handlers", Spec { handlers, ..Spec::default() })
}

#[test]
fn secrets_are_as_recorded() -> Result<()> {
    let net = "cram-hmac-alg sha256; shared-secret \"one\";".to_owned();
    play("secrets", Spec { net, ..Spec::default() })
}

#[test]
fn statuses_are_as_recorded() -> Result<()> {
    play("status", Spec::default())
}

#[test]
fn frozen_io_is_as_recorded() -> Result<()> {
    let options = "on-no-data-accessible suspend-io;".to_owned();
    play("frozen", Spec { options, ..Spec::default() })
}

#[test]
fn no_daemon_is_as_recorded() -> Result<()> {
    play("no-daemon", Spec::default())
}

#[test]
fn wrong_words_are_as_recorded() -> Result<()> {
    play("usage", Spec::default())
}

#[test]
fn adjustments_are_as_recorded() -> Result<()> {
    play("adjust", Spec::default())
}

#[test]
fn options_are_as_recorded() -> Result<()> {
    play("options", Spec::default())
}

#[test]
fn drbdsetup_is_as_recorded() -> Result<()> {
    play("drbdsetup", Spec::default())
}

#[test]
fn drbdsetups_parts_are_as_recorded() -> Result<()> {
    play("drbdsetup-parts", Spec::default())
}

#[test]
fn every_command_is_recorded_well_and_refused() -> Result<()> {
    coverage::check()
}

#[test]
fn every_refusal_is_recorded_or_excepted() -> Result<()> {
    refusals::check()
}
