//! What has happened.

use std::fmt;

/// Counts of everything that was done to nodes.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Tally {
    pub(super) worlds: u64,
    pub(super) rounds: u64,
    pub(super) kills: u64,
    /// Of them, those of a node that took part in a resync.
    pub(super) kills_in_resync: u64,
    pub(super) partitions: u64,
    /// Of them, those where one direction went on.
    pub(super) one_way: u64,
    pub(super) power_losses: u64,
    pub(super) stops: u64,
    pub(super) corruptions: u64,
    pub(super) disk_faults: u64,
    pub(super) commands: u64,
    pub(super) promotions: u64,
    /// Writes that were acknowledged and judged.
    pub(super) acked: u64,
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} worlds, {} rounds: {} kills ({} during a resync), {} partitions ({} one-way), {} \
             power losses, {} stopped processes, {} corruptions, {} disk faults, {} commands, {} \
             promotions; {} acknowledged writes audited",
            self.worlds,
            self.rounds,
            self.kills,
            self.kills_in_resync,
            self.partitions,
            self.one_way,
            self.power_losses,
            self.stops,
            self.corruptions,
            self.disk_faults,
            self.commands,
            self.promotions,
            self.acked,
        )
    }
}
