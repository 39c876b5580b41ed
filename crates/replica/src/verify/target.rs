//! The peer of a node that verifies: answers with digests, and notes what was found.

use tandem_wire::{ByteRange, DiskState, ReplicationState, RequestId, State, VolumeNumber};

use super::Activity;
use crate::action::{News, Severity};
use crate::error::PeerError;
use crate::peer_read::PeerReadFor;
use crate::peers::{PeerIndex, VolumeIndex};
use crate::resource::Resource;

impl Resource {
    /// The peer has told its states of a volume.
    pub(crate) fn verify_told(&mut self, peer: PeerIndex, volume: VolumeIndex, told: State) {
        if told.disk != DiskState::UpToDate {
            self.interrupt_verify(peer, volume, "the peer's disk is not UpToDate any more");
        }
        let verify = &mut self.connections[peer].devices[volume].verify;
        let peer_verifies = told.replication == ReplicationState::VerifyS;
        match verify.activity {
            Activity::Idle if peer_verifies => verify.activity = Activity::Target,
            Activity::Target if !peer_verifies => verify.activity = Activity::Idle,
            Activity::Idle | Activity::Target | Activity::Source(_) => {}
        }
    }

    /// The peer wants the digests of a range.
    pub(crate) fn verify_request(
        &mut self,
        peer: PeerIndex,
        number: VolumeNumber,
        range: ByteRange,
        id: RequestId,
    ) -> Result<(), PeerError> {
        let volume = self.volume_of_peer(number)?;
        self.check_peer_range(volume, range, "OvRequest")?;
        self.peer_read(peer, volume, range, id, PeerReadFor::Verify)
    }

    /// The peer has found that these blocks differ.
    pub(crate) fn verify_result(
        &mut self,
        peer: PeerIndex,
        number: VolumeNumber,
        range: ByteRange,
    ) -> Result<(), PeerError> {
        let volume = self.volume_of_peer(number)?;
        self.check_peer_range(volume, range, "OvResult")?;
        self.set_blocks_differ(peer, volume, range);
        let (sector, sectors) = (range.offset / 512, range.len / 512);
        let text = format!("online verify of the peer: out of sync, sectors {sector}+{sectors}");
        self.tell(volume, peer, Severity::Error, text, News::BlocksDiffer(range));
        Ok(())
    }
}
