//! INV-5: what a Secondary shows is a prefix of the Primary's order.
//!
//! If it shows a write that was submitted after another's reply, it shows that other one, or what
//! replaced it. While it keeps power every reply is such a boundary; across its power loss only
//! FLUSH and FUA are (SEMANTICS rule 3). Writes of earlier tenures are what floors are for.

use super::Violation;
use crate::model::{Model, WriteRecord};
use crate::stamp::SECTOR;

/// Which boundaries are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Boundary {
    /// Every reply.
    Reply,
    /// Flushes and FUA writes.
    Flush,
}

/// `image` of a Secondary is a prefix.
///
/// # Errors
/// The first sector that lacks a write that something newer implies.
pub fn check(
    model: &Model,
    volume: usize,
    image: &[u8],
    sectors: usize,
    boundary: Boundary,
) -> Result<(), Violation> {
    let sector_bytes = |sector: usize| &image[sector * SECTOR..(sector + 1) * SECTOR];
    let garbage = |text| Violation::new("INV-5 prefix", text);
    let mut latest = 0;
    let mut witness = 0;
    for sector in 0..sectors {
        let (oldest, _) = model.shown(volume, sector, sector_bytes(sector)).map_err(garbage)?;
        let submitted = model.writes[oldest as usize].submitted;
        let own = model.tenure.node == Some(model.writes[oldest as usize].node);
        if own && oldest > model.tenure.start && submitted > latest {
            (latest, witness) = (submitted, oldest);
        }
    }
    let flushed = (model.tenure.flushes.iter())
        .filter(|(_, acked)| *acked < latest)
        .map(|(submitted, _)| *submitted)
        .max()
        .unwrap_or(0);
    let required = |record: &WriteRecord| {
        // What the other node wrote meanwhile, in a split brain, is in no order with this.
        let Some(acked) = record.acked.filter(|_| model.tenure.node == Some(record.node)) else {
            return false;
        };
        match boundary {
            Boundary::Reply => acked < latest,
            Boundary::Flush => acked < flushed || (record.fua && acked < latest),
        }
    };
    for sector in 0..sectors {
        let (_, newest) = model.shown(volume, sector, sector_bytes(sector)).map_err(garbage)?;
        let missing = (model.volumes[volume].history[sector].iter().rev())
            .take_while(|id| **id > model.tenure.start.max(newest))
            .find(|id| required(&model.writes[**id as usize]));
        if let Some(id) = missing {
            let text = format!(
                "volume {volume} shows write {witness}, but sector {sector} shows \
                 {newest}, not {id} ({boundary:?} before it)"
            );
            return Err(Violation::new("INV-5 prefix", text));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use tandem_wire::Protocol;

    use super::*;
    use crate::stamp;

    /// Writes 1, 2, 3 one after the other, each to a sector of its own; a flush behind the first.
    fn world() -> (Model, Vec<u8>) {
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
        let mut image = vec![0; 4 * SECTOR];
        for sector in 0..4 {
            put(&mut image, 0, sector);
        }
        (model, image)
    }

    fn put(image: &mut [u8], id: stamp::WriteId, sector: usize) {
        let bytes = &mut image[sector * SECTOR..(sector + 1) * SECTOR];
        stamp::write(bytes, id, sector as u64, 0);
    }

    #[test]
    fn prefixes_pass_and_holes_do_not() {
        let (model, mut image) = world();
        let check = |image: &[u8], boundary| check(&model, 0, image, 4, boundary).is_ok();
        assert!(check(&image, Boundary::Reply));
        put(&mut image, 1, 0);
        assert!(check(&image, Boundary::Reply));
        put(&mut image, 3, 2);
        assert!(!check(&image, Boundary::Reply), "2 is missing");
        assert!(check(&image, Boundary::Flush), "no flush before 3 but the first");
        put(&mut image, 0, 0);
        assert!(!check(&image, Boundary::Flush), "1 was flushed");
    }
}
