//! NBD clients until they are handed to a shard: listening and the handshake.

use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tandem_nbd::limits::HANDSHAKE_DEADLINE;
use tandem_nbd::{
    CloseReason, ExportEntry, ExportInfo, ExportKey, Handshake, HandshakeOutput, Purpose, Refusal,
    RefusalKind, Terms,
};
use tandem_replica::wire::VolumeNumber;
use tandem_replica::{ClientId, CommandError};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, UnixListener};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

use super::registry::Running;
use super::{Control, export_name, socket, status};
use crate::limits;
use crate::mail::{Admitted, ExportFacts, Mail, Mailbox, Permits};

/// Pause after an error of accept, which is mostly a lack of descriptors.
pub(crate) const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Bytes of one read in a handshake: what came too much fits a stream buffer.
const READ_BYTES: usize = 16 << 10;

/// Serves clients of a unix socket, for ever. Each listener has handshakes of its own: strangers on
/// a network do not keep those out who are on this machine.
pub(crate) async fn serve_unix(control: Arc<Control>, listener: UnixListener) {
    let handshakes = Arc::new(Semaphore::new(limits::HANDSHAKES_MAX));
    loop {
        let permit = acquire(&handshakes).await;
        match listener.accept().await {
            Ok((mut stream, _)) => {
                let control = Arc::clone(&control);
                tokio::spawn(async move {
                    if let Some(chosen) = handshake(&control, &mut stream, permit).await {
                        chosen.hand_over(stream.into_std().map(OwnedFd::from));
                    }
                });
            }
            Err(error) => {
                pause(&error).await;
            }
        }
    }
}

/// Serves clients of a TCP address, for ever.
pub(crate) async fn serve_tcp(control: Arc<Control>, listener: TcpListener) {
    let handshakes = Arc::new(Semaphore::new(limits::HANDSHAKES_MAX));
    loop {
        let permit = acquire(&handshakes).await;
        match listener.accept().await {
            Ok((mut stream, _)) => {
                let control = Arc::clone(&control);
                tokio::spawn(async move {
                    if let Err(error) = socket::tune_client(&stream) {
                        tracing::debug!("client refused: {error}");
                        return;
                    }
                    if let Some(chosen) = handshake(&control, &mut stream, permit).await {
                        chosen.hand_over(socket::release(stream));
                    }
                });
            }
            Err(error) => {
                pause(&error).await;
            }
        }
    }
}

/// A client whose handshake is over. Dropped, it tells the shard that the client went away.
pub(crate) struct Chosen {
    client: OpenedClient,
    export: ExportInfo,
    terms: Terms,
    rest: Bytes,
}

impl Chosen {
    pub(crate) fn hand_over(mut self, socket: io::Result<OwnedFd>) {
        let id = self.client.id.take();
        let (Ok(socket), Some(client)) = (socket, id) else {
            self.client.id = id;
            return;
        };
        let permits = std::mem::take(&mut self.client.permits);
        let Self { client: OpenedClient { shard, .. }, export, terms, rest } = &self;
        let (rest, export, terms) = (rest.clone(), export.clone(), *terms);
        let admitted = Box::new(Admitted { socket, rest, export, terms, permits });
        shard.post(Mail::Serve { client, admitted });
    }
}

/// A client that the core knows of.
struct OpenedClient {
    shard: Mailbox,
    /// `None` once the shard has it.
    id: Option<ClientId>,
    permits: Permits,
}

impl Drop for OpenedClient {
    fn drop(&mut self) {
        if let Some(client) = self.id.take() {
            self.shard.post(Mail::CloseClient { client });
        }
    }
}

/// Why a handshake did not end with an export.
#[derive(Debug, thiserror::Error)]
enum HandshakeFailure {
    #[error("{0}")]
    Io(#[from] io::Error),
    #[error("{0}")]
    Closed(CloseReason),
    #[error("client closed the connection")]
    End,
}

/// What accept says is mostly that there are no descriptors: some may come back.
async fn pause(error: &io::Error) {
    tracing::warn!("accepting a client: {error}");
    tokio::time::sleep(ACCEPT_PAUSE).await;
}

pub(crate) async fn acquire(handshakes: &Arc<Semaphore>) -> OwnedSemaphorePermit {
    let permit = Arc::clone(handshakes).acquire_owned().await;
    permit.expect("the semaphore is never closed")
}

pub(crate) async fn handshake<S: AsyncRead + AsyncWrite + Unpin>(
    control: &Control,
    stream: &mut S,
    permit: OwnedSemaphorePermit,
) -> Option<Chosen> {
    let result = timeout(HANDSHAKE_DEADLINE, haggle(control, stream)).await;
    drop(permit);
    match result {
        Ok(Ok(chosen)) => Some(chosen),
        Ok(Err(failure)) => {
            tracing::debug!("client went away in its handshake: {failure}");
            None
        }
        Err(_) => {
            tracing::debug!("client gave no export within {HANDSHAKE_DEADLINE:?}");
            None
        }
    }
}

async fn haggle<S: AsyncRead + AsyncWrite + Unpin>(
    control: &Control,
    stream: &mut S,
) -> Result<Chosen, HandshakeFailure> {
    let mut machine = Handshake::new();
    let mut opened = None;
    let mut buffer = vec![0; READ_BYTES];
    loop {
        match machine.poll() {
            HandshakeOutput::Send(bytes) => stream.write_all(&bytes).await?,
            HandshakeOutput::NeedBytes => match stream.read(&mut buffer).await? {
                0 => return Err(HandshakeFailure::End),
                count => machine.handle_bytes(&buffer[..count]),
            },
            HandshakeOutput::QueryExport { name, purpose } => {
                let answer = match purpose {
                    Purpose::Info => info(control, &name).await,
                    Purpose::Go | Purpose::ExportName => {
                        let result = open(control, &name).await;
                        result.map(|(client, info)| {
                            opened = Some(client);
                            info
                        })
                    }
                };
                machine.answer_export(answer);
            }
            HandshakeOutput::QueryList => machine.answer_list(&list(control).await),
            HandshakeOutput::Ready { export, terms, rest } => {
                let client = opened.take().expect("an export is chosen by GO or EXPORT_NAME");
                return Ok(Chosen { client, export, terms, rest });
            }
            HandshakeOutput::Close(reason) => return Err(HandshakeFailure::Closed(reason)),
        }
    }
}

async fn info(control: &Control, name: &str) -> Result<ExportInfo, Refusal> {
    let (running, volume) = resolve(control, name)?;
    let export = control.ask(&running, |resource, reply| Mail::Export { resource, volume, reply });
    let export = export.await.map_err(|_| going_away())?;
    let export = export.map_err(|error| refusal(&running, &error))?;
    Ok(export_info(control, &running, volume, export).await)
}

async fn open(control: &Control, name: &str) -> Result<(OpenedClient, ExportInfo), Refusal> {
    let (running, volume) = resolve(control, name)?;
    let permits = control.exports.admit(&export_name(&running.config, volume));
    let permits = permits.map_err(|reason| Refusal { kind: RefusalKind::Policy, reason })?;
    let opened =
        control.ask(&running, |resource, reply| Mail::OpenClient { resource, volume, reply });
    let opened = opened.await.map_err(|_| going_away())?;
    let (id, facts) = opened.map_err(|error| refusal(&running, &error))?;
    let shard = control.shard(running.shard).clone();
    let client = OpenedClient { shard, id: Some(id), permits };
    Ok((client, export_info(control, &running, volume, facts).await))
}

async fn list(control: &Control) -> Vec<ExportEntry> {
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
