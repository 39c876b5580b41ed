//! A shard's peer links.

use std::os::fd::OwnedFd;
use std::time::Duration;

use tandem_replica::wire;
use tandem_replica::wire::NodeId;
use tandem_replica::{Instant, LinkDown, LinkEvent, LinkSession};
use tandem_ring::Completion;

use super::Shard;
use crate::drain::drain;
use crate::limits;
use crate::link::{Link, Next};
use crate::stream::Stream;
use crate::token::Token;

impl Shard {
    /// Ends a link on the core's wish: what is queued has a moment to get out.
    pub(crate) fn part_with_link(&mut self, key: usize, now: Instant) {
        let Some(link) = self.links.get_mut(key) else { return };
        if link.begin_parting() {
            let resource = link.resource;
            let peer = link.peer;
            self.links_to_serve.push(key);
            self.parting_links.push((key, now + LINGER));
            let hosted = self.resource_mut(resource);
            if let Some(hosted) = hosted.filter(|it| it.link(peer) == Some(key)) {
                hosted.remove_link(peer);
            }
        }
    }

    pub(super) fn link_up(
        &mut self,
        resource: usize,
        peer: NodeId,
        socket: OwnedFd,
        agreed: wire::Link,
        peer_discards: bool,
        now: Instant,
    ) {
        let key = self.links.next_key();
        let session = LinkSession(self.name_for(key));
        if self.resource_mut(resource).is_none() {
            return;
        }
        let (receive, send) = (Token::LinkReceive(key), Token::LinkSend(key));
        let stream = if self.links.len() >= limits::CONNECTIONS_MAX {
            Err("too many connections".to_owned())
        } else {
            let made = Stream::new(&mut self.io, socket, &[], receive, send);
            made.map_err(|error| error.to_string())
        };
        let stream = match stream {
            Ok(stream) => stream,
            Err(error) => {
                tracing::warn!("link refused: {error}");
                self.connect_failed(resource, peer, now);
                return;
            }
        };
        let link = Link::new(resource, peer, session, stream, agreed.session_key);
        assert_eq!(self.links.insert(link), key, "the table was not touched meanwhile");
        let old = self.resource_mut(resource).and_then(|it| it.replace_link(peer, key));
        if let Some(old) = old {
            self.end_link(old, now);
        }
        let Some(hosted) = self.resource_mut(resource) else { return };
        let session_id = agreed.session_id;
        let up = LinkEvent::Up { session, session_id, peer_discards };
        hosted.core.handle_link(peer, up, now);
        drain(self, resource, now);
        self.links_to_serve.push(key);
    }

    pub(super) fn connect_failed(&mut self, resource: usize, peer: NodeId, now: Instant) {
        if let Some(hosted) = self.resource_mut(resource) {
            hosted.core.handle_link(peer, LinkEvent::ConnectFailed, now);
            drain(self, resource, now);
        }
    }

    pub(super) fn handle_link_received(
        &mut self,
        key: usize,
        completion: Completion,
        now: Instant,
    ) {
        let link = self.links.get_mut(key).expect("a link outlives its operations");
        let received = link.handle_received(completion);
        if link.is_parting() {
            return;
        }
        if let Err(reason) = received {
            self.link_down(key, LinkDown::BrokenPipe, &reason, now);
            return;
        }
        let (resource, peer, session) = (link.resource, link.peer, link.session);
        if let Some(hosted) = self.resource_mut(resource) {
            hosted.core.handle_link(peer, LinkEvent::Received { session }, now);
            drain(self, resource, now);
        }
        self.take_packets(key, now);
    }

    pub(super) fn handle_link_sent(&mut self, key: usize, completion: Completion, now: Instant) {
        let link = self.links.get_mut(key).expect("a link outlives its operations");
        match link.handle_sent(completion) {
            Ok(()) => self.links_to_serve.push(key),
            Err(_) if link.is_parting() => self.end_link(key, now),
            Err(reason) => self.link_down(key, LinkDown::BrokenPipe, &reason, now),
        }
    }

    /// Sends what is queued, and goes on receiving where buffers had run out.
    pub(super) fn serve_link(&mut self, key: usize, now: Instant) {
        self.take_packets(key, now);
        if let Some(link) = self.links.get_mut(key) {
            link.flush(&mut self.io);
            if link.is_parting() && link.is_sent() {
                link.shut_down(&mut self.io);
            }
        }
    }

    /// Drops links that were shut down and whose last operation has ended; shuts those down whose
    /// time to part is over.
    pub(super) fn bury_links(&mut self, now: Instant) {
        for position in (0..self.parting_links.len()).rev() {
            let (key, deadline) = self.parting_links[position];
            let link = self.links.get_mut(key).expect("a parting link is in the table");
            if deadline <= now {
                link.shut_down(&mut self.io);
                self.parting_links[position].1 = Instant::from_nanos(u64::MAX);
            }
            if link.is_shut() && link.is_idle() {
                self.links.remove(key);
                self.parting_links.swap_remove(position);
            }
        }
    }

    /// Hands every complete packet to the core.
    fn take_packets(&mut self, key: usize, now: Instant) {
        loop {
            let Some(link) = self.links.get_mut(key) else { return };
            if link.is_parting() {
                return;
            }
            let (resource, peer, session) = (link.resource, link.peer, link.session);
            match link.next_packet(&mut self.io) {
                Next::Packet(packet) => {
                    let Some(hosted) = self.resource_mut(resource) else { return };
                    let handled = hosted.core.handle_packet(peer, session, packet, now);
                    if let Err(error) = handled {
                        let (name, peer) = (hosted.name(), hosted.peer_name(peer));
                        tracing::error!(resource = name, peer, "protocol error: {error}");
                    }
                    drain(self, resource, now);
                }
                Next::Waiting => return,
                Next::Stalled => {
                    self.stalled_links.push(key);
                    return;
                }
                Next::Error(reason) => {
                    self.link_down(key, LinkDown::ProtocolError, &reason, now);
                    return;
                }
            }
        }
    }

    /// A link broke: ends it and tells the core.
    fn link_down(&mut self, key: usize, reason: LinkDown, text: &str, now: Instant) {
        let link = self.links.get_mut(key).expect("the caller has found it");
        let (resource, peer, session) = (link.resource, link.peer, link.session);
        self.end_link(key, now);
        let Some(hosted) = self.resource_mut(resource) else { return };
        let (name, peer_name) = (hosted.name(), hosted.peer_name(peer));
        tracing::warn!(resource = name, peer = peer_name, "link lost: {text}");
        if hosted.link(peer) == Some(key) {
            hosted.remove_link(peer);
        }
        hosted.core.handle_link(peer, LinkEvent::Down { session, reason }, now);
        drain(self, resource, now);
    }

    /// Ends a link at once.
    fn end_link(&mut self, key: usize, now: Instant) {
        let Some(link) = self.links.get_mut(key) else { return };
        link.shut_down(&mut self.io);
        if link.begin_parting() {
            self.parting_links.push((key, now + LINGER));
        }
    }
}

/// How long the last packets of a link may take to get out: the peer then learns why it ended.
const LINGER: Duration = Duration::from_millis(500);
