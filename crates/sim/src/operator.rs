//! The operator: attaches, connects, promotes, fails over, and resolves split brains.
//!
//! Looks at the nodes every now and then and gives the command that leads back to a Primary and its
//! peer. Outside the split-brain profile it promotes a node without its peer only where that cannot
//! lose what a client was promised: the peer died as Primary while this node was its up-to-date
//! peer, or (`hasty`) this node itself was the Primary and kept its power.

use std::collections::BTreeMap;

use tandem_replica::{Command, CommandError, CommandId, ConnectionState};
use tandem_wire::{DiskState, Role};

use crate::checks::Violation;
use crate::clock::{MILLIS, SECONDS};
use crate::event::Event;
use crate::marks::Mark;
use crate::node::{Node, node_id, volume_number};
use crate::steps::Kind;
use crate::world::{Phase, World};

mod adjust;
pub mod by_hand;
pub mod fence;
mod monkey;
mod permit;
mod plan;
mod replace;
mod split_brain;
pub mod suspend;

/// What the operator knows and wants.
#[derive(Debug, Default)]
pub struct Operator {
    /// Commands without an answer: node, what, since when.
    pub pending: BTreeMap<u64, (usize, Command, u64)>,
    commands: u64,
    /// Node whose clients are being sent away, before it is demoted.
    retiring: Option<usize>,
    /// Who shall be Primary next.
    preferred: Option<usize>,
    /// Node that may be promoted without its peer.
    safe_alone: Option<usize>,
    /// Kept disconnected until then.
    apart_until: u64,
    /// Nobody is promoted until then: a Primary was demoted, so that the nodes can meet.
    meets_until: u64,
    /// Kept detached until then, by node.
    detached_until: [u64; 2],
    /// Disks that are given up by force, by node: which, and when.
    forced: [Option<(usize, u64)>; 2],
    /// What was said of I/O, by node.
    io: [suspend::IoOrders; 2],
    /// Resyncs stay paused until then.
    paused_until: u64,
    /// Taken down on purpose: started again when the command is done. Whether by force.
    going_down: [Option<bool>; 2],
    /// A split brain is reported, and when it is to be resolved.
    split_seen: bool,
    resolve_at: u64,
    /// The side that gives in, while a split brain is being resolved.
    victim: Option<usize>,
    /// Whose data were invalidated, and are the newer ones all the same: it discards them.
    gives_in: Option<usize>,
    /// Since when both live and are apart though nothing is cut and nobody wants it.
    stuck_since: Option<u64>,
    /// Whose disk was refused because of what its clients have seen.
    gives_up: [bool; 2],
    cuts: [u64; 2],
    /// What commands under way have made the model let go of: node and volume.
    released: BTreeMap<u64, (usize, usize)>,
    /// Fences under way.
    fences: fence::Fences,
    /// Since when both are connected and nobody has good data.
    hopeless_since: Option<u64>,
}

impl Operator {
    /// Whether clients shall not ask this node for anything now.
    pub fn quiet(&self, node: usize) -> bool {
        self.retiring == Some(node)
    }

    /// No more plans: everything back together.
    pub fn calm(&mut self) {
        self.apart_until = 0;
        self.detached_until = [0; 2];
        for orders in &mut self.io {
            orders.calm();
        }
        self.paused_until = 0;
        self.forced = [None; 2];
        self.cuts = [u64::MAX; 2];
    }

    /// A disk that is lost is not attached before then.
    pub fn keep_detached(&mut self, node: usize, until: u64) {
        self.detached_until[node] = self.detached_until[node].max(until);
    }

    /// A disk is given up then, whether it answers or not.
    pub fn force_detach(&mut self, node: usize, volume: usize, at: u64) {
        self.forced[node] = Some((volume, at));
    }

    /// A number for a new cut.
    pub fn next_cut(&mut self, from: usize) -> u64 {
        self.cuts[from] += 1;
        self.cuts[from]
    }

    /// Whether no later cut has replaced this one.
    pub fn is_last_cut(&self, from: usize, cut: u64) -> bool {
        self.cuts[from] == cut
    }

    /// A node dies: who may go on alone?
    pub fn saw_crash(&mut self, node: usize, power: bool, nodes: &[Node; 2]) {
        self.pending.retain(|_, (on, _, _)| *on != node);
        self.going_down[node] = None;
        self.forced[node] = None;
        self.io[node] = suspend::IoOrders::default();
        let view = &nodes[node].view;
        if self.retiring == Some(node) {
            self.retiring = None;
        }
        if view.role == Role::Primary {
            let peer = &nodes[1 - node].view;
            let established = (0..view.volumes.len())
                .all(|volume| view.is_established(volume) && peer.is_established(volume));
            let peer_idle = peer.role == Role::Secondary;
            self.safe_alone = match (established && peer_idle, power) {
                (true, _) => Some(1 - node),
                (false, false) => Some(node),
                (false, true) => None,
            };
        } else if power && self.safe_alone == Some(node) {
            self.safe_alone = None;
        }
    }

    /// Time that a node was stopped for is nobody's waiting time.
    pub fn excuse(&mut self, node: usize, time: u64) {
        for (_, _, since) in self.pending.values_mut().filter(|(on, _, _)| *on == node) {
            *since += time;
        }
    }

    pub(crate) fn is_busy(&self, node: usize) -> bool {
        self.pending.values().any(|(on, _, _)| *on == node)
    }
}

impl World {
    /// Gives a command.
    pub(crate) fn command(&mut self, node: usize, command: Command) -> Result<(), Violation> {
        // One that is down is not there any more, whenever its process ends.
        if !self.nodes[node].answers() || self.operator.going_down[node].is_some() {
            return Ok(());
        }
        self.saw_command(node, command);
        self.saw_waiver(node, command);
        self.operator.commands += 1;
        let id = self.operator.commands;
        self.tell(Some(node), format_args!("command {id} {command:?}"));
        let now = self.clock.now();
        self.script.note(now, Some(node), format_args!("command {id} {command:?}"));
        self.trace.mark(now, id);
        self.operator.pending.insert(id, (node, command, now));
        self.release_for(id, node, command);
        self.input(node, |core, now| core.handle_command(CommandId(id), command, now))?;
        Ok(())
    }

    /// A command has ended.
    pub(crate) fn command_done(
        &mut self,
        node: usize,
        id: u64,
        result: &Result<(), CommandError>,
    ) -> Result<(), Violation> {
        let Some((on, command, _)) = self.operator.pending.remove(&id) else {
            let text = format!("node {node} ends command {id}, which is not open");
            return Err(Violation::new("one CommandDone", text));
        };
        assert_eq!(on, node, "commands end where they were given");
        let word = result.as_ref().map_or_else(ToString::to_string, |()| "done".into());
        self.tell(Some(node), format_args!("command {id}: {word}"));
        self.release_ends(id, result.is_ok());
        self.fence_command_ended(id, result);
        match (command, result.is_ok()) {
            (Command::Primary { .. }, true) => {
                self.operator.preferred = None;
                // One that was Primary already goes on as it did.
                if self.nodes[node].view.role != Role::Primary {
                    self.promoted(node)?;
                }
            }
            (Command::Primary { .. }, false) => self.operator.preferred = None,
            (Command::Secondary { .. }, true) => {
                self.operator.preferred = Some(1 - node);
                self.operator.retiring = None;
            }
            (Command::Secondary { .. }, false) => self.operator.retiring = None,
            (Command::Verify { volume, .. }, true) => {
                self.verifies.begin(node, usize::from(volume.0));
            }
            (Command::Down { force }, true) => {
                self.operator.going_down[node] = Some(force);
            }
            (Command::SuspendIo, true) => self.suspended(node),
            (Command::NewUuid { volume, initial: None }, true) => self.renewed(node, volume),
            (Command::StopVerify { .. }, true) => self.marks.hit(Mark::VerifyStopped),
            (Command::Resize { .. }, false) => self.marks.hit(Mark::ResizeRefused),
            (Command::Attach { .. }, false) => {
                // It has served what its disk does not have: somebody must give that up.
                self.operator.gives_up[node] = matches!(
                    result, Err(CommandError::Metadata { reason, .. }) if reason.contains("clients")
                );
                let pause = self.prng.between(100 * MILLIS, 3 * SECONDS);
                self.operator.keep_detached(node, self.clock.now() + pause);
            }
            (
                Command::Attach { .. }
                | Command::Detach { .. }
                | Command::Connect { .. }
                | Command::TryConnect { .. }
                | Command::Disconnect { .. }
                | Command::Invalidate { .. }
                | Command::InvalidateRemote { .. }
                | Command::Verify { .. }
                | Command::StopVerify { .. }
                | Command::Down { .. }
                | Command::Outdate { .. }
                | Command::NewUuid { .. }
                | Command::Resize { .. }
                | Command::SuspendIo
                | Command::ResumeIo
                | Command::PauseSync { .. }
                | Command::ResumeSync { .. },
                _,
            ) => {}
        }
        Ok(())
    }

    /// The operator looks around.
    pub(crate) fn on_operator(&mut self) -> Result<(), Violation> {
        let acts = self.phase != Phase::Load || self.script.begins(Kind::Look, &mut self.prng);
        let pause = self.prng.between(30 * MILLIS, 150 * MILLIS);
        self.clock.after(pause, Event::Operator);
        self.check_commands()?;
        self.check_apart()?;
        if self.phase == Phase::Load && self.drill.is_some() {
            self.tend_drill()?;
        } else if acts {
            self.tend_everything()?;
            self.script.ends();
        } else {
            for node in [0, 1] {
                self.finish_down(node)?;
            }
        }
        self.next_phase()
    }

    fn tend_everything(&mut self) -> Result<(), Violation> {
        for node in [0, 1] {
            self.finish_down(node)?;
            self.tend_io(node)?;
            self.tend_node(node)?;
        }
        self.tend_split_brain()?;
        self.tend_unrelated()?;
        self.tend_refusal()?;
        self.tend_hopeless()?;
        self.tend_roles()?;
        self.tend_findings()
    }

    fn tend_node(&mut self, node: usize) -> Result<(), Violation> {
        let now = self.clock.now();
        if let Some((volume, _)) = self.operator.forced[node].take_if(|(_, at)| *at <= now) {
            let volume = volume_number(volume);
            return self.command(node, Command::Detach { volume, force: true });
        }
        if !self.nodes[node].answers() || self.operator.is_busy(node) {
            return Ok(());
        }
        let patient = !self.prng.per_mille(50);
        if self.operator.gives_up[node] && !patient {
            self.operator.gives_up[node] = false;
            return self.command(node, Command::Secondary { force: true });
        }
        for volume in 0..self.nodes[node].view.volumes.len() {
            let disk = self.nodes[node].view.volumes[volume].disk;
            if disk == DiskState::Diskless && now >= self.operator.detached_until[node] {
                return self.command(node, Command::Attach { volume: volume_number(volume) });
            }
        }
        if let Some(volume) = self.pause_is_over(node) {
            let (volume, peer) = (volume_number(volume), node_id(1 - node));
            return self.command(node, Command::ResumeSync { volume, peer });
        }
        if self.may_renew(node)? {
            return Ok(());
        }
        let view = &self.nodes[node].view;
        let alone = view.connection == ConnectionState::StandAlone && !view.is_split();
        if alone && now >= self.operator.apart_until {
            if self.prng.per_mille(200) {
                let peer = node_id(1 - node);
                return self.command(node, Command::TryConnect { peer, discard_my_data: false });
            }
            return self.connect_again(node);
        }
        Ok(())
    }

    /// The operator says `connect`; what a node is to discard it owes no more.
    fn connect(&mut self, node: usize, discard_my_data: bool) -> Result<(), Violation> {
        for volume in &mut self.model.volumes {
            volume.nodes[node].released |= discard_my_data;
        }
        self.command(node, Command::Connect { peer: node_id(1 - node), discard_my_data })
    }

    fn tend_roles(&mut self) -> Result<(), Violation> {
        if self.phase == Phase::Setup {
            return self.tend_setup();
        }
        if let Some(node) = self.operator.retiring {
            return self.retire(node);
        }
        let primaries: Vec<usize> =
            (0..2).filter(|node| self.nodes[*node].view.role == Role::Primary).collect();
        let second = self.profile.promotes_apart()
            && self.phase == Phase::Load
            && primaries.len() == 1
            && !(self.nodes[primaries[0]].view.is_connected()
                && self.nodes[primaries[0]].answers())
            && self.prng.per_mille(30);
        let waits = self.clock.now() < self.operator.meets_until;
        if (!primaries.is_empty() && !second) || waits || !self.prng.per_mille(200) {
            return Ok(());
        }
        let first = self.operator.preferred.unwrap_or_else(|| self.prng.index(2));
        for node in [first, 1 - first] {
            if self.may_promote(node) {
                return self.command(node, Command::Primary { force: false });
            }
        }
        Ok(())
    }

    fn may_promote(&self, node: usize) -> bool {
        let (view, peer) = (&self.nodes[node].view, &self.nodes[1 - node].view);
        if !self.nodes[node].answers() || view.role == Role::Primary || self.operator.is_busy(node)
        {
            return false;
        }
        if self.operator.is_busy(1 - node) && !self.profile.promotes_apart() {
            return false;
        }
        let good = view.volumes.iter().all(|volume| volume.disk == DiskState::UpToDate);
        if view.is_connected() {
            return good;
        }
        let usable = view.volumes.iter().all(|volume| volume.disk >= DiskState::Consistent);
        if self.profile.promotes_apart() && self.phase == Phase::Load {
            return usable;
        }
        let own = self.operator.safe_alone == Some(node) && peer.role != Role::Primary;
        let failed_over = own && !peer.alive;
        usable && (failed_over || (own && self.profile.hasty))
    }

    fn tend_setup(&mut self) -> Result<(), Violation> {
        let views = [&self.nodes[0].view, &self.nodes[1].view];
        let connected = views.iter().all(|view| view.is_connected());
        let attached = views
            .iter()
            .all(|view| view.volumes.iter().all(|volume| volume.disk >= DiskState::Inconsistent));
        if !connected || !attached || views[0].role == Role::Primary || self.operator.is_busy(0) {
            return Ok(());
        }
        let is_good = views.iter().all(|view| view.is_healthy());
        match self.profile.by_hand.first {
            None => self.command(0, Command::Primary { force: true }),
            Some(_) if is_good => self.command(0, Command::Primary { force: false }),
            Some(initial) => self.tend_first(initial),
        }
    }

    fn retire(&mut self, node: usize) -> Result<(), Violation> {
        let clients = self.clients.on(node);
        if self.operator.is_busy(node) || !self.nodes[node].answers() {
            return Ok(());
        }
        if self.clients.pending.values().any(|pending| pending.node == node) {
            return Ok(());
        }
        for client in clients {
            self.clients.drop_client(client);
            self.input(node, |core, now| core.close_client(client, now))?;
        }
        self.command(node, Command::Secondary { force: false })
    }

    pub(crate) fn finish_down(&mut self, node: usize) -> Result<(), Violation> {
        let Some(force) = self.operator.going_down[node].take() else { return Ok(()) };
        let target = &mut self.nodes[node];
        for disk in &mut target.disks {
            if disk.in_flight() > 0 && !disk.hangs() && !force {
                let text = "disk operations in flight after down".to_owned();
                return Err(Violation::new("down", text));
            }
            // Nobody opens it before they have ended: its lock is held until then.
            disk.kill(&mut target.prng);
        }
        self.tell(Some(node), format_args!("stops"));
        self.operator.pending.retain(|_, (on, _, _)| *on != node);
        self.nodes[node].stop();
        self.forget_lost_caches(node);
        self.fences_saw_death(node);
        self.operator.io[node] = suspend::IoOrders::default();
        if let Some((_, key)) = self.nodes[node].session.take() {
            self.link.close(key, node, false, &mut self.clock);
        }
        self.clients.drop_node(node);
        let delay = self.prng.log_between(10 * MILLIS, 5 * SECONDS);
        self.clock.after(delay, Event::Start { node });
        self.observe(node)
    }

    /// LIVE-2: no command stays open for ever.
    fn check_commands(&self) -> Result<(), Violation> {
        let now = self.clock.now();
        let stuck = (self.operator.pending.iter()).find(|(_, (node, _, since))| {
            now.saturating_sub((*since).max(self.slow_at)) > 60 * SECONDS
                && self.nodes[*node].answers()
        });
        let Some((id, (node, command, _))) = stuck else { return Ok(()) };
        let text = format!("node {node}: command {id} {command:?} has not ended for 60 s");
        Err(Violation::new("LIVE-2 commands end", text))
    }

    /// A node starts.
    pub(crate) fn on_start(&mut self, node: usize) -> Result<(), Violation> {
        if self.nodes[node].resource.is_some() {
            return Ok(());
        }
        self.tell(Some(node), format_args!("starts"));
        let now = self.clock.now();
        self.link.boot(node, &mut self.clock);
        self.nodes[node].start(&self.profile, now);
        self.observe(node)?;
        for volume in 0..self.nodes[node].disks.len() {
            self.command(node, Command::Attach { volume: volume_number(volume) })?;
        }
        self.connect(node, false)
    }
}
