//! Whose metadata it is: a volume of a resource on a node, or nobody's yet.
//!
//! Who makes metadata by a device's name alone, as drbdmeta is told to, cannot know for what. Such
//! metadata are nobody's, hold no data and know no peer; the first volume that attaches them has
//! them from then on.

use tandem_wire::{NodeId, VolumeNumber};

use super::{NO_NODE, Superblock, bad};
use crate::meta::fields::superblock as field;
use crate::meta::{
    Identity, META_BLOCK, META_BLOCK_BYTES, MetaError, Placement, RESOURCE_NAME_BYTES_MAX,
};

impl Superblock {
    /// Checks whose metadata it is.
    ///
    /// # Errors
    /// `OtherIdentity` with both; `NotClaimed` where they are nobody's.
    pub fn check_identity(&self, wanted: &Identity) -> Result<(), MetaError> {
        match &self.identity {
            Some(found) if found == wanted => Ok(()),
            Some(found) => Err(MetaError::OtherIdentity {
                found: Box::new(found.clone()),
                wanted: Box::new(wanted.clone()),
            }),
            None => Err(MetaError::NotClaimed),
        }
    }

    /// Makes metadata that are nobody's those of a volume, whose disk has `device_bytes`; external
    /// ones were made for as large a disk as they have room for.
    ///
    /// # Errors
    /// `OtherIdentity` where they belong to something else.
    pub fn claim(&mut self, wanted: &Identity, device_bytes: u64) -> Result<(), MetaError> {
        match self.check_identity(wanted) {
            Err(MetaError::NotClaimed) => {}
            checked => return checked,
        }
        self.identity = Some(wanted.clone());
        if let Placement::External { .. } = self.placement {
            self.device_bytes = device_bytes;
            self.data_bytes = self.data_bytes.min(device_bytes / META_BLOCK * META_BLOCK);
        }
        Ok(())
    }

    /// Whether `node` is the one they were made for.
    pub(super) fn is_own(&self, node: NodeId) -> bool {
        self.identity.as_ref().is_some_and(|own| own.node() == node)
    }
}

pub(super) fn encode(identity: Option<&Identity>, block: &mut [u8; META_BLOCK_BYTES]) {
    let Some(identity) = identity else {
        return field::NODE_ID.put(block, [NO_NODE]);
    };
    let name = identity.resource().as_bytes();
    let name_len = u8::try_from(name.len()).expect("a name has at most 128 bytes");
    field::VOLUME.put(block, identity.volume().0.to_le_bytes());
    field::NODE_ID.put(block, [identity.node().0]);
    field::RESOURCE_LEN.put(block, [name_len]);
    field::RESOURCE.entry_mut(block, 0, name.len()).copy_from_slice(name);
}

pub(super) fn decode(block: &[u8; META_BLOCK_BYTES]) -> Result<Option<Identity>, MetaError> {
    let name_len = usize::from(field::RESOURCE_LEN.u8(block));
    let volume = VolumeNumber(field::VOLUME.u16(block));
    let node = field::NODE_ID.u8(block);
    if (name_len, volume.0, node) == (0, 0, NO_NODE) {
        return Ok(None);
    }
    if name_len > RESOURCE_NAME_BYTES_MAX {
        return Err(bad(field::RESOURCE_LEN.name));
    }
    let name = field::RESOURCE.entry(block, 0, name_len);
    let name = std::str::from_utf8(name).map_err(|_| bad(field::RESOURCE.name))?;
    Identity::new(name, volume, NodeId(node)).map(Some)
}
