//! Volumes that grow: the operator enlarges disks, of one node or both, at any state, and has the
//! volume resized; what both nodes and their clients may see of that (INV-21).
//!
//! What a disk grows by holds anything, also where metadata will lie. A sector behind the volume's
//! first end may show anything until it is written; that both nodes show the same is for the checks
//! of equality and bits. Clients see a size only when the metadata of both nodes say it, and no
//! smaller one after that, on whichever node.

use tandem_replica::Command;
use tandem_replica::meta::{Placement, Probe, Superblock, probe, superblock_offsets};
use tandem_wire::{DiskState, Role};

use crate::checks::Violation;
use crate::disk::SimDisk;
use crate::fault::Doom;
use crate::format::{META_BYTES, placement};
use crate::marks::Mark;
use crate::model::VolumeModel;
use crate::node::volume_number;
use crate::profile::Profile;
use crate::stamp::SECTOR;
use crate::view::View;
use crate::world::World;

/// Blocks by which a volume grows: more than its metadata take.
const GROWTH_BLOCKS: (u64, u64) = (260, 700);

/// Largest volume that the operator makes.
pub const BLOCKS_MAX: u64 = 4096;

impl World {
    /// A disk or two get larger, or a volume does, or all of that at once.
    pub(crate) fn plan_grow(&mut self, node: usize) -> Result<(), Violation> {
        let volume = self.prng.index(self.nodes[node].disks.len());
        let [a, b] = [0, 1].map(|node| self.disk_blocks(node, volume));
        let most = a.max(b);
        if a != b {
            self.enlarge(usize::from(b < a), volume, most);
        } else if most < BLOCKS_MAX && self.prng.per_mille(700) {
            let blocks = most + self.prng.between(GROWTH_BLOCKS.0, GROWTH_BLOCKS.1);
            self.enlarge(node, volume, blocks);
            if self.prng.per_mille(700) {
                self.enlarge(1 - node, volume, blocks);
            }
        }
        if self.prng.per_mille(400) && self.doomed.is_none() {
            let node = self.prng.index(2);
            let actions = self.prng.between(1, 60);
            self.doomed = Some(Doom { node, actions, power: None });
        }
        // Mostly where it is allowed.
        let primary = (0..2).find(|node| self.nodes[*node].view.role == Role::Primary);
        let wise = self.prng.per_mille(700);
        let node = primary.filter(|_| wise).unwrap_or(node);
        let both = self.prng.per_mille(150);
        self.faults.commands += 1;
        self.resize(node, volume)?;
        if both {
            self.resize(1 - node, volume)?;
        }
        Ok(())
    }

    fn resize(&mut self, node: usize, volume: usize) -> Result<(), Violation> {
        let current = self.nodes[node].view.volumes[volume].size;
        let some = self.prng.per_mille(250).then(|| current + self.prng.between(1, 300) * 4096);
        self.command(
            node,
            Command::Resize {
                volume: volume_number(volume),
                size: some.filter(|_| current > 0),
                assume_clean: false,
                assume_peer_has_space: false,
            },
        )
    }

    /// Blocks of data that a disk has room for, if its metadata go along.
    pub(crate) fn disk_blocks(&self, node: usize, volume: usize) -> u64 {
        let bytes = self.nodes[node].disks[volume].opened().data_bytes;
        let internal = if self.profile.external[node] { 0 } else { META_BYTES as u64 };
        (bytes - internal) / 4096
    }

    fn enlarge(&mut self, node: usize, volume: usize, blocks: u64) {
        let more = (blocks - self.disk_blocks(node, volume)) * 4096;
        self.tell(Some(node), format_args!("** disk {volume} grows by {more} bytes"));
        let target = &mut self.nodes[node];
        target.disks[volume].enlarge(usize::try_from(more).expect("small"), &mut target.prng);
    }

    /// Whether a resize is under way.
    pub(crate) fn is_growing(&self) -> bool {
        let grows = |command: &Command| matches!(command, Command::Resize { .. });
        self.operator.pending.values().any(|(_, command, _)| grows(command))
    }

    /// A resize is under way while a node dies.
    pub(crate) fn saw_crash_while_growing(&mut self) {
        let growing = self.is_growing();
        self.marks.hit_if(growing, Mark::KilledWhileGrowing);
    }

    /// INV-21: a size that is seen, by clients or not.
    pub(crate) fn check_sizes(&mut self, node: usize, view: &View) -> Result<(), Violation> {
        for (volume, state) in view.volumes.iter().enumerate() {
            let told = usize::try_from(state.size).expect("small") / SECTOR;
            if view.role == Role::Primary && told > 0 {
                self.check_exposed(node, volume, told)?;
            }
            let known = self.model.volumes[volume].history.len();
            if told > known {
                self.marks.hit(Mark::VolumeGrew);
                self.marks.hit_if(!self.clients.pending.is_empty(), Mark::GrewUnderLoad);
                self.model.grow(volume, told);
                self.differences[volume].grow(told);
            }
        }
        Ok(())
    }

    fn check_exposed(&mut self, node: usize, volume: usize, told: usize) -> Result<(), Violation> {
        let invariant = "INV-21 sizes";
        // What the other one has shown while it was alone this node does not know.
        let VolumeModel { exposed, shown, .. } = &self.model.volumes[volume];
        let before = *exposed.max(&shown[node]);
        if told < before {
            let text = format!("node {node} shows volume {volume} with {told} sectors of {before}");
            return Err(Violation::new(invariant, text));
        }
        if told > before {
            let is_away = self.nodes[node].view.volumes[volume].disk < DiskState::Inconsistent;
            // One without a disk shows what its peer's is; what its own would say does not count.
            for node in self.nodes.iter().filter(|other| other.index != node || !is_away) {
                let found = superblock(&node.disks[volume], &self.profile, node.index);
                let bytes = found.map_or(0, |found| found.effective_bytes);
                if bytes < (told * SECTOR) as u64 {
                    let text = format!(
                        "clients see {told} sectors of volume {volume}, the metadata of node {} \
                         say {bytes} bytes",
                        node.index
                    );
                    return Err(Violation::new(invariant, text));
                }
            }
        }
        // A peer without a disk keeps none of it.
        let view = &self.nodes[node].view;
        let is_known =
            view.is_connected() && view.volumes[volume].peer_disk >= DiskState::Inconsistent;
        let VolumeModel { exposed, shown, .. } = &mut self.model.volumes[volume];
        shown[node] = told;
        if is_known {
            *exposed = told;
        }
        Ok(())
    }
}

/// What a disk's metadata say, at its end or at an end that it had before.
pub fn superblock(disk: &SimDisk, profile: &Profile, node: usize) -> Option<Superblock> {
    let placement = placement(profile, node);
    let meta = disk.meta();
    let ends: Vec<u64> = match placement {
        Placement::Internal => disk.lengths().iter().rev().copied().collect(),
        Placement::External { meta_bytes } => vec![meta_bytes],
    };
    ends.into_iter().find_map(|end| {
        let offsets = superblock_offsets(end, placement)?;
        let [a, b] = offsets.map(|offset| meta.read(offset, 4096));
        match probe(&a, &b) {
            Probe::Found(superblock) => Some(*superblock),
            Probe::Nothing | Probe::Unusable(_) => None,
        }
    })
}
