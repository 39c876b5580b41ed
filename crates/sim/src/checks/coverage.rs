//! INV-7: blocks that differ are covered by bits, on one of the nodes.
//!
//! Looked at while nothing is in flight. Behind a crash and the attach that follows it the same is
//! INV-8: what the crash left different, and no bit on disk covered, was in the activity log.

use std::collections::BTreeSet;
use std::ops::Range;

use super::Violation;
use super::differences::Differences;
use crate::view::View;

/// Every block that differs `is_covered`, but for those that have rotted.
///
/// # Errors
/// The first one that is not, and how many differ.
pub fn check(
    volume: usize,
    differences: &Differences,
    rotten: &BTreeSet<usize>,
    is_covered: impl Fn(usize) -> bool,
) -> Result<(), Violation> {
    let Some(block) = differences.blocks(rotten).find(|block| !is_covered(*block)) else {
        return Ok(());
    };
    let differ = differences.blocks(rotten).count();
    let text = format!("volume {volume}: block {block} of {differ} that differ has no bit");
    Err(Violation::new("INV-7 bits cover differences", text))
}

/// The number of blocks told is the number of bits.
///
/// # Errors
/// Both numbers.
pub fn check_count(
    whose: &str,
    told: u64,
    bits: impl Iterator<Item = Range<u64>>,
) -> Result<(), Violation> {
    let count: u64 = bits.map(|run| run.end - run.start).sum();
    if told == count {
        return Ok(());
    }
    let text = format!("{whose} tells {told} blocks out of sync and has {count} bits");
    Err(Violation::new("INV-20 honest status", text))
}

/// INV-20: both are established and up to date, nothing is in flight, and bits are set: a verify
/// has found them, both nodes know of all of them, and say so.
///
/// # Errors
/// What the two say.
pub fn check_findings(volume: usize, views: [&View; 2]) -> Result<(), Violation> {
    let [a, b] = views.map(|view| view.volumes[volume]);
    let told = a.found_blocks > 0 && b.found_blocks > 0;
    if a.dirty_blocks == b.dirty_blocks && told {
        return Ok(());
    }
    let text = format!("volume {volume}, in sync with bits: 0 {a:?}; 1 {b:?}");
    Err(Violation::new("INV-20 honest status", text))
}
