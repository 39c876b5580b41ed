//! Whether a node may be promoted, and how well it would be chosen.

use crate::names::{DiskState, Role};
use crate::status::{ResourceStatus, VolumeStatus};

/// What DRBD tells cluster managers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Promotion {
    /// No node is Primary, and good data are within reach for every volume.
    pub may_promote: bool,
    /// 10000 where every volume has a disk here, 100 for each UpToDate one, and the number of
    /// UpToDate copies of the volume that has the fewest; 0 where one has none or no quorum.
    pub score: u32,
}

impl Promotion {
    /// Of a resource. One without volumes is still being put together.
    pub fn of(resource: &ResourceStatus) -> Self {
        let copies = resource.volumes.iter().map(|volume| copies(resource, volume)).min();
        let Some(copies @ 1..) = copies else { return Self::default() };
        if resource.volumes.iter().any(|volume| !volume.quorum) {
            return Self::default();
        }
        let has_disks = resource.volumes.iter().all(|volume| {
            let states = [DiskState::UpToDate, DiskState::Consistent, DiskState::Inconsistent];
            states.contains(&volume.disk_state)
        });
        let good = resource.volumes.iter().filter(|it| it.disk_state == DiskState::UpToDate);
        let is_primary = resource.role == Role::Primary
            || resource.connections.iter().any(|it| it.peer_role == Role::Primary);
        let score = if has_disks { 10_000 } else { 0 };
        Self {
            may_promote: !is_primary && !resource.force_io_failures,
            score: score + 100 * at_most_99(good.count()) + at_most_99(copies),
        }
    }
}

/// UpToDate copies of a volume, here and at connected peers.
fn copies(resource: &ResourceStatus, volume: &VolumeStatus) -> usize {
    let devices = resource.connections.iter().flat_map(|connection| &connection.peer_devices);
    let remote = devices
        .filter(|it| it.volume == volume.volume && it.peer_disk_state == DiskState::UpToDate);
    usize::from(volume.disk_state == DiskState::UpToDate) + remote.count()
}

fn at_most_99(count: usize) -> u32 {
    u32::try_from(count.min(99)).expect("at most 99")
}
