//! `sh-*`: what the configuration says of this node, one value a line, for scripts.
//!
//! They answer for what is understood, also where it is refused; only `sh-nop`, which asks for
//! nothing else, fails then.

use std::path::Path;

use clap::{Args, Subcommand};
use tandem_control::config::{HostVolume, MetaDisk, Reading};
use tandem_control::exit;

use crate::cli::Objects;
use crate::configuration;
use crate::object::{Allowed, PEER, RESOURCE, Target, VOLUME};
use crate::output::{self, Failure};
use crate::world::World;

/// What a script asks for.
#[derive(Debug, Subcommand)]
pub(crate) enum Sh {
    /// Print the resources of this node
    #[command(name = "sh-resources", hide = true)]
    Resources(Ignored),
    /// Print the names of resources
    #[command(name = "sh-resource", hide = true)]
    Resource(Objects),
    /// Print device names
    #[command(name = "sh-dev", hide = true)]
    Dev(Objects),
    /// Print minors
    #[command(name = "sh-minor", hide = true)]
    Minor(Objects),
    /// Print backing disks
    #[command(name = "sh-ll-dev", hide = true)]
    LlDev(Objects),
    /// Print where metadata lies
    #[command(name = "sh-md-dev", hide = true)]
    MdDev(Objects),
    /// Print the slots of metadata, or 'internal' or 'flexible'
    #[command(name = "sh-md-idx", hide = true)]
    MdIdx(Objects),
    /// Print this node's addresses
    #[command(name = "sh-ip", hide = true)]
    Ip(Objects),
    /// Print the resource below a stacked one
    #[command(name = "sh-lr-of", hide = true)]
    LrOf(Objects),
    /// Print names of a volume for udev
    #[command(name = "sh-udev", hide = true)]
    Udev(Objects),
    /// Do nothing but read the configuration
    #[command(name = "sh-nop", hide = true)]
    Nop(Ignored),
    /// Print the files that the configuration consists of
    #[command(name = "sh-list-config-file", hide = true)]
    ListConfigFile(Ignored),
}

/// Names that make no difference.
#[derive(Debug, Args)]
pub(crate) struct Ignored {
    #[arg(value_name = "OBJECT", hide = true)]
    objects: Vec<String>,
}

/// Answers `question` from the configuration.
pub(crate) fn sh(
    world: &mut dyn World,
    file: &Path,
    node: &str,
    question: &Sh,
) -> Result<(), Failure> {
    let reading = world.read(file)?;
    let lines = match question {
        Sh::Resources(ignored) => {
            ignored.tell();
            let definitions = reading.config.definitions.iter().map(|it| &it.resource);
            let here = definitions.filter(|resource| resource.host_of(node).is_some());
            here.map(|resource| resource.name.clone()).collect()
        }
        Sh::Nop(ignored) => {
            ignored.tell();
            return configuration::refused(reading.refusals);
        }
        Sh::ListConfigFile(ignored) => {
            ignored.tell();
            reading.config.files.iter().map(|path| path.display().to_string()).collect()
        }
        Sh::Resource(objects) => {
            let targets = find(&reading, node, objects, RESOURCE)?;
            targets.iter().map(|target| target.config.name.clone()).collect()
        }
        Sh::Ip(objects) => addresses(&find(&reading, node, objects, PEER)?),
        Sh::LrOf(objects) => {
            find(&reading, node, objects, RESOURCE)?;
            let message = "sh-lr-of: there are no stacked resources";
            return Err(Failure::new(exit::USAGE, message));
        }
        Sh::Udev(objects) => udev(&find(&reading, node, objects, VOLUME)?)?,
        Sh::Dev(objects)
        | Sh::Minor(objects)
        | Sh::LlDev(objects)
        | Sh::MdDev(objects)
        | Sh::MdIdx(objects) => {
            return volumes(question, &find(&reading, node, objects, VOLUME)?);
        }
    };
    print(&lines);
    Ok(())
}

impl Ignored {
    fn tell(&self) {
        if !self.objects.is_empty() {
            output::error("This command will ignore resource names!");
        }
    }
}

fn find<'a>(
    reading: &'a Reading,
    node: &str,
    objects: &Objects,
    allowed: Allowed,
) -> Result<Vec<Target<'a>>, Failure> {
    Target::find(&reading.config, node, &objects.objects, allowed)
}

fn addresses(targets: &[Target<'_>]) -> Vec<String> {
    let mut found = Vec::new();
    for target in targets {
        let connections = target.definition.resource.connections.iter();
        for connection in connections {
            let own = connection.hosts.iter().position(|host| *host == target.host.name);
            for path in own.iter().flat_map(|_| &connection.paths) {
                let address = own.map(|own| path[own].ip().to_string()).unwrap_or_default();
                if !found.contains(&address) {
                    found.push(address);
                }
            }
        }
    }
    found
}

/// A line for each volume that has an answer; those that have none are a failure at the end.
fn volumes(question: &Sh, targets: &[Target<'_>]) -> Result<(), Failure> {
    let mut lines = Vec::new();
    let mut without = Vec::new();
    for target in targets {
        for volume in target.host_volumes() {
            match of_volume(question, volume) {
                Some(line) => lines.push(line),
                None => without.push(format!("{}/{}", target.config.name, volume.number)),
            }
        }
    }
    print(&lines);
    if without.is_empty() {
        return Ok(());
    }
    let message = format!("{}: there is no disk, and no metadata", without.join(", "));
    Err(Failure::new(exit::CONFIG, message))
}

#[expect(clippy::wildcard_enum_match_arm, reason = "the caller's match lists the questions")]
fn of_volume(question: &Sh, volume: &HostVolume) -> Option<String> {
    match question {
        Sh::Dev(_) => Some(volume.device.clone()),
        Sh::Minor(_) => Some(volume.minor.to_string()),
        Sh::LlDev(_) => Some(volume.disk.clone().unwrap_or_else(|| "none".to_owned())),
        Sh::MdDev(_) => {
            let disk = volume.disk.clone()?;
            match &volume.meta_disk {
                MetaDisk::Internal => Some(disk),
                MetaDisk::External { path, .. } => Some(path.display().to_string()),
            }
        }
        Sh::MdIdx(_) => {
            volume.disk.as_ref()?;
            Some(match &volume.meta_disk {
                MetaDisk::Internal => "internal".to_owned(),
                MetaDisk::External { index: None, .. } => "flexible".to_owned(),
                MetaDisk::External { index: Some(index), .. } => index.to_string(),
            })
        }
        _ => None,
    }
}

/// What DRBD's udev rules take: the device, and the links that lead to it.
fn udev(targets: &[Target<'_>]) -> Result<Vec<String>, Failure> {
    let mut lines = Vec::new();
    for target in targets {
        let name = &target.config.name;
        if target.named_volume().is_none() {
            let message = format!(
                "sh-udev requires a specific volume id, but none is specified; try 'sh-udev \
                 minor-N' or 'sh-udev {name}/N'"
            );
            return Err(Failure::new(exit::USAGE, message));
        }
        for volume in target.host_volumes() {
            let link = format!("drbd/by-res/{name}/{}", volume.number);
            lines.push(format!("DEVICE=drbd{}", volume.minor));
            lines.push(format!("SYMLINK={link}"));
            lines.push(format!("SYMLINK_BY_RES={link}"));
            if let Some(disk) = &volume.disk {
                let disk = disk.strip_prefix("/dev/").unwrap_or(disk);
                lines.push(format!("SYMLINK_BY_DISK=drbd/by-disk/{disk}"));
            }
        }
    }
    Ok(lines)
}

fn print(lines: &[String]) {
    let lines: Vec<String> = lines.iter().map(|line| format!("{line}\n")).collect();
    output::print(&lines.concat());
}
