//! Steps as `--dry-run` prints them.

use std::fmt;
use std::time::Duration;

use tandem_control::VolumeNumber;
use tandem_control::admin::{Adjustment, InitialData, Request};
use tandem_control::config::{Backing, MetaDisk, Part, ResourceConfig, is_secret};

use super::{CreateMd, Step};

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ask(request) | Self::AskOrOffline(request, _) => show_request(request, f),
            Self::Offline(offline) => offline.fmt(f),
            Self::CreateMd(create) => {
                let CreateMd { resource, volume, max_peers, .. } = create;
                let (disk, meta) = (create.disk.display(), meta_disk(&create.meta_disk));
                write!(f, "create-md {resource}/{volume} disk:{disk} meta-disk:{meta}")?;
                write!(f, " max-peers:{max_peers}{}", flag(create.force, "--force"))
            }
        }
    }
}

fn show_request(request: &Request, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    match request {
        Request::Hello { version } => write!(f, "hello {version}"),
        Request::Ping => write!(f, "ping"),
        Request::Up(config) => show_config("up", "", config, f),
        Request::Adjust { .. } => show_adjust(request, f),
        Request::Down { resource } => write!(f, "down {resource}"),
        Request::Attach { resource, volume } => write!(f, "attach {resource}/{volume}"),
        Request::Detach { resource, volume, force } => {
            write!(f, "detach {resource}/{volume}{}", flag(*force, "--force"))
        }
        Request::Connect { resource, peer, discard_my_data, tentative } => {
            let flags = connect_flags(*discard_my_data, *tentative);
            write!(f, "connect {resource} peer:{peer}{flags}")
        }
        Request::Disconnect { resource, peer, force } => {
            write!(f, "disconnect {resource} peer:{peer}{}", flag(*force, "--force"))
        }
        Request::Primary { resource, force } => {
            write!(f, "primary {resource}{}", flag(*force, "--force"))
        }
        Request::Secondary { resource, force } => {
            write!(f, "secondary {resource}{}", flag(*force, "--force"))
        }
        Request::Outdate { resource, volume } => write!(f, "outdate {resource}/{volume}"),
        Request::NewCurrentUuid { resource, volume, initial } => {
            write!(f, "new-current-uuid {resource}/{volume}{}", initial_flag(*initial))
        }
        Request::Resize { .. } => show_resize(request, f),
        Request::Invalidate { resource, volume, reset_bitmap } => {
            let by_bits = flag(!*reset_bitmap, "--reset-bitmap=no");
            write!(f, "invalidate {resource}/{volume}{by_bits}")
        }
        Request::InvalidateRemote { resource, volume, peer, reset_bitmap } => {
            let by_bits = flag(!*reset_bitmap, "--reset-bitmap=no");
            write!(f, "invalidate-remote {resource}/{volume} peer:{peer}{by_bits}")
        }
        Request::KernelAttach { resource, volume } => {
            write!(f, "kernel-attach {resource}/{volume}")
        }
        Request::KernelDetach { resource, volume, force } => {
            write!(f, "kernel-detach {resource}/{volume}{}", flag(*force, "--force"))
        }
        Request::SuspendIo { resource } => write!(f, "suspend-io {resource}"),
        Request::ResumeIo { resource } => write!(f, "resume-io {resource}"),
        Request::PauseSync { resource, volume, peer } => {
            write!(f, "pause-sync {resource}/{volume} peer:{peer}")
        }
        Request::ResumeSync { resource, volume, peer } => {
            write!(f, "resume-sync {resource}/{volume} peer:{peer}")
        }
        Request::Status { resource } => show_question("status", resource.as_deref(), f),
        Request::Running { resource } => show_question("show", resource.as_deref(), f),
        Request::Watch { resource } => show_question("events2", resource.as_deref(), f),
        Request::Refresh => write!(f, "refresh"),
        Request::Part { resource, part } => show_part(resource, part, f),
        Request::WaitConnect { resource, peer, timeout } => {
            write!(f, "wait-connect {resource}")?;
            show_wait(peer.map(|peer| peer.0), None, *timeout, f)
        }
        Request::WaitSync { resource, volume, peer, timeout } => {
            write!(f, "wait-sync {resource}")?;
            show_wait(peer.map(|peer| peer.0), *volume, *timeout, f)
        }
        Request::Verify { .. } => show_verify(request, f),
        Request::StopVerify { resource, volume, peer } => {
            write!(f, "verify {resource}/{volume} peer:{peer} --cancel")
        }
    }
}

#[expect(clippy::wildcard_enum_match_arm, reason = "the others are drbdsetup's, which has no -d")]
fn show_part(resource: &str, part: &Part, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    let options = match part {
        Part::ResourceOptions(options) => {
            write!(f, "resource-options {resource}")?;
            options
        }
        Part::DiskOptions { volume, options } => {
            write!(f, "disk-options {resource}/{volume}")?;
            options
        }
        Part::NetOptions { peer, options } => {
            write!(f, "net-options {resource} peer:{peer}")?;
            options
        }
        Part::PeerVolumeOptions { peer, volume, options } => {
            write!(f, "peer-device-options {resource}/{volume} peer:{peer}")?;
            options
        }
        _ => return write!(f, "part {resource} {part:?}"),
    };
    for (name, text) in &options.texts {
        let text = if is_secret(name) { "(not shown)" } else { text.reveal() };
        write!(f, " {name}:{text}")?;
    }
    Ok(())
}

fn show_question(verb: &str, resource: Option<&str>, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    write!(f, "{verb} {}", resource.unwrap_or("all"))
}

fn show_verify(request: &Request, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    let Request::Verify { resource, volume, peer, start_bytes, stop_bytes, repair } = request
    else {
        unreachable!("the caller has looked")
    };
    write!(f, "verify {resource}/{volume} peer:{peer}")?;
    if let Some(start) = start_bytes {
        write!(f, " start:{start}")?;
    }
    if let Some(stop) = stop_bytes {
        write!(f, " stop:{stop}")?;
    }
    write!(f, "{}", flag(*repair, "--repair"))
}

#[expect(clippy::wildcard_enum_match_arm, reason = "the caller's match lists the requests")]
fn show_resize(request: &Request, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    match request {
        Request::Resize { resource, volume, size_bytes, assume_clean, assume_peer_has_space } => {
            write!(f, "resize {resource}/{volume}")?;
            if let Some(size) = size_bytes {
                write!(f, " size:{size}")?;
            }
            write!(f, "{}", flag(*assume_clean, "--assume-clean"))?;
            write!(f, "{}", flag(*assume_peer_has_space, "--assume-peer-has-space"))
        }
        _ => Ok(()),
    }
}

fn show_wait(
    peer: Option<u8>,
    volume: Option<VolumeNumber>,
    timeout: Option<Duration>,
    f: &mut fmt::Formatter<'_>,
) -> fmt::Result {
    if let Some(volume) = volume {
        write!(f, "/{volume}")?;
    }
    if let Some(peer) = peer {
        write!(f, " peer:{peer}")?;
    }
    match timeout {
        Some(timeout) => write!(f, " timeout:{timeout:?}"),
        None => write!(f, " timeout:never"),
    }
}

fn connect_flags(discard_my_data: bool, tentative: bool) -> String {
    flag(discard_my_data, "--discard-my-data") + &flag(tentative, "--tentative")
}

fn show_adjust(request: &Request, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    let Request::Adjust { config, adjustment } = request else {
        unreachable!("the caller has looked")
    };
    let Adjustment { skip_disk, skip_net, discard_my_data, tentative } = *adjustment;
    let (skip_disk, skip_net) = (flag(skip_disk, "--skip-disk"), flag(skip_net, "--skip-net"));
    let flags = skip_disk + &skip_net + &connect_flags(discard_my_data, tentative);
    show_config("adjust", &flags, config, f)
}

fn show_config(
    verb: &str,
    flags: &str,
    config: &ResourceConfig,
    f: &mut fmt::Formatter<'_>,
) -> fmt::Result {
    write!(f, "{verb} {} node-id:{}{flags}", config.name, config.node_id)?;
    for volume in &config.volumes {
        write!(f, "\n  volume:{} minor:{} ", volume.number, volume.minor)?;
        if let Some(Backing { disk, meta_disk: meta }) = &volume.backing {
            write!(f, "disk:{} meta-disk:{} ", disk.display(), meta_disk(meta))?;
        }
        write!(f, "al-extents:{}", volume.options.al_extents)?;
    }
    for peer in &config.peers {
        let net = &peer.net;
        write!(f, "\n  peer:{} node-id:{} protocol:{} ", peer.name, peer.node_id, net.protocol)?;
        if let Some(path) = peer.path {
            write!(f, "path:{}-{} ", path.own_address, path.peer_address)?;
        }
        write!(f, "timeout:{:?} ping-int:{:?}", net.timeout, net.ping_int)?;
    }
    Ok(())
}

fn meta_disk(meta_disk: &MetaDisk) -> String {
    match meta_disk {
        MetaDisk::Internal => "internal".to_owned(),
        MetaDisk::External { path, index: None } => path.display().to_string(),
        MetaDisk::External { path, index: Some(index) } => format!("{}[{index}]", path.display()),
    }
}

fn initial_flag(initial: Option<InitialData>) -> &'static str {
    match initial {
        None => "",
        Some(InitialData::Equal) => " --clear-bitmap",
        Some(InitialData::Mine) => " --force-resync",
    }
}

fn flag(set: bool, name: &str) -> String {
    if set { format!(" {name}") } else { String::new() }
}
