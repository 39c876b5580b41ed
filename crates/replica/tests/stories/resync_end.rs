//! The end of a resync is told from the target to the source and back. These stories break the link
//! or kill a node there: no node may take its data for newer, or for whole, than they are.

use std::time::Duration;

use tandem_replica::wire::{DiskState, Packet, Protocol, ReplicationState};
use tandem_replica::{ConnectionState, RequestOp, SyncState};

use crate::pair::Pair;
use crate::stage::{connection, demote, disks, promote, short};

/// Node 0 is Primary and source; the link breaks for good when node 1 says that it is UpToDate.
fn end_of_resync_lost() -> Pair {
    let mut pair = Pair::in_sync(1, Protocol::C);
    pair.cut();
    pair.write(0, 0, &[1; 4096]);
    pair.linked = true;
    pair.cut_at = Some((1, |packet| {
        matches!(packet, Packet::State(_, state) if state.disk == DiskState::UpToDate
            && state.replication == ReplicationState::Established)
    }));
    pair.run(Duration::from_secs(60));
    assert!(pair.cut_at.is_none(), "the link broke at the end of the resync");
    assert_eq!(disks(&pair), [DiskState::UpToDate; 2]);
    assert_eq!(connection(&pair, 0).state, ConnectionState::Connecting);
    pair
}

#[test]
fn degraded_writes_behind_a_lost_end_of_resync_survive_a_kill() {
    let mut pair = end_of_resync_lost();
    pair.write(0, 8192, &[2; 4096]);
    let flush = pair.request(0, 0, RequestOp::Flush);
    short(&mut pair);
    assert_eq!(pair.reply(0, flush), Some(Ok(None)));
    pair.kill(0);
    pair.linked = true;
    pair.restart(0);
    pair.run(Duration::from_secs(30));
    assert_eq!(pair.nodes[0].devices[0][8192..12288], [2; 4096], "a flushed write is lost");
}

#[test]
fn split_brain_behind_a_lost_end_of_resync_is_seen() {
    let mut pair = end_of_resync_lost();
    pair.write(0, 8192, &[2; 4096]);
    demote(&mut pair, 0);
    promote(&mut pair, 1);
    pair.write(1, 16384, &[3; 4096]);
    pair.heal();
    let state = connection(&pair, 0).sync_state;
    assert!(matches!(state, SyncState::SplitBrain { .. }), "{state:?}");
    assert_eq!(pair.nodes[0].devices[0][8192..12288], [2; 4096], "overwritten");
}

/// The source missed the end of the resync and crashed; meanwhile the other node served.
#[test]
fn a_source_that_missed_the_end_and_crashed_is_not_up_to_date_by_itself() {
    let mut pair = end_of_resync_lost();
    pair.kill(0);
    promote(&mut pair, 1);
    pair.write(1, 16384, &[3; 4096]);
    pair.restart(0);
    assert_ne!(disks(&pair)[0], DiskState::UpToDate, "older than what the other node serves");
}
