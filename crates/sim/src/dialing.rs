//! Attempts to connect and the sessions they end in, as listeners and dialers of two daemons do it.
//!
//! Where both dial at once, the lower node id's attempt wins. A session is up at each end at a
//! moment of its own. What the greeting carries was asked of the cores when it was sent.

use tandem_replica::{LinkDown, LinkEvent, LinkSession};

use crate::checks::Violation;
use crate::clock::{MICROS, MILLIS, SECONDS};
use crate::event::{Event, Life};
use crate::marks::Mark;
use crate::node::node_id;
use crate::world::World;

/// Frames of an ended session that reach the process, at most.
const LATE_MAX: usize = 8;

impl World {
    /// The core of `node` wants to be connected.
    pub(crate) fn dial(&mut self, node: usize) {
        let attempt = self.clients.next_id();
        self.nodes[node].attempt = Some(attempt);
        let life = self.nodes[node].life;
        let delay = self.link.delay() * 2 + self.prng.between(10 * MICROS, MILLIS);
        self.clock.after(delay, Event::Dial { node, life, attempt });
    }

    /// The attempt reaches the peer, or nothing.
    pub(crate) fn on_dial(
        &mut self,
        node: usize,
        life: Life,
        attempt: u64,
    ) -> Result<(), Violation> {
        if self.nodes[node].life != life || self.nodes[node].attempt != Some(attempt) {
            return Ok(());
        }
        let peer = 1 - node;
        let failed = Event::DialFailed { node, life, attempt };
        // The kernel of a stopped process takes the connection, but nobody greets.
        if self.link.is_cut(0) || self.link.is_cut(1) || self.nodes[peer].stopped.is_some() {
            let timeout = u64::try_from(self.profile.net.timeout.as_nanos()).expect("seconds");
            self.clock.after(timeout, failed);
            return Ok(());
        }
        let both = self.nodes[peer].attempt.is_some();
        let crossed = peer < node && both;
        self.marks.hit_if(both, Mark::BothConnectCross);
        let Some(dialer) = self.nodes[node].resource.as_ref() else { return Ok(()) };
        let mut discards = [false; 2];
        discards[node] = dialer.discards_my_data(node_id(peer));
        let listener = self.nodes[peer].resource.as_ref();
        discards[peer] = listener.is_some_and(|core| core.discards_my_data(node_id(node)));
        let answer = listener.map(|core| core.accepts(node_id(node), discards[node]));
        let accepted = match answer {
            Some(Ok(())) if !crossed => true,
            Some(Ok(())) | None => false,
            Some(Err(reason)) => {
                self.marks.hit(Mark::LinkRejected);
                self.tell(Some(peer), format_args!("rejects the link: {reason}"));
                false
            }
        };
        if !accepted {
            let delay = self.link.delay();
            self.clock.after(delay, failed);
            return Ok(());
        }
        self.nodes[peer].attempt = None;
        let locals: [LinkSession; 2] = [0, 1].map(|index| self.nodes[index].next_session());
        let (session, _) = self.link.open(locals, self.clock.now());
        for index in [0, 1] {
            let delay = self.link.delay();
            let life = self.nodes[index].life;
            let peer_discards = discards[1 - index];
            self.clock.after(delay, Event::Up { session, node: index, life, peer_discards });
        }
        Ok(())
    }

    /// The attempt came to nothing.
    pub(crate) fn on_dial_failed(
        &mut self,
        node: usize,
        life: Life,
        attempt: u64,
    ) -> Result<(), Violation> {
        if self.nodes[node].life != life || self.nodes[node].attempt != Some(attempt) {
            return Ok(());
        }
        self.nodes[node].attempt = None;
        let peer = node_id(1 - node);
        self.input(node, |core, now| core.handle_link(peer, LinkEvent::ConnectFailed, now))?;
        Ok(())
    }

    /// One end of a session is up.
    pub(crate) fn on_up(
        &mut self,
        key: u64,
        node: usize,
        life: Life,
        peer_discards: bool,
    ) -> Result<(), Violation> {
        if self.nodes[node].life != life {
            // Its process died between greeting and handing over: the kernel closed the socket.
            self.link.close(key, node, false, &mut self.clock);
            return Ok(());
        }
        let peer = 1 - node;
        let Some((session, session_id)) = self.link.up(key, node, &mut self.clock) else {
            return Ok(());
        };
        if let Some((old, old_key)) = self.nodes[node].session.replace((session, key)) {
            self.marks.hit(Mark::SessionReplaced);
            self.hang_up(node, old, old_key);
        }
        self.nodes[node].attempt = None;
        self.trace.mark(self.clock.now(), key);
        self.tell(Some(node), format_args!("link {key} up"));
        self.nodes[node].linked_split = self.is_split();
        let event = LinkEvent::Up { session, session_id, peer_discards };
        self.input(node, |core, now| core.handle_link(node_id(peer), event, now))?;
        Ok(())
    }

    /// An end of a session closes; at times the process is still handed what had come before.
    pub(crate) fn hang_up(&mut self, node: usize, session: LinkSession, key: u64) {
        if self.prng.per_mille(200) {
            let life = self.nodes[node].life;
            for packet in self.link.undelivered(key, node).into_iter().take(LATE_MAX) {
                self.nodes[node].late.push_back((session, packet));
                let delay = self.prng.log_between(MICROS, 10 * SECONDS);
                self.clock.after(delay, Event::Late { node, life });
            }
        }
        self.link.close(key, node, false, &mut self.clock);
    }

    /// A session ended at this end.
    pub(crate) fn link_down(
        &mut self,
        node: usize,
        session: LinkSession,
        key: u64,
        reason: LinkDown,
    ) -> Result<(), Violation> {
        self.hang_up(node, session, key);
        if self.nodes[node].session.is_none_or(|(local, _)| local != session) {
            return Ok(());
        }
        self.nodes[node].session = None;
        let greeting = !self.nodes[node].view.is_connected();
        self.marks.hit_if(greeting, Mark::LinkLostInHandshake);
        self.tell(Some(node), format_args!("link {key} down: {reason:?}"));
        let event = LinkEvent::Down { session, reason };
        self.input(node, |core, now| core.handle_link(node_id(1 - node), event, now))?;
        Ok(())
    }
}
