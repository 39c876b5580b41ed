//! Clients that open a resource: at once, or behind a promotion for their sake.
//!
//! What is to be done [`Openers`](tandem_nbd::Openers) decides; here the core is asked for it.

use tandem_nbd::{Opening as Verdict, RoleChange};
use tandem_replica::{ClientId, Command, CommandError, Instant};

use super::{ClientEntry, Shard};
use crate::drain::drain;
use crate::limits;
use crate::mail::{Opening, ResourceKey};

impl Shard {
    pub(super) fn open_client(&mut self, resource: usize, opening: Opening, now: Instant) {
        let Some(hosted) = self.resource_mut(resource) else { return };
        let is_served = hosted.core.export(opening.volume).is_ok();
        let writes = opening.writes;
        match hosted.openers.open(opening, writes, is_served) {
            Verdict::Now(opening) => self.open_now(resource, opening, now),
            Verdict::Promote => {
                self.change_role(resource, Command::Primary { force: false }, now);
            }
            Verdict::Wait => {}
        }
    }

    /// Whether clients promote a resource from now on.
    pub(super) fn set_auto_promote(&mut self, resource: ResourceKey, auto_promote: bool) {
        if let Some(hosted) = self.resource_mut(resource.0) {
            hosted.openers.set_promotes(auto_promote);
        }
    }

    /// A change of role for the clients' sake has ended.
    pub(crate) fn role_changed(
        &mut self,
        resource: usize,
        result: Result<(), CommandError>,
        now: Instant,
    ) {
        let Some(hosted) = self.resource_mut(resource) else { return };
        let (change, waiting) = hosted.openers.changed(result.is_ok());
        let refusal = match (change, result) {
            (RoleChange::Promote, Err(error)) => {
                tracing::info!(resource = hosted.name(), "not promoted: {error}");
                Some(format!("not promoted for this client: {error}"))
            }
            (RoleChange::Promote, Ok(())) | (RoleChange::Demote, _) => None,
        };
        for opening in waiting {
            if opening.reply.is_closed() {
                continue; // it did not wait so long
            }
            match &refusal {
                Some(text) => {
                    let _ = opening.reply.send(Err(CommandError::Refused(text.clone())));
                }
                None => self.open_client(resource, opening, now),
            }
        }
        if change == RoleChange::Promote {
            self.give_role_back(resource, now);
        }
    }

    /// Demotes a resource that was promoted for clients and has none any more.
    pub(super) fn give_role_back(&mut self, resource: usize, now: Instant) {
        let Some(hosted) = self.resource_mut(resource) else { return };
        if hosted.openers.gives_back() {
            self.change_role(resource, Command::Secondary { force: false }, now);
        }
    }

    fn change_role(&mut self, resource: usize, command: Command, now: Instant) {
        let Some(hosted) = self.resource_mut(resource) else { return };
        let name = hosted.name();
        tracing::info!(resource = name, ?command, "the role follows the clients");
        let id = hosted.begin_role_change();
        hosted.core.handle_command(id, command, now);
        drain(self, resource, now);
    }

    fn open_now(&mut self, resource: usize, opening: Opening, now: Instant) {
        let Opening { volume, reply, .. } = opening;
        if self.clients.len() >= limits::CONNECTIONS_MAX {
            let text = format!("{} clients are connected, which is the limit", self.clients.len());
            let _ = reply.send(Err(CommandError::Refused(text)));
            return;
        }
        let id = ClientId(self.name_for(self.clients.next_key()));
        let Some(hosted) = self.resource_mut(resource) else { return };
        let opened = hosted.core.open_client(id, volume, now);
        let opened = opened.map(|export| hosted.facts(volume, export));
        if opened.is_ok() {
            hosted.openers.opened();
            self.clients.insert(ClientEntry { id, resource, volume, client: None, permits: None });
        }
        drain(self, resource, now);
        let unheard = reply.send(opened.map(|facts| (id, facts)));
        if let Err(Ok(_)) = unheard {
            self.close_client_unanswered(id, now);
        }
    }
}
