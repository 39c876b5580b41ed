//! INV-4: connected, idle and without bits, both images are the same, byte for byte.

use std::collections::BTreeSet;

use super::Violation;
use super::differences::Differences;
use crate::stamp::Content;

/// Both images are equal, but for what has rotted; `contents` are for the text.
///
/// # Errors
/// The first sector that differs, and how many do.
pub fn check(
    volume: usize,
    differences: &Differences,
    contents: [&[Content]; 2],
    rotten: &BTreeSet<usize>,
    when: &str,
) -> Result<(), Violation> {
    let wrong = || differences.sectors().filter(|sector| !rotten.contains(sector));
    let Some(sector) = wrong().next() else { return Ok(()) };
    let count = wrong().count();
    let [a, b] = contents.map(|contents| contents[sector]);
    let text = format!(
        "volume {volume}, {count} sectors differ {when}; sector {sector}: {a:?} on node 0, {b:?} \
         on 1"
    );
    Err(Violation::new("INV-4 equal images", text))
}
