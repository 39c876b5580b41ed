//! Debian's own `drbdadm`, unmodified, with `tandemadm` for its `drbdmeta`.
//!
//! 1. It makes metadata, which are nobody's: it shows them as fresh, refuses to make them again,
//!    and has nothing to outdate.
//! 2. Daemons attach these disks, and come in sync. What they have open is not touched.
//! 3. They are stopped: `get-gi`, `show-gi` and `dump-md` show what the disk is worth.
//! 4. `outdate` makes it Outdated, which the daemon finds when it is started again.
//! 5. `wipe-md` wants to be told twice, and leaves the data.
//!
//! Once with internal metadata, once with external. In this story its `drbdsetup` is a program that
//! fails, as it does where no daemon runs. [`live`] and [`handlers`] have others, of a pair that
//! runs.

use std::os::unix::fs::symlink;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use tandem_tests::tool::tool;
use tandem_tests::{Binaries, Cluster, Context, Metadata, Node, Output, Result, Side, Spec, run};

const LIMIT: Duration = Duration::from_secs(20);

mod configurations;
mod handlers;
mod live;

/// drbdadm for one node.
#[derive(Clone)]
struct Drbdadm {
    config: PathBuf,
    drbdmeta: PathBuf,
    drbdsetup: PathBuf,
    run_dir: PathBuf,
    node: &'static str,
}

impl Drbdadm {
    fn new(cluster: &Cluster, node: &Node) -> Result<Self> {
        let name = node.name();
        let config = cluster.folder().join(format!("{name}.drbd.conf"));
        let drbdmeta = cluster.folder().join(format!("{name}.bin")).join("drbdmeta");
        let ours = std::fs::read_to_string(node.config())?;
        let text = format!("global {{ usage-count no; disable-ip-verification; }}\n{ours}");
        std::fs::write(&config, text).about(config.display())?;
        std::fs::create_dir(drbdmeta.parent().expect("it is in a folder"))?;
        symlink(Binaries::find()?.tandemadm, &drbdmeta).about(drbdmeta.display())?;
        let (drbdsetup, run_dir) = (PathBuf::from("/bin/false"), node.run_dir().to_owned());
        Ok(Self { config, drbdmeta, drbdsetup, run_dir, node: name })
    }

    fn run(&self, line: &str) -> Result<Output> {
        run(self.command()?.args(line.split_whitespace()), LIMIT)
    }

    /// It with its files and its environment, yet without a command.
    fn command(&self) -> Result<Command> {
        let mut command = tool("drbdadm")?;
        command.env("__DRBD_NODE__", self.node).env("DRBD_DRIVER_VERSION_OVERRIDE", "9.2.0");
        command.env("TANDEM_NODE", self.node).env("TANDEM_RUN_DIR", &self.run_dir);
        command.arg("-c").arg(&self.config).arg("-s").arg(&self.drbdsetup);
        command.arg("-m").arg(&self.drbdmeta);
        Ok(command)
    }

    /// What a command prints that ends with `code` and says `part`.
    fn expect(&self, line: &str, code: i32, part: &str) -> Result<String> {
        let output = self.run(line)?;
        assert_eq!(output.code, code, "{line}: {}", output.describe());
        let said = format!("{}{}", output.stdout, output.stderr);
        assert!(said.contains(part), "{line}: {}", output.describe());
        Ok(output.stdout)
    }

    /// drbdadm asks for the size of a block device behind its drbdmeta, and fails for a file, also
    /// with its own one; the metadata are there.
    fn create_md(&self, options: &str) -> Result<()> {
        self.create_md_of(options, "r0")
    }

    fn create_md_of(&self, options: &str, object: &str) -> Result<()> {
        let output = self.run(&format!("create-md {options} {object}"))?;
        let made = output.stdout.contains("New drbd meta data block successfully created.");
        let asked = output.stderr.contains("BLKGETSIZE64");
        assert!(made && asked && output.code == 20, "{}", output.describe());
        Ok(())
    }
}

fn story(test: &str, metadata: Metadata) -> Result<()> {
    let mut cluster = Cluster::new(test, Spec { metadata, ..Spec::default() })?;
    let [a, b] = [Side::A, Side::B].map(|side| Drbdadm::new(&cluster, cluster.node(side)));
    let (a, b) = (a?, b?);
    for (node, peer) in [(&a, "b"), (&b, "a")] {
        node.expect("get-gi r0", 1, "No valid meta data found")?;
        node.create_md("")?;
        node.expect("create-md r0", 1, "Operation cancelled.")?;
        node.create_md("--force")?;
        node.expect(&format!("get-gi r0:{peer}/0"), 0, FRESH)?;
        node.expect("show-gi r0", 0, "zero size device -- never seen peer yet?")?;
        node.expect("dump-md r0", 0, "node-id -1;")?;
        node.expect("apply-al r0", 0, "")?;
        node.expect("outdate r0", 5, "Device is inconsistent.")?;
    }
    in_sync(&mut cluster)?;
    for command in ["dump-md", "wipe-md --force", "outdate", "create-md --force"] {
        a.expect(&format!("{command} r0"), 20, "in use by another process")?;
    }
    cluster.stop()?;
    let gi = a.expect("get-gi r0:b", 0, ":1:1:0:0:1:0:0:")?;
    a.expect("show-gi r0", 0, &gi)?;
    a.expect("dump-md r0", 0, &format!("current-uuid 0x{};", &gi[..16]))?;
    a.expect("dump-md r0", 0, "node-id 0;")?;
    b.expect("dump-md r0", 0, "# bits-set 0;")?;
    a.expect("outdate r0", 0, "")?;
    a.expect("get-gi r0:b", 0, ":1:0:0:0:1:0:0:")?;
    cluster.node_mut(Side::A).start()?;
    cluster.node(Side::A).wait("Outdated", LIMIT, |it| it.disk(0) == "Outdated")?;
    cluster.node_mut(Side::A).stop()?;
    let data = data(&cluster)?;
    a.expect("wipe-md r0", 1, "Operation cancelled.")?;
    a.expect("get-gi r0:b", 0, &gi[..16])?;
    a.expect("wipe-md --force r0", 0, "successfully wiped out")?;
    a.expect("get-gi r0:b", 1, "No valid meta data found")?;
    a.expect("wipe-md --force r0", 0, "no drbd meta data")?;
    assert!(self::data(&cluster)? == data, "wipe-md has touched data");
    cluster.finish()
}

/// Current, bitmap and two history UUIDs, and flags, of metadata that were just made.
const FRESH: &str = "0000000000000004:0000000000000000:0000000000000000:0000000000000000:\
                     0:0:0:0:1:0:0:0:0:0:0:0\n";

/// Starts both, with something written.
fn in_sync(cluster: &mut Cluster) -> Result<()> {
    for side in [Side::A, Side::B] {
        cluster.node_mut(side).start()?;
    }
    let a = cluster.node(Side::A);
    a.wait("connected", LIMIT, |it| it.connection() == "Connected")?;
    a.adm_ok(&["primary", "--force", "r0"])?;
    a.client(0)?.write(1 << 20, &[7; 4096])?;
    cluster.wait_in_sync()?;
    cluster.assert_same_data()
}

/// What is on the first node's disk where no metadata are.
fn data(cluster: &Cluster) -> Result<Vec<u8>> {
    let mut bytes = std::fs::read(cluster.node(Side::A).disk(0))?;
    bytes.truncate(bytes.len() - (2 << 20));
    assert_eq!(bytes[1 << 20..][..4096], [7; 4096]);
    Ok(bytes)
}

#[test]
fn debians_drbdadm_works_on_our_internal_metadata() -> Result<()> {
    story("drbdadm", Metadata::Internal)
}

#[test]
fn debians_drbdadm_works_on_our_external_metadata() -> Result<()> {
    story("drbdadm-external", Metadata::External)
}
