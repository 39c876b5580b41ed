//! Which resources run, where, and how they are configured; the attempts to reach their peers.
//!
//! Behind a mutex that is held for look-ups only, never across a wait.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tandem_control::config::ResourceConfig;
use tandem_replica::wire::NodeId;
use tokio::task::AbortHandle;

use crate::mail::ResourceKey;

/// The resources of the node.
#[derive(Debug, Default)]
pub(crate) struct Registry {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    resources: BTreeMap<String, Running>,
    /// Attempts to reach a peer, by resource and peer.
    attempts: BTreeMap<(usize, ResourceKey, NodeId), Attempt>,
    /// Why peers that were reached do not take this node for who it says it is, or the reverse.
    authentication_errors: BTreeMap<(usize, ResourceKey, NodeId), String>,
    listeners: BTreeMap<SocketAddr, AbortHandle>,
    /// Serialises what makes, changes and ends a resource.
    locks: BTreeMap<String, Arc<tokio::sync::Mutex<()>>>,
    made: usize,
}

/// A resource that runs.
#[derive(Clone, Debug)]
pub(crate) struct Running {
    pub(crate) config: Arc<ResourceConfig>,
    /// What its core was made with.
    pub(crate) made: Arc<ResourceConfig>,
    pub(crate) origin: Origin,
    pub(crate) shard: usize,
    pub(crate) key: ResourceKey,
}

/// What a resource is configured by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Origin {
    /// A description of the whole: the configuration file's, with its handlers.
    Whole,
    /// Parts that still come: it is being put together, and was not used yet.
    Begun,
    /// Parts; it is in use.
    Parts,
}

/// An attempt to reach a peer.
#[derive(Debug)]
enum Attempt {
    Running(AbortHandle),
    Succeeded(Instant),
}

impl Registry {
    /// The lock of everything that makes, changes or ends the resource of that name.
    pub(crate) fn lock(&self, name: &str) -> Arc<tokio::sync::Mutex<()>> {
        Arc::clone(self.state().locks.entry(name.to_owned()).or_default())
    }

    /// Which shard the next resource goes to.
    pub(crate) fn next_shard(&self, shards: usize) -> usize {
        let mut state = self.state();
        state.made += 1;
        (state.made - 1) % shards
    }

    /// Makes a resource known, or what has changed of it.
    pub(crate) fn insert(&self, running: Running) {
        let mut state = self.state();
        state.resources.insert(running.config.name.clone(), running);
        state.close_unused_listeners();
    }

    /// The resource is used: it is not being put together any more.
    pub(crate) fn seal(&self, name: &str) {
        if let Some(running) = self.state().resources.get_mut(name) {
            running.origin = match running.origin {
                Origin::Whole => Origin::Whole,
                Origin::Begun | Origin::Parts => Origin::Parts,
            };
        }
    }

    /// The resource is what a description of the whole says.
    pub(crate) fn describe(&self, name: &str) {
        if let Some(running) = self.state().resources.get_mut(name) {
            running.origin = Origin::Whole;
        }
    }

    /// Forgets a resource, and gives up what is under way for it.
    pub(crate) fn remove(&self, name: &str) {
        let mut state = self.state();
        let Some(running) = state.resources.remove(name) else { return };
        state.abandon_attempts(&running);
        state.close_unused_listeners();
    }

    /// The core of a resource ends, and another one follows.
    pub(crate) fn abandon_attempts(&self, running: &Running) {
        self.state().abandon_attempts(running);
    }

    pub(crate) fn find(&self, name: &str) -> Option<Running> {
        self.state().resources.get(name).cloned()
    }

    /// All resources, by name.
    pub(crate) fn all(&self) -> Vec<Running> {
        self.state().resources.values().cloned().collect()
    }

    pub(crate) fn find_key(&self, shard: usize, key: ResourceKey) -> Option<Running> {
        let state = self.state();
        state.resources.values().find(|it| (it.shard, it.key) == (shard, key)).cloned()
    }

    pub(crate) fn is_listening(&self, address: SocketAddr) -> bool {
        self.state().listeners.contains_key(&address)
    }

    pub(crate) fn add_listener(&self, address: SocketAddr, task: AbortHandle) {
        self.state().listeners.insert(address, task);
    }

    /// An attempt begins; one that is under way is given up.
    pub(crate) fn begin_attempt(&self, running: &Running, peer: NodeId, task: AbortHandle) {
        let attempt = Attempt::Running(task);
        let old = self.state().attempts.insert((running.shard, running.key, peer), attempt);
        if let Some(old) = old {
            old.abort();
        }
    }

    /// An attempt has ended.
    pub(crate) fn end_attempt(&self, running: &Running, peer: NodeId, has_succeeded: bool) {
        let mut state = self.state();
        let id = (running.shard, running.key, peer);
        if has_succeeded {
            state.attempts.insert(id, Attempt::Succeeded(Instant::now()));
        } else {
            state.attempts.remove(&id);
        }
    }

    /// Gives an attempt up: the peer's own has succeeded.
    pub(crate) fn abandon_attempt(&self, running: &Running, peer: NodeId) {
        if let Some(attempt) = self.state().attempts.remove(&(running.shard, running.key, peer)) {
            attempt.abort();
        }
        self.set_authentication_error(running, peer, None);
    }

    /// The peer was reached: what its authentication, or this node's, has come to.
    pub(crate) fn set_authentication_error(
        &self,
        running: &Running,
        peer: NodeId,
        error: Option<String>,
    ) {
        let mut state = self.state();
        let id = (running.shard, running.key, peer);
        match error {
            Some(error) => drop(state.authentication_errors.insert(id, error)),
            None => drop(state.authentication_errors.remove(&id)),
        }
    }

    /// What it came to the last time; `None` where nothing is wrong with it.
    pub(crate) fn authentication_error(&self, running: &Running, peer: NodeId) -> Option<String> {
        let id = (running.shard, running.key, peer);
        self.state().authentication_errors.get(&id).cloned()
    }

    /// Whether an attempt is under way, or has succeeded so recently that the peer's crossing one
    /// may still be in the queue of the listener.
    pub(crate) fn is_attempting(&self, running: &Running, peer: NodeId) -> bool {
        match self.state().attempts.get(&(running.shard, running.key, peer)) {
            Some(Attempt::Running(task)) => !task.is_finished(),
            Some(Attempt::Succeeded(at)) => at.elapsed() < CROSSING_TIME,
            None => false,
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn abandon_attempts(&mut self, running: &Running) {
        let (shard, key) = (running.shard, running.key);
        let is_its = |id: &(usize, ResourceKey, NodeId)| (id.0, id.1) == (shard, key);
        for attempt in self.attempts.iter().filter(|(id, _)| is_its(id)).map(|(_, it)| it) {
            attempt.abort();
        }
        self.attempts.retain(|id, _| !is_its(id));
        self.authentication_errors.retain(|id, _| !is_its(id));
    }

    fn close_unused_listeners(&mut self) {
        let Self { resources, listeners, .. } = self;
        listeners.retain(|address, task| {
            let is_used = resources.values().any(|running| running.listens_on(*address));
            if !is_used {
                task.abort();
            }
            is_used
        });
    }
}

impl Running {
    fn listens_on(&self, address: SocketAddr) -> bool {
        let mut paths = self.config.peers.iter().filter_map(|peer| peer.path);
        paths.any(|path| path.own_address == address)
    }
}

impl Attempt {
    fn abort(&self) {
        match self {
            Self::Running(task) => task.abort(),
            Self::Succeeded(_) => {}
        }
    }
}

/// How long a greeting that crossed ours may lie unread: the control thread is never busy longer.
const CROSSING_TIME: Duration = Duration::from_millis(500);
