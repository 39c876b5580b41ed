//! Volumes as block devices: `/dev/nbdN` of the kernel's NBD client, N the volume's minor.
//!
//! Each connection is a pair of sockets: one end is handed to the kernel by netlink, the other one
//! is served like any client's, with its handshake behind it. A device belongs to a volume of this
//! node by its backend identifier, which the kernel keeps: a daemon that is started anew gives the
//! same device new connections, and what was mounted stays mounted. The daemon's end is therefore
//! not the device's; `secondary` and `down` are.

use std::os::fd::OwnedFd;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use rustix::io::Errno;
use tandem_nbd::{ExportInfo, Terms};
use tandem_replica::wire::VolumeNumber;
use tokio::sync::Semaphore;
use tokio::task::spawn_blocking;

use super::refusal::Refused;
use super::registry::Running;
use super::{Control, export_name, offer};
use crate::mail::{Growth, Mail};

mod connection;
mod keeper;
mod links;
mod message;
mod netlink;
mod usage;

use connection::Connection;
pub(crate) use keeper::Keepers;
use netlink::Netlink;
use usage::Owner;

/// Smallest logical block that the kernel takes.
const BLOCK_BYTES_MIN: u32 = 512;

/// Times that a device is looked at which has lost its connections, and the pause between.
const GLANCES: u32 = 20;
const GLANCE: Duration = Duration::from_millis(50);

/// A volume, and the device that it is to be.
#[derive(Clone, Debug)]
struct VolumeDevice {
    export: String,
    resource: String,
    volume: VolumeNumber,
    index: u32,
    /// Who the device belongs to, as the kernel keeps it.
    backend: String,
}

impl VolumeDevice {
    fn of(control: &Control, running: &Running, volume: VolumeNumber) -> Result<Self, Refused> {
        let export = export_name(&running.config, volume);
        let config = running.config.volumes.iter().find(|it| it.number.0 == volume.0);
        let Some(config) = config else {
            return Err(Refused::Kernel { export, text: "no such volume".to_owned() });
        };
        Ok(Self {
            resource: running.config.name.clone(),
            volume,
            index: config.minor.0,
            backend: format!("tandem {} {export}", control.node),
            export,
        })
    }

    fn owner(&self) -> Owner {
        usage::owner_of(self.index, &self.backend)
    }

    fn refused(&self, text: String) -> Refused {
        Refused::Kernel { export: self.export.clone(), text }
    }
}

/// Attaches every volume of a resource that has just become Primary, where the daemon is to. What
/// goes wrong is told in the log: the resource is Primary all the same.
pub(crate) async fn attach_all(control: &Arc<Control>, running: &Running) {
    if control.nbd.kernel_attach {
        attach_each(control, running, volumes(running)).await;
    }
}

/// Attaches volumes; what goes wrong is told in the log.
pub(crate) async fn attach_each(
    control: &Arc<Control>,
    running: &Running,
    volumes: impl IntoIterator<Item = VolumeNumber>,
) {
    for volume in volumes {
        if let Err(refused) = attach(control, running, volume).await {
            tracing::warn!("{refused}");
        }
    }
}

/// Attaches a volume to its device, or gives its device new connections. A device that has some of
/// this daemon is only told the size.
///
/// # Errors
/// The kernel has no NBD client, the device is somebody else's, or the export is not to be had.
pub(crate) async fn attach(
    control: &Arc<Control>,
    running: &Running,
    volume: VolumeNumber,
) -> Result<(), Refused> {
    let device = VolumeDevice::of(control, running, volume)?;
    let index = device.index;
    let netlink = open_netlink(control, &device).await?;
    let is_new = match device.owner() {
        Owner::None => true,
        Owner::This if control.keepers.has(index) => {
            resized(control, running, volume).await;
            return Ok(());
        }
        Owner::This => false,
        Owner::Other(whose) => {
            let text = format!("/dev/nbd{index} is used by {whose}; change the minor");
            return Err(device.refused(text));
        }
    };
    let count = usize::try_from(control.nbd.kernel_connections).expect("a usize has 32 bits");
    let places = Arc::new(Semaphore::new(count));
    if give(control, &device, netlink, &places, is_new).await? == 0 {
        let text = format!(
            "/dev/nbd{index} takes no connections: it was detached while it was open, so close it \
             and attach it again, or another daemon of this node's name serves it"
        );
        return Err(device.refused(text));
    }
    if !is_new {
        resized(control, running, volume).await;
    }
    tracing::info!("{} is /dev/nbd{index}{}", device.export, if is_new { "" } else { " again" });
    if let Err(error) = links::make(Path::new(links::FOLDER), &device.resource, volume, index) {
        let (export, folder) = (&device.export, links::FOLDER);
        tracing::warn!("{export}: no link to /dev/nbd{index} in {folder}: {error}");
    }
    keeper::keep(control, running, device, places);
    Ok(())
}

/// Gives a device a connection for each free place. How many the kernel has taken: as many as it
/// lacks.
async fn give(
    control: &Control,
    device: &VolumeDevice,
    netlink: Netlink,
    places: &Arc<Semaphore>,
    is_new: bool,
) -> Result<usize, Refused> {
    let mut connections = Vec::new();
    let mut sockets = Vec::new();
    let mut offered = None;
    while let Ok(place) = Arc::clone(places).try_acquire_owned() {
        let opened = Connection::open(control, &device.export, place).await;
        let (connection, socket, export) = opened.map_err(|text| device.refused(text))?;
        connections.push(connection);
        sockets.push(socket);
        offered = Some(export);
    }
    let export = offered.expect("the caller has a free place");
    let told = given(control, device, &export, &sockets);
    let done = spawn_blocking(move || {
        let make = if is_new { message::connect } else { message::reconnect };
        let result = netlink.carry_out(|family| make(family, &told));
        // Closed no sooner: the message has them by their numbers.
        drop(sockets);
        result
    });
    let done = done.await.unwrap_or(Err(Errno::CANCELED));
    let index = device.index;
    done.map_err(|error| device.refused(format!("cannot attach /dev/nbd{index}: {error}")))?;
    Ok(connections.into_iter().map(Connection::serve_if_taken).filter(|it| *it).count())
}

/// Detaches all devices of a resource, before it is demoted or taken down. Which volumes had one.
///
/// # Errors
/// One is in use, and not `force`; or the kernel does not let go, and those before are detached.
pub(crate) async fn detach_all(
    control: &Control,
    running: &Running,
    force: bool,
) -> Result<Vec<VolumeNumber>, Refused> {
    let mut had = Vec::new();
    for volume in volumes(running) {
        let device = VolumeDevice::of(control, running, volume)?;
        if device.owner() == Owner::This {
            check_unused(&device, force).await?;
            had.push(device);
        }
    }
    for device in &had {
        disconnect(control, device).await?;
    }
    Ok(had.into_iter().map(|device| device.volume).collect())
}

/// Leaves the devices of a resource, as the daemon ends: those that are used wait for the next one.
/// What goes wrong is told in the log.
pub(crate) async fn leave(control: &Control, running: &Running) {
    for volume in volumes(running) {
        let Ok(device) = VolumeDevice::of(control, running, volume) else { continue };
        if device.owner() != Owner::This {
            continue;
        }
        control.keepers.end(device.index);
        if let Some(user) = usage::user_of(device.index).await {
            let index = device.index;
            tracing::info!("/dev/nbd{index} waits for the daemon's next start: {user}");
        } else if let Err(refused) = disconnect(control, &device).await {
            tracing::warn!("{refused}");
        }
    }
}

/// Detaches a volume's device, if it has one.
///
/// # Errors
/// It is in use, and not `force`, or the kernel does not let go of it.
pub(crate) async fn detach(
    control: &Control,
    running: &Running,
    volume: VolumeNumber,
    force: bool,
) -> Result<(), Refused> {
    let device = VolumeDevice::of(control, running, volume)?;
    match device.owner() {
        Owner::This => {}
        Owner::None => {
            // Of a device that has ended by itself it may still be there.
            links::remove(Path::new(links::FOLDER), &device.resource, volume);
            return Ok(());
        }
        Owner::Other(_) => return Ok(()),
    }
    check_unused(&device, force).await?;
    disconnect(control, &device).await
}

async fn disconnect(control: &Control, device: &VolumeDevice) -> Result<(), Refused> {
    let index = device.index;
    let netlink = open_netlink(control, device).await?;
    let done =
        spawn_blocking(move || netlink.carry_out(|family| message::disconnect(family, index)));
    let done = done.await.unwrap_or(Err(Errno::CANCELED));
    done.map_err(|error| device.refused(format!("cannot detach /dev/nbd{index}: {error}")))?;
    control.keepers.end(index);
    links::remove(Path::new(links::FOLDER), &device.resource, device.volume);
    for _ in 0..GLANCES {
        if device.owner() == Owner::None {
            tracing::info!("{} is /dev/nbd{index} no more", device.export);
            return Ok(());
        }
        tokio::time::sleep(GLANCE).await;
    }
    // Its connections have ended all the same.
    tracing::warn!("{} is /dev/nbd{index} no more; who has it open gets errors", device.export);
    Ok(())
}

/// Tells the device of a volume that it has grown, if it has. What goes wrong is told in the log.
pub(crate) async fn resized(control: &Control, running: &Running, volume: VolumeNumber) {
    let Ok(device) = VolumeDevice::of(control, running, volume) else { return };
    if device.owner() != Owner::This {
        return;
    }
    if let Err(refused) = grow(control, running, &device).await {
        tracing::warn!("the size of /dev/nbd{} stays as it was: {refused}", device.index);
    }
}

async fn grow(control: &Control, running: &Running, device: &VolumeDevice) -> Result<(), Refused> {
    let export = offer::info(control, &device.export).await;
    let size_bytes = export.map_err(|it| device.refused(it.reason))?.size_bytes;
    let index = device.index;
    // A device never shrinks under who uses it.
    if usage::size_of(index).is_none_or(|known| size_bytes <= known) {
        return Ok(());
    }
    // The clients that are its connections come first: what it learns it may ask for at once.
    let volume = device.volume;
    let grown = control.ask(running, |resource, reply| {
        let growth = Growth { volume, size_bytes, reply };
        Mail::GrowClients { resource, growth }
    });
    grown.await?;
    let netlink = open_netlink(control, device).await?;
    let backend = device.backend.clone();
    let done = spawn_blocking(move || {
        netlink.carry_out(|family| message::resize(family, index, size_bytes, &backend))
    });
    let done = done.await.unwrap_or(Err(Errno::CANCELED));
    done.map_err(|error| device.refused(format!("cannot resize /dev/nbd{index}: {error}")))
}

/// What a device is given by netlink.
fn given(
    control: &Control,
    device: &VolumeDevice,
    export: &ExportInfo,
    sockets: &[OwnedFd],
) -> message::Device {
    message::Device {
        index: device.index,
        size_bytes: export.size_bytes,
        block_bytes: u64::from(export.block_size.max(BLOCK_BYTES_MIN)),
        flags: u64::from(export.transmission_flags(Terms::default())),
        timeout: control.nbd.kernel_timeout,
        dead_timeout: control.nbd.kernel_dead_timeout,
        backend: device.backend.clone(),
        sockets: sockets.iter().map(connection::number).collect(),
    }
}

/// Opens the way to the kernel, or says what is missing and what works without.
async fn open_netlink(control: &Control, device: &VolumeDevice) -> Result<Netlink, Refused> {
    let opened = spawn_blocking(Netlink::open).await.unwrap_or(Err(Errno::CANCELED));
    opened.map_err(|error| {
        let socket = control.run_dir().join("nbd.sock");
        let text = match error {
            Errno::NOENT => format!(
                "this kernel has no NBD client: load it with 'modprobe nbd'; where there is none, \
                 'nbdfuse FILE nbd+unix:///{}?socket={}' makes a file of the volume, and \
                 'losetup -f --show FILE' a device of that",
                device.export,
                socket.display()
            ),
            Errno::PERM | Errno::ACCESS => {
                "the kernel's NBD client is for root (CAP_SYS_ADMIN)".to_owned()
            }
            error => format!("the kernel's NBD client cannot be reached: {error}"),
        };
        device.refused(text)
    })
}

/// Pulled out under somebody who uses it, a device gives errors: who is to lose data decides that.
async fn check_unused(device: &VolumeDevice, force: bool) -> Result<(), Refused> {
    if force {
        return Ok(());
    }
    let index = device.index;
    match usage::user_of(index).await {
        Some(user) => {
            let text = format!(
                "/dev/nbd{index} is in use ({user}): unmount or close it first, or use --force"
            );
            Err(device.refused(text))
        }
        None => Ok(()),
    }
}

fn volumes(running: &Running) -> impl Iterator<Item = VolumeNumber> {
    running.config.volumes.iter().map(|volume| VolumeNumber(volume.number.0))
}
