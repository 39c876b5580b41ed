//! The link of the pair: two queues of packets, which tests cut, pause and hang.

use std::collections::VecDeque;
use std::time::Duration;

use tandem_replica::wire::{Lane, Packet};
use tandem_replica::{LinkDown, LinkEvent, LinkSession};

use super::{Pair, peer_of};

impl Pair {
    /// Cuts the link; both sides notice.
    pub(crate) fn cut(&mut self) {
        self.linked = false;
        if let Some((a, b)) = self.session.take() {
            self.wires = [VecDeque::new(), VecDeque::new()];
            for (node, session) in [(0, a), (1, b)] {
                if self.nodes[node].running {
                    self.notice(node, session);
                }
            }
        }
        self.settle();
    }

    /// This node loses the link; the other one does not notice.
    pub(crate) fn lose_one_side(&mut self, node: usize) {
        let (a, b) = self.session.take().expect("they are connected");
        self.wires = [VecDeque::new(), VecDeque::new()];
        self.notice(node, [a, b][node]);
    }

    /// A node hears that the link is lost.
    fn notice(&mut self, node: usize, session: LinkSession) {
        let event = LinkEvent::Down { session, reason: LinkDown::BrokenPipe };
        self.nodes[node].resource.handle_link(peer_of(node), event, self.now);
    }

    /// A node ends the session: what it has sent before still arrives, unless packets are paused.
    pub(super) fn hang_up(&mut self, node: usize) {
        while !self.paused[1 - node]
            && let Some(packet) = self.wires[1 - node].pop_front()
        {
            self.deliver(1 - node, packet);
        }
        let linked = self.linked;
        self.cut();
        self.linked = linked;
    }

    pub(crate) fn heal(&mut self) {
        self.linked = true;
        self.run(Duration::from_secs(60));
    }

    /// Connects now.
    pub(crate) fn dial(&mut self, node: usize) {
        self.hold_dials = false;
        self.link(node);
        self.settle();
    }

    /// A packet arrives that the other node has not sent.
    pub(crate) fn inject(&mut self, to: usize, packet: Packet) {
        self.deliver(to, packet);
        self.settle();
    }

    /// Some bytes of a packet arrive.
    pub(crate) fn trickle(&mut self, to: usize) {
        let Some((a, b)) = self.session else { return };
        let event = LinkEvent::Received { session: [a, b][to] };
        self.nodes[to].resource.handle_link(peer_of(to), event, self.now);
        self.settle();
    }

    /// A packet arrives.
    pub(super) fn deliver(&mut self, to: usize, packet: Packet) {
        if let Packet::RsDataReply { data, .. } = &packet {
            self.data_bytes += data.len() as u64;
        }
        let Some((a, b)) = self.session else { return };
        let session = [a, b][to];
        let from = peer_of(to);
        let result = self.nodes[to].resource.handle_packet(from, session, packet, self.now);
        result.expect("the peers keep the protocol");
    }

    /// Puts a packet on its way, where the session is still the one that is up.
    pub(super) fn send(&mut self, node: usize, session: LinkSession, packet: Packet) {
        let packet = match self.tamper {
            Some((from, tamper)) if from == node => tamper(packet),
            Some(_) | None => packet,
        };
        let up = self.session.map(|(a, b)| [a, b][node]);
        if up == Some(session) && is_handshake(&packet) {
            self.handshake.push((node, packet.clone()));
        }
        if self.pause_at.is_some_and(|(from, at)| from == node && at(&packet)) {
            self.pause_at = None;
            self.paused[1 - node] = true;
        }
        if self.cut_at.is_some_and(|(from, at)| from == node && at(&packet)) {
            self.cut_at = None;
            self.cut();
            return;
        }
        if up == Some(session) && !self.hang {
            // Acks overtake where they may.
            match packet.lane() {
                Lane::Ack => {
                    let wire = &mut self.wires[1 - node];
                    let acks = wire.iter().take_while(|p| p.lane() == Lane::Ack).count();
                    wire.insert(acks, packet);
                }
                Lane::Data => self.wires[1 - node].push_back(packet),
            }
        }
    }

    /// An attempt of this node to connect.
    pub(super) fn link(&mut self, node: usize) {
        let other = 1 - node;
        let discards = self.nodes[node].resource.discards_my_data(peer_of(node));
        let accepted = self.linked
            && self.session.is_none()
            && self.nodes[other].running
            && self.nodes[other].resource.accepts(peer_of(other), discards).is_ok();
        if !accepted {
            let event = LinkEvent::ConnectFailed;
            return self.nodes[node].resource.handle_link(peer_of(node), event, self.now);
        }
        self.sessions += 2;
        let sessions = [LinkSession(self.sessions), LinkSession(self.sessions + 1)];
        self.session = Some((sessions[0], sessions[1]));
        self.handshake.clear();
        self.wires = [VecDeque::new(), VecDeque::new()];
        for (side, session) in sessions.into_iter().enumerate() {
            let peer_discards = self.nodes[1 - side].resource.discards_my_data(peer_of(1 - side));
            let up = LinkEvent::Up { session, session_id: self.sessions, peer_discards };
            self.nodes[side].resource.handle_link(peer_of(side), up, self.now);
        }
    }
}

fn is_handshake(packet: &Packet) -> bool {
    matches!(
        packet,
        Packet::Protocol(_) | Packet::Uuids(..) | Packet::State(..) | Packet::Verdict(..)
    )
}
