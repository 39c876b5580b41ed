//! Data that do not go together: one side of a split brain gives in, and a Primary that would be
//! overwritten is demoted.

use tandem_replica::{Command, ConnectionState};
use tandem_wire::{DiskState, Role};

use crate::checks::Violation;
use crate::clock::{MILLIS, SECONDS};
use crate::node::Node;
use crate::world::{Phase, World};

impl World {
    /// INV-11: both report it; then one side gives in.
    pub(super) fn tend_split_brain(&mut self) -> Result<(), Violation> {
        let split = [0, 1].map(|node| self.nodes[node].view.is_split());
        let now = self.clock.now();
        if split == [false; 2] {
            self.operator.split_seen = false;
            return Ok(());
        }
        if !self.operator.split_seen {
            self.operator.split_seen = true;
            self.operator.resolve_at = now + self.prng.between(300 * MILLIS, 3 * SECONDS);
            return Ok(());
        }
        if now < self.operator.resolve_at || self.operator.is_busy(0) || self.operator.is_busy(1) {
            return Ok(());
        }
        if !self.nodes.iter().all(Node::answers) {
            return Ok(());
        }
        if split == [true; 2] {
            self.faults.split_brains += 1;
            let victim = self.prng.index(2);
            self.operator.victim = Some(victim);
        }
        // One reports it and the other does not: it was being resolved and one side started anew,
        // or the link died in the middle. The other one tries on; this one must be told to.
        let side = split.iter().position(|split| *split).expect("one of them");
        let victim = self.only_half_copy().or(self.operator.victim).unwrap_or(side);
        if self.nodes[victim].view.role == Role::Primary {
            return self.command(victim, Command::Secondary { force: true });
        }
        let is_over = |node: usize| {
            let view = &self.nodes[node].view;
            view.is_split() && view.connection == ConnectionState::StandAlone
        };
        let over = [0, 1].map(is_over);
        if over == [false; 2] && self.nodes[1 - victim].view.role == Role::Primary {
            // Both try on: it is the one that was to give in before, and was promoted again.
            return self.command(1 - victim, Command::Secondary { force: true });
        }
        for node in [victim, 1 - victim] {
            if over[node] {
                self.connect(node, node == victim)?;
            }
        }
        self.operator.resolve_at = now + self.prng.between(SECONDS, 5 * SECONDS);
        Ok(())
    }

    /// The node with half a copy, if the other one has none: nobody can be its target.
    fn only_half_copy(&self) -> Option<usize> {
        let is_half = |node: &Node| {
            node.view.volumes.iter().any(|volume| volume.disk == DiskState::Inconsistent)
        };
        match [0, 1].map(|node| is_half(&self.nodes[node])) {
            [true, false] => Some(0),
            [false, true] => Some(1),
            [true, true] | [false, false] => None,
        }
    }

    /// A Primary whose data are the older ones is refused as a target for as long as it is Primary
    /// (DRBD's rr-conflict, disconnect): then somebody has to demote it. As a source one is whose
    /// newer data were invalidated: it has to discard them.
    pub(super) fn tend_refusal(&mut self) -> Result<(), Violation> {
        let now = self.clock.now();
        let apart = self.nodes.iter().all(|node| node.answers() && !node.view.is_connected())
            && !(self.link.is_cut(0) || self.link.is_cut(1))
            && now >= self.operator.apart_until
            && self.nodes.iter().all(|node| !node.view.is_split())
            && self.phase != Phase::Setup;
        if !apart {
            (self.operator.stuck_since, self.operator.gives_in) = (None, None);
            return Ok(());
        }
        let since = *self.operator.stuck_since.get_or_insert(now);
        let patience = 20 * SECONDS;
        if now - since < patience || self.operator.is_busy(0) || self.operator.is_busy(1) {
            return Ok(());
        }
        self.operator.stuck_since = None;
        let first = self.prng.index(2);
        for node in [first, 1 - first] {
            if self.nodes[node].view.role == Role::Primary {
                self.operator.meets_until = now + patience / 2;
                return self.command(node, Command::Secondary { force: true });
            }
        }
        self.operator.gives_in = self.only_half_copy();
        Ok(())
    }

    /// A StandAlone node that may meet its peer again.
    pub(super) fn connect_again(&mut self, node: usize) -> Result<(), Violation> {
        let discards = self.operator.gives_in.take_if(|it| *it == node).is_some();
        self.connect(node, discards)
    }
}
