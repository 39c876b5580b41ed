//! `new-current-uuid` where nobody has data yet: an operator says what the data are, and no node
//! becomes Primary.
//!
//! Both disks are the same: that is stored as a bitmap that tracks from the generation of metadata
//! that were just made, which the peer has. So the handshake that follows finds a target with
//! nothing to copy. Whatever comes between costs no more than a full copy: the first write without
//! the peer, and a link that is lost while they agree, leave a bitmap that tracks from another one.

use tandem_wire::{DiskState, ReplicationState, Role, Uuid};

use crate::action::Initial;
use crate::error::CommandError;
use crate::peers::VolumeIndex;
use crate::resource::Resource;
use crate::role::Promotion;

impl Resource {
    /// Whether no node has data of the volume, and every peer is there to hear of them.
    pub(super) fn has_no_data(&self, volume: VolumeIndex) -> Result<(), CommandError> {
        let number = self.volumes[volume].number;
        let refuse = |text: String| Err(CommandError::Refused(text));
        if self.role == Role::Primary {
            // Its promotion has marked its disks, and not this one.
            return refuse("this node is Primary: make it Secondary first".to_owned());
        }
        let Some(attached) = self.volumes[volume].attached() else {
            return refuse(format!("volume {number} has no disk: attach it first"));
        };
        let is_new = attached.store.superblock().current_uuid == Uuid::JUST_CREATED;
        if !is_new || attached.state != DiskState::Inconsistent {
            let state = attached.state;
            return refuse(format!(
                "volume {number} is {state} and has a history; this is for metadata that were \
                 just created on both nodes"
            ));
        }
        for peer in self.peer_indexes() {
            // A peer with data would be copied from, and not be Established.
            let device = &self.connections[peer].devices[volume];
            let is_met = self.replicates(peer, volume)
                && device.replication_state() == ReplicationState::Established;
            if !is_met || device.disk != DiskState::Inconsistent {
                let name = &self.connections[peer].config.name;
                return refuse(format!(
                    "{name} is not connected with a disk for volume {number} whose metadata were \
                     just created; connect it, or use primary --force"
                ));
            }
        }
        Ok(())
    }

    pub(super) fn save_data(&mut self, volume: VolumeIndex, initial: Initial) {
        self.force_up_to_date(volume);
        let peers = self.peer_indexes();
        let attached = self.volumes[volume].attached_mut().expect("it has no data yet");
        if initial == Initial::Equal {
            for peer in peers {
                attached.bitmaps[peer].clear_all();
                attached.store.track_from(peer, Uuid::JUST_CREATED);
            }
        }
        let ticket = self.commit(volume, true);
        self.set_promotion(Promotion::Saving(vec![(volume, ticket)]));
    }

    /// The peers hear of it in a handshake.
    pub(super) fn data_saved(&mut self, volume: VolumeIndex) {
        self.decide_anew = false;
        let is_saved = self.volumes[volume].is_attached();
        let number = self.volumes[volume].number;
        let result = if is_saved { Ok(()) } else { Err(CommandError::Io { volume: number }) };
        self.end_promotion(result);
        for peer in self.peer_indexes() {
            self.renegotiate(peer, "an operator has said what the data are");
        }
        self.broadcast_states();
    }
}
