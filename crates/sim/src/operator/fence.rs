//! What stands behind `fence-peer`: a truthful program with delays that fails or hangs at times. In
//! some worlds it has the peer's data outdated by command, as over another network; in others it
//! takes the peer's power away.

use std::collections::BTreeMap;

use tandem_replica::{CallId, Command, CommandError, Fencing, Handler};

use crate::checks::Violation;
use crate::clock::{MILLIS, SECONDS};
use crate::event::{Event, Life};
use crate::marks::Mark;
use crate::node::volume_number;
use crate::view::View;
use crate::world::World;

/// Who waits for a program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Caller {
    /// Which node.
    pub node: usize,
    /// Which of its processes.
    pub life: Life,
    /// Its name for the answer.
    pub call: CallId,
}

/// Peers being outdated, and whether anybody has said to go on without a fence.
#[derive(Debug, Default)]
pub struct Fences {
    open: Vec<Outdating>,
    is_waived: bool,
}

/// A peer is outdated, volume by volume.
#[derive(Debug)]
struct Outdating {
    caller: Caller,
    /// Commands on the peer that have not ended.
    commands: Vec<u64>,
    /// What ended ones have come to, as an exit code.
    results: BTreeMap<i32, usize>,
}

impl World {
    /// A node has its peer fenced, and waits for the answer.
    pub(crate) fn call_fence(&mut self, node: usize, call: CallId, handler: Handler) {
        assert_eq!(handler, Handler::FencePeer, "the other one that is waited for");
        self.marks.hit(Mark::FenceCalled);
        let caller = self.caller(node, call);
        let profile = self.profile.fencing;
        let delay = self.prng.log_between(MILLIS, profile.delay_max);
        if self.prng.per_mille(profile.fails) {
            return self.clock.after(delay, Event::Fenced { caller, exit_code: Some(1) });
        }
        if self.prng.per_mille(profile.hangs) {
            return self.clock.after(20 * SECONDS, Event::Fenced { caller, exit_code: None });
        }
        self.clock.after(delay, Event::Fence { caller });
    }

    /// The handler does its work.
    pub(crate) fn on_fence(&mut self, caller: Caller) -> Result<(), Violation> {
        let peer = 1 - caller.node;
        self.tell(None, format_args!("** node {} has its peer fenced", caller.node));
        if self.profile.fencing.shoots {
            self.marks.hit(Mark::PeerShot);
            self.crash(peer, true)?;
            self.answer_fence(caller, Some(7));
        } else if self.nodes[peer].resource.is_none() {
            self.answer_fence(caller, Some(5));
        } else if self.nodes[peer].stopped.is_some() {
            self.answer_fence(caller, Some(1));
        } else {
            let first = self.operator.commands + 1;
            let volumes = self.nodes[peer].disks.len();
            let commands = (first..).take(volumes).collect();
            let outdating = Outdating { caller, commands, results: BTreeMap::new() };
            self.operator.fences.open.push(outdating);
            for volume in 0..volumes {
                // A kill may strike in between: then nobody is left who could be outdated.
                self.command(peer, Command::Outdate { volume: volume_number(volume) })?;
            }
        }
        Ok(())
    }

    /// A command has ended that may be part of a fence.
    pub(super) fn fence_command_ended(&mut self, id: u64, result: &Result<(), CommandError>) {
        let open = &mut self.operator.fences.open;
        let Some(at) = open.iter().position(|it| it.commands.contains(&id)) else { return };
        let exit_code = match result {
            Ok(()) => 4,
            Err(CommandError::BelowOutdated { .. }) => 3,
            Err(CommandError::OutdatePrimary) => 6,
            Err(_) => 1,
        };
        open[at].commands.retain(|it| *it != id);
        *open[at].results.entry(exit_code).or_default() += 1;
        if !open[at].commands.is_empty() {
            return;
        }
        let Outdating { caller, results, .. } = open.swap_remove(at);
        // One volume of a good peer is enough to go on with; one that is bad keeps it from that.
        let worst = [6, 1, 4, 3].into_iter().find(|it| results.contains_key(it));
        self.marks.hit_if(worst == Some(4), Mark::PeerOutdated);
        self.marks.hit_if(worst == Some(6), Mark::FenceMetPrimary);
        self.answer_fence(caller, worst);
    }

    /// A node dies: what was to be outdated there is dead.
    pub(crate) fn fences_saw_death(&mut self, node: usize) {
        let open = std::mem::take(&mut self.operator.fences.open);
        let (dead, alive) = open.into_iter().partition(|it| it.caller.node != node);
        self.operator.fences.open = alive;
        let dead: Vec<Outdating> = dead;
        for outdating in dead {
            self.answer_fence(outdating.caller, Some(5));
        }
    }

    fn answer_fence(&mut self, caller: Caller, exit_code: Option<i32>) {
        let delay = self.prng.log_between(MILLIS, self.profile.fencing.delay_max);
        self.clock.after(delay, Event::Fenced { caller, exit_code });
    }

    /// The handler has ended.
    pub(crate) fn on_fenced(
        &mut self,
        caller: Caller,
        exit_code: Option<i32>,
    ) -> Result<(), Violation> {
        if self.is_gone(caller) {
            return Ok(());
        }
        self.marks.hit_if(exit_code == Some(1), Mark::FenceFailed);
        self.marks.hit_if(exit_code.is_none(), Mark::FenceSilent);
        self.marks.hit_if(self.nodes[caller.node].session.is_some(), Mark::FenceAnswerLate);
        self.answer_call(caller, Handler::FencePeer, exit_code)
    }

    /// Who waits for a program now.
    pub(super) fn caller(&self, node: usize, call: CallId) -> Caller {
        Caller { node, life: self.nodes[node].life, call }
    }

    /// Whether the process that waited is dead, or its resource down.
    pub(super) fn is_gone(&self, caller: Caller) -> bool {
        let node = &self.nodes[caller.node];
        node.life != caller.life || node.resource.is_none()
    }

    /// A program that is waited for has ended.
    pub(super) fn answer_call(
        &mut self,
        Caller { node, call, .. }: Caller,
        handler: Handler,
        exit_code: Option<i32>,
    ) -> Result<(), Violation> {
        self.tell(Some(node), format_args!("{} ends with {exit_code:?}", handler.name()));
        self.input(node, |core, now| core.handle_called(call, exit_code, now)).map(drop)
    }

    /// What an operator says to a node may be to go on without a fence.
    pub(super) fn saw_waiver(&mut self, node: usize, command: Command) {
        let resumes = command == Command::ResumeIo && self.nodes[node].view.suspended.fencing;
        self.marks.hit_if(resumes, Mark::FenceWaived);
        let forces = command == Command::Primary { force: true };
        self.operator.fences.is_waived |= resumes || forces;
    }

    /// The first promotion of all is no waiver.
    pub(crate) fn trust_fences(&mut self) {
        self.operator.fences.is_waived = false;
    }

    /// INV-11 with fencing: where both nodes freeze until the other one is out of the way, they
    /// never write apart.
    pub(crate) fn check_fenced(&self, node: usize, view: &View) -> Result<(), Violation> {
        let is_fenced = self.profile.net.fencing == Fencing::ResourceAndStonith;
        if !is_fenced || self.operator.fences.is_waived || !view.is_split() {
            return Ok(());
        }
        let text = format!("node {node} sees a split brain though both fence: {}", view.text());
        Err(Violation::new("INV-11 fenced", text))
    }
}
