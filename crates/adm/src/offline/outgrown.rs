//! Internal metadata of a disk that was enlarged while its daemon was down. They are moved by the
//! daemon, when it attaches the disk; here they are only looked for.

use tandem_replica::limits::SEARCH_BYTES_MAX;
use tandem_replica::meta::{META_BLOCK, MetaError, Placement, READ_BYTES_MAX, end_told};

use crate::device::Device;
use crate::metadata::{MetaPlace, Metadata};
use crate::output::{self, Failure};

/// `check-resize`: whether the metadata are where they belong, or where an attach will find them.
pub(super) fn check_resize(place: &MetaPlace) -> Result<(), Failure> {
    let device = place.open()?;
    match place.choose(&device) {
        Ok(chosen) => Metadata::of(place, device, chosen).map(|_| ()),
        Err(error) => left_to_attach(place, &device, &error),
    }
}

/// Says that an attach will do it, where it will find metadata.
pub(super) fn left_to_attach(
    place: &MetaPlace,
    device: &Device,
    error: &MetaError,
) -> Result<(), Failure> {
    let internal = place.placement(device) == Placement::Internal;
    let may_search = matches!(error, MetaError::NotFound | MetaError::Damaged);
    let end = (internal && may_search).then(|| search(place, device)).flatten();
    let Some(end) = end else { return Err(place.missing(device, error)) };
    output::print(&format!(
        "{}: the disk was enlarged: its metadata end at byte {end}; attach it, and they are \
         moved\n",
        place.name
    ));
    Ok(())
}

fn search(place: &MetaPlace, device: &Device) -> Option<u64> {
    let last = device.bytes() / META_BLOCK * META_BLOCK;
    let stop = last.saturating_sub(SEARCH_BYTES_MAX);
    let mut end = last;
    while end > stop {
        let offset = end - READ_BYTES_MAX.min(end);
        let bytes = device.read(offset, end - offset).unwrap_or_default();
        // Metadata that are nobody's are not attached from here.
        let is_wanted = |found: Option<&_>| match &place.owner {
            Some(owner) => found == Some(owner),
            None => found.is_some(),
        };
        let told = end_told(&bytes, offset, is_wanted);
        if told.is_some() {
            return told;
        }
        end = offset;
    }
    None
}
