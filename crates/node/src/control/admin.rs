//! The admin socket: sessions of requests and responses.

use std::io;
use std::sync::Arc;

use tandem_control::admin::{
    CodecError, HEADER_LEN, Request, Response, decode_request, encode_response, payload_len,
};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::Semaphore;

use super::Control;
use super::nbd::ACCEPT_PAUSE;
use super::refusal::Refused;
use crate::limits;

/// Why a session ended, but for its client's wish.
#[derive(Debug, thiserror::Error)]
pub(super) enum SessionError {
    #[error("{0}")]
    Io(#[from] io::Error),
    #[error("{0}")]
    Codec(#[from] CodecError),
}

/// Serves administrators, for ever.
pub(crate) async fn serve(control: Arc<Control>, listener: UnixListener) {
    let sessions = Arc::new(Semaphore::new(limits::ADMIN_SESSIONS_MAX));
    loop {
        let permit = Arc::clone(&sessions).acquire_owned().await;
        let permit = permit.expect("the semaphore is never closed");
        match listener.accept().await {
            Ok((stream, _)) => {
                let control = Arc::clone(&control);
                tokio::spawn(async move {
                    if let Err(error) = session(&control, stream).await {
                        tracing::debug!("admin session ended: {error}");
                    }
                    drop(permit);
                });
            }
            Err(error) => {
                tracing::warn!("accepting an admin session: {error}");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

async fn session(control: &Arc<Control>, mut stream: UnixStream) -> Result<(), SessionError> {
    let mut is_greeted = false;
    while let Some(request) = receive(&mut stream).await? {
        if is_greeted && let Request::Watch { resource } = request {
            return control.serve_watcher(stream, resource).await;
        }
        let is_hello = matches!(request, Request::Hello { .. });
        let response = if is_greeted || is_hello {
            let Some(response) = answer(control, request, &stream).await else { return Ok(()) };
            response
        } else {
            Refused::Usage("a session of the admin socket begins with a hello".into()).into()
        };
        is_greeted |= matches!(response, Response::Hello(_));
        stream.write_all(&encode_response(&response)?).await?;
    }
    Ok(())
}

/// The answer; `None` if the client went away from a wait. A command goes on without its client.
async fn answer(control: &Arc<Control>, request: Request, stream: &UnixStream) -> Option<Response> {
    let is_wait = matches!(request, Request::WaitConnect { .. } | Request::WaitSync { .. });
    let control = Arc::clone(control);
    let mut task = tokio::spawn(async move { control.answer(request).await });
    let joined = if is_wait {
        tokio::select! {
            joined = &mut task => joined,
            () = gone(stream) => {
                task.abort();
                return None;
            }
        }
    } else {
        task.await
    };
    joined.ok()
}

/// Comes true when the client has closed its end.
async fn gone(stream: &UnixStream) {
    loop {
        // Readable without bytes is the end; a client that talks on is its own fault.
        let ready = stream.ready(tokio::io::Interest::READABLE).await;
        if ready.is_err() || ready.is_ok_and(|ready| ready.is_read_closed()) {
            return;
        }
        tokio::time::sleep(limits::WAIT_INTERVAL).await;
    }
}

/// The next request; `None` if the client is done.
pub(super) async fn receive(
    stream: &mut (impl AsyncRead + Unpin),
) -> Result<Option<Request>, SessionError> {
    let mut header = [0; HEADER_LEN];
    match stream.read_exact(&mut header).await {
        Ok(_) => {}
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
        Err(error) => return Err(error.into()),
    }
    let length = payload_len(header)?;
    let mut frame = vec![0; HEADER_LEN + length];
    frame[..HEADER_LEN].copy_from_slice(&header);
    stream.read_exact(&mut frame[HEADER_LEN..]).await?;
    let decoded = decode_request(&frame)?;
    Ok(decoded.map(|(request, _)| request))
}
