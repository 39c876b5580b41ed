//! Commands to steps.
//!
//! Pure: the configuration and the command line in, steps out. `--dry-run` prints them, one line
//! each and indented lines for what belongs to it.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use tandem_control::admin::Request;
use tandem_control::config::{Backing, Config, MetaDisk, ResourceConfig};
use tandem_control::{NodeId, VolumeNumber};

use crate::cli::{Command, Wait};
use crate::object::{PEER, PEER_DEVICE, RESOURCE, Target, VOLUME};
use crate::offline::{self, Offline};
use crate::output::Failure;

/// Something to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// Asked of the daemon.
    Ask(Request),
    /// Done here.
    CreateMd(CreateMd),
    /// Done here.
    Offline(Offline),
    /// Asked of the daemon; done here where it is down or does not know the volume.
    AskOrOffline(Request, Offline),
}

/// Metadata to write.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct CreateMd {
    pub(crate) resource: String,
    pub(crate) volume: VolumeNumber,
    /// This node's number.
    pub(crate) node_id: u8,
    pub(crate) disk: PathBuf,
    pub(crate) meta_disk: MetaDisk,
    pub(crate) max_peers: u8,
    pub(crate) force: bool,
}

/// The steps of a command that changes something; `None` for those that only show.
pub(crate) fn plan(
    command: &Command,
    config: &Config,
    node: &str,
) -> Result<Option<Vec<Step>>, Failure> {
    if let Some((texts, allowed)) = offline::objects_of(command) {
        let mut steps = Vec::new();
        for target in Target::find(config, node, texts, allowed)? {
            steps.extend(offline::plan(command, &target)?.into_iter().map(Step::Offline));
        }
        return Ok(Some(steps));
    }
    let (texts, allowed) = match command {
        Command::CreateMd { objects, .. } => (objects, VOLUME),
        Command::Up(objects) | Command::Down(objects) | Command::Adjust(objects) => {
            (objects, RESOURCE)
        }
        Command::Primary { objects, .. } | Command::Secondary { objects, .. } => {
            (objects, RESOURCE)
        }
        Command::SuspendIo(objects) | Command::ResumeIo(objects) => (objects, RESOURCE),
        Command::Attach(objects)
        | Command::Detach { objects, .. }
        | Command::KernelAttach(objects)
        | Command::KernelDetach { objects, .. } => (objects, VOLUME),
        Command::Connect { objects, .. } | Command::Disconnect { objects, .. } => (objects, PEER),
        Command::Outdate(objects) | Command::Resize { objects, .. } => (objects, VOLUME),
        Command::Invalidate(it) => (&it.objects, VOLUME),
        Command::InvalidateRemote(it) => (&it.objects, PEER_DEVICE),
        Command::PauseSync(objects) | Command::ResumeSync(objects) => (objects, PEER_DEVICE),
        Command::WaitConnect(wait) => (&wait.objects, PEER),
        Command::WaitSync(wait) => (&wait.objects, PEER_DEVICE),
        Command::Verify { objects, .. } => (objects, PEER_DEVICE),
        Command::Status { .. }
        | Command::Events2 { .. }
        | Command::Why { .. }
        | Command::Monitor
        | Command::SplitBrain(_)
        | Command::Completions { .. }
        | Command::ManPages { .. }
        | Command::Role(_)
        | Command::Cstate(_)
        | Command::Dstate(_)
        | Command::Dump { .. }
        | Command::DumpXml { .. }
        | Command::Check { .. }
        | Command::Sh(_)
        | Command::GetGi(_)
        | Command::ShowGi(_)
        | Command::DumpMd(_)
        | Command::WipeMd { .. }
        | Command::ApplyAl(_) => return Ok(None),
    };
    let mut steps = Vec::new();
    for target in Target::find(config, node, &texts.objects, allowed)? {
        if let Command::Outdate(_) = command {
            for offline in offline::plan(command, &target)? {
                let (resource, volume) = (offline.resource.clone(), offline.volume);
                steps.push(Step::AskOrOffline(Request::Outdate { resource, volume }, offline));
            }
            continue;
        }
        add(command, &target, &mut steps);
    }
    Ok(Some(steps))
}

fn add(command: &Command, target: &Target<'_>, steps: &mut Vec<Step>) {
    let resource = target.config.name.clone();
    let request = match command {
        Command::CreateMd { force, max_peers, .. } => {
            return steps.extend(create_md(target, *max_peers, *force));
        }
        Command::Attach(_)
        | Command::Detach { .. }
        | Command::Resize { .. }
        | Command::KernelAttach(_)
        | Command::KernelDetach { .. }
        | Command::Invalidate(_) => {
            return steps.extend(target.volumes().filter_map(|volume| {
                of_volume(command, resource.clone(), volume.number).map(Step::Ask)
            }));
        }
        Command::Connect { .. } | Command::Disconnect { .. } => {
            return steps.extend(target.peers().filter_map(|peer| {
                of_peer(command, resource.clone(), peer.node_id).map(Step::Ask)
            }));
        }
        Command::InvalidateRemote(_)
        | Command::PauseSync(_)
        | Command::ResumeSync(_)
        | Command::Verify { .. } => {
            return steps.extend(of_peer_devices(command, target));
        }
        Command::Up(_) => Request::Up(target.config.clone()),
        Command::Down(_) => Request::Down { resource },
        Command::Adjust(_) => Request::Adjust(target.config.clone()),
        Command::Primary { force, .. } => Request::Primary { resource, force: *force },
        Command::Secondary { force, .. } => Request::Secondary { resource, force: *force },
        Command::SuspendIo(_) => Request::SuspendIo { resource },
        Command::ResumeIo(_) => Request::ResumeIo { resource },
        Command::WaitConnect(wait) => {
            let peer = target.named_peer().map(|peer| peer.node_id);
            Request::WaitConnect { resource, peer, timeout: timeout(wait, target) }
        }
        Command::WaitSync(wait) => {
            let peer = target.named_peer().map(|peer| peer.node_id);
            let (volume, timeout) = (target.named_volume(), timeout(wait, target));
            Request::WaitSync { resource, volume, peer, timeout }
        }
        Command::Status { .. }
        | Command::Events2 { .. }
        | Command::Why { .. }
        | Command::Monitor
        | Command::SplitBrain(_)
        | Command::Completions { .. }
        | Command::ManPages { .. }
        | Command::Role(_)
        | Command::Cstate(_)
        | Command::Dstate(_)
        | Command::Dump { .. }
        | Command::DumpXml { .. }
        | Command::Check { .. }
        | Command::Sh(_)
        | Command::Outdate(_)
        | Command::GetGi(_)
        | Command::ShowGi(_)
        | Command::DumpMd(_)
        | Command::WipeMd { .. }
        | Command::ApplyAl(_) => return,
    };
    steps.push(Step::Ask(request));
}

#[expect(clippy::wildcard_enum_match_arm, reason = "the caller's match lists the commands")]
fn of_volume(command: &Command, resource: String, volume: VolumeNumber) -> Option<Request> {
    match command {
        Command::Attach(_) => Some(Request::Attach { resource, volume }),
        Command::KernelAttach(_) => Some(Request::KernelAttach { resource, volume }),
        Command::KernelDetach { force, .. } => {
            Some(Request::KernelDetach { resource, volume, force: *force })
        }
        Command::Resize { size, assume_clean, assume_peer_has_space, .. } => {
            Some(Request::Resize {
                resource,
                volume,
                size_bytes: *size,
                assume_clean: *assume_clean,
                assume_peer_has_space: *assume_peer_has_space,
            })
        }
        Command::Detach { force, .. } => Some(Request::Detach { resource, volume, force: *force }),
        Command::Invalidate(it) => {
            let reset_bitmap = it.reset_bitmap;
            Some(Request::Invalidate { resource, volume, reset_bitmap })
        }
        _ => None,
    }
}

#[expect(clippy::wildcard_enum_match_arm, reason = "the caller's match lists the commands")]
fn of_peer(command: &Command, resource: String, peer: NodeId) -> Option<Request> {
    match command {
        Command::Connect { discard_my_data, .. } => {
            Some(Request::Connect { resource, peer, discard_my_data: *discard_my_data })
        }
        Command::Disconnect { force, .. } => {
            Some(Request::Disconnect { resource, peer, force: *force })
        }
        _ => None,
    }
}

fn of_peer_devices(command: &Command, target: &Target<'_>) -> Vec<Step> {
    let mut steps = Vec::new();
    for peer in target.peers() {
        for volume in target.volumes() {
            let resource = target.config.name.clone();
            let request = of_peer_device(command, resource, volume.number, peer.node_id);
            steps.extend(request.map(Step::Ask));
        }
    }
    steps
}

#[expect(clippy::wildcard_enum_match_arm, reason = "the caller's match lists the commands")]
fn of_peer_device(
    command: &Command,
    resource: String,
    volume: VolumeNumber,
    peer: NodeId,
) -> Option<Request> {
    match command {
        Command::InvalidateRemote(it) => {
            let reset_bitmap = it.reset_bitmap;
            Some(Request::InvalidateRemote { resource, volume, peer, reset_bitmap })
        }
        Command::PauseSync(_) => Some(Request::PauseSync { resource, volume, peer }),
        Command::ResumeSync(_) => Some(Request::ResumeSync { resource, volume, peer }),
        Command::Verify { cancel: true, .. } => {
            Some(Request::StopVerify { resource, volume, peer })
        }
        Command::Verify { start, stop, repair, .. } => {
            let (start_bytes, stop_bytes, repair) = (*start, *stop, *repair);
            Some(Request::Verify { resource, volume, peer, start_bytes, stop_bytes, repair })
        }
        _ => None,
    }
}

fn create_md(target: &Target<'_>, max_peers: u8, force: bool) -> Vec<Step> {
    let disks = target.volumes().filter_map(|volume| Some((volume, volume.backing.as_ref()?)));
    let steps = disks.map(|(volume, backing)| {
        Step::CreateMd(CreateMd {
            resource: target.config.name.clone(),
            volume: volume.number,
            node_id: target.config.node_id.0,
            disk: backing.disk.clone(),
            meta_disk: backing.meta_disk.clone(),
            max_peers,
            force,
        })
    });
    steps.collect()
}

/// The command line's, else the configuration's; 0 is for ever in both.
fn timeout(wait: &Wait, target: &Target<'_>) -> Option<Duration> {
    match wait.wfc_timeout {
        Some(0) => None,
        Some(seconds) => Some(Duration::from_secs(u64::from(seconds))),
        None => target.definition.resource.wait_timeout(),
    }
}

impl Step {
    /// The resource it concerns.
    pub(crate) fn resource(&self) -> &str {
        match self {
            Self::CreateMd(create) => &create.resource,
            Self::Ask(request) => resource_of(request),
            Self::Offline(offline) | Self::AskOrOffline(_, offline) => &offline.resource,
        }
    }
}

fn resource_of(request: &Request) -> &str {
    match request {
        Request::Up(config) | Request::Adjust(config) => &config.name,
        Request::Down { resource }
        | Request::Attach { resource, .. }
        | Request::Detach { resource, .. }
        | Request::Connect { resource, .. }
        | Request::Disconnect { resource, .. }
        | Request::Primary { resource, .. }
        | Request::Secondary { resource, .. }
        | Request::Outdate { resource, .. }
        | Request::Resize { resource, .. }
        | Request::Invalidate { resource, .. }
        | Request::InvalidateRemote { resource, .. }
        | Request::KernelAttach { resource, .. }
        | Request::KernelDetach { resource, .. }
        | Request::SuspendIo { resource }
        | Request::ResumeIo { resource }
        | Request::PauseSync { resource, .. }
        | Request::ResumeSync { resource, .. }
        | Request::WaitConnect { resource, .. }
        | Request::WaitSync { resource, .. }
        | Request::Verify { resource, .. }
        | Request::StopVerify { resource, .. } => resource,
        Request::Part { resource, .. } => resource,
        Request::Status { resource }
        | Request::Running { resource }
        | Request::Watch { resource } => resource.as_deref().unwrap_or("all"),
        Request::Hello { .. } | Request::Ping | Request::Refresh => "",
    }
}

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
        Request::Up(config) => show_config("up", config, f),
        Request::Adjust(config) => show_config("adjust", config, f),
        Request::Down { resource } => write!(f, "down {resource}"),
        Request::Attach { resource, volume } => write!(f, "attach {resource}/{volume}"),
        Request::Detach { resource, volume, force } => {
            write!(f, "detach {resource}/{volume}{}", flag(*force, "--force"))
        }
        Request::Connect { resource, peer, discard_my_data } => {
            let discard = flag(*discard_my_data, "--discard-my-data");
            write!(f, "connect {resource} peer:{peer}{discard}")
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
        Request::Part { resource, part } => write!(f, "part {resource} {part:?}"),
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

fn show_config(verb: &str, config: &ResourceConfig, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    write!(f, "{verb} {} node-id:{}", config.name, config.node_id)?;
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

fn flag(set: bool, name: &str) -> String {
    if set { format!(" {name}") } else { String::new() }
}
