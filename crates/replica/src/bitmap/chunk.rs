//! The bitmap on the link: runs of clear and set bits in turn, the first one clear.
//!
//! A run is its length in bits as a variable-length number: seven bits a byte, lowest first, the
//! top bit saying that another byte follows, in the fewest bytes. The first run of a chunk may be
//! empty, no other may. Where a chunk starts is said beside it; where it ends is the sum of its
//! runs.
//!
//! A chunk is merged whole or not at all: it is read to its end before a bit is set.

use std::ops::Range;

use super::Bitmap;

/// Least room that a chunk needs: two numbers of ten bytes, so that every chunk gets on.
pub const CHUNK_BYTES_MIN: usize = 20;

/// What a merged chunk did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MergedChunk {
    /// First block behind the chunk: where the next one has to start.
    pub end_block: u64,
    /// How many bits it set that were clear.
    pub changed: u64,
}

/// Why a peer's chunk is no chunk of this bitmap.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BitmapDecodeError {
    /// A number's last byte is missing.
    #[error("bitmap chunk ends within a number")]
    Truncated,
    /// A number has more than 64 bits or needless bytes.
    #[error("bitmap chunk has a number that is too long")]
    NumberTooLong,
    /// A run that is not the first is empty.
    #[error("bitmap chunk has an empty run")]
    EmptyRun,
    /// Its start or its runs reach beyond the device.
    #[error("bitmap chunk reaches beyond block {blocks}, the end of the device")]
    BeyondDevice {
        /// Blocks the device has.
        blocks: u64,
    },
}

impl Bitmap {
    /// Sets what is set in a chunk that starts at `from_block`. On an error no bit has changed.
    ///
    /// # Errors
    /// Where the bytes are not what [`Bitmap::encode_chunk`] makes of a device of this size.
    pub fn merge_chunk(
        &mut self,
        from_block: u64,
        runs: &[u8],
    ) -> Result<MergedChunk, BitmapDecodeError> {
        let mut check = Runs::new(from_block, runs, self.blocks);
        while check.next_set_run()?.is_some() {}
        let mut changed = 0;
        let mut apply = Runs::new(from_block, runs, self.blocks);
        while let Some(blocks) = apply.next_set_run()? {
            changed += self.set_blocks(blocks);
        }
        Ok(MergedChunk { end_block: apply.block, changed })
    }

    /// Codes the map from `from_block` on in at most `max_bytes`; the second value is the block
    /// that the next chunk starts at, `None` when this one reaches the end of the device.
    ///
    /// # Panics
    /// Where `max_bytes` is below [`CHUNK_BYTES_MIN`].
    pub fn encode_chunk(&self, from_block: u64, max_bytes: usize) -> (Vec<u8>, Option<u64>) {
        assert!(max_bytes >= CHUNK_BYTES_MIN, "no room for a chunk in {max_bytes} bytes");
        let mut runs = Vec::new();
        let mut block = from_block;
        while block < self.blocks {
            let set = self.next_run(block, u64::MAX).unwrap_or(self.blocks..self.blocks);
            if !put_run(&mut runs, set.start - block, max_bytes) {
                return (runs, Some(block));
            }
            block = set.start;
            if set.is_empty() {
                break;
            }
            if !put_run(&mut runs, set.end - set.start, max_bytes) {
                return (runs, Some(block));
            }
            block = set.end;
        }
        (runs, None)
    }
}

/// Reads a chunk; yields only the runs that are set.
struct Runs<'a> {
    rest: &'a [u8],
    block: u64,
    blocks: u64,
    first: bool,
}

impl<'a> Runs<'a> {
    fn new(from_block: u64, runs: &'a [u8], blocks: u64) -> Self {
        Self { rest: runs, block: from_block, blocks, first: true }
    }

    fn next_set_run(&mut self) -> Result<Option<Range<u64>>, BitmapDecodeError> {
        self.next_run()?;
        self.next_run()
    }

    fn next_run(&mut self) -> Result<Option<Range<u64>>, BitmapDecodeError> {
        if self.block > self.blocks {
            return Err(BitmapDecodeError::BeyondDevice { blocks: self.blocks });
        }
        if self.rest.is_empty() {
            return Ok(None);
        }
        let len = take_number(&mut self.rest)?;
        if len == 0 && !self.first {
            return Err(BitmapDecodeError::EmptyRun);
        }
        if len > self.blocks - self.block {
            return Err(BitmapDecodeError::BeyondDevice { blocks: self.blocks });
        }
        self.first = false;
        let start = self.block;
        self.block += len;
        Ok(Some(start..self.block))
    }
}

/// Whether there was room for the run.
fn put_run(runs: &mut Vec<u8>, len: u64, max_bytes: usize) -> bool {
    let bits = u64::BITS - len.leading_zeros();
    if runs.len() + bits.div_ceil(7).max(1) as usize > max_bytes {
        return false;
    }
    let mut rest = len;
    while rest >= 0x80 {
        runs.push(low_seven(rest) | 0x80);
        rest >>= 7;
    }
    runs.push(low_seven(rest));
    true
}

fn low_seven(number: u64) -> u8 {
    u8::try_from(number & 0x7f).expect("seven bits")
}

fn take_number(bytes: &mut &[u8]) -> Result<u64, BitmapDecodeError> {
    let mut number = 0;
    for shift in (0..u64::BITS).step_by(7) {
        let (&byte, rest) = bytes.split_first().ok_or(BitmapDecodeError::Truncated)?;
        *bytes = rest;
        let part = u64::from(byte & 0x7f);
        if part << shift >> shift != part || (byte == 0 && shift > 0) {
            return Err(BitmapDecodeError::NumberTooLong);
        }
        number |= part << shift;
        if byte & 0x80 == 0 {
            return Ok(number);
        }
    }
    Err(BitmapDecodeError::NumberTooLong)
}
