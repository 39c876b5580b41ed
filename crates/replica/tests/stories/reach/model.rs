//! What each node owes: the oldest write that a block may show, as in the simulator's model.

use tandem_replica::wire::Protocol;

/// Blocks that are written, each in an extent of its own.
pub(super) const BLOCKS: usize = 2;

/// Writes by block; a later one has the higher number.
pub(super) type Floor = [u32; BLOCKS];

/// One node.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Owes {
    /// While it keeps power.
    pub(super) volatile: Floor,
    /// Also after a power loss.
    pub(super) stable: Floor,
    /// Replied to a write of its own while apart.
    pub(super) forked: bool,
    /// Was Primary while apart.
    pub(super) may_have_forked: bool,
    /// Somebody gave its data up, or declared them the newest.
    pub(super) released: bool,
    /// The peer was promoted without it.
    pub(super) failed_over: bool,
    /// Its process died since the nodes were last equal.
    pub(super) crashed: bool,
}

impl Owes {
    /// A write was replied to that is kept here.
    pub(super) fn raise(&mut self, block: usize, write: u32) {
        self.volatile[block] = self.volatile[block].max(write);
    }

    pub(super) fn flushed(&mut self) {
        self.stable = self.volatile;
    }

    pub(super) fn lose_power(&mut self) {
        self.volatile = self.stable;
    }

    /// Its image is a mixture: it owes nothing until it is whole again.
    pub(super) fn is_copied_over(&mut self) {
        self.volatile = Floor::default();
        self.stable = Floor::default();
    }

    /// Both hold the same from here on.
    pub(super) fn agreed(&mut self, shown: Floor) {
        let stable = std::array::from_fn(|block| self.stable[block].min(shown[block]));
        *self = Self { volatile: shown, stable, ..Self::default() };
    }

    /// What the source of a resync over this node must show at least.
    pub(super) fn owed(&self, protocol: Protocol, source: &Self) -> Floor {
        if self.released || self.failed_over {
            return Floor::default();
        }
        // In A a crashed Primary is source whatever it lost; in B a killed Secondary cannot tell
        // whether it had written all that it received.
        let flushed_only = match protocol {
            Protocol::A => source.crashed,
            Protocol::B => source.crashed && self.crashed,
            Protocol::C => false,
        };
        if flushed_only { self.stable } else { self.volatile }
    }
}

/// The first block that shows less than it must.
pub(super) fn missing(shown: &Floor, owed: &Floor) -> Option<usize> {
    (0..BLOCKS).find(|block| shown[*block] < owed[*block])
}
