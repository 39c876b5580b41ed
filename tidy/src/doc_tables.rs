//! Tables of states in documents against the enums in code.
//!
//! A line `<!-- enum PATH NAME -->` says that the next table lists the variants of an enum: the
//! first column names all of them in their order, as code, and where they have numbers the second
//! column says those.

use crate::lexer::{Word, lex};
use crate::tree::{File, Finding, Tree};

/// Enums that some document must list, as `PATH NAME`.
const REQUIRED: [&str; 17] = [
    "crates/wire/src/types.rs Role",
    "crates/wire/src/types.rs DiskState",
    "crates/wire/src/types.rs ReplicationState",
    "crates/wire/src/types.rs Protocol",
    "crates/replica/src/status.rs ConnectionState",
    "crates/replica/src/connection.rs Link",
    "crates/replica/src/connection.rs Phase",
    "crates/replica/src/connection.rs Leftovers",
    "crates/replica/src/peer_device.rs Replication",
    "crates/replica/src/peer_device.rs Step",
    "crates/replica/src/volume.rs Disk",
    "crates/replica/src/volume.rs Rotation",
    "crates/replica/src/role.rs Promotion",
    "crates/replica/src/role.rs Demotion",
    "crates/replica/src/peer_device.rs Ahead",
    "crates/replica/src/resync.rs Ending",
    "crates/replica/src/write.rs Stage",
];

/// A variant: its name, and its number where it has one.
type Variant = (String, Option<String>);

/// Tables that do not say what the enums say.
pub fn enum_tables(tree: &Tree) -> Vec<Finding> {
    let mut found = Vec::new();
    let mut seen = Vec::new();
    for file in tree.files.iter().filter(|file| file.path.ends_with(".md")) {
        for (number, line) in file.text.lines().enumerate() {
            let Some(name) = marker(line) else { continue };
            seen.push(name);
            if let Err(text) = check(tree, file, number, name) {
                found.push(Finding::new("states", &file.path, number + 1, text));
            }
        }
    }
    let missing = REQUIRED.iter().filter(|name| !seen.contains(*name));
    found.extend(missing.map(|name| {
        Finding::new("states", "docs/STATES.md", 1, format!("no table of enum {name}"))
    }));
    found
}

fn marker(line: &str) -> Option<&str> {
    line.strip_prefix("<!-- enum ")?.strip_suffix(" -->")
}

fn check(tree: &Tree, file: &File, marked: usize, name: &str) -> Result<(), String> {
    let (path, name) = name.split_once(' ').ok_or("not `PATH NAME`")?;
    let source = tree.find(path).ok_or_else(|| format!("{path} is not there"))?;
    let code = variants(source, name).ok_or_else(|| format!("no enum {name} in {path}"))?;
    let table = rows(file, marked);
    if table.len() != code.len() {
        return Err(format!("{} rows, but {name} has {} variants", table.len(), code.len()));
    }
    for ((listed, number), (variant, value)) in table.iter().zip(&code) {
        if listed != variant {
            return Err(format!("`{listed}` stands where {name} has `{variant}`"));
        }
        if value.is_some() && value != number {
            return Err(format!("`{variant}` is {}", value.as_deref().unwrap_or_default()));
        }
    }
    Ok(())
}

/// First and second cell of the rows of the table after a line.
fn rows(file: &File, marked: usize) -> Vec<Variant> {
    let lines = file.text.lines().skip(marked + 1).skip_while(|line| !line.starts_with('|'));
    let rows = lines.take_while(|line| line.starts_with('|')).skip(2);
    rows.map(|row| {
        let mut cells = row.split('|').skip(1).map(str::trim);
        let first = cells.next().unwrap_or_default().trim_matches('`').to_owned();
        (first, cells.next().map(str::to_owned))
    })
    .collect()
}

/// The variants of an enum in a source.
fn variants(source: &File, name: &str) -> Option<Vec<Variant>> {
    let lexed = lex(&source.text);
    let words = lexed.words();
    let start = words
        .windows(3)
        .position(|it| (it[0].text, it[1].text, it[2].text) == ("enum", name, "{"))?;
    let mut found: Vec<Variant> = Vec::new();
    let mut depth = 0;
    let mut words = words[start + 2..].iter().peekable();
    while let Some(Word { text, .. }) = words.next() {
        match *text {
            "{" | "(" | "[" => depth += 1,
            "}" | ")" | "]" => depth -= 1,
            "=" if depth == 1 => {
                if let (Some(last), Some(value)) = (found.last_mut(), words.peek()) {
                    last.1 = Some(value.text.to_owned());
                }
            }
            text if depth == 1 && text.starts_with(char::is_uppercase) => {
                found.push((text.to_owned(), None));
            }
            _ => {}
        }
        if depth == 0 {
            break;
        }
    }
    Some(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    const CODE: &str = "/// Doc, One.\npub enum E {\n  /// A.\n  #[x(Y)]\n  One = 1,\n  \
                        Two(Vec<X>),\n  Three { a: B },\n}\nenum F { G }";

    fn check_table(table: &str) -> Result<(), String> {
        let page = File::new("docs/A.md", &format!("<!-- enum a.rs E -->\n\n{table}\n\n| x |\n"));
        let files = vec![File::new("a.rs", CODE), page.clone()];
        check(&Tree { files }, &page, 0, "a.rs E")
    }

    #[test]
    fn tables_say_what_enums_say() {
        let good = "| a | n |\n|---|---|\n| `One` | 1 |\n| `Two` | x |\n| `Three` | |";
        assert_eq!(check_table(good), Ok(()));
        for (bad, text) in [
            (good.replace("`Two` | x", "`Twos` | x"), "`Twos` stands where E has `Two`"),
            (good.replace("| 1 |", "| 2 |"), "`One` is 1"),
            (good.replace("| `Three` | |", ""), "2 rows, but E has 3 variants"),
        ] {
            assert_eq!(check_table(&bad), Err(text.to_owned()));
        }
    }

    #[test]
    fn every_table_is_required() {
        let found = enum_tables(&Tree::default());
        assert_eq!(found.len(), REQUIRED.len());
        let page = File::new("docs/A.md", "<!-- enum a.rs H -->\n");
        let files = vec![File::new("a.rs", CODE), page];
        assert_eq!(enum_tables(&Tree { files })[0].text, "no enum H in a.rs");
    }
}
