//! Handlers: programs that operators have run at events, with DRBD's environment.
//!
//! A handler runs beside everything else, as `sh -c` in a process group of its own; what it prints
//! goes to the log. It may outlive the daemon. One that takes too long is killed with its group.

use std::process::{ExitStatus, Stdio};
use std::sync::Arc;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process_group};
use tandem_control::config::ResourceConfig;
use tandem_replica::wire::{NodeId, VolumeNumber};
use tandem_replica::{CallId, Handler};
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, BufReader};
use tokio::process::Command;
use tokio::time::timeout;

use super::registry::Running;
use super::{Control, status};
use crate::limits;
use crate::mail::{Mail, ResourceKey};

mod environment;

use environment::{Facts, environment};

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
        let command = running.config.handlers.get(occasion.handler.name()).cloned();
        let control = Arc::clone(self);
        tokio::spawn(async move {
            let Some(call) = occasion.call else {
                let Some(command) = command else { return };
                let _permit = control.handlers.acquire().await.expect("it is never closed");
                control.run_handler(&running, occasion, &command).await;
                return;
            };
            // Nothing else that runs keeps it waiting: I/O may be frozen for it.
            let exit_code = match command {
                Some(command) => control.run_handler(&running, occasion, &command).await,
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
        command: &str,
    ) -> Option<i32> {
        let facts = Facts::of(status::of_core(self, running).await.ok(), running, occasion);
        let mut variables = environment(&running.config, occasion, &facts);
        variables.push(("DRBD_CONF".to_owned(), self.config_file().display().to_string()));
        // So that tandemadm, called by the handler, finds this very daemon.
        variables.push(("TANDEM_RUN_DIR".to_owned(), self.run_dir().display().to_string()));
        variables.push(("TANDEM_NODE".to_owned(), self.node.clone()));
        let limit = limits::HANDLER_TIME_MAX;
        run(&running.config, occasion.handler, command, variables, limit).await
    }
}

/// Runs a command until it ends or its time is over.
async fn run(
    config: &ResourceConfig,
    handler: Handler,
    command: &str,
    variables: Vec<(String, String)>,
    limit: Duration,
) -> Option<i32> {
    let (resource, name) = (config.name.as_str(), handler.name());
    tracing::info!(resource, handler = name, "calling handler: {command}");
    let spawned = Command::new("/bin/sh")
        .args(["-c", command])
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
            tracing::error!(resource, handler = name, "handler does not start: {error}");
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
