//! Making, changing and ending resources.

use std::sync::Arc;

use tandem_control::VolumeNumber;
use tandem_control::config::{PeerConfig, ResourceConfig, ResourceOptions};
use tandem_replica::wire;
use tandem_replica::{Command, CommandError, ConnectionState};

use super::refusal::Refused;
use super::registry::Running;
use super::{Control, convert, peer, status};
use crate::mail::Mail;
use crate::random;

impl Control {
    /// Makes the resource, attaches its disks, connects to its peers. A resource that cannot be
    /// attached is not made. One that exists is adjusted.
    pub(crate) async fn up(self: &Arc<Self>, config: ResourceConfig) -> Result<(), Refused> {
        let lock = self.registry.lock(&config.name);
        let _guard = lock.lock().await;
        match self.registry.find(&config.name) {
            Some(running) => self.adjust_running(running, config).await,
            None => self.make(config).await,
        }
    }

    /// Disconnects, detaches and forgets the resource.
    pub(crate) async fn down(&self, name: &str, force: bool) -> Result<(), Refused> {
        let lock = self.registry.lock(name);
        let _guard = lock.lock().await;
        let Some(running) = self.registry.find(name) else { return Ok(()) };
        self.command(&running, Command::Down { force }).await?;
        self.forget(&running).await
    }

    /// Gives the core an operator's command and waits for its end.
    pub(crate) async fn command(&self, running: &Running, command: Command) -> Result<(), Refused> {
        let done = self.ask(running, |resource, reply| Mail::Command { resource, command, reply });
        done.await?
            .map_err(|error| Refused::Command { resource: running.config.name.clone(), error })
    }

    async fn make(self: &Arc<Self>, config: ResourceConfig) -> Result<(), Refused> {
        let name = config.name.clone();
        let refused = |text: String| Refused::Config { resource: name.clone(), text };
        let disks = convert::disks(&config).map_err(refused)?;
        for peer in &config.peers {
            let address = peer.own_address;
            peer::ensure_listener(self, address)
                .map_err(|error| refused(format!("cannot listen on {address}: {error}")))?;
        }
        let core = convert::config(&config, self.boot_id(), random::number());
        let shard = self.registry.next_shard(self.shard_count());
        let auto_promote = config.options.auto_promote;
        let add = |reply| Mail::Add { config: core, disks, auto_promote, reply };
        let key = self.shard(shard).ask(add).await?;
        let running = Running { config: Arc::new(config), shard, key };
        self.registry.insert(running.clone());
        self.tell_dependencies(&running);
        if let Err(refusal) = self.attach_all(&running).await {
            let down = self.command(&running, Command::Down { force: true }).await;
            if let Err(error) = down {
                tracing::error!("cannot take back what was begun: {error}");
            }
            self.forget(&running).await?;
            return Err(refusal);
        }
        self.connect_all(&running).await
    }

    async fn attach_all(&self, running: &Running) -> Result<(), Refused> {
        for volume in &running.config.volumes {
            let volume = wire::VolumeNumber(volume.number.0);
            self.command(running, Command::Attach { volume }).await?;
        }
        Ok(())
    }

    async fn connect_all(&self, running: &Running) -> Result<(), Refused> {
        for peer in &running.config.peers {
            let peer = wire::NodeId(peer.node_id.0);
            self.command(running, Command::Connect { peer, discard_my_data: false }).await?;
        }
        Ok(())
    }

    /// The resource is down: nothing of it is in flight.
    async fn forget(&self, running: &Running) -> Result<(), Refused> {
        self.registry.remove(&running.config.name);
        self.forget_dependencies(running);
        self.ask(running, |resource, reply| Mail::Remove { resource, reply }).await?;
        Ok(())
    }

    /// Changes what can be changed while it runs, then attaches and connects what is not.
    async fn adjust_running(
        &self,
        running: Running,
        config: ResourceConfig,
    ) -> Result<(), Refused> {
        if let Some(what) = needs_restart(&running.config, &config) {
            let text =
                format!("{what} changed: run 'tandemadm down {0}', then 'up {0}'", config.name);
            return Err(Refused::Config { resource: config.name, text });
        }
        for peer in config.peers.iter().filter(|peer| !running.config.peers.contains(peer)) {
            let peer = convert::peer(&config, peer);
            self.ask(&running, |resource, reply| Mail::Update { resource, peer, reply }).await?;
        }
        for volume in &config.volumes {
            let (resource, volume) = (running.key, convert::volume(&config, volume));
            self.shard(running.shard).post(Mail::UpdateVolume { resource, volume });
        }
        let (resource, auto_promote) = (running.key, config.options.auto_promote);
        self.shard(running.shard).post(Mail::AutoPromote { resource, auto_promote });
        let running = Running { config: Arc::new(config), ..running };
        self.registry.insert(running.clone());
        self.tell_dependencies(&running);
        let state = status::of_core(self, &running).await?;
        for volume in state.volumes.iter().filter(|it| it.disk == wire::DiskState::Diskless) {
            self.command(&running, Command::Attach { volume: volume.number }).await?;
        }
        for it in state.connections.iter().filter(|it| it.state == ConnectionState::StandAlone) {
            let command = Command::Connect { peer: it.peer, discard_my_data: false };
            self.command(&running, command).await?;
        }
        Ok(())
    }

    /// Brings a resource of the configuration file up when the daemon starts.
    pub(crate) async fn start_resource(self: Arc<Self>, config: ResourceConfig) {
        let name = config.name.clone();
        let Err(refused) = self.up(config).await else { return };
        let is_metadata = |error: &CommandError| matches!(error, CommandError::Metadata { .. });
        if matches!(&refused, Refused::Command { error, .. } if is_metadata(error)) {
            tracing::warn!(
                resource = name,
                "not brought up: {refused} (run 'tandemadm create-md {name}' if it never had \
                 metadata, then 'tandemadm up {name}')"
            );
        } else {
            tracing::error!(resource = name, "not brought up: {refused}");
        }
    }
}

/// The options of a resource but for what the core knows nothing of.
fn of_core(options: &ResourceOptions) -> ResourceOptions {
    ResourceOptions { auto_promote: false, ..options.clone() }
}

/// What differs that a running resource cannot take over.
fn needs_restart(old: &ResourceConfig, new: &ResourceConfig) -> Option<&'static str> {
    let volumes = |config: &ResourceConfig| -> Vec<VolumeNumber> {
        config.volumes.iter().map(|volume| volume.number).collect()
    };
    let disks = |config: &ResourceConfig| -> Vec<_> {
        config.volumes.iter().map(|it| (it.disk.clone(), it.meta_disk.clone())).collect()
    };
    let nodes = |config: &ResourceConfig| -> Vec<_> {
        config.peers.iter().map(|peer| (peer.node_id, peer.name.clone())).collect()
    };
    let addresses = |config: &ResourceConfig| -> Vec<_> {
        let of = |peer: &PeerConfig| (peer.own_address, peer.peer_address);
        config.peers.iter().map(of).collect()
    };
    if old.node_id != new.node_id {
        Some("its node-id")
    } else if volumes(old) != volumes(new) {
        Some("its volumes")
    } else if disks(old) != disks(new) {
        Some("a disk or meta-disk")
    } else if nodes(old) != nodes(new) {
        Some("its peers")
    } else if addresses(old) != addresses(new) {
        Some("an address")
    } else if of_core(&old.options) != of_core(&new.options) {
        Some("an option of the resource")
    } else {
        None
    }
}
