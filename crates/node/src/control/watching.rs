//! Watchers of the admin socket: who they are, and what the control thread has to tell them.
//!
//! What a resource's state is comes from its shard, in the order in which it happened. A watcher is
//! known before it is asked which resources there are, and a resource is known before its watchers
//! are: so none is between the two.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tandem_control::admin::{Request, Response, Sighted, encode_response};
use tokio::io::AsyncWriteExt;
use tokio::net::UnixStream;
use tokio::sync::mpsc;

use super::admin::{SessionError, receive};
use super::refusal::Refused;
use super::registry::Running;
use super::{Control, status};
use crate::mail::Mail;
use crate::watch::{Sighting, Watcher};

/// The watchers of the node.
#[derive(Debug, Default)]
pub(crate) struct Watchers {
    all: Mutex<Vec<Watcher>>,
    made: AtomicU64,
}

impl Watchers {
    fn begin(&self, resource: Option<String>) -> (Watcher, mpsc::Receiver<Sighting>) {
        let id = self.made.fetch_add(1, Ordering::Relaxed);
        let (watcher, sightings) = Watcher::new(id, resource);
        self.all().push(watcher.clone());
        (watcher, sightings)
    }

    fn end(&self, id: u64) {
        self.all().retain(|watcher| watcher.id != id);
    }

    fn of(&self, name: &str) -> Vec<Watcher> {
        self.all().iter().filter(|watcher| watcher.watches(name)).cloned().collect()
    }

    fn all(&self) -> MutexGuard<'_, Vec<Watcher>> {
        self.all.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Control {
    /// A resource is there, or has another configuration.
    pub(crate) fn tell_watchers(&self, running: &Running) {
        for watcher in self.watchers.of(&running.config.name) {
            let config = Arc::clone(&running.config);
            let mail = Mail::Watch { resource: running.key, watcher, config, reply: None };
            self.shard(running.shard).post(mail);
        }
    }

    /// A resource is gone.
    pub(crate) fn tell_watchers_gone(&self, name: &str) {
        for watcher in self.watchers.of(name) {
            watcher.tell(Sighting::Gone(name.to_owned()));
        }
    }

    /// Has a watcher told of everything that it watches.
    async fn survey(self: Arc<Self>, watcher: Watcher) {
        let all = self.registry.all();
        for running in all.iter().filter(|running| watcher.watches(&running.config.name)) {
            let (config, watcher) = (Arc::clone(&running.config), watcher.clone());
            // One that goes away meanwhile is told of by who ends it.
            let _ = self
                .ask(running, |resource, reply| Mail::Watch {
                    resource,
                    watcher,
                    config,
                    reply: Some(reply),
                })
                .await;
        }
        watcher.tell(Sighting::Settled);
    }

    /// Serves a session that watches, until its client goes or does not keep up.
    pub(super) async fn serve_watcher(
        self: &Arc<Self>,
        stream: UnixStream,
        resource: Option<String>,
    ) -> Result<(), SessionError> {
        let (mut from_client, mut to_client) = stream.into_split();
        let (watcher, mut sightings) = self.watchers.begin(resource);
        let (control, id) = (Arc::clone(self), watcher.id);
        tokio::spawn(Arc::clone(&control).survey(watcher.clone()));
        let refresh = async {
            while let Ok(Some(Request::Refresh)) = receive(&mut from_client).await {
                Arc::clone(&control).survey(watcher.clone()).await;
            }
        };
        let told = async {
            while let Some(sighting) = sightings.recv().await {
                let response = Response::Sighted(Box::new(sighted(sighting)));
                to_client.write_all(&encode_response(&response)?).await?;
                if watcher.has_missed() && sightings.is_empty() {
                    let text = "the reader does not keep up, and has missed changes: begin anew";
                    let response = Response::from(Refused::Usage(text.to_owned()));
                    to_client.write_all(&encode_response(&response)?).await?;
                    break;
                }
            }
            Ok(())
        };
        let result = tokio::select! {
            () = refresh => Ok(()),
            result = told => result,
        };
        self.watchers.end(id);
        result
    }
}

fn sighted(sighting: Sighting) -> Sighted {
    match sighting {
        Sighting::State { config, status } => Sighted::State(status::resource(&config, &status)),
        Sighting::Gone(name) => Sighted::Gone(name),
        Sighting::Settled => Sighted::Settled,
    }
}
