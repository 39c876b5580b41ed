//! Checksum resync: the target looks at what it has and asks by digest, so that blocks which are
//! equal need not travel.
//!
//! The target reads its own copy under its claim, without keeping the peer's writes out: whatever
//! of those it sees or misses, a range that equals what the source answers from is equal once the
//! writes before the answer are applied. That a range is there already says nothing about its being
//! durable; so it goes the way of one that was written, behind a flush, and only then are its bits
//! cleared on either node.

use bytes::Bytes;
use tandem_wire::{ByteRange, Packet, RequestId, VolumeNumber};

use super::Stage;
use crate::action::DiskOpKind;
use crate::config::ChecksumResync;
use crate::digest;
use crate::error::{DiskError, PeerError};
use crate::peer_read::PeerReadFor;
use crate::peers::{PeerIndex, VolumeIndex};
use crate::resource::Resource;
use crate::slab::Key;
use crate::volume::Purpose;

impl Resource {
    /// Whether this node, the target, compares before it copies.
    pub(super) fn compares_first(&self, peer: PeerIndex, volume: VolumeIndex) -> bool {
        let connection = &self.connections[peer];
        match connection.config.net.checksum_resync {
            ChecksumResync::Never => false,
            ChecksumResync::AfterCrash => connection.devices[volume].resync.after_crash,
            ChecksumResync::Always => true,
        }
    }

    /// Target: a piece is claimed; reads what is there.
    pub(super) fn read_own_piece(&mut self, peer: PeerIndex, key: Key) {
        let piece = self.piece(peer, key);
        let (volume, range) = (piece.volume, piece.range);
        if self.volumes[volume].is_attached() {
            self.disk_op(volume, Purpose::ChecksumRead(peer, key), DiskOpKind::Read(range));
        }
    }

    /// Target: what is there has been read. Without its piece nobody wants to know any more.
    pub(crate) fn own_piece_read(
        &mut self,
        peer: PeerIndex,
        key: Key,
        result: Result<Bytes, DiskError>,
    ) {
        let Some(piece) = self.connections[peer].pieces.get(key) else { return };
        let volume = piece.volume;
        match result {
            Ok(data) => {
                let kind = DiskOpKind::Digest { data };
                self.disk_op(volume, Purpose::ChecksumDigest(peer, key), kind);
            }
            Err(error) => self.disk_failed(volume, "reading for a checksum resync", error),
        }
    }

    /// Target: asks for a piece, unless the source has the same.
    pub(crate) fn own_piece_digested(
        &mut self,
        peer: PeerIndex,
        key: Key,
        result: Result<Bytes, DiskError>,
    ) {
        let Some(piece) = self.connections[peer].pieces.get_mut(key) else { return };
        let Ok(digests) = result else { return }; // its disk is gone, and the session with it
        piece.stage = Stage::Compared;
        let (volume, range) = (piece.volume, piece.range);
        let volume = self.volumes[volume].number;
        let id = RequestId(key.to_bits());
        self.connections[peer].expect_answer(self.now);
        self.send(peer, Packet::CsumRsRequest { volume, range, id, digests });
    }

    /// Source: the target asks for a range, unless these are its digests.
    pub(crate) fn checksum_request(
        &mut self,
        peer: PeerIndex,
        volume: VolumeNumber,
        range: ByteRange,
        id: RequestId,
        digests: Bytes,
    ) -> Result<(), PeerError> {
        if !digest::fit(&digests, range) {
            return Err(PeerError::UnknownRequest { packet: "CsumRsRequest", id: id.0 });
        }
        self.resync_request(peer, volume, range, id, PeerReadFor::ChecksumResync(digests))
    }

    /// Target: the source has what is there.
    pub(crate) fn piece_is_in_sync(
        &mut self,
        peer: PeerIndex,
        id: RequestId,
    ) -> Result<(), PeerError> {
        let key = Key::from_bits(id.0);
        let piece = self.connections[peer].pieces.get(key);
        let Some(piece) = piece.filter(|piece| matches!(piece.stage, Stage::Compared)) else {
            return Err(PeerError::UnknownRequest { packet: "RsIsInSync", id: id.0 });
        };
        let (volume, len) = (piece.volume, piece.range.len);
        self.connections[peer].answered(self.now);
        let resync = &mut self.connections[peer].devices[volume].resync;
        resync.same_bytes += u64::from(len);
        resync.pace.arrived(len);
        self.piece_written(peer, key, None);
        self.pump_resync(peer, volume);
        Ok(())
    }
}
