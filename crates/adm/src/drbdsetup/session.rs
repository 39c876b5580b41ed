//! The daemon that drbdsetup talks to.

use std::path::PathBuf;

use tandem_control::admin::{ClientError, Request, Response};
use tandem_control::config::ResourceConfig;
use tandem_control::status::ResourceStatus;
use tandem_control::{Minor, NodeId, VolumeNumber, exit};

use crate::events::Wanted;
use crate::metadata::MetaPlace;
use crate::output::{self, Failure};
use crate::run::{self, client_failure};
use crate::world::{Daemon, World};

/// A session.
pub(super) struct Session {
    daemon: Box<dyn Daemon>,
}

impl Session {
    /// With the daemon of `TANDEM_RUN_DIR`; it must be `TANDEM_NODE`'s, where that is set.
    pub(super) fn connect(world: &mut dyn World) -> Result<Self, Failure> {
        let run_dir = world.variable("TANDEM_RUN_DIR").unwrap_or_else(|| "/run/tandem".into());
        let daemon = world.connect(&PathBuf::from(run_dir));
        let daemon = daemon.map_err(|error| not_connected(&error))?;
        let theirs = daemon.node();
        match world.variable("TANDEM_NODE").and_then(|node| node.into_string().ok()) {
            Some(node) if node != theirs => {
                let socket = daemon.socket().display();
                let text = format!("TANDEM_NODE is {node}, the daemon behind {socket} is {theirs}");
                Err(Failure::new(exit::FAILURE, text))
            }
            Some(_) | None => Ok(Self { daemon }),
        }
    }

    /// Prints changes until it is interrupted.
    pub(super) fn events(self, resource: Option<&str>, wanted: Wanted) -> Result<(), Failure> {
        self.daemon.events(resource, wanted)
    }

    /// The generations of a volume in use.
    pub(super) fn generations(
        &self,
        place: &MetaPlace,
        peer: NodeId,
        explained: bool,
    ) -> Result<String, Failure> {
        self.daemon.generations(place, peer, explained)
    }

    /// Has something done.
    pub(super) fn ask(&mut self, request: &Request) -> Result<(), Failure> {
        run::ask(&mut *self.daemon, request)
    }

    /// How resources are configured, and how they are; an error where the one that is named is not
    /// there.
    pub(super) fn running(
        &mut self,
        resource: Option<&str>,
    ) -> Result<Vec<(ResourceConfig, ResourceStatus)>, Failure> {
        let request = Request::Running { resource: resource.map(str::to_owned) };
        let all = self.daemon.answer(&request, &mut |_| ());
        match all.map_err(|error| client_failure(&error))? {
            Response::Running(found) => Ok(found),
            Response::Refused(refusal) if refusal.exit_code == exit::CONFIG => {
                let name = resource.unwrap_or("all");
                Err(Failure::new(exit::CONFIG, format!("{name}: No such resource")))
            }
            Response::Refused(refusal) => Err(Failure::new(refusal.exit_code, refusal.message)),
            Response::Hello(_)
            | Response::Done
            | Response::Status(_)
            | Response::Progress(_)
            | Response::Sighted(_) => {
                Err(Failure::new(exit::FAILURE, "the daemon answered something else than asked"))
            }
        }
    }

    /// The one that is named.
    pub(super) fn one(
        &mut self,
        resource: &str,
    ) -> Result<(ResourceConfig, ResourceStatus), Failure> {
        let found = self.running(Some(resource))?.pop();
        found.ok_or_else(|| Failure::new(exit::CONFIG, format!("{resource}: No such resource")))
    }

    /// Whose volume a minor is.
    pub(super) fn volume_of(&mut self, minor: Minor) -> Result<(String, VolumeNumber), Failure> {
        for (config, _) in self.running(None)? {
            if let Some(volume) = config.volumes.iter().find(|volume| volume.minor == minor) {
                return Ok((config.name, volume.number));
            }
        }
        let text = format!("{minor}: Failure: (127) Device minor not allocated");
        Err(Failure::new(exit::CONFIG, text))
    }
}

/// Here the environment says where the daemon is.
fn not_connected(error: &ClientError) -> Failure {
    match error {
        ClientError::NotRunning { .. } => {
            let advice = "start tandemd, or name its directory in TANDEM_RUN_DIR";
            Failure::new(exit::FAILURE, format!("{error}; {advice}"))
        }
        ClientError::Version { .. } | ClientError::Io { .. } | ClientError::Codec { .. } => {
            client_failure(error)
        }
    }
}

/// Prints what has no effect.
pub(super) fn warn(resource: &str, warnings: &[String]) {
    for warning in warnings {
        output::error(&format!("{resource}: warning: {warning}"));
    }
}
