//! Making, changing and ending resources.

use std::sync::Arc;

use tandem_control::admin::Adjustment;
use tandem_control::config::ResourceConfig;
use tandem_replica::wire;
use tandem_replica::{Command, CommandError, ConnectionState};

use super::commands::connect;
use super::refusal::Refused;
use super::registry::{Origin, Running};
use super::{Control, convert, kernel, peer, shape, status};
use crate::mail::Mail;
use crate::opener::DiskPaths;
use crate::random;

impl Control {
    /// Makes the resource, attaches its disks, connects to its peers, as far as that is asked for.
    /// A resource that cannot be attached is not made. One that exists is adjusted.
    pub(crate) async fn up(
        self: &Arc<Self>,
        config: ResourceConfig,
        asked: Adjustment,
    ) -> Result<(), Refused> {
        let lock = self.registry.lock(&config.name);
        let _guard = lock.lock().await;
        match self.registry.find(&config.name) {
            Some(running) => self.adjust_running(running, config, asked).await,
            None => self.make(config, asked).await,
        }
    }

    /// Disconnects, detaches and forgets the resource.
    pub(crate) async fn down(self: &Arc<Self>, name: &str) -> Result<(), Refused> {
        let lock = self.registry.lock(name);
        let _guard = lock.lock().await;
        let Some(running) = self.registry.find(name) else { return Ok(()) };
        let had = kernel::detach_all(self, &running, false).await?;
        if let Err(refused) = self.command(&running, Command::Down { force: false }).await {
            kernel::attach_each(self, &running, had).await;
            return Err(refused);
        }
        self.forget(&running).await
    }

    /// The same as the daemon ends, whoever uses the resource: they find it again later.
    pub(crate) async fn abandon(&self, name: &str) -> Result<(), Refused> {
        let lock = self.registry.lock(name);
        let _guard = lock.lock().await;
        let Some(running) = self.registry.find(name) else { return Ok(()) };
        kernel::leave(self, &running).await;
        self.command(&running, Command::Down { force: true }).await?;
        self.forget(&running).await
    }

    /// Gives the core an operator's command and waits for its end.
    pub(crate) async fn command(&self, running: &Running, command: Command) -> Result<(), Refused> {
        let done = self.ask(running, |resource, reply| Mail::Command { resource, command, reply });
        done.await?
            .map_err(|error| Refused::Command { resource: running.config.name.clone(), error })
    }

    async fn make(
        self: &Arc<Self>,
        config: ResourceConfig,
        asked: Adjustment,
    ) -> Result<(), Refused> {
        let running = self.create(config, Origin::Whole).await?;
        if let Err(refusal) = self.attach_detached(&running, asked).await {
            let down = self.command(&running, Command::Down { force: true }).await;
            if let Err(error) = down {
                tracing::error!("cannot take back what was begun: {error}");
            }
            self.forget(&running).await?;
            return Err(refusal);
        }
        self.connect_apart(&running, asked).await
    }

    /// Makes the resource, with nothing attached and nothing connected.
    pub(crate) async fn create(
        self: &Arc<Self>,
        config: ResourceConfig,
        origin: Origin,
    ) -> Result<Running, Refused> {
        self.listen(&config).await?;
        let shard = self.registry.next_shard(self.shard_count());
        self.add(Arc::new(config), origin, shard).await
    }

    /// Gives a shard the core of a resource.
    async fn add(
        &self,
        config: Arc<ResourceConfig>,
        origin: Origin,
        shard: usize,
    ) -> Result<Running, Refused> {
        let disks = disks(&config)?;
        let core = convert::config(&config, self.boot_id(), random::number());
        let auto_promote = config.options.auto_promote;
        let add = |reply| Mail::Add { config: core, disks, auto_promote, reply };
        let key = self.shard(shard).ask(add).await?;
        let made = Arc::clone(&config);
        let running = Running { config, made, origin, shard, key };
        self.registry.insert(running.clone());
        self.tell_dependencies(&running);
        self.tell_watchers(&running);
        Ok(running)
    }

    async fn listen(self: &Arc<Self>, config: &ResourceConfig) -> Result<(), Refused> {
        for address in config.peers.iter().filter_map(|peer| Some(peer.path?.own_address)) {
            peer::ensure_listener(self, address).await.map_err(|error| {
                let text = format!("cannot listen on {address}: {error}");
                Refused::Config { resource: config.name.clone(), text }
            })?;
        }
        Ok(())
    }

    /// Attaches what is not, unless disks are to stay as they are.
    async fn attach_detached(&self, running: &Running, asked: Adjustment) -> Result<(), Refused> {
        if asked.skip_disk {
            return Ok(());
        }
        let state = status::of_core(self, running).await?;
        for volume in state.volumes.iter().filter(|it| it.disk == wire::DiskState::Diskless) {
            self.command(running, Command::Attach { volume: volume.number }).await?;
        }
        Ok(())
    }

    /// Connects what is StandAlone, unless connections are to stay as they are.
    async fn connect_apart(&self, running: &Running, asked: Adjustment) -> Result<(), Refused> {
        if asked.skip_net {
            return Ok(());
        }
        let state = status::of_core(self, running).await?;
        for it in state.connections.iter().filter(|it| it.state == ConnectionState::StandAlone) {
            let command = connect(it.peer, asked.discard_my_data, asked.tentative);
            self.command(running, command).await?;
        }
        Ok(())
    }

    /// The resource is down: nothing of it is in flight.
    async fn forget(&self, running: &Running) -> Result<(), Refused> {
        self.registry.remove(&running.config.name);
        self.forget_dependencies(running);
        self.ask(running, |resource, reply| Mail::Remove { resource, reply }).await?;
        self.tell_watchers_gone(&running.config.name);
        Ok(())
    }

    /// Changes what can be changed while it runs, then attaches and connects what is not.
    async fn adjust_running(
        self: &Arc<Self>,
        running: Running,
        config: ResourceConfig,
        asked: Adjustment,
    ) -> Result<(), Refused> {
        let config = shape::adjusted(&running.config, config, asked);
        let running = self.change(running, config).await?;
        self.registry.describe(&running.config.name);
        self.attach_detached(&running, asked).await?;
        self.connect_apart(&running, asked).await
    }

    /// Changes the configuration of a resource that runs. Where the core cannot take that over it
    /// is made anew, if nobody uses it.
    pub(crate) async fn change(
        self: &Arc<Self>,
        running: Running,
        config: ResourceConfig,
    ) -> Result<Running, Refused> {
        let state = status::of_core(self, &running).await?;
        let refused = |what: &str| {
            let name = &running.config.name;
            let text = format!("{what} changed: run 'tandemadm down {name}', then 'up {name}'");
            Err(Refused::Config { resource: name.clone(), text })
        };
        if let Some(what) = shape::difference_in_use(&state, &running.config, &config) {
            return refused(what);
        }
        let attached: Vec<wire::VolumeNumber> = state
            .volumes
            .iter()
            .filter(|it| it.disk != wire::DiskState::Diskless)
            .map(|it| it.number)
            .collect();
        // A disk that is attached without peers would be taken for the only one there is.
        let can_attach = running.origin == Origin::Begun && !config.peers.is_empty();
        let can_be_anew = shape::is_idle(&state) && (attached.is_empty() || can_attach);
        match shape::difference(&running.made, &config) {
            Some(what) if !can_be_anew => return refused(what),
            None if !can_be_anew || !shape::is_outdated(&running.made, &config) => {}
            Some(_) | None => return self.make_anew(running, config, &attached).await,
        }
        self.listen(&config).await?;
        self.tell_changes(&running, &config).await?;
        let running = Running { config: Arc::new(config), ..running };
        self.registry.insert(running.clone());
        self.tell_dependencies(&running);
        self.tell_watchers(&running);
        Ok(running)
    }

    /// Tells the core what it can take over.
    async fn tell_changes(
        &self,
        running: &Running,
        config: &ResourceConfig,
    ) -> Result<(), Refused> {
        for peer in config.peers.iter().filter(|peer| !running.config.peers.contains(peer)) {
            let peer = convert::peer(config, peer);
            self.ask(running, |resource, reply| Mail::Update { resource, peer, reply }).await?;
        }
        for volume in &config.volumes {
            let (resource, volume) = (running.key, convert::volume(config, volume));
            self.shard(running.shard).post(Mail::UpdateVolume { resource, volume });
        }
        let (resource, disks) = (running.key, disks(config)?);
        self.shard(running.shard).post(Mail::Disks { resource, disks });
        let auto_promote = config.options.auto_promote;
        self.shard(running.shard).post(Mail::AutoPromote { resource, auto_promote });
        Ok(())
    }

    /// Ends the core of a resource that is idle, and begins another one with the same disks.
    async fn make_anew(
        self: &Arc<Self>,
        running: Running,
        config: ResourceConfig,
        attached: &[wire::VolumeNumber],
    ) -> Result<Running, Refused> {
        disks(&config)?;
        self.listen(&config).await?;
        self.command(&running, Command::Down { force: false }).await?;
        self.registry.abandon_attempts(&running);
        self.forget_dependencies(&running);
        self.ask(&running, |resource, reply| Mail::Remove { resource, reply }).await?;
        let Running { origin, shard, .. } = running;
        let running = self.add(Arc::new(config), origin, shard).await?;
        for volume in attached {
            self.command(&running, Command::Attach { volume: *volume }).await?;
        }
        Ok(running)
    }

    /// Brings a resource of the configuration file up when the daemon starts.
    pub(crate) async fn start_resource(self: Arc<Self>, config: ResourceConfig) {
        let name = config.name.clone();
        let Err(refused) = self.up(config, Adjustment::default()).await else { return };
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

/// Where the disks of the resource lie.
fn disks(config: &ResourceConfig) -> Result<Vec<DiskPaths>, Refused> {
    convert::disks(config).map_err(|text| Refused::Config { resource: config.name.clone(), text })
}
