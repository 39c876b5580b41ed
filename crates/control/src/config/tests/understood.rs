//! Configurations that are understood, whether all that they ask for is there or not.
//!
//! `tests/golden/understood.txt` has a case per block: `=== title`, the configuration, `---`, its
//! dump, and what is said about it. With `UPDATE_GOLDEN=1` in the environment the answers are
//! written anew, to be read as a diff.

use proptest::prelude::*;

use crate::config::{Diagnostic, Reading, Secrets, dump, dump_xml};

fn read(text: &str) -> Reading {
    Reading::parse("t.res".as_ref(), text).unwrap_or_else(|errors| panic!("{errors}\nin: {text}"))
}

/// The dump, which reads back to the same, and the messages.
fn answer(text: &str) -> String {
    let Reading { config, refusals } = read(text);
    let dumped = dump(&config, "a", Secrets::Shown);
    let again = read(&dumped);
    assert_eq!(without_places(&dump(&again.config, "a", Secrets::Shown)), without_places(&dumped));
    for (first, second) in config.definitions.iter().zip(&again.config.definitions) {
        assert_eq!(first.resource, second.resource, "{dumped}");
    }
    let line = |what: &str, it: &Diagnostic| format!("{what}:{}: {}\n", it.line, it.message);
    let warnings: String = config.warnings.iter().map(|it| line("warning", it)).collect();
    let refusals: String = refusals.iter().map(|it| line("refused", it)).collect();
    dumped + &warnings + &refusals
}

fn without_places(dump: &str) -> String {
    let is_kept = |line: &&str| !line.starts_with("# defined at");
    dump.lines().filter(is_kept).map(|line| format!("{line}\n")).collect()
}

#[test]
fn answers_are_as_recorded() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden/understood.txt");
    let golden = std::fs::read_to_string(path).unwrap();
    let update = std::env::var_os("UPDATE_GOLDEN").is_some();
    let mut printed = String::new();
    for case in golden.split("=== ").skip(1) {
        let (title, rest) = case.split_once('\n').unwrap();
        let (text, recorded) = rest.split_once("---\n").unwrap();
        let answer = answer(text);
        assert!(update || answer.trim_end() == recorded.trim_end(), "{title}: {answer}");
        printed.push_str(&format!("=== {title}\n{text}---\n{answer}\n"));
    }
    if update {
        std::fs::write(path, &printed).unwrap();
    }
}

#[test]
fn the_same_as_xml() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden/understood.txt");
    let golden = std::fs::read_to_string(path).unwrap();
    let case = golden.split("=== ").find(|case| case.starts_with("three nodes")).unwrap();
    let (text, _) = case.split_once('\n').unwrap().1.split_once("---\n").unwrap();
    let xml = dump_xml(&read(text).config, Secrets::Hidden);
    assert!(!xml.contains("FooFun"), "{xml}");
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden/understood.xml");
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(path, &xml).unwrap();
    }
    assert_eq!(xml, std::fs::read_to_string(path).unwrap());
}

proptest! {
    #[test]
    fn no_change_of_them_makes_the_reader_panic(
        case in 0_usize..9,
        at in 0_usize..1500,
        with in "[{};\"# a0.:\\[]{0,3}",
        cut in 0_usize..40,
    ) {
        let golden = include_str!("../../../tests/golden/understood.txt");
        let case = golden.split("=== ").nth(case + 1).unwrap();
        let (text, _) = case.split_once('\n').unwrap().1.split_once("---\n").unwrap();
        let mut text: Vec<char> = text.chars().collect();
        let at = at % (text.len() + 1);
        let end = (at + cut).min(text.len());
        text.splice(at..end, with.chars());
        let text: String = text.into_iter().collect();
        if let Ok(reading) = Reading::parse("t.res".as_ref(), &text) {
            let _ = reading.config.seen_from("a");
            let _ = dump_xml(&reading.config, Secrets::Hidden);
            let _ = read(&dump(&reading.config, "a", Secrets::Shown));
        }
    }
}
