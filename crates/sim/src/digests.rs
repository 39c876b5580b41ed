//! Digests of blocks, as the simulated disks take them.
//!
//! The core compares digests and never looks at a block, so that any function will do that tells
//! different blocks apart. The daemon's ([`tandem_replica::digest`]) withstands whoever wants two
//! blocks to look alike; this one need not, and takes a tenth of its time.

use bytes::{Bytes, BytesMut};
use tandem_wire::limits::DIGEST_BYTES;

use crate::prng::mix;

/// Bytes of a block, the unit of the bitmap.
const BLOCK: usize = 4096;
const LANES: usize = 4;

/// The digests of the blocks in `data`.
///
/// # Panics
/// Where `data` are not whole blocks.
pub fn of_blocks(data: &[u8]) -> Bytes {
    let blocks = data.chunks_exact(BLOCK);
    assert!(blocks.remainder().is_empty(), "digests are of whole blocks");
    let mut digests = BytesMut::with_capacity(blocks.len() * DIGEST_BYTES);
    for block in blocks {
        digests.extend_from_slice(&of_block(block));
    }
    digests.freeze()
}

fn of_block(block: &[u8]) -> [u8; DIGEST_BYTES] {
    let mut lanes = [0_u64; LANES];
    for words in block.chunks_exact(8 * LANES) {
        for (lane, bytes) in lanes.iter_mut().zip(words.chunks_exact(8)) {
            let word = u64::from_le_bytes(bytes.try_into().expect("eight bytes"));
            // One to one in the lane and in the word: a difference stays one.
            *lane = (*lane ^ word).wrapping_mul(0x9E37_79B9_7F4A_7C15).rotate_left(29);
        }
    }
    let [a, b, c, d] = lanes;
    let halves = u128::from(mix(a ^ mix(b))) << 64 | u128::from(mix(c ^ mix(d)));
    halves.to_le_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_flipped_bit_changes_its_block_only() {
        let data: Vec<u8> = (0..2 * BLOCK).map(|at| u8::try_from(at % 251).unwrap()).collect();
        let before = of_blocks(&data);
        for bit in 0..8 * BLOCK {
            let mut other = data.clone();
            other[BLOCK + bit / 8] ^= 1 << (bit % 8);
            let after = of_blocks(&other);
            assert_eq!(before[..DIGEST_BYTES], after[..DIGEST_BYTES]);
            assert_ne!(before[DIGEST_BYTES..], after[DIGEST_BYTES..], "bit {bit}");
        }
    }
}
