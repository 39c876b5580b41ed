//! A shard's NBD clients.

use bytes::Bytes;
use tandem_nbd::{Limits, Transmission};
use tandem_replica::{ClientId, Cookie, Instant, Request, RequestError};

use super::Shard;
use crate::drain::drain;
use crate::export::{Client, Progress};
use crate::limits;
use crate::mail::{Admitted, Growth};
use crate::stream::Stream;
use crate::token::Token;

impl Shard {
    /// The core's answer to a request; nobody hears it where the client is gone.
    pub(crate) fn reply(
        &mut self,
        id: ClientId,
        cookie: Cookie,
        result: Result<Option<Bytes>, RequestError>,
    ) {
        let Some(key) = self.client_key(id) else { return };
        let entry = self.clients.get_mut(key).and_then(|entry| entry.client.as_mut());
        if let Some(client) = entry.filter(|client| !client.is_closed()) {
            client.reply(&mut self.budget, cookie, result);
            self.clients_to_serve.push(key);
        }
    }

    /// Closes a client's connection without answering what is open, and tells the core.
    pub(crate) fn close_client_unanswered(&mut self, id: ClientId, now: Instant) {
        if let Some(key) = self.client_key(id) {
            self.close_client(key, false, "by the resource", now);
        }
    }

    pub(super) fn serve(&mut self, id: ClientId, admitted: Admitted, now: Instant) {
        let Admitted { socket, rest, export, terms, once_gone, permits } = admitted;
        // The client may have been closed during its handshake; the socket then closes here.
        let Some(key) = self.client_key(id) else { return };
        let (receive, send) = (Token::ClientReceive(key), Token::ClientSend(key));
        let entry = self.clients.get_mut(key).expect("its key was just found");
        assert!(entry.client.is_none(), "a client is served once");
        match Stream::new(&mut self.io, socket, &rest, receive, send) {
            Ok(stream) => {
                tracing::debug!(client = id.0, export = export.name, ?terms, "client served");
                let limits = Limits {
                    requests_in_flight_max: limits::CLIENT_REQUESTS_MAX,
                    ..Limits::default()
                };
                let transmission = Transmission::new(export, terms, limits);
                let (resource, volume) = (entry.resource, entry.volume);
                let client =
                    Client::new(id, key, resource, volume, stream, transmission, once_gone);
                entry.client = Some(client);
                entry.permits = Some(permits);
                self.clients_to_serve.push(key);
            }
            Err(error) => {
                tracing::warn!("client refused: {error}");
                self.close_client_unanswered(id, now);
            }
        }
    }

    /// Has clients of a volume use what it grew by: a device of the kernel's learns of that in the
    /// middle of its connections. Others ask for no more than they were told.
    pub(super) fn grow_clients(&mut self, resource: usize, growth: Growth) {
        let Growth { volume, size_bytes, reply } = growth;
        for key in 0..self.clients.key_end() {
            let entry = self.clients.get_mut(key);
            let of_volume = entry.filter(|it| (it.resource, it.volume) == (resource, volume));
            if let Some(client) = of_volume.and_then(|entry| entry.client.as_mut()) {
                client.grow(size_bytes);
            }
        }
        let _ = reply.send(());
    }

    /// Lets a client take a completion in.
    pub(super) fn handle_client(
        &mut self,
        key: usize,
        handle: impl FnOnce(&mut Client) -> Result<(), String>,
        now: Instant,
    ) {
        let entry = self.clients.get_mut(key).expect("a client outlives its operations");
        let client = entry.client.as_mut().expect("only served clients have operations");
        let handled = handle(client);
        client.note_pace(now);
        if client.is_closed() {
            return;
        }
        match handled {
            Ok(()) => self.clients_to_serve.push(key),
            Err(reason) => self.close_client(key, true, &reason, now),
        }
    }

    /// Sends what is answered, then takes more requests.
    pub(super) fn serve_client(&mut self, key: usize, now: Instant) {
        let client = self.clients.get_mut(key).and_then(|entry| entry.client.as_mut());
        let Some(client) = client.filter(|client| !client.is_closed()) else { return };
        client.flush(&mut self.io, &mut self.budget);
        let mut requests = std::mem::take(&mut self.requests);
        let resource = client.resource;
        let progress = client.pump(&mut self.io, &mut self.budget, &mut requests);
        // What the protocol answers by itself (a bad request) waits for nobody.
        client.flush(&mut self.io, &mut self.budget);
        client.note_pace(now);
        let questions = client.take_questions();
        self.feed_requests(resource, &mut requests, now);
        self.answer_questions(key, &questions);
        match progress {
            Progress::Waiting => {}
            Progress::Stalled => self.stalled_clients.push(key),
            Progress::Ended(reason) => self.close_client(key, true, &reason, now),
        }
    }

    /// While clients wait for buffers, closes those that keep theirs for nothing; and at any time
    /// those that have left a request in the middle.
    pub(super) fn close_stuck_clients(&mut self, now: Instant) {
        if self.clients.len() == 0 {
            self.stall_check = None;
            return;
        }
        let is_stalled = !self.stalled_clients.is_empty();
        let interval = if is_stalled {
            limits::STALL_CHECK_INTERVAL
        } else {
            limits::ABANDONED_CHECK_INTERVAL
        };
        let due = self.stall_check.map_or(now + interval, |due| due.min(now + interval));
        self.stall_check = Some(due);
        if due > now {
            return;
        }
        self.stall_check = Some(now + interval);
        for key in 0..self.clients.key_end() {
            let client = self.clients.get(key).and_then(|entry| entry.client.as_ref());
            let Some(client) = client.filter(|client| !client.is_closed()) else { continue };
            if is_stalled && client.is_stuck(now) {
                tracing::warn!("a client is closed: it reads no replies while others wait");
                self.close_client(key, true, "it keeps buffers that others wait for", now);
            } else if client.is_abandoned(now) {
                tracing::warn!("a client is closed: it does not go on with a request");
                self.close_client(key, true, "it does not go on with a request", now);
            }
        }
    }

    /// Drops closed clients whose last operation has ended.
    pub(super) fn bury_clients(&mut self) {
        for position in (0..self.parting_clients.len()).rev() {
            let key = self.parting_clients[position];
            let client = self.clients.get(key).and_then(|entry| entry.client.as_ref());
            if client.is_none_or(Client::is_idle) {
                self.clients.remove(key);
                self.parting_clients.swap_remove(position);
            }
        }
    }

    /// Ends a client; with `finishes`, writes that it sent in full still go on.
    fn close_client(&mut self, key: usize, finishes: bool, reason: &str, now: Instant) {
        let entry = self.clients.get_mut(key).expect("the caller has found it");
        let (id, resource) = (entry.id, entry.resource);
        if let Some(client) = &mut entry.client {
            if client.is_closed() {
                return;
            }
            tracing::debug!(client = id.0, "client closed: {reason}");
            let mut requests = std::mem::take(&mut self.requests);
            let rest = finishes.then_some(&mut requests);
            client.close(&mut self.io, &mut self.budget, rest);
            self.feed_requests(resource, &mut requests, now);
            self.parting_clients.push(key);
        } else {
            self.clients.remove(key);
        }
        if let Some(hosted) = self.resource_mut(resource) {
            hosted.core.close_client(id, now);
            hosted.openers.closed();
            drain(self, resource, now);
            self.give_role_back(resource, now);
        }
    }

    fn feed_requests(&mut self, resource: usize, requests: &mut Vec<Request>, now: Instant) {
        for request in requests.drain(..) {
            if let Some(hosted) = self.resource_mut(resource) {
                hosted.core.handle_request(request, now);
                drain(self, resource, now);
            }
        }
        self.requests = std::mem::take(requests);
    }

    /// Where the client of this name is, if it still exists.
    pub(super) fn client_key(&self, id: ClientId) -> Option<usize> {
        let key = usize::try_from(id.0 & NAME_KEY_MASK).expect("16 bits fit");
        self.clients.get(key).filter(|entry| entry.id == id).map(|_| key)
    }

    /// A name that is never given twice and holds the place in a table.
    pub(super) fn name_for(&mut self, key: usize) -> u64 {
        let key = u64::try_from(key).expect("a usize fits");
        assert!(key <= NAME_KEY_MASK, "tables of connections are bounded far below that");
        self.serial += 1;
        self.serial << NAME_KEY_BITS | key
    }
}

const NAME_KEY_BITS: u32 = 16;
const NAME_KEY_MASK: u64 = (1 << NAME_KEY_BITS) - 1;
