//! What is configured for exports: read-only, and how many connections are served at once.

use std::collections::BTreeMap;
use std::sync::Arc;

use tandem_control::daemon_config::NbdConfig;
use tokio::sync::Semaphore;

use crate::mail::Permits;

/// The limits of connections, and what is particular to an export.
#[derive(Debug)]
pub(crate) struct Exports {
    all: Limit,
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
    pub(crate) fn new(config: &NbdConfig) -> Self {
        let particular = config.exports.iter().map(|(name, export)| {
            let connections = export.connections.map(Limit::new);
            (name.clone(), Particular { read_only: export.read_only, connections })
        });
        Self { all: Limit::new(config.connections), particular: particular.collect() }
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
    use tandem_control::daemon_config::DaemonConfig;

    use super::Exports;

    #[test]
    fn a_share_is_given_back_and_refusals_say_whose_limit_it_is() {
        let text = "[nbd]\nconnections = 3\n[nbd.exports.\"r0/0\"]\nconnections = 2\n\
                    [nbd.exports.\"r0/1\"]\nread_only = true\n";
        let exports = Exports::new(&DaemonConfig::parse("t.toml", text).unwrap().nbd);
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
}
