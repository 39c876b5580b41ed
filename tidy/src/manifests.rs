//! Who may depend on whom: nothing points upward, and what is pure brings nothing impure in.

use toml::{Table, Value};

use crate::purity::PURE;
use crate::tree::{File, Finding, Tree};

/// Folders of packages, and the packages of this project that each may depend on.
const LAYERS: [(&str, &[&str]); 14] = [
    ("crates/wire", &[]),
    ("crates/nbd", &[]),
    ("crates/replica", &["wire"]),
    ("crates/ring", &[]),
    ("crates/control", &[]),
    ("crates/node", &["wire", "nbd", "replica", "ring", "control"]),
    // The format of metadata is the core's: docs/decisions/0006.
    ("crates/adm", &["control", "replica", "wire"]),
    ("crates/sim", &["wire", "nbd", "replica"]),
    ("fuzz", &["adm", "control", "nbd", "replica", "wire"]),
    // The binaries only.
    ("tests", &[]),
    ("demo", &["tests"]),
    ("bench", &["tests"]),
    ("tidy", &[]),
    ("vm-testbed", &["tests"]),
];

/// What pure crates may use of others' crates.
const PURE_MAY_USE: [&str; 8] =
    ["blake3", "bytes", "crc32fast", "hmac", "sha1", "sha2", "thiserror", "tracing"];

/// Dependencies that no manifest may have.
pub fn dependencies(tree: &Tree) -> Vec<Finding> {
    let manifests = tree.files.iter().filter_map(|file| {
        let folder = file.path.strip_suffix("/Cargo.toml")?;
        Some((folder, file))
    });
    manifests.flat_map(|(folder, file)| check(folder, file)).collect()
}

fn check(folder: &str, file: &File) -> Vec<Finding> {
    let wrong = |text: String| Finding::new("dependencies", &file.path, 1, text);
    let Some((_, allowed)) = LAYERS.iter().find(|(name, _)| *name == folder) else {
        return vec![wrong("a package that tidy/src/manifests.rs has no layer for".to_owned())];
    };
    let Ok(manifest) = file.text.parse::<Table>() else {
        return vec![wrong("no TOML".to_owned())];
    };
    let is_pure = PURE.iter().any(|name| folder == format!("crates/{name}"));
    let mut found = Vec::new();
    for (section, table) in sections(&manifest) {
        for name in table.keys() {
            if let Some(own) = name.strip_prefix("tandem-") {
                if !allowed.contains(&own) {
                    found.push(wrong(format!("{folder} may not depend on {own} ({section})")));
                }
            } else if is_pure && section == "dependencies" && !PURE_MAY_USE.contains(&name.as_str())
            {
                found.push(wrong(format!("{folder} is pure and may not use {name}")));
            }
        }
    }
    found
}

/// Every table of dependencies, those of targets too.
fn sections(manifest: &Table) -> Vec<(&str, &Table)> {
    const NAMES: [&str; 3] = ["dependencies", "dev-dependencies", "build-dependencies"];
    let targets = manifest.get("target").and_then(Value::as_table);
    let targets = targets.into_iter().flat_map(Table::values).filter_map(Value::as_table);
    let mut found = Vec::new();
    for table in targets.chain([manifest]) {
        for name in NAMES {
            found.extend(table.get(name).and_then(Value::as_table).map(|table| (name, table)));
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::dependencies;
    use crate::tree::{File, Tree};

    fn found(folder: &str, text: &str) -> Vec<String> {
        let files = vec![File::new(&format!("{folder}/Cargo.toml"), text)];
        dependencies(&Tree { files }).into_iter().map(|finding| finding.text).collect()
    }

    #[test]
    fn nothing_points_upward() {
        let upward = "[dependencies]\ntandem-node.workspace = true\n";
        let expected = ["crates/replica may not depend on node (dependencies)"];
        assert_eq!(found("crates/replica", upward), expected);
        let hidden = "[target.'cfg(unix)'.dev-dependencies]\ntandem-ring.path = \"../ring\"\n";
        let expected = ["crates/sim may not depend on ring (dev-dependencies)"];
        assert_eq!(found("crates/sim", hidden), expected);
        let downward = "[dependencies]\ntandem-wire.workspace = true\nbytes.workspace = true\n";
        assert_eq!(found("crates/replica", downward), [""; 0]);
    }

    #[test]
    fn pure_crates_bring_nothing_impure_in() {
        let text = "[dependencies]\ntokio = \"1\"\n[dev-dependencies]\nproptest = \"1\"\n";
        assert_eq!(found("crates/nbd", text), ["crates/nbd is pure and may not use tokio"]);
        assert_eq!(found("crates/node", text), [""; 0]);
    }

    #[test]
    fn every_package_has_a_layer() {
        assert_eq!(found("crates/other", "").len(), 1);
    }
}
