//! `wipe-md`: after it nothing is recognised as metadata. Data stay as they are.

use tandem_control::exit;
use tandem_replica::meta::{MetaError, MetaWrite, superblock_offsets, wipe};

use super::confirmed;
use crate::device::Device;
use crate::metadata::MetaPlace;
use crate::output::{self, Failure};

/// Removes both copies of the superblock, one after the other, also damaged ones.
pub(super) fn wipe_md(place: &MetaPlace, force: bool) -> Result<(), Failure> {
    let device = place.open()?;
    let what = match place.choose(&device) {
        Err(MetaError::NotFound) => {
            let text = "There appears to be no drbd meta data to wipe out?";
            output::error(&format!("{}: {text}", place.name));
            return Ok(());
        }
        Err(error) => error.to_string(),
        Ok(chosen) => {
            let owner = chosen.superblock.identity;
            owner.map_or_else(|| "of nobody yet".to_owned(), |owner| format!("of {owner}"))
        }
    };
    let path = device.path().display();
    let question = format!(
        "{}: {path}: metadata found: {what}\nDo you really want to wipe out the DRBD meta data?",
        place.name
    );
    confirmed(&question, force)?;
    let offsets = superblock_offsets(device.bytes(), place.placement(&device));
    let offsets = offsets.expect("metadata were found there");
    let each = wipe(offsets);
    let wiped = each.iter().try_for_each(|copy| store(&device, copy));
    wiped.map_err(|message| place.failure(exit::FAILURE, &message))?;
    output::print("Wiping meta data...\nDRBD meta data block successfully wiped out.\n");
    Ok(())
}

fn store(device: &Device, write: &MetaWrite) -> Result<(), String> {
    device.write(write.offset, &write.bytes)?;
    device.flush()
}
