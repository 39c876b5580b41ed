//! The world of a drill.

use std::time::Duration;

use tandem_replica::{NetConfig, OnIoError, OnNoData, ResyncConfig};
use tandem_wire::Protocol;

use super::{FaultWeights, FencingProfile, LogProfile, PermitProfile, Profile};
use crate::clock::{MICROS, MILLIS, SECONDS};
use crate::disk::Pace;
use crate::link::LinkPace;
use crate::operator::by_hand::ByHand;

impl Profile {
    /// Of a world in which nothing happens by itself: a small volume, clients and an operator who
    /// wait to be told, no faults.
    pub fn small(protocol: Protocol) -> Self {
        let disk = Pace { low: 20 * MICROS, high: 100 * MICROS, stalls: 0 };
        Self {
            protocol,
            volume_blocks: vec![64],
            external: [false, true],
            block_size: [512; 2],
            net: NetConfig {
                timeout: Duration::from_millis(400),
                ping_int: Duration::from_millis(300),
                ping_timeout: Duration::from_millis(200),
                connect_int: Duration::from_millis(300),
                ..NetConfig::default()
            },
            resync: [ResyncConfig::default(); 2],
            discard_granularity: [0; 2],
            resync_after: [None; 2],
            disk: [disk; 2],
            link: LinkPace { low: 20 * MICROS, high: 100 * MICROS, per_kib: 100, split: 0 },
            clients: 2,
            depth: 1,
            pause: MILLIS,
            requests_max: 0,
            fault_pause: SECONDS,
            bursts: 0,
            faults: FaultWeights::default(),
            split_brain: true,
            both_invalidate: 0,
            by_hand: ByHand::default(),
            hasty: false,
            on_no_data: OnNoData::IoError,
            log: LogProfile {
                extents: 4,
                extent_bytes: 16 << 10,
                updates: [true; 2],
                changes: false,
                damaged: None,
            },
            damages_more: false,
            fencing: FencingProfile { shoots: false, delay_max: MILLIS, fails: 0, hangs: 0 },
            permits: [PermitProfile::default(); 2],
            on_io_error: [OnIoError::Detach; 2],
            passes_on: [false; 2],
            unreadable: [0; 2],
            disk_timeout: [Duration::ZERO; 2],
            opens_within: 100 * MICROS,
        }
    }
}
