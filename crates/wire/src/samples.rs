//! One packet of each kind, with every field set to something of its own, and any packet at all.

use bytes::Bytes;
use proptest::prelude::*;
use proptest::sample::select;

use crate::kind::Kind;
use crate::limits::{BITMAP_BYTES_MAX, DATA_BYTES_MAX, DIGEST_BYTES, VOLUME_NUMBER_MAX};
use crate::packet::*;
use crate::policy::*;
use crate::types::*;

/// What the packets are filled with.
#[derive(Clone, Debug)]
struct Fields {
    volume: VolumeNumber,
    id: RequestId,
    epoch: Epoch,
    /// Of trims, zeroes and marks.
    range: ByteRange,
    /// Of reads.
    read: ByteRange,
    write_offset: u64,
    data: Bytes,
    piece: Bytes,
    settings: ProtocolSettings,
    sizes: Sizes,
    uuids: Uuids,
    state: State,
    change: Change,
    vote: Vote,
    verdict: Verdict,
    whose: Invalidated,
    flags: [bool; 4],
}

impl Fields {
    fn fixed() -> Self {
        let range = ByteRange { offset: 0x2122_2324_2526_2728, len: 0x3132 };
        Self {
            volume: VolumeNumber(0x0102),
            id: RequestId(0x1112_1314_1516_1718),
            epoch: Epoch(0x7172_7374),
            range,
            read: range,
            write_offset: range.offset,
            data: Bytes::from_static(b"block data"),
            piece: Bytes::from_static(&[7, 8, 9]),
            settings: ProtocolSettings {
                protocol: Protocol::C,
                discard_my_data: true,
                in_use: true,
                volumes: 0x0304,
                policies: Policies {
                    after_sb_0pri: AfterSplitBrain0Pri::DiscardNode(NodeId(7)),
                    after_sb_1pri: AfterSplitBrain1Pri::DiscardSecondary,
                    after_sb_2pri: AfterSplitBrain2Pri::CallPriLostAfterSb,
                    always_asbp: false,
                    rr_conflict: RoleConflict::RetryConnect,
                },
            },
            sizes: Sizes {
                capacity: 0x4142_4344_4546_4748,
                effective: 0x5152_5354,
                block_size: 512,
                shown: 0x6162_6364,
            },
            uuids: Uuids {
                current: Uuid(0xa0),
                bitmap: Uuid(0xb0),
                history: [0xc0, 0xc1, 0xc2, 0xc3, 0xc4, 0xc5, 0xc6, 0xc7].map(Uuid),
                dirty_blocks: 0xd0,
                last_session: 0xe0,
                flags: UuidFlags {
                    crashed_primary: true,
                    lost_power: false,
                    reconnect: true,
                    last_session_async: false,
                    last_session_memory: true,
                    bitmap_alias: false,
                    was_primary: true,
                    went_on: false,
                },
                exposed: Uuid(0xf1),
            },
            state: State {
                role: Role::Primary,
                disk: DiskState::UpToDate,
                replication: ReplicationState::SyncSource,
                pauses_resync: true,
            },
            change: Change::Disconnect,
            whose: Invalidated::ReceiverByBits,
            vote: Vote::NeedUpToDate,
            verdict: Verdict::Target,
            flags: [true; 4],
        }
    }

    /// One packet of each kind, in the order of `Kind::ALL`.
    fn packets(&self) -> Vec<Packet> {
        let packets =
            [self.handshake(), self.stream(), self.acks(), self.digests(), self.operators()]
                .concat();
        assert_eq!(packets.len(), Kind::ALL.len());
        packets
    }

    fn handshake(&self) -> Vec<Packet> {
        let (volume, id) = (self.volume, self.id);
        vec![
            Packet::Protocol(self.settings),
            Packet::Sizes(volume, self.sizes),
            Packet::Uuids(volume, self.uuids),
            Packet::State(volume, self.state),
            Packet::SyncUuid(volume, Uuid(0xf0 ^ self.write_offset ^ 0x2122_2324_2526_2728)),
            Packet::Bitmap {
                volume,
                first_block: 0x6162_6364,
                last: self.flags[0],
                piece: self.piece.clone(),
            },
            Packet::SyncDone(volume, Uuid(0xf1)),
            Packet::Prepare { id, change: self.change },
            Packet::PrepareReply { id, vote: self.vote },
            Packet::Commit { id },
            Packet::Abort { id },
            Packet::Verdict(volume, self.verdict),
        ]
    }

    fn stream(&self) -> Vec<Packet> {
        let Self { volume, id, epoch, range, read, .. } = *self;
        let data = self.data.clone();
        let write =
            |fua, range, kind| Packet::Write(PeerWrite { volume, range, id, epoch, fua, kind });
        let len = u32::try_from(data.len()).unwrap();
        let written = ByteRange { offset: self.write_offset, len };
        let trimmed = ByteRange { offset: self.write_offset, len: u32::MAX };
        let keep_space = self.flags[1];
        vec![
            write(self.flags[2], written, WriteKind::Data(data.clone())),
            write(!self.flags[2], trimmed, WriteKind::Trim),
            write(self.flags[3], range, WriteKind::Zeroes { keep_space }),
            Packet::Flush { id, epoch },
            Packet::Barrier(BarrierNumber(0x81)),
            Packet::OutOfSync(volume, range),
            Packet::DataRequest { volume, range: read, id },
            Packet::DataReply { id, data: data.clone() },
            Packet::NegDataReply { id },
            Packet::RsDataRequest { volume, range: read, id, thin: !self.flags[3] },
            Packet::RsDataReply { id, data },
            Packet::NegRsDataReply { id },
            Packet::RsDeallocated { id },
            Packet::BitmapAck(volume),
        ]
    }

    fn acks(&self) -> Vec<Packet> {
        let id = self.id;
        vec![
            Packet::RsWriteAck { id },
            Packet::RecvAck { id },
            Packet::WriteAck { id },
            Packet::NegAck { id },
            Packet::FlushAck { id },
            Packet::NegFlushAck { id },
            Packet::BarrierAck(BarrierNumber(0x82)),
            Packet::Ping,
            Packet::PingAck,
        ]
    }

    fn digests(&self) -> Vec<Packet> {
        let Self { volume, id, range, read, .. } = *self;
        let digests = Bytes::from(vec![0xd1; DIGEST_BYTES]);
        vec![
            Packet::CsumRsRequest { volume, range: read, id, digests: digests.clone() },
            Packet::RsIsInSync { id },
            Packet::OvRequest { volume, range: read, id },
            Packet::OvReply { id, digests },
            Packet::OvResult(volume, range),
            Packet::NegOvReply { id },
        ]
    }

    fn operators(&self) -> Vec<Packet> {
        let Self { volume, id, whose, vote, .. } = *self;
        vec![
            Packet::CatchUp(volume, Uuid(0xf2)),
            Packet::Invalidate { id, volume, whose },
            Packet::Resize { id, volume },
            Packet::ResizeReply { id, capacity: self.sizes.capacity, vote },
        ]
    }
}

/// One packet of each kind, in the order of `Kind::ALL`.
pub(crate) fn one_of_each() -> Vec<(Kind, Packet)> {
    Kind::ALL.iter().copied().zip(Fields::fixed().packets()).collect()
}

/// Any packet, as long as its own rule allows it to be sent.
pub(crate) fn any_packet() -> impl Strategy<Value = Packet> {
    (any_fields(), 0..Kind::ALL.len())
        .prop_map(|(fields, index)| fields.packets().swap_remove(index))
}

prop_compose! {
    fn any_range(len_max: u32)(len in 1..=len_max, offset: u64) -> ByteRange {
        ByteRange { offset: offset.min(u64::MAX - u64::from(len)), len }
    }
}

prop_compose! {
    fn any_fields()(
        numbers in (0..=VOLUME_NUMBER_MAX, any::<u64>(), any::<u32>()),
        range in any_range(u32::MAX),
        read in any_range(DATA_BYTES_MAX),
        data in any_bytes(1, DATA_BYTES_MAX),
        piece in any_bytes(1, BITMAP_BYTES_MAX),
        records in (any_settings(), any_sizes(), any_uuids(), any_state()),
        change in select(vec![Change::Promote, Change::Disconnect]),
        vote in select(vec![
            Vote::Yes, Vote::PeerIsPrimary, Vote::Concurrent, Vote::NeedUpToDate,
        ]),
        verdict in select(vec![
            Verdict::NoSync, Verdict::Source, Verdict::Target, Verdict::SplitBrain,
            Verdict::Unrelated, Verdict::Refused,
        ]),
        write_offset in ..=u64::MAX - u64::from(u32::MAX),
        whose in select(vec![
            Invalidated::Sender, Invalidated::Receiver, Invalidated::ReceiverByBits,
        ]),
        flags: [bool; 4],
    ) -> Fields {
        let (volume, id, epoch) = numbers;
        let (volume, id, epoch) = (VolumeNumber(volume), RequestId(id), Epoch(epoch));
        let (settings, sizes, uuids, state) = records;
        Fields {
            volume, id, epoch, range, read, write_offset, data, piece, settings, sizes, uuids,
            state, change, vote, verdict, whose, flags,
        }
    }
}

fn any_bytes(min: u32, max: u32) -> impl Strategy<Value = Bytes> {
    prop_oneof![
        8 => proptest::collection::vec(any::<u8>(), min as usize..200),
        1 => (min..=max).prop_map(|len| vec![0x5a; len as usize]),
        1 => Just(vec![0xa5; max as usize]),
    ]
    .prop_map(Bytes::from)
}

prop_compose! {
    fn any_settings()(
        protocol in select(vec![Protocol::A, Protocol::B, Protocol::C]),
        flags: [bool; 3],
        volumes: u16,
        after_sb_0pri in any_after_sb_0pri(),
        after_sb_1pri in select(AfterSplitBrain1Pri::ALL),
        after_sb_2pri in select(AfterSplitBrain2Pri::ALL),
        rr_conflict in select(RoleConflict::ALL),
    ) -> ProtocolSettings {
        let [discard_my_data, in_use, always_asbp] = flags;
        let policies =
            Policies { after_sb_0pri, after_sb_1pri, after_sb_2pri, always_asbp, rr_conflict };
        ProtocolSettings { protocol, discard_my_data, in_use, volumes, policies }
    }
}

fn any_after_sb_0pri() -> impl Strategy<Value = AfterSplitBrain0Pri> {
    prop_oneof![
        select(AfterSplitBrain0Pri::PLAIN),
        (0..NodeId::COUNT_MAX).prop_map(|node| AfterSplitBrain0Pri::DiscardNode(NodeId(node))),
    ]
}

prop_compose! {
    fn any_sizes()(capacity: u64, effective: u64, block_size: u32, shown: u64) -> Sizes {
        Sizes { capacity, effective, block_size, shown }
    }
}

prop_compose! {
    fn any_uuids()(
        numbers: [u64; 5],
        history: [u64; HISTORY_LEN],
        flags: [bool; 6],
        protocol in 0..3u8,
    ) -> Uuids {
        let [current, bitmap, dirty_blocks, last_session, exposed] = numbers;
        let [crashed_primary, lost_power, reconnect, bitmap_alias, was_primary, went_on] = flags;
        Uuids {
            current: Uuid(current),
            bitmap: Uuid(bitmap),
            history: history.map(Uuid),
            dirty_blocks,
            last_session,
            flags: UuidFlags {
                crashed_primary,
                lost_power,
                reconnect,
                last_session_async: protocol == 1,
                last_session_memory: protocol == 2,
                bitmap_alias,
                was_primary,
                went_on,
            },
            exposed: Uuid(exposed),
        }
    }
}

prop_compose! {
    fn any_state()(
        role in 0..3u8,
        disk in 0..9u8,
        replication in select(vec![0u8, 1, 4, 5, 7, 8, 9, 10, 11, 12, 13, 14]),
        pauses_resync: bool,
    ) -> State {
        State {
            role: Role::from_u8(role).unwrap(),
            disk: DiskState::from_u8(disk).unwrap(),
            replication: ReplicationState::from_u8(replication).unwrap(),
            pauses_resync,
        }
    }
}
