//! The bitmap on the link, in chunks: where one starts is said beside it, how it is coded in its
//! first byte, and the rest says what is set and so where it ends.
//!
//! *Runs* are lengths of clear and set bits in turn, the first one clear. A length is a
//! variable-length number: seven bits a byte, lowest first, the top bit saying that another byte
//! follows, in the fewest bytes. The first run of a chunk may be empty, no other may.
//!
//! *Bits* are the bits as they are, eight a byte, lowest first; behind the end of the device they
//! are clear. Noise would take up to eight times the room as runs.
//!
//! A chunk is merged whole or not at all: it is read to its end before a bit is set.

use std::ops::Range;

use super::{Bitmap, PAGE_BLOCKS, PageIndex};

/// Least room that a chunk needs: how it is coded and two numbers of ten bytes, so that every chunk
/// gets on.
pub const CHUNK_BYTES_MIN: usize = 21;

/// First byte of a chunk of runs.
const RUNS: u8 = 1;

/// First byte of a chunk of bits.
const BITS: u8 = 2;

/// Bytes of runs after which they must have taken less room than bits.
const TRIAL_BYTES: usize = 4096;

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
    /// A number's last byte, or the chunk's first, is missing.
    #[error("bitmap chunk ends within a number")]
    Truncated,
    /// A number has more than 64 bits or needless bytes.
    #[error("bitmap chunk has a number that is too long")]
    NumberTooLong,
    /// A run that is not the first is empty.
    #[error("bitmap chunk has an empty run")]
    EmptyRun,
    /// Its start, its runs or its bits reach beyond the device.
    #[error("bitmap chunk reaches beyond block {blocks}, the end of the device")]
    BeyondDevice {
        /// Blocks the device has.
        blocks: u64,
    },
    /// Its first byte names no coding.
    #[error("bitmap chunk is coded as {0}, which is unknown")]
    UnknownCoding(u8),
}

impl Bitmap {
    /// Sets what is set in a chunk that starts at `from_block`. On an error no bit has changed.
    ///
    /// # Errors
    /// Where the bytes are not what [`Bitmap::encode_chunk`] makes of a device of this size.
    pub fn merge_chunk(
        &mut self,
        from_block: u64,
        chunk: &[u8],
    ) -> Result<MergedChunk, BitmapDecodeError> {
        match chunk.split_first().ok_or(BitmapDecodeError::Truncated)? {
            (&RUNS, runs) => self.merge_runs(from_block, runs),
            (&BITS, bits) => self.merge_bits(from_block, bits),
            (&coding, _) => Err(BitmapDecodeError::UnknownCoding(coding)),
        }
    }

    /// Codes the map from `from_block` on in at most `max_bytes`; the second value is the block
    /// that the next chunk starts at, `None` when this one reaches the end of the device.
    ///
    /// # Panics
    /// Where `max_bytes` is below [`CHUNK_BYTES_MIN`].
    pub fn encode_chunk(&self, from_block: u64, max_bytes: usize) -> (Vec<u8>, Option<u64>) {
        assert!(max_bytes >= CHUNK_BYTES_MIN, "no room for a chunk in {max_bytes} bytes");
        let (runs, end) = self.encode_runs(from_block, max_bytes);
        let (chunk, end) = if takes_less_than_bits(&runs, end - from_block) {
            (runs, end)
        } else {
            self.encode_bits(from_block, max_bytes)
        };
        (chunk, (end < self.blocks).then_some(end))
    }

    /// The chunk, and the block behind it. Ends early where runs are no good.
    fn encode_runs(&self, from_block: u64, max_bytes: usize) -> (Vec<u8>, u64) {
        let mut runs = vec![RUNS];
        let mut block = from_block;
        while block < self.blocks {
            if runs.len() >= TRIAL_BYTES && !takes_less_than_bits(&runs, block - from_block) {
                break;
            }
            let set = self.next_run(block, u64::MAX).unwrap_or(self.blocks..self.blocks);
            if !put_run(&mut runs, set.start - block, max_bytes) {
                break;
            }
            block = set.start;
            if set.is_empty() || !put_run(&mut runs, set.end - set.start, max_bytes) {
                break;
            }
            block = set.end;
        }
        (runs, block)
    }

    /// The chunk, and the block behind it.
    fn encode_bits(&self, from_block: u64, max_bytes: usize) -> (Vec<u8>, u64) {
        let rest = self.blocks - from_block;
        let words = u64::try_from((max_bytes - 1) / 8).unwrap_or(u64::MAX);
        let blocks = rest.min(words.saturating_mul(64));
        let bytes = usize::try_from(blocks.div_ceil(8)).expect("a chunk fits in memory");
        let mut chunk = Vec::with_capacity(bytes + 8);
        chunk.push(BITS);
        for block in (from_block..from_block + blocks).step_by(64) {
            chunk.extend_from_slice(&self.bits_at(block).to_le_bytes());
        }
        chunk.truncate(1 + bytes);
        (chunk, from_block + blocks)
    }

    fn merge_runs(
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

    fn merge_bits(
        &mut self,
        from_block: u64,
        bits: &[u8],
    ) -> Result<MergedChunk, BitmapDecodeError> {
        let beyond = BitmapDecodeError::BeyondDevice { blocks: self.blocks };
        let rest = self.blocks.checked_sub(from_block).ok_or(beyond)?;
        let told = bits.len() as u64 * 8;
        let padding = told.saturating_sub(rest);
        let last = bits.last().copied().unwrap_or(0);
        if padding >= 8 || u64::from(last.leading_zeros()) < padding {
            return Err(beyond);
        }
        let mut changed = 0;
        for (index, bytes) in (0u64..).zip(bits.chunks(8)) {
            let mut word = [0; 8];
            word[..bytes.len()].copy_from_slice(bytes);
            changed += self.or_bits_at(from_block + index * 64, u64::from_le_bytes(word));
        }
        Ok(MergedChunk { end_block: from_block + told - padding, changed })
    }

    /// The 64 bits from `block` on; clear where the device has no more.
    fn bits_at(&self, block: u64) -> u64 {
        let (word, shift) = (block / 64, block % 64);
        let low = self.word(word) >> shift;
        if shift == 0 { low } else { low | self.word(word + 1) << (64 - shift) }
    }

    /// Sets what is set in the 64 bits from `block` on; returns how many bits changed.
    fn or_bits_at(&mut self, block: u64, bits: u64) -> u64 {
        let (word, shift) = (block / 64, block % 64);
        let changed = self.or_word(word, bits << shift);
        if shift == 0 { changed } else { changed + self.or_word(word + 1, bits >> (64 - shift)) }
    }

    fn word(&self, word: u64) -> u64 {
        let Some((page, within)) = self.place_of_word(word) else { return 0 };
        self.pages[page.slot()].word(within, self.page_limit(page))
    }

    fn or_word(&mut self, word: u64, bits: u64) -> u64 {
        if bits == 0 {
            return 0;
        }
        let (page, within) = self.place_of_word(word).expect("bits were checked to be blocks");
        let limit = self.page_limit(page);
        let changed = u64::from(self.pages[page.slot()].or_word(within, bits, limit));
        if changed > 0 {
            self.unsaved.mark(page);
            self.set_count += changed;
        }
        changed
    }

    /// The page of a word of 64 bits, and its number there.
    fn place_of_word(&self, word: u64) -> Option<(PageIndex, usize)> {
        let block = word * 64;
        let within = usize::try_from(block % PAGE_BLOCKS / 64).expect("a page has 512 words");
        (block < self.blocks).then(|| (PageIndex::of_block(block), within))
    }
}

/// Whether a chunk of runs is not longer than one of bits for as many blocks.
fn takes_less_than_bits(runs: &[u8], blocks: u64) -> bool {
    runs.len() as u64 <= blocks.div_ceil(8).saturating_add(1)
}

/// Reads runs; yields only the runs that are set.
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
