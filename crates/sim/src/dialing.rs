//! Attempts to connect and the sessions they end in, as listeners and dialers of two daemons do it.
//!
//! Where both dial at once, the lower node id's attempt wins. A session is up at each end at a
//! moment of its own. What the greeting carries was asked of the cores when it was sent.

use tandem_replica::{LinkDown, LinkEvent, LinkSession};

use crate::checks::Violation;
use crate::clock::{MICROS, MILLIS};
use crate::event::{Event, Life};
use crate::node::node_id;
use crate::world::World;

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
        if self.link.is_cut(0) || self.link.is_cut(1) {
            let timeout = u64::try_from(self.profile.net.timeout.as_nanos()).expect("seconds");
            self.clock.after(timeout, failed);
            return Ok(());
        }
        let crossed = peer < node && self.nodes[peer].attempt.is_some();
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
        if let Some((_, old)) = self.nodes[node].session.replace((session, key)) {
            self.link.close(old, node, false, &mut self.clock);
        }
        self.nodes[node].attempt = None;
        self.trace.mark(self.clock.now(), key);
        self.tell(Some(node), format_args!("link {key} up"));
        let event = LinkEvent::Up { session, session_id, peer_discards };
        self.input(node, |core, now| core.handle_link(node_id(peer), event, now))?;
        Ok(())
    }

    /// A session ended at this end.
    pub(crate) fn link_down(
        &mut self,
        node: usize,
        session: LinkSession,
        key: u64,
        reason: LinkDown,
    ) -> Result<(), Violation> {
        self.link.close(key, node, false, &mut self.clock);
        if self.nodes[node].session.is_none_or(|(local, _)| local != session) {
            return Ok(());
        }
        self.nodes[node].session = None;
        self.tell(Some(node), format_args!("link {key} down: {reason:?}"));
        let event = LinkEvent::Down { session, reason };
        self.input(node, |core, now| core.handle_link(node_id(1 - node), event, now))?;
        Ok(())
    }
}
