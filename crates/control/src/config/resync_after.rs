//! `resync-after RES` or `RES/VOL`: which volume of the same node is synced before.
//!
//! Names become minors, host by host; a resource that the host has no part in is nothing to wait
//! for there. Circles are refused: everybody in one would wait for ever.

use std::collections::{BTreeMap, BTreeSet};

use super::definition::Definition;
use super::diagnostic::{Diagnostics, Position};
use super::options::merge;
use super::raw::{RawBody, RawResource};
use crate::id::{Minor, VolumeNumber};

/// A volume that has such an option.
#[derive(Debug)]
pub(super) struct Dependency {
    resource: String,
    host: String,
    volume: VolumeNumber,
    /// As it was given, and where.
    first: String,
    at: Position,
}

impl Dependency {
    /// Those of a resource.
    pub(super) fn of(common: &RawBody, raw: &RawResource) -> Vec<Self> {
        let mut found = Vec::new();
        for host in &raw.body.hosts {
            for (number, volume) in raw.volumes_of(host) {
                let options = merge(&[&common.disk, &raw.body.disk, &volume.options]);
                let Some((value, at)) = options.get("resync-after") else { continue };
                found.push(Self {
                    resource: raw.name.text.clone(),
                    host: host.name(),
                    volume: VolumeNumber(number),
                    first: value.text.clone(),
                    at: *at,
                });
            }
        }
        found
    }
}

/// Enters what the options name; notes an error for what is not there, and for circles.
pub(super) fn resolve(
    definitions: &mut [Definition],
    dependencies: &[Dependency],
    diagnostics: &mut Diagnostics,
) {
    let mut edges = BTreeMap::new();
    // What is wrong on several hosts is told once.
    let mut wrong = BTreeSet::new();
    for dependency in dependencies {
        match find(definitions, dependency) {
            Ok(None) => {}
            Ok(Some(first)) => {
                let own = volume_mut(definitions, dependency);
                own.resync_after = Some(first);
                edges.insert((dependency.host.as_str(), own.minor), (first, dependency));
            }
            Err(message) => {
                wrong.insert((dependency.at, message));
            }
        }
    }
    for ((host, own), (first, dependency)) in &edges {
        let mut next = Some(*first);
        // No way without a circle has more steps than there are edges.
        for _ in 0..edges.len() {
            let Some(minor) = next.filter(|minor| minor != own) else { break };
            next = edges.get(&(*host, minor)).map(|(first, _)| *first);
        }
        if next == Some(*own) {
            let Dependency { resource, volume, .. } = dependency;
            let message = format!("'resync-after': {resource}/{volume} would wait for itself");
            wrong.insert((dependency.at, message));
        }
    }
    for (at, message) in wrong {
        diagnostics.error(at, message);
    }
}

/// The minor that a dependency names on its host; `None` where the host has no part in it.
fn find(definitions: &[Definition], dependency: &Dependency) -> Result<Option<Minor>, String> {
    let first = &dependency.first;
    let (name, number) = match first.split_once('/') {
        Some((name, number)) => (name, Some(number)),
        None => (first.as_str(), None),
    };
    let found = definitions.iter().find(|definition| definition.resource.name == name);
    let Some(found) = found else {
        return Err(format!("'resync-after': there is no resource '{name}'"));
    };
    let Some(host) = found.resource.host(&dependency.host) else { return Ok(None) };
    let volume = match (number, host.volumes.as_slice()) {
        (None, [only]) => Some(only),
        (None, _) => {
            return Err(format!(
                "'resync-after': '{name}' has more than one volume; say '{name}/NUMBER'"
            ));
        }
        (Some(number), volumes) => {
            volumes.iter().find(|volume| volume.number.to_string() == number)
        }
    };
    let volume = volume.ok_or_else(|| format!("'resync-after': there is no volume '{first}'"))?;
    Ok(Some(volume.minor))
}

fn volume_mut<'a>(
    definitions: &'a mut [Definition],
    dependency: &Dependency,
) -> &'a mut super::HostVolume {
    let of_resource = definitions.iter_mut().find(|it| it.resource.name == dependency.resource);
    let mut hosts = of_resource.expect("it was just made").resource.hosts.iter_mut();
    let host = hosts.find(|host| host.name == dependency.host).expect("it is one of its hosts");
    let mut volumes = host.volumes.iter_mut();
    volumes.find(|volume| volume.number == dependency.volume).expect("it is one of its volumes")
}
