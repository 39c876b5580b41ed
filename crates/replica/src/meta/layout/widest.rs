//! The layout of external metadata that are made before anybody says for which disk.

use super::{
    ANCHOR_BYTES, DEVICE_BYTES_MAX, INDEX_ENTRIES, Layout, LayoutError, META_BLOCK, PEERS_MAX,
    Placement, whole,
};
use crate::bitmap::{BLOCK_BYTES, PAGE_BLOCKS};

impl Layout {
    /// External metadata for as large a disk as a device of `meta_bytes` has room for.
    ///
    /// # Errors
    /// Where it has room for none, or `max_peers` is not 1 to [`PEERS_MAX`].
    pub fn widest(meta_bytes: u64, max_peers: u8) -> Result<Self, LayoutError> {
        if !(1..=PEERS_MAX).contains(&max_peers) {
            return Err(LayoutError::MaxPeers(max_peers));
        }
        let placement = Placement::External { meta_bytes };
        let room = whole(meta_bytes).saturating_sub(ANCHOR_BYTES);
        let blocks = room / META_BLOCK / u64::from(max_peers);
        // Of so many blocks one in 511 is an index block, and the last index may be begun.
        let pages = blocks - blocks.div_ceil(INDEX_ENTRIES + 1);
        let page_bytes = PAGE_BLOCKS * BLOCK_BYTES;
        let disk_bytes = pages.clamp(1, DEVICE_BYTES_MAX / page_bytes) * page_bytes;
        Self::new(disk_bytes, placement, max_peers)
    }
}
