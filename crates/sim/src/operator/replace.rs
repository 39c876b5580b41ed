//! A disk that is broken for good: its node stops, and starts again with a new, empty one.

use tandem_wire::DiskState;

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
        self.crash(node, true)?;
        self.tell(Some(node), format_args!("has a new disk for volume {volume}"));
        self.faults.replaced += 1;
        let blocks = self.disk_blocks(node, volume);
        self.nodes[node].replace_disk(volume, blocks, &self.profile);
        self.model.volumes[volume].replaced(node);
        Ok(())
    }

    /// Whether nobody has told a new disk yet what it lacks.
    pub(crate) fn has_blank(&self, volume: usize) -> bool {
        let is_blank = |node: &Node| {
            self.model.volumes[volume].nodes[node.index].blank
                && node.view.volumes[volume].disk <= DiskState::Inconsistent
        };
        self.nodes.iter().any(is_blank)
    }
}
