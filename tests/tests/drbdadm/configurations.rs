//! Configurations of our own making, read by Debian's drbdadm and by tandemadm.
//!
//! What is dumped of one is dumped alike when it is read again, and means the same to drbdadm: the
//! commands of its `up`. What drbdadm refuses is refused. The files are in `tests/configurations`:
//! a block for each, with a title.

use std::path::{Path, PathBuf};
use std::process::Command;

use tandem_tests::tool::tool;
use tandem_tests::{Binaries, Context, Output, Result, ensure, run};

use super::LIMIT;

/// What is understood, and refused because it is not there yet.
const NOT_YET: &[&str] = &["three nodes in a mesh", "a size that is less than the disk"];

/// drbdadm and tandemadm for host `alice`, and a folder for what they read.
struct Readers {
    folder: tempfile::TempDir,
    tandemadm: PathBuf,
}

impl Readers {
    fn new() -> Result<Self> {
        let folder = tempfile::Builder::new().prefix("tandem-read-").tempdir()?;
        Ok(Self { folder, tandemadm: Binaries::find()?.tandemadm })
    }

    fn file(&self, name: &str, text: &str) -> Result<PathBuf> {
        let path = self.folder.path().join(name);
        std::fs::write(&path, text).about(path.display())?;
        Ok(path)
    }

    /// What `up` would do, of all resources.
    fn drbdadm(&self, file: &Path) -> Result<Output> {
        let mut command = tool("drbdadm")?;
        command.env("__DRBD_NODE__", "alice").env("DRBD_DRIVER_VERSION_OVERRIDE", "9.2.0");
        run(command.arg("-c").arg(file).args(["-d", "up", "all"]), LIMIT)
    }

    fn dump(&self, file: &Path) -> Result<Output> {
        let mut command = Command::new(&self.tandemadm);
        command.args(["--node", "alice", "-c"]).arg(file);
        run(command.args(["dump", "--show-secrets"]), LIMIT)
    }

    fn accepted(&self, title: &str, text: &str) -> Result<()> {
        let file = self.file("a.res", text)?;
        let original = self.drbdadm(&file)?;
        ensure(original.code == 0, || format!("drbdadm refuses it: {}", original.describe()))?;
        let dump = self.dump(&file)?;
        let code = if NOT_YET.contains(&title) { 10 } else { 0 };
        ensure(dump.code == code, || format!("not {code}: {}", dump.describe()))?;
        let dumped = self.file("dump.res", &dump.stdout)?;
        let again = self.dump(&dumped)?;
        let [first, second] = [&dump, &again].map(|it| without_places(&it.stdout));
        ensure(first == second, || format!("dumped anew it is\n{second}\nand was\n{first}"))?;
        let up = self.drbdadm(&dumped)?;
        ensure(up.code == 0, || format!("drbdadm refuses the dump: {}", up.describe()))?;
        let [first, second] = [&original, &up].map(|it| meaning(&it.stdout));
        ensure(first == second, || format!("to drbdadm the dump is\n{second:#?}\nnot\n{first:#?}"))
    }

    fn refused(&self, text: &str) -> Result<()> {
        let file = self.file("a.res", text)?;
        let theirs = self.drbdadm(&file)?;
        ensure(theirs.code != 0, || "drbdadm takes it".to_owned())?;
        let ours = self.dump(&file)?;
        ensure(ours.code == 10, || format!("tandemadm takes it: {}", ours.describe()))
    }
}

/// A dump without the comments that say where things were read.
fn without_places(dump: &str) -> String {
    dump.lines()
        .filter(|line| !line.starts_with('#'))
        .fold(String::new(), |all, line| all + line + "\n")
}

/// Commands, of which options have no order; protocols are of any case.
fn meaning(commands: &str) -> Vec<Vec<String>> {
    let words = |line: &str| {
        let mut words: Vec<String> =
            line.to_lowercase().split_whitespace().map(str::to_owned).collect();
        words.sort();
        words
    };
    commands.lines().map(words).collect()
}

/// Does something for each block of a file; at least so many there must be.
fn each(name: &str, least: usize, check: impl Fn(&str, &str) -> Result<()>) -> Result<()> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("configurations").join(name);
    let text = std::fs::read_to_string(&path).about(path.display())?;
    let blocks: Vec<&str> = text.split("=== ").skip(1).collect();
    ensure(blocks.len() >= least, || format!("{} has only {}", path.display(), blocks.len()))?;
    for block in blocks {
        let (title, text) = block.split_once('\n').unwrap_or((block, ""));
        check(title, text).about(title)?;
    }
    Ok(())
}

#[test]
fn what_drbdadm_takes_is_dumped_for_it() -> Result<()> {
    let readers = Readers::new()?;
    each("accepted.txt", 40, |title, text| readers.accepted(title, text))
}

#[test]
fn what_drbdadm_refuses_is_refused() -> Result<()> {
    let readers = Readers::new()?;
    each("refused.txt", 10, |_, text| readers.refused(text))
}
