//! Which sectors of a volume differ between the images of its two nodes.
//!
//! Two sectors that were found equal stay equal until one of them is written. So only what was
//! written since, and what differed the last time, is compared: the result is that of a comparison
//! of the whole images.

use std::collections::BTreeSet;

use crate::disk::SimDisk;
use crate::sectors::SectorSet;
use crate::stamp::BLOCK_SECTORS;

/// The differences of one volume, as of the last look.
#[derive(Debug)]
pub struct Differences {
    differ: SectorSet,
    sectors: usize,
}

impl Differences {
    /// Of a volume of this many sectors, none of them looked at.
    pub fn new(sectors: usize) -> Self {
        Self { differ: SectorSet::full(sectors), sectors }
    }

    /// The volume has more sectors, none of the new ones looked at.
    pub fn grow(&mut self, sectors: usize) {
        self.differ.grow(sectors);
        (self.sectors..sectors).for_each(|sector| self.differ.insert(sector));
        self.sectors = sectors;
    }

    /// Compares the disks of the nodes.
    pub fn look(&mut self, disks: [&mut SimDisk; 2]) {
        let [a, b] = disks.map(|disk| {
            disk.data_mut().take_touched(&mut self.differ);
            disk.image()
        });
        let sectors = self.sectors;
        self.differ.retain(|sector| sector < sectors && a[sector] != b[sector]);
    }

    /// Sectors that differ, ascending.
    pub fn sectors(&self) -> impl Iterator<Item = usize> {
        self.differ.iter()
    }

    /// Blocks that differ, ascending, sectors in `except` apart.
    pub fn blocks(&self, except: &BTreeSet<usize>) -> impl Iterator<Item = usize> {
        let mut last = None;
        let sectors = self.differ.iter().filter(|sector| !except.contains(sector));
        let blocks = sectors.map(|sector| sector / BLOCK_SECTORS);
        blocks.filter(move |block| last.replace(*block) != Some(*block))
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use tandem_replica::DiskOpKind;

    use super::*;
    use crate::cell::Cell;
    use crate::disk::Pace;
    use crate::prng::Prng;
    use crate::stamp::SECTOR;

    #[test]
    fn tells_what_a_whole_comparison_would() {
        let pace = Pace { low: 1, high: 2, stalls: 0 };
        let mut prng = Prng::new(1);
        let mut disks = [0, 1].map(|_| SimDisk::new(vec![Cell::Zero; 100], None, 512, pace));
        let mut differences = Differences::new(90);
        for step in 0..2000 {
            let disk = &mut disks[prng.index(2)];
            let data = Bytes::from(vec![u8::from(prng.per_mille(200)); SECTOR * 2]);
            let offset = (prng.index(99) * SECTOR) as u64;
            let write = DiskOpKind::Write { offset, data, fua: prng.per_mille(300) };
            let (key, _) = disk.issue(write, &mut prng);
            disk.complete(key, &mut prng);
            if step % 50 == 0 {
                disk.power_loss(&mut prng);
            }
            if prng.per_mille(200) {
                let [a, b] = &mut disks;
                differences.look([a, b]);
                let sectors = |index: usize| disks[index].image().iter().take(90);
                let differ: Vec<usize> = (sectors(0).zip(sectors(1)).enumerate())
                    .filter(|(_, (a, b))| a != b)
                    .map(|(sector, _)| sector)
                    .collect();
                assert_eq!(differences.sectors().collect::<Vec<_>>(), differ);
                let mut blocks: Vec<usize> = differ.iter().map(|s| s / BLOCK_SECTORS).collect();
                blocks.dedup();
                assert_eq!(differences.blocks(&BTreeSet::new()).collect::<Vec<_>>(), blocks);
            }
        }
    }
}
