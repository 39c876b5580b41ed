//! How large a volume can be on this node's disk: looking at the disk, and making its metadata
//! ready for what it has grown by.
//!
//! The shell is asked for the sizes of the devices. Where they are larger the metadata are moved
//! (`store/moving`), which changes nothing for anybody else: the volume could be larger, and is not
//! yet. So it may happen whenever this node looks: at attach, for a resize, and when a peer has
//! grown without it.

use tandem_wire::{Packet, RequestId, Role, VolumeNumber, Vote};

use crate::action::{Action, OpenedDisk, Severity};
use crate::error::PeerError;
use crate::peers::{PeerIndex, VolumeIndex};
use crate::resource::Resource;
use crate::store::Ticket;

/// What is under way about the size of an attached disk.
#[derive(Debug, Default)]
pub(crate) struct Sizing {
    measuring: bool,
    /// Why it cannot be larger although the device is.
    problem: Option<String>,
    /// Peers that want to know.
    asked_by: Vec<(PeerIndex, RequestId)>,
}

/// Clients do not see the size that both nodes have agreed on yet.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Held {
    /// What they see.
    pub(crate) bytes: u64,
    /// Until this is durable; `None` while a peer may not have the larger size.
    pub(crate) until: Option<Ticket>,
}

impl Resource {
    /// Looks how large the disk is, and makes its metadata ready for that.
    pub(crate) fn measure_disk(&mut self, volume: VolumeIndex) {
        let state = &mut self.volumes[volume];
        let (number, generation) = (state.number, state.generation);
        let Some(attached) = state.attached_mut() else { return };
        if !std::mem::replace(&mut attached.sizing.measuring, true) {
            self.push(Action::MeasureDisk { volume: number, generation });
        }
    }

    /// The devices' sizes as they are now, or why they cannot be told.
    pub(crate) fn disk_measured(
        &mut self,
        volume: VolumeIndex,
        result: Result<OpenedDisk, String>,
    ) {
        let Some(attached) = self.volumes[volume].attached_mut() else { return };
        attached.sizing.measuring = false;
        self.unsettled = true;
        match result {
            Ok(opened) => {
                attached.opened = opened;
                self.use_room(volume);
            }
            Err(reason) => attached.sizing.problem = Some(reason),
        }
    }

    /// Moves the metadata of an attached disk where it has grown.
    pub(crate) fn use_room(&mut self, volume: VolumeIndex) {
        let Some(attached) = self.volumes[volume].attached() else { return };
        if attached.store.is_moving() {
            return; // what it has grown by meanwhile counts at the next look
        }
        let placement = self.placement(volume, attached.opened);
        let layout = attached.store.layout().grown(attached.opened.data_bytes, placement);
        let placed = layout.map_err(|error| error.to_string()).and_then(|layout| {
            let Some(layout) = layout else { return Ok(None) };
            let mut superblock = attached.store.superblock().clone();
            superblock.place(&layout).map_err(|error| error.to_string())?;
            Ok(Some(layout))
        });
        let attached = self.volumes[volume].attached_mut().expect("seen above");
        attached.sizing.problem = None;
        match placed {
            Ok(None) => {}
            Ok(Some(layout)) => {
                let text = format!("the disk has room for {} bytes now", layout.data_bytes());
                self.note(Some(volume), None, Severity::Info, text);
                self.plan_move(volume, layout);
            }
            Err(problem) => {
                attached.sizing.problem = Some(problem.clone());
                self.note(Some(volume), None, Severity::Warning, problem);
            }
        }
    }

    /// Whether the disk is being looked at, or made ready.
    pub(super) fn is_sizing(&self, volume: VolumeIndex) -> bool {
        self.volumes[volume]
            .attached()
            .is_some_and(|attached| attached.sizing.measuring || attached.store.is_moving())
    }

    /// Bytes that the disk is ready for; 0 without one.
    pub(crate) fn capacity(&self, volume: VolumeIndex) -> u64 {
        self.volumes[volume].attached().map_or(0, |it| it.store.layout().data_bytes())
    }

    pub(super) fn size_problem(&self, volume: VolumeIndex) -> Option<&str> {
        self.volumes[volume].attached()?.sizing.problem.as_deref()
    }

    /// A peer wants a volume to grow.
    pub(crate) fn peer_resizes(
        &mut self,
        peer: PeerIndex,
        number: VolumeNumber,
        id: RequestId,
    ) -> Result<(), PeerError> {
        let volume = self.volume_of_peer(number)?;
        let busy = self.role == Role::Primary
            || self.role_change.is_some()
            || self.resizes.iter().any(|open| open.volume == volume);
        let vote = match self.volumes[volume].usable_generation() {
            _ if busy => Vote::Concurrent,
            None => Vote::NeedUpToDate,
            Some(_) => {
                self.measure_disk(volume);
                let attached = self.volumes[volume].attached_mut().expect("it is usable");
                attached.sizing.asked_by.push((peer, id));
                return Ok(());
            }
        };
        self.send(peer, Packet::ResizeReply { id, capacity: 0, vote });
        Ok(())
    }

    /// Tells who has asked, once the disk is ready; shows clients the size that is agreed on.
    pub(crate) fn advance_sizing(&mut self, volume: VolumeIndex) {
        if !self.is_sizing(volume)
            && let Some(attached) = self.volumes[volume].attached_mut()
        {
            let capacity = attached.store.layout().data_bytes();
            for (peer, id) in std::mem::take(&mut attached.sizing.asked_by) {
                if !self.connections[peer].is_running() {
                    continue; // nobody waits for it any more
                }
                self.send(peer, Packet::ResizeReply { id, capacity, vote: Vote::Yes });
            }
        }
        if let Some(Held { until: Some(ticket), .. }) = self.volumes[volume].held
            && self.is_durable(volume, ticket)
        {
            self.volumes[volume].held = None;
            let text = format!("the volume has {} bytes now", self.volumes[volume].size_bytes);
            self.note(Some(volume), None, Severity::Info, text);
            self.unsettled = true;
        }
    }
}
