//! What a power loss would leave at this moment: all of it, checked without waiting for one.
//!
//! Each sector of a disk's cache would be old or new on its own. That all of these images show what
//! the node owes after a power loss (INV-1, INV-2) is known from the old bytes of each sector; that
//! all are in order (INV-5), from what each sector may show against what any other may lose.

use tandem_wire::Role;

use crate::checks::Violation;
use crate::checks::prefix::{self, Boundary, Image};
use crate::disk::SimDisk;
use crate::world::World;

impl World {
    /// INV-1, INV-2: whatever a power loss leaves of a volume, it is what the node owes then.
    pub(crate) fn check_stable(&self, node: usize, volume: usize) -> Result<(), Violation> {
        let owes = &self.model.volumes[volume].nodes[node];
        if owes.target {
            return Ok(());
        }
        for (sector, content) in self.nodes[node].disks[volume].may_return() {
            // Behind the volume lie internal metadata.
            let Some(owed) = owes.stable.get(sector) else { continue };
            let text = match self.model.shown(volume, sector, content) {
                Ok((_, newest)) if newest >= *owed => continue,
                Ok((_, newest)) => format!("goes back to write {newest}, owes {owed}"),
                Err(text) => text,
            };
            let text = format!(
                "node {node} loses power at this moment: volume {volume}, sector {sector} {text}"
            );
            return Err(Violation::new("INV-2 flush", text));
        }
        Ok(())
    }

    /// The same on both nodes, behind a reply that promised it.
    pub(crate) fn check_promise(&self, volume: usize) -> Result<(), Violation> {
        self.check_stable(0, volume)?;
        self.check_stable(1, volume)
    }

    /// INV-2: a flush is answered though neither node says that it has good data: some disk has all
    /// the same, durably, the writes of `node` that it covers.
    pub(crate) fn check_kept(
        &self,
        node: usize,
        volume: usize,
        covered: usize,
    ) -> Result<(), Violation> {
        let acked = &self.model.volumes[volume].acked[node];
        let covered = &acked[..covered.min(acked.len())];
        let lacks = |disk: &SimDisk| {
            let mut contents = disk.contents().to_vec();
            disk.may_return().for_each(|(sector, content)| contents[sector] = content);
            covered.iter().copied().find(|id| !self.model.is_shown(*id, &contents))
        };
        let [own, peer] = [node, 1 - node].map(|it| lacks(&self.nodes[it].disks[volume]));
        let (Some(own), Some(peer)) = (own, peer) else { return Ok(()) };
        let text = format!(
            "node {node} answers a flush of volume {volume}: its disk lacks write {own}, its \
             peer's {peer}"
        );
        Err(Violation::new("INV-2 flush", text))
    }

    /// INV-5 on a node that follows the Primary, as it is and after a power loss.
    pub(crate) fn check_order(&self, node: usize, boundary: Boundary) -> Result<(), Violation> {
        if self.nodes[node].view.role == Role::Primary {
            return Ok(());
        }
        let may_lose = boundary == Boundary::Flush;
        let mut images = Vec::new();
        for (volume, model) in self.model.volumes.iter().enumerate() {
            let owes = &model.nodes[node];
            if owes.target || !owes.follows {
                continue;
            }
            let (disk, sectors) = (&self.nodes[node].disks[volume], model.history.len());
            let mut image = Image {
                volume,
                contents: &disk.contents()[..sectors],
                may_return: Vec::new(),
                may_land: Vec::new(),
            };
            if may_lose {
                image.may_return = disk.may_return().filter(|(at, _)| *at < sectors).collect();
                image.may_land = disk.may_land().filter(|(at, _)| *at < sectors).collect();
            }
            images.push(image);
        }
        prefix::check(&self.model, &images, boundary)
    }
}
