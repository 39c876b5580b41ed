//! INV-1, INV-2, INV-3, INV-6: an image shows at least what its node owes.

use super::Violation;
use crate::model::Model;
use crate::stamp::{self, Content, SECTOR, WriteId};

/// Every sector of an image of these `contents` shows the write that `floor` names or a newer one.
///
/// # Errors
/// The first sector that does not.
pub fn check(
    model: &Model,
    invariant: &'static str,
    volume: usize,
    contents: &[Content],
    floor: &[WriteId],
    whose: &str,
) -> Result<(), Violation> {
    assert!(contents.len() >= floor.len(), "an image is no smaller than its volume");
    for (sector, (owed, content)) in floor.iter().zip(contents).enumerate() {
        let text = match model.shown(volume, sector, *content) {
            Ok((_, newest)) if newest >= *owed => continue,
            Ok((_, newest)) => format!("shows write {newest}, owes {owed}"),
            Err(text) => text,
        };
        let text = format!("{whose}, volume {volume}, sector {sector} {text}");
        return Err(Violation::new(invariant, text));
    }
    Ok(())
}

/// A read's data: intact, and in every sector at least as new as `floors` says.
///
/// # Errors
/// The first sector that is not.
pub fn check_read(
    model: &Model,
    volume: usize,
    first: usize,
    data: &[u8],
    floors: &[WriteId],
) -> Result<Vec<WriteId>, Violation> {
    let mut seen = Vec::with_capacity(floors.len());
    for (index, (bytes, floor)) in data.chunks_exact(SECTOR).zip(floors).enumerate() {
        let sector = first + index;
        let stale = |text: String| {
            let text = format!("read of volume {volume}, sector {sector} {text}");
            Violation::new("INV-6 stale read", text)
        };
        let content = stamp::read(bytes);
        let rotten = model.volumes[volume].rotten.contains(&sector);
        let content = if rotten { stamp::peek(bytes) } else { content };
        let grown = sector >= model.volumes[volume].first_sectors;
        if content == Content::Garbage && !grown {
            return Err(stale("returned garbage".into()));
        }
        let (_, newest) = model.shown(volume, sector, content).map_err(stale)?;
        if newest < *floor {
            return Err(stale(format!("shows write {newest}, must show {floor} or newer")));
        }
        seen.push(model.oldest_shown(volume, sector, newest, *floor));
    }
    Ok(seen)
}
