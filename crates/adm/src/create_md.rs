//! `create-md`: writes metadata to a device that no daemon has open.
//!
//! It refuses whatever it recognises, unless forced, and says what it found and where; for a device
//! that holds metadata only that is all, for internal metadata also whether a file system would
//! reach into them. The device is held exclusively meanwhile, by the same lock as the daemon's.
//!
//! Order on disk: zeroes are durable before indexes are written, indexes before the first
//! superblock, the first superblock before the second. So what is recognised later is complete.

mod signature;

use std::path::Path;

use tandem_control::config::MetaDisk;
use tandem_control::exit;
use tandem_replica::meta::{
    AL_EXTENT_BYTES, DeviceUuid, FormatPlan, Identity, Layout, META_BLOCK, MetaWrite, Placement,
    Probe, format, probe, superblock_offsets,
};
use tandem_wire::{NodeId, VolumeNumber};

use crate::device::{self, Device};
use crate::metadata::MetaPlace;
use crate::offline::confirmed;
use crate::output::{self, Failure};
use crate::plan::CreateMd;
use signature::{Found, signatures};

/// Writes the metadata of one volume.
pub(crate) fn create_md(create: &CreateMd) -> Result<(), Failure> {
    let name = format!("{}/{}", create.resource, create.volume);
    let failure =
        |exit_code, message: String| Failure::new(exit_code, format!("{name}: {message}"));
    let unusable = |message| failure(exit::FAILURE, message);
    let disk = Device::open(&create.disk).map_err(unusable)?;
    let (meta, placement) = match &create.meta_disk {
        MetaDisk::Internal => (None, Placement::Internal),
        MetaDisk::External { path, index: None } => {
            let meta = Device::open(path).map_err(unusable)?;
            let placement = Placement::External { meta_bytes: meta.bytes() };
            (Some(meta), placement)
        }
        MetaDisk::External { path, index: Some(index) } => {
            let path = path.display();
            let message = format!(
                "several volumes' metadata on one device are not supported yet: give the volume a \
                 device of its own instead of {path}[{index}]"
            );
            return Err(failure(exit::CONFIG, message));
        }
    };
    let layout = Layout::new(disk.bytes(), placement, create.max_peers)
        .map_err(|error| unusable(format!("{}: {error}", create.disk.display())))?;
    let found = existing(&disk, meta.as_ref(), &layout).map_err(unusable)?;
    let list: Vec<String> = found.iter().map(|found| format!("  {found}\n")).collect();
    if !found.is_empty() && !create.force {
        let message = format!(
            "existing data found, nothing was written:\n{}  to overwrite it: tandemadm create-md \
             --force {name}",
            list.concat()
        );
        return Err(failure(exit::EXISTING_DATA, message));
    }
    let target = meta.as_ref().unwrap_or(&disk);
    let volume = VolumeNumber(create.volume.0);
    let identity = Identity::new(&create.resource, volume, NodeId(create.node_id))
        .map_err(|error| unusable(error.to_string()))?;
    write(target, &layout, Some(identity)).map_err(unusable)?;
    report(create, target.path(), &layout, &list.concat());
    Ok(())
}

/// Makes metadata that are nobody's until their first attach, as drbdmeta is told to: on the device
/// of `place`, without anything known of what they are for.
pub(crate) fn create_unclaimed(
    place: &MetaPlace,
    max_peers: u8,
    force: bool,
) -> Result<(), Failure> {
    let device = place.open()?;
    let unusable = |message: String| place.failure(exit::FAILURE, &message);
    let placement = place.placement(&device);
    let layout = match placement {
        Placement::Internal => Layout::new(device.bytes(), placement, max_peers),
        Placement::External { meta_bytes } => Layout::widest(meta_bytes, max_peers),
    };
    let path = device.path().display();
    let layout = layout.map_err(|error| unusable(format!("{path}: {error}")))?;
    let mut foreign = signatures(&device).map_err(unusable)?;
    if placement == Placement::Internal {
        foreign.iter_mut().for_each(|found| found.note_fit(layout.data_bytes()));
    }
    let own = metadata(&device, device.bytes(), placement).map_err(unusable)?;
    let list: Vec<String> = foreign.iter().chain(&own).map(|it| format!("  {it}\n")).collect();
    if !foreign.is_empty() && !force {
        let message = format!(
            "existing data found, nothing was written:\n{}  to overwrite it: --force\n\
             Operation refused.",
            list.concat()
        );
        return Err(place.failure(exit::EXISTING_DATA, &message));
    }
    if !list.is_empty() {
        let question = "Do you really want to overwrite the existing meta-data?";
        confirmed(&format!("{}: found:\n{}{question}", place.name, list.concat()), force)?;
    }
    write(&device, &layout, None).map_err(unusable)?;
    output::print("Writing meta data...\nNew drbd meta data block successfully created.\n");
    Ok(())
}

fn report(create: &CreateMd, target: &Path, layout: &Layout, overwritten: &str) {
    let CreateMd { resource, volume, max_peers, .. } = create;
    let area = layout.metadata();
    let mut text = String::new();
    if !overwritten.is_empty() {
        text.push_str(&format!("{resource}/{volume}: forced, in spite of:\n{overwritten}"));
    }
    let (path, end) = (target.display(), area.offset + area.len);
    text.push_str(&format!(
        "{resource}/{volume}: metadata for {max_peers} peer(s) written to {path}, \
         bytes {} to {end}\n",
        area.offset,
    ));
    text.push_str(&format!(
        "{resource}/{volume}: {} bytes are left for data\n\
         {resource}: next: tandemadm up {resource}\n",
        layout.data_bytes(),
    ));
    output::print(&text);
}

/// What is there already and would be lost or misread.
fn existing(disk: &Device, meta: Option<&Device>, layout: &Layout) -> Result<Vec<Found>, String> {
    let mut found = Vec::new();
    match meta {
        None => {
            for mut signature in signatures(disk)? {
                signature.note_fit(layout.data_bytes());
                found.push(signature);
            }
        }
        Some(meta) => {
            found.extend(signatures(meta)?);
            let placement = Placement::External { meta_bytes: meta.bytes() };
            found.extend(metadata(meta, meta.bytes(), placement)?);
        }
    }
    // Also for external metadata: internal ones mean that the disk is another volume's.
    found.extend(metadata(disk, disk.bytes(), Placement::Internal)?);
    Ok(found)
}

/// Metadata of this program where they would lie.
fn metadata(device: &Device, bytes: u64, placement: Placement) -> Result<Option<Found>, String> {
    let Some(offsets) = superblock_offsets(bytes, placement) else {
        return Ok(None);
    };
    let [copy_a, copy_b] = offsets.map(|offset| device.read(offset, META_BLOCK));
    let what = match probe(&copy_a?, &copy_b?) {
        Probe::Nothing => return Ok(None),
        Probe::Found(superblock) => match &superblock.identity {
            Some(identity) => format!("tandem metadata of {identity}"),
            None => "tandem metadata that are nobody's yet".to_owned(),
        },
        Probe::Unusable(error) => format!("tandem metadata ({error})"),
    };
    Ok(Some(Found::new(device, what, offsets[0])))
}

fn write(target: &Device, layout: &Layout, identity: Option<Identity>) -> Result<(), String> {
    let uuid = DeviceUuid(device::random()?);
    let (superblock, plan) = format(layout, identity, uuid, AL_EXTENT_BYTES);
    let FormatPlan { zero, indexes, superblocks } = plan;
    target.zero(zero.offset, zero.len)?;
    target.flush()?;
    let write_at = |write: &MetaWrite| target.write(write.offset, &write.bytes);
    indexes.iter().try_for_each(write_at)?;
    target.flush()?;
    for copy in &superblocks {
        write_at(copy)?;
        target.flush()?;
    }
    let [copy_a, copy_b] = superblocks.map(|copy| target.read(copy.offset, META_BLOCK));
    match probe(&copy_a?, &copy_b?) {
        Probe::Found(read) if *read == superblock => Ok(()),
        Probe::Found(_) | Probe::Nothing | Probe::Unusable(_) => {
            let path = target.path().display();
            Err(format!("{path}: does not hold what was written to it; do not use this device"))
        }
    }
}
