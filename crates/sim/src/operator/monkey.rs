//! An operator who knows no better: any command that changes roles, links or disks, at any state,
//! on any node, at times on both nodes at once.
//!
//! He may do what loses data: that is what a command says that it loses, and the model lets go of
//! that much and no more. `invalidate` gives up the target's volume, `connect --discard-my-data` a
//! node's side of a split brain, `primary --force` what the peer has where this node's own data
//! were not good, and a promotion without the peer what only the peer has. Nothing else gives
//! anything up.

use tandem_replica::Command;
use tandem_wire::{DiskState, Role};

use crate::checks::Violation;
use crate::clock::SECONDS;
use crate::marks::Mark;
use crate::model::Discard;
use crate::node::{Node, node_id, volume_number};
use crate::world::World;

/// How long both nodes may be there without anybody's good data until the operator forces one.
const HOPELESS_AFTER: u64 = 10 * SECONDS;

impl World {
    /// Some command on some node, or one on each.
    pub(crate) fn plan_monkey(&mut self, node: usize) -> Result<(), Violation> {
        let both = self.prng.per_mille(300);
        let first = self.draw_command(node);
        let second = self.draw_command(1 - node);
        self.marks.hit_if(both, Mark::CommandsAtOnce);
        self.command(node, first)?;
        if both {
            self.command(1 - node, second)?;
        }
        Ok(())
    }

    fn draw_command(&mut self, node: usize) -> Command {
        let prng = &mut self.prng;
        let peer = node_id(1 - node);
        let volume = volume_number(prng.index(self.nodes[node].disks.len()));
        let force = prng.per_mille(300);
        let reset_bitmap = true;
        match prng.below(21) {
            0..4 => Command::Primary { force: force && prng.per_mille(300) },
            4..7 => Command::Secondary { force },
            7..10 => Command::Disconnect { peer, force },
            10..13 => Command::Connect { peer, discard_my_data: prng.per_mille(150) },
            13 => Command::Invalidate { volume, reset_bitmap },
            14 => Command::InvalidateRemote { volume, peer, reset_bitmap },
            15..17 => Command::Attach { volume },
            17..19 => Command::Detach { volume, force },
            19 => Command::Down { force },
            _ => Command::TryConnect { peer, discard_my_data: prng.per_mille(150) },
        }
    }

    /// What a command gives up if it is carried out; it may take effect before it ends.
    pub(crate) fn release_for(&mut self, id: u64, node: usize, command: Command) {
        if let Command::Connect { discard_my_data: true, .. } = command {
            for volume in &mut self.model.volumes {
                let discards = &mut volume.nodes[node].discards;
                *discards = Discard::Asked.max(*discards);
            }
        }
        let (target, volume) = if let Command::Invalidate { volume, .. } = command {
            (node, usize::from(volume.0))
        } else if let Command::InvalidateRemote { volume, .. } = command {
            (1 - node, usize::from(volume.0))
        } else {
            return;
        };
        let released = &mut self.model.volumes[volume].nodes[target].released;
        if !std::mem::replace(released, true) {
            self.operator.released.insert(id, (target, volume));
        }
    }

    /// A command has ended: one that was refused has given nothing up.
    pub(crate) fn release_ends(&mut self, id: u64, done: bool) {
        if let Some((target, volume)) = self.operator.released.remove(&id)
            && !done
        {
            self.model.volumes[volume].nodes[target].released = false;
        }
    }

    /// A node's data have become good though nobody gave it any: `primary --force` says so, or
    /// `new-current-uuid`.
    pub(crate) fn saw_forced(&mut self, node: usize, volume: usize, was: DiskState) {
        let says = |wanted: fn(Command) -> bool| {
            let mut pending = self.operator.pending.values();
            pending.any(|(on, command, _)| *on == node && wanted(*command))
        };
        let forced = says(|command| command == Command::Primary { force: true });
        self.marks.hit_if(forced, Mark::PromotedByForce);
        if forced || says(|command| matches!(command, Command::NewUuid { initial: Some(_), .. })) {
            self.model.volumes[volume].forced(node);
            // A target that has copied nothing yet is one: its source is not given up by that.
            let nodes = &mut self.model.volumes[volume].nodes;
            nodes[1 - node].may_have_forked |= was == DiskState::Inconsistent;
        }
    }

    /// Nobody has good data: one of two connected nodes must be told that its own are.
    pub(crate) fn tend_hopeless(&mut self) -> Result<(), Violation> {
        let now = self.clock.now();
        let cut = self.link.is_cut(0) || self.link.is_cut(1);
        let is_bad = |node: &Node, volume: usize| {
            let state = &node.view.volumes[volume];
            let both = [state.disk, state.peer_disk];
            let met = node.view.is_connected()
                && both.iter().all(|disk| *disk < DiskState::UpToDate)
                && state.disk > DiskState::Negotiating;
            // Those with no whole image refuse each other; the newer one of these an older one, or
            // what may be older.
            let other = self.nodes[1 - node.index].view.volumes[volume].disk;
            let is_older = state.disk == DiskState::Outdated
                || (state.disk == DiskState::Consistent && other == DiskState::Inconsistent);
            let refused = is_older && !node.view.is_connected() && !cut;
            met || refused || state.disk == DiskState::Inconsistent
        };
        let hopeless = self.nodes.iter().all(Node::answers)
            && (0..self.model.volumes.len())
                .any(|volume| self.nodes.iter().all(|node| is_bad(node, volume)));
        if !hopeless || self.phase == crate::world::Phase::Setup {
            self.operator.hopeless_since = None;
            return Ok(());
        }
        let since = *self.operator.hopeless_since.get_or_insert(now);
        if now - since < HOPELESS_AFTER || (0..2).any(|node| self.operator.is_busy(node)) {
            return Ok(());
        }
        self.operator.hopeless_since = None;
        let worth = |node: &Node| node.view.volumes.iter().map(|volume| volume.disk).min();
        let best = usize::from(worth(&self.nodes[1]) > worth(&self.nodes[0]));
        for node in [best, 1 - best] {
            if self.nodes[node].view.role == Role::Primary {
                return self.command(node, Command::Secondary { force: true });
            }
        }
        self.command(best, Command::Primary { force: true })
    }
}
