//! A resource in its shard: the core and what the shell keeps beside it.

use std::collections::BTreeMap;
use std::sync::Arc;

use tandem_nbd::Openers;
use tandem_replica::limits::BLOCK_BYTES;
use tandem_replica::wire::{NodeId, VolumeNumber};
use tandem_replica::{
    AttachGeneration, Command, CommandError, CommandId, Event, Export, Instant, Resource, Severity,
};
use tokio::sync::oneshot;

use crate::disk::Disk;
use crate::export::Question;
use crate::mail::{ExportFacts, Mailbox, Opening, OwnGreeting};
use crate::opener::{DiskPaths, SizedFiles};
use crate::survey::Surveyor;
use crate::watch::Watched;

/// The resource.
#[derive(Debug)]
pub(crate) struct Hosted {
    pub(crate) core: Resource,
    pub(crate) watched: Watched,
    paths: Vec<DiskPaths>,
    disks: Vec<(VolumeNumber, Disk)>,
    /// Of the open disks.
    files: Vec<(VolumeNumber, Arc<SizedFiles>)>,
    /// Of those that were asked about.
    surveyors: Vec<(VolumeNumber, Surveyor)>,
    /// The present link to each peer, as a place in the shard's table.
    links: Vec<(NodeId, usize)>,
    commands: BTreeMap<CommandId, Asker>,
    commands_begun: u64,
    pub(crate) openers: Openers<Opening>,
}

/// Who has given the core a command.
#[derive(Debug)]
enum Asker {
    /// An operator.
    Operator { aim: Aim, reply: oneshot::Sender<Result<(), CommandError>> },
    /// The clients, who need another role.
    Clients,
}

/// What of an operator's command is the clients' business.
#[derive(Clone, Copy, Debug)]
enum Aim {
    Role,
    End,
    Other,
}

impl Hosted {
    pub(crate) fn new(core: Resource, paths: Vec<DiskPaths>, auto_promote: bool) -> Self {
        Self {
            core,
            watched: Watched::default(),
            paths,
            disks: Vec::new(),
            files: Vec::new(),
            surveyors: Vec::new(),
            links: Vec::new(),
            commands: BTreeMap::new(),
            commands_begun: 0,
            openers: Openers::new(auto_promote),
        }
    }

    /// Names an operator's command whose end is to be told to `reply`.
    pub(crate) fn begin_command(
        &mut self,
        command: &Command,
        reply: oneshot::Sender<Result<(), CommandError>>,
    ) -> CommandId {
        let aim = if matches!(command, Command::Primary { .. } | Command::Secondary { .. }) {
            Aim::Role
        } else if matches!(command, Command::Down { .. }) {
            self.openers.begin_end();
            Aim::End
        } else {
            Aim::Other
        };
        self.name_command(Asker::Operator { aim, reply })
    }

    /// Names a command for the clients' sake.
    pub(crate) fn begin_role_change(&mut self) -> CommandId {
        self.name_command(Asker::Clients)
    }

    fn name_command(&mut self, asker: Asker) -> CommandId {
        self.commands_begun += 1;
        let id = CommandId(self.commands_begun);
        self.commands.insert(id, asker);
        id
    }

    /// A command has ended; its result is returned where it was for the clients' sake.
    pub(crate) fn end_command(
        &mut self,
        id: CommandId,
        result: Result<(), CommandError>,
    ) -> Option<Result<(), CommandError>> {
        let asker = self.commands.remove(&id).expect("the core ends each command once");
        let Asker::Operator { aim, reply } = asker else { return Some(result) };
        match (aim, &result) {
            (Aim::Role, Ok(())) => self.openers.operator_chose(),
            (Aim::End, Err(_)) => self.openers.cancel_end(),
            (Aim::Role, Err(_)) | (Aim::End, Ok(())) | (Aim::Other, _) => {}
        }
        // Who asked may have gone away meanwhile.
        let _ = reply.send(result);
        None
    }

    /// The new link to a peer; returns the one that it replaces.
    pub(crate) fn replace_link(&mut self, peer: NodeId, link: usize) -> Option<usize> {
        let old = self.remove_link(peer);
        self.links.push((peer, link));
        old
    }

    pub(crate) fn remove_link(&mut self, peer: NodeId) -> Option<usize> {
        let position = self.links.iter().position(|(other, _)| *other == peer)?;
        Some(self.links.swap_remove(position).1)
    }

    pub(crate) fn add_disk(&mut self, volume: VolumeNumber, disk: Disk, files: SizedFiles) {
        assert!(self.disk(volume).is_none(), "a disk is closed before it is opened again");
        self.disks.push((volume, disk));
        self.files.push((volume, Arc::new(files)));
    }

    pub(crate) fn remove_disk(
        &mut self,
        volume: VolumeNumber,
        generation: AttachGeneration,
    ) -> Option<Disk> {
        let is_it = |(other, disk): &(VolumeNumber, Disk)| {
            *other == volume && disk.generation == generation
        };
        let position = self.disks.iter().position(is_it)?;
        self.files.retain(|(other, _)| *other != volume);
        self.surveyors.retain(|(other, _)| *other != volume);
        Some(self.disks.swap_remove(position).1)
    }

    /// The disks that are open, of a resource that ends.
    pub(crate) fn into_disks(self) -> impl Iterator<Item = Disk> {
        self.disks.into_iter().map(|(_, disk)| disk)
    }

    pub(crate) fn link(&self, peer: NodeId) -> Option<usize> {
        self.links.iter().find(|(other, _)| *other == peer).map(|(_, link)| *link)
    }

    pub(crate) fn disk(&self, volume: VolumeNumber) -> Option<Disk> {
        self.disks.iter().find(|(other, _)| *other == volume).map(|(_, disk)| *disk)
    }

    /// The files of an open disk, to be measured.
    pub(crate) fn files(&self, volume: VolumeNumber) -> Arc<SizedFiles> {
        let found = self.files.iter().find(|(other, _)| *other == volume);
        Arc::clone(&found.expect("the core measures what is open").1)
    }

    /// What clients are told of an export beside its size.
    pub(crate) fn facts(&self, volume: VolumeNumber, export: Export) -> ExportFacts {
        let file = self.disk(volume).map(|disk| disk.data);
        let fast_zero = file.is_some_and(|file| file.zeroes_by_command);
        let rotational = file.is_some_and(|file| file.is_rotational);
        ExportFacts { export, fast_zero, rotational }
    }

    /// What clients are told of an export that they only ask about, or why it cannot be used. One
    /// that would be promoted for them is told of as if it were.
    pub(crate) fn export(
        &self,
        volume: VolumeNumber,
        now: Instant,
    ) -> Result<ExportFacts, CommandError> {
        let served = self.core.export(volume);
        let export = if served.is_err() && self.openers.promotes() {
            let volumes = self.core.status(now).volumes;
            let known = volumes.iter().find(|it| it.number == volume && it.size_bytes > 0);
            let export = |size_bytes| Export { size_bytes, block_size: BLOCK_BYTES };
            known.map(|it| export(it.size_bytes)).map_or(served, Ok)
        } else {
            served
        };
        export.map(|export| self.facts(volume, export))
    }

    /// Has the file system asked about a range; `false` where that would say nothing of what a
    /// client reads there.
    pub(crate) fn survey(
        &mut self,
        mailbox: &Mailbox,
        volume: VolumeNumber,
        question: &Question,
    ) -> bool {
        let file = self.files.iter().find(|(other, _)| *other == volume).map(|(_, files)| files);
        let Some(files) = file.filter(|_| self.core.is_served_here(volume, question.range)) else {
            return false;
        };
        if !self.surveyors.iter().any(|(other, _)| *other == volume) {
            let started = Surveyor::start(mailbox.clone(), files);
            self.surveyors.extend(started.map(|surveyor| (volume, surveyor)));
        }
        let surveyor = self.surveyors.iter().find(|(other, _)| *other == volume);
        surveyor.is_some_and(|(_, surveyor)| surveyor.ask(*question))
    }

    /// What this node says of itself to a peer.
    pub(crate) fn greeting(&self, peer: NodeId) -> OwnGreeting {
        OwnGreeting { discard_my_data: self.core.discards_my_data(peer) }
    }

    /// Where the disks lie that are attached from here on.
    pub(crate) fn set_paths(&mut self, paths: Vec<DiskPaths>) {
        self.paths = paths;
    }

    pub(crate) fn paths(&self, volume: VolumeNumber) -> Option<&DiskPaths> {
        self.paths.iter().find(|paths| paths.volume == volume)
    }

    pub(crate) fn name(&self) -> &str {
        &self.core.config().name
    }

    /// Writes an event of the core to the log, as one line.
    pub(crate) fn log(&self, event: &Event) {
        let resource = self.name();
        let volume = event.volume.map(|volume| volume.0);
        let peer = event.peer.map(|peer| self.peer_name(peer));
        let text = &event.text;
        match event.severity {
            Severity::Info => tracing::info!(resource, volume, peer, "{text}"),
            Severity::Warning => tracing::warn!(resource, volume, peer, "{text}"),
            Severity::Error => tracing::error!(resource, volume, peer, "{text}"),
        }
    }

    pub(crate) fn peer_name(&self, peer: NodeId) -> &str {
        let peers = &self.core.config().peers;
        peers.iter().find(|other| other.node_id == peer).map_or("?", |peer| &peer.name)
    }
}
