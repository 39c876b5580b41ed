//! Clients in the world: opening, asking, and what every reply must be (INV-19, rule 7).

use bytes::Bytes;
use tandem_replica::{
    ClientId, ConnectionState, Cookie, OnIoError, Request, RequestError, RequestOp,
};
use tandem_wire::{DiskState, Protocol, ReplicationState, Role};

use crate::checks::{Violation, floors};
use crate::client::{Kind, Pending};
use crate::event::{Event, Life};
use crate::marks::Mark;
use crate::model::{Model, ReadFloor};
use crate::node::volume_number;
use crate::stamp::{SECTOR, WriteId};
use crate::steps;
use crate::view::View;
use crate::world::{Phase, World};

/// How often in a row a client dies with nothing answered. All that it leaves is carried out, one
/// write behind the other where they overlap: what it asks again must not grow without end.
const DEATHS_MAX: u32 = 16;

impl World {
    /// A client may open its connection, or ask for something.
    pub(crate) fn on_client(&mut self, slot: usize) -> Result<(), Violation> {
        if self.phase != Phase::Load {
            return Ok(());
        }
        self.script.visited(self.clients.prng_mut());
        let pause = self.clients.pause(self.profile.pause);
        self.clock.after(pause, Event::Client { client: slot });
        let Some((client, node)) = self.clients.slots[slot].open else {
            return self.open_client(slot);
        };
        if self.operator.quiet(node)
            || !self.nodes[node].answers()
            || self.clients.requests > self.profile.requests_max
        {
            return Ok(());
        }
        let burst = self.clients.burst(self.profile.depth);
        for _ in 0..self.script.requests(burst) {
            let still_open = self.clients.slots[slot].open == Some((client, node));
            if !still_open || self.clients.slots[slot].in_flight >= self.profile.depth {
                return Ok(());
            }
            if self.script.begins(steps::Kind::Request, self.clients.prng_mut()) {
                self.ask(slot, node)?;
                self.script.ends();
            }
        }
        Ok(())
    }

    /// A client dies with its requests in flight; at times what it left comes again at once.
    pub(crate) fn kill_client(&mut self) -> Result<(), Violation> {
        let busy: Vec<usize> = (0..self.clients.slots.len())
            .filter(|slot| {
                let client = self.clients.slots[*slot];
                client.in_flight > 0 && client.deaths < DEATHS_MAX
            })
            .collect();
        if busy.is_empty() {
            return Ok(());
        }
        let slot = busy[self.prng.index(busy.len())];
        let (client, node) = self.clients.slots[slot].open.expect("it has requests in flight");
        if !self.nodes[node].answers() {
            return Ok(());
        }
        self.marks.hit(Mark::ClientKilled);
        self.clients.slots[slot].deaths += 1;
        self.clients.drop_client(client);
        self.input(node, |core, now| core.close_client(client, now))?;
        if self.prng.per_mille(700) {
            self.open_client(slot)?;
            while let Some((_, node)) = self.clients.slots[slot].open
                && self.clients.has_again(slot)
            {
                self.ask(slot, node)?;
            }
        }
        Ok(())
    }

    pub(crate) fn open_client(&mut self, slot: usize) -> Result<(), Violation> {
        let primaries: Vec<usize> =
            (0..2).filter(|node| self.nodes[*node].view.role == Role::Primary).collect();
        if primaries.is_empty() {
            return Ok(());
        }
        let node = primaries[slot % primaries.len()];
        if self.operator.quiet(node) || !self.nodes[node].answers() {
            return Ok(());
        }
        let client = ClientId(self.clients.next_id());
        let volume = self.clients.slots[slot].volume;
        let opened = self.input(node, |resource, now| {
            resource.open_client(client, volume_number(volume), now)
        })?;
        // A kill may fall into the very input that opened it.
        let alive = self.nodes[node].resource.is_some();
        match opened {
            Some(Ok(_)) if !alive => {}
            Some(Ok(_)) => self.clients.slots[slot].open = Some((client, node)),
            Some(Err(error)) => self.tell(Some(node), format_args!("refuses a client: {error}")),
            None => {}
        }
        Ok(())
    }

    fn ask(&mut self, slot: usize, node: usize) -> Result<(), Violation> {
        let volume = self.clients.slots[slot].volume;
        let export = (self.nodes[node].resource.as_ref())
            .and_then(|resource| resource.export(volume_number(volume)).ok());
        let Some(export) = export else { return Ok(()) };
        let sectors = usize::try_from(export.size_bytes).expect("small") / SECTOR;
        let block_size = export.block_size.max(512);
        let (op, kind) = match self.clients.draw_again(&mut self.model, node, slot) {
            Some((op, kind, before)) => {
                self.saw_replay(node, before, &op);
                (op, kind)
            }
            None => self.clients.draw(&mut self.model, node, volume, sectors, block_size),
        };
        self.submit(slot, (op, kind))
    }

    /// The client of a slot asks for something, on the connection that is open.
    pub(crate) fn submit(
        &mut self,
        slot: usize,
        (op, kind): (RequestOp, Kind),
    ) -> Result<(), Violation> {
        let Some((client, node)) = self.clients.slots[slot].open else { return Ok(()) };
        let volume = self.clients.slots[slot].volume;
        let session = self.nodes[node].session.map(|(_, key)| key);
        self.saw_request(node, volume, &op);
        let cookie = Cookie(self.clients.next_id());
        self.clients.requests += 1;
        self.clients.slots[slot].in_flight += 1;
        let peer_life = self.peer_life(node, volume);
        let peer_left = session.is_some_and(|key| !self.link.is_open(key, 1 - node));
        let since = self.clock.now();
        self.trace.mark(since, cookie.0);
        if self.trace.is_on() || self.script.is_played() {
            let (brief, text) = (brief(&op), kind.text());
            self.tell(Some(node), format_args!("request {} {brief} {text}", cookie.0));
            let text = format_args!("request {} {brief}, {text}", cookie.0);
            self.script.note(since, Some(node), text);
        }
        let asked_at = since;
        let pending =
            Pending { slot, client, node, session, peer_life, peer_left, asked_at, since, kind };
        self.clients.pending.insert(cookie, pending);
        let request = Request { client, cookie, volume: volume_number(volume), op };
        self.input(node, |resource, now| resource.handle_request(request, now))?;
        Ok(())
    }

    /// The key of the session in which a volume is established, as the core sees it at this moment.
    pub(crate) fn established(&self, node: usize, volume: usize) -> Option<u64> {
        let (_, key) = self.nodes[node].session?;
        let resource = self.nodes[node].resource.as_ref()?;
        View::of(resource, self.now()).is_established(volume).then_some(key)
    }

    /// A reply came out of a core.
    pub(crate) fn replied(
        &mut self,
        node: usize,
        client: ClientId,
        cookie: Cookie,
        result: Result<Option<Bytes>, RequestError>,
    ) -> Result<(), Violation> {
        if !self.clients.is_open(client) {
            // Its requests went on when it was closed; what they came to goes nowhere.
            return Ok(());
        }
        self.check_frozen(node)?;
        let known = (self.clients.pending.get(&cookie))
            .is_some_and(|pending| pending.client == client && pending.node == node);
        if !known {
            let text =
                format!("node {node} replies to {cookie:?} of {client:?}, which is not open");
            return Err(Violation::new("INV-19 one reply", text));
        }
        let pending = self.clients.pending.remove(&cookie).expect("just seen");
        let slot = &mut self.clients.slots[pending.slot];
        slot.in_flight -= 1;
        slot.deaths = 0;
        let volume = slot.volume;
        self.trace.mark(self.clock.now(), cookie.0);
        if self.trace.is_on() {
            let word = result.as_ref().map_or_else(ToString::to_string, |_| "ok".into());
            self.tell(Some(node), format_args!("reply {} {word}", cookie.0));
        }
        match result {
            Ok(data) => self.succeeded(node, volume, cookie, pending, &data.unwrap_or_default()),
            Err(error) => self.answered_error(node, volume, &pending, error),
        }
    }

    /// A request was answered with success: what that promises, and INV-12, INV-13.
    fn succeeded(
        &mut self,
        node: usize,
        volume: usize,
        cookie: Cookie,
        pending: Pending,
        data: &[u8],
    ) -> Result<(), Violation> {
        let view = self.fresh_view(node);
        if view.role != Role::Primary {
            let text = format!("node {node} replies to {cookie:?} as {}", view.role);
            return Err(Violation::new("INV-12 no reply after a demotion", text));
        }
        let own = view.volumes[volume].disk == DiskState::UpToDate;
        let at_peer = view.is_connected() && view.volumes[volume].peer_disk == DiskState::UpToDate;
        let session = self.nodes[node].session.map(|(_, key)| key);
        // A peer that died on the way has not died at or after the reply (INV-1).
        let replicated = (view.is_established(volume) || (at_peer && !own))
            && pending.session.is_some()
            && pending.session == session
            && pending.peer_life == self.peer_life(node, volume);
        match pending.kind {
            Kind::Read { first, floors } => {
                self.check_read(node, volume, first, data, &floors)?;
            }
            Kind::Write(id) => {
                self.check_zombie(node, id, replicated && pending.peer_left)?;
                self.model.ack(id, node, own, replicated);
                if self.model.writes[id as usize].fua {
                    self.check_promise(volume)?;
                }
                let apart = view.volumes[volume].replication == ReplicationState::Off;
                self.marks.hit_if(apart, Mark::DegradedWrite);
                // A trim of no whole block writes nothing.
                let writes = self.model.writes[id as usize].sectors > 0;
                // What the peer acked before the link was lost needs no generation of its own, in
                // whichever session it was sent. In B it acks what it has not written.
                let alone = self.lacks(1 - node, id)
                    && (self.model.protocol != Protocol::B || pending.session.is_none());
                if apart && writes && alone {
                    let owes = &mut self.model.volumes[volume].nodes[node];
                    owes.forked = true;
                    owes.hands_over = false;
                }
            }
            Kind::Flush { covered, submitted } => {
                self.model.flushed(volume, node, covered, own, replicated);
                self.check_promise(volume)?;
                if !own && !replicated {
                    self.check_kept(node, volume, covered)?;
                }
                let acked = self.model.tick();
                if self.model.tenure.node == Some(node) {
                    self.model.tenure.flushes.push((submitted, acked));
                }
            }
        }
        Ok(())
    }

    /// What must not change on the way if the peer is to have kept what it acked.
    fn peer_life(&self, node: usize, volume: usize) -> (Life, u32, u32) {
        let peer = &self.nodes[1 - node];
        let memory_losses = self.model.volumes[volume].nodes[1 - node].memory_losses;
        (peer.life, peer.disks[volume].caches_lost, memory_losses)
    }

    /// Whether a node's image shows something older than this write.
    fn lacks(&self, node: usize, id: WriteId) -> bool {
        let volume = self.model.writes[id as usize].volume;
        !self.model.is_shown(id, self.nodes[node].disks[volume].contents())
    }

    /// INV-13: what a peer had left before it was asked is not replicated to it (B, C).
    fn check_zombie(&self, node: usize, id: WriteId, left: bool) -> Result<(), Violation> {
        let writes = self.model.writes[id as usize].sectors > 0;
        if !left || !writes || self.model.protocol == Protocol::A {
            return Ok(());
        }
        let text = format!("node {node} replies to write {id}, made after its peer had left");
        Err(Violation::new("INV-13 zombie", text))
    }

    fn fresh_view(&self, node: usize) -> View {
        let resource = self.nodes[node].resource.as_ref().expect("it replied");
        View::of(resource, self.now())
    }

    /// An error is an answer only where no good copy can be reached (rule 7, INV-14), and no
    /// handshake is under way that may bring one.
    fn answered_error(
        &mut self,
        node: usize,
        volume: usize,
        pending: &Pending,
        error: RequestError,
    ) -> Result<(), Violation> {
        let view = self.fresh_view(node);
        let without_data = view.volumes[volume].disk < DiskState::UpToDate
            && (!view.is_connected() || view.volumes[volume].peer_disk < DiskState::UpToDate);
        let meets = self.nodes[node].session.is_some()
            && [&self.nodes[node].view, &view]
                .iter()
                .all(|view| view.connection == ConnectionState::Connecting)
            && self.nodes[node].hung_up_at != Some(self.clock.now());
        let waits = meets || self.waits_for_data(node) || self.begins_anew(node);
        if let Kind::Write(id) = pending.kind {
            self.model.failed(id, node);
        }
        if without_data && error == RequestError::Io && !waits {
            return Ok(());
        }
        // The disk is gone, and the peer's data were being given up for it at this moment.
        let own = view.volumes[volume].disk;
        let at_peer = self.nodes[1 - node].view.volumes[volume].disk;
        if own.max(at_peer) < DiskState::UpToDate && error == RequestError::Io {
            return Ok(());
        }
        if error == RequestError::Io && self.is_passed_on(node, volume, pending) {
            self.marks.hit(Mark::ErrorPassedOn);
            return Ok(());
        }
        let text = format!("node {node} answers \"{error}\" while {}", view.text());
        Err(Violation::new("no error replies", text))
    }

    /// INV-15: whether every good copy within reach is on a disk that passes its errors on and has
    /// had one since the request came. A peer that lacks blocks has no good copy of those. What
    /// cannot be flushed is never passed on: such a disk is given up.
    fn is_passed_on(&self, node: usize, volume: usize, pending: &Pending) -> bool {
        let view = &self.fresh_view(node);
        let state = view.volumes[volume];
        let fails = |node: usize| {
            self.profile.on_io_error[node] == OnIoError::PassOn
                && self.nodes[node].disks[volume].failed_at.is_some_and(|at| at >= pending.asked_at)
        };
        let [own_fails, peer_fails] = [node, 1 - node].map(fails);
        let own = state.disk < DiskState::UpToDate || own_fails;
        let at_peer = view.is_connected()
            && state.peer_disk == DiskState::UpToDate
            && self.nodes[1 - node].view.volumes[volume].disk >= DiskState::Outdated
            && !(state.disk == DiskState::UpToDate && state.dirty_blocks > 0);
        let is_flush = matches!(pending.kind, Kind::Flush { .. });
        own && (!at_peer || peer_fails) && (own_fails || peer_fails) && !is_flush
    }

    /// Whether the node has ended its session this very moment to have another one, which requests
    /// wait for, if they have not waited for one before in vain. A failed disk is no such reason:
    /// it may have been the last.
    fn begins_anew(&self, node: usize) -> bool {
        let resource = self.nodes[node].resource.as_ref().expect("it replied");
        let status = resource.status(self.now());
        let reason = status.connections[0].reason.as_deref();
        let now = self.clock.now();
        let waited = now - self.nodes[node].apart_since.unwrap_or(now);
        let patience = resource.config().peers[0].net.timeout;
        self.nodes[node].hung_up_at == Some(now)
            && u128::from(waited) < patience.as_nanos()
            && reason.is_some_and(|reason| BEGIN_ANEW.contains(&reason))
    }

    fn check_read(
        &mut self,
        node: usize,
        volume: usize,
        first: usize,
        data: &[u8],
        floors: &[ReadFloor],
    ) -> Result<(), Violation> {
        if data.len() != floors.len() * SECTOR {
            let text = format!("a read of {} sectors returns {} bytes", floors.len(), data.len());
            return Err(Violation::new("INV-19 one reply", text));
        }
        let floors = floors.iter().enumerate();
        let floors: Vec<WriteId> = floors
            .map(|(at, floor)| self.model.floor_of_read(volume, node, first + at, *floor))
            .collect();
        let seen = floors::check_read(&self.model, volume, first, data, &floors)?;
        let Model { volumes, writes, .. } = &mut self.model;
        let read = &mut volumes[volume].nodes[node].read;
        for (floor, seen) in read[first..].iter_mut().zip(seen) {
            // What was answered with an error need not stay, also where it is shown afterwards.
            if !writes[seen as usize].failed {
                *floor = (*floor).max(seen);
            }
        }
        Ok(())
    }
}

fn brief(op: &RequestOp) -> String {
    match op {
        RequestOp::Write { offset, data, fua } => {
            format!("Write {offset}+{}{}", data.len(), if *fua { " fua" } else { "" })
        }
        RequestOp::Read(_)
        | RequestOp::Trim { .. }
        | RequestOp::Zeroes { .. }
        | RequestOp::Flush => format!("{op:?}"),
    }
}

/// Why a node ends a session to begin another, in the words of its status.
const BEGIN_ANEW: [&str; 6] = [
    "replaced by a newer link",
    "a disk was attached",
    "the volume grows",
    "data were invalidated by the operator",
    "blocks found out of sync are to be repaired",
    "this node was promoted by force",
];
