//! INV-5: what a Secondary shows is a prefix of the Primary's order, over all its volumes.
//!
//! If it shows a write that was submitted after another's reply, it shows that other one, or what
//! replaced it. While it keeps power every reply is such a boundary; across its power loss only
//! FLUSH and FUA are (SEMANTICS rule 3). Writes of earlier tenures are what floors are for.
//!
//! A power loss leaves each sector of the cache old or new on its own, so the check covers every
//! image that one may leave, not one of them: what any sector may newly show is held against what
//! any other one may have lost.

use super::Violation;
use crate::model::{Model, WriteRecord};
use crate::stamp::{Content, WriteId};

/// Which boundaries are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Boundary {
    /// Every reply.
    Reply,
    /// Flushes and FUA writes.
    Flush,
}

/// What a volume of a Secondary shows, and what it may show instead after a power loss.
#[derive(Clone, Debug)]
pub struct Image<'a> {
    /// Which volume.
    pub volume: usize,
    /// By sector.
    pub contents: &'a [Content],
    /// Sectors that may go back to this.
    pub may_return: Vec<(usize, Content)>,
    /// Sectors that may come to show this.
    pub may_land: Vec<(usize, Content)>,
}

/// A sector that shows a write of this tenure.
#[derive(Clone, Copy, Debug, Default)]
struct Witness {
    submitted: u64,
    id: WriteId,
    place: (usize, usize),
    /// Moment before which the newest flush that it implies was asked.
    flushed: u64,
}

/// These images of one node are a prefix, in all they may turn into.
///
/// # Errors
/// The first sector that lacks a write that something newer implies.
pub fn check(model: &Model, images: &[Image<'_>], boundary: Boundary) -> Result<(), Violation> {
    let witnesses = newest(model, images).map_err(garbage)?;
    for image in images {
        let shown = image.contents.iter().copied().enumerate();
        for (sector, content) in shown.chain(image.may_return.iter().copied()) {
            let place = (image.volume, sector);
            // No sector is a witness against itself.
            let witness = witnesses[usize::from(witnesses[0].place == place)];
            check_sector(model, place, content, witness, boundary)?;
        }
    }
    Ok(())
}

/// The sector that may show the newest write, and the newest of all others.
fn newest(model: &Model, images: &[Image<'_>]) -> Result<[Witness; 2], String> {
    let mut found = [Witness::default(); 2];
    for image in images {
        let shown = image.contents.iter().copied().enumerate();
        for (sector, content) in shown.chain(image.may_land.iter().copied()) {
            let (id, _) = model.shown(image.volume, sector, content)?;
            // Writes are named in order of submission.
            if id <= model.tenure.start.max(found[1].id) {
                continue;
            }
            let WriteRecord { node, submitted, .. } = model.writes[id as usize];
            if model.tenure.node != Some(node) {
                continue;
            }
            let place = (image.volume, sector);
            let witness = Witness { submitted, id, place, flushed: 0 };
            if id > found[0].id {
                if found[0].place != place {
                    found[1] = found[0];
                }
                found[0] = witness;
            } else if place != found[0].place {
                found[1] = witness;
            }
        }
    }
    for witness in &mut found {
        let implied = model.tenure.flushes.iter().filter(|(_, acked)| *acked < witness.submitted);
        witness.flushed = implied.map(|(submitted, _)| *submitted).max().unwrap_or(0);
    }
    Ok(found)
}

fn check_sector(
    model: &Model,
    (volume, sector): (usize, usize),
    content: Content,
    witness: Witness,
    boundary: Boundary,
) -> Result<(), Violation> {
    let required = |record: &WriteRecord| {
        // What the other node wrote meanwhile, in a split brain, is in no order with this.
        let Some(acked) = record.acked.filter(|_| model.tenure.node == Some(record.node)) else {
            return false;
        };
        match boundary {
            Boundary::Reply => acked < witness.submitted,
            Boundary::Flush => acked < witness.flushed || (record.fua && acked < witness.submitted),
        }
    };
    let (_, newest) = model.shown(volume, sector, content).map_err(garbage)?;
    if model.volumes[volume].is_latest(sector, newest) {
        return Ok(());
    }
    let missing = (model.volumes[volume].history[sector].iter().rev())
        .take_while(|id| **id > model.tenure.start.max(newest))
        .find(|id| required(&model.writes[**id as usize]));
    let Some(id) = missing else { return Ok(()) };
    let text = format!(
        "volume {} shows write {}, but sector {sector} of volume {volume} shows {newest}, not {id} \
         ({boundary:?} before it)",
        witness.place.0, witness.id
    );
    Err(Violation::new("INV-5 prefix", text))
}

fn garbage(text: String) -> Violation {
    Violation::new("INV-5 prefix", text)
}

#[cfg(test)]
mod tests {
    use tandem_wire::Protocol;

    use super::*;

    /// Writes 1, 2, 3 one after the other, each to a sector of its own; a flush behind the first.
    fn world() -> (Model, Vec<Content>) {
        let mut model = Model::new(Protocol::A, &[4]);
        model.begin_tenure(0, true);
        for sector in 0..3 {
            let id = model.submit(0, WriteRecord::new(0, sector, 1, false, false));
            model.ack(id, 0, true, true);
            if sector == 0 {
                let flush = (model.tick(), model.tick());
                model.tenure.flushes.push(flush);
            }
        }
        let contents = (0..4).map(|sector| Content::Written(0, sector)).collect();
        (model, contents)
    }

    fn put(contents: &mut [Content], id: WriteId, sector: usize) {
        contents[sector] = Content::Written(id, sector as u64);
    }

    fn image(contents: &[Content]) -> Image<'_> {
        Image { volume: 0, contents, may_return: Vec::new(), may_land: Vec::new() }
    }

    #[test]
    fn prefixes_pass_and_holes_do_not() {
        let (model, mut contents) = world();
        let check =
            |contents: &[Content], boundary| check(&model, &[image(contents)], boundary).is_ok();
        assert!(check(&contents, Boundary::Reply));
        put(&mut contents, 1, 0);
        assert!(check(&contents, Boundary::Reply));
        put(&mut contents, 3, 2);
        assert!(!check(&contents, Boundary::Reply), "2 is missing");
        assert!(check(&contents, Boundary::Flush), "no flush before 3 but the first");
        put(&mut contents, 0, 0);
        assert!(!check(&contents, Boundary::Flush), "1 was flushed");
    }

    #[test]
    fn every_image_that_a_power_loss_may_leave_counts() {
        let (model, mut contents) = world();
        for (id, sector) in [(1, 0), (2, 1)] {
            put(&mut contents, id, sector);
        }
        let mut whole = image(&contents);
        let may = |sector: usize| vec![(sector, Content::Written(0, sector as u64))];
        assert!(check(&model, &[whole.clone()], Boundary::Flush).is_ok());
        whole.may_return = may(1);
        assert!(check(&model, &[whole.clone()], Boundary::Flush).is_ok(), "2 was not flushed");
        whole.may_return = may(0);
        assert!(check(&model, &[whole.clone()], Boundary::Flush).is_err(), "1 was");
        let old: Vec<Content> = (0..4).map(|sector| Content::Written(0, sector)).collect();
        let mut landing = image(&old);
        assert!(check(&model, &[landing.clone()], Boundary::Flush).is_ok());
        landing.may_land = vec![(2, Content::Written(3, 2))];
        assert!(check(&model, &[landing], Boundary::Flush).is_err(), "3 lands before the flush");
    }

    #[test]
    fn the_order_is_one_over_all_volumes() {
        let mut model = Model::new(Protocol::A, &[2, 2]);
        model.begin_tenure(0, true);
        for volume in [0, 1] {
            let id = model.submit(0, WriteRecord::new(volume, 0, 1, false, false));
            model.ack(id, 0, true, true);
        }
        let old: Vec<Content> = (0..2).map(|sector| Content::Written(0, sector)).collect();
        let mut new = old.clone();
        put(&mut new, 2, 0);
        let image = |volume, contents| Image {
            volume,
            contents,
            may_return: Vec::new(),
            may_land: Vec::new(),
        };
        let both = |first, second| [image(0, first), image(1, second)];
        assert!(check(&model, &both(&old, &old), Boundary::Reply).is_ok());
        assert!(check(&model, &both(&old, &new), Boundary::Reply).is_err(), "1 lies on the other");
    }
}
