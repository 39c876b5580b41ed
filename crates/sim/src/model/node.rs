//! What one node owes and may for a volume.

use crate::stamp::{Content, WriteId};

/// Whether an operator gave a node's data up, by `connect --discard-my-data`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Discard {
    /// It did not.
    No,
    /// For the next handshake that the disks of both nodes take part in.
    Asked,
    /// A handshake has told it to become target. What the source has noted of that it goes on with,
    /// whenever they meet again.
    Begun,
}

/// What a node owes and may for a volume.
#[derive(Debug)]
pub struct NodeModel {
    /// Oldest write each sector may show while the node keeps power.
    pub volatile: Vec<WriteId>,
    /// Oldest write each sector may show after a power loss.
    pub stable: Vec<WriteId>,
    /// By sector: what completed reads have shown since this node is Primary.
    pub read: Vec<WriteId>,
    /// By node: how many of its replies are durable here by a flush.
    pub flushed: [usize; 2],
    /// Resync target that has not been done since: its image is a mixture.
    pub target: bool,
    /// What the source owed when that resync began.
    pub target_floor: Vec<WriteId>,
    /// An operator gave this node's data up.
    pub released: bool,
    /// What it wrote apart is being copied to the peer, and it has written nothing apart since.
    pub hands_over: bool,
    /// Whether an operator gave this node's data up for the next handshake.
    pub discards: Discard,
    /// The peer was promoted while they were apart: what only this node has is given up.
    pub failed_over: bool,
    /// It replied to writes of its own while apart: a generation of its own for certain.
    pub forked: bool,
    /// It was Primary while apart: perhaps a generation of its own.
    pub may_have_forked: bool,
    /// Its disk is a new one that has not been told yet what it lacks.
    pub blank: bool,
    /// Such a disk was declared the newest data: they have nothing in common with the peer's, until
    /// one is copied to the other.
    pub founded: bool,
    /// It has followed the Primary of this tenure since it was last equal to it.
    pub follows: bool,
    /// Crashed since it was last known equal to the peer: bits are known after the next handshake
    /// only.
    pub crashed: bool,
    /// Its disk was given up since then, with operations in flight.
    pub failed: bool,
    /// How often it has lost what it had received and not written (B).
    pub memory_losses: u32,
}

impl NodeModel {
    pub(super) fn new(sectors: usize) -> Self {
        Self {
            volatile: vec![0; sectors],
            stable: vec![0; sectors],
            read: vec![0; sectors],
            flushed: [0; 2],
            target: false,
            target_floor: Vec::new(),
            released: false,
            hands_over: false,
            discards: Discard::No,
            failed_over: false,
            forked: false,
            may_have_forked: false,
            blank: false,
            founded: false,
            follows: false,
            crashed: false,
            failed: false,
            memory_losses: 0,
        }
    }

    pub(super) fn grow(&mut self, sectors: usize) {
        for floor in [&mut self.volatile, &mut self.stable, &mut self.read] {
            floor.resize(sectors, 0);
        }
        if !self.target_floor.is_empty() {
            self.target_floor.resize(sectors, 0);
        }
    }

    /// Its copy of everything is being replaced: it owes nothing until that is done.
    pub fn begin_target(&mut self, source_floor: &[WriteId]) {
        self.target = true;
        self.blank = false;
        self.founded = false;
        self.follows = false;
        // What it wrote apart is being replaced, whether the other node has seen that or not.
        self.forked = false;
        self.may_have_forked = false;
        self.target_floor = source_floor.to_vec();
        if self.released {
            // A Primary whose clients shall bear it (rr-conflict violently).
            self.read.fill(0);
        }
        self.volatile.fill(0);
        self.stable.fill(0);
    }

    /// It holds what its peer holds: what it did apart, or lost, does not count any more.
    pub(super) fn agreed(&mut self) {
        self.released = false;
        self.discards = Discard::No;
        self.failed_over = false;
        self.forked = false;
        self.may_have_forked = false;
        self.crashed = false;
        self.failed = false;
    }

    /// Its process died, or its disk was given up, and with it what it had received and not written
    /// (B).
    pub fn lose_memory(&mut self, contents: &[Content]) {
        self.memory_losses += 1;
        for (owed, content) in self.volatile.iter_mut().zip(contents) {
            *owed = match content {
                Content::Written(id, _) => (*owed).min(*id),
                Content::Zero | Content::Garbage => 0,
            };
        }
    }

    /// It lost power: what was not flushed may be gone.
    pub fn lose_power(&mut self) {
        self.volatile.copy_from_slice(&self.stable);
    }

    pub(super) fn raise(&mut self, sector: usize, id: WriteId, durable: bool) {
        if self.target {
            return;
        }
        self.volatile[sector] = self.volatile[sector].max(id);
        if durable {
            self.stable[sector] = self.stable[sector].max(id);
        }
    }
}
