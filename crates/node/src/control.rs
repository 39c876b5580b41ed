//! The control thread: everything that is not the data path.
//!
//! One tokio thread accepts clients, peers and administrators, drives their handshakes and hands
//! finished connections to the shard that owns the resource. What it knows of resources is which
//! shard has them and what they are configured to be; their state is asked of the shard.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use tandem_control::config::ResourceConfig;
use tandem_control::daemon_config::{DaemonConfig, NbdConfig};
use tandem_replica::wire::VolumeNumber;
use tokio::sync::Semaphore;
use tokio::sync::mpsc::UnboundedReceiver;

use crate::limits;
use crate::mail::{Errand, Mailbox, ResourceKey, ShardGone};

pub(crate) mod admin;
mod authentication;
pub(crate) mod commands;
pub(crate) mod convert;
pub(crate) mod crowd;
pub(crate) mod dependencies;
pub(crate) mod exports;
pub(crate) mod handlers;
pub(crate) mod kernel;
pub(crate) mod lifecycle;
pub(crate) mod nbd;
pub(crate) mod offer;
pub(crate) mod parts;
pub(crate) mod peer;
pub(crate) mod refusal;
pub(crate) mod registry;
pub(crate) mod shape;
pub(crate) mod socket;
pub(crate) mod status;
pub(crate) mod stdio;
pub(crate) mod waiting;
pub(crate) mod watching;

use dependencies::Dependencies;
use exports::Exports;
use kernel::Keepers;
use registry::{Registry, Running};
use watching::Watchers;

/// What all tasks of the control thread share.
#[derive(Debug)]
pub(crate) struct Control {
    /// Name of this node.
    pub(crate) node: String,
    run_dir: PathBuf,
    config_file: PathBuf,
    shards: Vec<Mailbox>,
    pub(crate) registry: Registry,
    pub(crate) dependencies: Dependencies,
    /// Handlers that run at once.
    pub(crate) handlers: Semaphore,
    /// What is called for handlers of resources that were put together from their parts.
    usermode_helper: Option<PathBuf>,
    pub(crate) exports: Exports,
    pub(crate) nbd: NbdConfig,
    pub(crate) keepers: Keepers,
    watchers: Watchers,
    boot_id: [u8; 16],
}

impl Control {
    pub(crate) fn new(
        node: String,
        run_dir: PathBuf,
        config_file: PathBuf,
        shards: Vec<Mailbox>,
        exports: Exports,
        daemon_config: &DaemonConfig,
        boot_id: [u8; 16],
    ) -> Arc<Self> {
        Arc::new(Self {
            node,
            run_dir,
            config_file,
            shards,
            registry: Registry::default(),
            dependencies: Dependencies::default(),
            handlers: Semaphore::new(limits::HANDLERS_MAX),
            usermode_helper: daemon_config.handlers.usermode_helper.clone(),
            exports,
            nbd: daemon_config.nbd.clone(),
            keepers: Keepers::default(),
            watchers: Watchers::default(),
            boot_id,
        })
    }

    /// Does what shards ask for, until all of them have ended.
    pub(crate) async fn run_errands(self: Arc<Self>, mut errands: UnboundedReceiver<Errand>) {
        while let Some(errand) = errands.recv().await {
            match errand {
                Errand::Connect { shard, resource, peer } => {
                    peer::begin_attempt(&self, shard, resource, peer);
                }
                Errand::Resyncing { shard, resource, volume, resyncing } => {
                    self.resyncing(shard, resource, volume, resyncing);
                }
                Errand::Handle { shard, resource, occasion } => {
                    self.handle(shard, resource, occasion);
                }
            }
        }
    }

    pub(crate) fn shard(&self, number: usize) -> &Mailbox {
        &self.shards[number]
    }

    pub(crate) fn shard_count(&self) -> usize {
        self.shards.len()
    }

    pub(crate) fn run_dir(&self) -> &Path {
        &self.run_dir
    }

    pub(crate) fn config_file(&self) -> &Path {
        &self.config_file
    }

    pub(crate) fn boot_id(&self) -> [u8; 16] {
        self.boot_id
    }

    /// Asks the shard of a resource.
    pub(crate) async fn ask<T>(
        &self,
        running: &Running,
        mail: impl FnOnce(ResourceKey, tokio::sync::oneshot::Sender<T>) -> crate::mail::Mail,
    ) -> Result<T, ShardGone> {
        self.shard(running.shard).ask(|reply| mail(running.key, reply)).await
    }
}

/// How an export is called: `r0/0`.
pub(crate) fn export_name(config: &ResourceConfig, volume: VolumeNumber) -> String {
    format!("{}/{volume}", config.name)
}
