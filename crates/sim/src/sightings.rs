//! Where marks are hit: what goes over the boundary is looked at, and nothing is changed.

use tandem_replica::{Command, Handler, RequestOp};
use tandem_wire::{ByteRange, DiskState, Packet, ReplicationState, Role, Vote};

use crate::eviction::Evictions;
use crate::marks::Mark;
use crate::stamp::SECTOR;
use crate::view::View;
use crate::world::World;

/// Bytes from which a request counts as long.
const LONG_BYTES: u64 = 512 << 10;
/// Sectors in a cache whose images could all be tried.
const FEW_SECTORS: usize = 8;

impl World {
    /// A request is about to be handed in.
    pub(crate) fn saw_request(&mut self, node: usize, volume: usize, op: &RequestOp) {
        let marks = &mut self.marks;
        let meets = |range: ByteRange| {
            let first = usize::try_from(range.offset).expect("small") / SECTOR;
            self.clients.meets(&self.model, volume, first, range.len as usize / SECTOR)
        };
        match op {
            RequestOp::Read(range) => marks.hit_if(meets(*range), Mark::ReadWhileWritten),
            RequestOp::Write { offset, data, fua } => {
                let range = ByteRange::new(*offset, u32::try_from(data.len()).expect("short"));
                marks.hit_if(*fua, Mark::FuaWrite);
                marks.hit_if(!is_whole(range), Mark::UnalignedWrite);
                marks.hit_if(u64::from(range.len) >= LONG_BYTES, Mark::LongRequest);
                marks.hit_if(meets(range), Mark::WriteWhileWritten);
            }
            RequestOp::Trim { range, .. } => {
                marks.hit_if(!is_whole(*range), Mark::UnalignedTrim);
                marks.hit_if(range.len < 4096, Mark::TrimOfNothing);
                marks.hit_if(meets(*range), Mark::TrimWhileWritten);
            }
            RequestOp::Zeroes { range, .. } => {
                marks.hit_if(meets(*range), Mark::TrimWhileWritten);
            }
            RequestOp::Flush => {
                let busy = self.clients.pending.values().any(|pending| pending.node == node);
                marks.hit_if(busy, Mark::FlushWhileWriting);
            }
        }
    }

    /// A request that was left unanswered on node `before` is about to be asked again.
    pub(crate) fn saw_replay(&mut self, node: usize, before: usize, _op: &RequestOp) {
        let stuck = self.nodes[node].view.volumes.iter().any(|volume| volume.pending > 0);
        self.marks.hit_if(node == before && stuck, Mark::ReplayMeetsCopy);
        self.marks.hit_if(node != before, Mark::ReplayedElsewhere);
    }

    /// A command is about to be given.
    pub(crate) fn saw_command(&mut self, node: usize, command: Command) {
        let mut others = self.operator.pending.values().filter(|(on, _, _)| *on != node);
        if matches!(command, Command::Primary { .. }) {
            let crossed = others.any(|(_, other, _)| matches!(other, Command::Primary { .. }));
            self.marks.hit_if(crossed, Mark::PromotionsCross);
        } else if matches!(command, Command::Disconnect { .. }) {
            let crossed = others.any(|(_, other, _)| matches!(other, Command::Disconnect { .. }));
            self.marks.hit_if(crossed, Mark::DisconnectsCross);
        }
    }

    /// A packet goes out.
    #[expect(clippy::wildcard_enum_match_arm, reason = "most packets are nothing special")]
    pub(crate) fn saw_sending(&mut self, node: usize, packet: &Packet) {
        let marks = &mut self.marks;
        match packet {
            Packet::RsDataRequest { volume, range, .. }
            | Packet::CsumRsRequest { volume, range, .. } => {
                self.cursors[usize::from(volume.0)][node] = Some(range.offset);
            }
            Packet::DataRequest { .. } => marks.hit(Mark::RemoteRead),
            Packet::NegAck { .. }
            | Packet::NegDataReply { .. }
            | Packet::NegRsDataReply { .. }
            | Packet::NegFlushAck { .. } => marks.hit(Mark::NegativeReply),
            Packet::Flush { .. } => marks.hit(Mark::PeerFlush),
            Packet::RsIsInSync { .. } => marks.hit(Mark::ChecksumSame),
            Packet::OvResult(..) => marks.hit(Mark::VerifyFound),
            Packet::NegOvReply { .. } => marks.hit(Mark::VerifyCannotRead),
            Packet::PrepareReply { vote, .. } => marks.hit_if(*vote != Vote::Yes, Mark::VotedNo),
            _ => {}
        }
    }

    /// A packet is about to reach `node`.
    #[expect(clippy::wildcard_enum_match_arm, reason = "most packets are nothing special")]
    pub(crate) fn saw_packet(&mut self, node: usize, packet: &Packet) {
        let marks = &mut self.marks;
        match packet {
            Packet::Write(write) => {
                let volume = usize::from(write.volume.0);
                let met = self.nodes[node].disks[volume].writes_meet(write.range);
                marks.hit_if(met, Mark::PeerWriteOverlaps);
                self.nodes[node].holds_write |= met;
                let paused = ReplicationState::PausedSyncT;
                let is_paused = self.nodes[node].view.volumes[volume].replication == paused;
                marks.hit_if(is_paused, Mark::WriteToPausedTarget);
                if let Some(cursor) = self.cursors[volume][node] {
                    let behind = write.range.offset < cursor;
                    marks.hit_if(behind, Mark::WriteBehindCursor);
                    marks.hit_if(!behind, Mark::WriteAheadOfCursor);
                }
            }
            Packet::Barrier(_) => {
                let writes = self.nodes[node].disks.iter().any(|disk| disk.in_flight() > 0);
                marks.hit_if(writes, Mark::BarrierWhileWriting);
                let held = std::mem::take(&mut self.nodes[node].holds_write);
                marks.hit_if(writes && held, Mark::BarrierWithHeldWrite);
            }
            Packet::RsDataRequest { volume, range, .. }
            | Packet::CsumRsRequest { volume, range, .. }
            | Packet::OvRequest { volume, range, .. } => {
                let first = usize::try_from(range.offset).expect("small") / SECTOR;
                let count = range.len as usize / SECTOR;
                let volume = usize::from(volume.0);
                let met = self.clients.meets(&self.model, volume, first, count);
                let verify = matches!(packet, Packet::OvRequest { .. });
                let mark = if verify { Mark::VerifyMeetsWrite } else { Mark::ResyncReadMeetsWrite };
                marks.hit_if(met, mark);
            }
            Packet::RsDeallocated { .. } => marks.hit(Mark::ZeroesNotSent),
            Packet::OutOfSync(volume, range) => {
                let cursor = self.cursors[usize::from(volume.0)][node];
                let behind = cursor.is_some_and(|cursor| range.offset < cursor);
                marks.hit_if(behind, Mark::BitSetBehindCursor);
            }
            _ => {}
        }
    }

    /// A node is about to die.
    pub(crate) fn saw_crash(&mut self, node: usize, power: bool) {
        let target = &self.nodes[node];
        let view = &target.view;
        let is =
            |state: ReplicationState| view.volumes.iter().any(|volume| volume.replication == state);
        let wants = |role: fn(&Command) -> bool| {
            (self.operator.pending.values()).any(|(on, command, _)| *on == node && role(command))
        };
        let primary = view.role == Role::Primary;
        let greeting = target.session.is_some() && !view.is_connected();
        let cached: usize = target.disks.iter().map(|disk| disk.cached_sectors()).sum();
        let follows = self.model.volumes.iter().any(|volume| volume.nodes[node].follows);
        let verified = view.volumes.iter().any(|volume| volume.verifying.is_some());
        let evicted = target.evictions.iter().any(Evictions::is_last);
        let marks = &mut self.marks;
        marks.hit_if(evicted && primary, Mark::EvictThenCrash);
        marks.hit_if(is(ReplicationState::Behind), Mark::KilledWhileBehind);
        marks.hit_if(view.suspended.fencing, Mark::KilledWhileFrozen);
        marks.hit_if(verified, Mark::KilledInVerify);
        marks.hit_if(target.stopped.is_some(), Mark::KilledWhileStopped);
        marks.hit_if(greeting && primary, Mark::PrimaryKilledInHandshake);
        marks.hit_if(greeting && !primary, Mark::SecondaryKilledInHandshake);
        marks.hit_if(is(ReplicationState::SyncSource), Mark::KilledAsSource);
        marks.hit_if(is(ReplicationState::SyncTarget), Mark::KilledAsTarget);
        let paused = is(ReplicationState::PausedSyncS) || is(ReplicationState::PausedSyncT);
        marks.hit_if(paused, Mark::KilledWhilePaused);
        let exchanging = is(ReplicationState::WFBitMapS) || is(ReplicationState::WFBitMapT);
        marks.hit_if(exchanging, Mark::KilledInBitmapExchange);
        let promotes = wants(|command| matches!(command, Command::Primary { .. }));
        marks.hit_if(promotes, Mark::KilledWhilePromoting);
        let demotes = wants(|command| matches!(command, Command::Secondary { .. }));
        marks.hit_if(demotes, Mark::KilledWhileDemoting);
        let attaches = wants(|command| matches!(command, Command::Attach { .. }));
        marks.hit_if(attaches, Mark::KilledWhileAttaching);
        let busy = self.clients.pending.values().any(|pending| pending.node == node);
        marks.hit_if(busy, Mark::KilledWithRequests);
        let flying = |what: fn(&tandem_replica::DiskOpKind) -> bool| {
            target.disks.iter().any(|disk| disk.flies(what))
        };
        let meta = flying(|kind| matches!(kind, tandem_replica::DiskOpKind::MetaWrite { .. }));
        marks.hit_if(meta, Mark::KilledWithMetaWrite);
        let transaction = flying(|kind| {
            matches!(kind, tandem_replica::DiskOpKind::MetaWrite { data, .. }
                if Evictions::is_transaction(data))
        });
        marks.hit_if(transaction, Mark::KilledWithTransaction);
        let flush = flying(|kind| matches!(kind, tandem_replica::DiskOpKind::Flush));
        marks.hit_if(flush, Mark::KilledWithFlush);
        marks.hit_if(power && cached > 0, Mark::PowerLostWithCache);
        let few = (1..=FEW_SECTORS).contains(&cached);
        marks.hit_if(power && few, Mark::PowerLostWithFewSectors);
        marks.hit_if(power && follows, Mark::PowerLostWhileFollowing);
        marks.hit_if(self.nodes[1 - node].resource.is_none(), Mark::BothDead);
    }

    /// A node tells its operator something.
    pub(crate) fn saw_notice(&mut self, handler: Option<Handler>, text: &str) {
        let marks = &mut self.marks;
        marks.hit_if(handler == Some(Handler::LocalIoError), Mark::LocalIoError);
        marks.hit_if(handler == Some(Handler::UnfencePeer), Mark::PeerUnfenced);
        marks.hit_if(text.ends_with("written again from the peer"), Mark::ReadRepaired);
    }

    /// A node ends its session, and says why.
    pub(crate) fn saw_hang_up(&mut self, node: usize) {
        let Some(resource) = self.nodes[node].resource.as_ref() else { return };
        let status = resource.status(self.now());
        let reason = status.connections[0].reason.as_deref().unwrap_or_default();
        let changed = reason == "a new generation begins in the handshake"
            || reason == "this node changed in the handshake";
        self.marks.hit_if(changed, Mark::ChangedInHandshake);
        let repairs = reason == "blocks found out of sync are to be repaired";
        self.marks.hit_if(repairs, Mark::VerifyRepaired);
    }

    /// A node's states have changed.
    pub(crate) fn saw_change(&mut self, node: usize, before: &View, after: &View) {
        let growing = self.is_growing();
        let peer = &self.nodes[1 - node].view;
        let marks = &mut self.marks;
        let lost = before.is_connected() && !after.is_connected();
        marks.hit_if(lost && growing, Mark::LinkLostWhileGrowing);
        marks.hit_if(after.is_split() && !before.is_split(), Mark::SplitBrainSeen);
        let frozen = after.suspended.fencing && !before.suspended.fencing;
        marks.hit_if(frozen, Mark::FrozenForFence);
        let promoted = before.role != Role::Primary && after.role == Role::Primary;
        marks.hit_if(promoted && after.is_connected(), Mark::PromotedConnected);
        marks.hit_if(promoted && !after.is_connected(), Mark::PromotedAlone);
        for (volume, is) in after.volumes.iter().enumerate() {
            let was = before.volumes[volume];
            let lost = was.verifying.is_some() && is.replication == ReplicationState::Off;
            marks.hit_if(lost, Mark::VerifyInterrupted);
            marks.hit_if(promoted && is.verifying.is_some(), Mark::RolesMovedInVerify);
            let connected = before.is_connected() && after.is_connected();
            let without = |disk: DiskState| disk == DiskState::Diskless;
            let gone = !without(was.disk) && without(is.disk);
            marks.hit_if(connected && gone, Mark::DetachedConnected);
            let came = without(was.disk) && !without(is.disk);
            marks.hit_if(connected && came, Mark::AttachedConnected);
            let unsure = is.disk == DiskState::Consistent && was.disk != is.disk;
            marks.hit_if(unsure, Mark::ConsistentAfterCrash);
            if was.replication == is.replication {
                continue;
            }
            marks.hit_if(is.replication == ReplicationState::Ahead, Mark::PulledAhead);
            if is.replication == ReplicationState::SyncTarget {
                let behind = was.replication == ReplicationState::Behind;
                marks.hit_if(behind, Mark::CaughtUp);
                self.cursors[volume][node] = None;
                marks.hit(Mark::ResyncBegan);
                marks.hit_if(is.dirty_blocks * 4096 >= is.size, Mark::ResyncOfEverything);
                let tenure = self.model.tenure.node == Some(node);
                marks.hit_if(tenure, Mark::ResyncTurned);
            }
            if was.replication == ReplicationState::SyncTarget {
                self.cursors[volume][node] = None;
                let done = is.replication == ReplicationState::Established;
                marks.hit_if(done, Mark::ResyncEnded);
                marks.hit_if(!done, Mark::ResyncInterrupted);
            }
            let source_lost = was.replication == ReplicationState::SyncSource
                && is.replication == ReplicationState::Off
                && peer.volumes[volume].replication == ReplicationState::Established;
            marks.hit_if(source_lost, Mark::AckLostAtResyncEnd);
        }
    }
}

fn is_whole(range: ByteRange) -> bool {
    range.offset.is_multiple_of(4096) && range.len.is_multiple_of(4096)
}
