//! What an operator does of his own will, as a fault of the world: switches, disconnects, detaches.

use tandem_replica::Command;
use tandem_wire::{Protocol, Role};

use crate::checks::Violation;
use crate::clock::{MILLIS, SECONDS};
use crate::marks::Mark;
use crate::node::{node_id, volume_number};
use crate::world::World;

impl World {
    /// The Primary is to move in good order, or at times with force.
    pub(crate) fn plan_switch(&mut self) -> Result<(), Violation> {
        let primary = (0..2).find(|node| self.nodes[*node].view.role == Role::Primary);
        let Some(node) = primary else { return Ok(()) };
        if self.operator.is_busy(node) || self.operator.retiring.is_some() {
            return Ok(());
        }
        self.faults.commands += 1;
        if self.prng.per_mille(300) {
            return self.command(node, Command::Secondary { force: true });
        }
        self.operator.retiring = Some(node);
        Ok(())
    }

    /// The connection is ended for a while.
    pub(crate) fn plan_disconnect(&mut self, node: usize) -> Result<(), Violation> {
        if !self.nodes[node].view.is_connected() || self.operator.is_busy(node) {
            return Ok(());
        }
        self.faults.commands += 1;
        let pause = self.prng.log_between(50 * MILLIS, 8 * SECONDS);
        self.operator.apart_until = self.clock.now() + pause;
        let force = self.prng.per_mille(300);
        self.command(node, Command::Disconnect { peer: node_id(1 - node), force })
    }

    /// The Secondary's data are declared wrong; at times each node's at once, of which one may be.
    pub(crate) fn plan_invalidate(&mut self) -> Result<(), Violation> {
        let Some(node) = self.healthy_secondary() else { return Ok(()) };
        self.faults.commands += 1;
        let index = self.prng.index(self.nodes[node].disks.len());
        let volume = volume_number(index);
        let reset_bitmap = true;
        if self.profile.both_invalidate > 0 && self.prng.per_mille(self.profile.both_invalidate) {
            for node in [node, 1 - node] {
                self.command(node, Command::Invalidate { volume, reset_bitmap })?;
            }
            return Ok(());
        }
        if self.prng.per_mille(500) {
            return self.command(node, Command::Invalidate { volume, reset_bitmap });
        }
        let peer = node_id(node);
        self.command(1 - node, Command::InvalidateRemote { volume, peer, reset_bitmap })
    }

    /// The Secondary's disk is given up for a while.
    pub(crate) fn plan_detach(&mut self) -> Result<(), Violation> {
        let Some(node) = self.healthy_secondary() else { return Ok(()) };
        self.faults.commands += 1;
        let pause = self.prng.log_between(50 * MILLIS, 5 * SECONDS);
        self.operator.detached_until[node] = self.clock.now() + pause;
        let volume = volume_number(self.prng.index(self.nodes[node].disks.len()));
        self.command(node, Command::Detach { volume, force: false })
    }

    /// The Primary's disk is given up for a while: it lives on its peer's. In A and B that would
    /// give up what was answered and is not on the peer's disk yet.
    pub(crate) fn plan_detach_primary(&mut self) -> Result<(), Violation> {
        if self.profile.protocol != Protocol::C {
            return Ok(());
        }
        let Some(secondary) = self.healthy_secondary() else { return Ok(()) };
        let node = 1 - secondary;
        if !self.nodes[node].view.is_healthy() {
            return Ok(());
        }
        self.faults.commands += 1;
        let pause = self.prng.log_between(50 * MILLIS, 8 * SECONDS);
        self.operator.detached_until[node] = self.clock.now() + pause;
        let volume = volume_number(self.prng.index(self.nodes[node].disks.len()));
        self.command(node, Command::Detach { volume, force: false })
    }

    /// The Secondary is taken down for a while.
    pub(crate) fn plan_down(&mut self) -> Result<(), Violation> {
        let Some(node) = self.healthy_secondary() else { return Ok(()) };
        self.faults.commands += 1;
        self.command(node, Command::Down { force: false })
    }

    /// Resyncs are paused for a while, or what is paused goes on.
    pub(crate) fn plan_pause(&mut self, node: usize) -> Result<(), Violation> {
        let volume = self.prng.index(self.nodes[node].disks.len());
        let view = &self.nodes[node].view;
        if !view.alive || self.operator.is_busy(node) {
            return Ok(());
        }
        self.faults.commands += 1;
        let is_paused = view.volumes[volume].suspended.user;
        let runs = view.is_target(volume) || view.is_source(volume);
        let (volume, peer) = (volume_number(volume), node_id(1 - node));
        if is_paused {
            self.marks.hit_if(runs, Mark::ResyncResumed);
            return self.command(node, Command::ResumeSync { volume, peer });
        }
        self.marks.hit_if(runs, Mark::ResyncPaused);
        let pause = self.prng.log_between(50 * MILLIS, 8 * SECONDS);
        self.operator.paused_until = self.clock.now() + pause;
        self.command(node, Command::PauseSync { volume, peer })
    }

    /// A volume whose resyncs were paused for long enough.
    pub(crate) fn pause_is_over(&self, node: usize) -> Option<usize> {
        if self.clock.now() < self.operator.paused_until {
            return None;
        }
        self.nodes[node].view.volumes.iter().position(|volume| volume.suspended.user)
    }

    pub(crate) fn healthy_secondary(&self) -> Option<usize> {
        (0..2).find(|node| {
            let view = &self.nodes[*node].view;
            view.role == Role::Secondary
                && view.is_healthy()
                && view.peer_role == Role::Primary
                && self.nodes[1 - *node].view.volumes.iter().all(|it| it.verifying.is_none())
                && !self.operator.is_busy(*node)
                && !self.operator.is_busy(1 - node)
        })
    }
}
