//! `new-current-uuid`: how data begin in some runs, and generations that data get by hand.
//!
//! Runs of seeds that are older than that begin as they did, and have none.

use tandem_replica::{Command, ConnectionState, Initial};
use tandem_wire::{DiskState, VolumeNumber};

use crate::checks::Violation;
use crate::marks::Mark;
use crate::node::volume_number;
use crate::prng::{Prng, mix};
use crate::world::World;

/// The first seed with generations by hand.
const FIRST_SEED: u64 = 1_000_000;

/// What is done by hand in a run.
#[derive(Clone, Copy, Debug, Default)]
pub struct ByHand {
    /// What is said of the first data; `None` where node 0 is promoted by force.
    pub first: Option<Initial>,
    /// How many of a thousand looks at a node that is left alone give its data a generation.
    pub renews: u64,
}

impl ByHand {
    /// From numbers of the seed's own.
    pub fn of(seed: u64) -> Self {
        if seed < FIRST_SEED {
            return Self::default();
        }
        let mut prng = Prng::new(mix(seed));
        let first = prng.pick(&[None, Some(Initial::Equal), Some(Initial::Mine)]);
        Self { first, renews: prng.pick(&[0, 0, 5, 100]) }
    }
}

impl World {
    /// Says of the first volume without data what they are.
    pub(crate) fn tend_first(&mut self, initial: Initial) -> Result<(), Violation> {
        let is_bad = |disk| disk < DiskState::UpToDate;
        let volumes = &self.nodes[0].view.volumes;
        let Some(volume) = volumes.iter().position(|volume| is_bad(volume.disk)) else {
            return Ok(());
        };
        let command = Command::NewUuid { volume: volume_number(volume), initial: Some(initial) };
        self.command(0, command)
    }

    /// Gives data of a node that is apart a generation of their own.
    pub(crate) fn may_renew(&mut self, node: usize) -> Result<bool, Violation> {
        let view = &self.nodes[node].view;
        let renews = self.profile.by_hand.renews;
        if renews == 0 || view.connection != ConnectionState::StandAlone || view.is_split() {
            return Ok(false);
        }
        if !self.prng.per_mille(renews) {
            return Ok(false);
        }
        let volume = volume_number(self.prng.index(self.nodes[node].disks.len()));
        self.command(node, Command::NewUuid { volume, initial: None })?;
        Ok(true)
    }

    /// Data have a generation of their own.
    pub(crate) fn renewed(&mut self, node: usize, volume: VolumeNumber) {
        self.marks.hit(Mark::RenewedByHand);
        // As by a promotion without the peer: what only that one has is given up.
        let nodes = &mut self.model.volumes[usize::from(volume.0)].nodes;
        nodes[node].may_have_forked = true;
        nodes[1 - node].failed_over = true;
    }
}
