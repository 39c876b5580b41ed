//! One client on standard input and output, as inetd, ssh and libnbd start a server.
//!
//! The client is served through a pair of sockets, whatever standard input and output are.

use std::os::fd::OwnedFd;
use std::sync::Arc;

use tokio::io::{copy_bidirectional, join, stdin, stdout};
use tokio::net::UnixStream;

use super::crowd::{Crowd, Source};
use super::{Control, nbd};

/// Serves the client until it is gone, or the daemon is done with it.
pub(crate) async fn serve(control: &Arc<Control>) {
    if let Err(error) = relay(control).await {
        tracing::info!("client on standard input and output: {error}");
    }
}

async fn relay(control: &Arc<Control>) -> std::io::Result<()> {
    let (mut ours, mut theirs) = UnixStream::pair()?;
    let control = Arc::clone(control);
    let place = Crowd::default().enter(Source::Here);
    let descriptor = control.exports.descriptor().await;
    tokio::spawn(async move {
        if let Some(chosen) = nbd::handshake(&control, &mut theirs, place, descriptor).await {
            chosen.hand_over(theirs.into_std().map(OwnedFd::from));
        }
    });
    let mut client = join(stdin(), stdout());
    copy_bidirectional(&mut client, &mut ours).await.map(drop)
}
