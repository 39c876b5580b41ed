//! INV-4: connected, idle and without bits, both images are the same, byte for byte.

use super::Violation;
use crate::stamp::{self, SECTOR};

/// Both images are equal.
///
/// # Errors
/// The first sector that differs, and how many do.
pub fn check(volume: usize, images: [&[u8]; 2], when: &str) -> Result<(), Violation> {
    if images[0] == images[1] {
        return Ok(());
    }
    let pairs = || images[0].chunks_exact(SECTOR).zip(images[1].chunks_exact(SECTOR));
    let count = pairs().filter(|(a, b)| a != b).count();
    let (sector, (a, b)) = (pairs().enumerate().find(|(_, (a, b))| a != b)).expect("not equal");
    let text = format!(
        "volume {volume}, {count} sectors differ {when}; sector {sector}: {:?} on \
         node 0, {:?} on 1",
        stamp::peek(a),
        stamp::peek(b)
    );
    Err(Violation::new("INV-4 equal images", text))
}
