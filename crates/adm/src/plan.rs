//! Commands to steps.
//!
//! Pure: the configuration and the command line in, steps out. `--dry-run` prints them, one line
//! each and indented lines for what belongs to it.

use std::path::PathBuf;
use std::time::Duration;

use tandem_control::admin::{Adjustment, InitialData, Request};
use tandem_control::config::{Config, MetaDisk};
use tandem_control::{NodeId, VolumeNumber, exit};

use crate::cli::{Adjust, Command, Objects, Wait};
use crate::object::{Allowed, PEER, PEER_DEVICE, RESOURCE, Target, VOLUME};
use crate::offline::{self, Offline};
use crate::output::Failure;

mod section;
mod shown;

pub(crate) use section::SectionOptions;

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
        return precise(command, steps).map(Some);
    }
    let Some((texts, allowed)) = objects_of(command) else { return Ok(None) };
    let mut steps = Vec::new();
    for target in Target::find(config, node, &texts.objects, allowed)? {
        if let Command::Outdate(_) | Command::Invalidate(_) = command {
            steps.extend(offline::plan(command, &target)?.into_iter().filter_map(|offline| {
                let request = of_volume(command, offline.resource.clone(), offline.volume)?;
                Some(Step::AskOrOffline(request, offline))
            }));
            continue;
        }
        add(command, &target, &mut steps);
    }
    Ok(Some(steps))
}

/// What a command is applied to, and of which kind; `None` for those that show something only.
fn objects_of(command: &Command) -> Option<(&Objects, Allowed)> {
    Some(match command {
        Command::CreateMd { objects, .. } => (objects, VOLUME),
        Command::Up(objects) | Command::Down(objects) => (objects, RESOURCE),
        Command::Adjust(it) => (&it.objects, RESOURCE),
        Command::Primary { objects, .. } | Command::Secondary { objects, .. } => {
            (objects, RESOURCE)
        }
        Command::SuspendIo(objects) | Command::ResumeIo(objects) => (objects, RESOURCE),
        Command::Attach(objects)
        | Command::Detach { objects, .. }
        | Command::KernelAttach(objects)
        | Command::KernelDetach { objects, .. } => (objects, VOLUME),
        Command::Connect { objects, .. } | Command::Disconnect { objects, .. } => (objects, PEER),
        Command::Outdate(objects)
        | Command::NewCurrentUuid { objects, .. }
        | Command::Resize { objects, .. } => (objects, VOLUME),
        Command::Invalidate(it) => (&it.objects, VOLUME),
        Command::InvalidateRemote(it) => (&it.objects, PEER_DEVICE),
        Command::PauseSync(objects) | Command::ResumeSync(objects) => (objects, PEER_DEVICE),
        Command::WaitConnect(wait) => (&wait.objects, PEER),
        Command::WaitSync(wait) => (&wait.objects, PEER_DEVICE),
        Command::Verify { objects, .. } => (objects, PEER_DEVICE),
        Command::Options(section) => section.objects(),
        Command::Status { .. }
        | Command::Events2 { .. }
        | Command::Why { .. }
        | Command::Monitor
        | Command::SplitBrain(_)
        | Command::Completions { .. }
        | Command::HiddenCommands
        | Command::ManPages { .. }
        | Command::Role(_)
        | Command::PeerRole(_)
        | Command::Cstate(_)
        | Command::Dstate(_)
        | Command::Dump { .. }
        | Command::DumpXml { .. }
        | Command::Check { .. }
        | Command::Sh(_)
        | Command::GetGi(_)
        | Command::ShowGi(_)
        | Command::SetGi { .. }
        | Command::DumpMd(_)
        | Command::DumpSuperblock { .. }
        | Command::CheckResize(_)
        | Command::WipeMd { .. }
        | Command::ApplyAl(_)
        | Command::ForgetPeer(_)
        | Command::Handler(_) => return None,
    })
}

/// Generations are those of one volume, towards one peer.
fn precise(command: &Command, steps: Vec<Step>) -> Result<Vec<Step>, Failure> {
    if let Command::SetGi { object, .. } = command
        && steps.len() > 1
    {
        let text = format!("'{object}': say of which peer and volume, as RES:PEER/VOL");
        return Err(Failure::new(exit::USAGE, text));
    }
    Ok(steps)
}

#[expect(clippy::wildcard_enum_match_arm, reason = "`objects_of` lists the commands")]
fn add(command: &Command, target: &Target<'_>, steps: &mut Vec<Step>) {
    let resource = target.config.name.clone();
    let request = match command {
        Command::CreateMd { force, max_peers, .. } => {
            return steps.extend(create_md(target, *max_peers, *force));
        }
        Command::Attach(_)
        | Command::Detach { .. }
        | Command::NewCurrentUuid { .. }
        | Command::Resize { .. }
        | Command::KernelAttach(_)
        | Command::KernelDetach { .. } => {
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
        Command::Options(section) => return steps.extend(section.steps(target)),
        Command::Up(_) => Request::Up(target.config.clone()),
        Command::Down(_) => Request::Down { resource },
        Command::Adjust(it) => {
            Request::Adjust { config: target.config.clone(), adjustment: adjustment(it) }
        }
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
        _ => return,
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
        Command::NewCurrentUuid { clear_bitmap, force_resync, .. } => {
            let initial = initial_data(*clear_bitmap, *force_resync);
            Some(Request::NewCurrentUuid { resource, volume, initial })
        }
        Command::Outdate(_) => Some(Request::Outdate { resource, volume }),
        Command::Invalidate(it) => {
            let reset_bitmap = it.reset_bitmap;
            Some(Request::Invalidate { resource, volume, reset_bitmap })
        }
        _ => None,
    }
}

fn adjustment(adjust: &Adjust) -> Adjustment {
    let Adjust { skip_disk, skip_net, discard_my_data, tentative, .. } = *adjust;
    Adjustment { skip_disk, skip_net, discard_my_data, tentative }
}

/// What the options of `new-current-uuid` say.
pub(crate) fn initial_data(clear_bitmap: bool, force_resync: bool) -> Option<InitialData> {
    match (clear_bitmap, force_resync) {
        (true, _) => Some(InitialData::Equal),
        (false, true) => Some(InitialData::Mine),
        (false, false) => None,
    }
}

#[expect(clippy::wildcard_enum_match_arm, reason = "the caller's match lists the commands")]
fn of_peer(command: &Command, resource: String, peer: NodeId) -> Option<Request> {
    match command {
        Command::Connect { discard_my_data, tentative, .. } => {
            let (discard_my_data, tentative) = (*discard_my_data, *tentative);
            Some(Request::Connect { resource, peer, discard_my_data, tentative })
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
        Request::Up(config) | Request::Adjust { config, .. } => &config.name,
        Request::Down { resource }
        | Request::Attach { resource, .. }
        | Request::Detach { resource, .. }
        | Request::Connect { resource, .. }
        | Request::Disconnect { resource, .. }
        | Request::Primary { resource, .. }
        | Request::Secondary { resource, .. }
        | Request::Outdate { resource, .. }
        | Request::NewCurrentUuid { resource, .. }
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
