//! `forget-peer`: what is kept for a peer that is gone for good makes room for another one.
//!
//! One update of the superblock. The bitmap stays as it is, and says nothing: who has the slot next
//! is copied everything.

use tandem_control::exit;
use tandem_replica::meta::DeviceUuid;
use tandem_wire::{NodeId, Uuid};

use crate::device;
use crate::metadata::{MetaPlace, Metadata};
use crate::output::{self, Failure};

/// Frees the slot of a peer. That it has none is no failure: where one of several volumes was done
/// before, the others still are to be.
pub(super) fn forget_peer(place: &MetaPlace, peer: NodeId) -> Result<(), Failure> {
    let mut metadata = Metadata::open(place)?;
    let fresh = fresh().map_err(|message| place.failure(exit::FAILURE, &message))?;
    let current = metadata.superblock.current_uuid;
    if !metadata.superblock.forget_peer(peer, fresh) {
        output::error(&format!("{}: node {peer} has no slot: nothing was kept for it", place.name));
        return Ok(());
    }
    metadata.save()?;
    let parted = match metadata.superblock.current_uuid {
        uuid if uuid == current => "",
        _ => "; the data, which it does not have, are of a generation of their own",
    };
    output::print(&format!("{}: the slot of node {peer} is free{parted}\n", place.name));
    Ok(())
}

/// A generation that nobody has.
fn fresh() -> Result<Uuid, String> {
    loop {
        let uuid = Uuid(DeviceUuid(device::random()?).half());
        if uuid.is_real() {
            return Ok(uuid);
        }
    }
}
