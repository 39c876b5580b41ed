//! What can be done to a pair of nodes, by anybody.

use tandem_replica::ConnectionState;
use tandem_replica::wire::{DiskState, Packet, ReplicationState, Role};

use super::world::World;

/// One move.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Move {
    /// The process starts, attaches and connects.
    Start(usize),
    Promote(usize),
    Force(usize),
    /// Of disks that nobody has written, and that are the same, it is said that they are.
    Equal(usize),
    /// The data get a generation by hand.
    Renew(usize),
    Demote(usize),
    /// A write of the block is replied to.
    Write(usize, usize),
    /// The peer is behind with a write when the link is cut.
    WriteUnseen(usize),
    /// The peer is behind with a write when the node dies, perhaps with its power.
    DieWriting(usize, bool),
    Flush(usize),
    Cut,
    Heal,
    /// The link comes back and is cut where this node would send that packet.
    HealUntil(usize, Point),
    Leave(usize),
    /// Reconnects with `--discard-my-data`.
    Discard(usize),
    Connect(usize),
    /// The node's data are declared wrong.
    Invalidate(usize),
    Kill(usize),
    Power(usize),
    Down(usize),
}

/// Where a handshake, an exchange or the end of a resync is cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Point {
    Report,
    Verdict,
    SyncUuid,
    Bitmap,
    Ready,
    SyncDone,
    Equal,
}

impl Point {
    const ALL: [Self; 7] = [
        Self::Report,
        Self::Verdict,
        Self::SyncUuid,
        Self::Bitmap,
        Self::Ready,
        Self::SyncDone,
        Self::Equal,
    ];

    /// Which packet that is.
    pub(super) fn packet(self) -> fn(&Packet) -> bool {
        match self {
            Self::Report => |packet| matches!(packet, Packet::Uuids(..)),
            Self::Verdict => |packet| matches!(packet, Packet::Verdict(..)),
            Self::SyncUuid => |packet| matches!(packet, Packet::SyncUuid(..)),
            Self::Bitmap => |packet| matches!(packet, Packet::Bitmap { .. }),
            Self::Ready => |packet| is_told(packet, |it| it != ReplicationState::Off),
            Self::SyncDone => |packet| matches!(packet, Packet::SyncDone(..)),
            Self::Equal => |packet| is_told(packet, |it| it == ReplicationState::Established),
        }
    }
}

fn is_told(packet: &Packet, is: fn(ReplicationState) -> bool) -> bool {
    matches!(packet, Packet::State(_, state) if is(state.replication))
}

impl World {
    /// What can be done here.
    pub(super) fn moves(&self) -> Vec<Move> {
        let mut all = Vec::new();
        for node in 0..2 {
            if !self.pair.nodes[node].running {
                all.push(Move::Start(node));
                continue;
            }
            self.moves_of(node, &mut all);
        }
        if self.pair.linked && !self.is_down() {
            all.push(Move::Cut);
        }
        if !self.pair.linked && [0, 1].iter().all(|node| self.pair.nodes[*node].running) {
            all.push(Move::Heal);
            for point in Point::ALL {
                all.extend([0, 1].map(|node| Move::HealUntil(node, point)));
            }
        }
        all
    }

    /// The same without what only a desperate operator does, where something else can be done.
    pub(super) fn usual_moves(&self) -> Vec<Move> {
        let all = self.moves();
        let is_usual =
            |it: &&Move| !matches!(it, Move::Force(_) | Move::Invalidate(_) | Move::Discard(_));
        let usual: Vec<Move> = all.iter().filter(is_usual).copied().collect();
        if usual.is_empty() { all } else { usual }
    }

    fn moves_of(&self, node: usize, all: &mut Vec<Move>) {
        let status = self.status(node);
        let connection = &status.connections[0];
        if status.role == Role::Primary {
            all.extend([Move::Demote(node), Move::Write(node, 0), Move::Write(node, 1)]);
            all.push(Move::Flush(node));
            all.push(Move::DieWriting(node, false));
            all.push(Move::DieWriting(node, true));
            if connection.state == ConnectionState::Connected {
                all.push(Move::WriteUnseen(node));
            }
        } else {
            all.extend([Move::Promote(node), Move::Force(node)]);
        }
        let disk = status.volumes[0].disk;
        if disk == DiskState::Inconsistent && self.shows_the_same() {
            all.push(Move::Equal(node));
        }
        if disk == DiskState::UpToDate && connection.state != ConnectionState::Connected {
            all.push(Move::Renew(node));
        }
        match connection.state {
            ConnectionState::Connected => {
                all.extend([Move::Leave(node), Move::Invalidate(node)]);
            }
            ConnectionState::StandAlone => {
                all.push(Move::Connect(node));
                if status.role != Role::Primary {
                    all.push(Move::Discard(node));
                }
            }
            ConnectionState::Disconnecting
            | ConnectionState::Unconnected
            | ConnectionState::Connecting => {}
        }
        all.extend([Move::Kill(node), Move::Power(node), Move::Down(node)]);
    }
}
