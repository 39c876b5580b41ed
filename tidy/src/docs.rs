//! Documents against the tree: links lead somewhere, every module says what it is, and the code map
//! of docs/ARCHITECTURE.md names what there is and nothing else.

use std::collections::BTreeSet;

use crate::tree::{File, Finding, Tree};

/// Where the code map is.
pub const MAP: &str = "docs/ARCHITECTURE.md";

/// Links of Markdown files to files that are not there.
pub fn links(tree: &Tree) -> Vec<Finding> {
    let mut found = Vec::new();
    for file in tree.files.iter().filter(|file| file.path.ends_with(".md")) {
        for (number, line) in file.text.lines().enumerate() {
            for target in targets(line) {
                let path = resolve(&file.path, target);
                if !tree.holds(&path) {
                    let text = format!("a link to {target}, which is not there");
                    found.push(Finding::new("links", &file.path, number + 1, text));
                }
            }
        }
    }
    found
}

/// Targets of the links in a line that are files, without what follows `#`.
fn targets(line: &str) -> impl Iterator<Item = &str> {
    let ends = line.split("](").skip(1).filter_map(|rest| rest.split(')').next());
    let files = ends.map(|target| target.split('#').next().unwrap_or(target));
    files.filter(|target| !target.is_empty() && !target.contains(':'))
}

/// The path from the root of what `from` calls `target`.
fn resolve(from: &str, target: &str) -> String {
    let mut parts: Vec<&str> = from.split('/').collect();
    parts.pop();
    for part in target.trim_end_matches('/').split('/') {
        match part {
            "." => {}
            ".." => {
                parts.pop();
            }
            name => parts.push(name),
        }
    }
    parts.join("/")
}

/// Source files that do not begin by saying what they are.
pub fn module_docs(tree: &Tree) -> Vec<Finding> {
    let sources = tree.rust().filter(|file| {
        let is_test = file.path.contains("/tests/") || file.path.ends_with("/tests.rs");
        file.path.contains("/src/") && !is_test
    });
    sources
        .filter(|file| !file.text.starts_with("//! "))
        .map(|file| Finding::new("module-docs", &file.path, 1, "does not begin with `//! `"))
        .collect()
}

/// Modules that the code map does not name, and files that it names and that are not there.
pub fn code_map(tree: &Tree) -> Vec<Finding> {
    let Some(map) = tree.find(MAP) else {
        return vec![Finding::new("code-map", MAP, 1, "is not there")];
    };
    let crates: BTreeSet<&str> = tree
        .rust()
        .filter_map(|file| file.path.strip_prefix("crates/")?.split_once("/src/"))
        .map(|(name, _)| name)
        .collect();
    crates.into_iter().flat_map(|name| map_of_crate(tree, map, name)).collect()
}

fn map_of_crate(tree: &Tree, map: &File, name: &str) -> Vec<Finding> {
    let wrong = |line, text| Finding::new("code-map", MAP, line, text);
    let heading = format!("### crates/{name}");
    let mut lines = map.text.lines().enumerate();
    let Some((line, _)) = lines.find(|(_, text)| text.starts_with(&heading)) else {
        return vec![wrong(1, format!("no section `{heading}`"))];
    };
    let mut found = Vec::new();
    let mut named = BTreeSet::new();
    for (number, text) in lines.take_while(|(_, text)| !text.starts_with('#')) {
        for file in first_cell(text).split('`').skip(1).step_by(2) {
            if !tree.holds(&format!("crates/{name}/src/{file}")) {
                found.push(wrong(number + 1, format!("crates/{name}/src/{file} is not there")));
            }
            named.insert(file);
        }
    }
    let modules = modules(tree, name);
    let missing = modules.iter().filter(|module| !named.contains(module.as_str()));
    found.extend(missing.map(|it| wrong(line + 1, format!("crates/{name}/src/{it} is missing"))));
    found
}

/// The first cell of a row of a table; nothing elsewhere.
fn first_cell(line: &str) -> &str {
    let row = line.strip_prefix('|').and_then(|rest| rest.split('|').next());
    row.unwrap_or_default()
}

/// Files of a crate's modules, without those inside other modules and without its root.
fn modules(tree: &Tree, name: &str) -> BTreeSet<String> {
    let source = format!("crates/{name}/src/");
    let files = tree.rust().filter_map(|file| file.path.strip_prefix(&source));
    let modules = files.filter(|path| match path.split_once('/') {
        Some((_, rest)) => rest == "mod.rs",
        None => *path != "lib.rs" && *path != "main.rs",
    });
    modules.map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tree(files: &[(&str, &str)]) -> Tree {
        let files = files.iter().map(|(path, text)| File::new(path, text)).collect();
        Tree { files }
    }

    #[test]
    fn links_to_nowhere_are_found() {
        let page = "[a](../README.md) [b](STATES.md#x) [c](https://e.org/x.md) [d](#y) [e](dir/)";
        let good = [("README.md", ""), ("docs/STATES.md", ""), ("docs/dir/x", "")];
        let mut files = good.to_vec();
        files.push(("docs/A.md", page));
        assert_eq!(links(&tree(&files)), []);
        let found = links(&tree(&[("docs/STATES.md", ""), ("docs/A.md", page)]));
        let found: Vec<_> = found.into_iter().map(|finding| finding.text).collect();
        let missing = ["../README.md", "dir/"];
        assert_eq!(found, missing.map(|it| format!("a link to {it}, which is not there")));
    }

    #[test]
    fn modules_without_a_word_are_found() {
        let files = [
            ("crates/a/src/lib.rs", "//! A.\n"),
            ("crates/a/src/b.rs", "use c;\n"),
            ("crates/a/src/b/tests.rs", "use c;\n"),
        ];
        let found = module_docs(&tree(&files));
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].place, "crates/a/src/b.rs");
    }

    #[test]
    fn the_code_map_names_what_there_is() {
        let files = |map: &str| {
            let names = ["lib.rs", "b.rs", "c/mod.rs", "b/d.rs"];
            let paths = names.map(|name| format!("crates/a/src/{name}"));
            let mut files: Vec<_> = paths.iter().map(|path| (path.as_str(), "")).collect();
            files.push((MAP, map));
            code_map(&tree(&files)).into_iter().map(|it| it.text).collect::<Vec<_>>()
        };
        let good =
            "### crates/a: it\n\n| file | is |\n|---|---|\n| `b.rs`, `c/mod.rs` | `e.rs` |\n";
        assert_eq!(files(good), [""; 0]);
        assert_eq!(files("# map"), ["no section `### crates/a`"]);
        assert_eq!(
            files(&good.replace("`b.rs`", "`x.rs`")),
            ["crates/a/src/x.rs is not there", "crates/a/src/b.rs is missing"]
        );
        assert_eq!(files(&good.replace("| `b", "## other\n| `b")).len(), 2);
        assert_eq!(code_map(&tree(&[("crates/a/src/lib.rs", "")]))[0].text, "is not there");
    }
}
