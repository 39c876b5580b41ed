//! INV-5: what a Secondary shows is a prefix of the Primary's order.
//!
//! If it shows a write that was submitted after another's reply, it shows that other one, or what
//! replaced it. While it keeps power every reply is such a boundary; across its power loss only
//! FLUSH and FUA are (SEMANTICS rule 3). Writes of earlier tenures are what floors are for.

use super::Violation;
use crate::model::{Model, WriteRecord};
use crate::stamp::Content;

/// Which boundaries are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Boundary {
    /// Every reply.
    Reply,
    /// Flushes and FUA writes.
    Flush,
}

/// An image of these `contents` of a Secondary is a prefix.
///
/// # Errors
/// The first sector that lacks a write that something newer implies.
pub fn check(
    model: &Model,
    volume: usize,
    contents: &[Content],
    boundary: Boundary,
) -> Result<(), Violation> {
    let garbage = |text| Violation::new("INV-5 prefix", text);
    let mut latest = 0;
    let mut witness = 0;
    for (sector, content) in contents.iter().enumerate() {
        let (oldest, _) = model.shown(volume, sector, *content).map_err(garbage)?;
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
    for (sector, content) in contents.iter().enumerate() {
        let (_, newest) = model.shown(volume, sector, *content).map_err(garbage)?;
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
    use crate::stamp::WriteId;

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

    #[test]
    fn prefixes_pass_and_holes_do_not() {
        let (model, mut contents) = world();
        let check = |contents: &[Content], boundary| check(&model, 0, contents, boundary).is_ok();
        assert!(check(&contents, Boundary::Reply));
        put(&mut contents, 1, 0);
        assert!(check(&contents, Boundary::Reply));
        put(&mut contents, 3, 2);
        assert!(!check(&contents, Boundary::Reply), "2 is missing");
        assert!(check(&contents, Boundary::Flush), "no flush before 3 but the first");
        put(&mut contents, 0, 0);
        assert!(!check(&contents, Boundary::Flush), "1 was flushed");
    }
}
