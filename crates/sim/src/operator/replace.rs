//! A disk that is broken for good, or whose data nobody can match with the peer's: its node stops,
//! and starts again with a new, empty one.

use tandem_wire::{DiskState, Role};

use crate::checks::Violation;
use crate::node::Node;
use crate::world::World;

impl World {
    /// A Secondary's disk of one volume is replaced. Only while the Primary's own has everything:
    /// nobody can give back the last good copy.
    pub(crate) fn plan_replace(&mut self) -> Result<(), Violation> {
        let Some(node) = self.healthy_secondary() else { return Ok(()) };
        if !(self.nodes[1 - node].answers() && self.nodes[1 - node].view.is_healthy()) {
            return Ok(());
        }
        let volume = self.prng.index(self.nodes[node].disks.len());
        self.replace(node, volume)
    }

    /// Both say that their data have nothing in common: one side gets a new disk once more.
    pub(crate) fn tend_unrelated(&mut self) -> Result<(), Violation> {
        let reported = self.nodes.iter().all(|node| node.answers() && node.view.is_unrelated());
        if !reported || self.prng.per_mille(900) {
            return Ok(());
        }
        let is_founded = |it: &usize| self.model.volumes[*it].nodes.iter().any(|node| node.founded);
        let Some(volume) = (0..self.model.volumes.len()).find(is_founded) else { return Ok(()) };
        let victim = (0..2).find(|node| self.nodes[*node].view.role != Role::Primary);
        let victim = victim.unwrap_or_else(|| self.prng.index(2));
        self.replace(victim, volume)
    }

    fn replace(&mut self, node: usize, volume: usize) -> Result<(), Violation> {
        self.crash(node, true)?;
        self.tell(Some(node), format_args!("has a new disk for volume {volume}"));
        self.faults.replaced += 1;
        let blocks = self.disk_blocks(node, volume);
        self.nodes[node].replace_disk(volume, blocks, &self.profile);
        self.model.volumes[volume].replaced(node);
        Ok(())
    }

    /// Whether nobody has told a new disk yet what it lacks, also where it was declared the newest.
    pub(crate) fn has_blank(&self, volume: usize) -> bool {
        let is_blank = |node: &Node| {
            let owes = &self.model.volumes[volume].nodes[node.index];
            let is_new = node.view.volumes[volume].disk <= DiskState::Inconsistent;
            (owes.blank && is_new) || owes.founded
        };
        self.nodes.iter().any(is_blank)
    }
}
