//! One node: its files, its daemon, and the admin command for it.

use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus};
use std::time::{Duration, Instant};

use rustix::process::Signal;

use crate::binaries::Binaries;
use crate::nbd::{Address, NbdClient};
use crate::process::{GLANCE, Output, Process, run};
use crate::spec::RESOURCE;
use crate::tool::tool;
use crate::{Context, Failure, Result, Status, fail};

/// How long a daemon may take to start: it waits for the lock of a killed predecessor.
const START_LIMIT: Duration = Duration::from_secs(15);

/// How long it may take to stop in good order.
const STOP_LIMIT: Duration = Duration::from_secs(25);

/// How long it may take where nothing is left to be done: what takes longer waits for something.
const STOP_IDLE_LIMIT: Duration = Duration::from_secs(5);

/// How long an admin command may take that does not wait by its nature.
const COMMAND_LIMIT: Duration = Duration::from_secs(30);

/// One of the two nodes.
#[derive(Debug)]
pub struct Node {
    name: &'static str,
    binaries: Binaries,
    /// Its `.res` file.
    config: PathBuf,
    /// Its `tandemd.toml`.
    daemon_config: PathBuf,
    run_dir: PathBuf,
    log: PathBuf,
    disks: Vec<PathBuf>,
    /// What the daemon is to take for the kernel's boot id, if not that of this machine.
    boot_id: Option<PathBuf>,
    /// How many descriptors the daemon is given, if not as many as the test has.
    descriptors: Option<u32>,
    daemon: Option<Process>,
}

impl Node {
    pub(crate) fn new(
        name: &'static str,
        binaries: Binaries,
        folder: &Path,
        run_dir: PathBuf,
        disks: Vec<PathBuf>,
    ) -> Self {
        let file = |suffix: &str| folder.join(format!("{name}.{suffix}"));
        let (config, daemon_config, log) = (file("res"), file("toml"), file("log"));
        let (boot_id, descriptors, daemon) = (None, None, None);
        Self {
            name,
            binaries,
            config,
            daemon_config,
            run_dir,
            log,
            disks,
            boot_id,
            descriptors,
            daemon,
        }
    }

    /// Starts the daemon and waits until it is ready.
    ///
    /// # Errors
    /// It ended, or is not ready in time.
    pub fn start(&mut self) -> Result<()> {
        let ready = self.run_dir.join("ready");
        // One that was killed leaves it behind.
        let _ = std::fs::remove_file(&ready);
        let mut daemon = Process::start("tandemd", &mut self.daemon_command()?, &self.log)?;
        let deadline = Instant::now() + START_LIMIT;
        while !ready.exists() {
            if !daemon.is_running()? {
                let status = daemon.wait(GLANCE)?;
                return fail(format!(
                    "tandemd of {} ended with {status}\n{}",
                    self.name,
                    self.tail()
                ));
            }
            if Instant::now() > deadline {
                let tail = self.tail();
                return fail(format!("{} is not ready within {START_LIMIT:?}\n{tail}", self.name));
            }
            std::thread::sleep(GLANCE);
        }
        self.daemon = Some(daemon);
        Ok(())
    }

    /// The command line of the daemon, not run.
    ///
    /// # Errors
    /// The tool that gives it another boot id is missing.
    pub fn daemon_command(&self) -> Result<Command> {
        let mut command = match (&self.boot_id, self.descriptors) {
            (None, None) => Command::new(&self.binaries.tandemd),
            (None, Some(descriptors)) => {
                let mut command = Command::new("sh");
                command.args(["-c", "ulimit -n \"$1\" && shift && exec \"$@\"", "sh"]);
                command.arg(descriptors.to_string()).arg(&self.binaries.tandemd);
                command
            }
            (Some(boot_id), _) => {
                let mut command = tool("unshare")?;
                if !rustix::process::geteuid().is_root() {
                    command.arg("--map-root-user");
                }
                command.args(["--mount", "sh", "-c", BIND_BOOT_ID, "sh"]).arg(boot_id);
                command.arg(&self.binaries.tandemd);
                command
            }
        };
        command.args(["--node", self.name, "-c"]).arg(&self.config).arg("--run-dir");
        command.arg(&self.run_dir).arg("--tandemd-config").arg(&self.daemon_config);
        command.env("RUST_LOG", std::env::var("TANDEM_LOG").unwrap_or_else(|_| "debug".to_owned()));
        Ok(command)
    }

    /// Stops the daemon with SIGTERM.
    ///
    /// # Errors
    /// It is not running, does not stop in time, or not with success.
    pub fn stop(&mut self) -> Result<()> {
        self.tell_to_stop()?;
        self.wait_stopped()
    }

    /// Sends SIGTERM.
    ///
    /// # Errors
    /// It is not running.
    pub fn tell_to_stop(&mut self) -> Result<()> {
        self.daemon()?.signal(Signal::TERM)
    }

    /// Waits until a daemon that was told to stop has done so.
    ///
    /// # Errors
    /// It does not stop in time, or not with success.
    pub fn wait_stopped(&mut self) -> Result<()> {
        let begun = Instant::now();
        let status: ExitStatus = self.daemon()?.wait(STOP_LIMIT)?;
        self.daemon = None;
        let took = begun.elapsed();
        if status.success() && took < STOP_IDLE_LIMIT {
            return Ok(());
        }
        let (name, tail) = (self.name, self.tail());
        fail(format!("tandemd of {name} ended with {status} after {took:?}\n{tail}"))
    }

    /// Kills the daemon with SIGKILL and waits until it is gone.
    ///
    /// # Errors
    /// It was not running, or the kernel does not end it.
    pub fn kill(&mut self) -> Result<()> {
        let Some(mut daemon) = self.daemon.take() else {
            return fail(format!("{} is not running", self.name));
        };
        if !daemon.is_running()? {
            let tail = self.tail();
            return fail(format!("tandemd of {} was gone before it was killed\n{tail}", self.name));
        }
        daemon.kill();
        daemon.wait(STOP_LIMIT).map(drop)
    }

    /// Runs `tandemadm` for this node.
    ///
    /// # Errors
    /// It cannot be run, or does not end in time. Its own errors are in the output.
    pub fn adm(&self, arguments: &[&str]) -> Result<Output> {
        run(&mut self.adm_command(arguments), COMMAND_LIMIT)
    }

    /// Runs `tandemadm`, and wants it to succeed; returns what it printed.
    ///
    /// # Errors
    /// It did not succeed.
    pub fn adm_ok(&self, arguments: &[&str]) -> Result<String> {
        self.adm(arguments)?.ok().about(format!("node {}", self.name))
    }

    /// The command line of `tandemadm`, not run.
    pub fn adm_command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(&self.binaries.tandemadm);
        command.args(["--node", self.name, "-c"]).arg(&self.config).arg("--run-dir");
        command.arg(&self.run_dir).args(arguments);
        command
    }

    /// What `status --json` says.
    ///
    /// # Errors
    /// The daemon does not answer.
    pub fn status(&self) -> Result<Status> {
        Status::parse(&self.adm_ok(&["status", "--json", RESOURCE])?, RESOURCE)
    }

    /// Holds what `status --json` says against its published schema.
    ///
    /// # Errors
    /// It is not as the schema says.
    pub fn check_status_schema(&self) -> Result<()> {
        let said = self.run_dir.join("status.json");
        std::fs::write(&said, self.adm_ok(&["status", "--json"])?)?;
        let schema = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/status.schema.json");
        let mut check = tool("jsonschema")?;
        run(check.arg("--instance").arg(&said).arg(schema), COMMAND_LIMIT)?.ok().map(drop)
    }

    /// Waits until `is_so`.
    ///
    /// # Errors
    /// It is not so within `limit`; the text has the last status.
    pub fn wait(
        &self,
        what: &str,
        limit: Duration,
        is_so: impl Fn(&Status) -> bool,
    ) -> Result<Status> {
        let deadline = Instant::now() + limit;
        loop {
            let status = self.status()?;
            if is_so(&status) {
                return Ok(status);
            }
            if Instant::now() > deadline {
                let text = self.adm(&["status"]).map(|it| it.stdout).unwrap_or_default();
                let name = self.name;
                return fail(format!("node {name}: not {what} within {limit:?}, but\n{text}"));
            }
            std::thread::sleep(4 * GLANCE);
        }
    }

    /// Waits until both nodes have the same data, by its own account.
    ///
    /// # Errors
    /// It does not become so in time.
    pub fn wait_in_sync(&self) -> Result<Status> {
        self.wait("in sync", Duration::from_secs(60), Status::is_in_sync)
    }

    /// Connects a client of a volume.
    ///
    /// # Errors
    /// It is refused.
    pub fn client(&self, volume: u16) -> Result<NbdClient> {
        let client = NbdClient::open(&self.nbd(), &format!("{RESOURCE}/{volume}"));
        client.about(format!("a client of node {}", self.name))
    }

    /// Where it serves clients.
    pub fn nbd(&self) -> Address {
        Address::Unix(self.run_dir.join("nbd.sock"))
    }

    /// The URI of a volume.
    pub fn uri(&self, volume: u16) -> String {
        let socket = self.run_dir.join("nbd.sock");
        format!("nbd+unix:///{RESOURCE}/{volume}?socket={}", socket.display())
    }

    /// `a` or `b`.
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// The backing disk of a volume.
    pub fn disk(&self, volume: u16) -> &Path {
        &self.disks[usize::from(volume)]
    }

    /// Where its sockets are.
    pub fn run_dir(&self) -> &Path {
        &self.run_dir
    }

    /// Its configuration file.
    pub fn config(&self) -> &Path {
        &self.config
    }

    /// Its `tandemd.toml`, which a restarted daemon reads.
    pub fn daemon_config(&self) -> &Path {
        &self.daemon_config
    }

    /// The running daemon.
    ///
    /// # Errors
    /// There is none.
    pub fn daemon(&mut self) -> Result<&mut Process> {
        let name = self.name;
        self.daemon.as_mut().ok_or_else(|| Failure::new(format!("{name} is not running")))
    }

    /// Whether a daemon has been started that was not stopped or killed.
    pub fn is_started(&self) -> bool {
        self.daemon.is_some()
    }

    /// Gives the daemon so few descriptors from its next start on.
    pub fn limit_descriptors(&mut self, descriptors: u32) {
        self.descriptors = Some(descriptors);
    }

    /// Gives the node another boot id from its next start on, as if its machine had been off.
    ///
    /// # Errors
    /// The file for it cannot be written.
    pub fn reboot(&mut self, random: u64) -> Result<()> {
        let path = self.log.with_extension("boot-id");
        let [a, b] = [random >> 32, random & 0xffff_ffff];
        let text = format!("{a:08x}-{:04x}-4000-8000-{b:012x}\n", random & 0xffff);
        std::fs::write(&path, text).about(path.display())?;
        self.boot_id = Some(path);
        Ok(())
    }

    /// The folder that the programs were found in.
    pub fn programs_folder(&self) -> &Path {
        self.binaries.tandemd.parent().unwrap_or_else(|| Path::new("."))
    }

    /// All that its daemons have logged.
    ///
    /// # Errors
    /// The log cannot be read.
    pub fn log(&self) -> Result<String> {
        let bytes = std::fs::read(&self.log).about(self.log.display())?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }

    /// The last lines of the log, for messages.
    pub fn tail(&self) -> String {
        let log = self.log().unwrap_or_default();
        let lines: Vec<&str> = log.lines().collect();
        let tail = &lines[lines.len().saturating_sub(TAIL_LINES)..];
        format!("--- {}, last lines:\n{}\n", self.log.display(), tail.join("\n"))
    }
}

/// Lines of a log that a failure shows.
const TAIL_LINES: usize = 40;

/// Runs the rest of its arguments with the first one for the kernel's boot id.
const BIND_BOOT_ID: &str = "mount --bind \"$1\" /proc/sys/kernel/random/boot_id && shift && \
    exec \"$@\"";
