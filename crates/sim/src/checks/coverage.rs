//! INV-7: blocks that differ are covered by bits, on one of the nodes.
//!
//! Looked at while nothing is in flight. Behind a crash and the attach that follows it the same is
//! INV-8: what the crash left different, and no bit on disk covered, was in the activity log.

use super::Violation;
use super::differences::Differences;
use crate::stamp::BLOCK_SECTORS;

/// Every block that differs `is_covered`.
///
/// # Errors
/// The first one that is not, and how many differ.
pub fn check(
    volume: usize,
    differences: &Differences,
    is_covered: impl Fn(usize) -> bool,
) -> Result<(), Violation> {
    let mut blocks = differences.sectors().map(|sector| sector / BLOCK_SECTORS);
    let Some(block) = blocks.find(|block| !is_covered(*block)) else { return Ok(()) };
    let differ = differences.blocks();
    let text = format!("volume {volume}: block {block} of {differ} that differ has no bit");
    Err(Violation::new("INV-7 bits cover differences", text))
}
