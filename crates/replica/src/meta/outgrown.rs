//! Finding internal metadata that do not lie at the end of their disk, because it was enlarged.

use super::{
    ANCHOR_BYTES, CopyIndex, Identity, META_BLOCK, META_BLOCK_BYTES, Placement, Superblock,
};

/// Where the disk ended, by a superblock in a piece of it from `offset` on that says so of its own
/// place and is of an owner that is wanted; the last one in the piece.
pub fn end_told(
    bytes: &[u8],
    offset: u64,
    is_wanted: impl Fn(Option<&Identity>) -> bool,
) -> Option<u64> {
    let (blocks, _) = bytes.as_chunks::<META_BLOCK_BYTES>();
    let places = (0..).map(|index| offset + index * META_BLOCK);
    let found = blocks.iter().zip(places).flat_map(|(block, at)| {
        let copies = [(CopyIndex::A, at + ANCHOR_BYTES), (CopyIndex::B, at + META_BLOCK)];
        let told = copies.map(|(copy, end)| {
            let superblock = Superblock::decode(block, copy).ok()?;
            let here = superblock.placement == Placement::Internal
                && superblock.device_bytes / META_BLOCK * META_BLOCK == end
                && is_wanted(superblock.identity.as_ref());
            here.then_some(end)
        });
        told.into_iter().flatten()
    });
    found.max()
}
