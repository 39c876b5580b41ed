//! Waits of the admin command: for connections, for resyncs. They look at the state until it is so.

use std::time::Duration;

use tandem_control::{NodeId, VolumeNumber};
use tandem_replica::wire::{self, ReplicationState};
use tandem_replica::{CommandError, ConnectionState, ConnectionStatus, ResourceStatus};
use tokio::time::{sleep, timeout};

use super::Control;
use super::refusal::Refused;
use super::status;
use crate::limits;

/// What is waited for.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Until {
    /// Every connection, or that to `peer`, is Connected.
    Connected { peer: Option<NodeId> },
    /// No volume, or not this one, is in a resync with any peer, or this one.
    InSync { peer: Option<NodeId>, volume: Option<VolumeNumber> },
}

/// Waits until it is so, or until the resource or the time is gone.
pub(crate) async fn wait(
    control: &Control,
    resource: &str,
    until: Until,
    limit: Option<Duration>,
) -> Result<(), Refused> {
    let mut missing = String::new();
    let watch = async {
        loop {
            let running = control.registry.find(resource);
            let running = running.ok_or_else(|| Refused::UnknownResource(resource.to_owned()))?;
            let status = status::of_core(control, &running).await?;
            until.check(&status).map_err(|error| {
                let resource = resource.to_owned();
                Refused::Command { resource, error }
            })?;
            match until.missing(&status) {
                None => return Ok(()),
                Some(text) => missing = text,
            }
            sleep(limits::WAIT_INTERVAL).await;
        }
    };
    let Some(limit) = limit else { return watch.await };
    let ended = timeout(limit, watch).await;
    ended
        .unwrap_or_else(|_| Err(Refused::TimedOut { resource: resource.to_owned(), text: missing }))
}

impl Until {
    /// Whether there is what is waited for.
    fn check(self, status: &ResourceStatus) -> Result<(), CommandError> {
        let (peer, volume) = match self {
            Self::Connected { peer } => (peer, None),
            Self::InSync { peer, volume } => (peer, volume),
        };
        if let Some(peer) = peer
            && chosen(status, Some(peer)).next().is_none()
        {
            return Err(CommandError::UnknownPeer(peer.0));
        }
        if let Some(volume) = volume
            && !status.volumes.iter().any(|it| it.number.0 == volume.0)
        {
            return Err(CommandError::UnknownVolume(wire::VolumeNumber(volume.0)));
        }
        Ok(())
    }

    /// The first thing that is not so yet, in words.
    fn missing(self, status: &ResourceStatus) -> Option<String> {
        match self {
            Self::Connected { peer } => {
                let mut apart = chosen(status, peer)
                    .filter(|connection| connection.state != ConnectionState::Connected);
                apart
                    .next()
                    .map(|it| format!("the connection to {} is {}", it.name, it.state.name()))
            }
            Self::InSync { peer, volume } => {
                let mut busy = chosen(status, peer).filter(|it| !is_in_sync(it, volume));
                busy.next().map(|it| format!("a resync with {} goes on", it.name))
            }
        }
    }
}

fn chosen(
    status: &ResourceStatus,
    peer: Option<NodeId>,
) -> impl Iterator<Item = &ConnectionStatus> {
    let is_chosen = move |it: &&ConnectionStatus| peer.is_none_or(|peer| it.peer.0 == peer.0);
    status.connections.iter().filter(is_chosen)
}

/// A connected peer whose replication is Off is about to agree on what to do.
fn is_in_sync(connection: &ConnectionStatus, volume: Option<VolumeNumber>) -> bool {
    let mut devices = connection.peer_devices.iter();
    connection.state != ConnectionState::Connected
        || devices.all(|device| {
            let is_chosen = volume.is_none_or(|volume| volume.0 == device.volume.0);
            let in_sync = [
                ReplicationState::Established,
                ReplicationState::VerifyS,
                ReplicationState::VerifyT,
            ];
            !is_chosen || in_sync.contains(&device.replication)
        })
}
