//! An argument vector, given to `tandemadm`, `drbdsetup` or `drbdmeta`: everything of them but the
//! machine.
//!
//! The program comes to an end by itself, and says what is wrong with what it refuses. A line that
//! is refused has changed nothing, one that asks for help or for a dry run touches nothing, and a
//! dry run prints what is done without it.

mod line;
mod node;

use std::ffi::{OsStr, OsString};

use tandem_adm::rehearsal::{Rehearsed, Stage, Touch, rehearse};
use tandem_control::admin::{Request, decode_request, encode_request};

use super::Target;
use crate::attempt::about;
use crate::source::Source;
use crate::{Random, Sightings};

pub(super) const TARGET: Target = Target {
    name: "arguments",
    run,
    generate,
    words: &[],
    len_max: 256,
    // The description of all commands, of which completions and usage are made.
    base_bytes: 8 << 20,
    // `all` is two bytes, and means every resource with all its options.
    per_byte: 64 << 10,
};

fn run(input: &[u8], seen: &mut Sightings) -> Result<(), String> {
    let mut script = Source::new(input);
    let mood = node::Mood::of(&mut script);
    let called = line::called(&mut script);
    let line = format!("\n{mood:?}: {called:?}");
    about(&line);
    judge(&called, mood, seen).map_err(|wrong| wrong + &line)
}

fn judge(called: &[OsString], mood: node::Mood, seen: &mut Sightings) -> Result<(), String> {
    let rehearsed = rehearse(called, &mood.stage());
    let Rehearsed { exit_code, printed, complained, touches } = &rehearsed;
    seen.see((program(called), exit_code, printed.is_empty()));
    seen.see_text(&without_words_of(called, complained));
    for touch in touches {
        seen.see((program(called), kind(touch)));
    }
    if *exit_code != 0 {
        says_what_is_wrong(called, complained)?;
    }
    // What the daemon refuses it has been told.
    let is_told = node::REFUSALS.iter().any(|text| complained.contains(text));
    if *exit_code != 0 && !is_told && touches.iter().any(changes) {
        return Err(format!("exits with {exit_code}, and has done {touches:?}"));
    }
    touches.iter().try_for_each(can_be_sent)?;
    if asks_for(called, &["--help", "-h"]) && !touches.is_empty() {
        return Err(format!("help that touches something: {touches:?}"));
    }
    if asks_for(called, &["--dry-run", "-d"]) {
        return touches.iter().try_for_each(|touch| is_looked_at(called, touch));
    }
    if program(called) == "tandemadm" && *exit_code == 0 {
        return as_told(called, &mood.stage(), &rehearsed);
    }
    Ok(())
}

/// What is complained of, whatever it is about.
fn without_words_of(called: &[OsString], complained: &str) -> String {
    let line: Vec<_> = called.iter().skip(1).map(|word| word.to_string_lossy()).collect();
    let is_of_line = |text: &&str| {
        let bare = text.trim_matches(|c: char| c.is_ascii_punctuation());
        line.iter().any(|word| word.contains(bare))
    };
    let others = complained.split_whitespace().filter(|text| !is_of_line(text));
    others.collect::<Vec<_>>().join(" ")
}

/// Which of the programs it is.
fn program(called: &[OsString]) -> &'static str {
    let name = called.first().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let first = called.get(1).and_then(|first| first.to_str());
    ["drbdsetup", "drbdmeta"]
        .into_iter()
        .find(|it| name.rsplit('/').next() == Some(*it))
        .or_else(|| ["drbdsetup", "drbdmeta"].into_iter().find(|it| first == Some(*it)))
        .unwrap_or("tandemadm")
}

/// Whether one of the options is there, and not behind the end of all options.
fn asks_for(called: &[OsString], options: &[&str]) -> bool {
    let short = program(called) == "tandemadm";
    let mut words = called.iter().skip(1).take_while(|word| *word != "--");
    words.any(|word| {
        options.iter().any(|option| (short || option.starts_with("--")) && word == option)
    })
}

/// Something in it is of the line, or says what is missing from it.
fn says_what_is_wrong(called: &[OsString], complained: &str) -> Result<(), String> {
    const MISSING: &[&str] = &[
        "Usage:",
        "USAGE:",
        "missing",
        "is required",
        "'<",
        "Missing",
        "MAX_PEERS",
        "node-id",
        "minor",
        "daemon",
        "/rehearsal.res",
        "option '--'",
    ];
    let parts = |word: &OsStr| {
        let word = word.to_string_lossy().into_owned();
        let name = word.strip_prefix("--").unwrap_or(&word).split('=');
        let words = word.split(|c: char| !c.is_alphanumeric()).chain(name).chain([word.as_str()]);
        words.filter(|part| !part.is_empty()).map(str::to_owned).collect::<Vec<_>>()
    };
    let of_line = called.iter().skip(1).flat_map(|word| parts(word));
    let named = of_line.into_iter().any(|part| complained.contains(&part))
        || complained.contains("''")
        || MISSING.iter().any(|word| complained.contains(word));
    if complained.trim().is_empty() {
        return Err("refused without a word".to_owned());
    }
    if named { Ok(()) } else { Err(format!("does not name what is wrong: {complained:?}")) }
}

/// Whether something may be another way behind it.
fn changes(touch: &Touch) -> bool {
    match touch {
        Touch::Read(_) | Touch::Connected(_) | Touch::Shown(_) => false,
        Touch::Asked(request) => !is_question(request),
        Touch::Metadata(step) => {
            let questions = ["get-gi ", "show-gi ", "dump-md ", "look at "];
            !questions.iter().any(|question| step.starts_with(question))
        }
        Touch::Run(_) | Touch::Pages(_) => true,
    }
}

fn is_question(request: &Request) -> bool {
    let is_answered =
        matches!(request, Request::Status { .. } | Request::Running { .. } | Request::Watch { .. });
    is_answered || matches!(request, Request::WaitConnect { .. } | Request::WaitSync { .. })
}

/// A dry run reads its configuration. Which split brains are to be resolved the daemon knows only.
fn is_looked_at(called: &[OsString], touch: &Touch) -> Result<(), String> {
    let asks = called.iter().any(|word| word == "resolve");
    let is_looked = match touch {
        Touch::Read(_) => true,
        Touch::Connected(_) | Touch::Asked(Request::Status { .. }) => asks,
        Touch::Asked(_)
        | Touch::Metadata(_)
        | Touch::Shown(_)
        | Touch::Run(_)
        | Touch::Pages(_) => false,
    };
    if is_looked { Ok(()) } else { Err(format!("a dry run that touches something: {touch:?}")) }
}

/// The daemon understands it.
fn can_be_sent(touch: &Touch) -> Result<(), String> {
    let Touch::Asked(request) = touch else { return Ok(()) };
    let frame = encode_request(request).map_err(|error| format!("{request:?}: {error}"))?;
    match decode_request(&frame) {
        Ok(Some((again, _))) if again == *request => Ok(()),
        other => Err(format!("{request:?} arrives as {other:?}")),
    }
}

/// The same line as a dry run prints what was asked and done.
fn as_told(called: &[OsString], stage: &Stage, done: &Rehearsed) -> Result<(), String> {
    let steps: Vec<String> = done.touches.iter().filter(is_step).map(Touch::to_string).collect();
    // Of a program a dry run also tells what it would find in its environment.
    if steps.is_empty() || done.touches.iter().any(|it| matches!(it, Touch::Run(_))) {
        return Ok(());
    }
    let mut dry: Vec<OsString> = called.to_vec();
    dry.insert(1, "--dry-run".into());
    let told = rehearse(&dry, stage);
    if told.exit_code != 0 {
        return Err(format!("a dry run is refused: {}", told.complained));
    }
    // What it asked to know it asks in both.
    let known: Vec<String> = told.touches.iter().filter(is_step).map(Touch::to_string).collect();
    let steps = steps[known.len()..].iter().map(|step| format!("{}\n", without_place(step)));
    let steps: String = steps.collect();
    if told.printed == steps {
        return Ok(());
    }
    Err(format!("a dry run prints\n{}what is done is\n{steps}", told.printed))
}

/// What is asked of the daemon, if there is one, has no place on a disk.
fn without_place(step: &str) -> &str {
    let has_place = ["outdate ", "invalidate "].iter().any(|verb| step.starts_with(verb));
    if has_place { step.split(" meta-disk:").next().unwrap_or(step) } else { step }
}

fn is_step(touch: &&Touch) -> bool {
    match touch {
        Touch::Asked(_) | Touch::Metadata(_) | Touch::Run(_) | Touch::Pages(_) => true,
        Touch::Read(_) | Touch::Connected(_) | Touch::Shown(_) => false,
    }
}

/// What it is, whatever it is about.
fn kind(touch: &Touch) -> String {
    let text = match touch {
        Touch::Asked(request) => format!("{request:?}"),
        Touch::Metadata(step) => step.clone(),
        Touch::Read(_)
        | Touch::Connected(_)
        | Touch::Shown(_)
        | Touch::Run(_)
        | Touch::Pages(_) => {
            format!("{touch:?}")
        }
    };
    text.split([' ', '(']).next().unwrap_or("").to_owned()
}

fn generate(random: &mut Random) -> Vec<u8> {
    let len = 3 + random.below(45);
    random.bytes(len)
}
