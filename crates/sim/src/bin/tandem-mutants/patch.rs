//! One planted bug: a patch, and what its header says of it.
//!
//! A patch is what `git apply` takes. Before the first `diff` line stand `Class: ` and the class of
//! bugs that it is of, then a sentence or more on what goes wrong. Between them may stand `Story: `
//! and the name of a test of `crates/replica/tests/stories`, for a bug that no run finds.

use std::fs;
use std::path::{Path, PathBuf};

use crate::Result;

/// Where the patches are.
pub(crate) const FOLDER: &str = "crates/sim/mutants";

/// A planted bug.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Patch {
    /// Its file's name without the ending.
    pub(crate) name: String,
    /// The class of bugs that it is of.
    pub(crate) class: String,
    /// The only test that finds it, where no run does.
    pub(crate) story: Option<String>,
    /// Its file.
    pub(crate) path: PathBuf,
}

/// The patches of these names, all of a folder where none is given, in order of name.
pub(crate) fn load(folder: &Path, names: &[String]) -> Result<Vec<Patch>> {
    let error = |error: std::io::Error| format!("{}: {error}", folder.display());
    let mut patches = Vec::new();
    for entry in fs::read_dir(folder).map_err(error)? {
        let path = entry.map_err(error)?.path();
        let text = fs::read_to_string(&path).map_err(error)?;
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        let Some(name) = name.strip_suffix(".patch") else {
            return Err(format!("{} is no patch", path.display()));
        };
        let class = class_of(&text).ok_or_else(|| format!("{name}: no class in its header"))?;
        let story = text.lines().find_map(|line| line.strip_prefix("Story: ")).map(str::to_owned);
        patches.push(Patch { name: name.to_owned(), class: class.to_owned(), story, path });
    }
    patches.sort_by(|a, b| a.name.cmp(&b.name));
    if let Some(name) = names.iter().find(|name| !patches.iter().any(|it| it.name == **name)) {
        return Err(format!("no patch has the name {name}"));
    }
    patches.retain(|patch| names.is_empty() || names.contains(&patch.name));
    Ok(patches)
}

/// What the header says; nothing where it does not say what goes wrong as well.
fn class_of(text: &str) -> Option<&str> {
    let (header, _) = text.split_once("\ndiff --git ")?;
    let (class, story) = header.strip_prefix("Class: ")?.split_once('\n')?;
    (!class.is_empty() && story.trim().ends_with('.')).then_some(class)
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    #[test]
    fn a_header_has_a_class_and_a_story() {
        let patch = "Class: 1 bits\n\nA bit is lost.\n\ndiff --git a/x b/x\n";
        assert_eq!(class_of(patch), Some("1 bits"));
        for bad in [
            "Class: 1 bits\n\ndiff --git a/x b/x\n",
            "A bit is lost.\n\ndiff --git a/x b/x\n",
            "Class: 1 bits\n\nA bit is lost.\n",
        ] {
            assert_eq!(class_of(bad), None);
        }
    }

    /// Whoever changes what a patch is about changes the patch.
    #[test]
    fn every_patch_applies() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2).expect("two folders");
        let patches = load(&root.join(FOLDER), &[]).expect("patches with headers");
        assert!(!patches.is_empty());
        let stale: Vec<String> = patches
            .into_iter()
            .filter_map(|patch| {
                let mut git = Command::new("git");
                git.args(["apply", "--check"]).arg(&patch.path).current_dir(root);
                let said = git.output().expect("git is there");
                let text = String::from_utf8_lossy(&said.stderr).into_owned();
                (!said.status.success()).then(|| format!("{}: {text}", patch.name))
            })
            .collect();
        assert!(stale.is_empty(), "{}", stale.join("\n"));
    }
}
