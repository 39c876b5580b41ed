//! Peer links until they are handed to a shard: listening, dialling, greeting.
//!
//! Both nodes dial and both listen. Where their attempts cross, the one of the node with the lower
//! number is kept: that node refuses the other's as long as its own is under way, and the other
//! drops its own when the first arrives.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use tandem_control::config::PeerConfig;
use tandem_replica::wire::hello::VERSION;
use tandem_replica::wire::limits::HELLO_BYTES;
use tandem_replica::wire::proof::FEATURE_PROOF;
use tandem_replica::wire::{
    End, Greetings, Hello, HelloError, Link, NodeId, ProofError, Reject, RejectCode, SharedSecret,
    Versions, negotiate,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::AbortHandle;
use tokio::time::timeout;

use super::convert::shared_secret;
use super::registry::Running;
use super::socket;
use super::{Control, authentication};
use crate::limits;
use crate::mail::{Mail, OwnGreeting, ResourceKey, ShardGone};
use crate::random;

/// Why there is no link.
#[derive(Debug, thiserror::Error)]
enum PeerFailure {
    #[error("{0}")]
    Io(#[from] io::Error),
    #[error("{0}")]
    Hello(#[from] HelloError),
    #[error("{0}")]
    Proof(#[from] ProofError),
    #[error("no answer within {0:?}")]
    Timeout(std::time::Duration),
    #[error(transparent)]
    Gone(#[from] ShardGone),
    #[error("refused: {0}")]
    Refused(String),
}

impl PeerFailure {
    /// What differs of the secrets, where that is what went wrong: trying again will not help, an
    /// operator is to make them equal.
    fn of_secrets(&self, own: &str, peer: &str) -> Option<String> {
        match self {
            Self::Hello(error) => authentication::of_greeting(error, own, peer),
            Self::Proof(error) => authentication::of_proof(error, own, peer),
            Self::Io(_) | Self::Timeout(_) | Self::Gone(_) | Self::Refused(_) => None,
        }
    }

    /// Whether it says nothing of the peer.
    fn is_crossing(&self) -> bool {
        match self {
            Self::Hello(error) | Self::Proof(ProofError::Message(error)) => {
                authentication::is_crossing(error)
            }
            Self::Proof(ProofError::Algorithm { .. } | ProofError::Wrong)
            | Self::Io(_)
            | Self::Timeout(_)
            | Self::Gone(_)
            | Self::Refused(_) => false,
        }
    }
}

/// Binds a listener for peers, unless there is one already.
pub(crate) async fn ensure_listener(control: &Arc<Control>, address: SocketAddr) -> io::Result<()> {
    let attempt = || {
        if !control.registry.is_listening(address) {
            let listener = socket::listen(address)?;
            let task = tokio::spawn(accept(Arc::clone(control), listener, address));
            control.registry.add_listener(address, task.abort_handle());
        }
        Ok(())
    };
    socket::while_in_use(attempt).await
}

/// Starts one attempt to reach a peer; it ends in mail to the shard.
pub(crate) fn begin_attempt(control: &Arc<Control>, shard: usize, key: ResourceKey, peer: NodeId) {
    let Some(running) = control.registry.find_key(shard, key) else {
        control.shard(shard).post(Mail::ConnectFailed { resource: key, peer });
        return;
    };
    let task = tokio::spawn(attempt(Arc::clone(control), running.clone(), peer));
    let task: AbortHandle = task.abort_handle();
    control.registry.begin_attempt(&running, peer, task);
}

async fn attempt(control: Arc<Control>, running: Running, peer: NodeId) {
    let result = match find_peer(&running, peer) {
        Some(config) => dial(&control, &running, config).await,
        None => Err(PeerFailure::Refused(format!("node {peer} is not configured"))),
    };
    control.registry.end_attempt(&running, peer, result.is_ok());
    let mail = match result {
        Ok(mail) => {
            control.registry.set_authentication_error(&running, peer, None);
            mail
        }
        Err(failure) => {
            tell_failure(&control, &running, peer, &failure);
            Mail::ConnectFailed { resource: running.key, peer }
        }
    };
    control.shard(running.shard).post(mail);
}

/// An attempt came to nothing: what an operator must mend is kept for `why`.
fn tell_failure(control: &Control, running: &Running, peer: NodeId, failure: &PeerFailure) {
    let resource = &running.config.name;
    let name = find_peer(running, peer).map_or("?", |peer| peer.name.as_str());
    let differs = failure.of_secrets(&running.config.node_name, name);
    match &differs {
        Some(text) => {
            tracing::warn!(resource, peer = name, "not connected: authentication fails: {text}");
        }
        None => tracing::debug!(resource, peer = peer.0, "not connected: {failure}"),
    }
    if !failure.is_crossing() {
        control.registry.set_authentication_error(running, peer, differs);
    }
}

async fn dial(
    control: &Control,
    running: &Running,
    peer: &PeerConfig,
) -> Result<Mail, PeerFailure> {
    let path = peer.path.ok_or_else(|| PeerFailure::Refused("it has no path".into()))?;
    let connected = socket::connect(path.own_address, path.peer_address);
    let connected = timeout(limits::CONNECT_TIMEOUT, connected).await;
    let mut stream = connected.map_err(|_| PeerFailure::Timeout(limits::CONNECT_TIMEOUT))??;
    socket::tune_link(&stream, peer.net.sndbuf_bytes, peer.net.rcvbuf_bytes)?;
    let peer_id = NodeId(peer.node_id.0);
    let greeting =
        control.ask(running, |resource, reply| Mail::Greeting { resource, peer: peer_id, reply });
    let secret = shared_secret(peer);
    let ours = own_hello(running, peer_id, greeting.await?, secret.as_ref());
    let called = timeout(limits::GREETING_DEADLINE, call(&mut stream, &ours, secret.as_ref()));
    let called = called.await.map_err(|_| PeerFailure::Timeout(limits::GREETING_DEADLINE))?;
    let (theirs, link) = called?;
    link_up(running, peer_id, stream, link, theirs.discard_my_data)
}

/// The dialer's part of a greeting: both agree, and know the secret, where there is one.
async fn call(
    stream: &mut TcpStream,
    ours: &Hello,
    secret: Option<&SharedSecret>,
) -> Result<(Hello, Link), PeerFailure> {
    let dialer = ours.encode();
    stream.write_all(&dialer).await?;
    let acceptor = read_message(stream).await?;
    let theirs = Hello::decode(&acceptor)?;
    let link = negotiate(ours, &theirs)?;
    if let Some(secret) = secret {
        let greetings = Greetings { dialer, acceptor };
        stream.write_all(&secret.prove(&greetings, End::Dialer)).await?;
        secret.verify(&greetings, End::Acceptor, &read_message(stream).await?)?;
    }
    Ok((theirs, link))
}

async fn accept(control: Arc<Control>, listener: TcpListener, address: SocketAddr) {
    let half_open = Arc::new(Semaphore::new(limits::GREETINGS_MAX));
    loop {
        match listener.accept().await {
            Ok((stream, from)) => {
                // Without a permit the stranger is dropped: peers try again.
                if let Ok(permit) = Arc::clone(&half_open).try_acquire_owned() {
                    let control = Arc::clone(&control);
                    tokio::spawn(async move {
                        let greeted = greet(&control, stream, address);
                        match timeout(limits::GREETING_DEADLINE, greeted).await {
                            Ok(Ok(())) => {}
                            Ok(Err(failure)) => tracing::debug!(%from, "peer refused: {failure}"),
                            Err(_) => tracing::debug!(%from, "peer did not greet in time"),
                        }
                        drop(permit);
                    });
                }
            }
            Err(error) => {
                tracing::warn!(%address, "accepting a peer: {error}");
                tokio::time::sleep(super::nbd::ACCEPT_PAUSE).await;
            }
        }
    }
}

/// Answers a greeting; hands the link over, or refuses it with the reason.
async fn greet(
    control: &Control,
    mut stream: TcpStream,
    address: SocketAddr,
) -> Result<(), PeerFailure> {
    let dialer = read_message(&mut stream).await?;
    let theirs = match Hello::decode(&dialer) {
        Ok(theirs) => theirs,
        Err(error) => {
            // Only those who speak our language are answered.
            if !matches!(error, HelloError::Magic { .. }) {
                refuse(&mut stream, RejectCode::Malformed, &error.to_string()).await?;
            }
            return Err(error.into());
        }
    };
    match welcome(control, &theirs, address).await? {
        Ok(Welcome { running, ours, secret, link }) => {
            let peer = theirs.sender;
            if let Some(config) = find_peer(&running, peer) {
                socket::tune_link(&stream, config.net.sndbuf_bytes, config.net.rcvbuf_bytes)?;
            }
            let acceptor = ours.encode();
            stream.write_all(&acceptor).await?;
            if let Some(secret) = secret {
                let greetings = Greetings { dialer, acceptor };
                prove_second(&mut stream, &running, peer, &secret, &greetings).await?;
            }
            let mail = link_up(&running, peer, stream, link, theirs.discard_my_data)?;
            control.registry.abandon_attempt(&running, peer);
            control.shard(running.shard).post(mail);
            Ok(())
        }
        Err(reject) => {
            let text = reject.text.clone();
            refuse(&mut stream, reject.code, &reject.text).await?;
            Err(PeerFailure::Refused(format!("resource {}: {text}", theirs.resource)))
        }
    }
}

/// The acceptor's part of proving the secret: a stranger who does not know it gets no proof.
async fn prove_second(
    stream: &mut TcpStream,
    running: &Running,
    peer: NodeId,
    secret: &SharedSecret,
    greetings: &Greetings,
) -> Result<(), PeerFailure> {
    let proof = read_message(stream).await?;
    if let Err(error) = secret.verify(greetings, End::Dialer, &proof) {
        let name = find_peer(running, peer).map_or("?", |peer| peer.name.as_str());
        let text = authentication::of_proof(&error, &running.config.node_name, name);
        let text = text.unwrap_or_else(|| error.to_string());
        refuse(stream, RejectCode::NotProved, &text).await?;
        return Err(error.into());
    }
    stream.write_all(&secret.prove(greetings, End::Acceptor)).await?;
    Ok(())
}

/// What a greeting that is taken leads to.
struct Welcome {
    running: Running,
    ours: Hello,
    secret: Option<SharedSecret>,
    link: Link,
}

async fn welcome(
    control: &Control,
    theirs: &Hello,
    address: SocketAddr,
) -> Result<Result<Welcome, Reject>, PeerFailure> {
    let reject = |code, text: String| Ok(Err(Reject { code, text }));
    let Some(running) = control.registry.find(&theirs.resource) else {
        return reject(RejectCode::UnknownResource, "there is no such resource here".into());
    };
    let peer = theirs.sender;
    let own_id = NodeId(running.config.node_id.0);
    let known = find_peer(&running, peer)
        .filter(|it| it.path.is_some_and(|path| path.own_address == address));
    let Some(config) = known.filter(|_| theirs.receiver == own_id) else {
        let text = format!("node {own_id} does not know node {peer} at {address}");
        return reject(RejectCode::WrongNode, text);
    };
    let (secret, name) = (shared_secret(config), config.name.clone());
    if own_id < peer && control.registry.is_attempting(&running, peer) {
        return reject(RejectCode::Busy, "attempts cross, this node's is the one to keep".into());
    }
    let accepted = control.ask(&running, |resource, reply| Mail::Accepts {
        resource,
        peer,
        peer_discards: theirs.discard_my_data,
        reply,
    });
    let greeting = match accepted.await? {
        Ok(greeting) => greeting,
        Err(text) => return reject(RejectCode::StandAlone, text),
    };
    let ours = own_hello(&running, peer, greeting, secret.as_ref());
    match negotiate(&ours, theirs) {
        Ok(link) => Ok(Ok(Welcome { running, ours, secret, link })),
        Err(error) => {
            let own = &running.config.node_name;
            match authentication::of_greeting(&error, own, &name) {
                Some(text) => reject(RejectCode::NotProved, text),
                None => reject(RejectCode::Version, error.to_string()),
            }
        }
    }
}

async fn read_message(stream: &mut TcpStream) -> io::Result<[u8; HELLO_BYTES]> {
    let mut bytes = [0; HELLO_BYTES];
    stream.read_exact(&mut bytes).await?;
    Ok(bytes)
}

async fn refuse(stream: &mut TcpStream, code: RejectCode, text: &str) -> io::Result<()> {
    let reject = Reject { code, text: text.to_owned() };
    stream.write_all(&reject.encode()).await?;
    stream.shutdown().await
}

fn own_hello(
    running: &Running,
    peer: NodeId,
    greeting: OwnGreeting,
    secret: Option<&SharedSecret>,
) -> Hello {
    Hello {
        versions: Versions { min: VERSION, max: VERSION },
        features: if secret.is_some() { FEATURE_PROOF } else { 0 },
        resource: running.config.name.clone(),
        sender: NodeId(running.config.node_id.0),
        receiver: peer,
        discard_my_data: greeting.discard_my_data,
        nonce: random::number(),
    }
}

fn link_up(
    running: &Running,
    peer: NodeId,
    stream: TcpStream,
    link: Link,
    peer_discards: bool,
) -> Result<Mail, PeerFailure> {
    let socket = socket::release(stream)?;
    Ok(Mail::LinkUp { resource: running.key, peer, socket, agreed: link, peer_discards })
}

fn find_peer(running: &Running, peer: NodeId) -> Option<&PeerConfig> {
    running.config.peers.iter().find(|config| config.node_id.0 == peer.0)
}
