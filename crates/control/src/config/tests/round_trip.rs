//! A dump reads back to what was dumped.

use proptest::prelude::*;

use super::parse;
use crate::config::table::{Kind, Section, Spec};
use crate::config::{Config, Reading, Resource, Secrets, dump, dump_definition, is_secret};

/// Options of a section, refused ones too, with a value from `seed`.
fn options(section: Section, seed: u64) -> String {
    let mut text = String::new();
    for (index, spec) in section.specs().enumerate() {
        let seed = seed.rotate_left(u32::try_from(index).unwrap() * 5);
        let option = format!("{} {}; ", spec.name, value(spec, seed / 3));
        if seed.is_multiple_of(3) && !RELATED.iter().any(|it| option.starts_with(it)) {
            text.push_str(&option);
        }
    }
    text
}

fn value(spec: &Spec, seed: u64) -> String {
    match &spec.kind {
        Kind::Number { min, max, unit, .. } => {
            let range = max - min + 1;
            let kilo = min + seed % range / 1024;
            match unit.bytes() {
                Some(1) if seed.is_multiple_of(2) && kilo > *min => format!("{}K", kilo.max(1)),
                Some(_) | None => (min + seed % range).to_string(),
            }
        }
        Kind::Flag => ["yes", "no"][usize::try_from(seed % 2).unwrap()].to_owned(),
        Kind::Choice(words) => {
            let word = words[usize::try_from(seed).unwrap_or(0) % words.len()];
            if word.is_empty() { "\"\"".to_owned() } else { word.replace("NAME", "a") }
        }
        Kind::CountOr { min, max, words } => {
            let index = usize::try_from(seed).unwrap_or(0) % (words.len() + 1);
            let number = || (min + seed % (max - min + 1)).to_string();
            words.get(index).map_or_else(number, |word| (*word).to_owned())
        }
        Kind::Names => "a b".to_owned(),
        Kind::Text { .. } | Kind::Secret { .. } => ["\"a b\"", "\"x\\\"y\\\\z\"", "crc32c", "\"\""]
            [usize::try_from(seed % 4).unwrap()]
        .to_owned(),
    }
}

fn section(name: &str, section: Section, seed: u64) -> String {
    format!("{name} {{ {} }}", options(section, seed))
}

/// Options that have rules between them or with names of volumes: tested elsewhere.
const RELATED: [&str; 6] = [
    "timeout",
    "connect-int",
    "ping-int",
    "resync-after",
    "on-congestion pull-ahead",
    "fencing resource-and-stonith",
];

fn text(seeds: &[u64; 8], volumes: u16, flags: u8) -> String {
    let mut levels = String::new();
    for number in 0..volumes {
        let disk = section("disk", Section::Disk, seeds[0].wrapping_add(u64::from(number)));
        let meta = ["internal", "/dev/m", "/dev/n[3]"][usize::from(number % 3)];
        levels.push_str(&format!(
            "volume {} {{ device minor {}; disk \"/d isk/{number}\"; meta-disk {meta}; {disk} }} ",
            number * 7,
            number + 1,
        ));
    }
    let connection = format!(
        "connection {{ host a port 99; host b; {} {} volume 0 {{ {} }} }}",
        section("net", Section::Net, seeds[1]),
        section("disk", Section::PeerDisk, seeds[2]),
        section("disk", Section::PeerDisk, seeds[3]),
    );
    let connection = if flags & 1 == 0 { "" } else { &connection };
    let address = if flags & 2 == 0 { "10.0.0.2:1" } else { "ipv6 [fd00::2]:1" };
    format!(
        "common {{ {} {} handlers {{ split-brain \"x \\\"y\\\"\"; }} }}
         resource \"r+0\" {{ {levels} {connection} {} {}
            on a {{ node-id 0; address 10.0.0.1:1; {} }}
            on b {{ node-id 31; address {address}; }} }}",
        section("net", Section::Net, seeds[4]),
        section("startup", Section::Startup, seeds[5]),
        section("disk", Section::Disk, seeds[6]),
        section("options", Section::Options, seeds[7]),
        section("options", Section::Options, seeds[7].rotate_left(9)),
    )
}

fn resources(config: &Config) -> Vec<Resource> {
    config.definitions.iter().map(|definition| definition.resource.clone()).collect()
}

proptest! {
    #[test]
    fn a_dump_reads_back_equal(seeds: [u64; 8], volumes in 1_u16..4, flags in 0_u8..4) {
        let written = text(&seeds, volumes, flags);
        let read = |text: &str| match Reading::parse("t.res".as_ref(), text) {
            Ok(reading) => reading.config,
            Err(errors) => panic!("{errors}\nin: {text}"),
        };
        let config = read(&written);
        let dumped = dump(&config, "a", Secrets::Shown);
        let again = read(&dumped);
        prop_assert_eq!(resources(&again), resources(&config), "{}", dumped);
        prop_assert_eq!(again.seen_from("a"), config.seen_from("a"));
        prop_assert_eq!(again.seen_from("b"), config.seen_from("b"));
    }
}

#[test]
fn a_dump_has_drbdadms_form() {
    let text = "global { usage-count no; }
common { net { protocol B; } }
resource r0 {
  net { timeout 30; }
  disk /dev/sda; device minor 3;
  on a { node-id 0; address 10.0.0.1:7000; }
  on b { node-id 1; address ipv6 [fd00::2]:7000; meta-disk /dev/sdb[1]; }
  connection { host a; host b; net { csums-after-crash-only; } }
  handlers { split-brain \"/bin/sh -c 'x'\"; }
}";
    let config = parse(text);
    let expected = "\
# resource r0 on a: not ignored, not stacked
# defined at t.res:3
resource r0 {
    on a {
        node-id          0;
        volume 0 {
            device           /dev/drbd3 minor 3;
            disk             /dev/sda;
            meta-disk        internal;
        }
        address          ipv4 10.0.0.1:7000;
    }
    on b {
        node-id          1;
        volume 0 {
            device           /dev/drbd3 minor 3;
            disk             /dev/sda;
            meta-disk        /dev/sdb [1];
        }
        address          ipv6 [fd00::2]:7000;
    }
    connection {
        host             a address ipv4 10.0.0.1:7000;
        host             b address ipv6 [fd00::2]:7000;
        net {
            csums-after-crash-only yes;
            protocol         B;
            timeout          30;
        }
    }
    handlers {
        split-brain      \"/bin/sh -c 'x'\";
    }
}
";
    assert_eq!(dump_definition(&config.definitions[0], "a", Secrets::Hidden), expected);
    let whole = dump(&config, "a", Secrets::Hidden);
    let head = "# t.res\nglobal {\n    usage-count      no;\n}\n\n# resource r0 on a";
    assert!(whole.starts_with(head), "{whole}");
}

#[test]
fn a_dump_shows_secrets_only_if_asked() {
    let text = super::pair("net { shared-secret \"tell nobody\"; protocol A; }");
    let config = Reading::parse("t.res".as_ref(), &text).unwrap().config;
    let hidden = dump(&config, "a", Secrets::Hidden);
    assert!(!hidden.contains("tell") && hidden.contains("protocol"), "{hidden}");
    assert!(is_secret("shared-secret") && !is_secret("timeout") && !is_secret("nosuch"));
    assert!(hidden.contains("# shared-secret is not shown without --show-secrets\n"), "{hidden}");
    let shown = dump(&config, "a", Secrets::Shown);
    assert!(shown.contains("shared-secret    \"tell nobody\";\n"), "{shown}");
}
