//! Volumes as block devices: `/dev/nbdN` of the kernel's NBD client, N the volume's minor.
//!
//! Each connection is a pair of sockets: one end is handed to the kernel by netlink, the other one
//! is served like any client's, with its handshake behind it. A device belongs to a volume of this
//! node by its backend identifier, which the kernel keeps: a daemon that is started anew gives the
//! same device new connections, and what was mounted stays mounted. The daemon's end is therefore
//! not the device's; `secondary` and `down` are.

use std::io::ErrorKind;
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::Path;
use std::time::Duration;

use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use tandem_control::daemon_config::NbdConfig;
use tandem_nbd::{ExportInfo, Terms};
use tandem_replica::wire::VolumeNumber;
use tokio::net::UnixStream;
use tokio::task::spawn_blocking;

use super::nbd::Chosen;
use super::refusal::Refused;
use super::registry::Running;
use super::{Control, export_name, offer};

mod message;
mod netlink;

use message::Device;
use netlink::Netlink;

/// Where devices are found by resource and volume.
const LINKS: &str = "/dev/tandem/by-res";

/// Smallest logical block that the kernel takes.
const BLOCK_BYTES_MIN: u32 = 512;

/// Times that a device is looked at which is to end, and the pause between.
const GLANCES: u32 = 100;
const GLANCE: Duration = Duration::from_millis(50);

/// Whose a device is.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Owner {
    /// Nobody's.
    None,
    /// This volume's, with connections that may be dead.
    This,
    /// Somebody else's, by the name that they gave, if they gave one.
    Other(String),
}

/// Whose a connected device is, by what the kernel tells of it.
fn owner(is_connected: bool, backend: Option<&str>, own: &str) -> Owner {
    match (is_connected, backend.map(str::trim)) {
        (false, _) => Owner::None,
        (true, Some(backend)) if backend == own => Owner::This,
        (true, Some(backend)) => Owner::Other(format!("'{backend}'")),
        (true, None) => Owner::Other("somebody who gave no name".to_owned()),
    }
}

/// Attaches every volume of a resource that has just become Primary, where the daemon is to. What
/// goes wrong is told in the log: the resource is Primary all the same.
pub(crate) async fn attach_all(control: &Control, running: &Running) {
    if !control.nbd.kernel_attach {
        return;
    }
    for volume in volumes(running) {
        if let Err(refused) = attach(control, running, volume).await {
            tracing::warn!("{refused}");
        }
    }
}

/// Attaches a volume to its device, or gives its device new connections.
///
/// # Errors
/// The kernel has no NBD client, the device is somebody else's, or the export is not to be had.
pub(crate) async fn attach(
    control: &Control,
    running: &Running,
    volume: VolumeNumber,
) -> Result<(), Refused> {
    let name = export_name(&running.config, volume);
    let index = minor(running, volume)?;
    let backend = backend(control, &name);
    let refused = |text: String| refused(&name, text);
    let netlink = open_netlink(control, &name).await?;
    let is_new = match owner_of(index, &backend) {
        Owner::None => true,
        Owner::This => false,
        Owner::Other(whose) => {
            return Err(refused(format!("/dev/nbd{index} is used by {whose}; change the minor")));
        }
    };
    let mut sockets = Vec::new();
    let mut offered = None;
    for _ in 0..control.nbd.kernel_connections {
        let (socket, export) = connection(control, &name).await.map_err(&refused)?;
        sockets.push(socket);
        offered = Some(export);
    }
    let export = offered.expect("there is a connection at least");
    let device = device(index, &export, backend, &sockets, &control.nbd);
    let done = spawn_blocking(move || {
        let result = netlink.carry_out(|family| {
            if is_new {
                message::connect(family, &device)
            } else {
                message::reconnect(family, &device)
            }
        });
        // The kernel has its own hold on them now, or none is wanted.
        drop(sockets);
        result
    });
    let done = done.await.unwrap_or(Err(Errno::CANCELED));
    done.map_err(|error| refused(format!("cannot attach /dev/nbd{index}: {error}")))?;
    tracing::info!("{name} is /dev/nbd{index}{}", if is_new { "" } else { " again" });
    if let Err(error) = link(&running.config.name, volume, index) {
        tracing::warn!("{name}: no link to /dev/nbd{index} in {LINKS}: {error}");
    }
    Ok(())
}

/// Detaches all devices of a resource, before it is demoted or taken down. Which volumes had one.
///
/// # Errors
/// One is in use, and not `force`; then those before it are detached already.
pub(crate) async fn detach_all(
    control: &Control,
    running: &Running,
    force: bool,
) -> Result<Vec<VolumeNumber>, Refused> {
    let all = volumes(running).map(|volume| (volume, export_name(&running.config, volume)));
    let mut had = Vec::new();
    for (volume, name) in all {
        let index = minor(running, volume)?;
        if owner_of(index, &backend(control, &name)) == Owner::This {
            check_unused(&name, index, force)?;
            had.push(volume);
        }
    }
    for volume in &had {
        detach(control, running, *volume, force).await?;
    }
    Ok(had)
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
    let name = export_name(&running.config, volume);
    let index = minor(running, volume)?;
    if owner_of(index, &backend(control, &name)) != Owner::This {
        return Ok(());
    }
    check_unused(&name, index, force)?;
    let netlink = open_netlink(control, &name).await?;
    let done =
        spawn_blocking(move || netlink.carry_out(|family| message::disconnect(family, index)));
    let done = done.await.unwrap_or(Err(Errno::CANCELED));
    done.map_err(|error| refused(&name, format!("cannot detach /dev/nbd{index}: {error}")))?;
    for _ in 0..GLANCES {
        if owner_of(index, &backend(control, &name)) == Owner::None {
            let _ = std::fs::remove_file(link_path(&running.config.name, volume));
            tracing::info!("{name} is /dev/nbd{index} no more");
            return Ok(());
        }
        tokio::time::sleep(GLANCE).await;
    }
    Err(refused(&name, format!("the kernel does not let go of /dev/nbd{index}")))
}

/// Tells the devices of a resource how large its volumes are.
pub(crate) async fn resized(control: &Control, running: &Running, volume: VolumeNumber) {
    let name = export_name(&running.config, volume);
    let Ok(index) = minor(running, volume) else { return };
    let backend = backend(control, &name);
    if owner_of(index, &backend) != Owner::This {
        return;
    }
    let told = async {
        let export = offer::info(control, &name).await.map_err(|it| refused(&name, it.reason))?;
        let netlink = open_netlink(control, &name).await?;
        let done = spawn_blocking(move || {
            let size = export.size_bytes;
            netlink.carry_out(|family| message::resize(family, index, size, &backend))
        });
        let done = done.await.unwrap_or(Err(Errno::CANCELED));
        done.map_err(|error| refused(&name, error.to_string()))
    };
    if let Err(refused) = told.await {
        tracing::warn!("the size of /dev/nbd{index} stays as it was: {refused}");
    }
}

/// A connection that the volume is served on: the kernel's end.
async fn connection(control: &Control, name: &str) -> Result<(OwnedFd, ExportInfo), String> {
    let (ours, theirs) = UnixStream::pair().map_err(|error| error.to_string())?;
    let descriptor = control.exports.descriptor().await;
    let opened = offer::open(control, name).await;
    let (mut client, export) = opened.map_err(|refusal| refusal.reason)?;
    client.permits.push(descriptor);
    let theirs = theirs.into_std().map_err(|error| error.to_string())?;
    let chosen = Chosen::without_handshake(client, export.clone());
    chosen.hand_over(ours.into_std().map(OwnedFd::from));
    Ok((theirs.into(), export))
}

fn device(
    index: u32,
    export: &ExportInfo,
    backend: String,
    sockets: &[OwnedFd],
    config: &NbdConfig,
) -> Device {
    let descriptor = |socket: &OwnedFd| u32::try_from(socket.as_raw_fd()).expect("it is open");
    Device {
        index,
        size_bytes: export.size_bytes,
        block_bytes: u64::from(export.block_size.max(BLOCK_BYTES_MIN)),
        flags: u64::from(export.transmission_flags(Terms::default())),
        timeout: config.kernel_timeout,
        dead_timeout: config.kernel_dead_timeout,
        backend,
        sockets: sockets.iter().map(descriptor).collect(),
    }
}

/// Opens the way to the kernel, or says what is missing and what works without.
async fn open_netlink(control: &Control, name: &str) -> Result<Netlink, Refused> {
    let opened = spawn_blocking(Netlink::open).await.unwrap_or(Err(Errno::CANCELED));
    opened.map_err(|error| {
        let socket = control.run_dir().join("nbd.sock");
        let text = match error {
            Errno::NOENT => format!(
                "this kernel has no NBD client: load it with 'modprobe nbd', or, where there is \
                 none, make a file of the volume with nbdfuse, of 'nbd+unix:///{name}?socket={}', \
                 and a device of that with losetup",
                socket.display()
            ),
            Errno::PERM | Errno::ACCESS => {
                "the kernel's NBD client is for root (CAP_SYS_ADMIN)".to_owned()
            }
            error => format!("the kernel's NBD client cannot be reached: {error}"),
        };
        refused(name, text)
    })
}

/// A device that somebody has mounted, or holds for himself, is in use. One that is merely open is
/// told apart by nothing that the kernel shows; it gets errors, as if the device were pulled out.
fn check_unused(name: &str, index: u32, force: bool) -> Result<(), Refused> {
    let flags = OFlags::RDONLY | OFlags::EXCL | OFlags::CLOEXEC | OFlags::NONBLOCK;
    match rustix::fs::open(format!("/dev/nbd{index}"), flags, Mode::empty()) {
        Err(Errno::BUSY) if !force => {
            let text = format!("/dev/nbd{index} is in use: unmount it first, or use --force");
            Err(refused(name, text))
        }
        Ok(_) | Err(_) => Ok(()),
    }
}

fn owner_of(index: u32, own: &str) -> Owner {
    let device = format!("/sys/block/nbd{index}");
    let is_connected = Path::new(&device).join("pid").exists();
    let backend = std::fs::read_to_string(Path::new(&device).join("backend")).ok();
    owner(is_connected, backend.as_deref(), own)
}

fn volumes(running: &Running) -> impl Iterator<Item = VolumeNumber> {
    running.config.volumes.iter().map(|volume| VolumeNumber(volume.number.0))
}

fn minor(running: &Running, volume: VolumeNumber) -> Result<u32, Refused> {
    let config = running.config.volumes.iter().find(|it| it.number.0 == volume.0);
    let unknown = || refused(&export_name(&running.config, volume), "no such volume".to_owned());
    config.map(|config| config.minor.0).ok_or_else(unknown)
}

fn backend(control: &Control, export: &str) -> String {
    format!("tandem {} {export}", control.node)
}

fn refused(export: &str, text: String) -> Refused {
    Refused::Kernel { export: export.to_owned(), text }
}

fn link_path(resource: &str, volume: VolumeNumber) -> String {
    format!("{LINKS}/{resource}/{volume}")
}

fn link(resource: &str, volume: VolumeNumber, index: u32) -> std::io::Result<()> {
    std::fs::create_dir_all(format!("{LINKS}/{resource}"))?;
    let path = link_path(resource, volume);
    match std::fs::remove_file(&path) {
        Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
        Ok(()) | Err(_) => {}
    }
    std::os::unix::fs::symlink(format!("/dev/nbd{index}"), path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_device_is_taken_from_nobody_else() {
        let own = "tandem a r0/0";
        assert_eq!(owner(false, None, own), Owner::None);
        assert_eq!(owner(false, Some(own), own), Owner::None, "what is left of it says nothing");
        assert_eq!(owner(true, Some("tandem a r0/0\n"), own), Owner::This);
        for other in [Some("tandem a r0/1"), Some("tandem b r0/0"), None] {
            assert!(matches!(owner(true, other, own), Owner::Other(_)), "{other:?}");
        }
    }
}
