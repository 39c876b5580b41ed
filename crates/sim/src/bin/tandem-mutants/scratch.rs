//! A copy of the tree to plant bugs in, with build products of its own.
//!
//! The copy outlives the run: what is the same is not copied again, so that building starts from
//! what the last run has built.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use crate::Result;
use crate::hunt::Programs;
use crate::patch::Patch;

/// The copy.
#[derive(Debug)]
pub(crate) struct Scratch {
    folder: PathBuf,
}

impl Scratch {
    /// Makes `folder` hold a copy of every file below `root` that git knows, or would if it were
    /// added.
    pub(crate) fn copy(root: &Path, folder: &Path) -> Result<Self> {
        let scratch = Self { folder: folder.to_owned() };
        let tree = scratch.tree();
        fs::create_dir_all(&tree).map_err(|error| format!("{}: {error}", tree.display()))?;
        let kept: BTreeSet<PathBuf> = list(root)?.into_iter().collect();
        for path in &kept {
            copy_file(&root.join(path), &tree.join(path))?;
        }
        remove_others(&tree, &tree, &kept)?;
        Ok(scratch)
    }

    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    fn tree(&self) -> PathBuf {
        self.folder.join("tree")
    }

    fn products(&self) -> PathBuf {
        self.folder.join("target")
    }

    fn cargo(&self, command: &str) -> Command {
        let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
        let mut cargo = Command::new(cargo);
        cargo.args([command, "--quiet", "--release", "--locked"]);
        cargo.arg("--target-dir").arg(self.products()).current_dir(self.tree());
        // One crate changes a little each time.
        cargo.env("CARGO_INCREMENTAL", "1").env_remove("CARGO_TARGET_DIR");
        cargo
    }

    /// Plants a bug.
    pub(crate) fn apply(&self, patch: &Patch) -> Result<()> {
        self.git_apply(patch, &[])
    }

    /// Takes it back.
    pub(crate) fn take_back(&self, patch: &Patch) -> Result<()> {
        self.git_apply(patch, &["--reverse"])
    }

    fn git_apply(&self, patch: &Patch, options: &[&str]) -> Result<()> {
        let path = fs::canonicalize(&patch.path).map_err(|error| error.to_string())?;
        let mut git = Command::new("git");
        git.arg("apply").args(options).arg(path).current_dir(self.tree());
        // The copy is no part of a repository that it may lie in.
        git.env("GIT_CEILING_DIRECTORIES", &self.folder);
        finish(&mut git).map(|_| ()).map_err(|text| format!("{}: {text}", patch.name))
    }

    /// Builds what looks for bugs; returns where it is.
    pub(crate) fn build(&self) -> Result<Programs> {
        let mut build = self.cargo("build");
        build.args(["-p", "tandem-sim", "--bin", "tandem-sim", "--bin", "tandem-small-worlds"]);
        finish(&mut build)?;
        let built = self.products().join("release");
        let simulator = built.join("tandem-sim");
        Ok(Programs { simulator, small_worlds: built.join("tandem-small-worlds") })
    }

    /// Whether a story of the core's tests ends as it is told.
    pub(crate) fn passes_story(&self, story: &str) -> Result<bool> {
        let test = |more: &[&str]| {
            let mut test = self.cargo("test");
            test.args(["-p", "tandem-replica", "--test", "stories"]).args(more);
            test
        };
        finish(&mut test(&["--no-run"]))?;
        let output = test(&["--", "--exact", story]).output().map_err(|error| error.to_string())?;
        let said = String::from_utf8_lossy(&output.stdout);
        if !said.contains("running 1 test") {
            return Err(format!("there is no story {story}"));
        }
        Ok(output.status.success())
    }

    /// Builds it without a bug, and keeps that.
    pub(crate) fn build_sound(&self) -> Result<Programs> {
        let built = self.build()?;
        let keep = |program: &Path, name: &str| {
            let kept = self.folder.join(name);
            fs::copy(program, &kept).map(|_| kept).map_err(|error| error.to_string())
        };
        let simulator = keep(&built.simulator, "tandem-sim-sound")?;
        let small_worlds = keep(&built.small_worlds, "tandem-small-worlds-sound")?;
        Ok(Programs { simulator, small_worlds })
    }
}

/// Paths below `root`.
fn list(root: &Path) -> Result<Vec<PathBuf>> {
    let mut git = Command::new("git");
    git.args(["ls-files", "-z", "--cached", "--others", "--exclude-standard"]).current_dir(root);
    let names = String::from_utf8(finish(&mut git)?.stdout).map_err(|error| error.to_string())?;
    let paths = names.split_terminator('\0').map(PathBuf::from);
    Ok(paths.filter(|path| root.join(path).is_file()).collect())
}

/// A file that is as it should be keeps its time, so that nothing is built for it.
fn copy_file(from: &Path, to: &Path) -> Result<()> {
    let error = |error: std::io::Error| format!("{}: {error}", from.display());
    let wanted = fs::read(from).map_err(error)?;
    if fs::read(to).is_ok_and(|found| found == wanted) {
        return Ok(());
    }
    fs::create_dir_all(to.parent().expect("it is below the tree")).map_err(error)?;
    fs::write(to, wanted).map_err(error)
}

/// Removes files of an older copy.
fn remove_others(tree: &Path, folder: &Path, kept: &BTreeSet<PathBuf>) -> Result<()> {
    let error = |error: std::io::Error| format!("{}: {error}", folder.display());
    for entry in fs::read_dir(folder).map_err(error)? {
        let path = entry.map_err(error)?.path();
        if path.is_dir() {
            remove_others(tree, &path, kept)?;
        } else if !kept.contains(path.strip_prefix(tree).expect("found below it")) {
            fs::remove_file(&path).map_err(error)?;
        }
    }
    Ok(())
}

/// Runs a command to its end; an error says what it said.
fn finish(command: &mut Command) -> Result<Output> {
    let name = command.get_program().to_string_lossy().into_owned();
    let output = command.output().map_err(|error| format!("{name}: {error}"))?;
    if output.status.success() {
        return Ok(output);
    }
    Err(format!("{name}: {}\n{}", output.status, String::from_utf8_lossy(&output.stderr)))
}
