//! Growing a volume while it is in use.
//!
//! Prepare: this node and every connected peer look how large their disks are, make their metadata
//! ready for that, durably, and say so. Commit: the new size, with bits for what it adds, becomes
//! durable on this node; then the session begins anew, and its handshake gives the peer the larger
//! size (`handshake/size`). Clients see it once it is durable on both, and this node has noted
//! that.
//!
//! A crash before the commit leaves metadata that are ready for more, and nothing else. After it
//! this node has the larger size and `former_bytes`, the one that clients go on to see until a
//! handshake has given the peer the new one, whoever crashed and however often. A volume never
//! gets smaller: of two sizes the larger one counts, and a disk without room for it is refused.
//!
//! Whoever has the larger size has the bits of what it adds, so the growth is copied from there:
//! a Secondary with a Primary as its peer must leave the command to it.

use tandem_wire::{DiskState, Packet, ReplicationState, RequestId, Role, Vote};

use crate::action::{CommandId, Severity};
use crate::error::CommandError;
use crate::limits::{BLOCK_BYTES, HANDSHAKE_TIMEOUTS};
use crate::peers::{PeerIndex, VolumeIndex};
use crate::resource::Resource;
use crate::store::Ticket;
use crate::time::Instant;

mod measure;

pub(crate) use measure::{Held, Sizing};

/// What an operator asked for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Growth {
    /// Bytes; `None` for as many as all disks have room for.
    pub(crate) size: Option<u64>,
    /// What it adds is the same on all disks.
    pub(crate) assume_clean: bool,
    /// Peers that are not connected have room.
    pub(crate) assume_peer_has_space: bool,
}

/// A resize under way.
#[derive(Debug)]
pub(crate) struct Resize {
    command: CommandId,
    volume: VolumeIndex,
    growth: Growth,
    stage: Stage,
}

#[derive(Debug)]
enum Stage {
    /// This node's disk is being looked at.
    Measuring,
    /// So are the peers'.
    Asking(Asking),
    /// The new size is being made durable here; alone: no peer has to have it before it is seen.
    Saving { ticket: Ticket, bytes: u64, alone: bool },
    /// The handshakes give it to the peers.
    Meeting { bytes: u64, until: Instant },
}

/// Peers are asked how large their disks are.
#[derive(Debug)]
struct Asking {
    open: Vec<(PeerIndex, RequestId)>,
    answered: Vec<(PeerIndex, u64)>,
    until: Instant,
}

impl Resource {
    pub(crate) fn begin_resize(
        &mut self,
        command: CommandId,
        volume: VolumeIndex,
        growth: Growth,
    ) -> Result<(), CommandError> {
        if self.resizes.iter().any(|open| open.volume == volume) {
            return Err(CommandError::Concurrent);
        }
        self.may_resize(volume, growth)?;
        self.measure_disk(volume);
        self.resizes.push(Resize { command, volume, growth, stage: Stage::Measuring });
        self.unsettled = true;
        Ok(())
    }

    /// Whether the volume can be given another size now, here and with its peers.
    fn may_resize(&self, volume: VolumeIndex, growth: Growth) -> Result<(), CommandError> {
        let refuse = |text: String| Err(CommandError::Refused(text));
        let (state, number) = (&self.volumes[volume], self.volumes[volume].number);
        let Some(attached) = state.attached().filter(|it| it.attaching.is_none()) else {
            return refuse(format!("volume {number} has no disk here: attach it first"));
        };
        if attached.state != DiskState::UpToDate {
            let advice = "what a volume grows by is copied from this node".to_owned();
            return Err(CommandError::NeedUpToDate {
                volume: number,
                disk: attached.state,
                advice,
            });
        }
        if attached.store.superblock().effective_bytes == 0 {
            return refuse(format!("volume {number} has no size yet that could grow"));
        }
        let busy = self.role_change.is_some() || self.volumes[volume].is_rotating();
        if busy || self.connections.iter().any(|it| it.in_handshake()) {
            return Err(CommandError::Concurrent);
        }
        for peer in self.peer_indexes().filter(|peer| self.connections[*peer].is_running()) {
            let (connection, name) = (&self.connections[peer], &self.connections[peer].config.name);
            if connection.peer_role == Role::Primary && self.role != Role::Primary {
                return refuse(format!("{name} is Primary: run resize there"));
            }
            let replication = connection.devices[volume].replication_state();
            if replication != ReplicationState::Established {
                let text = format!("volume {number} is {replication} with {name}");
                return refuse(format!("{text}; a volume grows when it is in sync"));
            }
        }
        let absent = self.peer_indexes().find(|peer| !self.replicates(*peer, volume));
        match absent {
            Some(peer) if !growth.assume_peer_has_space => {
                let name = &self.connections[peer].config.name;
                refuse(format!(
                    "{name} is not connected with a disk, and may have no room; connect it, or \
                     use --assume-peer-has-space"
                ))
            }
            Some(_) | None => Ok(()),
        }
    }

    /// Takes every resize on.
    pub(crate) fn advance_resizes(&mut self) {
        for mut open in std::mem::take(&mut self.resizes) {
            match self.advance_resize(&mut open) {
                Ok(false) => self.resizes.push(open),
                Ok(true) => self.done(open.command, Ok(())),
                Err(error) => self.done(open.command, Err(error)),
            }
        }
    }

    /// One step, or more; whether that was the last.
    fn advance_resize(&mut self, open: &mut Resize) -> Result<bool, CommandError> {
        let volume = open.volume;
        if !self.volumes[volume].is_attached() {
            return Err(CommandError::Io { volume: self.volumes[volume].number });
        }
        match &open.stage {
            Stage::Measuring if self.is_sizing(volume) => Ok(false),
            Stage::Measuring => {
                self.may_resize(volume, open.growth)?;
                open.stage = self.ask_for_room(volume);
                self.advance_resize(open)
            }
            Stage::Asking(asking) if asking.open.is_empty() => {
                self.may_resize(volume, open.growth)?;
                let bytes = self.size_for_all(volume, open.growth, &asking.answered)?;
                let alone = asking.answered.is_empty();
                let grows = self.grow_here(volume, bytes, open.growth.assume_clean, alone);
                let Some(ticket) = grows else { return Ok(true) };
                open.stage = Stage::Saving { ticket, bytes, alone };
                self.advance_resize(open)
            }
            Stage::Asking(asking) if asking.until <= self.now => {
                let silent = asking.open[0].0;
                let peer = self.connections[silent].config.name.clone();
                Err(CommandError::Timeout { peer })
            }
            Stage::Saving { ticket, .. } if !self.is_durable(volume, *ticket) => Ok(false),
            Stage::Saving { bytes, alone, .. } => {
                let (bytes, alone) = (*bytes, *alone);
                if alone {
                    self.volumes[volume].size_bytes = bytes;
                    self.volumes[volume].held = None;
                }
                let timeout = self.vote_timeout() * (HANDSHAKE_TIMEOUTS + 1);
                open.stage = Stage::Meeting { bytes, until: self.now + timeout };
                // Those without a disk for the volume, too, hear of the size.
                for peer in self.peer_indexes() {
                    self.renegotiate(peer, "the volume grows");
                }
                Ok(alone)
            }
            Stage::Meeting { bytes, .. } if self.volumes[volume].export_bytes() >= *bytes => {
                Ok(true)
            }
            Stage::Meeting { bytes, until } if *until <= self.now => {
                Err(CommandError::Refused(format!(
                    "the new size of {bytes} bytes is stored here; the volume gets it when its \
                     peer connects again"
                )))
            }
            Stage::Asking(_) | Stage::Meeting { .. } => Ok(false),
        }
    }

    fn ask_for_room(&mut self, volume: VolumeIndex) -> Stage {
        let number = self.volumes[volume].number;
        let mut open = Vec::new();
        let asked: Vec<_> =
            self.peer_indexes().filter(|peer| self.replicates(*peer, volume)).collect();
        for peer in asked {
            self.next_request += 1;
            let id = RequestId(self.next_request);
            self.send(peer, Packet::Resize { id, volume: number });
            open.push((peer, id));
        }
        let until = self.now + self.vote_timeout();
        Stage::Asking(Asking { open, answered: Vec::new(), until })
    }

    /// A peer's answer. One to what was given up meanwhile is no error.
    pub(crate) fn resize_reply(
        &mut self,
        peer: PeerIndex,
        id: RequestId,
        capacity: u64,
        vote: Vote,
    ) {
        let is_open = |open: &Resize| match &open.stage {
            Stage::Asking(asking) => asking.open.contains(&(peer, id)),
            Stage::Measuring | Stage::Saving { .. } | Stage::Meeting { .. } => false,
        };
        let Some(index) = self.resizes.iter().position(is_open) else { return };
        if vote != Vote::Yes {
            let open = self.resizes.remove(index);
            return self.done(open.command, Err(CommandError::Concurrent));
        }
        if let Stage::Asking(asking) = &mut self.resizes[index].stage {
            asking.open.retain(|asked| *asked != (peer, id));
            asking.answered.push((peer, capacity));
        }
        self.unsettled = true;
    }

    /// The size that was asked for, or the largest that all disks have room for.
    fn size_for_all(
        &self,
        volume: VolumeIndex,
        growth: Growth,
        peers: &[(PeerIndex, u64)],
    ) -> Result<u64, CommandError> {
        let own = (self.capacity(volume), "this node");
        let others = peers
            .iter()
            .map(|(peer, capacity)| (*capacity, self.connections[*peer].config.name.as_str()));
        let (room, least) = others.chain([own]).min().expect("this node is one of them");
        let attached = self.volumes[volume].attached().expect("seen before");
        let current = attached.store.superblock().effective_bytes;
        let block = u64::from(BLOCK_BYTES);
        let number = self.volumes[volume].number;
        let size = growth.size.unwrap_or(room);
        let problem = match self.size_problem(volume) {
            Some(problem) => format!(" ({problem})"),
            None => String::new(),
        };
        let refuse = |text: String| Err(CommandError::Refused(text));
        if size < current {
            return refuse(format!(
                "volume {number} has {current} bytes, and does not get smaller"
            ));
        }
        if !size.is_multiple_of(block) {
            return refuse(format!("the size of volume {number} is a multiple of {block} bytes"));
        }
        if size > room {
            return refuse(format!(
                "the disk of {least} has room for {room} bytes of volume {number} only{problem}; \
                 enlarge it first"
            ));
        }
        if size == current && growth.size.is_none() && attached.store.superblock().former_bytes == 0
        {
            return refuse(format!(
                "the disk of {least} has room for the {current} bytes of volume {number} and no \
                 more{problem}; enlarge the disks of all nodes first"
            ));
        }
        Ok(size)
    }

    /// The volume has so many bytes from here on, once that is durable; `None` where it has them.
    /// With peers, clients see it when those have it too.
    fn grow_here(
        &mut self,
        volume: VolumeIndex,
        bytes: u64,
        assume_clean: bool,
        alone: bool,
    ) -> Option<Ticket> {
        let shown = self.volumes[volume].export_bytes();
        let attached = self.volumes[volume].attached_mut().expect("seen before");
        let superblock = attached.store.superblock_mut();
        let current = superblock.effective_bytes;
        if shown == bytes && current == bytes {
            return None;
        }
        superblock.effective_bytes = bytes;
        superblock.former_bytes = if alone { 0 } else { shown };
        for bitmap in attached.bitmaps.iter_mut() {
            bitmap.resize(bytes);
            if assume_clean {
                bitmap.clear(current, bytes - current);
            }
        }
        let text = format!("the volume grows from {shown} to {bytes} bytes");
        self.note(Some(volume), None, Severity::Info, text);
        if !alone {
            self.volumes[volume].held = Some(Held { bytes: shown, until: None });
        }
        Some(self.commit(volume, true))
    }

    /// Nobody answers any more.
    pub(crate) fn resizes_link_lost(&mut self, peer: PeerIndex) {
        let asked = |open: &Resize| match &open.stage {
            Stage::Asking(asking) => asking.open.iter().any(|(asked, _)| *asked == peer),
            Stage::Measuring | Stage::Saving { .. } | Stage::Meeting { .. } => false,
        };
        let (lost, kept) = std::mem::take(&mut self.resizes).into_iter().partition(asked);
        self.resizes = kept;
        for Resize { command, .. } in lost {
            let text = "the connection was lost before the peer had answered; try again";
            self.done(command, Err(CommandError::Refused(text.to_owned())));
        }
    }

    /// Whether a peer that becomes Primary now would do so in the middle of it.
    pub(crate) fn is_resizing(&self) -> bool {
        !self.resizes.is_empty()
    }

    /// When the next resize has waited long enough.
    pub(crate) fn resize_deadline(&self) -> Option<Instant> {
        let deadline = |open: &Resize| match &open.stage {
            Stage::Asking(asking) => Some(asking.until),
            Stage::Meeting { until, .. } => Some(*until),
            Stage::Measuring | Stage::Saving { .. } => None,
        };
        self.resizes.iter().filter_map(deadline).min()
    }
}
