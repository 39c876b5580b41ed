//! What many stories do and look at: states of both nodes, roles that move, single writes.

use std::time::Duration;

use bytes::Bytes;
use tandem_replica::wire::{DiskState, ReplicationState, VolumeNumber};
use tandem_replica::{Command, ConnectionState, ConnectionStatus, Cookie, RequestOp};

use crate::pair::{CLIENT, Pair};

pub(crate) const VOLUME: VolumeNumber = VolumeNumber(0);

pub(crate) fn disks(pair: &Pair) -> [DiskState; 2] {
    [0, 1].map(|node| pair.nodes[node].resource.status(pair.now).volumes[0].disk)
}

pub(crate) fn connection(pair: &Pair, node: usize) -> ConnectionStatus {
    pair.nodes[node].resource.status(pair.now).connections[0].clone()
}

/// Connected, UpToDate, without bits, and the same.
pub(crate) fn assert_in_sync(pair: &Pair) {
    for node in 0..2 {
        let connection = connection(pair, node);
        assert_eq!(connection.state, ConnectionState::Connected, "node {node}: {connection:?}");
        for device in &connection.peer_devices {
            assert_eq!(device.replication, ReplicationState::Established, "node {node}");
            assert_eq!(device.out_of_sync_bytes, 0, "node {node}");
        }
    }
    assert_eq!(disks(pair), [DiskState::UpToDate; 2]);
    assert!(pair.identical(), "UpToDate on both nodes, and different");
}

pub(crate) fn write_op(offset: u64, byte: u8) -> RequestOp {
    RequestOp::Write { offset, data: Bytes::from(vec![byte; 4096]), fua: false }
}

pub(crate) fn start_write(pair: &mut Pair, node: usize, offset: u64, byte: u8) -> Cookie {
    pair.request(node, 0, write_op(offset, byte))
}

/// Time for what is under way, and no more.
pub(crate) fn short(pair: &mut Pair) {
    pair.run(Duration::from_millis(10));
}

/// Moves the role of Primary to node 1; node 0 is Secondary.
pub(crate) fn swap_roles(pair: &mut Pair) {
    demote(pair, 0);
    promote(pair, 1);
}

pub(crate) fn promote(pair: &mut Pair, node: usize) {
    pair.command(node, Command::Primary { force: false }).unwrap();
    pair.nodes[node].resource.open_client(CLIENT, VOLUME, pair.now).unwrap();
}

/// The node's client goes, and it is Secondary.
pub(crate) fn demote(pair: &mut Pair, node: usize) {
    pair.nodes[node].resource.close_client(CLIENT, pair.now);
    pair.command(node, Command::Secondary { force: false }).unwrap();
}

/// As `swap_roles`; node 1, the new Primary, has no disk.
pub(crate) fn swap_roles_diskless(pair: &mut Pair) {
    demote(pair, 0);
    pair.command(1, Command::Detach { volume: VOLUME, force: false }).unwrap();
    pair.run(Duration::from_secs(5));
    promote(pair, 1);
}
