//! The reference model: every write that was ever submitted, and what each node owes.
//!
//! Writes are named in order of submission. As range locks are first come, first served over all
//! clients of a volume (SEMANTICS rule 6), that is also the order of overlapping writes: a sector's
//! newer write is the one with the larger id. What a node owes is a *floor* per sector, the oldest
//! write it may show:
//! - `volatile`: while it keeps power; raised by replies (INV-1, INV-3) and by the end of a resync;
//! - `stable`: also after a power loss; raised by FLUSH and FUA (INV-2).
//!
//! Allowances, with their rules. A power loss drops a node's volatile floor to its stable one (2.2,
//! P1). Replies of a disconnected Primary raise its own floor only (INV-1, degraded ack); those of
//! one without a good disk its peer's, in every protocol (rule 9). Else in A the peer owes nothing
//! for a reply but order (INV-3, `checks::prefix`); in B what its process had received, until that
//! process dies. A write without reply may be shown or not (2.1); so may one that was answered with
//! an error, also where a read has shown it. The target of a resync owes nothing until it is done
//! (INV-10). `connect --discard-my-data`, `invalidate` and failing over to a node release what the
//! other one owed (INV-1 "with no force", INV-9). A sector that has rotted at rest counts as what
//! it was; it may be read as garbage, and the nodes may differ there, until a verify finds it (P8,
//! INV-16).

use tandem_wire::{Policies, Protocol};

use crate::stamp::{Content, WriteId};

mod node;
mod volume;

pub use node::{Discard, NodeModel};
pub use volume::VolumeModel;

/// All volumes and writes.
#[derive(Debug)]
pub struct Model {
    /// Protocol of the connection.
    pub protocol: Protocol,
    /// What the connection gives up without asking.
    pub policies: Policies,
    /// By index of the volume.
    pub volumes: Vec<VolumeModel>,
    /// By id; the first stands for what was there at the beginning.
    pub writes: Vec<WriteRecord>,
    /// Since when the current Primary is one.
    pub tenure: Tenure,
    moment: u64,
}

/// One write as the client knows it.
#[derive(Clone, Copy, Debug)]
pub struct WriteRecord {
    /// Index of its volume.
    pub volume: usize,
    /// Node it was handed to.
    pub node: usize,
    /// First sector.
    pub first: usize,
    /// Number of sectors.
    pub sectors: usize,
    /// It made the sectors zero.
    pub zero: bool,
    /// It was to be durable at its reply.
    pub fua: bool,
    /// Moment of its submission.
    pub submitted: u64,
    /// Moment of its reply.
    pub acked: Option<u64>,
    /// It was answered with an error.
    pub failed: bool,
}

/// The oldest write that a read may show of a sector: the newer of both.
#[derive(Clone, Copy, Debug)]
pub struct ReadFloor {
    /// What was replied to before.
    pub owed: WriteId,
    /// What a read before it has shown.
    pub shown: WriteId,
}

/// A Primary's time in office.
#[derive(Clone, Debug, Default)]
pub struct Tenure {
    /// Who.
    pub node: Option<usize>,
    /// It crashed: what it had not flushed may be gone, so nobody equals it from then on.
    pub over: bool,
    /// Newest write before it.
    pub start: WriteId,
    /// Flushes replied to: moments of submission and reply.
    pub flushes: Vec<(u64, u64)>,
}

impl Model {
    /// Volumes of this many sectors, nothing written.
    pub fn new(protocol: Protocol, sectors: &[usize]) -> Self {
        let beginning = WriteRecord {
            volume: usize::MAX,
            node: usize::MAX,
            first: 0,
            sectors: usize::MAX,
            zero: false,
            fua: false,
            submitted: 0,
            acked: None,
            failed: false,
        };
        Self {
            protocol,
            policies: Policies::default(),
            volumes: sectors.iter().map(|count| VolumeModel::new(*count)).collect(),
            writes: vec![beginning],
            tenure: Tenure::default(),
            moment: 0,
        }
    }

    /// The same, with a connection that settles split brains by itself.
    pub fn with_policies(self, policies: Policies) -> Self {
        Self { policies, ..self }
    }

    /// A volume has more sectors from here on.
    pub fn grow(&mut self, volume: usize, sectors: usize) {
        self.volumes[volume].grow(sectors);
    }

    /// Whether some volume's data have nothing in common on the two nodes.
    pub fn has_founded(&self) -> bool {
        self.volumes.iter().any(|volume| volume.nodes.iter().any(|node| node.founded))
    }

    /// The next moment: a number for the order of submissions and replies.
    pub fn tick(&mut self) -> u64 {
        self.moment += 1;
        self.moment
    }

    /// Newest write.
    pub fn newest(&self) -> WriteId {
        WriteId::try_from(self.writes.len() - 1).expect("a run has few writes")
    }

    /// A write is handed in.
    pub fn submit(&mut self, node: usize, mut record: WriteRecord) -> WriteId {
        record.node = node;
        record.submitted = self.tick();
        self.writes.push(record);
        let id = self.newest();
        self.volumes[record.volume].submit(id, &record);
        id
    }

    /// A write is replied to on `node`. `own`: the node has a good disk to keep it on; else its
    /// peer's disk has it, in every protocol. `replicated`: it was submitted and replied to in one
    /// session with an up-to-date peer, and established where the node has a good disk.
    pub fn ack(&mut self, id: WriteId, node: usize, own: bool, replicated: bool) {
        let now = self.tick();
        let record = &mut self.writes[id as usize];
        assert!(record.acked.is_none(), "a write is replied to once");
        record.acked = Some(now);
        let record = *record;
        let peer_owes = replicated && (self.protocol != Protocol::A || !own);
        let peer_durable = replicated && (self.protocol == Protocol::C || !own);
        let volume = &mut self.volumes[record.volume];
        volume.acked[node].push(id);
        for sector in record.first..record.first + record.sectors {
            if own {
                volume.nodes[node].raise(sector, id, record.fua);
            }
            if peer_owes {
                volume.nodes[1 - node].raise(sector, id, record.fua && peer_durable);
            }
        }
    }

    /// A write is answered with an error on `node`: what a read may have shown of it need not stay.
    pub fn failed(&mut self, id: WriteId, node: usize) {
        self.writes[id as usize].failed = true;
        let record = self.writes[id as usize];
        let read = &mut self.volumes[record.volume].nodes[node].read;
        for shown in &mut read[record.first..record.first + record.sectors] {
            if *shown == id {
                *shown = 0;
            }
        }
    }

    /// What reads on `node` have shown of writes that nobody has answered need not stay.
    pub fn forget_unanswered(&mut self, volume: usize, node: usize) {
        let Self { volumes, writes, .. } = self;
        for shown in &mut volumes[volume].nodes[node].read {
            if writes[*shown as usize].acked.is_none() {
                *shown = 0;
            }
        }
    }

    /// The oldest write that a read may show now that is replied to: what reads have shown need not
    /// stay where that has been let go of meanwhile and nobody has answered it.
    pub fn floor_of_read(
        &self,
        volume: usize,
        node: usize,
        sector: usize,
        floor: ReadFloor,
    ) -> WriteId {
        let ReadFloor { owed, shown } = floor;
        let is_shown = self.volumes[volume].nodes[node].read[sector] >= shown;
        if is_shown || self.writes[shown as usize].acked.is_some() { owed.max(shown) } else { owed }
    }

    /// A flush is replied to that was submitted when `covered` writes of the volume had been. `own`
    /// and `replicated` as for a write.
    pub fn flushed(
        &mut self,
        volume: usize,
        node: usize,
        covered: usize,
        own: bool,
        replicated: bool,
    ) {
        let both = replicated && (self.protocol == Protocol::C || !own);
        let Self { volumes, writes, .. } = self;
        let volume = &mut volumes[volume];
        for (index, model) in volume.nodes.iter_mut().enumerate() {
            let flushes = if index == node { own } else { both };
            if !flushes {
                continue;
            }
            for id in volume.acked[node].get(model.flushed[node]..covered).unwrap_or(&[]) {
                let record = writes[*id as usize];
                for sector in record.first..record.first + record.sectors {
                    if model.volatile[sector] >= *id {
                        model.stable[sector] = model.stable[sector].max(*id);
                    }
                }
            }
            model.flushed[node] = model.flushed[node].max(covered);
        }
    }

    /// `node` becomes Primary; `follows`: the peer is established with it.
    pub fn begin_tenure(&mut self, node: usize, follows: bool) {
        let start = self.newest();
        self.tenure = Tenure { node: Some(node), over: false, start, flushes: Vec::new() };
        for volume in &mut self.volumes {
            volume.acked[node].clear();
            for model in &mut volume.nodes {
                model.flushed[node] = 0;
            }
            volume.nodes[node].read.fill(0);
            // Who serves its data does not discard them.
            volume.nodes[node].discards = Discard::No;
            volume.nodes[1 - node].follows = follows && !volume.nodes[1 - node].target;
            volume.nodes[node].follows = false;
        }
    }

    /// What the Primary has written is given up in part, as where policies have it lose a split
    /// brain: only what it writes from here on has an order.
    pub fn begin_order(&mut self) {
        self.tenure.start = self.newest();
        self.tenure.flushes.clear();
    }

    /// The write that a sector shows: the oldest and the newest it can be, for zeroes look alike
    /// and may be as old as can be.
    ///
    /// # Errors
    /// What is wrong with a sector that no write of this volume put there.
    pub fn shown(
        &self,
        volume: usize,
        sector: usize,
        content: Content,
    ) -> Result<(WriteId, WriteId), String> {
        if let Some(latest) = self.volumes[volume].shows_latest(sector, content) {
            return Ok(latest);
        }
        let shown = self.shown_at_first(volume, sector, content);
        let grown = sector >= self.volumes[volume].first_sectors;
        shown.or_else(|text| if grown { Ok((0, 0)) } else { Err(text) })
    }

    fn shown_at_first(
        &self,
        volume: usize,
        sector: usize,
        content: Content,
    ) -> Result<(WriteId, WriteId), String> {
        match content {
            Content::Garbage => Err("holds garbage".into()),
            Content::Zero => {
                let newest = (self.volumes[volume].history[sector].iter().rev())
                    .find(|id| self.writes[**id as usize].zero);
                Ok((0, *newest.ok_or("holds zeroes that nobody wrote")?))
            }
            Content::Written(_, number) if number != sector as u64 => {
                Err(format!("holds the data of sector {number}"))
            }
            Content::Written(0, _) => Ok((0, 0)),
            Content::Written(id, _) => match self.writes.get(id as usize) {
                Some(record) if record.covers(volume, sector) && !record.zero => Ok((id, id)),
                Some(_) | None => Err(format!("holds write {id}, which never was there")),
            },
        }
    }

    /// Whether an image of these `contents` shows a write, or in its place something newer; what is
    /// wrong there is not older.
    pub fn is_shown(&self, id: WriteId, contents: &[Content]) -> bool {
        let WriteRecord { volume, first, sectors, .. } = self.writes[id as usize];
        (first..first + sectors).all(|sector| {
            let shown = self.shown(volume, sector, contents[sector]);
            shown.map_or(true, |(_, newest)| newest >= id)
        })
    }

    /// The oldest write, from `floor` on, that looks like `newest` in this sector: zeroes all do.
    pub fn oldest_shown(
        &self,
        volume: usize,
        sector: usize,
        newest: WriteId,
        floor: WriteId,
    ) -> WriteId {
        if !self.writes[newest as usize].zero {
            return newest;
        }
        if floor == 0 && sector >= self.volumes[volume].first_sectors {
            return 0; // what a volume has grown by may be zero from the start
        }
        let since = self.volumes[volume].history[sector].iter().rev();
        (since.take_while(|id| **id >= floor))
            .filter(|id| **id <= newest && self.writes[**id as usize].zero)
            .last()
            .copied()
            .unwrap_or(newest)
    }
}

impl WriteRecord {
    /// A record that is not submitted yet.
    pub fn new(volume: usize, first: usize, sectors: usize, zero: bool, fua: bool) -> Self {
        Self {
            volume,
            node: usize::MAX,
            first,
            sectors,
            zero,
            fua,
            submitted: 0,
            acked: None,
            failed: false,
        }
    }

    /// Whether it wrote this sector.
    pub fn covers(&self, volume: usize, sector: usize) -> bool {
        self.volume == volume && sector >= self.first && sector - self.first < self.sectors
    }
}

#[cfg(test)]
mod tests;
