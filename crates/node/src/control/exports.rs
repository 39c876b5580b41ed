//! What is configured for exports: read-only, and how many connections are served at once.
//!
//! The system limits them as well, by descriptors. A part of those is not the clients': disks,
//! peers and administrators always find some, and of the rest a part is for handshakes.

use std::collections::BTreeMap;
use std::sync::Arc;

use tandem_control::daemon_config::NbdConfig;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::limits;
use crate::mail::Permits;

/// The limits of connections, and what is particular to an export.
#[derive(Debug)]
pub(crate) struct Exports {
    all: Limit,
    /// Descriptors for clients, from before they are accepted on.
    descriptors: Arc<Semaphore>,
    particular: BTreeMap<String, Particular>,
}

#[derive(Debug)]
struct Particular {
    read_only: bool,
    connections: Option<Limit>,
}

#[derive(Debug)]
struct Limit {
    connections: u32,
    free: Arc<Semaphore>,
}

impl Exports {
    /// With `descriptors` for all purposes.
    pub(crate) fn new(config: &NbdConfig, descriptors: usize) -> Self {
        let for_clients = descriptors - (descriptors / 2).min(limits::DESCRIPTORS_RESERVED);
        let served = u32::try_from(for_clients - for_clients / 4).unwrap_or(u32::MAX);
        let connections = config.connections.min(served.max(1));
        if connections < config.connections {
            tracing::warn!(
                "the limit of open files is {descriptors}: {connections} clients are served at \
                 once, not {}; raise it (LimitNOFILE= of systemd, ulimit -n)",
                config.connections
            );
        }
        let particular = config.exports.iter().map(|(name, export)| {
            let connections = export.connections.map(Limit::new);
            (name.clone(), Particular { read_only: export.read_only, connections })
        });
        Self {
            all: Limit::new(connections),
            descriptors: Arc::new(Semaphore::new(for_clients.max(1))),
            particular: particular.collect(),
        }
    }

    /// A descriptor for a client; waits until there is one.
    pub(crate) async fn descriptor(&self) -> OwnedSemaphorePermit {
        let permit = Arc::clone(&self.descriptors).acquire_owned().await;
        permit.expect("the semaphore is never closed")
    }

    pub(crate) fn is_read_only(&self, export: &str) -> bool {
        self.particular.get(export).is_some_and(|it| it.read_only)
    }

    /// A client's share in the limits, or why there is none.
    pub(crate) fn admit(&self, export: &str) -> Result<Permits, String> {
        let particular = self.particular.get(export).and_then(|it| it.connections.as_ref());
        let mut permits = Vec::new();
        for (whose, limit) in [("this daemon", Some(&self.all)), (export, particular)] {
            let Some(limit) = limit else { continue };
            let permit = Arc::clone(&limit.free)
                .try_acquire_owned()
                .map_err(|_| format!("{} connections are the limit of {whose}", limit.connections));
            permits.push(permit?);
        }
        Ok(permits)
    }
}

impl Limit {
    fn new(connections: u32) -> Self {
        let free = usize::try_from(connections).expect("a usize has at least 32 bits");
        Self { connections, free: Arc::new(Semaphore::new(free)) }
    }
}

#[cfg(test)]
mod tests {
    use std::pin::pin;
    use std::task::{Context, Poll, Waker};

    use tandem_control::daemon_config::DaemonConfig;

    use super::Exports;

    #[test]
    fn a_share_is_given_back_and_refusals_say_whose_limit_it_is() {
        let text = "[nbd]\nconnections = 3\n[nbd.exports.\"r0/0\"]\nconnections = 2\n\
                    [nbd.exports.\"r0/1\"]\nread_only = true\n";
        let exports = Exports::new(&DaemonConfig::parse("t.toml", text).unwrap().nbd, 1024);
        assert!(exports.is_read_only("r0/1") && !exports.is_read_only("r0/0"));
        let first = exports.admit("r0/0").unwrap();
        let _second = exports.admit("r0/0").unwrap();
        let refused = exports.admit("r0/0").unwrap_err();
        assert_eq!(refused, "2 connections are the limit of r0/0");
        let _third = exports.admit("r0/1").unwrap();
        let refused = exports.admit("r0/1").unwrap_err();
        assert_eq!(refused, "3 connections are the limit of this daemon");
        drop(first);
        assert!(exports.admit("r0/0").is_ok());
    }

    #[test]
    fn few_descriptors_are_few_connections_and_a_lack_is_waited_out() {
        let exports = Exports::new(&DaemonConfig::default().nbd, 20);
        // Half of them is for others, a quarter of the rest for handshakes.
        let permits: Vec<_> = (0..8).map(|_| exports.admit("r0/0").unwrap()).collect();
        let refused = exports.admit("r0/0").unwrap_err();
        assert_eq!(refused, "8 connections are the limit of this daemon");
        drop(permits);
        let mut taken: Vec<_> = (0..10).map(|_| now(exports.descriptor()).unwrap()).collect();
        assert!(now(exports.descriptor()).is_none());
        taken.pop();
        assert!(now(exports.descriptor()).is_some());
        let many = Exports::new(&DaemonConfig::default().nbd, 1024);
        assert_eq!(many.all.connections, DaemonConfig::default().nbd.connections);
    }

    /// What comes without waiting.
    fn now<T>(future: impl Future<Output = T>) -> Option<T> {
        let mut context = Context::from_waker(Waker::noop());
        match pin!(future).poll(&mut context) {
            Poll::Ready(it) => Some(it),
            Poll::Pending => None,
        }
    }
}
