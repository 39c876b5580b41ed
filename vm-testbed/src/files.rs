//! Files that somebody relies on: each is fsynced, then noted with its sum, and looked for later.
//! And the file systems that they are on.

use std::time::Duration;

use tandem_tests::{Result, ensure};

use crate::machine::Machine;

/// Time for a few files, on a machine that has other things to do.
const LIMIT: Duration = Duration::from_secs(90);

/// Writes files of 16 KiB to `/mnt`, from `$1` on, and notes each that is durable.
const WRITER: &str = "cat >/run/writer <<'END'
number=$1
while :; do
    file=file$number
    head -c 16384 /dev/urandom >/mnt/$file && sync /mnt/$file || exit 1
    (cd /mnt && md5sum $file) >>/run/manifest
    number=$((number + 1))
done
END
";

/// What is made on a device and mounted on `/mnt`.
#[derive(Clone, Copy, Debug)]
pub struct FileSystem {
    /// Room for it and its journal.
    pub mebibytes: u64,
    /// Makes it on the device that follows.
    pub make: &'static str,
    /// Fails if the one on the device that follows is not clean.
    pub check: &'static str,
}

/// Debian's usual one.
pub const EXT4: FileSystem =
    FileSystem { mebibytes: 64, make: "mkfs.ext4 -q -E nodiscard", check: "e2fsck -fn" };

/// One with another journal.
pub const XFS: FileSystem =
    FileSystem { mebibytes: 320, make: "mkfs.xfs -q -K", check: "xfs_repair -n" };

/// All files that were written so far and are owed.
#[derive(Debug, Default)]
pub struct Files {
    /// As md5sum prints it, but for those that the present writer has noted.
    manifest: String,
    next: usize,
}

impl Files {
    /// Has a machine write from here on, on what is mounted on `/mnt`.
    ///
    /// # Errors
    /// It does not write any.
    pub fn begin(&mut self, machine: &mut Machine) -> Result<()> {
        machine.sh(&format!(
            "{WRITER}: >/run/manifest\nsetsid bash /run/writer {} >/run/writer.log 2>&1 \
             </dev/null &\necho $! >/run/writer.pid",
            self.next
        ))?;
        self.await_more(machine)
    }

    /// Waits until some more are durable.
    ///
    /// # Errors
    /// They are not in time.
    pub fn await_more(&mut self, machine: &mut Machine) -> Result<()> {
        let count = machine.sh("wc -l </run/manifest")?;
        let wanted = count.trim().parse().unwrap_or(0) + 5;
        let script = format!(
            "test $(wc -l </run/manifest) -ge {wanted} || {{ cat /run/writer.log; false; }}"
        );
        machine.sh_until(&script, LIMIT).map(drop)
    }

    /// Stops the writer where it is, and takes down what it has noted.
    ///
    /// # Errors
    /// The machine is gone.
    pub fn stop(&mut self, machine: &mut Machine) -> Result<()> {
        let noted = machine.sh("kill -STOP $(cat /run/writer.pid); cat /run/manifest")?;
        self.manifest += &noted;
        // The one that is not noted may be there all the same.
        self.next += noted.lines().count() + 1;
        Ok(())
    }

    /// All that is owed, in the order in which it became durable, as md5sum prints it.
    pub fn manifest(&self) -> &str {
        &self.manifest
    }

    /// Ends the writer, and finds every file, no error in the kernel's log, and the file system of
    /// `/dev/nbd0` clean; it is not mounted any more.
    ///
    /// # Errors
    /// One of that is not so.
    pub fn finish(&mut self, machine: &mut Machine, file_system: &FileSystem) -> Result<()> {
        self.stop(machine)?;
        self.check(machine)?;
        machine.sh("kill -9 $(cat /run/writer.pid); ! dmesg | grep 'I/O error'")?;
        machine.sh_until("umount /mnt", LIMIT)?;
        machine.sh(&format!("{} /dev/nbd0", file_system.check)).map(drop)
    }

    /// Every file that is owed is there, whole; what is mounted on `/mnt` has them.
    ///
    /// # Errors
    /// One is not.
    pub fn check(&self, machine: &mut Machine) -> Result<()> {
        let count = self.manifest.lines().count();
        ensure(count > 4, || format!("{count} files say little"))?;
        let manifest = &self.manifest;
        let script = format!(
            "cat >/run/owed <<'END'\n{manifest}END\ncd /mnt && md5sum -c --quiet /run/owed"
        );
        machine.sh(&script).map(drop)
    }
}
