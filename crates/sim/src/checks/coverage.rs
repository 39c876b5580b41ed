//! INV-7: blocks that differ are covered by bits.
//!
//! The core tells how many blocks are out of sync, not which; so at a moment when nothing is in
//! flight there may be no more blocks that differ than bits on both nodes. Which ones is proved by
//! the resync that follows and the comparison behind it.

use super::Violation;
use super::differences::Differences;

/// No more blocks differ than `bits` says.
///
/// # Errors
/// How many do.
pub fn check(volume: usize, differences: &Differences, bits: u64) -> Result<(), Violation> {
    let differ = differences.blocks();
    if differ <= bits {
        return Ok(());
    }
    let text = format!("volume {volume}: {differ} blocks differ, {bits} bits on both nodes");
    Err(Violation::new("INV-7 bits cover differences", text))
}
