//! Commands that make and change a resource, a part at a time.

use std::path::PathBuf;

use tandem_control::admin::Request;
use tandem_control::config::{Backing, MetaDisk, Part, PeerPath};
use tandem_control::exit;

use super::session::{Session, warn};
use super::usage;
use super::words::Words;
use crate::output::Failure;

/// Carries out a command that is one of these.
pub(super) fn run(
    session: &mut Session,
    command: &str,
    words: &mut Words,
) -> Option<Result<(), Failure>> {
    let understood = match command {
        "new-resource" => new_resource(words),
        "resource-options" => resource_options(words),
        "new-minor" => new_minor(words),
        "del-minor" => del_minor(session, words),
        "attach" => return Some(attach(session, words)),
        "disk-options" => disk_options(session, words),
        "new-peer" => new_peer(words),
        "del-peer" => return Some(del_peer(session, words)),
        "net-options" => net_options(words),
        "new-path" | "del-path" => path(command, words),
        "peer-device-options" => peer_device_options(words),
        _ => return None,
    };
    Some(understood.and_then(|(resource, part)| put(session, words, resource, part)))
}

type Understood = Result<(String, Part), Failure>;

fn put(session: &mut Session, words: &Words, resource: String, part: Part) -> Result<(), Failure> {
    words.finish()?;
    let wrong = |text: String| Failure::new(exit::CONFIG, format!("{resource}: {text}"));
    // Once, when it is made: a change of something else is no news of it.
    let warnings = part.warnings().map_err(wrong)?;
    if matches!(part, Part::Resource { .. } | Part::Peer { .. } | Part::Disk { .. }) {
        warn(&resource, &warnings);
    }
    session.ask(&Request::Part { resource, part })
}

fn new_resource(words: &mut Words) -> Understood {
    let (resource, node_id) = (words.word("resource")?, words.peer()?);
    Ok((resource, Part::Resource { node_id, options: words.part_options()? }))
}

fn resource_options(words: &mut Words) -> Understood {
    Ok((words.word("resource")?, Part::ResourceOptions(words.part_options()?)))
}

fn new_minor(words: &mut Words) -> Understood {
    let (resource, minor, volume) = (words.word("resource")?, words.minor()?, words.volume()?);
    Ok((resource, Part::Volume { volume, minor, options: words.part_options()? }))
}

fn del_minor(session: &mut Session, words: &mut Words) -> Understood {
    let (resource, volume) = session.volume_of(words.minor()?)?;
    Ok((resource, Part::NoVolume(volume)))
}

fn disk_options(session: &mut Session, words: &mut Words) -> Understood {
    let (resource, volume) = session.volume_of(words.minor()?)?;
    Ok((resource, Part::DiskOptions { volume, options: words.part_options()? }))
}

/// Names the disk, and attaches it.
fn attach(session: &mut Session, words: &mut Words) -> Result<(), Failure> {
    let (resource, volume) = session.volume_of(words.minor()?)?;
    let disk = PathBuf::from(words.word("lower_dev")?);
    let path = PathBuf::from(words.word("meta_data_dev")?);
    let meta_disk = match words.word("meta_data_index")?.as_str() {
        "internal" | "flex-internal" => MetaDisk::Internal,
        "flexible" | "flex-external" => MetaDisk::External { path, index: None },
        index => {
            let number = index.parse();
            let number = number.map_err(|_| usage(&format!("'{index}' is no index of meta data")));
            MetaDisk::External { path, index: Some(number?) }
        }
    };
    let (backing, options) = (Backing { disk, meta_disk }, words.part_options()?);
    put(session, words, resource.clone(), Part::Disk { volume, backing, options })?;
    session.ask(&Request::Attach { resource, volume })
}

fn new_peer(words: &mut Words) -> Understood {
    let (resource, peer) = (words.word("resource")?, words.peer()?);
    let name = words.option("_name").ok_or_else(|| usage("option '--_name' is missing"))?;
    Ok((resource, Part::Peer { peer, name, options: words.part_options()? }))
}

/// Ends the connection, too.
fn del_peer(session: &mut Session, words: &mut Words) -> Result<(), Failure> {
    let (resource, peer) = (words.word("resource")?, words.peer()?);
    let force = words.flag("force")?;
    words.finish()?;
    session.ask(&Request::Disconnect { resource: resource.clone(), peer, force })?;
    session.ask(&Request::Part { resource, part: Part::NoPeer(peer) })
}

fn net_options(words: &mut Words) -> Understood {
    let (resource, peer) = (words.word("resource")?, words.peer()?);
    // The name of a connection is given when the peer is made known.
    let _ = words.option("_name");
    Ok((resource, Part::NetOptions { peer, options: words.part_options()? }))
}

fn path(command: &str, words: &mut Words) -> Understood {
    let (resource, peer) = (words.word("resource")?, words.peer()?);
    let own_address = words.address("local-addr")?;
    let path = PeerPath { own_address, peer_address: words.address("remote-addr")? };
    let part =
        if command == "new-path" { Part::Path { peer, path } } else { Part::NoPath { peer, path } };
    Ok((resource, part))
}

fn peer_device_options(words: &mut Words) -> Understood {
    let (resource, peer, volume) = (words.word("resource")?, words.peer()?, words.volume()?);
    Ok((resource, Part::PeerVolumeOptions { peer, volume, options: words.part_options()? }))
}
