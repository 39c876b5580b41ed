//! What is asked of, or done to, metadata while no daemon has them: `get-gi`, `show-gi`, `dump-md`,
//! `wipe-md`, `outdate`, `invalidate`, `apply-al`, `forget-peer`, `set-gi`, and what drbdmeta
//! has beside.
//!
//! All of it is done on a device that is held exclusively. What is refused leaves everything as it
//! was.

mod apply_al;
mod confirm;
mod dump;
mod forget;
mod gi;
mod outgrown;
mod set_gi;
mod superblock;
mod wipe;

use std::fmt;

use tandem_control::config::{Backing, MetaDisk};
use tandem_control::{VolumeNumber as Number, exit};
use tandem_replica::meta::Identity;
use tandem_wire::{NodeId, VolumeNumber};

use crate::cli::Command;
use crate::metadata::{MetaPlace, Metadata};
use crate::object::{Allowed, PEER, PEER_DEVICE, Target, VOLUME};
use crate::output::{self, Failure};
use crate::world::World;

pub(crate) use confirm::confirmed;
pub(crate) use set_gi::Line;
pub(crate) use superblock::SuperblockFormat;

/// What is asked or done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum MetaCommand {
    /// Generations and flags towards a peer, in a line.
    GetGi(NodeId),
    /// The same, explained.
    ShowGi(NodeId),
    /// Makes them what a line says.
    SetGi { peer: NodeId, line: Line, force: bool },
    /// Everything, as text.
    DumpMd,
    /// Their superblock.
    DumpSuperblock(SuperblockFormat),
    /// Removes them.
    WipeMd { force: bool },
    /// Marks the data as older than the peer's.
    Outdate,
    /// Marks the data as wrong: all of them, or by `by_bits` what the bitmaps say already.
    Invalidate { by_bits: bool },
    /// Marks what a crash as Primary may have left different.
    ApplyAl,
    /// Frees what is kept for a peer.
    ForgetPeer(NodeId),
    /// Whether metadata are where they belong, or will be moved there.
    CheckResize,
    /// What the data are worth.
    DiskState,
    /// The random name of their making, as far as DRBD's have one.
    DeviceUuid,
    /// Gives them such a name from outside, for LINBIT's count of users.
    SetDeviceUuid,
}

/// A command and what it is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Offline {
    pub(crate) resource: String,
    pub(crate) volume: Number,
    pub(crate) place: MetaPlace,
    pub(crate) command: MetaCommand,
}

/// The objects of a command that is for metadata, and how precise they may be.
#[expect(clippy::wildcard_enum_match_arm, reason = "all others are for the daemon")]
pub(crate) fn objects_of(command: &Command) -> Option<(&[String], Allowed)> {
    match command {
        Command::GetGi(it) | Command::ShowGi(it) => Some((&it.objects, PEER_DEVICE)),
        Command::SetGi { object, .. } => Some((std::slice::from_ref(object), PEER_DEVICE)),
        Command::ForgetPeer(it) => Some((&it.objects, PEER)),
        Command::DumpMd(it) | Command::ApplyAl(it) | Command::CheckResize(it) => {
            Some((&it.objects, VOLUME))
        }
        Command::WipeMd { objects, .. } | Command::DumpSuperblock { objects, .. } => {
            Some((&objects.objects, VOLUME))
        }
        _ => None,
    }
}

/// What a command is for a target.
pub(crate) fn plan(command: &Command, target: &Target<'_>) -> Result<Vec<Offline>, Failure> {
    let mut steps = Vec::new();
    for (peer, volume) in places(command, target) {
        let resource = target.config.name.clone();
        let command = match (command, peer) {
            (Command::GetGi(_), Some(peer)) => MetaCommand::GetGi(peer),
            (Command::ShowGi(_), Some(peer)) => MetaCommand::ShowGi(peer),
            (Command::SetGi { force, gi, .. }, Some(peer)) => {
                MetaCommand::SetGi { peer, line: gi.parse()?, force: *force }
            }
            (Command::ForgetPeer(_), Some(peer)) => MetaCommand::ForgetPeer(peer),
            (Command::WipeMd { force, .. }, _) => MetaCommand::WipeMd { force: *force },
            (Command::ApplyAl(_), _) => MetaCommand::ApplyAl,
            (Command::CheckResize(_), _) => MetaCommand::CheckResize,
            (Command::DumpSuperblock { output_format, .. }, _) => {
                MetaCommand::DumpSuperblock(*output_format)
            }
            (Command::Outdate(_), _) => MetaCommand::Outdate,
            (Command::Invalidate(it), _) => MetaCommand::Invalidate { by_bits: !it.reset_bitmap },
            (_, _) => MetaCommand::DumpMd,
        };
        let place = place(target, volume)?;
        steps.push(Offline { resource, volume: Number(volume.0), place, command });
    }
    Ok(steps)
}

#[expect(clippy::wildcard_enum_match_arm, reason = "all others are of volumes")]
fn places(command: &Command, target: &Target<'_>) -> Vec<(Option<NodeId>, VolumeNumber)> {
    let volumes = target.volumes().map(|volume| VolumeNumber(volume.number.0));
    match command {
        Command::GetGi(_) | Command::ShowGi(_) | Command::SetGi { .. } | Command::ForgetPeer(_) => {
            let peers: Vec<NodeId> = target.peers().map(|peer| NodeId(peer.node_id.0)).collect();
            volumes.flat_map(|volume| peers.iter().map(move |peer| (Some(*peer), volume))).collect()
        }
        _ => volumes.map(|volume| (None, volume)).collect(),
    }
}

/// Where the metadata of a target's volume are.
pub(crate) fn place(target: &Target<'_>, number: VolumeNumber) -> Result<MetaPlace, Failure> {
    let resource = &target.config.name;
    let name = format!("{resource}/{number}");
    let volume = target.volumes().find(|volume| volume.number.0 == number.0);
    let volume = volume.expect("callers name volumes of the target");
    let owner = Identity::new(resource, number, NodeId(target.config.node_id.0))
        .map_err(|error| Failure::new(exit::CONFIG, format!("{name}: {error}")))?;
    let backing = volume.backing.clone();
    let Backing { disk, meta_disk } = backing.expect("files name the disk of every volume");
    Ok(MetaPlace { name, disk, meta_disk, owner: Some(owner) })
}

impl Offline {
    /// Carries it out, and prints what was asked for.
    pub(crate) fn run(&self, world: &mut dyn World) -> Result<(), Failure> {
        world.metadata(&self.place, self.command)
    }
}

/// Carries a command out, and prints what was asked for.
pub(crate) fn run(place: &MetaPlace, command: MetaCommand) -> Result<(), Failure> {
    match command {
        MetaCommand::GetGi(peer) => {
            output::print(&gi::line(&Metadata::open(place)?.superblock, peer));
        }
        MetaCommand::ShowGi(peer) => {
            output::print(&gi::drawing(&Metadata::open(place)?.superblock, peer));
        }
        MetaCommand::SetGi { peer, line, force } => set_gi::set_gi(place, peer, &line, force)?,
        MetaCommand::DumpMd => output::print(&dump::dump(&Metadata::open(place)?)),
        MetaCommand::DumpSuperblock(format) => {
            output::write(&superblock::dump(&Metadata::open(place)?, format));
        }
        MetaCommand::WipeMd { force } => wipe::wipe_md(place, force)?,
        MetaCommand::Outdate => outdate(&mut Metadata::open(place)?)?,
        MetaCommand::Invalidate { by_bits } => invalidate(&mut Metadata::open(place)?, by_bits)?,
        MetaCommand::ApplyAl => apply_al::apply_al(place)?,
        MetaCommand::ForgetPeer(peer) => forget::forget_peer(place, peer)?,
        MetaCommand::CheckResize => outgrown::check_resize(place)?,
        MetaCommand::DiskState => {
            output::print(&format!("{}\n", disk_state(&Metadata::open(place)?)));
        }
        MetaCommand::DeviceUuid => device_uuid(place)?,
        // Checksums cover the one they were made with: it stays.
        MetaCommand::SetDeviceUuid => drop(Metadata::open(place)?),
    }
    Ok(())
}

/// What [`MetaCommand::GetGi`] or [`MetaCommand::ShowGi`] print, of a disk that the daemon uses.
pub(crate) fn generations_in_use(
    place: &MetaPlace,
    peer: tandem_control::NodeId,
    explained: bool,
) -> Result<String, Failure> {
    let device = place.look()?;
    let chosen = place.choose(&device).map_err(|error| place.missing(&device, &error))?;
    let (superblock, peer) = (chosen.superblock, NodeId(peer.0));
    let print = if explained { gi::drawing } else { gi::line };
    Ok(print(&superblock, peer))
}

/// As the daemon marks them, and as drbdmeta answers.
fn outdate(metadata: &mut Metadata) -> Result<(), Failure> {
    let flags = &mut metadata.superblock.flags;
    if !flags.consistent {
        let message = format!("{}: Device is inconsistent.", metadata.name());
        return Err(Failure::new(exit::BELOW_OUTDATED, message));
    }
    if std::mem::take(&mut flags.was_up_to_date) {
        metadata.save()?;
    }
    Ok(())
}

/// As the daemon marks them where it is StandAlone, but that everything counts as different by a
/// flag and not by bits: so one update of the superblock says all of it, or nothing.
///
/// What a crash as Primary may have left different stays to be marked by the attach: where the bits
/// say what is copied, it must be among them.
fn invalidate(metadata: &mut Metadata, by_bits: bool) -> Result<(), Failure> {
    let before = metadata.superblock.clone();
    let superblock = &mut metadata.superblock;
    superblock.flags.consistent = false;
    superblock.flags.was_up_to_date = false;
    for slot in superblock.peers.iter_mut().flatten() {
        slot.flags.full_sync |= !by_bits;
    }
    if *superblock == before { Ok(()) } else { metadata.save() }
}

fn disk_state(metadata: &Metadata) -> &'static str {
    let flags = metadata.superblock.flags;
    match (flags.consistent, flags.was_up_to_date) {
        (false, _) => "Inconsistent",
        (true, false) => "Outdated",
        (true, true) => "Consistent",
    }
}

/// Asked before metadata are made, too: that there are none is no news.
fn device_uuid(place: &MetaPlace) -> Result<(), Failure> {
    let device = place.open()?;
    let chosen = place.choose(&device).map_err(|_| Failure::new(exit::NO_METADATA, ""))?;
    let uuid = chosen.superblock.device_uuid.half();
    output::print(&format!("{uuid:016X}\n"));
    Ok(())
}

impl fmt::Display for Offline {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let MetaPlace { name, disk, meta_disk, .. } = &self.place;
        let (verb, peer, force) = match self.command {
            MetaCommand::GetGi(peer) => ("get-gi", Some(peer), false),
            MetaCommand::ShowGi(peer) => ("show-gi", Some(peer), false),
            MetaCommand::SetGi { peer, force, .. } => ("set-gi", Some(peer), force),
            MetaCommand::DumpMd => ("dump-md", None, false),
            MetaCommand::DumpSuperblock(_) => ("dump-superblock", None, false),
            MetaCommand::WipeMd { force } => ("wipe-md", None, force),
            MetaCommand::Outdate => ("outdate", None, false),
            MetaCommand::Invalidate { .. } => ("invalidate", None, false),
            MetaCommand::ApplyAl => ("apply-al", None, false),
            MetaCommand::ForgetPeer(peer) => ("forget-peer", Some(peer), false),
            MetaCommand::CheckResize => ("check-resize", None, false),
            MetaCommand::DiskState => ("dstate", None, false),
            MetaCommand::DeviceUuid => ("read-dev-uuid", None, false),
            MetaCommand::SetDeviceUuid => ("write-dev-uuid", None, false),
        };
        write!(f, "{verb} {name}")?;
        if let Some(peer) = peer {
            write!(f, " peer:{peer}")?;
        }
        if let MetaCommand::SetGi { line, .. } = self.command {
            write!(f, " gi:{line}")?;
        }
        match meta_disk {
            MetaDisk::Internal => write!(f, " meta-disk:{}", disk.display())?,
            MetaDisk::External { path, index: None } => write!(f, " meta-disk:{}", path.display())?,
            MetaDisk::External { path, index: Some(index) } => {
                write!(f, " meta-disk:{}[{index}]", path.display())?;
            }
        }
        if force { write!(f, " --force") } else { Ok(()) }
    }
}
