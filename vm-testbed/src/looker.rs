//! A disk of a machine that is off, looked at with the programs of the host.

use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use tandem_tests::tool::tool;
use tandem_tests::{Context, Failure, Result, ensure, run};

use crate::testbed::Testbed;

/// Time for a program on the host.
const LIMIT: Duration = Duration::from_secs(60);

/// Who looks at disks of `bob`, one after the other.
#[derive(Debug)]
pub(crate) struct Looker<'a> {
    testbed: &'a Testbed,
    image: PathBuf,
    configuration: PathBuf,
    /// The data's generation, as metadata have it.
    generation: String,
    /// What md5sum says of the files, in the order in which they were written.
    manifest: &'a str,
}

impl<'a> Looker<'a> {
    /// For disks that are what `disk` was before. `configuration` is that of the machine.
    ///
    /// # Errors
    /// The metadata of `disk` cannot be read.
    pub(crate) fn new(
        testbed: &'a Testbed,
        configuration: &str,
        manifest: &'a str,
        disk: &[u8],
    ) -> Result<Self> {
        let image = testbed.folder().join("replayed.disk");
        let text = configuration.replace("/dev/vda", &image.display().to_string());
        let configuration = testbed.folder().join("replayed.conf");
        std::fs::write(&configuration, text).about(configuration.display())?;
        std::fs::write(&image, disk).about(image.display())?;
        let mut it = Self { testbed, image, configuration, generation: String::new(), manifest };
        let metadata = it.metadata()?;
        let generation = metadata.lines().find(|line| line.starts_with("current-uuid"));
        let missing = || Failure::new(format!("no generation in\n{metadata}"));
        generation.ok_or_else(missing)?.clone_into(&mut it.generation);
        Ok(it)
    }

    /// The metadata are of the same generation, with nothing out of sync; the file system is clean
    /// behind its journal, and has the first so many files, whole.
    ///
    /// # Errors
    /// One of that is not so.
    pub(crate) fn look(&self, disk: &[u8], files: usize) -> Result<()> {
        std::fs::write(&self.image, disk).about(self.image.display())?;
        let metadata = self.metadata()?;
        let good = metadata.contains(&self.generation) && metadata.contains("# bits-set 0;");
        ensure(good, || format!("not {} with no bits set:\n{metadata}", self.generation))?;
        let mut journal = tool("e2fsck")?;
        run(journal.args(["-y", "-E", "journal_only"]).arg(&self.image), LIMIT)?.ok_up_to(1)?;
        run(tool("e2fsck")?.arg("-fn").arg(&self.image), LIMIT)?.ok()?;
        self.compare(files)
    }

    fn metadata(&self) -> Result<String> {
        let mut admin = Command::new(&self.testbed.binaries().tandemadm);
        admin.arg("--config-file").arg(&self.configuration).args(["--node", "bob"]);
        admin.arg("--run-dir").arg(self.testbed.folder()).args(["dump-md", "r0"]);
        run(&mut admin, LIMIT)?.ok()
    }

    fn compare(&self, files: usize) -> Result<()> {
        let folder = self.testbed.folder().join("replayed");
        let _ = std::fs::remove_dir_all(&folder);
        std::fs::create_dir(&folder).about(folder.display())?;
        let mut debugfs = tool("debugfs")?;
        debugfs.arg("-R").arg(format!("rdump / {}", folder.display())).arg(&self.image);
        run(&mut debugfs, LIMIT)?.ok()?;
        let owed: Vec<&str> = self.manifest.lines().take(files).collect();
        ensure(owed.len() == files, || format!("{files} files are owed, {} known", owed.len()))?;
        std::fs::write(folder.join("owed"), owed.join("\n") + "\n").about("the list of files")?;
        let mut md5sum = tool("md5sum")?;
        md5sum.args(["--check", "--quiet", "owed"]).current_dir(&folder);
        run(&mut md5sum, LIMIT)?.ok().map(drop)
    }
}
