//! A Primary that loses its peer goes on once a handler has put the peer out of the way.
//!
//! 1. `fence-peer` outdates the peer by its admin socket, as over another network. The link is cut:
//!    the write that is under way waits for that, and is answered behind it.
//! 2. The peer is Outdated and cannot be promoted. When the link heals both are in sync again, and
//!    `unfence-peer` is run.
//! 3. A handler that fails leaves I/O frozen, and status says why; `resume-io` lets it go on.
//! 4. The Primary is killed: the other node fences it, and is promoted.

use std::fmt::Write;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use tandem_tests::{Cluster, Context, Node, Result, Side, Spec, Status};

const LIMIT: Duration = Duration::from_secs(20);

/// The handler of both nodes, in the folder of the test.
pub(crate) struct Handler {
    folder: tempfile::TempDir,
}

impl Handler {
    pub(crate) fn new() -> Result<Self> {
        let folder = tempfile::Builder::new().prefix("tandem-fence-").tempdir()?;
        Ok(Self { folder })
    }

    pub(crate) fn path(&self, name: &str) -> String {
        self.folder.path().join(name).display().to_string()
    }

    pub(crate) fn spec(&self) -> Spec {
        let [fence, unfenced] = [self.path("fence"), self.path("unfenced")];
        Spec {
            net: "fencing resource-and-stonith;".to_owned(),
            handlers: format!("fence-peer \"{fence}\"; unfence-peer \"echo yes >> {unfenced}\";"),
            ..Spec::default()
        }
    }

    fn write(&self, cluster: &Cluster) -> Result<()> {
        let outdate = |side| cluster.node(side).adm_command(&["outdate", "r0"]);
        self.write_with(&[Side::A, Side::B].map(outdate))
    }

    /// The script: what the command ends with that outdates the peer, as DRBD's exit codes.
    pub(crate) fn write_with(&self, outdate: &[Command; 2]) -> Result<()> {
        let mut text = "#!/bin/sh\n".to_owned();
        let _ = writeln!(text, "env > {}", self.path("environment"));
        let _ = writeln!(text, "test -e {} && exit 1", self.path("broken"));
        let _ = writeln!(text, "case $DRBD_PEER_NODE_ID in");
        for (id, command) in outdate.iter().enumerate() {
            let _ = writeln!(text, "{id}) {};;", shown(command));
        }
        let _ = writeln!(text, "esac");
        let _ = writeln!(text, "case $? in 0) exit 4;; 5) exit 3;; 17) exit 6;; 20) exit 5;; esac");
        let _ = writeln!(text, "exit 1");
        write_program(&self.folder.path().join("fence"), &text)
    }

    pub(crate) fn is_there(&self, name: &str) -> bool {
        Path::new(&self.path(name)).exists()
    }
}

/// Writes a script that can be run.
pub(crate) fn write_program(path: &Path, text: &str) -> Result<()> {
    std::fs::write(path, text).about(path.display())?;
    Ok(std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755))?)
}

/// A command for the shell, with what is set of its environment.
pub(crate) fn shown(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    let words = words.map(|word| format!("'{}'", word.to_string_lossy()));
    let set = command.get_envs().filter_map(|(name, value)| Some((name, value?)));
    let set = set
        .map(|(name, value)| format!("{}='{}'", name.to_string_lossy(), value.to_string_lossy()));
    std::iter::once("env".to_owned()).chain(set).chain(words).collect::<Vec<_>>().join(" ")
}

pub(crate) fn is_frozen(status: &Status) -> bool {
    status.json()["suspended-fencing"] == true
}

/// A write of its own thread: it may wait for long.
pub(crate) fn begin_write(node: &Node, byte: u8) -> Result<JoinHandle<io::Result<()>>> {
    let mut client = node.client(0)?;
    Ok(thread::spawn(move || client.write(0, &[byte; 4096])))
}

pub(crate) fn end_write(write: JoinHandle<io::Result<()>>) -> Result<()> {
    Ok(write.join().expect("the thread of a client does not panic")?)
}

#[test]
fn io_waits_for_the_handler() -> Result<()> {
    let handler = Handler::new()?;
    let mut cluster = Cluster::new("fencing", handler.spec())?;
    handler.write(&cluster)?;
    cluster.bring_up()?;
    let [a, b] = [cluster.node(Side::A), cluster.node(Side::B)];
    cluster.link().cut();
    let write = begin_write(a, 1)?;
    b.wait("outdated", LIMIT, |it| it.disk(0) == "Outdated")?;
    end_write(write)?;
    a.wait("going on", LIMIT, |it| !is_frozen(it))?;
    let refused = b.adm(&["primary", "r0"])?;
    assert_eq!(refused.code, 17, "{}", refused.describe());
    let environment = std::fs::read_to_string(handler.path("environment"))?;
    for variable in ["DRBD_RESOURCE=r0", "DRBD_MINOR=0", "DRBD_NODE_ID_1=b", "UP_TO_DATE_NODES=0x"]
    {
        assert!(environment.contains(variable), "no {variable} in\n{environment}");
    }
    cluster.link().heal();
    cluster.wait_in_sync()?;
    cluster.assert_same_data()?;
    assert!(handler.is_there("unfenced"), "unfence-peer was not run");
    cluster.finish()
}

#[test]
fn a_failed_fence_leaves_io_frozen() -> Result<()> {
    let handler = Handler::new()?;
    let mut cluster = Cluster::new("fencing-fails", handler.spec())?;
    handler.write(&cluster)?;
    cluster.bring_up()?;
    std::fs::write(handler.path("broken"), "")?;
    let a = cluster.node(Side::A);
    cluster.link().cut();
    let write = begin_write(a, 1)?;
    let failed = |it: &Status| {
        let reason = it.json()["connections"][0]["disconnect-reason"].as_str().unwrap_or_default();
        is_frozen(it) && reason.contains("exit code 1")
    };
    a.wait("frozen", LIMIT, failed)?;
    assert!(a.adm_ok(&["status"])?.contains("suspended:fencing"));
    thread::sleep(Duration::from_secs(1));
    assert!(!write.is_finished(), "a write was answered while I/O is frozen");
    a.adm_ok(&["resume-io", "r0"])?;
    end_write(write)?;
    cluster.link().heal();
    cluster.wait_in_sync()?;
    cluster.assert_same_data()?;
    cluster.finish()
}

#[test]
fn a_promotion_fences_the_dead() -> Result<()> {
    let handler = Handler::new()?;
    let mut cluster = Cluster::new("fencing-promotion", handler.spec())?;
    handler.write(&cluster)?;
    cluster.bring_up()?;
    cluster.node_mut(Side::A).kill()?;
    let b = cluster.node(Side::B);
    b.wait("alone", LIMIT, |it| it.connection() != "Connected")?;
    std::fs::write(handler.path("broken"), "")?;
    let refused = b.adm(&["primary", "r0"])?;
    assert_eq!(refused.code, 11, "{}", refused.describe());
    std::fs::remove_file(handler.path("broken"))?;
    b.adm_ok(&["primary", "r0"])?;
    b.client(0)?.write(0, &[2; 4096])?;
    cluster.node_mut(Side::A).start()?;
    cluster.wait_in_sync()?;
    cluster.assert_same_data()?;
    cluster.finish()
}
