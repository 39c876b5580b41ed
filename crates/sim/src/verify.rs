//! Online verify: sectors that rot at rest, an operator who has volumes verified, and INV-16: a
//! verify reports every block that has rotted and was not written meanwhile, and no other.
//!
//! Sectors rot on a healthy Secondary only, and while nothing is verified; so what is rotten at the
//! end of a run was so at its beginning. If that Secondary becomes Primary its clients may read
//! garbage there, and a resync from it may spread it: the model knows which sectors that can be.

use std::collections::BTreeSet;

use tandem_replica::{Command, News};
use tandem_wire::{ReplicationState, VolumeNumber};

use crate::checks::Violation;
use crate::marks::Mark;
use crate::node::{node_id, volume_number};
use crate::stamp::BLOCK_SECTORS;
use crate::world::{Phase, World};

/// Times in a thousand that an operator who verifies at all does so when he looks around.
const EAGERNESS: u64 = 60;

/// Blocks that the runs under way have reported.
#[derive(Debug, Default)]
pub struct Verifies {
    reported: BTreeSet<(usize, usize, usize)>,
}

impl Verifies {
    /// A run begins.
    pub fn begin(&mut self, node: usize, volume: usize) {
        self.reported.retain(|(on, of, _)| (*on, *of) != (node, volume));
    }
}

impl World {
    /// Some sectors of a healthy Secondary rot.
    pub(crate) fn rot(&mut self) {
        let Some(node) = self.healthy_secondary() else { return };
        let volume = self.prng.index(self.nodes[node].disks.len());
        self.forget_replaced(volume);
        for _ in 0..self.prng.between(1, 4) {
            let sector = self.prng.index(self.model.volumes[volume].history.len());
            if self.nodes[node].disks[volume].data_mut().rot(sector, &mut self.prng) {
                self.tell(Some(node), format_args!("sector {sector} of volume {volume} rots"));
                self.model.volumes[volume].rotten.insert(sector);
                self.marks.hit(Mark::SectorRotted);
            }
        }
    }

    /// What is sound again on both nodes, durably, is as any other sector.
    fn forget_replaced(&mut self, volume: usize) {
        let nodes = &self.nodes;
        let unsound =
            |sector: &usize| nodes.iter().any(|it| !it.disks[volume].data().is_sound(*sector));
        self.model.volumes[volume].rotten.retain(unsound);
    }

    /// Sectors that have rotted and differ.
    fn rotten_sectors(&self, volume: usize) -> impl Iterator<Item = usize> {
        let [a, b] = [0, 1].map(|node| self.nodes[node].disks[volume].data());
        let rotten = self.model.volumes[volume].rotten.iter().copied();
        rotten.filter(move |sector| {
            (a.is_rotten(*sector) || b.is_rotten(*sector))
                && a.image()[*sector] != b.image()[*sector]
        })
    }

    /// Whether there is something to be found.
    pub(crate) fn is_rotten(&self) -> bool {
        (0..self.model.volumes.len()).any(|volume| self.rotten_sectors(volume).next().is_some())
    }

    /// A volume is verified, or that is stopped.
    pub(crate) fn plan_verify(&mut self, node: usize) -> Result<(), Violation> {
        let volume = self.prng.index(self.nodes[node].disks.len());
        let view = &self.nodes[node].view;
        if !view.is_connected() || self.operator.is_busy(node) {
            return Ok(());
        }
        self.faults.commands += 1;
        let (peer, number) = (node_id(1 - node), volume_number(volume));
        if view.volumes[volume].verifying == Some(ReplicationState::VerifyS) {
            if !self.prng.per_mille(300) {
                return Ok(());
            }
            return self.command(node, Command::StopVerify { volume: number, peer });
        }
        let size = view.volumes[volume].size.max(1);
        let place = |world: &mut Self| world.prng.per_mille(200).then(|| world.prng.below(size));
        let (start, stop) = (place(self), place(self));
        let repair = self.prng.per_mille(300);
        self.command(node, Command::Verify { volume: number, peer, start, stop, repair })
    }

    /// What was found is repaired by meeting anew, sooner or later; before the end everything is
    /// verified that has something to be found.
    pub(crate) fn tend_findings(&mut self) -> Result<(), Violation> {
        let healing = self.phase == Phase::Heal;
        let eager = self.phase == Phase::Load && self.profile.faults.verify > 0;
        if eager && self.prng.per_mille(EAGERNESS) {
            let node = self.prng.index(2);
            self.plan_verify(node)?;
        }
        let busy = (0..2).any(|node| self.operator.is_busy(node));
        let chance = if healing || self.is_long_forgotten() { 1000 } else { 30 };
        if self.phase == Phase::Setup || busy || !self.prng.per_mille(chance) {
            return Ok(());
        }
        let node = self.prng.index(2);
        for volume in 0..self.model.volumes.len() {
            let views = [0, 1].map(|node| self.nodes[node].view.volumes[volume]);
            let in_sync = (0..2).all(|node| self.nodes[node].view.is_established(volume));
            if !in_sync || views.iter().any(|view| view.verifying.is_some()) {
                continue;
            }
            if views.iter().any(|view| view.dirty_blocks > 0) {
                let force = self.prng.per_mille(500);
                return self.command(node, Command::Disconnect { peer: node_id(1 - node), force });
            }
            if healing && self.rotten_sectors(volume).next().is_some() {
                let (peer, number) = (node_id(1 - node), volume_number(volume));
                let (start, repair) = (Some(0), self.prng.per_mille(500));
                let command = Command::Verify { volume: number, peer, start, stop: None, repair };
                return self.command(node, command);
            }
        }
        Ok(())
    }

    /// A verify tells what it has found, or that it is done.
    pub(crate) fn verify_tells(
        &mut self,
        node: usize,
        volume: VolumeNumber,
        news: News,
    ) -> Result<(), Violation> {
        let volume = usize::from(volume.0);
        let block = |offset: u64| usize::try_from(offset / 4096).expect("small");
        match news {
            News::BlocksDiffer(range) => {
                for block in block(range.offset)..block(range.end()) {
                    self.check_reported(node, volume, block)?;
                    self.verifies.reported.insert((node, volume, block));
                }
                Ok(())
            }
            News::VerifyDone { start, stop, .. } => {
                self.marks.hit(Mark::VerifyDone);
                self.check_found(node, volume, block(start)..block(stop))
            }
        }
    }

    fn check_reported(&self, node: usize, volume: usize, block: usize) -> Result<(), Violation> {
        let first = block * BLOCK_SECTORS;
        let mut rotten = self.model.volumes[volume].rotten.range(first..first + BLOCK_SECTORS);
        if rotten.next().is_some() {
            return Ok(());
        }
        let text = format!("node {node}, volume {volume}: block {block} is called different");
        Err(Violation::new("INV-16 nothing but differences", text))
    }

    fn check_found(
        &self,
        node: usize,
        volume: usize,
        blocks: std::ops::Range<usize>,
    ) -> Result<(), Violation> {
        let missed = self.rotten_sectors(volume).find(|sector| {
            let block = sector / BLOCK_SECTORS;
            blocks.contains(&block) && !self.verifies.reported.contains(&(node, volume, block))
        });
        let Some(sector) = missed else { return Ok(()) };
        let text = format!("node {node}, volume {volume}: sector {sector} was not found");
        Err(Violation::new("INV-16 every difference", text))
    }
}
