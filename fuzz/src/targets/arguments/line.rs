//! A line that a script spells: a program, a command with what it takes, options, and raw strings.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;

use crate::source::Source;
use words::{COMMANDS, Command, NAMES, OPTIONS, PROGRAMS, VALUES};

mod words;

/// More words than this say nothing new.
const WORDS_MAX: usize = 40;

/// A program's name, and what it is called with.
pub(super) fn called(script: &mut Source<'_>) -> Vec<OsString> {
    let (name, commands) = script.pick(PROGRAMS);
    let mut line: Vec<Vec<u8>> = vec![name.as_bytes().to_vec()];
    // A program may be called by its name, or name it as its first argument.
    if script.below(16) == 15 {
        line.insert(0, raw(script));
    }
    while script.below(8) == 7 && !script.is_empty() {
        line.push(any(script));
    }
    if script.below(16) < 15 {
        command(script.pick(COMMANDS[commands]), script, &mut line);
    }
    while !script.is_empty() && line.len() < WORDS_MAX {
        line.push(any(script));
    }
    // The system passes no zero byte on.
    line.iter_mut().for_each(|word| word.retain(|byte| *byte != 0));
    line.into_iter().map(OsString::from_vec).collect()
}

/// A command with what it takes, where nothing else comes between.
fn command(command: Command, script: &mut Source<'_>, line: &mut Vec<Vec<u8>>) {
    let Command(words, takes, options) = command;
    for word in words.split(' ').filter(|word| !word.is_empty()) {
        line.push(word.as_bytes().to_vec());
    }
    for kind in takes.chars() {
        match script.below(16) {
            15 => continue,
            14 => line.push(any(script)),
            _ => line.push(operand(kind, script)),
        }
    }
    while !options.is_empty() && script.below(4) > 1 && !script.is_empty() {
        line.push(option(script.pick(options), script));
    }
}

/// What the signature of a command has a letter for.
fn operand(kind: char, script: &mut Source<'_>) -> Vec<u8> {
    match kind {
        'r' => script.pick(NAMES).as_bytes().to_vec(),
        'o' => object(script),
        'p' => script.pick(&["1", "0", "31", "32", "255"]).as_bytes().to_vec(),
        'v' => script.pick(&["0", "1", "2", "65534", "65535"]).as_bytes().to_vec(),
        'm' => script.pick(&["1", "minor-2", "/dev/drbd3", "minor-9", "7"]).as_bytes().to_vec(),
        'a' => script.pick(&["ipv4:10.0.0.1:7000", "ipv6:[::1]:1", "1:2"]).as_bytes().to_vec(),
        'd' => script.pick(&["/dev/a0", "/dev/m1", "", "x"]).as_bytes().to_vec(),
        'i' => script.pick(&["internal", "flex-external", "0", "-1"]).as_bytes().to_vec(),
        'n' => script.pick(&["1", "31", "0", "32"]).as_bytes().to_vec(),
        's' => script.pick(&["bash", "zsh", "fish"]).as_bytes().to_vec(),
        _ => any(script),
    }
}

/// `RES[:PEER][/VOL]`, in part.
fn object(script: &mut Source<'_>) -> Vec<u8> {
    let shape = script.byte();
    let mut object = script.pick(NAMES).to_owned();
    if shape & 3 == 3 {
        object = format!("{object}:{}", script.pick(&["b", "a", "c", ""]));
    }
    if shape & 12 == 12 {
        object = format!("{object}/{}", script.pick(&["0", "1", "65535", "65536", "", "x"]));
    }
    object.into_bytes()
}

/// One with a value behind `=` where it has none, and the other way round.
fn option(option: &str, script: &mut Source<'_>) -> Vec<u8> {
    match script.below(8) {
        7 => [option.as_bytes(), b"=", &value(script)].concat(),
        6 if option.contains('=') => option.split('=').next().unwrap_or("").as_bytes().to_vec(),
        _ => option.as_bytes().to_vec(),
    }
}

/// Any word.
fn any(script: &mut Source<'_>) -> Vec<u8> {
    match script.below(8) {
        0 => object(script),
        1 => option(script.pick(OPTIONS), script),
        2 => {
            let commands = script.pick(COMMANDS);
            option(script.pick(commands).2.first().unwrap_or(&"--"), script)
        }
        3 | 4 => value(script),
        5 => {
            let commands = script.pick(COMMANDS);
            script.pick(commands).0.as_bytes().to_vec()
        }
        6 => option(script.pick(OPTIONS), script),
        _ => raw(script),
    }
}

fn value(script: &mut Source<'_>) -> Vec<u8> {
    match script.below(4) {
        0 | 1 => script.pick(VALUES).as_bytes().to_vec(),
        2 => number(script),
        _ => raw(script),
    }
}

fn number(script: &mut Source<'_>) -> Vec<u8> {
    let before = script.pick(&["", "", "", "-", "+", "/dev/drbd", "minor-", " ", "0x"]);
    let number = script.number();
    let behind = script.pick(&["", "", "", "s", "K", "T", "KK", "é", ".0", "9999"]);
    format!("{before}{number}{behind}").into_bytes()
}

fn raw(script: &mut Source<'_>) -> Vec<u8> {
    let len = script.below(24);
    script.bytes(len).to_vec()
}

#[cfg(test)]
mod tests {
    use super::called;
    use crate::corpus;
    use crate::source::Source;

    #[test]
    fn the_lines_that_were_bugs_are_what_they_are_kept_as() {
        let folder = corpus::folder(&super::super::TARGET);
        for (name, line) in [
            ("help-takes-the-resource", "drbdsetup resource-options --help r0"),
            ("nothing-has-a-name", "drbdsetup new-minor  1 0 --force"),
            ("pages-of-a-dry-run", "tandemadm man-pages x --dry-run"),
        ] {
            let input = std::fs::read(folder.join(name)).unwrap();
            let called = called(&mut Source::new(&input[2..]));
            let words: Vec<&str> = called.iter().map(|word| word.to_str().unwrap()).collect();
            assert_eq!(words.join(" "), line);
        }
    }
}
