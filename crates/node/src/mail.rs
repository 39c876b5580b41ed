//! What the control thread says to a shard, and the other way round. Never payload.
//!
//! Questions carry the channel for their answer; a shard answers within its turn, but for commands,
//! which end when the core says so. A resource is named by its place in its shard's table, which is
//! not used twice, so that late mail reaches nobody.

use std::os::fd::OwnedFd;
use std::sync::{Arc, mpsc};

use bytes::Bytes;
use tandem_control::config::ResourceConfig;
use tandem_nbd::{ExportInfo, Extent, Terms};
use tandem_replica::wire::{Link, NodeId, VolumeNumber};
use tandem_replica::{
    AttachGeneration, CallId, ClientId, Command, CommandError, Config, Cookie, Export, OpenedDisk,
    PeerConfig, ResourceStatus, VolumeConfig,
};
use tandem_ring::Waker;
use tokio::sync::{OwnedSemaphorePermit, oneshot};

use crate::control::handlers::Occasion;
use crate::opener::{DiskPaths, OpenedFiles};
use crate::watch::Watcher;

/// A resource's place in its shard's table; never used twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct ResourceKey(pub(crate) usize);

/// A letter to a shard.
#[derive(Debug)]
pub(crate) enum Mail {
    /// A new resource, with nothing attached and nothing connected.
    Add {
        config: Config,
        disks: Vec<DiskPaths>,
        /// Whether clients promote it.
        auto_promote: bool,
        reply: oneshot::Sender<ResourceKey>,
    },
    /// Forget a resource that is down.
    Remove { resource: ResourceKey, reply: oneshot::Sender<()> },
    /// An operator's command.
    Command {
        resource: ResourceKey,
        command: Command,
        reply: oneshot::Sender<Result<(), CommandError>>,
    },
    /// New times, limits or protocol of a connection.
    Update { resource: ResourceKey, peer: PeerConfig, reply: oneshot::Sender<()> },
    /// Where the disks of volumes lie that are attached from here on.
    Disks { resource: ResourceKey, disks: Vec<DiskPaths> },
    /// New options of a volume.
    UpdateVolume { resource: ResourceKey, volume: VolumeConfig },
    /// Whether clients promote the resource from now on.
    AutoPromote { resource: ResourceKey, auto_promote: bool },
    /// Whether a volume of another resource is to be synced first.
    ResyncBlocked { resource: ResourceKey, volume: VolumeNumber, blocked: bool },
    /// Somebody watches the resource, or is to know its new configuration; answered when told.
    Watch {
        resource: ResourceKey,
        watcher: Watcher,
        config: Arc<ResourceConfig>,
        reply: Option<oneshot::Sender<()>>,
    },
    /// The state of a resource.
    Status { resource: ResourceKey, reply: oneshot::Sender<ResourceStatus> },
    /// What an export is like, or why it cannot be used.
    Export {
        resource: ResourceKey,
        volume: VolumeNumber,
        reply: oneshot::Sender<Result<ExportFacts, CommandError>>,
    },
    /// A client wants to use a volume.
    OpenClient { resource: ResourceKey, opening: Opening },
    /// The client's handshake is over: serve it.
    Serve { client: ClientId, admitted: Box<Admitted> },
    /// A volume has this size: clients who were told less may use all of it.
    GrowClients { resource: ResourceKey, growth: Growth },
    /// What the file system says of a range that a client asked about.
    Surveyed { client: ClientId, answer: (Cookie, Vec<Extent>) },
    /// The client went away before it was served.
    CloseClient { client: ClientId },
    /// Whether a link that the peer dialled may come up, and if so what our greeting says.
    Accepts {
        resource: ResourceKey,
        peer: NodeId,
        peer_discards: bool,
        reply: oneshot::Sender<Result<OwnGreeting, String>>,
    },
    /// What our greeting says when we dial.
    Greeting { resource: ResourceKey, peer: NodeId, reply: oneshot::Sender<OwnGreeting> },
    /// A link is greeted and agreed.
    LinkUp {
        resource: ResourceKey,
        peer: NodeId,
        socket: OwnedFd,
        agreed: Link,
        peer_discards: bool,
    },
    /// The attempt to reach a peer came to nothing.
    ConnectFailed { resource: ResourceKey, peer: NodeId },
    /// The helper thread has opened a disk, or could not.
    DiskOpened {
        resource: ResourceKey,
        volume: VolumeNumber,
        generation: AttachGeneration,
        result: Result<OpenedFiles, String>,
    },
    /// The helper thread has looked how large a disk is.
    DiskMeasured {
        resource: ResourceKey,
        volume: VolumeNumber,
        generation: AttachGeneration,
        result: Result<OpenedDisk, String>,
    },
    /// A handler that the core waits for has ended.
    Called { resource: ResourceKey, call: CallId, exit_code: Option<i32> },
    /// Leave the loop.
    Stop,
}

/// A client that wants to use a volume.
#[derive(Debug)]
pub(crate) struct Opening {
    pub(crate) volume: VolumeNumber,
    /// The export is not read-only.
    pub(crate) writes: bool,
    pub(crate) reply: oneshot::Sender<Result<(ClientId, ExportFacts), CommandError>>,
}

/// The size that a volume has grown to.
#[derive(Debug)]
pub(crate) struct Growth {
    pub(crate) volume: VolumeNumber,
    pub(crate) size_bytes: u64,
    pub(crate) reply: oneshot::Sender<()>,
}

/// What becomes of a client's requests that the core does not have when the client is gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum OnceGone {
    /// Those that arrived in full go on: nobody else asks for them.
    Finish,
    /// They are dropped. The client, the kernel, gives a connection up that does not answer in
    /// time, and asks again on another one. Carried out behind that, a write would undo what was
    /// written to its blocks since.
    Forget,
}

/// A client whose handshake is over.
#[derive(Debug)]
pub(crate) struct Admitted {
    pub(crate) socket: OwnedFd,
    /// What it has sent behind its handshake.
    pub(crate) rest: Bytes,
    pub(crate) export: ExportInfo,
    pub(crate) terms: Terms,
    pub(crate) once_gone: OnceGone,
    pub(crate) permits: Permits,
}

/// A client's share in the limits of connections: those of the daemon and of its export.
pub(crate) type Permits = Vec<OwnedSemaphorePermit>;

/// What clients are told of an export.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ExportFacts {
    pub(crate) export: Export,
    /// Its disk zeroes by command.
    pub(crate) fast_zero: bool,
    pub(crate) rotational: bool,
}

/// What this node says of itself when it greets a peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct OwnGreeting {
    /// `connect --discard-my-data` was said here.
    pub(crate) discard_my_data: bool,
}

/// What a shard asks of the control thread.
#[derive(Debug)]
pub(crate) enum Errand {
    /// Try once to reach a peer; answered by [`Mail::LinkUp`] or [`Mail::ConnectFailed`].
    Connect { shard: usize, resource: ResourceKey, peer: NodeId },
    /// A volume is in a resync, or not any more: others may wait for it (`resync-after`).
    Resyncing { shard: usize, resource: ResourceKey, volume: VolumeNumber, resyncing: bool },
    /// Something has happened that operators may have a program for.
    Handle { shard: usize, resource: ResourceKey, occasion: Occasion },
}

/// Where to post mail for a shard.
#[derive(Clone, Debug)]
pub(crate) struct Mailbox {
    sender: mpsc::Sender<Mail>,
    waker: Waker,
}

/// The shard has ended.
#[derive(Debug, thiserror::Error)]
#[error("the data thread has ended")]
pub(crate) struct ShardGone;

impl Mailbox {
    pub(crate) fn new(sender: mpsc::Sender<Mail>, waker: Waker) -> Self {
        Self { sender, waker }
    }

    /// Posts a letter; a shard that has ended loses it.
    pub(crate) fn post(&self, mail: Mail) {
        if self.sender.send(mail).is_ok() {
            self.waker.wake();
        }
    }

    /// Posts the question that `mail` makes of the channel for its answer, and waits for that.
    pub(crate) async fn ask<T>(
        &self,
        mail: impl FnOnce(oneshot::Sender<T>) -> Mail,
    ) -> Result<T, ShardGone> {
        let (reply, answer) = oneshot::channel();
        self.post(mail(reply));
        answer.await.map_err(|_| ShardGone)
    }
}
