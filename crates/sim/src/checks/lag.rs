//! P3: a lag is never told smaller than it is.

use tandem_replica::Lag;

use super::Violation;
use crate::model::Model;
use crate::stamp::Content;

/// Sectors whose newest write that `node` has replied to since it is Primary is not on its peer's
/// disk, whose `contents` these are. What a dead predecessor has lost nobody can know.
pub fn missing_sectors(model: &Model, volume: usize, node: usize, contents: &[Content]) -> u64 {
    let owed = model.volumes[volume].nodes[node].volatile.iter().zip(contents).enumerate();
    let missing = owed.filter(|(sector, (owed, content))| {
        if **owed <= model.tenure.start {
            return false;
        }
        let shown = model.shown(volume, *sector, **content);
        shown.is_ok_and(|(_, newest)| newest < **owed)
    });
    missing.count() as u64
}

/// The lag that `node` tells covers the bytes that its peer lacks.
///
/// # Errors
/// It does not.
pub fn check(node: usize, missing_bytes: u64, lag: Lag) -> Result<(), Violation> {
    if missing_bytes <= lag.bytes {
        return Ok(());
    }
    let text = format!("node {node} tells {} bytes, its peer lacks {missing_bytes}", lag.bytes);
    Err(Violation::new("P3 honest lag", text))
}
