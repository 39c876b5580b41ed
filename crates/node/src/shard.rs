//! A data thread: one ring, its buffers, and the resources that it owns.
//!
//! A turn waits once, for anything. Then it reads the clock, hands mail and completions to whom
//! they belong, lets every input be followed by [`drain`], and at its end serves each connection
//! that has something to send or to parse. Nothing here waits anywhere else, takes a lock or
//! decides anything.

use std::sync::{Arc, mpsc};
use std::thread;

use tandem_control::config::ResourceConfig;
use tandem_replica::wire::VolumeNumber;
use tandem_replica::{
    AttachGeneration, ClientId, Command, CommandError, Instant, OpenedDisk, Request, Resource,
};
use tandem_ring::{BackingDisk, Completion, EngineError};
use tokio::sync::mpsc::UnboundedSender;
use tokio::sync::oneshot;

use crate::budget::Budget;
use crate::clock;
use crate::disk::{BackingFile, Disk, Finished, Operations};
use crate::drain::drain;
use crate::export::Client;
use crate::hosted::Hosted;
use crate::io::Io;
use crate::limits;
use crate::link::Link;
use crate::mail::{Errand, Mail, Mailbox, Permits, ResourceKey};
use crate::opener::{DiskPaths, OpenedFiles, SizedFiles};
use crate::slab::Slab;
use crate::token::Token;
use crate::watch::Watcher;
use crate::worklist::Worklist;

mod clients;
mod extents;
mod links;
mod opening;

pub(crate) use extents::EXTENTS_MAX;

/// One data thread's state.
#[derive(Debug)]
pub(crate) struct Shard {
    /// Its place among the shards.
    pub(crate) number: usize,
    pub(crate) io: Io,
    /// Places are not used twice: see [`ResourceKey`].
    pub(crate) resources: Vec<Option<Box<Hosted>>>,
    pub(crate) operations: Operations,
    /// Disks of resources that are gone, which have operations in flight that nobody waits for.
    left_open: Vec<(usize, Disk)>,
    pub(crate) links: Slab<Link>,
    clients: Slab<ClientEntry>,
    /// Counts links and clients, so that no two have the same name.
    serial: u64,
    budget: Budget,
    pub(crate) links_to_serve: Worklist,
    clients_to_serve: Worklist,
    stalled_links: Worklist,
    stalled_clients: Worklist,
    /// Shut down, or to be shut down at the time given at the latest.
    parting_links: Vec<(usize, Instant)>,
    parting_clients: Vec<usize>,
    /// When to look for clients that keep buffers others wait for, or do not go on.
    stall_check: Option<Instant>,
    /// Kept for its memory.
    requests: Vec<Request>,
    inbox: mpsc::Receiver<Mail>,
    pub(crate) mailbox: Mailbox,
    pub(crate) errands: UnboundedSender<Errand>,
    is_stopping: bool,
}

/// A client's place in the table.
#[derive(Debug)]
struct ClientEntry {
    id: ClientId,
    resource: usize,
    volume: VolumeNumber,
    /// `None` until its handshake is over.
    client: Option<Client>,
    /// Its share in limits of connections, given back when it is gone.
    permits: Option<Permits>,
}

/// A shard that runs.
#[derive(Debug)]
pub(crate) struct Running {
    pub(crate) mailbox: Mailbox,
    thread: thread::JoinHandle<()>,
}

impl Running {
    /// Starts a data thread with `pool_bytes` of payload buffers.
    pub(crate) fn start(
        number: usize,
        pool_bytes: usize,
        errands: UnboundedSender<Errand>,
    ) -> Result<Self, StartError> {
        let (started, start) = mpsc::channel();
        let body = move || match Shard::new(number, pool_bytes, errands) {
            Ok(shard) => {
                let _ = started.send(Ok(shard.mailbox.clone()));
                shard.run();
            }
            Err(error) => {
                let _ = started.send(Err(error));
            }
        };
        let thread = thread::Builder::new().name(format!("shard-{number}")).spawn(body)?;
        let mailbox = start.recv().expect("the thread says how its start went")?;
        Ok(Self { mailbox, thread })
    }

    /// Ends the thread, once it is out of its turn.
    pub(crate) fn stop(self) {
        self.mailbox.post(Mail::Stop);
        if self.thread.join().is_err() {
            tracing::error!("a data thread ended in a panic");
        }
    }
}

/// Why a data thread does not start.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StartError {
    #[error("a data thread cannot be started: {0}")]
    Thread(#[from] std::io::Error),
    #[error(transparent)]
    Engine(#[from] EngineError),
}

impl Shard {
    fn new(
        number: usize,
        pool_bytes: usize,
        errands: UnboundedSender<Errand>,
    ) -> Result<Self, EngineError> {
        let io = Io::new(pool_bytes)?;
        let (sender, inbox) = mpsc::channel();
        let mailbox = Mailbox::new(sender, io.waker());
        let pool_bytes = u64::try_from(io.payload_bytes_max()).expect("a usize fits");
        let client_bytes = pool_bytes / limits::CLIENT_POOL_DIVISOR;
        tracing::debug!(number, features = ?io.features(), "shard started");
        Ok(Self {
            number,
            io,
            resources: Vec::new(),
            operations: Operations::new(),
            left_open: Vec::new(),
            links: Slab::new(),
            clients: Slab::new(),
            serial: 0,
            budget: Budget::new(client_bytes),
            links_to_serve: Worklist::default(),
            clients_to_serve: Worklist::default(),
            stalled_links: Worklist::default(),
            stalled_clients: Worklist::default(),
            parting_links: Vec::new(),
            parting_clients: Vec::new(),
            stall_check: None,
            requests: Vec::new(),
            inbox,
            mailbox,
            errands,
            is_stopping: false,
        })
    }

    /// Turns until it is told to stop.
    fn run(mut self) {
        let mut completions = Vec::new();
        while !self.is_stopping {
            let due = self.next_timeout();
            let timeout = due.map(|due| due.since(clock::now()));
            let turn = match self.io.wait(timeout, &mut completions) {
                Ok(turn) => turn,
                // Nothing can be completed or answered without the ring.
                Err(error) => panic!("the ring of shard {} broke: {error}", self.number),
            };
            let now = clock::now();
            if turn.woken {
                while let Ok(mail) = self.inbox.try_recv() {
                    self.handle_mail(mail, now);
                }
            }
            for completion in completions.drain(..) {
                self.handle_completion(completion, now);
            }
            if due.is_some_and(|due| due <= now) {
                self.handle_timeouts(now);
            }
            self.settle(now);
        }
    }

    /// Hands the end of a disk operation to the core. Draining is the caller's.
    pub(crate) fn feed_disk(&mut self, finished: Finished, now: Instant) {
        let Finished { resource, completion, fault } = finished;
        let Some(hosted) = self.resource_mut(resource) else {
            return self.close_left_open(resource);
        };
        if let Some(fault) = fault {
            let (name, volume) = (hosted.name(), completion.volume.0);
            tracing::error!(resource = name, volume, "disk operation failed: {fault}");
        }
        hosted.core.handle_disk(completion, now);
    }

    pub(crate) fn resource_mut(&mut self, resource: usize) -> Option<&mut Hosted> {
        self.resources.get_mut(resource)?.as_deref_mut()
    }

    fn handle_completion(&mut self, completion: Completion, now: Instant) {
        match Token::decode(completion.token) {
            Token::Disk(key) => {
                if let Some(finished) = self.operations.handle(&mut self.io, key, completion) {
                    let resource = finished.resource;
                    self.feed_disk(finished, now);
                    drain(self, resource, now);
                }
            }
            Token::LinkReceive(key) => self.handle_link_received(key, completion, now),
            Token::LinkSend(key) => self.handle_link_sent(key, completion, now),
            Token::ClientReceive(key) => {
                let received = |client: &mut Client| client.handle_received(completion);
                self.handle_client(key, received, now);
            }
            Token::ClientSend(key) => {
                let sent = |client: &mut Client| client.handle_sent(completion);
                self.handle_client(key, sent, now);
            }
        }
    }

    /// Serves every connection that has something to do, until none has.
    fn settle(&mut self, now: Instant) {
        self.stalled_links.move_to(&mut self.links_to_serve);
        self.stalled_clients.move_to(&mut self.clients_to_serve);
        let mut finished = Vec::new();
        self.operations.retry(&mut self.io, &mut finished);
        self.operations.digest(&mut self.io, &mut finished);
        for finished in finished {
            let resource = finished.resource;
            self.feed_disk(finished, now);
            drain(self, resource, now);
        }
        loop {
            if let Some(client) = self.clients_to_serve.pop() {
                self.serve_client(client, now);
            } else if let Some(link) = self.links_to_serve.pop() {
                self.serve_link(link, now);
            } else {
                break;
            }
        }
        self.close_stuck_clients(now);
        self.bury_links(now);
        self.bury_clients();
    }

    fn handle_timeouts(&mut self, now: Instant) {
        for resource in 0..self.resources.len() {
            let Some(hosted) = self.resource_mut(resource) else { continue };
            if hosted.core.poll_timeout().is_some_and(|timeout| timeout <= now) {
                hosted.core.handle_timeout(now);
                drain(self, resource, now);
            }
        }
    }

    fn next_timeout(&self) -> Option<Instant> {
        let cores = self.resources.iter().flatten().filter_map(|it| it.core.poll_timeout());
        let links = self.parting_links.iter().map(|(_, deadline)| *deadline);
        let digests = self.operations.has_digests().then(clock::now);
        cores.chain(links).chain(self.stall_check).chain(digests).min()
    }

    fn handle_mail(&mut self, mail: Mail, now: Instant) {
        // Nobody need be left to hear an answer: who asked may have given up.
        match mail {
            Mail::Add { config, disks, auto_promote, reply } => {
                let hosted = Hosted::new(Resource::new(config, now), disks, auto_promote);
                self.resources.push(Some(Box::new(hosted)));
                let key = self.resources.len() - 1;
                drain(self, key, now);
                let _ = reply.send(ResourceKey(key));
            }
            Mail::Remove { resource, reply } => {
                self.remove(resource.0, now);
                let _ = reply.send(());
            }
            Mail::Command { resource, command, reply } => {
                self.begin_command(resource, command, reply, now);
            }
            Mail::Update { resource, peer, reply } => {
                self.tell(resource, now, |core| core.update_peer(peer, now));
                let _ = reply.send(());
            }
            Mail::Disks { resource, disks } => self.set_disks(resource, disks),
            Mail::UpdateVolume { resource, volume: it } => {
                self.tell(resource, now, |core| core.update_volume(it, now));
            }
            Mail::AutoPromote { resource, auto_promote } => {
                self.set_auto_promote(resource, auto_promote);
            }
            Mail::ResyncBlocked { resource, volume, blocked } => {
                self.tell(resource, now, |core| core.set_resync_blocked(volume, blocked, now));
            }
            Mail::Watch { resource, watcher, config, reply } => {
                self.watch(resource, watcher, config, reply, now);
            }
            Mail::Status { resource, reply } => {
                self.answer(resource, reply, |hosted| hosted.core.status(now));
            }
            Mail::Export { resource, volume, reply } => {
                self.answer(resource, reply, |hosted| hosted.export(volume, now));
            }
            Mail::OpenClient { resource, opening } => self.open_client(resource.0, opening, now),
            Mail::Serve { client, admitted } => self.serve(client, *admitted, now),
            Mail::GrowClients { resource, growth } => self.grow_clients(resource.0, growth),
            Mail::Surveyed { client, answer } => self.tell_extents(client, answer),
            Mail::CloseClient { client } => self.close_client_unanswered(client, now),
            Mail::Accepts { resource, peer, peer_discards, reply } => {
                let Some(hosted) = self.resource_mut(resource.0) else { return };
                let accepted = hosted.core.accepts(peer, peer_discards);
                let _ = reply.send(accepted.map(|()| hosted.greeting(peer)));
            }
            Mail::Greeting { resource, peer, reply } => {
                self.answer(resource, reply, |hosted| hosted.greeting(peer));
            }
            Mail::LinkUp { resource, peer, socket, agreed, peer_discards } => {
                self.link_up(resource.0, peer, socket, agreed, peer_discards, now);
            }
            Mail::ConnectFailed { resource, peer } => self.connect_failed(resource.0, peer, now),
            Mail::DiskOpened { resource: ResourceKey(resource), volume, generation, result } => {
                self.disk_opened(resource, volume, generation, result, now);
            }
            Mail::DiskMeasured { resource, volume, generation, result } => {
                self.disk_measured(resource, volume, generation, result, now);
            }
            Mail::Called { resource, call, exit_code } => {
                self.tell(resource, now, |core| core.handle_called(call, exit_code, now));
            }
            Mail::Stop => self.is_stopping = true,
        }
    }

    /// Gives the core an operator's command.
    fn begin_command(
        &mut self,
        resource: ResourceKey,
        command: Command,
        reply: oneshot::Sender<Result<(), CommandError>>,
        now: Instant,
    ) {
        let Some(hosted) = self.resource_mut(resource.0) else { return };
        let id = hosted.begin_command(&command, reply);
        self.tell(resource, now, |core| core.handle_command(id, command, now));
    }

    /// Answers what is asked of a resource, if it is still there.
    fn answer<T>(
        &mut self,
        resource: ResourceKey,
        reply: oneshot::Sender<T>,
        of: impl FnOnce(&Hosted) -> T,
    ) {
        let Some(hosted) = self.resource_mut(resource.0) else { return };
        let _ = reply.send(of(hosted));
    }

    /// Where disks lie that are attached from here on.
    fn set_disks(&mut self, resource: ResourceKey, disks: Vec<DiskPaths>) {
        if let Some(hosted) = self.resource_mut(resource.0) {
            hosted.set_paths(disks);
        }
    }

    /// Somebody watches a resource.
    fn watch(
        &mut self,
        resource: ResourceKey,
        watcher: Watcher,
        config: Arc<ResourceConfig>,
        reply: Option<oneshot::Sender<()>>,
        now: Instant,
    ) {
        let Some(hosted) = self.resource_mut(resource.0) else { return };
        hosted.watched.add(watcher, config, &hosted.core, now);
        let _ = reply.map(|reply| reply.send(()));
    }

    /// Gives the core of a resource an input, if the resource is still there.
    fn tell(&mut self, resource: ResourceKey, now: Instant, input: impl FnOnce(&mut Resource)) {
        let ResourceKey(resource) = resource;
        let Some(hosted) = self.resource_mut(resource) else { return };
        input(&mut hosted.core);
        drain(self, resource, now);
    }

    /// The helper thread has looked how large a disk is.
    fn disk_measured(
        &mut self,
        resource: ResourceKey,
        volume: VolumeNumber,
        generation: AttachGeneration,
        result: Result<OpenedDisk, String>,
        now: Instant,
    ) {
        self.tell(resource, now, |it| it.handle_disk_measured(volume, generation, result, now));
    }

    /// The helper thread has opened a disk, or could not.
    fn disk_opened(
        &mut self,
        resource: usize,
        volume: VolumeNumber,
        generation: AttachGeneration,
        result: Result<OpenedFiles, String>,
        now: Instant,
    ) {
        let opened =
            result.and_then(|files| self.register_disk(resource, volume, generation, files));
        let Some(hosted) = self.resource_mut(resource) else { return };
        hosted.core.handle_disk_opened(volume, generation, opened, now);
        drain(self, resource, now);
    }

    /// Gives opened files to the ring. Those of a resource that is gone are closed.
    fn register_disk(
        &mut self,
        resource: usize,
        volume: VolumeNumber,
        generation: AttachGeneration,
        files: OpenedFiles,
    ) -> Result<OpenedDisk, String> {
        let hosted = self.resources.get_mut(resource).and_then(Option::as_deref_mut);
        let hosted = hosted.ok_or("the resource is gone")?;
        let sized = SizedFiles::of(&files)?;
        let OpenedFiles { data, meta } = files;
        let (size_bytes, block_size) = (data.size_bytes, data.block_size);
        let data = register(&mut self.io, data)?;
        let mut opened = OpenedDisk { data_bytes: size_bytes, meta_bytes: size_bytes, block_size };
        let mut disk = Disk { generation, data, meta: data };
        if let Some(meta) = meta {
            opened.meta_bytes = meta.size_bytes;
            opened.block_size = opened.block_size.max(meta.block_size);
            let registered = register(&mut self.io, meta);
            if registered.is_err() {
                self.io.unregister_file(data.id);
            }
            disk.meta = registered?;
        }
        hosted.add_disk(volume, disk, sized);
        Ok(opened)
    }

    /// Forgets a resource. It was brought down, so that nothing of it is left but idle connections,
    /// and disks that hang.
    fn remove(&mut self, resource: usize, now: Instant) {
        for link in 0..self.links.key_end() {
            if self.links.get(link).is_some_and(|link| link.resource == resource) {
                self.part_with_link(link, now);
            }
        }
        for client in 0..self.clients.key_end() {
            if let Some(entry) = self.clients.get(client).filter(|it| it.resource == resource) {
                let id = entry.id;
                self.close_client_unanswered(id, now);
            }
        }
        if let Some(hosted) = self.resources.get_mut(resource).and_then(Option::take) {
            // A disk that hangs was given up; its lock is held until it has ended what it was told.
            self.left_open.extend(hosted.into_disks().map(|disk| (resource, disk)));
            self.close_left_open(resource);
        }
    }

    /// Closes what a resource that is gone has left open, once nothing is in flight there.
    fn close_left_open(&mut self, resource: usize) {
        let is_its = |(owner, _): &(usize, Disk)| *owner == resource;
        if !self.left_open.iter().any(is_its) || self.operations.has_any_of(resource) {
            return;
        }
        for (_, disk) in self.left_open.extract_if(.., |it| is_its(it)) {
            disk.unregister(&mut self.io);
        }
    }
}

/// Gives a file to the ring.
fn register(io: &mut Io, disk: BackingDisk) -> Result<BackingFile, String> {
    let BackingDisk { file, access, honours_dsync, zeroes_by_command, is_rotational, .. } = disk;
    let id = io.register_file(file, access);
    let id = id.map_err(|_| "too many disks and connections are open".to_owned())?;
    Ok(BackingFile { id, honours_dsync, zeroes_by_command, is_rotational })
}
