//! Digests of blocks: what two nodes compare instead of the blocks.
//!
//! The first [`DIGEST_BYTES`] bytes of BLAKE3 of each block of 4 KiB, in order. 128 bits: equal
//! digests are taken for equal blocks. The core asks for them as
//! [`DiskOpKind::Digest`](crate::DiskOpKind::Digest) and never looks at a block itself;
//! [`of_blocks`] is for the shell that carries that out.

use bytes::{Bytes, BytesMut};
use tandem_wire::ByteRange;
use tandem_wire::limits::DIGEST_BYTES;

use crate::limits::BLOCK_BYTES;

/// The digests of the blocks in `data`.
///
/// # Panics
/// Where `data` are not whole blocks.
pub fn of_blocks(data: &[u8]) -> Bytes {
    let blocks = data.chunks_exact(BLOCK_BYTES as usize);
    assert!(blocks.remainder().is_empty(), "digests are of whole blocks");
    let mut digests = BytesMut::with_capacity(blocks.len() * DIGEST_BYTES);
    for block in blocks {
        digests.extend_from_slice(&blake3::hash(block).as_bytes()[..DIGEST_BYTES]);
    }
    digests.freeze()
}

/// Whether there is one digest for each block of `range`.
pub(crate) fn fit(digests: &Bytes, range: ByteRange) -> bool {
    let blocks = range.len.div_ceil(BLOCK_BYTES) as usize;
    digests.len() == blocks * DIGEST_BYTES
}

/// The runs of blocks of `range` whose digests differ. Both lists fit the range.
pub(crate) fn differing(range: ByteRange, mine: &Bytes, theirs: &Bytes) -> Vec<ByteRange> {
    assert_eq!(mine.len(), theirs.len(), "both lists fit the range");
    let mut runs: Vec<ByteRange> = Vec::new();
    let pairs = mine.chunks_exact(DIGEST_BYTES).zip(theirs.chunks_exact(DIGEST_BYTES));
    for (offset, (mine, theirs)) in (range.offset..).step_by(BLOCK_BYTES as usize).zip(pairs) {
        if mine == theirs {
            continue;
        }
        match runs.last_mut() {
            Some(run) if run.end() == offset => run.len += BLOCK_BYTES,
            Some(_) | None => runs.push(ByteRange::new(offset, BLOCK_BYTES)),
        }
    }
    runs
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn differing_blocks_come_in_runs() {
        let range = ByteRange::new(8 * 4096, 5 * 4096);
        let mine = of_blocks(&[1; 5 * 4096]);
        let mut data = vec![1; 5 * 4096];
        for at in [0, 4096, 4 * 4096 + 4095] {
            data[at] ^= 1;
        }
        let theirs = of_blocks(&data);
        assert!(fit(&mine, range) && !fit(&mine, ByteRange::new(0, 4096)));
        let runs = [ByteRange::new(8 * 4096, 8192), ByteRange::new(12 * 4096, 4096)];
        assert_eq!(differing(range, &mine, &theirs), runs);
        assert_eq!(differing(range, &mine, &mine), []);
    }
}
