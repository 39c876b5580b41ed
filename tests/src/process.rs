//! Processes that were started here: they are ended by their pid, and never outlive their owner.

use std::fs::File;
use std::io::{Read, Seek};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use crate::{Context, Failure, Result, fail};

/// How often something that is waited for is looked at.
pub(crate) const GLANCE: Duration = Duration::from_millis(5);

/// A running process, killed when dropped.
#[derive(Debug)]
pub struct Process {
    name: String,
    child: Child,
}

impl Process {
    /// Starts `command`; what it prints is appended to the file `log`.
    ///
    /// # Errors
    /// It cannot be started.
    pub fn start(name: &str, command: &mut Command, log: &Path) -> Result<Self> {
        let log = File::options().create(true).append(true).open(log).about(log.display())?;
        command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
        let child = command.spawn().about(name)?;
        Ok(Self { name: name.to_owned(), child })
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Sends a signal.
    ///
    /// # Errors
    /// The process is gone.
    pub fn signal(&self, signal: Signal) -> Result<()> {
        let pid = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw);
        let pid = pid.ok_or_else(|| Failure::new("a pid that is none"))?;
        kill_process(pid, signal).about(format!("a signal to {}", self.name))
    }

    /// Whether it is still there.
    ///
    /// # Errors
    /// The system does not tell.
    pub fn is_running(&mut self) -> Result<bool> {
        Ok(self.child.try_wait()?.is_none())
    }

    /// Waits for its end.
    ///
    /// # Errors
    /// It has not ended within `limit`.
    pub fn wait(&mut self, limit: Duration) -> Result<ExitStatus> {
        let deadline = Instant::now() + limit;
        loop {
            if let Some(status) = self.child.try_wait()? {
                return Ok(status);
            }
            if Instant::now() > deadline {
                return fail(format!("{} has not ended within {limit:?}", self.name));
            }
            std::thread::sleep(GLANCE);
        }
    }

    /// Ends it with SIGTERM.
    ///
    /// # Errors
    /// It has not ended within `limit`.
    pub fn terminate(&mut self, limit: Duration) -> Result<ExitStatus> {
        if self.is_running()? {
            self.signal(Signal::TERM)?;
        }
        self.wait(limit)
    }

    /// Sends SIGKILL to it and to all that it has started itself, and returns at once.
    ///
    /// # Errors
    /// The system does not tell who they are.
    pub fn kill_with_children(&mut self) -> Result<()> {
        // Stopped, it starts nobody meanwhile.
        self.signal(Signal::STOP)?;
        let children: Vec<Pid> = std::fs::read_dir("/proc")?
            .flatten()
            .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
            .filter(|pid| parent_of(*pid) == Some(self.pid()))
            .filter_map(Pid::from_raw)
            .collect();
        for child in children {
            // The only error is that it has ended already.
            let _ = kill_process(child, Signal::KILL);
        }
        self.kill();
        Ok(())
    }

    /// Sends SIGKILL and returns at once; `wait` tells when it is gone.
    pub fn kill(&mut self) {
        // The only error is that it has ended already.
        let _ = self.child.kill();
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
        // It must not remain as a zombie. One that the kernel cannot end (a disk that hangs) is
        // left.
        let _ = self.wait(Duration::from_secs(10));
    }
}

/// What a command printed, and how it ended.
#[derive(Clone, Debug)]
pub struct Output {
    /// Command line, for messages.
    pub command: String,
    /// Exit code; -1 after a signal.
    pub code: i32,
    /// Standard output.
    pub stdout: String,
    /// Standard error.
    pub stderr: String,
}

impl Output {
    /// Standard output of a command that succeeded.
    ///
    /// # Errors
    /// It did not; with all that it printed.
    pub fn ok(self) -> Result<String> {
        match self.code {
            0 => Ok(self.stdout),
            _ => fail(self.describe()),
        }
    }

    /// Success of a command whose exit codes up to `code` mean that all is well.
    ///
    /// # Errors
    /// It ended with another one.
    pub fn ok_up_to(self, code: i32) -> Result<()> {
        if (0..=code).contains(&self.code) { Ok(()) } else { fail(self.describe()) }
    }

    /// Everything, for a message.
    pub fn describe(&self) -> String {
        let Self { command, code, stdout, stderr } = self;
        format!("'{command}' ended with {code}\n{stdout}{stderr}")
    }
}

/// Runs `command` to its end.
///
/// # Errors
/// It cannot be started, or has not ended within `limit`; it is killed then.
pub fn run(command: &mut Command, limit: Duration) -> Result<Output> {
    let program = PathBuf::from(command.get_program());
    let name = program.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let mut line = name.clone();
    for argument in command.get_args() {
        line.push(' ');
        line.push_str(&argument.to_string_lossy());
    }
    let (stdout, stderr) = (tempfile::tempfile()?, tempfile::tempfile()?);
    command.stdin(Stdio::null()).stdout(stdout.try_clone()?).stderr(stderr.try_clone()?);
    let mut process = Process { child: command.spawn().about(&line)?, name };
    let status = process.wait(limit);
    let output = Output {
        command: line,
        code: status.as_ref().ok().and_then(ExitStatus::code).unwrap_or(-1),
        stdout: contents(stdout)?,
        stderr: contents(stderr)?,
    };
    match status {
        Ok(_) => Ok(output),
        Err(failure) => fail(format!("{failure}; so far: {}", output.describe())),
    }
}

/// Who has started a process, where it still is.
fn parent_of(pid: i32) -> Option<u32> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name before it may hold anything.
    let (_, behind_name) = stat.rsplit_once(") ")?;
    behind_name.split(' ').nth(1)?.parse().ok()
}

fn contents(mut file: File) -> Result<String> {
    let mut bytes = Vec::new();
    file.rewind()?;
    file.read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}
