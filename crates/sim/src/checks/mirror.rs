//! INV-9, INV-11, INV-20: what the states of both nodes must be, seen side by side.

use tandem_wire::{DiskState, ReplicationState};

use super::Violation;
use crate::view::View;

/// Two ends of one session are never both source or both target of a volume.
///
/// # Errors
/// Their states.
pub fn check(views: [&View; 2]) -> Result<(), Violation> {
    for volume in 0..views[0].volumes.len() {
        let states = views.map(|view| view.volumes[volume].replication);
        let both = |is: fn(ReplicationState) -> bool| states.iter().all(|state| is(*state));
        if both(is_source) || both(is_target) {
            let text = format!("volume {volume} is {} on node 0 and {} on 1", states[0], states[1]);
            return Err(Violation::new("INV-9 mirrored", text));
        }
    }
    Ok(())
}

/// Whether a volume looks replicated and good on both nodes, and is not: nothing that is scheduled
/// will copy what its bits say.
pub fn is_forgotten(views: [&View; 2], volume: usize) -> bool {
    views
        .iter()
        .all(|view| view.is_established(volume) && view.volumes[volume].disk == DiskState::UpToDate)
        && views.iter().any(|view| view.volumes[volume].dirty_blocks > 0)
}

fn is_source(state: ReplicationState) -> bool {
    matches!(state, ReplicationState::WFBitMapS | ReplicationState::SyncSource)
}

fn is_target(state: ReplicationState) -> bool {
    matches!(state, ReplicationState::WFBitMapT | ReplicationState::SyncTarget)
}
