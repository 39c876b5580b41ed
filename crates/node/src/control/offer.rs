//! Exports as they are offered to clients: found by name, told about, opened, or refused.

use tandem_nbd::{ExportEntry, ExportInfo, ExportKey, Refusal, RefusalKind};
use tandem_replica::wire::VolumeNumber;
use tandem_replica::{ClientId, CommandError};

use super::registry::Running;
use super::{Control, export_name, status};
use crate::mail::{ExportFacts, Mail, Mailbox, Opening, Permits};

/// A client that the core knows of.
pub(super) struct OpenedClient {
    pub(super) shard: Mailbox,
    /// `None` once the shard has it.
    pub(super) id: Option<ClientId>,
    pub(super) permits: Permits,
}

impl Drop for OpenedClient {
    fn drop(&mut self) {
        if let Some(client) = self.id.take() {
            self.shard.post(Mail::CloseClient { client });
        }
    }
}

pub(super) async fn info(control: &Control, name: &str) -> Result<ExportInfo, Refusal> {
    let (running, volume) = resolve(control, name)?;
    let export = control.ask(&running, |resource, reply| Mail::Export { resource, volume, reply });
    let export = export.await.map_err(|_| going_away())?;
    let export = export.map_err(|error| refusal(&running, &error))?;
    Ok(export_info(control, &running, volume, export).await)
}

pub(super) async fn open(
    control: &Control,
    name: &str,
) -> Result<(OpenedClient, ExportInfo), Refusal> {
    let (running, volume) = resolve(control, name)?;
    let name = export_name(&running.config, volume);
    let permits = control.exports.admit(&name);
    let permits = permits.map_err(|reason| Refusal { kind: RefusalKind::Policy, reason })?;
    let writes = !control.exports.is_read_only(&name);
    let opened = control.ask(&running, |resource, reply| {
        let opening = Opening { volume, writes, reply };
        Mail::OpenClient { resource, opening }
    });
    let opened = opened.await.map_err(|_| going_away())?;
    let (id, facts) = opened.map_err(|error| refusal(&running, &error))?;
    let shard = control.shard(running.shard).clone();
    let client = OpenedClient { shard, id: Some(id), permits };
    Ok((client, export_info(control, &running, volume, facts).await))
}

pub(super) async fn list(control: &Control) -> Vec<ExportEntry> {
    let mut entries = Vec::new();
    for running in control.registry.all() {
        for volume in &running.config.volumes {
            let number = VolumeNumber(volume.number.0);
            entries.push(ExportEntry {
                name: export_name(&running.config, number),
                description: status::describe(control, &running, number).await,
            });
        }
    }
    entries
}

/// The volume that a client means: `r0/1`, `r0` for its volume 0, or nothing for volume 0 of the
/// only resource.
fn resolve(control: &Control, name: &str) -> Result<(Running, VolumeNumber), Refusal> {
    let unknown = || Refusal {
        kind: RefusalKind::Unknown,
        reason: match name {
            "" => "there is not exactly one resource here: name one".into(),
            name => format!("there is no export '{name}' here"),
        },
    };
    let (running, number) = if name.is_empty() {
        let mut all = control.registry.all();
        if all.len() != 1 {
            return Err(unknown());
        }
        (all.pop().expect("it has one entry"), 0)
    } else if let Some(running) = control.registry.find(name) {
        (running, 0)
    } else {
        let (resource, number) = name.rsplit_once('/').ok_or_else(unknown)?;
        let running = control.registry.find(resource).ok_or_else(unknown)?;
        (running, number.parse().map_err(|_| unknown())?)
    };
    if running.config.volumes.iter().any(|volume| volume.number.0 == number) {
        Ok((running, VolumeNumber(number)))
    } else {
        Err(unknown())
    }
}

async fn export_info(
    control: &Control,
    running: &Running,
    volume: VolumeNumber,
    facts: ExportFacts,
) -> ExportInfo {
    let name = export_name(&running.config, volume);
    ExportInfo {
        description: status::describe(control, running, volume).await,
        size_bytes: facts.export.size_bytes,
        read_only: control.exports.is_read_only(&name),
        name,
        block_size: facts.export.block_size,
        fast_zero: facts.fast_zero,
        rotational: facts.rotational,
        peers: running.config.peers.iter().map(|peer| peer.name.clone()).collect(),
        key: ExportKey(0),
    }
}

fn refusal(running: &Running, error: &CommandError) -> Refusal {
    let reason = format!("{}: {error}", running.config.name);
    match error {
        CommandError::UnknownVolume(_) => Refusal { kind: RefusalKind::Unknown, reason },
        CommandError::UnknownPeer(_)
        | CommandError::PeerIsPrimary { .. }
        | CommandError::NotFenced { .. }
        | CommandError::OutdatePrimary
        | CommandError::BelowOutdated { .. }
        | CommandError::NeedUpToDate { .. }
        | CommandError::NoDisk { .. }
        | CommandError::InUse { .. }
        | CommandError::Refused(_)
        | CommandError::Metadata { .. }
        | CommandError::OpenDisk { .. }
        | CommandError::Concurrent
        | CommandError::Timeout { .. }
        | CommandError::Io { .. }
        | CommandError::PauseFlag { .. } => Refusal { kind: RefusalKind::Policy, reason },
    }
}

fn going_away() -> Refusal {
    Refusal {
        kind: RefusalKind::Shutdown,
        reason: "the daemon or the resource is going down".into(),
    }
}
