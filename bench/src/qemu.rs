//! QEMU's storage daemon: a file as an NBD export, alone or with a second copy elsewhere.

use std::io::{BufRead, BufReader, Lines, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tandem_tests::tool::tool;
use tandem_tests::{Context, Process, Result, fail};

/// How long a daemon may take to listen.
const START_LIMIT: Duration = Duration::from_secs(10);

/// What the exports are called.
const EXPORT: &str = "disk";

/// A daemon that serves a node, and how it is reached.
#[derive(Debug)]
pub struct Daemon {
    /// The daemon.
    pub process: Process,
    /// The export.
    pub uri: String,
    monitor: PathBuf,
}

/// What is exported of a file.
#[derive(Clone, Copy, Debug)]
pub enum Copies<'a> {
    /// The file.
    One,
    /// The file and another daemon's export, by the quorum driver: done when both have written.
    Quorum(&'a str),
    /// The file, mirrored to another daemon's export by a job that holds writes back until both
    /// have them.
    Mirror(&'a str),
    /// The file; it can be copied to another daemon's export.
    Beside(&'a str),
}

/// Serves `file` on a socket in `folder`.
///
/// # Errors
/// The daemon is missing, or does not come up.
pub fn start(name: &str, folder: &Path, file: &Path, copies: Copies<'_>) -> Result<Daemon> {
    let socket = folder.join(format!("{name}.sock"));
    let monitor = folder.join(format!("{name}.qmp"));
    let mut command = tool("qemu-storage-daemon")?;
    blockdev(
        &mut command,
        &json!({
            "driver": "file", "node-name": "file", "filename": file,
            "aio": "io_uring", "cache": {"direct": true, "no-flush": false}, "discard": "unmap",
        }),
    );
    let mut exported = "file";
    if let Copies::Quorum(peer) | Copies::Mirror(peer) | Copies::Beside(peer) = copies {
        let server = json!({"type": "unix", "path": peer});
        blockdev(
            &mut command,
            &json!({"driver": "nbd", "node-name": "peer", "server": server, "export": EXPORT}),
        );
    }
    if let Copies::Quorum(_) = copies {
        exported = "both";
        blockdev(
            &mut command,
            &json!({
                "driver": "quorum", "node-name": exported, "vote-threshold": 1,
                "read-pattern": "fifo", "children": ["file", "peer"],
            }),
        );
    }
    command.args(["--nbd-server", &format!("addr.type=unix,addr.path={}", socket.display())]);
    let export = format!("type=nbd,id=export,node-name={exported},name={EXPORT},writable=on");
    command.args(["--export", &export]);
    let chardev = format!("socket,id=qmp,path={},server=on,wait=off", monitor.display());
    command.args(["--chardev", &chardev, "--monitor", "chardev=qmp"]);
    let log = folder.join(format!("{name}.log"));
    let process = Process::start(name, &mut command, &log)?;
    await_socket(&socket, &log)?;
    if let Copies::Mirror(_) = copies {
        let mirror = json!({
            "job-id": "mirror", "device": "file", "target": "peer", "sync": "none",
            "copy-mode": "write-blocking",
        });
        Monitor::connect(&monitor)?.ask("blockdev-mirror", &mirror)?;
    }
    let uri = format!("nbd+unix:///{EXPORT}?socket={}", socket.display());
    Ok(Daemon { process, uri, monitor })
}

fn blockdev(command: &mut Command, node: &Value) {
    command.args(["--blockdev", &node.to_string()]);
}

/// Waits until somebody listens who writes this log.
///
/// # Errors
/// Nobody does.
pub fn await_socket(socket: &Path, log: &Path) -> Result<()> {
    let begun = Instant::now();
    while UnixStream::connect(socket).is_err() {
        if begun.elapsed() > START_LIMIT {
            let said = std::fs::read_to_string(log).unwrap_or_default();
            return fail(format!("nobody listens on {}: {}", socket.display(), said.trim_end()));
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    Ok(())
}

/// A daemon's monitor.
struct Monitor {
    stream: UnixStream,
    lines: Lines<BufReader<UnixStream>>,
}

impl Monitor {
    fn connect(path: &Path) -> Result<Self> {
        let stream = UnixStream::connect(path).about(path.display())?;
        stream.set_read_timeout(Some(START_LIMIT))?;
        let lines = BufReader::new(stream.try_clone()?).lines();
        let mut monitor = Self { stream, lines };
        monitor.ask("qmp_capabilities", &json!({}))?;
        Ok(monitor)
    }

    /// Has a command carried out; what it answers.
    fn ask(&mut self, command: &str, arguments: &Value) -> Result<Value> {
        let request = json!({"execute": command, "arguments": arguments});
        writeln!(self.stream, "{request}")?;
        for line in self.lines.by_ref() {
            let mut answer: Value = serde_json::from_str(&line?)?;
            if !answer["error"].is_null() {
                return fail(format!("{command}: {}", answer["error"]["desc"]));
            }
            // Greetings and events have none.
            if !answer["return"].is_null() {
                return Ok(answer["return"].take());
            }
        }
        fail(format!("{command}: the monitor is gone"))
    }
}

impl Daemon {
    /// Copies everything to the peer that it was started with, and comes back when that is done.
    ///
    /// # Errors
    /// The job fails.
    pub fn copy_all(&self) -> Result<()> {
        let mut monitor = Monitor::connect(&self.monitor)?;
        let mirror = json!({
            "job-id": "copy", "device": "file", "target": "peer", "sync": "full", "speed": 0,
        });
        monitor.ask("blockdev-mirror", &mirror)?;
        loop {
            let jobs = monitor.ask("query-block-jobs", &json!({}))?;
            match jobs[0]["ready"].as_bool() {
                Some(true) => break,
                Some(false) => std::thread::sleep(Duration::from_millis(5)),
                None => return fail(format!("the mirror has ended: {jobs}")),
            }
        }
        monitor.ask("block-job-cancel", &json!({"device": "copy", "force": true}))?;
        while monitor.ask("query-block-jobs", &json!({}))?[0].is_object() {
            std::thread::sleep(Duration::from_millis(5));
        }
        Ok(())
    }
}
