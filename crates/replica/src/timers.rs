//! Everything that happens because time has passed: attempts, keep-alive, limits of patience,
//! barriers.

use std::time::Duration;

use tandem_wire::Packet;

use crate::connection::{Link, Phase};
use crate::peers::PeerIndex;
use crate::resource::Resource;
use crate::time::Instant;

impl Resource {
    /// When `handle_timeout` wants to be called; `None` for never.
    pub fn poll_timeout(&self) -> Option<Instant> {
        let connections = self.peer_indexes().filter_map(|peer| self.next_deadline(peer));
        let disks = self.disk_deadline().into_iter().chain(self.detach_deadline());
        let commands = self.role_deadline().into_iter().chain(self.resize_deadline());
        connections.chain(commands).chain(disks).min()
    }

    fn next_deadline(&self, peer: PeerIndex) -> Option<Instant> {
        self.link_deadline(peer).into_iter().chain(self.fence_deadline(peer)).min()
    }

    fn link_deadline(&self, peer: PeerIndex) -> Option<Instant> {
        let connection = &self.connections[peer];
        match connection.link {
            Link::StandAlone => None,
            Link::Attempting => connection.renegotiating,
            Link::Waiting(_) if connection.permit.is_awaited() => connection.renegotiating,
            Link::Waiting(until) => {
                Some(connection.renegotiating.map_or(until, |other| until.min(other)))
            }
            Link::Up(_) => [
                self.handshake_deadline(peer),
                self.leaving_deadline(peer),
                self.invalidation_deadline(peer),
                self.patience_ends(peer),
                connection.outbound.barrier_due,
                self.catch_up_deadline(peer),
                self.resync_deadline(peer),
                Some(self.ping_deadline(peer)),
            ]
            .into_iter()
            .flatten()
            .min(),
        }
    }

    /// When the next ping is due, or the answer to the last one overdue.
    fn ping_deadline(&self, peer: PeerIndex) -> Instant {
        let connection = &self.connections[peer];
        let net = &connection.config.net;
        if let Some(pinged_at) = connection.signs.pinged_at {
            return pinged_at + net.ping_timeout;
        }
        // While answers are owed a dead peer should be noticed sooner.
        let owed = self.oldest_unacked(peer).is_some() || connection.waits_since().is_some();
        let pause = if owed { net.ping_int.min(net.timeout) } else { net.ping_int };
        connection.signs.heard_at + pause
    }

    /// When a peer that answers pings but not requests is given up (`timeout` x `ko-count`).
    fn patience_ends(&self, peer: PeerIndex) -> Option<Instant> {
        let connection = &self.connections[peer];
        let net = &connection.config.net;
        let patience: Duration = net.timeout * net.ko_count;
        if patience.is_zero() {
            return None;
        }
        let oldest = self.oldest_unacked(peer).into_iter().chain(connection.waits_since()).min()?;
        Some(oldest.max(connection.signs.moved_at) + patience)
    }

    /// Does what is due.
    pub(crate) fn check_timers(&mut self) {
        self.check_disks();
        let due = |deadline: Option<Instant>, now| deadline.is_some_and(|deadline| deadline <= now);
        for peer in self.peer_indexes() {
            let renegotiating = &mut self.connections[peer].renegotiating;
            if due(*renegotiating, self.now) {
                *renegotiating = None;
            }
            if self.connections[peer].session().is_none() {
                continue;
            }
            let now = self.now;
            if due(self.patience_ends(peer), now) {
                self.end_session(peer, "the peer answers pings but no requests (ko-count)");
            } else if due(self.handshake_deadline(peer), now) && !self.is_parting(peer) {
                self.handshake_is_overdue(peer);
            } else if self.ping_deadline(peer) <= now {
                match self.connections[peer].signs.pinged_at {
                    Some(_) => self.end_session(peer, "no answer to a ping"),
                    None => self.ping(peer),
                }
            } else if due(self.connections[peer].outbound.barrier_due, now) {
                self.send_barrier(peer);
            }
            if self.connections[peer].is_running() {
                self.step_resyncs(peer);
            }
        }
    }

    fn handshake_is_overdue(&mut self, peer: PeerIndex) {
        if self.connections[peer].on_trial {
            self.give_up_trial(peer);
        } else {
            self.end_session(peer, "the handshake took too long");
        }
    }

    fn is_parting(&self, peer: PeerIndex) -> bool {
        let session = self.connections[peer].session();
        session.is_some_and(|session| matches!(session.phase, Phase::Parting { .. }))
    }

    /// Asks the peer for a sign of life.
    pub(crate) fn ping(&mut self, peer: PeerIndex) {
        self.connections[peer].signs.pinged(self.now);
        self.send(peer, Packet::Ping);
    }

    /// Bytes came that are not a whole packet yet: in time the peer is told.
    pub(crate) fn packet_arrives(&mut self, peer: PeerIndex) {
        let connection = &mut self.connections[peer];
        let pause = connection.config.net.ping_timeout / 2;
        if connection.signs.packet_arrives(pause, self.now) {
            self.send(peer, Packet::PingAck);
        }
    }

    /// Bytes came from the peer.
    pub(crate) fn heard_from(&mut self, peer: PeerIndex) {
        self.connections[peer].signs.heard(self.now);
    }

    /// How long votes may take.
    pub(crate) fn vote_timeout(&self) -> Duration {
        self.connections.iter().map(|c| c.config.net.timeout).max().unwrap_or_default()
    }
}
