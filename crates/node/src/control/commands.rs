//! Requests of the admin socket, carried out.

use std::sync::Arc;

use tandem_control::admin::{Adjustment, Hello, InitialData, Request, Response, VERSION};
use tandem_control::{NodeId, VolumeNumber};
use tandem_replica::wire;
use tandem_replica::{Command, Initial};

use super::refusal::Refused;
use super::registry::Running;
use super::waiting::{Until, wait};
use super::{Control, kernel, parts, status};

impl Control {
    /// The answer to a request.
    pub(crate) async fn answer(self: &Arc<Self>, request: Request) -> Response {
        self.execute(request).await.unwrap_or_else(Response::from)
    }

    async fn execute(self: &Arc<Self>, request: Request) -> Result<Response, Refused> {
        match request {
            Request::Hello { version } => return self.hello(version),
            Request::Ping => {}
            Request::Watch { .. } | Request::Refresh => {
                return Err(Refused::Usage("this is of a session that watches".into()));
            }
            Request::Up(config) => self.up(config, Adjustment::default()).await?,
            Request::Adjust { config, adjustment } => self.up(config, adjustment).await?,
            Request::Part { resource, part } => self.part(&resource, part).await?,
            Request::Running { resource } => return self.running(resource.as_deref()).await,
            Request::Down { resource } => self.down(&resource).await?,
            Request::Status { resource } => return self.status(resource.as_deref()).await,
            Request::WaitConnect { resource, peer, timeout } => {
                wait(self, &resource, Until::Connected { peer }, timeout).await?;
            }
            Request::WaitSync { resource, volume, peer, timeout } => {
                wait(self, &resource, Until::InSync { peer, volume }, timeout).await?;
            }
            Request::Attach { .. }
            | Request::Detach { .. }
            | Request::Connect { .. }
            | Request::Disconnect { .. }
            | Request::Primary { .. }
            | Request::Secondary { .. }
            | Request::Outdate { .. }
            | Request::NewCurrentUuid { .. }
            | Request::Resize { .. }
            | Request::Invalidate { .. }
            | Request::InvalidateRemote { .. }
            | Request::SuspendIo { .. }
            | Request::ResumeIo { .. }
            | Request::PauseSync { .. }
            | Request::ResumeSync { .. }
            | Request::Verify { .. }
            | Request::StopVerify { .. } => {
                let (resource, command) = core_command(request);
                let running = self.find(&resource)?;
                parts::check_whole(&running, command)?;
                if let Command::Connect { .. }
                | Command::TryConnect { .. }
                | Command::Primary { .. } = command
                {
                    self.registry.seal(&resource);
                }
                self.command_beside_devices(&running, command).await?;
            }
            Request::KernelAttach { resource, volume } => {
                let running = self.find(&resource)?;
                kernel::attach(self, &running, core_volume(volume)).await?;
            }
            Request::KernelDetach { resource, volume, force } => {
                let running = self.find(&resource)?;
                kernel::detach(self, &running, core_volume(volume), force).await?;
            }
        }
        Ok(Response::Done)
    }

    /// A command to the core, with what it means for devices of the kernel's: they come with the
    /// role of Primary and go before it does.
    async fn command_beside_devices(
        self: &Arc<Self>,
        running: &Running,
        command: Command,
    ) -> Result<(), Refused> {
        let mut had = Vec::new();
        if let Command::Secondary { force } = command {
            had = kernel::detach_all(self, running, force).await?;
        }
        if let Err(refused) = self.command(running, command).await {
            kernel::attach_each(self, running, had).await;
            return Err(refused);
        }
        if matches!(command, Command::Primary { .. }) {
            kernel::attach_all(self, running).await;
        }
        if let Command::Resize { volume, .. } = command {
            kernel::resized(self, running, volume).await;
        }
        Ok(())
    }

    fn hello(&self, version: u32) -> Result<Response, Refused> {
        if version != VERSION {
            let text = format!(
                "the command speaks version {version} of the admin protocol, this daemon {VERSION}"
            );
            return Err(Refused::Usage(text));
        }
        Ok(Response::Hello(Hello {
            version: VERSION,
            node: self.node.clone(),
            release: env!("CARGO_PKG_VERSION").to_owned(),
            pid: std::process::id(),
        }))
    }

    /// The state of one resource or all; in the second case one that does not answer is left out.
    async fn status(&self, resource: Option<&str>) -> Result<Response, Refused> {
        if let Some(name) = resource {
            let running = self.find(name)?;
            return Ok(Response::Status(vec![status::of(self, &running).await?]));
        }
        let mut all = Vec::new();
        let asked: Vec<Running> = self.registry.all();
        for running in &asked {
            match status::of(self, running).await {
                Ok(status) => all.push(status),
                Err(refused) => return Err(refused),
            }
        }
        Ok(Response::Status(all))
    }

    /// How resources are configured, and how they are.
    async fn running(&self, resource: Option<&str>) -> Result<Response, Refused> {
        let asked = match resource {
            Some(name) => vec![self.find(name)?],
            None => self.registry.all(),
        };
        let mut all = Vec::new();
        for running in &asked {
            let status = status::of(self, running).await?;
            all.push((running.config.as_ref().clone(), status));
        }
        Ok(Response::Running(all))
    }

    fn find(&self, resource: &str) -> Result<Running, Refused> {
        let found = self.registry.find(resource);
        found.ok_or_else(|| Refused::UnknownResource(resource.to_owned()))
    }
}

fn core_initial(initial: InitialData) -> Initial {
    match initial {
        InitialData::Equal => Initial::Equal,
        InitialData::Mine => Initial::Mine,
    }
}

/// The core's command for a request that is one.
fn core_command(request: Request) -> (String, Command) {
    match request {
        Request::Attach { resource, volume } => {
            (resource, Command::Attach { volume: core_volume(volume) })
        }
        Request::Detach { resource, volume, force } => {
            (resource, Command::Detach { volume: core_volume(volume), force })
        }
        Request::Connect { resource, peer, discard_my_data, tentative } => {
            (resource, connect(core_node(peer), discard_my_data, tentative))
        }
        Request::Disconnect { resource, peer, force } => {
            (resource, Command::Disconnect { peer: core_node(peer), force })
        }
        Request::Primary { resource, force } => (resource, Command::Primary { force }),
        Request::Secondary { resource, force } => (resource, Command::Secondary { force }),
        Request::Outdate { resource, volume } => {
            (resource, Command::Outdate { volume: core_volume(volume) })
        }
        Request::NewCurrentUuid { resource, volume, initial } => {
            let initial = initial.map(core_initial);
            (resource, Command::NewUuid { volume: core_volume(volume), initial })
        }
        Request::Resize { resource, volume, size_bytes, assume_clean, assume_peer_has_space } => {
            let (volume, size) = (core_volume(volume), size_bytes);
            (resource, Command::Resize { volume, size, assume_clean, assume_peer_has_space })
        }
        Request::Invalidate { resource, volume, reset_bitmap } => {
            (resource, Command::Invalidate { volume: core_volume(volume), reset_bitmap })
        }
        Request::InvalidateRemote { resource, volume, peer, reset_bitmap } => {
            let (volume, peer) = (core_volume(volume), core_node(peer));
            (resource, Command::InvalidateRemote { volume, peer, reset_bitmap })
        }
        Request::SuspendIo { resource } => (resource, Command::SuspendIo),
        Request::ResumeIo { resource } => (resource, Command::ResumeIo),
        Request::PauseSync { resource, volume, peer } => {
            let (volume, peer) = (core_volume(volume), core_node(peer));
            (resource, Command::PauseSync { volume, peer })
        }
        Request::ResumeSync { resource, volume, peer } => {
            let (volume, peer) = (core_volume(volume), core_node(peer));
            (resource, Command::ResumeSync { volume, peer })
        }
        Request::Verify { resource, volume, peer, start_bytes, stop_bytes, repair } => {
            let (volume, peer) = (core_volume(volume), core_node(peer));
            let (start, stop) = (start_bytes, stop_bytes);
            (resource, Command::Verify { volume, peer, start, stop, repair })
        }
        Request::StopVerify { resource, volume, peer } => {
            let (volume, peer) = (core_volume(volume), core_node(peer));
            (resource, Command::StopVerify { volume, peer })
        }
        Request::Hello { .. }
        | Request::Ping
        | Request::Up(_)
        | Request::Down { .. }
        | Request::Adjust { .. }
        | Request::Part { .. }
        | Request::Running { .. }
        | Request::Watch { .. }
        | Request::Refresh
        | Request::KernelAttach { .. }
        | Request::KernelDetach { .. }
        | Request::Status { .. }
        | Request::WaitConnect { .. }
        | Request::WaitSync { .. } => unreachable!("the caller has matched the others"),
    }
}

fn core_volume(volume: VolumeNumber) -> wire::VolumeNumber {
    wire::VolumeNumber(volume.0)
}

/// Connects, or finds out what that would come to.
pub(super) fn connect(peer: wire::NodeId, discard_my_data: bool, tentative: bool) -> Command {
    if tentative {
        Command::TryConnect { peer, discard_my_data }
    } else {
        Command::Connect { peer, discard_my_data }
    }
}

fn core_node(node: NodeId) -> wire::NodeId {
    wire::NodeId(node.0)
}
