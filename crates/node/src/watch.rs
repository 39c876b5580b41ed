//! Who watches a resource, and what each was told last.
//!
//! After every input of the core its states are compared with those that were told; where one
//! differs, all watchers get the whole state. So none is missed, however short it is. A resource
//! that nobody watches is not looked at. A watcher that does not keep up is given up, and told so.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tandem_control::config::ResourceConfig;
use tandem_replica::{Instant, Resource, ResourceStatus};
use tokio::sync::mpsc;

use crate::limits;

/// What a watcher gets to see of a resource.
#[derive(Debug)]
pub(crate) enum Sighting {
    /// How it is.
    State { config: Arc<ResourceConfig>, status: Box<ResourceStatus> },
    /// It is gone.
    Gone(String),
    /// Every resource that was there has been told of.
    Settled,
}

/// Where sightings go.
#[derive(Clone, Debug)]
pub(crate) struct Watcher {
    /// Names it among all.
    pub(crate) id: u64,
    /// The resource that it watches; every one for `None`.
    pub(crate) resource: Option<String>,
    sightings: mpsc::Sender<Sighting>,
    has_missed: Arc<AtomicBool>,
}

impl Watcher {
    /// A watcher, and the other end of it.
    pub(crate) fn new(id: u64, resource: Option<String>) -> (Self, mpsc::Receiver<Sighting>) {
        let (sightings, receiver) = mpsc::channel(limits::SIGHTINGS_MAX);
        let has_missed = Arc::new(AtomicBool::new(false));
        (Self { id, resource, sightings, has_missed }, receiver)
    }

    /// Whether it watches the resource of that name.
    pub(crate) fn watches(&self, name: &str) -> bool {
        self.resource.as_deref().is_none_or(|watched| watched == name)
    }

    /// Whether it did not keep up.
    pub(crate) fn has_missed(&self) -> bool {
        self.has_missed.load(Ordering::Acquire)
    }

    /// Tells it something, unless it has missed something before; whether it is still there.
    pub(crate) fn tell(&self, sighting: Sighting) -> bool {
        if self.has_missed() {
            return false;
        }
        match self.sightings.try_send(sighting) {
            Ok(()) => true,
            Err(mpsc::error::TrySendError::Full(_)) => {
                self.has_missed.store(true, Ordering::Release);
                false
            }
            Err(mpsc::error::TrySendError::Closed(_)) => false,
        }
    }
}

/// The watchers of a resource in its shard.
#[derive(Debug, Default)]
pub(crate) struct Watched {
    watchers: Vec<(Watcher, Arc<ResourceConfig>)>,
    /// The states that were told, and memory for those that are compared with them.
    told: Vec<u8>,
    found: Vec<u8>,
    told_at: Instant,
}

impl Watched {
    /// Another one, or one that is to know of a new configuration: it is told at once.
    pub(crate) fn add(
        &mut self,
        watcher: Watcher,
        config: Arc<ResourceConfig>,
        core: &Resource,
        now: Instant,
    ) {
        self.watchers.retain(|(other, _)| other.id != watcher.id);
        if self.watchers.is_empty() {
            fingerprint(core, now, &mut self.told);
        }
        let status = Box::new(core.status(now));
        if watcher.tell(Sighting::State { config: Arc::clone(&config), status }) {
            self.watchers.push((watcher, config));
        }
    }

    /// The core has had an input.
    pub(crate) fn look(&mut self, core: &Resource, now: Instant) {
        if self.watchers.is_empty() {
            return;
        }
        let is_under_way = fingerprint(core, now, &mut self.found);
        let is_due = is_under_way && now.since(self.told_at) >= limits::PROGRESS_INTERVAL;
        if self.found == self.told && !is_due {
            return;
        }
        std::mem::swap(&mut self.found, &mut self.told);
        self.told_at = now;
        let status = core.status(now);
        self.watchers.retain(|(watcher, config)| {
            let (config, status) = (Arc::clone(config), Box::new(status.clone()));
            watcher.tell(Sighting::State { config, status })
        });
    }
}

/// All states, but no counter; whether a resync or a verify is under way.
fn fingerprint(core: &Resource, now: Instant, into: &mut Vec<u8>) -> bool {
    into.clear();
    let suspended = core.suspended();
    let reasons = [suspended.user, suspended.no_data, suspended.fencing, suspended.quorum];
    into.push(core.role() as u8);
    into.extend(reasons.map(u8::from));
    for volume in core.volume_statuses() {
        into.extend([volume.disk as u8, u8::from(volume.open)]);
        into.extend(volume.size_bytes.to_le_bytes());
    }
    let mut is_under_way = false;
    for connection in core.connection_states() {
        into.extend([connection.state as u8, connection.peer_role as u8]);
        for device in core.device_statuses(connection.peer, now) {
            let paused = device.resync_suspended;
            into.extend([device.replication as u8, device.peer_disk as u8]);
            into.extend([paused.user, paused.peer, paused.dependency].map(u8::from));
            is_under_way |= device.resync.is_some() || device.verify.is_some();
        }
    }
    is_under_way
}
