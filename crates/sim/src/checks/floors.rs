//! INV-1, INV-2, INV-3, INV-6: an image shows at least what its node owes.

use super::Violation;
use crate::model::Model;
use crate::stamp::{SECTOR, WriteId};

/// Every sector of `image` shows the write that `floor` names or a newer one.
///
/// # Errors
/// The first sector that does not.
pub fn check(
    model: &Model,
    invariant: &'static str,
    volume: usize,
    image: &[u8],
    floor: &[WriteId],
    whose: &str,
) -> Result<(), Violation> {
    for (sector, owed) in floor.iter().enumerate() {
        let bytes = &image[sector * SECTOR..(sector + 1) * SECTOR];
        let text = match model.shown(volume, sector, bytes) {
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
        if crate::stamp::read(bytes) == crate::stamp::Content::Garbage {
            return Err(stale("returned garbage".into()));
        }
        let (_, newest) = model.shown(volume, sector, bytes).map_err(stale)?;
        if newest < *floor {
            return Err(stale(format!("shows write {newest}, must show {floor} or newer")));
        }
        seen.push(model.oldest_shown(volume, sector, newest, *floor));
    }
    Ok(seen)
}
