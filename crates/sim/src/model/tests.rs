//! What replies and flushes make a node owe, and what faults release.

use super::*;
use crate::stamp::{self, SECTOR, Stamp};

fn model(protocol: Protocol) -> Model {
    let mut model = Model::new(protocol, &[16]);
    model.begin_tenure(0, true);
    model
}

fn write(model: &mut Model, first: usize, replicated: bool) -> WriteId {
    let id = model.submit(0, WriteRecord::new(0, first, 2, false, false));
    model.ack(id, 0, true, replicated);
    id
}

fn owed(model: &Model, node: usize, sector: usize) -> (WriteId, WriteId) {
    let node = &model.volumes[0].nodes[node];
    (node.volatile[sector], node.stable[sector])
}

#[test]
fn a_reply_binds_whom_the_protocol_says() {
    for (protocol, replicated, peer) in [
        (Protocol::A, true, 0),
        (Protocol::B, true, 1),
        (Protocol::C, true, 1),
        (Protocol::C, false, 0),
    ] {
        let mut model = model(protocol);
        write(&mut model, 3, replicated);
        assert_eq!(owed(&model, 0, 4), (1, 0));
        assert_eq!(owed(&model, 1, 4), (peer, 0), "{protocol} {replicated}");
    }
}

#[test]
fn a_flush_makes_earlier_replies_durable_and_power_loss_spares_them() {
    let mut model = model(Protocol::C);
    write(&mut model, 0, true);
    let covered = model.volumes[0].acked[0].len();
    write(&mut model, 1, true);
    model.flushed(0, 0, covered, true, true);
    for node in [0, 1] {
        assert_eq!([owed(&model, node, 0), owed(&model, node, 1)], [(1, 1), (2, 1)]);
        model.volumes[0].nodes[node].lose_power();
        assert_eq!([owed(&model, node, 0), owed(&model, node, 1)], [(1, 1), (1, 1)]);
    }
}

#[test]
fn zeroes_are_at_best_the_newest_write_that_zeroed() {
    let mut model = model(Protocol::C);
    let zero = Content::Zero;
    assert!(model.shown(0, 1, zero).is_err());
    model.submit(0, WriteRecord::new(0, 0, 4, true, false));
    model.submit(0, WriteRecord::new(0, 0, 4, false, false));
    model.submit(0, WriteRecord::new(0, 0, 4, true, false));
    assert_eq!(model.shown(0, 1, zero), Ok((0, 3)));
}

#[test]
fn foreign_and_misplaced_sectors_are_told() {
    let mut model = model(Protocol::C);
    model.submit(0, WriteRecord::new(0, 2, 1, false, false));
    let mut sector = [0; SECTOR];
    Stamp::new(1, 2, 0).fill(&mut sector);
    assert_eq!(model.shown(0, 2, stamp::peek(&sector)), Ok((1, 1)));
    assert!(model.shown(0, 3, stamp::peek(&sector)).is_err());
    Stamp::new(1, 3, 0).fill(&mut sector);
    assert!(model.shown(0, 3, stamp::peek(&sector)).is_err());
    sector[9] ^= 1;
    assert!(model.shown(0, 2, stamp::peek(&sector)).is_err());
}

#[test]
fn without_a_good_disk_the_peer_owes_in_every_protocol() {
    for protocol in [Protocol::A, Protocol::B, Protocol::C] {
        let mut model = model(protocol);
        let id = model.submit(0, WriteRecord::new(0, 0, 1, false, false));
        model.ack(id, 0, false, true);
        assert_eq!([owed(&model, 0, 0), owed(&model, 1, 0)], [(0, 0), (1, 0)]);
        model.flushed(0, 0, 1, false, true);
        assert_eq!([owed(&model, 0, 0), owed(&model, 1, 0)], [(0, 0), (1, 1)]);
    }
}
