//! NBD clients until they are handed to a shard: listening and the handshake.

use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tandem_nbd::limits::HANDSHAKE_DEADLINE;
use tandem_nbd::{
    CloseReason, ExportInfo, Handshake, HandshakeOutput, Purpose, Refusal, RefusalKind, Terms,
};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, UnixListener};
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::{Instant, timeout};

use super::crowd::{Crowd, Place, Source};
use super::offer::{self, OpenedClient};
use super::{Control, socket};
use crate::limits;
use crate::mail::{Admitted, Mail, OnceGone};

/// Pause after an error of accept, which is mostly a lack of descriptors.
pub(crate) const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Bytes of one read in a handshake: what came too much fits a stream buffer.
const READ_BYTES: usize = 16 << 10;

/// Serves clients of a unix socket, for ever. Each listener has handshakes of its own: strangers on
/// a network do not end those of who is on this machine.
pub(crate) async fn serve_unix(control: Arc<Control>, listener: UnixListener) {
    let crowd = Crowd::default();
    loop {
        let descriptor = control.exports.descriptor().await;
        match listener.accept().await {
            Ok((mut stream, _)) => {
                let (control, place) = (Arc::clone(&control), crowd.enter(Source::Here));
                tokio::spawn(async move {
                    if let Some(chosen) = handshake(&control, &mut stream, place, descriptor).await
                    {
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
    let crowd = Crowd::default();
    loop {
        let descriptor = control.exports.descriptor().await;
        match listener.accept().await {
            Ok((mut stream, address)) => {
                let (control, place) = (Arc::clone(&control), crowd.enter(address.ip().into()));
                tokio::spawn(async move {
                    if let Err(error) = socket::tune_client(&stream) {
                        tracing::debug!("client refused: {error}");
                        return;
                    }
                    if let Some(chosen) = handshake(&control, &mut stream, place, descriptor).await
                    {
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
    once_gone: OnceGone,
    rest: Bytes,
}

impl Chosen {
    /// The kernel: it has no handshake, and the terms of a client that asked for nothing.
    pub(super) fn kernel(client: OpenedClient, export: ExportInfo) -> Self {
        let (terms, once_gone) = (Terms::default(), OnceGone::Forget);
        Self { client, export, terms, once_gone, rest: Bytes::new() }
    }

    pub(crate) fn hand_over(self, socket: io::Result<OwnedFd>) {
        let Self { client: mut opened, export, terms, once_gone, rest } = self;
        // Without a socket the client keeps its name, and says goodbye by it.
        let Ok(socket) = socket else { return };
        let Some(client) = opened.id.take() else { return };
        let permits = std::mem::take(&mut opened.permits);
        let admitted = Admitted { socket, rest, export, terms, once_gone, permits };
        opened.shard.post(Mail::Serve { client, admitted: Box::new(admitted) });
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
    #[error("client gave no export within {HANDSHAKE_DEADLINE:?}")]
    Late,
    #[error("it made room for another client")]
    Crowd,
}

/// What is left of the time of a handshake: the client's, and ours for promoting a resource.
struct Allowance {
    client: Duration,
    ours: Duration,
}

impl Allowance {
    /// Sends to the client or receives from it.
    async fn client<T>(
        &mut self,
        transfer: impl Future<Output = io::Result<T>>,
    ) -> Result<T, HandshakeFailure> {
        let begun = Instant::now();
        let result = timeout(self.client, transfer).await;
        self.client = self.client.saturating_sub(begun.elapsed());
        Ok(result.map_err(|_| HandshakeFailure::Late)??)
    }

    /// Asks a shard about an export.
    async fn ours<T>(
        &mut self,
        question: impl Future<Output = Result<T, Refusal>>,
    ) -> Result<T, Refusal> {
        let begun = Instant::now();
        let result = timeout(self.ours, question).await;
        self.ours = self.ours.saturating_sub(begun.elapsed());
        result.unwrap_or_else(|_| {
            let reason = "the resource is still being promoted; try again".into();
            Err(Refusal { kind: RefusalKind::Policy, reason })
        })
    }
}

/// What accept says is mostly that there are no descriptors: some may come back.
async fn pause(error: &io::Error) {
    tracing::warn!("accepting a client: {error}");
    tokio::time::sleep(ACCEPT_PAUSE).await;
}

/// Has a client choose an export; the descriptor is the one that it holds.
pub(crate) async fn handshake<S: AsyncRead + AsyncWrite + Unpin>(
    control: &Control,
    stream: &mut S,
    mut place: Place,
    descriptor: OwnedSemaphorePermit,
) -> Option<Chosen> {
    let result = tokio::select! {
        result = haggle(control, stream) => result,
        () = place.is_lost() => Err(HandshakeFailure::Crowd),
    };
    drop(place);
    match result {
        Ok(mut chosen) => {
            chosen.client.permits.push(descriptor);
            Some(chosen)
        }
        Err(failure) => {
            tracing::debug!("client went away in its handshake: {failure}");
            None
        }
    }
}

async fn haggle<S: AsyncRead + AsyncWrite + Unpin>(
    control: &Control,
    stream: &mut S,
) -> Result<Chosen, HandshakeFailure> {
    let mut machine = Handshake::new();
    let mut left = Allowance { client: HANDSHAKE_DEADLINE, ours: limits::PROMOTION_PATIENCE };
    let mut opened = None;
    let mut buffer = vec![0; READ_BYTES];
    loop {
        match machine.poll() {
            HandshakeOutput::Send(bytes) => left.client(stream.write_all(&bytes)).await?,
            HandshakeOutput::NeedBytes => match left.client(stream.read(&mut buffer)).await? {
                0 => return Err(HandshakeFailure::End),
                count => machine.handle_bytes(&buffer[..count]),
            },
            HandshakeOutput::QueryExport { name, purpose } => {
                let answer = match purpose {
                    Purpose::Info => left.ours(offer::info(control, &name)).await,
                    Purpose::Go | Purpose::ExportName => {
                        let result = left.ours(offer::open(control, &name)).await;
                        result.map(|(client, info)| {
                            opened = Some(client);
                            info
                        })
                    }
                };
                machine.answer_export(answer);
            }
            HandshakeOutput::QueryList => machine.answer_list(&offer::list(control).await),
            HandshakeOutput::Ready { export, terms, rest } => {
                let client = opened.take().expect("an export is chosen by GO or EXPORT_NAME");
                let once_gone = OnceGone::Finish;
                return Ok(Chosen { client, export, terms, once_gone, rest });
            }
            HandshakeOutput::Close(reason) => return Err(HandshakeFailure::Closed(reason)),
        }
    }
}
