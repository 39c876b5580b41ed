//! The operator freezes I/O and lets it go on; and what a frozen node must not do (INV-20).

use tandem_replica::{Command, OnNoData, Suspended};
use tandem_wire::{DiskState, Role, Uuid};

use crate::checks::Violation;
use crate::clock::{MILLIS, SECONDS};
use crate::grow::superblock;
use crate::view::View;
use crate::world::World;

/// What the operator has said of I/O on one node, in the life of its process.
#[derive(Clone, Debug, Default)]
pub struct IoOrders {
    /// `suspend-io` is done, nothing is in flight: the generations of the disks since then.
    frozen: Option<Vec<Option<Uuid>>>,
    /// When `resume-io` is to be said.
    resume_at: Option<u64>,
    /// `resume-io` was said while no data were accessible: errors are answered.
    takes_errors: bool,
    /// A request was answered in this turn, before and behind which that is not to be.
    answered: Option<Suspended>,
}

impl IoOrders {
    /// Whatever was to be frozen goes on now.
    pub fn calm(&mut self) {
        self.resume_at = self.resume_at.map(|_| 0);
    }
}

impl World {
    /// I/O is frozen for a while.
    pub(crate) fn plan_suspend(&mut self, node: usize) -> Result<(), Violation> {
        if !self.nodes[node].answers() {
            return Ok(());
        }
        self.faults.commands += 1;
        let pause = self.prng.log_between(10 * MILLIS, 5 * SECONDS);
        self.suspend_io(node, self.clock.now() + pause)
    }

    /// The operator says `suspend-io`, and will say `resume-io` at `resume_at` or when he is calm.
    pub(crate) fn suspend_io(&mut self, node: usize, resume_at: u64) -> Result<(), Violation> {
        self.operator.io[node].resume_at = Some(resume_at);
        self.command(node, Command::SuspendIo)
    }

    /// `suspend-io` has ended.
    pub(crate) fn suspended(&mut self, node: usize) {
        self.faults.suspended += 1;
        self.operator.io[node].frozen = Some(self.generations(node));
    }

    /// By volume, as the metadata on disk have them.
    fn generations(&self, node: usize) -> Vec<Option<Uuid>> {
        let disks = self.nodes[node].disks.iter();
        disks.map(|disk| Some(superblock(disk, &self.profile, node)?.current_uuid)).collect()
    }

    /// The operator says `resume-io` when its time has come.
    pub(crate) fn tend_io(&mut self, node: usize) -> Result<(), Violation> {
        let now = self.clock.now();
        let orders = &mut self.operator.io[node];
        if orders.resume_at.is_none_or(|at| at > now) || !self.nodes[node].answers() {
            return Ok(());
        }
        // Mostly he sees that the same command would take it on him that there is no fence.
        if self.nodes[node].view.suspended.fencing && !self.prng.per_mille(20) {
            return Ok(());
        }
        self.resume_io(node)
    }

    /// The operator says `resume-io`.
    pub(crate) fn resume_io(&mut self, node: usize) -> Result<(), Violation> {
        let orders = &mut self.operator.io[node];
        orders.resume_at = None;
        orders.frozen = None;
        orders.takes_errors |= self.nodes[node].view.suspended.no_data;
        self.command(node, Command::ResumeIo)
    }

    /// A node's states have changed.
    pub(crate) fn see_io(&mut self, node: usize, before: &View) {
        let now = self.clock.now();
        let target = &mut self.nodes[node];
        if before.is_frozen() || target.view.is_frozen() {
            target.frozen_at = now;
        }
        if target.view.suspended.no_data && !before.suspended.no_data {
            self.faults.no_data += 1;
        }
        if target.view.is_healthy() {
            self.operator.io[node].takes_errors = false;
        }
    }

    /// Good data that nobody can change get no generation that their peer does not know. A new
    /// Primary's may.
    pub(crate) fn check_frozen_generations(
        &mut self,
        node: usize,
        before: &View,
    ) -> Result<(), Violation> {
        if self.operator.io[node].frozen.is_none() {
            return Ok(());
        }
        let (now, peers) = (self.generations(node), self.generations(1 - node));
        let old = self.operator.io[node].frozen.replace(now.clone()).expect("it is frozen");
        let view = &self.nodes[node].view;
        let was_primary = [before, view].iter().all(|view| view.role == Role::Primary);
        let is_new = |volume: usize| {
            let is_good = view.volumes[volume].disk == DiskState::UpToDate;
            let now = now[volume];
            is_good && now.is_some() && now != old[volume] && now != peers[volume]
        };
        if !was_primary || !(0..now.len()).any(is_new) {
            return Ok(());
        }
        let text = format!("node {node} begins a generation while it is frozen");
        Err(Violation::new("INV-20 frozen", text))
    }

    /// A frozen node answers nothing. What a turn begins and ends without it may have had in the
    /// middle of it: see [`World::had_peer`].
    pub(crate) fn check_frozen(&mut self, node: usize) -> Result<(), Violation> {
        let Some(resource) = &self.nodes[node].resource else { return Ok(()) };
        let (before, now) = (self.nodes[node].view.suspended, resource.suspended());
        if self.operator.io[node].frozen.is_some() {
            return Err(answered_while(node, now));
        }
        if before.no_data && now.no_data || before.fencing && now.fencing {
            self.operator.io[node].answered = Some(now);
        }
        Ok(())
    }

    /// A node ends a connection by itself. If that came up in the same turn, what was answered
    /// meanwhile had the data of the peer, and no need of a fence.
    pub(crate) fn had_peer(&mut self, node: usize) {
        self.operator.io[node].answered = None;
    }

    /// A turn is over.
    pub(crate) fn check_answered(&mut self, node: usize) -> Result<(), Violation> {
        let answered = self.operator.io[node].answered.take();
        answered.map_or(Ok(()), |suspended| Err(answered_while(node, suspended)))
    }

    /// Whether requests on this node must wait for data instead of getting errors.
    pub(crate) fn waits_for_data(&self, node: usize) -> bool {
        match self.profile.on_no_data {
            OnNoData::IoError => false,
            OnNoData::SuspendIo => !self.operator.io[node].takes_errors,
        }
    }
}

fn answered_while(node: usize, suspended: Suspended) -> Violation {
    Violation::new("INV-20 frozen", format!("node {node} answers while {suspended:?}"))
}
