//! Bitmaps on their way to each other: piece by piece, a few at a time.
//!
//! Each piece is acked when it is merged, and so many may be on their way: neither end holds more
//! of a bitmap than that, whatever the size of the volume, and neither is kept from its other work.
//! While pieces come the handshake counts as alive.

use bytes::Bytes;
use tandem_wire::{Packet, VolumeNumber};

use crate::connection::Phase;
use crate::error::PeerError;
use crate::limits::{BITMAP_PIECE_BYTES, BITMAP_PIECES_MAX};
use crate::peer_device::{Replication, Step};
use crate::peers::{PeerIndex, VolumeIndex};
use crate::resource::Resource;

/// How far the bitmaps of one volume have come.
#[derive(Debug, Default)]
pub(crate) struct BitmapExchange {
    /// Where the next piece to send starts; `None` where there is none.
    next_block: Option<u64>,
    unacked: u32,
    /// Where the peer's next piece starts.
    received_blocks: u64,
}

impl Resource {
    /// Begins to send the bitmap.
    pub(super) fn send_bitmap(&mut self, peer: PeerIndex, volume: VolumeIndex) {
        let exchange = &mut self.connections[peer].devices[volume].bitmap;
        *exchange = BitmapExchange { next_block: Some(0), ..BitmapExchange::default() };
        self.pump_bitmap(peer, volume);
    }

    /// Sends pieces while there is room for them on the way.
    fn pump_bitmap(&mut self, peer: PeerIndex, volume: VolumeIndex) {
        while let Some(from) = self.connections[peer].devices[volume].bitmap.next_block
            && self.connections[peer].devices[volume].bitmap.unacked < BITMAP_PIECES_MAX
        {
            let Some(attached) = self.volumes[volume].attached() else {
                return; // the failed disk ends the session
            };
            let (piece, next) = attached.bitmaps[peer].encode_chunk(from, BITMAP_PIECE_BYTES);
            let packet = Packet::Bitmap {
                volume: self.volumes[volume].number,
                first_block: from,
                last: next.is_none(),
                piece: Bytes::from(piece),
            };
            let exchange = &mut self.connections[peer].devices[volume].bitmap;
            exchange.next_block = next;
            exchange.unacked += 1;
            self.send(peer, packet);
        }
    }

    /// The peer has merged a piece.
    pub(crate) fn bitmap_acked(
        &mut self,
        peer: PeerIndex,
        number: VolumeNumber,
    ) -> Result<(), PeerError> {
        let volume = self.volume_of_peer(number)?;
        let exchange = &mut self.connections[peer].devices[volume].bitmap;
        let Some(unacked) = exchange.unacked.checked_sub(1) else {
            return Err(PeerError::Unexpected { packet: "BitmapAck", phase: "not exchanging" });
        };
        exchange.unacked = unacked;
        self.handshake_moves(peer);
        self.pump_bitmap(peer, volume);
        Ok(())
    }

    /// A piece of the peer's bitmap: what either side knows to differ, both know from here on.
    pub(crate) fn peer_bitmap(
        &mut self,
        peer: PeerIndex,
        number: VolumeNumber,
        first_block: u64,
        last: bool,
        piece: &[u8],
    ) -> Result<(), PeerError> {
        let volume = self.volume_of_peer(number)?;
        let device = &mut self.connections[peer].devices[volume];
        let Replication::Preparing { goal, step: Step::AwaitBitmap } = device.replication else {
            return Err(PeerError::Unexpected { packet: "Bitmap", phase: "not exchanging" });
        };
        let expected = device.bitmap.received_blocks;
        let attached = self.volumes[volume].attached_mut().expect("both ends have disks");
        let bitmap = &mut attached.bitmaps[peer];
        let merged = bitmap
            .merge_chunk(first_block, piece)
            .map_err(|error| PeerError::BadBitmap(error.to_string()))?;
        if first_block != expected || last != (merged.end_block == bitmap.blocks()) {
            let text = format!("from block {first_block} instead of {expected}, last: {last}");
            return Err(PeerError::BadBitmap(text));
        }
        device.bitmap.received_blocks = merged.end_block;
        self.send(peer, Packet::BitmapAck(number));
        self.handshake_moves(peer);
        if last {
            self.record_session(peer, volume, goal);
            let ticket = self.commit(volume, true);
            self.set_preparing(peer, volume, goal, Step::Save(ticket));
            self.advance_preparation(peer);
        }
        Ok(())
    }

    /// The handshake gets on: its time begins anew.
    fn handshake_moves(&mut self, peer: PeerIndex) {
        let now = self.now;
        if let Some(session) = self.connections[peer].session_mut()
            && matches!(session.phase, Phase::Preparing)
        {
            session.moved_at = now;
        }
    }
}
