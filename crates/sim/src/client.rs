//! Clients: what NBD connections of an application would ask, and what they still wait for.
//!
//! Requests come in bursts, half of them on a few hot spots so that they overlap in flight. Every
//! sector written is stamped. A client is bound to the process it was opened on.

use std::collections::BTreeMap;

use bytes::Bytes;
use tandem_replica::{ClientId, Cookie, RequestOp};
use tandem_wire::ByteRange;

use crate::event::Life;
use crate::model::{Model, WriteRecord};
use crate::prng::Prng;
use crate::profile::Profile;
use crate::stamp::{self, BLOCK_SECTORS, SECTOR, WriteId};

/// Sectors of the longest request: 64 KiB.
const SECTORS_MAX: u64 = 128;

/// All clients and their requests.
#[derive(Debug)]
pub struct Clients {
    /// By slot; a slot always serves the same volume.
    pub slots: Vec<Client>,
    /// Requests without a reply, by cookie.
    pub pending: BTreeMap<Cookie, Pending>,
    /// Requests made so far.
    pub requests: u64,
    prng: Prng,
    ids: u64,
}

/// One client.
#[derive(Clone, Copy, Debug)]
pub struct Client {
    /// Volume it uses.
    pub volume: usize,
    /// The connection, and the node it is to.
    pub open: Option<(ClientId, usize)>,
    /// Requests without a reply.
    pub in_flight: usize,
}

/// A request without a reply.
#[derive(Clone, Debug)]
pub struct Pending {
    /// Slot of the client.
    pub slot: usize,
    /// The connection.
    pub client: ClientId,
    /// Node it was handed to.
    pub node: usize,
    /// Link session in which it was submitted.
    pub session: Option<u64>,
    /// Which process the peer was then.
    pub peer_life: Life,
    /// When it was handed in, nanoseconds.
    pub since: u64,
    /// What was asked.
    pub kind: Kind,
}

/// What was asked.
#[derive(Clone, Debug)]
pub enum Kind {
    /// Sectors read, and the oldest write each may show.
    Read {
        /// First sector.
        first: usize,
        /// By sector.
        floors: Vec<WriteId>,
    },
    /// A write, a trim or zeroing.
    Write(WriteId),
    /// A flush: how many replies it covers, and the moment of its submission.
    Flush {
        /// Number of replies before it.
        covered: usize,
        /// When it was asked.
        submitted: u64,
    },
}

impl Clients {
    /// The clients of a profile, none of them open.
    pub fn new(profile: &Profile, prng: Prng) -> Self {
        let volumes = profile.volume_blocks.len();
        let slots = (0..profile.clients * volumes)
            .map(|slot| Client { volume: slot % volumes, open: None, in_flight: 0 })
            .collect();
        Self { slots, pending: BTreeMap::new(), requests: 0, prng, ids: 0 }
    }

    /// A name for a connection or a request.
    pub fn next_id(&mut self) -> u64 {
        self.ids += 1;
        self.ids
    }

    /// The slot's next burst.
    pub fn burst(&mut self, depth: usize) -> usize {
        if self.prng.per_mille(300) { depth } else { 1 + self.prng.index(depth) }
    }

    /// The time to the slot's next burst.
    pub fn pause(&mut self, mean: u64) -> u64 {
        self.prng.between(mean / 4, mean * 2)
    }

    /// Forgets every connection to `node`; what was in flight stays unanswered.
    pub fn drop_node(&mut self, node: usize) {
        for slot in &mut self.slots {
            if slot.open.is_some_and(|(_, on)| on == node) {
                slot.open = None;
                slot.in_flight = 0;
            }
        }
        self.pending.retain(|_, pending| pending.node != node);
    }

    /// Forgets one connection.
    pub fn drop_client(&mut self, client: ClientId) {
        for slot in &mut self.slots {
            if slot.open.is_some_and(|(id, _)| id == client) {
                slot.open = None;
                slot.in_flight = 0;
            }
        }
        self.pending.retain(|_, pending| pending.client != client);
    }

    /// Whether a connection is open.
    pub fn is_open(&self, client: ClientId) -> bool {
        self.slots.iter().any(|slot| slot.open.is_some_and(|(id, _)| id == client))
    }

    /// Connections open to `node`.
    pub fn on(&self, node: usize) -> Vec<ClientId> {
        let open = self.slots.iter().filter_map(|slot| slot.open);
        open.filter(|(_, on)| *on == node).map(|(id, _)| id).collect()
    }

    /// Draws a request on a volume of `sectors` sectors and enters it into the model.
    pub fn draw(
        &mut self,
        model: &mut Model,
        node: usize,
        volume: usize,
        sectors: usize,
        block_size: u32,
    ) -> (RequestOp, Kind) {
        let (first, count) = self.range(sectors);
        let range = byte_range(first, count);
        let fua = self.prng.per_mille(60);
        match self.prng.below(100) {
            0..25 => {
                let floors = model.volumes[volume].read_floors(node, first..first + count);
                (RequestOp::Read(range), Kind::Read { first, floors })
            }
            25..31 => {
                let covered = model.volumes[volume].acked[node].len();
                (RequestOp::Flush, Kind::Flush { covered, submitted: model.tick() })
            }
            31..35 => {
                let start = first.next_multiple_of(BLOCK_SECTORS);
                let end = (first + count) / BLOCK_SECTORS * BLOCK_SECTORS;
                let count = end.saturating_sub(start);
                let record = WriteRecord::new(volume, start.min(end), count, true, fua);
                (RequestOp::Trim { range, fua }, Kind::Write(model.submit(node, record)))
            }
            35..39 => {
                let unit = block_size as usize / SECTOR;
                let (start, end) = (first / unit * unit, (first + count).next_multiple_of(unit));
                let record = WriteRecord::new(volume, start, end - start, true, fua);
                let range = byte_range(start, end - start);
                let keep_space = self.prng.per_mille(500);
                let op = RequestOp::Zeroes { range, keep_space, fua };
                (op, Kind::Write(model.submit(node, record)))
            }
            _ => {
                let id = model.submit(node, WriteRecord::new(volume, first, count, false, fua));
                let data = payload(id, first, count);
                (RequestOp::Write { offset: range.offset, data, fua }, Kind::Write(id))
            }
        }
    }

    fn range(&mut self, sectors: usize) -> (usize, usize) {
        let prng = &mut self.prng;
        let mut count = prng.log_between(1, SECTORS_MAX);
        let mut first = if prng.per_mille(500) {
            // One of four hot spots of 16 KiB.
            let spot = sectors / 5 * (1 + prng.index(4));
            spot + prng.index(32)
        } else {
            prng.index(sectors)
        };
        if prng.per_mille(600) {
            first = first / BLOCK_SECTORS * BLOCK_SECTORS;
            count = count.next_multiple_of(BLOCK_SECTORS as u64);
        }
        let first = first.min(sectors - 1);
        let count = usize::try_from(count).expect("at most 128");
        (first, count.min(sectors - first))
    }
}

fn byte_range(first: usize, count: usize) -> ByteRange {
    let len = u32::try_from(count * SECTOR).expect("requests are short");
    ByteRange::new((first * SECTOR) as u64, len)
}

/// The bytes of write `id`.
fn payload(id: WriteId, first: usize, count: usize) -> Bytes {
    let mut data = Vec::with_capacity(count * SECTOR);
    let mut sector = [0; SECTOR];
    for number in first..first + count {
        stamp::write(&mut sector, id, number as u64, 0);
        data.extend_from_slice(&sector);
    }
    Bytes::from(data)
}
