//! Stopped processes (SIGSTOP): nothing reaches them until they go on, then all of it at once.
//!
//! What the kernel does goes on meanwhile: disks work, bytes of the peer wait in the socket. What
//! was due to a stopped process is kept and happens when it goes on, in any order of its kinds:
//! timers may come before what would have kept them from firing.

use crate::checks::Violation;
use crate::event::Event;
use crate::marks::Mark;
use crate::view::View;
use crate::world::World;
use tandem_wire::Role;

/// What a stopped process has missed.
#[derive(Debug)]
pub struct Stopped {
    since: u64,
    missed: Vec<Event>,
}

impl World {
    /// Stops a process for a while.
    pub(crate) fn stop(&mut self, node: usize, length: u64) {
        if !self.nodes[node].answers() {
            return;
        }
        let view = &self.nodes[node].view;
        let resync = (0..view.volumes.len()).any(|volume| view.is_resyncing(volume));
        self.marks.hit_if(view.role == Role::Primary, Mark::StoppedAsPrimary);
        self.marks.hit_if(view.role == Role::Secondary, Mark::StoppedAsSecondary);
        self.marks.hit_if(resync, Mark::StoppedInResync);
        let since = self.clock.now();
        self.nodes[node].stopped = Some(Stopped { since, missed: Vec::new() });
        self.tell(Some(node), format_args!("is stopped"));
        let life = self.nodes[node].life;
        self.clock.after(length, Event::Continue { node, life });
    }

    /// The process goes on (SIGCONT).
    pub(crate) fn wake(&mut self, node: usize) {
        let Some(Stopped { since, mut missed }) = self.nodes[node].stopped.take() else { return };
        let peer = &self.nodes[1 - node];
        let left =
            self.nodes[node].session.is_some_and(|(_, key)| !self.link.is_open(key, 1 - node));
        let replaced = self.nodes[node].view.role == Role::Primary
            && peer.view.role == Role::Primary
            && peer.view.alive;
        self.marks.hit_if(left, Mark::WokeWithoutLink);
        self.marks.hit_if(replaced, Mark::WokeBesidePrimary);
        self.tell(Some(node), format_args!("goes on, {} events waited", missed.len()));
        let now = self.clock.now();
        self.clients.excuse(node, now - since);
        self.operator.excuse(node, now - since);
        while !missed.is_empty() {
            let event = missed.swap_remove(self.prng.index(missed.len()));
            self.clock.at(now, event);
        }
    }

    /// Keeps an event for later if it is for a process that is stopped.
    pub(crate) fn defer(&mut self, event: Event) -> bool {
        let Some(node) = self.addressee(&event) else { return false };
        let Some(stopped) = &mut self.nodes[node].stopped else { return false };
        // Bytes that arrive on one stream are one reason to read it.
        let known = |missed: &Event| match (missed, &event) {
            (Event::Arrive { session, .. }, Event::Arrive { session: same, .. }) => session == same,
            _ => false,
        };
        if !stopped.missed.iter().any(known) {
            stopped.missed.push(event);
        }
        true
    }

    fn addressee(&self, event: &Event) -> Option<usize> {
        match *event {
            Event::Timer { node, .. }
            | Event::Disk { node, .. }
            | Event::Opened { node, .. }
            | Event::Measured { node, .. }
            | Event::Dial { node, .. }
            | Event::DialFailed { node, .. }
            | Event::Up { node, .. }
            | Event::Late { node, .. } => Some(node),
            Event::Arrive { from, .. } => Some(1 - from),
            Event::Fenced { caller, .. } | Event::Permitted { caller, .. } => Some(caller.node),
            Event::Client { .. }
            | Event::Operator
            | Event::Fault
            | Event::Heal { .. }
            | Event::Start { .. }
            | Event::Sample
            | Event::Continue { .. }
            | Event::Ease { .. }
            | Event::Fence { .. }
            | Event::Cross(_) => None,
        }
    }

    /// INV-13: a frame of a session that has ended changes nothing.
    pub(crate) fn on_late(&mut self, node: usize, life: u32) -> Result<(), Violation> {
        if self.nodes[node].life != life {
            return Ok(());
        }
        let now = self.now();
        let target = &mut self.nodes[node];
        let Some((session, packet)) = target.late.pop_front() else { return Ok(()) };
        let Some(resource) = target.resource.as_mut() else { return Ok(()) };
        self.marks.hit(Mark::LateFrame);
        self.marks.hit_if(target.session.is_some(), Mark::LateFrameInNewSession);
        let text = crate::trace::packet(&packet);
        let before = View::of(resource, now);
        let peer = crate::node::node_id(1 - node);
        let result = resource.handle_packet(peer, session, packet, now);
        let action = resource.poll_action();
        if result.is_ok() && action.is_none() && View::of(resource, now) == before {
            return Ok(());
        }
        let text = format!("node {node} acts on a late {text}: {result:?}, {action:?}");
        Err(Violation::new("INV-13 late frames", text))
    }
}
