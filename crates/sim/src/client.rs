//! Clients: what NBD connections of an application would ask, and what they still wait for.
//!
//! Requests come in bursts, half of them on a few hot spots so that they overlap in flight. Every
//! sector written is stamped. A client is bound to the process it was opened on. What a connection
//! leaves unanswered when it dies is asked again on the slot's next one, wherever that is: as a
//! write of its own, so that a copy that is still under way can be told from it.

use std::collections::{BTreeMap, VecDeque};

use bytes::Bytes;
use tandem_replica::{ClientId, Cookie, RequestOp};
use tandem_wire::ByteRange;

use crate::event::Life;
use crate::model::{Model, ReadFloor, WriteRecord};
use crate::prng::Prng;
use crate::profile::Profile;
use crate::stamp::{BLOCK_SECTORS, SECTOR, Stamp, WriteId};

/// Sectors of the longest usual request: 64 KiB.
const SECTORS_MAX: u64 = 128;
/// Sectors of the longest one: 1 MiB.
const LONG_SECTORS_MAX: u64 = 2048;
/// Sectors of a volume that gets those.
const LONG_VOLUME_SECTORS: usize = 4096;

/// All clients and their requests.
#[derive(Debug)]
pub struct Clients {
    /// By slot; a slot always serves the same volume.
    pub slots: Vec<Client>,
    /// Requests without a reply, by cookie.
    pub pending: BTreeMap<Cookie, Pending>,
    /// Requests made so far.
    pub requests: u64,
    /// By slot: writes to be asked again, and the nodes they were asked of.
    again: Vec<VecDeque<(WriteId, usize)>>,
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
    /// How often in a row its connection was killed before anything was answered.
    pub deaths: u32,
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
    /// Which process the peer was then, and how often its disk had lost its cache, or it what it
    /// had not written.
    pub peer_life: (Life, u32, u32),
    /// The peer had ended that session by then, of which this node may not have heard.
    pub peer_left: bool,
    /// When it was handed in, nanoseconds.
    pub asked_at: u64,
    /// Since when it waits: the same, later by what its node was stopped for.
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
        floors: Vec<ReadFloor>,
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

impl Kind {
    /// A few words for the timeline.
    pub fn text(&self) -> String {
        match self {
            Self::Read { first, floors } => format!("sectors {first}+{}", floors.len()),
            Self::Write(id) => format!("write {id}"),
            Self::Flush { covered, .. } => format!("covers {covered} replies"),
        }
    }
}

impl Clients {
    /// The clients of a profile, none of them open.
    pub fn new(profile: &Profile, prng: Prng) -> Self {
        let volumes = profile.volume_blocks.len();
        let slots: Vec<Client> = (0..profile.clients * volumes)
            .map(|slot| Client { volume: slot % volumes, open: None, in_flight: 0, deaths: 0 })
            .collect();
        let again = vec![VecDeque::new(); slots.len()];
        Self { slots, pending: BTreeMap::new(), requests: 0, again, prng, ids: 0 }
    }

    /// A name for a connection or a request.
    pub fn next_id(&mut self) -> u64 {
        self.ids += 1;
        self.ids
    }

    /// Where their chance comes from.
    pub(crate) fn prng_mut(&mut self) -> &mut Prng {
        &mut self.prng
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
        self.drop_where(|_, on| on == node);
    }

    /// Forgets one connection.
    pub fn drop_client(&mut self, client: ClientId) {
        self.drop_where(|id, _| id == client);
    }

    fn drop_where(&mut self, is_dropped: impl Fn(ClientId, usize) -> bool) {
        for slot in &mut self.slots {
            if slot.open.is_some_and(|(id, on)| is_dropped(id, on)) {
                slot.open = None;
                slot.in_flight = 0;
            }
        }
        let again = &mut self.again;
        self.pending.retain(|_, pending| {
            let dropped = is_dropped(pending.client, pending.node);
            if let (true, Kind::Write(id)) = (dropped, &pending.kind) {
                again[pending.slot].push_back((*id, pending.node));
            }
            !dropped
        });
    }

    /// Time that a node was stopped for is nobody's waiting time.
    pub fn excuse(&mut self, node: usize, time: u64) {
        for pending in self.pending.values_mut().filter(|pending| pending.node == node) {
            pending.since += time;
        }
    }

    /// Whether the slot has something to ask again.
    pub fn has_again(&self, slot: usize) -> bool {
        !self.again[slot].is_empty()
    }

    /// A request that the slot's last connection has left unanswered, to be asked once more, and
    /// the node it was asked of.
    pub fn draw_again(
        &mut self,
        model: &mut Model,
        node: usize,
        slot: usize,
    ) -> Option<(RequestOp, Kind, usize)> {
        let (old, before) = self.again[slot].pop_front()?;
        let WriteRecord { volume, first, sectors, zero, fua, .. } = model.writes[old as usize];
        if sectors == 0 {
            return None;
        }
        let record = WriteRecord::new(volume, first, sectors, zero, fua);
        if !zero {
            let (op, kind) = Self::write(model, node, record);
            return Some((op, kind, before));
        }
        let op = RequestOp::Trim { range: byte_range(first, sectors), fua };
        Some((op, Kind::Write(model.submit(node, record)), before))
    }

    /// Whether a write in flight meets these sectors of a volume.
    pub fn meets(&self, model: &Model, volume: usize, first: usize, count: usize) -> bool {
        self.pending.values().any(|pending| match pending.kind {
            Kind::Write(id) => {
                let record = &model.writes[id as usize];
                record.volume == volume
                    && record.first < first + count
                    && first < record.first + record.sectors
            }
            Kind::Read { .. } | Kind::Flush { .. } => false,
        })
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
            0..25 => Self::read(model, node, volume, first, count),
            25..31 => Self::flush(model, node, volume),
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
            _ => Self::write(model, node, WriteRecord::new(volume, first, count, false, fua)),
        }
    }

    /// A read, and what it may show.
    pub fn read(
        model: &Model,
        node: usize,
        volume: usize,
        first: usize,
        count: usize,
    ) -> (RequestOp, Kind) {
        let floors = model.volumes[volume].read_floors(node, first..first + count);
        (RequestOp::Read(byte_range(first, count)), Kind::Read { first, floors })
    }

    /// A flush, and what it covers.
    pub fn flush(model: &mut Model, node: usize, volume: usize) -> (RequestOp, Kind) {
        let covered = model.volumes[volume].acked[node].len();
        (RequestOp::Flush, Kind::Flush { covered, submitted: model.tick() })
    }

    /// A write of data, entered into the model.
    pub fn write(model: &mut Model, node: usize, record: WriteRecord) -> (RequestOp, Kind) {
        let WriteRecord { first, sectors, fua, .. } = record;
        let id = model.submit(node, record);
        let (offset, data) = (byte_range(first, sectors).offset, payload(id, first, sectors));
        (RequestOp::Write { offset, data, fua }, Kind::Write(id))
    }

    fn range(&mut self, sectors: usize) -> (usize, usize) {
        let prng = &mut self.prng;
        let longest = if sectors >= LONG_VOLUME_SECTORS && prng.per_mille(20) {
            LONG_SECTORS_MAX
        } else {
            SECTORS_MAX
        };
        let mut count = prng.log_between(1, longest);
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
        if !first.is_multiple_of(BLOCK_SECTORS) {
            // Longer ones the export would have cut: whole blocks around it are one piece.
            count = count.min(LONG_SECTORS_MAX - 2 * BLOCK_SECTORS as u64);
        }
        let first = first.min(sectors - 1);
        let count = usize::try_from(count).expect("at most 2048");
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
        Stamp::new(id, number as u64, 0).fill(&mut sector);
        data.extend_from_slice(&sector);
    }
    Bytes::from(data)
}
