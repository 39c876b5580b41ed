//! Handlers: programs that operators have run at events, with DRBD's environment.
//!
//! A handler runs beside everything else, in a process group of its own; what it prints goes to the
//! log. It may outlive the daemon. One that takes too long is killed with its group.
//!
//! A resource that was described as a whole has its handlers, as lines for the shell. One that was
//! put together from its parts has none: no part carries them. For those a helper is called, as
//! DRBD's kernel module calls drbdadm, and looks them up.

use std::fmt;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::sync::Arc;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process_group};
use tandem_control::config::ResourceConfig;
use tandem_control::handler;
use tandem_replica::wire::{NodeId, VolumeNumber};
use tandem_replica::{CallId, Handler};
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, BufReader};
use tokio::process::Command;
use tokio::time::timeout;

use super::registry::{Origin, Running};
use super::{Control, status};
use crate::limits;
use crate::mail::{Mail, ResourceKey};

/// An event that there may be a handler for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Occasion {
    pub(crate) handler: Handler,
    pub(crate) volume: Option<VolumeNumber>,
    pub(crate) peer: Option<NodeId>,
    /// The core waits for the exit code under this name.
    pub(crate) call: Option<CallId>,
}

impl Control {
    /// Runs the handler for an event, if there is one.
    pub(crate) fn handle(self: &Arc<Self>, shard: usize, key: ResourceKey, occasion: Occasion) {
        let Some(running) = self.registry.find_key(shard, key) else { return };
        let helper = self.usermode_helper.as_deref();
        let program = Program::of(&running, occasion.handler, helper);
        let control = Arc::clone(self);
        tokio::spawn(async move {
            let Some(call) = occasion.call else {
                let Some(program) = program else { return };
                let _permit = control.handlers.acquire().await.expect("it is never closed");
                control.run_handler(&running, occasion, &program).await;
                return;
            };
            // Nothing else that runs keeps it waiting: I/O may be frozen for it.
            let exit_code = match program {
                Some(program) => control.run_handler(&running, occasion, &program).await,
                None => {
                    let (resource, handler) = (&running.config.name, occasion.handler.name());
                    tracing::error!(resource, handler, "there is no such handler: no answer");
                    None
                }
            };
            control.shard(shard).post(Mail::Called { resource: key, call, exit_code });
        });
    }

    /// Runs a handler to its end: its exit code, or `None` where it has none.
    async fn run_handler(
        &self,
        running: &Running,
        occasion: Occasion,
        program: &Program,
    ) -> Option<i32> {
        let peer = occasion.peer.map(|it| tandem_control::NodeId(it.0));
        let status = status::of(self, running).await;
        let told = handler::Occasion {
            handler: occasion.handler.name(),
            volume: occasion.volume.map(|it| tandem_control::VolumeNumber(it.0)),
            peer,
            facts: status.map(|it| handler::Facts::of(&it, peer)).unwrap_or_default(),
        };
        // So that tandemadm, called by the handler, finds this very daemon.
        let caller = handler::Caller {
            config_file: self.config_file(),
            run_dir: self.run_dir(),
            node: &self.node,
        };
        let variables = handler::environment(&running.config, told, caller);
        let limit = limits::HANDLER_TIME_MAX;
        run(&running.config, occasion.handler, program, variables, limit).await
    }
}

/// What is run for an event.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Program {
    /// A line for the shell.
    Line(String),
    /// A helper, called with the names of the handler and the resource. Of what has happened to one
    /// volume, too, DRBD 9 names the resource, and its drbdadm takes nothing else.
    Helper { path: PathBuf, handler: &'static str, resource: String },
}

impl Program {
    /// What there is for an event of a resource.
    fn of(running: &Running, handler: Handler, helper: Option<&Path>) -> Option<Self> {
        let (config, handler) = (&running.config, handler.name());
        if let Some(line) = config.handlers.get(handler) {
            return Some(Self::Line(line.clone()));
        }
        match running.origin {
            // Whoever described it has left this handler out.
            Origin::Whole => None,
            Origin::Begun | Origin::Parts => {
                let (path, resource) = (helper?.to_owned(), config.name.clone());
                Some(Self::Helper { path, handler, resource })
            }
        }
    }

    fn command(&self) -> Command {
        match self {
            Self::Line(line) => {
                let mut command = Command::new("/bin/sh");
                command.args(["-c", line]);
                command
            }
            Self::Helper { path, handler, resource } => {
                let mut command = Command::new(path);
                command.args([handler, resource.as_str()]);
                command
            }
        }
    }
}

impl fmt::Display for Program {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Line(line) => f.write_str(line),
            Self::Helper { path, handler, resource } => {
                write!(f, "{} {handler} {resource}", path.display())
            }
        }
    }
}

/// Runs a program until it ends or its time is over.
async fn run(
    config: &ResourceConfig,
    handler: Handler,
    program: &Program,
    variables: Vec<(String, String)>,
    limit: Duration,
) -> Option<i32> {
    let (resource, name) = (config.name.as_str(), handler.name());
    tracing::info!(resource, handler = name, "calling handler: {program}");
    let spawned = program
        .command()
        .env_clear()
        .envs(variables)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .process_group(0)
        .spawn();
    let mut child = match spawned {
        Ok(child) => child,
        Err(error) => {
            tracing::error!(resource, handler = name, "handler does not start: {program}: {error}");
            return None;
        }
    };
    let group = child.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw);
    if let Some(output) = child.stdout.take() {
        tokio::spawn(log_lines(output, resource.to_owned(), name));
    }
    if let Some(output) = child.stderr.take() {
        tokio::spawn(log_lines(output, resource.to_owned(), name));
    }
    let Ok(ended) = timeout(limit, child.wait()).await else {
        tracing::error!(resource, handler = name, "handler is killed: no end within {limit:?}");
        if let Some(group) = group {
            let _ = kill_process_group(group, Signal::KILL);
        }
        // Killed, it is reaped at once; what it would have said is not known.
        let _ = child.wait().await;
        return None;
    };
    let code = ended.ok().as_ref().and_then(ExitStatus::code);
    match code {
        Some(code) => tracing::info!(resource, handler = name, "handler ended: exit code {code}"),
        None => tracing::error!(resource, handler = name, "handler ended without an exit code"),
    }
    code
}

/// What a handler prints, line by line. Lines beyond a limit are cut into several.
async fn log_lines(output: impl AsyncRead + Unpin, resource: String, handler: &'static str) {
    let mut output = BufReader::new(output);
    let mut line = Vec::new();
    loop {
        line.clear();
        let read = (&mut output).take(limits::HANDLER_LINE_MAX).read_until(b'\n', &mut line).await;
        if !read.is_ok_and(|bytes| bytes > 0) {
            return;
        }
        let text = String::from_utf8_lossy(&line);
        let text = text.trim_end();
        tracing::info!(resource, handler, "{text}");
    }
}

#[cfg(test)]
mod tests;
