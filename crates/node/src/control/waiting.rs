//! Waits of the admin command: for connections, for resyncs. They look at the state until it is so.

use std::time::Duration;

use tandem_control::{NodeId, VolumeNumber};
use tandem_replica::wire::ReplicationState;
use tandem_replica::{ConnectionState, ConnectionStatus, ResourceStatus};
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
    let watch = async {
        loop {
            let running = control.registry.find(resource);
            let running = running.ok_or_else(|| Refused::UnknownResource(resource.to_owned()))?;
            if until.holds(&status::of_core(control, &running).await?) {
                return Ok(());
            }
            sleep(limits::WAIT_INTERVAL).await;
        }
    };
    match limit {
        None => watch.await,
        Some(limit) => match timeout(limit, watch).await {
            Ok(result) => result,
            Err(_) => Err(Refused::TimedOut(resource.to_owned())),
        },
    }
}

impl Until {
    fn holds(self, status: &ResourceStatus) -> bool {
        match self {
            Self::Connected { peer } => chosen(status, peer)
                .all(|connection| connection.state == ConnectionState::Connected),
            Self::InSync { peer, volume } => {
                chosen(status, peer).all(|connection| is_in_sync(connection, volume))
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
