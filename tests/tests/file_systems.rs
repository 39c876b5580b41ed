//! Files on a replicated volume, by way of `nbdfuse`, which needs nothing of the kernel but FUSE.
//!
//! 1. `fsx` exercises an export as a file: reads and writes, by mapping the file as well, with any
//!    offset and length; then holes, on whole blocks.
//! 2. ext4 and XFS lie on the volumes of a pair. Writers replace files, each made durable, renamed
//!    into its place and noted.
//! 3. The machine of the Primary dies, daemon and mounts at once, under the writers; the peer is
//!    promoted, without force. Nothing is to be repaired behind the replay of the journals, and
//!    every noted file is there.
//! 4. The same the other way round; then the file systems move in good order.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::thread::JoinHandle;
use std::time::Duration;

use tandem_tests::tool::tool;
use tandem_tests::{
    Cluster, Context, Failure, FileSystem, Front, Mount, Mounted, Random, Result, Side, Spec,
    ensure, run,
};

/// How long the writers work before the machine dies.
const WORK: Duration = Duration::from_secs(3);

/// Files of a file system. Each is replaced time and again.
const FILES: u64 = 100;

/// Without holes: `nbdfuse` makes a TRIM of them, which promises nothing of the blocks at its ends.
const ANY_LENGTH: &str = "
blockmode = true
[opsize]
max = 200000
[weights]
truncate = 0
invalidate = 1
fsync = 1
fdatasync = 1
posix_fadvise = 1
";

const WHOLE_BLOCKS: &str = "
blockmode = true
[opsize]
max = 1000000
align = 4096
[weights]
truncate = 0
punch_hole = 10
fdatasync = 1
";

#[test]
fn fsx_finds_a_file_as_it_left_it() -> Result<()> {
    let cluster = Cluster::in_sync("fsx", Spec::with_bytes(8 << 20))?;
    let seed = Random::announced("fsx").seed().to_string();
    for (name, text) in [("any-length", ANY_LENGTH), ("whole-blocks", WHOLE_BLOCKS)] {
        let config = cluster.folder().join(name);
        std::fs::write(&config, text).about(config.display())?;
        let path = cluster.folder().join("front");
        let mut front = Front::mount(&cluster.node(Side::A).uri(0), &path)?;
        let mut fsx = tool("fsx")?;
        fsx.arg("-f").arg(&config).args(["-N", "5000", "-S", &seed]);
        fsx.arg("-P").arg(cluster.folder()).arg(front.path());
        run(&mut fsx, Duration::from_secs(120))?.ok()?;
        front.unmount()?;
    }
    cluster.assert_same_data()?;
    cluster.finish()
}

#[test]
fn files_survive_fail_overs() -> Result<()> {
    let spec = Spec { volumes: vec![96 << 20, 320 << 20], ..Spec::default() };
    let mut cluster = Cluster::in_sync("file-systems", spec)?;
    let mut noted = [Noted::default(), Noted::default()];
    let mut mounted = mount_both(&cluster, Side::A, Mounted::make)?;
    for side in [Side::A, Side::B] {
        let writers = [0, 1].map(|volume| noted[volume].begin(mounted[volume].point()));
        std::thread::sleep(WORK);
        cluster.node_mut(side).kill()?;
        drop(mounted);
        for (noted, writer) in noted.iter_mut().zip(writers) {
            *noted = writer.join().map_err(|_| Failure::new("a writer panicked"))?;
        }
        cluster.node(side.peer()).adm_ok(&["primary", "r0"])?;
        mounted = mount_both(&cluster, side.peer(), Mounted::mount)?;
        look_for(&noted, &mounted)?;
        cluster.node_mut(side).start()?;
        cluster.wait_in_sync()?;
    }
    mounted.into_iter().try_for_each(Mounted::unmount)?;
    cluster.node(Side::A).adm_ok(&["secondary", "r0"])?;
    cluster.node(Side::B).adm_ok(&["primary", "r0"])?;
    let mounted = mount_both(&cluster, Side::B, Mounted::mount)?;
    look_for(&noted, &mounted)?;
    mounted.into_iter().try_for_each(Mounted::unmount)?;
    cluster.assert_same_data()?;
    cluster.finish()
}

fn mount_both(cluster: &Cluster, side: Side, how: Mount) -> Result<Vec<Mounted>> {
    let (node, folder) = (cluster.node(side), cluster.folder());
    let kinds = [(0, FileSystem::Ext4), (1, FileSystem::Xfs)];
    kinds.into_iter().map(|(volume, kind)| how(node, volume, folder, kind)).collect()
}

fn look_for(noted: &[Noted], mounted: &[Mounted]) -> Result<()> {
    noted.iter().zip(mounted).try_for_each(|(noted, mounted)| noted.look_for(mounted.point()))
}

/// The durable files of a file system, and one that may be.
#[derive(Clone, Debug, Default)]
struct Noted {
    /// By number, the version of each.
    files: BTreeMap<u64, u64>,
    /// The version that was being written when the machine died.
    last: u64,
}

impl Noted {
    /// Has files written until that fails.
    fn begin(&self, folder: &Path) -> JoinHandle<Self> {
        let (mut noted, folder) = (self.clone(), folder.to_owned());
        std::thread::spawn(move || {
            loop {
                noted.last += 1;
                if replace(&folder, noted.last).is_err() {
                    return noted;
                }
                noted.files.insert(noted.last % FILES, noted.last);
            }
        })
    }

    fn look_for(&self, folder: &Path) -> Result<()> {
        ensure(self.files.len() > 20, || "too few files: nothing was shown".to_owned())?;
        for (file, version) in &self.files {
            let path = place(folder, *file);
            let found = std::fs::read(&path).about(path.display())?;
            let may_be = *file == self.last % FILES && found == content(self.last);
            ensure(may_be || found == content(*version), || {
                format!("{} is not of version {version}", path.display())
            })?;
        }
        eprintln!("{}: {} files, up to {}", folder.display(), self.files.len(), self.last);
        Ok(())
    }
}

fn place(folder: &Path, file: u64) -> PathBuf {
    folder.join(format!("file{file}"))
}

/// Up to 64 KiB.
fn content(version: u64) -> Vec<u8> {
    let mut random = Random::new(version);
    let length = random.below(1 << 16);
    random.bytes(usize::try_from(length).unwrap_or_default())
}

/// As programs do it that care: the old file or the new one is there at any time.
fn replace(folder: &Path, version: u64) -> std::io::Result<()> {
    let fresh = folder.join("fresh");
    let mut file = File::create(&fresh)?;
    file.write_all(&content(version))?;
    file.sync_all()?;
    std::fs::rename(&fresh, place(folder, version % FILES))?;
    File::open(folder)?.sync_all()
}
