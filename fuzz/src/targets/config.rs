//! A configuration in DRBD's language.
//!
//! It is taken, or refused by errors that point into the file. One that is taken is dumped, and the
//! dump says the same and dumps to itself. Files that it includes are not there.

use std::path::Path;

use tandem_control::config::{
    Config, ConfigErrors, Diagnostic, Reading, Resource, Secrets, dump, dump_xml,
};

use super::Target;
use crate::{Random, Sightings};

pub(super) const TARGET: Target = Target {
    name: "config",
    run,
    generate,
    words: WORDS,
    len_max: 6 << 10,
    base_bytes: 1 << 20,
    // Fifty errors, each with its line, and options of every volume and connection.
    per_byte: 16 << 10,
};

/// Nothing is in it.
const FILE: &str = "/nonexistent/tandem-fuzz/r0.res";

const WORDS: &[&[u8]] = &[
    b"resource ",
    b"r0 ",
    b"on ",
    b"a ",
    b"b ",
    b"{ ",
    b"} ",
    b"; ",
    b"volume ",
    b"0 ",
    b"device ",
    b"minor 1; ",
    b"disk ",
    b"/dev/sda; ",
    b"meta-disk internal; ",
    b"meta-disk /dev/m[3]; ",
    b"address ",
    b"10.0.0.1:7789; ",
    b"ipv6 [fd00::2]:1; ",
    b"node-id 0; ",
    b"node-id 1; ",
    b"net { ",
    b"protocol C; ",
    b"options { ",
    b"handlers { ",
    b"startup { ",
    b"common { ",
    b"global { ",
    b"connection { ",
    b"connection-mesh { ",
    b"hosts a b; ",
    b"host a ",
    b"port 99; ",
    b"path { ",
    b"timeout 30; ",
    b"ping-int 1; ",
    b"shared-secret \"x\"; ",
    b"floating ",
    b"peer-device-options { ",
    b"resync-after ",
    b"r0/0; ",
    b"fencing ",
    b"resource-only; ",
    b"stacked-on-top-of ",
    b"skip ",
    b"include \"x*\"; ",
    b"template-file \"t\"; ",
    b"\"",
    b"\\",
    b"#",
    b"\n",
    b"yes; ",
    b"10K; ",
    b"18446744073709551615; ",
    b"-1; ",
    b"inherit ",
    b"_this_host { ",
    b"al-extents 6433; ",
    b"on-io-error detach; ",
    b"c-max-rate 1G; ",
    b"after-sb-0pri ",
    b"discard-zero-changes; ",
    b"verify-alg crc32c; ",
    b"device /dev/drbd1 minor 1; ",
    b"a b ",
];

fn run(input: &[u8], seen: &mut Sightings) -> Result<(), String> {
    let text = String::from_utf8_lossy(input);
    match Reading::parse(Path::new(FILE), &text) {
        Ok(reading) => taken(&reading, &text, seen),
        Err(errors) => refused(&errors, &text, seen),
    }
}

fn taken(reading: &Reading, text: &str, seen: &mut Sightings) -> Result<(), String> {
    let config = &reading.config;
    for diagnostic in reading.refusals.iter().chain(&config.warnings) {
        check_place(diagnostic, text)?;
        seen.see_text(&diagnostic.message);
    }
    for definition in &config.definitions {
        let resource = &definition.resource;
        let volumes = resource.hosts.iter().map(|host| host.volumes.len()).max();
        seen.see((volumes, resource.hosts.len(), resource.connections.len()));
    }
    let dumped = dump(config, "a", Secrets::Shown);
    let again = Reading::parse(Path::new(FILE), &dumped)
        .map_err(|errors| format!("a dump that is not taken: {errors}\n{dumped}"))?;
    if resources(&again.config) != resources(config) {
        return Err(format!("a dump that says something else:\n{dumped}"));
    }
    for node in ["a", "b"] {
        if again.config.seen_from(node) != config.seen_from(node) {
            return Err(format!("a dump that says something else to {node}:\n{dumped}"));
        }
    }
    let twice = dump(&again.config, "a", Secrets::Shown);
    if without_places(&twice).ne(without_places(&dumped)) {
        return Err(format!("a dump of\n{dumped}that is\n{twice}"));
    }
    // These must come to an end.
    let _ = (dump(config, "b", Secrets::Hidden), dump_xml(config, Secrets::Hidden));
    Ok(())
}

fn refused(errors: &ConfigErrors, text: &str, seen: &mut Sightings) -> Result<(), String> {
    if errors.0.is_empty() {
        return Err("refused without a reason".to_owned());
    }
    for diagnostic in &errors.0 {
        check_place(diagnostic, text)?;
        seen.see_text(&diagnostic.message);
    }
    let _ = errors.to_string();
    Ok(())
}

/// A place in the file: where its end is meant, one line or one column further at most.
fn check_place(diagnostic: &Diagnostic, text: &str) -> Result<(), String> {
    let Diagnostic { line, column, message, file, .. } = diagnostic;
    if message.trim().is_empty() {
        return Err(format!("a diagnostic that says nothing: {diagnostic:?}"));
    }
    if file != Path::new(FILE) {
        return Ok(()); // the input has found a file that is there
    }
    let lines: Vec<&str> = text.split('\n').collect();
    let index = usize::try_from(*line).unwrap_or(usize::MAX).checked_sub(1);
    let found = index.and_then(|index| lines.get(index));
    let is_inside = found.is_some_and(|found| {
        let last = found.chars().count() + 1;
        (1..=last).contains(&usize::try_from(*column).unwrap_or(usize::MAX))
    });
    if is_inside { Ok(()) } else { Err(format!("a place outside the file: {diagnostic:?}")) }
}

/// But for where a resource is defined, which a dump of it moves.
fn without_places(dumped: &str) -> impl Iterator<Item = &str> {
    dumped.lines().filter(|line| !line.starts_with("# defined at "))
}

fn resources(config: &Config) -> Vec<Resource> {
    config.definitions.iter().map(|definition| definition.resource.clone()).collect()
}

/// A resource as most people have it, with statements put in anywhere.
fn generate(random: &mut Random) -> Vec<u8> {
    let mut text = Vec::new();
    for _ in 0..random.below(3) {
        text.extend_from_slice(random.pick::<&[u8]>(WORDS));
    }
    let piece = |random: &mut Random| -> Vec<u8> {
        let count = random.below(4);
        (0..count).flat_map(|_| random.pick(WORDS).to_vec()).collect()
    };
    let resources = random.below(3);
    for number in 0..resources {
        text.extend_from_slice(format!("resource r{number} {{ ").as_bytes());
        text.extend(piece(random));
        for (node, name) in ["a", "b"].iter().enumerate() {
            let port = 7000 + number;
            let host = format!(
                "on {name} {{ node-id {node}; address 10.0.0.{}:{port}; volume 0 {{ device minor \
                 {number}; disk /dev/d{number}; meta-disk internal; ",
                node + 1
            );
            text.extend_from_slice(host.as_bytes());
            text.extend(piece(random));
            text.extend_from_slice(b"} } ");
        }
        text.extend(piece(random));
        text.extend_from_slice(b"} ");
    }
    text.extend(piece(random));
    text
}
