//! Driving a node's core as the daemon does: an input, then actions until there are none, then the
//! timer. Every input to a core goes through `input`, every action out of it through `drain`.

use tandem_replica::{
    Action, AttachGeneration, ClientId, CommandId, DiskCompletion, DiskOp, DiskOpKind, DiskToken,
    Event as Notice, Handler, Instant, LinkDown, LinkEvent, LinkSession, Resource,
};
use tandem_wire::{DiskState, Packet, VolumeNumber};

use crate::checks::Violation;
use crate::clock::{MICROS, MILLIS};
use crate::disk::{Due, OpKey};
use crate::event::{Event, Life};
use crate::marks::Mark;
use crate::node::{node_id, volume_number};
use crate::world::World;

/// Actions of one drain, above which the core is taken to talk to itself.
const ACTIONS_MAX: usize = 1_000_000;

/// Timer events within a millisecond, above which time is taken to stand still.
const SPINS_MAX: u64 = 10_000;

impl World {
    /// Hands an input to a node that lives, then drains it.
    ///
    /// # Errors
    /// What an action or a new state breaks.
    pub fn input<R>(
        &mut self,
        node: usize,
        give: impl FnOnce(&mut Resource, Instant) -> R,
    ) -> Result<Option<R>, Violation> {
        let now = self.now();
        assert!(self.nodes[node].stopped.is_none(), "nothing reaches a stopped process");
        let Some(resource) = self.nodes[node].resource.as_mut() else { return Ok(None) };
        let result = give(resource, now);
        self.drain(node)?;
        Ok(Some(result))
    }

    fn drain(&mut self, node: usize) -> Result<(), Violation> {
        let mut closing: Vec<ClientId> = Vec::new();
        let now = self.now();
        for _ in 0..ACTIONS_MAX {
            if self.doom_strikes(node)? {
                return Ok(());
            }
            let Some(resource) = self.nodes[node].resource.as_mut() else { return Ok(()) };
            match resource.poll_action() {
                Some(Action::CloseClient { client }) => {
                    self.marks.hit(Mark::ClientsSentAway);
                    self.clients.drop_client(client);
                    closing.push(client);
                }
                Some(action) => self.act(node, action)?,
                None => {
                    let Some(client) = closing.pop() else {
                        self.arm(node);
                        self.check_answered(node)?;
                        return self.observe(node);
                    };
                    resource.close_client(client, now);
                }
            }
        }
        Err(Violation::new("actions bounded", format!("node {node} emits actions without end")))
    }

    fn act(&mut self, node: usize, action: Action) -> Result<(), Violation> {
        match action {
            Action::Disk(op) => self.start_disk(node, op),
            Action::OpenDisk { volume, generation } => {
                let (volume, life) = (usize::from(volume.0), self.nodes[node].life);
                let delay = self.nodes[node].prng.between(10 * MICROS, self.profile.opens_within);
                self.clock.after(delay, Event::Opened { node, life, volume, generation });
                Ok(())
            }
            Action::MeasureDisk { volume, generation } => {
                let (volume, life) = (usize::from(volume.0), self.nodes[node].life);
                let delay = self.nodes[node].prng.between(10 * MICROS, MILLIS);
                self.clock.after(delay, Event::Measured { node, life, volume, generation });
                Ok(())
            }
            Action::CloseDisk { volume, generation } => self.close_disk(node, volume, generation),
            Action::Send { session, packet, .. } => self.send(node, session, packet),
            Action::Connect { .. } => {
                self.dial(node);
                Ok(())
            }
            Action::Disconnect { session, .. } => {
                if let Some((local, key)) = self.nodes[node].session
                    && local == session
                {
                    self.tell(Some(node), format_args!("closes the link"));
                    self.had_peer(node);
                    self.saw_hang_up(node);
                    self.nodes[node].session = None;
                    let now = self.clock.now();
                    self.nodes[node].hung_up_at = Some(now);
                    self.nodes[node].apart_since.get_or_insert(now);
                    self.hang_up(node, session, key);
                }
                Ok(())
            }
            Action::Reply { client, cookie, result } => self.replied(node, client, cookie, result),
            Action::CloseClient { .. } => unreachable!("taken by drain"),
            // No other resource of the node waits for it.
            Action::Resyncing { .. } => Ok(()),
            Action::Call { id, handler, .. } => {
                if handler == Handler::BeforeResyncTarget {
                    self.ask_permit(node, id);
                } else {
                    self.call_fence(node, id, handler);
                }
                Ok(())
            }
            Action::CommandDone { id, result } => {
                let CommandId(id) = id;
                self.command_done(node, id, &result)
            }
            Action::Notify(Notice { text, severity, volume, news, handler, .. }) => {
                self.saw_notice(handler, &text);
                self.faults.settled += u64::from(text.contains("settled by after-sb-"));
                self.tell(Some(node), format_args!("{severity:?}: {text}"));
                match (volume, news) {
                    (Some(volume), Some(news)) => self.verify_tells(node, volume, news),
                    (None, _) | (_, None) => Ok(()),
                }
            }
        }
    }

    fn send(&mut self, node: usize, session: LinkSession, packet: Packet) -> Result<(), Violation> {
        let Some((_, key)) = self.nodes[node].session.filter(|(local, _)| *local == session) else {
            return Ok(());
        };
        if let Packet::Write(write) = &packet {
            self.check_sent_covered(node, write)?;
        }
        if self.trace.is_on() {
            let text = crate::trace::packet(&packet);
            self.tell(Some(node), format_args!("send {text}"));
        }
        self.saw_sending(node, &packet);
        let is_news = !matches!(packet, Packet::Ping | Packet::PingAck);
        let text = (is_news && self.is_at_last_move()).then(|| crate::trace::packet(&packet));
        self.link.send(key, node, packet, &mut self.clock);
        if let Some(text) = text {
            self.drill_saw_packet(node, &text);
        }
        Ok(())
    }

    fn start_disk(&mut self, node: usize, op: DiskOp) -> Result<(), Violation> {
        let DiskOp { volume, generation, token, kind } = op;
        let volume = usize::from(volume.0);
        let Some(target) = self.nodes.get_mut(node) else { return Ok(()) };
        // A merge is on no disk.
        let on_disk = !matches!(kind, DiskOpKind::Merge { .. });
        if on_disk && target.opened[volume] != Some(generation) {
            let text = format!("node {node} uses a disk that is not open: {kind:?}");
            return Err(Violation::new("disk contract", text));
        }
        if self.trace.is_on() {
            let text = crate::trace::disk(&kind);
            self.tell(Some(node), format_args!("disk {volume} {token:?} {text}"));
        }
        let text = (on_disk && self.is_at_last_move()).then(|| crate::trace::disk(&kind));
        if let DiskOpKind::MetaWrite { data, .. } = &kind {
            self.nodes[node].evictions[volume].saw(data);
        }
        self.check_covered(node, volume, &kind)?;
        let target = &mut self.nodes[node];
        let (key, due) = target.disks[volume].issue(kind, &mut target.prng);
        let life = target.life;
        let event = Event::Disk { node, life, volume, generation, token, key };
        if !target.flying.insert((volume, token)) {
            let text = format!("node {node} names an operation {token:?} as one in flight");
            return Err(Violation::new("disk contract", text));
        }
        if let Due::Stalled(_) = due {
            target.stalled.push(event);
            self.marks.hit(Mark::DiskHangs);
            self.tell(Some(node), format_args!("disk {volume} {token:?} hangs: {due:?}"));
        }
        if let Due::After(delay) | Due::Stalled(Some(delay)) = due {
            self.clock.after(delay, event);
        }
        if let Some(text) = text {
            self.drill_saw_operation(node, &text);
        }
        Ok(())
    }

    fn close_disk(
        &mut self,
        node: usize,
        volume: VolumeNumber,
        generation: AttachGeneration,
    ) -> Result<(), Violation> {
        let volume = usize::from(volume.0);
        let busy = self.nodes[node].disks[volume].in_flight();
        if self.nodes[node].opened[volume] != Some(generation) || busy > 0 {
            let text = format!("node {node} closes a disk with {busy} operations, or a closed one");
            return Err(Violation::new("disk contract", text));
        }
        self.nodes[node].opened[volume] = None;
        Ok(())
    }

    /// The disk operation ends.
    pub(crate) fn on_disk(
        &mut self,
        node: usize,
        volume: usize,
        generation: AttachGeneration,
        token: DiskToken,
        key: OpKey,
    ) -> Result<(), Violation> {
        let target = &mut self.nodes[node];
        let stalled = target.disks[volume].is_stalled(key);
        let given_up = target.view.volumes[volume].disk < DiskState::Inconsistent;
        self.marks.hit_if(stalled && given_up, Mark::LateCompletion);
        let Some((result, failed)) = target.disks[volume].complete(key, &mut target.prng) else {
            return Ok(());
        };
        if let Some(kind) = failed {
            let text = crate::trace::disk(&kind);
            self.tell(Some(node), format_args!("disk {volume} {token:?} fails: {text}"));
            self.saw_disk_error(node, volume, &kind)?;
        }
        self.nodes[node].flying.remove(&(volume, token));
        self.trace.mark(self.clock.now(), token.0);
        let volume = volume_number(volume);
        let completion = DiskCompletion { volume, generation, token, result };
        self.input(node, |resource, now| resource.handle_disk(completion, now))?;
        Ok(())
    }

    /// The devices of a volume are open.
    pub(crate) fn on_opened(
        &mut self,
        node: usize,
        volume: usize,
        generation: AttachGeneration,
    ) -> Result<(), Violation> {
        if self.nodes[node].disks[volume].is_busy() {
            let text = format!("node {node} opens a disk on which operations are in flight");
            return Err(Violation::new("disk contract", text));
        }
        self.nodes[node].opened[volume] = Some(generation);
        let opened = self.nodes[node].disks[volume].opened();
        self.input(node, |resource, now| {
            resource.handle_disk_opened(volume_number(volume), generation, Ok(opened), now);
        })?;
        Ok(())
    }

    /// The devices of a volume have been looked at; they may have grown, and be closed by now.
    pub(crate) fn on_measured(
        &mut self,
        node: usize,
        volume: usize,
        generation: AttachGeneration,
    ) -> Result<(), Violation> {
        let sizes = self.nodes[node].disks[volume].opened();
        self.input(node, |resource, now| {
            resource.handle_disk_measured(volume_number(volume), generation, Ok(sizes), now);
        })?;
        Ok(())
    }

    /// Bytes may have arrived.
    pub(crate) fn on_arrive(&mut self, key: u64, from: usize) -> Result<(), Violation> {
        let Some(arrival) = self.link.arrive(key, from, &mut self.clock) else { return Ok(()) };
        let node = 1 - from;
        let session = arrival.local;
        let peer = node_id(from);
        self.trace.mark(self.clock.now(), key << 8 | from as u64);
        if arrival.bytes {
            let event = LinkEvent::Received { session };
            self.input(node, |resource, now| resource.handle_link(peer, event, now))?;
        }
        for packet in arrival.packets {
            if self.nodes[node].session.is_none_or(|(local, _)| local != session) {
                return Ok(());
            }
            self.saw_packet(node, &packet);
            let copy = packet.clone();
            let result = self
                .input(node, |resource, now| resource.handle_packet(peer, session, packet, now))?;
            if let Some(Err(error)) = result {
                let packet = crate::trace::packet(&copy);
                let text = format!("node {node} rejects {packet}: {error}");
                self.tell(Some(node), format_args!("{text}"));
                // Whatever the schedule, the peer is the same program and its link is checked.
                return Err(Violation::new("peer error between equals", text));
            }
        }
        if arrival.damaged || arrival.ended {
            let reason =
                if arrival.damaged { LinkDown::ProtocolError } else { LinkDown::BrokenPipe };
            self.link_down(node, session, key, reason)?;
        }
        Ok(())
    }

    /// The time that the core wanted to be called at.
    pub(crate) fn on_timer(&mut self, node: usize, life: Life, at: u64) -> Result<(), Violation> {
        if self.nodes[node].life != life || self.nodes[node].timer_at != Some(at) {
            return Ok(());
        }
        let now = self.clock.now();
        self.nodes[node].timer_at = None;
        if now - self.spinning.0 > MILLIS {
            self.spinning = (now, 0);
        }
        self.spinning.1 += 1;
        if self.spinning.1 > SPINS_MAX {
            let text = format!("node {node} asks for timers without end");
            return Err(Violation::new("timers move on", text));
        }
        self.trace.mark(now, at);
        self.input(node, Resource::handle_timeout)?;
        Ok(())
    }

    fn arm(&mut self, node: usize) {
        let target = &mut self.nodes[node];
        let Some(wanted) = target.resource.as_ref().and_then(Resource::poll_timeout) else {
            return;
        };
        let wanted = wanted.as_nanos().max(self.clock.now());
        if target.timer_at.is_some_and(|at| at <= wanted) {
            return;
        }
        target.timer_at = Some(wanted);
        self.clock.at(wanted, Event::Timer { node, life: target.life, at: wanted });
    }
}
