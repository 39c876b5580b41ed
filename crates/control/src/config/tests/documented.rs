//! What docs/OPERATING.md says of options is what the table says.
//!
//! With `UPDATE_GOLDEN=1` in the environment its list is written anew.

use crate::config::table::{HANDLERS, Kind, Section, Spec, Support};

const BEGIN: &str = "<!-- options: this list is checked against the code -->\n";
const END: &str = "<!-- end of options -->\n";

/// Sections, with options of peers apart from others of `disk`.
const SECTIONS: [Section; 5] =
    [Section::Global, Section::Options, Section::Net, Section::Disk, Section::Startup];

fn list() -> String {
    let mut active = String::from("Active:\n\n| section | options |\n|---|---|\n");
    let mut refused = String::from(
        "Refused, with a sentence, unless they say how it is anyway:\n\n\
         | section | option | may be | because |\n|---|---|---|---|\n",
    );
    let mut ignored = String::from(
        "Without effect; their values are checked, and each is warned about once unless it says \
         how it is anyway:\n\n\
         | section | option | not warned about | because |\n|---|---|---|---|\n",
    );
    for section in SECTIONS {
        let name = section.name();
        let is_active = |spec: &&Spec| {
            matches!(spec.support, Support::Active | Support::Clamped | Support::Renamed { .. })
        };
        let names: Vec<String> =
            section.specs().filter(is_active).map(|spec| format!("`{}`", spec.name)).collect();
        if !names.is_empty() {
            active.push_str(&format!("| {name} | {} |\n", names.join(", ")));
        }
        for Spec { name: option, support, .. } in section.specs() {
            match support {
                Support::Active | Support::Clamped | Support::Renamed { .. } => {}
                Support::Only { allowed, why } => {
                    let allowed = words(allowed);
                    refused.push_str(&format!("| {name} | `{option}` | {allowed} | {why} |\n"));
                }
                Support::Ignored { quiet, why } => {
                    let quiet = words(quiet);
                    ignored.push_str(&format!("| {name} | `{option}` | {quiet} | {why} |\n"));
                }
            }
        }
    }
    let known = |happens: bool| {
        let names = HANDLERS.iter().filter(move |(_, it)| *it == happens);
        names.map(|(name, _)| format!("`{name}`")).collect::<Vec<_>>().join(", ")
    };
    active.push_str(&format!("| handlers | {} |\n", known(true)));
    let never = known(false);
    ignored.push_str(&format!("| handlers | {never} | | there is no such event yet |\n"));
    format!("{active}\n{refused}\n{ignored}")
}

fn words(words: &[&str]) -> String {
    let words = words.iter().filter(|word| !word.is_empty());
    words.map(|word| format!("`{word}`")).collect::<Vec<_>>().join(", ")
}

#[test]
fn the_list_of_options_is_the_codes() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/OPERATING.md");
    let page = std::fs::read_to_string(path).unwrap();
    let (before, rest) = page.split_once(BEGIN).expect("the list begins");
    let (listed, after) = rest.split_once(END).expect("the list ends");
    let list = list();
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(path, format!("{before}{BEGIN}\n{list}\n{END}{after}")).unwrap();
        return;
    }
    assert_eq!(listed.trim(), list.trim());
}

/// `drbdsetup` knows so many, `bitmap` counted for disks and for peers.
#[test]
fn all_options_of_drbd_are_there() {
    let count = |section: Section| section.specs().count();
    let old = ["bitmap"];
    let of_disk = count(Section::Disk) + old.len();
    assert_eq!((count(Section::Options), count(Section::Net), of_disk), (14, 39, 28));
    assert_eq!(count(Section::Options) + count(Section::Net) + of_disk, 81);
    for section in Section::ALL {
        for spec in section.specs() {
            let twice = section.specs().filter(|other| other.name == spec.name).count();
            assert_eq!(twice, 1, "{}", spec.name);
            let Kind::Number { min, max, default, .. } = &spec.kind else { continue };
            assert!(min <= default && default <= max, "{}", spec.name);
        }
    }
}
