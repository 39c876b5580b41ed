//! Which packet means what, in which phase of a session.

use tandem_wire::{ByteRange, Change, Packet, RequestId, VolumeNumber};

use crate::connection::Phase;
use crate::error::PeerError;
use crate::handshake::Piece;
use crate::outbound::MarkKind;
use crate::peer_read::PeerReadFor;
use crate::peers::PeerIndex;
use crate::resource::Resource;
use crate::slab::Key;

impl Resource {
    /// Carries out a packet of the session that is up.
    #[expect(clippy::wildcard_enum_match_arm, reason = "the next function takes the rest")]
    pub(crate) fn dispatch_packet(
        &mut self,
        peer: PeerIndex,
        packet: Packet,
    ) -> Result<(), PeerError> {
        let session = self.connections[peer].session().expect("packets come on a session");
        let reporting = matches!(session.phase, Phase::Settling(_) | Phase::Reporting { .. });
        match packet {
            Packet::Ping => self.send(peer, Packet::PingAck),
            Packet::PingAck => self.connections[peer].signs.ping_acked(self.now),
            Packet::Protocol(settings) => return self.peer_settings(peer, settings),
            Packet::Sizes(number, it) => return self.peer_reports(peer, number, Piece::Sizes(it)),
            Packet::Uuids(number, it) => return self.peer_reports(peer, number, Piece::Uuids(it)),
            Packet::State(number, it) if reporting => {
                return self.peer_reports(peer, number, Piece::State(it));
            }
            Packet::State(number, state) => return self.peer_state(peer, number, state),
            Packet::Verdict(number, verdict) => return self.peer_decided(peer, number, verdict),
            Packet::SyncUuid(number, uuid) => return self.sync_uuid(peer, number, uuid),
            Packet::Bitmap { volume, first_block, last, piece } => {
                return self.peer_bitmap(peer, volume, first_block, last, &piece);
            }
            Packet::BitmapAck(number) => return self.bitmap_acked(peer, number),
            running => return self.dispatch_running(peer, running),
        }
        Ok(())
    }

    /// Packets that only a running session carries.
    #[expect(clippy::wildcard_enum_match_arm, reason = "the next function takes the rest")]
    fn dispatch_running(&mut self, peer: PeerIndex, packet: Packet) -> Result<(), PeerError> {
        if !self.connections[peer].is_running() {
            let packet = packet.name();
            return Err(PeerError::Unexpected { packet, phase: "in the handshake" });
        }
        match packet {
            Packet::Write(write) => self.peer_write(peer, write)?,
            Packet::Barrier(number) => self.peer_barrier(peer, number),
            Packet::Flush { id, epoch } => self.peer_flush(peer, id, epoch),
            Packet::DataRequest { volume, range, id } => {
                let volume = self.volume_of_peer(volume)?;
                self.check_peer_range(volume, range, "DataRequest")?;
                self.volumes[volume].application_at = Some(self.now);
                self.peer_read(peer, volume, range, id, PeerReadFor::Application)?;
            }
            Packet::RsDataRequest { volume, range, id, thin } => {
                let wanted_for = if thin { PeerReadFor::ThinResync } else { PeerReadFor::Resync };
                self.resync_request(peer, volume, range, id, wanted_for)?;
            }
            Packet::CsumRsRequest { volume, range, id, digests } => {
                self.checksum_request(peer, volume, range, id, digests)?;
            }
            Packet::RsIsInSync { id } => self.piece_is_in_sync(peer, id)?,
            Packet::OvRequest { volume, range, id } => {
                self.verify_request(peer, volume, range, id)?;
            }
            Packet::OvReply { id, digests } => self.verify_reply(peer, id, digests)?,
            Packet::NegOvReply { id } => self.verify_refused(peer, id),
            Packet::OvResult(volume, range) => self.verify_result(peer, volume, range)?,
            Packet::RsDataReply { id, data } => self.piece_arrived(peer, id, data)?,
            Packet::RsDeallocated { id } => self.piece_is_zero(peer, id)?,
            Packet::NegRsDataReply { .. } => {
                self.end_session(peer, "the source could not read a block for the resync");
            }
            Packet::SyncDone(number, reached) => self.resync_done(peer, number, reached)?,
            Packet::OutOfSync(number, range) => self.peer_out_of_sync(peer, number, range)?,
            Packet::CatchUp(number, current) => self.catch_up(peer, number, current)?,
            Packet::Prepare { id, change: Change::Promote } => self.vote_on_promotion(peer, id),
            Packet::Prepare { id, change: Change::Disconnect } => self.consent_to_leaving(peer, id),
            Packet::Invalidate { id, volume, whose } => {
                self.peer_invalidates(peer, volume, id, whose)?;
            }
            Packet::Resize { id, volume } => self.peer_resizes(peer, volume, id)?,
            Packet::ResizeReply { id, capacity, vote } => {
                self.resize_reply(peer, id, capacity, vote);
            }
            Packet::Commit { id } | Packet::Abort { id } => self.prepared_ends(peer, id),
            Packet::PrepareReply { id, vote } => {
                // An answer to what has been given up meanwhile is no error.
                let _known = self.promotion_vote(peer, id, vote)
                    || self.leaving_vote(peer, id, vote)
                    || self.invalidation_vote(peer, id, vote);
            }
            ack => self.dispatch_ack(peer, ack)?,
        }
        Ok(())
    }

    /// Acks: each names something this node sent in this session.
    #[expect(clippy::wildcard_enum_match_arm, reason = "the rest is dispatched before")]
    fn dispatch_ack(&mut self, peer: PeerIndex, packet: Packet) -> Result<(), PeerError> {
        let name = packet.name();
        let (known, id) = match packet {
            Packet::RecvAck { id } => return self.write_acked(peer, id, Ack::Received),
            Packet::WriteAck { id } => return self.write_acked(peer, id, Ack::Written),
            Packet::NegAck { id } => return self.write_acked(peer, id, Ack::Failed),
            Packet::RsWriteAck { id } => return self.resync_acked(peer, id),
            Packet::FlushAck { id } => (self.flush_acked(peer, id, true), id.0),
            Packet::NegFlushAck { id } => (self.flush_acked(peer, id, false), id.0),
            Packet::BarrierAck(number) => {
                let seq = self.connections[peer].outbound.acked(MarkKind::Barrier(number));
                if let Some(seq) = seq {
                    self.barrier_acked(peer, seq);
                    self.ahead_acked(peer, number);
                }
                (seq.is_some(), number.0)
            }
            Packet::DataReply { id, data } => (self.remote_read_done(peer, id, Some(data)), id.0),
            Packet::NegDataReply { id } => (self.remote_read_done(peer, id, None), id.0),
            other => unreachable!("{} is dispatched before", other.name()),
        };
        if known { Ok(()) } else { Err(PeerError::UnknownRequest { packet: name, id }) }
    }

    /// An ack for a write. One that is not owed any more is late: it crossed the news that the
    /// peer's disk is gone, or came behind a barrier ack.
    fn write_acked(&mut self, peer: PeerIndex, id: RequestId, ack: Ack) -> Result<(), PeerError> {
        let key = Key::from_bits(id.0);
        let owed = self.writes.get(key).is_some_and(|write| write.unbarriered.contains(peer));
        if owed {
            match ack {
                Ack::Received => self.peer_write_done(peer, key, false),
                Ack::Written => self.peer_write_done(peer, key, true),
                Ack::Failed => self.peer_write_failed(peer, key),
            }
        }
        Ok(())
    }

    fn peer_out_of_sync(
        &mut self,
        peer: PeerIndex,
        number: VolumeNumber,
        range: ByteRange,
    ) -> Result<(), PeerError> {
        let volume = self.volume_of_peer(number)?;
        self.check_peer_range(volume, range, "OutOfSync")?;
        self.set_out_of_sync(volume, peer, range);
        Ok(())
    }

    /// The change that this node agreed to has taken effect or been given up.
    fn prepared_ends(&mut self, peer: PeerIndex, id: RequestId) {
        let granted = &mut self.connections[peer].granted;
        if granted.is_some_and(|(open, _)| open == id) {
            *granted = None;
        }
        self.consent_ends(peer, id);
        self.unsettled = true;
    }
}

#[derive(Clone, Copy)]
enum Ack {
    Received,
    Written,
    Failed,
}
