//! Which range a target asks for next, and how much it may ask for at all.

use tandem_wire::{ByteRange, Role};

use crate::config::ResyncConfig;
use crate::limits::RESYNC_IN_FLIGHT_BYTES_MAX;
use crate::limits::{APPLICATION_ACTIVE, BLOCK_BYTES, RESYNC_OPEN_BYTES_MAX, RESYNC_REQUEST_BYTES};
use crate::peers::{PeerIndex, VolumeIndex};
use crate::resource::Resource;
use crate::time::Instant;

/// What to ask for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Wanted {
    pub(super) range: ByteRange,
    /// Its zeroes need not be sent.
    pub(super) thin: bool,
}

impl Resource {
    pub(crate) fn resync_config(&self, peer: PeerIndex, volume: VolumeIndex) -> ResyncConfig {
        let configs = &self.connections[peer].config.resync;
        configs.get(&self.volumes[volume].number).copied().unwrap_or_default()
    }

    /// Until when an application counts as active on the volume, here or at the peer.
    pub(super) fn application_until(&self, volume: VolumeIndex) -> Option<Instant> {
        Some(self.volumes[volume].application_at? + APPLICATION_ACTIVE)
    }

    /// Target: bytes that may be asked for now, by the pace and by what both nodes hold in memory.
    pub(super) fn resync_room(&self, peer: PeerIndex, volume: VolumeIndex) -> u64 {
        let config = self.resync_config(peer, volume);
        // Here an application's writes wait for what is asked for.
        let calm = self.role == Role::Primary
            && self.application_until(volume).is_some_and(|until| until > self.now);
        let devices = &self.connections[peer].devices;
        let open: u64 = devices.iter().map(|device| device.resync.open_bytes).sum();
        let in_flight: u64 = devices.iter().map(|device| device.resync.pace.in_flight()).sum();
        let room = RESYNC_OPEN_BYTES_MAX
            .saturating_sub(open)
            .min(RESYNC_IN_FLIGHT_BYTES_MAX.saturating_sub(in_flight));
        devices[volume].resync.pace.room(&config, calm).min(room)
    }

    /// The next range to ask for, within `room` bytes; moves the cursor behind it. A run of whole
    /// granules is asked for granule by granule, for what is zero, also where that overdraws the
    /// pace.
    pub(super) fn next_dirty(
        &mut self,
        peer: PeerIndex,
        volume: VolumeIndex,
        room: u64,
    ) -> Option<Wanted> {
        let block = u64::from(BLOCK_BYTES);
        let granule = u64::from(self.volumes[volume].config.discard_granularity_bytes) / block;
        let blocks_max = (room / block).clamp(1, u64::from(RESYNC_REQUEST_BYTES) / block);
        let resync = &mut self.connections[peer].devices[volume].resync;
        let attached = self.volumes[volume].attached()?;
        let run = attached.bitmaps[peer].next_run(resync.cursor, blocks_max.max(granule))?;
        let run_blocks = run.end - run.start;
        let thin = granule > 0 && run.start.is_multiple_of(granule) && run_blocks >= granule;
        let blocks = if thin {
            granule
        } else if granule > 0 && !run.start.is_multiple_of(granule) {
            let to_granule = run.start.next_multiple_of(granule) - run.start;
            run_blocks.min(blocks_max).min(to_granule)
        } else {
            run_blocks.min(blocks_max)
        };
        resync.cursor = run.start + blocks;
        let offset = run.start * block;
        let end = (resync.cursor * block).min(self.volumes[volume].size_bytes);
        let len = u32::try_from(end - offset).expect("at most one request");
        Some(Wanted { range: ByteRange::new(offset, len), thin })
    }
}
