//! One volume: its writes by sector, and what its nodes owe.

use std::collections::BTreeSet;

use tandem_wire::Protocol;

use super::{Discard, NodeModel, ReadFloor, WriteRecord};
use crate::stamp::{Content, WriteId};

/// One volume.
#[derive(Debug)]
pub struct VolumeModel {
    /// By node.
    pub nodes: [NodeModel; 2],
    /// By sector: writes, ascending.
    pub history: Vec<Vec<WriteId>>,
    /// By sector: the last of them, which is what most sectors show.
    latest: Vec<Latest>,
    /// Sectors that have rotted on a node's disk, and maybe spread from there: they may read as
    /// garbage, and differ, until a verify finds them or a write replaces them.
    pub rotten: BTreeSet<usize>,
    /// Sectors it had at first; those behind them may show anything until they are written.
    pub first_sectors: usize,
    /// Sectors that clients have seen it with while the nodes were connected.
    pub exposed: usize,
    /// By node: those that its clients have seen.
    pub shown: [usize; 2],
    /// By node: writes it has replied to since it is Primary, in order of the replies.
    pub acked: [Vec<WriteId>; 2],
}

/// The newest write of a sector.
#[derive(Clone, Copy, Debug, Default)]
struct Latest {
    id: WriteId,
    zero: bool,
}

impl VolumeModel {
    pub(super) fn new(sectors: usize) -> Self {
        Self {
            nodes: [NodeModel::new(sectors), NodeModel::new(sectors)],
            history: vec![Vec::new(); sectors],
            latest: vec![Latest::default(); sectors],
            rotten: BTreeSet::new(),
            first_sectors: sectors,
            exposed: 0,
            shown: [0; 2],
            acked: [Vec::new(), Vec::new()],
        }
    }

    pub(super) fn grow(&mut self, sectors: usize) {
        self.history.resize(sectors, Vec::new());
        self.latest.resize(sectors, Latest::default());
        for node in &mut self.nodes {
            node.grow(sectors);
        }
    }

    pub(super) fn submit(&mut self, id: WriteId, record: &WriteRecord) {
        let range = record.first..record.first + record.sectors;
        for sector in &mut self.history[range.clone()] {
            sector.push(id);
        }
        self.latest[range].fill(Latest { id, zero: record.zero });
    }

    /// The oldest and the newest write that a sector shows which shows the last one. Nearly all do,
    /// in every image that is looked at, and this finds it out from what lies side by side.
    pub(super) fn shows_latest(
        &self,
        sector: usize,
        content: Content,
    ) -> Option<(WriteId, WriteId)> {
        let Latest { id, zero } = self.latest[sector];
        match content {
            Content::Zero if zero => Some((0, id)),
            Content::Written(shown, number) => {
                (!zero && shown == id && number == sector as u64).then_some((id, id))
            }
            Content::Zero | Content::Garbage => None,
        }
    }

    /// Whether a sector that shows this write shows the last one.
    pub fn is_latest(&self, sector: usize, shown: WriteId) -> bool {
        shown >= self.latest[sector].id
    }

    /// What a read submitted now on `node` must show, by sector.
    pub fn read_floors(&self, node: usize, range: std::ops::Range<usize>) -> Vec<ReadFloor> {
        let node = &self.nodes[node];
        range.map(|at| ReadFloor { owed: node.volatile[at], shown: node.read[at] }).collect()
    }

    /// The source has seen the end of a resync: what it replied to by now the target has too, if it
    /// has not crashed behind its last word. In A replies have not waited for it.
    pub fn source_done(&mut self, source: usize, protocol: Protocol) {
        let [a, b] = &mut self.nodes;
        let (source, target) = if source == 0 { (a, b) } else { (b, a) };
        if protocol == Protocol::A || target.target || target.crashed {
            return;
        }
        for (owed, has) in target.volatile.iter_mut().zip(&source.volatile) {
            *owed = (*owed).max(*has);
        }
    }

    /// Whether both nodes have answered writes apart, and neither is to discard them.
    pub fn is_split(&self) -> bool {
        self.nodes.iter().all(|node| node.forked && node.discards == Discard::No)
    }

    /// The data of `node` were declared the newest: a target's, for all that they are worth.
    pub fn forced(&mut self, node: usize) {
        let [a, b] = &mut self.nodes;
        let (node, other) = if node == 0 { (a, b) } else { (b, a) };
        if node.target {
            node.target = false;
            node.volatile.fill(0);
            node.stable.fill(0);
            // Its source is not given up by that, for it may have been written to since: a split
            // brain.
            other.may_have_forked = true;
        } else {
            other.released = true;
        }
        node.read.fill(0);
        node.founded |= std::mem::take(&mut node.blank);
        node.may_have_forked = true;
    }

    /// The disk of `node` is a new one: it owes nothing until it has been a target.
    pub fn replaced(&mut self, node: usize) {
        let node = &mut self.nodes[node];
        node.begin_target(&vec![0; node.volatile.len()]);
        node.released = true;
        node.blank = true;
    }

    /// Node `target` has become equal to the other one, whose word now counts. If they are not
    /// `linked` any more, the other one may have gone on alone since; if that one has no disk, what
    /// its disk holds is as it was.
    pub fn became_equal(
        &mut self,
        target: usize,
        contents: &[Content],
        protocol: Protocol,
        linked: bool,
        peer_has_disk: bool,
    ) {
        let [a, b] = &mut self.nodes;
        let (source, target) = if target == 0 { (b, a) } else { (a, b) };
        let sectors = target.volatile.len();
        assert!(contents.len() >= sectors, "an image is no smaller than its volume");
        for (sector, content) in contents.iter().enumerate().take(sectors) {
            let mut owed = source.volatile[sector];
            if protocol == Protocol::A || !linked {
                // Replies do not wait for the target: what it has not got yet it does not owe.
                owed = match content {
                    Content::Written(id, _) => owed.min((*id).max(target.volatile[sector])),
                    Content::Zero | Content::Garbage => owed.min(target.volatile[sector]),
                };
            }
            target.volatile[sector] = owed;
            let mut durable = source.stable[sector].min(owed);
            if protocol != Protocol::C || !linked {
                // Flushed while it was copied: on the source only, in A and B (INV-2). So of a node
                // that was itself the source of a Primary, which is equal and goes on before it.
                let copied = &target.target_floor;
                let had = if target.target { copied[sector] } else { target.stable[sector] };
                durable = durable.min(had);
            }
            target.stable[sector] = durable;
        }
        target.target = false;
        target.agreed();
        if linked && peer_has_disk {
            source.agreed();
        } else if source.hands_over {
            source.forked = false;
        }
    }
}
