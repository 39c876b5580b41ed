//! Configurations that are refused, with the words they are refused with.
//!
//! `tests/golden/bad.txt` has a case per block: `=== title`, the configuration, `---`, the
//! messages. With `UPDATE_GOLDEN=1` in the environment the messages are written anew, to be read as
//! a diff.

use proptest::prelude::*;

use super::pair;
use crate::config::Config;
use crate::limits;

fn messages(text: &str) -> String {
    match Config::parse("t.res".as_ref(), text) {
        Ok(_) => "accepted\n".to_owned(),
        Err(errors) => format!("{errors}\n"),
    }
}

#[test]
fn messages_are_as_recorded() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden/bad.txt");
    let golden = std::fs::read_to_string(path).unwrap();
    let update = std::env::var_os("UPDATE_GOLDEN").is_some();
    let mut printed = String::new();
    let mut count = 0;
    for case in golden.split("=== ").skip(1) {
        let (title, rest) = case.split_once('\n').unwrap();
        let (text, recorded) = rest.split_once("---\n").unwrap();
        let messages = messages(text);
        assert_ne!(messages, "accepted\n", "{title}");
        assert!(update || messages.trim_end() == recorded.trim_end(), "{title}: {messages}");
        printed.push_str(&format!("=== {title}\n{text}---\n{messages}\n"));
        count += 1;
    }
    assert!(count >= 30, "only {count} cases");
    if update {
        std::fs::write(path, &printed).unwrap();
    }
}

#[test]
fn limits_of_length_and_depth_hold() {
    let long = "x".repeat(limits::WORD_LEN_MAX + 1);
    let message = messages(&format!("resource {long} {{ }}"));
    assert!(message.contains("this word has 129 bytes, at most 128 are allowed"), "{message}");
    let quoted = "x".repeat(limits::QUOTED_LEN_MAX + 1);
    let message = messages(&format!("resource r0 {{ net {{ csums-alg \"{quoted}\"; }} }}"));
    assert!(message.contains("this string has 256 bytes, at most 255 are allowed"), "{message}");
    let deep = format!("{}{}", "deep {".repeat(100_000), "}".repeat(100_000));
    let message = messages(&deep);
    assert!(message.contains("braces are nested more than 8 deep"), "{message}");
    let message = messages(&format!("a {};", "b ".repeat(1000)));
    assert!(message.contains("too many words in one statement"), "{message}");
}

#[test]
fn errors_in_plenty_are_cut() {
    let errors = Config::parse("t.res".as_ref(), &"x;\n".repeat(1000)).unwrap_err();
    assert_eq!(errors.0.len(), limits::DIAGNOSTICS_MAX);
}

#[test]
fn a_long_line_is_shown_around_the_place() {
    let text = format!("{}oops;", "skip { } ".repeat(100));
    let message = messages(&text);
    let lines: Vec<&str> = message.lines().collect();
    assert!(lines.iter().all(|line| line.len() < 200), "{message}");
    let column = lines[2].find('^').unwrap();
    assert!(lines[1][column..].starts_with("oops"), "{message}");
}

#[test]
fn secrets_are_in_no_message() {
    for (secret, place) in [
        ("shared-secret hush; cram-hmac-alg md5", "net { PLACE; }"),
        ("shared-secret \"hush hush\" hush", "net { PLACE; }"),
        ("shared-secret\n   hush; cram-hmac-alg md5", "net { PLACE; }"),
        ("shared-secret hush }", "net { PLACE"),
        ("shared-secret \"hush", "net { PLACE\n }"),
        ("shared-secret \"hush\\h\"", "net { PLACE }"),
        ("no-shared-secret hush", "net { PLACE; }"),
        ("shared-secret hush", "disk { PLACE; }"),
        ("shared-secret hush", "nett { PLACE; PLACE; }"),
        (&format!("shared-secret {}", "hush".repeat(20)), "net { PLACE; }"),
        ("shared-secret hush; shared-secret hush", "net { PLACE; }"),
        ("shared-secret hush", MESHES),
    ] {
        let message = messages(&pair(&place.replace("PLACE", secret)));
        // An option of no such name is no secret, and shown for what it is.
        let known = secret.starts_with("shared");
        assert_ne!(message, "accepted\n", "{secret}");
        assert!(!message.contains("hush") || !known, "{secret}: {message}");
    }
}

/// Two sections that say different secrets of the same hosts.
const MESHES: &str = "connection-mesh { hosts a b; net { PLACE; } }
    connection-mesh { hosts a b; net { PLACEr; } }";

proptest! {
    #[test]
    fn no_text_makes_the_reader_panic(text in "\\PC{0,200}") {
        let _ = Config::parse("t.res".as_ref(), &text);
    }

    #[test]
    fn no_change_of_a_good_file_makes_the_reader_panic(
        at in 0_usize..400,
        with in "[{};\"# a0.]{0,3}",
        cut in 0_usize..20,
    ) {
        let connection = "connection { host a; host b; volume 0 { disk { c-max-rate 1M; } } }";
        let mut text: Vec<char> = pair(connection).chars().collect();
        let at = at.min(text.len());
        let end = (at + cut).min(text.len());
        text.splice(at..end, with.chars());
        let text: String = text.into_iter().collect();
        if let Ok(config) = Config::parse("t.res".as_ref(), &text) {
            let _ = config.seen_from("a");
        }
    }
}
